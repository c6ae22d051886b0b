//! nftables in process: a [`Table`] is a plain value that prints as `nft` would read it, and a
//! [`Transaction`] carries tables and map elements into the kernel, all or nothing.
//!
//! Only what container networks need is modelled.

mod encode;
mod table;
mod text;
mod transaction;

pub use table::{
    Chain, Element, Family, Hook, HookPoint, Match, Rule, Sender, Set, Table, TableName, Type,
    Value, Verdict,
};
pub use transaction::{Firewall, Transaction, monitor_table_changes, touched_by_others};
