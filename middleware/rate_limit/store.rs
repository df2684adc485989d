//! A memory that several servers share, and what is done while it is away.

use std::fmt;
use std::fmt::Write;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::clock::nanos;
use super::decision::Verdict;
use super::held::Held;
use super::key::{LimitKey, Named};
use super::limiter::{Answer, Asked, Limiter};
use super::memory::{Ask, Check, Outcome, Receipt, governed};
use super::policy::Policy;

/// A memory that several servers share.
///
/// Of each key it holds one time: until when the key is charged, by the clock of the store. The decisions are those of GCRA:
/// a charge of `cost` fits if, afterwards, the key is charged for no longer than `burst` requests take. All charges of one call are decided together: if one
/// does not fit, none is made. An implementation makes each call one round trip, and puts a time to live on every key.
///
/// # Example
///
/// One that keeps the times in this process:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, PoisonError};
/// use std::time::{Duration, Instant};
///
/// use tower_chain::middleware::rate_limit::{LimitStore, SharedLimits, StoreAnswer, StoreCharge, StoreFuture};
/// use tower_chain::{Chain, RateLimit};
///
/// #[derive(Default)]
/// struct Here(Mutex<HashMap<String, Instant>>);
///
/// impl LimitStore for Here {
///     fn take<'a>(&'a self, charges: &'a [StoreCharge]) -> StoreFuture<'a, StoreAnswer> {
///         let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let now = Instant::now();
///         let mut admitted = true;
///         let mut charged_for: Vec<Duration> = Vec::new();
///         for charge in charges {
///             let used = keys.get(&charge.key).map_or(Duration::ZERO, |until| until.duration_since(now));
///             let full = charge.interval * charge.burst;
///             let wanted = used + charge.interval * charge.cost;
///             admitted &= charge.forced || wanted <= full;
///             charged_for.push(wanted.min(full.max(used)));
///         }
///         if admitted {
///             let charged = charges.iter().zip(&charged_for);
///             keys.extend(charged.map(|(charge, used)| (charge.key.clone(), now + *used)));
///         } else {
///             let used = |charge: &StoreCharge| keys.get(&charge.key).map(|until| until.duration_since(now));
///             charged_for = charges.iter().map(|charge| used(charge).unwrap_or_default()).collect();
///         }
///         Box::pin(async move { Ok(StoreAnswer { admitted, charged_for, leased: 0 }) })
///     }
///
///     fn give_back<'a>(&'a self, returned: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
///         let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         for (key, less) in returned {
///             if let Some(until) = keys.get_mut(key) {
///                 *until = until.checked_sub(*less).unwrap_or(*until);
///             }
///         }
///         Box::pin(async { Ok(()) })
///     }
///
///     fn clear<'a>(&'a self, gone: &'a [String]) -> StoreFuture<'a, ()> {
///         let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         keys.retain(|key, _| !gone.contains(key));
///         Box::pin(async { Ok(()) })
///     }
///
///     fn ping(&self) -> StoreFuture<'_, ()> {
///         Box::pin(async { Ok(()) })
///     }
/// }
///
/// let limit = RateLimit::per_second(2).shared(SharedLimits::new(Here::default()));
/// let api = Chain::new().use_(limit).get(async || "hello").build();
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let client = tower_chain::TestClient::new(api);
/// # for status in [200, 200, 429] {
/// #     client.get("/").send().await.assert_status(status);
/// # }
/// # });
/// ```
pub trait LimitStore: Send + Sync + 'static {
    /// Makes these charges, all or none.
    fn take<'a>(&'a self, charges: &'a [StoreCharge]) -> StoreFuture<'a, StoreAnswer>;

    /// Takes charges back: each key is charged for so much less time, but never for less than none.
    fn give_back<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()>;

    /// Forgets these keys.
    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()>;

    /// Asks whether the store is there.
    fn ping(&self) -> StoreFuture<'_, ()>;
}

/// What a [`LimitStore`] gives back.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// One charge that a [`LimitStore`] is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCharge {
    /// The name of the key. All keys of a call have the same hash tag in braces.
    pub key: String,
    /// In which time one request comes back.
    pub interval: Duration,
    /// For how many requests a key may be charged at most.
    pub burst: u32,
    /// How many requests to charge for; 0 to look only.
    pub cost: u32,
    /// Charges as much as fits instead of refusing.
    pub forced: bool,
    /// For how many requests more to charge if the charges are made, as far as they fit: they will be spent without asking. Only ever set
    /// where there is one charge.
    pub lease: u32,
}

