//! What takes back the steps of something that may still fail.

/// Steps to take back, last first, when this is dropped; unless everything went well and it is
/// [`keep`](Self::keep)t.
#[derive(Default)]
pub(crate) struct Undo(Vec<Box<dyn FnOnce()>>);

impl Undo {
    pub(crate) fn push(&mut self, step: impl FnOnce() + 'static) {
        self.0.push(Box::new(step));
    }

    /// All went well.
    pub(crate) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        while let Some(step) = self.0.pop() {
            step();
        }
    }
}
