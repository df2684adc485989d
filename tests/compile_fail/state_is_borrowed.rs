//! State is a reference.

use tower_chain::Chain;

#[derive(Clone)]
struct Database;

fn main() {
    let database = Database;
    let _ = Chain::new().provide(&database).get(async || "ok").build();
}
