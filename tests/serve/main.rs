//! The server, over real sockets.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod cost;
mod proxy;
#[cfg(all(unix, feature = "systemd"))]
mod systemd;
#[cfg(feature = "tls")]
mod tls;

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_core::response::IntoResponse;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tower_chain::{
    Body, Chain, ChainService, Listener, PeerAddr, Provided, Request, ServeError, Server,
    StatusCode,
};

/// A server on a free port, until it is stopped or dropped.
struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    async fn start(service: ChainService) -> Self {
        Self::tuned(service, |server| server).await
    }

    async fn tuned(service: ChainService, tune: impl FnOnce(Server) -> Server) -> Self {
        Self::of(tune(Server::bind("127.0.0.1:0").await.unwrap()), service)
    }

    fn of(server: Server, service: ChainService) -> Self {
        let addr = server.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(server.serve_until(stopped, service));
        Self { addr, stop, ended }
    }

    async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(self.addr).await.unwrap())
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

/// A client that sends bytes as they are.
struct Raw(TcpStream);

impl Raw {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads one response whose length is declared.
    async fn response(&mut self) -> String {
        self.try_response().await.expect("the connection ended")
    }

    /// `None` if the connection ends instead.
    async fn try_response(&mut self) -> Option<String> {
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .to_ascii_lowercase()
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    assert_eq!(body.len(), length, "more than one response: {text}");
                    return Some(text);
                }
            }
            let mut buf = [0; 4096];
            match within(self.0.read(&mut buf)).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => read.extend_from_slice(&buf[..length]),
            }
        }
    }

    /// Reads to the end of the connection.
    async fn rest(&mut self) -> io::Result<String> {
        let mut read = Vec::new();
        within(self.0.read_to_end(&mut read)).await?;
        Ok(String::from_utf8_lossy(&read).into_owned())
    }
}

/// A test that waits for longer has failed.
async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("takes too long")
}

/// A service with a handler for each thing that a body can be used for.
fn service() -> ChainService {
    Chain::new()
        .at("/", |c| c.get(async || "hello"))
        .at("/panic", |c| c.get(panics))
        .at("/broken", |c| c.get(async || Body::new(Broken)))
        .at("/peer", |c| c.get(peer))
        .at("/ignored", |c| c.post(async || "not read"))
        .at("/length", |c| c.post(length))
        .at("/endless", |c| c.get(async || Body::new(Endless)))
        .build()
}

async fn panics() {
    panic!("a bug")
}

async fn peer(req: Request) -> String {
    let peer = req.extensions().get::<PeerAddr>();
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.0.to_string())
}

async fn length(req: Request) -> String {
    match req.into_body().collect().await {
        Ok(body) => body.to_bytes().len().to_string(),
        Err(error) => format!("failed: {}", deepest(&error)),
    }
}

fn deepest(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), deepest)
}

/// A body that panics after its first bytes.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        panic!("a bug in a body")
    }
}

/// A body without end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[0; 65536])))))
    }
}

/// A gate in a handler: the test sees who comes, and says who passes.
#[derive(Clone)]
struct Gate(Arc<[Semaphore; 2]>);

impl Gate {
    async fn pass(&self) {
        self.0[0].add_permits(1);
        self.0[1].acquire().await.unwrap().forget();
    }

    async fn entered(&self) {
        within(self.0[0].acquire()).await.unwrap().forget();
    }

    fn open(&self, for_how_many: usize) {
        self.0[1].add_permits(for_how_many);
    }
}

