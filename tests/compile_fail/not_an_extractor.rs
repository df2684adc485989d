//! An argument is neither an extractor nor a provided value.

use tower_chain::Chain;

struct User;

async fn create(_: User, _: String) {}

fn main() {
    let _ = Chain::new().post(create).build();
}
