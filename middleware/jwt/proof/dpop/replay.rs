//! Which proofs were used before (RFC 9449, 11.1).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum_core::BoxError;
use futures_util::future::BoxFuture;

use crate::middleware::jwt::crypto::sha256;
use crate::middleware::jwt::refusal::JwtRefusal;
use crate::middleware::jwt::share::share_of_one;

/// A store of used proofs that several servers share. For [`Dpop::replay_store`](super::Dpop::replay_store).
///
/// With the feature `redis`, `RedisReplay` is such a store.
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
    /// Why the store failed. The error is logged, and the client gets a 503.
    type Error: Into<BoxError>;

    /// Records a proof, and returns whether it was new. This must be atomic: of two requests at the same time, this returns `true` for only one.
    ///
    /// `proof` is a digest of the key and of the `jti`. It may be forgotten after `good_for`, when the proof is too old to be accepted by every
    /// server whose clock differs from this one's by at most 30 seconds.
    fn spend(
        &self,
        proof: &[u8; 32],
        good_for: Duration,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;
}

/// An object-safe [`ReplayStore`].
pub(super) trait AnyStore: Send + Sync {
    fn spend_any<'a>(
        &'a self,
        proof: &'a [u8; 32],
        good_for: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>>;
}

impl<S: ReplayStore> AnyStore for S {
    fn spend_any<'a>(
        &'a self,
        proof: &'a [u8; 32],
        good_for: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async move { self.spend(proof, good_for).await.map_err(Into::into) })
    }
}

/// The proofs that were used, in the memory of this process, and in a store if there is one.
///
/// Every proof is remembered here, also with a store: the counts per key bound what one client can put into the store.
pub(super) struct Replay {
    capacity: usize,
    window: Mutex<Window>,
    store: Option<Box<dyn AnyStore>>,
}

impl Replay {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, window: Mutex::default(), store: None }
    }

    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    pub(super) fn set_store(&mut self, store: impl ReplayStore) {
        self.store = Some(Box::new(store));
    }

    /// Records a proof, and refuses it if it was recorded before. `max_age` is how many seconds after `iat` a proof is accepted.
    pub(super) async fn spend(
        &self,
        proof: &UsedProof<'_>,
        max_age: u64,
        now: u64,
    ) -> Result<(), JwtRefusal> {
        let id = proof.id();
        {
            let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
            window.forget(max_age, now);
            window.insert(proof, &id, max_age, self.capacity)?;
        }
        let Some(store) = &self.store else { return Ok(()) };
        // `iat` may be ahead of this clock by the leeway, and the clock of another server may be behind it by as much. A proof is accepted to the
        // end of its last second.
        let good_for = Duration::from_secs(max_age.saturating_add(2 * LEEWAY + 1));
        match store.spend_any(&id, good_for).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(JwtRefusal::Replay),
            Err(error) => {
                tracing::warn!(error, "can't check whether a DPoP proof was used before");
                Err(JwtRefusal::ReplayUnavailable)
            }
        }
    }
}

/// A proof that is valid in all other respects.
pub(super) struct UsedProof<'a> {
    /// Of the key that signed it.
    pub(super) thumbprint: &'a [u8; 32],
    pub(super) jti: &'a str,
    pub(super) iat: u64,
}

impl UsedProof<'_> {
    fn id(&self) -> [u8; 32] {
        sha256(&[self.thumbprint, self.jti.as_bytes()])
    }
}

/// The proofs that are still accepted, in slices of time by their `iat`.
///
/// A proof can't be forgotten while it is accepted, so the window can fill up. No client may fill it for the others: a key may have a
/// sixteenth of the free slots. With `n` busy keys, each of them gets `1 / (n + 16)` of the capacity. Keys that fill their shares one after
/// the other leave 15 of 16 slots of what is free: 191 keys are needed to fill a million slots. (Choudhury and Hahne describe this rule for
/// shared buffers as "dynamic queue length thresholds".)
#[derive(Default)]
struct Window {
    slices: BTreeMap<u64, Slice>,
    /// Proofs with an earlier `iat` are forgotten, and are refused even if the clock goes back.
    forgotten: u64,
}

