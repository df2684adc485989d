//! A documented handler returns data without a schema.

use serde::Serialize;
use tower_chain::{Chain, Json};

#[derive(Serialize)]
struct User {
    name: String,
}

async fn user() -> Json<User> {
    Json(User { name: "Ann".to_owned() })
}

fn main() {
    let _ = Chain::new().documented().get(user).build();
}
