//! The program lies at a fixed address. It starts for every command typed, and moving it would mean correcting some
//! ten thousand addresses each time, in memory that could otherwise be shared: a third of what it takes to start.
//! (It talks to the user's own daemon; what listens to others, `hulld`, is moved.)

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-no-pie");
}
