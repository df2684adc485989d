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
//! `greet` compiles only because the guard stands before it. `service` is a [`tower::Service`] and a [`hyper::service::Service`] for
//! every request body; `serve` (feature `serve`) runs it, and so does every other host.
//!
//! # The order
//!
//! ```text
//!  request ──▶ log ──▶ user ──▶ greet
//! response ◀── log ◀── user ◀────┘
//! ```
//!
//! First written runs first. A step covers the steps after it and nothing before it: `/healthz` above needs no user. Path and method are
//! matched before anything runs, and only [`always`](Chain::always) steps run for requests that no handler answers.
//!
//! # Where to go on
//!
#![cfg_attr(
    all(feature = "full", feature = "overhead", feature = "test-util"),
    doc = "- [`guide`]: the first chain; coming from next-connect, Express, Koa, Hono and axum; errors, state, tests, deploying, a checklist for
  security; writing middleware for others; what a step costs; and [what the compiler says](guide::mistakes) to frequent mistakes"
)]
//! - [`Chain`]: all steps that there are, and how paths match
//! - [`Middleware`] and [`Next`]: writing middleware, as a type or as a function
//! - [`Error`]: what goes wrong, and what the client is told
//! - [`extract`] and [`respond`]: what handlers take out of a request, and answer with
//! - [`middleware`]: what is built in, each with a manual page
//! - [`ChainService`]: handling a request without a server, as tests do, and listing the routes
//!
//! # Built in
//!
//! Each has a feature, and none is on by default. `full` is all of them but `jwt-rust-crypto`, `overhead` and `test-util`.
//!
//! | step, extractor or answer | feature | what it may answer |
//! | --- | --- | --- |
//! | `Authenticate`: secret tokens, API keys, Basic, own functions | `authenticate` | 400, 401, 403, 413 |
//! | `Authenticate::introspection`: asks the issuer of a token | `introspection` | 400, 401, 503 |
//! | `Jwt`, `Claims`: signatures by aws-lc-rs, or in pure Rust | `jwt`, `jwt-rust-crypto` | 400, 401, 403, 413, 503 |
//! | `Jwt::oidc`, `Jwks`: keys from an issuer or a URL | `jwks` | 503 |
//! | `Require`: scopes, roles, permissions, policies | `require` | 401, 403 |
//! | `ProtectedResource`: metadata for OAuth clients | `protected-resource` | |
//! | `RateLimit`: quotas per client; one quota for several servers | `rate-limit`, `redis` | 429, 503 |
//! | `Valid`, `Validate`, with the crate `validator`; `Garde`, with the crate `garde` | `validate`, `garde` | 400, 413, 415, 422 |
//! | `Json`, `Form`, `Query`, `Multipart`, `Cookies` | of these names | 400, 413, 415, 422 |
//! | `Sse`, `NdJson` | of these names | |
//! | `BodyLimit`, `ETag` | of these names | 413; 304 |
//! | `ProblemDetails`, `SecurityHeaders`, `ServerTiming`, `GrpcStatus` | of these names | |
//! | `serve`, `Server`, `Tls`, sockets of systemd | `serve`, `tls`, `systemd` | 400, 431, 500 |
//! | bodies that are `Sync`, for poem, salvo and warp | `sync-body` | |
//! | `Overhead`: what each step of a chain costs | `overhead` | |
//! | `Next::run_timed`: each step's own time, for middleware that tells it | `step-times` | |
//! | `TestClient`: tests of any tower service, without a socket or over one | `test-util` | |

#![cfg_attr(docsrs, feature(doc_cfg))]
// What one feature needs of the core, another may not.
#![cfg_attr(not(feature = "full"), allow(dead_code))]

