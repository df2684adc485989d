//! A handler with thirteen arguments.

use http::{HeaderMap as H, Method as M};
use tower_chain::Chain;

async fn list(_: H, _: H, _: H, _: H, _: H, _: H, _: M, _: M, _: M, _: M, _: M, _: M, _: M) {}

fn main() {
    let _ = Chain::new().get(list).build();
}