/// Answers when the test says so.
fn gated() -> (ChainService, Gate) {
    let gate = Gate(Arc::new([Semaphore::new(0), Semaphore::new(0)]));
    let service = Chain::new()
        .provide(gate.clone())
        .get(async |Provided(gate): Provided<Gate>| {
            gate.pass().await;
            "done"
        })
        .build();
    (service, gate)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

fn post(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n")
}

fn body_of(response: &str) -> &str {
    response.split_once("\r\n\r\n").expect("no end of the head").1
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_lives_on() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let response = client.response().await;
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    assert!(response.contains("application/problem+json"), "{response}");
    assert!(!response.contains("a bug"), "{response}");
    client.send(GET).await;
    assert_eq!(body_of(&client.response().await), "hello");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_panics_breaks_the_response_off() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send("GET /broken HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let response = client.rest().await.unwrap();
    // No last chunk: the client sees that something is missing.
    assert!(!response.contains("0\r\n\r\n"), "{response}");
    server.stop().await;
}

#[tokio::test]
async fn a_handler_sees_the_address_of_the_peer() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send("GET /peer HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let expected = client.0.local_addr().unwrap().to_string();
    assert_eq!(body_of(&client.response().await), expected);
}

#[tokio::test]
async fn what_a_handler_leaves_unread_is_drained_and_the_connection_lives_on() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    let body = vec![b'x'; 3_000_000];
    client.send(post("/ignored", &format!("Content-Length: {}\r\n", body.len()))).await;
    // The answer doesn't wait for the body, nor is it lost.
    assert_eq!(body_of(&client.response().await), "not read");
    client.send(body).await;
    client.send(GET).await;
    assert_eq!(body_of(&client.response().await), "hello");
    server.stop().await;
}

#[tokio::test]
async fn chunks_that_a_handler_leaves_unread_are_drained() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send(post("/ignored", "Transfer-Encoding: chunked\r\n")).await;
    assert_eq!(body_of(&client.response().await), "not read");
    for _ in 0..100 {
        client.send("400\r\n").await;
        client.send([b'x'; 0x400]).await;
        client.send("\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    client.send(GET).await;
    assert_eq!(body_of(&client.response().await), "hello");
    server.stop().await;
}

#[cfg(feature = "json")]
#[tokio::test]
async fn the_connection_lives_on_after_a_413_a_400_and_a_415() {
    async fn take(_: tower_chain::Json<serde_json::Value>) -> &'static str {
        "taken"
    }
    let server = Running::start(Chain::new().post(take).build()).await;
    let mut client = server.connect().await;
    let json = "Content-Type: application/json\r\n";
    let large = format!("\"{}\"", "x".repeat(2_000_000));
    for (headers, body, status) in [
        (format!("{json}Content-Length: {}\r\n", large.len()), large.clone(), 413),
        (
            format!("{json}Transfer-Encoding: chunked\r\n"),
            format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()),
            413,
        ),
        (format!("{json}Content-Length: 1\r\n"), "{".to_owned(), 400),
        ("Content-Length: 2\r\n".to_owned(), "{}".to_owned(), 415),
        (format!("{json}Content-Length: 2\r\n"), "{}".to_owned(), 200),
    ] {
        client.send(post("/", &headers)).await;
        client.send(body).await;
        let response = client.response().await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert_eq!(response.contains("application/problem+json"), status != 200, "{response}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_response_survives_a_body_that_is_too_large_to_drain() {
    let server = Running::tuned(service(), |server| server.unread_body_limit(1000)).await;
    for headers in ["Content-Length: 20000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = server.connect().await;
        client.send(post("/ignored", headers)).await;
        // More than fits into the buffers of the sockets: who closes now would reset the connection, and the answer would be gone.
        let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 0x10_0000], b"\r\n"].concat();
        for _ in 0..19 {
            client.send(&chunk).await;
        }
        let response = client.response().await;
        assert_eq!(body_of(&response), "not read");
        client.0.shutdown().await.unwrap();
        assert_eq!(client.rest().await.unwrap(), "");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_is_told_before_it_sends() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send(post("/length", "Content-Length: 3\r\nExpect: 100-continue\r\n")).await;
    assert_eq!(client.response().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert_eq!(body_of(&client.response().await), "3");

    // Nobody wants this body: it is refused before it is sent, and the connection ends, for the client may send it or not.
    client.send(post("/ignored", "Content-Length: 3\r\nExpect: 100-continue\r\n")).await;
    assert_eq!(body_of(&client.response().await), "not read");
    client.0.shutdown().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), "");
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_takes_too_long_ends_the_connection() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| server.header_read_timeout(timeout)).await;
    let mut silent = server.connect().await;
    let mut first = server.connect().await;
    first.send("GET / HTTP/1.1\r\nHo").await;
    let mut second = server.connect().await;
    second.send(GET).await;
    second.response().await;
    second.send("GET / HTTP/1.1\r\nHo").await;
    for client in [&mut silent, &mut first, &mut second] {
        assert_eq!(client.rest().await.unwrap_or_default(), "");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_busy_one_does_not() {
    let timeout = Duration::from_millis(100);
    let (service, gate) = gated();
    let server = Running::tuned(service, |server| {
        server.idle_timeout(timeout).header_read_timeout(timeout * 100)
    })
    .await;
    let mut busy = server.connect().await;
    busy.send(GET).await;
    gate.entered().await;

    gate.open(1);
    busy.response().await;
    busy.send(GET).await;
    gate.entered().await;
    let mut idle = server.connect().await;
    idle.send(GET).await;
    gate.entered().await;
    gate.open(2);
    busy.response().await;
    idle.response().await;
    assert_eq!(idle.rest().await.unwrap(), "");
    server.stop().await;
}

#[tokio::test]
async fn a_request_without_one_host_is_refused() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        client.send(format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        let response = client.response().await;
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert!(response.contains("application/problem+json"), "{response}");
    }
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(body_of(&client.response().await), "hello");
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered() {
    let server = Running::tuned(service(), |server| server.max_header_size(8 * 1024)).await;
    let mut client = server.connect().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(100_000)))
        .await;
    let response = client.response().await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn an_http2_head_that_is_too_large_is_answered() {
    let server = Running::tuned(service(), |server| server.max_header_size(8 * 1024)).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/", server.addr);
    let response = client.get(&url).header("x", "x".repeat(20_000)).send().await.unwrap();
    assert_eq!(response.status(), 431);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    drop(client);
    server.stop().await;
}

