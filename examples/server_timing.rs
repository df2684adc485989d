//! The time of each step of a request in the network panel of a browser. Other clients don't get the times.
//!
//! Run with
//!
//! ```sh
//! cargo run --example server_timing --features serve,server-timing,step-times
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tokio = { version = "1", features = ["full", "test-util"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i -H 'x-debug: 1' localhost:3000/users/7
//! # HTTP/1.1 200 OK
//! # server-timing: total;dur=.., chain;dur=.., use-user;dur=.., GET-page;dur=..
//! #
//! # user 7
//! curl -i localhost:3000/users/7 | grep -ci server-timing
//! # 0
//! ```

use std::error::Error;
use std::time::Duration;

use tower_chain::middleware::server_timing::ServerTiming;
use tower_chain::{Chain, ChainService, MiddlewareExt, Next, Path, Request, Response};

/// Waits, like a database query.
async fn user(next: Next<'_>) -> Response {
    tokio::time::sleep(Duration::from_millis(10)).await;
    next.run().await
}

async fn page(Path(id): Path<u32>) -> String {
    tokio::time::sleep(Duration::from_millis(12)).await;
    format!("user {id}\n")
}

fn site() -> Result<ChainService, Box<dyn Error>> {
    let timing = ServerTiming::new("total")?.each_step();
    // A header is enough on your own machine. On a public server, require a credential.
    let for_developers = |req: &Request| req.headers().contains_key("x-debug");
    let users = Chain::new().use_(user).at("/{id}", |c| c.get(page));
    Ok(Chain::new().always(timing.when(for_developers)).mount("/users", users).build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), site()?).await?)
}

#[tokio::test(start_paused = true)]
async fn developers_are_told_each_step_and_strangers_nothing() -> Result<(), Box<dyn Error>> {
    let ask = || http::Request::get("/users/7");
    let empty = tower_chain::Body::empty;
    let response = site()?.handle(ask().header("x-debug", "1").body(empty())?).await;
    let timing = response.headers()["server-timing"].to_str()?;
    let names = timing.split(", ").filter_map(|metric| metric.split_once(";dur="));
    let names: Vec<&str> = names.map(|(name, _)| name).collect();
    assert_eq!(names, ["total", "chain", "use-user", "GET-page"]);
    let response = site()?.handle(ask().body(empty())?).await;
    assert!(!response.headers().contains_key("server-timing"));
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    site()?.audit().assert_none();
    Ok(())
}
