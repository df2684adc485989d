//! A guard is passed to `use_`.

use tower_chain::{Chain, Error};

async fn check(_: http::HeaderMap) -> Result<(), Error> {
    Ok(())
}

fn main() {
    let _ = Chain::new().use_(check).get(async || "hello").build();
}
