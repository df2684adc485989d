//! A chain in the style of Express: `app.use`, a router under a path, and an error handler.
//!
//! Next.js API routes: Express middleware.
//!
//! Run with
//!
//! ```sh
//! cargo run --example express --features json,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tower-http = { version = "0.7", features = ["cors"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i -H 'origin: https://app.example' localhost:3000/api/users/1
//! # HTTP/1.1 200 OK
//! # access-control-allow-origin: *
//! # x-response-time: ..ms
//! #
//! # {"id":1,"name":"John Doe"}
//! curl localhost:3000/api/users/7
//! # {"error":"User not found"}
//! curl -i localhost:3000/nowhere
//! # HTTP/1.1 404 Not Found
//! # access-control-allow-origin: *
//! #
//! # {"error":"There is nothing at /nowhere"}
//! ```

use std::time::Instant;

use http::{HeaderValue, Uri};
use serde::Serialize;
use serde_json::{Value, json};
use tower_chain::{Chain, ChainService, Error, Json, Next, Path, Provided, Response, StatusCode};
use tower_http::cors::CorsLayer;

#[derive(Clone, Serialize)]
struct User {
    id: u32,
    name: &'static str,
}

/// `(req, res, next) => ..`: the code after `next` handles the response.
async fn response_time(next: Next<'_>) -> Result<Response, Error> {
    let start = Instant::now();
    let mut response = next.run().await;
    let took = HeaderValue::try_from(format!("{}ms", start.elapsed().as_millis()))?;
    response.headers_mut().insert("x-response-time", took);
    Ok(response)
}

/// `(req, res, next) => { req.user = ..; next() }`: the provided value has a type.
async fn load_user(Path(id): Path<u32>) -> Result<User, Error> {
    let users = [User { id: 1, name: "John Doe" }, User { id: 2, name: "Jane Doe" }];
    let user = users.into_iter().find(|user| user.id == id);
    user.ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "User not found"))
}

async fn user(Provided(user): Provided<User>) -> Json<User> {
    Json(user)
}

/// `(err, req, res, next) => ..`
async fn error_handler(error: Error) -> (StatusCode, Json<Value>) {
    (error.status(), Json(json!({ "error": error.detail() })))
}

async fn not_found(uri: Uri) -> Error {
    Error::new(StatusCode::NOT_FOUND, format!("There is nothing at {}", uri.path()))
}

fn app() -> ChainService {
    let router = Chain::new().at("/users/{id}", |c| c.guard(load_user).get(user));
    Chain::new()
        .on_error(error_handler)
        .on_no_match(not_found)
        .always(CorsLayer::permissive())
        .always(response_time)
        .mount("/api", router)
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), app()).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    app().audit().assert_none();
}
