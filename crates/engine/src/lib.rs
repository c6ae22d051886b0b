//! What Hull means: verbs on nouns. Knows no HTTP and no terminals.

pub mod model;
