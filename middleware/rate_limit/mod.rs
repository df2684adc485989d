//! Limits how many requests a client may make.
//!
//! # What it does
//!
//! Each client has a quota, such as 100 requests in 15 minutes. Requests come back one by one, in this example every 9 seconds, so clients do not all
//! return at the same moment. [`governor`] decides, by GCRA. The state of a client is a time of 8 bytes under a keyed hash of 8 bytes, in a memory
//! with a hard cap. Each request sweeps a small part of it: there is no background task, and a flood of addresses does not make it grow.
//!
//! By default, a client is the address of its connection. **Behind a proxy, this is the proxy**, and there is no safe default for what to read
//! instead: set [`trusted_proxies`](RateLimit::trusted_proxies) to the headers that your proxies write.
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
//! use tower_chain::middleware::rate_limit::{LimitHeaders, LimitKey, Policy, Quota};
//! use tower_chain::{Chain, RateLimit};
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
//! A plan by the calendar, and a limit for each second beside it:
//!
//! ```
//! use tower_chain::RateLimit;
//! use tower_chain::middleware::rate_limit::{Policy, Quota};
//!
//! let plan = RateLimit::new(Policy::new("plan", Quota::per_day(10_000).from_midnight_utc()))
//!     .and(Policy::new("burst", Quota::per_second(20)));
//! # let _ = plan;
//! ```
//!
//! The same by the month, in the time of New York in winter:
//!
//! ```
//! use tower_chain::RateLimit;
//! use tower_chain::middleware::rate_limit::{CalendarPeriod, Policy, Quota};
//!
//! let quota = Quota::calendar(100_000, CalendarPeriod::Month).utc_offset(-5 * 60);
//! let plan = RateLimit::new(Policy::new("plan", quota));
//! # let _ = plan;
//! ```
//!
//! Against guessed passwords, only failures count:
//!
//! ```
//! use tower_chain::middleware::rate_limit::Quota;
//! use tower_chain::{Chain, RateLimit};
//!
//! let login = Chain::new()
//!     .use_(RateLimit::new(Quota::per_minute(5)).count_failures())
//!     .post(async || "welcome");
//! # let _ = login.build();
//! ```
//!
//! Costs that are known only afterwards are reserved, and settled by the response:
//!
//! ```
//! use tower_chain::RateLimit;
//! use tower_chain::middleware::rate_limit::{Policy, Quota};
//!
//! let tokens = Policy::new("tokens", Quota::per_hour(660_000)).cost(1_000).settle_at_end();
//! let limit = RateLimit::new(Policy::new("requests", Quota::per_minute(60))).and(tokens);
//! # let _ = limit;
//! ```
//!
//! A request is admitted if its reservation fits, so a client can exceed its quota by the costs of its requests in flight beyond their reservations. This is
//! then a debt: the client is refused until it has come back. Bound the number of requests in flight by [`concurrency`](RateLimit::concurrency), and set
//! the reservation near the usual cost.
//!
//! # What the client sees
//!
//! | cause | status | headers | body |
//! | --- | --- | --- | --- |
//! | a quota is used up | 429 | `Retry-After`, `RateLimit`, `RateLimit-Policy`, `Cache-Control: no-store` | problem of type `https://iana.org/assignments/http-problem-types#quota-exceeded` with `violated-policies` |
//! | the request costs more than the burst | 429 | the same without `Retry-After` | the same, "never" in `detail` |
//! | too many requests are in flight | 429 | the same, `Retry-After: 1` | the same |
//! | too many requests wait for a slot, of all clients | 503 | the same, `Retry-After: 1` | problem of type `..#temporary-reduced-capacity` |
//! | the client is blocked | 429 | the same | problem of type `..#abnormal-usage-detected` |
//! | the shared store is unreachable, and the mode is `Deny` | 503 | `Retry-After: 1` | problem of type `..#temporary-reduced-capacity` |
//! | gRPC (`content-type: application/grpc`) in any of these cases | 200 | `grpc-status: 8` (14 for 503), `grpc-retry-pushback-ms`, and as above | empty |
//! | within the quotas | the status of the handler | `RateLimit: "100-in-15min";r=99;t=9`, `RateLimit-Policy: "100-in-15min";q=100;w=900` | the body of the handler |
//!
//! `Retry-After` is rounded up: a client that obeys it is admitted. For a quota with a window, `t` and `Retry-After` are the time until the window ends,
//! and `w` is its length: of a calendar month, the length of the present one.
//!
//! # What it provides
//!
//! Nothing by default. With [`with_decision`](RateLimit::with_decision), the steps after it may take [`Provided<Decision>`](crate::Provided).
//!
//! # Where to put it in a chain
//!
//! Before everything that is costly: reading bodies, checking passwords and signatures. With [`use_`](crate::Chain::use_) it counts requests that
//! have a handler; with [`always`](crate::Chain::always) it also counts those without a route, which scanners send. For a limit per user, place a
//! limiter per client before the authentication, and a second one, keyed by [`LimitKey::provided`], after it. A client that the authentication
//! refuses then does not see the quota of a user.
//!
//! Limiters can be stacked; each adds its header fields, and where a field may appear only once the tightest limit is shown. A clone shares the counts of its original.
//!
//! # Subjects, blocks and penalties
//!
//! A *subject* is a value of a key: an address, an account, a tenant. Each policy counts under the subject of its [key](Policy::key), or of the key of
//! the limiter. A [penalty](RateLimit::penalty) blocks the subject whose own quota was used up, and a block refuses the requests of this subject and of no
//! other: a locked account does not block its address, and a blocked /64 does not block the /48 around it.
//! [`RateLimitHandle::policy`] returns a handle that charges, blocks and resets the subjects of one policy.
//!
//! # What goes through a shared store
//!
//! Charges, refunds, blocks (of penalties and of a handle) and slots of requests in flight are made in the store, so they hold on all servers. A server
//! repeats a refusal or a block that it knows for up to one second without a call, so `reset` and `unblock` take up to a second on other servers.
//! [Changed quotas](RateLimitHandle::set_quota) are read from the store once a second. Strikes, the length of the next block, the totals and the
//! settings of a limiter remain on each server.
//!
//! # When the memory is full
//!
//! [`max_keys`](RateLimit::max_keys) is a hard cap. Keys whose quota has come back in full are removed first. If there are none, new clients share a
//! small number of overflow counters, each with the quota of one client, until there are free slots. A client that has used a part of its quota is
//! never evicted for another one.
//!
//! # What operators see
//!
//! [`RateLimitHandle::totals`] returns the number of decisions, [`refusals`](RateLimitHandle::refusals) those of a policy,
//! [`most_limited`](RateLimitHandle::most_limited) the clients that are refused most often, and [`RateLimitHandle::keys`] and [`bytes`](RateLimitHandle::bytes) the size of the
//! memory. [`RateLimitHandle::store`] returns the state of a shared store, its latency, and how many requests were decided without it; each change of
//! its state is logged once, at the level `warn`. With the feature `telemetry`, `RateLimitHandle::publish` publishes all of these numbers through the
//! facade `metrics`. [`observe`](RateLimit::observe) receives each [`Decision`]. Refusals are logged by [`tracing`] at debug level. In logs and decisions, a
//! client appears under a [`Pseudonym`], which does not reveal it.
//!
//! # For those who come from express-rate-limit
//!
//! | there | here |
//! | --- | --- |
//! | `windowMs`, `limit` | [`Quota::fixed_window`] counts as there: the window starts with the first request, and all requests come back when it ends. The default, [`RateLimit::per_client`]`(limit).every(window)`, has a burst and a drip instead (below). A limit of 0 is an error: leave the route out |
//! | `limit` as a function | [`Policy::quota_by`] |
//! | `message`, `statusCode`, `handler` | [`reject`](RateLimit::reject), [`shadow`](RateLimit::shadow) |
//! | `legacyHeaders`, `standardHeaders`, `identifier` | [`headers`](RateLimit::headers), the name of a [`Policy`] |
//! | `keyGenerator`, `ipv6Subnet` | [`key`](RateLimit::key), [`LimitKey::ipv6_prefix`] |
//! | `skip` | [`skip`](RateLimit::skip), [`skip_clients`](RateLimit::skip_clients), [`skip_preflight`](RateLimit::skip_preflight) |
//! | `skipSuccessfulRequests`, `skipFailedRequests`, `requestWasSuccessful` | [`count_failures`](RateLimit::count_failures), [`count_successes`](RateLimit::count_successes), [`count_if`](RateLimit::count_if) |
//! | `store`, `passOnStoreError` | [`shared`](RateLimit::shared), [`WhileUnreachable`] |
//! | `requestPropertyName` | [`with_decision`](RateLimit::with_decision), [`with_decision_as`](RateLimit::with_decision_as) |
//! | an asynchronous `limit`, `skip` or `message` | a [guard](crate::Chain::guard) before the limiter provides the values that these read; [`on_error`](crate::Chain::on_error) renders the refusal |
//! | `resetKey`, `getKey`, `store.increment` | [`PolicyHandle::reset`], [`PolicyHandle::peek`], [`PolicyHandle::admit`] |
//! | `validate`, `logger` | errors where the limiter is built; warnings, each logged once, by [`tracing`] |
//!
//! A quota of 100 requests in 15 minutes, used up at once at 12:00 and tried again each second after that:
//!
//! | quota | at 12:00 | until 12:15 | from 12:15 | most in any 15 minutes |
//! | --- | --- | --- | --- | --- |
//! | `Quota::new(100, window)`: a *burst* of 100, which may be made at once after a pause, and a *drip*: one request comes back every 9 seconds | 100 | 99 | one every 9 seconds | 200 |
//! | `Quota::new(50, window)`, which has a burst of 50 and a drip of one every 18 seconds | 50 | 49 | one every 18 seconds | 100 |
//! | [`fixed_window`](Quota::fixed_window), as express-rate-limit | 100 | 0 | 100 at once | 199, if most of them are made at the end of a window |
//! | [`from_midnight_utc`](Quota::from_midnight_utc), windows that start at 12:00, 12:15, .. for all clients | 100 | 0 | 100 at once | 200, at the end of one window and the start of the next |
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
mod declare;
mod handle;
mod limiter;
mod memory;
mod metrics;
#[cfg(feature = "telemetry")]
mod publish;
mod queue;
mod reservation;
mod response;
mod settle;
mod shared;
mod slot;
mod step;
#[cfg(test)]
mod tests;
mod upgrade;
mod verdict;
mod waiting;
mod warnings;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum_core::response::IntoResponse;
use http::header::HeaderName;

