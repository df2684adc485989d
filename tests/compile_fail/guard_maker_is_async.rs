//! The function that makes a guard is async itself.

use tower_chain::{Chain, Error};

async fn can(_: &'static str) -> Result<(), Error> {
    Ok(())
}

fn main() {
    let _ = Chain::new().guard(can("read")).get(async || "ok").build();
}
