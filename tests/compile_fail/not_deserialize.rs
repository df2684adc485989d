//! `Json` as an argument, with a type that does not implement `Deserialize`.

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
