//! What the shared store must still be told: what was decided without it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::store::{StoreCharge, StorePlace};
use crate::middleware::rate_limit::config::quota::{LONGEST, Rate};

/// What the store must still be told, up to a cap.
#[derive(Default)]
pub(crate) struct Owed {
    ledger: Mutex<Ledger>,
    /// Whether there is anything in it, so that nobody locks it for nothing.
    any: AtomicBool,
}

#[derive(Default)]
struct Ledger {
    debts: HashMap<String, Debt>,
    words: Vec<Word>,
    /// When it was last cleared of what is over.
    cleared: u64,
}

/// For how long a key is charged that the store doesn't know of.
struct Debt {
    /// For how many nanoseconds the key may be charged under the longest quota of these charges. A charge under a shorter quota does not lower it.
    most: u64,
    /// Where the client is remembered here, if the key is its block.
    block: Option<(usize, u64)>,
    /// Until when the store has it charged, as far as is known here.
    base: u64,
    /// Until when it is charged in truth.
    until: u64,
    /// For how many of these charges the store was asked and has not answered: it may have made them.
    doubts: u32,
}

/// Charges that were made without the store.
pub(crate) struct Charges<'a> {
    pub(crate) name: &'a str,
    pub(crate) rate: Rate,
    pub(crate) further: u32,
    pub(crate) cost: u32,
    /// Until when the key was known to be charged before them.
    pub(crate) known: u64,
    /// Whether the store may have made them.
    pub(crate) doubted: bool,
}

/// What is told once and needs no answer.
pub(crate) enum Word {
    /// A place is free, which it is by itself after that time.
    Leave(StorePlace, u64),
    GiveBack(Vec<Back>),
}

/// So many nanoseconds of a key are given back, unless they are over: the last of them are at `end`.
pub(crate) struct Back {
    pub(crate) name: String,
    pub(crate) nanos: u64,
    pub(crate) end: u64,
}

/// What is told of a key now.
pub(crate) struct Due {
    pub(crate) charge: StoreCharge,
    /// Where the block is remembered, if it is one.
    pub(crate) block: Option<(usize, u64)>,
    upto: u64,
}

impl Owed {
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Whether one of these keys is charged for more than the store knows.
    pub(crate) fn owes(&self, names: &[String], now: u64) -> bool {
        if !self.any() {
            return false;
        }
        let ledger = self.lock();
        names.iter().any(|name| ledger.debts.get(name).is_some_and(|debt| !debt.is_over(now)))
    }

    /// Notes charges that were made without the store.
    pub(crate) fn charge(&self, charges: &Charges<'_>, now: u64) {
        let &Charges { name, rate, further, cost, known, doubted } = charges;
        let most = rate.charge(rate.burst.get().saturating_add(further));
        let mut ledger = self.lock();
        let Some(debt) = ledger.debt(name, known, now) else { return };
        debt.most = debt.most.max(most);
        let until = debt.until.max(now).saturating_add(rate.charge(cost));
        debt.until = debt.until.max(until.min(now.saturating_add(most)));
        debt.doubts += u32::from(doubted);
        self.any.store(true, Ordering::Release);
    }

    /// Changes until when a block lasts that the store doesn't know of, and notes where it is remembered here.
    pub(crate) fn block(
        &self,
        name: &str,
        at: (usize, u64),
        now: u64,
        until: impl FnOnce(u64) -> u64,
    ) {
        let mut ledger = self.lock();
        let Some(debt) = ledger.debt(name, now, now) else { return };
        debt.block = Some(at);
        debt.until = until(debt.until);
        self.any.store(true, Ordering::Release);
    }

    /// The store knows of a block until then. Returns whether there is a longer one, of which it must still be told.
    pub(crate) fn has_longer_block(&self, name: &str, until: u64) -> bool {
        if !self.any() {
            return false;
        }
        let mut ledger = self.lock();
        let is_longer = ledger.debts.get(name).is_some_and(|debt| debt.until > until);
        if !is_longer {
            ledger.debts.remove(name);
        }
        is_longer
    }

    /// Notes a word that could not be told. Past the cap it is lost: a place comes back by itself, and a client is rather charged for too much.
    pub(crate) fn push(&self, word: Word) {
        let mut ledger = self.lock();
        if ledger.words.len() < MOST_WORDS {
            ledger.words.push(word);
            self.any.store(true, Ordering::Release);
        }
    }

