//! Runs the checks of a request, and turns their results into a verdict and into the state of each policy.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderMap;
use smallvec::SmallVec;

use super::checks::{CheckPlan, CountedSubject, KeyHashes};
use super::config::clock::{nanos, seconds, until};
use super::config::error::MAX_POLICIES;
use super::config::key::LEVELS;
use super::config::quota::Quota;
use super::config::settings::{LimitSettings, PenaltyRule};
use super::limiter::Limiter;
use super::memory::ChargeOutcome;
use super::memory::gcra::{
    BLOCK, BLOCKED_BEFORE, CheckKind, CheckOutcome, KeyCheck, Receipt, STRIKE, governed, mix,
};
use super::reservation::RequestReservation;
use super::response::decision::{Decision, DecisionData, Pseudonym, Standing, Verdict};
use super::response::headers::{self, LimitHeaders, PolicyState};

/// The result for one request.
pub(crate) struct RequestOutcome {
    pub(crate) verdict: Verdict,
    /// Nanoseconds after which the request would be admitted. `None` if it was admitted, or never will be.
    pub(crate) wait: Option<u64>,
    pub(crate) states: SmallVec<[PolicyState; 2]>,
    pub(crate) reservation: Option<Box<RequestReservation>>,
    pub(crate) client: (usize, u64),
    /// Whether a fifth or less of a quota is left.
    pub(crate) near_limit: bool,
    /// Whether the memory has already counted the decision in its totals.
    pub(crate) counted: bool,
    /// The policies in shadow mode that would have refused the request, one bit for each.
    pub(crate) shadowed: u8,
    /// Nanoseconds for which an admitted request must wait for its turn.
    pub(crate) delay: u64,
}

/// The result of the short path: the only policy has charged the only key until then, under its first quota.
#[derive(Clone, Copy)]
pub(crate) struct ChargedOnce {
    pub(crate) until: u64,
    pub(crate) now: u64,
}

/// The result of the short path: the only policy has refused to charge the only key.
pub(crate) struct RefusedOnce {
    charged: ChargedOnce,
    /// Nanoseconds after which the request would be admitted.
    wait: u64,
    client: (usize, u64),
}

impl RequestOutcome {
    /// Waits for the turn of an admitted request.
    pub(crate) async fn wait(&mut self, limiter: &Limiter) {
        let wait = std::mem::take(&mut self.delay);
        if wait == 0 || limiter.settings.shadow {
            return;
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::time::sleep(Duration::from_nanos(wait)).await;
        } else {
            // Without a runtime, no timer would wake the request. It is refused, and its charges are refunded.
            self.reservation = None;
            (self.verdict, self.wait) = (Verdict::Exceeded, Some(wait));
        }
    }
}

impl Limiter {
    /// The state of the only policy after a charge by the short path.
    #[inline]
    pub(crate) fn state_of(&self, ChargedOnce { until, now }: ChargedOnce) -> Option<PolicyState> {
        let quota = self.settings.policies.first()?.first_quota();
        let (remaining, reset) = quota.rate().standing(until, now);
        let full = until.saturating_sub(now);
        Some(PolicyState { policy: 0, violated: false, quota, remaining, reset, full })
    }

    /// Writes the fields of a request that was charged by the short path.
    #[inline]
    pub(crate) fn write_once(&self, headers: &mut HeaderMap, charged: ChargedOnce) {
        let Some(state) = self.state_of(charged) else { return };
        let LimitSettings { policies, headers: sets, exposed, .. } = &self.settings;
        match (policies.first(), &sets[..]) {
            (Some(policy), [LimitHeaders::Ietf]) if exposed.is_none() && policy.has_one_field() => {
                headers::write_one(headers, policy, &state);
            }
            _ => self.write(headers, &[state]),
        }
    }

