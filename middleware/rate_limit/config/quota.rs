//! How much is allowed, checked when it is written down.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// So many requests in so much time, and how many of them at once.
///
/// Requests come back one by one: 60 per minute is one each second. The *burst* is how many may be made at once after a
/// pause. It defaults to the whole quota, so that a client which drains it at once and goes on at the steady rate makes up to twice the quota
/// in its first period; set a smaller [`burst`](Quota::burst) where that matters.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_chain::Quota;
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

/// What a decision needs of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    /// Nanoseconds until one request comes back, rounded up: never more than the quota is admitted.
    pub(crate) interval: u64,
    pub(crate) burst: NonZeroU32,
}

impl Quota {
    /// So many requests per period.
    ///
    /// # Panics
    ///
    /// If [`try_new`](Quota::try_new) fails: a wrong constant shows when the program starts.
    #[track_caller]
    pub fn new(limit: u32, period: Duration) -> Self {
        checked(Self::try_new(limit, period))
    }

    /// So many requests per second. Panics as [`new`](Quota::new) does.
    #[track_caller]
    pub fn per_second(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// So many requests per minute. Panics as [`new`](Quota::new) does.
    #[track_caller]
    pub fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// So many requests per hour. Panics as [`new`](Quota::new) does.
    #[track_caller]
    pub fn per_hour(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(3600))
    }

    /// So many requests per period, with numbers that come from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError`] if the limit or the period is zero, or if there are more requests than nanoseconds, or if the period is
    /// longer than 100 years.
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

    /// Sets how many requests may be made at once, with a number that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError`] if the burst is zero, or takes longer than 100 years to come back.
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

    /// So many times as much, or the same if that can't be counted.
    pub(crate) fn times(&self, factor: u32) -> Self {
        Self::try_new(self.limit().saturating_mul(factor), self.period)
            .and_then(|quota| quota.try_burst(self.burst_size().saturating_mul(factor)))
            .unwrap_or(*self)
    }
}

impl Rate {
    /// Nanoseconds until all of the burst has come back. Below 2^62.
    pub(crate) fn burst_time(self) -> u64 {
        self.interval * u64::from(self.burst.get())
    }

    /// Nanoseconds for which so many requests charge a key.
    pub(crate) fn charge(self, cost: u32) -> u64 {
        self.interval.saturating_mul(cost.into())
    }

    /// How many requests fit, and in how many nanoseconds one more will, for a key that is charged until then.
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

    /// Nanoseconds for which a key is charged that has a fifth of the burst left.
    pub(crate) fn near_limit_time(self) -> u64 {
        self.burst_time() - self.burst_time() / 5
    }

    /// An equal share of it, for one of so many servers.
    pub(crate) fn share(self, servers: u32) -> Self {
        let servers = servers.clamp(1, self.burst.get());
        let burst = NonZeroU32::new(self.burst.get() / servers).unwrap_or(NonZeroU32::MIN);
        // As long as the whole quota needs to come back, rounded up.
        Self { interval: self.burst_time().div_ceil(burst.get().into()), burst }
    }

    /// The rate in the words of the crate that decides. `further` requests more may be made at once, by those who then wait.
    pub(crate) fn governed(self, further: u32) -> Option<governor::Quota> {
        let quota = governor::Quota::with_period(Duration::from_nanos(self.interval))?;
        Some(quota.allow_burst(self.burst.saturating_add(further)))
    }
}

/// A number of requests that waits for its period. Made by [`RateLimit::per_client`](crate::RateLimit::per_client).
#[derive(Clone, Copy, Debug)]
#[must_use = "say in which time, with `.every(..)`"]
pub struct PerClient(pub(crate) u32);

/// Why a rate limit can't be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateLimitError {
    /// A limit or a burst is zero.
    ZeroLimit,
    /// A period is zero.
    ZeroPeriod,
    /// More requests are allowed than there are nanoseconds.
    TooFast,
    /// A quota takes more than 100 years to come back.
    TooLong,
    /// The name of a policy can't stand in a header.
    Name(String),
    /// Two policies of one limiter have the same name.
    DuplicateName(String),
    /// A limiter has more than eight policies.
    TooManyPolicies,
    /// A prefix of addresses is longer than the address, or not longer than the one before.
    Prefix,
    /// There is no room for keys.
    ZeroKeys,
    /// The prefix of the keys in a shared store is empty.
    StorePrefix,
}

impl fmt::Display for RateLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroLimit => f.write_str(
                "a limit of 0 refuses everything: allow at least 1 request, or release the route out",
            ),
            Self::ZeroPeriod => f.write_str("the period of a limit must be longer than zero"),
            Self::TooFast => {
                f.write_str("the limit is above one request per nanosecond: lower it, or release it out")
            }
            Self::TooLong => f.write_str(
                "the quota takes more than 100 years to come back: shorten the period or lower the burst",
            ),
            Self::Name(name) => write!(
                f,
                "the policy name {name:?} can't stand in a header: use 1 to 64 letters, digits, `-`, `_`, `.` or spaces"
            ),
            Self::DuplicateName(name) => {
                write!(f, "two policies are named {name:?}: give each its own name")
            }
            Self::TooManyPolicies => {
                write!(f, "a limiter has at most {MAX_POLICIES} policies: stack a second limiter")
            }
            Self::Prefix => f.write_str(
                "IPv6 prefixes must be 1 to 128 bits long, from the longest to the shortest, at most 3; an IPv4 prefix must be 1 to 32",
            ),
            Self::ZeroKeys => f.write_str("`max_keys` must be at least 1"),
            Self::StorePrefix => f.write_str(
                "the prefix of the keys in a shared store is empty: name it after the application, decide_without_store braces",
            ),
        }
    }
}

impl std::error::Error for RateLimitError {}

/// What was asked for, or a panic that says what is wrong with it, at the line that asked.
#[track_caller]
pub(crate) fn checked<T>(built: Result<T, RateLimitError>) -> T {
    match built {
        Ok(built) => built,
        Err(error) => panic!("{error}"),
    }
}

/// How many policies a limiter has at most.
pub(crate) const MAX_POLICIES: usize = 8;

/// No key is charged for longer than that.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
