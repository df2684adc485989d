//! How long the slots of `concurrency` last: until the work ends, whatever kind of work it is.

#![cfg(all(feature = "rate-limit", feature = "serve", feature = "test-util"))]
#![allow(clippy::unwrap_used, reason = "what fails in a test should stop it")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::{LimitKey, Policy, Quota, RateLimitHandle, SlotQueue};
use tower_chain::{Body, Chain, ChainService, RateLimit, Request, Response, Server};

/// Echoes what the client sends on an upgraded connection, until the client closes it.
async fn echo(mut req: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut req);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let response = http::Response::builder().status(101);
    let response = response.header("connection", "upgrade").header("upgrade", "echo");
    response.body(Body::empty()).unwrap()
}

fn limit() -> RateLimit {
    RateLimit::concurrent(1).key(LimitKey::everyone())
}

fn chain(limit: RateLimit) -> ChainService {
    let broken = async |mut req: Request| {
        drop(hyper::upgrade::on(&mut req));
        StatusCode::SWITCHING_PROTOCOLS
    };
    // It waits for an upgrade that its response refuses.
    let refused = async |mut req: Request| {
        let upgrade = hyper::upgrade::on(&mut req);
        tokio::spawn(async move { assert!(upgrade.await.is_err()) });
        "not upgraded"
    };
    Chain::new()
        .use_(limit)
        .at("/echo", |c| c.get(echo))
        .at("/broken", |c| c.get(broken))
        .at("/refused", |c| c.get(refused))
        .at("/plain", |c| c.get(async || "plain"))
        .build()
}

async fn server(limit: RateLimit) -> SocketAddr {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    tokio::spawn(server.serve_until(std::future::pending(), chain(limit)));
    addr
}

/// Sends a request with `Upgrade`, and returns the status and the connection.
async fn upgrade(addr: SocketAddr, path: &str) -> (u16, TcpStream) {
    let mut io = TcpStream::connect(addr).await.unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    io.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        read.push(io.read_u8().await.unwrap());
    }
    (String::from_utf8(read).unwrap()[9..12].parse().unwrap(), io)
}