    /// The outcome of a refusal by the short path.
    pub(crate) fn refused_once(
        &self,
        RefusedOnce { charged, wait, client }: RefusedOnce,
    ) -> RequestOutcome {
        let state = self.state_of(charged);
        let refused = |state: PolicyState| PolicyState {
            violated: true,
            reset: state.reset.max(wait),
            ..state
        };
        RequestOutcome {
            verdict: Verdict::Exceeded,
            wait: Some(wait),
            states: state.map(refused).into_iter().collect(),
            reservation: None,
            client,
            near_limit: false,
            counted: false,
            shadowed: 0,
            delay: 0,
        }
    }

    /// Runs the checks on the memory of this server. Returns whether the request is admitted, and the time of the decision.
    pub(crate) fn decide(&self, plan: &mut CheckPlan) -> (bool, u64) {
        let now = self.clock.now();
        self.memory.carry(&plan.carries, now);
        let admitted = self.memory.decide(&mut plan.checks, now);
        plan.counted = admitted && plan.checks.last().is_some_and(KeyCheck::is_of_policy);
        if !admitted {
            self.strike(plan, now);
        }
        (admitted, now)
    }

    /// Runs the checks in the shared store, or on the memory of this server if there is none.
    pub(crate) async fn run(self: &Arc<Self>, mut plan: CheckPlan) -> RequestOutcome {
        match self.shared_store() {
            Some(shared_store) => Box::pin(shared_store.decide(self, plan)).await,
            None => {
                let decided = self.decide(&mut plan);
                self.outcome(&mut plan, decided)
            }
        }
    }

    /// The short path: charges one key for the only policy. `None` if more must be checked; nothing is charged then, and the caller runs all checks.
    #[inline]
    pub(crate) fn charge_once(
        &self,
        client: &KeyHashes,
        cost: u32,
    ) -> Option<Result<ChargedOnce, RefusedOnce>> {
        if client.levels != 1 || self.blocks.load(Ordering::Acquire) {
            return None;
        }
        let policy = self.settings.policies.first()?;
        if policy.has_other_quotas() {
            return None;
        }
        let (hash, rate) = (client.hashes[0], policy.first_quota().rate());
        let at = self.memory.shard_of(hash);
        self.memory.expect(at);
        let now = self.clock.now();
        Some(match self.memory.charge(at, mix(hash, 0), rate, cost, now)? {
            ChargeOutcome::Until(until) => Ok(ChargedOnce { until, now }),
            ChargeOutcome::Wait { until, wait } => {
                let charged = ChargedOnce { until, now };
                Err(RefusedOnce { charged, wait, client: (at, hash) })
            }
        })
    }

    /// Counts a refusal as a strike against each subject whose own quota refused it, and blocks a subject that has collected too many.
    pub(crate) fn strike(&self, plan: &CheckPlan, now: u64) {
        let Some(penalty) = self.settings.penalty else { return };
        // A subject that is blocked collects no strikes.
        if plan.checks.iter().any(|check| check.kind.is_block() && !check.is_admitted()) {
            return;
        }
        for subject in &plan.subjects {
            // A wider network is used up by all of its clients, so its refusals are not strikes.
            let is_strike = |check: &KeyCheck| {
                let (at, level) = (check.segment / LEVELS as u8, check.segment % LEVELS as u8);
                let is_own = check.kind.is_charge() && level == 0 && check.refuses();
                is_own && self.settings.key_to_penalise(at) == Some(subject.key)
            };
            if plan.checks.iter().any(is_strike) {
                self.strike_subject(&penalty, subject, plan, now);
            }
        }
    }

    fn strike_subject(
        &self,
        penalty: &PenaltyRule,
        subject: &CountedSubject,
        plan: &CheckPlan,
        now: u64,
    ) {
        let kind = CheckKind::Charge { rate: penalty.strikes.rate(), cost: 1, further: 0 };
        let (shard, key) = subject.segment(STRIKE);
        let mut strike = [KeyCheck::new(shard, key, STRIKE + subject.key, kind)];
        if self.memory.decide(&mut strike, now) {
            return;
        }
        let time = match penalty.longest {
            Some(longest) => {
                let before = subject.segment(BLOCKED_BEFORE);
                self.memory.next_block(before, nanos(penalty.block), nanos(longest), now)
            }
            None => nanos(penalty.block),
        };
        let time = Duration::from_nanos(time);
        let (shard, key) = subject.segment(BLOCK);
        // An operator may have blocked the subject for longer meanwhile.
        let end = until(now, time);
        self.memory.change(shard, key, now, |other| other.max(end));
        if let Some(shared_store) = self.shared_store() {
            self.end_leases(plan, now);
            shared_store.block_later(&subject.name, (shard, key), time);
        }
    }

