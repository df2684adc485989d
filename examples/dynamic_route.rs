//! A route with a parameter, `/api/trivia/{number}`, that requests another server. Only a number reaches the handler.
//!
//! Next.js API routes: the dynamic route. If the parameter is not a number, the response is a 400, and the other server gets no request.
//!
//! Run with
//!
//! ```sh
//! cargo run --example dynamic_route --features serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! reqwest = "0.13"
//! tracing-subscriber = "0.3"
//! ```
//!
//! The other server is `TRIVIA_URL`, requested as `TRIVIA_URL/{number}`. Defaults to a route of this server.
//!
//! ```sh
//! curl localhost:3000/api/trivia/42
//! # 42 is the answer.
//! curl localhost:3000/api/trivia/abc
//! # {"type":"about:blank","title":"Bad Request","status":400,..}
//! curl localhost:3000/api/trivia/7
//! # {"type":"about:blank","title":"Bad Gateway","status":502..}
//! ```

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::Client;
use tower_chain::{Chain, ChainService, Error, Path, Provided, StatusCode};

#[derive(Clone)]
struct Trivia {
    client: Client,
    url: String,
}

async fn ask(trivia: Provided<Trivia>, Path(number): Path<i64>) -> Result<String, Error> {
    // The client gets a 502, and the cause is logged.
    let failed = |cause| Error::new(StatusCode::BAD_GATEWAY, "No trivia today").with_source(cause);
    let response = trivia.client.get(format!("{}/{number}", trivia.url)).send().await;
    let response = response.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    response.text().await.map_err(failed)
}

/// A placeholder for the other server.
async fn answer(Path(number): Path<i64>) -> Result<&'static str, Error> {
    match number {
        42 => Ok("42 is the answer.\n"),
        _ => Err(Error::new(StatusCode::NOT_FOUND, "No trivia of this number")),
    }
}

fn api(url: String) -> Result<ChainService, reqwest::Error> {
    let client = Client::builder().timeout(Duration::from_secs(3)).no_proxy().build()?;
    Ok(Chain::new()
        .at("/trivia/{number}", |c| c.get(answer))
        .at("/api/trivia/{number}", |c| c.provide(Trivia { client, url }).get(ask))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let own = format!("http://127.0.0.1:{port}/trivia");
    let api = api(std::env::var("TRIVIA_URL").unwrap_or(own))?;
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn StdError>> {
    api(String::new())?.audit().assert_none();
    Ok(())
}
