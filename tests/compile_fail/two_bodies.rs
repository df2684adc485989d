//! Two arguments read the body.

use tower_chain::{Chain, Json};

async fn create(_: String, _: Json<u32>) {}

fn main() {
    let _ = Chain::new().post(create).build();
}
