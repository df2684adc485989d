//! A chain is passed to `nest` of axum.

use axum::Router;
use tower_chain::Chain;

fn main() {
    let _: Router = Router::new().nest("/api", Chain::new().get(async || "ok").build());
}
