//! Limiters that share a real Redis.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::support::redis_server::{Cluster, Redis, until};
use http::StatusCode;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::RedisStore;
use tower_chain::middleware::rate_limit::{
    CalendarPeriod, LimitClock, LimitKey, Policy, PolicyHandle, Quota, SharedLimits, SlotQueue,
    Subject, WhileUnreachable,
};
use tower_chain::{Body, Chain, ChainService, RateLimit, Request};

const HOUR: Duration = Duration::from_secs(3600);
const ALICE: &str = "192.0.2.1";

/// A server: its limiter in a chain.
struct Server {
    service: ChainService,
    handle: PolicyHandle,
}

impl Server {
    fn new(
        redis: &Redis,
        limit: RateLimit,
        set: impl FnOnce(SharedLimits) -> SharedLimits,
    ) -> Self {
        let limits = set(SharedLimits::new(RedisStore::new(&redis.url()).unwrap()));
        // Each server has its own memory.
        let limit = limit.max_keys(10_000).shared("test", limits);
        // One test has a policy with a key of its own.
        let handle = limit.handle().policies().or_else(|_| limit.handle().policy("t")).unwrap();
        Self { service: Chain::new().use_(limit).get(async || "hello").build(), handle }
    }

    async fn status(&self) -> u16 {
        self.service.handle(request(ALICE)).await.status().as_u16()
    }

    async fn admitted(&self, requests: usize) -> usize {
        let all = (0..requests).map(|_| self.status());
        futures_util::future::join_all(all).await.iter().filter(|status| **status == 200).count()
    }
}

fn request(peer: &str) -> Request {
    let peer = SocketAddr::new(peer.parse::<IpAddr>().unwrap(), 4000);
    http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap()
}

