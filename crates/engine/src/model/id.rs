//! Names and ids, valid by construction.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A container's id: 64 lowercase hex digits. Use [`short`](Self::short) for people.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

/// An exec session's id: 64 lowercase hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecId(String);

/// A container's name without Docker's leading slash: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(String);

/// The text is no container name.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct InvalidName(pub String);

macro_rules! random_id {
    ($id:ident) => {
        impl $id {
            /// A new random id. Never all digits in its first twelve, so that no short id can be
            /// mistaken for a number.
            pub fn random() -> Self {
                loop {
                    let text = random_hex();
                    if text[..12].bytes().any(|byte| byte.is_ascii_alphabetic()) {
                        return Self(text);
                    }
                }
            }

            /// Takes 64 lowercase hex digits, nothing else.
            pub fn parse(text: &str) -> Option<Self> {
                let valid = text.len() == 64
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                valid.then(|| Self(text.to_owned()))
            }

            /// All 64 digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve digits, as people see it.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.short())
            }
        }
    };
}

random_id!(ContainerId);
random_id!(ExecId);

impl Name {
    /// Takes a name with or without Docker's leading slash.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let bare = text.strip_prefix('/').unwrap_or(text);
        let mut bytes = bare.bytes();
        let valid = bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
            && bare.len() >= 2
            && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if valid {
            Ok(Self(bare.to_owned()))
        } else {
            Err(InvalidName(bare.to_owned()))
        }
    }

    /// The name without a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// 64 hex digits from the kernel's generator.
fn random_hex() -> String {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags)
            .expect("getrandom blocks until the pool is ready and knows no other failure");
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_at_least_two_characters_and_no_slash_inside() {
        for good in ["ab", "/web", "a.b", "a_1", "9-9"] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "/", "-ab", ".ab", "a/b", "a b", "é1"] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_unique_and_valid() {
        let (one, two) = (ContainerId::random(), ContainerId::random());
        assert_ne!(one, two);
        assert!(ContainerId::parse(one.as_str()).is_some());
        assert!(ContainerId::parse("ABC").is_none());
    }
}
