//! The limiter's own memory, in shards, and how `governor` decides on it.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use smallvec::SmallVec;

use super::quota::Rate;
use super::table::{Table, Value};

/// All that is remembered, up to a cap.
///
/// All keys of one client lie in one shard, so that one lock makes a decision over all its policies atomic. Where policies have different
/// keys, their shards are locked in order.
#[derive(Debug)]
pub(crate) struct Memory {
    shards: Box<[Padded]>,
    /// The bits of a hash below those that choose the shard.
    shift: u32,
    seed: RandomState,
    next: AtomicUsize,
}

/// A shard on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

#[derive(Debug)]
pub(crate) struct Shard {
    table: Table,
    /// Shared by the keys that find no room. Empty until it is needed.
    overflow: Vec<Value>,
    since_sweep: u32,
}

/// One policy, on one key, for one request: what is asked, and once decided, what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) shard: usize,
    pub(crate) key: u64,
    /// Which of the shared limiters takes over where there is no room.
    pub(crate) segment: u8,
    pub(crate) ask: Ask,
    /// Until when the key is charged: before the decision, or after it if it was charged.
    pub(crate) until: u64,
    /// How many requests of the key are under way, with this one.
    pub(crate) count: u32,
    pub(crate) outcome: Outcome,
    overflowed: bool,
    /// Where the key was found.
    at: Option<usize>,
}

/// What is asked of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// Is there quota for `cost` requests? They may wait for as long as `further` requests take to come back.
    Charge { rate: Rate, cost: u32, further: u32 },
    /// Are fewer than so many requests under way?
    Enter { most: u32 },
    /// Is it free of a block?
    Free,
}

impl Ask {
    pub(crate) fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }

    pub(crate) fn is_charge(&self) -> bool {
        matches!(self, Self::Charge { .. })
    }
}

/// What was found for one [`Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Admitted,
    /// So many nanoseconds more.
    Wait(u64),
    /// The cost is above the burst.
    Never,
    /// Somebody else's request must end first.
    Busy,
}

impl Check {
    pub(crate) fn new(shard: usize, key: u64, segment: u8, ask: Ask) -> Self {
        let outcome = Outcome::Admitted;
        Self { shard, key, segment, ask, until: 0, count: 0, outcome, overflowed: false, at: None }
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.outcome == Outcome::Admitted
    }
}

/// What may be taken back of a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    shard: usize,
    key: u64,
    segment: u8,
    overflowed: bool,
    taken: Taken,
}

#[derive(Clone, Copy, Debug)]
enum Taken {
    /// So many nanoseconds, of which the last are over at `end`.
    Time {
        nanos: u64,
        end: u64,
    },
    Place,
}

impl Receipt {
    /// The receipt of an admitted check; `None` if it took nothing.
    pub(crate) fn of(check: &Check) -> Option<Self> {
        let taken = match check.ask {
            Ask::Charge { rate, cost, .. } if cost > 0 => {
                Taken::Time { nanos: rate.charge(cost), end: check.until }
            }
            Ask::Enter { .. } => Taken::Place,
            Ask::Charge { .. } | Ask::Free => return None,
        };
        let &Check { shard, key, segment, overflowed, .. } = check;
        Some(Self { shard, key, segment, overflowed, taken })
    }

    /// Whether it is for time, and not for a place.
    pub(crate) fn is_charge(&self) -> bool {
        matches!(self.taken, Taken::Time { .. })
    }

    /// How much of a charge hasn't come back by itself.
    pub(crate) fn left(&self, now: u64) -> Duration {
        match self.taken {
            Taken::Time { nanos, end } => Duration::from_nanos(nanos.min(end.saturating_sub(now))),
            Taken::Place => Duration::ZERO,
        }
    }
}

impl Memory {
    pub(crate) fn new(max_keys: usize) -> Self {
        let shards = match max_keys / KEYS_PER_SHARD {
            0 => 1,
            many => 1_usize << many.ilog2().min(12),
        };
        let shard = |at: usize| Shard {
            table: Table::new(max_keys / shards + usize::from(at < max_keys % shards)),
            overflow: Vec::new(),
            since_sweep: 0,
        };
        Self {
            shards: (0..shards).map(|at| Padded(Mutex::new(shard(at)))).collect(),
            shift: 64 - shards.ilog2(),
            seed: RandomState::new(),
            next: AtomicUsize::new(0),
        }
    }

