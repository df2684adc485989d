//! How handlers learn that the server stops.

use tokio::sync::watch;

/// Tells the parts of a program that the server stops: handlers, the streams of their responses, and WebSockets.
///
/// Made by [`Server::draining`](crate::Server::draining). Provide it in the chain, and take it as [`Provided<Draining>`](crate::Provided). A
/// stream of events and a WebSocket should end when [`started`](Draining::started) resolves: their clients then connect to another server,
/// and don't lose their connection without a close at [`drain_deadline`](crate::Server::drain_deadline).
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use futures_util::{StreamExt, stream};
/// use tower_chain::serve::Draining;
/// use tower_chain::{Body, Chain, Provided, Server};
///
/// async fn ticks(Provided(draining): Provided<Draining>) -> Body {
///     let ticks = stream::repeat("tick\n").then(async |tick| {
///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///         Ok::<_, std::io::Error>(tick)
///     });
///     Body::from_stream(ticks.take_until(async move { draining.started().await }))
/// }
///
/// let server = Server::bind("127.0.0.1:0").await?;
/// let api = Chain::new().provide(server.draining()).get(ticks).build();
/// # let stop = std::future::ready(());
/// server.serve_until(stop, api).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Draining(watch::Receiver<Stage>);

impl Draining {
    pub(super) fn new(stage: &watch::Sender<Stage>) -> Self {
        Self(stage.subscribe())
    }

    /// Waits until the server has closed its listeners. Requests in flight have until [`drain_deadline`](crate::Server::drain_deadline).
    ///
    /// It also resolves if the server was dropped.
    pub async fn started(&self) {
        let _ = self.0.clone().wait_for(|stage| *stage == Stage::Draining).await;
    }

    /// Whether the server was asked to stop. It may still accept connections, for [`drain_delay`](crate::Server::drain_delay): a check of
    /// readiness should fail from now on.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow() != Stage::Serving || self.0.has_changed().is_err()
    }
}

/// How far a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// It was asked to stop, and accepts connections for a while.
    Stopping,
    /// Its listeners are closed.
    Draining,
}
