//! The middleware: how a request passes through a limiter.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use smallvec::SmallVec;

use super::config::key::{LimitKey, SubjectRef};
use super::limiter::Limiter;
use super::reservation::RequestReservation;
use super::response::decision::{Decision, Verdict};
use super::response::headers::PolicyState;
use super::response::refusal;
use super::upgrade::OwningUpgrade;
use super::verdict::{ChargedOnce, RefusedOnce, RequestOutcome};
use super::{RateLimit, declare};
use crate::chain::{Dependent, FromChain};
use crate::declare::Declaration;
use crate::{Endpoint, Middleware, Next, Request, Response};

impl Middleware for RateLimit {
    type Provides = ();

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        // No response is held across the await: it would be a part of the future of the chain.
        let passed = match self.admit_at_once(&next) {
            Some(Ok(passed)) => passed,
            Some(Err(refused)) => match self.refuse_once(next.request_mut(), refused) {
                Ok(passed) => passed,
                Err(refusal) => return refusal,
            },
            None => match self.admit(next.request_mut(), false).await {
                Ok(passed) => passed,
                Err(refusal) => return refusal,
            },
        };
        let response = next.run().await;
        self.respond(passed, response)
    }

    fn declare(&self, to: &mut Declaration) {
        declare::limit(&self.limiter, to);
    }
}

/// A [`RateLimit`] whose key is a part of a value that an earlier step provides. Returned by [`RateLimit::keyed_by`].
pub struct PerProvided<A> {
    pub(super) limit: RateLimit,
    pub(super) of: PhantomData<fn() -> A>,
}

impl<A: FromChain + 'static> Dependent for PerProvided<A> {
    type Needs = (A,);
    type Middleware = RateLimit;

    fn into_middleware(self) -> RateLimit {
        self.limit
    }
}

impl<A> fmt::Debug for PerProvided<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerProvided").field(&self.limit).finish()
    }
}

/// A [`RateLimit`] that provides its [`Decision`], or a value made from it. Returned by [`RateLimit::with_decision`].
#[derive(Clone)]
pub struct WithDecision<T = Decision> {
    pub(super) limit: RateLimit,
    pub(super) provided: Arc<dyn Fn(Decision) -> T + Send + Sync>,
}

impl<T: Clone + Send + Sync + 'static> Middleware for WithDecision<T> {
    type Provides = (T,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (T,)>) -> Response {
        let mut passed = match self.limit.admit(next.request_mut(), true).await {
            Ok(passed) => passed,
            Err(refusal) => return refusal,
        };
        let decision = passed.take_decision().unwrap_or_else(Decision::skipped);
        let response = next.run_with(((self.provided)(decision),)).await;
        self.limit.respond(passed, response)
    }

    fn name(&self) -> String {
        self.limit.name()
    }

    fn declare(&self, to: &mut Declaration) {
        declare::limit(&self.limit.limiter, to);
    }
}

impl<T> fmt::Debug for WithDecision<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WithDecision").field(&self.limit).finish()
    }
}

impl RateLimit {
    /// Decides whether a request is passed on. `Err` is the refusal.
    async fn admit(&self, req: &mut Request, provide: bool) -> Result<Admission, Response> {
        let limiter = &self.limiter;
        // Otherwise `admit_at_once` has tried the short path.
        let may_be_simple = !provide && !self.may_decide_at_once();
        if limiter.skips(req) {
            let skipped = Decision::skipped();
            limiter.counters.note(0, Verdict::Skipped, false);
            if let Some(observe) = &limiter.settings.observe {
                observe(req, &skipped);
            }
            return Ok(Admission::keep(SmallVec::new(), None, None, provide.then_some(skipped)));
        }
        let name = limiter.shared_store.as_ref().map(|shared| &*shared.limits.prefix);
        limiter.warnings.enter(&limiter.settings, name, req);
        if may_be_simple && let Some(decided) = self.admit_simply(req) {
            return decided.or_else(|refused| self.refuse_once(req, refused));
        }
        let quiet =
            limiter.settings.headers.is_empty() && limiter.settings.observe.is_none() && !provide;
        let outcome = if self.is_async || limiter.shared_store.is_some() || limiter.queues.is_some()
        {
            Box::pin(self.decide_async(req, quiet)).await
        } else {
            let mut plan = limiter.plan(req, &[], quiet);
            let decided = limiter.decide(&mut plan);
            limiter.outcome(&mut plan, decided)
        };
        if outcome.delay > 0 {
            Box::pin(self.finish_delayed(req, outcome, provide)).await
        } else {
            self.finish(req, outcome, provide)
        }
    }

    /// Decides a usual request without a future: that of a limiter which skips no requests and looks for no mistakes any more. `None` if a request needs
    /// more than that; nothing is charged then.
    #[inline]
    fn admit_at_once(&self, req: &Request) -> Option<Result<Admission, RefusedOnce>> {
        if self.may_decide_at_once() { self.admit_simply(req) } else { None }
    }

    fn may_decide_at_once(&self) -> bool {
        let Limiter { settings, warnings, .. } = &*self.limiter;
        let skips = !settings.skip.is_empty() || !settings.skip_clients.is_empty();
        !skips && !warnings.looks_at_entries()
    }

