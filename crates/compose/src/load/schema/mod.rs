//! What a Compose file may say: each key once, with its kind, in the order in which it is printed.
//!
//! One table serves reading (is this key known, what does its value mean), merging (how two files
//! come together) and printing (in which order, and what is left out).

mod resource;
mod service;

use crate::error::Result;
use crate::node::Node;

pub(crate) use resource::{FILE_OBJECT, NETWORK, PROJECT, VOLUME};
pub(crate) use service::SERVICE;

/// What the value of a key may be.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Text, and nothing that looks like a number.
    Text,
    /// Any scalar, taken as text.
    Scalar,
    /// True or false, also as text.
    Bool,
    /// A whole number, also as text.
    Int,
    /// A number, also as text.
    Float,
    /// A number of bytes, with or without a unit.
    Bytes,
    /// `1m30s`
    Duration,
    /// A file's mode, in octal.
    Mode,
    /// One of some words.
    Enum(&'static [&'static str]),
    /// Items of a kind.
    List(&'static Kind),
    /// Items of a kind, or one alone.
    OneOrMany(&'static Kind),
    /// Words, or a line that is split into them as a shell does.
    Command,
    /// `KEY=VALUE` items or a mapping; nothing is the empty text.
    Pairs,
    /// The same, but nothing stays nothing: taken from the environment, or left out.
    Variables,
    /// Names that the user chooses, to values of a kind.
    Named(&'static Kind),
    /// Known keys.
    Object(&'static Object),
    /// Brought into its long form first.
    Short(fn(Node) -> Result<Node>, &'static Kind),
    /// The same, or nothing.
    Optional(&'static Kind),
    /// Whatever it is, it stays.
    Anything,
}

/// How a later file's value joins an earlier one's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Mappings key by key, sequences one after the other, the later scalar.
    Deep,
    /// The later one.
    Replace,
    /// As `Deep`; of items with the same identity the later stays, at the place of the earlier.
    Unique(Identity),
    /// Names come together, their values do not: the later stays.
    EachReplaced,
    /// Address pools: one a subnet.
    Pools,
    /// By its `driver`: options come together only if it is the same.
    Logging,
    /// As `Deep`; where values are as they are written, the two become one sequence of `KEY=VALUE`.
    Sequence,
}

/// What makes two items of a sequence the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The whole item.
    Whole,
    /// The `target` key, else the `source` one.
    Target,
    /// Address, published and target port, protocol.
    Port,
    /// The `path` key.
    Path,
    /// What stands before the `=`.
    Key,
}

/// When a key is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Unless it is zero, empty or false.
    NonZero,
    /// Whenever it was set.
    Present,
    /// Always, if need be as its zero.
    Always,
    /// As `NonZero`, but as `null` in JSON.
    JsonNull,
    /// As `NonZero`, but as `{}` in JSON.
    JsonEmpty,
    /// As `NonZero`, but as a hook without a command in JSON.
    JsonHook,
    /// Read, and never printed.
    Never,
}

/// A key.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) merge: Merge,
    pub(crate) shown: Shown,
    pub(crate) required: bool,
}

impl Field {
    const fn replaced(mut self) -> Self {
        self.merge = Merge::Replace;
        self
    }

    const fn unique(mut self, by: Identity) -> Self {
        self.merge = Merge::Unique(by);
        self
    }

    const fn merged(mut self, merge: Merge) -> Self {
        self.merge = merge;
        self
    }

    const fn shown(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

/// A mapping with known keys.
pub(crate) struct Object {
    pub(crate) fields: &'static [Field],
    /// Whether JSON spells the keys with a capital letter.
    pub(crate) json_capital: bool,
    /// What stands below `x-hull`, the extension that is Hull's own.
    pub(crate) own: Option<&'static Object>,
}

/// Where Hull's own keys stand: other programs pass over what begins with `x-`.
pub(crate) const OWN: &str = "x-hull";

impl Object {
    const fn with_own(mut self, own: &'static Self) -> Self {
        self.own = Some(own);
        self
    }

    /// The key of that name.
    pub(crate) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// The kind below `Optional` and `Short`.
pub(crate) fn bare(kind: &Kind) -> &Kind {
    match kind {
        Kind::Optional(inner) | Kind::Short(_, inner) => bare(inner),
        other => other,
    }
}

const fn f(key: &'static str, kind: Kind) -> Field {
    Field {
        key,
        kind,
        merge: Merge::Deep,
        shown: Shown::NonZero,
        required: false,
    }
}

const fn object(fields: &'static [Field]) -> Object {
    Object {
        fields,
        json_capital: false,
        own: None,
    }
}

const TEXTS: Kind = Kind::List(&Kind::Text);
const SCALARS: Kind = Kind::List(&Kind::Scalar);
const ONE_OR_MANY: Kind = Kind::OneOrMany(&Kind::Text);
