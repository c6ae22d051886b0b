//! Reads JSON by the rules of Go's decoder.
//!
//! Clients of the Engine API were written against a daemon whose decoder matches member names
//! without regard to case, takes `null` as "leave it unset", and ignores members it does not know.
//! serde's derived code does only the last. [`from_slice`] puts a deserializer in between that does
//! the other two: where a struct is expected, each member's name is replaced by the field's own
//! spelling, and members that are `null` are left out (so that `#[serde(default)]` fills them).

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess,
        Visitor, value::StringDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};

/// The name under which serde_json asks itself for a value as text.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// A body that is no JSON document of the expected shape. The texts are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There is no document at all.
    #[error("invalid JSON: got EOF while reading request body")]
    Empty,
    /// It is no JSON, or a member has the wrong type.
    #[error("invalid JSON: {0}")]
    Invalid(Error),
    /// Something follows the document.
    #[error("unexpected content after JSON")]
    Trailing,
}

impl From<Error> for DecodeError {
    /// Its text says all of it, so it is no cause beside that.
    fn from(error: Error) -> Self {
        Self::Invalid(error)
    }
}

/// Reads one JSON document and nothing after it.
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    Ok(T::deserialize(GoValue(document(body)?))?)
}

/// Reads a value that is already parsed, by the same rules.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(GoValue(value))
}

fn document(body: &[u8]) -> Result<Value, DecodeError> {
    let mut documents = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let first = documents.next().ok_or(DecodeError::Empty)??;
    let rest = &body[documents.byte_offset()..];
    if rest.iter().all(u8::is_ascii_whitespace) {
        Ok(first)
    } else {
        Err(DecodeError::Trailing)
    }
}

/// A JSON value that deserializes as Go would.
struct GoValue(Value);

/// Either a JSON value's own visit, or `zero` when it is `null`.
macro_rules! null_is_zero {
    ($($method:ident => $visit:ident($zero:expr),)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            if self.0.is_null() { visitor.$visit($zero) } else { self.deserialize_any(visitor) }
        }
    )*};
}

impl<'de> Deserializer<'de> for GoValue {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            Value::Object(members) => visitor.visit_map(Members::new(members)),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_map(Members::new(Map::new())),
            Value::Object(members) => visitor.visit_map(Members::new(spelled(members, fields))),
            other => Err(Error::invalid_type(unexpected(&other), &"an object")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == RAW_VALUE {
            return self.0.deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            visitor.visit_seq(Items(Vec::new().into_iter()))
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            visitor.visit_map(Members::new(Map::new()))
        } else {
            self.deserialize_any(visitor)
        }
    }

    null_is_zero! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i64(0),
        deserialize_i16 => visit_i64(0),
        deserialize_i32 => visit_i64(0),
        deserialize_i64 => visit_i64(0),
        deserialize_u8 => visit_u64(0),
        deserialize_u16 => visit_u64(0),
        deserialize_u32 => visit_u64(0),
        deserialize_u64 => visit_u64(0),
        deserialize_f32 => visit_f64(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_str => visit_str(""),
        deserialize_string => visit_str(""),
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The members with the fields' own spelling. An exact name wins over one in another case.
fn spelled(members: Map<String, Value>, fields: &'static [&'static str]) -> Map<String, Value> {
    let mut known = Map::new();
    for (name, value) in members {
        if value.is_null() {
            continue;
        }
        if fields.contains(&name.as_str()) {
            known.insert(name, value);
        } else if let Some(field) = fields
            .iter()
            .find(|field| field.eq_ignore_ascii_case(&name))
        {
            known.entry(*field).or_insert(value);
        }
    }
    known
}

fn unexpected(value: &Value) -> serde::de::Unexpected<'_> {
    use serde::de::Unexpected;
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(flag) => Unexpected::Bool(*flag),
        Value::Number(_) => Unexpected::Other("number"),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

struct Items(std::vec::IntoIter<Value>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.0
            .next()
            .map(|item| seed.deserialize(GoValue(item)))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Members {
    rest: serde_json::map::IntoIter,
    value: Option<Value>,
}

impl Members {
    fn new(members: Map<String, Value>) -> Self {
        Self {
            rest: members.into_iter(),
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let name: StringDeserializer<Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = self
            .value
            .take()
            .expect("serde asks for a value after each key");
        seed.deserialize(GoValue(value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Inner {
        host_port: String,
        count: i64,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Outer {
        tty: bool,
        image: String,
        cmd: Option<Vec<String>>,
        labels: BTreeMap<String, String>,
        inner: Inner,
        list: Vec<Inner>,
    }

    fn outer(text: &str) -> Outer {
        from_slice(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_match_in_any_case_but_map_keys_stay_as_they_are() {
        let got = outer(
            r#"{"tTy":true,"IMAGE":"a","labels":{"Image":"x"},"inner":{"HOSTPORT":"80"},
                "List":[{"hostport":"1","COUNT":2}],"Unknown":{"a":[1]}}"#,
        );
        assert!(got.tty);
        assert_eq!(got.image, "a");
        assert_eq!(got.labels["Image"], "x");
        assert_eq!(got.inner.host_port, "80");
        assert_eq!(got.list[0].count, 2);
    }

    #[test]
    fn the_exact_name_wins_over_another_case() {
        assert_eq!(outer(r#"{"image":"lower","Image":"exact"}"#).image, "exact");
        assert_eq!(outer(r#"{"Image":"exact","image":"lower"}"#).image, "exact");
    }

    #[test]
    fn null_means_unset_everywhere() {
        let got = outer(
            r#"{"Tty":null,"Image":null,"Cmd":null,"Labels":{"a":null},"Inner":null,"List":[null]}"#,
        );
        assert_eq!(got.cmd, None);
        assert_eq!(got.labels["a"], "");
        assert_eq!(got.list, [Inner::default()]);
    }

    #[test]
    fn empty_trailing_and_mistyped_documents_are_refused() {
        let refused = |text: &str| {
            from_slice::<Outer>(text.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(""),
            "invalid JSON: got EOF while reading request body"
        );
        assert_eq!(refused("{} {}"), "unexpected content after JSON");
        assert_eq!(refused("{}x"), "unexpected content after JSON");
        assert!(refused(r#"{"Tty":"yes"}"#).starts_with("invalid JSON: "));
        assert!(refused(r#"{"Inner":{"Count":1.5}}"#).starts_with("invalid JSON: "));
        assert!(refused("[]").starts_with("invalid JSON: "));
        assert!(from_slice::<Outer>(b"{}\n").is_ok());
    }
}
