//! A chain to be mounted takes a value of the outer chain without declaring it.

use tower_chain::{Chain, Provided};

#[derive(Clone)]
struct Database;

fn main() {
    let users = Chain::new().get(async |_: Provided<Database>| "users");
    let _ = Chain::new().provide(Database).mount("/users", users).build();
}
