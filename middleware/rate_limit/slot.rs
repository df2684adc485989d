//! Slots for work that is not a request.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::config::key::Subject;
use super::limiter::Limiter;
use super::reservation::RequestReservation;
use super::response::decision::{Decision, Verdict};
use super::response::refusal::refuse;

/// Takes the slots of subjects, which they share with their requests. Returned by [`RateLimitHandle::slots`](super::RateLimitHandle::slots).
///
/// # Example
///
/// ```
/// # futures_util::FutureExt::now_or_never(async {
/// use std::net::{IpAddr, Ipv4Addr};
/// use tower_chain::RateLimit;
///
/// let sockets = RateLimit::concurrent(1).handle().slots::<IpAddr>()?;
/// let client = Ipv4Addr::new(192, 0, 2, 7);
/// let slot = sockets.acquire(client).await.expect("the first one is free");
/// // Move the slot into the task that serves the WebSocket. Until it ends, no other one is admitted.
/// assert!(sockets.acquire(client).await.is_err());
/// drop(slot);
/// assert!(sockets.acquire(client).await.is_ok());
/// # Ok::<(), tower_chain::middleware::rate_limit::RateLimitError>(())
/// # }).unwrap().unwrap();
/// ```
pub struct SlotHandle<K = Subject> {
    limiter: Arc<Limiter>,
    key: PhantomData<fn(K)>,
}

impl<K> SlotHandle<K> {
    pub(super) fn new(limiter: Arc<Limiter>) -> Self {
        Self { limiter, key: PhantomData }
    }
}

impl<K: Into<Subject>> SlotHandle<K> {
    /// Takes a slot of a subject until the guard is dropped. No quota is charged. If all slots are taken, it waits in the
    /// [queue](crate::RateLimit::queue), if there is one.
    ///
    /// In shadow mode, it returns a guard without a slot instead of a refusal. In a [shared](crate::RateLimit::shared) store, the slot is renewed as long
    /// as the guard exists; if this server crashes, it [expires](super::SharedLimits::longest_request).
    ///
    /// # Errors
    ///
    /// Returns the [`Decision`] if all slots are taken or the subject is blocked.
    pub async fn acquire(&self, subject: impl Into<K>) -> Result<Slot, Decision> {
        let limiter = &self.limiter;
        let plan = limiter.plan_for_slot(subject.into().into().named());
        let outcome = limiter.decide_in_turn(None, plan).await;
        if outcome.verdict != Verdict::Admitted {
            refuse(limiter, &outcome)?;
            return Ok(Slot { _reservation: None });
        }
        limiter.note(&outcome);
        Ok(Slot { _reservation: outcome.reservation })
    }
}

impl<K> Clone for SlotHandle<K> {
    fn clone(&self) -> Self {
        Self::new(self.limiter.clone())
    }
}

impl<K> fmt::Debug for SlotHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotHandle").finish_non_exhaustive()
    }
}

/// A slot that is taken. Dropping it releases the slot.
#[must_use = "dropping it releases the slot"]
pub struct Slot {
    _reservation: Option<Box<RequestReservation>>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}
