//! How many decisions of each kind a limiter has made.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::config::error::MAX_POLICIES;
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

/// How many requests a policy has refused. Returned by [`RateLimitHandle::refusals`](super::RateLimitHandle::refusals).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyTotals {
    refused: u64,
    shadowed: u64,
    overflowed: u64,
}

impl PolicyTotals {
    /// The number of requests that the policy has refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The number of requests that the policy would have refused without shadow mode.
    pub fn shadowed(&self) -> u64 {
        self.shadowed
    }

    /// The number of checks of clients that share a counter with others, because the memory of this server was full. See
    /// [`max_keys`](crate::RateLimit::max_keys).
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// The counters behind [`Totals`] for the decisions that the memory does not count itself. They are striped, so clients on different cores do not
/// write to the same cache line.
#[derive(Debug, Default)]
pub(crate) struct DecisionCounters {
    stripes: [CounterStripe; STRIPES],
    /// For each policy, the number of its refusals, and of those in shadow mode.
    policies: [[AtomicU64; 2]; MAX_POLICIES],
    /// The clients that were refused most often, by their hash.
    most_limited: Mutex<Vec<(u64, u64)>>,
}

/// Counters on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CounterStripe([AtomicU64; VERDICTS + 1]);

impl DecisionCounters {
    /// Counts a decision about a client of this shard.
    pub(crate) fn note(&self, shard: usize, verdict: Verdict, near_limit: bool) {
        let CounterStripe(stripe) = &self.stripes[shard % STRIPES];
        stripe[verdict as usize].fetch_add(1, Ordering::Relaxed);
        if near_limit {
            stripe[VERDICTS].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a refusal by a policy.
    pub(crate) fn note_policy(&self, policy: u8, is_shadowed: bool) {
        if let Some(counters) = self.policies.get(usize::from(policy)) {
            counters[usize::from(is_shadowed)].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn policy(&self, policy: usize, overflowed: u64) -> PolicyTotals {
        let [refused, shadowed] =
            [0, 1].map(|at| self.policies[policy][at].load(Ordering::Relaxed));
        PolicyTotals { refused, shadowed, overflowed }
    }

    /// Counts a refusal of a client, by the algorithm Space-Saving (Metwally 2005): a new client takes over the smallest of a fixed number of counts. A
    /// client that is refused more often than one in so many times is always in the list. While another thread counts, this one is left out.
    pub(crate) fn note_client(&self, client: u64) {
        let Ok(mut clients) = self.most_limited.try_lock() else { return };
        if let Some((_, count)) = clients.iter_mut().find(|(known, _)| *known == client) {
            *count += 1;
        } else if clients.len() < MOST_LIMITED {
            clients.push((client, 1));
        } else if let Some(smallest) = clients.iter_mut().min_by_key(|(_, count)| *count) {
            *smallest = (client, smallest.1 + 1);
        }
    }

    /// The hashes of the clients that were refused most often, and how often, the most often first.
    pub(crate) fn most_limited(&self) -> Vec<(u64, u64)> {
        let mut clients = self.most_limited.lock().unwrap_or_else(PoisonError::into_inner).clone();
        clients.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        clients
    }

    /// The sum of these counters and those of the memory.
    pub(crate) fn totals(&self, (admitted, near_limit): (u64, u64)) -> Totals {
        let mut totals = Totals { near_limit, ..Totals::default() };
        totals.verdicts[Verdict::Admitted as usize] = admitted;
        for CounterStripe(stripe) in &self.stripes {
            for (total, count) in totals.verdicts.iter_mut().zip(stripe) {
                *total += count.load(Ordering::Relaxed);
            }
            totals.near_limit += stripe[VERDICTS].load(Ordering::Relaxed);
        }
        totals
    }
}

const VERDICTS: usize = Verdict::QueueFull as usize + 1;
const STRIPES: usize = 16;
/// How many clients are counted.
const MOST_LIMITED: usize = 32;
