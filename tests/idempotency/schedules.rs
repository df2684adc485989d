//! Random schedules of several servers and clients, with faults.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tower_chain::middleware::idempotency::{IdempotencyStore, MemoryIdempotency};

use super::world::{Effects, POINTS, Received, TestServer, is_pending};

/// A generator of numbers that repeats itself for a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A request of a schedule: user, path, key, body.
type Sent = [&'static str; 4];

/// Runs a schedule, and compares every response with what is allowed.
///
/// The bodies of one key differ at times. No user may get the response of another one, nor of another path or body; all responses for one request are
/// the same; and no request has its effect twice. In the end, no key is in flight.
pub(crate) async fn run<S: IdempotencyStore>(store: Arc<S>, seed: u64, lease: Duration) {
    let (mut random, effects) = (Random(seed), Effects::default());
    // Keys of another schedule on the same store are other ones.
    let name = |key: &str| format!("{key}-of-schedule-{seed}");
    let server = |detaches| {
        let set = |step: tower_chain::middleware::idempotency::Idempotency<_>| {
            step.lease(lease).unwrap().store_timeout(lease * 2).unwrap()
        };
        TestServer::new(store.clone(), &effects, set, detaches)
    };
    let mut servers: Vec<_> = (0..3).map(|at| server(at == 0)).collect();
    let mut running = Vec::new();
    for _ in 0..40 {
        let at = random.below(servers.len());
        match random.below(10) {
            0 => {
                servers[at].faults.kill();
                // Another server starts in its place.
                servers[at] = server(random.below(2) == 0);
            }
            1 | 2 => servers[at].faults.arm(random.one(&POINTS)),
            3 => tokio::time::sleep(lease / (1 + random.below(8) as u32)).await,
            4 if !running.is_empty() => {
                // A client disconnects.
                let (_, request): (Sent, tokio::task::JoinHandle<Option<Received>>) =
                    running.swap_remove(random.below(running.len()));
                request.abort();
            }
            _ => {
                let sent = [
                    random.one(&["ann", "bob"]),
                    random.one(&["/pay", "/refund"]),
                    random.one(&["k1", "k2", "k3"]),
                    random.one(&[
                        "payment", "payment", "payment", "slow", "stream", "refuse", "fail",
                        "panic", "busy",
                    ]),
                ];
                let (server, key) = (servers[at].clone(), name(sent[2]));
                let request =
                    tokio::spawn(async move { server.send(sent[0], sent[1], &key, sent[3]).await });
                running.push((sent, request));
                if random.below(2) == 0 {
                    tokio::time::sleep(Duration::from_millis(random.below(50) as u64)).await;
                }
            }
        }
    }
    for server in &servers {
        server.faults.disarm();
        server.faults.resume();
    }
    let mut answers: HashMap<Sent, Bytes> = HashMap::new();
    let mut check = |sent: Sent, received: Received| {
        let context = format!("seed {seed}: {sent:?} {received:?}");
        let [user, path, _, body] = sent;
        let is_own = received.body.starts_with(format!("{user} {path} {body} effect ").as_bytes());
        let is_answer = matches!(received.status, 200 | 201)
            || (received.status == 422 && received.kind != "other-request");
        if is_answer {
            assert!(is_own, "a foreign response: {context}");
            let first = answers.entry(sent).or_insert_with(|| received.body.clone());
            assert_eq!(first, &received.body, "two responses: {context}");
            return;
        }
        let allowed = [
            (409, "in-flight"),
            (409, "unknown-outcome"),
            (422, "other-request"),
            (503, "store-unreachable"),
            (429, ""),
            (500, ""),
        ];
        assert!(allowed.contains(&(received.status, &*received.kind)), "{context}");
        assert!(received.kind.is_empty() == matches!(received.status, 429 | 500), "{context}");
    };
    // Every request that was not cut off has ended by then, and every lease.
    tokio::time::sleep(lease * 12 + Duration::from_secs(2)).await;
    for (sent, request) in running {
        match request.is_finished() {
            true => {
                if let Ok(Some(received)) = request.await {
                    check(sent, received);
                }
            }
            false => request.abort(),
        }
    }
    tokio::time::sleep(lease * 3).await;
    for user in ["ann", "bob"] {
        for path in ["/pay", "/refund"] {
            for key in ["k1", "k2", "k3"] {
                let mut kinds = Vec::new();
                for server in &servers {
                    let sent = [user, path, key, "payment"];
                    let received = server.send(user, path, &name(key), "payment").await.unwrap();
                    assert!(!is_pending(&received), "locked: seed {seed} {sent:?}");
                    kinds.push((received.status, received.kind.clone()));
                    check(sent, received);
                }
                // The first of them may have run just now.
                assert_eq!(kinds[1], kinds[2], "seed {seed} {user} {path} {key}");
                // Of each of the three keys, at most one request has had an effect.
                assert!(effects.of(user, path) <= 3, "seed {seed}: {user} {path}");
            }
        }
    }
}

/// The seeds that `IDEMPOTENCY_SCHEDULES` sets, such as `0..1000`.
pub(crate) fn seeds(default: &str) -> std::ops::Range<u64> {
    let seeds = std::env::var("IDEMPOTENCY_SCHEDULES").unwrap_or(default.to_owned());
    let (first, end) = seeds.split_once("..").unwrap();
    first.parse().unwrap()..end.parse().unwrap()
}

/// 100 schedules. `IDEMPOTENCY_SCHEDULES=0..1000 cargo test --all-features --test idempotency schedules` runs others.
#[tokio::test(start_paused = true)]
async fn random_schedules_have_each_effect_once_and_return_no_foreign_response() {
    for seed in seeds("0..100") {
        run(Arc::new(MemoryIdempotency::new()), seed, Duration::from_millis(300)).await;
    }
}
