//! Middleware chains in front of method handlers, for hyper, axum and every other tower host.
//!
//! *A chain is an ordered list of steps: middleware, handlers and paths. A request walks the steps in the order in which they are
//! written, and its response walks back. A step either answers or passes the request on.*
//!
//! ```
//! use tower_chain::{Chain, Error, Next, Provided, Response, StatusCode};
//!
//! #[derive(Clone)]
//! struct User(String);
//!
//! async fn log(next: Next<'_>) -> Response {
//!     let line = format!("{} {}", next.method(), next.uri().path());
//!     let response = next.run().await;
//!     println!("{line} {}", response.status());
//!     response
//! }
//!
//! async fn user(headers: http::HeaderMap) -> Result<User, Error> {
//!     let name = headers.get("x-user").and_then(|name| name.to_str().ok());
//!     name.map(|name| User(name.to_owned()))
//!         .ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
//! }
//!
//! async fn greet(Provided(User(name)): Provided<User>) -> String {
//!     format!("hello, {name}")
//! }
//!
//! let service = Chain::new()
//!     .always(log)
//!     .at("/healthz", |c| c.get(async || "ok"))
//!     .guard(user)
//!     .at("/greeting", |c| c.get(greet))
//!     .build();
//! # let _ = service;
//! ```
//!
//! `greet` compiles only because the guard is before it. `service` is a [`tower::Service`](::tower::Service) and a [`hyper::service::Service`] for
//! every request body. `serve` (feature `serve`) runs it, and so does any other host.
//!
//! # The order
//!
//! ```text
//!  request ──▶ log ──▶ user ──▶ greet
//! response ◀── log ◀── user ◀────┘
//! ```
//!
//! Steps run in the order in which they are written. A step covers the steps after it and nothing before it: `/healthz` above needs no
//! user. Path and method are matched before any step runs. For requests that match no handler, only [`always`](Chain::always) steps run.
//!
//! # Further reading
//!
#![cfg_attr(
    all(feature = "full", feature = "overhead", feature = "test-util"),
    doc = "- [`guide`]: the first chain; coming from next-connect, Express, Koa, Hono and axum; validation, errors, state, tests,
  deploying, a security checklist; tokens of common issuers; recipes; writing middleware for others; the cost of a step; and [the compiler's messages](guide::mistakes) for frequent mistakes"
)]
//! - [`Chain`]: all kinds of steps, and how paths match
//! - [`Middleware`] and [`Next`]: writing middleware, as a type or as a function
//! - [`Error`]: errors, and the responses that they become
//! - [`extract`] and [`respond`]: the arguments and the results of handlers
//! - [`middleware`]: the built-in middleware, each with a manual page
//! - [`ChainService`]: handling a request without a server, as tests do, and listing the routes
//!
//! # Built in
//!
//! Each has a feature, and none is on by default. `full` enables all of them except `jwt-rust-crypto`, `overhead`,
//! `step-times` and `test-util`.
//!
//! | step, extractor or response | feature | statuses that it may answer |
//! | --- | --- | --- |
//! | `AccessLog`: a line for each request, combined or JSON | `access-log` | |
//! | `Authenticate`: secret tokens, API keys, Basic, own functions | `authenticate` | 400, 401, 403, 413, 429, 503 |
//! | `Authenticate::introspection`: opaque tokens, checked by their issuer | `introspection` | 400, 401, 403, 413, 429, 503 |
//! | `Jwt`, `Claims`: signatures by aws-lc-rs, or in pure Rust | `jwt`, `jwt-rust-crypto` | 400, 401, 403, 413, 429, 503 |
//! | `Jwt::oidc`, `Jwks`: keys from an issuer or a URL | `jwks` | 503 |
//! | `Require`: scopes, roles, permissions, policies | `require` | 401, 403 |
//! | `ProtectedResource`: metadata for OAuth clients | `protected-resource` | |
//! | `RateLimit`: quotas per client; one quota for several servers | `rate-limit`, `redis` | 429, 503 |
//! | `Idempotency`: runs a request with an `Idempotency-Key` once, and replays its response | `idempotency`, `redis` | 400, 409, 413, 422, 429, 503 |
//! | `Shed`: refuses what an overloaded server can't finish | `shed` | 400, 503, 504 |
//! | `Valid`, `ValidateInput`, with the crate `validator`; `Garde`, with the crate `garde` | `validate`, `garde` | 400, 413, 415, 422 |
//! | `extract::ByField`, `#[derive(Fields)]`: every error of an input, under the names that the client uses | `fields` | 400, 413, 415, 422 |
//! | `Json`, `Form`, `Query`, `Multipart`, `Cookies` | of these names | 400, 413, 415, 422 |
//! | `Sse`, `NdJson` | of these names | |
//! | `ChainService::audit`: wrong orders and settings of steps | `audit` | |
//! | `Deprecated`: `Deprecation`, `Sunset` and links | `deprecated` | |
//! | `MessageSignatures`: HTTP Message Signatures with digests of the body | `message-signatures` | 400, 401, 413, 503 |
//! | `Signed`: signed webhooks, each handled once | `signed` | 200, 400, 401, 409, 413, 503 |
//! | `BodyLimit`, `ETag` | of these names | 413; 304, 412 |
//! | `ProblemDetails`, `SecurityHeaders`, `ServerTiming`, `GrpcStatus` | of these names | |
//! | `Telemetry`, `TraceContext`: spans and metrics by OpenTelemetry's conventions | `telemetry` | |
//! | `serve`, `Server`, `Tls`, sockets of systemd | `serve`, `tls`, `systemd` | 400, 408, 431, 500, 501, 503 |
//! | in an axum application: the client's URI inside of `nest`, and the match of the router in a chain that is a layer | `axum` | |
//! | bodies that are `Sync`, for poem, salvo and warp | `sync-body` | |
//! | `Chain::documented`, `openapi::Docs`: an OpenAPI document of the chain, and its page | `openapi` | 304 |
//! | `Overhead`: the cost of each step of a chain | `overhead` | |
//! | `Next::run_timed`: each step's own time, for middleware that reports it | `step-times` | |
//! | `TestClient`: tests of any tower service, without a socket or over one | `test-util` | |

