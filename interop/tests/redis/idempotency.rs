//! Idempotency keys of several servers in one Redis.

#[path = "../../../tests/idempotency/faults.rs"]
mod faults;
#[path = "../../../tests/idempotency/schedules.rs"]
mod schedules;
#[path = "../../../tests/idempotency/world.rs"]
pub(crate) mod world;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tower_chain::middleware::idempotency::{RedisIdempotency, check_store};

use self::world::{Effects, TestServer};
use crate::support::ports::free_port;
use crate::support::programs::example;
use crate::support::redis_server::{Cluster, Redis, until};

fn store(redis: &Redis) -> Arc<RedisIdempotency> {
    Arc::new(RedisIdempotency::new(&redis.url()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn the_store_in_redis_has_the_properties_of_stores() {
    let redis = Redis::start();
    check_store(&store(&redis)).await;
    // Each key expires, and contains no name.
    for key in redis.keys().await.unwrap() {
        let time: i64 = redis.ask(redis::cmd("PTTL").arg(&key)).await.unwrap();
        // It may have expired meanwhile.
        assert!(time == -2 || (0..=60_000).contains(&time), "{key} {time}");
        assert!(key.starts_with("idempotency:{"), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn the_store_in_a_cluster_has_the_properties_of_stores() {
    let cluster = Cluster::start().await;
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let connection = client.get_async_connection().await.unwrap();
    check_store(&RedisIdempotency::with_connection(connection)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_request_that_is_cut_off_at_any_point_runs_at_most_once_with_redis() {
    let redis = Redis::start();
    faults::each_point(store(&redis), Duration::from_millis(600)).await;
}

/// 3 schedules. `IDEMPOTENCY_SCHEDULES=0..100` sets which ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn random_schedules_have_each_effect_once_with_redis() {
    let redis = Redis::start();
    for seed in schedules::seeds("0..3") {
        schedules::run(store(&redis), seed, Duration::from_millis(600)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn while_redis_is_unreachable_no_request_runs_and_no_running_one_is_lost() {
    let mut redis = Redis::start();
    let (effects, lease) = (Effects::default(), Duration::from_secs(2));
    let set =
        |step: tower_chain::middleware::idempotency::Idempotency<_>| step.lease(lease).unwrap();
    let server = TestServer::new(store(&redis), &effects, set, false);
    let first = server.send("ann", "/pay", "stored", "payment").await.unwrap();
    let (running, key) = (server.clone(), "running");
    let running = tokio::spawn(async move { running.send("ann", "/pay", key, "slow").await });
    until("the request does not run", async || effects.count() == 2).await;
    let port = redis.port;
    redis.kill();
    let refused = server.send("ann", "/pay", "refused", "payment").await.unwrap();
    assert_eq!((refused.status, &*refused.kind), (503, "store-unreachable"));
    assert_eq!(running.await.unwrap().unwrap().status, 201);
    assert_eq!((effects.count(), first.status), (2, 201));
    // Another Redis without the data: the response of the request that ran meanwhile is stored there.
    let redis = Redis::start_on(port);
    until("the response is not stored", async || !redis.keys().await.unwrap().is_empty()).await;
    let again = server.send("ann", "/pay", key, "slow").await.unwrap();
    assert_eq!(again.kind, "replayed");
    assert_eq!(effects.count(), 2);
}

/// The example as a process.
struct Process(Child, u16);

impl Process {
    async fn start(redis: &Redis) -> Self {
        let port = free_port();
        let child = Command::new(example("idempotency"))
            .envs([("API_TOKEN", TOKEN), ("REDIS_URL", &redis.url())])
            .env("PORT", port.to_string())
            .stderr(Stdio::null())
            .spawn()
            .expect("the example is built");
        let process = Self(child, port);
        until("the example does not start", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        process
    }

    /// The status, whether it is replayed, and the body.
    async fn pay(&self, key: &str) -> reqwest::Result<(u16, bool, String)> {
        let req = reqwest::Client::new().post(format!("http://127.0.0.1:{}/payments", self.1));
        let req = req.bearer_auth(TOKEN).header("idempotency-key", key).body("5 EUR");
        let answer = req.send().await?;
        let replayed = answer.headers().contains_key("idempotency-replayed");
        Ok((answer.status().as_u16(), replayed, answer.text().await?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn processes_share_keys_and_one_that_is_killed_leaves_an_unknown_outcome() {
    let redis = Redis::start();
    let (mut first, second) = (Process::start(&redis).await, Process::start(&redis).await);
    let paid = first.pay("order-1").await.unwrap();
    assert_eq!(paid, (200, false, "payment 1: 5 EUR\n".to_owned()));
    assert_eq!(second.pay("order-1").await.unwrap(), (200, true, paid.2));
    // Both at once: one runs, the other one is refused or gets its response.
    let (one, other) = tokio::join!(first.pay("order-2"), second.pay("order-2"));
    let mut statuses = [one.unwrap(), other.unwrap()].map(|answer| (answer.0, answer.1));
    statuses.sort_unstable();
    assert!([[(200, false), (409, false)], [(200, false), (200, true)]].contains(&statuses));
    // The process is killed while it waits for the bank.
    let url = format!("http://127.0.0.1:{}/payments", first.1);
    let request = tokio::spawn(async move {
        let req = reqwest::Client::new().post(url).bearer_auth(TOKEN);
        req.header("idempotency-key", "order-3").body("5 EUR").send().await.is_ok()
    });
    until("the request is not in flight", async || {
        // Two records of the payments before, and their set.
        redis.keys().await.unwrap().len() == 4
    })
    .await;
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    assert!(!request.await.unwrap());
    assert_eq!(second.pay("order-3").await.unwrap().0, 409);
    let start = Instant::now();
    loop {
        let (status, _, body) = second.pay("order-3").await.unwrap();
        assert_eq!(status, 409, "{body}");
        if body.contains("#unknown-outcome") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "locked for ever: {body}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

const TOKEN: &str = "Vy3pRT1rW9ZsU0bq6xQ2Lw";
