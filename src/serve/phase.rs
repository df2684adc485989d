//! What the server does with its connections.

use tokio::sync::watch;

/// What the server does with its connections. Each of them watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// They stay open.
    Serving,
    /// They end after the requests in flight.
    Draining,
    /// They are dropped.
    Aborting,
}

impl Phase {
    /// Waits until connections are dropped: by the server, or because the server itself was dropped.
    pub(super) async fn aborted(phase: &mut watch::Receiver<Self>) {
        let _ = phase.wait_for(|&phase| phase == Self::Aborting).await;
    }
}