fn slow(limits: SharedLimits) -> SharedLimits {
    // A long deadline, because the test must not depend on the load of the machine.
    limits.deadline(Duration::from_secs(5))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn several_servers_admit_the_quota_together() {
    let redis = Redis::start();
    let servers: Vec<_> =
        (0..5).map(|_| Server::new(&redis, RateLimit::per_client(100).every(HOUR), slow)).collect();
    let admitted = futures_util::future::join_all(servers.iter().map(|s| s.admitted(60))).await;
    assert_eq!(admitted.iter().sum::<usize>(), 100, "{admitted:?}");
    for server in &servers {
        assert_eq!(server.status().await, 429);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn servers_count_in_one_window_together() {
    let alice: IpAddr = ALICE.parse().unwrap();
    let length = Duration::from_secs(4);
    for quota in [Quota::new(5, length).from_midnight_utc(), Quota::new(5, length).fixed_window()] {
        let redis = Redis::start();
        let limit = || RateLimit::new(Policy::new("p", quota));
        let servers = [(); 2].map(|()| Server::new(&redis, limit(), slow));
        for _ in 0..3 {
            // Start early in a window of the calendar.
            until("a window does not start", async || {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.unwrap().as_millis() % 4000 < 500
            })
            .await;
            for (server, left) in [(0, 4), (1, 3), (0, 2), (1, 1), (0, 0)] {
                let response = servers[server].service.handle(request(ALICE)).await;
                assert_eq!(response.status(), 200, "{quota:?}");
                let field = response.headers()["ratelimit"].to_str().unwrap().to_owned();
                assert!(field.starts_with(&format!("\"p\";r={left};t=")), "{quota:?} {field}");
            }
            let mut wait = 0;
            for server in &servers {
                let refused = server.service.handle(request(ALICE)).await;
                assert_eq!(refused.status(), 429, "{quota:?}");
                wait = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=5).contains(&wait), "{quota:?} {wait}");
            }
            tokio::time::sleep(Duration::from_secs(wait)).await;
            assert_eq!(servers[0].handle.peek(alice).await[0].remaining(), 5, "{quota:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn windows_of_the_calendar_end_in_redis_when_they_do_in_memory() {
    use CalendarPeriod::{Day, Hour, Month, Week};
    let redis = Redis::start();
    let mut name = 0;
    for period in [Hour, Day, Week, Month] {
        for minutes in [0, 330, -300, 1_439, -1_439] {
            let quota = Quota::calendar(3, period).utc_offset(minutes);
            let policy = || RateLimit::new(Policy::new(format!("{period:?}{name}"), quota));
            let servers = [(); 2].map(|()| Server::new(&redis, policy(), slow));
            let memory = Chain::new().use_(policy()).get(async || "hello").build();
            name += 1;
            let mut seen = Vec::new();
            for service in [&memory, &servers[0].service, &servers[1].service] {
                let response = service.handle(request(ALICE)).await;
                let field = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
                let (state, window) = (field("ratelimit"), field("ratelimit-policy"));
                let end: u64 = state.rsplit_once(";t=").unwrap().1.parse().unwrap();
                seen.push((end, window));
            }
            let [(end, window), others @ ..] = &seen[..] else { unreachable!() };
            for (other, other_window) in others {
                // The window may change, or a second end, between two calls.
                assert!(end.abs_diff(*other) <= 1 || *end < 3, "{period:?} {minutes} {seen:?}");
                assert_eq!(window, other_window, "{period:?} {minutes}");
            }
            let statuses = [servers[0].status().await, servers[1].status().await];
            assert!(statuses == [200, 429] || *end < 3, "{period:?} {minutes} {statuses:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_policy_in_shadow_mode_refuses_on_no_server() {
    let redis = Redis::start();
    let limit = || {
        RateLimit::new(Policy::new("trial", Quota::new(3, HOUR)).shadow())
            .and(Policy::new("real", Quota::new(6, HOUR)))
    };
    let servers = [(); 2].map(|()| Server::new(&redis, limit(), slow));
    for at in 0..8 {
        assert_eq!(servers[at % 2].status().await, if at < 6 { 200 } else { 429 }, "{at}");
    }
    let totals = |policy: &str| {
        let all = servers.each_ref().map(|s| s.handle.limiter().refusals(policy).unwrap());
        (all[0].refused() + all[1].refused(), all[0].shadowed() + all[1].shadowed())
    };
    assert_eq!([totals("trial"), totals("real")], [(0, 5), (2, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn slots_of_other_work_count_on_all_servers() {
    let redis = Redis::start();
    let [one, other] = [(); 2].map(|()| Server::new(&redis, RateLimit::concurrent(2), slow));
    let slots = one.handle.limiter().slots::<IpAddr>().unwrap();
    let alice: IpAddr = ALICE.parse().unwrap();
    let held = slots.acquire(alice).await.unwrap();
    let running = other.service.handle(request(ALICE)).await;
    assert_eq!((running.status().as_u16(), one.status().await), (200, 429));
    assert!(slots.acquire(alice).await.is_err());
    drop(held);
    until("the slot is not released", async || one.status().await == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_debt_is_owed_on_all_servers() {
    let redis = Redis::start();
    let policy = Policy::new("p", Quota::new(100, Duration::from_secs(1000)));
    let limit = || RateLimit::new(policy.clone().settle(|_| Some(250)));
    let (one, other) = (Server::new(&redis, limit(), slow), Server::new(&redis, limit(), slow));
    assert_eq!(one.status().await, 200);
    // The difference is sent in the background.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = other.service.handle(request(ALICE)).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1490..=1510).contains(&wait), "{wait}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn real_servers_admit_the_quota_together_over_real_sockets() {
    let redis = Redis::start();
    let mut addrs = Vec::new();
    for _ in 0..4 {
        let limit = RateLimit::per_client(40).every(HOUR);
        let service = Server::new(&redis, limit, slow).service;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        addrs.push(listener.local_addr().unwrap());
        tokio::spawn(tower_chain::Server::new(listener).serve(service));
    }
    let client = reqwest::Client::new();
    let answers = (0..120).map(|at| {
        let url = format!("http://{}/", addrs[at % addrs.len()]);
        let sent = client.get(url).send();
        async move { sent.await.unwrap() }
    });
    let answers = futures_util::future::join_all(answers).await;
    let admitted = answers.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!(admitted, 40);
    for refused in answers.iter().filter(|answer| answer.status() != 200) {
        assert_eq!(refused.status(), 429);
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=90).contains(&wait), "{wait}");
    }
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_check_is_one_call_and_a_known_refusal_is_none() {
    let redis = Redis::start();
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let limit = names.iter().fold(RateLimit::new(Quota::new(10, HOUR)), |limit, name| {
        limit.and(Policy::new(*name, Quota::new(1000, HOUR)))
    });
    let server = Server::new(&redis, limit, slow);
    assert_eq!(server.status().await, 200);
    let before = redis.calls().await;
    for _ in 0..9 {
        assert_eq!(server.status().await, 200);
    }
    assert_eq!(redis.calls().await - before, 9);
    for _ in 0..50 {
        assert_eq!(server.status().await, 429);
    }
    assert_eq!(redis.calls().await - before, 9);
    // A script that Redis has lost is loaded again.
    let _: () = redis.ask(redis::cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    let other = Server::new(&redis, RateLimit::new(Quota::new(10, HOUR)), slow);
    assert_eq!(other.status().await, 429);
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn what_is_paid_for_in_advance_needs_no_call_and_never_exceeds_the_quota() {
    let redis = Redis::start();
    let limit = RateLimit::per_client(200).every(240 * HOUR);
    let lease = |limits: SharedLimits| slow(limits).lease(1000);
    let servers: Vec<_> = (0..3).map(|_| Server::new(&redis, limit.clone(), lease)).collect();
    let mut admitted = 0;
    for _ in 0..100 {
        for server in &servers {
            admitted += usize::from(server.status().await == 200);
        }
    }
    // A lease is a twentieth of the burst, plus one for the request itself.
    let calls = redis.calls().await;
    assert!((18..=30).contains(&calls), "{calls} calls");
    assert_eq!(admitted, 200);
    for server in &servers {
        assert_eq!(server.status().await, 429);
    }
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_refusal_by_one_policy_charges_none() {
    let redis = Redis::start();
    let limit = RateLimit::new(Policy::new("small", Quota::new(2, HOUR)))
        .and(Policy::new("large", Quota::new(50, HOUR)));
    let (one, other) = (Server::new(&redis, limit.clone(), slow), Server::new(&redis, limit, slow));
    assert_eq!(one.admitted(9).await, 2);
    assert_eq!(other.admitted(9).await, 0);
    let alice: IpAddr = ALICE.parse().unwrap();
    let left: Vec<_> = other.handle.peek(alice).await.iter().map(|s| s.remaining()).collect();
    assert_eq!(left, [0, 48]);
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn keys_are_tagged_hidden_and_mortal() {
    let redis = Redis::start();
    let by_token = LimitKey::authorization();
    let limit = RateLimit::new(Policy::new("p", Quota::new(5, HOUR)))
        .and(Policy::new("t", Quota::new(5, HOUR)).key(by_token));
    let server = Server::new(&redis, limit, |limits| slow(limits).prefix("api"));
    let mut req = request(ALICE);
    req.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer secret"));
    assert_eq!(server.service.handle(req).await.status(), 200);
    let single = Server::new(&redis, RateLimit::new(Policy::new("q", Quota::new(5, HOUR))), slow);
    assert_eq!(single.status().await, 200);
    let mut keys: Vec<String> = redis.ask(redis::cmd("KEYS").arg("*")).await.unwrap();
    keys.sort();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert_eq!(keys[0], "limit:test:{192.0.2.1}:q");
    assert_eq!(keys[1], "{api:test}:p:0:192.0.2.1");
    assert!(keys[2].starts_with("{api:test}:t:0:") && !keys[2].contains("secret"), "{keys:?}");
    for key in &keys {
        let left: i64 = redis.ask(redis::cmd("PTTL").arg(key)).await.unwrap();
        assert!((1..=720_000).contains(&left), "{key} lives for {left} ms");
        let bytes: u64 = redis.ask(redis::cmd("MEMORY").arg("USAGE").arg(key)).await.unwrap();
        assert!(bytes <= 160, "{key} takes {bytes} bytes");
    }
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn charges_are_given_back_everywhere() {
    let redis = Redis::start();
    let limit = RateLimit::per_client(5).every(HOUR).count_failures();
    let (one, other) = (Server::new(&redis, limit.clone(), slow), Server::new(&redis, limit, slow));
    for _ in 0..20 {
        assert_eq!(one.status().await, 200);
        // The charge is refunded in the background.
        let start = Instant::now();
        while redis.ask::<u64>(&redis::cmd("DBSIZE")).await.unwrap() > 0 {
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }
    let alice: IpAddr = ALICE.parse().unwrap();
    other.handle.charge(alice, 3).await;
    assert_eq!(one.handle.peek(alice).await[0].remaining(), 2);
    assert!(one.handle.reset(alice).await);
    assert_eq!(other.handle.peek(alice).await[0].remaining(), 5);
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_clock_that_was_set_back_refuses_for_one_period_at_most() {
    let redis = Redis::start();
    let server = Server::new(&redis, RateLimit::per_client(2).every(Duration::from_secs(60)), slow);
    // As if the charge was made while the clock of the store was a year ahead.
    let now: Vec<u64> = redis.ask(&redis::cmd("TIME")).await.unwrap();
    let ahead = (now[0] + 365 * 24 * 3600) * 1_000_000;
    let _: () = redis
        .ask(redis::cmd("SET").arg("limit:test:{192.0.2.1}:2-in-1min").arg(ahead))
        .await
        .unwrap();
    let refused = server.service.handle(request(ALICE)).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((29..=30).contains(&wait), "{wait}");
    // A client that waits that long is admitted, although the year isn't over.
    let charged: u64 =
        redis.ask(redis::cmd("GET").arg("limit:test:{192.0.2.1}:2-in-1min")).await.unwrap();
    assert!(charged <= (now[0] + 70) * 1_000_000, "{charged}");
    // A value that isn't a time is ignored, or is limited to the maximum. It does not make a script fail.
    let values = [
        ("x", 200),
        ("", 200),
        ("nan", 200),
        ("-nan", 200),
        ("-1", 200),
        ("-inf", 200),
        ("-1e999", 200),
        ("inf", 429),
        ("1e999", 429),
        ("0xffffffffffffffff", 429),
        ("9007199254740993", 429),
    ];
    let mode = |limits: SharedLimits| slow(limits).while_unreachable(WhileUnreachable::Deny);
    let limit = RateLimit::per_client(2).every(Duration::from_secs(60)).count_failures();
    let strict = Server::new(&redis, limit, mode);
    for (at, (value, status)) in values.into_iter().enumerate() {
        let (charged, blocked) = (format!("198.51.100.{at}"), format!("203.0.113.{at}"));
        for key in [
            format!("limit:test:{{{charged}}}:2-in-1min"),
            format!("limit:test:{{{blocked}}}::#block"),
        ] {
            let _: () = redis.ask(redis::cmd("SET").arg(key).arg(value)).await.unwrap();
        }
        for client in [charged, blocked] {
            let answer = strict.service.handle(request(&client)).await;
            assert_eq!(answer.status(), status, "{value} of {client}");
        }
    }
}

/// 60 requests per minute, and 10 exports per day.
fn tiers() -> RateLimit {
    RateLimit::new(
        Policy::new("p", Quota::per_minute(60)).quota_by(|req| {
            req.headers().contains_key("export").then(|| Quota::new(10, 24 * HOUR))
        }),
    )
}

async fn exports(server: &Server, requests: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        let mut req = request(ALICE);
        req.headers_mut().insert("export", http::HeaderValue::from_static("1"));
        admitted += usize::from(server.service.handle(req).await.status() == 200);
    }
    admitted
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_server_that_knows_only_a_short_quota_shortens_nothing() {
    let redis = Redis::start();
    let short = || RateLimit::new(Policy::new("p", Quota::per_minute(60)));
    let long = || RateLimit::new(Policy::new("p", Quota::new(10, 24 * HOUR)));
    let others: [(&str, RateLimit); 6] = [
        ("it was restarted", tiers()),
        ("its configuration is another one", short()),
        ("its quota was changed", long()),
        ("it gives charges back", short().count_failures()),
        ("it pays in advance", short()),
        ("it blocks clients", short().penalty(Quota::per_minute(1), Duration::from_secs(1))),
    ];
    let mut admitted = exports(&Server::new(&redis, tiers(), slow), 4).await;
    for (name, limit) in others {
        let other = Server::new(&redis, limit, |limits| slow(limits).lease(2));
        assert!(other.handle.limiter().set_quota("p", Quota::per_minute(60)));
        let alice: IpAddr = ALICE.parse().unwrap();
        for _ in 0..3 {
            // The short quota starts with two fifths used, and has its own count.
            assert!(other.handle.peek(alice).await[0].remaining() <= 37, "{name}");
            other.status().await;
            other.handle.charge(alice, 1).await;
        }
        admitted += exports(&Server::new(&redis, tiers(), slow), 2).await;
    }
    assert_eq!(admitted, 10);
    let key = "limit:test:{192.0.2.1}:p";
    let lives: u64 = redis.ask(redis::cmd("PTTL").arg(key)).await.unwrap();
    assert!(lives > 86_000_000, "{lives}");
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_key_of_another_type_concerns_its_client_alone() {
    let redis = Redis::start();
    let limit =
        || RateLimit::new(Policy::new("p", Quota::new(1000, HOUR))).concurrency(2).count_failures();
    let deny = |limits: SharedLimits| slow(limits).while_unreachable(WhileUnreachable::Deny);
    let server = Server::new(&redis, limit(), deny);
    for round in 0..8 {
        // Charges, blocks and slots, each with a value of another type.
        for suffix in ["p", ":#block", ":#slots"] {
            let key = format!("limit:test:{{192.0.2.1}}:{suffix}");
            let _: () = redis.ask(redis::cmd("DEL").arg(&key)).await.unwrap();
            let list = round % 2 == 0;
            let mut put = redis::cmd(if list { "LPUSH" } else { "SET" });
            let _: () = redis.ask(put.arg(&key).arg("x")).await.unwrap();
        }
        for request in [request(ALICE), request("192.0.2.2")] {
            let response = server.service.handle(request).await;
            assert_eq!(response.status(), 200, "round {round}");
            // While the request is in flight, another program writes the keys again.
            for suffix in ["p", ":#slots"] {
                let key = format!("limit:test:{{192.0.2.1}}:{suffix}");
                let _: () = redis.ask(redis::cmd("DEL").arg(&key)).await.unwrap();
                let _: () = redis.ask(redis::cmd("LPUSH").arg(&key).arg("x")).await.unwrap();
            }
        }
    }
    // The limiter never considered Redis unreachable.
    for client in 3..20 {
        let response = server.service.handle(request(&format!("192.0.2.{client}"))).await;
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn slots_live_as_long_as_the_server_that_took_them_set() {
    let redis = Redis::start();
    let limit = || RateLimit::per_client(1000).every(HOUR).concurrency(9);
    let lives = |seconds: u64| {
        move |limits: SharedLimits| slow(limits).longest_request(Duration::from_secs(seconds))
    };
    let (long, short) =
        (Server::new(&redis, limit(), lives(3000)), Server::new(&redis, limit(), lives(2)));
    let held = long.service.handle(request(ALICE)).await;
    let also = short.service.handle(request(ALICE)).await;
    assert_eq!([held.status(), also.status()], [StatusCode::OK; 2]);
    let key = redis.keys().await.unwrap().into_iter().find(|key| key.ends_with("#slots")).unwrap();
    let lives: u64 = redis.ask(redis::cmd("PTTL").arg(key)).await.unwrap();
    assert!(lives > 2_900_000, "{lives}");
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn after_the_clock_was_set_back_a_key_is_charged_for_no_longer_than_before() {
    let redis = Redis::start();
    let server = Server::new(&redis, RateLimit::new(Policy::new("p", Quota::per_minute(60))), slow);
    assert_eq!(exports(&Server::new(&redis, tiers(), slow), 10).await, 10);
    assert!(server.handle.block("192.0.2.2".parse::<IpAddr>().unwrap(), 10 * HOUR).await);
    let year: u64 = 365 * 24 * 3600 * 1_000_000;
    for (client, key, seconds) in [
        (ALICE, "limit:test:{192.0.2.1}:p", 86_400),
        ("192.0.2.2", "limit:test:{192.0.2.2}::#block", 36_000),
    ] {
        let value: String = redis.ask(redis::cmd("GET").arg(key)).await.unwrap();
        let (till, rest) = value.split_at(16);
        let ahead = format!("{}{rest}", till.parse::<u64>().unwrap() + year);
        let _: () = redis.ask(redis::cmd("SET").arg(key).arg(ahead)).await.unwrap();
        // A server that has not seen the client.
        let mut export = request(client);
        export.headers_mut().insert("export", http::HeaderValue::from_static("1"));
        let refused = Server::new(&redis, tiers(), slow).service.handle(export).await;
        assert_eq!(refused.status(), 429);
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        // The block ends with its whole time; of the day, one request must come back.
        let least = if client == ALICE { seconds / 10 } else { seconds };
        assert!((least - 100..=least + seconds * 4 / 100 + 1).contains(&wait), "{wait}");
        // From then on the quota refills.
        let value: String = redis.ask(redis::cmd("GET").arg(key)).await.unwrap();
        let now: Vec<u64> = redis.ask(&redis::cmd("TIME")).await.unwrap();
        let till: u64 = value[..16].parse().unwrap();
        assert!(till / 1_000_000 < now[0] + seconds * 105 / 100, "{value}");
        let lives: u64 = redis.ask(redis::cmd("PTTL").arg(key)).await.unwrap();
        assert!(lives / 1000 < seconds * 105 / 100, "{lives}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_killed_store_is_answered_as_the_mode_says() {
    for (mode, known, fresh) in [
        (WhileUnreachable::Local { servers: 2 }, 429, StatusCode::OK),
        (WhileUnreachable::Allow, 429, StatusCode::OK),
        (WhileUnreachable::Deny, 429, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let mut redis = Redis::start();
        let limit = RateLimit::per_client(10).every(HOUR);
        let set = |limits: SharedLimits| slow(limits).while_unreachable(mode);
        let server = Server::new(&redis, limit, set);
        assert_eq!(server.admitted(15).await, 10);
        redis.kill();
        // A client that was known to be refused is still refused.
        assert_eq!(server.status().await, known, "{mode:?}");
        let mut admitted = 0;
        for _ in 0..20 {
            let response = server.service.handle(request("192.0.2.9")).await;
            admitted += usize::from(response.status() == StatusCode::OK);
        }
        assert_eq!(
            admitted,
            match mode {
                WhileUnreachable::Local { .. } => 5, // its share
                WhileUnreachable::Allow => 20,
                _ => 0,
            },
            "{mode:?}"
        );
        assert_eq!(server.service.handle(request("192.0.2.10")).await.status(), fresh, "{mode:?}");

        // Back within a second of its return.
        let port = redis.port;
        drop(redis);
        let redis = Redis::start_on(port);
        let back = Instant::now();
        for client in 0_u16.. {
            if redis.keys().await.unwrap().iter().any(|key| key.contains("198.51.100")) {
                break;
            }
            assert!(back.elapsed() < Duration::from_secs(1), "{mode:?}: not used again");
            server.service.handle(request(&format!("198.51.100.{}", client % 256))).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_hung_store_costs_no_more_than_the_deadline() {
    let redis = Redis::start();
    let limit = RateLimit::per_client(1000).every(HOUR);
    let server = Server::new(&redis, limit, |limits| limits.deadline(Duration::from_millis(50)));
    assert_eq!(server.status().await, 200);
    redis.signal("-STOP");
    let mut times = Vec::new();
    for client in 0..40 {
        let start = Instant::now();
        let answer = server.service.handle(request(&format!("198.51.100.{client}"))).await;
        assert_eq!(answer.status(), 200);
        times.push(start.elapsed());
    }
    redis.signal("-CONT");
    // Five requests wait for it, then none does. The tolerance is for other programs on the machine.
    let waited = times.iter().filter(|time| **time >= Duration::from_millis(45)).count();
    assert!((5..=7).contains(&waited), "{times:?}");
    times.sort();
    assert!(times[20] < Duration::from_millis(2), "{times:?}");
    assert!(times[38] < Duration::from_millis(80), "{times:?}");
    let back = Instant::now();
    while !redis.keys().await.unwrap().iter().any(|key| key.contains("203.0.113")) {
        assert!(back.elapsed() < Duration::from_secs(1), "not used again");
        let client = 1 + back.elapsed().as_millis() % 250;
        server.service.handle(request(&format!("203.0.113.{client}"))).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn what_was_admitted_without_the_store_is_admitted_by_nobody_again() {
    for dies in [false, true] {
        let mut redis = Redis::start();
        let limit = RateLimit::per_client(20).every(240 * HOUR);
        let set = |limits: SharedLimits| {
            let mode = WhileUnreachable::Local { servers: 2 };
            limits.deadline(Duration::from_millis(300)).while_unreachable(mode)
        };
        let one = Server::new(&redis, limit.clone(), set);
        let other = Server::new(&redis, limit, set);
        if dies {
            redis.kill();
        } else {
            redis.signal("-STOP");
        }
        // Each admits its half.
        assert_eq!([one.admitted(30).await, other.admitted(30).await], [10, 10]);
        if dies {
            let port = redis.port;
            drop(redis);
            redis = Redis::start_on(port);
        } else {
            redis.signal("-CONT");
        }
        let alice: IpAddr = ALICE.parse().unwrap();
        until("the store is not told", async || {
            assert_eq!([one.status().await, other.status().await], [429, 429]);
            let third = Server::new(&redis, RateLimit::per_client(20).every(240 * HOUR), slow);
            third.handle.peek(alice).await[0].remaining() == 0
        })
        .await;
        assert_eq!([one.status().await, other.status().await], [429, 429]);
        // Every key expires.
        for key in redis.keys().await.unwrap() {
            let left: i64 = redis.ask(redis::cmd("PTTL").arg(&key)).await.unwrap();
            assert!(left != -1, "{key} lives forever");
        }
    }
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn the_documented_commands_and_keys_are_enough() {
    let redis = Redis::start();
    let mut account = redis::cmd("ACL");
    account.arg("SETUSER").arg("api").arg("on").arg(">secret");
    account.arg("resetkeys").arg("~limit:*").arg("~{limit:*").arg("resetchannels").arg("-@all");
    for command in [
        "eval",
        "evalsha",
        "zrem",
        "del",
        "time",
        "hello",
        "get",
        "mget",
        "set",
        "zremrangebyscore",
        "zcard",
        "zadd",
        "zrange",
        "pttl",
        "pexpire",
    ] {
        account.arg(format!("+{command}"));
    }
    let _: () = redis.ask(&account).await.unwrap();
    let url = redis.url().replace("redis://", "redis://api:secret@");
    let deny = |limits: SharedLimits| slow(limits).while_unreachable(WhileUnreachable::Deny);
    let spread = RateLimit::new(Policy::new("p", Quota::new(9, HOUR))).concurrency(2);
    let spread = spread.queue(SlotQueue::new(Duration::from_secs(9)));
    let account = LimitKey::from_fn(|_| Some("account"));
    let hashed = RateLimit::new(Policy::new("p", Quota::new(9, HOUR)).key(account));
    let alice: IpAddr = ALICE.parse().unwrap();
    for (limit, subject) in
        [(spread.count_failures(), Subject::from(alice)), (hashed, Subject::from("account"))]
    {
        let limits = deny(SharedLimits::new(RedisStore::new(&url).unwrap()));
        let limit = limit.max_keys(10_000).shared("api", limits);
        let handle: PolicyHandle = limit.handle().policies().unwrap();
        let service = Chain::new().use_(limit).get(async || "hello").build();
        assert_eq!(service.handle(request(ALICE)).await.status(), 200);
        assert!(handle.block(subject.clone(), HOUR).await);
        assert_eq!(service.handle(request(ALICE)).await.status(), 429);
        assert!(handle.reset(subject).await);
        assert!(handle.limiter().set_quota("p", Quota::new(5, HOUR)));
        // Quotas, slots and refunds are sent in the background, and failures of them would be counted.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(service.handle(request(ALICE)).await.status(), 200);
        assert!(handle.limiter().restore_quota("p").await);
    }
    // The crate `redis` also sends `CLIENT SETINFO`, which Redis has from version 7.2 on.
    let denied: Vec<redis::Value> = redis.ask(redis::cmd("ACL").arg("LOG")).await.unwrap();
    assert!(denied.iter().all(|entry| format!("{entry:?}").contains("client")), "{denied:?}");
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn the_store_decides_as_the_memory_does() {
    let redis = Redis::start();
    // A period so long that the quota doesn't refill during the test.
    let quota = Quota::new(1000, 240 * HOUR).burst(20);
    let policy = || {
        Policy::new("p", quota).cost_by(|req| {
            req.headers().get("cost").map_or(1, |cost| cost.to_str().unwrap().parse().unwrap())
        })
    };
    let server = Server::new(&redis, RateLimit::new(policy()), slow);
    let local = Chain::new()
        .use_(RateLimit::new(policy()).clock(LimitClock::fake()))
        .get(async || "hello")
        .build();
    for cost in [3, 7, 11, 9, 2, 21, 1, 0, 5, 1] {
        let ask = || {
            let mut req = request(ALICE);
            req.headers_mut().insert("cost", cost.into());
            req
        };
        let (ours, theirs) = (local.handle(ask()).await, server.service.handle(ask()).await);
        assert_eq!(ours.status(), theirs.status(), "{cost}");
        let remaining = |headers: &http::HeaderMap| {
            headers["ratelimit"].to_str().unwrap().split(';').nth(1).map(str::to_owned)
        };
        assert_eq!(remaining(ours.headers()), remaining(theirs.headers()), "{cost}");
    }
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn several_policies_and_costs_are_paid_for_in_advance_together() {
    let redis = Redis::start();
    let limit = RateLimit::new(Policy::new("small", Quota::new(100, 240 * HOUR)).cost(2))
        .and(Policy::new("large", Quota::new(1000, 240 * HOUR)).cost(3));
    let lease = |limits: SharedLimits| slow(limits).lease(1000);
    let servers: Vec<_> = (0..2).map(|_| Server::new(&redis, limit.clone(), lease)).collect();
    let mut admitted = 0;
    for _ in 0..60 {
        for server in &servers {
            admitted += usize::from(server.status().await == 200);
        }
    }
    // A lease that both policies allow, a twentieth of the smaller one: two requests, plus the request itself.
    assert_eq!(admitted, 50);
    let calls = redis.calls().await;
    assert!((16..=22).contains(&calls), "{calls} calls");
    let alice: IpAddr = ALICE.parse().unwrap();
    let left: Vec<_> = servers[0].handle.peek(alice).await.iter().map(|s| s.remaining()).collect();
    assert_eq!(left, [0, 850]);
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_block_holds_on_all_servers_until_it_is_lifted() {
    let redis = Redis::start();
    let clock = LimitClock::fake();
    let limit = RateLimit::per_client(1).every(HOUR).penalty(Quota::new(2, HOUR), 10 * HOUR);
    let limit = limit.clock(clock.clone());
    let (one, other) = (Server::new(&redis, limit.clone(), slow), Server::new(&redis, limit, slow));
    let alice: IpAddr = ALICE.parse().unwrap();
    assert_eq!([one.status().await, one.status().await], [200, 429]);
    assert_eq!(other.handle.blocked_for(alice).await, None);
    assert_eq!([one.status().await, one.status().await], [429, 429]);
    // The block is sent to the store in the background.
    until("the block does not arrive", async || other.handle.blocked_for(alice).await.is_some())
        .await;
    for server in [&one, &other] {
        let refused = server.service.handle(request(ALICE)).await;
        assert_eq!(refused.status(), 429);
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((35_900..=36_000).contains(&wait), "{wait}");
    }
    // Known to be blocked: no call.
    let calls = redis.calls().await;
    assert_eq!([one.status().await, other.status().await], [429, 429]);
    assert_eq!(redis.calls().await, calls);
    // Lifted on one server, and received by the other a second later.
    assert!(one.handle.reset(alice).await);
    assert_eq!(one.status().await, 200);
    clock.advance(Duration::from_secs(1));
    assert_eq!(other.status().await, 429); // its only request was made
    assert_eq!(other.handle.blocked_for(alice).await, None);
    assert!(other.handle.block(alice, HOUR).await);
    assert!(one.handle.blocked_for(alice).await.is_some_and(|time| time <= HOUR));
    assert!(one.handle.block(alice, Duration::ZERO).await);
    assert_eq!(other.handle.blocked_for(alice).await, None);
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_refusal_is_repeated_without_asking_for_a_second() {
    let redis = Redis::start();
    let clock = LimitClock::fake();
    let limit = RateLimit::per_client(1).every(HOUR).clock(clock.clone());
    let (one, other) = (Server::new(&redis, limit.clone(), slow), Server::new(&redis, limit, slow));
    assert_eq!([one.status().await, other.status().await], [200, 429]);
    let calls = redis.calls().await;
    assert!(one.handle.reset(ALICE.parse::<IpAddr>().unwrap()).await);
    clock.advance(Duration::from_millis(999));
    assert_eq!(other.status().await, 429);
    assert_eq!(redis.calls().await, calls);
    clock.advance(Duration::from_millis(1));
    assert_eq!(other.status().await, 200);
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn requests_under_way_are_counted_on_all_servers() {
    let redis = Redis::start();
    let limit = || RateLimit::per_client(1000).every(HOUR).concurrency(2);
    let short = |limits: SharedLimits| slow(limits).longest_request(Duration::from_millis(300));
    let (one, other) = (Server::new(&redis, limit(), slow), Server::new(&redis, limit(), slow));
    let first = one.service.handle(request(ALICE)).await;
    let second = other.service.handle(request(ALICE)).await;
    assert_eq!([first.status(), second.status()], [StatusCode::OK; 2]);
    for server in [&one, &other] {
        let busy = server.service.handle(request(ALICE)).await;
        assert_eq!(
            (busy.status().as_u16(), &busy.headers()["retry-after"]),
            (429, &"1".parse().unwrap())
        );
        assert_eq!(server.service.handle(request("192.0.2.2")).await.status(), 200);
    }
    drop(first);
    until("the slot does not come back", async || other.status().await == 200).await;
    drop(second);
    until("all slots come back", async || {
        redis.keys().await.unwrap().iter().all(|key| !key.ends_with("#slots"))
    })
    .await;
    // Slots of a server that crashed expire: the runtime that would renew them is gone.
    let client = "192.0.2.3";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dead = Server::new(&redis, limit(), short);
    let crashed = runtime.spawn(async move {
        for _ in 0..2 {
            std::mem::forget(dead.service.handle(request(client)).await);
        }
    });
    crashed.await.unwrap();
    runtime.shutdown_background();
    assert_eq!(one.service.handle(request(client)).await.status(), 429);
    until("the slots of the dead stay taken", async || {
        one.service.handle(request(client)).await.status() == 200
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn requests_of_several_servers_wait_in_one_line() {
    let redis = Redis::start();
    let limit = RateLimit::new(Quota::new(20, Duration::from_secs(1)).burst(1))
        .delay(Duration::from_millis(200));
    let (one, other) = (Server::new(&redis, limit.clone(), slow), Server::new(&redis, limit, slow));
    let start = Instant::now();
    let all = (0..8).map(|at| if at % 2 == 0 { one.status() } else { other.status() });
    let statuses = futures_util::future::join_all(all).await;
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    // One immediately and four after a delay, plus the quota that refilled during the call.
    assert!((5..=7).contains(&admitted), "{statuses:?}");
    assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
}

/// A server whose store is a cluster.
async fn clustered(
    cluster: &Cluster,
    limit: RateLimit,
    set: impl FnOnce(SharedLimits) -> SharedLimits,
) -> Server {
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let connection = client.get_async_connection().await.unwrap();
    let limits = set(SharedLimits::new(RedisStore::with_connection(connection)));
    let limit = limit.max_keys(10_000).shared("test", limits);
    let handle = limit.handle().policies().unwrap();
    Server { service: Chain::new().use_(limit).get(async || "hello").build(), handle }
}

async fn admitted(server: &Server, client: &str, requests: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        let status = server.service.handle(request(client)).await.status();
        assert!(status == 200 || status == 429, "{client}: {status}");
        admitted += usize::from(status == 200);
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_cluster_decides_each_request_on_one_node_in_one_call() {
    let cluster = Cluster::start().await;
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let limit = names.iter().fold(RateLimit::new(Quota::new(3, HOUR)), |limit, name| {
        limit.and(Policy::new(*name, Quota::new(1000, HOUR)))
    });
    let limit = limit.key(LimitKey::client().ipv6_hierarchy()).concurrency(9);
    let set = |limits: SharedLimits| slow(limits).while_unreachable(WhileUnreachable::Deny);
    let one = clustered(&cluster, limit.clone(), set).await;
    let other = clustered(&cluster, limit, set).await;
    let clients: Vec<_> = (0..30)
        .map(|at| if at % 2 == 0 { format!("192.0.2.{at}") } else { format!("2001:db8:{at}::1") })
        .collect();
    for client in &clients {
        assert_eq!(
            admitted(&one, client, 2).await + admitted(&other, client, 9).await,
            3,
            "{client}"
        );
    }
    let mut slots = std::collections::HashMap::new();
    let mut calls = 0;
    for node in &cluster.nodes {
        let keys = node.keys().await.unwrap();
        assert!(!keys.is_empty(), "a node has nothing to do");
        for key in keys {
            let slot: u64 = node.ask(redis::cmd("CLUSTER").arg("KEYSLOT").arg(&key)).await.unwrap();
            let (_, tag) = key.split_once('{').unwrap();
            let tag = tag.split_once('}').unwrap().0.to_owned();
            assert_eq!(*slots.entry(tag).or_insert(slot), slot, "{key}");
        }
        calls += node.calls().await;
    }
    assert_eq!(slots.len(), clients.len());
    // After the last charge both servers know that the next one would be refused.
    assert_eq!(calls, clients.len() as u64 * 3);
    // The charges of one request are refunded on the nodes where they were made.
    let client: IpAddr = clients[1].parse().unwrap();
    assert!(one.handle.reset(client).await);
    assert!(other.handle.peek(client).await.iter().all(|s| s.remaining() == s.limit()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_node_that_dies_takes_its_own_clients_alone() {
    let mut cluster = Cluster::start().await;
    let limit = RateLimit::per_client(10).every(HOUR);
    let mode = WhileUnreachable::Local { servers: 2 };
    let deadline = Duration::from_secs(1);
    let set = |limits: SharedLimits| limits.while_unreachable(mode).deadline(deadline);
    let one = clustered(&cluster, limit.clone(), set).await;
    let other = clustered(&cluster, limit, set).await;
    let clients: Vec<_> = (0..24).map(|at| format!("192.0.2.{at}")).collect();
    for client in &clients {
        assert_eq!(admitted(&one, client, 2).await, 2);
    }
    let held = cluster.nodes[0].keys().await.unwrap();
    let (lost, kept): (Vec<_>, Vec<_>) = clients
        .iter()
        .partition(|client| held.iter().any(|key| key.contains(&format!("{{{client}}}"))));
    assert!(!lost.is_empty() && !kept.is_empty());
    cluster.nodes[0].kill();
    // The other nodes continue to count.
    for client in kept {
        let sum = admitted(&one, client, 9).await + admitted(&other, client, 9).await;
        assert_eq!(sum, 8, "{client}");
    }
    // Each server admits its half, minus the requests that it knows of: a fifth, and none. No request waits longer than the deadline.
    for client in lost {
        for (server, left) in [(&one, 4), (&other, 5)] {
            let start = Instant::now();
            let sum = admitted(server, client, 9).await;
            assert!(sum == left, "{client}: {sum} of {left}");
            assert!(start.elapsed() < 9 * Duration::from_millis(350));
        }
    }
}
