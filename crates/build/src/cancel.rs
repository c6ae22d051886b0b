//! Stops a build from outside.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

/// Stops what it was given to. Clones are one and the same.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cancelled: AtomicBool,
    /// What to do at that moment, by a number under which it can be taken back.
    hooks: Mutex<(u64, Vec<(u64, Hook)>)>,
}

type Hook = Box<dyn FnOnce() + Send>;

/// Takes a hook back when dropped.
pub struct Hooked {
    cancel: Cancel,
    number: u64,
}

impl Cancel {
    /// One that nobody has asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let hooks = std::mem::take(&mut self.lock().1);
        for (_, hook) in hooks {
            hook();
        }
    }

    /// Whether it was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// An error if it was asked for.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// Has `hook` called when it is asked for: at once if it was already.
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> Hooked {
        let number = {
            let mut hooks = self.lock();
            hooks.0 += 1;
            let number = hooks.0;
            hooks.1.push((number, Box::new(hook)));
            number
        };
        if self.is_cancelled() {
            self.cancel();
        }
        Hooked {
            cancel: self.clone(),
            number,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, Vec<(u64, Hook)>)> {
        self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        let number = self.number;
        self.cancel.lock().1.retain(|(other, _)| *other != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_called_once_unless_taken_back() {
        let cancel = Cancel::new();
        let called = Arc::new(Mutex::new(Vec::new()));
        let note = |text: &'static str| {
            let called = Arc::clone(&called);
            move || called.lock().unwrap().push(text)
        };
        let _kept = cancel.on_cancel(note("kept"));
        drop(cancel.on_cancel(note("taken back")));
        assert!(cancel.check().is_ok());
        cancel.cancel();
        let _late = cancel.on_cancel(note("late"));
        assert_eq!(*called.lock().unwrap(), ["kept", "late"]);
        assert!(cancel.check().is_err());
    }
}
