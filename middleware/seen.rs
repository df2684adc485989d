//! Which signed messages were accepted before.
//!
//! Used by `signed` and `message_signatures`. A message is reserved while its handler runs, and recorded when the handler has succeeded.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum_core::BoxError;
use futures_util::future::BoxFuture;

/// A store of accepted messages that several servers share. For [`Signed::store`](crate::middleware::signed::Signed::store). With the feature `redis`,
/// `RedisSeen` is one.
///
/// A message is identified by a digest, which differs for each source.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use tower_chain::middleware::signed::{Seen, SeenStore};
///
/// # struct Database;
/// # impl Database {
/// #     async fn insert_if_absent(&self, _: &[u8], _: &str, _: Duration) -> Result<Option<String>, std::io::Error> { Ok(None) }
/// #     async fn set(&self, _: &[u8], _: &str, _: Duration) -> Result<(), std::io::Error> { Ok(()) }
/// #     async fn delete_if(&self, _: &[u8], _: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # }
/// struct Messages(Database);
///
/// impl SeenStore for Messages {
///     type Error = std::io::Error;
///
///     async fn reserve(&self, message: &[u8; 32], lease: Duration) -> Result<Seen, std::io::Error> {
///         // In Redis: `SET key reserved NX GET PX lease`.
///         Ok(match self.0.insert_if_absent(message, "reserved", lease).await?.as_deref() {
///             None => Seen::New,
///             Some("reserved") => Seen::InFlight,
///             Some(_) => Seen::Done,
///         })
///     }
///
///     async fn complete(&self, message: &[u8; 32], keep: Duration) -> Result<(), std::io::Error> {
///         self.0.set(message, "done", keep).await
///     }
///
///     async fn release(&self, message: &[u8; 32]) -> Result<(), std::io::Error> {
///         self.0.delete_if(message, "reserved").await
///     }
/// }
/// # let _ = Messages(Database);
/// ```
pub trait SeenStore: Send + Sync + 'static {
    /// Why the store failed. The error is logged. The client gets a 503.
    type Error: Into<BoxError>;

    /// Reserves a message if the store does not have it, and returns what the store had. This must be atomic: of two calls at the same
    /// time, only one returns [`Seen::New`].
    ///
    /// The reservation ends after `lease`, if neither [`complete`](Self::complete) nor [`release`](Self::release) is called before. This happens
    /// when a server stops while its handler runs, and when a client disconnects.
    fn reserve(
        &self,
        message: &[u8; 32],
        lease: Duration,
    ) -> impl Future<Output = Result<Seen, Self::Error>> + Send;

    /// Records that the message was handled. The store may forget it after `keep`.
    fn complete(
        &self,
        message: &[u8; 32],
        keep: Duration,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Forgets the message, because its handler has failed. If the lease has ended and another server has reserved or handled the message since, the
    /// store must keep it.
    fn release(&self, message: &[u8; 32]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What a [`SeenStore`] had of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// Nothing. The message is reserved now.
    New,
    /// A reservation: another request with the message is being handled.
    InFlight,
    /// The message was handled before.
    Done,
}

/// The messages that one step has accepted: in the memory of this process, or in a store that several servers share.
pub(crate) struct SeenMessages {
    memory: Memory,
    store: Option<(Box<dyn AnySeenStore>, Duration)>,
    keep: Duration,
}

impl SeenMessages {
    /// `replayable` is how long a message stays acceptable after it was accepted. Until then it is never forgotten.
    pub(crate) fn new(capacity: usize, keep: Duration, replayable: Duration) -> Self {
        let memory = Memory {
            capacity,
            keep: keep.as_secs(),
            replayable: replayable.as_secs(),
            state: Mutex::default(),
        };
        Self { memory, store: None, keep }
    }

    pub(crate) fn set_store(&mut self, store: impl SeenStore, lease: Duration) {
        self.store = Some((Box::new(store), lease));
    }

    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.memory.capacity = capacity;
    }

    pub(crate) fn set_times(&mut self, keep: Duration, replayable: Duration) {
        self.keep = keep;
        self.memory.keep = keep.as_secs();
        self.memory.replayable = replayable.as_secs();
    }

    /// Reserves a message. If the reservation is dropped, for example because the client has disconnected, the memory forgets the message
    /// at once, and a store when the lease ends.
    pub(crate) async fn reserve(
        &self,
        message: [u8; 32],
        now: u64,
    ) -> Result<Reservation<'_>, NotReserved> {
        let (seen, local) = match &self.store {
            None => (self.memory.reserve(message, now)?, true),
            Some((store, lease)) => {
                let seen = store.reserve_any(&message, *lease).await;
                (seen.map_err(NotReserved::unavailable)?, false)
            }
        };
        match seen {
            Seen::New => Ok(Reservation { all: self, message, local }),
            Seen::InFlight => Err(NotReserved::InFlight),
            Seen::Done => Err(NotReserved::Done),
        }
    }
}

