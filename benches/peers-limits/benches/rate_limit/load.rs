//! Measurements with several threads, memory, floods and Redis.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Read;
use std::net::{IpAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use governor::clock::MonotonicClock;
use tower_chain::middleware::rate_limit::{Policy, PolicyHandle, Quota, RedisStore, SharedLimits};
use tower_chain::RateLimit;

use crate::cases::{address, admit, governor, our_limit, poll_once};

/// Measures the checks per second of eight threads, on one key and on eight.
pub fn threads() {
    println!("\nHow many checks a second do eight threads make?\n");
    println!("| keys | governor-monotonic | tower-chain | ratio |");
    println!("| --- | ---: | ---: | ---: |");
    for keys in [1, 8, 100_000] {
        let (mut theirs, mut ours) = (0.0_f64, 0.0_f64);
        // The best of many short rounds had the fewest disturbances.
        for _ in 0..20 {
            let limiter = governor::<MonotonicClock>();
            theirs =
                theirs.max(rate(keys, |key| assert!(limiter.check_key(&address(key)).is_ok())));
            let handle = our_limit().handle();
            ours = ours.max(rate(keys, |key| admit(&handle, address(key))));
        }
        println!("| {keys} | {:.2} M | {:.2} M | {:.2} |", theirs / 1e6, ours / 1e6, ours / theirs);
    }
}

fn rate(keys: u32, check: impl Fn(u32) + Sync) -> f64 {
    const EACH: u32 = 100_000;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let check = &check;
            scope.spawn(move || {
                for at in 0..EACH {
                    check((thread + at.wrapping_mul(0x9e37_79b1)) % keys.max(8) % keys);
                }
            });
        }
    });
    f64::from(EACH) * 8.0 / start.elapsed().as_secs_f64()
}

/// Measures the bytes per key.
pub fn memory() {
    println!("\nHow many bytes does a key take, of a million?\n");
    println!("| store | bytes a key | after two periods |");
    println!("| --- | ---: | ---: |");
    let before = ALLOCATED.load(Ordering::Relaxed);
    let per_key = |bytes: usize| (bytes - before) as f64 / 1e6;
    let limiter = governor::<MonotonicClock>();
    (0..1_000_000).for_each(|key| drop(limiter.check_key(&address(key))));
    println!(
        "| governor, `DashMap` | {:.1} | the same |",
        per_key(ALLOCATED.load(Ordering::Relaxed))
    );
    drop(limiter);
    // The default cap fills the tables to their maximum load.
    for (name, cap) in [
        ("tower-chain, cap 2M", 2_000_000),
        ("tower-chain, cap 1M", 1_000_000),
        ("tower-chain, the default cap", 917_504),
    ] {
        let before = ALLOCATED.load(Ordering::Relaxed);
        let clock = tower_chain::middleware::rate_limit::LimitClock::fake();
        let limit = RateLimit::per_hour(100).max_keys(cap).clock(clock.clone());
        let handle = limit.handle().policies().unwrap();
        (0..1_000_000).for_each(|key| admit_or_not(&handle, key));
        let held = handle.limiter().keys() as f64;
        let full = ALLOCATED.load(Ordering::Relaxed) - before;
        clock.advance(Duration::from_secs(7200));
        (0..10_000).for_each(|_| admit_or_not(&handle, 7));
        let empty = ALLOCATED.load(Ordering::Relaxed) - before;
        println!("| {name} | {:.1} | {:.1} |", full as f64 / held, empty as f64 / held);
    }
}

fn admit_or_not(handle: &PolicyHandle<IpAddr>, key: u32) {
    let _ = poll_once(handle.admit(address(key), 1));
}

/// Measures the time of a request while a million new keys arrive.
pub fn flood() {
    println!("\nWhat does a check cost while new keys come, with a cap of 100,000?\n");
    println!("| keys so far | ns a check | keys held |");
    println!("| --- | ---: | ---: |");
    let handle = RateLimit::per_hour(100).max_keys(100_000).handle().policies().unwrap();
    // New keys that don't fit into the table share a quota, and most of them are refused. For comparison: one client that is refused without a flood.
    (0..100).for_each(|_| admit_or_not(&handle, u32::MAX));
    let start = Instant::now();
    (0..100_000).for_each(|_| admit_or_not(&handle, u32::MAX));
    let each = start.elapsed().as_nanos() as f64 / 1e5;
    println!("| 1, which is refused | {each:.0} | {} |", handle.limiter().keys());
    let mut next = 0;
    for upto in [10_000, 50_000, 100_000, 200_000, 500_000, 1_000_000] {
        let (start, first) = (Instant::now(), next);
        while next < upto {
            admit_or_not(&handle, next);
            next += 1;
        }
        let each = start.elapsed().as_nanos() as f64 / f64::from(upto - first);
        println!("| {upto} | {each:.0} | {} |", handle.limiter().keys());
    }
}

/// Measures the checks per second of one Redis, and the time of each.
pub fn redis() {
    let Some(server) = Server::start() else { return println!("\nredis-server is not installed") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!(
        "\nHow many checks a second does one Redis make, asked by 20 tasks on 20 connections?\n"
    );
    println!("| what | a second | median | 99th percentile |");
    println!("| --- | ---: | ---: | ---: |");
    for round in 0..2 {
        let (rate, [p50, p99]) = runtime.block_on(many(&server, Kind::Set));
        println!("| SET PX, {round} | {rate:.0} | {p50:?} | {p99:?} |");
        for policies in [1, 8] {
            let (rate, [p50, p99]) = runtime.block_on(many(&server, Kind::Check(policies)));
            println!("| check with {policies} policies, {round} | {rate:.0} | {p50:?} | {p99:?} |");
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Set,
    Check(usize),
}

async fn many(server: &Server, kind: Kind) -> (f64, [Duration; 2]) {
    let done = std::sync::Arc::new(AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(3);
    let mut tasks = Vec::new();
    for task in 0..20_u32 {
        let (url, done) = (server.url.clone(), done.clone());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            let client = redis::Client::open(url.as_str()).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let policies = if let Kind::Check(policies) = kind { policies } else { 1 };
            let names =
                (1..policies).map(|at| Policy::new(at.to_string(), Quota::per_second(1_000_000)));
            let limit = names.fold(RateLimit::per_second(1_000_000), RateLimit::and);
            let store = RedisStore::with_connection(connection.clone());
            let limits = SharedLimits::new(store).deadline(Duration::from_secs(5));
            let handle = limit.shared("bench", limits).handle().policies::<IpAddr>().unwrap();
            for at in 0_u32.. {
                let start = Instant::now();
                if start >= end {
                    break;
                }
                let key = address(task * 1000 + at % 1000);
                match kind {
                    Kind::Set => {
                        let mut set = redis::cmd("SET");
                        set.arg(format!("set:{key}")).arg(at).arg("PX").arg(1000);
                        let () = set.query_async(&mut connection).await.unwrap();
                    }
                    Kind::Check(_) => assert!(handle.admit(key, 1).await.is_ok()),
                }
                times.push(start.elapsed());
                done.fetch_add(1, Ordering::Relaxed);
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    times.sort();
    (times.len() as f64 / 3.0, [times[times.len() / 2], times[times.len() * 99 / 100]])
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (mut told, mut output) = (Vec::new(), child.stdout.take()?);
        let mut byte = [0];
        while !told.ends_with(b"Ready to accept connections") && output.read(&mut byte).ok()? > 0 {
            told.push(byte[0]);
        }
        Some(Self { child, url: format!("redis://127.0.0.1:{port}/") })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The system's allocator, with a counter of the allocated bytes.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
