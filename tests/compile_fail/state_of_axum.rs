//! State is taken with axum's `State`.

use axum::extract::State;
use tower_chain::{Chain, handler_fn};

#[derive(Clone)]
struct Database;

async fn list(_: State<Database>) -> &'static str {
    "users"
}

fn main() {
    let _ = Chain::new().provide(Database).get(list).build();
    let _ = handler_fn::<(State<Database>,), _, _>(list);
}
