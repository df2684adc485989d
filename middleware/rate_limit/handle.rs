//! A handle to a running limiter.

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
use super::shared::report::StoreReport;
use super::verdict::RequestOutcome;

/// Reads and changes the state of a running limiter. Returned by [`RateLimit::handle`](crate::RateLimit::handle).
///
/// A client is given as the subject that its key yields: an address for the default key, the text of a header, or the value that a function returns.
/// A call concerns all policies at once; a policy whose key yields another subject for this client is not affected.
///
/// With a [shared](crate::RateLimit::shared) store the calls change the store, within its deadline, and take effect on all servers. For up to one
/// second, another server may still refuse a client that it knows to be blocked or to have used up its quota.
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
    /// Decides on an event that is not a request, such as messages on a WebSocket: whether a client may make so many of them.
    ///
    /// Every policy is charged for this number. With [`delay`](crate::RateLimit::delay) the call waits for its turn.
    ///
    /// # Errors
    ///
    /// Returns the [`Decision`] if it is a refusal. Nothing is charged then.
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

    /// The number of decisions of each kind since the limiter was built.
    pub fn totals(&self) -> Totals {
        let Limiter { counters, memory, .. } = &*self.limiter;
        counters.totals(memory.admitted())
    }

    /// The state of the shared store, its latency and failures, and how many requests were decided without it. `None` without a shared store.
    pub fn store(&self) -> Option<StoreReport> {
        let Limiter { shared_store, settings, .. } = &*self.limiter;
        shared_store.as_ref().map(|shared_store| shared_store.report(&settings.policies))
    }

    /// The state of a client for each policy. Nothing is charged.
    pub async fn peek(&self, client: impl Into<Subject>) -> Vec<Standing> {
        let mut plan = self.limiter.plan_for(client.into().named(), 0);
        self.refresh(&mut plan).await;
        self.limiter.look(&mut plan)
    }

    /// Reads the state of a client from the shared store.
    async fn refresh(&self, plan: &mut CheckPlan) {
        let limiter = &self.limiter;
        let Some(shared_store) = limiter.shared_store() else { return };
        let sent = limiter.clock.now();
        if plan.shared.as_ref().is_some_and(|shared| shared_store.outbox.has(&shared.names, sent)) {
            // The store does not know yet what this server has charged. Its answer would replace these charges here.
            return;
        }
        apply_cached(&limiter.memory, plan, sent, false);
        if let Ok(outcome) = shared_store.take(plan, 0, false).await {
            cache_answer(&limiter.memory, plan, &outcome, sent, limiter.clock.now());
        }
    }

    /// Resets a client: its quotas are full again, and it is no longer blocked.
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
        limiter.memory.forget_quotas(&plan.carries);
        let (shard, key) = limiter.block_of(&plan);
        limiter.memory.change(shard, key, now, |_| 0);
        limiter.memory.distrust(shard, key);
        match limiter.shared_store() {
            Some(shared_store) => shared_store.clear(plan.shared.unwrap_or_default()).await,
            None => true,
        }
    }

    /// Refunds a number of requests to a client, but never more than it has used.
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
            let quota = Some(rate);
            keys.extend(names.next().map(|name| Refund { name, quota, nanos: back, end }));
        }
        if let Some(shared_store) = limiter.shared_store() {
            shared_store.refund(keys, false);
        }
    }

    /// Charges a client for a number of requests, or for as many as it has left.
    ///
    /// If the shared store cannot be reached, the charge is sent when it is reachable again.
    pub async fn charge(&self, client: impl Into<Subject>, requests: u32) {
        let limiter = &self.limiter;
        let plan = limiter.plan_for(client.into().named(), requests);
        let now = limiter.clock.now();
        limiter.carry(&plan, now);
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

    /// Refuses all requests of a client for a time. A second call replaces the time of the first; a time of zero lifts the block. A
    /// [penalty](crate::RateLimit::penalty) never shortens it.
    ///
    /// Returns `false` if the memory is full, or if the shared store could not be reached. In the second case the block holds on this server, and is
    /// sent to the store when it is reachable again, except when a block is lifted.
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

    /// For how long a client is still blocked. `None` if it is not blocked.
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

    /// Changes the quota of the policy with this name for all later requests on this server.
    ///
    /// It takes effect at once: each client starts with the fraction of the new quota that it has used of the old one. Its count under the old quota is
    /// kept, for servers that still have it and for a change back. See [`quota_by`](crate::middleware::rate_limit::Policy::quota_by).
    ///
    /// Returns `false` if no policy has this name.
    pub fn set_quota(&self, policy: &str, quota: Quota) -> bool {
        let found = self.limiter.settings.policies.iter().find(|known| &*known.name == policy);
        found.inspect(|policy| policy.set_quota(quota)).is_some()
    }

    /// The number of keys in the memory of this server.
    pub fn keys(&self) -> usize {
        self.limiter.memory.len()
    }

    /// The size of these keys in bytes.
    pub fn bytes(&self) -> usize {
        self.limiter.memory.bytes()
    }

    /// Whether a request of a client would be admitted now, according to the memory of this server. Nothing is charged.
    pub fn would_admit(&self, client: impl Into<Subject>) -> bool {
        let mut plan = self.limiter.plan_for(client.into().named(), 1);
        self.limiter.look(&mut plan);
        plan.checks.iter().all(KeyCheck::is_admitted) && self.blocked(&plan).is_none()
    }
}

/// Logs and counts a refusal, and returns it unless the limiter is in shadow mode.
fn refuse(limiter: &Limiter, outcome: &RequestOutcome) -> Result<(), Decision> {
    limiter.note(outcome);
    let decision = limiter.decision(outcome);
    refusal::log(&decision, limiter.settings.shadow);
    if limiter.settings.shadow { Ok(()) } else { Err(decision) }
}
