//! The argument that reads the body is not the last one.

use http::HeaderMap;
use tower_chain::Chain;

async fn create(_: String, _: HeaderMap) {}

fn main() {
    let _ = Chain::new().post(create).build();
}
