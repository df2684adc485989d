//! Limits how many requests a client may make.
//!
//! # What it does
//!
//! Each client has a quota, such as 100 requests in 15 minutes. Requests come back one by one, every 9 seconds here, so that there is no
//! moment at which all clients come at once. [`governor`] decides, by GCRA. What a client has used is one time of 8 bytes under a keyed hash of 8
//! bytes, in a memory with a hard cap that is swept a little by each request: no task is started, and no flood of
//! addresses makes it grow.
//!
//! By default a client is the address of its connection. **Behind a proxy that is the proxy**, and there is no safe default for what to
//! read instead: set [`trusted_proxies`](RateLimit::trusted_proxies) to what your proxies write.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use tower_chain::{Chain, RateLimit};
//!
//! let api = Chain::new()
//!     .use_(RateLimit::per_client(100).every(Duration::from_secs(15 * 60)))
//!     .get(async || "hello")
//!     .build();
//! # let _ = api;
//! ```
//!
//! # Example: tuned
//!
//! ```
//! use std::time::Duration;
//! use tower_chain::extract::{ForwardedHeader, TrustedProxies};
//! use tower_chain::{Chain, LimitHeaders, LimitKey, Policy, Quota, RateLimit};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limit = RateLimit::new(Policy::new("burst", Quota::per_second(20)))
//!     .and(Policy::new("hourly", Quota::per_hour(5_000)).cost_by(|req| {
//!         if req.method() == http::Method::GET { 1 } else { 5 }
//!     }))
//!     .key(LimitKey::client().ipv6_hierarchy())
//!     .trusted_proxies(TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, ["10.0.0.0/8"])?)
//!     .skip(|req| req.uri().path() == "/healthz")
//!     .penalty(Quota::per_minute(30), Duration::from_secs(600))
//!     .headers([LimitHeaders::Ietf, LimitHeaders::XRateLimit])
//!     .expose_headers();
//! let api = Chain::new().always(limit).get(async || "hello").build();
//! # let _ = api;
//! # Ok(())
//! # }
//! ```
//!
//! Against guessed passwords, only what fails counts:
//!
//! ```
//! use tower_chain::{Chain, Quota, RateLimit};
//!
//! let login = Chain::new()
//!     .use_(RateLimit::new(Quota::per_minute(5)).count_failures())
//!     .post(async || "welcome");
//! # let _ = login.build();
//! ```
//!
//! # What the client sees
//!
//! | cause | status | headers | body |
//! | --- | --- | --- | --- |
//! | a quota is used up | 429 | `Retry-After`, `RateLimit`, `RateLimit-Policy`, `Cache-Control: no-store` | problem of type `https://iana.org/assignments/http-problem-types#quota-exceeded` with `violated-policies` |
//! | the request costs more than the quota ever holds | 429 | the same without `Retry-After` | the same, "never" in `detail` |
//! | too many requests are under way | 429 | the same, `Retry-After: 1` | the same |
//! | the client is blocked | 429 | the same | problem of type `..#abnormal-usage-detected` |
//! | the shared store is away, and the mode is `Deny` | 503 | `Retry-After: 1` | problem of type `..#temporary-reduced-capacity` |
//! | gRPC (`content-type: application/grpc`) in any of these cases | 200 | `grpc-status: 8` (14 for 503), `grpc-retry-pushback-ms`, and as above | empty |
//! | within the quotas | that of the handler | `RateLimit: "100-in-15min";r=99;t=9`, `RateLimit-Policy: "100-in-15min";q=100;w=900` | that of the handler |
//!
//! `Retry-After` is rounded up: a client that obeys it is admitted.
//!
//! # What it provides
//!
//! Nothing by default. With [`with_decision`](RateLimit::with_decision) the steps after it may take [`Provided<Decision>`](crate::Provided).
//!
//! # Where to put it in a chain
//!
//! Before whatever is costly: reading bodies, checking passwords and signatures. With [`use_`](crate::Chain::use_) it counts the requests that a
//! handler answers; with [`always`](crate::Chain::always) also those that find no route, which is how scanners look. For a limit per user, put a
//! limiter per client before the authentication and a second one, keyed by [`LimitKey::provided`], behind it. The quotas of users aren't
//! shown to anybody whom the authentication refused that way.
//!
//! Limiters can be stacked; each appends its headers. A clone shares the counts of its original.
//!
//! # When the memory is full
//!
//! [`max_keys`](RateLimit::max_keys) is a hard cap. What has come back in full is forgotten first. If there is nothing to forget, clients that are new share
//! a small number of limiters with the quota of one client each, until there is room; no client that has used something is ever
//! forgotten for another.
//!
//! # What operators see
//!
//! [`RateLimitHandle::totals`] counts what was decided, [`RateLimitHandle::keys`] and [`bytes`](RateLimitHandle::bytes) what is remembered.
//! [`observe`](RateLimit::observe) sees each [`Decision`]. Refusals are logged by [`tracing`] at debug level; there, and in a decision, a client has a
//! [`Pseudonym`] that doesn't tell who it is.
//!
//! # For those who come from express-rate-limit
//!
//! | there | here |
//! | --- | --- |
//! | `windowMs`, `limit` | [`RateLimit::per_client`]`(limit).every(window)`; a limit of 0 is an error: leave the route out |
//! | `limit` as a function | [`Policy::quota_by`] |
//! | `message`, `statusCode`, `handler` | [`reject`](RateLimit::reject), [`shadow`](RateLimit::shadow) |
//! | `legacyHeaders`, `standardHeaders`, `identifier` | [`headers`](RateLimit::headers), the name of a [`Policy`] |
//! | `keyGenerator`, `ipv6Subnet` | [`key`](RateLimit::key), [`LimitKey::ipv6_prefix`] |
//! | `skip` | [`skip`](RateLimit::skip), [`skip_clients`](RateLimit::skip_clients), [`skip_preflight`](RateLimit::skip_preflight) |
//! | `skipSuccessfulRequests`, `skipFailedRequests`, `requestWasSuccessful` | [`count_failures`](RateLimit::count_failures), [`count_successes`](RateLimit::count_successes), [`count_if`](RateLimit::count_if) |
//! | `store`, `passOnStoreError` | [`shared`](RateLimit::shared), [`WhileUnreachable`] |
//! | `requestPropertyName` | [`with_decision`](RateLimit::with_decision), [`with_decision_as`](RateLimit::with_decision_as) |
//! | an asynchronous `limit`, `skip` or `message` | a [guard](crate::Chain::guard) before the limiter provides what they look at; [`on_error`](crate::Chain::on_error) renders the refusal |
//! | `resetKey`, `getKey`, `store.increment` | [`RateLimitHandle::reset`], [`RateLimitHandle::peek`], [`RateLimitHandle::admit`] |
//! | `validate`, `logger` | errors where it is built, and warnings, each once, by [`tracing`] |
//!
//! # Sources
//!
//! - GCRA: ITU-T I.371, annex A, as in [`governor`]
//! - 429: [RFC 6585, 4](https://www.rfc-editor.org/rfc/rfc6585#section-4); `Retry-After`: [RFC 9110, 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)
//! - `RateLimit` fields and problem types: [draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/)
//! - `Forwarded`: [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)
//! - IPv6 prefixes of customers: [RIPE-690](https://www.ripe.net/publications/docs/ripe-690/); NAT64: [RFC 6052](https://www.rfc-editor.org/rfc/rfc6052)

