//! Who works on an application: one client at a time, the others in the order in which they came.
//!
//! Two clients that bring one project up at once would each take the other's half-made containers for
//! what there is. Each holds the project as long as its connection stands: whatever becomes of a
//! client, and wherever it runs, what it held is free again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

/// Projects that are worked on.
#[derive(Debug, Default)]
pub(crate) struct Holds(Mutex<HashMap<String, Arc<Project>>>);

/// A project that somebody holds, or waits for.
#[derive(Debug, Default)]
struct Project {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Who has the turn, in words.
    holder: Mutex<String>,
}

/// A client's place at a project; what it holds is free again when this goes.
pub(crate) struct Place<'h> {
    holds: &'h Holds,
    name: String,
    project: Arc<Project>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Holds {
    /// A place at a project, without a turn yet.
    pub(crate) fn place(&self, name: &str) -> Place<'_> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Place {
            holds: self,
            name: name.to_owned(),
            project: Arc::clone(all.entry(name.to_owned()).or_default()),
            turn: None,
        }
    }
}

impl Place<'_> {
    /// Takes the turn if it is free; otherwise says who has it.
    pub(crate) fn try_hold(&mut self, who: &str) -> Result<(), String> {
        match Arc::clone(&self.project.turn).try_lock_owned() {
            Ok(turn) => {
                self.held(turn, who);
                Ok(())
            }
            Err(_) => Err(self.holder().clone()),
        }
    }

    /// Takes the turn when all who came before have had theirs.
    pub(crate) async fn hold(&mut self, who: &str) {
        let turn = Arc::clone(&self.project.turn).lock_owned().await;
        self.held(turn, who);
    }

    fn held(&mut self, turn: OwnedMutexGuard<()>, who: &str) {
        who.clone_into(&mut self.holder());
        self.turn = Some(turn);
    }

    fn holder(&self) -> std::sync::MutexGuard<'_, String> {
        let holder = &self.project.holder;
        holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.holds.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.turn = None;
        // The table's own, and this one's: nobody else is here, and nobody comes while it is locked.
        if Arc::strong_count(&self.project) == 2 {
            all.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_project_has_one_holder_and_is_forgotten_with_the_last() {
        let holds = Holds::default();
        let mut first = holds.place("shop");
        let mut second = holds.place("shop");
        let mut other = holds.place("blog");
        assert_eq!(first.try_hold("one"), Ok(()));
        assert_eq!(second.try_hold("two"), Err("one".to_owned()));
        assert_eq!(other.try_hold("three"), Ok(()));
        drop(first);
        second.hold("two").await;
        assert_eq!(holds.place("shop").try_hold("four"), Err("two".to_owned()));
        drop((second, other));
        assert!(holds.0.lock().unwrap().is_empty());
    }
}
