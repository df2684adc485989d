//! A router of axum still needs its state.

use axum::Router;
use tower_chain::Chain;

fn main() {
    let router: Router<u32> = Router::new();
    let _ = Chain::new().service("/", router).build();
}
