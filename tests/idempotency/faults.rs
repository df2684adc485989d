//! A request that is cut off at each of its points, by its client or by the end of its server.

use std::sync::Arc;
use std::time::Duration;

use tower_chain::middleware::idempotency::{IdempotencyStore, MemoryIdempotency};

use super::world::{Effects, POINTS, Point, TestServer, is_pending};

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Its client disconnects, and the server drops it.
    Disconnect,
    /// Its server stops, without a chance to do anything.
    Kill,
    /// The store doesn't answer, and everything else works.
    Hang,
}

/// Cuts a request off at each point, and repeats it at another server.
///
/// The repetition gets an answer that is right for this point, once the lease has ended, and no request has its effect twice.
pub(crate) async fn each_point<S: IdempotencyStore>(store: Arc<S>, lease: Duration) {
    for (at, point) in POINTS.into_iter().enumerate() {
        for end in [End::Disconnect, End::Kill, End::Hang] {
            for detaches in [false, true] {
                let key = format!("key-{at}-{end:?}-{detaches}");
                cut_off(store.clone(), lease, point, end, detaches, &key).await;
            }
        }
    }
}

async fn cut_off<S: IdempotencyStore>(
    store: Arc<S>,
    lease: Duration,
    point: Point,
    end: End,
    detaches: bool,
    key: &str,
) {
    let context = format!("{point:?} {end:?} detaches: {detaches}");
    let effects = Effects::default();
    let server = || {
        TestServer::new(
            store.clone(),
            &effects,
            |step| step.lease(lease).unwrap().store_timeout(lease * 2).unwrap(),
            detaches,
        )
    };
    let (first, second) = (server(), server());
    let is_store_point = !matches!(
        point,
        Point::RequestBody | Point::HandlerStart | Point::AfterEffect | Point::ResponseBody
    );
    // A handler that hangs without a client has its key, as long as it runs.
    let hangs = matches!(point, Point::HandlerStart | Point::AfterEffect);
    if (end == End::Hang && !is_store_point) || (end == End::Disconnect && detaches && hangs) {
        return;
    }
    // A renewal comes only while a handler runs, a stream only in a response of that kind.
    let body = match point {
        Point::BeforeRenew | Point::AfterRenew => "slow payment",
        Point::ResponseBody => "stream payment",
        _ => "payment",
    };
    first.faults.arm(point);
    let (server, name) = (first.clone(), key.to_owned());
    let request = tokio::spawn(async move { server.send("ann", "/pay", &name, body).await });
    first.faults.reached().await;
    match end {
        End::Disconnect => request.abort(),
        End::Kill => {
            first.faults.kill();
            request.abort();
        }
        End::Hang => {}
    }
    // While it is undecided, no other request runs with this key.
    let mut answer = second.send("ann", "/pay", key, body).await.unwrap();
    let start = tokio::time::Instant::now();
    while is_pending(&answer) {
        assert!(start.elapsed() < lease * 20, "locked for ever: {context}");
        tokio::time::sleep(lease / 10).await;
        answer = second.send("ann", "/pay", key, body).await.unwrap();
    }
    // A request that continues without its client is complete by then.
    if detaches && end == End::Disconnect {
        tokio::time::sleep(Duration::from_secs(1)).await;
        answer = second.send("ann", "/pay", key, body).await.unwrap();
    }
    assert!(effects.count() <= 1, "two effects: {context}");
    let had_effect = effects.count() == 1;
    let kind = &*answer.kind;
    let expected: &[&str] = match (point, end) {
        // Nothing was reserved, or the reservation was given back.
        (Point::RequestBody, _) | (Point::BeforeReserve, _) => &["", "replayed"],
        (Point::AfterReserve, End::Disconnect | End::Hang) => &["", "replayed"],
        (Point::AfterReserve, End::Kill) => &["unknown-outcome"],
        (Point::HandlerStart | Point::AfterEffect | Point::ResponseBody, _) => &["unknown-outcome"],
        (Point::BeforeRenew | Point::AfterRenew, End::Hang) => &["replayed"],
        (Point::BeforeRenew | Point::AfterRenew, End::Disconnect) if detaches => &["replayed"],
        (Point::BeforeRenew | Point::AfterRenew, _) => &["unknown-outcome"],
        (Point::BeforeFinish, End::Kill) => &["unknown-outcome"],
        (Point::BeforeFinish, _) => &["replayed", "unknown-outcome"],
        (Point::AfterFinish, _) => &["replayed"],
    };
    assert!(expected.contains(&kind), "{answer:?}, expected {expected:?}: {context}");
    if kind.is_empty() || kind == "replayed" {
        assert!(had_effect, "{context}");
        assert!(answer.body.starts_with(b"ann /pay "), "{context}");
    }
    // From now on the answer stays the same, at every server.
    for server in [&second, &first] {
        if server.faults.is_dead() {
            continue;
        }
        server.faults.disarm();
        let again = server.send("ann", "/pay", key, body).await.unwrap();
        let settled = if kind.is_empty() { "replayed" } else { kind };
        if point == Point::BeforeFinish && kind == "unknown-outcome" {
            // The outcome may still be stored later.
            assert!(["replayed", "unknown-outcome"].contains(&&*again.kind), "{context}");
            continue;
        }
        assert_eq!(again.kind, settled, "{again:?} {context}");
        if settled == "replayed" {
            assert_eq!(again.body, answer.body, "{context}");
        }
    }
    assert!(effects.count() <= 1, "two effects: {context}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cut_off_at_any_point_runs_at_most_once() {
    each_point(Arc::new(MemoryIdempotency::new()), Duration::from_millis(300)).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_is_free_again_after_its_age_wherever_its_request_was_cut_off() {
    let store = Arc::new(MemoryIdempotency::new());
    let age = Duration::from_secs(5);
    for (at, point) in POINTS.into_iter().enumerate() {
        let (effects, key) = (Effects::default(), format!("key-{at}"));
        let lease = Duration::from_millis(300);
        let set = |step: tower_chain::middleware::idempotency::Idempotency<_>| {
            step.lease(lease).unwrap().age(age).unwrap()
        };
        let (first, second) = (
            TestServer::new(store.clone(), &effects, set, false),
            TestServer::new(store.clone(), &effects, set, false),
        );
        let body = match point {
            Point::BeforeRenew | Point::AfterRenew => "slow",
            Point::ResponseBody => "stream",
            _ => "payment",
        };
        first.faults.arm(point);
        let (server, name) = (first.clone(), key.clone());
        let request = tokio::spawn(async move { server.send("ann", "/pay", &name, body).await });
        first.faults.reached().await;
        first.faults.kill();
        request.abort();
        tokio::time::sleep(age + lease).await;
        let before = effects.count();
        let answer = second.send("ann", "/pay", &key, body).await.unwrap();
        assert_eq!((&*answer.kind, effects.count()), ("", before + 1), "{point:?}");
    }
}
