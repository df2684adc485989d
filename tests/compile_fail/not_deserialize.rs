//! JSON of a type that can't be read from it.

use tower_chain::{Chain, Json, handler_fn};

struct NewUser {
    name: String,
}

async fn create(Json(user): Json<NewUser>) -> String {
    user.name
}

fn main() {
    let _ = Chain::new().post(create).build();
    let _ = handler_fn::<(Json<NewUser>,), _, _>(create);
}
