//! The cases to time and count: checks without a request, and requests through the middleware of each crate.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use governor::clock::{Clock, MonotonicClock, QuantaClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::{LimitHeaders, PolicyHandle, Quota};
use tower_chain::{Chain, RateLimit};

pub struct Case {
    /// The group: cases that are compared with each other.
    pub question: &'static str,
    pub name: &'static str,
    pub build: fn() -> Subject,
}

/// Repeats an operation, with its setup before and its teardown after it.
pub struct Subject {
    pub prepare: Box<dyn FnMut(usize)>,
    pub run: Box<dyn FnMut(usize)>,
    pub clear: Box<dyn FnMut()>,
}

pub fn all() -> Vec<Case> {
    const HOT: &str = "How long is a check of one key?";
    const MANY: &str = "How long is a check among a million keys?";
    const REQUEST: &str = "How long is a request through the middleware?";
    let case = |question, name, build| Case { question, name, build };
    vec![
        case(HOT, "governor-monotonic", || check(hot(), governor_check::<MonotonicClock>(1))),
        case(HOT, "governor-quanta", || check(hot(), governor_check::<QuantaClock>(1))),
        case(HOT, "tower-chain", || check(hot(), our_check(1))),
        case(MANY, "governor-monotonic-1M", || {
            check(many(), governor_check::<MonotonicClock>(MILLION))
        }),
        case(MANY, "tower-chain-1M", || check(many(), our_check(MILLION))),
        case(REQUEST, "service", || requests(service_fn(hello))),
        case(REQUEST, "tower_governor", || {
            let config = tower_governor::governor::GovernorConfigBuilder::default()
                .per_nanosecond(1)
                .burst_size(BURST)
                .finish()
                .unwrap();
            requests(tower_governor::GovernorLayer::new(config).layer(service_fn(hello)))
        }),
        case(REQUEST, "tower_governor-headers", || {
            let config = tower_governor::governor::GovernorConfigBuilder::default()
                .per_nanosecond(1)
                .burst_size(BURST)
                .use_headers()
                .finish()
                .unwrap();
            requests(tower_governor::GovernorLayer::new(config).layer(service_fn(hello)))
        }),
        case(REQUEST, "axum-governor-headers", || {
            let quota = axum_governor::Quota::requests_per_second(nonzero(BURST));
            let config = axum_governor::GovernorConfigBuilder::default()
                .with_extractor(axum_governor::extractor::PeerIp::default())
                .expect_connect_info()
                .quota_default(quota)
                .gc_disable()
                .finish()
                .unwrap();
            requests(axum_governor::GovernorLayer::new(config).layer(service_fn(hello)))
        }),
        case(REQUEST, "chain", || requests(Chain::new().get(async || ()).into_service())),
        case(REQUEST, "chain+limit", || ours(&[])),
        case(REQUEST, "chain+limit-headers", || ours(&[LimitHeaders::Ietf])),
        case(REQUEST, "chain+limit-all-headers", || {
            ours(&[LimitHeaders::Ietf, LimitHeaders::XRateLimit])
        }),
    ]
}

fn check(
    mut keys: impl FnMut() -> IpAddr + 'static,
    mut check: impl FnMut(IpAddr) + 'static,
) -> Subject {
    // Past the checks that run only for the first requests.
    (0..4096).for_each(|_| check(keys()));
    Subject {
        prepare: Box::new(|_| {}),
        run: Box::new(move |times| (0..times).for_each(|_| check(black_box(keys())))),
        clear: Box::new(|| {}),
    }
}

fn hot() -> impl FnMut() -> IpAddr {
    || IpAddr::V4(Ipv4Addr::from_bits(7))
}

fn many() -> impl FnMut() -> IpAddr {
    let mut state = 88172645463325252_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        address(state as u32 % MILLION)
    }
}

pub fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number))
}

type Keyed<C> = governor::RateLimiter<
    IpAddr,
    DashMapStateStore<IpAddr>,
    C,
    NoOpMiddleware<<C as Clock>::Instant>,
>;

pub fn governor<C: Clock + Default>() -> Keyed<C> {
    // As generous as this crate's: no request is refused, and no quota ends before the test.
    let quota = governor::Quota::with_period(Duration::from_micros(10)).unwrap();
    let quota = quota.allow_burst(nonzero(BURST));
    governor::RateLimiter::new(quota, DashMapStateStore::default(), C::default())
}

fn governor_check<C: Clock + Default + 'static>(keys: u32) -> impl FnMut(IpAddr) {
    let limiter = governor::<C>();
    (0..keys).for_each(|key| drop(limiter.check_key(&address(key))));
    move |key| assert!(limiter.check_key(&key).is_ok())
}

pub fn our_limit() -> RateLimit {
    RateLimit::new(Quota::new(100_000, Duration::from_secs(1)).burst(BURST)).max_keys(2_000_000)
}

fn our_check(keys: u32) -> impl FnMut(IpAddr) {
    let handle = our_limit().handle().policies().unwrap();
    (0..keys).for_each(|key| admit(&handle, address(key)));
    move |key| admit(&handle, key)
}

pub fn admit(handle: &PolicyHandle<IpAddr>, key: IpAddr) {
    assert!(poll_once(handle.admit(key, 1)).is_ok());
}

fn ours(headers: &[LimitHeaders]) -> Subject {
    let limit = our_limit().headers(headers.iter().copied());
    requests(Chain::new().use_(limit).get(async || ()).into_service())
}

fn requests<S>(mut service: S) -> Subject
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + 'static,
{
    let peer = SocketAddr::from(([192, 0, 2, 7], 4000));
    let waiting = Rc::new(RefCell::new(Vec::new()));
    let answers = Rc::new(RefCell::new(Vec::new()));
    let (full, done) = (waiting.clone(), answers.clone());
    let mut subject = Subject {
        prepare: Box::new(move |times| {
            full.borrow_mut().extend((0..times).map(|_| {
                let mut req = Request::new(Body::empty());
                // Each of them finds its key.
                req.extensions_mut().insert(PeerAddr(peer));
                req.extensions_mut().insert(ConnectInfo(peer));
                req
            }));
            answers.borrow_mut().reserve(times);
        }),
        run: Box::new({
            let answers = done.clone();
            move |_| {
                let mut answers = answers.borrow_mut();
                for req in waiting.borrow_mut().drain(..) {
                    let Ok(answer) = poll_once(service.call(req));
                    answers.push(answer);
                }
            }
        }),
        clear: Box::new(move || {
            for answer in done.borrow_mut().drain(..) {
                assert!(answer.status().is_success(), "{}", answer.status());
            }
        }),
    };
    for _ in 0..64 {
        (subject.prepare)(64);
        (subject.run)(64);
        (subject.clear)();
    }
    subject
}

fn hello(_: Request<Body>) -> Ready<Result<Response<Body>, Infallible>> {
    ready(Ok(Response::new(Body::empty())))
}

pub fn poll_once<F: Future>(future: F) -> F::Output {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

pub fn nonzero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

const MILLION: u32 = 1_000_000;
const BURST: u32 = 100_000_000;
