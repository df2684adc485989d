//! How many decisions of each kind a limiter has made.

use std::sync::atomic::{AtomicU64, Ordering};

use super::response::decision::Verdict;

/// How many decisions of each kind a limiter has made since it was built, for metrics. Returned by
/// [`RateLimitHandle::totals`](super::RateLimitHandle::totals).
///
/// A refusal in shadow mode counts as a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    verdicts: [u64; VERDICTS],
    near_limit: u64,
}

impl Totals {
    /// The number of requests with this verdict.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.verdicts[verdict as usize]
    }

    /// The number of requests that were admitted when a fifth or less of a quota was left.
    pub fn near_limit(&self) -> u64 {
        self.near_limit
    }
}

/// The counters behind [`Totals`] for the decisions that the memory does not count itself. They are striped, so clients on different cores do not
/// write to the same cache line.
#[derive(Debug, Default)]
pub(crate) struct DecisionCounters([CounterStripe; STRIPES]);

/// Counters on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CounterStripe([AtomicU64; VERDICTS + 1]);

impl DecisionCounters {
    /// Counts a decision about a client of this shard.
    pub(crate) fn note(&self, shard: usize, verdict: Verdict, near_limit: bool) {
        let CounterStripe(stripe) = &self.0[shard % STRIPES];
        stripe[verdict as usize].fetch_add(1, Ordering::Relaxed);
        if near_limit {
            stripe[VERDICTS].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sum of these counters and those of the memory.
    pub(crate) fn totals(&self, (admitted, near_limit): (u64, u64)) -> Totals {
        let mut totals = Totals { near_limit, ..Totals::default() };
        totals.verdicts[Verdict::Admitted as usize] = admitted;
        for CounterStripe(stripe) in &self.0 {
            for (total, count) in totals.verdicts.iter_mut().zip(stripe) {
                *total += count.load(Ordering::Relaxed);
            }
            totals.near_limit += stripe[VERDICTS].load(Ordering::Relaxed);
        }
        totals
    }
}

const VERDICTS: usize = Verdict::Unavailable as usize + 1;
const STRIPES: usize = 16;
