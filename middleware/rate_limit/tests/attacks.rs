//! What attackers try, and what operators watch.

use std::convert::Infallible;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use tower::{Layer, Service, service_fn};

use super::*;
use crate::MiddlewareExt;

/// A service that is never ready.
#[derive(Clone)]
struct Busy;

impl Service<Request> for Busy {
    type Response = Response;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request) -> Self::Future {
        panic!("called unready")
    }
}

/// A request whose body must not be read.
fn unread() -> Request {
    let peer: SocketAddr = ALICE.parse().unwrap();
    let body = stream::poll_fn(|_| -> Poll<Option<Result<Bytes, Infallible>>> {
        panic!("the limiter reads the body")
    });
    http::Request::post("/").extension(PeerAddr(peer)).body(Body::from_stream(body)).unwrap()
}

#[test]
fn a_refusal_reads_no_body_and_waits_for_nothing_behind_it() {
    let limit = RateLimit::per_hour(1).count_failures().clock(LimitClock::fake());
    let service = Chain::new().use_(limit).service("/", Busy).build();
    // The one that is admitted waits for what is behind, and counts when its client gives up.
    assert!(service.handle(unread()).now_or_never().is_none());
    assert_eq!(service.handle(unread()).now_or_never().unwrap().status(), 429);
}

#[test]
fn any_tower_service_with_any_body_has_its_limit() {
    let inner = service_fn(async |req: Request| {
        let path = req.uri().path().to_owned();
        Ok::<_, Infallible>(http::Response::new(http_body_util::Full::new(Bytes::from(path))))
    });
    let limit = RateLimit::per_hour(1).clock(LimitClock::fake());
    let mut service = limit.into_layer().layer(inner);
    let mut call = || service.call(unread()).now_or_never().unwrap().unwrap().status().as_u16();
    assert_eq!([call(), call()], [200, 429]);
}

#[test]
fn nobody_reads_the_quota_of_a_user_before_the_authentication() {
    #[derive(Clone)]
    struct User;
    let service = Chain::new()
        .guard(async |headers: http::HeaderMap| {
            let known = headers.contains_key("password").then_some(User);
            known.ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "who?"))
        })
        .use_(RateLimit::per_hour(1).key(LimitKey::everyone()).clock(LimitClock::fake()))
        .get(async || "hello")
        .build();
    for _ in 0..3 {
        let refused = send(&service, request(ALICE));
        assert_eq!((refused.status().as_u16(), header(&refused, "ratelimit")), (401, ""));
    }
    // And nobody uses it up.
    assert_eq!(send(&service, with(ALICE, "password", "x")).status(), 200);
}

#[test]
fn those_who_are_blocked_together_come_back_one_by_one() {
    let limit = || RateLimit::per_hour(1).clock(LimitClock::fake());
    let waits = |limit: RateLimit| -> std::collections::BTreeSet<u64> {
        let service = chain(limit);
        let wait = |client: u8| {
            let peer = format!("192.0.2.{client}:1");
            assert_eq!(status(&service, &peer), 200);
            let refused = send(&service, request(&peer));
            assert!(header(&refused, "ratelimit").ends_with(";t=3600"));
            header(&refused, "retry-after").parse::<u64>().unwrap()
        };
        (0..100).map(wait).collect()
    };
    assert_eq!(waits(limit()).len(), 1);
    let spread = waits(limit().retry_jitter(secs(60)));
    assert!(spread.len() > 30, "{spread:?}");
    // Never sooner than what is true.
    assert!(spread.iter().all(|wait| (3600..=3660).contains(wait)), "{spread:?}");
}

