//! Quotas, which are checked when they are built.

use std::num::NonZeroU32;
use std::time::Duration;

use super::calendar::{CalendarPeriod, DAY, LONGEST_MONTH, end_of_month, length_of_month};
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
    /// Of a calendar window: when the first one starts, by the clock of the limiter or, in a quota, since 1970. Of a month: what to add to the time, by
    /// the same clocks, to get the local time one day later. Of a window that starts with a request: windows end at multiples of this.
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
        Self::new(limit, Duration::from_secs(DAY))
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
        let (length, day) = (self.rate.length, DAY * SECOND);
        if !day.is_multiple_of(length) && !length.is_multiple_of(day) {
            return Err(RateLimitError::Window);
        }
        // Rounded down, so the whole window fits into its length.
        let interval = length / u64::from(self.limit()) / MICROSECOND * MICROSECOND;
        self.in_window(Pace::Calendar, interval, 0)
    }

    /// A quota of `limit` requests in each hour, day, week or month of the calendar, in UTC. See [`from_midnight_utc`](Quota::from_midnight_utc) for what a
    /// window of the calendar is.
    ///
    /// A month has 28 to 31 days, all with the same limit. A [debt](crate::middleware::rate_limit::Policy::settle) that is larger than the limit comes back
    /// with the days of the months after it, as if each of 28 days had a part of the limit: up to 11 % faster than by the limit of a month.
    ///
    /// # Panics
    ///
    /// If [`try_calendar`](Quota::try_calendar) fails.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::RateLimit;
    /// use tower_chain::middleware::rate_limit::{CalendarPeriod, Quota};
    ///
    /// let plan = RateLimit::new(Quota::calendar(100_000, CalendarPeriod::Month));
    /// # let _ = plan;
    /// ```
    #[track_caller]
    pub fn calendar(limit: u32, period: CalendarPeriod) -> Self {
        checked(Self::try_calendar(limit, period))
    }

    /// A quota by the calendar whose limit comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::ZeroLimit`] if the limit is 0, and [`RateLimitError::TooFast`] if it is above one request per microsecond.
    pub fn try_calendar(limit: u32, period: CalendarPeriod) -> Result<Self, RateLimitError> {
        let quota = Self::try_new(limit, Duration::from_secs(period.seconds()))?;
        let quota = quota.try_from_midnight_utc()?;
        let rate = match period {
            CalendarPeriod::Month => Rate { pace: Pace::Month, phase: DAY * SECOND, ..quota.rate },
            _ => Rate { phase: period.first() * SECOND % quota.rate.length, ..quota.rate },
        };
        Ok(Self { rate, ..quota })
    }

    /// Sets the difference of the local time to UTC in minutes, for windows of the calendar: they start at local midnight. Defaults to 0. Other quotas
    /// are not affected.
    ///
    /// The difference is fixed. Daylight saving time does not change it.
    ///
    /// # Panics
    ///
    /// If [`try_utc_offset`](Quota::try_utc_offset) fails.
    #[track_caller]
    #[must_use]
    pub fn utc_offset(self, minutes: i32) -> Self {
        checked(self.try_utc_offset(minutes))
    }

    /// Sets the difference of the local time to UTC to a number that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::UtcOffset`] unless it is less than 24 hours.
    pub fn try_utc_offset(self, minutes: i32) -> Result<Self, RateLimitError> {
        const MINUTE: u64 = 60 * SECOND;
        let nanos = u64::from(minutes.unsigned_abs()).saturating_mul(MINUTE);
        if nanos >= DAY * SECOND {
            return Err(RateLimitError::UtcOffset);
        }
        // How much later than in UTC a window starts, by which an earlier offset is replaced.
        let later = match self.rate.pace {
            Pace::Gradual | Pace::FirstRequest => return Ok(self),
            Pace::Month => {
                let phase = if minutes < 0 { DAY * SECOND - nanos } else { DAY * SECOND + nanos };
                return Ok(Self { rate: Rate { phase, ..self.rate }, ..self });
            }
            Pace::Calendar if minutes < 0 => nanos,
            Pace::Calendar => self.rate.length - nanos % self.rate.length,
        };
        let week = CalendarPeriod::Week;
        let first = if self.is_week() { week.first() * SECOND } else { 0 };
        let phase = (first + later) % self.rate.length;
        Ok(Self { rate: Rate { phase, ..self.rate }, ..self })
    }

    /// Whether the windows are weeks that start on Mondays: in UTC or at an offset of less than a day.
    fn is_week(&self) -> bool {
        let Rate { pace, length, phase, .. } = self.rate;
        let days = phase / (DAY * SECOND);
        pace == Pace::Calendar && length == 7 * DAY * SECOND && (3..=4).contains(&days)
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

    /// The period in which [`limit`](Quota::limit) requests come back. Of a calendar month, the longest one.
    pub fn period(&self) -> Duration {
        match self.rate.pace {
            Pace::Month => LONGEST_MONTH,
            _ => Duration::from_nanos(self.rate.length),
        }
    }

    /// How many requests may be made at once.
    pub fn burst_size(&self) -> u32 {
        self.rate.burst.get()
    }

    /// Whether the windows are months, which are not equally long.
    pub(crate) fn is_month(&self) -> bool {
        self.rate.pace == Pace::Month
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// In how many seconds the whole burst comes back, for header fields. For a window, its length: for a month, that of the month of a time since 1970.
    pub(crate) fn window_seconds(&self, unix: u64) -> u64 {
        let nanos = match self.rate.pace {
            Pace::Gradual => self.rate.burst_time(),
            Pace::Month => length_of_month((unix + self.rate.phase).saturating_sub(DAY * SECOND)),
            Pace::Calendar | Pace::FirstRequest => self.rate.length,
        };
        seconds(nanos).max(1)
    }

    /// The quota as text, for a shared store: limit, period in nanoseconds, burst and, for a window, its kind, and for one of the calendar also its phase.
    pub(crate) fn to_text(self) -> String {
        let Rate { burst, pace, length, phase, .. } = self.rate;
        let window = match pace {
            Pace::Gradual => String::new(),
            Pace::Calendar if phase == 0 => " calendar".to_owned(),
            Pace::Calendar => format!(" calendar {phase}"),
            Pace::Month => format!(" month {phase}"),
            Pace::FirstRequest => " fixed".to_owned(),
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
        let kind = parts.next();
        let phase: Option<u64> = match parts.next() {
            Some(phase) => Some(phase.parse().ok()?),
            None => None,
        };
        let quota = match (kind, phase) {
            (None, None) => quota.try_burst(burst),
            (Some("calendar"), phase) => quota.try_from_midnight_utc().and_then(|mut quota| {
                quota.rate.phase = phase.unwrap_or(0);
                (quota.rate.phase < quota.rate.length)
                    .then_some(quota)
                    .ok_or(RateLimitError::Window)
            }),
            (Some("month"), Some(phase)) if phase < 2 * DAY * SECOND => {
                Self::try_calendar(limit, CalendarPeriod::Month).map(|mut quota| {
                    quota.rate.phase = phase;
                    quota
                })
            }
            (Some("fixed"), None) => quota.try_fixed_window(),
            _ => return None,
        };
        quota.ok().filter(|_| parts.next().is_none())
    }

    /// The quota times a factor, or the same quota if the result is too large.
    pub(crate) fn times(&self, factor: u32) -> Self {
        let length = Duration::from_nanos(self.rate.length);
        let larger = Self::try_new(self.limit().saturating_mul(factor), length);
        let burst = self.burst_size().saturating_mul(factor);
        let larger = larger.and_then(|quota| match self.rate.pace {
            Pace::Gradual => quota.try_burst(burst),
            Pace::Calendar | Pace::Month => quota.try_from_midnight_utc().map(|quota| {
                let Rate { pace, phase, .. } = self.rate;
                Self { rate: Rate { pace, phase, ..quota.rate }, ..quota }
            }),
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

    #[inline]
    pub(crate) fn is_window(&self) -> bool {
        self.pace != Pace::Gradual
    }

    /// The rate by a clock that has shown 0 at this time since 1970.
    pub(crate) fn by_clock(mut self, start: u64) -> Self {
        match self.pace {
            Pace::Calendar => {
                self.phase = (self.phase + self.length - start % self.length) % self.length;
            }
            Pace::Month => self.phase += start,
            Pace::Gradual | Pace::FirstRequest => {}
        }
        self
    }

    /// The phase since 1970 of a rate by a clock that has shown 0 at `start`.
    pub(crate) fn unix_phase(&self, start: u64) -> u64 {
        match self.pace {
            Pace::Month => self.phase.saturating_sub(start),
            _ => (self.phase + start % self.length) % self.length,
        }
    }

    /// The time from which a key is charged that is charged until then.
    ///
    /// Without a window, this is the present. With a window, it is the end of the present one: time stands still for GCRA within a window, and advances
    /// by its length from one window to the next. The state is a time after the end of its window, so the key is kept until then. Windows that start
    /// with a request end at a multiple of `phase`, which is larger than any charge, so the end can be computed from the state.
    #[inline]
    pub(crate) fn origin(&self, until: u64, now: u64) -> u64 {
        if self.is_window() { self.end_of_window(until, now) } else { now }
    }

    fn end_of_window(&self, until: u64, now: u64) -> u64 {
        match self.pace {
            Pace::Gradual => now,
            Pace::Calendar => now + self.length - (now + self.length - self.phase) % self.length,
            Pace::Month => self.end_of_month(now),
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
    #[inline]
    pub(crate) fn wait(&self, over: u64, until: u64, now: u64) -> u64 {
        if self.is_window() { self.wait_for_windows(over, until, now) } else { over }
    }

    fn wait_for_windows(&self, over: u64, until: u64, now: u64) -> u64 {
        match self.pace {
            Pace::Gradual => over,
            Pace::Calendar => {
                let windows = over.div_ceil(self.length).max(1) - 1;
                let end = self.origin(until, now) - now;
                end.saturating_add(windows.saturating_mul(self.length))
            }
            Pace::Month => {
                let mut end = self.end_of_month(now);
                let drained = end.saturating_add(over);
                // A debt of many months takes as long as they do. They are bounded: see `MOST_MONTHS`.
                for _ in 0..MOST_MONTHS {
                    let next = self.end_of_month(end);
                    if next >= drained {
                        break;
                    }
                    end = next;
                }
                end - now
            }
            Pace::FirstRequest => self.origin(until, now) - now,
        }
    }

    /// When the month of a time ends, by the clock of this rate.
    fn end_of_month(&self, now: u64) -> u64 {
        let local = (now + self.phase).saturating_sub(DAY * SECOND);
        now + (end_of_month(local) - local)
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
            Pace::Calendar | Pace::Month => {
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
            Pace::Month => LONGEST_MONTH.as_nanos() as u64,
            Pace::FirstRequest => self.length.saturating_add(self.phase),
        }
    }

    /// How many requests fit, and after how many nanoseconds one more will, for a key that is charged until then.
    #[inline]
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
    /// All at once, when a month of the calendar ends. The length is that of the shortest one.
    Month,
    /// All at once, when a window ends that has started with the first request.
    FirstRequest,
}

/// A number of requests whose period is not set yet. Returned by [`RateLimit::per_client`](crate::RateLimit::per_client).
#[derive(Clone, Copy, Debug)]
#[must_use = "set the period with `.every(..)`"]
pub struct PerClient(pub(crate) u32);

const SECOND: u64 = 1_000_000_000;
/// A store counts in microseconds.
const MICROSECOND: u64 = 1_000;
/// The months of 100 years, for which a key may be charged.
const MOST_MONTHS: usize = 1_200;
/// By how many times its limit a window may be charged.
const WINDOW_COUNTS: u64 = 16;
/// The longest time for which a key may be charged.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
