//! warp filters inside a chain, whose middleware runs before them.
//!
//! Run with
//!
//! ```sh
//! cargo run -p interop --example warp
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tower = { version = "0.5", features = ["util"] }
//! warp = { version = "0.4", features = ["server"] }
//! ```
//!
//! ```sh
//! curl -H 'x-user: Ann' localhost:3000/old/hello/Bob
//! # hello, Bob
//! curl localhost:3000/old/hello/Bob
//! # {"type":"about:blank","title":"Unauthorized","status":401,"detail":"Who are you?"}
//! ```

use tower::ServiceExt;
use tower_chain::tower::SyncBody;
use tower_chain::{Chain, ChainService, Error, Request, StatusCode};
use warp::Filter;

async fn user(headers: http::HeaderMap) -> Result<(), Error> {
    let known = headers.contains_key("x-user");
    known.then_some(()).ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
}

fn api() -> ChainService {
    let hello = warp::path!("hello" / String).map(|name: String| format!("hello, {name}\n"));
    // warp requires bodies that are `Sync`.
    let warp = warp::service(hello).map_request(|req: Request| req.map(SyncBody::new));
    Chain::new().guard(user).service("/old", warp).build()
}

#[tokio::main]
async fn main() -> Result<(), tower_chain::serve::ServeError> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    tower_chain::serve(format!("127.0.0.1:{port}"), api()).await
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
