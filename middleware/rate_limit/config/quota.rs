//! Quotas, which are checked when they are built.

use std::num::NonZeroU32;
use std::time::Duration;

use super::error::{RateLimitError, checked};

/// A number of requests per period, and how many of them may be made at once.
///
/// Requests come back one by one: 60 per minute is one each second. The *burst* is the number of requests that may be made at once after a pause. It
/// defaults to the whole quota: a client that uses it at once and continues at the steady rate makes up to twice the quota in its first period. Set a
/// smaller [`burst`](Quota::burst) where that matters.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_chain::middleware::rate_limit::Quota;
///
/// let login = Quota::per_minute(5);
/// let search = Quota::new(1_000, Duration::from_secs(3600)).burst(50);
/// # let _ = (login, search);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    limit: NonZeroU32,
    period: Duration,
    rate: Rate,
}

/// The part of a quota that decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    /// Nanoseconds until one request comes back. Rounded up, so never more than the quota is admitted.
    pub(crate) interval: u64,
    pub(crate) burst: NonZeroU32,
}

impl Quota {
    /// A quota of `limit` requests per period.
    ///
    /// # Panics
    ///
    /// If [`try_new`](Quota::try_new) fails: a wrong constant is found when the program starts.
    #[track_caller]
    pub fn new(limit: u32, period: Duration) -> Self {
        checked(Self::try_new(limit, period))
    }

    /// A quota of `limit` requests per second. Panics as [`new`](Quota::new) does.
    #[track_caller]
    pub fn per_second(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// A quota of `limit` requests per minute. Panics as [`new`](Quota::new) does.
    #[track_caller]
    pub fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// A quota of `limit` requests per hour. Panics as [`new`](Quota::new) does.
    #[track_caller]
    pub fn per_hour(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(3600))
    }

    /// A quota with numbers that come from configuration.
    ///
    /// # Errors
    ///
    /// Returns [`RateLimitError`] if the limit or the period is zero, if there are more requests than nanoseconds, or if the period is longer than
    /// 100 years.
    pub fn try_new(limit: u32, period: Duration) -> Result<Self, RateLimitError> {
        let limit = NonZeroU32::new(limit).ok_or(RateLimitError::ZeroLimit)?;
        if period.is_zero() {
            return Err(RateLimitError::ZeroPeriod);
        }
        let interval = u64::try_from(period.as_nanos().div_ceil(limit.get().into()))
            .map_err(|_| RateLimitError::TooLong)?;
        if u128::from(limit.get()) > period.as_nanos() {
            return Err(RateLimitError::TooFast);
        }
        Self { limit, period, rate: Rate { interval, burst: limit } }.fitting()
    }

    /// Sets how many requests may be made at once after a pause. Defaults to the limit.
    ///
    /// # Panics
    ///
    /// If [`try_burst`](Quota::try_burst) fails.
    #[track_caller]
    #[must_use]
    pub fn burst(self, burst: u32) -> Self {
        checked(self.try_burst(burst))
    }

    /// Sets the burst to a number that comes from configuration.
    ///
    /// # Errors
    ///
    /// Returns [`RateLimitError`] if the burst is zero, or takes longer than 100 years to come back.
    pub fn try_burst(self, burst: u32) -> Result<Self, RateLimitError> {
        let burst = NonZeroU32::new(burst).ok_or(RateLimitError::ZeroLimit)?;
        Self { rate: Rate { burst, ..self.rate }, ..self }.fitting()
    }

    fn fitting(self) -> Result<Self, RateLimitError> {
        let burst_time = u128::from(self.rate.interval) * u128::from(self.burst_size());
        if burst_time > LONGEST.as_nanos() || self.period > LONGEST {
            return Err(RateLimitError::TooLong);
        }
        Ok(self)
    }

    /// The number of requests per [`period`](Quota::period).
    pub fn limit(&self) -> u32 {
        self.limit.get()
    }

    /// The period in which [`limit`](Quota::limit) requests come back.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// How many requests may be made at once.
    pub fn burst_size(&self) -> u32 {
        self.rate.burst.get()
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// The quota times a factor, or the same quota if the result is too large.
    pub(crate) fn times(&self, factor: u32) -> Self {
        Self::try_new(self.limit().saturating_mul(factor), self.period)
            .and_then(|quota| quota.try_burst(self.burst_size().saturating_mul(factor)))
            .unwrap_or(*self)
    }
}

impl Rate {
    /// Nanoseconds until the whole burst has come back. Below 2^62.
    pub(crate) fn burst_time(self) -> u64 {
        self.interval * u64::from(self.burst.get())
    }

    /// Nanoseconds for which so many requests charge a key.
    pub(crate) fn charge(self, cost: u32) -> u64 {
        self.interval.saturating_mul(cost.into())
    }

    /// How many requests fit, and after how many nanoseconds one more will, for a key that is charged until then.
    pub(crate) fn standing(self, until: u64, now: u64) -> (u32, u64) {
        let taken = until.saturating_sub(now);
        let free = self.burst_time().saturating_sub(taken);
        let remaining = u32::try_from(free / self.interval).unwrap_or(u32::MAX);
        if taken == 0 {
            return (remaining, 0);
        }
        let over = taken.saturating_sub(self.burst_time());
        (remaining, over + self.interval - free % self.interval)
    }

    /// For how many nanoseconds a key is charged if a fifth of the burst is left.
    pub(crate) fn near_limit_time(self) -> u64 {
        self.burst_time() - self.burst_time() / 5
    }

    /// The share of one of so many servers.
    pub(crate) fn share(self, servers: u32) -> Self {
        let servers = servers.clamp(1, self.burst.get());
        let burst = NonZeroU32::new(self.burst.get() / servers).unwrap_or(NonZeroU32::MIN);
        // The share comes back in the same time as the whole quota, rounded up.
        Self { interval: self.burst_time().div_ceil(burst.get().into()), burst }
    }

    /// For how long a key is charged under this rate if it was charged for so many nanoseconds under another one: the fraction of the burst that was
    /// used is kept, rounded up.
    pub(crate) fn converted(self, nanos: u64, from: Self) -> u64 {
        let product = u128::from(nanos) * u128::from(self.burst_time());
        u64::try_from(product.div_ceil(from.burst_time().into())).unwrap_or(u64::MAX)
    }

    /// The same rate as a quota of `governor`. `further` more requests may be made at once, which then wait.
    pub(crate) fn governed(self, further: u32) -> Option<governor::Quota> {
        let quota = governor::Quota::with_period(Duration::from_nanos(self.interval))?;
        Some(quota.allow_burst(self.burst.saturating_add(further)))
    }
}

/// A number of requests whose period is not set yet. Returned by [`RateLimit::per_client`](crate::RateLimit::per_client).
#[derive(Clone, Copy, Debug)]
#[must_use = "set the period with `.every(..)`"]
pub struct PerClient(pub(crate) u32);

/// The longest time for which a key may be charged.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
