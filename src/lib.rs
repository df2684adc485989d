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
mod route;
mod step;

pub use adapter::{
    ChainLayer, ChainService, Chained, ChainedFuture, ResponseFuture, ServiceFuture, TowerNext,
};
pub use build::BuildError;
pub use chain::{Chain, Mountable, Sealed};
pub use combine::{BoxMiddleware, Unless, When};
pub use error::Error;
pub use handler::{IntoHandler, IntoMiddleware, handler_fn};
pub use http::StatusCode;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use middleware::rate_limit::RedisStore;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub use middleware::rate_limit::{
    Decision, LimitClock, LimitHeaders, LimitKey, Policy, Quota, RateLimit, RateLimitConfigError,
    RateLimitHandle, SharedLimits, Standing, Verdict, WhileAway,
};
pub use next::{Endpoint, FromFn, Middleware, Next, Rest, from_fn};
pub use provide::{Expected, FromChain, Provided, Provides};
pub use route::{Route, RouteHandler};

/// The body of requests and responses.
pub type Body = axum_core::body::Body;
/// A request.
pub type Request = http::Request<Body>;
/// A response.
pub type Response = http::Response<Body>;
