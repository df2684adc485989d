//! The exact number of allocations of a limiter.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(feature = "rate-limit")]

use std::future::Future;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::{LimitClock, LimitHeaders, LimitKey, Policy, Quota};
use tower_chain::{Body, Chain, ChainService, RateLimit, Request, StatusCode};

async fn hello() -> StatusCode {
    StatusCode::OK
}

fn poll_once<F: Future>(future: F) -> F::Output {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing in these chains waits"),
    }
}

/// Counts the allocations of one request, after warm-up requests.
fn allocations(service: &ChainService, peer: &str) -> u64 {
    let request = || {
        let mut req = Request::new(Body::empty());
        let peer: SocketAddr = peer.parse().unwrap_or_else(|_| panic!("{peer} is no address"));
        req.extensions_mut().insert(PeerAddr(peer));
        req.headers_mut().insert("x-api-key", http::HeaderValue::from_static("key"));
        req
    };
    for _ in 0..100 {
        poll_once(service.handle(request()));
    }
    let req = request();
    let mut response = None;
    let info = measure(|| response = Some(poll_once(service.handle(req))));
    assert_eq!(response.map(|response| response.status()), Some(StatusCode::OK));
    info.count_total
}

#[test]
fn a_limiter_without_headers_allocates_nothing() {
    let bare = allocations(&Chain::new().get(hello).build(), "192.0.2.1:1");
    let api_key = LimitKey::header(http::HeaderName::from_static("x-api-key"));
    for limit in [
        RateLimit::per_second(1_000_000),
        RateLimit::per_second(1_000_000).key(LimitKey::client().ipv6_prefix(48)),
        RateLimit::per_second(1_000_000).key(api_key),
        RateLimit::per_second(1_000_000).and(Policy::new("b", Quota::per_hour(1_000_000))),
        RateLimit::per_second(1_000_000).penalty(Quota::per_second(1), std::time::Duration::ZERO),
    ] {
        let limit = limit.headers([]).clock(LimitClock::fake());
        let service = Chain::new().use_(limit).get(hello).build();
        for peer in ["192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"] {
            assert_eq!(allocations(&service, peer) - bare, 0, "{peer}");
        }
    }
}

#[test]
fn all_headers_that_change_are_one_allocation() {
    // Two for the header map, which the response did not have, and one for all values that change.
    for (sets, expected) in
        [(vec![LimitHeaders::Ietf], 3), (vec![LimitHeaders::Ietf, LimitHeaders::XRateLimit], 3)]
    {
        let limit = RateLimit::per_second(1_000_000).headers(sets).clock(LimitClock::fake());
        let bare = allocations(&Chain::new().get(hello).build(), "192.0.2.1:1");
        let with = allocations(&Chain::new().use_(limit).get(hello).build(), "192.0.2.1:1");
        assert_eq!(with - bare, expected);
    }
}
