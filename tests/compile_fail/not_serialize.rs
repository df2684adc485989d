//! JSON of a type that can't be written as it.

use tower_chain::{Chain, Json, handler_fn};

struct User {
    name: String,
}

async fn user() -> Json<User> {
    Json(User { name: "Ann".to_owned() })
}

fn main() {
    let _ = Chain::new().get(user).build();
    let _ = handler_fn::<(), _, _>(user);
}
