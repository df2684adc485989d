//! What a request has reserved while it is in flight: charges that may be refunded, and slots. It is released when the request ends, in whichever
//! way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::Error as BodyError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use smallvec::SmallVec;

use super::config::quota::Rate;
use super::limiter::Limiter;
use super::memory::gcra::{Receipt, ReceiptKind};
use super::shared::client::SlotTicket;
use super::shared::outbox::Refund;
use super::shared::store::StoreSlot;
use crate::{Body, Response};

/// The charges and the slots of a request. If it is dropped while it has charges, they are refunded.
pub(crate) struct RequestReservation {
    limiter: Arc<Limiter>,
    charges: Vec<Receipt>,
    slots: Vec<Receipt>,
    /// The names of the charges in the shared store, the quota of each, and for how many nanoseconds the store has charged it.
    names: Vec<(String, Rate, u64)>,
    /// The slot in the shared store, and the slots on this server, which also expire.
    slot: Option<StoreSlot>,
    tickets: SmallVec<[SlotTicket; 1]>,
    dropped_counts: bool,
}

impl RequestReservation {
    pub(crate) fn new(
        limiter: Arc<Limiter>,
        receipts: Vec<Receipt>,
        names: Vec<(String, Rate, u64)>,
        slot: Option<StoreSlot>,
    ) -> Self {
        let (charges, mut slots): (Vec<_>, Vec<_>) =
            receipts.into_iter().partition(|receipt| receipt.is_charge());
        let tickets = match &limiter.shared_store {
            Some(shared_store) => {
                slots.drain(..).map(|slot| shared_store.hold_slot(slot)).collect()
            }
            None => SmallVec::new(),
        };
        Self { limiter, charges, slots, names, slot, tickets, dropped_counts: false }
    }

    /// Keeps the charges: from here on the request counts.
    pub(crate) fn keep_charges(&mut self) {
        for charge in self.charges.drain(..) {
            self.limiter.memory.keep(&charge);
        }
    }

    /// From here on, a request that is dropped counts. Its response may still refund its charges.
    pub(crate) fn count_if_dropped(&mut self) {
        self.dropped_counts = true;
    }

    /// Keeps the charges of a request that counts, and refunds those of a request that does not.
    pub(crate) fn settle(&mut self, counts: bool) {
        if counts {
            self.keep_charges();
        } else {
            self.refund_charges();
        }
    }

    fn refund_charges(&mut self) {
        let now = self.limiter.clock.now();
        let mut names = std::mem::take(&mut self.names).into_iter();
        let mut is_sent = Vec::new();
        for charge in self.charges.drain(..) {
            let back = self.limiter.memory.refund(&charge, now);
            if let (Some((name, rate, full)), ReceiptKind::Time { nanos, end, .. }) =
                (names.next(), charge.taken)
            {
                // A share of the quota is refunded as the same fraction of the full quota.
                let part = u128::from(back) * u128::from(full) / u128::from(nanos.max(1));
                let nanos = u64::try_from(part).unwrap_or(full).min(full);
                is_sent.push(Refund { name, quota: Some(rate), nanos, end });
            }
        }
        if let Some(shared_store) = &self.limiter.shared_store {
            shared_store.refund(is_sent, false);
        }
    }

    /// Ends this reservation without releasing anything: another reservation has the same charges and slots.
    pub(crate) fn forget(mut self) {
        if let Some(shared_store) = &self.limiter.shared_store {
            for ticket in self.tickets.drain(..) {
                shared_store.free_slot(ticket);
            }
        }
        self.charges.clear();
        self.slots.clear();
        self.slot = None;
    }

    /// Keeps the slots until the body has been sent or dropped.
    pub(crate) fn until_sent(self, response: Response) -> Response {
        if self.slots.is_empty() && self.tickets.is_empty() {
            return response;
        }
        response.map(|body| Body::new(ReservedBody { body, _reservation: self }))
    }
}

impl Drop for RequestReservation {
    fn drop(&mut self) {
        self.settle(self.dropped_counts);
        let now = self.limiter.clock.now();
        if let Some(shared_store) = &self.limiter.shared_store {
            self.slots
                .extend(self.tickets.drain(..).filter_map(|ticket| shared_store.free_slot(ticket)));
        }
        for slot in &self.slots {
            self.limiter.memory.refund(slot, now);
        }
        if let (Some(shared_store), Some(slot)) = (&self.limiter.shared_store, self.slot.take()) {
            shared_store.release(slot);
        }
    }
}

/// A body that keeps the slots of its request.
struct ReservedBody {
    body: Body,
    _reservation: RequestReservation,
}

impl HttpBody for ReservedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