#[derive(Default)]
struct Slice {
    proofs: HashSet<Short>,
    /// How many of them each key has signed.
    keys: HashMap<Short, u32>,
}

/// Half of a SHA-256 digest. A collision only refuses a good proof, and takes 2^64 attempts to find.
type Short = [u8; 16];

impl Window {
    /// Drops the slices whose proofs are all too old to be accepted.
    fn forget(&mut self, max_age: u64, now: u64) {
        let length = slice_length(max_age);
        while let Some(oldest) = self.slices.first_entry() {
            let end = oldest.key().saturating_add(1).saturating_mul(length);
            if end.saturating_add(max_age) > now {
                break;
            }
            oldest.remove();
            self.forgotten = self.forgotten.max(end);
        }
    }

    fn insert(
        &mut self,
        proof: &UsedProof<'_>,
        id: &[u8; 32],
        max_age: u64,
        capacity: usize,
    ) -> Result<(), JwtRefusal> {
        if proof.iat < self.forgotten {
            return Err(JwtRefusal::Proof);
        }
        let (id, key) = (short(id), short(proof.thumbprint));
        let (mut total, mut of_key) = (0, 0);
        for slice in self.slices.values() {
            if slice.proofs.contains(&id) {
                return Err(JwtRefusal::Replay);
            }
            total += slice.proofs.len();
            of_key += slice.keys.get(&key).map_or(0, |count| *count as usize);
        }
        let free = capacity.saturating_sub(total);
        if free == 0 {
            return Err(JwtRefusal::ReplayUnavailable);
        }
        if of_key >= share_of_one(free) {
            return Err(JwtRefusal::TooManyProofs);
        }
        let slice = self.slices.entry(proof.iat / slice_length(max_age)).or_default();
        slice.proofs.insert(id);
        let count = slice.keys.entry(key).or_default();
        *count = count.saturating_add(1);
        Ok(())
    }
}

fn short(digest: &[u8; 32]) -> Short {
    let mut short = Short::default();
    short.copy_from_slice(&digest[..16]);
    short
}

/// In seconds. Few slices make the search fast; short ones don't outlive their proofs by much.
fn slice_length(max_age: u64) -> u64 {
    (max_age / 8).max(1)
}

