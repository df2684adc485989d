//! The probes, and what they write down.
//!
//! Every change from one part of a chain to another reads the clock, and what has gone by since the last reading is the share of the part
//! that is left. So the shares add up to the whole.

use std::cell::RefCell;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::route::routes::Routes;

/// A part of a chain whose time is taken: a step, or what the chain itself does between them.
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

    /// Starts a future, and stays around it while it runs.
    #[inline]
    pub(crate) fn probe<F>(self, routes: &Routes, start: impl FnOnce() -> F) -> Probed<F> {
        let chain = routes.id;
        if RECORDED.load(Ordering::Relaxed) == 0 || !is_recorded(chain) {
            return Probed { inner: start(), site: Self::NONE, chain };
        }
        let _inside = Inside::new(chain, self);
        Probed { inner: start(), site: self, chain }
    }
}

pin_project! {
    /// A future whose share of the time is told from that of the futures around it.
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
        let _inside = Inside::new(chain, site);
        let poll = this.inner.poll(cx);
        if poll.is_pending() {
            on_recordings(chain, Recording::pause);
        }
        poll
    }
}

/// How many requests are recorded now, in the whole program.
static RECORDED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Of the request that this thread is at: the innermost one, with those around it.
    static RECORDING: RefCell<Option<Box<Recording>>> = const { RefCell::new(None) };
}

#[cold]
fn is_recorded(chain: u32) -> bool {
    let mut recorded = false;
    on_recordings(chain, |_| recorded = true);
    recorded
}

/// A chain inside of the one that is recorded is a part of the step that runs it: it has no say in the other's recording.
fn on_recordings(chain: u32, mut f: impl FnMut(&mut Recording)) {
    // A future may be dropped as the last thing that its thread does.
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

/// While it lives, time goes to its site. A panic ends it as well.
struct Inside {
    chain: u32,
}

impl Inside {
    fn new(chain: u32, site: Site) -> Self {
        on_recordings(chain, |recording| recording.enter(site));
        Self { chain }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        on_recordings(self.chain, Recording::leave);
    }
}

/// What one part of a chain took of one request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Taken {
    /// With the time that it waited.
    pub(crate) time: Duration,
    pub(crate) waited: Duration,
    pub(crate) allocations: u64,
    /// How often the clock was read for it: each reading takes time itself.
    pub(crate) readings: u32,
}

/// What the parts of a chain take of a request.
pub(crate) struct Recording {
    chain: u32,
    counter: Option<fn() -> u64>,
    since: Instant,
    counted: u64,
    /// The parts that are at work, each inside of the one before it, as places in `taken`. Where there is none, the chain itself is.
    inside: Vec<usize>,
    /// The innermost part that waits.
    waits: Option<usize>,
    /// The chain itself first.
    taken: Vec<(Site, Taken)>,
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
            taken: vec![(Site::CHAIN, Taken::default())],
            around: None,
        })
    }

    /// What was taken, in the order in which the parts began.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (Site, Taken)> {
        self.taken.iter().copied()
    }

    /// Begins anew, without giving memory back: what is recorded next finds it there.
    #[cfg(feature = "overhead")]
    pub(crate) fn clear(&mut self) {
        for (_, taken) in &mut self.taken {
            *taken = Taken::default();
        }
    }

    fn count(&self) -> u64 {
        self.counter.map_or(0, |counter| counter())
    }

    fn resume(&mut self) {
        if let Some(place) = self.waits.take() {
            let waited = self.since.elapsed();
            let taken = &mut self.taken[place].1;
            taken.time += waited;
            taken.waited += waited;
        }
        self.counted = self.count();
        self.since = Instant::now();
    }

    /// Notes what has gone by as the share of the part that is at work.
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
        let place = self.place(site);
        self.inside.push(place);
    }

    fn leave(&mut self) {
        self.charge();
        self.inside.pop();
    }

    /// The part that is at work can't go on.
    fn pause(&mut self) {
        self.waits = self.waits.or(self.inside.last().copied());
    }

    /// What is dropped waits no longer.
    fn give_up(&mut self, site: Site) {
        self.waits = self.waits.filter(|&place| self.taken[place].0 != site);
    }

    fn place(&mut self, site: Site) -> usize {
        // Most parts come in the order in which they came the last time.
        let last = self.inside.last().map_or(0, |place| place + 1);
        let mut places = (last..self.taken.len()).chain(0..last);
        places.find(|&place| self.taken[place].0 == site).unwrap_or_else(|| {
            self.taken.push((site, Taken::default()));
            self.taken.len() - 1
        })
    }
}

pin_project! {
    /// A request that is recorded. Gives the recording back with its answer.
    pub(crate) struct Recorded<F> {
        #[pin]
        inner: F,
        recording: Option<Box<Recording>>,
        counted: Counted,
    }
}

impl<F> Recorded<F> {
    pub(crate) fn new(recording: Box<Recording>, inner: F) -> Self {
        Self { inner, recording: Some(recording), counted: Counted::new() }
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

/// The recording of this thread, until it is removed. A panic removes it as well.
struct Installed;

impl Installed {
    fn remove(self) -> Option<Box<Recording>> {
        mem::forget(self);
        take_innermost()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        take_innermost();
    }
}

fn take_innermost() -> Option<Box<Recording>> {
    let mut innermost = RECORDING.take();
    RECORDING.set(innermost.as_mut().and_then(|recording| recording.around.take()));
    innermost
}

/// How long a reading takes, in nanoseconds: what a part that does nothing seems to take.
#[cfg(feature = "overhead")]
pub(crate) async fn reading(routes: &Routes, counter: Option<fn() -> u64>) -> Vec<f64> {
    const BATCHES: usize = 64;
    const VISITS: usize = 128;
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let nothing = async {
            for _ in 0..VISITS {
                let _inside = Inside::new(routes.id, Site::step(0));
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