/// What a [`LimitStore`] decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAnswer {
    /// Whether the charges were made.
    pub admitted: bool,
    /// For which time from now each key is charged, in the order of the charges, with those that were made.
    pub charged_for: Vec<Duration>,
    /// For how many requests more was charged, as [`StoreCharge::lease`] asked.
    pub leased: u32,
}

/// Why a [`LimitStore`] could not answer. It goes to the log, never to a client.
#[derive(Debug)]
pub struct StoreError(Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// An error with this cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shared store of the rate limiter failed: {}", self.0)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// What a limiter does while its shared store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhileAway {
    /// Every server goes on by itself with its share of each quota, from where the store left off. What it admits meanwhile still
    /// counts on that server when the store is back: nothing is admitted twice.
    Local {
        /// How many servers share the quota.
        servers: u32,
    },
    /// Every request is let through.
    Allow,
    /// Every request is refused with 503.
    Deny,
}

/// A [`LimitStore`] and how a limiter uses it. See [`RateLimit::shared`](crate::RateLimit::shared).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_chain::{RateLimit, RedisStore, SharedLimits, WhileAway};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shared = SharedLimits::new(RedisStore::new("redis://127.0.0.1/")?)
///     .prefix("api")
///     .deadline(Duration::from_millis(20))
///     .while_away(WhileAway::Local { servers: 4 });
/// let limit = RateLimit::per_minute(600).shared(shared);
/// # let _ = limit;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedLimits {
    store: Arc<dyn LimitStore>,
    prefix: String,
    deadline: Duration,
    while_away: WhileAway,
    lease: u32,
}

impl SharedLimits {
    /// Uses this store.
    pub fn new(store: impl LimitStore) -> Self {
        Self {
            store: Arc::new(store),
            prefix: "limit".to_owned(),
            deadline: Duration::from_millis(50),
            while_away: WhileAway::Local { servers: 1 },
            lease: 0,
        }
    }

    /// Sets the first part of the names of all keys. Limiters with the same prefix and the same policy names share their counts. Defaults to `limit`.
    ///
    /// Braces in it are dropped: they mark which part of a name chooses the node of a cluster.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self.prefix.retain(|c| c != '{' && c != '}');
        self
    }

    /// Sets how long a request waits for the store at most. Defaults to 50 ms.
    ///
    /// After five failures in a row requests don't wait at all; a probe asks four times a second whether the store is back.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many requests of a client a server pays for in advance, so that it needn't ask for each. Defaults to 0.
    ///
    /// For clients with very many requests. It is at most a twentieth of the burst. What is paid for and not used within ten
    /// seconds is lost to the client; the quota is never exceeded. It works for limiters with one policy that count every request
    /// once, and does nothing for others.
    #[must_use]
    pub fn lease(mut self, requests: u32) -> Self {
        self.lease = requests;
        self
    }

    /// Sets what is done while the store is away. Defaults to [`WhileAway::Local`] with one server.
    #[must_use]
    pub fn while_away(mut self, mode: WhileAway) -> Self {
        self.while_away = mode;
        self
    }
}

impl fmt::Debug for SharedLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLimits")
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .field("while_away", &self.while_away)
            .finish_non_exhaustive()
    }
}

/// A shared store in use.
pub(crate) struct Remote {
    with: SharedLimits,
    failures: AtomicU32,
    away: AtomicBool,
}

impl Remote {
    pub(crate) fn new(with: SharedLimits) -> Self {
        Self { with, failures: AtomicU32::new(0), away: AtomicBool::new(false) }
    }

