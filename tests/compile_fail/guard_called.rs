//! A guard is called instead of being passed.

use tower_chain::{Chain, Error};

async fn check() -> Result<(), Error> {
    Ok(())
}

fn main() {
    let _ = Chain::new().guard(check()).get(async || "ok").build();
}
