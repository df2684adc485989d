//! A shared store in use, and what this server remembers of it.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::outbox::Owed;
use super::store::{SharedLimits, StorePlace};
use crate::middleware::rate_limit::config::clock::{LimitClock, until};
use crate::middleware::rate_limit::memory::Memory;
use crate::middleware::rate_limit::memory::gcra::Receipt;

/// A shared store in use.
pub(crate) struct Remote {
    pub(crate) with: SharedLimits,
    pub(crate) failures: AtomicU32,
    pub(crate) away: AtomicBool,
    /// Whether somebody sees to what the store missed.
    pub(crate) attended: AtomicBool,
    pub(crate) owed: Owed,
    pub(crate) here: OnceLock<Here>,
    /// The places taken here, by the time at which they are free again whoever still holds them.
    pub(crate) places: Mutex<BTreeMap<Ticket, Receipt>>,
    /// Tells the requests of this server from those of the others, and from each other.
    server: u64,
    pub(crate) requests: AtomicU64,
}

/// The time and the memory of this server.
#[derive(Clone)]
pub(crate) struct Here {
    pub(crate) clock: LimitClock,
    pub(crate) memory: Arc<Memory>,
}

/// A place taken on this server: until when, and which one.
pub(crate) type Ticket = (u64, u64);

impl Remote {
    pub(crate) fn new(with: SharedLimits) -> Self {
        Self {
            with,
            failures: AtomicU32::new(0),
            away: AtomicBool::new(false),
            attended: AtomicBool::new(false),
            owed: Owed::default(),
            here: OnceLock::new(),
            places: Mutex::default(),
            server: std::hash::RandomState::new().hash_one(0),
            requests: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.here.get().map_or(0, |here| here.clock.now())
    }

    /// A place for one request, which no other request has.
    pub(crate) fn place(&self, client: &str, most: u32) -> StorePlace {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        StorePlace {
            key: format!("{client}:#places"),
            id: format!("{:x}.{number:x}", self.server),
            most,
            longest: self.with.longest_request,
        }
    }

    /// Notes a place that was taken here.
    pub(crate) fn enter(&self, place: Receipt) -> Ticket {
        let end = until(self.now(), self.with.longest_request);
        let ticket = (end, self.requests.fetch_add(1, Ordering::Relaxed));
        self.places().insert(ticket, place);
        ticket
    }

    /// What there is to give back for a place; `None` if it was free before, since the request took too long.
    pub(crate) fn exit(&self, ticket: Ticket) -> Option<Receipt> {
        self.places().remove(&ticket)
    }

    /// Frees the places of requests that take too long, as the store does.
    pub(crate) fn end_long_requests(&self, memory: &Memory, now: u64) {
        let mut places = self.places();
        while let Some(first) = places.first_entry().filter(|first| first.key().0 <= now) {
            memory.give_back(&first.remove(), now);
        }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Ticket, Receipt>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
