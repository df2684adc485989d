//! What operators see of a shared store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::client::StoreClient;
use crate::middleware::rate_limit::config::policy::Policy;

/// The state of a shared store, and how its calls ended since it was first used. Returned by
/// [`RateLimitHandle::store`](crate::middleware::rate_limit::RateLimitHandle::store).
///
/// All limiters that use clones of one [`SharedLimits`](super::store::SharedLimits) have these numbers in common, except for
/// [`local_decisions`](StoreReport::local_decisions).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreReport {
    /// The current state. Each change is logged once, at the level `warn`.
    pub state: StoreState,
    /// The number of calls that were answered, also after the deadline.
    pub answered: u64,
    /// How many of these were answered after the deadline.
    pub late: u64,
    /// The number of calls that were not answered in time, and have not been answered since.
    pub unanswered: u64,
    /// The number of calls that failed.
    pub failed: u64,
    /// How long an answer took on average.
    pub mean_latency: Duration,
    /// How long all answers together have taken.
    pub total_latency: Duration,
    /// The name of each policy of this limiter, and how many requests to which it applied were decided without the store.
    pub local_decisions: Vec<(String, u64)>,
}

/// The state of a shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreState {
    /// It answers within the deadline.
    Answering,
    /// It was late within the last 60 s. Requests wait for up to ten deadlines.
    Late,
    /// At least half of its recent calls failed. No request calls it, until it decides again.
    Unreachable,
}

impl StoreClient {
    pub(crate) fn report(&self, policies: &[Policy]) -> StoreReport {
        let (health, counts) = (&self.limits.health, &self.limits.health.counts);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let answered = count(&counts.answered);
        StoreReport {
            state: match (health.is_unreachable(), health.is_late()) {
                (true, _) => StoreState::Unreachable,
                (false, true) => StoreState::Late,
                (false, false) => StoreState::Answering,
            },
            answered,
            late: count(&counts.late),
            unanswered: count(&counts.unanswered),
            failed: count(&counts.failed),
            mean_latency: Duration::from_nanos(count(&counts.nanos) / answered.max(1)),
            total_latency: Duration::from_nanos(count(&counts.nanos)),
            local_decisions: policies
                .iter()
                .zip(&self.local_decisions)
                .map(|(policy, decisions)| (policy.name.to_string(), count(decisions)))
                .collect(),
        }
    }
}
