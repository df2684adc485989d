//! A guard reads the body, which is left for the handler.

use tower_chain::{Chain, Error};

async fn signed(body: String) -> Result<(), Error> {
    let _ = body;
    Ok(())
}

fn main() {
    let _ = Chain::new().guard(signed).post(async || "hello").build();
}
