//! What a client and its requests share.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::HeaderMap;

use super::cookie::Jar;
use super::transport::Transport;
#[cfg(feature = "openapi")]
use crate::openapi::Contract;

/// What a client and its requests share: how the service is reached, and what each request sends by default.
#[derive(Clone)]
pub(super) struct ClientState {
    pub(super) transport: Arc<dyn Transport>,
    /// The address of the port, over TCP.
    pub(super) addr: Option<SocketAddr>,
    pub(super) http2: bool,
    pub(super) headers: HeaderMap,
    pub(super) peer: SocketAddr,
    pub(super) max_body: usize,
    /// How many redirects are followed.
    pub(super) redirects: usize,
    pub(super) jar: Option<Arc<Mutex<Jar>>>,
    /// The document that must declare each response.
    #[cfg(feature = "openapi")]
    pub(super) contract: Option<Arc<Contract>>,
}
