//! `Valid` has a type that does not implement `Validate`.

use serde::Deserialize;
use tower_chain::{Chain, Json, Valid, handler_fn};

#[derive(Deserialize)]
struct NewUser {
    name: String,
}

async fn create(Valid(user): Valid<Json<NewUser>>) -> String {
    user.name.clone()
}

fn main() {
    let _ = Chain::new().post(create).build();
    let _ = handler_fn::<(Valid<Json<NewUser>>,), _, _>(create);
}
