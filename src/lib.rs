//! Middleware chains in front of method handlers.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod answer;
mod build;
mod chain;
mod challenge;
mod combine;
mod dependent;
mod error;
pub mod extract;
mod grants;
mod guard;
mod handler;
mod hooks;
#[path = "../middleware/mod.rs"]
pub mod middleware;
mod next;
mod pattern;
mod provide;
pub mod respond;
mod route;
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub mod serve;
mod step;
#[cfg(feature = "sync-body")]
mod sync_body;

pub use adapter::{
    ChainLayer, ChainService, Chained, ChainedFuture, ResponseFuture, ServiceFuture, TowerNext,
};
pub use build::BuildError;
pub use chain::{Chain, Mountable, Sealed};
pub use challenge::{Challenge, ChallengeError};
pub use combine::{BoxMiddleware, Unless, When};
pub use dependent::Dependent;
pub use error::Error;
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
pub use grants::Grants;
pub use handler::{IntoHandler, IntoMiddleware, handler_fn};
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
pub use middleware::jwt::{Claims, Jwt, JwtConfigError, MaybeClaims};
#[cfg(feature = "problem-details")]
#[cfg_attr(docsrs, doc(cfg(feature = "problem-details")))]
pub use middleware::problem_details::ProblemDetails;
#[cfg(feature = "protected-resource")]
#[cfg_attr(docsrs, doc(cfg(feature = "protected-resource")))]
pub use middleware::protected_resource::ProtectedResource;
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
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use middleware::validate::{Valid, Validate};
pub use next::{Endpoint, FromFn, Middleware, Next, Rest, from_fn, from_fn_with};
pub use provide::{Expected, FromChain, Provided, Provides};
pub use respond::Redirect;
pub use route::{Route, RouteHandler};
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub use serve::{Listener, ServeError, Server, serve};
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use serve::{Tls, TlsError};

#[cfg(feature = "sync-body")]
#[cfg_attr(docsrs, doc(cfg(feature = "sync-body")))]
pub use sync_body::{SyncBody, SyncChain, SyncFuture};

#[cfg(feature = "grpc-status")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc-status")))]
pub use middleware::grpc_status::GrpcStatus;

/// The body of requests and responses.
pub type Body = axum_core::body::Body;
/// A request.
pub type Request = http::Request<Body>;
/// A response.
pub type Response = http::Response<Body>;
