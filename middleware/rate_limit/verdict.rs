//! What is made of decided checks, and how a client is told to stand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smallvec::SmallVec;

use super::checks::{Asked, Hashes};
use super::config::clock::{seconds, until};
use super::config::key::LEVELS;
use super::config::quota::Quota;
use super::limiter::Limiter;
use super::memory::Charge;
use super::memory::gcra::{Ask, Check, Outcome, Receipt, STRIKE, governed, mix};
use super::reservation::Held;
use super::response::decision::{Decision, Found, Pseudonym, Standing, Verdict};
use super::response::headers::State;

/// What came of it.
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    /// Nanoseconds until the request would be admitted.
    pub(crate) wait: Option<u64>,
    pub(crate) states: SmallVec<[State; 2]>,
    pub(crate) held: Option<Box<Held>>,
    pub(crate) client: (usize, u64),
    /// Whether a fifth or less of a quota is left.
    pub(crate) near_limit: bool,
    /// Whether the memory has counted it.
    pub(crate) counted: bool,
    /// Nanoseconds for which an admitted request is held back.
    pub(crate) delay: u64,
}

/// A key that was charged under the only policy.
pub(crate) struct Charged {
    pub(crate) quota: Quota,
    pub(crate) until: u64,
    pub(crate) now: u64,
}

/// A key that the only policy refuses to charge further.
pub(crate) struct Refused {
    pub(crate) charged: Charged,
    /// Nanoseconds until the request would be admitted.
    pub(crate) wait: u64,
    pub(crate) client: (usize, u64),
}

impl From<Refused> for Answer {
    fn from(Refused { charged, wait, client }: Refused) -> Self {
        let state = charged.state();
        let state = State { violated: true, reset: state.reset.max(wait), ..state };
        Self {
            verdict: Verdict::Exceeded,
            wait: Some(wait),
            states: SmallVec::from_iter([state]),
            held: None,
            client,
            near_limit: false,
            counted: false,
            delay: 0,
        }
    }
}

impl Charged {
    /// How the client stands then.
    pub(crate) fn state(&self) -> State {
        let &Self { quota, until, now } = self;
        let (remaining, reset) = quota.rate().standing(until, now);
        let full = until.saturating_sub(now);
        State { policy: 0, violated: false, quota, remaining, reset, full }
    }
}

impl Answer {
    /// Waits for the turn of an admitted request.
    pub(crate) async fn wait(&mut self, limiter: &Limiter) {
        let wait = std::mem::take(&mut self.delay);
        if wait == 0 || limiter.settings.shadow {
            return;
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::time::sleep(Duration::from_nanos(wait)).await;
        } else {
            // Nobody would wake it: what it holds is given back.
            self.held = None;
            (self.verdict, self.wait) = (Verdict::Exceeded, Some(wait));
        }
    }
}

impl Limiter {
    /// Decides on the limiter's own memory. Returns whether the request is admitted, and when that was decided.
    pub(crate) fn decide(&self, asked: &mut Asked) -> (bool, u64) {
        let now = self.clock.now();
        let admitted = self.memory.decide(&mut asked.checks, now);
        asked.counted = admitted && asked.checks.last().is_some_and(Check::is_of_policy);
        if !admitted {
            self.strike(asked, now);
        }
        (admitted, now)
    }

    /// Decides on one charge. `None` if more is asked: then all of it is decided in the longer way.
    #[inline]
    pub(crate) fn charge_once(
        &self,
        client: &Hashes,
        cost: u32,
    ) -> Option<Result<Charged, Refused>> {
        if client.levels != 1 || self.blocks.load(Ordering::Acquire) {
            return None;
        }
        let (hash, quota) = (client.hashes[0], self.settings.policies.first()?.quota());
        let at = self.memory.shard_of(hash);
        self.memory.expect(at);
        let now = self.clock.now();
        Some(match self.memory.charge(at, mix(hash, 0), quota.rate(), cost, now)? {
            Charge::Until(until) => Ok(Charged { quota, until, now }),
            Charge::Wait { until, wait } => {
                Err(Refused { charged: Charged { quota, until, now }, wait, client: (at, hash) })
            }
        })
    }

    /// Counts a refusal, and blocks whoever collects too many.
    pub(crate) fn strike(&self, asked: &Asked, now: u64) {
        let Some(penalty) = self.settings.penalty else { return };
        let refused = |is: fn(&Ask) -> bool| {
            asked.checks.iter().any(|check| is(&check.ask) && !check.is_admitted())
        };
        // Only quotas count, and only until the client is blocked.
        if refused(|ask| matches!(ask, Ask::Free))
            || !refused(|ask| matches!(ask, Ask::Charge { .. }))
        {
            return;
        }
        let (shard, hash) = asked.primary;
        let ask = Ask::Charge { rate: penalty.strikes.rate(), cost: 1, further: 0 };
        let mut strike = [Check::new(shard, mix(hash, STRIKE), STRIKE, ask)];
        if !self.memory.decide(&mut strike, now) {
            let (shard, key) = self.block_of(asked);
            // An operator may have blocked the client for longer meanwhile.
            let end = until(now, penalty.block);
            self.memory.change(shard, key, now, |other| other.max(end));
            if let (Some(remote), Some(shared)) = (self.remote(), &asked.shared) {
                self.end_leases(asked, now);
                remote.block_later(&shared.client, (shard, key), penalty.block);
            }
        }
    }

