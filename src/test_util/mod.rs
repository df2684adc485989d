//! A test kit for any tower service, in process or over a socket.
//!
//! # What it does
//!
//! [`TestClient`] sends requests to a service (a chain, an axum `Router`, or any other [`tower::Service`]) as a client does. [`TestResponse`] has
//! assertions; one that fails prints the request and the response. With [`over_tcp`](TestClient::over_tcp), the same test runs over a real port.
//!
//! # Example
//!
//! ```
//! use serde_json::json;
//! use tower_chain::test_util::TestClient;
//! use tower_chain::{Chain, Json};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let api = Chain::new()
//!     .at("/sum", |c| c.post(async |Json(numbers): Json<Vec<i32>>| Json(json!({ "sum": numbers.iter().sum::<i32>() }))))
//!     .build();
//! let client = TestClient::new(api);
//!
//! client.post("/sum").json(&[1, 2, 3]).send().await.assert_status(200).assert_json(&json!({ "sum": 6 }));
//! client.post("/sum").json("no list").send().await.assert_problem(422).assert_field_error("", "type");
//! client.delete("/sum").send().await.assert_status(405).assert_allow(["POST", "OPTIONS"]);
//! # }
//! ```
//!
//! # Example: test a handler or a middleware alone
//!
//! [`provided`](TestRequest::provided) replaces a value that a step of the chain provides. [`TestClient::handler`] tests a handler without the chain,
//! and [`TestNext`] a middleware.
//!
//! ```
//! use tower_chain::test_util::{TestClient, TestNext};
//! use tower_chain::{Error, Next, Provided, Response, StatusCode};
//!
//! #[derive(Clone)]
//! struct User(&'static str);
//!
//! async fn greet(Provided(User(name)): Provided<User>) -> String {
//!     format!("hello, {name}")
//! }
//!
//! async fn members_only(next: Next<'_>) -> Result<Response, Error> {
//!     match next.headers().get("x-member") {
//!         Some(_) => Ok(next.run().await),
//!         None => Err(Error::new(StatusCode::FORBIDDEN, "For members only")),
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let client = TestClient::handler(greet);
//! client.get("/").provided(User("Ann")).send().await.assert_text("hello, Ann");
//!
//! let next = TestNext::new();
//! let client = next.behind(members_only);
//! client.get("/").send().await.assert_problem(403);
//! next.assert_not_called();
//! client.get("/").header("x-member", "7").send().await.assert_status(200);
//! assert_eq!(next.assert_called_once().headers()["x-member"], "7");
//! # }
//! ```
//!
//! # Time
//!
//! The kit itself never waits, so tests can pause the clock of tokio. For limits there is `LimitClock::fake`, for tokens `Jwt::clock`, and
//! `middleware::jwt::TestIssuer` creates tokens for tests:
//!
//! ```
//! # #[cfg(feature = "rate-limit")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::time::Duration;
//!
//! use tower_chain::middleware::rate_limit::LimitClock;
//! use tower_chain::{Chain, RateLimit, TestClient};
//!
//! let clock = LimitClock::fake();
//! let limit = RateLimit::per_minute(1).clock(clock.clone());
//! let client = TestClient::new(Chain::new().use_(limit).get(async || "hello").build());
//!
//! client.get("/").send().await.assert_status(200);
//! client.get("/").send().await.assert_problem(429).assert_retry_after(Duration::from_secs(60));
//! clock.advance(Duration::from_secs(60));
//! client.get("/").send().await.assert_status(200);
//! # }
//! # #[cfg(not(feature = "rate-limit"))]
//! # fn main() {}
//! ```
//!
//! # What differs over TCP
//!
//! The kit starts a server of its own on the port, with HTTP/1.1 or, by [`over_http2`](TestClient::over_http2), HTTP/2. Each request has its own
//! connection. Extensions of the request, such as the address of the peer, are passed to the service within the process; extensions of
//! the response are not returned. On HTTP/1.1, trailers are returned only if the request has `TE: trailers` and the response names them in
//! `Trailer`. On HTTP/2 the service receives an absolute URI and no `Host`, and a request with a wrong Content-Length is reset.
//!
//! Do not pause the clock of tokio over a port: a paused clock advances while the client waits for the socket.

mod asserts;
mod client;
mod client_state;
mod cookie;
mod exchange;
mod multipart;
mod next;
mod problem;
mod request;
mod response;
mod snapshot;
mod stream;
mod tcp;
mod transport;
mod upgrade;

pub use client::TestClient;
pub use cookie::TestCookie;
pub use multipart::TestForm;
pub use next::{Reached, TestNext};
pub use problem::RateLimitField;
pub use request::TestRequest;
pub use response::TestResponse;
pub use snapshot::TestSnapshot;
pub use stream::{TestEvent, TestStream};
pub use transport::{BodyError, SendError};
pub use upgrade::TestUpgrade;