/// A message whose handler runs.
pub(crate) struct Reservation<'a> {
    all: &'a SeenMessages,
    message: [u8; 32],
    /// Whether it is in the memory, and is released on drop.
    local: bool,
}

impl Reservation<'_> {
    /// The message was handled, and is not accepted again.
    pub(crate) async fn complete(mut self, now: u64) {
        if let Some((store, _)) = &self.all.store {
            if let Err(error) = store.complete_any(&self.message, self.all.keep).await {
                // The lease refuses the message for a while.
                tracing::warn!(error, "can't record that a message was handled");
            }
            return;
        }
        self.local = false;
        self.all.memory.complete(self.message, now);
    }

    /// The handler has failed. The message is accepted again.
    pub(crate) async fn release(self) {
        if let Some((store, _)) = &self.all.store
            && let Err(error) = store.release_any(&self.message).await
        {
            tracing::warn!(
                error,
                "can't release a message whose handler failed: it is refused until its lease ends"
            );
        }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.local {
            self.all.memory.release(&self.message);
        }
    }
}

/// Why a message is not reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReserved {
    InFlight,
    Done,
    /// All entries are in use, and to forget one would let its message be used again.
    Full,
    /// The store has failed.
    Unavailable,
}

impl NotReserved {
    fn unavailable(error: String) -> Self {
        tracing::warn!(error, "can't check whether a message was accepted before");
        Self::Unavailable
    }
}

/// The messages of this process.
struct Memory {
    capacity: usize,
    /// In seconds.
    keep: u64,
    /// In seconds.
    replayable: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Each message with its key in `handled`, or `None` while its handler runs.
    messages: HashMap<[u8; 32], Option<(u64, u64)>>,
    /// The handled messages in the order in which they were handled: the second, and a number that makes it unique.
    handled: BTreeMap<(u64, u64), [u8; 32]>,
    next: u64,
}

impl Memory {
    fn reserve(&self, message: [u8; 32], now: u64) -> Result<Seen, NotReserved> {
        let mut state = self.lock();
        let expired = |second: u64| second.saturating_add(self.keep) < now;
        while state.handled.first_key_value().is_some_and(|(key, _)| expired(key.0)) {
            state.forget_oldest();
        }
        match state.messages.get(&message) {
            Some(None) => return Ok(Seen::InFlight),
            Some(Some(_)) => return Ok(Seen::Done),
            None => {}
        }
        while state.messages.len() >= self.capacity {
            let oldest = state.handled.first_key_value();
            if oldest.is_none_or(|(key, _)| key.0.saturating_add(self.replayable) >= now) {
                return Err(NotReserved::Full);
            }
            state.forget_oldest();
        }
        state.messages.insert(message, None);
        Ok(Seen::New)
    }

    fn complete(&self, message: [u8; 32], now: u64) {
        let mut state = self.lock();
        let key = (now, state.next);
        state.next += 1;
        state.handled.insert(key, message);
        state.messages.insert(message, Some(key));
    }

    fn release(&self, message: &[u8; 32]) {
        self.lock().messages.remove(message);
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_oldest(&mut self) {
        if let Some((_, message)) = self.handled.pop_first() {
            self.messages.remove(&message);
        }
    }
}

/// An object-safe [`SeenStore`].
trait AnySeenStore: Send + Sync {
    fn reserve_any<'a>(
        &'a self,
        message: &'a [u8; 32],
        lease: Duration,
    ) -> BoxFuture<'a, Result<Seen, String>>;

    fn complete_any<'a>(
        &'a self,
        message: &'a [u8; 32],
        keep: Duration,
    ) -> BoxFuture<'a, Result<(), String>>;

    fn release_any<'a>(&'a self, message: &'a [u8; 32]) -> BoxFuture<'a, Result<(), String>>;
}

impl<S: SeenStore> AnySeenStore for S {
    fn reserve_any<'a>(
        &'a self,
        message: &'a [u8; 32],
        lease: Duration,
    ) -> BoxFuture<'a, Result<Seen, String>> {
        Box::pin(async move { self.reserve(message, lease).await.map_err(text) })
    }

    fn complete_any<'a>(
        &'a self,
        message: &'a [u8; 32],
        keep: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.complete(message, keep).await.map_err(text) })
    }

    fn release_any<'a>(&'a self, message: &'a [u8; 32]) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.release(message).await.map_err(text) })
    }
}

