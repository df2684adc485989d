//! A limiter in one's hand, while it runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checks::CheckPlan;
use super::config::clock::until;
use super::config::key::Subject;
use super::config::quota::Quota;
use super::limiter::Limiter;
use super::memory::gcra::{CheckKind, KeyCheck};
use super::metrics::Totals;
use super::response::decision::{Decision, Standing, Verdict};
use super::response::refusal;
use super::shared::cached::{apply_cached, cache_answer};
use super::shared::outbox::Refund;
use super::verdict::RequestOutcome;

/// Looks into a running limiter and changes it. Made by [`RateLimit::handle`](crate::RateLimit::handle).
///
/// A client is named as its key names it: by its address for the default key, by the text of a header, by what a function found. What is
/// asked concerns all policies at once; those that know the client by another key are untouched.
///
/// With a [shared](crate::RateLimit::shared) store the calls reach it, within its deadline, and hold on all servers; another one may refuse for a
/// second more what it knows to be used up or blocked.
///
/// # Example
///
/// ```
/// # futures_util::FutureExt::now_or_never(async {
/// use std::net::Ipv4Addr;
/// use tower_chain::RateLimit;
///
/// let limit = RateLimit::per_minute(10);
/// let handle = limit.handle();
/// let client = Ipv4Addr::new(192, 0, 2, 7);
///
/// handle.charge(client, 4).await;
/// assert_eq!(handle.peek(client).await[0].remaining(), 6);
/// handle.reset(client).await;
/// assert_eq!(handle.peek(client).await[0].remaining(), 10);
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitHandle {
    pub(crate) limiter: Arc<Limiter>,
}

impl RateLimitHandle {
    /// Decides on something that doesn't come by as a request, such as messages on a WebSocket: whether a client may make so many of them.
    ///
    /// Every policy is charged for so many. With [`delay`](crate::RateLimit::delay) it waits for its turn.
    ///
    /// # Errors
    ///
    /// The [`Decision`], if it is a refusal. Nothing is charged then.
    ///
    /// # Example
    ///
    /// ```
    /// # futures_util::FutureExt::now_or_never(async {
    /// use tower_chain::RateLimit;
    ///
    /// let messages = RateLimit::per_minute(2).handle();
    /// assert!(messages.admit("room 7", 1).await.is_ok());
    /// assert!(messages.admit("room 7", 1).await.is_ok());
    /// let refusal = messages.admit("room 7", 1).await.unwrap_err();
    /// assert_eq!(refusal.retry_after().map(|wait| wait.as_secs()), Some(30));
    /// # }).unwrap();
    /// ```
    pub fn admit(
        &self,
        client: impl Into<Subject>,
        requests: u32,
    ) -> impl Future<Output = Result<(), Decision>> {
        let client = client.into();
        async move {
            let limiter = &self.limiter;
            if limiter.is_simple {
                let hashes = limiter.hashes(&limiter.settings.key, client.named());
                if let Some(decided) = limiter.charge_once(&hashes, requests) {
                    return decided.map(|_| ()).or_else(|refused| refuse(limiter, &refused.into()));
                }
            }
            let mut plan = limiter.plan_for(client.named(), requests);
            plan.quiet = true;
            let mut outcome = match limiter.shared_store() {
                Some(shared_store) => Box::pin(shared_store.decide(limiter, plan)).await,
                None => {
                    let decided = limiter.decide(&mut plan);
                    limiter.outcome(&mut plan, decided)
                }
            };
            if outcome.delay > 0 {
                Box::pin(outcome.wait(limiter)).await;
            }
            if outcome.verdict != Verdict::Admitted {
                return refuse(limiter, &outcome);
            }
            limiter.note(&outcome);
            if let Some(reservation) = &mut outcome.reservation {
                reservation.keep_charges();
            }
            Ok(())
        }
    }

    /// How often it was decided so, since the limiter was made.
    pub fn totals(&self) -> Totals {
        let Limiter { counters, memory, .. } = &*self.limiter;
        counters.totals(memory.admitted())
    }

    /// How a client stands with each policy. Nothing is charged.
    pub async fn peek(&self, client: impl Into<Subject>) -> Vec<Standing> {
        let mut plan = self.limiter.plan_for(client.into().named(), 0);
        self.refresh(&mut plan).await;
        self.limiter.look(&mut plan)
    }

    /// Asks the shared store how things stand.
    async fn refresh(&self, plan: &mut CheckPlan) {
        let limiter = &self.limiter;
        let Some(shared_store) = limiter.shared_store() else { return };
        let sent = limiter.clock.now();
        if plan.shared.as_ref().is_some_and(|shared| shared_store.outbox.has(&shared.names, sent)) {
            // The store does not know yet what this server has charged. Its answer would replace that here.
            return;
        }
        apply_cached(&limiter.memory, plan, sent, false);
        if let Ok(outcome) = shared_store.take(plan, 0, false).await {
            cache_answer(&limiter.memory, plan, &outcome, sent, limiter.clock.now());
        }
    }

    /// Forgets a client: its quotas are full again, and it is no longer blocked.
    ///
    /// Returns `false` if the shared store could not be reached.
    pub async fn reset(&self, client: impl Into<Subject>) -> bool {
        let limiter = &self.limiter;
        let plan = limiter.plan_for(client.into().named(), 1);
        let now = limiter.clock.now();
        for check in &plan.checks {
            limiter.memory.change(check.shard, check.key, now, |_| 0);
            limiter.memory.truncate(check.shard, check.key, 0);
            limiter.memory.distrust(check.shard, check.key);
        }
        limiter.end_leases(&plan, now);
        let (shard, key) = limiter.block_of(&plan);
        limiter.memory.change(shard, key, now, |_| 0);
        limiter.memory.distrust(shard, key);
        match limiter.shared_store() {
            Some(shared_store) => shared_store.clear(plan.shared.unwrap_or_default()).await,
            None => true,
        }
    }