/// Run in a process of its own, because the limit is one of the process.
#[cfg(unix)]
#[tokio::test]
async fn a_server_out_of_file_descriptors_goes_on_when_there_are_some() {
    let (_program, addr) = program("ulimit -n 40").await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = Raw(TcpStream::connect(addr).await.unwrap());
        client.send(GET).await;
        clients.push(client);
    }
    assert_eq!(body_of(&clients[0].response().await), "hello");
    let waiting = clients.split_off(45);
    // Those that go make room for those that wait.
    clients.truncate(10);
    for mut waiting in waiting {
        assert_eq!(body_of(&waiting.response().await), "hello");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let (mut program, addr) = program("true").await;
    let mut client = Raw(TcpStream::connect(addr).await.unwrap());
    client.send(post("/length", "Content-Length: 3\r\n")).await;
    // Its answer says that the first request has come as well: they are on one thread, and in order.
    let mut other = Raw(TcpStream::connect(addr).await.unwrap());
    other.send(GET).await;
    other.response().await;
    let pid = program.id().unwrap().to_string();
    let signal = |name: &str| {
        let status = std::process::Command::new("kill").args([name, &pid]).status();
        assert!(status.unwrap().success());
    };
    signal("-INT");
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    client.send("ab").await;
    assert!(program.try_wait().unwrap().is_none());
    signal("-TERM");
    // The drain itself would take 30 seconds.
    assert!(within(program.wait()).await.unwrap().success());
}

/// A server in a process of its own, after what the shell does before.
#[cfg(unix)]
async fn program(before: &str) -> (tokio::process::Child, SocketAddr) {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let mut program = tokio::process::Command::new("sh")
        .args(["-c", &format!(r#"{before}; exec "$0" "$@""#)])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_program", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let addr = loop {
        let line = within(lines.next_line()).await.unwrap().unwrap();
        if let Some((_, addr)) = line.split_once("listens on ") {
            break addr.parse().unwrap();
        }
    };
    // Who is told the result of the test reads on.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (program, addr)
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "is run by other tests"]
async fn the_program() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    println!("listens on {}", server.local_addr().unwrap());
    server.serve(service()).await.unwrap();
}

#[tokio::test]
async fn a_body_that_stops_is_an_error_for_the_handler() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| server.body_read_timeout(timeout)).await;
    let mut client = server.connect().await;
    client.send(post("/length", "Content-Length: 3\r\n")).await;
    client.send("ab").await;
    assert_eq!(body_of(&client.response().await), "failed: the client stopped sending");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_dropped() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| server.write_timeout(timeout)).await;
    let mut client = server.connect().await;
    client.send("GET /endless HTTP/1.1\r\nHost: test\r\n\r\n").await;
    // The server waits for its connections: it ends only if it gave this one up.
    within(server.stop()).await;
    drop(client);
}