fn text(error: impl Into<BoxError>) -> String {
    error.into().to_string()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn reserve(all: &SeenMessages, n: u8, now: u64) -> Result<Reservation<'_>, NotReserved> {
        all.reserve([n; 32], now).now_or_never().expect("nothing waits in memory")
    }

    fn handle(all: &SeenMessages, n: u8, now: u64) -> Result<(), NotReserved> {
        let reservation = reserve(all, n, now)?;
        reservation.complete(now).now_or_never().expect("nothing waits in memory");
        Ok(())
    }

    fn refused(all: &SeenMessages, n: u8, now: u64) -> Option<NotReserved> {
        reserve(all, n, now).err()
    }

    #[test]
    fn a_message_is_reserved_once_until_it_is_released() {
        let all = SeenMessages::new(10, MINUTE, MINUTE);
        let first = reserve(&all, 1, 1000).unwrap_or_else(|_| panic!("new"));
        assert_eq!(refused(&all, 1, 1000), Some(NotReserved::InFlight));
        // No lease in memory: the drop of the request ends the reservation.
        assert_eq!(refused(&all, 1, 9_000_000), Some(NotReserved::InFlight));
        drop(first);
        let again = reserve(&all, 1, 1000).unwrap_or_else(|_| panic!("released"));
        again.release().now_or_never().expect("nothing waits in memory");
        assert_eq!(handle(&all, 1, 1000), Ok(()));
        assert_eq!(refused(&all, 1, 1000), Some(NotReserved::Done));
    }

    #[test]
    fn a_handled_message_is_forgotten_after_its_time_alone() {
        let all = SeenMessages::new(10, MINUTE, MINUTE);
        assert_eq!(handle(&all, 1, 1000), Ok(()));
        for now in [1000, 1059, 1060, 900] {
            assert_eq!(refused(&all, 1, now), Some(NotReserved::Done), "{now}");
        }
        assert_eq!(refused(&all, 1, 1061), None);
        assert_eq!(all.memory.lock().handled.len(), 0);
        assert_eq!(all.memory.lock().messages.len(), 0);
    }

    #[test]
    fn a_full_memory_forgets_no_message_that_can_be_used_again() {
        for (replayable, refused_for) in [(60, 61), (10, 11), (0, 1)] {
            let all = SeenMessages::new(2, MINUTE, Duration::from_secs(replayable));
            assert_eq!(handle(&all, 1, 1000), Ok(()));
            assert_eq!(handle(&all, 2, 1000), Ok(()));
            for later in 0..refused_for {
                assert_eq!(refused(&all, 3, 1000 + later), Some(NotReserved::Full), "{replayable}");
                assert_eq!(refused(&all, 1, 1000 + later), Some(NotReserved::Done), "{replayable}");
            }
            assert_eq!(handle(&all, 3, 1000 + refused_for), Ok(()), "{replayable}");
        }
        // Requests in flight are entries as well.
        let all = SeenMessages::new(1, MINUTE, MINUTE);
        let first = reserve(&all, 1, 1000);
        assert_eq!(refused(&all, 2, 1000), Some(NotReserved::Full));
        drop(first);
        assert_eq!(refused(&all, 2, 1000), None);
    }

    /// Returns what the test wants.
    struct Fixed(Result<Seen, &'static str>);

    impl SeenStore for Fixed {
        type Error = &'static str;

        async fn reserve(&self, _: &[u8; 32], lease: Duration) -> Result<Seen, &'static str> {
            assert_eq!(lease, MINUTE);
            self.0
        }

        async fn complete(&self, _: &[u8; 32], keep: Duration) -> Result<(), &'static str> {
            assert_eq!(keep, 2 * MINUTE);
            Err("down")
        }

        async fn release(&self, _: &[u8; 32]) -> Result<(), &'static str> {
            Err("down")
        }
    }

    #[test]
    fn a_store_decides_and_its_failure_lets_nothing_through() {
        for (answer, expected) in [
            (Ok(Seen::New), None),
            (Ok(Seen::InFlight), Some(NotReserved::InFlight)),
            (Ok(Seen::Done), Some(NotReserved::Done)),
            (Err("down"), Some(NotReserved::Unavailable)),
        ] {
            let mut all = SeenMessages::new(0, 2 * MINUTE, MINUTE);
            all.set_store(Fixed(answer), MINUTE);
            assert_eq!(refused(&all, 1, 1000), expected);
            if expected.is_none() {
                assert_eq!(handle(&all, 1, 1000), Ok(()), "a failed record is logged");
            }
        }
    }
}
