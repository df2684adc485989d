//! The memory of one server, divided into shards.

pub(crate) mod carry;
pub(crate) mod gcra;
mod hash;
mod leases;
mod refundable;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use self::gcra::{
    CheckKind, CheckOutcome, GovernorCheck, KeyCheck, Receipt, ReceiptKind, governed,
};
use self::hash::HashSeed;
use self::refundable::{QueueKey, RefundableCharges};
use self::table::{KeyState, StateTable};
use super::config::clock::END_OF_TIME;
use super::config::error::MAX_POLICIES;
use super::config::key::{LEVELS, SubjectRef};
use super::config::quota::Rate;

/// The state of all keys of a limiter, up to a cap.
///
/// All keys of one client are in one shard, so one lock makes a decision over all its policies atomic. Where policies have different keys, their
/// shards are locked in order of their number, which excludes deadlocks.
#[derive(Debug)]
pub(crate) struct LocalMemory {
    shards: Box<[PaddedShard]>,
    /// How far a hash is shifted to the right to get the number of its shard.
    shift: u32,
    seed: HashSeed,
    cap: usize,
    /// For each policy, how many checks had no slot in the table.
    overflowed: [AtomicU64; MAX_POLICIES],
}

/// A shard on cache lines of its own.
#[derive(Debug)]
#[repr(C, align(128))]
struct PaddedShard {
    /// Written only to prefetch the shard's cache line; never read.
    expected: AtomicBool,
    shard: Mutex<MemoryShard>,
}

/// The fields that most requests need come first, beside the lock: they are on one cache line.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct MemoryShard {
    /// The number of decisions in this shard. It schedules the sweeps.
    decided: u32,
    /// How many of them were admitted, and of those, how many with a fifth or less of a quota left.
    admitted: u64,
    near_limit: u64,
    pub(crate) table: StateTable,
    /// Counters that keys without a slot in the table share. Empty until the table is full.
    overflow: Vec<KeyState>,
    /// The charges that may still be refunded.
    refundable_charges: RefundableCharges,
}

/// The result of [`LocalMemory::charge`].
pub(crate) enum ChargeOutcome {
    /// Admitted. The key is now charged until then.
    Until(u64),
    /// Refused. The key is charged until then without this charge, which would be admitted after `wait` nanoseconds.
    Wait { until: u64, wait: u64 },
}

impl LocalMemory {
    pub(crate) fn new(max_keys: usize) -> Self {
        let shards = match max_keys / KEYS_PER_SHARD {
            0 => 1,
            many => 1_usize << many.ilog2().min(12),
        };
        let shard = |at: usize| MemoryShard {
            decided: 0,
            admitted: 0,
            near_limit: 0,
            table: StateTable::new(max_keys / shards + usize::from(at < max_keys % shards)),
            overflow: Vec::new(),
            refundable_charges: RefundableCharges::default(),
        };
        Self {
            shards: (0..shards)
                .map(|at| PaddedShard {
                    expected: AtomicBool::new(false),
                    shard: Mutex::new(shard(at)),
                })
                .collect(),
            shift: 64 - shards.ilog2(),
            seed: HashSeed::new(),
            cap: max_keys,
            overflowed: Default::default(),
        }
    }

