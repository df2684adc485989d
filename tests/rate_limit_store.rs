//! A custom store for a limiter, written against the public API only, with a fake clock.

#![cfg(feature = "rate-limit")]
#![allow(clippy::unwrap_used, reason = "what fails in a test should stop it")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::{
    LimitClock, LimitKey, Policy, PolicyHandle, Quota, SharedLimits, WhileUnreachable,
};
use tower_chain::middleware::rate_limit::{
    LimitStore, RateLimitError, StoreAnswer, StoreCall, StoreError, StoreFuture, StoreQuota,
    StoreRefund, StoreReport, StoreSlot, StoreState,
};
use tower_chain::{Body, Chain, ChainService, RateLimit, Response};

const SECOND: Duration = Duration::from_secs(1);

/// Keeps all state in a map, behind a lock. Clones fail together.
#[derive(Clone)]
struct Shelf(Arc<State>, Arc<Mutex<Fault>>);

struct State {
    start: Instant,
    charged: Mutex<HashMap<String, Charges>>,
    slots: Mutex<HashMap<String, Vec<(String, Duration)>>>,
    settings: Mutex<HashMap<String, String>>,
    calls: AtomicUsize,
}

/// Until when a key is charged under each of its quotas.
type Charges = Vec<(Option<StoreQuota>, Duration)>;

/// How a store fails.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// It decides, and responds when it recovers.
    Hangs,
    /// It receives no call, and reports an error when it recovers.
    IsDeaf,
    /// It fails at once.
    Fails,
    /// It fails at once, but reports that it is reachable.
    Pretends,
    /// As the variant before, but it succeeds for calls that no request made.
    PretendsWell,
    /// It fails for the keys of one client, and works otherwise.
    RefusesAlice,
    /// It decides at once, and every so many responses take so many milliseconds.
    IsLate(usize, u64),
    /// It decides, and every so many responses are an error nevertheless.
    Flaps(usize),
}

impl Shelf {
    fn new() -> Self {
        let state = State {
            start: Instant::now(),
            charged: Mutex::default(),
            slots: Mutex::default(),
            settings: Mutex::default(),
            calls: AtomicUsize::new(0),
        };
        Self(Arc::new(state), Arc::new(Mutex::new(Fault::None)))
    }

    /// Another connection to the same store, which fails by itself.
    fn connection(&self) -> Self {
        Self(self.0.clone(), Arc::new(Mutex::new(Fault::None)))
    }

    fn clock(&self) -> LimitClock {
        let start = self.0.start;
        LimitClock::from_fn(move || start.elapsed())
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    fn fault(&self) -> Fault {
        *self.1.lock().unwrap()
    }

    fn set(&self, fault: Fault) {
        *self.1.lock().unwrap() = fault;
    }

    /// Responds according to its current failure.
    async fn answer<T>(&self, decide: impl FnOnce() -> T) -> Result<T, StoreError> {
        let call = self.0.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let fault = self.fault();
        match fault {
            Fault::IsLate(every, millis) => {
                let answer = decide();
                // Each call takes a while, so calls of several servers overlap.
                let millis = if call.is_multiple_of(every) { millis } else { 1 };
                tokio::time::sleep(Duration::from_millis(millis)).await;
                return Ok(answer);
            }
            Fault::Flaps(every) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                return match call.is_multiple_of(every) {
                    false => Ok(decide()),
                    true => Err(StoreError::new("it fails")),
                };
            }
            Fault::None | Fault::RefusesAlice => return Ok(decide()),
            Fault::Fails | Fault::Pretends | Fault::PretendsWell => {
                return Err(StoreError::new("it fails"));
            }
            Fault::Hangs | Fault::IsDeaf => {}
        }
        let decided = (fault == Fault::Hangs).then(decide);
        while self.fault() == fault {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        decided.ok_or_else(|| StoreError::new("it has heard nothing"))
    }

    fn decide(&self, call: &StoreCall) -> StoreAnswer {
        let now = self.0.start.elapsed();
        let (mut charged, mut slots) =
            (self.0.charged.lock().unwrap(), self.0.slots.lock().unwrap());
        charged.retain(|_, charges| charges.iter().any(|(_, until)| *until > now));
        let mut answer = StoreAnswer { admitted: true, ..StoreAnswer::default() };
        let block_time = |block: &String| {
            let until = charged.get(block).map_or(now, |charges| charges[0].1);
            until.saturating_sub(now)
        };
        answer.blocked_for = call.blocks.iter().map(block_time).collect();
        answer.admitted &= answer.blocked_for.iter().all(Duration::is_zero);
        if let Some(slot) = &call.slot {
            let taken = slots.entry(slot.key.clone()).or_default();
            taken.retain(|(_, until)| *until > now);
            answer.is_busy = taken.len() >= slot.most as usize;
            answer.admitted &= !answer.is_busy;
        }
        let mut lease = call.lease;
        let mut tills = Vec::new();
        for charge in &call.charges {
            let charges = charged.entry(charge.key.clone()).or_default();
            if !charges.iter().any(|(quota, _)| *quota == charge.quota) {
                let used = charges.iter().filter_map(|(quota, until)| {
                    let left = until.saturating_sub(now);
                    Some(charge.quota?.carried(left, (*quota)?))
                });
                let used = used.max().unwrap_or_default();
                charges.push((charge.quota, now + used));
            }
            let own = charges.iter_mut().find(|(quota, _)| *quota == charge.quota).unwrap();
            own.1 = own.1.max(now).min(now + charge.longest);
            tills.push(own.1);
        }
        for (charge, till) in call.charges.iter().zip(&tills).filter(|(charge, _)| charge.cost > 0)
        {
            let latest = now + charge.interval * charge.burst;
            let room = latest.saturating_sub(*till).as_nanos();
            let fits = room / (charge.interval * charge.cost).as_nanos();
            let fits = u32::try_from(fits).unwrap();
            let fits_once = fits > 0 || call.forced;
            answer.admitted &= fits_once || charge.shadow;
            let at = call.charges.iter().position(|other| other.key == charge.key).unwrap();
            answer.shadowed |= u32::from(!fits_once && charge.shadow) << at;
            lease = lease.min(fits.saturating_sub(1));
        }
        answer.leased = if answer.admitted { lease } else { 0 };
        for (at, (charge, mut till)) in call.charges.iter().zip(tills).enumerate() {
            if answer.admitted && answer.shadowed >> at & 1 == 0 {
                let most = now + charge.interval * charge.burst;
                till =
                    till.max(most.min(till + charge.interval * charge.cost * (1 + answer.leased)));
                let charges = charged.entry(charge.key.clone()).or_default();
                charges.iter_mut().find(|(quota, _)| *quota == charge.quota).unwrap().1 = till;
            }
            answer.charged_for.push(till - now);
        }
        if let (true, Some(slot)) = (answer.admitted, &call.slot) {
            let taken = slots.entry(slot.key.clone()).or_default();
            taken.push((slot.id.clone(), now + slot.longest));
        }
        answer
    }
}

impl LimitStore for Shelf {
    fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
        Box::pin(async move {
            if self.fault() == Fault::PretendsWell && call.charges[0].key.ends_with("#probe") {
                return Ok(self.decide(call));
            }
            let is_alice = |key: &String| key.contains("{192.0.2.1}");
            if self.fault() == Fault::RefusesAlice && call.charges.iter().any(|c| is_alice(&c.key))
            {
                return Err(StoreError::of_keys("these keys are of another kind"));
            }
            self.answer(|| self.decide(call)).await
        })
    }

