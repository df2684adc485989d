//! An argument that is neither an extractor nor provided.

use tower_chain::Chain;

struct User;

async fn create(_: User, _: String) {}

fn main() {
    let _ = Chain::new().post(create).build();
}
