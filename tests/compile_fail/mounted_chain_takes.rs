//! A chain made elsewhere takes what only the chain around it provides, and does not say so.

use tower_chain::{Chain, Provided};

#[derive(Clone)]
struct Database;

fn main() {
    let users = Chain::new().get(async |_: Provided<Database>| "users");
    let _ = Chain::new().provide(Database).mount("/users", users).build();
}
