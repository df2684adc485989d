//! A shared store in use: what is asked of it, and what is done while it is away.

pub(crate) mod breaker;
pub(crate) mod cached;
pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod keys;
pub(crate) mod outbox;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod store;
mod updates;

use std::sync::Arc;

use smallvec::SmallVec;

use self::cached::{know, learn};
use self::call::Asking;
use self::client::Remote;
use self::outbox::Charges;
use self::store::WhileAway;
use super::checks::Asked;
use super::limiter::Limiter;
use super::memory::gcra::{Ask, Outcome, Receipt};
use super::reservation::Held;
use super::response::decision::Verdict;
use super::verdict::Answer;

impl Remote {
    /// Decides together with the store.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        limiter: &Arc<Limiter>,
        mut asked: Asked,
    ) -> Answer {
        let now = limiter.clock.now();
        if limiter.settings.concurrency.is_some() {
            self.end_long_requests(&limiter.memory, now);
        }
        if self.owed.any() {
            self.attend();
        }
        let admitted = know(&limiter.memory, &mut asked, now, false);
        let own = asked.own();
        let lease = self.lease(limiter, &asked);
        if lease > 0 && asked.checks[..own].iter().all(|check| check.until <= now) {
            let ((shard, client), shape) = (asked.primary, asked.shape());
            if let Some(left) = limiter.memory.spend_lease(shard, client, shape, now) {
                for check in &mut asked.checks {
                    check.outcome = Outcome::Admitted;
                    if let (Ask::Charge { rate, cost, .. }, true) = (check.ask, check.returnable) {
                        // Those that are left stand behind it.
                        let nanos = rate.charge(cost);
                        let end = check.until.saturating_sub(nanos.saturating_mul(left.into()));
                        check.number = limiter.memory.enter(check.shard, check.key, nanos, end);
                    }
                }
                return limiter.answer(&mut asked, (true, now));
            }
        }
        if self.is_local(&asked, now) {
            return self.without(limiter, asked, own, now, None);
        }
        let places = asked.checks[..own].iter().filter(|check| check.ask.is_free()).count()..own;
        if !admitted || !limiter.memory.decide(&mut asked.checks[places.clone()], now) {
            limiter.strike(&asked, now);
            return limiter.answer(&mut asked, (false, now));
        }
        let most = limiter.settings.concurrency.filter(|_| self.is_reachable());
        if let (Some(most), Some(shared)) = (most, &mut asked.shared) {
            shared.place = Some(self.place(&shared.client, most));
        }
        // From here on the place is given back, also if the request is dropped while the store is asked.
        let taken = asked.checks[places].iter().filter_map(Receipt::of).collect();
        let place = asked.shared.as_ref().and_then(|shared| shared.place.clone());
        let held = Held::new(limiter.clone(), taken, Vec::new(), place);
        let answer = self.take(&asked, lease, false).await;
        let (sent, now) = (now, limiter.clock.now());
        let answer = match answer {
            Ok(answer) => answer,
            Err(asking) => {
                drop(held);
                return self.without(limiter, asked, own, now, asking);
            }
        };
        learn(&limiter.memory, &mut asked, &answer, sent, now);
        if answer.leased > 0 {
            let ((shard, client), shape) = (asked.primary, asked.shape());
            limiter.memory.lease(shard, client, shape, answer.leased, now);
        }
        if !answer.admitted {
            limiter.strike(&asked, now);
        }
        // The answer holds the place anew before this lets go of it.
        let answer = limiter.answer(&mut asked, (answer.admitted, now));
        match answer.held.is_some() {
            true => held.forget(),
            false => drop(held),
        }
        answer
    }

    /// Whether what this server admitted by itself is still unknown to the store: until it is told, the client has what is left of its share.
    fn is_local(&self, asked: &Asked, now: u64) -> bool {
        matches!(self.with.while_away, WhileAway::Local { .. })
            && asked.shared.as_ref().is_some_and(|shared| self.owed.owes(&shared.names, now))
    }

    /// How many requests may be paid for in advance.
    fn lease(&self, limiter: &Limiter, asked: &Asked) -> u32 {
        if self.with.lease == 0
            || limiter.settings.concurrency.is_some()
            || !limiter.settings.delay.is_zero()
        {
            return 0;
        }
        let most = asked.checks.iter().filter_map(|check| match check.ask {
            Ask::Charge { rate, cost, .. } => rate.burst.get().checked_div(20 * cost.max(1)),
            _ => None,
        });
        most.min().unwrap_or(0).min(self.with.lease)
    }

    /// Decides without the store, which may still answer.
    fn without(
        &self,
        limiter: &Arc<Limiter>,
        mut asked: Asked,
        own: usize,
        now: u64,
        mut asking: Option<Asking>,
    ) -> Answer {
        if let Some(shared) = &mut asked.shared {
            shared.place = None;
        }
        if let WhileAway::Local { servers } = self.with.while_away {
            let known: SmallVec<[u64; 2]> = asked.checks[own..].iter().map(|c| c.until).collect();
            let mut whole = SmallVec::new();
            for check in &mut asked.checks {
                match &mut check.ask {
                    Ask::Charge { rate, .. } => {
                        whole.push(*rate);
                        *rate = rate.share(servers);
                    }
                    Ask::Enter { most } => *most = (*most / servers.max(1)).max(1),
                    Ask::Free => {}
                }
                check.outcome = Outcome::Admitted;
            }
            let decided = limiter.decide(&mut asked);
            if let Some(shared) = &mut asked.shared {
                shared.whole = whole;
            }
            if decided.0 {
                self.owe(&asked, own, &known, now, asking.as_mut());
            }
            return limiter.answer(&mut asked, decided);
        }
        if !know(&limiter.memory, &mut asked, now, true) {
            // It was used up before the store went away.
            return limiter.answer(&mut asked, (false, now));
        }
        asked.shared = None;
        asked.checks.truncate(own);
        let allows = self.with.while_away == WhileAway::Allow;
        let admitted = allows && limiter.memory.decide(&mut asked.checks, now);
        if let (true, Some(asking)) = (admitted, &mut asking) {
            asking.keep();
        }
        let mut answer = limiter.answer(&mut asked, (admitted, now));
        if !allows {
            (answer.verdict, answer.wait) = (Verdict::Unavailable, Some(1));
        }
        answer.states.clear();
        answer
    }

    /// Notes what was charged without the store, which is told of it once it is there, unless it still says that it charged the same itself.
    pub(crate) fn owe(
        &self,
        asked: &Asked,
        own: usize,
        known: &[u64],
        now: u64,
        asking: Option<&mut Asking>,
    ) {
        let Some(shared) = &asked.shared else { return };
        let doubted = asking.as_ref().is_some_and(|asking| asking.is_open());
        let mut doubts = Vec::new();
        let charges = asked.checks[own..].iter().zip(&shared.names).zip(known).enumerate();
        for (at, ((check, name), known)) in charges {
            let Ask::Charge { rate, cost, further } = check.ask else { continue };
            if cost == 0 {
                continue;
            }
            let rate = shared.whole.get(at).copied().unwrap_or(rate);
            let known = *known;
            self.owed.charge(&Charges { name, rate, further, cost, known, doubted }, now);
            if doubted {
                doubts.push(name.clone());
            }
        }
        if let Some(asking) = asking {
            asking.doubt(doubts);
        }
    }
}
