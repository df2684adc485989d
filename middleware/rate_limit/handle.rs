//! A handle to a running limiter.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::checks::CheckPlan;
use super::config::clock::until;
use super::config::error::RateLimitError;
use super::config::key::Subject;
use super::config::quota::Quota;
use super::limiter::Limiter;
use super::memory::gcra::{BLOCK, BLOCKED_BEFORE, CheckKind, KeyCheck, STRIKE};
use super::metrics::{PolicyTotals, Totals};
use super::response::decision::{Decision, Pseudonym, Standing, Verdict};
use super::response::refusal::refuse;
use super::shared::cached::{apply_cached, cache_answer};
use super::shared::keys::{block_key, quota_key};
use super::shared::outbox::Refund;
use super::shared::report::StoreReport;
use super::slot::SlotHandle;

/// Reads and changes a running limiter. Returned by [`RateLimit::handle`](crate::RateLimit::handle).
///
/// The state of a subject is changed through a [`PolicyHandle`], which [`policy`](RateLimitHandle::policy) returns for one policy and the type of its
/// key.
///
/// # Example
///
/// ```
/// # futures_util::FutureExt::now_or_never(async {
/// use tower_chain::middleware::rate_limit::{LimitKey, Policy, Quota, RateLimitError};
/// use tower_chain::RateLimit;
///
/// #[derive(Clone)]
/// struct User { id: u64, tenant: String }
///
/// let limit = RateLimit::new(
///     Policy::new("user", Quota::per_minute(10)).key(LimitKey::provided(|user: &User| user.id)),
/// )
/// .and(
///     Policy::new("tenant", Quota::per_minute(90))
///         .key(LimitKey::provided(|user: &User| user.tenant.clone())),
/// );
/// let users = limit.handle().policy::<u64>("user")?;
/// users.charge(7_u64, 4).await;
/// assert_eq!(users.peek(7_u64).await[0].remaining(), 6);
///
/// // A tenant is a text, not a number, and there is no policy for devices.
/// assert!(limit.handle().policy::<u64>("tenant").is_err());
/// assert!(limit.handle().policy::<u64>("device").is_err());
/// # Ok::<(), RateLimitError>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitHandle {
    pub(crate) limiter: Arc<Limiter>,
}

