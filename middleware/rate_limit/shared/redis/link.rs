//! The one connection of a store to Redis.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::store::StoreError;

/// A connection that is opened by a task of its own, with its own time limit and pauses. A request waits for that task, but does not end it: a request
/// may have less time than a connection needs.
pub(super) struct Link<C> {
    /// `None` if the connection reconnects by itself.
    connect: Option<Connect<C>>,
    state: Mutex<LinkState<C>>,
}

type Connect<C> = Box<dyn Fn() -> BoxFuture<'static, Result<C, StoreError>> + Send + Sync>;

/// The number of a connection. The error of an old connection does not close a newer one.
pub(super) type ConnectionNumber = u64;

struct LinkState<C> {
    connection: Option<C>,
    number: ConnectionNumber,
    opened: Option<Instant>,
    /// Closed when the task that opens a connection has ended, also if its runtime has.
    opening: Option<watch::Receiver<()>>,
    /// Why no connection could be opened, how often in a row, and when to try again.
    error: Option<String>,
    failures: u32,
    retry: Option<Instant>,
}

impl<C> Link<C> {
    fn with(connect: Option<Connect<C>>, connection: Option<C>) -> Self {
        let state = LinkState {
            connection,
            number: 0,
            opened: None,
            opening: None,
            error: None,
            failures: 0,
            retry: None,
        };
        Self { connect, state: Mutex::new(state) }
    }

    /// A link whose connection reconnects by itself.
    pub(super) fn of(connection: C) -> Self {
        Self::with(None, Some(connection))
    }

    /// A link that opens its connection on its first use: a connection belongs to the runtime in which it is opened.
    pub(super) fn new(
        connect: impl Fn() -> BoxFuture<'static, Result<C, StoreError>> + Send + Sync + 'static,
    ) -> Self {
        Self::with(Some(Box::new(connect)), None)
    }

    /// Closes a connection. Returns whether it was open and another one can be opened.
    pub(super) fn close(&self, number: ConnectionNumber) -> bool {
        let mut state = self.lock();
        let closes = self.connect.is_some() && state.number == number;
        closes && state.connection.take().is_some()
    }

    /// Closes a connection that was not opened just now, so a server that answers with an error gets no flood of connections.
    pub(super) fn close_unless_new(&self, number: ConnectionNumber) {
        let mut state = self.lock();
        let is_old = state.opened.is_some_and(|opened| opened.elapsed() >= REPLACE_AFTER);
        if self.connect.is_some() && state.number == number && is_old {
            state.connection = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, LinkState<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clone + Send + 'static> Link<C> {
    /// The connection, and its number. Waits while it is opened.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<(C, ConnectionNumber), StoreError> {
        loop {
            let mut opening = {
                let mut state = self.lock();
                if let Some(connection) = &state.connection {
                    return Ok((connection.clone(), state.number));
                }
                match &state.opening {
                    Some(opening) if opening.has_changed().is_ok() => opening.clone(),
                    _ if state.retry.is_some_and(|retry| Instant::now() < retry) => {
                        let error = state.error.as_deref().unwrap_or("there is no connection");
                        return Err(StoreError::new(error.to_owned()));
                    }
                    _ => {
                        let opening = self.open()?;
                        state.opening = Some(opening.clone());
                        opening
                    }
                }
            };
            // Returns when the task ends.
            let _ = opening.changed().await;
        }
    }

    /// Starts to open a connection.
    fn open(self: &Arc<Self>) -> Result<watch::Receiver<()>, StoreError> {
        let connect = self.connect.as_ref();
        let connect = connect.ok_or_else(|| StoreError::new("there is no connection"))?;
        let runtime = Handle::try_current().map_err(StoreError::new)?;
        let (open, opening) = watch::channel(());
        let (this, connecting) = (self.clone(), connect());
        runtime.spawn(async move {
            let connected = connecting.await;
            this.opened(connected);
            drop(open);
        });
        Ok(opening)
    }

    fn opened(&self, connected: Result<C, StoreError>) {
        let mut state = self.lock();
        match connected {
            Ok(connection) => {
                state.connection = Some(connection);
                state.number += 1;
                (state.opened, state.failures, state.retry) = (Some(Instant::now()), 0, None);
            }
            Err(error) => {
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(state.failures.min(8));
                state.failures += 1;
                state.retry = Some(Instant::now() + pause.min(LONGEST_PAUSE));
                state.error = Some(error.to_string());
            }
        }
    }
}

/// The pause after a connection could not be opened. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// After which time a connection to a replica is replaced.
const REPLACE_AFTER: Duration = Duration::from_secs(1);
