//! The probes, and the recording that they write.
//!
//! The clock is read whenever another part of a chain starts to run. The time since the last reading is added to the part that was
//! running. The times of all parts therefore add up to the total.

use std::cell::RefCell;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::route::routes::Routes;

/// A part of a chain whose time is measured: a step, or the chain itself between the steps.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Site(u32);

impl Site {
    pub(crate) const CHAIN: Self = Self(0);
    const NONE: Self = Self(u32::MAX);

    pub(crate) fn step(number: u32) -> Self {
        Self(number + 1)
    }

    /// The number of the step, if it is one.
    pub(super) fn number(self) -> Option<u32> {
        self.0.checked_sub(1)
    }

    /// Starts a future and measures it.
    #[inline]
    pub(crate) fn probe<F>(self, routes: &Routes, start: impl FnOnce() -> F) -> Probed<F> {
        let chain = routes.id;
        if RECORDED.load(Ordering::Relaxed) == 0 || !is_recorded(chain) {
            return Probed { inner: start(), site: Self::NONE, chain };
        }
        let _inside = CurrentSite::new(chain, self);
        Probed { inner: start(), site: self, chain }
    }
}

pin_project! {
    /// A future whose time is measured apart from that of the futures around it.
    pub(crate) struct Probed<F> {
        #[pin]
        inner: F,
        site: Site,
        chain: u32,
    }

    impl<F> PinnedDrop for Probed<F> {
        fn drop(this: Pin<&mut Self>) {
            if this.site != Site::NONE {
                on_recordings(this.chain, |recording| recording.give_up(this.site));
            }
        }
    }
}

impl<F: Future> Future for Probed<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if *this.site == Site::NONE {
            return this.inner.poll(cx);
        }
        let (chain, site) = (*this.chain, *this.site);
        let _inside = CurrentSite::new(chain, site);
        let poll = this.inner.poll(cx);
        if poll.is_pending() {
            on_recordings(chain, Recording::pause);
        }
        poll
    }
}

/// How many requests are being recorded in the process. While it is zero, a probe costs one comparison.
static RECORDED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The recording of the request that this thread is polling: the innermost one, which has a link to those around it.
    static RECORDING: RefCell<Option<Box<Recording>>> = const { RefCell::new(None) };
}

#[cold]
fn is_recorded(chain: u32) -> bool {
    let mut recorded = false;
    on_recordings(chain, |_| recorded = true);
    recorded
}

/// Calls `f` for the recordings of this chain. A chain that runs inside a step of a recorded chain is a part of that step, so it must not write
/// to the recording of the outer chain.
fn on_recordings(chain: u32, mut f: impl FnMut(&mut Recording)) {
    // A future may be dropped while the thread ends, when the variable no longer exists.
    let _ = RECORDING.try_with(|innermost| {
        let mut innermost = innermost.borrow_mut();
        let mut next = innermost.as_deref_mut();
        while let Some(recording) = next {
            if recording.chain == chain {
                f(recording);
            }
            next = recording.around.as_deref_mut();
        }
    });
}

/// Marks a site as running until it is dropped, also by a panic.
struct CurrentSite {
    chain: u32,
}

impl CurrentSite {
    fn new(chain: u32, site: Site) -> Self {
        on_recordings(chain, |recording| recording.enter(site));
        Self { chain }
    }
}

impl Drop for CurrentSite {
    fn drop(&mut self) {
        on_recordings(self.chain, Recording::leave);
    }
}

/// The cost of one part of a chain for one request.
#[derive(Clone, Copy, Default)]
pub(crate) struct SiteCost {
    /// Includes `waited`.
    pub(crate) time: Duration,
    pub(crate) waited: Duration,
    pub(crate) allocations: u64,
    /// The number of clock readings in `time`. Each reading takes time itself.
    pub(crate) readings: u32,
}

/// The costs of all parts of a chain for one request.
pub(crate) struct Recording {
    chain: u32,
    counter: Option<fn() -> u64>,
    since: Instant,
    /// The value of the counter at the last reading.
    counted: u64,
    /// The parts that are running, each inside the one before it, as indexes of `taken`. If it is empty, the chain itself is running.
    inside: Vec<usize>,
    /// The innermost part that is pending.
    waits: Option<usize>,
    /// The first entry is the chain itself.
    taken: Vec<(Site, SiteCost)>,
    /// The recording that this thread was writing before, if requests are nested.
    around: Option<Box<Self>>,
}

impl Recording {
    pub(crate) fn new(routes: &Routes, counter: Option<fn() -> u64>) -> Box<Self> {
        Box::new(Self {
            chain: routes.id,
            counter,
            since: Instant::now(),
            counted: 0,
            inside: Vec::with_capacity(16),
            waits: None,
            taken: vec![(Site::CHAIN, SiteCost::default())],
            around: None,
        })
    }

