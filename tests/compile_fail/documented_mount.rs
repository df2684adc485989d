//! A chain that is not documented is mounted in one that is.

use tower_chain::Chain;

fn main() {
    let users = Chain::new().get(async || "users");
    let _ = Chain::new().documented().mount("/users", users).build();
}
