//! A shared store in use: what is asked of it, what is known without asking, and what is done while it is away.

use std::fmt::Write;
use std::future::Future;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::asked::{Asked, Shared};
use super::check::{Ask, Check, Outcome, Receipt, governed};
use super::decision::Verdict;
use super::held::Held;
use super::key::{LimitKey, Named};
use super::limiter::{Answer, Limiter, until};
use super::policy::Policy;
use super::store::{
    LimitStore, SharedLimits, StoreAnswer, StoreCall, StoreCharge, StoreError, StorePlace,
    WhileAway,
};

/// A shared store in use.
pub(crate) struct Remote {
    with: SharedLimits,
    failures: AtomicU32,
    away: AtomicBool,
    /// Tells the requests of this server from those of the others, and from each other.
    server: u64,
    requests: AtomicU64,
}

impl Remote {
    pub(crate) fn new(with: SharedLimits) -> Self {
        Self {
            with,
            failures: AtomicU32::new(0),
            away: AtomicBool::new(false),
            server: std::hash::RandomState::new().hash_one(0),
            requests: AtomicU64::new(0),
        }
    }

    /// The names of the keys that a policy charges for a client, the same on every server.
    pub(crate) fn charges(
        &self,
        names: &mut Vec<String>,
        policies: &[Policy],
        at: usize,
        key: &LimitKey,
        named: Named<'_>,
    ) {
        let Some(policy) = policies.get(at) else { return };
        let (prefix, name, subjects) = (&self.with.prefix, &policy.name, subjects(key, named));
        let tag = self.tag(policies, &subjects);
        for (level, subject) in subjects.iter().enumerate() {
            names.push(match (tag == *prefix, subjects.len()) {
                (false, 1) => format!("{prefix}:{{{tag}}}:{name}"),
                (false, _) => format!("{prefix}:{{{tag}}}:{name}:{level}:{subject}"),
                (true, _) => format!("{{{prefix}}}:{name}:{level}:{subject}"),
            });
        }
    }

    /// The first part of the names of what else is remembered of a client.
    pub(crate) fn client(&self, policies: &[Policy], key: &LimitKey, named: Named<'_>) -> String {
        let (prefix, subjects) = (&self.with.prefix, subjects(key, named));
        let widest = subjects.last().map_or("", String::as_str);
        let tag = self.tag(policies, &subjects);
        match tag == *prefix {
            false => format!("{prefix}:{{{tag}}}"),
            true => format!("{{{prefix}}}:{widest}"),
        }
    }

    /// What chooses the node of a cluster: where all policies have one key, the client, which spreads clients over the nodes; where they have
    /// several, the prefix, since one script runs on one node.
    fn tag<'a>(&'a self, policies: &[Policy], subjects: &'a [String]) -> &'a str {
        match subjects.last() {
            Some(widest) if policies.iter().all(|policy| policy.key.is_none()) => widest,
            _ => &self.with.prefix,
        }
    }