    /// The costs, in the order in which the parts began.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (Site, SiteCost)> {
        self.taken.iter().copied()
    }

    /// Sets all costs to zero. Keeps the memory for the next request.
    #[cfg(feature = "overhead")]
    pub(crate) fn clear(&mut self) {
        for (_, taken) in &mut self.taken {
            *taken = SiteCost::default();
        }
    }

    fn count(&self) -> u64 {
        self.counter.map_or(0, |counter| counter())
    }

    /// Starts a poll. The time since the last poll is added to the part that was pending.
    fn resume(&mut self) {
        if let Some(index) = self.waits.take() {
            let waited = self.since.elapsed();
            let taken = &mut self.taken[index].1;
            taken.time += waited;
            taken.waited += waited;
        }
        self.counted = self.count();
        self.since = Instant::now();
    }

    /// Adds the time and the allocations since the last reading to the part that is running.
    fn charge(&mut self) {
        let (now, counted) = (Instant::now(), self.count());
        let taken = &mut self.taken[self.inside.last().copied().unwrap_or(0)].1;
        taken.time += now - self.since;
        taken.allocations += counted.saturating_sub(self.counted);
        taken.readings += 1;
        (self.since, self.counted) = (now, counted);
    }

    fn enter(&mut self, site: Site) {
        self.charge();
        let index = self.index_of(site);
        self.inside.push(index);
    }

    fn leave(&mut self) {
        self.charge();
        self.inside.pop();
    }

    /// Records that the part that is running is pending.
    fn pause(&mut self) {
        self.waits = self.waits.or(self.inside.last().copied());
    }

    /// Records that the future of a part was dropped, and therefore does not wait any more.
    fn give_up(&mut self, site: Site) {
        self.waits = self.waits.filter(|&index| self.taken[index].0 != site);
    }

    fn index_of(&mut self, site: Site) -> usize {
        // Most parts begin in the same order for each request.
        let last = self.inside.last().map_or(0, |index| index + 1);
        let mut indexes = (last..self.taken.len()).chain(0..last);
        indexes.find(|&index| self.taken[index].0 == site).unwrap_or_else(|| {
            self.taken.push((site, SiteCost::default()));
            self.taken.len() - 1
        })
    }
}

pin_project! {
    /// The future of a request that is recorded. Returns the recording together with its output.
    pub(crate) struct Recorded<F> {
        #[pin]
        inner: F,
        recording: Option<Box<Recording>>,
        counted: ActiveRecording,
    }
}

impl<F> Recorded<F> {
    pub(crate) fn new(recording: Box<Recording>, inner: F) -> Self {
        Self { inner, recording: Some(recording), counted: ActiveRecording::new() }
    }
}

impl<F: Future> Future for Recorded<F> {
    type Output = (F::Output, Option<Box<Recording>>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(mut recording) = this.recording.take() else {
            return this.inner.poll(cx).map(|output| (output, None));
        };
        recording.around = RECORDING.take();
        recording.resume();
        RECORDING.set(Some(recording));
        let installed = Installed;
        let poll = this.inner.poll(cx);
        let mut recording = installed.remove();
        if let Some(recording) = &mut recording {
            recording.charge();
        }
        match poll {
            Poll::Ready(output) => Poll::Ready((output, recording)),
            Poll::Pending => {
                *this.recording = recording;
                Poll::Pending
            }
        }
    }
}

/// Counts as one of [`RECORDED`] until it is dropped.
struct ActiveRecording;

impl ActiveRecording {
    fn new() -> Self {
        RECORDED.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for ActiveRecording {
    fn drop(&mut self) {
        RECORDED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Removes the recording from the thread when it is dropped, also by a panic.
struct Installed;

impl Installed {
    fn remove(self) -> Option<Box<Recording>> {
        // This skips `drop`, which would remove a recording a second time. It leaks nothing, as the type has no fields.
        mem::forget(self);
        take_innermost()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        take_innermost();
    }
}

/// Removes the innermost recording from the thread, and restores the one around it.
fn take_innermost() -> Option<Box<Recording>> {
    let mut innermost = RECORDING.take();
    RECORDING.set(innermost.as_mut().and_then(|recording| recording.around.take()));
    innermost
}

/// Measures how long a reading of the clock takes, in nanoseconds, as the apparent time of a part that does nothing.
#[cfg(feature = "overhead")]
pub(crate) async fn reading(routes: &Routes, counter: Option<fn() -> u64>) -> Vec<f64> {
    const BATCHES: usize = 64;
    const VISITS: usize = 128;
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let nothing = async {
            for _ in 0..VISITS {
                let _inside = CurrentSite::new(routes.id, Site::step(0));
            }
        };
        let ((), recording) = Recorded::new(Recording::new(routes, counter), nothing).await;
        let taken = recording.iter().flat_map(|recording| recording.taken());
        let (time, readings) = taken.fold((Duration::ZERO, 0), |(time, readings), (_, taken)| {
            (time + taken.time, readings + taken.readings)
        });
        batches.push(time.as_nanos() as f64 / f64::from(readings.max(1)));
    }
    batches
}

#[cfg(test)]
pub(crate) fn is_idle() -> bool {
    RECORDING.with_borrow(Option::is_none)
}
