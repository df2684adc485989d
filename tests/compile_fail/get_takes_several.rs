//! Several functions are passed to `get`, as in next-connect.

use tower_chain::{Chain, Error};

async fn check() -> Result<(), Error> {
    Ok(())
}

fn main() {
    let _ = Chain::new().get(check, async || "ok").build();
}
