//! The server, over real sockets.
#![cfg(feature = "serve")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod bodies;
#[cfg(feature = "tls")]
mod client_certificates;
mod conformance;
mod cost;
mod disconnect;
mod drain;
mod frames;
mod host;
mod interim;
mod length;
mod limits;
mod listeners;
#[cfg(target_os = "linux")]
mod memory;
mod per_core;
mod proxy;
mod restarts;
mod smuggling;
#[cfg(all(unix, feature = "systemd"))]
mod systemd;
#[cfg(feature = "tls")]
mod table;
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
use futures_util::stream;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tower_chain::extract::PeerAddr;
use tower_chain::serve::{Listener, ServeError};
use tower_chain::{Body, Chain, ChainService, Provided, Request, Server, StatusCode};

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

/// A client that sends raw bytes.
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

    /// Reads until these bytes have arrived, and this many after them.
    async fn read_until(&mut self, read: &mut Vec<u8>, bytes: &[u8], after: usize) {
        while !read.windows(bytes.len() + after).any(|window| window.starts_with(bytes)) {
            assert!(within(self.0.read_buf(read)).await.unwrap() > 0, "the connection ended");
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
        .at("/panic-post", |c| c.post(panics))
        .at("/broken", |c| c.get(async || broken()))
        .at("/peer", |c| c.get(peer))
        .at("/ignored", |c| c.post(async || "not read"))
        .at("/length", |c| c.post(length))
        .at("/endless", |c| c.get(async || endless()))
        .at("/fresh", |c| c.get(async || fresh()))
        .at("/late", |c| c.get(late))
        .at("/whole", |c| c.get(async || vec![1; 400 * 1024]))
        .at("/never", |c| c.all(std::future::pending::<()>))
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

/// A body that panics.
fn broken() -> Body {
    Body::from_stream(stream::poll_fn(|_| -> Poll<Option<io::Result<Bytes>>> {
        panic!("a bug in a body")
    }))
}

/// A body without end.
fn endless() -> Body {
    Body::from_stream(stream::repeat_with(|| io::Result::Ok(Bytes::from_static(&[0; 65536]))))
}

/// A body without end, each frame of which is memory of its own.
fn fresh() -> Body {
    Body::from_stream(stream::repeat_with(|| io::Result::Ok(Bytes::from(vec![1; 64 * 1024]))))
}

/// As `fresh`, after all other requests have been started: their bodies wait for memory, and not their handlers.
async fn late() -> Body {
    tokio::task::yield_now().await;
    fresh()
}

/// A gate in a handler: the test sees which requests arrive, and lets them pass.
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

/// A service that responds when the test opens its gate.
fn gated() -> (ChainService, Gate) {
    gated_with("done")
}

fn gated_with(answer: impl Into<Bytes>) -> (ChainService, Gate) {
    let gate = Gate(Arc::new([Semaphore::new(0), Semaphore::new(0)]));
    let service = Chain::new()
        .provide((gate.clone(), answer.into()))
        .get(async |Provided((gate, answer)): Provided<(Gate, Bytes)>| {
            gate.pass().await;
            answer
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

/// Starts a server in a process of its own, after a command of the shell.
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
    // The test harness of that process writes its result at the end.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (program, addr)
}

/// In a process of its own, because the subscriber and stderr are those of the process.
#[tokio::test]
async fn without_a_subscriber_the_server_reports_that_once() {
    for (name, reports) in [("two_servers", 1), ("two_servers_with_a_subscriber", 0)] {
        let output = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture"])
            .output();
        let output = within(output).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        let line = "tracing_subscriber::fmt().with_writer(std::io::stderr).init();";
        assert_eq!(text.matches(line).count(), reports, "{name}: {text}");
    }
}

#[tokio::test]
#[ignore = "is run by other tests"]
async fn two_servers() {
    for _ in 0..2 {
        Running::start(service()).await.stop().await;
    }
}

#[tokio::test]
#[ignore = "is run by other tests"]
async fn two_servers_with_a_subscriber() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    for _ in 0..2 {
        Running::start(service()).await.stop().await;
    }
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "is run by other tests"]
async fn the_program() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    println!("listens on {}", server.local_addr().unwrap());
    let alive = Arc::new(());
    let service = Chain::new().provide(alive.clone()).service("/", service()).build();
    server.serve(service).await.unwrap();
    assert_eq!(Arc::strong_count(&alive), 1, "a connection outlives the server");
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

    async fn get(&mut self, path: &str) -> hyper::body::Incoming {
        let request = http::Request::get(format!("http://test{path}")).header("host", "test");
        let request = request.body(String::new()).unwrap();
        let response = match self {
            Self::Http1(send) => send.send_request(request).await,
            Self::Http2(send) => send.send_request(request).await,
        };
        response.unwrap().into_body()
    }
}
