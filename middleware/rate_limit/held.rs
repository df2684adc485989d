//! What is held for a request while it is under way, and given back when it ends, however it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::Error as BodyError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::check::Receipt;
use super::limiter::Limiter;
use super::store::StorePlace;
use crate::{Body, Response};

/// The charges and the place of a request. Dropped with charges in it, it gives them back.
pub(crate) struct Held {
    limiter: Arc<Limiter>,
    charges: Vec<Receipt>,
    places: Vec<Receipt>,
    names: Vec<String>,
    /// The place in the shared store.
    place: Option<StorePlace>,
    dropped_counts: bool,
}

impl Held {
    pub(crate) fn new(
        limiter: Arc<Limiter>,
        receipts: Vec<Receipt>,
        names: Vec<String>,
        place: Option<StorePlace>,
    ) -> Self {
        let (charges, places) = receipts.into_iter().partition(|receipt| receipt.is_charge());
        Self { limiter, charges, places, names, place, dropped_counts: false }
    }

    /// The request counts, whatever becomes of it.
    pub(crate) fn keep_charges(&mut self) {
        self.charges.clear();
    }

    /// From here on the request counts if it is dropped; its response may still give its charges back.
    pub(crate) fn count_if_dropped(&mut self) {
        self.dropped_counts = true;
    }

    /// Keeps the charges of a request that counts, and gives back those of one that doesn't.
    pub(crate) fn settle(&mut self, counts: bool) {
        if counts {
            self.charges.clear();
        } else {
            self.give_charges_back();
        }
    }

    fn give_charges_back(&mut self) {
        let charges = std::mem::take(&mut self.charges);
        let now = self.limiter.clock.now();
        for charge in &charges {
            self.limiter.memory.give_back(charge, now);
        }
        if let (Some(remote), false) = (&self.limiter.remote, charges.is_empty()) {
            let left = charges.iter().map(|charge| charge.left(now));
            remote.give_back(std::mem::take(&mut self.names).into_iter().zip(left).collect());
        }
    }

    /// Another one holds the same.
    pub(crate) fn forget(mut self) {
        self.charges.clear();
        self.places.clear();
        self.place = None;
    }

    /// Holds the place until the body has been sent or dropped.
    pub(crate) fn until_sent(self, response: Response) -> Response {
        if self.places.is_empty() {
            return response;
        }
        response.map(|body| Body::new(Sending { body, _held: self }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.dropped_counts {
            self.give_charges_back();
        }
        let now = self.limiter.clock.now();
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
