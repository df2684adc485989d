//! How a request passes a limiter: the step in a chain, and those that provide something or need it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use smallvec::SmallVec;

use super::RateLimit;
use super::answer::{Answer, Charged, Refused};
use super::decision::{Decision, Verdict};
use super::fields::State;
use super::held::Held;
use super::refusal;
use crate::{Dependent, Endpoint, FromChain, Middleware, Next, Request, Response};

impl Middleware for RateLimit {
    type Provides = ();

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        let passed = match self.admit(next.request_mut(), false).await {
            Ok(passed) => passed,
            Err(refusal) => return refusal,
        };
        let response = next.run().await;
        self.respond(passed, response)
    }
}

/// A [`RateLimit`] that counts under what an earlier step provides. Made by [`RateLimit::keyed_by`].
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

/// A [`RateLimit`] that provides its [`Decision`], or what is made of it. Made by [`RateLimit::with_decision`].
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
        let response = next.run_with((self.provided)(decision)).await;
        self.limit.respond(passed, response)
    }

    fn name(&self) -> String {
        self.limit.name()
    }
}

impl<T> fmt::Debug for WithDecision<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WithDecision").field(&self.limit).finish()
    }
}

impl RateLimit {
    /// Decides whether a request goes on. `Err` is the refusal.
    async fn admit(&self, req: &mut Request, provide: bool) -> Result<Passed, Response> {
        let limiter = &self.limiter;
        if limiter.skips(req) {
            let skipped = Decision::skipped();
            limiter.counters.note(0, Verdict::Skipped, false);
            if let Some(observe) = &limiter.observe {
                observe(req, &skipped);
            }
            return Ok(Passed::keep(SmallVec::new(), None, provide.then_some(skipped)));
        }
        limiter.lints.enter(limiter, req);
        if limiter.is_simple
            && !provide
            && let Some(decided) = self.admit_simply(req)
        {
            return decided.or_else(|refused| self.finish(req, refused.into(), false));
        }
        let quiet = limiter.headers.is_empty() && limiter.observe.is_none() && !provide;
        let answer = if self.is_async || limiter.remote.is_some() {
            Box::pin(self.decide_async(req, quiet)).await
        } else {
            let mut asked = limiter.ask(req, &[], quiet);
            let decided = limiter.decide(&mut asked);
            limiter.answer(&mut asked, decided)
        };
        if answer.delay > 0 {
            Box::pin(self.finish_delayed(req, answer, provide)).await
        } else {
            self.finish(req, answer, provide)
        }
    }

    /// Decides on a request for which no more than one charge is asked.
    fn admit_simply(&self, req: &Request) -> Option<Result<Passed, Refused>> {
        let limiter = &self.limiter;
        let (client, key) = (limiter.client(req), &limiter.key);
        let hashes = key.with(req, client, None, |named| limiter.hashes(key, named))?;
        limiter.lints.named(key, &hashes);
        let cost = limiter.policies.first()?.cost_of_all();
        let tells = !limiter.headers.is_empty() && !limiter.shadow;
        let pass = |charged| if tells { Passed::Once(charged) } else { Passed::Silently };
        Some(limiter.charge_once(&hashes, cost)?.map(pass))
    }

    async fn decide_async(&self, req: &mut Request, quiet: bool) -> Answer {
        let limiter = &self.limiter;
        let found = if self.is_async { limiter.find(req).await } else { Vec::new() };
        let mut asked = limiter.ask(req, &found, quiet);
        match limiter.remote() {
            Some(remote) => remote.decide(limiter, asked).await,
            None => {
                let decided = limiter.decide(&mut asked);
                limiter.answer(&mut asked, decided)
            }
        }
    }

    async fn finish_delayed(
        &self,
        req: &mut Request,
        mut answer: Answer,
        provide: bool,
    ) -> Result<Passed, Response> {
        answer.wait(&self.limiter).await;
        self.finish(req, answer, provide)
    }

    #[allow(clippy::result_large_err, reason = "a refusal is the response itself")]
    fn finish(&self, req: &Request, mut answer: Answer, provide: bool) -> Result<Passed, Response> {
        let limiter = &self.limiter;
        let admitted = answer.verdict == Verdict::Admitted;
        limiter.note(&answer);
        let seen = provide || limiter.observe.is_some();
        let decision = (seen || !admitted).then(|| limiter.decision(&answer));
        if let (Some(observe), Some(decision)) = (&limiter.observe, &decision) {
            observe(req, decision);
        }
        if let (false, Some(decision)) = (admitted, &decision) {
            refusal::log(decision, limiter.shadow);
            if !limiter.shadow {
                return Err(refusal::respond(limiter, req, decision, &answer.states));
            }
        }
        if let Some(held) = &mut answer.held {
            match &limiter.count {
                None => held.keep_charges(),
                Some(count) if count.dropped => held.count_if_dropped(),
                Some(_) => {}
            }
        }
        let states = if limiter.shadow { SmallVec::new() } else { answer.states };
        Ok(Passed::keep(states, answer.held, decision.filter(|_| provide)))
    }

    fn respond(&self, passed: Passed, mut response: Response) -> Response {
        let Kept { states, held, .. } = match passed {
            Passed::Silently => return response,
            Passed::Once(charged) => {
                self.limiter.write(response.headers_mut(), &[charged.state()]);
                return response;
            }
            Passed::With(kept) => *kept,
        };
        if !states.is_empty() {
            self.limiter.write(response.headers_mut(), &states);
        }
        let Some(mut held) = held else { return response };
        if let Some(count) = &self.limiter.count {
            held.settle((count.counts)(&response));
        }
        held.until_sent(response)
    }
}

/// How a request went on. It stands in the future of the chain, so that what is seldom is boxed.
enum Passed {
    /// Nothing is done to its response.
    Silently,
    /// It was charged once, and its response tells how the client stands then.
    Once(Charged),
    With(Box<Kept>),
}

/// What is kept of a request until it is answered.
struct Kept {
    states: SmallVec<[State; 2]>,
    held: Option<Box<Held>>,
    decision: Option<Decision>,
}

impl Passed {
    fn keep(
        states: SmallVec<[State; 2]>,
        held: Option<Box<Held>>,
        decision: Option<Decision>,
    ) -> Self {
        if states.is_empty() && held.is_none() && decision.is_none() {
            return Self::Silently;
        }
        Self::With(Box::new(Kept { states, held, decision }))
    }

    fn take_decision(&mut self) -> Option<Decision> {
        if let Self::With(kept) = self { kept.decision.take() } else { None }
    }
}
