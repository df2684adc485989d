//! Streamed responses: server-sent events, and newline-delimited JSON.
//!
//! Run with
//!
//! ```sh
//! cargo run --example events --features ndjson,serve,sse
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! futures-util = "0.3"
//! http = "1"
//! serde_json = "1"
//! tokio = { version = "1", features = ["full", "test-util"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! The server sends one event per second without end. Here the client disconnects after two.
//!
//! ```sh
//! curl -N localhost:3000/events | head -n 5
//! # id: 1
//! # data: tick
//! #
//! # id: 2
//! # data: tick
//! curl -N -H 'last-event-id: 7' localhost:3000/events | head -n 2
//! # id: 8
//! # data: tick
//! curl -N localhost:3000/numbers
//! # {"n":1}
//! # {"n":2}
//! # {"n":3}
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use futures_util::stream;
use serde_json::json;
use tower_chain::respond::{Event, LastEventId, NdJson, Sse};
use tower_chain::{Chain, ChainService, IntoResponse};

async fn events(LastEventId(last): LastEventId) -> impl IntoResponse {
    let first: u64 = last.and_then(|id| id.parse().ok()).unwrap_or(0);
    Sse::new(stream::unfold(first, async |n| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let event = Event::new().id(n + 1).data("tick");
        Some((Ok::<_, Infallible>(event), n + 1))
    }))
}

async fn numbers() -> impl IntoResponse {
    NdJson::new(stream::iter((1..=3).map(|n| Ok::<_, Infallible>(json!({ "n": n })))))
}

fn api() -> ChainService {
    Chain::new().at("/events", |c| c.get(events)).at("/numbers", |c| c.get(numbers)).build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[tokio::test(start_paused = true)]
async fn events_go_on_after_the_last_one() -> Result<(), Box<dyn Error>> {
    use futures_util::StreamExt;

    let req = http::Request::get("/events").header("last-event-id", "7");
    let res = api().handle(req.body(tower_chain::Body::empty())?).await;
    let first = res.into_body().into_data_stream().next().await.ok_or("no event")??;
    assert_eq!(first, "id: 8\ndata: tick\n\n");
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
