//! The places of requests under way on this server, which end after a time, as those in the shared store do.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::check::Receipt;
use super::limiter::{Limiter, until};
use super::remote::{Remote, Ticket};

impl Remote {
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
    pub(crate) fn end_long_requests(&self, limiter: &Limiter, now: u64) {
        if limiter.concurrency.is_none() {
            return;
        }
        let mut places = self.places();
        while let Some(first) = places.first_entry().filter(|first| first.key().0 <= now) {
            limiter.memory.give_back(&first.remove(), now);
        }
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Ticket, Receipt>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
