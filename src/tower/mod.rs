//! Tower on both sides: layers and services inside a chain, a chain as a service and as a layer.

// `root` is the entry point of every request, and begins with "How a request runs". `service` and `as_layer` are a chain as a service and
// as a layer; `layer_step` and `path` are layers and services inside a chain.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

pub(crate) mod as_layer;
#[cfg(feature = "axum")]
pub(crate) mod axum;
pub(crate) mod layer_step;
pub(crate) mod path;
pub(crate) mod root;
pub(crate) mod service;
#[cfg(feature = "sync-body")]
pub(crate) mod sync_body;

pub use self::as_layer::{ChainLayer, Chained, ChainedFuture};
pub use self::layer_step::TowerNext;
pub use self::service::{ResponseFuture, ServiceFuture};
#[cfg(feature = "sync-body")]
#[cfg_attr(docsrs, doc(cfg(feature = "sync-body")))]
pub use self::sync_body::{SyncBody, SyncChain, SyncFuture};
