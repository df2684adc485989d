//! Signed deliveries of several servers that share a Redis.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tower_chain::middleware::signed::{
    RedisSeen, Seen, SeenStore, Signed, SignedError, WebhookSigner,
};
use tower_chain::{Chain, StatusCode, TestClient};

use crate::support::redis_server::Redis;

const LEASE: Duration = Duration::from_secs(60);
const KEEP: Duration = Duration::from_secs(90);

fn store(redis: &Redis, prefix: &str) -> RedisSeen {
    RedisSeen::new(&redis.url()).unwrap().prefix(prefix)
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_message_is_new_once_on_all_servers() {
    let redis = Redis::start();
    let (one, other) = (store(&redis, "test"), store(&redis, "test"));
    let elsewhere = store(&redis, "another");
    assert_eq!(one.reserve(&[1; 32], LEASE).await.unwrap(), Seen::New);
    assert_eq!(one.reserve(&[1; 32], LEASE).await.unwrap(), Seen::InFlight);
    assert_eq!(other.reserve(&[1; 32], LEASE).await.unwrap(), Seen::InFlight);
    assert_eq!(elsewhere.reserve(&[1; 32], LEASE).await.unwrap(), Seen::New);
    // A server releases its own reservations alone, and a clone is the same server.
    other.release(&[1; 32]).await.unwrap();
    assert_eq!(other.reserve(&[1; 32], LEASE).await.unwrap(), Seen::InFlight);
    one.clone().release(&[1; 32]).await.unwrap();
    assert_eq!(other.reserve(&[1; 32], LEASE).await.unwrap(), Seen::New);
    other.complete(&[1; 32], KEEP).await.unwrap();
    assert_eq!(one.reserve(&[1; 32], LEASE).await.unwrap(), Seen::Done);
    // A server whose lease has ended forgets nothing that another one has handled.
    one.release(&[1; 32]).await.unwrap();
    assert_eq!(one.reserve(&[1; 32], LEASE).await.unwrap(), Seen::Done);
    one.release(&[9; 32]).await.unwrap();

    // Of many concurrent calls exactly one is the first.
    let racing = (0..50).map(|n| {
        let store = if n % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move { store.reserve(&[3; 32], LEASE).await.unwrap() })
    });
    let mut first = 0;
    for racer in racing.collect::<Vec<_>>() {
        first += usize::from(racer.await.unwrap() == Seen::New);
    }
    assert_eq!(first, 1);

    // No entry stays forever, and the times are those of the calls.
    let mut times = Vec::new();
    for key in redis.keys().await.unwrap() {
        assert!(key.starts_with("test:") || key.starts_with("another:"), "{key}");
        times.push(redis.ask::<i64>(redis::cmd("PTTL").arg(&key)).await.unwrap());
    }
    times.sort_unstable();
    assert!(matches!(times[..], [50_001..=60_000, 50_001..=60_000, 80_001..=90_000]), "{times:?}");
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_reservation_ends_with_its_lease() {
    let redis = Redis::start();
    let store = store(&redis, "test");
    let short = Duration::from_millis(1);
    assert_eq!(store.reserve(&[1; 32], short).await.unwrap(), Seen::New);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.reserve(&[1; 32], Duration::ZERO).await.unwrap(), Seen::New);
    // No time is too long for Redis.
    assert_eq!(store.reserve(&[2; 32], Duration::MAX).await.unwrap(), Seen::New);
    store.complete(&[2; 32], Duration::MAX).await.unwrap();
    assert_eq!(store.reserve(&[2; 32], LEASE).await.unwrap(), Seen::Done);
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_delivery_is_handled_once_by_two_servers() {
    let redis = Redis::start();
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let server = || {
        let (runs, gate) = (runs.clone(), gate.clone());
        let signed = Signed::standard(secret).unwrap();
        let signed = signed.store(store(&redis, "test"), LEASE).unwrap();
        let chain = Chain::new().use_(signed).post(move || {
            let (runs, gate) = (runs.clone(), gate.clone());
            async move {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                if run == 0 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::CREATED }
            }
        });
        TestClient::new(chain.build())
    };
    let (one, other) = (server(), server());
    let signer = WebhookSigner::standard(secret).unwrap();
    let headers = signer.sign("msg_1", SystemTime::now(), b"{}").unwrap();
    let deliver = async |server: &TestClient| {
        let mut request = server.post("/").text("{}");
        for (name, value) in &headers {
            request = request.header(name, value.clone());
        }
        request.send().await.status()
    };
    // Two rounds: the first handler fails, so the sender delivers again.
    for expected in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::CREATED] {
        let before = runs.load(Ordering::SeqCst);
        let second = async {
            while runs.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let status = deliver(&other).await;
            gate.add_permits(1);
            status
        };
        let (first, second) = tokio::join!(deliver(&one), second);
        assert_eq!((first, second), (expected, StatusCode::CONFLICT));
    }
    assert_eq!(deliver(&other).await, StatusCode::OK);
    assert_eq!(deliver(&one).await, StatusCode::OK);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_store_that_is_away_lets_no_message_through() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("redis://:hunter2@127.0.0.1:{port}/");
    let store = RedisSeen::new(&url).unwrap().timeout(Duration::from_millis(200)).unwrap();
    assert!(store.reserve(&[1; 32], LEASE).await.is_err());
    assert!(store.complete(&[1; 32], LEASE).await.is_err());
    assert!(store.release(&[1; 32]).await.is_err());
    assert!(!format!("{store:?}").contains("hunter2"));
    assert_eq!(store.timeout(Duration::ZERO).map(drop), Err(SignedError::Zero));
    let error = RedisSeen::new("nonsense://:canary@host").map(drop).unwrap_err();
    assert_eq!(error, SignedError::RedisUrl);
    assert!(!error.to_string().contains("canary"));
}
