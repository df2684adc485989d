//! How long slots last, with the memory of a server and with a real Redis, for each kind of work and each way in which it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, broadcast};
use tower_chain::middleware::rate_limit::{
    LimitKey, RateLimitHandle, RedisStore, SharedLimits, SlotQueue,
};
use tower_chain::{Body, Chain, RateLimit, Request, Response, Server};

use crate::support::redis_server::{Redis, until};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    /// A handler that takes long, and a body in one piece.
    Plain,
    Stream,
    Upgrade,
    /// A guard of the handle, in a task.
    Guard,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Ends,
    /// The client closes the connection, or the task is aborted.
    Dropped,
    /// The server is gone, with everything that it would have released.
    Crash,
}

/// A server with a runtime of its own, which can crash.
struct Host {
    runtime: Option<Runtime>,
    addr: SocketAddr,
    handle: RateLimitHandle,
    /// Ends the work that runs.
    finish: broadcast::Sender<()>,
    /// A handler has started.
    started: Arc<Notify>,
}

impl Host {
    async fn start(limit: RateLimit) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let (finish, _) = broadcast::channel(1);
        let handle = limit.handle();
        let (at_end, at_last) = (finish.clone(), finish.clone());
        let started = Arc::new(Notify::new());
        let starts = started.clone();
        let plain = move || {
            let mut end = at_end.subscribe();
            starts.notify_one();
            async move {
                let _ = end.recv().await;
                "done"
            }
        };
        let streamed = move || {
            let end = at_last.subscribe();
            let frames = stream::unfold((0, end), |(at, mut end)| async move {
                if at > 0 && end.recv().await.is_ok() {
                    return None;
                }
                let frame = hyper::body::Frame::data(Bytes::from_static(b"first"));
                Some((Ok::<_, std::convert::Infallible>(frame), (at + 1, end)))
            });
            async move { Response::new(Body::new(StreamBody::new(frames))) }
        };
        let chain = Chain::new()
            .use_(limit)
            .at("/plain", |c| c.get(plain))
            .at("/stream", |c| c.get(streamed))
            .at("/upgrade", |c| c.get(upgrade))
            .build();
        let addr = runtime.spawn(async move {
            let server = Server::bind("127.0.0.1:0").await.unwrap().half_close(false);
            let addr = server.local_addr().unwrap();
            tokio::spawn(server.serve_until(std::future::pending(), chain));
            addr
        });
        let addr = addr.await.unwrap();
        Self { runtime: Some(runtime), addr, handle, finish, started }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    fn crash(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Whether a slot is free.
    async fn has_slot(&self) -> bool {
        let slots = self.handle.slots::<()>().unwrap();
        self.runtime().spawn(async move { slots.acquire(()).await.is_ok() }).await.unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads until the client closes its side.
async fn upgrade(mut req: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut req);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut io = TokioIo::new(upgraded);
        while io.read_u8().await.is_ok() {}
    });
    let response = http::Response::builder().status(101);
    response.header("connection", "upgrade").header("upgrade", "x").body(Body::empty()).unwrap()
}

/// Work that runs.
enum Running {
    Request(TcpStream),
    Task(tokio::task::JoinHandle<()>),
}

async fn begin(work: Work, host: &Host) -> Running {
    let path = match work {
        Work::Guard => {
            let (slots, mut end) = (host.handle.slots::<()>().unwrap(), host.finish.subscribe());
            let (taken, is_taken) = tokio::sync::oneshot::channel();
            let task = host.runtime().spawn(async move {
                let _slot = slots.acquire(()).await.unwrap();
                taken.send(()).unwrap();
                let _ = end.recv().await;
            });
            is_taken.await.unwrap();
            return Running::Task(task);
        }
        Work::Plain => "/plain",
        Work::Stream => "/stream",
        Work::Upgrade => "/upgrade",
    };
    let mut io = TcpStream::connect(host.addr).await.unwrap();
    let upgrade = if work == Work::Upgrade { "connection: upgrade\r\nupgrade: x\r\n" } else { "" };
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n");
    io.write_all(head.as_bytes()).await.unwrap();
    match work {
        Work::Plain => host.started.notified().await,
        _ => assert_eq!(io.read_exact(&mut [0; 12]).await.unwrap(), 12),
    }
    Running::Request(io)
}

