//! A handler whose result is no response.

use tower_chain::Chain;

struct User;

async fn user() -> User {
    User
}

fn main() {
    let _ = Chain::new().get(user).build();
}
