//! The clock of a limiter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of a limiter: nanoseconds since it was built. It never goes back.
///
/// Defaults to the monotonic clock of the system. A [`fake`](LimitClock::fake) clock, for tests, stands still until it is advanced.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_chain::middleware::rate_limit::LimitClock;
/// use tower_chain::RateLimit;
///
/// let clock = LimitClock::fake();
/// let limit = RateLimit::per_minute(10).clock(clock.clone());
/// clock.advance(Duration::from_secs(60));
/// # let _ = limit;
/// ```
#[derive(Clone)]
pub struct LimitClock(ClockSource);

#[derive(Clone)]
enum ClockSource {
    /// When it started, by the system's clock and as nanoseconds since 1970.
    System(Instant, Arc<AtomicU64>),
    Fake(Arc<AtomicU64>),
    Own(Arc<dyn Fn() -> Duration + Send + Sync>, Arc<AtomicU64>),
}

impl LimitClock {
    /// The monotonic clock of the system, starting now.
    pub fn system() -> Self {
        Self(ClockSource::System(Instant::now(), Arc::default()))
    }

    /// A clock that stands still. Clones show the same time. It starts at midnight UTC, for windows of the calendar.
    pub fn fake() -> Self {
        Self(ClockSource::Fake(Arc::default()))
    }

    /// A custom clock: the time since a fixed moment, which is 1970 for windows of the calendar. While it goes back, the time of the limiter stands still.
    pub fn from_fn(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(ClockSource::Own(Arc::new(now), Arc::default()))
    }

    /// Advances a [fake](LimitClock::fake) clock. Other clocks are not affected.
    pub fn advance(&self, by: Duration) {
        if let ClockSource::Fake(now) = &self.0 {
            now.fetch_add(nanos(by), Ordering::AcqRel);
        }
    }

    /// Nanoseconds since 1970 at which this clock has shown 0. A clock that is not the system's counts from 1970 itself.
    ///
    /// The clock of the calendar may be set while this one runs. A difference of less than a second is ignored, so small corrections do not shift the
    /// end of a window.
    pub(crate) fn start(&self) -> u64 {
        let ClockSource::System(start, unix) = &self.0 else { return 0 };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanos);
        let new = now.saturating_sub(start.elapsed().as_nanos() as u64);
        let known = unix.load(Ordering::Relaxed);
        if known.abs_diff(new) < 1_000_000_000 {
            return known;
        }
        unix.store(new, Ordering::Relaxed);
        new
    }

    /// Nanoseconds since the clock was built, below 2^62.
    pub(crate) fn now(&self) -> u64 {
        let now = match &self.0 {
            // The nanoseconds of 584 years fit into 64 bits.
            ClockSource::System(start, _) => start.elapsed().as_nanos() as u64,
            ClockSource::Fake(now) => now.load(Ordering::Acquire),
            ClockSource::Own(now, latest) => {
                let now = nanos(now());
                latest.fetch_max(now, Ordering::AcqRel).max(now)
            }
        };
        now.min(END_OF_TIME)
    }
}

impl Default for LimitClock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for LimitClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ClockSource::System(..) => "LimitClock::system",
            ClockSource::Fake(_) => "LimitClock::fake",
            ClockSource::Own(..) => "LimitClock::from_fn",
        })
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

/// A time from now, as nanoseconds of the clock.
pub(crate) fn until(now: u64, time: Duration) -> u64 {
    now.saturating_add(nanos(time)).min(END_OF_TIME)
}

/// Whole seconds, rounded up: a client that waits this long is not too early.
pub(crate) fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(1_000_000_000)
}

/// 146 years. Quotas are below 2^62 nanoseconds as well, so no sum of two times overflows.
pub(crate) const END_OF_TIME: u64 = (1 << 62) - 1;
