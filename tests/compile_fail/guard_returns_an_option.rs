//! A guard returns an `Option`.

use tower_chain::Chain;

async fn user() -> Option<u32> {
    None
}

fn main() {
    let _ = Chain::new().guard(user).get(async || "ok").build();
}
