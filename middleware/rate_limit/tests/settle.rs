//! Costs that are known only after the request.

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};

use super::*;

/// A chain whose handler returns a response with this cost in its extensions, and a body of this many bytes.
fn answering(limit: RateLimit) -> ChainService {
    let answer = async |headers: http::HeaderMap| {
        let number = |name| headers.get(name)?.to_str().ok()?.parse::<u32>().ok();
        let mut response =
            Response::new(Body::from(vec![0; number("bytes").unwrap_or(0) as usize]));
        if let Some(cost) = number("cost") {
            response.extensions_mut().insert(cost);
            let actual = ActualCost::new();
            actual.add(cost);
            response.extensions_mut().insert(actual);
        }
        if headers.contains_key("fails") {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        response
    };
    Chain::new().use_(limit).get(answer).build()
}

fn by_extension(response: &Response) -> Option<u32> {
    response.extensions().get().copied()
}

fn tokens(quota: Quota) -> Policy {
    Policy::new("tokens", quota)
}

#[test]
fn a_debt_must_come_back_before_the_next_request() {
    let clock = LimitClock::fake();
    let policy = tokens(Quota::per_minute(60)).cost(10).settle(by_extension);
    let service = answering(RateLimit::new(policy).clock(clock.clone()));
    let first = send(&service, with(ALICE, "cost", "40"));
    assert_eq!(header(&first, "ratelimit"), r#""tokens";r=20;t=1"#);
    // The reservation fits, and the cost does not: 60 of 60 requests are used up, and 140 more.
    let second = send(&service, with(ALICE, "cost", "160"));
    assert_eq!(
        (second.status().as_u16(), header(&second, "ratelimit")),
        (200, r#""tokens";r=0;t=141"#)
    );
    let refused = send(&service, with(ALICE, "cost", "1"));
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "150"));
    clock.advance(secs(149));
    assert_eq!(send(&service, with(ALICE, "cost", "1")).status(), 429);
    clock.advance(secs(1));
    assert_eq!(send(&service, with(ALICE, "cost", "1")).status(), 200);
}

/// Without a delay nothing waits, and the test would hang.
#[test]
fn a_request_that_costs_nothing_does_not_wait_for_a_debt_to_come_back() {
    for policies in 1..=2 {
        for delay in [0, 2] {
            let clock = LimitClock::fake();
            let policy = tokens(Quota::per_minute(60)).cost(0).settle(by_extension);
            let mut limit = RateLimit::new(policy);
            if policies == 2 {
                limit = limit.and(Policy::new("requests", Quota::per_minute(600)));
            }
            let limit = limit.delay(secs(delay)).clock(clock.clone());
            let handle = subjects(&limit);
            let service = answering(limit);
            for _ in 0..3 {
                let response = send(&service, with(ALICE, "cost", "100"));
                assert_eq!(response.status(), 200, "{policies}, {delay}");
            }
            assert_eq!(remaining(&handle), 0);
            let decided = handle.admit(alice(), 0).now_or_never().expect("it does not wait");
            assert!(decided.is_ok());
        }
    }
}

#[test]
fn no_sequence_of_costs_obtains_more_than_the_quota_and_one_request() {
    for cost in [1, 999, 200_000] {
        let clock = LimitClock::fake();
        let policy = tokens(Quota::per_hour(660_000)).cost(1_000).settle(by_extension);
        let service = answering(RateLimit::new(policy).clock(clock.clone()));
        let mut obtained: u64 = 0;
        for _ in 0..60 {
            for _ in 0..20 {
                let response = send(&service, with(ALICE, "cost", &cost.to_string()));
                obtained += if response.status() == 200 { cost } else { 0 };
            }
            clock.advance(secs(60));
        }
        // The burst, and what comes back in an hour.
        assert!(obtained <= 2 * 660_000 + cost, "{cost}: {obtained}");
    }
}

#[test]
fn what_was_not_needed_is_refunded_but_not_what_has_come_back_already() {
    let clock = LimitClock::fake();
    let policy = tokens(Quota::per_minute(60)).cost(50).settle_at_end();
    let limit = RateLimit::new(policy).clock(clock.clone());
    let handle = subjects(&limit);
    let service = answering(limit);
    let left = || remaining(&handle);
    drop(send(&service, with(ALICE, "cost", "8")));
    assert_eq!(left(), 52);
    clock.advance(secs(60));
    // The first reservation drains while the response is open; a second request is charged after that.
    let open = send(&service, with(ALICE, "cost", "0"));
    clock.advance(secs(50));
    handle.charge(alice(), 40).now_or_never();
    assert_eq!(left(), 20);
    drop(open);
    assert_eq!(left(), 20);
    // Half of it has drained.
    clock.advance(secs(40));
    let open = send(&service, with(ALICE, "cost", "0"));
    clock.advance(secs(25));
    drop(open);
    assert_eq!(left(), 60);
}

#[test]
fn each_rule_learns_the_cost_at_its_time() {
    // The policy, and what is left of 100 after the head of the response, and after its body.
    for (policy, head, end) in [
        (tokens(Quota::per_hour(100)).cost(10), 90, 90),
        (tokens(Quota::per_hour(100)).cost(10).settle(by_extension), 70, 70),
        (tokens(Quota::per_hour(100)).cost(10).settle(|_| None), 90, 90),
        (tokens(Quota::per_hour(100)).cost(10).settle_at_end(), 90, 70),
        (tokens(Quota::per_hour(100)).cost(0).settle_at_end(), 100, 70),
        (tokens(Quota::per_hour(100)).cost(10).settle_bytes(100), 90, 80),
        (tokens(Quota::per_hour(100)).cost(90).settle_bytes(1_000), 10, 98),
    ] {
        let limit = RateLimit::new(policy.clone()).clock(LimitClock::fake());
        let handle = subjects(&limit);
        let service = answering(limit);
        let mut req = with(ALICE, "cost", "30");
        req.headers_mut().insert("bytes", "1901".parse().unwrap());
        let response = send(&service, req);
        assert_eq!(remaining(&handle), head, "{policy:?}");
        let shown = format!("\"tokens\";r={head}");
        assert!(header(&response, "ratelimit").starts_with(&shown), "{policy:?}");
        response.into_body().collect().now_or_never().unwrap().unwrap();
        assert_eq!(remaining(&handle), end, "{policy:?}");
    }
}

#[test]
fn a_response_that_is_dropped_half_way_costs_what_it_had_cost_by_then() {
    let limit = RateLimit::new(tokens(Quota::per_hour(100)).cost(50).settle_at_end())
        .and(Policy::new("bytes", Quota::per_hour(100)).cost(50).settle_bytes(1))
        .clock(LimitClock::fake());
    let handle = subjects(&limit);
    let stream = async || {
        let cost = ActualCost::new();
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(cost.clone());
        let chunks = (0..10).map(move |_| {
            cost.add(3);
            Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(b"ab")))
        });
        *response.body_mut() = Body::new(StreamBody::new(futures_util::stream::iter(chunks)));
        response
    };
    let service = Chain::new().use_(limit).get(stream).build();
    let left = || {
        let standings = handle.peek(alice()).now_or_never().unwrap();
        [standings[0].remaining(), standings[1].remaining()]
    };
    let mut body = send(&service, request(ALICE)).into_body();
    for _ in 0..4 {
        body.frame().now_or_never().unwrap().unwrap().unwrap();
    }
    assert_eq!(left(), [50, 50]);
    drop(body);
    assert_eq!(left(), [88, 92]);
}