    /// Gives so many requests back to a client, never more than it has used.
    pub async fn refund(&self, client: impl Into<Subject>, requests: u32) {
        let limiter = &self.limiter;
        let plan = limiter.plan_for(client.into().named(), requests);
        let now = limiter.clock.now();
        let mut keys = Vec::new();
        let mut names = plan.shared.unwrap_or_default().names.into_iter();
        for check in &plan.checks {
            let CheckKind::Charge { rate, cost, .. } = check.kind else { continue };
            let back = rate.charge(cost);
            let mut left = 0;
            limiter.memory.change(check.shard, check.key, now, |until| {
                left = until.saturating_sub(back);
                left
            });
            limiter.memory.truncate(check.shard, check.key, left);
            limiter.memory.distrust(check.shard, check.key);
            let end = now.saturating_add(rate.burst_time());
            keys.extend(names.next().map(|name| Refund { name, nanos: back, end }));
        }
        if let Some(shared_store) = limiter.shared_store() {
            shared_store.refund(keys, false);
        }
    }

    /// Charges a client for so many requests, or for as many as it has left.
    ///
    /// A shared store that can't be reached is told once it is back.
    pub async fn charge(&self, client: impl Into<Subject>, requests: u32) {
        let limiter = &self.limiter;
        let plan = limiter.plan_for(client.into().named(), requests);
        let now = limiter.clock.now();
        let mut known = Vec::new();
        for check in &plan.checks {
            let CheckKind::Charge { rate, cost, .. } = check.kind else { continue };
            limiter.memory.change(check.shard, check.key, now, |until| {
                known.push(until);
                let most = now.saturating_add(rate.burst_time());
                until.max(now).saturating_add(rate.charge(cost)).min(most.max(until))
            });
        }
        limiter.end_leases(&plan, now);
        if let Some(shared_store) = limiter.shared_store()
            && let Err(mut pending_call) = shared_store.take(&plan, 0, true).await
        {
            shared_store.record_local(
                &plan,
                plan.first_charge(),
                &known,
                now,
                pending_call.as_mut(),
            );
            shared_store.supervise();
        }
    }

    /// Refuses all requests of a client for a time. Blocking it again sets the time anew; a time of zero lifts the block. A
    /// [penalty](crate::RateLimit::penalty) never shortens it.
    ///
    /// Returns `false` if there was no room to remember it, or if the shared store could not be reached: then it holds on this server, and the
    /// store is told once it is back, unless a block is lifted.
    pub async fn block(&self, client: impl Into<Subject>, time: Duration) -> bool {
        let limiter = &self.limiter;
        limiter.blocks.store(true, Ordering::Release);
        let plan = limiter.plan_for(client.into().named(), 0);
        let (shard, key) = limiter.block_of(&plan);
        let now = limiter.clock.now();
        limiter.memory.distrust(shard, key);
        let known = limiter.memory.change(shard, key, now, |_| until(now, time));
        limiter.end_leases(&plan, now);
        match (limiter.shared_store(), &plan.shared) {
            (Some(shared_store), Some(shared)) => {
                shared_store.block(&shared.client, (shard, key), time).await && known
            }
            _ => known,
        }
    }

    /// For which time a client is still blocked; `None` if it isn't.
    pub async fn blocked_for(&self, client: impl Into<Subject>) -> Option<Duration> {
        let limiter = &self.limiter;
        let mut plan = limiter.plan_for(client.into().named(), 0);
        self.refresh(&mut plan).await;
        self.blocked(&plan)
    }

    fn blocked(&self, plan: &CheckPlan) -> Option<Duration> {
        let (shard, key) = self.limiter.block_of(plan);
        let left = self.limiter.memory.look(shard, key).0.saturating_sub(self.limiter.clock.now());
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// Changes the quota of the policy with this name, for all requests on this server from now on. Clients keep what they have used.
    ///
    /// The used part is stored as a time. Where no quota but that of the policy was in use, and no store is [shared](crate::RateLimit::shared), it is
    /// shortened to the time in which the new quota comes back. Otherwise a client may have charged it under another quota, of another request or another
    /// server: then it is kept as it is, and [`reset`](RateLimitHandle::reset) clears it.
    ///
    /// Returns `false` if there is no such policy.
    pub fn set_quota(&self, policy: &str, quota: Quota) -> bool {
        let found = self.limiter.settings.policies.iter().find(|known| &*known.name == policy);
        found.inspect(|policy| policy.set_quota(quota)).is_some()
    }

    /// How many keys are remembered on this server.
    pub fn keys(&self) -> usize {
        self.limiter.memory.len()
    }

    /// How many bytes these keys take.
    pub fn bytes(&self) -> usize {
        self.limiter.memory.bytes()
    }

    /// Whether a request of a client would be admitted now, by what this server knows. Nothing is charged.
    pub fn would_admit(&self, client: impl Into<Subject>) -> bool {
        let mut plan = self.limiter.plan_for(client.into().named(), 1);
        self.limiter.look(&mut plan);
        plan.checks.iter().all(KeyCheck::is_admitted) && self.blocked(&plan).is_none()
    }
}

/// Notes a refusal, and gives it back unless the limiter only looks on.
fn refuse(limiter: &Limiter, outcome: &RequestOutcome) -> Result<(), Decision> {
    limiter.note(outcome);
    let decision = limiter.decision(outcome);
    refusal::log(&decision, limiter.settings.shadow);
    if limiter.settings.shadow { Ok(()) } else { Err(decision) }
}
