//! Decisions that several servers make together, in a shared store, and what a server decides while the store is unreachable.

pub(crate) mod breaker;
pub(crate) mod cached;
pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod outbox;
mod quotas;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod renewal;
pub(crate) mod report;
mod slots;
pub(crate) mod store;
mod supervisor;
mod updates;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use self::cached::{apply_cached, cache_answer};
use self::call::PendingCall;
use self::client::StoreClient;
use self::outbox::{Pending, UnsentCharge};
use self::store::WhileUnreachable;
use super::checks::CheckPlan;
use super::limiter::Limiter;
use super::memory::gcra::{CheckKind, CheckOutcome, Receipt};
use super::reservation::RequestReservation;
use super::response::decision::Verdict;
use super::verdict::RequestOutcome;

impl StoreClient {
    /// Decides together with the store: first what is known without a call (a cached refusal, a lease, charges that the store does not know yet),
    /// then one call, and without an answer the mode for an unreachable store.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        limiter: &Arc<Limiter>,
        mut plan: CheckPlan,
    ) -> RequestOutcome {
        let now = limiter.clock.now();
        if limiter.settings.concurrency.is_some() {
            self.expire_slots(&limiter.memory, now);
        }
        if self.outbox.any() {
            self.supervise();
        }
        self.sync_quotas(limiter, now);
        let admitted = apply_cached(&limiter.memory, &mut plan, now, false);
        let first_charge = plan.first_charge();
        let lease = self.lease(limiter, &plan);
        if lease > 0 && plan.checks[..first_charge].iter().all(|check| check.until <= now) {
            let ((shard, client), shape) = (plan.client, plan.shape());
            if let Some(left) = limiter.memory.spend_lease(shard, client, shape, now) {
                for check in &mut plan.checks {
                    check.outcome = CheckOutcome::Admitted;
                    if let (CheckKind::Charge { rate, cost, .. }, true) =
                        (check.kind, check.refundable)
                    {
                        // The requests that are left of the lease come after this one in the queue.
                        let nanos = rate.charge(cost);
                        let end = check.until.saturating_sub(nanos.saturating_mul(left.into()));
                        check.number = limiter.memory.register(check.shard, check.key, nanos, end);
                    }
                }
                return limiter.outcome(&mut plan, (true, now));
            }
        }
        if self.is_local(&plan, now).await {
            return self.decide_without_store(limiter, plan, first_charge, now, None);
        }
        let slots = plan.checks[..first_charge].iter().filter(|check| check.kind.is_block()).count()
            ..first_charge;
        if !admitted || !limiter.memory.decide(&mut plan.checks[slots.clone()], now) {
            limiter.strike(&plan, now);
            return limiter.outcome(&mut plan, (false, now));
        }
        let most = limiter.settings.concurrency.filter(|_| self.is_reachable());
        if let (Some(most), Some(shared), Some(subject)) =
            (most, &mut plan.shared, plan.subjects.first())
        {
            let turn = limiter.queues.as_ref().map(|_| self.turn(&subject.name, plan.waits));
            shared.slot = Some(self.slot(&subject.name, most, turn));
        }
        // From here on the slot is released also if the request is dropped during the call.
        let taken = plan.checks[slots].iter().filter_map(Receipt::of).collect();
        let slot = plan.shared.as_ref().and_then(|shared| shared.slot.clone());
        let reservation =
            RequestReservation::new(limiter.clone(), taken, Vec::new(), slot).unconfirmed();
        let answer = self.take(&plan, lease, false).await;
        let (sent, now) = (now, limiter.clock.now());
        let answer = match answer {
            Ok(answer) => answer,
            Err(pending_call) => {
                drop(reservation);
                return self.decide_without_store(limiter, plan, first_charge, now, pending_call);
            }
        };
        cache_answer(&limiter.memory, &mut plan, &answer, sent, now);
        if answer.leased > 0 {
            let ((shard, client), shape) = (plan.client, plan.shape());
            limiter.memory.lease(shard, client, shape, answer.leased, now);
        }
        if !answer.admitted {
            limiter.strike(&plan, now);
        }
        // The outcome reserves the same slot. It must do so before this reservation ends.
        let answer = limiter.outcome(&mut plan, (answer.admitted, now));
        match &answer.reservation {
            Some(same) => {
                same.renew_slot();
                reservation.forget();
            }
            None => drop(reservation),
        }
        answer
    }

    /// Whether this server has admitted requests that the store does not know of, and cannot send them now. The client then has what is left of its
    /// local share.
    async fn is_local(self: &Arc<Self>, plan: &CheckPlan, now: u64) -> bool {
        let (WhileUnreachable::Local { .. }, Some(shared)) =
            (self.limits.while_unreachable, &plan.shared)
        else {
            return false;
        };
        match self.outbox.pending(&shared.names, now) {
            Pending::Nothing => false,
            Pending::Charges if self.is_reachable() => {
                let (this, names) = (self.clone(), shared.names.clone());
                // In a task of its own: a charge that is being sent must not be forgotten if the request is dropped.
                let sent = tokio::spawn(async move { this.send_charges_of(&names).await });
                matches!(sent.await, Ok(Some(false)) | Err(_))
            }
            Pending::OpenCalls if self.is_reachable() => {
                // A store that is only late will answer the open calls.
                let (health, deadline) = (&self.limits.health, self.limits.deadline);
                !health.is_late() && !health.has_answered_within(deadline)
            }
            Pending::Charges | Pending::OpenCalls => true,
        }
    }

    /// How many requests may be paid for in advance.
    fn lease(&self, limiter: &Limiter, plan: &CheckPlan) -> u32 {
        if self.limits.lease == 0
            || limiter.settings.concurrency.is_some()
            || limiter.settings.has_several_keys()
            || !limiter.settings.delay.is_zero()
        {
            return 0;
        }
        let most = plan.checks.iter().filter_map(|check| match check.kind {
            // A lease could outlive its window.
            CheckKind::Charge { rate, .. } if rate.is_window() => Some(0),
            CheckKind::Charge { rate, cost, .. } => rate.burst.get().checked_div(20 * cost.max(1)),
            _ => None,
        });
        most.min().unwrap_or(0).min(self.limits.lease)
    }

    /// Decides without the store, which may still answer the call.
    fn decide_without_store(
        &self,
        limiter: &Arc<Limiter>,
        plan: CheckPlan,
        first_charge: usize,
        now: u64,
        pending_call: Option<PendingCall>,
    ) -> RequestOutcome {
        let subject = plan.subjects.first().map(|subject| subject.name.clone());
        let mut outcome = self.decide_here(limiter, plan, first_charge, now, pending_call);
        if let (Some(reservation), Some(subject), Some(most)) =
            (&mut outcome.reservation, subject, limiter.settings.concurrency)
        {
            reservation.add_slot(self.slot(&subject, most, None));
        }
        outcome
    }

    fn decide_here(
        &self,
        limiter: &Arc<Limiter>,
        mut plan: CheckPlan,
        first_charge: usize,
        now: u64,
        mut pending_call: Option<PendingCall>,
    ) -> RequestOutcome {
        if let Some(shared) = &mut plan.shared {
            shared.slot = None;
        }
        for (policy, _) in &plan.quotas {
            if let Some(count) = self.local_decisions.get(usize::from(*policy)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let WhileUnreachable::Local { servers } = self.limits.while_unreachable {
            let known: SmallVec<[u64; 2]> =
                plan.checks[first_charge..].iter().map(|c| c.until).collect();
            let mut full_rates = SmallVec::new();
            for check in &mut plan.checks {
                match &mut check.kind {
                    CheckKind::Charge { rate, .. } => {
                        full_rates.push(*rate);
                        *rate = rate.share(servers);
                    }
                    CheckKind::Slot { most } => *most = (*most / servers.max(1)).max(1),
                    CheckKind::NotBlocked => {}
                }
                check.outcome = CheckOutcome::Admitted;
            }
            let decided = limiter.decide(&mut plan);
            if let Some(shared) = &mut plan.shared {
                shared.full_rates = full_rates;
            }
            if decided.0 {
                self.record_local(&plan, first_charge, &known, now, pending_call.as_mut());
            }
            return limiter.outcome(&mut plan, decided);
        }
        if !apply_cached(&limiter.memory, &mut plan, now, true) {
            // The quota was already used up, or the client was blocked, when the store was last reached.
            return limiter.outcome(&mut plan, (false, now));
        }
        plan.shared = None;
        plan.checks.truncate(first_charge);
        let allows = self.limits.while_unreachable == WhileUnreachable::Allow;
        let admitted = allows && limiter.memory.decide(&mut plan.checks, now);
        if let (true, Some(pending_call)) = (admitted, &mut pending_call) {
            pending_call.keep();
        }
        let mut answer = limiter.outcome(&mut plan, (admitted, now));
        if !allows {
            (answer.verdict, answer.wait) = (Verdict::Unavailable, Some(1));
        }
        answer.states.clear();
        answer
    }

    /// Puts charges that were made without the store into the outbox. They are sent when the store is reachable, unless a call that is still open
    /// turns out to have made the same charges.
    pub(crate) fn record_local(
        &self,
        plan: &CheckPlan,
        first_charge: usize,
        known: &[u64],
        now: u64,
        pending_call: Option<&mut PendingCall>,
    ) {
        let Some(shared) = &plan.shared else { return };
        let unresolved = pending_call.as_ref().is_some_and(|pending_call| pending_call.is_open());
        let mut names = Vec::new();
        let charges = plan.checks[first_charge..].iter().zip(&shared.names).zip(known).enumerate();
        for (at, ((check, name), known)) in charges {
            let CheckKind::Charge { rate, cost, further } = check.kind else { continue };
            if cost == 0 || !check.is_admitted() {
                continue;
            }
            // A decision of this server keeps the full rates. A charge by hand has none, and is made only as far as it fits.
            let full_rate = shared.full_rates.get(at).copied();
            let (rate, is_debt) = (full_rate.unwrap_or(rate), full_rate.is_some());
            let known = *known;
            let charge = UnsentCharge { name, rate, further, cost, known, is_debt, unresolved };
            self.outbox.charge(&charge, now);
            if unresolved {
                names.push((name.clone(), rate));
            }
        }
        if let Some(pending_call) = pending_call {
            pending_call.also_charged_here(names);
        }
    }
}
