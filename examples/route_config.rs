//! Settings of one route: the maximum size of a body, a body that is not parsed, and a warning for large responses.
//!
//! Next.js API routes: `config.api` with `sizeLimit`, `bodyParser: false` and `responseLimit`. `externalResolver` is not needed:
//! a handler that returns no response does not compile.
//!
//! Run with
//!
//! ```sh
//! cargo run --example route_config --features body-limit,json,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! futures-util = "0.3"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl localhost:3000/api/note --json '"short"'
//! # "short"
//! curl localhost:3000/api/note --json "\"$(head -c 2000 /dev/zero | tr '\0' x)\""
//! # {..,"status":413,..,"limit":1024}
//! head -c 2000000 /dev/zero | curl localhost:3000/api/upload -T -
//! # 2000000 bytes
//! curl localhost:3000/api/report | wc -c
//! # 5000000
//! ```
//!
//! The last request logs the warning `large response`.

use futures_util::TryStreamExt;
use tower_chain::{BodyLimit, Chain, ChainService, Error, Json, Request};

/// Reads JSON, up to the limit.
async fn note(Json(note): Json<String>) -> Json<String> {
    Json(note)
}

/// Reads the body as a stream of chunks.
async fn upload(req: Request) -> Result<String, Error> {
    let pieces = req.into_body().into_data_stream();
    let bytes = pieces.try_fold(0, async |sum, piece| Ok(sum + piece.len())).await?;
    Ok(format!("{bytes} bytes\n"))
}

async fn report() -> String {
    "x".repeat(5_000_000)
}

fn api() -> ChainService {
    Chain::new()
        .allow("open-write", "nothing is stored")
        .use_(BodyLimit::bytes(1024).warn_response_above(4 * 1024 * 1024))
        .at("/api/note", |c| c.post(note))
        .at("/api/upload", |c| c.use_(BodyLimit::bytes(1 << 30)).put(upload))
        .at("/api/report", |c| c.get(report))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