mod checks;
mod config;
mod handle;
mod limiter;
mod memory;
mod metrics;
mod reservation;
mod response;
mod shared;
mod step;
#[cfg(test)]
mod tests;
mod verdict;
mod warnings;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum_core::response::IntoResponse;
use http::header::HeaderName;

use self::config::quota::{MAX_POLICIES, checked};
use self::config::settings::{CountRule, LimitSettings, PenaltyRule, is_preflight};
use self::limiter::Limiter;
use self::memory::LocalMemory;
use self::metrics::DecisionCounters;
use self::response::headers;
use self::shared::client::StoreClient;
use self::warnings::Warnings;
use crate::extract::{Network, TrustedProxies};
use crate::{FromChain, Request, Response};

pub use self::config::clock::LimitClock;
pub use self::config::key::{LimitKey, Subject};
pub use self::config::policy::Policy;
pub use self::config::quota::{PerClient, Quota, RateLimitError};
pub use self::handle::RateLimitHandle;
pub use self::metrics::Totals;
pub use self::response::decision::{Decision, Pseudonym, Standing, Verdict};
pub use self::response::headers::LimitHeaders;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::shared::redis::RedisStore;
pub use self::shared::store::{
    LimitStore, SharedLimits, StoreAnswer, StoreCall, StoreCharge, StoreError, StoreFuture,
    StoreSlot, WhileUnreachable,
};
pub use self::step::{PerProvided, WithDecision};