    /// The short path, for limiters that make one charge per request. `None` if a request needs more checks.
    fn admit_simply(&self, req: &Request) -> Option<Result<Admission, RefusedOnce>> {
        let limiter = &self.limiter;
        if !limiter.is_simple {
            return None;
        }
        let (client, key) = (limiter.client(req), &limiter.settings.key);
        let hashes = key.with(req, client, None, |named| limiter.hashes(key, named))?;
        let cost = limiter.settings.policies.first()?.cost_of_all();
        let tells = !limiter.settings.headers.is_empty() && !limiter.settings.shadow;
        let pass = |charged| if tells { Admission::Once(charged) } else { Admission::Silently };
        let charged = limiter.charge_once(&hashes, cost)?;
        limiter.warnings.named(key, hashes.narrowest());
        Some(charged.map(pass))
    }

    #[cold]
    #[allow(clippy::result_large_err, reason = "a refusal is the response itself")]
    fn refuse_once(&self, req: &mut Request, refused: RefusedOnce) -> Result<Admission, Response> {
        self.finish(req, self.limiter.refused_once(refused), false)
    }

    async fn decide_async(&self, req: &mut Request, quiet: bool) -> RequestOutcome {
        let limiter = &self.limiter;
        let found = if self.is_async { limiter.find(req).await } else { Vec::new() };
        let plan = limiter.plan(req, &found, quiet);
        if limiter.queues.is_none() {
            return limiter.run(plan).await;
        }
        let key = LimitKey::client();
        let client = limiter.client(req).map(|addr| limiter.hashes(&key, SubjectRef::Addr(addr)));
        limiter.decide_in_turn(client.map(|client| client.narrowest()), plan).await
    }

    async fn finish_delayed(
        &self,
        req: &mut Request,
        mut outcome: RequestOutcome,
        provide: bool,
    ) -> Result<Admission, Response> {
        outcome.wait(&self.limiter).await;
        self.finish(req, outcome, provide)
    }

    #[allow(clippy::result_large_err, reason = "a refusal is the response itself")]
    fn finish(
        &self,
        req: &mut Request,
        mut outcome: RequestOutcome,
        provide: bool,
    ) -> Result<Admission, Response> {
        let limiter = &self.limiter;
        let admitted = outcome.verdict == Verdict::Admitted;
        limiter.note(&outcome);
        let seen = provide || limiter.settings.observe.is_some();
        let decision = (seen || !admitted).then(|| limiter.decision(&outcome));
        if let (Some(observe), Some(decision)) = (&limiter.settings.observe, &decision) {
            observe(req, decision);
        }
        if let (false, Some(decision)) = (admitted, &decision) {
            refusal::log(decision, limiter.settings.shadow);
            if !limiter.settings.shadow {
                limiter.settings.hide_shadows(&mut outcome.states);
                return Err(refusal::respond(limiter, req, decision, &outcome.states));
            }
        }
        if let Some(reservation) = &mut outcome.reservation {
            match &limiter.settings.count {
                None => reservation.keep_charges(),
                Some(count) if count.dropped => reservation.count_if_dropped(),
                Some(_) => {}
            }
        }
        limiter.settings.hide_shadows(&mut outcome.states);
        let RequestOutcome { states, reservation, .. } = outcome;
        let upgrade = reservation.as_ref().filter(|reservation| reservation.outlives_head());
        let upgrade = upgrade.and_then(|_| OwningUpgrade::replace(req));
        Ok(Admission::keep(states, reservation, upgrade, decision.filter(|_| provide)))
    }

    fn respond(&self, passed: Admission, mut response: Response) -> Response {
        let KeptForResponse { mut states, mut reservation, upgrade, .. } = match passed {
            Admission::Silently => return response,
            Admission::Once(charged) => {
                self.limiter.write_once(response.headers_mut(), charged);
                return response;
            }
            Admission::With(kept) => *kept,
        };
        if let Some(reservation) = &mut reservation {
            if let Some(count) = &self.limiter.settings.count {
                reservation.count((count.counts)(&response));
            }
            reservation.settle(&response, &mut states);
        }
        let settings = &self.limiter.settings;
        if !states.is_empty() || (settings.policies.is_empty() && !settings.shadow) {
            self.limiter.write(response.headers_mut(), &states);
        }
        let reservation = match (reservation, upgrade) {
            (Some(reservation), Some(upgrade)) => upgrade.keep(reservation, &response),
            (reservation, _) => reservation,
        };
        match reservation {
            Some(reservation) => reservation.until_sent(response),
            None => response,
        }
    }
}

/// What the response of an admitted request needs. It is part of the future of the chain, so the rare case is boxed.
enum Admission {
    /// Nothing is added to the response.
    Silently,
    /// One key was charged, and the response shows its state.
    Once(ChargedOnce),
    With(Box<KeptForResponse>),
}

/// What is kept of a request until its response.
struct KeptForResponse {
    states: SmallVec<[PolicyState; 2]>,
    reservation: Option<Box<RequestReservation>>,
    /// The upgrade that the request asks for. Its connection may keep the reservation.
    upgrade: Option<OwningUpgrade>,
    decision: Option<Decision>,
}

impl Admission {
    fn keep(
        states: SmallVec<[PolicyState; 2]>,
        reservation: Option<Box<RequestReservation>>,
        upgrade: Option<OwningUpgrade>,
        decision: Option<Decision>,
    ) -> Self {
        if states.is_empty() && reservation.is_none() && decision.is_none() {
            return Self::Silently;
        }
        Self::With(Box::new(KeptForResponse { states, reservation, upgrade, decision }))
    }

    fn take_decision(&mut self) -> Option<Decision> {
        if let Self::With(kept) = self { kept.decision.take() } else { None }
    }
}
