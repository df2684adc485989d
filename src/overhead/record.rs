//! The probes, and what they write down.
//!
//! Every change from one part of the chain to another reads the clock and the counter once, and what has gone by since the last reading
//! is the share of the part that is left. So the shares add up to the whole.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::next::Cx;
use crate::route::Routes;

/// A part of a chain whose time is taken: a step, or what the chain itself does between them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Site(u32);

impl Site {
    pub(crate) const CHAIN: Self = Self(0);
    const NONE: Self = Self(u32::MAX);

    pub(crate) fn step(number: u32) -> Self {
        Self(number + 1)
    }

    /// Starts a future, and stays around it while it runs.
    #[inline]
    pub(crate) fn probe<F>(self, cx: &Cx<'_>, start: impl FnOnce() -> F) -> Probed<F> {
        if RECORDED.load(Ordering::Relaxed) == 0 || !is_recorded(cx.routes) {
            return Probed { inner: start(), site: Self::NONE };
        }
        let _inside = Inside::new(self);
        Probed { inner: start(), site: self }
    }
}

pin_project! {
    /// A future whose share of the time is told from that of the futures around it.
    pub(crate) struct Probed<F> {
        #[pin]
        inner: F,
        site: Site,
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
        let _inside = Inside::new(*this.site);
        let poll = this.inner.poll(cx);
        if poll.is_pending() {
            with_recording(|recording| recording.waits.get_or_insert(*this.site).to_owned());
        }
        poll
    }
}

/// How many requests are recorded now, in the whole program.
static RECORDED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Of the request that this thread is at.
    static RECORDING: RefCell<Option<Box<Recording>>> = const { RefCell::new(None) };
}

fn with_recording<T>(f: impl FnOnce(&mut Recording) -> T) -> Option<T> {
    RECORDING.with_borrow_mut(|recording| recording.as_deref_mut().map(f))
}

/// A chain inside of the one that is measured is a part of the step that runs it.
#[cold]
fn is_recorded(routes: &Routes) -> bool {
    with_recording(|recording| recording.routes == address(routes)).unwrap_or(false)
}

fn address(routes: &Routes) -> usize {
    std::ptr::from_ref(routes).addr()
}

/// While it lives, time goes to its site. A panic ends it as well.
struct Inside {
    around: Option<Site>,
}

impl Inside {
    fn new(site: Site) -> Self {
        Self { around: with_recording(|recording| recording.switch(site)) }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(around) = self.around {
            with_recording(|recording| recording.switch(around));
        }
    }
}

/// What one part of a chain took of one request.
#[derive(Clone, Copy, Default)]
pub(super) struct Taken {
    /// With the time that it waited.
    pub(super) time: Duration,
    pub(super) waited: Duration,
    pub(super) allocations: u64,
    /// How often the clock was read for it: each reading takes time itself.
    pub(super) readings: u32,
}

/// What the parts of a chain take of a request.
pub(super) struct Recording {
    routes: usize,
    counter: Option<fn() -> u64>,
    current: Site,
    since: Instant,
    counted: u64,
    /// The innermost part that waits.
    waits: Option<Site>,
    /// Where in `taken` a site is. It grows before anything is counted: the first requests are not.
    places: Vec<usize>,
    taken: Vec<Taken>,
}

impl Recording {
    pub(super) fn new(routes: &Routes, counter: Option<fn() -> u64>) -> Box<Self> {
        Box::new(Self {
            routes: address(routes),
            counter,
            current: Site::CHAIN,
            since: Instant::now(),
            counted: 0,
            waits: None,
            places: Vec::new(),
            taken: Vec::new(),
        })
    }

    /// What a site took, of the places in [`finish`](Self::finish).
    pub(super) fn place(&self, site: Site) -> Option<usize> {
        self.places.get(site.0 as usize).copied().filter(|place| *place != NOWHERE)
    }

    /// What was taken since the last call, by place.
    pub(super) fn finish(&mut self) -> Vec<Taken> {
        let taken = self.taken.clone();
        self.taken.fill(Taken::default());
        taken
    }

    fn count(&self) -> u64 {
        self.counter.map_or(0, |counter| counter())
    }

    fn resume(&mut self) {
        let now = Instant::now();
        if let Some(site) = self.waits.take() {
            let waited = now - self.since;
            let taken = self.taken_by(site);
            taken.time += waited;
            taken.waited += waited;
        }
        self.current = Site::CHAIN;
        self.counted = self.count();
        self.since = Instant::now();
    }

    /// Ends the part that is at work, and begins another one. Returns the one that ended.
    fn switch(&mut self, to: Site) -> Site {
        let (now, counted) = (Instant::now(), self.count());
        let (time, allocations) = (now - self.since, counted.saturating_sub(self.counted));
        let from = self.current;
        let taken = self.taken_by(from);
        taken.time += time;
        taken.allocations += allocations;
        taken.readings += 1;
        (self.current, self.since, self.counted) = (to, now, counted);
        from
    }

    fn taken_by(&mut self, site: Site) -> &mut Taken {
        let index = site.0 as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, NOWHERE);
        }
        if self.places[index] == NOWHERE {
            self.places[index] = self.taken.len();
            self.taken.push(Taken::default());
        }
        &mut self.taken[self.places[index]]
    }
}

const NOWHERE: usize = usize::MAX;

pin_project! {
    /// A request that is recorded. Gives the recording back with its answer.
    pub(super) struct Recorded<F> {
        #[pin]
        inner: F,
        recording: Option<Box<Recording>>,
        counted: Counted,
    }
}

impl<F> Recorded<F> {
    pub(super) fn new(recording: Box<Recording>, inner: F) -> Self {
        Self { inner, recording: Some(recording), counted: Counted::new() }
    }
}

impl<F: Future> Future for Recorded<F> {
    type Output = (F::Output, Option<Box<Recording>>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let installed = Installed { around: RECORDING.replace(this.recording.take()) };
        with_recording(Recording::resume);
        let poll = this.inner.poll(cx);
        with_recording(|recording| recording.switch(Site::CHAIN));
        let recording = RECORDING.take();
        drop(installed);
        match poll {
            Poll::Ready(output) => Poll::Ready((output, recording)),
            Poll::Pending => {
                *this.recording = recording;
                Poll::Pending
            }
        }
    }
}

/// One of [`RECORDED`].
struct Counted;

impl Counted {
    fn new() -> Self {
        RECORDED.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        RECORDED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Puts back what was there before, also after a panic.
struct Installed {
    around: Option<Box<Recording>>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        RECORDING.set(self.around.take());
    }
}

/// How many nanoseconds a reading takes: what a part that does nothing seems to take.
pub(super) async fn reading(routes: &Routes, counter: Option<fn() -> u64>) -> f64 {
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let nothing = async {
            for _ in 0..READINGS / 2 {
                let _inside = Inside::new(Site::step(0));
            }
        };
        let ((), recording) = Recorded::new(Recording::new(routes, counter), nothing).await;
        let taken = recording.map(|mut recording| recording.finish()).unwrap_or_default();
        let time: Duration = taken.iter().map(|taken| taken.time).sum();
        let readings: u32 = taken.iter().map(|taken| taken.readings).sum();
        batches.push(time.as_nanos() as f64 / f64::from(readings.max(1)));
    }
    median(&mut batches)
}

/// `0` of nothing.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
pub(super) fn is_idle() -> bool {
    RECORDING.with_borrow(Option::is_none)
}

const BATCHES: usize = 64;
const READINGS: usize = 256;