    /// The hash of what names a client.
    pub(crate) fn hash(&self, subject: impl std::hash::Hash) -> u64 {
        self.seed.hash_one(subject)
    }

    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        hash.checked_shr(self.shift).unwrap_or(0) as usize
    }

    /// How many keys are remembered.
    pub(crate) fn len(&self) -> usize {
        (0..self.shards.len()).map(|at| self.lock(at).table.len()).sum()
    }

    /// How many bytes the keys take.
    pub(crate) fn bytes(&self) -> usize {
        (0..self.shards.len())
            .map(|at| {
                let shard = self.lock(at);
                shard.table.bytes() + shard.overflow.capacity() * size_of::<Value>()
            })
            .sum()
    }

    /// Decides on all checks at once: either all are admitted and charged, or none is charged.
    pub(crate) fn decide(&self, checks: &mut [Check], now: u64) -> bool {
        match checks {
            [] => true,
            [first, rest @ ..] if rest.iter().all(|check| check.shard == first.shard) => {
                let at = first.shard;
                let mut shard = self.lock(at);
                let admitted = decide(checks, now, |_| 0, std::slice::from_mut(&mut shard));
                let sweep = shard.is_due(now);
                drop(shard);
                if sweep {
                    self.sweep_next(at, now);
                }
                admitted
            }
            many => {
                let mut order: SmallVec<[usize; 8]> = many.iter().map(|c| c.shard).collect();
                order.sort_unstable();
                order.dedup();
                let mut shards: SmallVec<[_; 8]> = order.iter().map(|at| self.lock(*at)).collect();
                let place = |shard: usize| order.binary_search(&shard).unwrap_or(0);
                let admitted = decide(many, now, place, &mut shards);
                if shards.first_mut().is_some_and(|shard| shard.is_due(now)) {
                    drop(shards);
                    self.sweep_next(order[0], now);
                }
                admitted
            }
        }
    }

    /// Takes a decision back, as far as it still counts: what has come back by itself in the meantime is not given twice.
    pub(crate) fn give_back(&self, receipt: &Receipt, now: u64) {
        let mut shard = self.lock(receipt.shard);
        let Some(value) = shard.value(receipt.key, receipt.segment, receipt.overflowed) else {
            return;
        };
        let value = match receipt.taken {
            Taken::Time { nanos, end } => {
                let nanos = nanos.min(end.saturating_sub(now));
                Value::until(value.as_until().saturating_sub(nanos))
            }
            Taken::Place => Value::count(value.as_count().saturating_sub(1)),
        };
        shard.put_back(receipt.key, receipt.segment, receipt.overflowed, value, now);
        shard.table.remove(receipt.key ^ TRUSTED);
    }

    /// What is remembered of a key: until when it is charged, and how many of its requests are under way.
    pub(crate) fn look(&self, shard: usize, key: u64) -> (u64, u32) {
        match self.lock(shard).table.find(key) {
            Some(value) => (value.as_until(), value.as_count()),
            None => (0, 0),
        }
    }

    /// Changes until when a key is charged. Returns whether there was room for it.
    pub(crate) fn change(
        &self,
        shard: usize,
        key: u64,
        now: u64,
        f: impl FnOnce(u64) -> u64,
    ) -> bool {
        let mut shard = self.lock(shard);
        let old = shard.table.find(key).map_or(0, Value::as_until);
        let new = f(old);
        if new <= now {
            shard.table.remove(key);
            return true;
        }
        (old > 0 || shard.table.has_room(1, now)) && shard.table.set(key, Value::until(new))
    }

    /// Until when a key is charged, and whether that was said by the shared store a moment ago.
    pub(crate) fn known(&self, shard: usize, key: u64, now: u64) -> (u64, bool) {
        let shard = self.lock(shard);
        let until = |key| shard.table.find(key).map_or(0, Value::as_until);
        (until(key), until(key ^ TRUSTED) > now)
    }

    /// Trusts what is remembered of a key until then.
    pub(crate) fn trust(&self, shard: usize, key: u64, now: u64, until: u64) {
        self.change(shard, key ^ TRUSTED, now, |_| until);
    }

    /// Takes one of the requests that a key has paid for in advance.
    pub(crate) fn spend_lease(&self, shard: usize, key: u64, now: u64) -> bool {
        let key = key ^ LEASED;
        let mut shard = self.lock(shard);
        match shard.table.find(key) {
            Some(value) if !value.is_over(now) => shard.table.set(key, value.less()),
            _ => false,
        }
    }

    /// Remembers so many requests of a key as paid for. Without room for it they are lost.
    pub(crate) fn lease(&self, shard: usize, key: u64, count: u32, now: u64) {
        let key = key ^ LEASED;
        let mut shard = self.lock(shard);
        let left = match shard.table.find(key) {
            Some(value) if !value.is_over(now) => value.as_count(),
            Some(_) => 0,
            None if shard.table.has_room(1, now) => 0,
            None => return,
        };
        let until = now.saturating_add(LEASE_TIME);
        shard.table.set(key, Value::lease(left.saturating_add(count), until));
    }

    /// Forgets what a key has paid for in advance.
    pub(crate) fn end_lease(&self, shard: usize, key: u64) {
        self.lock(shard).table.remove(key ^ LEASED);
    }

    /// Trusts no longer what is remembered of a key.
    pub(crate) fn distrust(&self, shard: usize, key: u64) {
        self.lock(shard).table.remove(key ^ TRUSTED);
    }

    /// Clears a little of another shard, so that memory comes back wherever requests arrive.
    fn sweep_next(&self, not: usize, now: u64) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        if at == not {
            return;
        }
        if let Ok(mut shard) = self.shards[at].0.try_lock() {
            shard.table.sweep(now, SWEEP_OTHER);
        }
    }

    fn lock(&self, at: usize) -> MutexGuard<'_, Shard> {
        // Nothing in a critical section panics between two writes that belong together.
        self.shards[at].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Sweeps a little. Every so often it is another shard's turn as well.
    fn is_due(&mut self, now: u64) -> bool {
        self.table.sweep(now, SWEEP_OWN);
        self.since_sweep = self.since_sweep.wrapping_add(1);
        self.since_sweep.is_multiple_of(SWEEP_EVERY)
    }

    fn value(&self, key: u64, segment: u8, overflowed: bool) -> Option<Value> {
        if overflowed {
            self.overflow.get(shared(key, segment)).copied()
        } else {
            self.table.find(key)
        }
    }

    fn put_back(&mut self, key: u64, segment: u8, overflowed: bool, value: Value, now: u64) {
        if overflowed {
            if let Some(place) = self.overflow.get_mut(shared(key, segment)) {
                *place = value;
            }
        } else if value.as_until() <= now && value.as_count() == 0 {
            self.table.remove(key);
        } else {
            self.table.set(key, value);
        }
    }
}

