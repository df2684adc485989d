//! What the memory holds on behalf of a shared store: what it said, for how long that is trusted, and what was paid for in advance.

use super::table::Value;
use super::{Memory, Shard, TRUSTED};

impl Memory {
    /// Until when a key is charged, and until when that is trusted without asking the shared store.
    pub(crate) fn known(&self, shard: usize, key: u64) -> (u64, u64) {
        let shard = self.lock(shard);
        let until = |key| shard.table.find(key).map_or(0, Value::as_until);
        (until(key), until(key ^ TRUSTED))
    }

    /// Trusts what is remembered of a key until then.
    pub(crate) fn trust(&self, shard: usize, key: u64, now: u64, until: u64) {
        self.change(shard, key ^ TRUSTED, now, |_| until);
    }

    /// Trusts what is remembered of a key until then at least.
    pub(crate) fn extend_trust(&self, shard: usize, key: u64, now: u64, until: u64) {
        self.change(shard, key ^ TRUSTED, now, |other| other.max(until));
    }

    /// Takes one of the requests of this shape that a client has paid for in advance. Returns how many are left.
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

    /// Remembers so many requests of this shape as paid for. Without room for it they are lost.
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
        shard.table.set(key, Value::lease(left.saturating_add(count), until));
    }

    /// Forgets all that a client has paid for in advance, whatever its shape: for as long as some of it might be left, what it pays for anew lies
    /// elsewhere.
    pub(crate) fn end_leases(&self, shard: usize, client: u64, now: u64) {
        let latest = now.saturating_add(LEASE_TIME);
        self.change(shard, client ^ LEASED, now, |last| latest.max(last.saturating_add(1)));
    }

    /// Trusts no longer what is remembered of a key.
    pub(crate) fn distrust(&self, shard: usize, key: u64) {
        self.lock(shard).table.remove(key ^ TRUSTED);
    }
}

impl Shard {
    fn lease_key(&self, client: u64, shape: u64, now: u64) -> u64 {
        let ended = self.table.find(client ^ LEASED).filter(|ended| !ended.is_over(now));
        shape ^ LEASED ^ ended.map_or(0, Value::as_until).wrapping_mul(LEASED)
    }
}

/// Makes the key of a lease of what its requests have in common, and of a client the key under which its leases were ended.
const LEASED: u64 = 0x6a09_e667_f3bc_c909;
/// How long what was paid for in advance may be used.
const LEASE_TIME: u64 = 10_000_000_000;
