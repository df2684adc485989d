//! What is held for a request while it is under way, and given back when it ends, however it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::Error as BodyError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use smallvec::SmallVec;

use super::limiter::Limiter;
use super::memory::gcra::{Receipt, Taken};
use super::shared::client::Ticket;
use super::shared::outbox::Back;
use super::shared::store::StorePlace;
use crate::{Body, Response};

/// The charges and the place of a request. Dropped with charges in it, it gives them back.
pub(crate) struct Held {
    limiter: Arc<Limiter>,
    charges: Vec<Receipt>,
    places: Vec<Receipt>,
    /// The names of the charges in the shared store, and for how many nanoseconds it has them charged.
    names: Vec<(String, u64)>,
    /// The place in the shared store, and the places here, which are free after a time as well.
    place: Option<StorePlace>,
    tickets: SmallVec<[Ticket; 1]>,
    dropped_counts: bool,
}

impl Held {
    pub(crate) fn new(
        limiter: Arc<Limiter>,
        receipts: Vec<Receipt>,
        names: Vec<(String, u64)>,
        place: Option<StorePlace>,
    ) -> Self {
        let (charges, mut places): (Vec<_>, Vec<_>) =
            receipts.into_iter().partition(|receipt| receipt.is_charge());
        let tickets = match &limiter.remote {
            Some(remote) => places.drain(..).map(|place| remote.enter(place)).collect(),
            None => SmallVec::new(),
        };
        Self { limiter, charges, places, names, place, tickets, dropped_counts: false }
    }

    /// The request counts, whatever becomes of it.
    pub(crate) fn keep_charges(&mut self) {
        for charge in self.charges.drain(..) {
            self.limiter.memory.keep(&charge);
        }
    }

    /// From here on the request counts if it is dropped; its response may still give its charges back.
    pub(crate) fn count_if_dropped(&mut self) {
        self.dropped_counts = true;
    }

    /// Keeps the charges of a request that counts, and gives back those of one that doesn't.
    pub(crate) fn settle(&mut self, counts: bool) {
        if counts {
            self.keep_charges();
        } else {
            self.give_charges_back();
        }
    }

    fn give_charges_back(&mut self) {
        let now = self.limiter.clock.now();
        let mut names = std::mem::take(&mut self.names).into_iter();
        let mut told = Vec::new();
        for charge in self.charges.drain(..) {
            let back = self.limiter.memory.give_back(&charge, now);
            if let (Some((name, whole)), Taken::Time { nanos, end, .. }) =
                (names.next(), charge.taken)
            {
                // Of a share of the quota it is as large a part of the whole.
                let part = u128::from(back) * u128::from(whole) / u128::from(nanos.max(1));
                let nanos = u64::try_from(part).unwrap_or(whole).min(whole);
                told.push(Back { name, nanos, end });
            }
        }
        if let Some(remote) = &self.limiter.remote {
            remote.give_back(told, false);
        }
    }

    /// Another one holds the same.
    pub(crate) fn forget(mut self) {
        if let Some(remote) = &self.limiter.remote {
            for ticket in self.tickets.drain(..) {
                remote.exit(ticket);
            }
        }
        self.charges.clear();
        self.places.clear();
        self.place = None;
    }

    /// Holds the place until the body has been sent or dropped.
    pub(crate) fn until_sent(self, response: Response) -> Response {
        if self.places.is_empty() && self.tickets.is_empty() {
            return response;
        }
        response.map(|body| Body::new(Sending { body, _held: self }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.settle(self.dropped_counts);
        let now = self.limiter.clock.now();
        if let Some(remote) = &self.limiter.remote {
            self.places.extend(self.tickets.drain(..).filter_map(|ticket| remote.exit(ticket)));
        }
        for place in &self.places {
            self.limiter.memory.give_back(place, now);
        }
        if let (Some(remote), Some(place)) = (&self.limiter.remote, self.place.take()) {
            remote.leave(place);
        }
    }
}

/// A body that holds the place of its request.
struct Sending {
    body: Body,
    _held: Held,
}

impl HttpBody for Sending {
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