mod chain;
mod challenge;
mod error;
pub mod extract;
mod function;
mod grants;
// Pages for readers alone. Their examples use all that there is.
#[cfg(all(any(doc, doctest), feature = "full", feature = "overhead", feature = "test-util"))]
pub mod guide;
#[path = "../middleware/mod.rs"]
pub mod middleware;
#[cfg(feature = "overhead")]
#[cfg_attr(docsrs, doc(cfg(feature = "overhead")))]
pub mod overhead;
mod probe;
mod provide;
pub mod respond;
mod route;
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub mod serve;
mod step;
#[cfg(test)]
mod test_log;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod test_util;
mod tower;

pub use chain::Chain;
pub use chain::dependent::Dependent;
pub use chain::ext::MiddlewareExt;
pub use chain::mount::{Mountable, Sealed};
pub use challenge::{Challenge, ChallengeError};
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
pub use extract::{ClientAddr, MatchedPath, Path, PeerAddr};
pub use function::handler::{IntoHandler, handler_fn};
pub use function::middleware::{FromClosure, FromFn, from_closure, from_fn, from_fn_with};
pub use grants::{Anonymous, Grants};
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
#[cfg(feature = "garde")]
#[cfg_attr(docsrs, doc(cfg(feature = "garde")))]
pub use middleware::garde::Garde;
#[cfg(feature = "grpc-status")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc-status")))]
pub use middleware::grpc_status::GrpcStatus;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
pub use middleware::jwt::{Claims, Jwt, JwtConfigError, MaybeClaims};
#[cfg(feature = "problem-details")]
#[cfg_attr(docsrs, doc(cfg(feature = "problem-details")))]
pub use middleware::problem_details::ProblemDetails;
#[cfg(feature = "protected-resource")]
#[cfg_attr(docsrs, doc(cfg(feature = "protected-resource")))]
pub use middleware::protected_resource::ProtectedResource;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use middleware::rate_limit::RedisStore;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub use middleware::rate_limit::{
    Decision, LimitClock, LimitHeaders, LimitKey, Policy, Quota, RateLimit, RateLimitConfigError,
    RateLimitHandle, SharedLimits, Standing, Verdict, WhileAway,
};
#[cfg(feature = "require")]
#[cfg_attr(docsrs, doc(cfg(feature = "require")))]
pub use middleware::require::Require;
#[cfg(feature = "security-headers")]
#[cfg_attr(docsrs, doc(cfg(feature = "security-headers")))]
pub use middleware::security_headers::SecurityHeaders;
#[cfg(feature = "server-timing")]
#[cfg_attr(docsrs, doc(cfg(feature = "server-timing")))]
pub use middleware::server_timing::ServerTiming;
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use middleware::validate::{Valid, Validate};
#[cfg(feature = "overhead")]
#[cfg_attr(docsrs, doc(cfg(feature = "overhead")))]
pub use overhead::Overhead;
#[cfg(feature = "step-times")]
#[cfg_attr(docsrs, doc(cfg(feature = "step-times")))]
pub use probe::StepTime;
pub use provide::{Expected, FromChain, Provided, Provides};
pub use respond::{IntoResponse, Redirect};
pub use route::error::BuildError;
pub use route::listing::{Route, RouteHandler};
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub use serve::{Listener, ServeError, Server, serve};
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use serve::{Tls, TlsError};
pub use step::combine::{BoxMiddleware, Unless, When};
pub use step::next::{Endpoint, Erased, IntoMiddleware, Middleware, Next, NextWith};
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub use test_util::{TestClient, TestNext};
pub use tower::inside::TowerNext;
pub use tower::layer::{ChainLayer, Chained, ChainedFuture};
pub use tower::service::{ChainService, ResponseFuture, ServiceFuture};
#[cfg(feature = "sync-body")]
#[cfg_attr(docsrs, doc(cfg(feature = "sync-body")))]
pub use tower::sync_body::{SyncBody, SyncChain, SyncFuture};

/// The body of requests and responses.
pub type Body = axum_core::body::Body;
/// A request.
pub type Request = http::Request<Body>;
/// A response.
pub type Response = http::Response<Body>;

#[cfg(all(doctest, feature = "full", feature = "test-util"))]
#[doc = include_str!("../README.md")]
struct Readme;
