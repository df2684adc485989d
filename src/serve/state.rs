//! What all connections of a server share.

use std::sync::atomic::AtomicBool;

use hyper::server::conn::http1;

use super::background::Background;
use super::budget::TotalBudget;
use super::clients::Clients;
use super::limits::Limits;

/// The state that all connections of a server share.
pub(super) struct ServerState {
    pub(super) limits: Limits,
    /// `None` if a client may have as many connections as the server.
    pub(super) clients: Option<Clients>,
    pub(super) budget: TotalBudget,
    pub(super) http1: http1::Builder,
    /// Whether the server stops.
    pub(super) draining: AtomicBool,
    pub(super) background: Background,
}

impl ServerState {
    pub(super) fn new(limits: Limits) -> Self {
        let mut http1 = http1::Builder::new();
        // Connections limit the time themselves: they distinguish an idle connection from a slow head, and need no timer for each request.
        http1.header_read_timeout(None).max_header_size(limits.max_header_size);
        http1.half_close(limits.half_close);
        http1.max_buf_size(limits.max_header_size.clamp(HTTP1_BUFFER, HTTP1_LARGEST_BUFFER));
        let per_client = limits.max_connections_per_client;
        let clients = (per_client < limits.max_connections).then(|| Clients::new(per_client));
        let budget = TotalBudget::new(&limits);
        let (draining, background) = (AtomicBool::new(false), Background::default());
        Self { limits, clients, budget, http1, draining, background }
    }
}

/// How much of a response HTTP/1 keeps for the socket, and how much of a request it reads ahead.
const HTTP1_BUFFER: usize = 64 * 1024;
/// The buffer must hold a head.
const HTTP1_LARGEST_BUFFER: usize = 408 * 1024;