/// Limits how many requests each client may make. See the [module](self) for what it does and what the client sees.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_chain::{Chain, RateLimit};
///
/// let chain = Chain::new()
///     .use_(RateLimit::per_client(100).every(Duration::from_secs(15 * 60)))
///     .get(async || "hello");
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug)]
pub struct RateLimit {
    limiter: Arc<Limiter>,
    is_async: bool,
}

impl RateLimit {
    /// So many requests per client, in the time that [`every`](PerClient::every) says.
    pub fn per_client(limit: u32) -> PerClient {
        PerClient(limit)
    }

    /// So many requests per second and client. Panics as [`Quota::new`] does.
    #[track_caller]
    pub fn per_second(limit: u32) -> Self {
        Self::new(Quota::per_second(limit))
    }

    /// So many requests per minute and client. Panics as [`Quota::new`] does.
    #[track_caller]
    pub fn per_minute(limit: u32) -> Self {
        Self::new(Quota::per_minute(limit))
    }

    /// So many requests per hour and client. Panics as [`Quota::new`] does.
    #[track_caller]
    pub fn per_hour(limit: u32) -> Self {
        Self::new(Quota::per_hour(limit))
    }

    /// A limiter with one policy: a [`Policy`], or a [`Quota`], of which the policy then has its name.
    pub fn new(policy: impl Into<Policy>) -> Self {
        let limiter = Limiter {
            settings: LimitSettings::new(policy.into()),
            clock: LimitClock::system(),
            memory: Arc::new(LocalMemory::new(MAX_KEYS)),
            shared_store: None,
            is_simple: true,
            blocks: Arc::new(AtomicBool::new(false)),
            warnings: Arc::new(Warnings::default()),
            counters: Arc::new(DecisionCounters::default()),
        };
        Self { limiter: Arc::new(limiter), is_async: false }.with(|_| {})
    }

    /// Adds a policy. All policies are decided at once: if one refuses, none is charged.
    ///
    /// # Panics
    ///
    /// If [`try_and`](RateLimit::try_and) fails.
    #[track_caller]
    #[must_use]
    pub fn and(self, policy: impl Into<Policy>) -> Self {
        checked(self.try_and(policy))
    }

    /// Adds a policy that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError`] if there are eight already, or if one has the same name.
    pub fn try_and(self, policy: impl Into<Policy>) -> Result<Self, RateLimitError> {
        let policy = policy.into();
        let policies = &self.limiter.settings.policies;
        if policies.len() == MAX_POLICIES {
            return Err(RateLimitError::TooManyPolicies);
        }
        if policies.iter().any(|known| known.name == policy.name) {
            return Err(RateLimitError::DuplicateName(policy.name.to_string()));
        }
        Ok(self.with(|limiter| limiter.settings.policies.push(policy)))
    }

    /// Sets what requests are counted under, for the policies that don't say it themselves. Defaults to [`LimitKey::client`].
    #[must_use]
    pub fn key(self, key: LimitKey) -> Self {
        self.with(|limiter| limiter.settings.key = key)
    }

