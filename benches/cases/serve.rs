//! A request on an open connection, and a connection with ten requests: with `serve`, and with the same chain on bare hyper. The client is a part of each count, and the same in
//! both.

use std::net::SocketAddr;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tower_chain::{Body, Chain, ChainService, Server};

use super::{Case, Request, Response, Subject};

fn by_serve(_: usize) -> Subject {
    subject(GET, with_serve)
}

fn by_hyper(_: usize) -> Subject {
    subject(GET, with_hyper)
}

fn by_serve_with_body(_: usize) -> Subject {
    subject(POST, with_serve)
}

fn by_hyper_with_body(_: usize) -> Subject {
    subject(POST, with_hyper)
}

fn with_serve(listener: TcpListener, service: ChainService) {
    tokio::spawn(Server::new(listener).serve_until(std::future::pending(), service));
}

fn with_hyper(listener: TcpListener, service: ChainService) {
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let http1 = http1::Builder::new();
            tokio::spawn(http1.serve_connection(TokioIo::new(socket), service.clone()));
        }
    });
}

fn connections_by_serve(_: usize) -> Subject {
    connections(with_serve)
}

fn connections_by_hyper(_: usize) -> Subject {
    connections(with_hyper)
}

/// A request on a connection that stays open.
fn subject(message: &'static str, serve: fn(TcpListener, ChainService)) -> Subject {
    let (runtime, addr) = start(serve);
    let mut client = runtime.block_on(connect(addr)).unwrap();
    let answer = move |_: Request| {
        exchange(&runtime, &mut client, message);
        Response::new(Body::empty())
    };
    Subject { request: Box::new(|| Request::new(Body::empty())), answer: Box::new(answer) }
}

/// A connection that has ten requests.
fn connections(serve: fn(TcpListener, ChainService)) -> Subject {
    let (runtime, addr) = start(serve);
    let answer = move |_: Request| {
        let mut client = runtime.block_on(connect(addr)).unwrap();
        (0..10).for_each(|_| exchange(&runtime, &mut client, GET));
        drop(client);
        // The server ends its side.
        (0..4).for_each(|_| runtime.block_on(tokio::task::yield_now()));
        Response::new(Body::empty())
    };
    Subject { request: Box::new(|| Request::new(Body::empty())), answer: Box::new(answer) }
}

fn start(serve: fn(TcpListener, ChainService)) -> (Runtime, SocketAddr) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let service = Chain::new()
        .at("/hello", |c| c.get(async || "hello").post(async |body: String| body))
        .build();
    let addr = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        serve(listener, service);
        addr
    });
    (runtime, addr)
}

async fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let client = TcpStream::connect(addr).await?;
    client.set_nodelay(true)?;
    Ok(client)
}

fn exchange(runtime: &Runtime, client: &mut TcpStream, message: &str) {
    let mut answer = [0; 512];
    let length = runtime.block_on(async {
        client.write_all(message.as_bytes()).await?;
        client.read(&mut answer).await
    });
    assert!(answer[..length.unwrap()].ends_with(b"\r\n\r\nhello"));
}

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, build| Case { group: "server", name: name.to_owned(), build, size: 0 };
    vec![
        case("hyper, GET", by_hyper),
        case("serve, GET", by_serve),
        case("hyper, POST", by_hyper_with_body),
        case("serve, POST", by_serve_with_body),
        case("hyper, a connection with 10 x GET", connections_by_hyper),
        case("serve, a connection with 10 x GET", connections_by_serve),
    ]
}

const GET: &str = "GET /hello HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
const POST: &str = "POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
