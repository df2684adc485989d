//! Middleware chains in front of method handlers.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod answer;
mod build;
mod chain;
mod combine;
mod error;
pub mod extract;
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
mod step;

pub use adapter::{
    ChainLayer, ChainService, Chained, ChainedFuture, ResponseFuture, ServiceFuture, TowerNext,
};
pub use build::BuildError;
pub use chain::{Chain, Mountable, Sealed};
pub use combine::{BoxMiddleware, Unless, When};
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
pub use extract::{MatchedPath, Path};
pub use handler::{IntoHandler, IntoMiddleware, handler_fn};
pub use http::StatusCode;
#[cfg(feature = "body-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "body-limit")))]
pub use middleware::body_limit::BodyLimit;
#[cfg(feature = "etag")]
#[cfg_attr(docsrs, doc(cfg(feature = "etag")))]
pub use middleware::etag::ETag;
#[cfg(feature = "garde")]
#[cfg_attr(docsrs, doc(cfg(feature = "garde")))]
pub use middleware::garde::Garde;
#[cfg(feature = "problem-details")]
#[cfg_attr(docsrs, doc(cfg(feature = "problem-details")))]
pub use middleware::problem_details::ProblemDetails;
#[cfg(feature = "security-headers")]
#[cfg_attr(docsrs, doc(cfg(feature = "security-headers")))]
pub use middleware::security_headers::SecurityHeaders;
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub use middleware::validate::{Valid, Validate};
pub use next::{Endpoint, FromFn, Middleware, Next, Rest, from_fn};
pub use provide::{Expected, FromChain, Provided, Provides};
pub use respond::Redirect;
pub use route::{Route, RouteHandler};

/// The body of requests and responses.
pub type Body = axum_core::body::Body;
/// A request.
pub type Request = http::Request<Body>;
/// A response.
pub type Response = http::Response<Body>;
