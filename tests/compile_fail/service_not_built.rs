//! A chain is added as a service.

use tower_chain::Chain;

fn main() {
    let users = Chain::new().get(async || "users");
    let _ = Chain::new().service("/users", users).build();
}
