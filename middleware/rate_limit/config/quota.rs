//! Quotas, which are checked when they are built.

use std::num::NonZeroU32;
use std::time::Duration;

use super::clock::seconds;
use super::error::{RateLimitError, checked};

/// A number of requests per period, and how many of them may be made at once.
///
/// Requests come back one by one: 60 per minute is one each second. The *burst* is the number of requests that may be made at once after a pause. It
/// defaults to the whole quota: a client that uses it at once and continues at the steady rate makes up to twice the quota in its first period. Set a
/// smaller [`burst`](Quota::burst) where that matters, or count in windows: [`fixed_window`](Quota::fixed_window) and
/// [`from_midnight_utc`](Quota::from_midnight_utc).
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
    rate: Rate,
}

/// The part of a quota that decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    /// Nanoseconds until one request comes back. Rounded up, so never more than the quota is admitted.
    pub(crate) interval: u64,
    pub(crate) burst: NonZeroU32,
    pub(crate) pace: Pace,
    /// The period of the quota in nanoseconds. For a window, its length.
    pub(crate) length: u64,
    /// Of a calendar window: when the first one starts, by the clock of the limiter or, in a quota, since 1970. Of a window that starts with a request:
    /// windows end at multiples of this.
    pub(crate) phase: u64,
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

    /// A quota of `limit` requests per day of 24 hours. Panics as [`new`](Quota::new) does.
    #[track_caller]
    pub fn per_day(limit: u32) -> Self {
        Self::new(limit, DAY)
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
        let length = u64::try_from(period.as_nanos()).map_err(|_| RateLimitError::TooLong)?;
        let rate = Rate { interval, burst: limit, pace: Pace::Gradual, length, phase: 0 };
        Self { limit, rate }.fitting()
    }

    /// Counts in windows of the calendar, which start at midnight UTC and every period after it. Defaults to requests that come back one by one.
    ///
    /// All requests of a window come back at once when the next window starts, and none before. A client may use up one window at its end and the next
    /// one at its start; see [`fixed_window`](Quota::fixed_window).
    ///
    /// # Panics
    ///
    /// If [`try_from_midnight_utc`](Quota::try_from_midnight_utc) fails.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::RateLimit;
    /// use tower_chain::middleware::rate_limit::Quota;
    ///
    /// let plan = RateLimit::new(Quota::per_day(10_000).from_midnight_utc());
    /// # let _ = plan;
    /// ```
    #[track_caller]
    #[must_use]
    pub fn from_midnight_utc(self) -> Self {
        checked(self.try_from_midnight_utc())
    }

    /// Counts in windows of the calendar, for a quota that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Window`] unless the period divides a day or is a number of whole days, and [`RateLimitError::TooFast`] if the limit is above one
    /// request per microsecond.
    pub fn try_from_midnight_utc(self) -> Result<Self, RateLimitError> {
        let (length, day) = (self.rate.length, DAY.as_nanos() as u64);
        if !day.is_multiple_of(length) && !length.is_multiple_of(day) {
            return Err(RateLimitError::Window);
        }
        // Rounded down, so the whole window fits into its length.
        let interval = length / u64::from(self.limit()) / MICROSECOND * MICROSECOND;
        self.in_window(Pace::Calendar, interval, 0)
    }

    /// Counts in windows that start with the first request of a client after the window before. Defaults to requests that come back one by one.
    ///
    /// All requests of a window come back at once when it has ended, and none before: 100 requests in 15 minutes are never 200 in the 15 minutes after
    /// the first one. A client that makes most of its requests at the end of one window and all of them at the start of the next one makes up to 199
    /// within a shorter time. To exclude that, use a quota without a window and with a [`burst`](Quota::burst) of half the limit, and half the
    /// limit in the period: at most the limit is then admitted in any period.
    ///
    /// A [debt](crate::middleware::rate_limit::Policy::settle) ends with its window, and is at most 15 times the limit.
    ///
    /// # Panics
    ///
    /// If [`try_fixed_window`](Quota::try_fixed_window) fails.
    ///
    /// # Example
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_chain::RateLimit;
    /// use tower_chain::middleware::rate_limit::Quota;
    ///
    /// let limit = RateLimit::new(Quota::new(100, Duration::from_secs(15 * 60)).fixed_window());
    /// # let _ = limit;
    /// ```
    #[track_caller]
    #[must_use]
    pub fn fixed_window(self) -> Self {
        checked(self.try_fixed_window())
    }

    /// Counts in windows that start with a request, for a quota that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::TooFast`] if the limit is above one request in 256 microseconds.
    pub fn try_fixed_window(self) -> Result<Self, RateLimitError> {
        let grid = (u64::from(self.limit()) + 1) * WINDOW_COUNTS * MICROSECOND;
        if grid > self.rate.length / 16 {
            return Err(RateLimitError::TooFast);
        }
        self.in_window(Pace::FirstRequest, MICROSECOND, grid)
    }

    fn in_window(self, pace: Pace, interval: u64, phase: u64) -> Result<Self, RateLimitError> {
        if interval == 0 {
            return Err(RateLimitError::TooFast);
        }
        let length = self.rate.length / MICROSECOND * MICROSECOND;
        let rate = Rate { interval, burst: self.limit, pace, length, phase };
        Self { rate, ..self }.fitting()
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
    /// Returns [`RateLimitError`] if the burst is zero, or takes longer than 100 years to come back, or if the quota has a window, in which all requests
    /// may be made at once.
    pub fn try_burst(self, burst: u32) -> Result<Self, RateLimitError> {
        if self.rate.is_window() {
            return Err(RateLimitError::Window);
        }
        let burst = NonZeroU32::new(burst).ok_or(RateLimitError::ZeroLimit)?;
        Self { rate: Rate { burst, ..self.rate }, ..self }.fitting()
    }

    fn fitting(self) -> Result<Self, RateLimitError> {
        let burst_time = u128::from(self.rate.interval) * u128::from(self.burst_size());
        if burst_time > LONGEST.as_nanos() || self.period() > LONGEST {
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
        Duration::from_nanos(self.rate.length)
    }

    /// How many requests may be made at once.
    pub fn burst_size(&self) -> u32 {
        self.rate.burst.get()
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// In how many seconds the whole burst comes back, for header fields. For a window, its length.
    pub(crate) fn window_seconds(&self) -> u64 {
        let nanos = match self.rate.is_window() {
            true => self.rate.length,
            false => self.rate.burst_time(),
        };
        seconds(nanos).max(1)
    }

    /// The quota as text, for a shared store: limit, period in nanoseconds, burst and, for a window, its kind.
    pub(crate) fn to_text(self) -> String {
        let Rate { burst, pace, length, .. } = self.rate;
        let window = match pace {
            Pace::Gradual => "",
            Pace::Calendar => " calendar",
            Pace::FirstRequest => " fixed",
        };
        format!("{} {length} {burst}{window}", self.limit)
    }

    /// The quota that [`to_text`](Quota::to_text) has written. `None` for any other text.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let limit = parts.next()?.parse().ok()?;
        let period = Duration::from_nanos(parts.next()?.parse().ok()?);
        let burst = parts.next()?.parse().ok()?;
        let quota = Self::try_new(limit, period).ok()?;
        let quota = match parts.next() {
            None => quota.try_burst(burst),
            Some("calendar") => quota.try_from_midnight_utc(),
            Some("fixed") => quota.try_fixed_window(),
            Some(_) => return None,
        };
        quota.ok().filter(|_| parts.next().is_none())
    }

    /// The quota times a factor, or the same quota if the result is too large.
    pub(crate) fn times(&self, factor: u32) -> Self {
        let larger = Self::try_new(self.limit().saturating_mul(factor), self.period());
        let burst = self.burst_size().saturating_mul(factor);
        let larger = larger.and_then(|quota| match self.rate.pace {
            Pace::Gradual => quota.try_burst(burst),
            Pace::Calendar => quota.try_from_midnight_utc(),
            Pace::FirstRequest => quota.try_fixed_window(),
        });
        larger.unwrap_or(*self)
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

    pub(crate) fn is_window(&self) -> bool {
        self.pace != Pace::Gradual
    }

    /// The rate by a clock that has shown 0 at this time since 1970.
    pub(crate) fn by_clock(mut self, start: u64) -> Self {
        if self.pace == Pace::Calendar {
            self.phase = (self.phase + self.length - start % self.length) % self.length;
        }
        self
    }

    /// When the first calendar window starts, since 1970, for a rate by a clock that has shown 0 at `start`.
    pub(crate) fn unix_phase(&self, start: u64) -> u64 {
        (self.phase + start % self.length) % self.length
    }

    /// The time from which a key is charged that is charged until then.
    ///
    /// Without a window, this is the present. With a window, it is the end of the present one: time stands still for GCRA within a window, and advances
    /// by its length from one window to the next. The state is a time after the end of its window, so the key is kept until then. Windows that start
    /// with a request end at a multiple of `phase`, which is larger than any charge, so the end can be computed from the state.
    #[inline]
    pub(crate) fn origin(&self, until: u64, now: u64) -> u64 {
        match self.pace {
            Pace::Gradual => now,
            Pace::Calendar => now + self.length - (now + self.length - self.phase) % self.length,
            Pace::FirstRequest => {
                let end = until - until % self.phase;
                if end > now { end } else { (now + self.length).next_multiple_of(self.phase) }
            }
        }
    }

    /// For how many nanoseconds a key is charged that is charged until then.
    #[inline]
    pub(crate) fn taken(&self, until: u64, now: u64) -> u64 {
        until.saturating_sub(self.origin(until, now))
    }

    /// Nanoseconds until the charge of a key has become smaller by `over`. Windows end one by one, each with a part of the charge as long as itself.
    pub(crate) fn wait(&self, over: u64, until: u64, now: u64) -> u64 {
        match self.pace {
            Pace::Gradual => over,
            Pace::Calendar => {
                let windows = over.div_ceil(self.length).max(1) - 1;
                let end = self.origin(until, now) - now;
                end.saturating_add(windows.saturating_mul(self.length))
            }
            Pace::FirstRequest => self.origin(until, now) - now,
        }
    }

    /// Nanoseconds until the whole quota has come back.
    pub(crate) fn full(&self, until: u64, now: u64) -> u64 {
        match self.taken(until, now) {
            0 => 0,
            taken => self.wait(taken, until, now),
        }
    }

    /// Until when a key is charged by this clock, if another clock has its window end after `end` nanoseconds and charges it for `taken` more.
    pub(crate) fn adopt(&self, end: u64, taken: u64, now: u64) -> u64 {
        let there = now.saturating_add(end);
        let here = match self.pace {
            Pace::Gradual => there,
            // The clocks may differ by a little, which must not look like a charge.
            Pace::Calendar => {
                let here = self.origin(0, now);
                if here.abs_diff(there) < self.length / 2 { here } else { there }
            }
            Pace::FirstRequest => there.next_multiple_of(self.phase),
        };
        here.saturating_add(taken)
    }

    /// By how many requests beyond the burst a key may be charged, so the charge takes at most 100 years to come back.
    pub(crate) fn longest_debt(self) -> u32 {
        let most = match self.pace {
            Pace::FirstRequest => self.phase - 1,
            _ => u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX),
        };
        let most = u32::try_from(most / self.interval).unwrap_or(u32::MAX);
        most.saturating_sub(self.burst.get())
    }

    /// For how many nanoseconds a key may be charged at most.
    pub(crate) fn longest_charge(self) -> u64 {
        self.charge(self.burst.get().saturating_add(self.longest_debt()))
    }

    /// The longest time in which an unused quota has come back, however little of it was used before.
    pub(crate) fn longest_return(self) -> u64 {
        match self.pace {
            Pace::Gradual => self.burst_time(),
            Pace::Calendar => self.length,
            Pace::FirstRequest => self.length.saturating_add(self.phase),
        }
    }

    /// How many requests fit, and after how many nanoseconds one more will, for a key that is charged until then.
    pub(crate) fn standing(self, until: u64, now: u64) -> (u32, u64) {
        let taken = self.taken(until, now);
        let free = self.burst_time().saturating_sub(taken);
        let remaining = u32::try_from(free / self.interval).unwrap_or(u32::MAX);
        if taken == 0 {
            return (remaining, 0);
        }
        let over = taken.saturating_sub(self.burst_time());
        (remaining, self.wait(over + self.interval - free % self.interval, until, now))
    }

    /// For how many nanoseconds a key is charged if a fifth of the burst is left.
    pub(crate) fn near_limit_time(self) -> u64 {
        self.burst_time() - self.burst_time() / 5
    }

    /// The share of one of so many servers.
    pub(crate) fn share(self, servers: u32) -> Self {
        let servers = servers.clamp(1, self.burst.get());
        let burst = NonZeroU32::new(self.burst.get() / servers).unwrap_or(NonZeroU32::MIN);
        // The share comes back in the same time as the whole quota, rounded up. In a window it must fit into the same time, rounded down.
        let interval = match self.is_window() {
            true => (self.burst_time() / u64::from(burst.get())).max(1),
            false => self.burst_time().div_ceil(burst.get().into()),
        };
        Self { interval, burst, ..self }
    }

    /// For how long a key is charged under this rate if it was charged for so many nanoseconds under another one: the fraction of the burst that was
    /// used is kept, rounded up. For a window, both times count from its end on.
    pub(crate) fn converted(self, nanos: u64, from: Self) -> u64 {
        let product = u128::from(nanos) * u128::from(self.burst_time());
        let nanos = u64::try_from(product.div_ceil(from.burst_time().into())).unwrap_or(u64::MAX);
        nanos.min(self.longest_charge())
    }

    /// The same rate as a quota of `governor`. `further` more requests may be made at once, which then wait.
    pub(crate) fn governed(self, further: u32) -> Option<governor::Quota> {
        let quota = governor::Quota::with_period(Duration::from_nanos(self.interval))?;
        Some(quota.allow_burst(self.burst.saturating_add(further)))
    }
}

/// How the requests of a quota come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pace {
    /// One by one.
    Gradual,
    /// All at once, when a window of the calendar ends.
    Calendar,
    /// All at once, when a window ends that has started with the first request.
    FirstRequest,
}

/// A number of requests whose period is not set yet. Returned by [`RateLimit::per_client`](crate::RateLimit::per_client).
#[derive(Clone, Copy, Debug)]
#[must_use = "set the period with `.every(..)`"]
pub struct PerClient(pub(crate) u32);

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A store counts in microseconds.
const MICROSECOND: u64 = 1_000;
/// By how many times its limit a window may be charged.
const WINDOW_COUNTS: u64 = 16;
/// The longest time for which a key may be charged.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
