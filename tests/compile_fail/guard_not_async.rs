//! A guard is not async.

use tower_chain::{Chain, Error};

fn check(_: http::HeaderMap) -> Result<(), Error> {
    Ok(())
}

fn main() {
    let _ = Chain::new().guard(check).get(async || "ok").build();
}