use self::config::error::{MAX_POLICIES, checked};
use self::config::settings::{CountRule, LimitSettings, PenaltyRule, is_preflight};
use self::limiter::Limiter;
use self::memory::LocalMemory;
use self::metrics::DecisionCounters;
use self::queue::SlotQueues;
use self::response::headers;
use self::shared::client::StoreClient;
use self::warnings::Warnings;
use crate::chain::FromChain;
use crate::extract::{Network, TrustedProxies};
use crate::{Request, Response};

pub use self::config::calendar::CalendarPeriod;
pub use self::config::clock::LimitClock;
pub use self::config::error::RateLimitError;
pub use self::config::key::{LimitKey, Subject};
pub use self::config::policy::Policy;
pub use self::config::quota::{PerClient, Quota};
pub use self::handle::{PolicyHandle, RateLimitHandle};
pub use self::metrics::{PolicyTotals, Totals};
pub use self::queue::SlotQueue;
pub use self::response::decision::{Decision, Pseudonym, Standing, Verdict};
pub use self::response::headers::LimitHeaders;
pub use self::settle::ActualCost;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::shared::redis::RedisStore;
pub use self::shared::report::{StoreReport, StoreState};
pub use self::shared::store::{
    LimitStore, SharedLimits, StoreAnswer, StoreCall, StoreCharge, StoreError, StoreFuture,
    StoreQuota, StoreRefund, StoreSlot, StoreTurn, StoreWindow, WhileUnreachable,
};
pub use self::slot::{Slot, SlotHandle};
pub use self::step::{PerProvided, WithDecision};

