//! Limiters whose Redis is late, far, stalled, full, read-only, restarted or replaced.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tower_chain::RateLimit;
use tower_chain::middleware::rate_limit::{
    Policy, PolicyHandle, Quota, RedisStore, SharedLimits, WhileUnreachable,
};

use crate::support::ports::free_port;
use crate::support::proxy::Proxy;
use crate::support::redis_server::{Redis, Sentinels, until};

const HOUR: Duration = Duration::from_secs(3600);

fn alice() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn client(number: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, number])
}

/// A quota that does not come back during a test.
fn quota(limit: u32) -> RateLimit {
    RateLimit::new(Policy::new("p", Quota::new(limit, 10_000 * HOUR)))
}

fn server(
    url: &str,
    limit: RateLimit,
    set: impl FnOnce(SharedLimits) -> SharedLimits,
) -> PolicyHandle<IpAddr> {
    let limits = set(SharedLimits::new(RedisStore::new(url).unwrap()));
    limit.max_keys(10_000).shared("test", limits).handle().policies().unwrap()
}

fn mode(mode: WhileUnreachable) -> impl Fn(SharedLimits) -> SharedLimits {
    move |limits| limits.while_unreachable(mode)
}

async fn admitted(server: &PolicyHandle<IpAddr>, requests: usize, pause: Duration) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        admitted += usize::from(server.admit(alice(), 1).await.is_ok());
        tokio::time::sleep(pause).await;
    }
    admitted
}