#[tokio::test]
async fn a_slow_client_gets_a_large_response_whole() {
    let large = Chain::new().get(async || vec![b'x'; 16_000_000]).build();
    let timeout = Duration::from_millis(250);
    let server =
        Running::tuned(large, |server| server.idle_timeout(timeout).header_read_timeout(timeout))
            .await;
    for http2 in [false, true] {
        let mut client = Client::connect(server.addr, http2).await;
        let mut body = client.get().await;
        // Takes several times as long as an idle connection may live, though the handler is done at once.
        let mut pace = tokio::time::interval(timeout / 6);
        let (mut length, mut pause_at) = (0, 0);
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().into_data().unwrap().len();
            if length > pause_at {
                pause_at += 500_000;
                pace.tick().await;
            }
        }
        assert_eq!(length, 16_000_000);
    }
}

/// A client of hyper on one connection.
enum Client {
    Http1(hyper::client::conn::http1::SendRequest<String>),
    Http2(hyper::client::conn::http2::SendRequest<String>),
}

impl Client {
    async fn connect(addr: SocketAddr, http2: bool) -> Self {
        let io = TokioIo::new(TcpStream::connect(addr).await.unwrap());
        if http2 {
            let executor = hyper_util::rt::TokioExecutor::new();
            let (send, connection) =
                hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            Self::Http2(send)
        } else {
            let (send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::Http1(send)
        }
    }

    async fn get(&mut self) -> hyper::body::Incoming {
        let request = http::Request::get("http://test/").header("host", "test");
        let request = request.body(String::new()).unwrap();
        let response = match self {
            Self::Http1(send) => send.send_request(request).await,
            Self::Http2(send) => send.send_request(request).await,
        };
        response.unwrap().into_body()
    }
}

#[tokio::test]
async fn connections_past_the_limit_wait() {
    let server = Running::tuned(service(), |server| server.max_connections(1)).await;
    let mut first = server.connect().await;
    first.send(GET).await;
    first.response().await;
    let mut second = server.connect().await;
    second.send(GET).await;
    first.send(GET).await;
    first.response().await;
    let mut byte = [0];
    assert_eq!(
        second.0.try_read(&mut byte).map_err(|error| error.kind()),
        Err(io::ErrorKind::WouldBlock)
    );
    drop(first);
    assert_eq!(body_of(&second.response().await), "hello");
    drop(second);
    server.stop().await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered_while_the_server_stops() {
    let (service, gate) = gated();
    let server = Running::start(service).await;
    let (addr, mut client) = (server.addr, server.connect().await);
    client.send(GET).await;
    gate.entered().await;
    let stopping = tokio::spawn(server.stop());
    // The listener is closed before anything else.
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    gate.open(1);
    let response = client.response().await;
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert_eq!(body_of(&response), "done");
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped_at_the_deadline() {
    let (service, gate) = gated();
    let deadline = Duration::from_millis(50);
    let server = Running::tuned(service, |server| server.drain_deadline(deadline)).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    gate.entered().await;
    let mut half_a_head = server.connect().await;
    half_a_head.send("GET / HT").await;
    within(server.stop()).await;
    assert_eq!(client.rest().await.unwrap_or_default(), "");
    assert_eq!(half_a_head.rest().await.unwrap_or_default(), "");
}

#[tokio::test]
async fn half_a_body_does_not_hang_a_server_that_stops() {
    let deadline = Duration::from_millis(50);
    let server = Running::tuned(service(), |server| server.drain_deadline(deadline)).await;
    let mut client = server.connect().await;
    client.send(post("/length", "Content-Length: 3\r\n")).await;
    client.send("ab").await;
    let mut silent = server.connect().await;
    within(server.stop()).await;
    assert_eq!(client.rest().await.unwrap_or_default(), "");
    assert_eq!(silent.rest().await.unwrap_or_default(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_request_is_lost_when_the_server_stops() {
    for _ in 0..5 {
        let seen = Seen::default();
        let server = Running::start(Chain::new().provide(seen.clone()).get(see).build()).await;
        let addr = server.addr;
        let (served, mut sees_served) = tokio::sync::mpsc::unbounded_channel();
        let clients: Vec<_> = (0..50)
            .map(|client| {
                let (served, seen) = (served.clone(), seen.clone());
                tokio::spawn(async move {
                    let mut number = 0;
                    while let Ok(socket) = TcpStream::connect(addr).await {
                        let mut client_socket = Raw(socket);
                        for request in 0..20 {
                            number += 1;
                            let path = format!("/{client}/{number}");
                            let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
                            let sent = client_socket.0.write_all(head.as_bytes()).await;
                            let Some(response) = (match sent {
                                Ok(()) => client_socket.try_response().await,
                                Err(_) => None,
                            }) else {
                                // A connection that the system took after the server had looked for the last time.
                                assert_eq!(request, 0, "a request was lost");
                                assert!(!seen.lock().unwrap().contains(&path), "begun and lost");
                                return;
                            };
                            assert_eq!(body_of(&response), "hello");
                            let _ = served.send(());
                            if response.contains("connection: close") {
                                break;
                            }
                        }
                    }
                })
            })
            .collect();
        drop(served);
        for _ in 0..2000 {
            within(sees_served.recv()).await.unwrap();
        }
        within(server.stop()).await;
        for client in clients {
            within(client).await.unwrap();
        }
    }
}

/// Which requests were begun.
type Seen = Arc<Mutex<HashSet<String>>>;

async fn see(Provided(seen): Provided<Seen>, req: Request) -> &'static str {
    seen.lock().unwrap().insert(req.uri().to_string());
    tokio::task::yield_now().await;
    "hello"
}

#[tokio::test]
async fn an_upgraded_connection_outlives_its_response() {
    async fn upgrade(mut req: Request) -> impl IntoResponse {
        let upgrading = hyper::upgrade::on(&mut req);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrading.await.unwrap());
            let (mut read, mut write) = tokio::io::split(&mut io);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")])
    }
    let server = Running::start(Chain::new().get(upgrade).build()).await;
    let mut client = server.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    let response = client.response().await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    client.send("echo this").await;
    client.0.shutdown().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), "echo this");
    within(server.stop()).await;
}

#[tokio::test]
async fn http2_streams_outlive_a_panic_and_an_unread_body() {
    let server = Running::start(service()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = |path: &str| format!("http://{}{path}", server.addr);
    for _ in 0..3 {
        let response = client.get(url("/panic")).send().await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.version(), http::Version::HTTP_2);
        let broken = async { client.get(url("/broken")).send().await?.bytes().await };
        assert!(broken.await.is_err());
        let response = client.post(url("/ignored")).body(vec![0; 3_000_000]).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "not read");
    }
    let response = client.post(url("/length")).body(vec![0; 3_000_000]).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "3000000");
    let peer = || async { client.get(url("/peer")).send().await.unwrap().text().await.unwrap() };
    // The same port means the same connection.
    assert_eq!(peer().await, peer().await);
    within(server.stop()).await;
}