    /// Decides together with the store.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        limiter: &Arc<Limiter>,
        mut asked: Asked,
    ) -> Answer {
        let now = limiter.clock.now();
        let admitted = know(limiter, &mut asked, now, false);
        let own = asked.own();
        let lease = self.lease(limiter, &asked);
        if lease > 0
            && asked.checks[..own].iter().all(Check::is_admitted)
            && limiter.memory.spend_lease(asked.primary.0, asked.shape(), now)
        {
            asked.checks.iter_mut().for_each(|check| check.outcome = Outcome::Admitted);
            return limiter.answer(&mut asked, (true, now));
        }
        let places = asked.checks[..own].iter().filter(|check| check.ask.is_free()).count()..own;
        if !admitted || !limiter.memory.decide(&mut asked.checks[places.clone()], now) {
            limiter.strike(&asked, now);
            return limiter.answer(&mut asked, (false, now));
        }
        if let (Some(most), Some(shared)) = (limiter.concurrency, &mut asked.shared) {
            shared.place = Some(self.place(&shared.client, most));
        }
        // From here on the place is given back, also if the request is dropped while the store is asked.
        let taken = asked.checks[places].iter().filter_map(Receipt::of).collect();
        let place = asked.shared.as_ref().and_then(|shared| shared.place.clone());
        let held = Held::new(limiter.clone(), taken, Vec::new(), place);
        let answer = self.take(&asked, lease, false).await;
        let (sent, now) = (now, limiter.clock.now());
        let Some(answer) = answer else {
            drop(held);
            return self.without(limiter, asked, own, now);
        };
        learn(limiter, &mut asked, &answer, sent, now);
        if answer.leased > 0 {
            limiter.memory.lease(asked.primary.0, asked.shape(), answer.leased, now);
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

    /// How many requests may be paid for in advance.
    fn lease(&self, limiter: &Limiter, asked: &Asked) -> u32 {
        if self.with.lease == 0 || limiter.concurrency.is_some() || !limiter.delay.is_zero() {
            return 0;
        }
        let most = asked.checks.iter().filter_map(|check| match check.ask {
            Ask::Charge { rate, cost, .. } => rate.burst.get().checked_div(20 * cost.max(1)),
            _ => None,
        });
        most.min().unwrap_or(0).min(self.with.lease)
    }

    fn place(&self, client: &str, most: u32) -> StorePlace {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        StorePlace {
            key: format!("{client}:#places"),
            id: format!("{:x}.{number:x}", self.server),
            most,
            longest: self.with.longest_request,
        }
    }

    /// Decides without the store.
    fn without(&self, limiter: &Arc<Limiter>, mut asked: Asked, own: usize, now: u64) -> Answer {
        asked.shared = None;
        if let WhileAway::Local { servers } = self.with.while_away {
            for check in &mut asked.checks {
                if let Ask::Charge { rate, .. } = &mut check.ask {
                    *rate = rate.share(servers);
                }
                check.outcome = Outcome::Admitted;
            }
            let decided = limiter.decide(&mut asked);
            return limiter.answer(&mut asked, decided);
        }
        if !know(limiter, &mut asked, now, true) {
            // It was used up before the store went away.
            return limiter.answer(&mut asked, (false, now));
        }
        asked.checks.truncate(own);
        let allows = self.with.while_away == WhileAway::Allow;
        let admitted = allows && limiter.memory.decide(&mut asked.checks, now);
        let mut answer = limiter.answer(&mut asked, (admitted, now));
        if !allows {
            (answer.verdict, answer.wait) = (Verdict::Unavailable, Some(1));
        }
        answer.states.clear();
        answer
    }

    /// One call of the store within the deadline; `None` if it failed, or isn't tried because it failed before.
    pub(crate) async fn take(
        self: &Arc<Self>,
        asked: &Asked,
        lease: u32,
        forced: bool,
    ) -> Option<StoreAnswer> {
        let charge = |(check, key): (&Check, &String)| {
            let Ask::Charge { rate, cost, further } = check.ask else { return None };
            Some(StoreCharge {
                key: key.clone(),
                interval: Duration::from_nanos(rate.interval),
                burst: rate.burst.get().saturating_add(further),
                cost,
            })
        };
        let (checks, shared) = (&asked.checks[asked.own()..], asked.shared.as_ref()?);
        let call = StoreCall {
            charges: checks.iter().zip(&shared.names).filter_map(charge).collect(),
            block: (!forced).then(|| block_key(&shared.client)),
            place: shared.place.clone(),
            forced,
            lease,
        };
        let answer = self.call(|store| async move { store.take(&call).await }).await?;
        (answer.charged_for.len() == shared.names.len()).then_some(answer)
    }

    /// Takes charges back, without anybody waiting for it.
    pub(crate) fn give_back(self: &Arc<Self>, keys: Vec<(String, Duration)>) {
        self.later(|store| async move { store.give_back(&keys).await });
    }

    /// Frees a place, without anybody waiting for it.
    pub(crate) fn leave(self: &Arc<Self>, place: StorePlace) {
        self.later(|store| async move { store.leave(&place).await });
    }

    /// Blocks a client on all servers. Returns whether the store knows it.
    pub(crate) async fn block(self: &Arc<Self>, client: &str, time: Duration) -> bool {
        let key = block_key(client);
        let set = |store: Arc<dyn LimitStore>| async move {
            if time.is_zero() {
                return store.clear(&[key]).await;
            }
            let charges = vec![StoreCharge { key, interval: time, burst: 1, cost: 1 }];
            let call = StoreCall { charges, forced: true, ..StoreCall::default() };
            store.take(&call).await.map(drop)
        };
        self.call(set).await.is_some()
    }

    /// Blocks a client on all servers, without anybody waiting for it.
    pub(crate) fn block_later(self: &Arc<Self>, client: String, time: Duration) {
        let Ok(runtime) = Handle::try_current() else { return };
        let this = self.clone();
        runtime.spawn(async move { this.block(&client, time).await });
    }

    /// Forgets a client.
    pub(crate) async fn clear(self: &Arc<Self>, client: Box<Shared>) -> bool {
        let mut keys = client.names;
        keys.push(block_key(&client.client));
        self.call(|store| async move { store.clear(&keys).await }).await.is_some()
    }

    fn later<F, Fut>(self: &Arc<Self>, f: F)
    where
        F: FnOnce(Arc<dyn LimitStore>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), StoreError>> + Send,
    {
        let Ok(runtime) = Handle::try_current() else { return };
        let this = self.clone();
        runtime.spawn(async move { this.call(f).await });
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

/// Applies what was learned from the store before; returns whether it leaves the request a chance. What has no room the store would refuse, unless
/// somebody gave charges back: that is trusted for a moment, or, without the store, altogether.
fn know(limiter: &Limiter, asked: &mut Asked, now: u64, altogether: bool) -> bool {
    let mut chance = true;
    for check in &mut asked.checks {
        let (known, fresh) = limiter.memory.known(check.shard, check.key, now);
        match check.ask {
            Ask::Charge { rate, cost, further } => {
                check.until = known;
                if fresh || altogether {
                    check.outcome = governed(rate, further, cost, known, now).0;
                }
            }
            Ask::Free => {
                check.until = known;
                if known > now && (fresh || altogether) {
                    check.outcome = Outcome::Wait(known - now);
                }
            }
            Ask::Enter { .. } => {}
        }
        chance &= check.is_admitted();
    }
    chance
}

/// Remembers what the store says, and why it refused.
pub(crate) fn learn(
    limiter: &Limiter,
    asked: &mut Asked,
    answer: &StoreAnswer,
    sent: u64,
    now: u64,
) {
    let mut refused = !answer.blocked_for.is_zero() || answer.is_busy;
    let mut charged = answer.charged_for.iter();
    for check in &mut asked.checks {
        let (known, refuses) = match check.ask {
            Ask::Charge { rate, cost, further } => {
                let Some(charged) = charged.next() else { continue };
                check.until = until(now, *charged);
                let next = governed(rate, further, cost, check.until, now).0;
                if !answer.admitted {
                    check.outcome = next;
                    refused |= !check.is_admitted();
                }
                (*charged, next != Outcome::Admitted)
            }
            Ask::Free => {
                check.until = until(now, answer.blocked_for);
                if check.until > now {
                    check.outcome = Outcome::Wait(check.until - now);
                }
                (answer.blocked_for, check.until > now)
            }
            Ask::Enter { .. } => {
                if answer.is_busy {
                    check.outcome = Outcome::Busy;
                }
                continue;
            }
        };
        // The script ran after the call was sent: this is never later than the truth.
        limiter.memory.change(check.shard, check.key, sent, |_| until(sent, known));
        if refuses {
            limiter.memory.trust(check.shard, check.key, now, until(now, TRUSTED).min(check.until));
        }
    }
    if !answer.admitted && !refused {
        // The time that the answer took was all that was missing.
        let charges = asked.checks.iter_mut().filter(|check| check.ask.is_charge());
        if let Some(check) = charges.max_by_key(|check| check.until) {
            check.outcome = Outcome::Wait(1);
        }
    }
}

/// Whom a policy counts, in words that are the same on every server: the networks of an address, or one name.
fn subjects(key: &LimitKey, named: Named<'_>) -> Vec<String> {
    match named {
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
    }
}

fn block_key(client: &str) -> String {
    format!("{client}:#block")
}

/// After so many failures in a row the store counts as away.
const FAILURES: u32 = 5;
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// For how long it is believed that the store would refuse: other servers may give charges back, or forget the client, meanwhile.
pub(crate) const TRUSTED: Duration = Duration::from_secs(1);