/// Whether the limiters decide together: whether Redis has a key of a client that was not there before.
async fn is_used(redis: &Redis, server: &PolicyHandle<IpAddr>, number: u8) -> bool {
    let _ = server.admit(client(number), 1).await;
    let name = client(number).to_string();
    // A server that changes its role closes its connections.
    redis.keys().await.is_ok_and(|keys| keys.iter().any(|key| key.contains(&name)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn nothing_is_admitted_twice_although_responses_are_late() {
    for servers in [1, 4] {
        let redis = Redis::start();
        let proxy = Proxy::start(redis.port).await;
        proxy.delay_every(3, Duration::from_millis(80));
        let set = mode(WhileUnreachable::Local { servers });
        let all: Vec<_> = (0..4).map(|_| server(&proxy.url(), quota(1000), &set)).collect();
        let pause = Duration::from_millis(1);
        let each = all.iter().flat_map(|server| [server; 4]);
        let admitted: usize =
            join_all(each.map(|server| admitted(server, 130, pause))).await.iter().sum();
        assert_eq!(admitted, 1000, "{servers}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_store_that_is_far_is_used_again_after_a_stall() {
    let redis = Redis::start();
    let proxy = Proxy::start(redis.port).await;
    proxy.delay_each_way(Duration::from_millis(20));
    let server = server(&proxy.url(), quota(100_000), |limits| limits);
    until("the store is not used", async || is_used(&redis, &server, 1).await).await;
    proxy.stall(true);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        let _ = server.admit(alice(), 1).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.stall(false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(is_used(&redis, &server, 2).await);
    assert!(proxy.connections() <= 3, "{} connections", proxy.connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_store_that_fails_every_decision_gets_no_flood_of_connections() {
    let full: &[&str] = &["--maxmemory", "1", "--maxmemory-policy", "noeviction"];
    let absent = free_port().to_string();
    let replica: &[&str] = &["--replicaof", "127.0.0.1", &absent];
    for (name, args, most) in [("full", full, 40), ("read-only", replica, 40 * 4)] {
        for shares in [true, false] {
            let redis = Redis::start_with(free_port(), args);
            let shared = || SharedLimits::new(RedisStore::new(&redis.url()).unwrap());
            let one = shared();
            let servers: Vec<_> = (0..40)
                .map(|at| {
                    let limits = if shares { one.clone() } else { shared() };
                    let limit = RateLimit::new(Policy::new(format!("p{at}"), Quota::new(99, HOUR)));
                    let limit = limit.max_keys(1000).shared(&format!("p{at}"), limits);
                    limit.handle().policies::<IpAddr>().unwrap()
                })
                .collect();
            let before = redis.connections().await;
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(2500) {
                for server in &servers {
                    assert!(
                        server.admit(client(start.elapsed().as_millis() as u8), 1).await.is_ok()
                    );
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let opened = redis.connections().await - before;
            let most = if shares { most / 40 } else { most };
            // One more for each question of this test.
            assert!(opened <= most + 1, "{name}, shared: {shares}: {opened} connections");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_store_that_was_full_or_read_only_is_used_again_and_receives_what_was_admitted() {
    for full in [true, false] {
        let absent = free_port().to_string();
        let args: &[&str] = if full {
            &["--maxmemory", "1", "--maxmemory-policy", "noeviction"]
        } else {
            &["--replicaof", "127.0.0.1", &absent]
        };
        let redis = Redis::start_with(free_port(), args);
        let server = server(&redis.url(), quota(20), |limits| limits);
        assert_eq!(admitted(&server, 12, Duration::ZERO).await, 12);
        let mut heal = redis::cmd(if full { "CONFIG" } else { "REPLICAOF" });
        match full {
            true => heal.arg("SET").arg("maxmemory").arg("0"),
            false => heal.arg("NO").arg("ONE"),
        };
        let _: () = redis.ask(&heal).await.unwrap();
        until("the store does not receive the charges", async || {
            let other = self::server(&redis.url(), quota(20), |limits| {
                limits.deadline(Duration::from_secs(5))
            });
            other.peek(alice()).await[0].remaining() == 8
        })
        .await;
        assert_eq!(admitted(&server, 12, Duration::ZERO).await, 8);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_store_that_flaps_admits_at_most_twice_the_quota_and_each_request_is_charged() {
    let redis = Redis::start();
    let servers = 3;
    let set = mode(WhileUnreachable::Local { servers });
    let all: Vec<_> = (0..servers).map(|_| server(&redis.url(), quota(600), &set)).collect();
    let flap = async {
        for _ in 0..6 {
            redis.signal("-STOP");
            tokio::time::sleep(Duration::from_millis(400)).await;
            redis.signal("-CONT");
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    };
    let requests = join_all(all.iter().map(|s| admitted(s, 700, Duration::from_millis(5))));
    let (counts, ()) = tokio::join!(requests, flap);
    let sum: usize = counts.iter().sum();
    assert!((600..=1200).contains(&sum), "{counts:?}");
    until("not every request is charged", async || {
        let other =
            server(&redis.url(), quota(600), |limits| limits.deadline(Duration::from_secs(5)));
        let standing = &other.peek(alice()).await[0];
        standing.remaining() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_sentinel_finds_the_new_master_after_a_failover() {
    for demoted in [false, true] {
        let mut redis = Sentinels::start().await;
        let urls = redis.urls();
        let store = RedisStore::sentinel(
            "redis://mymaster/0",
            // A sentinel that is gone is skipped.
            std::iter::once("redis://127.0.0.1:1/").chain(urls.iter().map(String::as_str)),
        );
        let limits = SharedLimits::new(store.unwrap());
        let server = quota(100).max_keys(10_000).shared("test", limits).handle();
        let server = server.policies::<IpAddr>().unwrap();
        until("the store is not used", async || is_used(&redis.master, &server, 1).await).await;
        assert_eq!(admitted(&server, 10, Duration::from_millis(1)).await, 10);
        if demoted {
            // The old master stays reachable, as a replica that refuses writes.
            let sentinel = redis::Client::open(urls[0].as_str()).unwrap();
            let mut connection = sentinel.get_multiplexed_async_connection().await.unwrap();
            let mut failover = redis::cmd("SENTINEL");
            let failover = failover.arg("FAILOVER").arg("mymaster");
            let _: () = failover.query_async(&mut connection).await.unwrap();
        } else {
            redis.master.kill();
        }
        let promoted = &redis.replica;
        until("the new master is not used", async || {
            let _ = server.admit(alice(), 0).await;
            is_used(promoted, &server, 2).await
                && promoted
                    .ask::<String>(redis::cmd("INFO").arg("replication"))
                    .await
                    .is_ok_and(|info| info.contains("role:master"))
        })
        .await;
        // The charges before the failover were replicated.
        until("the charges are lost", async || {
            (85..=90).contains(&server.peek(alice()).await[0].remaining())
        })
        .await;
    }
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_quota_with_a_window_starts_with_the_used_fraction_and_a_refund_does_not_move_its_end() {
    let quotas = [
        Quota::new(10, 10_000 * HOUR),
        Quota::new(20, HOUR).fixed_window(),
        // It differs from the one before only in its window.
        Quota::new(20, 2 * HOUR).fixed_window(),
        Quota::new(40, 24 * HOUR).from_midnight_utc(),
    ];
    let redis = Redis::start();
    let start = |quota| {
        let limit = RateLimit::new(Policy::new("p", quota));
        server(&redis.url(), limit, |limits| limits.deadline(Duration::from_secs(5)))
    };
    let pairs = (0..4).flat_map(|one| (0..4).map(move |other| (one, other)));
    for (number, (one, other)) in pairs.filter(|(one, other)| one != other).enumerate() {
        let (first, second) = (quotas[one], quotas[other]);
        let client = client(number as u8);
        let old = start(first);
        assert!(old.admit(client, first.limit() / 2).await.is_ok());
        let new = start(second);
        let left = second.limit() / 2;
        assert_eq!(new.peek(client).await[0].remaining(), left, "{first:?} {second:?}");
        assert!(new.admit(client, left).await.is_ok());
        assert!(new.admit(client, 1).await.is_err(), "{first:?} {second:?}");
        assert_eq!(
            old.peek(client).await[0].remaining(),
            first.limit() / 2,
            "{first:?} {second:?}"
        );
        // More than was used: the rest is not refunded.
        new.refund(client, 10 * second.limit()).await;
        until("the refund is not made", async || {
            start(second).peek(client).await[0].remaining() == second.limit()
        })
        .await;
        assert!(start(second).admit(client, second.limit()).await.is_ok(), "{first:?} {second:?}");
        assert!(start(second).admit(client, 1).await.is_err(), "{first:?} {second:?}");
    }
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_change_of_plan_takes_effect_at_once_and_shortens_nothing() {
    let day = Quota::new(10, 24 * HOUR);
    let minute = Quota::per_minute(60);
    let limit = |quota| RateLimit::new(Policy::new("p", quota));
    let redis = Redis::start();
    let start = |quota| {
        server(&redis.url(), limit(quota), |limits| limits.deadline(Duration::from_secs(5)))
    };
    // Used up, half used and not used, and then a restart with another quota: the same part of it is used.
    for (number, used, left_per_minute) in [(1, 10, 0), (2, 5, 30), (3, 0, 60)] {
        let client = client(number);
        let old = start(day);
        for _ in 0..used {
            assert!(old.admit(client, 1).await.is_ok());
        }
        let new = start(minute);
        let left = new.peek(client).await[0].remaining();
        assert!((left_per_minute..=left_per_minute + 1).contains(&left), "{left}");
        if used == 10 {
            let refused = new.admit(client, 1).await.unwrap_err();
            assert!(refused.retry_after().unwrap() <= Duration::from_secs(1), "{refused:?}");
            until("the new quota does not come back", async || new.admit(client, 1).await.is_ok())
                .await;
        }
        // A server that still has the old quota, or has it again.
        for server in [&old, &start(day)] {
            assert_eq!(server.peek(client).await[0].remaining(), 10 - used, "{used}");
        }
    }
    // A lower quota, set on a server that runs.
    let (running, client) = (start(minute), client(4));
    for _ in 0..30 {
        assert!(running.admit(client, 1).await.is_ok());
    }
    assert!(running.limiter().set_quota("p", day));
    assert_eq!(running.peek(client).await[0].remaining(), 5);
    for _ in 0..5 {
        assert!(running.admit(client, 1).await.is_ok());
    }
    let refused = running.admit(client, 1).await.unwrap_err();
    assert!(refused.retry_after().unwrap() > HOUR, "{refused:?}");
    assert!(running.reset(client).await);
    assert_eq!(running.peek(client).await[0].remaining(), 10);
}
