//! The outbox: what this server has decided without the shared store and must still send to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smallvec::SmallVec;

use super::store::{StoreCharge, StoreSlot};
use crate::middleware::rate_limit::config::quota::{LONGEST, Rate};

/// Updates that the store has not received, up to a cap.
#[derive(Default)]
pub(crate) struct Outbox {
    ledger: Mutex<OutboxContents>,
    /// Whether it contains anything. Requests check this without a lock.
    any: AtomicBool,
}

#[derive(Default)]
struct OutboxContents {
    /// By name, and for each name by quota.
    charges: HashMap<String, SmallVec<[PendingCharge; 1]>>,
    updates: Vec<OutboxUpdate>,
    /// When expired charges were last removed because the outbox was full.
    cleared: u64,
}

/// A key that is charged for longer than the store knows.
struct PendingCharge {
    /// The quota under which the key is charged. `None` for a block.
    quota: Option<Rate>,
    /// For how many nanoseconds the key may be charged by the largest of these charges, with what may wait or be owed, and without it.
    most: u64,
    burst: u64,
    /// Whether some of these charges are of admitted requests. They are charged also if they no longer fit: then the client waits for longer, by up
    /// to `most`.
    is_debt: bool,
    /// Where the client is remembered here, if the key is its block.
    block: Option<(usize, u64)>,
    /// Until when the key is charged in the store, as far as this server knows.
    base: u64,
    /// Until when the key is charged in fact. The part after `base` must be sent.
    until: u64,
    /// The number of calls that may have made some of these charges and have not been answered. The key is not sent before all of them are resolved;
    /// otherwise a charge could be made twice.
    unresolved: u32,
}

/// A charge that was made without the store.
pub(crate) struct UnsentCharge<'a> {
    pub(crate) name: &'a str,
    pub(crate) rate: Rate,
    pub(crate) further: u32,
    pub(crate) cost: u32,
    /// Until when the key was known to be charged before.
    pub(crate) known: u64,
    /// Whether it is the charge of an admitted request.
    pub(crate) is_debt: bool,
    /// Whether a call is open that may have made the same charge.
    pub(crate) unresolved: bool,
}

/// An update that is sent once. It is not repeated if it may have been executed.
pub(crate) enum OutboxUpdate {
    /// A slot is released. It expires by itself at that time.
    Leave(StoreSlot, u64),
    GiveBack(Vec<Refund>),
}

/// A refund of so many nanoseconds. It is void after `end`, when the charge has drained.
pub(crate) struct Refund {
    pub(crate) name: String,
    /// The quota under which the key was charged.
    pub(crate) quota: Option<Rate>,
    pub(crate) nanos: u64,
    pub(crate) end: u64,
}

/// A pending charge that is sent now.
pub(crate) struct DueCharge {
    /// Without its quota and its window, which the caller adds.
    pub(crate) charge: StoreCharge,
    /// The quota under which the key is charged. `None` for a block.
    pub(crate) quota: Option<Rate>,
    /// Where the block is stored in the memory of this server, if the key is a block.
    pub(crate) block: Option<(usize, u64)>,
    upto: u64,
}

/// What keys have in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pending {
    Nothing,
    /// Charges that can be sent.
    Charges,
    /// Calls that may have made some of the charges, and that the store may still answer.
    OpenCalls,
}

impl Outbox {
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Whether one of these keys has charges that the store does not know.
    pub(crate) fn has(&self, names: &[String], now: u64) -> bool {
        self.pending(names, now) != Pending::Nothing
    }

    /// What these keys have that the store does not know.
    pub(crate) fn pending(&self, names: &[String], now: u64) -> Pending {
        if !self.any() {
            return Pending::Nothing;
        }
        let ledger = self.lock();
        let pending = names.iter().filter_map(|name| ledger.charges.get(name)).flatten();
        let pending = pending.filter(|pending| !pending.is_over(now)).map(|pending| {
            if pending.unresolved > 0 { Pending::OpenCalls } else { Pending::Charges }
        });
        pending.max().unwrap_or(Pending::Nothing)
    }

