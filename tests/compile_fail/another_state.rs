//! An extractor needs another state than the chain has.

use axum::extract::State;
use tower_chain::Chain;

#[derive(Clone)]
struct Pool;

async fn list(_: State<u32>) {}

fn main() {
    let _ = Chain::new().with_state(Pool).get(list).build();
}
