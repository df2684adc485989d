//! A function of a chain is passed to `at`.

use tower_chain::{Chain, Sealed};

fn users(c: Chain) -> Sealed {
    c.get(async || "users").seal()
}

fn main() {
    let _ = Chain::new().at("/users", users).build();
}
