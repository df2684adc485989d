//! What several targets need.

use futures_util::FutureExt;
use http_body_util::BodyExt;
use tower_chain::{Body, ChainService};

/// The status and the body that a chain answers with, at once.
pub fn send(chain: &ChainService, req: http::Request<Body>) -> (u16, Vec<u8>) {
    let response = chain.handle(req).now_or_never().expect("nothing here waits");
    let status = response.status().as_u16();
    let body = response.into_body().collect().now_or_never().expect("nothing here waits");
    (status, body.expect("the body is there").to_bytes().to_vec())
}