impl RateLimitHandle {
    /// A handle to one policy, for subjects of the type of its key.
    ///
    /// The type is [`IpAddr`](std::net::IpAddr) for [`LimitKey::client`](super::LimitKey::client), `String` for a header, `()` for
    /// [`LimitKey::everyone`](super::LimitKey::everyone), and otherwise the type that the function of the key returns. [`Subject`] is accepted for
    /// every key; it also names the address under which a request without the key is counted.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::UnknownPolicy`] if no policy has this name, and [`RateLimitError::SubjectType`] if its key has subjects of another type.
    pub fn policy<K: Into<Subject> + 'static>(
        &self,
        name: &str,
    ) -> Result<PolicyHandle<K>, RateLimitError> {
        let settings = &self.limiter.settings;
        let at = settings.policies.iter().position(|policy| &*policy.name == name);
        let at = at.ok_or_else(|| RateLimitError::UnknownPolicy(name.to_owned()))?;
        settings.key_of(at).check_type::<K>()?;
        Ok(PolicyHandle { limiter: self.limiter.clone(), at: Some(at), key: PhantomData })
    }

    /// A handle to all policies together, for a limiter with one key: each call reads or changes all of them.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::SeveralKeys`] if the policies count under more than one key, and [`RateLimitError::SubjectType`] if the key has subjects of
    /// another type.
    pub fn policies<K: Into<Subject> + 'static>(&self) -> Result<PolicyHandle<K>, RateLimitError> {
        let settings = &self.limiter.settings;
        if settings.has_several_keys() {
            return Err(RateLimitError::SeveralKeys);
        }
        settings.key_of(0).check_type::<K>()?;
        Ok(PolicyHandle { limiter: self.limiter.clone(), at: None, key: PhantomData })
    }

    /// A handle to the slots of subjects, of which [`concurrency`](crate::RateLimit::concurrency) sets the number.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::NoConcurrency`] if the limiter has no slots, and [`RateLimitError::SubjectType`] if the key that they are counted under has
    /// subjects of another type.
    pub fn slots<K: Into<Subject> + 'static>(&self) -> Result<SlotHandle<K>, RateLimitError> {
        let settings = &self.limiter.settings;
        if settings.concurrency.is_none() {
            return Err(RateLimitError::NoConcurrency);
        }
        settings.slot_key().check_type::<K>()?;
        Ok(SlotHandle::new(self.limiter.clone()))
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

    /// How many requests the policy with this name has refused since the limiter was built. `None` if no policy has this name.
    pub fn refusals(&self, policy: &str) -> Option<PolicyTotals> {
        let Limiter { counters, settings, memory, .. } = &*self.limiter;
        let at = settings.policies.iter().position(|known| &*known.name == policy)?;
        Some(counters.policy(at, memory.overflowed(at)))
    }

    /// The clients that were refused most often since the limiter was built, and how often, the most often first. At most 32.
    ///
    /// A [`Pseudonym`] is equal to the one in the [`Decision`] and in the log. The counts are approximate where more than 32 clients are refused: none is
    /// too small, except for refusals in the same moment on several threads. Each server counts its own refusals.
    pub fn most_limited(&self) -> Vec<(Pseudonym, u64)> {
        let Limiter { counters, memory, .. } = &*self.limiter;
        let clients = counters.most_limited().into_iter();
        clients.map(|(client, count)| (Pseudonym(memory.hash(client)), count)).collect()
    }

    /// The number of keys in the memory of this server.
    pub fn keys(&self) -> usize {
        self.limiter.memory.len()
    }

    /// The largest number of keys in the memory of this server. See [`max_keys`](crate::RateLimit::max_keys).
    pub fn max_keys(&self) -> usize {
        self.limiter.memory.cap()
    }

    /// The number of requests on this server that wait for a slot. See [`queue`](crate::RateLimit::queue).
    pub fn waiting(&self) -> usize {
        self.limiter.queues.as_ref().map_or(0, |queues| queues.waiting())
    }

    /// The size of these keys in bytes.
    pub fn bytes(&self) -> usize {
        self.limiter.memory.bytes()
    }

    /// Changes the quota of the policy with this name for all later requests.
    ///
    /// It takes effect at once: each client starts with the fraction of the new quota that it has used of the old one. Its count under the old quota is
    /// kept, for servers that still have it and for a change back. See [`quota_by`](crate::middleware::rate_limit::Policy::quota_by).
    ///
    /// With a [shared](crate::RateLimit::shared) store, the change applies to this server at once, and is written to the store in the background; it is
    /// repeated until it succeeds, as long as requests arrive. Other servers, also those that start later, read it within a second while requests
    /// arrive, with one call for each policy. The last change wins. The change has no time to live: [`restore_quota`](RateLimitHandle::restore_quota) removes it.
    ///
    /// Returns `false` if no policy has this name.
    pub fn set_quota(&self, policy: &str, quota: Quota) -> bool {
        let found = self.limiter.settings.policies.iter().find(|known| &*known.name == policy);
        let Some(found) = found else { return false };
        found.set_quota(quota);
        if let Some(shared_store) = self.limiter.shared_store() {
            shared_store.sync_quotas_soon(&self.limiter);
        }
        true
    }

    /// Restores the quota that the policy with this name was built with, on all servers that share the store.
    ///
    /// Returns `false` if no policy has this name, or if the shared store could not be reached: then this server and the others keep the changed quota.
    pub async fn restore_quota(&self, policy: &str) -> bool {
        let found = self.limiter.settings.policies.iter().find(|known| &*known.name == policy);
        let Some(found) = found else { return false };
        if let Some(shared_store) = self.limiter.shared_store() {
            let key = quota_key(&shared_store.limits.prefix, &found.name);
            if !shared_store.clear(vec![key]).await {
                return false;
            }
        }
        found.restore_quota();
        true
    }
}

/// Reads and changes the state of subjects under one policy of a running limiter, or under all policies if they have one key. Returned by
/// [`RateLimitHandle::policy`] and [`RateLimitHandle::policies`].
///
/// `K` is the type of the subjects. No other policy is read or charged. A block concerns the subject itself: it refuses all requests that are counted
/// under this subject and key, also by other policies with the same key.
///
/// With a [shared](crate::RateLimit::shared) store the calls change the store, within its deadline, and take effect on all servers. For up to one
/// second, another server may still refuse a subject that it knows to be blocked or to have used up its quota.
///
/// # Example
///
/// ```
/// # futures_util::FutureExt::now_or_never(async {
/// use std::net::{IpAddr, Ipv4Addr};
/// use tower_chain::middleware::rate_limit::RateLimitError;
/// use tower_chain::RateLimit;
///
/// let limit = RateLimit::per_minute(10);
/// let clients = limit.handle().policies::<IpAddr>()?;
/// let client = Ipv4Addr::new(192, 0, 2, 7);
///
/// clients.charge(client, 4).await;
/// assert_eq!(clients.peek(client).await[0].remaining(), 6);
/// clients.reset(client).await;
/// assert_eq!(clients.peek(client).await[0].remaining(), 10);
/// # Ok::<(), RateLimitError>(())
/// # }).unwrap().unwrap();
/// ```
///
/// A number is not an address:
///
/// ```compile_fail,E0277
/// # use std::net::IpAddr;
/// # use tower_chain::RateLimit;
/// # async fn charge() -> Result<(), tower_chain::middleware::rate_limit::RateLimitError> {
/// let clients = RateLimit::per_minute(10).handle().policies::<IpAddr>()?;
/// clients.charge(7_u64, 1).await;
/// # Ok(())
/// # }
/// ```
pub struct PolicyHandle<K = Subject> {
    limiter: Arc<Limiter>,
    /// The position of the policy. `None` for all policies.
    at: Option<usize>,
    key: PhantomData<fn(K)>,
}