/// Waits until the condition holds. A closed connection is noticed a little later.
async fn until(mut holds: impl AsyncFnMut() -> bool) -> bool {
    for _ in 0..500 {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

async fn echoes(io: &mut TcpStream, text: &str) {
    io.write_all(text.as_bytes()).await.unwrap();
    let mut back = vec![0; text.len()];
    io.read_exact(&mut back).await.unwrap();
    assert_eq!(back, text.as_bytes());
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_slot_until_it_closes() {
    let addr = server(limit()).await;
    let (status, mut io) = upgrade(addr, "/echo").await;
    assert_eq!(status, 101);
    for text in ["one", "two"] {
        echoes(&mut io, text).await;
        assert_eq!(upgrade(addr, "/plain").await.0, 429);
    }
    // Data that was sent in both directions arrives also after the client has closed its side.
    io.write_all(b"last").await.unwrap();
    io.shutdown().await.unwrap();
    let mut last = String::new();
    io.read_to_string(&mut last).await.unwrap();
    assert_eq!(last, "last");
    assert!(until(async || upgrade(addr, "/plain").await.0 == 200).await);
    // One that breaks off releases it as well.
    let (status, io) = upgrade(addr, "/echo").await;
    assert_eq!((status, upgrade(addr, "/plain").await.0), (101, 429));
    drop(io);
    assert!(until(async || upgrade(addr, "/plain").await.0 == 200).await);
}

#[tokio::test]
async fn an_upgrade_that_does_not_happen_keeps_no_slot() {
    let addr = server(limit()).await;
    for path in ["/refused", "/broken", "/plain", "/refused"] {
        let (status, io) = upgrade(addr, path).await;
        assert_eq!(status, if path == "/broken" { 101 } else { 200 }, "{path}");
        // The connection stays open, and its slot is free.
        assert!(until(async || upgrade(addr, "/plain").await.0 == 200).await, "{path}");
        drop(io);
    }
}

#[tokio::test]
async fn data_that_a_client_sends_before_the_response_arrives() {
    let addr = server(RateLimit::concurrent(2).key(LimitKey::everyone())).await;
    let mut io = TcpStream::connect(addr).await.unwrap();
    let head = "GET /echo HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nearly";
    io.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nearly") {
        read.push(io.read_u8().await.unwrap());
    }
    // A large amount passes in both directions.
    let text = "0123456789".repeat(20_000);
    let (mut from, mut to) = io.split();
    let sent = async {
        to.write_all(text.as_bytes()).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut back = String::new();
    let (_, read) = tokio::join!(sent, from.read_to_string(&mut back));
    assert_eq!((read.unwrap(), back == text), (text.len(), true));
}

#[tokio::test]
async fn each_limiter_of_a_stack_keeps_its_slot() {
    let (outer, inner) = (limit(), RateLimit::concurrent(1).key(LimitKey::everyone()));
    let handles = [outer.handle(), inner.handle()];
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let chain = Chain::new().use_(outer).use_(inner.with_decision()).get(echo).build();
    tokio::spawn(server.serve_until(std::future::pending(), chain));
    let (status, mut io) = upgrade(addr, "/").await;
    assert_eq!(status, 101);
    echoes(&mut io, "both").await;
    let is_free = |handle: &RateLimitHandle| {
        handle.slots::<()>().unwrap().acquire(()).now_or_never().unwrap().is_ok()
    };
    assert_eq!(handles.each_ref().map(is_free), [false, false]);
    drop(io);
    assert!(until(async || handles.iter().all(is_free)).await);
}

#[tokio::test]
async fn without_an_upgrade_a_request_is_passed_on_unchanged() {
    let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let service = Chain::new()
        .use_(RateLimit::concurrent(1))
        .get(async |req: Request| {
            req.extensions().get::<hyper::upgrade::OnUpgrade>().is_some().to_string()
        })
        .build();
    let req = http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap();
    let response = service.handle(req).await;
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    assert_eq!(body.to_bytes(), "false");
    let _: IpAddr = peer.ip();
}

fn from(client: u8) -> Request {
    let peer: SocketAddr = format!("192.0.2.{client}:4000").parse().unwrap();
    http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap()
}

/// A limiter in a chain. Its handler answers when the body is read, so the response holds the slot.
struct Queued {
    service: ChainService,
    log: mpsc::UnboundedSender<(u8, Response)>,
    admitted: mpsc::UnboundedReceiver<(u8, Response)>,
}

impl Queued {
    fn new(limit: RateLimit) -> Self {
        let (log, admitted) = mpsc::unbounded_channel();
        Self { service: Chain::new().use_(limit).get(async || "hello").build(), log, admitted }
    }

    /// Sends a request in a task, and lets it enter the queue.
    async fn send(&self, client: u8) -> tokio::task::JoinHandle<()> {
        let (service, log) = (self.service.clone(), self.log.clone());
        let task = tokio::spawn(async move {
            let response = service.handle(from(client)).await;
            let _ = log.send((client, response));
        });
        settle().await;
        task
    }

    /// The next response, if there is one without a further release.
    async fn next(&mut self) -> Option<(u8, Response)> {
        settle().await;
        self.admitted.try_recv().ok()
    }

    /// Releases one slot after another, and returns which clients were admitted in which order.
    async fn order(&mut self) -> Vec<u8> {
        let mut order = Vec::new();
        while let Some((client, response)) = self.next().await {
            assert_eq!(response.status(), 200);
            order.push(client);
        }
        order
    }
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn queued(most: u32, queue: SlotQueue) -> Queued {
    Queued::new(RateLimit::concurrent(most).key(LimitKey::everyone()).queue(queue))
}

const WAIT: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn clients_take_turns_and_each_is_served_in_order() {
    for (arrivals, served) in [
        (&[1, 1, 1][..], &[1, 1, 1][..]),
        (&[1, 2, 3, 4], &[1, 2, 3, 4]),
        (&[1, 1, 1, 1, 2, 3], &[1, 2, 3, 1, 1, 1]),
        (&[1, 1, 1, 2, 2, 3], &[1, 2, 3, 1, 2, 1]),
        (&[2, 1, 1, 1, 2, 2], &[2, 1, 2, 1, 2, 1]),
    ] {
        let mut queued = queued(1, SlotQueue::new(WAIT));
        let held = queued.service.handle(from(9)).await;
        assert_eq!(held.status(), 200);
        for client in arrivals {
            queued.send(*client).await;
        }
        assert!(queued.next().await.is_none());
        drop(held);
        assert_eq!(queued.order().await, served, "{arrivals:?}");
        // The queue is empty, and the slot is free.
        assert_eq!(queued.service.handle(from(9)).await.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_other_subjects_do_not_wait() {
    let mut queued = Queued::new(RateLimit::concurrent(1).queue(SlotQueue::new(WAIT)));
    let held = queued.service.handle(from(1)).await;
    let _waits = queued.send(1).await;
    assert_eq!(queued.service.handle(from(2)).await.status(), 200);
    assert!(queued.next().await.is_none());
    drop(held);
    assert_eq!(queued.order().await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_with_the_status_of_its_bound() {
    let mut queued = queued(1, SlotQueue::new(WAIT).per_client(2).overall(3));
    let held = queued.service.handle(from(9)).await;
    for client in [1, 1, 2] {
        queued.send(client).await;
    }
    for (client, status) in [(1, 429), (3, 503), (2, 503)] {
        let refused = queued.service.handle(from(client)).await;
        assert_eq!(refused.status().as_u16(), status, "{client}");
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(refused.headers()["cache-control"], "no-store");
    }
    drop(held);
    assert_eq!(queued.order().await, [1, 2, 1]);
    let none = self::queued(1, SlotQueue::new(WAIT).per_client(0));
    let _held = none.service.handle(from(9)).await;
    assert_eq!(none.service.handle(from(1)).await.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_no_longer_than_the_deadline() {
    let queued = queued(1, SlotQueue::new(WAIT));
    let held = queued.service.handle(from(9)).await;
    let start = tokio::time::Instant::now();
    let refused = queued.service.handle(from(1)).await;
    assert_eq!((refused.status().as_u16(), start.elapsed().as_secs()), (429, 5));
    assert_eq!(refused.headers()["retry-after"], "1");
    drop(held);
    assert_eq!(queued.service.handle(from(1)).await.status(), 200);
}

/// Which waiters leave, and when: before the slot is released, or after one of them was woken and before it has run.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_gives_up_its_turn() {
    for leaves_after_release in [false, true] {
        for (leaves, served) in [
            (&[0][..], &[2, 3, 4][..]),
            (&[1], &[1, 3, 4]),
            (&[3], &[1, 2, 3]),
            (&[0, 1], &[3, 4]),
            (&[1, 2], &[1, 4]),
            (&[0, 1, 2, 3], &[]),
        ] {
            let mut queued = queued(1, SlotQueue::new(WAIT));
            let held = queued.service.handle(from(9)).await;
            let mut tasks = Vec::new();
            for client in 1..=4 {
                tasks.push(queued.send(client).await);
            }
            let mut held = Some(held);
            if leaves_after_release {
                held = None;
            }
            for at in leaves {
                tasks[*at].abort();
            }
            settle().await;
            drop(held);
            assert_eq!(queued.order().await, served, "{leaves_after_release} {leaves:?}");
            assert_eq!(queued.service.handle(from(9)).await.status(), 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_charged_before_a_slot_is_free() {
    let quota = Policy::new("q", Quota::per_hour(3));
    let limit = RateLimit::new(quota).concurrency(1).queue(SlotQueue::new(WAIT));
    let handle = limit.handle().policies::<IpAddr>().unwrap();
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    let mut queued = Queued::new(limit);
    let held = queued.service.handle(from(1)).await;
    queued.send(1).await;
    queued.send(1).await;
    assert_eq!(handle.peek(alice).await[0].remaining(), 2);
    // The quota is used up meanwhile: of the two, one is admitted and one refused.
    handle.charge(alice, 1).await;
    drop(held);
    let (_, first) = queued.next().await.unwrap();
    assert_eq!(first.status(), 200);
    drop(first);
    let (_, second) = queued.next().await.unwrap();
    assert_eq!(second.status(), 429);
    assert_ne!(second.headers()["retry-after"], "1");
    // Without a slot to wait for, a used-up quota refuses at once.
    assert_eq!(queued.service.handle(from(1)).await.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn guards_wait_in_the_same_queue() {
    let limit = RateLimit::concurrent(1).queue(SlotQueue::new(WAIT));
    let slots = limit.handle().slots::<IpAddr>().unwrap();
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    let mut queued = Queued::new(limit);
    let held = slots.acquire(alice).await.unwrap();
    queued.send(1).await;
    let waits = tokio::spawn({
        let slots = slots.clone();
        async move { slots.acquire(alice).await.is_ok() }
    });
    settle().await;
    drop(held);
    let (_, response) = queued.next().await.unwrap();
    assert!(!waits.is_finished());
    drop(response);
    assert!(waits.await.unwrap());
    let held = slots.acquire(alice).await.unwrap();
    assert!(slots.acquire(alice).await.is_err());
    drop(held);
}

/// Whatever clients do, no more than the limit are in flight, each waiter is served or refused at its deadline, and no slot is lost.
#[tokio::test(start_paused = true)]
async fn random_arrivals_and_departures_lose_no_slot() {
    let mut random = 7_u64;
    let mut below = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % n
    };
    for most in [1, 3] {
        let mut queued = queued(most, SlotQueue::new(WAIT).per_client(40).overall(60));
        let (mut tasks, mut held, mut served) = (Vec::new(), Vec::new(), 0);
        for _ in 0..2_000 {
            match below(4) {
                0 | 1 => tasks.push(queued.send(below(4) as u8 + 1).await),
                2 if !held.is_empty() => drop(held.swap_remove(below(held.len() as u64) as usize)),
                2 => {}
                _ => {
                    tasks.retain(|task| !task.is_finished());
                    if !tasks.is_empty() {
                        tasks.swap_remove(below(tasks.len() as u64) as usize).abort();
                    }
                }
            }
            while let Some((_, response)) = queued.next().await {
                if response.status() == 200 {
                    served += 1;
                    held.push(response);
                }
            }
            assert!(held.len() <= most as usize);
            tasks.retain(|task| !task.is_finished());
            // A slot is free only if no request waits.
            assert!(
                held.len() == most as usize || tasks.is_empty(),
                "{} {}",
                held.len(),
                tasks.len()
            );
        }
        assert!(served > 200, "{served}");
        held.clear();
        while let Some((_, response)) = queued.next().await {
            drop(response);
        }
        let last: Vec<_> = (0..most).map(|_| queued.service.handle(from(1))).collect();
        for response in futures_util::future::join_all(last).await {
            assert_eq!(response.status(), 200);
        }
    }
}