    fn refund<'a>(&'a self, _: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
        unreachable!("limiters refund charges under a quota")
    }

    fn refund_charges<'a>(&'a self, refunds: &'a [StoreRefund]) -> StoreFuture<'a, ()> {
        Box::pin(self.answer(move || {
            let mut charged = self.0.charged.lock().unwrap();
            for refund in refunds {
                let charges = charged.get_mut(&refund.key).into_iter().flatten();
                for (_, until) in charges.filter(|(quota, _)| *quota == refund.quota) {
                    *until = until.saturating_sub(refund.time);
                }
            }
        }))
    }

    fn release<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
        Box::pin(self.answer(move || {
            let mut slots = self.0.slots.lock().unwrap();
            slots.entry(slot.key.clone()).or_default().retain(|(id, _)| *id != slot.id);
        }))
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()> {
        Box::pin(self.answer(move || {
            self.0.charged.lock().unwrap().retain(|key, _| !keys.contains(key));
            self.0.settings.lock().unwrap().retain(|key, _| !keys.contains(key));
        }))
    }

    // Not counted as calls: they are made in the background, once a second.
    fn read<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<String>> {
        Box::pin(async move { Ok(self.0.settings.lock().unwrap().get(key).cloned()) })
    }

    fn write<'a>(&'a self, key: &'a str, value: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            if self.fault() != Fault::None {
                return Err(StoreError::new("it fails"));
            }
            self.0.settings.lock().unwrap().insert(key.to_owned(), value.to_owned());
            Ok(())
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            match self.fault() {
                Fault::None | Fault::Pretends | Fault::PretendsWell | Fault::RefusesAlice => Ok(()),
                Fault::IsLate(..) | Fault::Flaps(_) => Ok(()),
                _ => Err(StoreError::new("it is away")),
            }
        })
    }
}

struct Server {
    service: ChainService,
    handle: PolicyHandle,
}

impl Server {
    fn new(shelf: &Shelf, limit: RateLimit, set: impl Fn(SharedLimits) -> SharedLimits) -> Self {
        Self::named("test", shelf, limit, set)
    }

    fn named(
        name: &str,
        shelf: &Shelf,
        limit: RateLimit,
        set: impl Fn(SharedLimits) -> SharedLimits,
    ) -> Self {
        let limits = set(SharedLimits::new(shelf.clone()));
        let limit = limit.clock(shelf.clock()).max_keys(1000).shared(name, limits);
        let handle = limit.handle().policies().unwrap();
        Self { service: Chain::new().use_(limit).get(async || "hello").build(), handle }
    }

    async fn status(&self) -> u16 {
        self.answer().await.status().as_u16()
    }

    async fn answer(&self) -> Response {
        self.answer_to(1).await
    }

