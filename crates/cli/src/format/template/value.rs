//! Values a template works on: JSON with its order kept, and the rows of tables.

use std::fmt::Write as _;
use std::rc::Rc;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Value {
    /// What a missing entry of a map yields.
    #[default]
    Missing,
    /// Go's nil pointer or interface.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// The real and the imaginary part: only templates themselves have such.
    Complex(f64, f64),
    Text(Rc<str>),
    /// A slice; `None` is the nil slice.
    List(Option<Rc<Vec<Value>>>),
    Object(Rc<Object>),
}

/// What an object is in Go, which decides how it prints and what a missing field means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    /// A nil map.
    NilMap,
    Struct,
    /// An object of which no type is known, as Docker takes the answer once its types do not do.
    Raw,
    /// A row of a table; the text is Go's name for it in errors.
    Row(&'static str),
}

/// Fields in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) fields: Vec<(String, Value)>,
    /// What `.Label "name"` of a row looks into.
    pub(crate) labels: Vec<(String, String)>,
}

impl Object {
    /// The field called `name`.
    ///
    /// Go's names of fields differ from the JSON ones in the case of initials and initialisms
    /// (`.ID` for `Id`, `.CPUShares` for `CpuShares`), so capitals also match small letters.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let exact = self.fields.iter().find(|(field, _)| field == name);
        let found = exact.or_else(|| match self.kind {
            Kind::Struct => self
                .fields
                .iter()
                .find(|(field, _)| is_go_name(name, field)),
            _ => None,
        });
        found.map(|(_, value)| value)
    }
}

fn is_go_name(go: &str, json: &str) -> bool {
    go.len() == json.len()
        && go.bytes().zip(json.bytes()).all(|(go, json)| {
            go == json || (go.is_ascii_uppercase() && go.to_ascii_lowercase() == json)
        })
}

impl Value {
    /// Text as a value.
    pub(crate) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// A slice.
    pub(crate) fn list(values: Vec<Self>) -> Self {
        Self::List(Some(Rc::new(values)))
    }

    /// An object.
    pub(crate) fn object(kind: Kind, fields: Vec<(String, Self)>) -> Self {
        Self::Object(Rc::new(Object {
            kind,
            fields,
            labels: Vec::new(),
        }))
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// Where it is not JSON.
    pub(crate) fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The same without types: objects are maps, and null is nothing.
    pub(crate) fn untyped(&self) -> Self {
        match self {
            Self::Nil | Self::List(None) => Self::Missing,
            Self::List(Some(values)) => Self::list(values.iter().map(Self::untyped).collect()),
            Self::Object(object) if object.kind == Kind::NilMap => Self::Missing,
            Self::Object(object) => {
                let field = |(name, value): &(String, Self)| (name.clone(), value.untyped());
                Self::object(Kind::Raw, object.fields.iter().map(field).collect())
            }
            other => other.clone(),
        }
    }

    /// A field of an object.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => object.get(name),
            _ => None,
        }
    }

    /// Go's idea of truth: neither zero nor empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil | Self::List(None) => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Complex(real, imaginary) => (*real, *imaginary) != (0.0, 0.0),
            Self::Text(text) => !text.is_empty(),
            Self::List(Some(values)) => !values.is_empty(),
            Self::Object(object) => match object.kind {
                Kind::Map | Kind::NilMap | Kind::Raw => !object.fields.is_empty(),
                Kind::Struct | Kind::Row(_) => true,
            },
        }
    }

    /// Go's name of the type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Complex(..) => "complex128",
            Self::Text(_) => "string",
            Self::List(None) => "[]string",
            Self::List(Some(values)) => match values.iter().all(Self::is_text) {
                true => "[]string",
                false => "[]interface {}",
            },
            Self::Object(object) => match object.kind {
                Kind::Row(name) => name,
                Kind::Map if object.fields.iter().all(|(_, value)| value.is_text()) => {
                    "map[string]string"
                }
                _ => "map[string]interface {}",
            },
        }
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether it is Go's nil, of whatever type.
    pub(super) fn is_nil(&self) -> bool {
        match self {
            Self::Missing | Self::Nil | Self::List(None) => true,
            Self::Object(object) => object.kind == Kind::NilMap,
            _ => false,
        }
    }

    /// A constant as an integer, if it is a whole number.
    pub(super) fn as_int(&self) -> Option<i64> {
        match *self {
            Self::Int(number) => Some(number),
            Self::Float(number) | Self::Complex(number, 0.0) =>
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    clippy::float_cmp,
                    reason = "what is not the same as an integer is none"
                )]
                Some(number as i64).filter(|whole| *whole as f64 == number)
            }
            _ => None,
        }
    }

    /// The value as compact JSON.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Missing | Self::Nil | Self::List(None) => out.push_str("null"),
            Self::Bool(value) => _ = write!(out, "{value}"),
            Self::Int(value) => _ = write!(out, "{value}"),
            Self::Float(value) => out.push_str(&super::print::float_json(*value)),
            // Refused before: JSON has none.
            Self::Complex(..) => out.push_str(&super::print::value(self)),
            Self::Text(text) => write_string(text, out),
            Self::List(Some(values)) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.write_json(out);
                }
                out.push(']');
            }
            Self::Object(object) if object.kind == Kind::NilMap => out.push_str("null"),
            Self::Object(object) => write_object(object, out),
        }
    }
}

