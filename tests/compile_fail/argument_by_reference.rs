//! A handler takes an argument by reference.

use tower_chain::{Chain, Provided};

async fn show(n: &Provided<u32>) -> String {
    n.0.to_string()
}

fn main() {
    let _ = Chain::new().provide(1_u32).get(show).build();
}
