//! What reads the body is not the last argument.

use http::HeaderMap;
use tower_chain::Chain;

async fn create(_: String, _: HeaderMap) {}

fn main() {
    let _ = Chain::new().post(create).build();
}
