//! A chain that is built is mounted.

use tower_chain::Chain;

fn main() {
    let users = Chain::new().get(async || "users").build();
    let _ = Chain::new().mount("/users", users).build();
}
