//! The chain at a path is built.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().at("/users", |c| c.get(async || "users").build()).build();
}
