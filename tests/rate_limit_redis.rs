//! Limiters that share a real Redis. Each test starts its own `redis-server` on a free port.
//!
//! Where none is installed the tests say so and pass; with `TOWER_CHAIN_NEEDS_REDIS` set they fail instead.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, reason = "what fails in a test should stop it")]

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::StatusCode;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::RedisStore;
use tower_chain::{
    Body, Chain, ChainService, LimitClock, LimitKey, Policy, Quota, RateLimit, RateLimitHandle,
    Request, SharedLimits, WhileAway,
};

const HOUR: Duration = Duration::from_secs(3600);
const ALICE: &str = "192.0.2.1";

/// A server of one's own, which ends with the test.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    async fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port).await
    }

    async fn start_on(port: u16) -> Option<Self> {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                assert!(
                    std::env::var_os("TOWER_CHAIN_NEEDS_REDIS").is_none(),
                    "redis-server is not installed"
                );
                eprintln!("SKIPPED: redis-server is not installed, nothing was tested");
                return None;
            }
            Err(error) => panic!("redis-server: {error}"),
        };
        let redis = Self { child, port };
        let start = Instant::now();
        while redis.ask::<String>(&redis::cmd("PING")).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(redis)
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    }

    /// How often the script was run.
    async fn calls(&self) -> u64 {
        let info: String = self.ask(redis::cmd("INFO").arg("commandstats")).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server of ours: its limiter, behind a chain.
struct Server {
    service: ChainService,
    handle: RateLimitHandle,
}

impl Server {
    fn new(
        redis: &Redis,
        limit: RateLimit,
        set: impl FnOnce(SharedLimits) -> SharedLimits,
    ) -> Self {
        let limits = set(SharedLimits::new(RedisStore::new(&redis.url()).unwrap()));
        let limit = limit.shared(limits);
        let handle = limit.handle();
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
    // What is tested is not how busy this machine is.
    limits.deadline(Duration::from_secs(5))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_servers_admit_the_quota_together() {
    let Some(redis) = Redis::start().await else { return };
    let servers: Vec<_> =
        (0..5).map(|_| Server::new(&redis, RateLimit::per_client(100).every(HOUR), slow)).collect();
    let admitted = futures_util::future::join_all(servers.iter().map(|s| s.admitted(60))).await;
    assert_eq!(admitted.iter().sum::<usize>(), 100, "{admitted:?}");
    for server in &servers {
        assert_eq!(server.status().await, 429);
    }
}

#[tokio::test]
async fn a_check_is_one_call_and_a_known_refusal_is_none() {
    let Some(redis) = Redis::start().await else { return };
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
    // A script that was forgotten is loaded again.
    let _: () = redis.ask(redis::cmd("SCRIPT").arg("FLUSH")).await.unwrap();
    let other = Server::new(&redis, RateLimit::new(Quota::new(10, HOUR)), slow);
    assert_eq!(other.status().await, 429);
}

#[tokio::test]
async fn what_is_paid_for_in_advance_needs_no_call_and_never_exceeds_the_quota() {
    let Some(redis) = Redis::start().await else { return };
    let limit = RateLimit::per_client(200).every(240 * HOUR);
    let lease = |limits: SharedLimits| slow(limits).lease(1000);
    let servers: Vec<_> = (0..3).map(|_| Server::new(&redis, limit.clone(), lease)).collect();
    let mut admitted = 0;
    for _ in 0..100 {
        for server in &servers {
            admitted += usize::from(server.status().await == 200);
        }
    }
    // A twentieth of the burst at a time, and one for the request that asks.
    let calls = redis.calls().await;
    assert!((18..=30).contains(&calls), "{calls} calls");
    assert_eq!(admitted, 200);
    for server in &servers {
        assert_eq!(server.status().await, 429);
    }
}

#[tokio::test]
async fn a_refusal_by_one_policy_charges_none() {
    let Some(redis) = Redis::start().await else { return };
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
async fn keys_are_tagged_hidden_and_mortal() {
    let Some(redis) = Redis::start().await else { return };
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
    assert_eq!(keys[0], "limit:{192.0.2.1}:q");
    assert_eq!(keys[1], "{api}:p:0:192.0.2.1");
    assert!(keys[2].starts_with("{api}:t:0:") && !keys[2].contains("secret"), "{keys:?}");
    for key in &keys {
        let left: i64 = redis.ask(redis::cmd("PTTL").arg(key)).await.unwrap();
        assert!((1..=720_000).contains(&left), "{key} lives for {left} ms");
        let bytes: u64 = redis.ask(redis::cmd("MEMORY").arg("USAGE").arg(key)).await.unwrap();
        assert!(bytes <= 140, "{key} takes {bytes} bytes");
    }
}

#[tokio::test]
async fn charges_are_given_back_everywhere() {
    let Some(redis) = Redis::start().await else { return };
    let limit = RateLimit::per_client(5).every(HOUR).count_failures();
    let (one, other) = (Server::new(&redis, limit.clone(), slow), Server::new(&redis, limit, slow));
    for _ in 0..20 {
        assert_eq!(one.status().await, 200);
        // The charge is given back without anybody waiting for it.
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
async fn a_clock_that_was_set_back_refuses_for_one_period_at_most() {
    let Some(redis) = Redis::start().await else { return };
    let server = Server::new(&redis, RateLimit::per_client(2).every(Duration::from_secs(60)), slow);
    // As if it had been charged while the clock of the store was a year ahead.
    let now: Vec<u64> = redis.ask(&redis::cmd("TIME")).await.unwrap();
    let ahead = (now[0] + 365 * 24 * 3600) * 1_000_000;
    let _: () =
        redis.ask(redis::cmd("SET").arg("limit:{192.0.2.1}:2-in-1min").arg(ahead)).await.unwrap();
    let refused = server.service.handle(request(ALICE)).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((29..=30).contains(&wait), "{wait}");
    // And what isn't a number at all says nothing.
    let _: () =
        redis.ask(redis::cmd("SET").arg("limit:{192.0.2.2}:2-in-1min").arg("x")).await.unwrap();
    assert_eq!(server.service.handle(request("192.0.2.2")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_store_is_answered_as_the_mode_says() {
    for (mode, known, fresh) in [
        (WhileAway::Local { servers: 2 }, 429, StatusCode::OK),
        (WhileAway::Allow, 429, StatusCode::OK),
        (WhileAway::Deny, 429, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let Some(mut redis) = Redis::start().await else { return };
        let limit = RateLimit::per_client(10).every(HOUR);
        let set =
            |limits: SharedLimits| limits.deadline(Duration::from_millis(300)).while_away(mode);
        let server = Server::new(&redis, limit, set);
        assert_eq!(server.admitted(15).await, 10);
        redis.kill();
        // Who was known to be refused is refused on.
        assert_eq!(server.status().await, known, "{mode:?}");
        let mut admitted = 0;
        for _ in 0..20 {
            let response = server.service.handle(request("192.0.2.9")).await;
            admitted += usize::from(response.status() == StatusCode::OK);
        }
        assert_eq!(
            admitted,
            match mode {
                WhileAway::Local { .. } => 5, // its share
                WhileAway::Allow => 20,
                _ => 0,
            },
            "{mode:?}"
        );
        assert_eq!(server.service.handle(request("192.0.2.10")).await.status(), fresh, "{mode:?}");

        // Back within a second of its return.
        let port = redis.port;
        drop(redis);
        let redis = Redis::start_on(port).await.unwrap();
        let back = Instant::now();
        for client in 0_u16.. {
            if redis.calls().await > 0 {
                break;
            }
            assert!(back.elapsed() < Duration::from_secs(1), "{mode:?}: not used again");
            server.service.handle(request(&format!("198.51.100.{}", client % 256))).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_store_costs_no_more_than_the_deadline() {
    let Some(redis) = Redis::start().await else { return };
    let limit = RateLimit::per_client(1000).every(HOUR);
    let server = Server::new(&redis, limit, |limits| limits.deadline(Duration::from_millis(50)));
    assert_eq!(server.status().await, 200);
    redis.signal("-STOP");
    let mut times = Vec::new();
    for _ in 0..40 {
        let start = Instant::now();
        assert_eq!(server.status().await, 200);
        times.push(start.elapsed());
    }
    redis.signal("-CONT");
    // Five wait for it, then nobody does. The slack is for other programs on the machine.
    let waited = times.iter().filter(|time| **time >= Duration::from_millis(45)).count();
    assert!((5..=7).contains(&waited), "{times:?}");
    times.sort();
    assert!(times[20] < Duration::from_millis(2), "{times:?}");
    assert!(times[38] < Duration::from_millis(80), "{times:?}");
    let (before, back) = (redis.calls().await, Instant::now());
    while redis.calls().await == before {
        assert!(back.elapsed() < Duration::from_secs(1), "not used again");
        server.status().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_store_decides_as_the_memory_does() {
    let Some(redis) = Redis::start().await else { return };
    // A period so long that no request comes back during the test.
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
