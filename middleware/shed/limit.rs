//! The limit of one class: how it is found, and who may use it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How important a request is. At the limit, those of the least priority are refused first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// May use 70 % of the limit: work that can be done later.
    Low,
    /// May use 90 % of the limit.
    #[default]
    Normal,
    /// May use the whole limit: what must work while the rest does not, such as health checks and payments.
    High,
}

/// The state of a class. See [`Shed::states`](super::Shed::states).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClassState {
    /// The class or the route. Empty if there is one limit for all requests.
    pub class: String,
    /// How many requests may be in flight.
    pub limit: usize,
    /// How many requests are in flight.
    pub in_flight: usize,
    /// How many requests were refused so far.
    pub refused: u64,
    /// The latency without load, if it is known.
    pub baseline: Option<Duration>,
}

/// The bounds of a limit, and its first value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) first: usize,
}

/// The requests of one class.
pub(super) struct Class {
    in_flight: AtomicUsize,
    /// The limit of the controller.
    limit: AtomicUsize,
    /// The most requests that were in flight, or were to be, since the limit was last found.
    peak: AtomicUsize,
    refused: AtomicU64,
    controller: Mutex<Controller>,
}

impl Class {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(bounds.first),
            peak: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            controller: Mutex::new(Controller::new(bounds)),
        }
    }

    /// Counts a request, unless the limit of its priority is reached.
    pub(super) fn admit(class: Arc<Self>, priority: Priority, now: Instant) -> Option<Slot> {
        let limit = share(class.limit.load(Ordering::Relaxed), priority);
        let in_flight = class.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        class.peak.fetch_max(in_flight, Ordering::Relaxed);
        if in_flight > limit {
            class.in_flight.fetch_sub(1, Ordering::Relaxed);
            class.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Slot { class, start: now, counts: None })
    }

    pub(super) fn state(&self, name: &str) -> ClassState {
        ClassState {
            class: name.to_owned(),
            limit: self.limit.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            baseline: self.lock().baseline.map(Duration::from_secs_f64),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Controller> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many requests of a priority may be in flight: at least one, so a small limit refuses none of them for ever.
fn share(limit: usize, priority: Priority) -> usize {
    let percent = match priority {
        Priority::Low => 70,
        Priority::Normal => 90,
        Priority::High => 100,
    };
    (limit.saturating_mul(percent) / 100).max(1)
}

/// A request in flight. Dropping it ends that.
pub(super) struct Slot {
    class: Arc<Class>,
    start: Instant,
    /// Whether the response is measured. `None`: the request was dropped.
    counts: Option<bool>,
}

impl Slot {
    /// The response begins.
    pub(super) fn finish(mut self, counts: bool) {
        self.counts = Some(counts);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.class.in_flight.fetch_sub(1, Ordering::Relaxed);
        let now = Instant::now();
        let latency = (now - self.start).as_secs_f64();
        let mut controller = self.class.lock();
        let ended = match self.counts {
            Some(true) => controller.window.add(latency, now),
            // A failure that comes late shows overload: the client gave up, or a timeout ended the work. An early one shows nothing.
            failure => match controller.baseline.map_or(failure.is_none(), |known| latency > known)
            {
                true => controller.window.add_failure(now),
                false => None,
            },
        };
        if let Some(window) = ended {
            controller.adapt(&window, self.class.peak.swap(0, Ordering::Relaxed), now);
            self.class.limit.store(controller.limit(), Ordering::Relaxed);
        }
    }
}

/// Finds the limit from the latencies. The module documentation describes how.
struct Controller {
    bounds: Bounds,
    limit: f64,
    /// The latency without load, in seconds.
    baseline: Option<f64>,
    /// When the baseline was last measured.
    measured: Option<Instant>,
    probe: Probe,
    window: Window,
}

impl Controller {
    fn new(bounds: Bounds) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a number of requests is small")]
        let limit = bounds.first as f64;
        Self {
            bounds,
            limit,
            baseline: None,
            measured: None,
            probe: Probe::No,
            window: Window::default(),
        }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the limit is between its bounds"
    )]
    fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Finds the limit after a window, from its latencies and failures, and the most requests that were in flight.
    #[allow(clippy::cast_precision_loss, reason = "a number of requests is small")]
    fn adapt(&mut self, window: &Measured, peak: usize, now: Instant) {
        let in_use = peak as f64;
        let (least, most) = (self.bounds.least as f64, self.bounds.most as f64);
        let Some(median) = window.median.filter(|_| !window.mostly_failed) else {
            // The latency of failures is the patience of clients, not that of the work.
            (self.limit, self.probe) = ((self.limit.min(in_use) / 2.0).max(least), Probe::No);
            return;
        };
        let latency = median.max(SHORTEST);
        let measured = *self.measured.get_or_insert(now);
        match self.probe {
            Probe::No => {}
            // This window has the responses to requests that began under the whole limit.
            Probe::Begins { before } => {
                self.probe = Probe::Measures { before };
                return;
            }
            Probe::Measures { before } => {
                self.probe = Probe::No;
                (self.baseline, self.measured, self.limit) = (Some(latency), Some(now), before);
                return;
            }
        }
        let calm = in_use * 2.0 < self.limit;
        let baseline = match self.baseline {
            None => latency,
            Some(baseline) if calm => baseline + (latency - baseline) * SMOOTHING,
            Some(baseline) => baseline.min(latency),
        };
        self.baseline = Some(baseline);
        if calm {
            // The limit was not in use, so the latency says nothing about a larger one.
            self.measured = Some(now);
            return;
        }
        let gradient = (TOLERANCE * baseline / latency).clamp(0.5, 1.0);
        let wanted = self.limit * gradient + self.limit.sqrt();
        self.limit = (self.limit + (wanted - self.limit) * SMOOTHING).clamp(least, most);
        if now - measured >= PROBE_INTERVAL {
            self.probe = Probe::Begins { before: self.limit };
            self.limit = (self.limit / 2.0).max(least);
        }
    }
}

