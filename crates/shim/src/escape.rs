//! Watches what is typed for the keys that let a client go.
//!
//! Keys that turn out to be something else are passed on, late but in order.

/// The keys and how many of them have been seen.
#[derive(Debug)]
pub(crate) struct Escape {
    keys: Vec<u8>,
    matched: usize,
}

impl Escape {
    /// `None` where there are no keys.
    pub(crate) fn new(keys: Vec<u8>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { keys, matched: 0 })
    }

    /// Moves `typed` to `passed`, up to the keys. True: the keys were typed; let the client go.
    pub(crate) fn filter(&mut self, typed: &[u8], passed: &mut Vec<u8>) -> bool {
        for &byte in typed {
            while self.matched > 0 && self.keys[self.matched] != byte {
                let shorter = self.shorter();
                passed.extend_from_slice(&self.keys[..self.matched - shorter]);
                self.matched = shorter;
            }
            if self.keys[self.matched] != byte {
                passed.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }

    /// The longest true beginning of the keys that what was matched ends with.
    fn shorter(&self) -> usize {
        let matched = &self.keys[..self.matched];
        (0..self.matched)
            .rev()
            .find(|&n| matched.ends_with(&self.keys[..n]))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(keys: &[u8], typed: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut escape = Escape::new(keys.to_vec()).unwrap();
        let mut passed = Vec::new();
        let found = typed.iter().any(|part| escape.filter(part, &mut passed));
        (passed, found)
    }

    #[test]
    fn the_keys_are_found_across_reads_and_never_passed() {
        assert_eq!(
            filter(b"\x10\x11", &[b"ls\n\x10", b"\x11more"]),
            (b"ls\n".to_vec(), true)
        );
    }

    #[test]
    fn half_of_the_keys_is_passed_once_it_is_something_else() {
        assert_eq!(filter(b"\x10\x11", &[b"\x10"]), (vec![], false));
        assert_eq!(
            filter(b"\x10\x11", &[b"\x10", b"a"]),
            (b"\x10a".to_vec(), false)
        );
        assert_eq!(
            filter(b"\x10\x11", &[b"\x10\x10\x11"]),
            (b"\x10".to_vec(), true)
        );
    }

    #[test]
    fn keys_that_repeat_themselves_are_found_in_a_longer_run() {
        assert_eq!(filter(b"aab", &[b"aaab"]), (b"a".to_vec(), true));
        assert_eq!(filter(b"abab c", &[b"ababab c"]), (b"ab".to_vec(), true));
    }

    #[test]
    fn no_keys_no_watch() {
        assert!(Escape::new(Vec::new()).is_none());
    }
}