    /// Counts a decision in the totals, unless the memory has done so.
    pub(crate) fn note(&self, outcome: &RequestOutcome) {
        if !outcome.counted {
            self.counters.note(outcome.client.0, outcome.verdict, outcome.near_limit);
        }
        let is_refused = !matches!(outcome.verdict, Verdict::Admitted | Verdict::Skipped);
        if is_refused || outcome.shadowed > 0 {
            self.note_refusal(outcome, is_refused);
        }
    }

    /// Counts a refusal for its policies and its client.
    #[cold]
    fn note_refusal(&self, outcome: &RequestOutcome, is_refused: bool) {
        let is_shadowed = |policy: u8| outcome.shadowed >> policy & 1 == 1;
        for at in (0..MAX_POLICIES as u8).filter(|at| is_shadowed(*at)) {
            self.counters.note_policy(at, true);
            let policy = self.settings.policies.get(usize::from(at)).map(|policy| &*policy.name);
            tracing::debug!(policy, shadow = true, "request refused");
        }
        if is_refused {
            let violated = outcome.states.iter().filter(|state| state.violated);
            for state in violated.filter(|state| !is_shadowed(state.policy)) {
                self.counters.note_policy(state.policy, self.settings.shadow);
            }
            if outcome.client != (0, 0) {
                self.counters.note_client(outcome.client.1);
            }
        }
    }

    /// Turns the results of the checks into an outcome.
    pub(crate) fn outcome(
        self: &Arc<Self>,
        plan: &mut CheckPlan,
        (admitted, now): (bool, u64),
    ) -> RequestOutcome {
        let mut outcome = RequestOutcome {
            verdict: Verdict::Admitted,
            wait: None,
            states: SmallVec::new(),
            reservation: None,
            client: plan.client,
            near_limit: false,
            counted: plan.counted,
            shadowed: 0,
            delay: 0,
        };
        for check in plan.checks.iter().filter(|check| check.shadow && !check.is_admitted()) {
            outcome.shadowed |= 1 << (usize::from(check.segment) / LEVELS);
        }
        if !(admitted && plan.quiet) {
            outcome.states = self.states(plan, now);
        }
        if admitted {
            for check in plan.checks.iter().filter(|check| check.is_admitted()) {
                if let CheckKind::Charge { rate, cost, further } = check.kind {
                    let (taken, burst_time) = (rate.taken(check.until, now), rate.burst_time());
                    // A request that costs nothing is admitted also if its key is in debt, and waits for nothing.
                    if cost > 0 && further > 0 {
                        outcome.delay = outcome.delay.max(taken.saturating_sub(burst_time));
                    }
                    outcome.near_limit |= taken >= rate.near_limit_time();
                }
            }
            if self.settings.count.is_some()
                || self.settings.settles()
                || self.settings.concurrency.is_some()
                || outcome.delay > 0
            {
                let receipts = plan.checks.iter().filter_map(Receipt::of).collect();
                let slot = plan.shared.as_mut().and_then(|shared| shared.slot.take());
                let names = plan.charged_names();
                outcome.reservation =
                    Some(Box::new(RequestReservation::new(self.clone(), receipts, names, slot)));
            }
            return outcome;
        }
        let mut never = false;
        for check in plan.checks.iter().filter(|check| !check.shadow) {
            let (verdict, wait) = match (check.outcome, check.kind) {
                (CheckOutcome::Admitted, _) => continue,
                (CheckOutcome::Never, _) => {
                    never = true;
                    (Verdict::TooCostly, 0)
                }
                // It is not known when the other request ends.
                (CheckOutcome::Busy, _) => (Verdict::Busy, 1),
                (CheckOutcome::Wait(wait), CheckKind::NotBlocked) => (Verdict::Blocked, wait),
                (CheckOutcome::Wait(wait), _) => (Verdict::Exceeded, wait),
            };
            let rank = |verdict| match verdict {
                Verdict::TooCostly => 4,
                Verdict::Blocked => 3,
                Verdict::Exceeded => 2,
                _ => u8::from(verdict != Verdict::Admitted),
            };
            if rank(verdict) > rank(outcome.verdict) {
                outcome.verdict = verdict;
            }
            outcome.wait = outcome.wait.max(Some(wait));
        }
        if never {
            outcome.wait = None;
        }
        outcome
    }