    /// Counts requests under a part of what an earlier step provides, and compiles only behind that step.
    ///
    /// [`key`](RateLimit::key) with [`LimitKey::provided`] does the same without asking the compiler.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Error, Provided, RateLimit};
    ///
    /// #[derive(Clone)]
    /// struct User { id: u64 }
    ///
    /// async fn user() -> Result<User, Error> {
    ///     Ok(User { id: 7 }) // an authentication
    /// }
    ///
    /// let chain = Chain::new()
    ///     .guard(user)
    ///     .use_(RateLimit::per_minute(60).keyed_by::<Provided<User>, _>(|user| user.id))
    ///     .get(async || "hello");
    /// # let _ = chain.build();
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use tower_chain::{Chain, Provided, RateLimit};
    /// # #[derive(Clone)]
    /// # struct User { id: u64 }
    /// let chain = Chain::new()
    ///     .use_(RateLimit::per_minute(60).keyed_by::<Provided<User>, _>(|user| user.id))
    ///     .get(async || "hello");
    /// ```
    pub fn keyed_by<A, S>(
        self,
        f: impl Fn(&A::Value) -> S + Send + Sync + 'static,
    ) -> PerProvided<A>
    where
        A: FromChain,
        S: Into<Subject>,
    {
        let key = LimitKey::provided(f);
        PerProvided { limit: self.key(key), of: PhantomData }
    }