#[test]
fn what_was_decided_is_counted() {
    let clock = LimitClock::fake();
    let limit = RateLimit::new(Policy::new("p", Quota::per_hour(10)).cost_by(|req| {
        req.headers().get("cost").map_or(1, |cost| cost.to_str().unwrap().parse().unwrap())
    }));
    let limit = limit
        .skip(|req| req.headers().contains_key("health"))
        .penalty(Quota::per_hour(2), secs(60))
        .clock(clock);
    for limit in
        [limit.clone(), limit.clone().max_keys(100).headers([]), limit.max_keys(99).shadow()]
    {
        let handle = limit.handle();
        let before = handle.totals();
        let service = chain(limit);
        send(&service, with(ALICE, "cost", "7"));
        for _ in 0..3 {
            send(&service, request(ALICE)); // of these two are near the limit
        }
        send(&service, with(ALICE, "health", "1"));
        send(&service, with(ALICE, "cost", "11"));
        for _ in 0..4 {
            send(&service, request(ALICE)); // two more strikes, and blocked
        }
        let after = handle.totals();
        for (verdict, count) in [
            (Verdict::Admitted, 4),
            (Verdict::Skipped, 1),
            (Verdict::TooCostly, 1),
            (Verdict::Exceeded, 2),
            (Verdict::Blocked, 2),
            (Verdict::Busy, 0),
            (Verdict::Unavailable, 0),
        ] {
            let counted = after.count(verdict) - before.count(verdict);
            // The clones share their counters, but not what another memory admitted.
            let counted = if verdict == Verdict::Admitted { after.count(verdict) } else { counted };
            assert_eq!(counted, count, "{verdict:?}");
        }
        assert_eq!(after.near_limit() - before.near_limit(), 3);
    }
}

#[test]
fn observers_and_logs_know_a_client_by_a_name_that_does_not_tell_who_it_is() {
    type Seen = Arc<std::sync::Mutex<Vec<(String, bool, Verdict)>>>;
    let observed = |limit: RateLimit| {
        let seen = Seen::default();
        let noted = seen.clone();
        let limit = limit.observe(move |_, decision| {
            let client = decision.client().map_or(String::new(), |client| client.to_string());
            noted.lock().unwrap().push((client, decision.is_near_limit(), decision.verdict()));
        });
        let service = chain(limit.clock(LimitClock::fake()));
        let log = logged(|| {
            for peer in [ALICE, BOB, ALICE, ALICE] {
                status(&service, peer);
            }
        });
        let seen = seen.lock().unwrap().clone();
        assert!(log.contains(&format!("client={}", seen[3].0)), "{log}");
        seen
    };
    let seen = observed(RateLimit::per_hour(2));
    let [alice, bob, again, refused] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(alice.0.len(), 16);
    assert!(alice.0 == again.0 && alice.0 == refused.0 && alice.0 != bob.0, "{seen:?}");
    assert_eq!([alice.1, again.1, refused.1], [false, true, true]);
    assert_eq!([again.2, refused.2], [Verdict::Admitted, Verdict::Exceeded]);
    // Another process, or another limiter, has other names.
    assert_ne!(observed(RateLimit::per_hour(2))[0].0, alice.0);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_decided_upon_as_well() {
    let start = tokio::time::Instant::now();
    let clock = LimitClock::from_fn(move || start.elapsed());
    let limit = || RateLimit::new(Quota::new(3, secs(30))).clock(clock.clone());
    let handle = subjects(&limit());
    assert!(handle.admit("room", 2).await.is_ok());
    let refusal = handle.admit("room", 2).await.unwrap_err();
    assert_eq!((refusal.verdict(), refusal.retry_after()), (Verdict::Exceeded, Some(secs(10))));
    assert_eq!(refusal.violated().collect::<Vec<_>>(), ["3-in-30s"]);
    assert_eq!(handle.admit("room", 4).await.unwrap_err().verdict(), Verdict::TooCostly);
    assert!(handle.admit("room", 1).await.is_ok());
    assert!(handle.admit("another room", 3).await.is_ok());
    handle.block("third room", secs(5)).await;
    assert_eq!(handle.admit("third room", 1).await.unwrap_err().verdict(), Verdict::Blocked);
    // What only failures would be charged for is charged: nothing says later how it went.
    let failures = subjects(&limit().count_failures());
    assert!(failures.admit("room", 3).await.is_ok());
    assert!(failures.admit("room", 1).await.is_err());
    // With a delay it waits for its turn, and in shadow mode it is let through at once.
    let (patient, shadow) = (subjects(&limit().delay(secs(20))), subjects(&limit().shadow()));
    assert!(patient.admit("room", 3).await.is_ok() && shadow.admit("room", 3).await.is_ok());
    assert!(shadow.admit("room", 3).await.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(patient.admit("room", 1).await.is_ok());
    assert_eq!(start.elapsed().as_secs(), 10);
}
