//! A request on an open connection: with `serve`, and with the same chain on bare hyper. The client is a part of each count, and the same in
//! both.

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
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        Ok::<_, std::io::Error>(())
    });
}

fn subject(message: &'static str, serve: fn(TcpListener, ChainService)) -> Subject {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let service = Chain::new()
        .at("/hello", |c| c.get(async || "hello").post(async |body: String| body))
        .build();
    let mut client = runtime.block_on(connect(serve, service)).unwrap();
    let answer = move |_: Request| {
        exchange(&runtime, &mut client, message);
        Response::new(Body::empty())
    };
    Subject { request: Box::new(|| Request::new(Body::empty())), answer: Box::new(answer) }
}

async fn connect(
    serve: fn(TcpListener, ChainService),
    service: ChainService,
) -> std::io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    client.set_nodelay(true)?;
    serve(listener, service);
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
    ]
}

const GET: &str = "GET /hello HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
const POST: &str = "POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