    /// Adds a charge that was made without the store.
    pub(crate) fn charge(&self, charges: &UnsentCharge<'_>, now: u64) {
        let &UnsentCharge { name, rate, further, cost, known, is_debt, unresolved } = charges;
        let most = rate.charge(rate.burst.get().saturating_add(further));
        let mut ledger = self.lock();
        // What the key was charged in a window that has ended does not count in the next one.
        let base = if rate.is_window() { known.max(rate.origin(known, now)) } else { known };
        let Some(pending) = ledger.pending(name, Some(rate), base, now) else { return };
        pending.most = pending.most.max(most);
        pending.burst = pending.burst.max(rate.burst_time());
        pending.is_debt |= is_debt;
        let origin = rate.origin(pending.until, now);
        let until = pending.until.max(origin).saturating_add(rate.charge(cost));
        pending.until = pending.until.max(until.min(origin.saturating_add(most)));
        pending.unresolved += u32::from(unresolved);
        self.any.store(true, Ordering::Release);
    }

    /// Changes until when a block lasts that the store does not know, and notes where the memory of this server has it.
    pub(crate) fn block(
        &self,
        name: &str,
        at: (usize, u64),
        now: u64,
        until: impl FnOnce(u64) -> u64,
    ) {
        let mut ledger = self.lock();
        let Some(pending) = ledger.pending(name, None, now, now) else { return };
        pending.block = Some(at);
        pending.until = until(pending.until);
        self.any.store(true, Ordering::Release);
    }

    /// The store knows a block that lasts until then. Returns whether there is a longer one, which must still be sent.
    pub(crate) fn has_longer_block(&self, name: &str, until: u64) -> bool {
        if !self.any() {
            return false;
        }
        let mut ledger = self.lock();
        let is_longer = ledger.find(name, None).is_some_and(|pending| pending.until > until);
        if !is_longer {
            ledger.charges.remove(name);
        }
        is_longer
    }

    /// Adds an update that could not be sent. If the outbox is full, it is lost: a slot expires by itself, and a lost refund charges a client too
    /// much rather than too little.
    pub(crate) fn push(&self, word: OutboxUpdate) {
        let mut ledger = self.lock();
        if ledger.updates.len() < MOST_WORDS {
            ledger.updates.push(word);
            self.any.store(true, Ordering::Release);
        }
    }

    /// Refunds charges that were not sent yet. Returns how many nanoseconds are left to be refunded in the store.
    pub(crate) fn refund(&self, &Refund { ref name, quota, nanos, .. }: &Refund, now: u64) -> u64 {
        if !self.any() {
            return nanos;
        }
        let mut ledger = self.lock();
        let Some(pending) = ledger.find(name, quota) else { return nanos };
        let back = nanos.min(pending.left(now));
        pending.until -= back;
        nanos - back
    }

    /// A call is resolved: its effect is known, or it will never be answered.
    pub(crate) fn resolve(&self, name: &str, quota: Option<Rate>, now: u64) {
        let mut ledger = self.lock();
        if let Some(pending) = ledger.find(name, quota) {
            pending.unresolved = pending.unresolved.saturating_sub(1);
            ledger.remove_ended(name, now);
        }
    }

    pub(crate) fn forget(&self, names: &[String]) {
        if self.any() {
            let mut ledger = self.lock();
            for name in names {
                ledger.charges.remove(name);
            }
        }
    }

    /// Removes the updates, to send them.
    pub(crate) fn updates(&self) -> Vec<OutboxUpdate> {
        std::mem::take(&mut self.lock().updates)
    }