impl<K: Into<Subject>> PolicyHandle<K> {
    /// A handle to the limiter.
    pub fn limiter(&self) -> RateLimitHandle {
        RateLimitHandle { limiter: self.limiter.clone() }
    }

    /// Decides on an event that is not a request, such as messages on a WebSocket: whether a subject may make so many of them.
    ///
    /// Every policy of this handle is charged for this number. With [`delay`](crate::RateLimit::delay) the call waits for its turn.
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
    /// use tower_chain::middleware::rate_limit::LimitKey;
    ///
    /// let messages = RateLimit::per_minute(2).key(LimitKey::from_fn(|_| Some("lobby"))).handle();
    /// let messages = messages.policies::<&str>().unwrap();
    /// assert!(messages.admit("room 7", 1).await.is_ok());
    /// assert!(messages.admit("room 7", 1).await.is_ok());
    /// let refusal = messages.admit("room 7", 1).await.unwrap_err();
    /// assert_eq!(refusal.retry_after().map(|wait| wait.as_secs()), Some(30));
    /// # }).unwrap();
    /// ```
    pub fn admit(
        &self,
        subject: impl Into<K>,
        requests: u32,
    ) -> impl Future<Output = Result<(), Decision>> {
        let subject = subject.into().into();
        async move {
            let limiter = &self.limiter;
            if limiter.is_simple {
                let hashes = limiter.hashes(&limiter.settings.key, subject.named());
                if let Some(decided) = limiter.charge_once(&hashes, requests) {
                    return decided
                        .map(|_| ())
                        .or_else(|refused| refuse(limiter, &limiter.refused_once(refused)));
                }
            }
            let mut plan = limiter.plan_for(self.at, subject.named(), requests);
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

    /// The state of a subject for each policy of this handle. Nothing is charged.
    pub async fn peek(&self, subject: impl Into<K>) -> Vec<Standing> {
        let mut plan = self.limiter.plan_for(self.at, subject.into().into().named(), 0);
        self.refresh(&mut plan).await;
        self.limiter.look(&mut plan)
    }

    /// Reads the state of a subject from the shared store.
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

    /// Resets a subject: its quotas are full again, and it is no longer blocked.
    ///
    /// Returns `false` if the shared store could not be reached.
    pub async fn reset(&self, subject: impl Into<K>) -> bool {
        let limiter = &self.limiter;
        let plan = limiter.plan_for(self.at, subject.into().into().named(), 1);
        let now = limiter.clock.now();
        for check in &plan.checks {
            limiter.memory.change(check.shard, check.key, now, |_| 0);
            limiter.memory.truncate(check.shard, check.key, 0);
            limiter.memory.distrust(check.shard, check.key);
        }
        limiter.end_leases(&plan, now);
        limiter.memory.forget_quotas(&plan.carries);
        let mut names = plan.shared.unwrap_or_default().names;
        for subject in &plan.subjects {
            for segment in [BLOCK, STRIKE, BLOCKED_BEFORE] {
                let (shard, key) = subject.segment(segment);
                limiter.memory.change(shard, key, now, |_| 0);
                limiter.memory.distrust(shard, key);
            }
            names.push(block_key(&subject.name));
        }
        match limiter.shared_store() {
            Some(shared_store) => shared_store.clear(names).await,
            None => true,
        }
    }

    /// Refunds a number of requests to a subject, but never more than it has used.
    pub async fn refund(&self, subject: impl Into<K>, requests: u32) {
        let limiter = &self.limiter;
        let plan = limiter.plan_for(self.at, subject.into().into().named(), requests);
        let now = limiter.clock.now();
        let mut keys = Vec::new();
        let mut names = plan.shared.unwrap_or_default().names.into_iter();
        for check in &plan.checks {
            let CheckKind::Charge { rate, cost, .. } = check.kind else { continue };
            let back = rate.charge(cost);
            let mut left = 0;
            let mut origin = now;
            limiter.memory.change(check.shard, check.key, now, |until| {
                origin = rate.origin(until, now);
                left = until.saturating_sub(back.min(rate.taken(until, now)));
                left
            });
            limiter.memory.truncate(check.shard, check.key, left);
            limiter.memory.distrust(check.shard, check.key);
            let end = origin.saturating_add(rate.burst_time());
            let quota = Some(rate);
            keys.extend(names.next().map(|name| Refund { name, quota, nanos: back, end }));
        }
        if let Some(shared_store) = limiter.shared_store() {
            shared_store.refund(keys, false);
        }
    }

    /// Charges a subject for a number of requests, also beyond its quota: it is then in debt, and is refused until the debt has come back. See
    /// [`Policy::max_debt`](super::Policy::max_debt).
    ///
    /// If the shared store cannot be reached, the charge is sent when it is reachable again.
    pub async fn charge(&self, subject: impl Into<K>, requests: u32) {
        let limiter = &self.limiter;
        let mut plan = limiter.plan_for(self.at, subject.into().into().named(), requests);
        let now = limiter.clock.now();
        limiter.carry(&plan, now);
        let mut known = Vec::new();
        for check in &mut plan.checks {
            let CheckKind::Charge { rate, cost, further } = &mut check.kind else { continue };
            *further = limiter.most_debt(check.segment, *rate);
            let charged = (check.key, check.segment, false);
            let memory = &limiter.memory;
            known.push(memory.charge_debt(check.shard, charged, *rate, *cost, *further, now));
        }
        limiter.end_leases(&plan, now);
        if let Some(shared_store) = limiter.shared_store() {
            shared_store.charge_unchecked(&plan, &known, now).await;
        }
    }

    /// Refuses all requests of a subject for a time. A second call replaces the time of the first; a time of zero lifts the block. A
    /// [penalty](crate::RateLimit::penalty) never shortens it.
    ///
    /// Returns `false` if the memory is full, or if the shared store could not be reached. In the second case the block holds on this server, and is
    /// sent to the store when it is reachable again, except when a block is lifted.
    pub async fn block(&self, subject: impl Into<K>, time: Duration) -> bool {
        let limiter = &self.limiter;
        limiter.blocks.store(true, Ordering::Release);
        let plan = limiter.plan_for(self.at, subject.into().into().named(), 0);
        let Some(subject) = plan.subjects.first() else { return false };
        let (shard, key) = subject.segment(BLOCK);
        let now = limiter.clock.now();
        limiter.memory.distrust(shard, key);
        let known = limiter.memory.change(shard, key, now, |_| until(now, time));
        limiter.end_leases(&plan, now);
        match limiter.shared_store() {
            Some(shared_store) => {
                shared_store.block(&subject.name, (shard, key), time).await && known
            }
            None => known,
        }
    }

    /// Lifts the block of a subject. Its strikes are kept; [`reset`](PolicyHandle::reset) clears them.
    ///
    /// Returns `false` if the shared store could not be reached.
    pub async fn unblock(&self, subject: impl Into<K>) -> bool {
        self.block(subject, Duration::ZERO).await
    }

    /// For how long a subject is still blocked. `None` if it is not blocked.
    pub async fn blocked_for(&self, subject: impl Into<K>) -> Option<Duration> {
        let limiter = &self.limiter;
        let mut plan = limiter.plan_for(self.at, subject.into().into().named(), 0);
        self.refresh(&mut plan).await;
        self.blocked(&plan)
    }

    fn blocked(&self, plan: &CheckPlan) -> Option<Duration> {
        let (shard, key) = plan.subjects.first()?.segment(BLOCK);
        let left = self.limiter.memory.look(shard, key).0.saturating_sub(self.limiter.clock.now());
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// Whether a request of a subject would be admitted now by the policies of this handle, according to the memory of this server. Nothing is charged.
    pub fn would_admit(&self, subject: impl Into<K>) -> bool {
        let mut plan = self.limiter.plan_for(self.at, subject.into().into().named(), 1);
        self.limiter.look(&mut plan);
        !plan.checks.iter().any(KeyCheck::refuses) && self.blocked(&plan).is_none()
    }
}

impl<K> Clone for PolicyHandle<K> {
    fn clone(&self) -> Self {
        Self { limiter: self.limiter.clone(), at: self.at, key: PhantomData }
    }
}

impl<K> fmt::Debug for PolicyHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = self.at.and_then(|at| self.limiter.settings.policies.get(at));
        let policy = policy.map(|policy| &policy.name);
        f.debug_struct("PolicyHandle").field("policy", &policy).finish_non_exhaustive()
    }
}
