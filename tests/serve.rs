//! The server, over real sockets.
#![cfg(feature = "serve")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_chain::{ChainService, PeerAddr, Request, ServeError, Server};

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
        let server = tune(Server::bind("127.0.0.1:0").await.unwrap());
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
                    return text;
                }
            }
            let mut buf = [0; 4096];
            let length = within(self.0.read(&mut buf)).await.unwrap();
            assert_ne!(length, 0, "the connection ended after {text:?}");
            read.extend_from_slice(&buf[..length]);
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

fn hello() -> ChainService {
    tower_chain::Chain::new()
        .at("/", |c| c.get(async || "hello"))
        .at("/panic", |c| {
            c.get(async || {
                if true {
                    panic!("a bug");
                }
            })
        })
        .at("/peer", |c| c.get(peer))
        .at("/ignored", |c| c.post(async || "not read"))
        .build()
}

async fn peer(req: Request) -> String {
    let peer = req.extensions().get::<PeerAddr>();
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.0.to_string())
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_lives_on() {
    let server = Running::start(hello()).await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let response = client.response().await;
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    assert!(response.contains("application/problem+json"), "{response}");
    assert!(!response.contains("a bug"), "{response}");
    client.send(GET).await;
    assert!(client.response().await.ends_with("\r\n\r\nhello"));
    server.stop().await;
}

#[tokio::test]
async fn a_handler_sees_the_address_of_the_peer() {
    let server = Running::start(hello()).await;
    let mut client = server.connect().await;
    client.send("GET /peer HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let expected = format!("\r\n\r\n{}", client.0.local_addr().unwrap());
    assert!(client.response().await.ends_with(&expected));
}

#[tokio::test]
async fn what_a_handler_leaves_unread_is_drained_and_the_connection_lives_on() {
    let server = Running::start(hello()).await;
    let mut client = server.connect().await;
    let body = vec![b'x'; 1_000_000];
    let head =
        format!("POST /ignored HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(head).await;
    // The answer doesn't wait for the body, nor is it lost.
    assert!(client.response().await.ends_with("\r\n\r\nnot read"));
    client.send(body).await;
    client.send(GET).await;
    assert!(client.response().await.ends_with("\r\n\r\nhello"));
    server.stop().await;
}
