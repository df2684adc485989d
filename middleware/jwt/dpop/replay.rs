//! Which proofs were used already.

use std::collections::HashSet;
use std::future::Future;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum_core::BoxError;
use futures_util::future::BoxFuture;

use crate::middleware::jwt::refusal::Refusal;

/// Remembers which proofs were used, for several servers. Given to [`Dpop::replay_store`](super::Dpop::replay_store).
///
/// With the feature `redis` there is one for Redis, `RedisReplay`.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use tower_chain::middleware::jwt::ReplayStore;
///
/// # struct Database;
/// # impl Database {
/// #     async fn insert_if_absent(&self, _: &[u8], _: Duration) -> Result<bool, std::io::Error> { Ok(true) }
/// # }
/// struct Used(Database);
///
/// impl ReplayStore for Used {
///     type Error = std::io::Error;
///
///     async fn spend(&self, proof: &[u8; 32], good_for: Duration) -> Result<bool, std::io::Error> {
///         self.0.insert_if_absent(proof, good_for).await
///     }
/// }
/// # let _ = Used(Database);
/// ```
pub trait ReplayStore: Send + Sync + 'static {
    /// Why it can't be told. It goes to the log, and the client gets a 503.
    type Error: Into<BoxError>;

    /// Takes note of a proof, and tells whether it is the first time. To look and to note must be one step, so that of two requests at once one alone
    /// is the first.
    ///
    /// `proof` is a digest of the key and of the `jti`. It may be forgotten after `good_for`, when the proof is too old to be accepted.
    fn spend(
        &self,
        proof: &[u8; 32],
        good_for: Duration,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// [`ReplayStore`] without its types.
pub(super) trait AnyStore: Send + Sync {
    fn spend_any<'a>(
        &'a self,
        proof: &'a Id,
        good_for: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>>;
}

impl<S: ReplayStore> AnyStore for S {
    fn spend_any<'a>(
        &'a self,
        proof: &'a Id,
        good_for: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async move { self.spend(proof, good_for).await.map_err(Into::into) })
    }
}

/// Where used proofs are remembered.
pub(super) enum Replay {
    Memory(Memory),
    Store(Box<dyn AnyStore>),
}

impl Replay {
    /// Takes note of a proof, which is accepted for `span` seconds at most.
    pub(super) async fn spend(&self, id: Id, span: u64, now: u64) -> Result<(), Refusal> {
        let store = match self {
            Self::Memory(memory) => return memory.spend(id, span, now),
            Self::Store(store) => store,
        };
        match store.spend_any(&id, Duration::from_secs(span)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Replay),
            Err(error) => {
                tracing::warn!(error, "can't tell whether a proof was used before");
                Err(Refusal::ReplayUnavailable)
            }
        }
    }
}

/// The proofs of two spans of time. When a span is over, the proofs of the one before are too old to be accepted, and are forgotten.
pub(super) struct Memory {
    capacity: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    young: HashSet<Id>,
    old: HashSet<Id>,
    /// When `young` was begun, in seconds.
    since: u64,
}

type Id = [u8; 32];

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, seen: Mutex::default() }
    }

    fn spend(&self, id: Id, span: u64, now: u64) -> Result<(), Refusal> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_sub(seen.since);
        if age > span {
            seen.old = mem::take(&mut seen.young);
            seen.since = now;
            // Nothing came for so long that the younger ones are too old as well.
            if age > span.saturating_mul(2) {
                seen.old.clear();
            }
        }
        if seen.young.contains(&id) || seen.old.contains(&id) {
            return Err(Refusal::Replay);
        }
        if seen.young.len() + seen.old.len() >= self.capacity {
            return Err(Refusal::ReplayUnavailable);
        }
        seen.young.insert(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_once_as_long_as_it_is_accepted() {
        // Whenever in a span it comes, it is known for a whole span.
        for first in 0..25 {
            for later in 0..=10 {
                let replay = Memory::new(100);
                replay.spend([0; 32], 10, 1000).expect("the first");
                replay.spend([1; 32], 10, 1000 + first).expect("the second");
                let again = replay.spend([1; 32], 10, 1000 + first + later);
                assert_eq!(again, Err(Refusal::Replay), "{first} {later}");
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let replay = Memory::new(3);
        for n in 0..3 {
            assert_eq!(replay.spend([n; 32], 10, 1000), Ok(()));
        }
        assert_eq!(replay.spend([3; 32], 10, 1000), Err(Refusal::ReplayUnavailable));
        assert_eq!(replay.spend([0; 32], 10, 1000), Err(Refusal::Replay));
        assert_eq!(replay.spend([3; 32], 10, 1011), Err(Refusal::ReplayUnavailable));
        assert_eq!(replay.spend([3; 32], 10, 1022), Ok(()));
        let seen = replay.seen.lock().unwrap();
        assert_eq!((seen.young.len(), seen.old.len()), (1, 0));
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let replay = Memory::new(3);
        replay.spend([1; 32], 10, 1000).expect("the first");
        assert_eq!(replay.spend([1; 32], 10, 900), Err(Refusal::Replay));
    }

    /// Says what the test wants it to.
    struct Says(Result<bool, &'static str>);

    impl ReplayStore for Says {
        type Error = &'static str;

        async fn spend(&self, proof: &[u8; 32], good_for: Duration) -> Result<bool, &'static str> {
            assert_eq!((proof, good_for.as_secs()), (&[7; 32], 90));
            self.0
        }
    }

    #[tokio::test]
    async fn a_store_decides_and_its_failure_lets_nothing_through() {
        for (says, expected) in [
            (Ok(true), Ok(())),
            (Ok(false), Err(Refusal::Replay)),
            (Err("down"), Err(Refusal::ReplayUnavailable)),
        ] {
            let replay = Replay::Store(Box::new(Says(says)));
            assert_eq!(replay.spend([7; 32], 90, 1000).await, expected);
        }
    }
}
