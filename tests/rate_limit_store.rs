//! A store of one's own behind a limiter, written against the public interface alone, with the clock in hand.

#![cfg(feature = "rate-limit")]
#![allow(clippy::unwrap_used, reason = "what fails in a test should stop it")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tower_chain::middleware::rate_limit::{
    LimitStore, StoreAnswer, StoreCall, StoreError, StoreFuture, StorePlace,
};
use tower_chain::{
    Body, Chain, ChainService, LimitClock, PeerAddr, Policy, Quota, RateLimit, RateLimitHandle,
    SharedLimits, WhileAway,
};

const SECOND: Duration = Duration::from_secs(1);

/// All in a map, behind a lock.
#[derive(Clone)]
struct Shelf(Arc<State>);

struct State {
    start: Instant,
    charged: Mutex<HashMap<String, Duration>>,
    places: Mutex<HashMap<String, Vec<String>>>,
    calls: AtomicUsize,
    hangs: AtomicBool,
}

impl Shelf {
    fn new() -> Self {
        Self(Arc::new(State {
            start: Instant::now(),
            charged: Mutex::default(),
            places: Mutex::default(),
            calls: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
        }))
    }

    fn clock(&self) -> LimitClock {
        let start = self.0.start;
        LimitClock::from_fn(move || start.elapsed())
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    async fn answer(&self) {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        if self.0.hangs.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    fn decide(&self, call: &StoreCall) -> StoreAnswer {
        let now = self.0.start.elapsed();
        let (mut charged, mut places) =
            (self.0.charged.lock().unwrap(), self.0.places.lock().unwrap());
        let until = |key: &str| charged.get(key).copied().unwrap_or(now).max(now);
        let mut answer = StoreAnswer { admitted: true, ..StoreAnswer::default() };
        if let Some(block) = &call.block {
            answer.blocked_for = until(block) - now;
            answer.admitted &= answer.blocked_for.is_zero();
        }
        if let Some(place) = &call.place {
            let taken = places.entry(place.key.clone()).or_default();
            answer.is_busy = taken.len() >= place.most as usize;
            answer.admitted &= !answer.is_busy;
        }
        let mut lease = call.lease;
        for charge in call.charges.iter().filter(|charge| charge.cost > 0) {
            let latest = now + charge.interval * charge.burst;
            let room = latest.saturating_sub(until(&charge.key)).as_nanos();
            let fits = room / (charge.interval * charge.cost).as_nanos();
            let fits = u32::try_from(fits).unwrap();
            answer.admitted &= fits > 0 || call.forced;
            lease = lease.min(fits.saturating_sub(1));
        }
        answer.leased = if answer.admitted { lease } else { 0 };
        let mut new = Vec::new();
        for charge in &call.charges {
            let mut till = until(&charge.key);
            if answer.admitted {
                till += charge.interval * charge.cost * (1 + answer.leased);
                till = till.min(now + charge.interval * charge.burst);
                new.push((charge.key.clone(), till));
            }
            answer.charged_for.push(till - now);
        }
        charged.extend(new);
        if let (true, Some(place)) = (answer.admitted, &call.place) {
            places.entry(place.key.clone()).or_default().push(place.id.clone());
        }
        answer
    }
}

impl LimitStore for Shelf {
    fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
        Box::pin(async move {
            // It hangs once it has decided: nobody hears of it.
            let answer = self.decide(call);
            self.answer().await;
            Ok(answer)
        })
    }

    fn give_back<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.answer().await;
            let mut charged = self.0.charged.lock().unwrap();
            for (key, time) in keys {
                charged.entry(key.clone()).and_modify(|until| *until = until.saturating_sub(*time));
            }
            Ok(())
        })
    }

    fn leave<'a>(&'a self, place: &'a StorePlace) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.answer().await;
            let mut places = self.0.places.lock().unwrap();
            places.entry(place.key.clone()).or_default().retain(|id| *id != place.id);
            Ok(())
        })
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.answer().await;
            self.0.charged.lock().unwrap().retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            match self.0.hangs.load(Ordering::Relaxed) {
                true => Err(StoreError::new("it hangs")),
                false => Ok(()),
            }
        })
    }
}

struct Server {
    service: ChainService,
    handle: RateLimitHandle,
}

impl Server {
    fn new(shelf: &Shelf, limit: RateLimit, set: impl Fn(SharedLimits) -> SharedLimits) -> Self {
        let limits = set(SharedLimits::new(shelf.clone()));
        let limit = limit.clock(shelf.clock()).max_keys(1000).shared(limits);
        let handle = limit.handle();
        Self { service: Chain::new().use_(limit).get(async || "hello").build(), handle }
    }

