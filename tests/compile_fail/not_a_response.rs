//! The result of a handler does not implement `IntoResponse`.

use tower_chain::Chain;

struct User;

async fn user() -> User {
    User
}

fn main() {
    let _ = Chain::new().get(user).build();
}
