//! The limiter's own memory, in shards.

pub(crate) mod gcra;
mod hash;
mod leases;
mod refundable;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use self::gcra::{Ask, Check, Governed, Outcome, Receipt, Taken, governed};
use self::hash::Seed;
use self::refundable::{Line, UnderWay};
use self::table::{Table, Value};
use super::config::key::Named;
use super::config::quota::Rate;

/// All that is remembered, up to a cap.
///
/// All keys of one client lie in one shard, so that one lock makes a decision over all its policies atomic. Where policies have different
/// keys, their shards are locked in order.
#[derive(Debug)]
pub(crate) struct Memory {
    shards: Box<[Padded]>,
    /// The bits of a hash below those that choose the shard.
    shift: u32,
    seed: Seed,
}

/// A shard on cache lines of its own.
#[derive(Debug)]
#[repr(C, align(128))]
struct Padded {
    /// Nobody reads it.
    expected: AtomicBool,
    shard: Mutex<Shard>,
}

/// What most requests need comes first, beside the lock: one cache line, wherever they arrive.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Shard {
    /// How many requests were decided upon here.
    decided: u32,
    /// How many of them were admitted, and for how many of those a fifth or less of a quota was left.
    admitted: u64,
    near_limit: u64,
    pub(crate) table: Table,
    /// Shared by the keys that find no room. Empty until it is needed.
    overflow: Vec<Value>,
    /// What may be taken back.
    under_way: UnderWay,
}

/// What came of a charge of one key.
pub(crate) enum Charge {
    /// It is charged until then.
    Until(u64),
    /// It is charged until then without this one, which would be admitted after so many nanoseconds.
    Wait { until: u64, wait: u64 },
}

impl Memory {
    pub(crate) fn new(max_keys: usize) -> Self {
        let shards = match max_keys / KEYS_PER_SHARD {
            0 => 1,
            many => 1_usize << many.ilog2().min(12),
        };
        let shard = |at: usize| Shard {
            decided: 0,
            admitted: 0,
            near_limit: 0,
            table: Table::new(max_keys / shards + usize::from(at < max_keys % shards)),
            overflow: Vec::new(),
            under_way: UnderWay::default(),
        };
        Self {
            shards: (0..shards)
                .map(|at| Padded { expected: AtomicBool::new(false), shard: Mutex::new(shard(at)) })
                .collect(),
            shift: 64 - shards.ilog2(),
            seed: Seed::new(),
        }
    }

    /// A keyed hash of anything.
    pub(crate) fn hash(&self, subject: impl std::hash::Hash) -> u64 {
        self.seed.hash(subject)
    }

    /// The key of a client.
    #[inline]
    pub(crate) fn key_of(&self, named: Named<'_>) -> u64 {
        let (words, kind) = match named {
            Named::Addr(IpAddr::V4(addr)) => ([addr.to_bits().into(), 0], 0),
            Named::Addr(IpAddr::V6(addr)) => {
                let bits = addr.to_bits();
                ([(bits >> 64) as u64, bits as u64], 1)
            }
            Named::Number(number) => ([number, 0], 2),
            Named::Text(text) => ([self.hash(text), 0], 3),
            Named::Everyone => ([0, 0], 4),
            Named::Nobody => ([1, 0], 4),
        };
        self.seed.key(words, kind)
    }

    /// How many requests were admitted, and how many of them near a limit.
    pub(crate) fn admitted(&self) -> (u64, u64) {
        let shards = (0..self.shards.len()).map(|at| self.lock(at));
        shards.fold((0, 0), |(admitted, near), shard| {
            (admitted + shard.admitted, near + shard.near_limit)
        })
    }