    /// The names of the keys that a policy charges for a client, the same on every server.
    ///
    /// Where all policies have one key, its hash tag is the client, which spreads clients over a cluster; where they have several, it is the
    /// prefix, since one script runs on one node.
    pub(crate) fn name(
        &self,
        names: &mut Vec<String>,
        policies: &[Policy],
        at: usize,
        key: &LimitKey,
        named: Named<'_>,
    ) {
        let Some(policy) = policies.get(at) else { return };
        let prefix = &self.with.prefix;
        let subjects: Vec<String> = match named {
            Named::Addr(addr) => key.prefixes().levels(addr).map(|net| net.to_string()).collect(),
            // Names may be secrets, and may hold anything.
            Named::Text(text) => {
                let digest = Sha256::digest(text);
                let hex = digest.iter().take(16).fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                });
                vec![hex]
            }
            Named::Number(number) => vec![format!("#{number}")],
            Named::Everyone => vec!["*".to_owned()],
            Named::Nobody => vec!["?".to_owned()],
        };
        let one_key = policies.iter().all(|policy| policy.key.is_none());
        let widest = subjects.last().cloned().unwrap_or_default();
        let name = &policy.name;
        for (level, subject) in subjects.iter().enumerate() {
            names.push(match (one_key, level) {
                (true, 0) if subjects.len() == 1 => format!("{prefix}:{{{subject}}}:{name}"),
                (true, _) => format!("{prefix}:{{{widest}}}:{name}:{level}:{subject}"),
                (false, _) => format!("{{{prefix}}}:{name}:{level}:{subject}"),
            });
        }
    }

    /// Decides together with the store.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        limiter: &Arc<Limiter>,
        mut asked: Asked,
    ) -> Answer {
        let now = limiter.clock.now();
        let own = asked.checks.iter().take_while(|c| !matches!(c.ask, Ask::Charge { .. })).count();
        let mut admitted = true;
        // What the store said before stands in our own memory. Charges only grow, so that what it refuses the store would refuse.
        for check in &mut asked.checks {
            match check.ask {
                Ask::Charge { rate, cost, further } => {
                    check.until = limiter.memory.look(check.shard, check.key).0;
                    check.outcome = governed(rate, further, cost, check.until, now).0;
                }
                Ask::Free => {
                    check.until = limiter.memory.look(check.shard, check.key).0;
                    if check.until > now {
                        check.outcome = Outcome::Wait(check.until - now);
                    }
                }
                Ask::Enter { .. } => {}
            }
            admitted &= check.is_admitted();
        }
        let lease = self.lease(limiter, &asked, own);
        if lease > 0
            && asked.checks[..own].iter().all(Check::is_admitted)
            && let Some(check) = asked.checks.last_mut()
            && limiter.memory.spend_lease(check.shard, check.key, now)
        {
            check.outcome = Outcome::Admitted;
            return limiter.answer(asked, true, now);
        }
        if !admitted || !limiter.memory.decide(&mut asked.checks[..own], now) {
            limiter.strike(&asked, now);
            return limiter.answer(asked, false, now);
        }
        // From here on the place is given back, also if the request is dropped while the store is asked.
        let places = asked.checks[..own].iter().filter_map(Receipt::of).collect();
        let held = Held::new(limiter.clone(), places, Vec::new());
        let answer = self.take(&asked, own, false, lease).await;
        let (sent, now) = (now, limiter.clock.now());
        let Some(answer) = answer else {
            drop(held);
            return self.without(limiter, asked, own, now);
        };
        let mut refused = false;
        for (check, charged) in asked.checks[own..].iter_mut().zip(&answer.charged_for) {
            let Ask::Charge { rate, cost, further } = check.ask else { continue };
            check.until = now.saturating_add(nanos(*charged));
            // The script ran after the call was sent: this is never later than the truth.
            let until = sent.saturating_add(nanos(*charged));
            if answer.leased > 0 {
                limiter.memory.lease(check.shard, check.key, answer.leased, now);
            }
            limiter.memory.change(check.shard, check.key, sent, |_| until);
            if !answer.admitted {
                check.outcome = governed(rate, further, cost, check.until, now).0;
                refused |= !check.is_admitted();
            }
        }
        if !answer.admitted && !refused {
            // The time that the answer took was all that was missing.
            if let Some(check) = asked.checks[own..].iter_mut().max_by_key(|check| check.until) {
                check.outcome = Outcome::Wait(1);
            }
        }
        if !answer.admitted {
            limiter.strike(&asked, now);
        }
        let admitted = answer.admitted;
        // The answer holds the place anew before this lets go of it.
        let answer = limiter.answer(asked, admitted, now);
        match answer.held.is_some() {
            true => held.forget(),
            false => drop(held),
        }
        answer
    }

    /// How many requests may be paid for in advance.
    fn lease(&self, limiter: &Limiter, asked: &Asked, own: usize) -> u32 {
        match asked.checks[own..] {
            [Check { ask: Ask::Charge { rate, cost: 1, further: 0 }, .. }]
                if limiter.count.is_none() && limiter.concurrency.is_none() =>
            {
                self.with.lease.min(rate.burst.get() / 20)
            }
            _ => 0,
        }
    }

    /// Decides without the store.
    fn without(&self, limiter: &Arc<Limiter>, mut asked: Asked, own: usize, now: u64) -> Answer {
        asked.names.clear();
        match self.with.while_away {
            WhileAway::Local { servers } => {
                for check in &mut asked.checks[own..] {
                    if let Ask::Charge { rate, .. } = &mut check.ask {
                        *rate = rate.share(servers);
                    }
                    check.outcome = Outcome::Admitted;
                }
                limiter.decide(asked)
            }
            WhileAway::Allow => {
                asked.checks.truncate(own);
                let admitted = limiter.memory.decide(&mut asked.checks, now);
                let mut answer = limiter.answer(asked, admitted, now);
                answer.states.clear();
                answer
            }
            WhileAway::Deny => {
                asked.checks.truncate(own);
                let mut answer = limiter.answer(asked, false, now);
                answer.verdict = Verdict::Unavailable;
                answer.wait = Some(1);
                answer.states.clear();
                answer
            }
        }
    }

    /// One call of the store within the deadline; `None` if it failed, or isn't tried because it failed before.
    pub(crate) async fn take(
        self: &Arc<Self>,
        asked: &Asked,
        own: usize,
        forced: bool,
        lease: u32,
    ) -> Option<StoreAnswer> {
        let charge = |(check, key): (&Check, &String)| {
            let Ask::Charge { rate, cost, further } = check.ask else { return None };
            Some(StoreCharge {
                key: key.clone(),
                interval: Duration::from_nanos(rate.interval),
                burst: rate.burst.get().saturating_add(further),
                cost,
                forced,
                lease,
            })
        };
        let charges: Vec<_> =
            asked.checks[own..].iter().zip(&asked.names).filter_map(charge).collect();
        if charges.is_empty() {
            return Some(StoreAnswer { admitted: true, charged_for: Vec::new(), leased: 0 });
        }
        let answer = self.call(|store| async move { store.take(&charges).await }).await?;
        (answer.charged_for.len() == asked.names.len()).then_some(answer)
    }

    /// Takes charges back, without anybody waiting for it.
    pub(crate) fn give_back(self: &Arc<Self>, keys: Vec<(String, Duration)>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let this = self.clone();
        runtime.spawn(async move {
            this.call(|store| async move { store.give_back(&keys).await }).await;
        });
    }

    pub(crate) async fn clear(self: &Arc<Self>, keys: Vec<String>) -> bool {
        self.call(|store| async move { store.clear(&keys).await }).await.is_some()
    }

    async fn call<T, F>(self: &Arc<Self>, f: impl FnOnce(Arc<dyn LimitStore>) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        // Without a runtime there is nobody to keep the deadline.
        if self.away.load(Ordering::Acquire) || Handle::try_current().is_err() {
            return None;
        }
        let error = match timeout(self.with.deadline, f(self.with.store.clone())).await {
            Ok(Ok(answer)) => {
                self.failures.store(0, Ordering::Relaxed);
                return Some(answer);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let failures = self.failures.fetch_add(1, Ordering::AcqRel) + 1;
        if failures >= FAILURES && !self.away.swap(true, Ordering::AcqRel) {
            match error {
                Some(error) => tracing::error!(%error, "the shared store is away"),
                None => {
                    tracing::error!(deadline = ?self.with.deadline, "the shared store is away: it does not answer in time")
                }
            }
            self.probe();
        }
        None
    }

    /// Asks the store until it answers.
    fn probe(self: &Arc<Self>) {
        let (this, store) = (Arc::downgrade(self), self.with.store.clone());
        let deadline = self.with.deadline;
        tokio::spawn(async move {
            while this.strong_count() > 0 {
                sleep(PROBE_EVERY).await;
                if let Ok(Ok(())) = timeout(deadline.max(PROBE_EVERY), store.ping()).await {
                    if let Some(this) = this.upgrade() {
                        this.failures.store(0, Ordering::Relaxed);
                        this.away.store(false, Ordering::Release);
                        tracing::info!("the shared store is back");
                    }
                    return;
                }
            }
        });
    }
}

/// After so many failures in a row the store counts as away.
const FAILURES: u32 = 5;
const PROBE_EVERY: Duration = Duration::from_millis(250);
