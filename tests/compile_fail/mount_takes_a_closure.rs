//! A closure of steps is mounted.

use tower_chain::Chain;

fn main() {
    let _ = Chain::new().mount("/users", |c| c.get(async || "users")).build();
}