    /// Sets which proxies may say who the client is. Defaults to those that the chain [provides](crate::Chain::provide), or else to none.
    #[must_use]
    pub fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        self.with(|limiter| limiter.settings.proxies = Some(proxies))
    }

    /// Lets requests through uncounted for which `skip` holds. May be called several times. Defaults to none.
    #[must_use]
    pub fn skip(self, skip: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.with(|limiter| limiter.settings.skip.push(Arc::new(skip)))
    }

    /// Lets requests of the clients in a network through uncounted, such as those of one's own monitors. May be called several times.
    /// Defaults to none.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::RateLimit;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limit = RateLimit::per_second(50).skip_clients("10.0.0.0/8".parse()?);
    /// # let _ = limit;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn skip_clients(self, network: Network) -> Self {
        self.with(|limiter| limiter.settings.skip_clients.push(network))
    }

    /// Lets CORS preflight requests through uncounted. Defaults to counting them.
    #[must_use]
    pub fn skip_preflight(self) -> Self {
        self.skip(is_preflight)
    }

    /// Counts only requests that fail: those answered with 400 and above. Defaults to counting all.
    ///
    /// A request is charged when it arrives, so that many at once don't slip through, and gets its charge back when it is answered well: what of it hasn't
    /// come back by itself meanwhile. One that is dropped before it is answered counts: a client can't hide failures by hanging up.
    #[must_use]
    pub fn count_failures(self) -> Self {
        self.count_if(true, |response| response.status().as_u16() >= 400)
    }

    /// Counts only requests that succeed: those answered below 400. Defaults to counting all.
    ///
    /// One that is dropped before it is answered doesn't count.
    #[must_use]
    pub fn count_successes(self) -> Self {
        self.count_if(false, |response| response.status().as_u16() < 400)
    }

    /// Counts only requests whose response fits, and says whether those count that are `dropped` before they are answered.
    #[must_use]
    pub fn count_if(
        self,
        dropped: bool,
        counts: impl Fn(&Response) -> bool + Send + Sync + 'static,
    ) -> Self {
        let counts = Arc::new(counts);
        self.with(|limiter| limiter.settings.count = Some(CountRule { counts, dropped }))
    }

    /// Blocks a client for a time once it was refused more often than this quota. Defaults to never.
    ///
    /// It is the client that the [`key`](RateLimit::key) of the limiter names. With a [shared](RateLimit::shared) store each server counts the
    /// refusals that it made itself; the block holds on all.
    #[must_use]
    pub fn penalty(self, strikes: Quota, block: Duration) -> Self {
        self.with(|limiter| {
            limiter.settings.penalty = Some(PenaltyRule { strikes, block });
            limiter.blocks.store(true, Ordering::Release);
        })
    }

    /// Sets how many requests of a client may be under way at once, until their responses were sent. Defaults to any number.
    ///
    /// With a [shared](RateLimit::shared) store they are those on all servers.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    #[track_caller]
    #[must_use]
    pub fn concurrency(self, most: u32) -> Self {
        if most == 0 {
            return checked(Err(RateLimitError::ZeroLimit));
        }
        self.with(|limiter| limiter.settings.concurrency = Some(most))
    }

    /// Holds requests back instead of refusing them, for up to this time. Defaults to refusing at once.
    ///
    /// They go on in the order in which they came, at the rate of the quota. One that is dropped meanwhile gives its turn back. Needs
    /// the clock of tokio; without its runtime they are refused.
    #[must_use]
    pub fn delay(self, longest: Duration) -> Self {
        self.with(|limiter| limiter.settings.delay = longest.min(LONGEST_DELAY))
    }

    /// Adds up to this time, in whole seconds and at random, to each `Retry-After`. Defaults to none.
    ///
    /// Those whose quota comes back one by one don't return together anyhow; those who are blocked together, or refused because a shared store is
    /// away, do.
    #[must_use]
    pub fn retry_jitter(self, longest: Duration) -> Self {
        self.with(|limiter| limiter.settings.jitter = longest)
    }

    /// Refuses nothing: what would be refused is counted, observed and logged, and goes on. Defaults to refusing.
    #[must_use]
    pub fn shadow(self) -> Self {
        self.with(|limiter| limiter.settings.shadow = true)
    }

    /// Sets in which header fields a client reads how it stands. Defaults to [`LimitHeaders::Ietf`]; an empty list leaves all out but `Retry-After`.
    #[must_use]
    pub fn headers(self, sets: impl IntoIterator<Item = LimitHeaders>) -> Self {
        self.with(|limiter| {
            limiter.settings.headers.clear();
            for set in sets {
                if !limiter.settings.headers.contains(&set) {
                    limiter.settings.headers.push(set);
                }
            }
            if limiter.settings.exposed.is_some() {
                limiter.settings.exposed = Some(headers::names(&limiter.settings.headers));
            }
        })
    }

    /// Lets scripts in browsers read these fields, by `Access-Control-Expose-Headers`. Defaults to leaving that to a CORS layer.
    #[must_use]
    pub fn expose_headers(self) -> Self {
        self.with(|limiter| {
            limiter.settings.exposed = Some(headers::names(&limiter.settings.headers))
        })
    }

    /// The names of the header fields that this limiter may write, for the list of a CORS layer.
    pub fn header_names(&self) -> Vec<HeaderName> {
        headers::names(&self.limiter.settings.headers)
    }

    /// Sets how a refusal is answered. Defaults to a problem; see the [module](self).
    ///
    /// The headers are added to what it answers.
    #[must_use]
    pub fn reject<F, R>(self, reject: F) -> Self
    where
        F: Fn(&Request, &Decision) -> R + Send + Sync + 'static,
        R: IntoResponse,
    {
        let reject =
            move |req: &Request, decision: &Decision| reject(req, decision).into_response();
        self.with(|limiter| limiter.settings.reject = Some(Arc::new(reject)))
    }

    /// Shows every decision to a function, such as one that logs who comes [near its limit](Decision::is_near_limit). Defaults to none.
    ///
    /// The client is known to it by a [`Pseudonym`]. For bare numbers, [`RateLimitHandle::totals`] costs less.
    #[must_use]
    pub fn observe(self, f: impl Fn(&Request, &Decision) + Send + Sync + 'static) -> Self {
        self.with(|limiter| limiter.settings.observe = Some(Arc::new(f)))
    }

    /// Sets how many keys are remembered at most: one for each client and policy. Defaults to 917,504, which take 16 MiB when full.
    ///
    /// # Panics
    ///
    /// If `keys` is 0.
    #[track_caller]
    #[must_use]
    pub fn max_keys(self, keys: usize) -> Self {
        if keys == 0 {
            return checked(Err(RateLimitError::ZeroKeys));
        }
        self.with(|limiter| {
            limiter.memory = Arc::new(LocalMemory::new(keys));
            limiter.renew_shared_store();
        })
    }

    /// Sets the clock. Defaults to the monotonic clock of the system.
    #[must_use]
    pub fn clock(self, clock: LimitClock) -> Self {
        self.with(|limiter| {
            limiter.clock = clock;
            limiter.renew_shared_store();
        })
    }

    /// Counts in a store that several servers share. Defaults to the memory of this server.
    ///
    /// What the store answered is also remembered here. So a client that would be refused costs no call within the next second, and the limiter goes
    /// on from there while the store is away. Needs the runtime of tokio.
    #[must_use]
    pub fn shared(self, limits: SharedLimits) -> Self {
        self.with(|limiter| limiter.shared_store = Some(Arc::new(StoreClient::new(limits))))
    }

    /// Provides the [`Decision`] to the steps after it.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Decision, Provided, RateLimit};
    ///
    /// async fn hello(decision: Provided<Decision>) -> String {
    ///     let left = decision.standings().first().map_or(0, |standing| standing.remaining());
    ///     format!("hello, {left} requests left")
    /// }
    ///
    /// let chain = Chain::new().use_(RateLimit::per_minute(60).with_decision()).get(hello);
    /// # let _ = chain.build();
    /// ```
    pub fn with_decision(self) -> WithDecision {
        self.with_decision_as(|decision| decision)
    }

    /// Provides what a function makes of the [`Decision`] to the steps after it: a type of one's own, where a chain has several limiters.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Decision, Provided, RateLimit};
    ///
    /// #[derive(Clone)]
    /// struct PerClient(Decision);
    ///
    /// #[derive(Clone)]
    /// struct ForAll(Decision);
    ///
    /// async fn hello(client: Provided<PerClient>, all: Provided<ForAll>) -> String {
    ///     let left = [&client.0.0, &all.0.0].map(|decision| decision.standings()[0].remaining());
    ///     format!("{left:?} requests left")
    /// }
    ///
    /// let chain = Chain::new()
    ///     .use_(RateLimit::per_minute(60).with_decision_as(PerClient))
    ///     .use_(RateLimit::per_second(900).with_decision_as(ForAll))
    ///     .get(hello);
    /// # let _ = chain.build();
    /// ```
    pub fn with_decision_as<T, F>(self, f: F) -> WithDecision<T>
    where
        T: Clone + Send + Sync + 'static,
        F: Fn(Decision) -> T + Send + Sync + 'static,
    {
        WithDecision { limit: self, provided: Arc::new(f) }
    }

    /// A handle that looks into the running limiter and changes it. Take it once all is set: what is set later is out of its reach.
    pub fn handle(&self) -> RateLimitHandle {
        RateLimitHandle { limiter: self.limiter.clone() }
    }

    fn with(mut self, set: impl FnOnce(&mut Limiter)) -> Self {
        let limiter = Arc::make_mut(&mut self.limiter);
        set(limiter);
        limiter.is_simple = limiter.shared_store.is_none() && limiter.settings.makes_one_charge();
        self.is_async = limiter.settings.is_async();
        self
    }
}

impl PerClient {
    /// Sets the time in which so many requests are allowed.
    ///
    /// # Panics
    ///
    /// If [`try_every`](PerClient::try_every) fails.
    #[track_caller]
    pub fn every(self, period: Duration) -> RateLimit {
        checked(self.try_every(period))
    }

    /// Sets the time in which so many requests are allowed, with numbers that come from configuration.
    ///
    /// # Errors
    ///
    /// As [`Quota::try_new`].
    pub fn try_every(self, period: Duration) -> Result<RateLimit, RateLimitError> {
        Quota::try_new(self.0, period).map(RateLimit::new)
    }
}

/// 256 shards of 64 KiB.
const MAX_KEYS: usize = 256 * memory::KEYS_PER_SHARD;
const LONGEST_DELAY: Duration = Duration::from_secs(3600);
