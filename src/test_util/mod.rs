//! A kit for tests of any tower service, without a socket or over one.
//!
//! # What it does
//!
//! [`TestClient`] asks a service (a chain, an axum `Router`, anything that is a [`tower::Service`]) as a client would, and
//! [`TestResponse`] says what came back, in words that fail with the whole exchange. By one word, [`over_tcp`](TestClient::over_tcp),
//! the same test runs over a real port.
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
//! # Example: what stands around a handler is replaced
//!
//! [`provided`](TestRequest::provided) stands in for what a step of the chain would provide. [`TestClient::handler`] and [`TestNext`] leave the
//! rest of the chain out altogether.
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
//! The kit never waits by itself, so it works with a paused clock of tokio. Limits have
//! `LimitClock::fake`, tokens
//! `Jwt::clock`, and `middleware::jwt::TestIssuer` makes the tokens that a test needs:
//!
//! ```
//! # #[cfg(feature = "rate-limit")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::time::Duration;
//!
//! use tower_chain::{Chain, LimitClock, RateLimit, TestClient};
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
//! The port is the kit's own server, HTTP/1.1 or by [`over_http2`](TestClient::over_http2) HTTP/2, by hyper, and each request has a
//! connection of its own. Extensions, and with them the peer address, are handed over beside the connection, so that tests that set them
//! hold there too. Extensions of the response don't come back. On HTTP/1.1, trailers come back only if the request says `TE: trailers`
//! and the response names them in `Trailer`. On HTTP/2 the service sees an absolute URI and no `Host`, and a Content-Length that lies is
//! refused by the protocol itself.
//!
//! Over a port, time is the system's: a paused clock of tokio jumps ahead while a socket is waited for.

mod asserts;
mod client;
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
