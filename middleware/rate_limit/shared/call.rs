//! A store call that runs to completion even if the request is dropped.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::StoreClient;
use super::health::CallNumber;
use super::keys::block_key;
use super::outbox::Refund;
use super::store::{StoreAnswer, StoreCall, StoreCharge, StoreError};
use crate::middleware::rate_limit::checks::CheckPlan;
use crate::middleware::rate_limit::config::clock::{nanos, until};
use crate::middleware::rate_limit::config::quota::{LONGEST, Rate};
use crate::middleware::rate_limit::memory::gcra::{CheckKind, KeyCheck};

/// A call that the store may still answer. If this is dropped before the answer, a task waits for it: what the store has charged for a request that
/// was decided without it, or was dropped, is refunded. The answer also shows that the store is only late.
pub(crate) struct PendingCall {
    shared_store: Arc<StoreClient>,
    call: Arc<StoreCall>,
    /// The quota of each charge.
    quotas: SmallVec<[Rate; 2]>,
    answer: Option<AnswerFuture>,
    /// The call, if it was counted as failed because the time to wait for it had passed.
    late: Option<LateCall>,
    keeps: bool,
    /// The keys that this server has charged for the same request after the deadline. If the store has charged them too, one of the two charges must
    /// be refunded.
    unresolved: Vec<(String, Rate)>,
}

pub(crate) type AnswerFuture = BoxFuture<'static, Result<StoreAnswer, StoreError>>;

/// A call that was not answered in time: under which number it was counted as failed, and when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LateCall {
    pub(crate) number: CallNumber,
    pub(crate) sent: Instant,
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    Failed,
    /// The store is reachable, and refuses the keys of the call.
    RefusedKeys,
    /// The time to wait for it has passed. The answer may still come.
    Late(LateCall),
}

impl PendingCall {
    pub(crate) fn new(
        shared_store: &Arc<StoreClient>,
        call: StoreCall,
        quotas: SmallVec<[Rate; 2]>,
    ) -> Self {
        let (store, call) = (shared_store.limits.store.clone(), Arc::new(call));
        let plan = call.clone();
        let answer = Box::pin(async move { store.take(&plan).await });
        Self {
            shared_store: shared_store.clone(),
            call,
            quotas,
            answer: Some(answer),
            late: None,
            keeps: false,
            unresolved: Vec::new(),
        }
    }

    /// Waits for the answer within the deadline.
    pub(crate) async fn wait(&mut self) -> Result<StoreAnswer, NoAnswer> {
        let Some(answer) = &mut self.answer else { return Err(NoAnswer::Failed) };
        let answered = self.shared_store.wait(answer).await;
        match answered {
            Err(NoAnswer::Late(call)) => self.late = Some(call),
            _ => self.answer = None,
        }
        answered
    }

    /// Whether the store may still answer.
    pub(crate) fn is_open(&self) -> bool {
        self.answer.is_some()
    }

    /// A late charge of the store is not refunded.
    pub(crate) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Notes the keys that this server has charged for the same request.
    pub(crate) fn also_charged_here(&mut self, names: Vec<(String, Rate)>) {
        self.unresolved = names;
    }

    /// Waits for the answer after the request has gone on or was dropped.
    async fn finish(self, mut answer: AnswerFuture) {
        // The failure counts for the breaker also if all clients hang up before the deadline.
        let answered = match self.late {
            Some(call) => Err(NoAnswer::Late(call)),
            None => self.shared_store.wait(&mut answer).await,
        };
        let answered = match answered {
            Err(NoAnswer::Late(call)) => self.shared_store.wait_longer(call, answer).await,
            answered => answered.ok(),
        };
        if let Some(answer) = answered.filter(|answer| answer.admitted) {
            self.undo(&answer);
        }
    }

