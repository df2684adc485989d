//! The chain at a path is sealed.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().at("/users", |c| c.get(async || "users").seal()).build();
}