async fn end(how: End, running: Running, host: &mut Host) {
    match (how, running) {
        (End::Crash, running) => {
            host.crash();
            drop(running);
        }
        (End::Dropped, Running::Task(task)) => task.abort(),
        (End::Dropped, Running::Request(io)) => drop(io),
        (End::Ends, Running::Task(_)) => drop(host.finish.send(())),
        (End::Ends, Running::Request(mut io)) => {
            // An upgraded connection has no receiver.
            let _ = host.finish.send(());
            io.shutdown().await.unwrap();
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(5), io.read_to_end(&mut rest)).await;
        }
    }
}

const LEASE: Duration = Duration::from_millis(600);

fn limit(redis: Option<&Redis>) -> RateLimit {
    let limit = RateLimit::concurrent(1).key(LimitKey::everyone());
    let Some(redis) = redis else { return limit };
    let limits = SharedLimits::new(RedisStore::new(&redis.url()).unwrap());
    // A long deadline, because the test must not depend on the load of the machine.
    limit.shared("slots", limits.deadline(Duration::from_secs(5)).longest_request(LEASE))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_slot_lasts_as_long_as_its_work_wherever_it_is_counted() {
    let redis = Redis::start();
    for store in [None, Some(&redis)] {
        for work in [Work::Plain, Work::Stream, Work::Upgrade, Work::Guard] {
            for how in [End::Ends, End::Dropped, End::Crash] {
                let case = format!("{} {work:?} {how:?}", store.map_or("memory", |_| "Redis"));
                let mut host = Host::start(limit(store)).await;
                // In memory, another server counts alone.
                let other = match store {
                    Some(_) => Some(Host::start(limit(store)).await),
                    None => None,
                };
                let running = begin(work, &host).await;
                let start = std::time::Instant::now();
                let lasts = if store.is_some() { LEASE * 2 } else { Duration::ZERO };
                while {
                    assert!(!host.has_slot().await, "{case}: it ended before its work");
                    start.elapsed() < lasts
                } {
                    if let Some(other) = &other {
                        assert!(!other.has_slot().await, "{case}: it ended before its work");
                    }
                    tokio::time::sleep(LEASE / 12).await;
                }
                end(how, running, &mut host).await;
                match &other {
                    Some(other) => {
                        until(&format!("{case}: the slot stays"), async || other.has_slot().await)
                            .await;
                    }
                    // The memory is gone with its server.
                    None if how == End::Crash => {}
                    None => {
                        until(&format!("{case}: the slot stays"), async || host.has_slot().await)
                            .await;
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn servers_take_turns_for_a_slot() {
    let redis = Redis::start();
    let queue = SlotQueue::new(Duration::from_secs(30)).per_client(10);
    let start = || Host::start(limit(Some(&redis)).queue(queue));
    let hosts = [start().await, start().await];
    let slots = hosts.each_ref().map(|host| host.handle.slots::<()>().unwrap());
    let held = hosts[0].runtime().spawn({
        let slots = slots[0].clone();
        async move { slots.acquire(()).await.unwrap() }
    });
    let held = held.await.unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    let wait = |at: usize| {
        let (slots, sender) = (slots[at].clone(), sender.clone());
        hosts[at].runtime().spawn(async move {
            let slot = slots.acquire(()).await.unwrap();
            sender.send(at).unwrap();
            // Long enough for the other server to notice that the slot is free, if it were before its turn.
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(slot);
        })
    };
    // Four of the first server, which has the slot now, are before two of the second. The servers take turns nevertheless.
    let mut tasks = Vec::new();
    for at in [0, 0, 0, 0, 1, 1] {
        tasks.push(wait(at));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A waiter that leaves does not keep its server in the line.
    let leaves = wait(1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    leaves.abort();
    let keys = redis.keys().await.unwrap();
    assert!(keys.iter().any(|key| key.ends_with(":#line")), "{keys:?}");
    hosts[0].runtime().spawn(async move { drop(held) }).await.unwrap();
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(served.recv().await.unwrap());
    }
    assert_eq!(order, [1, 0, 1, 0, 0, 0]);
    until("the line stays", async || {
        redis.keys().await.unwrap().iter().all(|key| !key.ends_with(":#line"))
    })
    .await;
    for task in tasks {
        task.await.unwrap();
    }
}
