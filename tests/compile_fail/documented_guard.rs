//! The error of a documented guard has no description.

use http::HeaderMap;
use tower_chain::{Chain, Response};

async fn check(_: HeaderMap) -> Result<(), Response> {
    Ok(())
}

fn main() {
    let _ = Chain::new().documented().guard(check).get(async || "page").build();
}