/// How far `iat` may be in the future, in seconds.
pub(super) const LEEWAY: u64 = 30;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    const MAX_AGE: u64 = 60;

    fn spend(replay: &Replay, key: u32, jti: u32, iat: u64, now: u64) -> Result<(), JwtRefusal> {
        let (thumbprint, jti) = (sha256(&[&key.to_be_bytes()]), jti.to_string());
        let proof = UsedProof { thumbprint: &thumbprint, jti: &jti, iat };
        replay.spend(&proof, MAX_AGE, now).now_or_never().expect("nothing waits without a store")
    }

    #[test]
    fn a_proof_is_accepted_once_as_long_as_it_is_fresh() {
        for iat in 1000..1020 {
            for (first, later) in [(0, 0), (0, 1), (0, 60), (30, 60), (60, 60)] {
                let replay = Replay::new(100);
                spend(&replay, 1, 0, 1000, 1000).expect("another proof");
                assert_eq!(spend(&replay, 1, 1, iat, iat + first), Ok(()));
                spend(&replay, 1, 2, iat + later, iat + later).expect("a later proof");
                let again = spend(&replay, 1, 1, iat, iat + later);
                assert_eq!(again, Err(JwtRefusal::Replay), "{iat} {first} {later}");
                // One `jti` counts once, whatever the second proof says about its time.
                let again = spend(&replay, 1, 1, iat + later, iat + later);
                assert_eq!(again, Err(JwtRefusal::Replay), "{iat} {first} {later}");
                assert_eq!(spend(&replay, 2, 1, iat, iat + later), Ok(()), "another key");
            }
        }
    }

    #[test]
    fn no_key_can_fill_the_store_for_the_others() {
        // Capacity, busy keys that send as much as they can, and how many proofs a new key can then still have.
        for (capacity, busy, left) in
            [(2, 1, 1), (3, 1, 1), (4, 2, 1), (100, 1, 6), (1000, 9, 38), (1000, 99, 8)]
        {
            let replay = Replay::new(capacity);
            let mut jti = 0;
            let mut refused = 0;
            while refused < busy {
                refused = 0;
                for key in 0..busy {
                    jti += 1;
                    match spend(&replay, key, jti, 1000, 1000) {
                        Ok(()) => {}
                        Err(JwtRefusal::TooManyProofs) => refused += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
            let accepted = (0..).take_while(|jti| spend(&replay, busy, *jti, 1000, 1000).is_ok());
            assert_eq!(accepted.count(), left, "{capacity} {busy}");
            // No used proof was forgotten for that.
            assert_eq!(spend(&replay, 0, 1, 1000, 1000), Err(JwtRefusal::Replay));
        }
    }

    #[test]
    fn memory_is_bounded_and_released() {
        let replay = Replay::new(3);
        for key in 0..3 {
            assert_eq!(spend(&replay, key, 0, 1000, 1000), Ok(()));
        }
        assert_eq!(spend(&replay, 3, 0, 1000, 1000), Err(JwtRefusal::ReplayUnavailable));
        assert_eq!(spend(&replay, 0, 0, 1000, 1000), Err(JwtRefusal::Replay));
        assert_eq!(spend(&replay, 3, 0, 1060, 1060), Err(JwtRefusal::ReplayUnavailable));
        assert_eq!(spend(&replay, 3, 0, 1068, 1068), Ok(()));
        let window = replay.window.lock().expect("not poisoned");
        let kept: Vec<_> = window.slices.values().map(|s| (s.proofs.len(), s.keys.len())).collect();
        assert_eq!(kept, [(1, 1)]);
        drop(window);
        assert_eq!(spend(&Replay::new(0), 0, 0, 1000, 1000), Err(JwtRefusal::ReplayUnavailable));
    }

    /// 600 requests a second filled the store within three minutes, whoever sent them.
    #[test]
    fn the_default_capacity_holds_what_a_busy_client_sends() {
        let replay = Replay::new(super::super::REPLAY_CAPACITY);
        let mut jti = 0;
        for now in 1000..1200 {
            for _ in 0..600 {
                jti += 1;
                assert_eq!(spend(&replay, 1, jti, now, now), Ok(()), "{now}");
            }
        }
    }

    /// The figures in the documentation of `Dpop::replay_capacity`: a hash table is largest per entry just after it has grown.
    #[test]
    fn bytes_per_proof_are_as_documented() {
        const PROOFS: u32 = (1 << 17) / 8 * 7 + 1;
        for (per_key, documented) in [(1000, 39), (1, 87)] {
            let mut replay = None;
            let info = allocation_counter::measure(|| {
                let full = Replay::new(1_000_000);
                for n in 0..PROOFS {
                    spend(&full, n / per_key, n, 1000, 1000).expect("there is a free entry");
                }
                replay = Some(full);
            });
            let bytes = info.bytes_current.unsigned_abs().div_ceil(u64::from(PROOFS));
            println!("{per_key} proofs per key: {bytes} bytes per proof");
            assert_eq!(bytes, documented, "{per_key}");
        }
    }

    #[test]
    fn what_was_forgotten_is_refused_after_the_clock_goes_back() {
        let replay = Replay::new(3);
        spend(&replay, 1, 1, 1000, 1000).expect("the first");
        assert_eq!(spend(&replay, 1, 1, 900, 900), Err(JwtRefusal::Replay));
        spend(&replay, 1, 2, 2000, 2000).expect("much later");
        assert_eq!(spend(&replay, 1, 1, 1000, 1000), Err(JwtRefusal::Proof));
    }

    /// Returns what the test wants, and counts the calls.
    struct Fixed(Result<bool, &'static str>, Arc<AtomicUsize>);

    impl ReplayStore for Fixed {
        type Error = &'static str;

        async fn spend(&self, _: &[u8; 32], good_for: Duration) -> Result<bool, &'static str> {
            assert_eq!(good_for.as_secs(), 121);
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0
        }
    }

    fn shared(capacity: usize, answer: Result<bool, &'static str>) -> (Replay, Arc<AtomicUsize>) {
        let mut replay = Replay::new(capacity);
        let calls = Arc::default();
        replay.set_store(Fixed(answer, Arc::clone(&calls)));
        (replay, calls)
    }

    /// A store with the seconds of real time for which it keeps each proof.
    #[derive(Clone, Default)]
    struct Timed {
        now: Arc<AtomicUsize>,
        kept_until: Arc<Mutex<HashMap<[u8; 32], usize>>>,
    }

    impl ReplayStore for Timed {
        type Error = std::convert::Infallible;

        async fn spend(&self, proof: &[u8; 32], good_for: Duration) -> Result<bool, Self::Error> {
            let now = self.now.load(Ordering::Relaxed);
            let until = now + usize::try_from(good_for.as_secs()).expect("not that long");
            let mut kept = self.kept_until.lock().expect("not poisoned");
            kept.retain(|_, until| now < *until);
            Ok(kept.insert(*proof, until).is_none())
        }
    }

    #[test]
    fn a_shared_store_remembers_a_proof_as_long_as_any_clock_within_the_leeway_accepts_it() {
        // How far the clocks of two servers and of the client are ahead of real time.
        for (first, second, client) in
            [(0, 0, 0), (0, 0, 30), (30, 0, 0), (0, 30, 30), (30, 0, 60), (30, 0, 30)]
        {
            for later in 0..200_u32 {
                let store = Timed::default();
                let server = || {
                    let mut replay = Replay::new(100);
                    replay.set_store(store.clone());
                    replay
                };
                let iat = 1000 + client;
                assert_eq!(spend(&server(), 1, 1, iat, 1000 + first), Ok(()));
                store.now.fetch_add(later as usize, Ordering::Relaxed);
                let clock = 1000 + u64::from(later) + second;
                if iat <= clock + LEEWAY && clock <= iat + MAX_AGE {
                    let again = spend(&server(), 1, 1, iat, clock);
                    assert_eq!(again, Err(JwtRefusal::Replay), "{first} {second} {client} {later}");
                }
            }
        }
    }

    /// Keys are free to make: a client that uses one after the other needs many of them.
    #[test]
    fn keys_that_fill_their_shares_in_turn_do_not_fill_the_store() {
        for (capacity, keys) in [(100, 41), (1000, 77), (10_000, 115)] {
            let replay = Replay::new(capacity);
            let mut jti = 0;
            let mut fill = |key| loop {
                jti += 1;
                match spend(&replay, key, jti, 1000, 1000) {
                    Ok(()) => {}
                    refused => break refused,
                }
            };
            let full = (0..).take_while(|key| fill(*key) == Err(JwtRefusal::TooManyProofs));
            assert_eq!(full.count() + 1, keys, "{capacity}");
        }
    }

    #[test]
    fn a_store_decides_and_its_failure_lets_nothing_through() {
        for (answer, expected) in [
            (Ok(true), Ok(())),
            (Ok(false), Err(JwtRefusal::Replay)),
            (Err("down"), Err(JwtRefusal::ReplayUnavailable)),
        ] {
            assert_eq!(spend(&shared(10, answer).0, 7, 1, 1000, 1000), expected);
        }
    }

    /// The shared store is bounded by the same shares, and a proof that this server knows costs no round trip.
    #[test]
    fn no_key_can_fill_a_shared_store() {
        let (replay, calls) = shared(10, Ok(true));
        for jti in 0..100 {
            let expected = if jti < 1 { Ok(()) } else { Err(JwtRefusal::TooManyProofs) };
            assert_eq!(spend(&replay, 1, jti, 1000, 1000), expected);
        }
        assert_eq!(spend(&replay, 1, 0, 1000, 1000), Err(JwtRefusal::Replay));
        assert_eq!(spend(&replay, 2, 0, 1000, 1000), Ok(()));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}