    async fn answer_to(&self, client: u8) -> Response {
        let peer: SocketAddr = format!("192.0.2.{client}:4000").parse().unwrap();
        let req = http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap();
        self.service.handle(req).await
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
    // The short policy has capacity again, the long one does not, and the request is charged to neither.
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
    let mode = WhileUnreachable::Local { servers: 4 };
    let limit = RateLimit::new(Quota::new(80, SECOND * 8000));
    let server =
        Server::new(&shelf, limit, |limits| limits.deadline(deadline).while_unreachable(mode));
    assert_eq!(server.status().await, 200);
    shelf.set(Fault::Hangs);
    let mut admitted = 0;
    // A client waits at most once, and after five waits no client does.
    for (at, client) in [2, 2, 2, 3, 4, 5, 6, 7, 8].into_iter().chain([1; 30]).enumerate() {
        let start = Instant::now();
        let status = server.answer_to(client).await.status();
        admitted += usize::from(client == 1 && status == 200);
        let waited = start.elapsed().as_millis();
        let expected = if [0, 3, 4, 5, 6].contains(&at) { 70..=71 } else { 0..=0 };
        assert!(expected.contains(&waited), "{at}: {waited} ms");
    }
    // A quarter of the quota, including the request before.
    assert_eq!(admitted, 19);
    shelf.set(Fault::None);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let calls = shelf.calls();
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
        // Refunded requests can be made again.
        let alice: std::net::IpAddr = "192.0.2.1".parse().unwrap();
        servers[0].handle.refund(alice, cost).await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(servers[1].status().await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_the_store_is_asked_releases_its_slot() {
    let shelf = Shelf::new();
    let limit = || RateLimit::new(Quota::new(100, SECOND * 1000)).concurrency(1);
    let long = |limits: SharedLimits| limits.deadline(SECOND * 9);
    let (one, other) = (Server::new(&shelf, limit(), long), Server::new(&shelf, limit(), long));
    shelf.set(Fault::Hangs);
    assert!(tokio::time::timeout(SECOND, one.status()).await.is_err());
    assert!(shelf.0.slots.lock().unwrap().values().any(|slots| slots.len() == 1));
    shelf.set(Fault::None);
    for server in [&one, &other] {
        // The slot is freed in the background.
        tokio::time::sleep(SECOND).await;
        assert!(shelf.0.slots.lock().unwrap().values().all(Vec::is_empty));
        assert_eq!(server.status().await, 200);
    }
}

/// A server with a short deadline for the store, which then decides by itself.
fn local(shelf: &Shelf, limit: RateLimit) -> Server {
    Server::new(shelf, limit, |limits| limits.deadline(Duration::from_millis(20)))
}

fn alice() -> std::net::IpAddr {
    "192.0.2.1".parse().unwrap()
}

async fn left(server: &Server) -> u32 {
    server.handle.peek(alice()).await[0].remaining()
}

#[tokio::test(start_paused = true)]
async fn what_was_admitted_without_the_store_counts_for_all_once_it_is_back() {
    for fault in [Fault::Hangs, Fault::IsDeaf, Fault::Fails] {
        for used in [3, 7, 10] {
            let shelf = Shelf::new();
            let limit = || RateLimit::new(Quota::new(10, SECOND * 10_000));
            let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
            assert_eq!(one.status().await, 200);
            shelf.set(fault);
            for _ in 1..used {
                assert_eq!(one.status().await, 200);
            }
            assert_eq!(one.status().await, if used == 10 { 429 } else { 200 });
            shelf.set(Fault::None);
            let used = (used + 1).min(10);
            // Both before and after the store receives it.
            for _ in 0..5 {
                if used == 10 {
                    assert_eq!(one.status().await, 429);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            assert_eq!([left(&one).await, left(&other).await], [10 - used; 2]);
            assert_eq!(one.handle.would_admit(alice()), used < 10);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_back_while_the_store_was_away_is_not_told() {
    let shelf = Shelf::new();
    let server = local(&shelf, RateLimit::new(Quota::new(5, SECOND * 50)));
    shelf.set(Fault::Fails);
    for _ in 0..30 {
        assert_eq!(server.status().await, 200);
        tokio::time::sleep(SECOND * 11).await;
    }
    assert_eq!(server.status().await, 200);
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND).await;
    assert_eq!(left(&server).await, 4);
}

#[tokio::test(start_paused = true)]
async fn a_refund_while_the_store_is_away_is_told_as_well() {
    let shelf = Shelf::new();
    let limit = || RateLimit::new(Quota::new(10, SECOND * 10_000)).count_failures();
    let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
    // Admitted by the store, and answered while it is unreachable.
    let asked = one.handle.admit(alice(), 2).await;
    assert!(asked.is_ok());
    shelf.set(Fault::Fails);
    for _ in 0..50 {
        assert_eq!(one.status().await, 200);
    }
    one.handle.refund(alice(), 1).await;
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND).await;
    assert_eq!([left(&one).await, left(&other).await], [9, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_charge_by_hand_that_the_store_did_not_hear_is_told_later() {
    for fault in [Fault::Hangs, Fault::IsDeaf, Fault::Fails] {
        let shelf = Shelf::new();
        let limit = || RateLimit::new(Quota::new(10, SECOND * 10_000));
        let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
        shelf.set(fault);
        one.handle.charge(alice(), 4).await;
        shelf.set(Fault::None);
        tokio::time::sleep(SECOND).await;
        assert_eq!([left(&one).await, left(&other).await], [6, 6]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_that_the_store_did_not_hear_holds_and_is_told_later() {
    for (fault, tries) in
        [(Fault::Hangs, 1), (Fault::IsDeaf, 1), (Fault::Fails, 1), (Fault::Fails, 9)]
    {
        let shelf = Shelf::new();
        let limit = || RateLimit::new(Quota::new(1000, SECOND * 10_000));
        let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
        assert_eq!([one.status().await, other.status().await], [200, 200]);
        shelf.set(fault);
        for _ in 0..tries {
            assert!(!one.handle.block(alice(), SECOND * 100).await);
        }
        shelf.set(Fault::None);
        for _ in 0..20 {
            assert_eq!(one.status().await, 429);
            tokio::time::sleep(SECOND / 10).await;
        }
        assert_eq!(other.status().await, 429);
        // Lifted on another server, and received here.
        assert!(other.handle.block(alice(), Duration::ZERO).await);
        tokio::time::sleep(SECOND).await;
        assert_eq!([one.status().await, other.status().await], [200, 200]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_blocked_while_the_store_is_away_stays_blocked_when_it_is_back() {
    let shelf = Shelf::new();
    let limit = || {
        let limit = RateLimit::new(Quota::new(2, SECOND * 2));
        limit.penalty(Quota::new(3, SECOND * 1000), SECOND * 100)
    };
    let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
    shelf.set(Fault::Fails);
    for _ in 0..6 {
        one.status().await;
    }
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!([one.status().await, other.status().await], [429, 429]);
    tokio::time::sleep(SECOND * 90).await;
    assert_eq!([one.status().await, other.status().await], [200, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_reset_forgets_what_the_store_was_not_told() {
    let shelf = Shelf::new();
    let server = local(&shelf, RateLimit::new(Quota::new(10, SECOND * 10_000)));
    shelf.set(Fault::Fails);
    for _ in 0..10 {
        server.status().await;
    }
    assert!(!server.handle.block(alice(), SECOND * 1000).await);
    assert!(!server.handle.reset(alice()).await);
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND).await;
    assert_eq!((left(&server).await, server.handle.blocked_for(alice()).await), (10, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_paid_for_in_advance_does_not_outlive_what_is_decided_by_hand() {
    let shelf = Shelf::new();
    let limit = RateLimit::new(Policy::new("p", Quota::new(1000, SECOND * 100_000)).cost(2));
    let server = Server::new(&shelf, limit, |limits| limits.lease(20));
    let pays = async || {
        let calls = shelf.calls();
        assert_eq!(server.status().await, 200);
        shelf.calls() > calls
    };
    assert!(pays().await && !pays().await);
    assert!(server.handle.reset(alice()).await);
    assert!(pays().await && !pays().await);
    server.handle.charge(alice(), 1).await;
    assert!(pays().await && !pays().await);
    assert!(server.handle.block(alice(), SECOND * 5).await);
    for _ in 0..4 {
        assert_eq!(server.status().await, 429);
        tokio::time::sleep(SECOND).await;
    }
    tokio::time::sleep(SECOND).await;
    assert!(pays().await && !pays().await);
}

#[tokio::test(start_paused = true)]
async fn what_was_paid_for_in_advance_is_given_back_as_well() {
    let shelf = Shelf::new();
    let limit = RateLimit::new(Quota::new(100, SECOND * 100_000)).count_failures();
    let server = Server::new(&shelf, limit, |limits| limits.lease(4));
    // One that calls the store, and four that need not.
    for requests in 1..=5 {
        assert_eq!(server.status().await, 200);
        tokio::time::sleep(SECOND / 100).await;
        assert_eq!(shelf.calls(), 1 + requests);
    }
    assert_eq!(left(&server).await, 100);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_known_to_be_away_though_all_clients_hang_up() {
    let shelf = Shelf::new();
    let server = local(&shelf, RateLimit::new(Quota::new(100, SECOND * 100_000)));
    shelf.set(Fault::IsDeaf);
    for client in 0..10 {
        let asked = tokio::time::timeout(Duration::from_millis(2), server.answer_to(client)).await;
        assert_eq!(asked.is_err(), client < 5);
        tokio::time::sleep(SECOND / 20).await;
    }
}

#[tokio::test(start_paused = true)]
async fn limiters_with_one_prefix_and_other_names_keep_apart() {
    let shelf = Shelf::new();
    let limit = || RateLimit::new(Quota::new(1000, SECOND * 1000)).concurrency(1);
    let server = |name| Server::named(name, &shelf, limit(), |limits| limits);
    let (a, b, a_too) = (server("a"), server("b"), server("a"));
    let held = a.answer().await;
    assert_eq!([held.status().as_u16(), a_too.status().await, b.status().await], [200, 429, 200]);
    drop(held);
    tokio::time::sleep(SECOND).await;
    assert!(a.handle.block(alice(), SECOND * 100).await);
    assert_eq!([a_too.status().await, b.status().await], [429, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_there_and_decides_nothing_is_asked_by_nobody() {
    for fault in [Fault::Pretends, Fault::PretendsWell] {
        let shelf = Shelf::new();
        let server = local(&shelf, RateLimit::new(Quota::new(1000, SECOND * 1000)));
        shelf.set(fault);
        let mut asked = 0;
        for at in 0..1000_u32 {
            let before = shelf.calls();
            let answer = server.answer_to(at.to_le_bytes()[0]).await;
            asked += shelf.calls() - before;
            assert_eq!(answer.status(), 200);
            tokio::time::sleep(SECOND / 100).await;
        }
        // Five requests before the limiter knows that.
        assert_eq!(asked, 5);
        shelf.set(Fault::None);
        tokio::time::sleep(SECOND).await;
        let calls = shelf.calls();
        assert_eq!(server.status().await, 200);
        assert_eq!(shelf.calls(), calls + 1);
    }
}

#[test]
fn the_store_is_asked_again_when_the_runtime_that_waited_for_it_ends() {
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap()
    };
    let first = runtime();
    let (shelf, server) = first.block_on(async {
        let shelf = Shelf::new();
        let server = local(&shelf, RateLimit::new(Quota::new(1000, SECOND * 1000)));
        shelf.set(Fault::Fails);
        for client in 0..10 {
            assert_eq!(server.answer_to(client).await.status(), 200);
        }
        assert_eq!(shelf.calls(), 5);
        (shelf, server)
    });
    drop(first);
    runtime().block_on(async {
        for client in 100..110 {
            assert_eq!(server.answer_to(client).await.status(), 200);
        }
        assert_eq!(shelf.calls(), 6);
        shelf.set(Fault::None);
        tokio::time::sleep(SECOND).await;
        let calls = shelf.calls();
        assert_eq!(server.status().await, 200);
        assert_eq!(shelf.calls(), calls + 1);
    });
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_no_longer_counts_on_its_own_server_either() {
    for fault in [Fault::None, Fault::Fails] {
        let shelf = Shelf::new();
        let limit = RateLimit::new(Quota::new(1000, SECOND * 1000)).concurrency(1);
        let server = Server::new(&shelf, limit, |limits| limits.longest_request(SECOND * 3));
        shelf.set(fault);
        let held = server.answer().await;
        assert_eq!([held.status().as_u16(), server.status().await], [200, 429]);
        tokio::time::sleep(SECOND * 3).await;
        let other = server.answer().await;
        assert_eq!([other.status().as_u16(), server.status().await], [200, 429]);
        // A completed request does not free a slot twice.
        drop(held);
        tokio::time::sleep(SECOND).await;
        assert_eq!(server.status().await, 429);
        drop(other);
        tokio::time::sleep(SECOND).await;
        assert_eq!(server.status().await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_released_once_the_store_answers_again() {
    for failures in [1, 9] {
        let shelf = Shelf::new();
        let limit = || RateLimit::new(Quota::new(1000, SECOND * 1000)).concurrency(1);
        let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
        let held = one.answer().await;
        shelf.set(Fault::Fails);
        for _ in 1..failures {
            one.handle.peek(alice()).await;
        }
        drop(held);
        tokio::time::sleep(SECOND / 10).await;
        shelf.set(Fault::None);
        assert_eq!(other.status().await, 429);
        tokio::time::sleep(SECOND).await;
        assert_eq!(other.status().await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_where_there_is_nothing_to_tell() {
    let shelf = Shelf::new();
    // No slot was taken while the store was unreachable.
    let free = || Policy::new("p", Quota::new(10, SECOND * 1000)).cost(0);
    let slots = local(&shelf, RateLimit::new(free()).concurrency(9));
    shelf.set(Fault::Fails);
    for client in 0..100 {
        assert_eq!(slots.answer_to(client).await.status(), 200);
    }
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND * 9).await;
    let calls = shelf.calls();
    assert!(calls < 30, "{calls} calls");
    let server = local(&shelf, RateLimit::new(free()).count_failures());
    assert_eq!(server.status().await, 200);
    tokio::time::sleep(SECOND).await;
    assert_eq!(shelf.calls() - calls, 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_while_the_store_is_asked_costs_nothing() {
    for lease in [0, 5] {
        let shelf = Shelf::new();
        let limit = || {
            RateLimit::new(Quota::new(100, SECOND * 100_000))
                .and(Policy::new("b", Quota::new(200, SECOND * 100_000)).cost(2))
        };
        let long = |limits: SharedLimits| limits.deadline(SECOND * 9).lease(lease);
        let (one, other) = (Server::new(&shelf, limit(), long), Server::new(&shelf, limit(), long));
        shelf.set(Fault::Hangs);
        for _ in 0..3 {
            assert!(tokio::time::timeout(SECOND, one.status()).await.is_err());
        }
        shelf.set(Fault::None);
        tokio::time::sleep(SECOND).await;
        let left: Vec<_> =
            other.handle.peek(alice()).await.iter().map(|standing| standing.remaining()).collect();
        assert_eq!(left, [100, 200]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_before_the_store_answers_costs_nothing() {
    let shelf = Shelf::new();
    let limit = || RateLimit::new(Quota::new(10, SECOND * 10_000));
    let mode = |mode| {
        move |limits: SharedLimits| {
            limits.deadline(Duration::from_millis(20)).while_unreachable(mode)
        }
    };
    let deny = Server::new(&shelf, limit(), mode(WhileUnreachable::Deny));
    let allow = Server::new(&shelf, limit(), mode(WhileUnreachable::Allow));
    shelf.set(Fault::Hangs);
    for _ in 0..3 {
        assert_eq!(deny.status().await, 503);
    }
    // Admitted requests that reached the store count.
    for _ in 0..2 {
        assert_eq!(allow.status().await, 200);
    }
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND).await;
    assert_eq!(left(&allow).await, 8);
}

#[test]
fn an_empty_prefix_is_refused_where_it_is_written() {
    let limits = |prefix: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        SharedLimits::new(Shelf::new()).try_prefix(prefix).map(drop)
    };
    assert_eq!(limits("api"), Ok(()));
    for empty in ["", "{}", "{{}"] {
        let error = limits(empty).unwrap_err();
        assert!(error.to_string().contains("prefix"), "{error}");
    }
}

/// 60 requests a minute, and for exports 10 in 3,000 seconds.
fn tiers() -> RateLimit {
    let export = Quota::new(10, SECOND * 3000);
    RateLimit::new(
        Policy::new("p", Quota::per_minute(60))
            .quota_by(move |req| req.headers().contains_key("export").then_some(export)),
    )
}

/// Returns how many of these exports a server admits.
async fn exports(server: &Server, requests: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let req = http::Request::get("/").extension(PeerAddr(peer)).header("export", "1");
        let response = server.service.handle(req.body(Body::empty()).unwrap()).await;
        admitted += usize::from(response.status() == 200);
    }
    admitted
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_only_a_short_quota_shortens_nothing() {
    let short = || RateLimit::new(Policy::new("p", Quota::per_minute(60)));
    let long = || RateLimit::new(Policy::new("p", Quota::new(10, SECOND * 3000)));
    let others: [(&str, RateLimit); 7] = [
        ("it was restarted", tiers()),
        ("its configuration is another one", short()),
        ("its quota was changed", long()),
        ("it gives charges back", short().count_failures()),
        ("it holds requests back", short().delay(SECOND * 5)),
        ("it counts requests under way", short().concurrency(2)),
        ("it blocks clients", short().penalty(Quota::per_minute(1), SECOND)),
    ];
    for (name, limit) in others {
        for fault in [Fault::None, Fault::Fails, Fault::Hangs] {
            let shelf = Shelf::new();
            assert_eq!(exports(&local(&shelf, tiers()), 12).await, 10, "{name}");
            let other = local(&shelf, limit.clone());
            assert_eq!(left(&other).await, 0, "{name}");
            assert!(other.handle.limiter().set_quota("p", Quota::per_minute(60)));
            shelf.set(fault);
            // All of the short quota is used as well, and comes back within its own time.
            let expected = if name == "it holds requests back" { 200 } else { 429 };
            for _ in 0..3 {
                assert_eq!(other.status().await, expected, "{name}");
                other.handle.charge(alice(), 1).await;
            }
            if expected == 429 {
                assert_eq!(exports(&other, 5).await, 0, "{name}");
            }
            shelf.set(Fault::None);
            tokio::time::sleep(SECOND * 2).await;
            assert_eq!(exports(&local(&shelf, tiers()), 5).await, 0, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_long_quota_has_charged_without_the_store_is_told_in_full() {
    let shelf = Shelf::new();
    let server = local(&shelf, tiers());
    shelf.set(Fault::Fails);
    assert_eq!(exports(&server, 5).await, 5);
    // Under the quota of all other requests.
    server.handle.charge(alice(), 1).await;
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(exports(&local(&shelf, tiers()), 12).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_penalty_ends_no_longer_block_of_another_server() {
    let shelf = Shelf::new();
    let limit = || {
        let limit = RateLimit::new(Quota::new(2, SECOND * 2));
        limit.penalty(Quota::new(3, SECOND * 1000), SECOND * 100)
    };
    let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
    shelf.set(Fault::Fails);
    for _ in 0..6 {
        one.status().await;
    }
    shelf.set(Fault::None);
    assert!(other.handle.block(alice(), SECOND * 1000).await);
    tokio::time::sleep(SECOND * 500).await;
    assert_eq!([one.status().await, other.status().await], [429, 429]);
    // An explicit call may shorten it.
    assert!(other.handle.block(alice(), SECOND * 10).await);
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!([one.status().await, other.status().await], [200, 200]);
}

#[tokio::test(start_paused = true)]
async fn who_looks_before_the_store_was_told_changes_nothing() {
    let shelf = Shelf::new();
    let server = local(&shelf, RateLimit::new(Quota::new(2, SECOND * 2000)));
    assert_eq!(server.status().await, 200);
    shelf.set(Fault::Fails);
    assert_eq!(server.status().await, 200);
    shelf.set(Fault::None);
    assert_eq!(left(&server).await, 0);
    assert_eq!(server.status().await, 429);
}

#[tokio::test(start_paused = true)]
async fn a_charge_that_was_made_in_part_is_not_given_back_whole() {
    let shelf = Shelf::new();
    let limit = || RateLimit::new(Quota::new(10, SECOND * 100_000));
    let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
    for _ in 0..8 {
        assert_eq!(one.status().await, 200);
    }
    shelf.set(Fault::Hangs);
    one.handle.charge(alice(), 5).await;
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!([left(&one).await, left(&other).await], [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_store_refuses_concerns_its_client_alone() {
    let shelf = Shelf::new();
    let limit = || RateLimit::new(Quota::new(40, SECOND * 100_000));
    let (one, other) = (local(&shelf, limit()), local(&shelf, limit()));
    shelf.set(Fault::RefusesAlice);
    let (mut alice, mut bob) = (0, 0);
    for _ in 0..60 {
        // Only this server counts her requests.
        alice += usize::from(one.answer_to(1).await.status() == 200);
        let calls = shelf.calls();
        bob += usize::from(one.answer_to(2).await.status() == 200);
        bob += usize::from(other.answer_to(2).await.status() == 200);
        assert!(shelf.calls() > calls || bob == 40, "the store was not called");
        tokio::time::sleep(SECOND / 50).await;
    }
    assert_eq!([alice, bob], [40, 40]);
    // Her admitted requests count when the store receives them.
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND).await;
    assert_eq!(other.answer_to(1).await.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn two_limiters_share_a_count_only_if_they_are_clones() {
    let shared = || SharedLimits::new(Shelf::new());
    let minute = || RateLimit::per_minute(30);
    let try_both = |one: (&str, RateLimit), other: (&str, RateLimit), limits: SharedLimits| {
        let kept = one.1.try_shared(one.0, limits.clone()).unwrap();
        (other.1.try_shared(other.0, limits).map(drop), kept)
    };
    let error = RateLimitError::SharedName("a".to_owned());
    let message = error.to_string();
    assert!(message.contains("\"a\"") && message.contains("prefix"), "{message}");
    let clash = Err(error);
    let (got, _kept) = try_both(("a", minute()), ("a", minute()), shared());
    assert_eq!(got, clash);
    assert_eq!(try_both(("a", minute()), ("a", RateLimit::per_hour(9)), shared()).0, clash);
    assert_eq!(try_both(("a", minute()), ("b", minute()), shared()).0, Ok(()));
    // A limiter keeps its name when its memory is replaced.
    let limits = shared();
    let _kept = minute().shared("a", limits.clone()).max_keys(7);
    assert_eq!(minute().try_shared("a", limits.clone()).map(drop), clash);
    // With another prefix, or after the other one is dropped, the names don't conflict.
    assert!(minute().try_shared("a", limits.clone().prefix("other")).is_ok());
    let gone = shared();
    drop(minute().shared("a", gone.clone()));
    assert!(minute().try_shared("a", gone).is_ok());
    // Clones share their counts, as in memory.
    let original = minute();
    let clones = try_both(("a", original.clone()), ("a", original), shared());
    assert_eq!(clones.0, Ok(()));
    for name in ["", "a:b", "{a}", "a#", "\u{e9}"] {
        let named = minute().try_shared(name, shared()).map(drop);
        assert_eq!(named, Err(RateLimitError::Name(name.to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn limiters_with_equal_quotas_count_apart_in_one_store() {
    let shelf = Shelf::new();
    // Two limiters of one chain, whose settings were built separately.
    let limit = |name| {
        let limit = RateLimit::per_client(30).every(SECOND * 3600).clock(shelf.clock());
        limit.shared(name, SharedLimits::new(shelf.clone()))
    };
    let service = |name| Chain::new().use_(limit(name)).get(async || "hello").build();
    let (login, search) = (service("login"), service("search"));
    let mut admitted = [0, 0];
    for _ in 0..40 {
        for (service, admitted) in [&login, &search].into_iter().zip(&mut admitted) {
            let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
            let req = http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty());
            *admitted += u32::from(service.handle(req.unwrap()).await.status() == 200);
        }
    }
    assert_eq!(admitted, [30, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_changed_quota_applies_on_all_servers() {
    let shelf = Shelf::new();
    let limit = || RateLimit::new(Policy::new("p", Quota::per_hour(2)));
    let server = || Server::new(&shelf, limit(), |limits| limits);
    let (one, other) = (server(), server());
    for handle in [&one.handle, &other.handle] {
        assert_eq!(handle.peek(alice()).await[0].limit(), 2);
    }
    // While the store fails, the change applies here, and is sent later.
    shelf.set(Fault::Fails);
    assert!(one.handle.limiter().set_quota("p", Quota::per_hour(5)));
    assert_eq!(one.handle.peek(alice()).await[0].limit(), 5);
    tokio::time::sleep(SECOND).await;
    shelf.set(Fault::None);
    // Servers read it while requests arrive; a server that starts later reads it as well.
    let late = server();
    for _ in 0..3 {
        tokio::time::sleep(SECOND).await;
        for server in [&one, &other, &late] {
            server.status().await;
        }
        tokio::task::yield_now().await;
    }
    for handle in [&one.handle, &other.handle, &late.handle] {
        assert_eq!(handle.peek(alice()).await[0].limit(), 5);
    }
    assert!(!one.handle.limiter().restore_quota("q").await);
    assert!(other.handle.limiter().restore_quota("p").await);
    for _ in 0..2 {
        one.status().await;
        tokio::time::sleep(SECOND).await;
    }
    for handle in [&one.handle, &other.handle] {
        assert_eq!(handle.peek(alice()).await[0].limit(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_is_blocked_on_all_servers_and_its_address_on_none() {
    let shelf = Shelf::new();
    let account = LimitKey::header(http::HeaderName::from_static("x-account"));
    let limit = || {
        let account = Policy::new("account", Quota::per_hour(1)).key(account.clone());
        let limit = RateLimit::new(Policy::new("address", Quota::per_second(1000))).and(account);
        let limit = limit.penalty(Quota::per_hour(1), SECOND * 100).clock(shelf.clock());
        limit.max_keys(1000).shared("login", SharedLimits::new(shelf.clone()))
    };
    let service = |limit| Chain::new().use_(limit).get(async || "hello").build();
    let (one, other) = (limit(), limit());
    let handle = other.handle().policy::<String>("account").unwrap();
    let (one, other) = (service(one), service(other));
    let status = async |service: &ChainService, account: &'static str| {
        let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let req = http::Request::get("/").extension(PeerAddr(peer)).header("x-account", account);
        service.handle(req.body(Body::empty()).unwrap()).await.status().as_u16()
    };
    for expected in [200, 429, 429, 429] {
        assert_eq!(status(&one, "victim").await, expected);
    }
    tokio::time::sleep(SECOND / 10).await;
    assert!(handle.blocked_for("victim").await.is_some());
    for service in [&one, &other] {
        assert_eq!(status(service, "victim").await, 429);
    }
    assert_eq!([status(&one, "a").await, status(&other, "b").await], [200, 200]);
    assert!(handle.unblock("victim").await && handle.reset("victim").await);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!([status(&one, "victim").await, status(&other, "victim").await], [200, 429]);
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_is_known_later_is_charged_on_all_servers() {
    let shelf = Shelf::new();
    let limit = || {
        let cost =
            |response: &Response| response.headers().get("cost")?.to_str().ok()?.parse().ok();
        RateLimit::new(Policy::new("tokens", Quota::new(100, SECOND * 1000)).cost(10).settle(cost))
    };
    let service = |cost: &'static str| {
        let limit = limit().clock(shelf.clock()).max_keys(1000);
        let limit = limit.shared("chat", SharedLimits::new(shelf.clone()));
        let handle = limit.handle().policies().unwrap();
        let answer = move || async move { ([("cost", cost)], "hello") };
        (Chain::new().use_(limit).get(answer).build(), handle)
    };
    let status = async |service: &ChainService| {
        let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let req = http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap();
        let status = service.handle(req).await.status().as_u16();
        // The difference is sent in the background.
        tokio::time::sleep(SECOND / 1000).await;
        status
    };
    let ((cheap, handle), (costly, _)) = (service("3"), service("250"));
    let handle: PolicyHandle = handle;
    for left in [97, 94] {
        assert_eq!(status(&cheap).await, 200);
        assert_eq!(handle.peek(alice()).await[0].remaining(), left);
    }
    assert_eq!(status(&costly).await, 200);
    // 256 of 100 are used: the debt is known to the other server, which cannot read it as a quota of its own.
    assert_eq!([status(&cheap).await, status(&costly).await], [429, 429]);
    let full = handle.peek(alice()).await[0].full();
    assert!(full > SECOND * 2550 && full <= SECOND * 2560, "{full:?}");
    tokio::time::sleep(SECOND * 1650).await;
    assert_eq!(status(&cheap).await, 429);
    tokio::time::sleep(SECOND * 20).await;
    assert_eq!(status(&cheap).await, 200);
    // While the store is unreachable, a debt is made here and sent later.
    shelf.set(Fault::Fails);
    tokio::time::sleep(SECOND * 1000).await;
    for _ in 0..6 {
        status(&cheap).await;
    }
    assert_eq!([status(&costly).await, status(&costly).await], [200, 429]);
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(status(&cheap).await, 429);
}

#[tokio::test(start_paused = true)]
async fn a_policy_in_shadow_mode_is_counted_on_all_servers_and_refuses_on_none() {
    let shelf = Shelf::new();
    let limit = || {
        RateLimit::new(Policy::new("trial", Quota::new(3, SECOND * 3000)).shadow())
            .and(Policy::new("real", Quota::new(6, SECOND * 6000)))
    };
    let servers = [(); 2].map(|()| Server::new(&shelf, limit(), |limits| limits));
    for at in 0..6 {
        assert_eq!(servers[at % 2].status().await, 200, "{at}");
    }
    for server in &servers {
        assert_eq!(server.status().await, 429);
        let left: Vec<_> =
            server.handle.peek(alice()).await.iter().map(|s| s.remaining()).collect();
        assert_eq!(left, [0, 0]);
    }
    let totals = |policy: &str| {
        let all = servers.each_ref().map(|s| s.handle.limiter().refusals(policy).unwrap());
        (all[0].refused() + all[1].refused(), all[0].shadowed() + all[1].shadowed())
    };
    assert_eq!([totals("trial"), totals("real")], [(0, 5), (2, 0)]);
    // One request of each has come back. The trial is not charged for the requests that it would have refused.
    tokio::time::sleep(SECOND * 1001).await;
    assert_eq!([servers[0].status().await, servers[1].status().await], [200, 429]);
    // The same without the store.
    shelf.set(Fault::Fails);
    tokio::time::sleep(SECOND * 900).await;
    assert_eq!([servers[0].status().await, servers[0].status().await], [429, 429]);
    tokio::time::sleep(SECOND * 101).await;
    assert_eq!(servers[0].status().await, 200);
}

/// Sends requests of one client to all servers, over so many connections to each, until the quota is used up. Returns how many are admitted.
async fn admitted_by_all(servers: &[Server], connections: usize, requests: usize) -> usize {
    let connection = async |server: &Server| {
        let mut admitted = 0;
        for _ in 0..requests {
            let status = server.status().await;
            admitted += usize::from(status == 200);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        admitted
    };
    let all = servers.iter().flat_map(|server| std::iter::repeat_n(server, connections));
    futures_util::future::join_all(all.map(connection)).await.iter().sum()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_admitted_twice_whatever_share_of_responses_is_late() {
    let modes = [
        WhileUnreachable::Local { servers: 4 },
        WhileUnreachable::Local { servers: 1 },
        WhileUnreachable::Allow,
        WhileUnreachable::Deny,
    ];
    for mode in modes {
        for every in [1, 2, 3, 10, 100] {
            for (connections, late) in [(1, 60), (1, 80), (1, 400), (8, 80)] {
                let shelf = Shelf::new();
                let quota = 200;
                let limit = || RateLimit::new(Quota::new(quota, SECOND * 1_000_000));
                let set = |limits: SharedLimits| limits.while_unreachable(mode);
                let servers: Vec<_> = (0..4).map(|_| Server::new(&shelf, limit(), set)).collect();
                let case = format!("{mode:?}, every {every}, {connections} connections, {late} ms");
                shelf.set(Fault::IsLate(every, late));
                if every == 1 || connections == 1 {
                    // A server that got no other answer meanwhile does not know yet that the store is late.
                    for server in &servers {
                        for _ in 0..every {
                            server.handle.peek("somebody else").await;
                        }
                    }
                    tokio::time::sleep(SECOND).await;
                }
                let requests = 400 / 4 / connections;
                let mut admitted = admitted_by_all(&servers, connections, requests).await;
                assert!(admitted <= quota as usize, "{case}: {admitted}");
                // What was refunded last can be used when the cached refusals are over.
                tokio::time::sleep(SECOND * 2).await;
                admitted += admitted_by_all(&servers, 1, 10).await;
                assert_eq!(admitted, quota as usize, "{case}");
            }
        }
    }
}

/// A store that keeps no settings.
struct WithoutSettings(Shelf);

impl LimitStore for WithoutSettings {
    fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
        self.0.take(call)
    }

    fn refund<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
        self.0.refund(keys)
    }

    fn refund_charges<'a>(&'a self, refunds: &'a [StoreRefund]) -> StoreFuture<'a, ()> {
        self.0.refund_charges(refunds)
    }

    fn release<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
        self.0.release(slot)
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()> {
        self.0.clear(keys)
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.0.ping()
    }
}

/// A [`Shelf`] that renews slots.
#[derive(Clone)]
struct Renewing(Shelf);

impl Renewing {
    fn slots(&self) -> usize {
        let now = self.0.0.start.elapsed();
        let slots = self.0.0.slots.lock().unwrap();
        slots.values().flatten().filter(|(_, until)| *until > now).count()
    }

    fn server(&self, set: impl Fn(SharedLimits) -> SharedLimits) -> Server {
        let limit = RateLimit::new(Quota::new(1000, SECOND * 1000)).concurrency(1);
        let limits = SharedLimits::new(self.clone()).longest_request(SECOND * 3);
        let limit = limit.clock(self.0.clock()).max_keys(1000).shared("test", set(limits));
        let handle = limit.handle().policies().unwrap();
        Server { service: Chain::new().use_(limit).get(async || "hello").build(), handle }
    }
}

impl LimitStore for Renewing {
    fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
        self.0.take(call)
    }

    fn refund<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
        self.0.refund(keys)
    }

    fn refund_charges<'a>(&'a self, refunds: &'a [StoreRefund]) -> StoreFuture<'a, ()> {
        self.0.refund_charges(refunds)
    }

    fn release<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
        self.0.release(slot)
    }

    fn supports_renewal(&self) -> bool {
        true
    }

    fn renew<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
        let until = self.0.0.start.elapsed() + slot.longest;
        Box::pin(self.0.answer(move || {
            let mut slots = self.0.0.slots.lock().unwrap();
            let taken = slots.entry(slot.key.clone()).or_default();
            taken.retain(|(id, _)| *id != slot.id);
            taken.push((slot.id.clone(), until));
        }))
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()> {
        self.0.clear(keys)
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.0.ping()
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_renewed_as_long_as_its_work_takes() {
    let store = Renewing(Shelf::new());
    let (one, other) = (store.server(|l| l), store.server(|l| l));
    let slots = one.handle.limiter().slots::<std::net::IpAddr>().unwrap();
    for round in 0..2 {
        let (mut response, mut guard) = (None, None);
        match round {
            0 => response = Some(one.answer().await),
            _ => guard = Some(slots.acquire(alice()).await.unwrap()),
        }
        for _ in 0..60 {
            tokio::time::sleep(SECOND).await;
            assert_eq!([one.status().await, other.status().await], [429, 429], "{round}");
            assert_eq!(store.slots(), 1);
        }
        drop((response, guard));
        tokio::time::sleep(SECOND / 100).await;
        assert_eq!(store.slots(), 0);
        let calls = store.0.calls();
        tokio::time::sleep(SECOND * 60).await;
        assert_eq!(store.0.calls(), calls, "it renews nothing after its end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_was_lost_is_taken_again() {
    // The store fails for a short time, in which no slot expires; for a long time; and loses its data.
    for (away, loses, least) in [(1, false, 1), (20, false, 0), (0, true, 0)] {
        let store = Renewing(Shelf::new());
        let connection = Renewing(store.0.connection());
        let (one, other) = (connection.server(|l| l), store.server(|l| l));
        let held = one.answer().await;
        if loses {
            store.0.0.slots.lock().unwrap().clear();
        }
        connection.0.set(if away > 0 { Fault::Fails } else { Fault::None });
        tokio::time::sleep(SECOND * away).await;
        assert_eq!(store.slots(), least, "{away} {loses}");
        // The slot of a server that crashed would be free now for good.
        if away > 3 {
            assert_eq!(other.status().await, 200);
        }
        connection.0.set(Fault::None);
        tokio::time::sleep(SECOND * 3).await;
        assert_eq!((store.slots(), other.status().await), (1, 429), "{away} {loses}");
        drop(held);
        tokio::time::sleep(SECOND).await;
        assert_eq!((store.slots(), other.status().await), (0, 200), "{away} {loses}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_was_admitted_without_the_store_takes_its_slot_later() {
    for mode in [WhileUnreachable::Local { servers: 1 }, WhileUnreachable::Allow] {
        let store = Renewing(Shelf::new());
        let connection = Renewing(store.0.connection());
        let (one, other) = (connection.server(|l| l.while_unreachable(mode)), store.server(|l| l));
        connection.0.set(Fault::Fails);
        let held = one.answer().await;
        assert_eq!((held.status().as_u16(), store.slots()), (200, 0));
        assert_eq!(one.status().await, 429, "{mode:?}");
        connection.0.set(Fault::None);
        tokio::time::sleep(SECOND * 3).await;
        assert_eq!((store.slots(), other.status().await), (1, 429), "{mode:?}");
        drop(held);
        tokio::time::sleep(SECOND).await;
        assert_eq!((store.slots(), other.status().await), (0, 200), "{mode:?}");
        // Work that ends before the store is reachable leaves nothing there.
        connection.0.set(Fault::Fails);
        drop(one.answer().await);
        connection.0.set(Fault::None);
        tokio::time::sleep(SECOND * 60).await;
        assert_eq!(store.slots(), 0, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_released_during_its_renewal_stays_free() {
    let store = Renewing(Shelf::new());
    let server = store.server(|l| l);
    // Each answer is 30 ms late, so some of these releases are sent during a renewal.
    for millis in 0..60 {
        let held = server.answer().await;
        assert_eq!(held.status(), 200, "{millis}");
        store.0.set(Fault::IsLate(1, 30));
        tokio::time::sleep(SECOND + Duration::from_millis(millis * 10)).await;
        drop(held);
        store.0.set(Fault::None);
        tokio::time::sleep(SECOND).await;
        assert_eq!(store.slots(), 0, "{millis}");
    }
}

/// A deterministic generator of random numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_store_does_each_request_is_charged_once() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let shelf = Shelf::new();
        // The quota does not refill during the test, and half of the rounds exhaust it.
        let burst = if seed % 2 == 0 { 1000 } else { 60 };
        let limit = RateLimit::new(Quota::new(burst, SECOND * 1_000_000_000));
        let server = local(&shelf, limit);
        let (mut admitted, mut dropped) = (0, 0);
        for _ in 0..300 {
            let faults = [Fault::None, Fault::None, Fault::Hangs, Fault::IsDeaf, Fault::Fails];
            if dice.below(8) == 0 {
                shelf.set(faults[usize::try_from(dice.below(5)).unwrap()]);
            }
            // In a third of the rounds some clients disconnect early.
            let early = seed % 3 == 0 && dice.below(4) == 0;
            let patience = Duration::from_millis(if early { 5 } else { 1000 });
            match tokio::time::timeout(patience, server.status()).await {
                Ok(200) => admitted += 1,
                Ok(status) => assert_eq!(status, 429),
                Err(_) => dropped += 1,
            }
            let pause = [0, 3, 40, 400][usize::try_from(dice.below(4)).unwrap()];
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        shelf.set(Fault::None);
        tokio::time::sleep(SECOND * 60).await;
        assert!(admitted <= burst, "seed {seed}: {admitted} of {burst}");
        // The refund of a client that disconnected is sent only once, and the store may be unreachable then.
        let left = left(&server).await;
        assert!(left + admitted <= burst, "seed {seed}: {admitted} of {burst}, {left} left");
        assert!(
            left + admitted + dropped >= burst,
            "seed {seed}: {admitted} of {burst}, {left} left"
        );
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_of_the_store_is_reported_and_each_change_is_logged_once() {
    // With one subscriber, `tracing` lets the thread that first logs a message decide whether it is wanted: another test would disable it here.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || lines.clone());
    let _logs = tracing::subscriber::set_default(subscriber.finish());
    let shelf = Shelf::new();
    let limits = SharedLimits::new(shelf.clone());
    let server = |name: &str| {
        let limit = RateLimit::new(Policy::new(name, Quota::new(1000, SECOND * 1000)));
        limit.clock(shelf.clock()).shared(name, limits.clone()).handle().policies().unwrap()
    };
    let servers: [PolicyHandle; 2] = [server("a"), server("b")];
    let admit = async |requests: u8| {
        for client in 0..requests {
            for server in &servers {
                let _ = server.admit(std::net::IpAddr::from([198, 51, 100, client]), 1).await;
            }
        }
    };
    let report = || servers[1].limiter().store().unwrap();
    admit(10).await;
    let StoreReport { state, answered, late, unanswered, failed, .. } = report();
    assert_eq!((state, answered, late, unanswered, failed), (StoreState::Answering, 20, 0, 0, 0));
    shelf.set(Fault::IsLate(4, 80));
    admit(10).await;
    tokio::time::sleep(SECOND).await;
    let StoreReport { state, answered, late, unanswered, mean_latency, .. } = report();
    assert_eq!((state, late, unanswered), (StoreState::Late, 5, 0));
    assert!(answered >= 40 && mean_latency > SECOND / 200 && mean_latency < SECOND / 50);
    shelf.set(Fault::Fails);
    admit(100).await;
    tokio::time::sleep(SECOND).await;
    let StoreReport { state, failed, local_decisions, .. } = report();
    // Half of the last 16 calls; the later requests are decided without a call.
    assert_eq!((state, failed), (StoreState::Unreachable, 8));
    assert_eq!(local_decisions.len(), 1);
    assert_eq!(local_decisions[0].0, "b");
    assert!((96..=104).contains(&local_decisions[0].1), "{local_decisions:?}");
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND * 70).await;
    admit(10).await;
    assert_eq!(report().state, StoreState::Answering);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines = log.lines().map(|line| line.split(": ").nth(1).unwrap());
    let lines: Vec<_> = lines.map(|line| line.split(" error=").next().unwrap()).collect();
    let expected = [
        "the shared store answers after the deadline",
        "the shared store is unreachable",
        "the shared store is reachable again",
        "the shared store answers within the deadline again",
    ];
    assert!(log.lines().all(|line| line.contains(" WARN ")), "{log}");
    assert_eq!(lines, expected, "{log}");
}

#[test]
#[allow(clippy::type_complexity, reason = "each case sets one thing")]
fn settings_of_a_store_that_can_never_work_are_errors() {
    let cases: [(fn(SharedLimits) -> Result<SharedLimits, RateLimitError>, &str); 4] = [
        (|limits| limits.try_deadline(Duration::ZERO), "the deadline of a shared store is zero"),
        (
            |limits| limits.try_longest_request(Duration::ZERO),
            "the longest request of a shared store is zero",
        ),
        (
            |limits| limits.try_while_unreachable(WhileUnreachable::Local { servers: 0 }),
            "`WhileUnreachable::Local` has 0 servers",
        ),
        (|limits| limits.try_prefix("{}"), "the prefix of the keys in a shared store is empty"),
    ];
    for (set, part) in cases {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let shelf = runtime.block_on(async { Shelf::new() });
        let message = set(SharedLimits::new(shelf)).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

/// One server of a random schedule, its connection to the store, and the position of its quota.
struct Scheduled {
    connection: Shelf,
    handle: PolicyHandle,
    quota: usize,
}

/// Runs a random schedule of requests, faults, restarts and changes of the quota, and compares what is admitted with the documented bounds.
async fn run_schedule(seed: u64) {
    let mut dice = Dice(seed);
    let mut below = move |n: usize| usize::try_from(dice.below(n as u64)).unwrap();
    let shelf = Shelf::new();
    let count = 1 + below(4);
    let mode = match seed % 3 {
        0 => WhileUnreachable::Deny,
        _ => WhileUnreachable::Local { servers: u32::try_from(count).unwrap() },
    };
    // Nothing comes back during the schedule.
    let sizes: Vec<u32> = (0..3).map(|_| [4, 10, 60, 300][below(4)]).collect();
    let quotas: Vec<_> =
        sizes.iter().map(|size| Quota::new(*size, SECOND * 1_000_000_000)).collect();
    let start = |connection: &Shelf, quota: usize| {
        // Each server has its own quota, as during a deployment: a change on one of them does not reach the others.
        let limits = SharedLimits::new(WithoutSettings(connection.clone()));
        let limits = limits.while_unreachable(mode);
        let limit = RateLimit::new(Policy::new("p", quotas[quota]));
        let limit = limit.clock(connection.clock()).max_keys(1000).shared("test", limits);
        limit.handle().policies().unwrap()
    };
    let mut servers: Vec<_> = (0..count)
        .map(|_| {
            let connection = shelf.connection();
            Scheduled { handle: start(&connection, 0), connection, quota: 0 }
        })
        .collect();
    let changes = below(2) == 0;
    let mut admitted = [0_usize; 3];
    // How often a server that knows nothing may have begun to decide alone, for each quota.
    let mut shares = [0_usize; 3];
    shares[0] = count;
    let mut used = vec![0];
    for _ in 0..200 {
        let at = below(count);
        match below(40) {
            0..4 => {
                let faults = [
                    Fault::None,
                    Fault::None,
                    Fault::IsLate(1 + below(4), 60 + below(300) as u64),
                    Fault::Flaps(1 + below(4)),
                    Fault::Hangs,
                    Fault::IsDeaf,
                    Fault::Fails,
                ];
                servers[at].connection.set(faults[below(7)]);
            }
            4 => {
                let Scheduled { connection, quota, .. } = &servers[at];
                let handle = start(connection, *quota);
                shares[*quota] += 1;
                servers[at].handle = handle;
            }
            5 if changes => {
                let quota = below(3);
                assert!(servers[at].handle.limiter().set_quota("p", quotas[quota]));
                servers[at].quota = quota;
                shares[quota] += 1;
                used.push(quota);
            }
            _ => {}
        }
        let requests = (0..1 + below(4)).map(|_| {
            let Scheduled { handle, quota, .. } = &servers[below(count)];
            async move { (*quota, handle.admit(alice(), 1).await.is_ok()) }
        });
        let requests: Vec<_> = requests.collect();
        for (quota, is_admitted) in futures_util::future::join_all(requests).await {
            admitted[quota] += usize::from(is_admitted);
        }
        tokio::time::sleep(Duration::from_millis([0, 1, 20, 300][below(4)])).await;
    }
    for quota in 0..3 {
        let size = sizes[quota] as usize;
        let most = match mode {
            WhileUnreachable::Deny => size,
            _ => size + shares[quota] * (size / count).max(1),
        };
        assert!(
            admitted[quota] <= most,
            "seed {seed}, {mode:?}: {} of {size} admitted, at most {most}",
            admitted[quota]
        );
    }
    // The store recovers, and receives what it has missed.
    servers.iter().for_each(|server| server.connection.set(Fault::None));
    tokio::time::sleep(SECOND * 60).await;
    let last = servers[0].quota;
    let mut left = 0;
    while servers[0].handle.admit(alice(), 1).await.is_ok() {
        left += 1;
        assert!(left <= sizes[last] as usize, "seed {seed}: the quota is not used up");
    }
    let restarted = shares.iter().sum::<usize>() > count;
    if !restarted {
        let (size, admitted) = (sizes[0] as usize, admitted[0]);
        // Each admitted request is charged, once. The refund of a late charge is sent only once, and may be lost.
        assert!(
            left <= size.saturating_sub(admitted),
            "seed {seed}: {admitted} of {size}, {left} left"
        );
    }
}

/// 50 schedules. `LIMIT_SCHEDULES=0..1000` sets which ones, such as `LIMIT_SCHEDULES=0..1000 cargo test --all-features --test rate_limit_store schedules`.
#[tokio::test(start_paused = true)]
async fn random_schedules_admit_no_more_than_is_documented() {
    let seeds = std::env::var("LIMIT_SCHEDULES").unwrap_or("0..50".to_owned());
    let (first, end) = seeds.split_once("..").unwrap();
    for seed in first.parse().unwrap()..end.parse().unwrap() {
        run_schedule(seed).await;
    }
}

#[test]
fn a_change_of_plan_takes_effect_at_once_in_memory_and_in_a_store() {
    let day = Quota::new(10, SECOND * 86_400);
    let minute = Quota::per_minute(60);
    // How much is used under the first quota; then how much is left under the second one, and after a minute under both.
    let cases = [
        (day, minute, 10, 0, [60, 0]),
        (day, minute, 5, 30, [60, 5]),
        (day, minute, 0, 60, [60, 10]),
        (minute, day, 60, 0, [0, 60]),
        (minute, day, 30, 5, [5, 60]),
        (minute, Quota::per_minute(120), 60, 0, [120, 60]),
        (Quota::per_minute(120), minute, 30, 45, [60, 120]),
    ];
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap()
    };
    for (at, (first, second, used, left, later)) in cases.into_iter().enumerate() {
        for restarts in [None, Some(false), Some(true)] {
            runtime().block_on(async {
                let shelf = Shelf::new();
                let limit = |quota| RateLimit::new(Policy::new("p", quota)).clock(shelf.clock());
                let start = |quota| -> PolicyHandle {
                    let limit = match restarts {
                        None => limit(quota),
                        Some(_) => limit(quota).shared("test", SharedLimits::new(shelf.clone())),
                    };
                    limit.handle().policies().unwrap()
                };
                let handle = start(first);
                for _ in 0..used {
                    assert!(handle.admit(alice(), 1).await.is_ok());
                }
                let new = match restarts {
                    Some(true) => start(second),
                    _ => {
                        assert!(handle.limiter().set_quota("p", second));
                        handle.clone()
                    }
                };
                let remaining =
                    async |handle: &PolicyHandle| handle.peek(alice()).await[0].remaining();
                assert_eq!(remaining(&new).await, left, "case {at}, {restarts:?}");
                // It was not only shown.
                assert!(new.admit(alice(), left).await.is_ok());
                assert!(new.admit(alice(), 1).await.is_err(), "case {at}, {restarts:?}");
                new.refund(alice(), left).await;
                tokio::time::sleep(SECOND * 60).await;
                assert_eq!(remaining(&new).await, later[0], "case {at}, {restarts:?}");
                // A server that still has the first quota, or has it again.
                assert!(new.limiter().set_quota("p", first));
                assert_eq!(remaining(&new).await, later[1], "case {at}, {restarts:?}");
            });
        }
    }
}

#[tokio::test]
async fn a_quota_with_a_window_starts_with_the_used_fraction_in_memory() {
    let quotas = [
        Quota::new(10, SECOND * 1000),
        Quota::new(20, SECOND * 3600).fixed_window(),
        // It differs from the one before only in its window.
        Quota::new(20, SECOND * 7200).fixed_window(),
        Quota::new(40, SECOND * 86_400).from_midnight_utc(),
    ];
    let pairs = (0..4).flat_map(|one| (0..4).map(move |other| (one, other)));
    for (one, other) in pairs.filter(|(one, other)| one != other) {
        let (first, second) = (quotas[one], quotas[other]);
        let limit = RateLimit::new(Policy::new("p", first)).clock(LimitClock::fake());
        let handle: PolicyHandle = limit.handle().policies().unwrap();
        let left = async || handle.peek(alice()).await[0].remaining();
        assert!(handle.admit(alice(), first.limit() / 2).await.is_ok());
        assert!(handle.limiter().set_quota("p", second));
        assert_eq!(left().await, second.limit() / 2, "{first:?} {second:?}");
        assert!(handle.admit(alice(), second.limit() / 2).await.is_ok());
        assert!(handle.admit(alice(), 1).await.is_err(), "{first:?} {second:?}");
        assert!(handle.limiter().set_quota("p", first));
        assert_eq!(left().await, first.limit() / 2, "{first:?} {second:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_quota_starts_with_the_used_fraction() {
    for is_shared in [false, true] {
        let shelf = Shelf::new();
        let limit = RateLimit::new(Policy::new("p", Quota::new(10, SECOND * 100_000)));
        let limit = limit.clock(shelf.clock()).max_keys(1000);
        let limit = match is_shared {
            false => limit,
            true => limit.shared("test", SharedLimits::new(shelf.clone())),
        };
        let handle: PolicyHandle = limit.handle().policies().unwrap();
        assert!(handle.limiter().set_quota("p", Quota::new(60, SECOND * 60_000)));
        assert!(handle.admit(alice(), 60).await.is_ok());
        assert!(handle.limiter().restore_quota("p").await);
        assert_eq!(handle.peek(alice()).await[0].limit(), 10);
        assert!(handle.admit(alice(), 1).await.is_err(), "shared: {is_shared}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_charge_that_shadow_mode_left_out_is_not_refunded() {
    let shelf = Shelf::new();
    let limit = RateLimit::new(Policy::new("trial", Quota::new(3, SECOND * 1_000_000)).shadow())
        .and(Policy::new("real", Quota::new(9, SECOND * 1_000_000)));
    let deny = |limits: SharedLimits| limits.while_unreachable(WhileUnreachable::Deny);
    let server = Server::new(&shelf, limit, deny);
    for _ in 0..4 {
        assert_eq!(server.status().await, 200);
    }
    // The store charges a request that has already been refused.
    shelf.set(Fault::Hangs);
    assert_eq!(server.status().await, 503);
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND * 5).await;
    let left: Vec<_> = server.handle.peek(alice()).await.iter().map(|s| s.remaining()).collect();
    assert_eq!(left, [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn charges_under_any_number_of_quotas_take_a_bounded_part_of_the_outbox() {
    let shelf = Shelf::new();
    let plan = |req: &tower_chain::Request| {
        let limit = req.headers().get("plan")?.to_str().ok()?.parse().ok()?;
        Some(Quota::new(limit, SECOND * 1_000_000))
    };
    let policy = Policy::new("p", Quota::new(1000, SECOND * 1_000_000)).quota_by(plan);
    let server = Server::new(&shelf, RateLimit::new(policy), |limits| limits);
    shelf.set(Fault::Fails);
    for limit in 100..150 {
        let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let req = http::Request::get("/").extension(PeerAddr(peer)).header("plan", limit);
        let response = server.service.handle(req.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
    }
    shelf.set(Fault::None);
    tokio::time::sleep(SECOND * 10).await;
    let charged = shelf.0.charged.lock().unwrap();
    assert_eq!(charged.values().map(Vec::len).max(), Some(8));
}
