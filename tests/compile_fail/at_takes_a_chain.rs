//! A chain is passed to `at`.

use tower_chain::Chain;

fn main() {
    let users = Chain::new().get(async || "users");
    let _ = Chain::new().at("/users", users).build();
}
