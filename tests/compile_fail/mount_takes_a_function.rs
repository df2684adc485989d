//! A function that adds steps is mounted.

use tower_chain::{Chain, Sealed};

fn users(c: Chain) -> Sealed {
    c.get(async || "users").seal()
}

fn main() {
    let _ = Chain::new().mount("/users", users).build();
}