    /// Takes back what the store wasn't told yet. Returns what is left of it.
    pub(crate) fn give_back(&self, name: &str, nanos: u64, now: u64) -> u64 {
        if !self.any() {
            return nanos;
        }
        let mut ledger = self.lock();
        let Some(debt) = ledger.debts.get_mut(name) else { return nanos };
        let back = nanos.min(debt.left(now));
        debt.until -= back;
        nanos - back
    }

    /// The store has said what it made of a charge, or never will.
    pub(crate) fn undoubt(&self, name: &str, now: u64) {
        let mut ledger = self.lock();
        if let Some(debt) = ledger.debts.get_mut(name) {
            debt.doubts = debt.doubts.saturating_sub(1);
            if debt.is_over(now) {
                ledger.debts.remove(name);
            }
        }
    }

    pub(crate) fn forget(&self, names: &[String]) {
        if self.any() {
            let mut ledger = self.lock();
            for name in names {
                ledger.debts.remove(name);
            }
        }
    }

    /// The words that are to be told.
    pub(crate) fn words(&self) -> Vec<Word> {
        std::mem::take(&mut self.lock().words)
    }

    /// The keys that the store is to be told of.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().debts.keys().cloned().collect()
    }

    /// What is to be told of a key now. It is in doubt until the store has said whether it was heard.
    pub(crate) fn due(&self, name: &str, now: u64) -> Option<Due> {
        let mut ledger = self.lock();
        let debt = ledger.debts.get_mut(name)?;
        if debt.doubts > 0 {
            return None;
        }
        let (left, upto) = (debt.left(now), debt.until);
        if left == 0 {
            ledger.debts.remove(name);
            return None;
        }
        debt.doubts += 1;
        // A block is set for all of its time. Charges are added to those that the store has, up to the longest quota among them. They may come from
        // quotas with different intervals, so they are told as a time, in units that are small enough to count it exactly.
        let left = if debt.block.is_some() { upto.saturating_sub(now) } else { left };
        let most = debt.most.max(left);
        let unit = most.div_ceil(UNITS).next_multiple_of(MICROSECOND);
        let units = |nanos: u64| u32::try_from(nanos.div_ceil(unit)).unwrap_or(u32::MAX);
        let charge = StoreCharge {
            key: name.to_owned(),
            interval: Duration::from_nanos(unit),
            burst: units(most),
            cost: units(left),
            longest: LONGEST,
        };
        Some(Due { charge, block: debt.block, upto })
    }

    /// The store knows of it now, but for what was added meanwhile.
    pub(crate) fn told(&self, due: &Due) {
        let mut ledger = self.lock();
        if let Some(debt) = ledger.debts.get_mut(&due.charge.key) {
            debt.base = debt.base.max(due.upto);
        }
    }

    /// Whether all was told.
    pub(crate) fn is_told(&self) -> bool {
        let ledger = self.lock();
        let told = ledger.debts.is_empty() && ledger.words.is_empty();
        if told {
            self.any.store(false, Ordering::Release);
        }
        told
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// The debt of a key, from now on if there is none yet; `None` if there is no room for it.
    fn debt(&mut self, name: &str, base: u64, now: u64) -> Option<&mut Debt> {
        if !self.debts.contains_key(name) {
            if self.debts.len() >= MOST_DEBTS {
                // Once a second at most: a flood of clients costs no more than that.
                if now < self.cleared.saturating_add(SECOND) {
                    return None;
                }
                self.cleared = now;
                self.debts.retain(|_, debt| !debt.is_over(now));
                if self.debts.len() >= MOST_DEBTS {
                    return None;
                }
            }
            let debt = Debt { most: 0, block: None, base, until: base, doubts: 0 };
            self.debts.insert(name.to_owned(), debt);
        }
        self.debts.get_mut(name)
    }
}

impl Debt {
    /// Nanoseconds that the store doesn't know of and that haven't come back.
    fn left(&self, now: u64) -> u64 {
        self.until.saturating_sub(self.base.max(now))
    }

    fn is_over(&self, now: u64) -> bool {
        self.left(now) == 0 && self.doubts == 0
    }
}

/// About 10 MiB. Who finds no room is counted by the memory of this server alone.
const MOST_DEBTS: usize = 65_536;
const MOST_WORDS: usize = 16_384;
const SECOND: u64 = 1_000_000_000;
/// A store may count in microseconds: units below that would be rounded up.
const MICROSECOND: u64 = 1000;
/// Into how many units the longest charge is divided. Their number fits into 32 bits.
const UNITS: u64 = 1 << 31;
