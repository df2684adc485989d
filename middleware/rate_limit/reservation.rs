//! What a request has reserved while it is in flight: charges that may be refunded, and slots. It is released when the request ends, in whichever
//! way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::Error as BodyError;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use smallvec::SmallVec;

use super::config::key::LEVELS;
use super::config::policy::SettleRule;
use super::config::quota::Rate;
use super::limiter::Limiter;
use super::memory::gcra::{Receipt, ReceiptKind};
use super::response::headers::PolicyState;
use super::settle::{ActualCost, Debt};
use super::shared::client::SlotTicket;
use super::shared::outbox::Refund;
use super::shared::store::StoreSlot;
use crate::{Body, Response};

/// The charges and the slots of a request. If it is dropped while it has charges, they are refunded.
pub(crate) struct RequestReservation {
    limiter: Arc<Limiter>,
    charges: Vec<ReservedCharge>,
    slots: Vec<Receipt>,
    /// The slot in the shared store, and the slots on this server, which also expire.
    slot: Option<StoreSlot>,
    tickets: SmallVec<[SlotTicket; 1]>,
    dropped_counts: bool,
    /// Whether those who wait for a slot are woken when the slots are released.
    wakes: bool,
    /// The cost that the handler has put into the response, and the number of bytes of the body so far.
    actual: Option<ActualCost>,
    sent: u64,
    /// Whether there is a response, whose body ends with this reservation.
    is_responded: bool,
}

/// A charge that may be refunded or settled.
struct ReservedCharge {
    receipt: Receipt,
    /// The name of the key in the shared store, and the rate at which the store has charged it.
    name: Option<(String, Rate)>,
}

impl ReservedCharge {
    fn policy(&self) -> usize {
        policy_of(&self.receipt)
    }
}

fn policy_of(receipt: &Receipt) -> usize {
    usize::from(receipt.segment) / LEVELS
}

impl RequestReservation {
    pub(crate) fn new(
        limiter: Arc<Limiter>,
        receipts: Vec<Receipt>,
        names: Vec<(String, Rate)>,
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
        let mut names = names.into_iter();
        let charges = charges
            .into_iter()
            .map(|receipt| ReservedCharge { receipt, name: names.next() })
            .collect();
        Self {
            limiter,
            charges,
            slots,
            slot,
            tickets,
            dropped_counts: false,
            wakes: true,
            actual: None,
            sent: 0,
            is_responded: false,
        }
    }

    /// Keeps the charges: from here on the request counts. Charges that are settled later remain in the reservation.
    pub(crate) fn keep_charges(&mut self) {
        self.dropped_counts = true;
        let limiter = self.limiter.clone();
        self.charges.retain(|charge| {
            let policy = limiter.settings.policies.get(charge.policy());
            let settles = policy.is_some_and(|policy| policy.settle.is_some());
            if !settles {
                limiter.memory.keep(&charge.receipt);
            }
            settles
        });
    }

    /// From here on, a request that is dropped counts. Its response may still refund its charges.
    pub(crate) fn count_if_dropped(&mut self) {
        self.dropped_counts = true;
    }

    /// Keeps the charges of a request that counts, and refunds those of a request that does not.
    pub(crate) fn count(&mut self, counts: bool) {
        if counts {
            self.keep_charges();
        } else {
            let charges = std::mem::take(&mut self.charges);
            self.refund(charges.into_iter().map(|charge| (charge, u32::MAX)));
        }
    }

    /// Settles the charges whose cost is known from the head of the response, and updates the states that the response shows.
    pub(crate) fn settle(&mut self, response: &Response, states: &mut [PolicyState]) {
        self.actual = response.extensions().get().cloned();
        self.is_responded = true;
        let settled = self.settle_with(|rule| match rule {
            SettleRule::Response(cost) => Some(cost(response)),
            SettleRule::AtEnd | SettleRule::Bytes(_) => None,
        });
        let now = self.limiter.clock.now();
        for state in states {
            // Of several levels of networks, the tightest one is shown.
            let mut tightest = None;
            for receipt in
                settled.iter().filter(|receipt| policy_of(receipt) == usize::from(state.policy))
            {
                let ReceiptKind::Time { rate, .. } = receipt.taken else { continue };
                let until = self.limiter.memory.charged_until(receipt);
                let (remaining, reset) = rate.standing(until, now);
                let standing = (remaining, std::cmp::Reverse(reset), rate.full(until, now));
                tightest = Some(tightest.map_or(standing, |other| standing.min(other)));
            }
            if let Some((remaining, std::cmp::Reverse(reset), full)) = tightest {
                (state.remaining, state.reset, state.full) = (remaining, reset, full);
            }
        }
    }