    async fn status(&self) -> u16 {
        let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let req = http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap();
        self.service.handle(req).await.status().as_u16()
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_of_ones_own_is_asked_once_and_decides_for_all_servers() {
    let shelf = Shelf::new();
    let limit = || {
        RateLimit::new(Policy::new("short", Quota::new(4, SECOND * 40)))
            .and(Policy::new("long", Quota::new(9, SECOND * 900)).cost(2))
    };
    let (one, other) = (Server::new(&shelf, limit(), |l| l), Server::new(&shelf, limit(), |l| l));
    for server in [&one, &other, &one, &other] {
        assert_eq!(server.status().await, 200);
    }
    assert_eq!(shelf.calls(), 4);
    assert_eq!([one.status().await, other.status().await], [429, 429]);
    tokio::time::advance(SECOND * 10).await;
    // The short one has room again, the long one hasn't, and nothing is charged for it.
    assert_eq!([one.status().await, other.status().await], [429, 429]);
    let alice: std::net::IpAddr = "192.0.2.1".parse().unwrap();
    let left: Vec<_> = one.handle.peek(alice).await.iter().map(|s| s.remaining()).collect();
    assert_eq!(left, [1, 1]);
    assert!(one.handle.reset(alice).await);
    tokio::time::advance(SECOND).await;
    assert_eq!(other.status().await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_the_deadline_five_times_and_then_nothing() {
    let shelf = Shelf::new();
    let deadline = Duration::from_millis(70);
    let mode = WhileAway::Local { servers: 4 };
    let limit = RateLimit::new(Quota::new(80, SECOND * 8000));
    let server = Server::new(&shelf, limit, |limits| limits.deadline(deadline).while_away(mode));
    assert_eq!(server.status().await, 200);
    shelf.0.hangs.store(true, Ordering::Relaxed);
    let mut admitted = 0;
    for at in 0..30 {
        let start = Instant::now();
        admitted += usize::from(server.status().await == 200);
        let waited = start.elapsed().as_millis();
        let expected = if at < 5 { 70..=71 } else { 0..=0 };
        assert!(expected.contains(&waited), "{at}: {waited} ms");
    }
    // A quarter of the quota, of which the one before is a part.
    assert_eq!(admitted, 19);
    shelf.0.hangs.store(false, Ordering::Relaxed);
    let calls = shelf.calls();
    tokio::time::sleep(Duration::from_millis(251)).await;
    server.status().await;
    assert_eq!(shelf.calls(), calls + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_paid_for_in_advance_is_never_more_than_what_there_is() {
    for cost in [1, 3] {
        let shelf = Shelf::new();
        let limit = || {
            RateLimit::new(Policy::new("a", Quota::new(100, SECOND * 100_000)).cost(cost))
                .and(Policy::new("b", Quota::new(300, SECOND * 300_000)))
                .count_if(true, |_| true)
        };
        let servers: Vec<_> =
            (0..3).map(|_| Server::new(&shelf, limit(), |limits| limits.lease(50))).collect();
        let mut admitted = 0;
        for _ in 0..60 {
            for server in &servers {
                admitted += u32::from(server.status().await == 200);
            }
        }
        assert_eq!(admitted, 100 / cost);
        assert!(shelf.calls() < 70 / cost as usize, "{} calls", shelf.calls());
        // What is given back of it can be had again.
        let alice: std::net::IpAddr = "192.0.2.1".parse().unwrap();
        servers[0].handle.refund(alice, cost).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(servers[1].status().await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_the_store_is_asked_leaves_its_place() {
    let shelf = Shelf::new();
    let limit = || RateLimit::new(Quota::new(100, SECOND * 1000)).concurrency(1);
    let long = |limits: SharedLimits| limits.deadline(SECOND * 9);
    let (one, other) = (Server::new(&shelf, limit(), long), Server::new(&shelf, limit(), long));
    shelf.0.hangs.store(true, Ordering::Relaxed);
    assert!(tokio::time::timeout(SECOND, one.status()).await.is_err());
    assert!(shelf.0.places.lock().unwrap().values().any(|places| places.len() == 1));
    shelf.0.hangs.store(false, Ordering::Relaxed);
    for server in [&one, &other] {
        // A place is freed without anybody waiting for it.
        tokio::time::sleep(SECOND).await;
        assert!(shelf.0.places.lock().unwrap().values().all(Vec::is_empty));
        assert_eq!(server.status().await, 200);
    }
}
