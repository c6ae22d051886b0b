//! The keys that leave a container running: `ctrl-p,ctrl-q` unless told otherwise.

/// The keys Docker uses.
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// Watches input for the keys, holding back what may be their beginning.
#[derive(Debug)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self {
            keys: DEFAULT.to_vec(),
            matched: 0,
        }
    }
}

impl DetachKeys {
    /// Reads `a,ctrl-b`; empty text is the default.
    ///
    /// # Errors
    /// A key that has no name, in Docker's words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let keys = text.split(',').map(key).collect::<Result<_, _>>()?;
        Ok(Self { keys, matched: 0 })
    }

    /// What of `input` goes on, and whether the keys were typed.
    pub(crate) fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(input.len());
        for &byte in input {
            if byte != self.keys[self.matched] && self.matched > 0 {
                passed.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte != self.keys[self.matched] {
                passed.push(byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

fn key(name: &str) -> Result<u8, String> {
    let unknown = || format!("Unknown character: '{name}'");
    if let [byte] = name.as_bytes() {
        return Ok(*byte);
    }
    let letter = name.strip_prefix("ctrl-").ok_or_else(unknown)?;
    match letter.as_bytes() {
        [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
        b"@" => Ok(0),
        b"[" => Ok(27),
        b"\\" => Ok(28),
        b"]" => Ok(29),
        b"^" => Ok(30),
        b"_" => Ok(31),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_may_come_in_pieces() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.filter(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(b"\x11"), (Vec::new(), true));
    }

    #[test]
    fn what_was_held_back_goes_on_when_it_was_something_else() {
        let mut keys = DetachKeys::default();
        assert_eq!(keys.filter(b"\x10"), (Vec::new(), false));
        assert_eq!(keys.filter(b"x"), (b"\x10x".to_vec(), false));
        assert_eq!(keys.filter(b"\x10\x10\x11"), (b"\x10".to_vec(), true));
    }

    #[test]
    fn keys_have_names() {
        let mut keys = DetachKeys::parse("a,ctrl-b").unwrap();
        assert_eq!(keys.filter(b"xa\x02"), (b"x".to_vec(), true));
        assert_eq!(
            DetachKeys::parse("ctrl-?").unwrap_err(),
            "Unknown character: 'ctrl-?'"
        );
    }
}
