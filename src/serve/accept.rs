//! Accepts the connections of listeners.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot};

use super::connection::SharedState;
use super::listener::Listener;

/// Accepts connections on all listeners. Never returns if there is one.
pub(super) async fn accept_all(
    listeners: &[Listener],
    shared: &SharedState,
    permits: &Arc<Semaphore>,
) {
    join_all(listeners.iter().map(|on| accept(on, shared, permits))).await;
}

/// Closes the listeners, and serves the connections that the system has accepted already.
pub(super) fn close(listeners: Vec<Listener>, shared: &SharedState, permits: &Arc<Semaphore>) {
    for on in listeners {
        let security = on.security.clone();
        for (socket, addr) in on.close() {
            let (shared, permits) = (shared.clone(), permits.clone());
            tokio::spawn(shared.queued(socket, addr, security.clone(), permits, None));
        }
    }
}

/// Accepts connections and serves each in a task of its own. Never returns.
async fn accept(on: &Listener, shared: &SharedState, permits: &Arc<Semaphore>) {
    let mut is_full = false;
    loop {
        let (socket, addr) = on.accept().await;
        let (shared, security, permits) = (shared.clone(), on.security.clone(), permits.clone());
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            is_full = false;
            tokio::spawn(shared.connection(socket, addr, security, permit));
            continue;
        }
        if !is_full {
            is_full = true;
            let max = shared.server.limits.max_connections;
            tracing::warn!(max, "`max_connections` are open, further connections wait");
        }
        // This connection waits in a task of its own: dropping it would reset it if the server stops meanwhile. The following ones wait in
        // the queue of the system until it has begun.
        let (begins, begun) = oneshot::channel();
        tokio::spawn(shared.queued(socket, addr, security, permits, Some(begins)));
        let _ = begun.await;
    }
}
