//! A guard does not return a `Result`.

use tower_chain::Chain;

async fn user() -> u32 {
    1
}

fn main() {
    let _ = Chain::new().guard(user).get(async || "hello").build();
}
