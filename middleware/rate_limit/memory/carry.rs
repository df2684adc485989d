//! Quotas that replace each other: each has a key of its own, and starts with what is used of the others.

use smallvec::SmallVec;

use super::LocalMemory;
use super::gcra::SPREAD;
use super::table::KeyState;
use crate::middleware::rate_limit::config::clock::END_OF_TIME;
use crate::middleware::rate_limit::config::quota::{Pace, Rate};

/// The key of a quota, and the keys of the other quotas of the same policy and client.
#[derive(Clone)]
pub(crate) struct QuotaCarry {
    pub(crate) shard: usize,
    pub(crate) key: u64,
    pub(crate) rate: Rate,
    pub(crate) others: SmallVec<[(u64, Rate); 2]>,
}

/// The key under which a policy counts a client under one of its quotas. It is the key of the policy itself for its first quota.
pub(crate) fn quota_key(key: u64, rate: Rate, first: Rate) -> u64 {
    let quota = |rate: Rate| {
        let window = match rate.pace {
            Pace::Gradual => 0,
            Pace::Calendar => rate.length.rotate_left(20),
            Pace::Month => !rate.length.rotate_left(11),
            Pace::FirstRequest => !rate.length.rotate_left(20),
        };
        rate.interval ^ u64::from(rate.burst.get()).rotate_left(40) ^ window
    };
    key ^ (quota(rate) ^ quota(first)).wrapping_mul(SPREAD)
}

impl LocalMemory {
    /// Starts the count of each quota that its client did not have lately with the fraction that is used of the other quotas. The counts of those are
    /// not changed.
    ///
    /// While another quota is charged, all quotas that the client has are marked for the longest time in which one of them comes back. A quota with a
    /// mark is not started again. Of a quota with a window, only what is charged after the end of the window is used.
    pub(crate) fn carry(&self, carries: &[QuotaCarry], now: u64) {
        for QuotaCarry { shard, key, rate, others } in carries {
            let table = &mut self.lock(*shard).table;
            let until =
                |table: &super::StateTable, key| table.find(key).map_or(0, KeyState::as_until);
            let charged: SmallVec<[_; 2]> = others
                .iter()
                .map(|(other, from)| (*other, *from, from.taken(until(table, *other), now)))
                .filter(|(_, _, taken)| *taken > 0)
                .collect();
            let fractions = charged.iter().map(|(_, from, taken)| rate.converted(*taken, *from));
            let Some(used) = fractions.max() else { continue };
            let own = until(table, *key);
            if until(table, key ^ MARK) <= now
                && used > rate.taken(own, now)
                && table.has_room(1, now)
            {
                let started = rate.origin(own, now).saturating_add(used);
                table.set(*key, KeyState::until(started.min(END_OF_TIME)));
            }
            let times = charged.iter().map(|(_, other, _)| other.longest_return());
            let longest = times.fold(rate.longest_return(), u64::max);
            for key in charged.iter().map(|(other, _, _)| other).chain([key]) {
                if table.has_room(1, now) {
                    table.set(key ^ MARK, KeyState::until(now.saturating_add(longest)));
                }
            }
        }
    }

    /// Removes the counts of all quotas of these clients.
    pub(crate) fn forget_quotas(&self, carries: &[QuotaCarry]) {
        for QuotaCarry { shard, key, others, .. } in carries {
            let table = &mut self.lock(*shard).table;
            for key in others.iter().map(|(other, _)| other).chain([key]) {
                for key in [*key, key ^ MARK, key ^ super::TRUSTED] {
                    table.remove(key);
                }
            }
        }
    }
}

/// Derives, from the key of a quota, the key of its mark.
const MARK: u64 = 0x3c6e_f372_fe94_f82b;
