//! Tower on both sides: layers and services inside a chain, a chain as a service and as a layer.

pub(crate) mod inside;
pub(crate) mod layer;
pub(crate) mod path;
pub(crate) mod service;
#[cfg(feature = "sync-body")]
pub(crate) mod sync_body;
