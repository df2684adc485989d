//! `Json` as the result, with a type that does not implement `Serialize`.

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
