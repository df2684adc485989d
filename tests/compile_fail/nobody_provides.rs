//! A handler that takes what no step before it provides.

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
