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
pub use combine::{BoxMiddleware, Unless, When};
pub use error::Error;
pub use extract::PeerAddr;
pub use handler::{IntoHandler, IntoMiddleware, handler_fn};
pub use http::StatusCode;
pub use next::{Endpoint, FromFn, Middleware, Next, Rest, from_fn};
pub use provide::{Expected, FromChain, Provided, Provides};
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