    /// The keys that have pending charges.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().charges.keys().cloned().collect()
    }

    /// The pending charges of a key, to send them. Until [`resolve`](Outbox::resolve) each counts as an open call.
    pub(crate) fn due(&self, name: &str, now: u64) -> Vec<DueCharge> {
        let mut ledger = self.lock();
        ledger.remove_ended(name, now);
        let pending = ledger.charges.get_mut(name).into_iter().flatten();
        pending.filter(|pending| pending.unresolved == 0).map(|p| p.due(name, now)).collect()
    }

    /// The store has executed the charge. What was added since then is still pending.
    pub(crate) fn is_sent(&self, due: &DueCharge) {
        let mut ledger = self.lock();
        if let Some(pending) = ledger.find(&due.charge.key, due.quota) {
            pending.base = pending.base.max(due.upto);
        }
    }

    /// Whether nothing is left to send.
    pub(crate) fn is_empty(&self) -> bool {
        let ledger = self.lock();
        let is_sent = ledger.charges.is_empty() && ledger.updates.is_empty();
        if is_sent {
            self.any.store(false, Ordering::Release);
        }
        is_sent
    }

    fn lock(&self) -> MutexGuard<'_, OutboxContents> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutboxContents {
    fn find(&mut self, name: &str, quota: Option<Rate>) -> Option<&mut PendingCharge> {
        self.charges.get_mut(name)?.iter_mut().find(|pending| pending.quota == quota)
    }

    /// Removes the charges of a key that have drained.
    fn remove_ended(&mut self, name: &str, now: u64) {
        if let Some(pending) = self.charges.get_mut(name) {
            pending.retain(|pending| !pending.is_over(now));
            if pending.is_empty() {
                self.charges.remove(name);
            }
        }
    }

    /// The pending charge of a key under a quota. A new one starts at `base`. `None` if the outbox is full.
    fn pending(
        &mut self,
        name: &str,
        quota: Option<Rate>,
        base: u64,
        now: u64,
    ) -> Option<&mut PendingCharge> {
        if !self.charges.contains_key(name) && self.charges.len() >= MOST_DEBTS {
            // At most once a second, so a flood of clients cannot make each request scan the outbox.
            if now < self.cleared.saturating_add(SECOND) {
                return None;
            }
            self.cleared = now;
            self.charges.retain(|_, pending| pending.iter().any(|pending| !pending.is_over(now)));
            if self.charges.len() >= MOST_DEBTS {
                return None;
            }
        }
        let charges = self.charges.entry(name.to_owned()).or_default();
        if !charges.iter().any(|pending| pending.quota == quota) {
            charges.retain(|pending| !pending.is_over(now));
            if charges.len() >= MOST_QUOTAS {
                return None;
            }
            charges.push(PendingCharge {
                quota,
                most: 0,
                burst: 0,
                is_debt: false,
                block: None,
                base,
                until: base,
                unresolved: 0,
            });
        }
        self.find(name, quota)
    }
}

impl PendingCharge {
    /// The charge as a call of the store. It counts as an open call from now on.
    fn due(&mut self, name: &str, now: u64) -> DueCharge {
        self.unresolved += 1;
        let (left, upto) = (self.left(now), self.until);
        // A block is sent with its whole time. Other charges are added to those in the store, up to the quota, or to twice that for admitted requests:
        // other servers may have admitted as many meanwhile. The call contains their total time, in units that are small enough to express it.
        let left = if self.block.is_some() { upto.saturating_sub(now) } else { left };
        // A smaller bound has smaller units. The store may be charged for so many bursts before this charge.
        let bursts = left.max(self.burst).saturating_mul(MOST_BURSTS);
        let most = self.most.min(bursts).max(left);
        let debt = if self.is_debt { most } else { 0 };
        let longest = self.quota.map_or(u64::MAX, Rate::longest_charge);
        let most = most.saturating_add(debt).min(longest).max(left);
        let unit = most.div_ceil(UNITS).next_multiple_of(MICROSECOND);
        let units = |nanos: u64| u32::try_from(nanos.div_ceil(unit)).unwrap_or(u32::MAX);
        let charge = StoreCharge {
            key: name.to_owned(),
            interval: Duration::from_nanos(unit),
            burst: units(most),
            cost: units(left),
            shadow: false,
            window: None,
            quota: None,
            longest: LONGEST,
        };
        DueCharge { charge, quota: self.quota, block: self.block, upto }
    }

    /// Nanoseconds that the store does not know and that have not drained.
    fn left(&self, now: u64) -> u64 {
        // A window that has ended no longer counts.
        let origin = self.quota.map_or(now, |rate| rate.origin(self.until, now));
        self.until.saturating_sub(self.base.max(origin))
    }

    fn is_over(&self, now: u64) -> bool {
        self.left(now) == 0 && self.unresolved == 0
    }
}

/// About 20 MiB. A client beyond that is counted by the memory of this server alone.
const MOST_DEBTS: usize = 65_536;
/// How many quotas of a key are pending. A charge under a further one is counted by the memory of this server alone.
const MOST_QUOTAS: usize = 8;
const MOST_WORDS: usize = 16_384;
const SECOND: u64 = 1_000_000_000;
/// A store may count in microseconds, and round smaller units up.
const MICROSECOND: u64 = 1000;
/// Up to how many bursts a key is charged when a debt is sent that was made without the store.
const MOST_BURSTS: u64 = 16;
/// Into how many units the longest charge is divided. The number fits into 32 bits.
const UNITS: u64 = 1 << 31;