    /// Settles charges by the cost that `actual` returns for the rule of their policy: `None` if it is not known yet, and `Some(None)` if the reservation
    /// is the cost. Returns the receipts of the settled charges.
    fn settle_with(
        &mut self,
        actual: impl Fn(&SettleRule) -> Option<Option<u32>>,
    ) -> SmallVec<[Receipt; 1]> {
        let limiter = self.limiter.clone();
        let (mut back, mut debts, mut settled) = (Vec::new(), Vec::new(), SmallVec::new());
        let charges = std::mem::take(&mut self.charges);
        for charge in charges {
            let policy = limiter.settings.policies.get(charge.policy());
            let rule = policy.and_then(|policy| policy.settle.as_ref());
            let ReceiptKind::Time { cost, rate, .. } = charge.receipt.taken else { continue };
            let Some(actual) = rule.and_then(&actual) else {
                self.charges.push(charge);
                continue;
            };
            let actual = actual.unwrap_or(cost);
            settled.push(charge.receipt);
            if actual < cost {
                back.push((charge, cost - actual));
                continue;
            }
            limiter.memory.keep(&charge.receipt);
            if actual > cost {
                let Receipt { shard, key, segment, overflowed, .. } = charge.receipt;
                let (cost, name) = (actual - cost, charge.name);
                debts.push(Debt { shard, key, segment, overflowed, rate, cost, name });
            }
        }
        self.refund(back.into_iter());
        limiter.charge_debts(debts);
        settled
    }

    /// Refunds so many requests of each charge.
    fn refund(&self, charges: impl Iterator<Item = (ReservedCharge, u32)>) {
        let now = self.limiter.clock.now();
        let mut is_sent = Vec::new();
        for (ReservedCharge { receipt, name }, requests) in charges {
            let ReceiptKind::Time { rate, cost, end, .. } = receipt.taken else { continue };
            let most = rate.charge(requests.min(cost));
            let back = self.limiter.memory.refund(&receipt, most, now);
            if let Some((name, full_rate)) = name {
                // A share of the quota is refunded as the same fraction of the full quota.
                let (nanos, full) = (rate.charge(cost), full_rate.charge(cost));
                let part = u128::from(back) * u128::from(full) / u128::from(nanos.max(1));
                let nanos = u64::try_from(part).unwrap_or(full).min(full);
                is_sent.push(Refund { name, quota: Some(full_rate), nanos, end });
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

    /// Whether this may last for longer than until the head of the response is known: there are slots, or charges that are settled later.
    pub(crate) fn outlives_head(&self) -> bool {
        self.has_slots() || self.limiter.settings.settles()
    }

    fn has_slots(&self) -> bool {
        !self.slots.is_empty() || !self.tickets.is_empty()
    }

    /// A reservation that the store has not confirmed. The waiter whose turn it is may have made it, and must not wake itself.
    pub(crate) fn unconfirmed(mut self) -> Self {
        self.wakes = false;
        self
    }

    /// Renews the slot in the shared store from now on, as long as this exists.
    pub(crate) fn renew_slot(&self) {
        if let (Some(shared_store), Some(slot)) = (&self.limiter.shared_store, &self.slot) {
            shared_store.renew(slot.clone(), true);
        }
    }

    /// Takes a slot in the shared store later, for work that was admitted without it.
    pub(crate) fn add_slot(&mut self, slot: StoreSlot) {
        if let Some(shared_store) = &self.limiter.shared_store
            && shared_store.limits.store.supports_renewal()
        {
            shared_store.renew(slot.clone(), false);
            self.slot = Some(slot);
        }
    }

    /// Keeps the slots, and the charges that are settled later, until the body has been sent or dropped.
    pub(crate) fn until_sent(self, response: Response) -> Response {
        if !self.has_slots() && self.charges.is_empty() {
            return response;
        }
        response.map(|body| Body::new(ReservedBody { body, reservation: self }))
    }
}

impl Drop for RequestReservation {
    fn drop(&mut self) {
        // What is left is settled by the body that was sent, of which there is none if the request was dropped before its response.
        if self.is_responded {
            let (actual, sent) = (self.actual.take(), self.sent);
            self.settle_with(|rule| match rule {
                SettleRule::Response(_) => None,
                SettleRule::AtEnd => Some(actual.as_ref().map(ActualCost::get)),
                SettleRule::Bytes(unit) => {
                    let cost = sent.div_ceil(unit.get().into());
                    Some(Some(u32::try_from(cost).unwrap_or(u32::MAX)))
                }
            });
        }
        if self.dropped_counts {
            for charge in self.charges.drain(..) {
                self.limiter.memory.keep(&charge.receipt);
            }
        } else {
            self.count(false);
        }
        let now = self.limiter.clock.now();
        if let Some(shared_store) = &self.limiter.shared_store {
            self.slots
                .extend(self.tickets.drain(..).filter_map(|ticket| shared_store.free_slot(ticket)));
        }
        for slot in &self.slots {
            self.limiter.memory.refund(slot, u64::MAX, now);
            if let (true, Some(queues)) = (self.wakes, &self.limiter.queues) {
                queues.released(slot.key);
            }
        }
        if let (Some(shared_store), Some(slot)) = (&self.limiter.shared_store, self.slot.take()) {
            shared_store.release(slot);
        }
    }
}

/// A body that keeps the slots of its request, and counts its bytes.
struct ReservedBody {
    body: Body,
    reservation: RequestReservation,
}

impl HttpBody for ReservedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            this.reservation.sent = this.reservation.sent.saturating_add(bytes as u64);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