    /// Says that a shard will be locked soon: a core that has its cache line hands it over in the meantime.
    #[inline]
    pub(crate) fn expect(&self, at: usize) {
        self.shards[at].expected.store(true, Ordering::Relaxed);
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
                let turn = shard.turn(now);
                drop(shard);
                self.sweep(at, turn, now);
                admitted
            }
            many => {
                let mut order: SmallVec<[usize; 8]> = many.iter().map(|c| c.shard).collect();
                order.sort_unstable();
                order.dedup();
                let mut shards: SmallVec<[_; 8]> = order.iter().map(|at| self.lock(*at)).collect();
                let place = |shard: usize| order.binary_search(&shard).unwrap_or(0);
                let admitted = decide(many, now, place, &mut shards);
                let turn = shards.first_mut().and_then(|shard| shard.turn(now));
                drop(shards);
                self.sweep(order[0], turn, now);
                admitted
            }
        }
    }

    /// Decides on a charge of one key, which is all that most requests ask. `None` without a change if more than that is to be done.
    pub(crate) fn charge(
        &self,
        at: usize,
        key: u64,
        rate: Rate,
        cost: u32,
        now: u64,
    ) -> Option<Charge> {
        // All that needs no key comes before the lock.
        let governed = Governed::new(rate, 0, cost, now).ok()?;
        let (near, latest) = (now.saturating_add(rate.near()), now.saturating_add(rate.whole()));
        let mut shard = self.lock(at);
        let found = shard.table.locate(key);
        let overflowed = found.is_none() && !shard.table.has_room(1, now);
        let value = match found {
            Some((_, value)) => value,
            None if overflowed => *shard.shared(key, 0),
            None => Value::until(0),
        };
        let until = value.as_until();
        if until > latest {
            return None;
        }
        let charge = match governed.decide(until) {
            (Outcome::Admitted, Some(until)) => {
                if overflowed {
                    *shard.shared(key, 0) = Value::until(until);
                } else {
                    shard.table.set_at(found.map(|(at, _)| at), key, Value::until(until));
                }
                shard.admitted += 1;
                shard.near_limit += u64::from(until >= near);
                Charge::Until(until)
            }
            (Outcome::Wait(wait), _) => Charge::Wait { until, wait },
            _ => return None,
        };
        let turn = shard.turn(now);
        drop(shard);
        self.sweep(at, turn, now);
        Some(charge)
    }

    /// Takes a decision back, as far as it still counts: what has come back by itself in the meantime is not given twice. Returns how many
    /// nanoseconds were given back.
    pub(crate) fn give_back(&self, receipt: &Receipt, now: u64) -> u64 {
        let &Receipt { shard, key, segment, overflowed, taken } = receipt;
        let mut shard = self.lock(shard);
        let back = match taken {
            Taken::Time { number, .. } => {
                shard.under_way.give_back(line(key, segment, overflowed), number, now)
            }
            Taken::Place => 0,
        };
        if let Some(value) = shard.value(key, segment, overflowed) {
            let value = match taken {
                Taken::Time { .. } => Value::until(value.as_until().saturating_sub(back)),
                Taken::Place => Value::count(value.as_count().saturating_sub(1)),
            };
            shard.put_back(key, segment, overflowed, value, now);
            shard.table.remove(key ^ TRUSTED);
        }
        back
    }

    /// A decision won't be taken back.
    pub(crate) fn keep(&self, receipt: &Receipt) {
        if let Taken::Time { number: number @ 1.., .. } = receipt.taken {
            let line = line(receipt.key, receipt.segment, receipt.overflowed);
            self.lock(receipt.shard).under_way.keep(line, number);
        }
    }

    /// Notes that so many nanoseconds of a key, the last of which are over at `end`, may be taken back. Returns their number.
    pub(crate) fn enter(&self, shard: usize, key: u64, nanos: u64, end: u64) -> u64 {
        self.lock(shard).under_way.enter((false, key), nanos, end)
    }

    /// Nothing of a key lies after that time: other servers may have taken back what stood before.
    pub(crate) fn move_up(&self, shard: usize, key: u64, until: u64) {
        self.lock(shard).under_way.move_up((false, key), until);
    }

    /// So much of a key as lies after that time can't be taken back any more.
    pub(crate) fn cut(&self, shard: usize, key: u64, until: u64) {
        self.lock(shard).under_way.cut((false, key), until);
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

    /// Clears a little of another shard, so that memory comes back wherever requests arrive: of that which is so many places further.
    #[inline]
    fn sweep(&self, from: usize, places: Option<usize>, now: u64) {
        let Some(places) = places else { return };
        let at = from.wrapping_add(places) % self.shards.len();
        if at == from {
            return;
        }
        if let Ok(mut shard) = self.shards[at].shard.try_lock() {
            shard.table.sweep(now, SWEEP_OTHER);
        }
    }

    pub(crate) fn lock(&self, at: usize) -> MutexGuard<'_, Shard> {
        // Nothing in a critical section panics between two writes that belong together.
        self.shards[at].shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Sweeps a little every so often. More often it is another shard's turn: that which is so many places further.
    #[inline]
    fn turn(&mut self, now: u64) -> Option<usize> {
        self.decided = self.decided.wrapping_add(1);
        if !self.decided.is_multiple_of(SWEEP_OTHER_EVERY) {
            return None;
        }
        if self.decided.is_multiple_of(SWEEP_OWN_EVERY) {
            self.table.sweep(now, SWEEP_OWN);
        }
        Some((self.decided / SWEEP_OTHER_EVERY) as usize)
    }

    /// What is remembered for the keys that find no room, and share with this one.
    fn shared(&mut self, key: u64, segment: u8) -> &mut Value {
        let at = shared(key, segment);
        if self.overflow.len() <= at {
            self.overflow.resize(at + 1, Value::until(0));
        }
        &mut self.overflow[at]
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
                value = Some(*shard.shared(check.key, check.segment));
            }
        }
        let value = value.unwrap_or(Value::until(0));
        match check.ask {
            Ask::Charge { rate, cost, further } => {
                // After an operator has set a shorter quota, no client waits longer than that quota takes to come back.
                check.until = value.as_until().min(now.saturating_add(check.reach));
                check.cut = check.until < value.as_until();
                if check.cut {
                    let line = line(check.key, check.segment, check.overflowed);
                    shard.under_way.cut(line, check.until);
                }
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
    if admitted
        && let (Some(last), [shard, ..]) = (checks.last(), &mut *shards)
        && last.is_of_policy()
    {
        let near = |check: &Check| matches!(check.ask, Ask::Charge { rate, .. } if check.until.saturating_sub(now) >= rate.near());
        shard.admitted += 1;
        shard.near_limit += u64::from(checks.iter().any(near));
    }
    for check in &mut *checks {
        let Some(shard) = shards.get_mut(place(check.shard)) else { return false };
        let value = match check.ask {
            Ask::Charge { cost: 0, .. } | Ask::Free => continue,
            Ask::Charge { rate, cost, .. } => {
                if !admitted && check.is_admitted() {
                    check.until = check.until.saturating_sub(rate.charge(cost));
                }
                if !admitted && !check.cut {
                    continue;
                }
                if admitted && check.returnable {
                    let line = line(check.key, check.segment, check.overflowed);
                    check.number = shard.under_way.enter(line, rate.charge(cost), check.until);
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

/// The line that a charge stands in.
fn line(key: u64, segment: u8, overflowed: bool) -> Line {
    if overflowed { (true, shared(key, segment) as u64) } else { (false, key) }
}

fn shared(key: u64, segment: u8) -> usize {
    usize::from(segment) * SHARED + (key as usize & (SHARED - 1))
}

/// A table of 4,096 slots, seven eighths full: 64 KiB.
pub(crate) const KEYS_PER_SHARD: usize = 3584;
/// How many limiters the keys of a shard share that find no room, for each policy.
const SHARED: usize = 16;
/// Makes the key for which time a key is trusted of the key itself.
pub(crate) const TRUSTED: u64 = 0xbb67_ae85_84ca_a73b;
const SWEEP_OWN: usize = 128;
const SWEEP_OWN_EVERY: u32 = 64;
const SWEEP_OTHER: usize = 128;
const SWEEP_OTHER_EVERY: u32 = 16;