    /// The state of each policy that applies. Of several levels of networks, it is the state of the tightest.
    fn states(&self, plan: &CheckPlan, now: u64) -> SmallVec<[PolicyState; 2]> {
        let state = |&(policy, quota): &(u8, Quota)| {
            let (remaining, reset) = (quota.burst_size(), 0);
            let mut state =
                PolicyState { policy, violated: false, quota, remaining, reset, full: 0 };
            for check in &plan.checks {
                let CheckKind::Charge { rate, .. } = check.kind else { continue };
                if usize::from(check.segment) / LEVELS != usize::from(policy) {
                    continue;
                }
                let (remaining, reset) = rate.standing(check.until, now);
                if remaining < state.remaining
                    || (remaining == state.remaining && reset > state.reset)
                {
                    (state.remaining, state.reset) = (remaining, reset);
                }
                state.full = state.full.max(rate.full(check.until, now));
                state.violated |= !check.is_admitted();
            }
            for check in &plan.checks {
                if let (CheckOutcome::Wait(wait), CheckKind::Charge { .. }) =
                    (check.outcome, check.kind)
                    && usize::from(check.segment) / LEVELS == usize::from(policy)
                {
                    state.reset = state.reset.max(wait);
                }
            }
            state
        };
        plan.quotas.iter().map(state).collect()
    }

    /// Starts quotas that the client did not have lately, unless a shared store does so.
    pub(crate) fn carry(&self, plan: &CheckPlan, now: u64) {
        if self.shared_store.is_none() {
            self.memory.carry(&plan.carries, now);
        }
    }

    /// The state of a client in the memory of this server. Nothing is charged.
    pub(crate) fn look(&self, plan: &mut CheckPlan) -> Vec<Standing> {
        let now = self.clock.now();
        self.carry(plan, now);
        for check in &mut plan.checks {
            let (until, count) = self.memory.look(check.shard, check.key);
            (check.until, check.count) = (until, count);
            if let CheckKind::Charge { rate, cost, .. } = check.kind {
                check.outcome = governed(rate, 0, cost, check.until, now).0;
            }
        }
        self.standings(&self.states(plan, now)).collect()
    }

    fn standings(&self, states: &[PolicyState]) -> impl Iterator<Item = Standing> {
        states.iter().filter_map(|state| {
            let policy = self.settings.policies.get(usize::from(state.policy))?;
            Some(Standing {
                policy: policy.name.clone(),
                quota: state.quota,
                remaining: state.remaining,
                reset: Duration::from_nanos(state.reset),
                full: Duration::from_nanos(state.full),
                violated: state.violated,
                shadow: policy.shadow,
            })
        })
    }

    /// The outcome as the public type.
    pub(crate) fn decision(&self, outcome: &RequestOutcome) -> Decision {
        Decision::new(DecisionData {
            verdict: outcome.verdict,
            client: (outcome.client != (0, 0))
                .then(|| Pseudonym(self.memory.hash(outcome.client.1))),
            retry_after: outcome.wait.map(|wait| {
                let jitter = match self.settings.jitter.as_secs() {
                    0 => 0,
                    most => {
                        self.memory.hash((self.clock.now(), outcome.client.1))
                            % most.saturating_add(1)
                    }
                };
                Duration::from_secs(seconds(wait).saturating_add(jitter))
            }),
            standings: self.standings(&outcome.states).collect(),
        })
    }
}