#[tokio::test]
async fn http2_requests_in_flight_are_answered_while_the_server_stops() {
    let (service, gate) = gated();
    let server = Running::start(service).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answers: Vec<_> = (0..10)
        .map(|_| tokio::spawn(client.get(format!("http://{}/", server.addr)).send()))
        .collect();
    for _ in 0..10 {
        gate.entered().await;
    }
    let stopping = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    gate.open(10);
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap().text().await.unwrap(), "done");
    }
    within(stopping).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_http2_request_is_lost_when_the_server_stops() {
    for _ in 0..5 {
        let seen = Seen::default();
        let server = Running::start(Chain::new().provide(seen.clone()).get(see).build()).await;
        let addr = server.addr;
        let (served, mut sees_served) = tokio::sync::mpsc::unbounded_channel();
        let clients: Vec<_> = (0..20)
            .map(|client| {
                let served = served.clone();
                tokio::spawn(async move {
                    let socket = TcpStream::connect(addr).await.unwrap();
                    let (mut send, connection) = hyper::client::conn::http2::handshake(
                        hyper_util::rt::TokioExecutor::new(),
                        TokioIo::new(socket),
                    )
                    .await
                    .unwrap();
                    tokio::spawn(connection);
                    // It isn't ready any more when GOAWAY has come.
                    let mut refused = Vec::new();
                    for number in 0.. {
                        if send.ready().await.is_err() {
                            break;
                        }
                        let uri = format!("http://test/{client}/{number}");
                        let request = http::Request::get(&uri)
                            .body(http_body_util::Empty::<Bytes>::new())
                            .unwrap();
                        match send.send_request(request).await {
                            Ok(response) => {
                                let body = response.into_body().collect().await.unwrap();
                                assert_eq!(body.to_bytes(), "hello");
                                let _ = served.send(());
                            }
                            Err(_) => refused.push(uri),
                        }
                    }
                    refused
                })
            })
            .collect();
        drop(served);
        for _ in 0..2000 {
            within(sees_served.recv()).await.unwrap();
        }
        within(server.stop()).await;
        for client in clients {
            // RFC 9113, 6.8: what came too late was not begun, so that the client may ask again elsewhere.
            for refused in within(client).await.unwrap() {
                assert!(!seen.lock().unwrap().contains(&refused), "{refused} was begun and lost");
            }
        }
    }
}