    /// Counts an answer, unless the memory did.
    pub(crate) fn note(&self, answer: &Answer) {
        if !answer.counted {
            self.counters.note(answer.client.0, answer.verdict, answer.near_limit);
        }
    }

    /// Turns decided checks into an answer.
    pub(crate) fn answer(
        self: &Arc<Self>,
        asked: &mut Asked,
        (admitted, now): (bool, u64),
    ) -> Answer {
        let mut answer = Answer {
            verdict: Verdict::Admitted,
            wait: None,
            states: SmallVec::new(),
            held: None,
            client: asked.primary,
            near_limit: false,
            counted: asked.counted,
            delay: 0,
        };
        if !(admitted && asked.quiet) {
            answer.states = self.states(asked, now);
        }
        if admitted {
            for check in &asked.checks {
                if let Ask::Charge { rate, .. } = check.ask {
                    let (taken, whole) = (check.until.saturating_sub(now), rate.whole());
                    answer.delay = answer.delay.max(taken.saturating_sub(whole));
                    answer.near_limit |= taken >= rate.near();
                }
            }
            if self.settings.count.is_some()
                || self.settings.concurrency.is_some()
                || answer.delay > 0
            {
                let receipts = asked.checks.iter().filter_map(Receipt::of).collect();
                let place = asked.shared.as_mut().and_then(|shared| shared.place.take());
                let names = asked.charged_names();
                answer.held = Some(Box::new(Held::new(self.clone(), receipts, names, place)));
            }
            return answer;
        }
        let mut never = false;
        for check in &asked.checks {
            let (verdict, wait) = match (check.outcome, check.ask) {
                (Outcome::Admitted, _) => continue,
                (Outcome::Never, _) => {
                    never = true;
                    (Verdict::TooCostly, 0)
                }
                // When the other request ends can't be known.
                (Outcome::Busy, _) => (Verdict::Busy, 1),
                (Outcome::Wait(wait), Ask::Free) => (Verdict::Blocked, wait),
                (Outcome::Wait(wait), _) => (Verdict::Exceeded, wait),
            };
            let rank = |verdict| match verdict {
                Verdict::TooCostly => 4,
                Verdict::Blocked => 3,
                Verdict::Exceeded => 2,
                _ => u8::from(verdict != Verdict::Admitted),
            };
            if rank(verdict) > rank(answer.verdict) {
                answer.verdict = verdict;
            }
            answer.wait = answer.wait.max(Some(wait));
        }
        if never {
            answer.wait = None;
        }
        answer
    }

    /// How the client stands with each policy.
    fn states(&self, asked: &Asked, now: u64) -> SmallVec<[State; 2]> {
        let state = |&(policy, quota): &(u8, Quota)| {
            let (remaining, reset) = (quota.burst_size(), 0);
            let mut state = State { policy, violated: false, quota, remaining, reset, full: 0 };
            for check in &asked.checks {
                let Ask::Charge { rate, .. } = check.ask else { continue };
                if usize::from(check.segment) / LEVELS != usize::from(policy) {
                    continue;
                }
                let (remaining, reset) = rate.standing(check.until, now);
                if remaining < state.remaining
                    || (remaining == state.remaining && reset > state.reset)
                {
                    (state.remaining, state.reset) = (remaining, reset);
                }
                state.full = state.full.max(check.until.saturating_sub(now));
                state.violated |= !check.is_admitted();
            }
            for check in &asked.checks {
                if let (Outcome::Wait(wait), Ask::Charge { .. }) = (check.outcome, check.ask)
                    && usize::from(check.segment) / LEVELS == usize::from(policy)
                {
                    state.reset = state.reset.max(wait);
                }
            }
            state
        };
        asked.quotas.iter().map(state).collect()
    }

    /// How whoever is asked for stands now, by the limiter's own memory.
    pub(crate) fn look(&self, asked: &mut Asked) -> Vec<Standing> {
        let now = self.clock.now();
        for check in &mut asked.checks {
            let (until, count) = self.memory.look(check.shard, check.key);
            (check.until, check.count) = (until, count);
            if let Ask::Charge { rate, cost, .. } = check.ask {
                check.until = until.min(now.saturating_add(check.reach));
                check.outcome = governed(rate, 0, cost, check.until, now).0;
            }
        }
        self.standings(&self.states(asked, now)).collect()
    }

    fn standings(&self, states: &[State]) -> impl Iterator<Item = Standing> {
        states.iter().filter_map(|state| {
            let policy = self.settings.policies.get(usize::from(state.policy))?;
            Some(Standing {
                policy: policy.name.clone(),
                quota: state.quota,
                remaining: state.remaining,
                reset: Duration::from_nanos(state.reset),
                full: Duration::from_nanos(state.full),
                violated: state.violated,
            })
        })
    }

    /// The answer in the words of the public.
    pub(crate) fn decision(&self, answer: &Answer) -> Decision {
        Decision::new(Found {
            verdict: answer.verdict,
            client: (answer.client != (0, 0)).then(|| Pseudonym(self.memory.hash(answer.client.1))),
            retry_after: answer.wait.map(|wait| {
                let jitter = match self.settings.jitter.as_secs() {
                    0 => 0,
                    most => {
                        self.memory.hash((self.clock.now(), answer.client.1))
                            % most.saturating_add(1)
                    }
                };
                Duration::from_secs(seconds(wait).saturating_add(jitter))
            }),
            standings: self.standings(&answer.states).collect(),
        })
    }
}