#![cfg_attr(docsrs, feature(doc_cfg))]
// `clippy.toml` lists the methods. They use Unicode's white space and letters, but protocols use those of ASCII.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]
// Some features use parts of the core that others don't.
#![cfg_attr(not(feature = "full"), allow(dead_code))]

// The code that the derive macro writes names this crate, in our tests as well.
#[cfg(test)]
extern crate self as tower_chain;

// How a request runs through a chain: see the head of `src/tower/root.rs`, which names the files in order.

#[cfg(feature = "audit")]
#[cfg_attr(docsrs, doc(cfg(feature = "audit")))]
pub mod audit;
pub mod chain;
pub mod challenge;
pub mod declare;
mod error;
#[cfg(feature = "serve")]
mod extensions;
pub mod extract;
pub mod function;
pub mod grants;
// Pages of documentation. Their examples use all features.
#[cfg(all(any(doc, doctest), feature = "full", feature = "overhead", feature = "test-util"))]
pub mod guide;
mod json_text;
#[path = "../middleware/mod.rs"]
pub mod middleware;
#[cfg(feature = "openapi")]
#[cfg_attr(docsrs, doc(cfg(feature = "openapi")))]
pub mod openapi;
#[cfg(feature = "overhead")]
#[cfg_attr(docsrs, doc(cfg(feature = "overhead")))]
pub mod overhead;
mod probe;
mod provide;
pub mod respond;
pub mod route;
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub mod serve;
pub mod step;
#[cfg(test)]
mod test_log;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod test_util;
pub mod tower;
#[cfg(any(feature = "authenticate", feature = "fields"))]
mod turns;

pub use chain::builder::Chain;
pub use chain::ext::MiddlewareExt;
pub use chain::mount::Sealed;
pub use error::Error;
#[cfg(feature = "cookies")]
#[cfg_attr(docsrs, doc(cfg(feature = "cookies")))]
pub use extract::Cookies;
#[cfg(feature = "form")]
#[cfg_attr(docsrs, doc(cfg(feature = "form")))]
pub use extract::Form;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use extract::Json;
#[cfg(feature = "query")]
#[cfg_attr(docsrs, doc(cfg(feature = "query")))]
pub use extract::Query;
pub use extract::{ClientAddr, Fields, MatchedPath, Path};
pub use function::handler::handler_fn;
pub use function::middleware::{from_closure, from_fn, from_fn_with};
pub use http::StatusCode;
#[cfg(feature = "authenticate")]
#[cfg_attr(docsrs, doc(cfg(feature = "authenticate")))]
pub use middleware::authenticate::{Authenticate, Principal};
#[cfg(feature = "body-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "body-limit")))]
pub use middleware::body_limit::BodyLimit;
#[cfg(feature = "etag")]
#[cfg_attr(docsrs, doc(cfg(feature = "etag")))]
pub use middleware::etag::ETag;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
pub use middleware::jwt::{Claims, Jwt};
#[cfg(feature = "problem-details")]
#[cfg_attr(docsrs, doc(cfg(feature = "problem-details")))]
pub use middleware::problem_details::ProblemDetails;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub use middleware::rate_limit::RateLimit;
#[cfg(feature = "require")]
#[cfg_attr(docsrs, doc(cfg(feature = "require")))]
pub use middleware::require::Require;
#[cfg(feature = "security-headers")]
#[cfg_attr(docsrs, doc(cfg(feature = "security-headers")))]
pub use middleware::security_headers::SecurityHeaders;
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use middleware::validate::{Valid, ValidateInput};
pub use provide::Provided;
pub use respond::{IntoResponse, Redirect};
pub use route::error::BuildError;
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub use serve::{Server, serve};
pub use step::combine::BoxMiddleware;
pub use step::next::{Middleware, Next, NextWith};
pub use step::reach::Endpoint;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub use test_util::TestClient;
pub use tower::service::ChainService;
#[cfg(feature = "fields")]
#[cfg_attr(docsrs, doc(cfg(feature = "fields")))]
pub use tower_chain_derive::Fields;

/// The body of requests and responses.
pub type Body = axum_core::body::Body;
/// A request.
pub type Request = http::Request<Body>;
/// A response.
pub type Response = http::Response<Body>;

#[cfg(all(doctest, feature = "full", feature = "test-util"))]
#[doc = include_str!("../README.md")]
struct Readme;
