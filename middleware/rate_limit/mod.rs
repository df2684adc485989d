//! Limits how many requests a client may make.

mod clock;
mod memory;
mod quota;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_core::response::IntoResponse;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use self::memory::{Ask, Check, Memory, Outcome};
use self::quota::checked;
use crate::extract::ClientAddr;
use crate::{Endpoint, Error, Middleware, Request, Response, Rest};

pub use self::clock::LimitClock;
pub use self::quota::{PerClient, Quota, RateLimitConfigError};

/// Limits how many requests each client may make.
#[derive(Clone, Debug)]
pub struct RateLimit {
    quota: Quota,
    clock: LimitClock,
    memory: Arc<Memory>,
}

impl RateLimit {
    /// So many requests per client, in the time that [`every`](PerClient::every) says.
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

    /// A limiter with this quota for each client.
    pub fn new(quota: Quota) -> Self {
        Self { quota, clock: LimitClock::system(), memory: Arc::new(Memory::new(MAX_KEYS)) }
    }

    /// Sets the clock. Defaults to the monotonic clock of the system.
    #[must_use]
    pub fn clock(mut self, clock: LimitClock) -> Self {
        self.clock = clock;
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
    pub fn try_every(self, period: Duration) -> Result<RateLimit, RateLimitConfigError> {
        Quota::try_new(self.0, period).map(RateLimit::new)
    }
}

impl Middleware for RateLimit {
    type Provides = ();

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response {
        let client: Option<IpAddr> = ClientAddr::of(req.headers(), req.extensions()).map(|c| c.0);
        let hash = self.memory.hash(client);
        let ask = Ask::Charge { quota: self.quota, cost: 1, further: 0 };
        let mut checks = [Check::new(self.memory.shard_of(hash), hash, 0, ask)];
        if self.memory.decide(&mut checks, self.clock.now()) {
            return next.run(req).await;
        }
        let mut error = Error::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests")
            .with_type("https://iana.org/assignments/http-problem-types#quota-exceeded");
        if let [Check { outcome: Outcome::Wait(wait), .. }] = checks {
            error = error.with_header(RETRY_AFTER, HeaderValue::from(wait.div_ceil(1_000_000_000)));
        }
        error.into_response()
    }
}

/// 256 shards of 64 KiB.
const MAX_KEYS: usize = 256 * memory::KEYS_PER_SHARD;