/// Limits how many requests each client may make. The [module](self) documents the behaviour and what the client sees.
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
    /// A limiter of so many requests per client, in the period that [`every`](PerClient::every) sets.
    pub fn per_client(limit: u32) -> PerClient {
        PerClient(limit)
    }

    /// A limiter of so many requests per second and client. Panics as [`Quota::new`] does.
    #[track_caller]
    pub fn per_second(limit: u32) -> Self {
        Self::new(Quota::per_second(limit))
    }

    /// A limiter of so many requests per minute and client. Panics as [`Quota::new`] does.
    #[track_caller]
    pub fn per_minute(limit: u32) -> Self {
        Self::new(Quota::per_minute(limit))
    }

    /// A limiter of so many requests per hour and client. Panics as [`Quota::new`] does.
    #[track_caller]
    pub fn per_hour(limit: u32) -> Self {
        Self::new(Quota::per_hour(limit))
    }

    /// A limiter with one policy: a [`Policy`], or a [`Quota`], which also gives the policy its name.
    pub fn new(policy: impl Into<Policy>) -> Self {
        Self::of(vec![policy.into()])
    }

    /// A limiter without a quota: of so many requests of a client in flight at once. See [`concurrency`](RateLimit::concurrency).
    ///
    /// # Panics
    ///
    /// If [`try_concurrent`](RateLimit::try_concurrent) fails.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, RateLimit};
    ///
    /// let exports = Chain::new().use_(RateLimit::concurrent(2)).get(async || "a large file");
    /// # let _ = exports.build();
    /// ```
    #[track_caller]
    pub fn concurrent(most: u32) -> Self {
        checked(Self::try_concurrent(most))
    }

    /// A limiter without a quota, whose number of requests in flight comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::ZeroLimit`] if `most` is 0.
    pub fn try_concurrent(most: u32) -> Result<Self, RateLimitError> {
        Self::of(Vec::new()).try_concurrency(most)
    }

    fn of(policies: Vec<Policy>) -> Self {
        let limiter = Limiter {
            settings: LimitSettings::new(policies),
            clock: LimitClock::system(),
            memory: Arc::new(LocalMemory::new(MAX_KEYS)),
            shared_store: None,
            queues: None,
            is_simple: true,
            blocks: Arc::new(AtomicBool::new(false)),
            warnings: Arc::new(Warnings::default()),
            counters: Arc::new(DecisionCounters::default()),
        };
        Self { limiter: Arc::new(limiter), is_async: false }.with(|_| {})
    }

    /// Adds a policy. All policies are decided together: if one refuses, none is charged.
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
    /// [`RateLimitError`] if there are already eight policies, if one of them has the same name, or if the policy counts in windows and the shared store
    /// does not support them.
    pub fn try_and(self, policy: impl Into<Policy>) -> Result<Self, RateLimitError> {
        let policy = policy.into();
        let policies = &self.limiter.settings.policies;
        if policies.len() == MAX_POLICIES {
            return Err(RateLimitError::TooManyPolicies);
        }
        if policies.iter().any(|known| known.name == policy.name) {
            return Err(RateLimitError::DuplicateName(policy.name.to_string()));
        }
        if let Some(shared_store) = &self.limiter.shared_store {
            shared_store.limits.check_window(&policy)?;
        }
        Ok(self.with(|limiter| limiter.settings.policies.push(policy)))
    }

    /// Sets the key that requests are counted under, for policies without a key of their own. Defaults to [`LimitKey::client`].
    #[must_use]
    pub fn key(self, key: LimitKey) -> Self {
        self.with(|limiter| limiter.settings.key = key)
    }

    /// Counts requests under a part of a value that an earlier step provides. Compiles only after that step.
    ///
    /// [`key`](RateLimit::key) with [`LimitKey::provided`] does the same without the check by the compiler.
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
        S: Into<Subject> + 'static,
    {
        let key = LimitKey::provided(f);
        PerProvided { limit: self.key(key), of: PhantomData }
    }

    /// Sets which proxies are trusted to name the client. Defaults to those that the chain [provides](crate::Chain::provide), otherwise to none.
    #[must_use]
    pub fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        self.with(|limiter| limiter.settings.proxies = Some(proxies))
    }

    /// Passes requests on without counting them if `skip` returns `true`. May be called several times. Defaults to counting all.
    #[must_use]
    pub fn skip(self, skip: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.with(|limiter| limiter.settings.skip.push(Arc::new(skip)))
    }

    /// Passes the requests of a network on without counting them, such as those of your own monitoring. May be called several times. Defaults to
    /// counting all.
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

    /// Passes CORS preflight requests on without counting them. Defaults to counting them.
    #[must_use]
    pub fn skip_preflight(self) -> Self {
        self.skip(is_preflight)
    }

    /// Counts only requests that fail: those with a status of 400 or above. Defaults to counting all.
    ///
    /// A request is charged when it arrives, so parallel requests cannot exceed the quota. If its response is a success, the part of the charge that
    /// has not come back by itself is refunded. A request that is dropped before its response counts: a client cannot hide failures by hanging up.
    #[must_use]
    pub fn count_failures(self) -> Self {
        self.count_if(true, |response| response.status().as_u16() >= 400)
    }

    /// Counts only requests that succeed: those with a status below 400. Defaults to counting all.
    ///
    /// A request that is dropped before its response does not count.
    #[must_use]
    pub fn count_successes(self) -> Self {
        self.count_if(false, |response| response.status().as_u16() < 400)
    }

    /// Counts only requests for whose response `counts` returns `true`. `dropped` sets whether a request counts that is dropped before its response.
    #[must_use]
    pub fn count_if(
        self,
        dropped: bool,
        counts: impl Fn(&Response) -> bool + Send + Sync + 'static,
    ) -> Self {
        let counts = Arc::new(counts);
        self.with(|limiter| limiter.settings.count = Some(CountRule { counts, dropped }))
    }

    /// Blocks a subject for a time after it was refused more often than this quota. Defaults to never.
    ///
    /// The subject is the one that was counted: of a policy with a [key](Policy::key) of its own, such as an account, the value of this key; of all
    /// other policies, the value of the [key](RateLimit::key) of the limiter. Requests with other values are not affected, so an account that is
    /// blocked does not block the address from which it was used. With [`ipv6_hierarchy`](LimitKey::ipv6_hierarchy) the subject is the /64, and
    /// refusals by the quota of a wider network are not counted. Refusals by a policy with the key [`everyone`](LimitKey::everyone) are not counted
    /// either.
    ///
    /// With a [shared](RateLimit::shared) store, each server counts its own refusals; the block holds on all servers.
    #[must_use]
    pub fn penalty(self, strikes: Quota, block: Duration) -> Self {
        self.with(|limiter| {
            let longest = limiter.settings.penalty.and_then(|penalty| penalty.longest);
            let longest = longest.filter(|longest| block < *longest);
            limiter.settings.penalty = Some(PenaltyRule { strikes, block, longest });
            limiter.blocks.store(true, Ordering::Release);
        })
    }

    /// Makes each further block by [`penalty`](RateLimit::penalty) twice as long as the one before it, up to `longest`. Defaults to blocks of equal
    /// length.
    ///
    /// After a block has ended, a subject that is not blocked again for as long as `longest` starts with the shortest block. Each server counts the
    /// blocks that it has started. Call this after [`penalty`](RateLimit::penalty).
    ///
    /// # Panics
    ///
    /// If [`try_doubling_penalty`](RateLimit::try_doubling_penalty) fails.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_chain::middleware::rate_limit::Quota;
    /// use tower_chain::RateLimit;
    ///
    /// // Blocks for one minute, then for 2, 4, 8 .. minutes, and never for more than a day.
    /// let limit = RateLimit::per_minute(60)
    ///     .penalty(Quota::per_minute(30), Duration::from_secs(60))
    ///     .doubling_penalty(Duration::from_secs(24 * 3600));
    /// # let _ = limit;
    /// ```
    #[track_caller]
    #[must_use]
    pub fn doubling_penalty(self, longest: Duration) -> Self {
        checked(self.try_doubling_penalty(longest))
    }

    /// Doubles blocks up to a time that comes from configuration. See [`doubling_penalty`](RateLimit::doubling_penalty).
    ///
    /// # Errors
    ///
    /// [`RateLimitError::DoublingPenalty`] if there is no [`penalty`](RateLimit::penalty), or if its block is not shorter than this time.
    pub fn try_doubling_penalty(self, longest: Duration) -> Result<Self, RateLimitError> {
        if self.limiter.settings.penalty.is_none_or(|penalty| penalty.block >= longest) {
            return Err(RateLimitError::DoublingPenalty);
        }
        Ok(self.with(|limiter| {
            if let Some(penalty) = &mut limiter.settings.penalty {
                penalty.longest = Some(longest);
            }
        }))
    }

    /// Sets how many requests of a client may be in flight at once. Defaults to any number.
    ///
    /// A request is in flight until the body of its response was sent or dropped. A request that upgrades its connection, such as a WebSocket, is in
    /// flight until that connection is closed: its stream owns the slot, so [`Upgraded::downcast`](hyper::upgrade::Upgraded::downcast) does not find the
    /// type of the server's socket.
    ///
    /// Requests are counted under the [key](RateLimit::key) of the limiter, or, if all policies have keys of their own, under the key of the first
    /// one. With [`ipv6_hierarchy`](LimitKey::ipv6_hierarchy) they are counted under the /64. For another key, stack a second limiter.
    ///
    /// A request is refused if all slots are taken, unless there is a [queue](RateLimit::queue). For work that is not a request, such as a job,
    /// [`RateLimitHandle::slots`] takes slots. With a [shared](RateLimit::shared) store,
    /// the requests on all servers count.
    ///
    /// # Panics
    ///
    /// If [`try_concurrency`](RateLimit::try_concurrency) fails.
    #[track_caller]
    #[must_use]
    pub fn concurrency(self, most: u32) -> Self {
        checked(self.try_concurrency(most))
    }

    /// Sets the largest number of requests in flight to a number that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::ZeroLimit`] if `most` is 0.
    pub fn try_concurrency(self, most: u32) -> Result<Self, RateLimitError> {
        if most == 0 {
            return Err(RateLimitError::ZeroLimit);
        }
        Ok(self.with(|limiter| limiter.settings.concurrency = Some(most)))
    }

    /// Lets requests wait for a slot of [`concurrency`](RateLimit::concurrency) instead of refusing them. Defaults to refusing at once.
    ///
    /// Each subject has its own queue. In it, requests of one client are in the order of their arrival, and the clients take turns: of a limit for all
    /// clients together, a client with many requests does not delay the others. A request whose quota is used up is refused at once, unless others
    /// wait before it, and nothing is charged before it gets its slot. A client that leaves gives up its turn. In a [shared](RateLimit::shared) store,
    /// the servers take turns, and a server waits for slots of other servers by one call in 10 to 200 ms for each subject.
    ///
    /// The bounds of the queue are refused with 429 (of a client) and 503 (overall), and a request that has waited for too long with 429, all with
    /// `Retry-After`. Also applies to [`SlotHandle::acquire`]. Requires the timers of a tokio runtime; without a runtime, requests are refused.
    #[must_use]
    pub fn queue(self, queue: SlotQueue) -> Self {
        self.with(|limiter| limiter.queues = Some(Arc::new(SlotQueues::new(queue))))
    }

    /// Delays requests for up to this time instead of refusing them. Defaults to refusing at once.
    ///
    /// Delayed requests are passed on in the order of their arrival, at the rate of the quota. A request that is dropped while it waits returns its
    /// turn. Requires the timers of a tokio runtime; without a runtime, requests are refused.
    #[must_use]
    pub fn delay(self, longest: Duration) -> Self {
        self.with(|limiter| limiter.settings.delay = longest.min(LONGEST_DELAY))
    }

    /// Adds a random number of whole seconds, up to this time, to each `Retry-After`. Defaults to none.
    ///
    /// A quota comes back one by one, so the clients of a quota do not return together. Clients that were blocked together, or refused because a
    /// shared store is unreachable, do.
    #[must_use]
    pub fn retry_jitter(self, longest: Duration) -> Self {
        self.with(|limiter| limiter.settings.jitter = longest)
    }

    /// Refuses nothing: requests that would be refused are counted, observed, logged, and passed on. Defaults to refusing. For one policy of several,
    /// see [`Policy::shadow`].
    #[must_use]
    pub fn shadow(self) -> Self {
        self.with(|limiter| limiter.settings.shadow = true)
    }

    /// Sets the header fields that show a client its state. Defaults to [`LimitHeaders::Ietf`]. An empty list leaves all out except `Retry-After`.
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

    /// Allows scripts in browsers to read these fields, by `Access-Control-Expose-Headers`. Defaults to leaving that to a CORS layer.
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

    /// Sets the response to a refusal. Defaults to a problem document; see the [module](self).
    ///
    /// The header fields are added to this response.
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

    /// Calls a function with every decision, such as one that logs clients [near their limit](Decision::is_near_limit). Defaults to none.
    ///
    /// The decision contains a [`Pseudonym`] of the client. If you need only numbers, [`RateLimitHandle::totals`] costs less.
    #[must_use]
    pub fn observe(self, f: impl Fn(&Request, &Decision) + Send + Sync + 'static) -> Self {
        self.with(|limiter| limiter.settings.observe = Some(Arc::new(f)))
    }

    /// Sets the largest number of keys, one for each client and policy. Defaults to 917,504, which take 16 MiB.
    ///
    /// # Panics
    ///
    /// If [`try_max_keys`](RateLimit::try_max_keys) fails.
    #[track_caller]
    #[must_use]
    pub fn max_keys(self, keys: usize) -> Self {
        checked(self.try_max_keys(keys))
    }

    /// Sets the largest number of keys to a number that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::ZeroKeys`] if `keys` is 0.
    pub fn try_max_keys(self, keys: usize) -> Result<Self, RateLimitError> {
        if keys == 0 {
            return Err(RateLimitError::ZeroKeys);
        }
        Ok(self.with(|limiter| {
            let memory = Arc::new(LocalMemory::new(keys));
            let before = std::mem::replace(&mut limiter.memory, memory);
            if let Some(shared_store) = &limiter.shared_store {
                shared_store.limits.replace_memory(&before, &limiter.memory);
            }
            limiter.renew_shared_store();
        }))
    }

    /// Sets the clock. Defaults to the monotonic clock of the system.
    #[must_use]
    pub fn clock(self, clock: LimitClock) -> Self {
        self.with(|limiter| {
            limiter.clock = clock;
            limiter.renew_shared_store();
        })
    }

    /// Counts in a store that several servers share, under a name that no other limiter has. Defaults to the memory of this server.
    ///
    /// All servers use the same name for the same limiter. The name is a part of all its keys, after the [prefix](SharedLimits::prefix), so limiters
    /// with equal quotas do not share a count. It has 1 to 64 ASCII letters, digits, `-`, `_`, `.` or spaces.
    ///
    /// Answers of the store are cached: a client that is known to be refused needs no call within the next second, and while the store is unreachable
    /// the limiter continues from the cached state. Requires a tokio runtime.
    ///
    /// # Panics
    ///
    /// If [`try_shared`](RateLimit::try_shared) fails.
    #[track_caller]
    #[must_use]
    pub fn shared(self, name: &str, limits: SharedLimits) -> Self {
        checked(self.try_shared(name, limits))
    }

    /// Counts in a store that several servers share, under a name that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::SharedName`] if another limiter uses a clone of `limits` with the same prefix and the same name: the two would share one count.
    /// A clone of a limiter shares the count of its original. [`RateLimitError::WindowInStore`] if a policy counts in windows and the store does not
    /// support them. [`RateLimitError::Name`] if the name has other characters. Two limiters of one chain with
    /// the same name and separate [`SharedLimits`] are reported in the log.
    pub fn try_shared(self, name: &str, limits: SharedLimits) -> Result<Self, RateLimitError> {
        for policy in &self.limiter.settings.policies {
            limits.check_window(policy)?;
        }
        let limits = limits.reserve(name, &self.limiter.memory)?;
        Ok(self.with(|limiter| limiter.shared_store = Some(Arc::new(StoreClient::new(limits)))))
    }

    /// Provides the [`Decision`] to the steps after it.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::rate_limit::Decision;
    /// use tower_chain::{Chain, Provided, RateLimit};
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

    /// Provides a value that a function makes from the [`Decision`] to the steps after it. With several limiters in a chain, each can provide a type
    /// of its own.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::rate_limit::Decision;
    /// use tower_chain::{Chain, Provided, RateLimit};
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

    /// A handle to the running limiter. Take it after all settings: it is not affected by later ones.
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
    /// Sets the period in which so many requests are allowed.
    ///
    /// # Panics
    ///
    /// If [`try_every`](PerClient::try_every) fails.
    #[track_caller]
    pub fn every(self, period: Duration) -> RateLimit {
        checked(self.try_every(period))
    }

    /// Sets a period that comes from configuration.
    ///
    /// # Errors
    ///
    /// See [`Quota::try_new`].
    pub fn try_every(self, period: Duration) -> Result<RateLimit, RateLimitError> {
        Quota::try_new(self.0, period).map(RateLimit::new)
    }
}

/// 256 shards of 64 KiB.
const MAX_KEYS: usize = 256 * memory::KEYS_PER_SHARD;
const LONGEST_DELAY: Duration = Duration::from_secs(3600);
