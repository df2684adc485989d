//! A shared store in use by one limiter, and the state of this server beside it.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::outbox::Outbox;
use super::slots::RenewedSlots;
use super::store::{SharedLimits, StoreQuota, StoreSlot, StoreTurn, StoreWindow};
use crate::middleware::rate_limit::config::clock::{END_OF_TIME, LimitClock, until};
use crate::middleware::rate_limit::config::error::MAX_POLICIES;
use crate::middleware::rate_limit::config::quota::{Pace, Rate};
use crate::middleware::rate_limit::memory::LocalMemory;
use crate::middleware::rate_limit::memory::gcra::Receipt;

/// A shared store in use by one limiter.
pub(crate) struct StoreClient {
    pub(crate) limits: SharedLimits,
    /// Whether the store has refused a key. It is logged once.
    pub(crate) has_refused_keys: AtomicBool,
    pub(crate) outbox: Outbox,
    /// How many requests were decided without the store, for each policy that applied.
    pub(crate) local_decisions: [AtomicU64; MAX_POLICIES],
    pub(crate) local: OnceLock<LocalState>,
    /// The slots that requests on this server have taken, by the time at which they expire.
    pub(crate) slots: Mutex<BTreeMap<SlotTicket, Receipt>>,
    /// The slots in the store that are renewed.
    pub(super) renewed: Mutex<RenewedSlots>,
    /// Random, so the slots of this server differ from those of other servers. `requests` numbers the slots of this server.
    server: u64,
    pub(crate) requests: AtomicU64,
    /// When the replaced quotas are read from the store again.
    pub(super) next_sync: AtomicU64,
}

/// The clock and the memory of this server.
#[derive(Clone)]
pub(crate) struct LocalState {
    pub(crate) clock: LimitClock,
    pub(crate) memory: Arc<LocalMemory>,
}

/// A slot taken on this server: when it expires, and its number.
pub(crate) type SlotTicket = (u64, u64);

impl StoreClient {
    pub(crate) fn new(limits: SharedLimits) -> Self {
        Self {
            limits,
            has_refused_keys: AtomicBool::new(false),
            outbox: Outbox::default(),
            local_decisions: Default::default(),
            local: OnceLock::new(),
            slots: Mutex::default(),
            renewed: Mutex::default(),
            server: std::hash::RandomState::new().hash_one(0),
            requests: AtomicU64::new(0),
            next_sync: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.local.get().map_or(0, |local| local.clock.now())
    }

    /// A rate as the store sees it.
    pub(super) fn quota(&self, rate: Rate) -> StoreQuota {
        StoreQuota {
            interval: Duration::from_nanos(rate.interval),
            burst: rate.burst.get(),
            window: self.window(rate),
        }
    }

    /// The window of a rate by the clock of this server, as the store sees it.
    pub(super) fn window(&self, rate: Rate) -> Option<StoreWindow> {
        let length = Duration::from_nanos(rate.length);
        match rate.pace {
            Pace::Gradual => None,
            Pace::Calendar => {
                let start = self.local.get().map_or(0, |local| local.clock.start());
                let start = Duration::from_nanos(rate.unix_phase(start));
                Some(StoreWindow::Calendar { length, start })
            }
            Pace::Month => {
                let start = self.local.get().map_or(0, |local| local.clock.start());
                Some(StoreWindow::Month { shift: Duration::from_nanos(rate.unix_phase(start)) })
            }
            Pace::FirstRequest => {
                let grid = Duration::from_nanos(rate.phase);
                Some(StoreWindow::FirstRequest { length, grid })
            }
        }
    }

    /// A new slot in the store for one request. `turn` is the place of this server in the line for it.
    pub(crate) fn slot(&self, subject: &str, most: u32, turn: Option<StoreTurn>) -> StoreSlot {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        StoreSlot {
            key: format!("{subject}:#slots"),
            id: format!("{:x}.{number:x}", self.server),
            most,
            longest: self.limits.longest_request,
            turn,
        }
    }

    /// The place of this server in the line for the slots of a subject.
    pub(crate) fn turn(&self, subject: &str, waits: bool) -> StoreTurn {
        let (key, server) = (format!("{subject}:#line"), format!("{:x}", self.server));
        StoreTurn { key, server, waits }
    }

    /// Registers a slot that was taken on this server.
    pub(crate) fn hold_slot(&self, slot: Receipt) -> SlotTicket {
        let end = match self.limits.store.supports_renewal() {
            true => END_OF_TIME,
            false => until(self.now(), self.limits.longest_request),
        };
        let ticket = (end, self.requests.fetch_add(1, Ordering::Relaxed));
        self.slots().insert(ticket, slot);
        ticket
    }

    /// The receipt of a slot that is released. `None` if the slot has already expired.
    pub(crate) fn free_slot(&self, ticket: SlotTicket) -> Option<Receipt> {
        self.slots().remove(&ticket)
    }

    /// Releases the slots of requests that take too long, as a store does that does not renew them.
    pub(crate) fn expire_slots(&self, memory: &LocalMemory, now: u64) {
        let mut slots = self.slots();
        while let Some(first) = slots.first_entry().filter(|first| first.key().0 <= now) {
            memory.refund(&first.remove(), u64::MAX, now);
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<SlotTicket, Receipt>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
