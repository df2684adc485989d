//! `Valid` is inside `Json`.

use serde::Deserialize;
use tower_chain::{Chain, Json, Valid};

#[derive(Deserialize)]
struct NewUser {
    name: String,
}

async fn create(Json(Valid(user)): Json<Valid<NewUser>>) -> String {
    user.name
}

fn main() {
    let _ = Chain::new().post(create).build();
}
