//! A function returns `Chain` without its type parameters.

use tower_chain::Chain;

fn users() -> Chain {
    Chain::new().get(async || "users")
}

fn main() {
    let _ = Chain::new().mount("/users", users()).build();
}
