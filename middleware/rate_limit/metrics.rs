//! How often a limiter decided what.

use std::sync::atomic::{AtomicU64, Ordering};

use super::response::decision::Verdict;

/// How often a limiter decided what since it was made, for metrics. Made by [`RateLimitHandle::totals`](super::RateLimitHandle::totals).
///
/// What a shadow limiter would have refused is counted as refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    verdicts: [u64; VERDICTS],
    near_limit: u64,
}

impl Totals {
    /// How many requests were decided upon so.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.verdicts[verdict as usize]
    }

    /// How many requests were admitted when a fifth or less of a quota was left.
    pub fn near_limit(&self) -> u64 {
        self.near_limit
    }
}

/// The counters behind [`Totals`] for what the memory doesn't count itself, in several places, so that clients on several cores don't meet there.
#[derive(Debug, Default)]
pub(crate) struct Counters([Place; PLACES]);

/// Counters on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Place([AtomicU64; VERDICTS + 1]);

impl Counters {
    /// Counts a decision about a client of this shard.
    pub(crate) fn note(&self, shard: usize, verdict: Verdict, near_limit: bool) {
        let Place(place) = &self.0[shard % PLACES];
        place[verdict as usize].fetch_add(1, Ordering::Relaxed);
        if near_limit {
            place[VERDICTS].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that was counted, here and in the memory.
    pub(crate) fn totals(&self, (admitted, near_limit): (u64, u64)) -> Totals {
        let mut totals = Totals { near_limit, ..Totals::default() };
        totals.verdicts[Verdict::Admitted as usize] = admitted;
        for Place(place) in &self.0 {
            for (total, count) in totals.verdicts.iter_mut().zip(place) {
                *total += count.load(Ordering::Relaxed);
            }
            totals.near_limit += place[VERDICTS].load(Ordering::Relaxed);
        }
        totals
    }
}

const VERDICTS: usize = Verdict::Unavailable as usize + 1;
const PLACES: usize = 16;
