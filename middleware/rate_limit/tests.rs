//! What a client sees, through a chain.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};

mod attacks;
mod express;
mod settle;
mod shadow;
mod subjects;
mod windows;

use super::*;
use crate::extract::{ForwardedHeader, PeerAddr, TrustedProxies};
use crate::test_log::Log;
use crate::{Body, Chain, ChainService, Error, Provided};

const ALICE: &str = "192.0.2.1:4000";
const BOB: &str = "192.0.2.2:4000";

fn request(peer: &str) -> Request {
    let peer: SocketAddr = peer.parse().unwrap();
    http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap()
}

fn with(peer: &str, name: &'static str, value: &str) -> Request {
    let mut req = request(peer);
    let name = HeaderName::from_static(name);
    req.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    req
}

fn send(service: &ChainService, req: Request) -> Response {
    service.handle(req).now_or_never().expect("nothing waits")
}

fn status(service: &ChainService, peer: &str) -> u16 {
    send(service, request(peer)).status().as_u16()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn all<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

fn body(response: Response) -> serde_json::Value {
    let body = response.into_body();
    let bytes = http_body_util::BodyExt::collect(body).now_or_never().unwrap().unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

fn chain(limit: RateLimit) -> ChainService {
    Chain::new().use_(limit).all(async || "hello").build()
}

/// A handle to all policies, for subjects of any type.
fn subjects(limit: &RateLimit) -> PolicyHandle {
    limit.handle().policies().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_client_is_refused_at_its_limit_and_others_are_not() {
    let clock = LimitClock::fake();
    let service = chain(RateLimit::per_client(3).every(secs(30)).clock(clock.clone()));
    assert_eq!([(); 4].map(|()| status(&service, ALICE)), [200, 200, 200, 429]);
    assert_eq!(status(&service, BOB), 200);
    // The port is no part of the client.
    assert_eq!(status(&service, "192.0.2.1:9"), 429);
    clock.advance(secs(10));
    assert_eq!([(); 2].map(|()| status(&service, ALICE)), [200, 429]);
    clock.advance(secs(30));
    assert_eq!([(); 4].map(|()| status(&service, ALICE)), [200, 200, 200, 429]);
}

#[test]
fn burst_is_restored_exactly_after_idle() {
    let clock = LimitClock::fake();
    let service = chain(RateLimit::new(Quota::per_minute(60).burst(5)).clock(clock.clone()));
    for idle in [5, 5, 60, 100_000] {
        let admitted = (0..20).filter(|_| status(&service, ALICE) == 200).count();
        assert_eq!(admitted, 5);
        clock.advance(secs(idle));
    }
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let time = Arc::new(AtomicUsize::new(1000));
    let now = time.clone();
    let clock =
        LimitClock::from_fn(move || secs(now.load(Ordering::Relaxed).try_into().unwrap_or(0)));
    let service = chain(RateLimit::per_client(2).every(secs(20)).clock(clock));
    assert_eq!([(); 3].map(|()| status(&service, ALICE)), [200, 200, 429]);
    for seconds in [500, 0, 999, 1009] {
        time.store(seconds, Ordering::Relaxed);
        assert_eq!(status(&service, ALICE), 429, "at {seconds}");
    }
    time.store(1010, Ordering::Relaxed);
    assert_eq!([(); 2].map(|()| status(&service, ALICE)), [200, 429]);
}

#[test]
fn a_refusal_says_why_and_until_when() {
    let clock = LimitClock::fake();
    let limit = RateLimit::per_client(2).every(secs(25)).clock(clock.clone());
    let service = chain(limit);
    let first = send(&service, request(ALICE));
    assert_eq!(header(&first, "ratelimit"), r#""2-in-25s";r=1;t=13"#);
    assert_eq!(header(&first, "ratelimit-policy"), r#""2-in-25s";q=2;w=25"#);
    assert_eq!(header(&first, "retry-after"), "");
    status(&service, ALICE);
    clock.advance(Duration::from_millis(100));
    let refused = send(&service, request(ALICE));
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "retry-after"), "13");
    assert_eq!(header(&refused, "ratelimit"), r#""2-in-25s";r=0;t=13"#);
    assert_eq!(header(&refused, "cache-control"), "no-store");
    assert_eq!(header(&refused, "content-type"), "application/problem+json");
    assert_eq!(
        body(refused),
        serde_json::json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Too Many Requests",
            "status": 429,
            "detail": "Too many requests",
            "violated-policies": ["2-in-25s"],
        })
    );
}

#[test]
fn whoever_obeys_retry_after_is_admitted() {
    for (limit, millis) in [(1, 1), (3, 100), (7, 1000), (2, 500), (3, 60_000), (100, 900_000)] {
        let clock = LimitClock::fake();
        let quota = Quota::new(limit, Duration::from_millis(millis));
        let service = chain(RateLimit::new(quota).clock(clock.clone()));
        for step in 0..50 {
            let response = send(&service, request(ALICE));
            if response.status() == 429 {
                let wait: u64 = header(&response, "retry-after").parse().unwrap();
                assert!(wait >= 1);
                clock.advance(secs(wait));
                assert_eq!(status(&service, ALICE), 200, "{limit} in {millis} ms, step {step}");
            }
            clock.advance(Duration::from_millis(step % 3));
        }
    }
}

#[test]
fn the_handler_never_runs_on_a_refusal() {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let service = Chain::new()
        .use_(RateLimit::per_hour(2).clock(LimitClock::fake()))
        .get(move || {
            count.fetch_add(1, Ordering::Relaxed);
            async { "hello" }
        })
        .build();
    for _ in 0..9 {
        status(&service, ALICE);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[test]
fn a_refusal_by_one_policy_charges_none() {
    let clock = LimitClock::fake();
    let limit = RateLimit::new(Policy::new("burst", Quota::new(2, secs(2))))
        .and(Policy::new("hourly", Quota::per_hour(4)))
        .clock(clock.clone());
    let handle = subjects(&limit);
    let service = chain(limit);
    let left = || {
        let standings = handle.peek("192.0.2.1".parse::<IpAddr>().unwrap());
        standings.now_or_never().unwrap().iter().map(Standing::remaining).collect::<Vec<_>>()
    };
    assert_eq!([(); 4].map(|()| status(&service, ALICE)), [200, 200, 429, 429]);
    assert_eq!(left(), [0, 2]);
    clock.advance(secs(2));
    assert_eq!([(); 3].map(|()| status(&service, ALICE)), [200, 200, 429]);
    clock.advance(secs(2));
    let refused = send(&service, request(ALICE));
    assert_eq!(left(), [2, 0]);
    assert_eq!(header(&refused, "ratelimit"), r#""burst";r=2, "hourly";r=0;t=896"#);
    assert_eq!(all(&refused, "ratelimit-policy"), [r#""burst";q=2;w=2"#, r#""hourly";q=4;w=3600"#]);
    assert_eq!(body(refused)["violated-policies"], serde_json::json!(["hourly"]));
}

#[test]
fn cost_counts_for_several_and_never_fits_above_the_burst() {
    let policy = Policy::new("p", Quota::per_minute(10)).cost_by(|req| {
        req.headers().get("cost").map_or(1, |cost| cost.to_str().unwrap().parse().unwrap())
    });
    let service = chain(RateLimit::new(policy).clock(LimitClock::fake()));
    let cost = |cost: &str| send(&service, with(ALICE, "cost", cost));
    assert_eq!(header(&cost("7"), "ratelimit"), r#""p";r=3;t=6"#);
    let refused = cost("5");
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "12"));
    let never = cost("11");
    assert_eq!((never.status().as_u16(), header(&never, "retry-after")), (429, ""));
    assert!(body(never)["detail"].as_str().unwrap().contains("never"));
    assert_eq!(cost("0").status(), 200);
    assert_eq!(cost("3").status(), 200);
    assert_eq!(cost("0").status(), 200);
    assert_eq!(cost("4294967295").status(), 429);
}

#[test]
fn a_tier_keeps_what_was_used() {
    let clock = LimitClock::fake();
    let policy = Policy::new("tier", Quota::per_hour(2))
        .quota_by(|req| req.headers().contains_key("pro").then(|| Quota::per_hour(4)));
    let service = chain(RateLimit::new(policy).clock(clock));
    let pro = || send(&service, with(ALICE, "pro", "1"));
    assert_eq!(header(&pro(), "ratelimit"), r#""tier";r=3;t=900"#);
    assert_eq!(header(&pro(), "ratelimit-policy"), r#""tier";q=4;w=3600"#);
    // Half of the other tier is used as well. After that, each tier has its own count.
    assert_eq!([(); 2].map(|()| status(&service, ALICE)), [200, 429]);
    assert_eq!([(); 3].map(|()| pro().status().as_u16()), [200, 200, 429]);
    assert_eq!(status(&service, ALICE), 429);
}

#[test]
fn only_failures_count_and_the_rest_is_given_back_exactly() {
    let clock = LimitClock::fake();
    let limit = RateLimit::per_minute(3).count_failures().clock(clock);
    let handle = subjects(&limit);
    let service = Chain::new()
        .use_(limit)
        .get(async |headers: http::HeaderMap| match headers.contains_key("wrong") {
            true => Err(Error::new(StatusCode::UNAUTHORIZED, "wrong")),
            false => Ok("welcome"),
        })
        .build();
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    for _ in 0..50 {
        assert_eq!(status(&service, ALICE), 200);
    }
    assert_eq!(handle.limiter().keys(), 0);
    let wrong = || send(&service, with(ALICE, "wrong", "1")).status().as_u16();
    assert_eq!([wrong(), wrong(), wrong(), wrong()], [401, 401, 401, 429]);
    assert_eq!(handle.peek(alice).now_or_never().unwrap()[0].remaining(), 0);
}

#[test]
fn a_request_dropped_half_way_counts_as_failure_and_not_as_success() {
    for (limit, left) in [
        (RateLimit::per_minute(3).count_failures(), 2),
        (RateLimit::per_minute(3).count_successes(), 3),
        (RateLimit::per_minute(3), 2),
    ] {
        let limit = limit.clock(LimitClock::fake());
        let handle = subjects(&limit);
        let service =
            Chain::new().use_(limit).get(async || std::future::pending::<String>().await).build();
        assert!(service.handle(request(ALICE)).now_or_never().is_none());
        let alice: IpAddr = "192.0.2.1".parse().unwrap();
        assert_eq!(handle.peek(alice).now_or_never().unwrap()[0].remaining(), left);
    }
}

#[test]
fn skipped_requests_are_not_counted() {
    let limit = RateLimit::per_hour(1)
        .skip(|req| req.headers().contains_key("health"))
        .skip_preflight()
        .clock(LimitClock::fake());
    let service = chain(limit);
    for _ in 0..5 {
        assert_eq!(send(&service, with(ALICE, "health", "1")).status(), 200);
        let mut preflight = with(ALICE, "access-control-request-method", "PUT");
        *preflight.method_mut() = Method::OPTIONS;
        assert_eq!(send(&service, preflight).status(), 200);
    }
    assert_eq!([(); 2].map(|()| status(&service, ALICE)), [200, 429]);
}

#[test]
fn clients_of_ones_own_are_not_counted() {
    let proxies = TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, ["10.0.0.0/8"]).unwrap();
    let limit = RateLimit::per_hour(1)
        .skip_clients("192.0.2.0/30".parse().unwrap())
        .trusted_proxies(proxies)
        .clock(LimitClock::fake());
    let service = chain(limit);
    let call = |by: &str, xff: &str| send(&service, with(by, "x-forwarded-for", xff)).status();
    for _ in 0..3 {
        assert_eq!(call(ALICE, ""), 200);
        assert_eq!(call("10.0.0.1:1", "192.0.2.3"), 200);
    }
    assert_eq!(call("10.0.0.1:1", "192.0.2.4"), 200);
    assert_eq!(call("10.0.0.1:1", "192.0.2.1, 192.0.2.4"), 429);
}

#[test]
fn whoever_goes_on_in_spite_of_refusals_is_blocked() {
    let clock = LimitClock::fake();
    let limit = RateLimit::new(Quota::new(1, secs(1)))
        .penalty(Quota::per_minute(2), secs(100))
        .clock(clock.clone());
    let handle = subjects(&limit);
    let service = chain(limit);
    assert_eq!([(); 4].map(|()| status(&service, ALICE)), [200, 429, 429, 429]);
    let blocked = send(&service, request(ALICE));
    assert_eq!((blocked.status().as_u16(), header(&blocked, "retry-after")), (429, "100"));
    assert_eq!(
        body(blocked)["type"],
        "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
    );
    assert_eq!(status(&service, BOB), 200);
    clock.advance(secs(99));
    assert_eq!(status(&service, ALICE), 429);
    clock.advance(secs(1));
    assert_eq!(status(&service, ALICE), 200);
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    assert!(handle.block(alice, secs(5)).now_or_never().unwrap());
    assert_eq!(handle.blocked_for(alice).now_or_never().unwrap(), Some(secs(5)));
    assert_eq!(status(&service, ALICE), 429);
    assert!(handle.reset(alice).now_or_never().unwrap());
    assert_eq!(status(&service, ALICE), 200);
}

#[test]
fn too_many_requests_at_once_are_no_strikes() {
    let limit = RateLimit::per_second(100).concurrency(1).penalty(Quota::per_hour(1), secs(900));
    let service = chain(limit.clock(LimitClock::fake()));
    let running = send(&service, request(ALICE));
    assert_eq!([(); 5].map(|()| status(&service, ALICE)), [429; 5]);
    drop(running);
    assert_eq!(status(&service, ALICE), 200);
}

#[test]
fn concurrency_is_limited_until_bodies_are_sent() {
    let limit = RateLimit::per_second(100).concurrency(2).clock(LimitClock::fake());
    let handle = limit.handle();
    let service = chain(limit);
    let first = send(&service, request(ALICE));
    let second = send(&service, request(ALICE));
    let third = send(&service, request(ALICE));
    assert_eq!((third.status().as_u16(), header(&third, "retry-after")), (429, "1"));
    assert_eq!(all(&third, "ratelimit-policy")[1], r#""concurrent";q=2;qu="concurrent-requests""#);
    assert_eq!(body(third)["violated-policies"], serde_json::json!(["concurrent"]));
    assert_eq!(status(&service, BOB), 200);
    drop(first);
    assert_eq!(send(&service, request(ALICE)).status(), 200);
    drop(second);
    // Only what is charged is left: places are forgotten at zero.
    assert_eq!(handle.keys(), 2);
}

#[test]
fn a_request_dropped_half_way_leaves_its_place() {
    let limit = RateLimit::per_second(100).concurrency(1).clock(LimitClock::fake());
    let service =
        Chain::new().use_(limit).get(async || std::future::pending::<String>().await).build();
    for _ in 0..3 {
        let mut running = service.handle(request(ALICE));
        assert!((&mut running).now_or_never().is_none());
        assert_eq!(status(&service, ALICE), 429);
    }
}

#[tokio::test(start_paused = true)]
async fn delayed_requests_go_on_in_order_at_the_rate_of_the_quota() {
    let start = tokio::time::Instant::now();
    let clock = LimitClock::from_fn(move || start.elapsed());
    let limit = RateLimit::new(Quota::per_second(2).burst(1)).delay(secs(1)).clock(clock);
    let service = chain(limit);
    let answers = (0..5).map(|_| {
        let response = service.handle(request(ALICE));
        async move { (response.await.status().as_u16(), start.elapsed().as_millis()) }
    });
    let answers = futures_util::future::join_all(answers).await;
    // tokio's clock has a resolution of a millisecond.
    let rounded: Vec<_> = answers.iter().map(|(status, ms)| (*status, ms / 100)).collect();
    assert_eq!(rounded, [(200, 0), (200, 5), (200, 10), (429, 0), (429, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_request_that_is_dropped_gives_its_turn_back() {
    let start = tokio::time::Instant::now();
    let clock = LimitClock::from_fn(move || start.elapsed());
    let limit = RateLimit::new(Quota::per_second(1)).delay(secs(1)).clock(clock);
    let service = chain(limit);
    assert_eq!(service.handle(request(ALICE)).await.status(), 200);
    for _ in 0..5 {
        assert!((&mut service.handle(request(ALICE))).now_or_never().is_none());
    }
    assert_eq!(service.handle(request(ALICE)).await.status(), 200);
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[test]
fn without_a_runtime_a_delay_is_a_refusal() {
    let service = chain(RateLimit::per_second(1).delay(secs(9)).clock(LimitClock::fake()));
    assert_eq!([(); 3].map(|()| status(&service, ALICE)), [200, 429, 429]);
}

#[test]
fn shadow_mode_refuses_nothing_and_shows_everything() {
    let seen = Arc::new(AtomicUsize::new(0));
    let refused = seen.clone();
    let limit =
        RateLimit::per_hour(2).shadow().clock(LimitClock::fake()).observe(move |_, decision| {
            refused.fetch_add(usize::from(!decision.is_admitted()), Ordering::Relaxed);
        });
    let service = chain(limit);
    for _ in 0..5 {
        let response = send(&service, request(ALICE));
        assert_eq!((response.status().as_u16(), header(&response, "ratelimit")), (200, ""));
    }
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}

#[test]
fn a_quota_is_changed_while_it_runs() {
    let clock = LimitClock::fake();
    let limit = RateLimit::new(Policy::new("api", Quota::per_hour(1))).clock(clock.clone());
    let handle = limit.handle();
    let service = chain(limit);
    assert_eq!([(); 2].map(|()| status(&service, ALICE)), [200, 429]);
    assert!(handle.set_quota("api", Quota::per_second(10)));
    assert!(!handle.set_quota("other", Quota::per_second(10)));
    // What was used under the old quota counts as all of the new one, not as an hour of waiting.
    let refused = send(&service, request(ALICE));
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(header(&refused, "ratelimit-policy"), r#""api";q=10;w=1"#);
    assert_eq!(status(&service, BOB), 200);
    clock.advance(secs(1));
    assert_eq!(status(&service, ALICE), 200);
}

#[test]
fn a_changed_quota_shortens_nothing_that_another_quota_has_charged() {
    let clock = LimitClock::fake();
    let policy = Policy::new("tier", Quota::per_minute(60))
        .quota_by(|req| req.headers().contains_key("pro").then(|| Quota::new(10, secs(86_400))));
    let limit = RateLimit::new(policy).clock(clock.clone());
    let handle = limit.handle();
    let service = chain(limit);
    let pro = || send(&service, with(ALICE, "pro", "1")).status();
    assert_eq!((0..12).filter(|_| pro() == 200).count(), 10);
    assert!(handle.set_quota("tier", Quota::per_minute(100)));
    for _ in 0..3 {
        assert_eq!(status(&service, ALICE), 429);
        assert_eq!(pro(), 429);
    }
    assert!(handle.set_quota("tier", Quota::per_second(1)));
    clock.advance(secs(1000));
    assert_eq!(status(&service, ALICE), 429);
    assert_eq!(pro(), 429);
}

#[test]
fn whoever_changes_tiers_to_and_fro_gains_nothing_and_is_told_the_truth() {
    let clock = LimitClock::fake();
    let policy = Policy::new("tier", Quota::per_hour(10))
        .quota_by(|req| req.headers().contains_key("pro").then(|| Quota::per_minute(60)));
    let service = chain(RateLimit::new(policy).clock(clock.clone()));
    let pro = || send(&service, with(ALICE, "pro", "1"));
    assert_eq!((0..20).filter(|_| status(&service, ALICE) == 200).count(), 10);
    let refused = pro();
    assert_eq!(refused.status(), 429);
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    clock.advance(secs(wait));
    assert_eq!(pro().status(), 200);
    // The other tier has come back by the time that passed, and no more.
    let admitted = (0..20).filter(|_| status(&service, ALICE) == 200).count() as u64;
    assert_eq!(admitted, wait / 360);
}

#[test]
fn handlers_take_the_decision() {
    let limit = RateLimit::per_hour(5).clock(LimitClock::fake()).with_decision();
    let service = Chain::new()
        .use_(limit)
        .get(async |decision: Provided<Decision>| {
            let standing = &decision.standings()[0];
            format!("{} {} {}", standing.limit(), standing.remaining(), standing.used())
        })
        .build();
    let response = send(&service, request(ALICE));
    let body = http_body_util::BodyExt::collect(response.into_body());
    assert_eq!(body.now_or_never().unwrap().unwrap().to_bytes(), "5 4 1");
}

#[test]
fn a_rejection_of_ones_own_sees_the_request_and_keeps_the_headers() {
    let limit = RateLimit::per_hour(1).clock(LimitClock::fake()).reject(|req, decision| {
        let seconds = decision.retry_after().map_or(0, |wait| wait.as_secs());
        (StatusCode::IM_A_TEAPOT, format!("{} {seconds}", req.uri().path()))
    });
    let service = chain(limit);
    status(&service, ALICE);
    let refused = send(&service, request(ALICE));
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (418, "3600"));
    assert_eq!(header(&refused, "ratelimit"), r#""1-in-1h";r=0;t=3600"#);
}

#[test]
fn grpc_is_refused_in_its_own_words() {
    let service = chain(RateLimit::per_hour(1).clock(LimitClock::fake()));
    let call = || send(&service, with(ALICE, "content-type", "application/grpc+proto"));
    call();
    let refused = call();
    assert_eq!(refused.status(), 200);
    assert_eq!(header(&refused, "grpc-status"), "8");
    assert_eq!(header(&refused, "grpc-retry-pushback-ms"), "3600000");
    assert_eq!(header(&refused, "content-type"), "application/grpc");
}

#[test]
fn every_set_of_headers_is_written_as_its_draft_has_it() {
    let limit = RateLimit::new(Policy::new("p", Quota::new(5, secs(60))))
        .headers([LimitHeaders::Draft6, LimitHeaders::XRateLimitDelta])
        .clock(LimitClock::fake());
    let response = send(&chain(limit), request(ALICE));
    for (name, value) in [
        ("ratelimit-limit", "5"),
        ("ratelimit-remaining", "4"),
        ("ratelimit-reset", "12"),
        ("ratelimit-policy", "5;w=60"),
        ("x-ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "4"),
        ("x-ratelimit-reset", "12"),
        ("ratelimit", ""),
    ] {
        assert_eq!(header(&response, name), value, "{name}");
    }
    let limit = RateLimit::new(Quota::new(5, secs(60))).headers([LimitHeaders::Draft7]);
    let response = send(&chain(limit.clock(LimitClock::fake())), request(ALICE));
    assert_eq!(header(&response, "ratelimit"), "limit=5, remaining=4, reset=12");
    assert_eq!(header(&response, "ratelimit-policy"), "5;w=60");

    let limit = RateLimit::new(Quota::new(5, secs(60))).headers([LimitHeaders::XRateLimit]);
    let response = send(&chain(limit.clock(LimitClock::fake())), request(ALICE));
    let reset: u64 = header(&response, "x-ratelimit-reset").parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((11..=13).contains(&(reset - now.as_secs())));

    let service = chain(RateLimit::per_hour(1).headers([]).clock(LimitClock::fake()));
    assert!(send(&service, request(ALICE)).headers().keys().all(|name| name != "ratelimit"));
    assert_eq!(header(&send(&service, request(ALICE)), "retry-after"), "3600");
}

#[test]
fn stacked_limiters_append_their_headers() {
    let clock = LimitClock::fake();
    let service = Chain::new()
        .use_(RateLimit::new(Policy::new("outer", Quota::per_hour(9))).clock(clock.clone()))
        .use_(RateLimit::new(Policy::new("inner", Quota::per_hour(3))).clock(clock))
        .get(async || "hello")
        .build();
    let response = send(&service, request(ALICE));
    assert_eq!(all(&response, "ratelimit"), [r#""inner";r=2;t=1200"#, r#""outer";r=8;t=400"#]);
}

#[test]
fn of_stacked_limiters_a_field_that_is_no_list_shows_the_tightest() {
    use LimitHeaders::{Draft6, Draft7, XRateLimit, XRateLimitDelta};
    let build = |set, outer: u32, inner: u32| {
        let clock = LimitClock::fake();
        let limit = |name: &str, limit| {
            let policy = Policy::new(name, Quota::new(limit, secs(60 * u64::from(limit))));
            RateLimit::new(policy).headers([set]).clock(clock.clone())
        };
        chain_of(limit("outer", outer), limit("inner", inner))
    };
    for (set, fields) in [
        (Draft6, &["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"][..]),
        (Draft7, &["ratelimit"][..]),
        (XRateLimit, &["x-ratelimit-limit", "x-ratelimit-remaining"][..]),
        (XRateLimitDelta, &["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"][..]),
    ] {
        for (outer, inner, tightest) in [(9, 3, [3, 2]), (3, 9, [3, 2]), (4, 4, [4, 3])] {
            let service = build(set, outer, inner);
            let response = send(&service, request(ALICE));
            let shown: Vec<_> = fields.iter().map(|field| all(&response, field)).collect();
            assert!(shown.iter().all(|values| values.len() == 1), "{set:?}: {shown:?}");
            let [limit, remaining] = tightest;
            let expected = match set {
                Draft7 => vec![format!("limit={limit}, remaining={remaining}, reset=60")],
                XRateLimit => vec![limit.to_string(), remaining.to_string()],
                _ => vec![limit.to_string(), remaining.to_string(), "60".to_owned()],
            };
            assert_eq!(shown.concat(), expected, "{set:?}: {outer} around {inner}");
        }
        // A refusal by the inner limiter is shown, though the outer one has less remaining.
        let clock = LimitClock::fake();
        let costly = Policy::new("inner", Quota::new(50, secs(50))).cost(20);
        let inner = RateLimit::new(costly).headers([set]).clock(clock.clone());
        let outer = RateLimit::new(Policy::new("outer", Quota::new(4, secs(4))));
        let service = chain_of(outer.headers([set]).clock(clock), inner);
        assert_eq!([(); 2].map(|()| status(&service, ALICE)), [200, 200]);
        let refused = send(&service, request(ALICE));
        let shown: Vec<_> = fields.iter().flat_map(|field| all(&refused, field)).collect();
        assert_eq!((refused.status().as_u16(), shown.len()), (429, fields.len()), "{shown:?}");
        assert!(shown[0].starts_with("limit=50") || shown[0] == "50", "{shown:?}");
    }
    // What the handler has written is no list either.
    let limit = RateLimit::per_hour(5).headers([XRateLimit]).clock(LimitClock::fake());
    let service = Chain::new()
        .use_(limit)
        .get(async || [("x-ratelimit-remaining", "many"), ("x-ratelimit-limit", "7")])
        .build();
    let response = send(&service, request(ALICE));
    assert_eq!(all(&response, "x-ratelimit-remaining"), ["4"]);
    assert_eq!(all(&response, "x-ratelimit-limit"), ["5"]);
}

fn chain_of(outer: RateLimit, inner: RateLimit) -> ChainService {
    Chain::new().use_(outer).use_(inner).all(async || "hello").build()
}

#[test]
fn the_fields_are_exposed_to_browsers() {
    let limit = RateLimit::per_hour(1).expose_headers().clock(LimitClock::fake());
    assert_eq!(limit.header_names(), ["retry-after", "ratelimit", "ratelimit-policy"]);
    let response = send(&chain(limit), request(ALICE));
    assert_eq!(
        header(&response, "access-control-expose-headers"),
        "retry-after, ratelimit, ratelimit-policy"
    );
}

#[test]
fn keys_of_many_kinds_count_apart_and_missing_ones_under_the_address() {
    let api_key = LimitKey::header(HeaderName::from_static("x-api-key"));
    let service = chain(RateLimit::per_hour(1).key(api_key.clone()).clock(LimitClock::fake()));
    let call = |key: &str| send(&service, with(ALICE, "x-api-key", key)).status().as_u16();
    assert_eq!([call("a"), call("b"), call("a")], [200, 200, 429]);
    assert_eq!([status(&service, ALICE), status(&service, ALICE)], [200, 429]);
    assert_eq!(status(&service, BOB), 200);
    // A header that is too long to be a key is none.
    assert_eq!(call(&"x".repeat(2000)), 429);

    let service = chain(RateLimit::per_hour(1).key(api_key.optional()).clock(LimitClock::fake()));
    assert_eq!([status(&service, ALICE), status(&service, ALICE)], [200, 200]);

    let service = chain(RateLimit::per_hour(1).key(LimitKey::everyone()).clock(LimitClock::fake()));
    assert_eq!([status(&service, ALICE), status(&service, BOB)], [200, 429]);

    let key = LimitKey::from_async_fn(|parts| {
        let tenant = parts.headers.get("tenant").map(|value| value.as_bytes().to_vec());
        async move { tenant }
    });
    let service = chain(RateLimit::per_hour(1).key(key).clock(LimitClock::fake()));
    let call = |tenant: &str| send(&service, with(ALICE, "tenant", tenant)).status().as_u16();
    assert_eq!([call("a"), call("b"), call("a")], [200, 200, 429]);
}

#[test]
fn one_credential_has_one_quota_however_it_is_written() {
    let limit = RateLimit::per_hour(1).key(LimitKey::authorization()).clock(LimitClock::fake());
    let handle = subjects(&limit);
    let service = chain(limit);
    let call = |value: &str| send(&service, with(ALICE, "authorization", value)).status().as_u16();
    assert_eq!([call("Bearer abc"), call("Bearer abd")], [200, 200]);
    for again in ["Bearer abc", "bearer abc", "bEARER   abc", "BEARER\tabc"] {
        assert_eq!(call(again), 429, "{again}");
    }
    let reset = |client: &'static str| handle.reset(client).now_or_never();
    assert_eq!(
        (reset("Bearer abc"), call("bearer abc"), call("Bearer abc")),
        (Some(true), 200, 429)
    );
}

#[test]
fn a_header_that_is_sent_twice_hides_nobody() {
    let key = || LimitKey::header(HeaderName::from_static("x-api-key"));
    for key in [key(), key().optional()] {
        let service = chain(RateLimit::per_hour(1).key(key).clock(LimitClock::fake()));
        let twice = |at: usize| {
            let mut req = with(ALICE, "x-api-key", &format!("invented-{at}"));
            req.headers_mut().append("x-api-key", HeaderValue::from_static("mine"));
            send(&service, req).status().as_u16()
        };
        assert_eq!([twice(0), twice(1), twice(2)], [200, 429, 429]);
        let long = |at: usize| {
            let value = format!("{at}{}", "x".repeat(1025));
            send(&service, with(BOB, "x-api-key", &value)).status().as_u16()
        };
        assert_eq!([long(0), long(1)], [200, 429]);
    }
}

#[test]
fn no_text_is_an_address() {
    let alice: std::net::Ipv6Addr = "2001:db8::".parse().unwrap();
    let key = LimitKey::from_fn(move |req| {
        req.headers().contains_key("octets").then(|| alice.octets().to_vec())
    });
    let service = chain(RateLimit::per_hour(1).key(key).clock(LimitClock::fake()));
    assert_eq!(send(&service, with(BOB, "octets", "1")).status(), 200);
    assert_eq!(status(&service, "[2001:db8::1]:1"), 200);
}

#[test]
fn the_principal_of_an_earlier_step_is_a_key() {
    #[derive(Clone)]
    struct User(u64);
    let key = LimitKey::provided(|user: &User| user.0);
    let service = Chain::new()
        .guard(async |headers: http::HeaderMap| {
            let id = headers.get("id").and_then(|id| id.to_str().ok()?.parse().ok());
            id.map(User).ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "who?"))
        })
        .use_(RateLimit::per_hour(1).key(key).clock(LimitClock::fake()))
        .get(async || "hello")
        .build();
    let call = |id: &str| send(&service, with(ALICE, "id", id)).status().as_u16();
    assert_eq!([call("1"), call("2"), call("1"), call("x")], [200, 200, 429, 401]);
}

#[test]
fn addresses_count_by_what_a_customer_holds() {
    let service = chain(RateLimit::per_hour(1).clock(LimitClock::fake()));
    for (peer, expected) in [
        ("[2001:db8::1]:1", 200),
        ("[2001:db8::ffff:1]:1", 429), // the same /64
        ("[2001:db8:0:1::1]:1", 200),
        ("192.0.2.7:1", 200),
        ("[::ffff:192.0.2.7]:1", 429),    // mapped
        ("[64:ff9b::192.0.2.7]:1", 429),  // NAT64
        ("[::ffff:192.0.2.8]:1", 200),    // not all of IPv4 is one client
        ("[2002:c000:207::1]:1", 200),    // 6to4
        ("[2002:c000:207:99::1]:1", 429), // another subnet of the same host
        ("[::1]:1", 200),
    ] {
        assert_eq!(status(&service, peer), expected, "{peer}");
    }
    let key = LimitKey::client().ipv4_prefix(24).ipv6_prefix(56);
    let service = chain(RateLimit::per_hour(1).key(key).clock(LimitClock::fake()));
    for (peer, expected) in [
        ("192.0.2.7:1", 200),
        ("192.0.2.200:1", 429),
        ("[2001:db8::1]:1", 200),
        ("[2001:db8:0:ff::1]:1", 429),
        ("[2001:db8:0:100::1]:1", 200),
    ] {
        assert_eq!(status(&service, peer), expected, "{peer}");
    }
}

#[test]
fn a_client_with_many_subnets_is_limited_in_all_of_them() {
    let key = LimitKey::client().ipv6_hierarchy();
    let limit = RateLimit::per_hour(2).key(key).clock(LimitClock::fake());
    let service = chain(limit);
    let mut admitted = 0;
    for subnet in 0..1000 {
        let peer = format!("[2001:db8:7:{subnet:x}::1]:1");
        admitted += (0..4).filter(|_| status(&service, &peer) == 200).count();
    }
    // A /48 has 16 times the quota of a /64; each /56 in it 4 times.
    assert_eq!(admitted, 32);
    assert_eq!(status(&service, "[2001:db8:8::1]:1"), 200);
}

#[test]
fn proxies_are_those_of_the_limiter_or_of_the_chain() {
    let proxies = || TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, ["10.0.0.0/8"]).unwrap();
    let limit = || RateLimit::per_hour(1).clock(LimitClock::fake());
    for service in [
        chain(limit().trusted_proxies(proxies())),
        Chain::new().provide(proxies()).use_(limit()).get(async || "hello").build(),
    ] {
        let call = |by: &str, xff: &str| send(&service, with(by, "x-forwarded-for", xff)).status();
        assert_eq!(call("10.0.0.1:1", "192.0.2.1"), 200);
        assert_eq!(call("10.0.0.2:1", "192.0.2.2"), 200);
        assert_eq!(call("10.0.0.2:1", "1.2.3.4, 192.0.2.1"), 429);
        assert_eq!(call("192.0.2.1:1", "5.6.7.8"), 429);
    }
    // With no proxy the header is nothing but what a client says.
    let service = chain(limit());
    let call = |xff: &str| send(&service, with(ALICE, "x-forwarded-for", xff)).status();
    assert_eq!([call("1.1.1.1"), call("2.2.2.2")], [200, 429]);
}

#[test]
fn without_a_peer_all_share_one_limit_and_nothing_fails() {
    let service = chain(RateLimit::per_hour(1).clock(LimitClock::fake()));
    let call = || send(&service, Request::default()).status().as_u16();
    assert_eq!([call(), call()], [200, 429]);
}

#[test]
fn clones_share_their_counts() {
    let limit = RateLimit::per_hour(1).clock(LimitClock::fake());
    let (first, second) = (chain(limit.clone()), chain(limit));
    assert_eq!([status(&first, ALICE), status(&second, ALICE)], [200, 429]);
}

#[test]
fn a_handle_charges_refunds_and_resets() {
    let clock = LimitClock::fake();
    let limit = RateLimit::per_hour(10).clock(clock);
    let handle = subjects(&limit);
    let service = chain(limit);
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    let left = || handle.peek(alice).now_or_never().unwrap()[0].remaining();
    assert_eq!(left(), 10);
    assert_eq!(handle.limiter().keys(), 0);
    handle.charge(alice, 4).now_or_never();
    assert_eq!(left(), 6);
    handle.refund(alice, 1).now_or_never();
    assert_eq!(left(), 7);
    handle.refund(alice, u32::MAX).now_or_never();
    assert_eq!(left(), 10);
    handle.charge(alice, u32::MAX).now_or_never();
    assert_eq!((left(), status(&service, ALICE)), (0, 429));
    assert!(!handle.would_admit(alice));
    handle.reset(alice).now_or_never();
    assert_eq!((left(), status(&service, ALICE)), (10, 200));
    assert!(handle.would_admit(alice));
}

#[test]
fn wrong_quotas_fail_where_they_are_built() {
    use RateLimitError as E;
    let year = secs(366 * 24 * 3600);
    for (quota, error) in [
        (Quota::try_new(0, secs(1)), E::ZeroLimit),
        (Quota::try_new(1, Duration::ZERO), E::ZeroPeriod),
        (Quota::try_new(2_000, Duration::from_nanos(1_000)), E::TooFast),
        (Quota::try_new(1, year * 101), E::TooLong),
        (Quota::try_new(1, Duration::MAX), E::TooLong),
        (Quota::try_new(1, secs(24 * 3600)).and_then(|q| q.try_burst(300_000)), E::TooLong),
        (Quota::try_new(5, secs(1)).and_then(|q| q.try_burst(0)), E::ZeroLimit),
    ] {
        assert_eq!(quota, Err(error));
    }
    assert_eq!(RateLimit::per_client(0).try_every(secs(1)).unwrap_err(), E::ZeroLimit);
    for name in ["", "a\"b", "é", "a\nb", &"x".repeat(65)] {
        let policy = Policy::try_new(name, Quota::per_second(1));
        assert_eq!(policy.unwrap_err(), E::Name(name.to_owned()));
    }
    let policy = |name: &str| Policy::new(name, Quota::per_second(1));
    let limit = RateLimit::new(policy("a"));
    assert_eq!(limit.clone().try_and(policy("a")).unwrap_err(), E::DuplicateName("a".into()));
    let full =
        ["b", "c", "d", "e", "f", "g", "h"].iter().fold(limit, |l, name| l.and(policy(name)));
    assert_eq!(full.try_and(policy("i")).unwrap_err(), E::TooManyPolicies);
    for length in [0, 129] {
        assert_eq!(LimitKey::client().try_ipv6_prefix(length).unwrap_err(), E::Prefix);
    }
    assert_eq!(LimitKey::client().try_ipv4_prefix(33).unwrap_err(), E::Prefix);
}

#[test]
fn a_wrong_constant_panics_at_the_line_that_wrote_it() {
    let panicked = std::panic::catch_unwind(|| RateLimit::per_second(0)).unwrap_err();
    let message = panicked.downcast_ref::<String>().unwrap();
    assert!(message.contains("a limit of 0 refuses everything"), "{message}");
}

#[test]
fn nothing_of_a_client_is_shown_by_debug() {
    let limit = RateLimit::per_hour(1).clock(LimitClock::fake());
    let handle = subjects(&limit);
    handle.charge("secret-key", 1).now_or_never();
    let shown = format!("{limit:?} {handle:?} {:?}", Subject::from("secret-key"));
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn the_public_types_can_be_shared() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<RateLimit>();
    shared::<WithDecision>();
    shared::<RateLimitHandle>();
    shared::<Decision>();
    shared::<Policy>();
    shared::<LimitKey>();
    shared::<LimitClock>();
    shared::<SharedLimits>();
}

/// What is written to the log while `f` runs.
fn logged(f: impl FnOnce()) -> String {
    let log = Log::start();
    f();
    log.text()
}

#[test]
fn what_is_likely_wrong_is_said_once() {
    let limit = || RateLimit::per_second(1_000_000).clock(LimitClock::fake());
    let count = |log: &str, text: &str| log.matches(text).count();

    let service = chain(limit());
    let log = logged(|| {
        for _ in 0..9 {
            send(&service, with(ALICE, "x-forwarded-for", "192.0.2.1"));
        }
    });
    assert_eq!(count(&log, "no proxy is trusted"), 1, "{log}");

    let proxies = TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, ["192.0.2.0/24"]).unwrap();
    let service = chain(limit().trusted_proxies(proxies));
    let log = logged(|| drop(send(&service, with(ALICE, "x-forwarded-for", "1.1.1.1"))));
    assert_eq!(count(&log, "WARN"), 0, "{log}");

    let service = chain(limit());
    let log = logged(|| (0..3000).for_each(|_| assert_eq!(status(&service, ALICE), 200)));
    assert_eq!(count(&log, "under one key"), 1, "{log}");
    let service = chain(limit());
    let log = logged(|| {
        status(&service, BOB);
        (0..3000).for_each(|_| assert_eq!(status(&service, ALICE), 200));
    });
    assert_eq!(count(&log, "under one key"), 0, "{log}");

    let twice = limit();
    let service = Chain::new().use_(twice.clone()).use_(twice).get(async || "hello").build();
    let log = logged(|| (0..9).for_each(|_| assert_eq!(status(&service, ALICE), 200)));
    assert_eq!(count(&log, "passed the same limiter twice"), 1, "{log}");

    let service = Chain::new().use_(limit()).use_(limit()).get(async || "hello").build();
    let log = logged(|| drop([(); 9].map(|()| send(&service, Request::default()))));
    assert_eq!(count(&log, "passed the same limiter twice"), 0, "{log}");
    assert_eq!(count(&log, "has a `PeerAddr`"), 2, "{log}");
}

#[test]
fn no_log_names_the_client() {
    let service =
        chain(RateLimit::per_hour(1).key(LimitKey::authorization()).clock(LimitClock::fake()));
    let log = logged(|| {
        for _ in 0..3 {
            send(&service, with("203.0.113.77:1", "authorization", "Bearer hunter2"));
        }
    });
    assert!(log.contains("request refused"), "{log}");
    assert!(!log.contains("hunter2") && !log.contains("203.0.113.77"), "{log}");
}

#[test]
fn no_request_head_makes_a_limiter_fail() {
    let policy = Policy::new("p", Quota::per_second(1))
        .key(LimitKey::header(HeaderName::from_static("x-api-key")));
    for header in ForwardedHeaders::all() {
        let proxies = TrustedProxies::cidrs(header, ["0.0.0.0/0", "::/0"]).unwrap();
        let limit = RateLimit::new(policy.clone())
            .and(Quota::per_hour(1))
            .key(LimitKey::client().ipv6_hierarchy())
            .trusted_proxies(proxies)
            .headers([LimitHeaders::Ietf, LimitHeaders::Draft6, LimitHeaders::XRateLimit])
            .penalty(Quota::per_second(1), secs(1))
            .concurrency(3);
        let service = chain(limit.clock(LimitClock::fake()));
        for value in [
            "",
            ",",
            ";",
            "=",
            "\"",
            "[",
            "]",
            ":",
            "::",
            "for=",
            "for=\"",
            "for=[",
            "1:2:3",
            "%",
            "::%",
            "255.255.255.255",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "0.0.0.0",
            "::ffff:0:0",
            "64:ff9b::",
            "2002::",
            "\u{e9}",
        ] {
            for name in [
                "x-forwarded-for",
                "forwarded",
                "x-api-key",
                "cloudfront-viewer-address",
                "x-real-ip",
            ] {
                let status = send(&service, with(ALICE, name, value)).status().as_u16();
                assert!(status == 200 || status == 429, "{name}: {value} is {status}");
            }
        }
    }
}

struct ForwardedHeaders;

impl ForwardedHeaders {
    fn all() -> [ForwardedHeader; 4] {
        let real_ip = HeaderName::from_static("x-real-ip");
        [
            ForwardedHeader::XForwardedFor,
            ForwardedHeader::Forwarded,
            ForwardedHeader::CloudFrontViewerAddress,
            ForwardedHeader::Single(real_ip),
        ]
    }
}

#[test]
fn the_short_way_decides_as_the_long_one() {
    let clock = LimitClock::fake();
    let limit = RateLimit::new(Quota::per_minute(30).burst(7)).clock(clock.clone());
    let short = subjects(&limit.clone().max_keys(100));
    // Whoever is told of each decision has it made in the long way.
    let long = subjects(&limit.max_keys(100).observe(|_, _| ()));
    let (mut random, mut refused) = (7_u64, 0);
    for _ in 0..20_000 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let [client, cost, pause] = [random >> 60, random >> 56 & 7, random >> 40 & 0xffff];
        clock.advance(Duration::from_micros(pause * 10));
        let decide = |handle: &PolicyHandle| {
            let decided = handle.admit(client, cost as u32).now_or_never().unwrap();
            decided.map_err(|d| (d.verdict(), d.retry_after(), d.standings().to_vec()))
        };
        let decided = decide(&short);
        refused += usize::from(decided.is_err());
        assert_eq!(decided, decide(&long), "client {client}, cost {cost}");
    }
    assert!(refused > 1_000 && refused < 19_000, "{refused}");
    assert_eq!(short.limiter().totals(), long.limiter().totals());
}

#[test]
fn who_finds_no_room_is_refused_in_the_short_way_as_well() {
    let clock = LimitClock::fake();
    let handle = subjects(&RateLimit::per_minute(2).max_keys(1).clock(clock.clone()));
    let admit = |client: u64| handle.admit(client, 1).now_or_never().unwrap();
    assert!(admit(0).is_ok() && admit(0).is_ok() && admit(0).is_err());
    // All others share sixteen limiters.
    let admitted = (1..1_000).filter(|client| admit(*client).is_ok()).count();
    assert_eq!(admitted, 16 * 2);
    let refusal = admit(7).unwrap_err();
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(30)));
    assert_eq!((refusal.standings()[0].remaining(), handle.limiter().keys()), (0, 1));
    // The one that is known is refused on, and admitted as soon as it may.
    assert!(admit(0).is_err());
    clock.advance(Duration::from_secs(30));
    assert!(admit(0).is_ok() && admit(0).is_err());
}
