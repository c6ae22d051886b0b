//! Hull as its users meet it: a running daemon, driven by real clients. There is no code here, only `tests/`:
//!
//! - `scenarios`: each with the unchanged `docker` command and again with `hull`.
//! - `faults`: what may go wrong, and what must hold nevertheless.
//! - `clients`: libraries and programs that others wrote.
