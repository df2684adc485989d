//! An extractor stands behind `Request`.

use http::HeaderMap;
use tower_chain::{Chain, Next, Request, Response, from_fn_with};

async fn log(req: Request, _: HeaderMap, next: Next<'_>) -> Response {
    next.run(req).await
}

fn main() {
    let _ = Chain::new().use_(log).get(async || "hello").build();
    let _ = from_fn_with::<(HeaderMap,), _, _>(log);
}
