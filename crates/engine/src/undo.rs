//! What to take back when a later step fails.

/// Steps done so far, each with its undo. Dropped without [`keep`](Self::keep), it takes them back,
/// last first.
#[derive(Default)]
pub(crate) struct Undo(Vec<(&'static str, Step)>);

/// Takes one step back.
type Step = Box<dyn FnOnce() + Send>;

impl Undo {
    /// Remembers how to take back the step just done.
    pub(crate) fn push(&mut self, what: &'static str, undo: impl FnOnce() + Send + 'static) {
        self.0.push((what, Box::new(undo)));
    }

    /// All went well: nothing is taken back.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        while let Some((what, undo)) = self.0.pop() {
            tracing::debug!(what, "taking back");
            undo();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn steps_are_taken_back_last_first_unless_kept() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = |n| {
            let seen = Arc::clone(&seen);
            move || seen.lock().unwrap().push(n)
        };
        let mut undo = Undo::default();
        undo.push("one", log(1));
        undo.push("two", log(2));
        drop(undo);
        assert_eq!(*seen.lock().unwrap(), [2, 1]);
        let mut undo = Undo::default();
        undo.push("three", log(3));
        undo.keep();
        assert_eq!(*seen.lock().unwrap(), [2, 1]);
    }
}