    /// Refunds what a late answer has charged.
    fn undo(&self, answer: &StoreAnswer) {
        let now = self.shared_store.now();
        if !self.keeps {
            let charged = self.call.charges.iter().zip(&self.quotas).zip(&answer.charged_for);
            // A charge that shadow mode left out was not made.
            let made = charged.enumerate().filter(|(at, _)| !answer.is_shadowed(*at));
            let charged = made.map(|(_, charged)| charged);
            // A forced charge that reached the burst was made in part, or not at all. The exact part is unknown, so none of it is refunded.
            let exact = charged.filter(|((charge, _), till)| {
                !self.call.forced || **till < charge.interval.saturating_mul(charge.burst)
            });
            let back = exact.map(|((charge, quota), till)| {
                let requests = u64::from(charge.cost) * (u64::from(answer.leased) + 1);
                let nanos = nanos(charge.interval).saturating_mul(requests).min(nanos(*till));
                Refund {
                    name: charge.key.clone(),
                    quota: Some(*quota),
                    nanos,
                    end: until(now, *till),
                }
            });
            self.shared_store.refund(back.filter(|back| back.nanos > 0).collect(), true);
        }
        if let Some(slot) = &self.call.slot {
            self.shared_store.release(slot.clone());
        }
    }
}

impl StoreClient {
    /// Calls the store for these checks, within the deadline. `Err` contains the call if the store may still answer it.
    pub(crate) async fn take(
        self: &Arc<Self>,
        plan: &CheckPlan,
        lease: u32,
        forced: bool,
    ) -> Result<StoreAnswer, Option<PendingCall>> {
        let charge = |(check, key): (&KeyCheck, &String)| {
            let CheckKind::Charge { rate, cost, further } = check.kind else { return None };
            Some(StoreCharge {
                key: key.clone(),
                interval: Duration::from_nanos(rate.interval),
                burst: rate.burst.get().saturating_add(further),
                cost,
                shadow: check.shadow && !forced,
                window: self.window(rate),
                quota: Some(self.quota(rate)),
                longest: LONGEST,
            })
        };
        let (checks, Some(shared)) = (&plan.checks[plan.first_charge()..], plan.shared.as_ref())
        else {
            return Err(None);
        };
        let has_window = checks
            .iter()
            .any(|check| matches!(check.kind, CheckKind::Charge { rate, .. } if rate.is_window()));
        if !self.is_reachable() || (has_window && !self.limits.store.supports_windows()) {
            return Err(None);
        }
        let blocks = plan.subjects.iter().filter(|_| !forced).map(|s| block_key(&s.name));
        let call = StoreCall {
            charges: checks.iter().zip(&shared.names).filter_map(charge).collect(),
            blocks: blocks.collect(),
            slot: shared.slot.clone(),
            forced,
            lease,
        };
        let quotas = checks.iter().filter_map(|check| match check.kind {
            CheckKind::Charge { rate, .. } => Some(rate),
            _ => None,
        });
        let mut pending_call = PendingCall::new(self, call, quotas.collect());
        match pending_call.wait().await {
            Ok(answer)
                if answer.charged_for.len() == shared.names.len()
                    && (forced || answer.blocked_for.len() == plan.subjects.len()) =>
            {
                Ok(answer)
            }
            Err(NoAnswer::Late(_)) => Err(Some(pending_call)),
            Ok(_) | Err(NoAnswer::Failed | NoAnswer::RefusedKeys) => Err(None),
        }
    }
}

impl StoreClient {
    /// Makes charges that are not checked, and were already made in the memory of this server, where the keys were charged until `known` before. If
    /// the store cannot be reached, they are sent when it is reachable again.
    pub(crate) async fn charge_unchecked(
        self: &Arc<Self>,
        plan: &CheckPlan,
        known: &[u64],
        now: u64,
    ) {
        if let Err(mut pending_call) = self.take(plan, 0, true).await {
            self.record_local(plan, plan.first_charge(), known, now, pending_call.as_mut());
            self.supervise();
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        match (self.answer.take(), Handle::try_current()) {
            (Some(answer), Ok(runtime)) => {
                let late = Self {
                    shared_store: self.shared_store.clone(),
                    call: self.call.clone(),
                    quotas: std::mem::take(&mut self.quotas),
                    answer: None,
                    late: self.late,
                    keeps: self.keeps,
                    unresolved: std::mem::take(&mut self.unresolved),
                };
                runtime.spawn(late.finish(answer));
            }
            _ => {
                let now = self.shared_store.now();
                for (name, quota) in &self.unresolved {
                    self.shared_store.outbox.resolve(name, Some(*quota), now);
                }
            }
        }
    }
}

/// For how long a late answer is awaited.
pub(crate) const LATEST: Duration = Duration::from_secs(30);
