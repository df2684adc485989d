//! What the shared store must still be told: what was decided without it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::quota::Rate;
use super::store::{StoreCharge, StorePlace};

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
    kind: Kind,
    /// Until when the store has it charged, as far as is known here.
    base: u64,
    /// Until when it is charged in truth.
    until: u64,
    /// For how many of these charges the store was asked and has not answered: it may have made them.
    doubts: u32,
}

#[derive(Clone, Copy)]
enum Kind {
    Charges {
        interval: u64,
        burst: u32,
        reach: u64,
    },
    /// The block of a client, and where it is remembered here.
    Block(usize, u64),
}

/// Charges that were made without the store.
pub(crate) struct Charges<'a> {
    pub(crate) name: &'a str,
    pub(crate) rate: Rate,
    pub(crate) further: u32,
    pub(crate) reach: u64,
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
        let &Charges { name, rate, further, reach, cost, known, doubted } = charges;
        let burst = rate.burst.get().saturating_add(further);
        let kind = Kind::Charges { interval: rate.interval, burst, reach };
        let mut ledger = self.lock();
        let Some(debt) = ledger.debt(name, kind, known, now) else { return };
        let most = now.saturating_add(rate.interval.saturating_mul(burst.into()));
        let until = debt.until.max(now).saturating_add(rate.charge(cost)).min(most);
        debt.until = debt.until.max(until);
        debt.doubts += u32::from(doubted);
        self.any.store(true, Ordering::Release);
    }

    /// Notes a block that the store doesn't know of, and where it is remembered here.
    pub(crate) fn block(&self, name: &str, at: (usize, u64), until: u64, now: u64) {
        let mut ledger = self.lock();
        let Some(debt) = ledger.debt(name, Kind::Block(at.0, at.1), now, now) else { return };
        debt.until = until;
        self.any.store(true, Ordering::Release);
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
        let (interval, burst, cost, longest, block) = match debt.kind {
            Kind::Charges { interval, burst, reach } => {
                let cost = u32::try_from(left.div_ceil(interval)).unwrap_or(u32::MAX);
                (interval, burst, cost, reach, None)
            }
            Kind::Block(shard, key) => (left, 1, 1, left, Some((shard, key))),
        };
        let (interval, longest) = (Duration::from_nanos(interval), Duration::from_nanos(longest));
        let charge = StoreCharge { key: name.to_owned(), interval, burst, cost, longest };
        Some(Due { charge, block, upto })
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
    fn debt(&mut self, name: &str, kind: Kind, base: u64, now: u64) -> Option<&mut Debt> {
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
            self.debts.insert(name.to_owned(), Debt { kind, base, until: base, doubts: 0 });
        }
        let debt = self.debts.get_mut(name)?;
        debt.kind = kind;
        Some(debt)
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
