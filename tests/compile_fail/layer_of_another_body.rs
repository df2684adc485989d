//! A layer that makes something else of the body than a body.

use tower_chain::{Body, Chain};
use tower_http::map_response_body::MapResponseBodyLayer;

fn main() {
    let layer = MapResponseBodyLayer::new(|_: Body| vec![0_u8; 16]);
    let _ = Chain::new().use_(layer).get(async || "hello").build();
}
