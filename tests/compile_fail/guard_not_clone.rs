//! The value of a guard does not implement `Clone`.

use tower_chain::{Chain, Error};

struct User;

async fn user() -> Result<User, Error> {
    Ok(User)
}

fn main() {
    let _ = Chain::new().guard(user).get(async || "hello").build();
}
