//! The service that W3C's test harness for Trace Context calls: it calls the URLs that a request lists, with the trace of the request.
//!
//! Run with
//!
//! ```sh
//! cargo run -p interop --example trace_context
//! ```
//!
//! Dependencies besides `tower-chain` (features `json`, `serve` and `telemetry`) and `tokio`:
//!
//! ```toml
//! reqwest = { version = "0.13", default-features = false, features = ["json"] }
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl --json '[{"url": "http://localhost:3000/test", "arguments": []}]' localhost:3000/test
//! # 1 calls
//! ```
//!
//! `interop/trace-context FOLDER` runs the harness against it, where the folder is a clone of <https://github.com/w3c/trace-context>.

use tower_chain::middleware::telemetry::{Telemetry, TraceContext};
use tower_chain::serve::ServeError;
use tower_chain::{Chain, ChainService, Error, Json};

#[derive(serde::Deserialize)]
struct Call {
    url: String,
    arguments: serde_json::Value,
}

async fn call_all(trace: TraceContext, Json(calls): Json<Vec<Call>>) -> Result<String, Error> {
    let client = reqwest::Client::new();
    for Call { url, arguments } in &calls {
        // Each call is a span of its own.
        let headers = trace.child().headers().collect();
        client.post(url).headers(headers).json(arguments).send().await?;
    }
    Ok(format!("{} calls\n", calls.len()))
}

fn api() -> ChainService {
    Chain::new()
        .always(Telemetry::new())
        .allow("open-write", "the test harness has no credentials")
        .at("/test", |c| c.post(call_all))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    tower_chain::serve(format!("127.0.0.1:{port}"), api()).await
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