#[tokio::test]
async fn an_idle_http2_connection_ends() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| {
        server.idle_timeout(timeout).header_read_timeout(timeout)
    })
    .await;
    let mut client = server.connect().await;
    // The preface and empty SETTINGS, and nothing after.
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    // The server's SETTINGS and a GOAWAY (type 7, RFC 9113, 6.8).
    let mut read = Vec::new();
    within(client.0.read_to_end(&mut read)).await.unwrap();
    assert!(read.windows(6).any(|frame| frame == b"\0\0\x08\x07\0\0"), "{read:?}");
    server.stop().await;
}

#[tokio::test]
async fn pings_do_not_keep_an_http2_connection_open() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| {
        server.idle_timeout(timeout).header_read_timeout(timeout)
    })
    .await;
    let mut client = server.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let pings = async {
        let mut pace = tokio::time::interval(timeout / 10);
        let mut read = [0; 1024];
        loop {
            pace.tick().await;
            let ping = client.0.write_all(b"\0\0\x08\x06\0\0\0\0\0pingping").await;
            if ping.is_err() || matches!(client.0.try_read(&mut read), Ok(0)) {
                break;
            }
        }
    };
    within(pings).await;
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_its_client_does_not_read_ends_and_the_others_live_on() {
    let timeout = Duration::from_millis(100);
    let alive = Arc::new(());
    let sent = std::sync::Mutex::new(Some(alive.clone()));
    let endless = move || {
        let sent = sent.lock().unwrap().take();
        std::future::ready(Body::new(Endless.map_frame(move |frame| {
            assert!(sent.is_some());
            frame.map_data(|data| data.slice(..1000))
        })))
    };
    let service = Chain::new()
        .at("/", |c| c.get(async || "hello"))
        .at("/endless", |c| c.get(endless))
        .build();
    let server = Running::tuned(service, |server| server.write_timeout(timeout)).await;
    let Client::Http2(mut send) = Client::connect(server.addr, true).await else { unreachable!() };
    let get =
        |path: &str| http::Request::get(format!("http://test{path}")).body(String::new()).unwrap();
    let unread = send.send_request(get("/endless")).await.unwrap().into_body();
    // The window of the stream is shut now. That of the connection is larger, so that others pass.
    let ended = async {
        while Arc::strong_count(&alive) > 1 {
            let response = send.send_request(get("/")).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
        }
    };
    within(ended).await;
    assert!(unread.collect().await.is_err());
}

