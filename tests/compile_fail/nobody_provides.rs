//! A handler takes a value that no earlier step provides.

use tower_chain::{Chain, Provided};

#[derive(Clone)]
struct Database;

async fn list(database: Provided<Database>) -> &'static str {
    let _ = database;
    "users"
}

fn main() {
    let _ = Chain::new().get(list).provide(Database).build();
}