fn write_object(object: &Object, out: &mut String) {
    let mut fields: Vec<_> = object.fields.iter().collect();
    if matches!(object.kind, Kind::Map | Kind::Row(_)) {
        fields.sort_by(|left, right| left.0.cmp(&right.0));
    }
    out.push('{');
    for (index, (name, value)) in fields.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        match (object.kind, value) {
            // Docker's rows go through Go's encoder with its caution about HTML.
            (Kind::Row(_), Value::Text(text)) => write_careful_string(text, out),
            _ => value.write_json(out),
        }
    }
    out.push('}');
}

fn write_string(text: &str, out: &mut String) {
    // Go also escapes these two separators, which serde leaves alone.
    let quoted = serde_json::to_string(text).unwrap_or_default();
    out.push_str(
        &quoted
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029"),
    );
}

fn write_careful_string(text: &str, out: &mut String) {
    let mut quoted = String::new();
    write_string(text, &mut quoted);
    for character in quoted.chars() {
        match character {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            other => out.push(other),
        }
    }
}

/// Fields of the Engine API that are maps in Go; every other object is a struct.
const MAPS: [&str; 25] = [
    "Annotations",
    "Args",
    "Attributes",
    "Config.Config",
    "Containers",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "IPAMOptions",
    "IndexConfigs",
    "Labels",
    "LogOpts",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Runtimes",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
    "Details",
    "GraphOptions",
    "AuxiliaryAddresses",
];

/// Fields of the Engine API that are pointers (or strings) in Go; other nulls are nil slices.
const POINTERS: [&str; 14] = [
    "Container",
    "ContainerConfig",
    "Descriptor",
    "Health",
    "Healthcheck",
    "ImageManifestDescriptor",
    "Init",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "StopTimeout",
    "UsageData",
    "ConfigFrom",
    "IPAMConfig",
];

/// Reads a value, knowing the name of the field it stands in.
#[derive(Clone, Copy)]
struct Named<'n> {
    field: &'n str,
    parent: &'n str,
}

impl Named<'_> {
    fn is_map(self) -> bool {
        MAPS.contains(&self.field) || (self.field == "Config" && self.parent == "LogConfig")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Named {
            field: "",
            parent: "",
        }
        .deserialize(deserializer)
    }
}

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Named<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(match self.field {
            _ if self.is_map() => Value::object(Kind::NilMap, Vec::new()),
            "" => Value::Nil,
            field if POINTERS.contains(&field) => Value::Nil,
            _ => Value::List(None),
        })
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "only beyond what Go's int holds"
        )]
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(Named {
            field: "",
            parent: "",
        })? {
            values.push(value);
        }
        Ok(Value::list(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let kind = if self.is_map() {
            Kind::Map
        } else {
            Kind::Struct
        };
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let field = if kind == Kind::Map && self.field != "Ports" {
                ""
            } else {
                name.as_str()
            };
            let value = map.next_value_seed(Named {
                field,
                parent: self.field,
            })?;
            fields.push((name, value));
        }
        Ok(Value::object(kind, fields))
    }
}
