//! What the memory keeps beside charges: until when a cached state of a shared store may be used without a call, the leases of clients, and how often a
//! subject was blocked.

use super::table::KeyState;
use super::{LocalMemory, MemoryShard, TRUSTED};

impl LocalMemory {
    /// Until when a key is charged, and until when that may be used without a call of the store.
    pub(crate) fn known(&self, shard: usize, key: u64) -> (u64, u64) {
        let shard = self.lock(shard);
        let until = |key| shard.table.find(key).map_or(0, KeyState::as_until);
        (until(key), until(key ^ TRUSTED))
    }

    /// Sets until when the state of a key may be used without a call.
    pub(crate) fn trust(&self, shard: usize, key: u64, now: u64, until: u64) {
        self.change(shard, key ^ TRUSTED, now, |_| until);
    }

    /// Extends until when the state of a key may be used without a call.
    pub(crate) fn extend_trust(&self, shard: usize, key: u64, now: u64, until: u64) {
        self.change(shard, key ^ TRUSTED, now, |other| other.max(until));
    }

    /// Spends one request of the lease for this shape. Returns how many are left.
    pub(crate) fn spend_lease(
        &self,
        shard: usize,
        client: u64,
        shape: u64,
        now: u64,
    ) -> Option<u32> {
        let mut shard = self.lock(shard);
        let key = shard.lease_key(client, shape, now);
        let value = shard.table.find(key).filter(|value| !value.is_over(now))?;
        shard.table.set(key, value.less());
        value.as_count().checked_sub(1)
    }

    /// Adds requests of this shape to the lease of a client. Without a free slot they are lost.
    pub(crate) fn lease(&self, shard: usize, client: u64, shape: u64, count: u32, now: u64) {
        let mut shard = self.lock(shard);
        let key = shard.lease_key(client, shape, now);
        let left = match shard.table.find(key) {
            Some(value) if !value.is_over(now) => value.as_count(),
            Some(_) => 0,
            None if shard.table.has_room(1, now) => 0,
            None => return,
        };
        let until = now.saturating_add(LEASE_TIME);
        shard.table.set(key, KeyState::lease(left.saturating_add(count), until));
    }

    /// Ends all leases of a client. Their keys depend on the shapes of the requests and are not known here. So this stores a time for the client,
    /// which changes the keys of its leases; the old leases are never found again, and expire.
    pub(crate) fn end_leases(&self, shard: usize, client: u64, now: u64) {
        let latest = now.saturating_add(LEASE_TIME);
        self.change(shard, client ^ LEASED, now, |last| latest.max(last.saturating_add(1)));
    }

    /// For how many nanoseconds a subject is blocked now: for `first`, and each further time twice as long as the time before, up to `longest`. A
    /// subject that was not blocked for as long as `longest` starts again with `first`. So does one without a free slot.
    pub(crate) fn next_block(
        &self,
        (shard, key): (usize, u64),
        first: u64,
        longest: u64,
        now: u64,
    ) -> u64 {
        let mut shard = self.lock(shard);
        let found = shard.table.find(key);
        let before = found.filter(|value| !value.is_over(now)).map_or(0, KeyState::as_count);
        let time = first.saturating_mul(1 << before.min(MOST_DOUBLINGS)).min(longest.max(first));
        if found.is_some() || shard.table.has_room(1, now) {
            let until = now.saturating_add(time).saturating_add(longest);
            let times = before.saturating_add(1).min(MOST_DOUBLINGS);
            shard.table.set(key, KeyState::lease(times, until));
        }
        time
    }

    /// From now on, the state of a key needs a call.
    pub(crate) fn distrust(&self, shard: usize, key: u64) {
        self.lock(shard).table.remove(key ^ TRUSTED);
    }
}

impl MemoryShard {
    fn lease_key(&self, client: u64, shape: u64, now: u64) -> u64 {
        let ended = self.table.find(client ^ LEASED).filter(|ended| !ended.is_over(now));
        shape ^ LEASED ^ ended.map_or(0, KeyState::as_until).wrapping_mul(LEASED)
    }
}

/// Derives the key of a lease from a shape, and from a client the key under which [`end_leases`](LocalMemory::end_leases) stores its time.
const LEASED: u64 = 0x6a09_e667_f3bc_c909;
/// A block of one second, doubled this often, takes 136 years.
const MOST_DOUBLINGS: u32 = 32;
/// For how many nanoseconds a lease may be used.
const LEASE_TIME: u64 = 10_000_000_000;