    /// The largest number of keys.
    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// How many checks of this policy had no slot in the table.
    pub(crate) fn overflowed(&self, policy: usize) -> u64 {
        self.overflowed.get(policy).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    #[cold]
    fn note_overflow(&self, segment: u8) {
        // Other segments, such as slots, belong to no policy.
        if let Some(count) = self.overflowed.get(usize::from(segment) / LEVELS) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A keyed hash of any value.
    pub(crate) fn hash(&self, subject: impl std::hash::Hash) -> u64 {
        self.seed.hash(subject)
    }

    /// The keyed hash of a subject.
    #[inline]
    pub(crate) fn key_of(&self, named: SubjectRef<'_>) -> u64 {
        let (updates, kind) = match named {
            SubjectRef::Addr(IpAddr::V4(addr)) => ([addr.to_bits().into(), 0], 0),
            SubjectRef::Addr(IpAddr::V6(addr)) => {
                let bits = addr.to_bits();
                ([(bits >> 64) as u64, bits as u64], 1)
            }
            SubjectRef::Number(number) => ([number, 0], 2),
            SubjectRef::Text(text) => ([self.hash(text), 0], 3),
            SubjectRef::Everyone => ([0, 0], 4),
            SubjectRef::Unknown => ([1, 0], 4),
        };
        self.seed.key(updates, kind)
    }

    /// The number of admitted requests, and of those near a limit.
    pub(crate) fn admitted(&self) -> (u64, u64) {
        let shards = (0..self.shards.len()).map(|at| self.lock(at));
        shards.fold((0, 0), |(admitted, near_limit_time), shard| {
            (admitted + shard.admitted, near_limit_time + shard.near_limit)
        })
    }

    /// Prefetches the cache line of a shard: a write makes the core that has the line hand it over before the lock is taken.
    #[inline]
    pub(crate) fn expect(&self, at: usize) {
        self.shards[at].expected.store(true, Ordering::Relaxed);
    }

    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        hash.checked_shr(self.shift).unwrap_or(0) as usize
    }

    /// The number of keys.
    pub(crate) fn len(&self) -> usize {
        (0..self.shards.len()).map(|at| self.lock(at).table.len()).sum()
    }

    /// The size of the tables in bytes.
    pub(crate) fn bytes(&self) -> usize {
        (0..self.shards.len())
            .map(|at| {
                let shard = self.lock(at);
                shard.table.bytes() + shard.overflow.capacity() * size_of::<KeyState>()
            })
            .sum()
    }

    /// Runs all checks: either all are admitted and charged, or none is charged.
    pub(crate) fn decide(&self, checks: &mut [KeyCheck], now: u64) -> bool {
        match checks {
            [] => true,
            [first, rest @ ..] if rest.iter().all(|check| check.shard == first.shard) => {
                let at = first.shard;
                let mut shard = self.lock(at);
                let admitted = decide(checks, now, |_| 0, std::slice::from_mut(&mut shard));
                self.note_overflows(checks);
                let next_sweep = shard.next_sweep(now);
                drop(shard);
                self.sweep(at, next_sweep, now);
                admitted
            }
            many => {
                let mut order: SmallVec<[usize; 8]> = many.iter().map(|c| c.shard).collect();
                order.sort_unstable();
                order.dedup();
                let mut shards: SmallVec<[_; 8]> = order.iter().map(|at| self.lock(*at)).collect();
                let position = |shard: usize| order.binary_search(&shard).unwrap_or(0);
                let admitted = decide(many, now, position, &mut shards);
                self.note_overflows(many);
                let next_sweep = shards.first_mut().and_then(|shard| shard.next_sweep(now));
                drop(shards);
                self.sweep(order[0], next_sweep, now);
                admitted
            }
        }
    }

    fn note_overflows(&self, checks: &[KeyCheck]) {
        for check in checks.iter().filter(|check| check.overflowed) {
            self.note_overflow(check.segment);
        }
    }

    /// Charges one key, which is all that most requests need. `None`, with nothing changed, if the key needs the full path.
    pub(crate) fn charge(
        &self,
        at: usize,
        key: u64,
        rate: Rate,
        cost: u32,
        now: u64,
    ) -> Option<ChargeOutcome> {
        if rate.is_window() {
            return None;
        }
        // Everything that needs no key is computed before the lock is taken.
        let governed = GovernorCheck::new(rate, 0, cost, now).ok()?;
        let (near_limit_time, latest) =
            (now.saturating_add(rate.near_limit_time()), now.saturating_add(rate.burst_time()));
        let mut shard = self.lock(at);
        let found = shard.table.locate(key);
        let overflowed = found.is_none() && !shard.table.has_room(1, now);
        let value = match found {
            Some((_, value)) => value,
            None if overflowed => *shard.overflow_counter(key, 0),
            None => KeyState::until(0),
        };
        let until = value.as_until();
        if until > latest {
            return None;
        }
        let charge = match governed.decide(until) {
            (CheckOutcome::Admitted, Some(until)) => {
                if overflowed {
                    self.note_overflow(0);
                    *shard.overflow_counter(key, 0) = KeyState::until(until);
                } else {
                    shard.table.set_at(found.map(|(at, _)| at), key, KeyState::until(until));
                }
                shard.admitted += 1;
                shard.near_limit += u64::from(until >= near_limit_time);
                ChargeOutcome::Until(until)
            }
            (CheckOutcome::Wait(wait), _) => ChargeOutcome::Wait { until, wait },
            _ => return None,
        };
        let next_sweep = shard.next_sweep(now);
        drop(shard);
        self.sweep(at, next_sweep, now);
        Some(charge)
    }

    /// Charges a key without a check, up to `further` requests beyond its burst. Returns until when it was charged before.
    pub(crate) fn charge_debt(
        &self,
        shard: usize,
        (key, segment, overflowed): (u64, u8, bool),
        rate: Rate,
        cost: u32,
        further: u32,
        now: u64,
    ) -> u64 {
        let mut shard = self.lock(shard);
        let before = shard.value(key, segment, overflowed).map_or(0, KeyState::as_until);
        if cost == 0 {
            // It must not open a window.
            return before;
        }
        let origin = rate.origin(before, now);
        let most = origin.saturating_add(rate.charge(rate.burst.get().saturating_add(further)));
        let until = before.max(origin).saturating_add(rate.charge(cost)).min(most.max(before));
        let value = KeyState::until(until.min(END_OF_TIME));
        if overflowed || (before == 0 && !shard.table.has_room(1, now)) {
            *shard.overflow_counter(key, segment) = value;
        } else {
            shard.table.set(key, value);
        }
        before
    }

    /// Refunds a decision, as far as it still counts: the part that has drained by itself is not refunded. Returns how many nanoseconds were
    /// refunded, which are at most `most`.
    pub(crate) fn refund(&self, receipt: &Receipt, most: u64, now: u64) -> u64 {
        let &Receipt { shard, key, segment, overflowed, taken } = receipt;
        let mut shard = self.lock(shard);
        let back = match taken {
            ReceiptKind::Time { rate, number, .. } => {
                let known = shard.value(key, segment, overflowed).map_or(0, KeyState::as_until);
                let origin = rate.origin(known, now);
                let queue = queue_key(key, segment, overflowed);
                shard.refundable_charges.refund(queue, number, most, origin)
            }
            ReceiptKind::Slot => 0,
        };
        if let Some(value) = shard.value(key, segment, overflowed) {
            let value = match taken {
                ReceiptKind::Time { .. } => KeyState::until(value.as_until().saturating_sub(back)),
                ReceiptKind::Slot => KeyState::count(value.as_count().saturating_sub(1)),
            };
            shard.put_back(key, segment, overflowed, value, now);
            shard.table.remove(key ^ TRUSTED);
        }
        back
    }

    /// Until when the key of a decision is charged.
    pub(crate) fn charged_until(&self, receipt: &Receipt) -> u64 {
        let &Receipt { shard, key, segment, overflowed, .. } = receipt;
        self.lock(shard).value(key, segment, overflowed).map_or(0, KeyState::as_until)
    }

    /// Keeps a decision: it can no longer be refunded.
    pub(crate) fn keep(&self, receipt: &Receipt) {
        if let ReceiptKind::Time { number: number @ 1.., .. } = receipt.taken {
            let queue = queue_key(receipt.key, receipt.segment, receipt.overflowed);
            self.lock(receipt.shard).refundable_charges.keep(queue, number);
        }
    }

    /// Registers a charge of so many nanoseconds, which has drained at `end`, as refundable. Returns its number.
    pub(crate) fn register(&self, shard: usize, key: u64, nanos: u64, end: u64) -> u64 {
        self.lock(shard).refundable_charges.register((false, key), nanos, end)
    }

    /// Moves the refundable charges of a key forward so that none ends after `until`: other servers may have refunded earlier ones.
    pub(crate) fn advance(&self, shard: usize, key: u64, until: u64) {
        self.lock(shard).refundable_charges.advance((false, key), until);
    }

    /// Ends the refundable charges of a key at `until`: the part after that was removed by hand, and must not be refunded again.
    pub(crate) fn truncate(&self, shard: usize, key: u64, until: u64) {
        self.lock(shard).refundable_charges.truncate((false, key), until);
    }

    /// Until when a key is charged, and how many of its requests are in flight.
    pub(crate) fn look(&self, shard: usize, key: u64) -> (u64, u32) {
        match self.lock(shard).table.find(key) {
            Some(value) => (value.as_until(), value.as_count()),
            None => (0, 0),
        }
    }

    /// Changes until when a key is charged. Returns whether there was a slot for it.
    pub(crate) fn change(
        &self,
        shard: usize,
        key: u64,
        now: u64,
        f: impl FnOnce(u64) -> u64,
    ) -> bool {
        let mut shard = self.lock(shard);
        let old = shard.table.find(key).map_or(0, KeyState::as_until);
        let new = f(old);
        if new <= now {
            shard.table.remove(key);
            return true;
        }
        (old > 0 || shard.table.has_room(1, now)) && shard.table.set(key, KeyState::until(new))
    }

    /// Sweeps a part of the shard that is `shards` further on, so memory is freed also where no requests arrive.
    #[inline]
    fn sweep(&self, from: usize, shards_further: Option<usize>, now: u64) {
        let Some(shards_further) = shards_further else { return };
        let at = from.wrapping_add(shards_further) % self.shards.len();
        if at == from {
            return;
        }
        if let Ok(mut shard) = self.shards[at].shard.try_lock() {
            shard.table.sweep(now, SWEEP_OTHER);
        }
    }

    pub(crate) fn lock(&self, at: usize) -> MutexGuard<'_, MemoryShard> {
        // Nothing in a critical section panics between two writes that belong together, so a poisoned lock is safe to use.
        self.shards[at].shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryShard {
    /// Schedules the sweeps: every 64th decision sweeps this shard, and every 16th another one. Returns how many shards further on that is.
    #[inline]
    fn next_sweep(&mut self, now: u64) -> Option<usize> {
        self.decided = self.decided.wrapping_add(1);
        if !self.decided.is_multiple_of(SWEEP_OTHER_EVERY) {
            return None;
        }
        if self.decided.is_multiple_of(SWEEP_OWN_EVERY) {
            self.table.sweep(now, SWEEP_OWN);
        }
        Some((self.decided / SWEEP_OTHER_EVERY) as usize)
    }

    /// The counter that keys without a slot in the table share with this one.
    fn overflow_counter(&mut self, key: u64, segment: u8) -> &mut KeyState {
        let at = overflow_position(key, segment);
        if self.overflow.len() <= at {
            self.overflow.resize(at + 1, KeyState::until(0));
        }
        &mut self.overflow[at]
    }

    fn value(&self, key: u64, segment: u8, overflowed: bool) -> Option<KeyState> {
        if overflowed {
            self.overflow.get(overflow_position(key, segment)).copied()
        } else {
            self.table.find(key)
        }
    }

    fn put_back(&mut self, key: u64, segment: u8, overflowed: bool, value: KeyState, now: u64) {
        if overflowed {
            if let Some(counter) = self.overflow.get_mut(overflow_position(key, segment)) {
                *counter = value;
            }
        } else if value.as_until() <= now && value.as_count() == 0 {
            self.table.remove(key);
        } else {
            self.table.set(key, value);
        }
    }
}

/// Runs all checks on the locked shards, then writes all results. `position` maps the number of a shard to its position in `shards`.
fn decide<'a>(
    checks: &mut [KeyCheck],
    now: u64,
    position: impl Fn(usize) -> usize,
    shards: &mut [MutexGuard<'a, MemoryShard>],
) -> bool {
    let mut admitted = true;
    let mut further = 0;
    for check in &mut *checks {
        let Some(shard) = shards.get_mut(position(check.shard)) else { return false };
        (check.outcome, check.overflowed) = (CheckOutcome::Admitted, false);
        let found = shard.table.locate(check.key);
        check.at = found.map(|(at, _)| at);
        let mut value = found.map(|(_, value)| value);
        if value.is_none() && !matches!(check.kind, CheckKind::NotBlocked) {
            further += 1;
            if !shard.table.has_room(further, now) {
                // There is no slot for the new key. It shares a counter with other new keys, and no known client is evicted for it.
                further -= 1;
                check.overflowed = true;
                value = Some(*shard.overflow_counter(check.key, check.segment));
            }
        }
        let value = value.unwrap_or(KeyState::until(0));
        match check.kind {
            CheckKind::Charge { rate, cost, further } => {
                check.until = value.as_until();
                let (outcome, until) = governed(rate, further, cost, check.until, now);
                check.outcome = outcome;
                if let Some(until) = until {
                    check.until = until;
                }
            }
            CheckKind::Slot { most } => {
                check.count = value.as_count();
                if check.count < most {
                    check.count += 1;
                } else {
                    check.outcome = CheckOutcome::Busy;
                }
            }
            CheckKind::NotBlocked => {
                check.until = value.as_until();
                if check.until > now {
                    check.outcome = CheckOutcome::Wait(check.until - now);
                }
            }
        }
        admitted &= !check.refuses();
    }
    if admitted
        && let (Some(last), [shard, ..]) = (checks.last(), &mut *shards)
        && last.is_of_policy()
    {
        let near_limit_time = |check: &KeyCheck| matches!(check.kind, CheckKind::Charge { rate, .. } if rate.taken(check.until, now) >= rate.near_limit_time());
        shard.admitted += 1;
        shard.near_limit += u64::from(checks.iter().any(near_limit_time));
    }
    for check in &mut *checks {
        let Some(shard) = shards.get_mut(position(check.shard)) else { return false };
        let value = match check.kind {
            CheckKind::Charge { cost: 0, .. } | CheckKind::NotBlocked => continue,
            CheckKind::Charge { rate, cost, .. } => {
                if !admitted && check.is_admitted() {
                    check.until = check.until.saturating_sub(rate.charge(cost));
                }
                if !(admitted && check.is_admitted()) {
                    continue;
                }
                if check.refundable {
                    let queue = queue_key(check.key, check.segment, check.overflowed);
                    check.number =
                        shard.refundable_charges.register(queue, rate.charge(cost), check.until);
                }
                KeyState::until(check.until)
            }
            CheckKind::Slot { .. } if admitted => KeyState::count(check.count),
            CheckKind::Slot { .. } => continue,
        };
        if check.overflowed {
            if let Some(counter) =
                shard.overflow.get_mut(overflow_position(check.key, check.segment))
            {
                *counter = value;
            }
        } else {
            match check.at {
                Some(_) => shard.table.set_at(check.at, check.key, value),
                None => shard.table.set(check.key, value),
            };
        }
    }
    admitted
}

/// The queue in which a charge is registered as refundable.
fn queue_key(key: u64, segment: u8, overflowed: bool) -> QueueKey {
    if overflowed { (true, overflow_position(key, segment) as u64) } else { (false, key) }
}

fn overflow_position(key: u64, segment: u8) -> usize {
    usize::from(segment) * OVERFLOW_COUNTERS + (key as usize & (OVERFLOW_COUNTERS - 1))
}

/// A table of 4,096 slots, seven eighths full: 64 KiB.
pub(crate) const KEYS_PER_SHARD: usize = 3584;
/// How many overflow counters each shard has for each segment.
const OVERFLOW_COUNTERS: usize = 16;
/// Derives, from a key, the key under which its trust time is stored.
pub(crate) const TRUSTED: u64 = 0xbb67_ae85_84ca_a73b;
const SWEEP_OWN: usize = 128;
const SWEEP_OWN_EVERY: u32 = 64;
const SWEEP_OTHER: usize = 128;
const SWEEP_OTHER_EVERY: u32 = 16;
