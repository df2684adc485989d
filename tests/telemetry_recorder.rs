//! Metrics with the recorder of the whole process, in a program of its own, because such a recorder stays.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http_body_util::BodyExt;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tower_chain::middleware::telemetry::Telemetry;
use tower_chain::{Body, Chain, ChainService, Request};

/// Counts registrations.
struct Counting(DebuggingRecorder);

static REGISTERED: AtomicUsize = AtomicUsize::new(0);

impl Recorder for Counting {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        REGISTERED.fetch_add(1, Ordering::Relaxed);
        self.0.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        REGISTERED.fetch_add(1, Ordering::Relaxed);
        self.0.register_histogram(key, metadata)
    }
}

fn send(chain: &ChainService, path: &str) {
    let req: Request = http::Request::builder().uri(path).body(Body::empty()).unwrap();
    let response = chain.handle(req).now_or_never().unwrap();
    response.into_body().collect().now_or_never().unwrap().unwrap();
}

/// How many durations a recorder has received since the last time, of all routes, or of one.
fn durations(snapshotter: &Snapshotter, route: &str) -> usize {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| match value {
        DebugValue::Histogram(values)
            if key.key().name() == "http.server.request.duration"
                && key.key().labels().any(|label| label.value() == route) =>
        {
            values.len()
        }
        _ => 0,
    })
    .sum()
}

fn of_one_thread(run: impl FnOnce(&Snapshotter)) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || run(&snapshotter));
}

/// One test, since the recorder of the process is installed once.
#[test]
fn every_request_is_recorded_by_the_recorder_that_is_in_use() {
    let chain = Chain::new()
        .always(Telemetry::new())
        .at("/a", |c| c.get(async || "a"))
        .at("/b/{id}", |c| c.get(async || "b"))
        .build();
    // Before there is one for the process: recorders of the thread, one after another at the same address.
    for _ in 0..20 {
        send(&chain, "/a");
        of_one_thread(|snapshotter| {
            send(&chain, "/a");
            send(&chain, "/a");
            assert_eq!(durations(snapshotter, "/a"), 2);
        });
    }

    let recorder = DebuggingRecorder::new();
    let process = recorder.snapshotter();
    metrics::set_global_recorder(Counting(recorder)).ok().unwrap();
    send(&chain, "/a");
    assert_eq!(durations(&process, "/a"), 1, "it was installed later, and is used at once");

    // The recorder is recognized within about a second. Then a request registers nothing.
    let limit = Instant::now() + Duration::from_secs(60);
    let mut sent = 0;
    loop {
        let before = REGISTERED.load(Ordering::Relaxed);
        send(&chain, "/a");
        sent += 1;
        if REGISTERED.load(Ordering::Relaxed) == before {
            break;
        }
        assert!(Instant::now() < limit, "each request still registers its metrics");
        thread::yield_now();
    }
    assert_eq!(durations(&process, "/a"), sent, "none of them is lost");

    let (begin, before) = (Instant::now(), REGISTERED.load(Ordering::Relaxed));
    for _ in 0..1000 {
        send(&chain, "/a");
        send(&chain, "/b/7");
    }
    // One gauge and three histograms for each route, and again after each second.
    let most = 8 * (2 + usize::try_from(begin.elapsed().as_secs()).unwrap());
    assert!(REGISTERED.load(Ordering::Relaxed) - before <= most);
    assert_eq!(durations(&process, "/b/{id}"), 1000);

    // Recorders of the thread are used while they are installed.
    for _ in 0..20 {
        of_one_thread(|snapshotter| {
            send(&chain, "/b/8");
            assert_eq!(durations(snapshotter, "/b/{id}"), 1);
        });
        send(&chain, "/b/9");
        assert_eq!(durations(&process, "/b/{id}"), 1);
    }

    // A thread has handles of its own.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|_| send(&chain, "/b/7")));
        }
    });
    assert_eq!(durations(&process, "/b/{id}"), 400);
}
