//! A chain in the style of next-connect: middleware, handlers, `onError` and `onNoMatch`, in the order in which they are written.
//!
//! Next.js API routes: the same with next-connect.
//!
//! Run with
//!
//! ```sh
//! API_TOKEN=Vy3pRT1rW9ZsU0bq6xQ2Lw cargo run --example next_connect --features authenticate,json,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! serde_json = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! `use_` applies only to the steps after it: reading is public, writing is not.
//!
//! ```sh
//! curl localhost:3000/
//! # {"message":"Hello"}
//! curl localhost:3000/ --json '"Hi"'
//! # {"error":"Unauthorized"}
//! curl -H 'Authorization: Bearer Vy3pRT1rW9ZsU0bq6xQ2Lw' localhost:3000/ --json '"Hi"'
//! # {"from":"token","message":"Hi"}
//! curl -H 'Authorization: Bearer Vy3pRT1rW9ZsU0bq6xQ2Lw' -X DELETE localhost:3000/
//! # {"error":"Internal Server Error"}
//! curl -i -X PUT localhost:3000/
//! # HTTP/1.1 405 Method Not Allowed
//! # allow: DELETE, GET, HEAD, OPTIONS, POST
//! #
//! # {"error":"Method Not Allowed"}
//! ```

use serde_json::{Value, json};
use tower_chain::{Authenticate, Chain, ChainService, Error, Json, Principal, StatusCode};
use tower_chain::{Next, Response};

async fn log(next: Next<'_>) -> Response {
    let method = next.method().clone();
    let response = next.run().await;
    println!("{method} {}", response.status());
    response
}

async fn on_error(error: Error) -> (StatusCode, Json<Value>) {
    (error.status(), Json(json!({ "error": error.title() })))
}

async fn read() -> Json<Value> {
    Json(json!({ "message": "Hello" }))
}

async fn write(principal: Principal, Json(message): Json<String>) -> Json<Value> {
    Json(json!({ "message": message, "from": principal.name() }))
}

/// Fails. The response doesn't contain the cause.
async fn remove(_: Principal) -> Result<StatusCode, Error> {
    let _: u32 = "many".parse()?;
    Ok(StatusCode::NO_CONTENT)
}

fn api(token: &str) -> Result<ChainService, String> {
    let authenticate = Authenticate::token(token).map_err(|error| format!("API_TOKEN: {error}"))?;
    Ok(Chain::new()
        .on_error(on_error)
        .use_(log)
        .get(read)
        .use_(authenticate)
        .post(write)
        .delete(remove)
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let token = std::env::var("API_TOKEN").map_err(|_| "API_TOKEN is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(&token)?).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn std::error::Error>> {
    api("Vy3pRT1rW9ZsU0bq6xQ2Lw")?.audit().assert_none();
    Ok(())
}