#[test]
fn a_request_without_a_response_costs_its_reservation() {
    for policy in [
        tokens(Quota::per_hour(100)).cost(40).settle(by_extension),
        tokens(Quota::per_hour(100)).cost(40).settle_at_end(),
        tokens(Quota::per_hour(100)).cost(40).settle_bytes(1),
    ] {
        let limit = RateLimit::new(policy).clock(LimitClock::fake());
        let handle = subjects(&limit);
        let service = Chain::new().use_(limit).get(std::future::pending::<String>).build();
        assert!(service.handle(request(ALICE)).now_or_never().is_none());
        assert_eq!(remaining(&handle), 60);
    }
}

#[test]
fn a_request_that_does_not_count_costs_nothing() {
    let policy = tokens(Quota::per_hour(100)).cost(40).settle(by_extension);
    let limit = RateLimit::new(policy).count_successes().clock(LimitClock::fake());
    let handle = subjects(&limit);
    let service = answering(limit);
    let mut failing = with(ALICE, "cost", "90");
    failing.headers_mut().insert("fails", "1".parse().unwrap());
    assert_eq!(send(&service, failing).status(), 502);
    assert_eq!(remaining(&handle), 100);
    assert_eq!(send(&service, with(ALICE, "cost", "90")).status(), 200);
    assert_eq!(remaining(&handle), 10);
}

#[test]
fn a_debt_is_bounded() {
    for (most, wait) in [(0, 1), (5, 6), (1_000, 101)] {
        let clock = LimitClock::fake();
        let policy = tokens(Quota::per_minute(60)).settle(by_extension).max_debt(most);
        let limit = RateLimit::new(policy).clock(clock.clone());
        let handle = subjects(&limit);
        let service = answering(limit);
        assert_eq!(send(&service, with(ALICE, "cost", "160")).status(), 200);
        let refused = send(&service, request(ALICE));
        assert_eq!(header(&refused, "retry-after"), wait.to_string(), "{most}");
        handle.reset(alice()).now_or_never();
        handle.charge(alice(), 160).now_or_never();
        let refused = send(&service, request(ALICE));
        assert_eq!(header(&refused, "retry-after"), wait.to_string(), "{most}");
    }
    // The largest cost stays below the end of time.
    let policy = tokens(Quota::new(1, secs(3600 * 24 * 365))).settle(|_| Some(u32::MAX));
    let service = answering(RateLimit::new(policy).clock(LimitClock::fake()));
    assert_eq!(status(&service, ALICE), 200);
    assert_eq!(status(&service, ALICE), 429);
}

fn alice() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn remaining(handle: &PolicyHandle) -> u32 {
    handle.peek(alice()).now_or_never().unwrap()[0].remaining()
}
