//! Two steps provide the same type.

use tower_chain::{Chain, Provided};

async fn sum(_: Provided<u32>) -> &'static str {
    "which of them?"
}

fn main() {
    let _ = Chain::new().provide(1_u32).provide(2_u32).get(sum).build();
}
