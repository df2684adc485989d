//! The health of a shared store: whether it may be called, and how long a request waits for it. All limiters on one store share it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::middleware::rate_limit::config::clock::nanos;

/// The health of one store.
///
/// There are three states. The store *answers*: a request waits for the deadline. It answers *late*: calls were answered after the deadline, so a
/// request waits longer instead of being decided without the store. It is *unreachable*: at least half of the recent calls failed, so no request
/// calls it until the supervisor has found that it decides again.
#[derive(Default)]
pub(crate) struct StoreHealth {
    recent: Mutex<RecentCalls>,
    unreachable: AtomicBool,
    pub(crate) counts: CallCounts,
    /// Whether the supervisor runs.
    pub(crate) is_supervised: AtomicBool,
    /// The limiters on this store that have something to send, or had.
    clients: Mutex<Vec<Weak<dyn StoreUser>>>,
}

/// A limiter on the store, as the supervisor sees it.
pub(crate) trait StoreUser: Send + Sync {
    /// Whether the store is reachable and executes a decision.
    fn probe(self: Arc<Self>) -> BoxFuture<'static, bool>;
    /// Sends refunds and released slots.
    fn send_updates(self: Arc<Self>) -> BoxFuture<'static, ()>;
    /// Sends charges and blocks. Returns whether the store accepts them.
    fn send_charges(self: Arc<Self>) -> BoxFuture<'static, bool>;
    /// Whether nothing is left to send.
    fn is_done(&self) -> bool;
}

/// The calls of a store since it was first used.
#[derive(Default)]
pub(crate) struct CallCounts {
    pub(crate) answered: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// How long all answers together have taken.
    pub(crate) nanos: AtomicU64,
}

impl CallCounts {
    fn answer(&self, time: Duration, is_late: bool) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.late.fetch_add(u64::from(is_late), Ordering::Relaxed);
        self.nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }
}

/// The outcomes of the last calls.
#[derive(Default)]
struct RecentCalls {
    /// The number of each call, and whether it failed.
    outcomes: VecDeque<(CallNumber, bool)>,
    last: CallNumber,
    /// When the last outcome was recorded, and the last answer.
    at: Option<Instant>,
    answered: Option<Instant>,
    /// Whether the next failure opens the breaker again, because it was only just closed.
    is_on_trial: bool,
    /// Until when the store counts as late.
    late_until: Option<Instant>,
}

/// The number of a call, with which a failure is taken back if the answer comes after all.
pub(crate) type CallNumber = u64;

impl StoreHealth {
    pub(crate) fn is_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Acquire)
    }

    /// How long a request waits for an answer.
    pub(crate) fn patience(&self, deadline: Duration) -> Duration {
        if self.is_late() { deadline.saturating_mul(PATIENCE) } else { deadline }
    }

    /// Whether calls were answered after the deadline recently.
    pub(crate) fn is_late(&self) -> bool {
        let mut recent = self.lock();
        let Some(late_until) = recent.late_until else { return false };
        if Instant::now() < late_until {
            return true;
        }
        recent.late_until = None;
        drop(recent);
        tracing::warn!("the shared store answers within the deadline again");
        false
    }

    /// Whether a call was answered since then.
    pub(crate) fn has_answered_since(&self, time: Instant) -> bool {
        self.lock().answered.is_some_and(|answered| answered > time)
    }

    /// Whether a call was answered within this time.
    pub(crate) fn has_answered_within(&self, time: Duration) -> bool {
        self.lock().answered.is_some_and(|answered| answered.elapsed() < time)
    }

    /// A call was answered while its request waited.
    pub(crate) fn succeeded(&self, time: Duration, deadline: Duration) {
        let is_late = time > deadline;
        self.counts.answer(time, is_late);
        let mut recent = self.lock();
        recent.record(false);
        (recent.is_on_trial, recent.answered) = (false, recent.at);
        if is_late {
            self.extend_late(recent);
        }
    }

    /// A call failed, or was not answered in time. Returns its number, and whether this opens the breaker.
    pub(crate) fn failed(&self, is_error: bool) -> (CallNumber, bool) {
        let count = if is_error { &self.counts.failed } else { &self.counts.unanswered };
        count.fetch_add(1, Ordering::Relaxed);
        let mut recent = self.lock();
        recent.record(true);
        let opens = (recent.is_on_trial || recent.has_too_many_failures())
            && !self.unreachable.swap(true, Ordering::AcqRel);
        (recent.last, opens)
    }

    /// A call that was counted as failed was answered after all. This does not close the breaker: only the supervisor does, when this server has sent
    /// what it has admitted, and the others had the time to do so.
    pub(crate) fn answered_late(&self, number: CallNumber, time: Duration) {
        self.counts.unanswered.fetch_sub(1, Ordering::Relaxed);
        self.counts.answer(time, true);
        let mut recent = self.lock();
        if let Some((_, failed)) = recent.outcomes.iter_mut().find(|(known, _)| *known == number) {
            *failed = false;
        }
        self.extend_late(recent);
    }

    /// Closes the breaker. The next failure opens it again.
    pub(crate) fn close(&self) {
        let mut recent = self.lock();
        recent.outcomes.clear();
        recent.is_on_trial = true;
        self.unreachable.store(false, Ordering::Release);
    }

    /// Adds a limiter whose updates the supervisor sends.
    pub(crate) fn add(&self, client: &Arc<impl StoreUser + 'static>) {
        let client: Weak<dyn StoreUser> = Arc::downgrade(&(client.clone() as Arc<dyn StoreUser>));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if !clients.iter().any(|known| known.ptr_eq(&client)) {
            clients.push(client);
        }
    }

    /// The limiters that were added and still exist.
    pub(crate) fn clients(&self) -> Vec<Arc<dyn StoreUser>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| client.strong_count() > 0);
        clients.iter().filter_map(Weak::upgrade).collect()
    }

    fn extend_late(&self, mut recent: MutexGuard<'_, RecentCalls>) {
        let was = recent.late_until.replace(Instant::now() + LATE_FOR);
        drop(recent);
        if was.is_none() {
            tracing::warn!(
                "the shared store answers after the deadline: requests wait longer for it"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, RecentCalls> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecentCalls {
    fn record(&mut self, failed: bool) {
        let now = Instant::now();
        if self.at.is_some_and(|at| now.duration_since(at) > WINDOW) {
            self.outcomes.clear();
        }
        self.at = Some(now);
        self.last += 1;
        self.outcomes.push_back((self.last, failed));
        if self.outcomes.len() > CALLS {
            self.outcomes.pop_front();
        }
    }

    fn has_too_many_failures(&self) -> bool {
        let failures = self.outcomes.iter().filter(|(_, failed)| *failed).count();
        failures >= FAILURES && failures * 2 >= self.outcomes.len()
    }
}

/// The breaker opens if at least half of the last `CALLS` calls failed, and at least `FAILURES` of them.
const CALLS: usize = 16;
const FAILURES: usize = 5;
/// Outcomes are discarded if there was no call for this long.
const WINDOW: Duration = Duration::from_secs(10);
/// For how long after a late answer the store counts as late.
const LATE_FOR: Duration = Duration::from_secs(60);
/// How many deadlines a request waits for a store that answers late.
pub(crate) const PATIENCE: u32 = 10;
