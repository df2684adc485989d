//! What `RateLimitHandle::publish` writes to the facade `metrics`.

#![cfg(all(feature = "rate-limit", feature = "telemetry"))]
#![allow(clippy::unwrap_used, reason = "what fails in a test should stop it")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::FutureExt;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::{
    LimitClock, LimitStore, Policy, Quota, RateLimitHandle, SharedLimits, StoreAnswer, StoreCall,
    StoreError, StoreFuture, StoreSlot,
};
use tower_chain::{Body, Chain, ChainService, RateLimit, Request, Response};

const ALICE: &str = "192.0.2.1:4000";

fn request(peer: &str) -> Request {
    let peer: SocketAddr = peer.parse().unwrap();
    http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap()
}

fn send(service: &ChainService, req: Request) -> Response {
    service.handle(req).now_or_never().expect("nothing waits")
}

fn status(service: &ChainService, peer: &str) -> u16 {
    send(service, request(peer)).status().as_u16()
}

fn chain(limit: RateLimit) -> ChainService {
    Chain::new().use_(limit).get(async || "hello").build()
}

/// The metrics that a handle publishes: name and labels in order, and value.
fn published(handle: &RateLimitHandle, name: &str) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    // Twice: a counter is the number since the limiter was built, and is not added again.
    metrics::with_local_recorder(&recorder, || {
        handle.publish(name);
        handle.publish(name);
    });
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    metrics
        .map(|(key, _, description, value)| {
            assert!(description.is_some(), "{key:?} has no description");
            let labels: Vec<_> =
                key.key().labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(_) => panic!("there are no histograms"),
            };
            (format!("{} {}", key.key().name(), labels.join(" ")), value)
        })
        .collect()
}

#[test]
fn all_numbers_of_a_limiter_are_published_under_their_documented_names() {
    let trial = Policy::new("trial", Quota::per_hour(1)).shadow();
    let limit = RateLimit::new(Policy::new("real", Quota::per_hour(2))).and(trial).max_keys(4);
    let limit = limit.skip(|req| req.uri().path() == "/health").clock(LimitClock::fake());
    let handle = limit.handle();
    let service = chain(limit);
    assert_eq!([(); 4].map(|()| status(&service, ALICE)), [200, 200, 429, 429]);
    for client in 2..6 {
        status(&service, &format!("192.0.2.{client}:1"));
    }
    let skipped = http::Request::get("/health").extension(PeerAddr(ALICE.parse().unwrap()));
    send(&service, skipped.body(Body::empty()).unwrap());
    let found = published(&handle, "api");
    for (name, value) in [
        ("rate_limit.decisions limiter=api verdict=admitted", 6.0),
        ("rate_limit.decisions limiter=api verdict=skipped", 1.0),
        ("rate_limit.decisions limiter=api verdict=exceeded", 2.0),
        ("rate_limit.decisions limiter=api verdict=busy", 0.0),
        ("rate_limit.decisions limiter=api verdict=queue_full", 0.0),
        ("rate_limit.refusals limiter=api policy=real shadow=false", 2.0),
        ("rate_limit.refusals limiter=api policy=real shadow=true", 0.0),
        ("rate_limit.keys limiter=api", 4.0),
        ("rate_limit.max_keys limiter=api", 4.0),
        ("rate_limit.bytes limiter=api", handle.bytes() as f64),
        ("rate_limit.waiting limiter=api", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {found:#?}");
    }
    assert!(found["rate_limit.refusals limiter=api policy=trial shadow=true"] >= 3.0);
    // Two clients have no key of their own: each was checked once for each policy.
    assert!(found["rate_limit.overflows limiter=api policy=real"] >= 2.0, "{found:#?}");
    assert!(found.keys().all(|name| !name.contains("store") && !name.contains("192.0.2")));
    assert!(found.keys().all(|name| name.contains("limiter=api")));
    // The documentation lists each name.
    let page = include_str!("../middleware/rate_limit/publish.rs");
    for name in found.keys().map(|name| name.split(' ').next().unwrap()) {
        assert!(
            page.contains(&format!("/// | `{name}`")) || page.contains(&format!(", `{name}` |")),
            "{name}"
        );
    }
}

/// A store that answers nothing in time.
struct Silent;

impl LimitStore for Silent {
    fn take<'a>(&'a self, _: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
        Box::pin(std::future::pending())
    }

    fn refund<'a>(&'a self, _: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn release<'a>(&'a self, _: &'a StoreSlot) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a [String]) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Err(StoreError::new("it fails"))))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_store_is_published() {
    let limit = RateLimit::new(Policy::new("p", Quota::per_hour(100)));
    let limit = limit.shared("test", SharedLimits::new(Silent));
    let handle = limit.handle();
    let policy = handle.policies::<IpAddr>().unwrap();
    let service = chain(limit);
    let state = |found: &BTreeMap<String, f64>| {
        ["answering", "late", "unreachable"]
            .map(|state| found[&format!("rate_limit.store.state limiter=a state={state}")])
    };
    assert_eq!(state(&published(&handle, "a")), [1.0, 0.0, 0.0]);
    assert!(!policy.reset("192.0.2.1".parse::<IpAddr>().unwrap()).await);
    // Of a client whose call is open, further requests are decided without one.
    for client in 1..=6 {
        let response = service.handle(request(&format!("192.0.2.{client}:1"))).await;
        assert_eq!(response.status(), 200);
    }
    let found = published(&handle, "a");
    assert_eq!(state(&found), [0.0, 0.0, 1.0]);
    let value = |name: &str| found[&format!("rate_limit.{name} limiter=a")];
    assert_eq!((value("store.answers"), value("store.latency_sum")), (0.0, 0.0));
    assert_eq!((value("store.failures"), value("store.timeouts")), (1.0, 4.0));
    assert_eq!(value("store.late_answers"), 0.0);
    assert_eq!(found["rate_limit.local_decisions limiter=a policy=p"], 6.0);
}
