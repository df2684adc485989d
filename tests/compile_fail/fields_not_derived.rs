//! `ByField` has a type that does not report its fields.

use serde::Deserialize;
use tower_chain::extract::ByField;
use tower_chain::{Chain, Json, handler_fn};

#[derive(Deserialize)]
struct NewUser {
    name: String,
}

async fn create(ByField(Json(user)): ByField<Json<NewUser>>) -> String {
    user.name
}

fn main() {
    let _ = Chain::new().post(create).build();
    let _ = handler_fn::<(ByField<Json<NewUser>>,), _, _>(create);
}
