//! What a flag's text becomes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::format::duration;

/// Something a flag can fill.
pub(crate) trait Value {
    /// Takes the text given on the command line.
    ///
    /// # Errors
    /// What is wrong with it, in the words Docker uses.
    fn set(&mut self, text: &str) -> Result<(), String>;

    /// Whether the flag stands for `true` without a value.
    fn is_switch(&self) -> bool {
        false
    }
}

impl Value for bool {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = parse_bool(text)?;
        Ok(())
    }

    fn is_switch(&self) -> bool {
        true
    }
}

impl Value for Option<bool> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = Some(parse_bool(text)?);
        Ok(())
    }

    fn is_switch(&self) -> bool {
        true
    }
}

/// Go's idea of a truth value.
///
/// # Errors
/// Anything else, in Go's words.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

impl Value for String {
    fn set(&mut self, text: &str) -> Result<(), String> {
        text.clone_into(self);
        Ok(())
    }
}

impl Value for Option<String> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = Some(text.to_owned());
        Ok(())
    }
}

impl Value for Vec<String> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        self.push(text.to_owned());
        Ok(())
    }
}

macro_rules! integer {
    ($($kind:ty: $function:literal),*) => {$(
        impl Value for $kind {
            fn set(&mut self, text: &str) -> Result<(), String> {
                *self = text.parse().map_err(|error: std::num::ParseIntError| {
                    integer_error($function, text, &error)
                })?;
                Ok(())
            }
        }

        impl Value for Option<$kind> {
            fn set(&mut self, text: &str) -> Result<(), String> {
                let mut number: $kind = 0;
                number.set(text)?;
                *self = Some(number);
                Ok(())
            }
        }
    )*};
}
integer!(i64: "ParseInt", i32: "ParseInt", u64: "ParseUint", u16: "ParseUint");

fn integer_error(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
}

impl Value for Option<Duration> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = Some(duration::parse(text)?);
        Ok(())
    }
}

/// A value with a grammar of its own.
pub(crate) trait Item: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, in the words Docker uses.
    fn parse(text: &str) -> Result<Self, String>;
}

/// A flag that may be given again and again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Item> Value for List<T> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        self.0.push(T::parse(text)?);
        Ok(())
    }
}

/// A flag of which the last one counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct One<T>(pub(crate) Option<T>);

impl<T> Default for One<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Item> Value for One<T> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        self.0 = Some(T::parse(text)?);
        Ok(())
    }
}

/// `key=value` pairs; a key without `=` has an empty value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Map(pub(crate) BTreeMap<String, String>);

impl Value for Map {
    fn set(&mut self, text: &str) -> Result<(), String> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}