/// Two windows with half of the limit, in which the baseline is measured. `before` is the whole limit.
#[derive(Clone, Copy)]
enum Probe {
    No,
    Begins { before: f64 },
    Measures { before: f64 },
}

/// The latencies since the last change of the limit.
#[derive(Default)]
struct Window {
    start: Option<Instant>,
    /// The latest latencies, as a ring.
    latencies: Vec<f64>,
    count: usize,
    failures: usize,
}

/// A window that has ended.
struct Measured {
    /// `None` if all requests failed.
    median: Option<f64>,
    mostly_failed: bool,
}

impl Window {
    /// Adds a latency. Returns the window if it ends with it.
    fn add(&mut self, latency: f64, now: Instant) -> Option<Measured> {
        match self.latencies.get_mut(self.count % LATENCIES) {
            Some(oldest) => *oldest = latency,
            None => self.latencies.push(latency),
        }
        self.count += 1;
        self.end(now)
    }

    /// Adds a request that failed late.
    fn add_failure(&mut self, now: Instant) -> Option<Measured> {
        self.failures += 1;
        self.end(now)
    }

    fn end(&mut self, now: Instant) -> Option<Measured> {
        let start = *self.start.get_or_insert(now);
        if self.count + self.failures < LEAST_COUNT || now - start < WINDOW {
            return None;
        }
        let middle = self.latencies.len() / 2;
        let median = (self.count > 0).then(|| {
            let (_, median, _) = self.latencies.select_nth_unstable_by(middle, f64::total_cmp);
            *median
        });
        let measured = Measured { median, mostly_failed: self.failures > self.count };
        self.latencies.clear();
        (self.start, self.count, self.failures) = (None, 0, 0);
        Some(measured)
    }
}

const WINDOW: Duration = Duration::from_millis(100);
const LEAST_COUNT: usize = 10;
/// How many latencies of a window are kept: a window has no bound in time.
const LATENCIES: usize = 256;
/// How much longer than the baseline a request may take before the limit shrinks.
const TOLERANCE: f64 = 1.5;
const SMOOTHING: f64 = 0.2;
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// Shorter latencies, in seconds, are noise of the clock.
const SHORTEST: f64 = 1e-6;
