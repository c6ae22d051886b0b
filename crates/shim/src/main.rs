//! The parent of one container.

fn main() {}