#[tokio::test]
async fn several_listeners_are_served() {
    let first = Server::bind("127.0.0.1:0").await.unwrap();
    let second = Listener::bind("127.0.0.1:0").await.unwrap();
    let addrs = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let ended = tokio::spawn(first.listen(second).serve_until(stopped, service()));
    for addr in addrs {
        let mut client = Raw(TcpStream::connect(addr).await.unwrap());
        client.send(GET).await;
        assert_eq!(body_of(&client.response().await), "hello");
    }
    drop(stop);
    within(ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_ipv4_client_has_its_ipv4_address_on_any_socket() {
    // Some machines have no IPv6.
    let Ok(server) = Server::bind("[::]:0").await else { return };
    let port = server.local_addr().unwrap().port();
    tokio::spawn(server.serve_until(std::future::pending(), service()));
    let mut client = Raw(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    client.send("GET /peer HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let expected = client.0.local_addr().unwrap().to_string();
    assert_eq!(body_of(&client.response().await), expected);
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served_and_a_dead_one_replaced() {
    let folder = tempdir();
    let path = folder.join("api.sock");
    for _ in 0..2 {
        let server = Server::new(Listener::bind_unix(&path).unwrap());
        // A living one is not.
        let error = Listener::bind_unix(&path).unwrap_err();
        assert!(matches!(error, ServeError::Bind { .. }), "{error}");
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let ended = tokio::spawn(server.serve_until(stopped, service()));
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET /peer HTTP/1.0\r\n\r\n").await.unwrap();
        let mut response = String::new();
        within(client.read_to_string(&mut response)).await.unwrap();
        assert_eq!(body_of(&response), "unknown");
        drop(stop);
        within(ended).await.unwrap().unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
fn tempdir() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("tower-chain-serve-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_stops_the_server() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let ended = tokio::spawn(server.serve(service()));
    let mut client = Raw(TcpStream::connect(addr).await.unwrap());
    client.send(GET).await;
    // Who answers listens for signals.
    client.response().await;
    let status = std::process::Command::new("kill")
        .args(["-TERM", &std::process::id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    within(ended).await.unwrap().unwrap();
    assert_eq!(client.rest().await.unwrap(), "");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let error = Server::bind(addr).await.unwrap_err().to_string();
    assert!(error.contains(&addr.to_string()), "{error}");
    assert!(error.contains("take another one"), "{error}");
}

#[tokio::test]
async fn a_limit_of_zero_is_refused() {
    let server = Server::bind("127.0.0.1:0").await.unwrap().max_connections(0);
    let error = server.serve_until(std::future::pending(), service()).await.unwrap_err();
    assert!(matches!(error, ServeError::Limit("max_connections")), "{error}");
}

#[tokio::test]
async fn a_limit_may_be_as_large_as_can_be() {
    let server = Running::tuned(service(), |server| {
        server
            .header_read_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .body_read_timeout(Duration::MAX)
            .write_timeout(Duration::MAX)
            .drain_grace(Duration::MAX)
            .drain_deadline(Duration::MAX)
            .max_connections(usize::MAX)
            .max_header_size(usize::MAX)
            .unread_body_limit(u64::MAX)
    })
    .await;
    for http2 in [false, true] {
        let mut client = Client::connect(server.addr, http2).await;
        assert_eq!(client.get().await.collect().await.unwrap().to_bytes(), "hello");
    }
}

/// Whoever serves can be any tower service over the same types.
#[tokio::test]
async fn an_axum_router_and_a_static_chain_are_served_as_well() {
    let router = axum::Router::new().route("/", axum::routing::get(async || "hello"));
    let chain = Chain::new().get(async || "hello").into_service();
    let (first, second) =
        (Server::bind("127.0.0.1:0").await.unwrap(), Server::bind("127.0.0.1:0").await.unwrap());
    let addrs = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    tokio::spawn(first.serve_until(std::future::pending(), router));
    tokio::spawn(second.serve_until(std::future::pending(), chain));
    for addr in addrs {
        let mut client = Raw(TcpStream::connect(addr).await.unwrap());
        client.send(GET).await;
        assert_eq!(body_of(&client.response().await), "hello");
    }
}