/// Tests all, then writes all. `place` says which of the locked shards is meant.
fn decide<'a>(
    checks: &mut [Check],
    now: u64,
    place: impl Fn(usize) -> usize,
    shards: &mut [MutexGuard<'a, Shard>],
) -> bool {
    let mut admitted = true;
    let mut further = 0;
    for check in &mut *checks {
        let Some(shard) = shards.get_mut(place(check.shard)) else { return false };
        (check.outcome, check.overflowed) = (Outcome::Admitted, false);
        let found = shard.table.locate(check.key);
        check.at = found.map(|(at, _)| at);
        let mut value = found.map(|(_, value)| value);
        if value.is_none() && !matches!(check.ask, Ask::Free) {
            further += 1;
            if !shard.table.has_room(further, now) {
                // The new key shares a limiter with others that find no room: no known client is forgotten for it.
                further -= 1;
                check.overflowed = true;
                let at = shared(check.key, check.segment);
                if shard.overflow.len() <= at {
                    shard.overflow.resize(at + 1, Value::until(0));
                }
                value = shard.overflow.get(at).copied();
            }
        }
        let value = value.unwrap_or(Value::until(0));
        match check.ask {
            Ask::Charge { rate, cost, further } => {
                let longest = rate.whole().saturating_add(rate.charge(further));
                // After a change to a shorter quota nobody waits for longer than that takes.
                check.until = value.as_until().min(now.saturating_add(longest));
                let (outcome, until) = governed(rate, further, cost, check.until, now);
                check.outcome = outcome;
                if let Some(until) = until {
                    check.until = until;
                }
            }
            Ask::Enter { most } => {
                check.count = value.as_count();
                if check.count < most {
                    check.count += 1;
                } else {
                    check.outcome = Outcome::Busy;
                }
            }
            Ask::Free => {
                check.until = value.as_until();
                if check.until > now {
                    check.outcome = Outcome::Wait(check.until - now);
                }
            }
        }
        admitted &= check.is_admitted();
    }
    for check in &mut *checks {
        let Some(shard) = shards.get_mut(place(check.shard)) else { return false };
        let value = match check.ask {
            Ask::Charge { cost: 0, .. } | Ask::Free => continue,
            Ask::Charge { rate, cost, .. } => {
                if !admitted {
                    if check.is_admitted() {
                        check.until = check.until.saturating_sub(rate.charge(cost));
                    }
                    continue;
                }
                Value::until(check.until)
            }
            Ask::Enter { .. } if admitted => Value::count(check.count),
            Ask::Enter { .. } => continue,
        };
        if check.overflowed {
            if let Some(place) = shard.overflow.get_mut(shared(check.key, check.segment)) {
                *place = value;
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

/// Lets `governor` decide: whether `cost` requests fit, and until when the key is charged if they do.
pub(crate) fn governed(
    rate: Rate,
    further: u32,
    cost: u32,
    until: u64,
    now: u64,
) -> (Outcome, Option<u64>) {
    let (Some(cost), Some(quota)) = (NonZeroU32::new(cost), rate.governed(further)) else {
        return (Outcome::Admitted, None);
    };
    if cost > quota.burst_size() {
        // Asked here, since the multiplication inside could wrap.
        return (Outcome::Never, None);
    }
    let slot = Slot { until, next: Cell::new(until) };
    let limiter: governor::RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
        governor::RateLimiter::new(quota, slot, Now(Cell::new(0)));
    limiter.clock().0.set(now);
    match limiter.check_n(cost) {
        Ok(Ok(())) => (Outcome::Admitted, Some(limiter.into_state_store().next.get())),
        Ok(Err(refused)) => {
            let wait = refused.earliest_possible().duration_since(Nanos::new(now));
            (Outcome::Wait(wait.as_u64()), None)
        }
        Err(_) => (Outcome::Never, None),
    }
}

/// The one value that a decision is about, as `governor` sees it. The shard is locked meanwhile.
#[derive(Debug)]
struct Slot {
    until: u64,
    next: Cell<u64>,
}

impl StateStore for Slot {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (result, next) = f((self.until > 0).then(|| Nanos::new(self.until)))?;
        self.next.set(next.as_u64());
        Ok(result)
    }
}

/// The time of a decision. It is 0 while the limiter is made, so that its times are those of our clock.
#[derive(Debug)]
struct Now(Cell<u64>);

impl Clock for Now {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.get())
    }
}

fn shared(key: u64, segment: u8) -> usize {
    usize::from(segment) * SHARED + (key as usize & (SHARED - 1))
}

/// A table of 4,096 slots, seven eighths full: 64 KiB.
pub(crate) const KEYS_PER_SHARD: usize = 3584;
/// How many limiters the keys of a shard share that find no room, for each policy.
const SHARED: usize = 16;
/// Makes the key of a lease of the key of a charge.
const LEASED: u64 = 0x6a09_e667_f3bc_c909;
/// Makes the key for which time a key is trusted of the key itself.
const TRUSTED: u64 = 0xbb67_ae85_84ca_a73b;
/// How long what was paid for in advance may be used.
const LEASE_TIME: u64 = 10_000_000_000;
const SWEEP_OWN: usize = 2;
const SWEEP_OTHER: usize = 64;
const SWEEP_EVERY: u32 = 8;

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
