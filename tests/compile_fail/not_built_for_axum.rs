//! A chain is passed to another host before it is built.

use axum::Router;
use tower_chain::Chain;

fn main() {
    let chain = Chain::new().get(async || "hello");
    let _: Router = Router::new().fallback_service(chain);
}
