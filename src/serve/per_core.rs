//! A runtime for each core, each with listeners of its own.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};

use super::accept::{accept_all, close};
use super::connection::SharedState;
use super::error::ServeError;
use super::listener::{Listener, StdListener};

/// The threads of a server that has one runtime for each core. Dropping it ends them, with all their tasks.
pub(super) struct Cores {
    listeners: Vec<StdListener>,
    stop: watch::Sender<()>,
    _over: watch::Sender<()>,
}

impl Cores {
    /// Starts one thread for each of the runtimes. `listeners` keep only what must not be dropped before the server stops.
    pub(super) fn start(
        listeners: &mut Vec<Listener>,
        shared: &SharedState,
        permits: &Arc<Semaphore>,
    ) -> Result<Self, ServeError> {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let (stop, stopped) = watch::channel(());
        let (over, ended) = watch::channel(());
        let mut cores: Vec<Vec<StdListener>> = (0..count).map(|_| Vec::new()).collect();
        let (mut kept, mut stopped_here) = (Vec::new(), Vec::new());
        for listener in listeners.drain(..) {
            let copies = listener
                .copies(count, shared.server.limits.tcp_keepalive)
                .map_err(ServeError::Core)?;
            kept.extend(copies.kept);
            stopped_here.extend(copies.stopped);
            cores.iter_mut().zip(copies.accepting).for_each(|(core, copy)| core.push(copy));
        }
        *listeners = kept;
        for (index, listeners) in cores.into_iter().enumerate() {
            let runtime = Builder::new_current_thread().enable_all().build();
            let core = Core {
                runtime: runtime.map_err(ServeError::Core)?,
                listeners,
                shared: shared.clone(),
                permits: permits.clone(),
                stopped: stopped.clone(),
                ended: ended.clone(),
            };
            thread::Builder::new()
                .name(format!("serve-{index}"))
                .spawn(|| core.run())
                .map_err(ServeError::Core)?;
        }
        Ok(Self { listeners: stopped_here, stop, _over: over })
    }

    /// Ends the listeners of all cores. Connections go on until this is dropped.
    ///
    /// The caller's runtime serves the connections in the queue of a core whose thread is blocked.
    pub(super) fn stop_accepting(&mut self, shared: &SharedState, permits: &Arc<Semaphore>) {
        self.stop.send_replace(());
        let listeners = self.listeners.drain(..).map(Listener::try_from);
        close(listeners.filter_map(Result::ok).collect(), shared, permits);
    }
}

struct Core {
    runtime: Runtime,
    listeners: Vec<StdListener>,
    shared: SharedState,
    permits: Arc<Semaphore>,
    stopped: watch::Receiver<()>,
    ended: watch::Receiver<()>,
}

impl Core {
    fn run(self) {
        let Self { runtime, listeners, shared, permits, mut stopped, mut ended } = self;
        runtime.block_on(async {
            let listeners: io::Result<Vec<Listener>> =
                listeners.into_iter().map(Listener::try_from).collect();
            let listeners = match listeners {
                Ok(listeners) => listeners,
                Err(error) => return tracing::error!(%error, "a core can't accept connections"),
            };
            tokio::select! {
                biased;
                // Fails if the server was dropped.
                _ = stopped.changed() => {}
                () = accept_all(&listeners, &shared, &permits) => {}
            }
            close(listeners, &shared, &permits);
            // The server waits until no connection has the state.
            drop((shared, permits));
            while ended.changed().await.is_ok() {}
        });
        // Work on blocking threads can't be stopped. It must not keep this thread.
        runtime.shutdown_background();
    }
}
