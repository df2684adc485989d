//! State is taken without `Provided`.

use tower_chain::{Chain, handler_fn};

#[derive(Clone)]
struct Database;

async fn list(_: Database) -> &'static str {
    "users"
}

fn main() {
    let _ = Chain::new().provide(Database).get(list).build();
    let _ = handler_fn::<(Database,), _, _>(list);
}
