//! Answers containers' questions for names at 127.0.0.11.
//!
//! One process serves all containers of a daemon and outlives it. The daemon tells it what there is
//! ([`protocol`]): networks, endpoints with their names, and sandboxes, each with sockets that the
//! daemon opened inside. A question is answered from [`zone`] if a network of the sandbox knows the
//! name; otherwise it goes on to the sandbox's upstream servers, and [`cache`] keeps their answers.
//!
//! [`message`], [`zone`] and [`cache`] are pure; the program's event loop is the only part that
//! touches sockets.

pub mod protocol;

pub mod cache;
pub mod message;
pub mod zone;
