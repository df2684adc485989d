//! A layer returns a response whose body does not implement `http_body::Body`.

use tower_chain::{Body, Chain};
use tower_http::map_response_body::MapResponseBodyLayer;

fn main() {
    let layer = MapResponseBodyLayer::new(|_: Body| vec![0_u8; 16]);
    let _ = Chain::new().use_(layer).get(async || "hello").build();
}
