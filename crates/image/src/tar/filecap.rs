//! Capabilities of files in a user namespace: the kernel keeps beside them for whose root they are.
//! Archives do not say that.

use std::ffi::{OsStr, OsString};

/// The attribute.
const NAME: &str = "security.capability";
/// Where its form stands in the first word.
const FORM: u32 = 0xff00_0000;
/// Says nothing of whose root is meant.
const PLAIN: u32 = 0x0200_0000;
const PLAIN_BYTES: usize = 20;
/// Ends with the id of the root that is meant, in whose user namespace it counts.
const OWNED: u32 = 0x0300_0000;

/// As archives have it, of what is for `root` only.
pub(super) fn without_owner(attributes: &mut [(OsString, Vec<u8>)], root: u32) {
    for value in of(attributes) {
        if form(value) == Some(OWNED) && value[PLAIN_BYTES..] == root.to_le_bytes() {
            value.truncate(PLAIN_BYTES);
            set_form(value, PLAIN);
        }
    }
}

/// As the file system takes it for the user namespace whose root is `root`.
pub(super) fn with_owner(attributes: &mut [(OsString, Vec<u8>)], root: u32) {
    for value in of(attributes) {
        if form(value) == Some(PLAIN) && value.len() == PLAIN_BYTES {
            set_form(value, OWNED);
            value.extend(root.to_le_bytes());
        }
    }
}

fn of(attributes: &mut [(OsString, Vec<u8>)]) -> impl Iterator<Item = &mut Vec<u8>> {
    let mine = attributes
        .iter_mut()
        .filter(|(name, _)| name == OsStr::new(NAME));
    mine.map(|(_, value)| value)
}

fn word(value: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*value.first_chunk()?))
}

fn form(value: &[u8]) -> Option<u32> {
    let form = word(value)? & FORM;
    (value.len() >= PLAIN_BYTES).then_some(form)
}

fn set_form(value: &mut [u8], form: u32) {
    let flags = word(value).unwrap_or_default() & !FORM;
    if let Some(first) = value.first_chunk_mut() {
        *first = (flags | form).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_comes_and_goes() {
        let plain = || {
            let value = [&[1, 0, 0, 2][..], &[7; 16]].concat();
            vec![
                (OsString::from(NAME), value),
                ("user.x".into(), vec![1; 20]),
            ]
        };
        let mut attributes = plain();
        with_owner(&mut attributes, 100_000);
        assert_eq!(attributes[0].1[..4], [1, 0, 0, 3]);
        assert_eq!(attributes[0].1[20..], 100_000_u32.to_le_bytes());
        without_owner(&mut attributes, 5);
        assert_eq!(attributes[0].1.len(), 24);
        without_owner(&mut attributes, 100_000);
        assert_eq!(attributes, plain());
    }
}
