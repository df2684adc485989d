//! WebSockets through a chain, in every host that supports upgrades.

use std::net::SocketAddr;

use ::axum::Router;
use ::axum::extract::ws::{Message, WebSocketUpgrade};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Error};
use tower::make::Shared;
use tower_chain::{Chain, ChainService, Provided, Response, Server};

use super::{Caller, caller, free_port, stamp};

/// axum's extractor after our middleware and guard.
fn rooms() -> ChainService {
    async fn room(Provided(Caller(name)): Provided<Caller>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async move |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                if let Message::Text(text) = message {
                    socket.send(Message::Text(format!("{name}: {text}").into())).await.unwrap();
                }
            }
        })
    }
    Chain::new().always(stamp).guard(caller).at("/room", |c| c.get(room)).build()
}

async fn connect(
    addr: SocketAddr,
    caller: Option<&str>,
) -> Result<tokio_tungstenite::WebSocketStream<TcpStream>, Error> {
    let mut request = format!("ws://{addr}/room").into_client_request().unwrap();
    if let Some(caller) = caller {
        request.headers_mut().insert("authorization", caller.parse().unwrap());
    }
    let socket = TcpStream::connect(addr).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, socket).await?;
    assert_eq!(response.headers()["x-chain"], "passed");
    Ok(socket)
}

async fn talks(addr: SocketAddr) {
    let Err(Error::Http(refusal)) = connect(addr, None).await else { panic!("it was let in") };
    assert_eq!(refusal.status(), 401);
    assert_eq!(refusal.headers()["content-type"], "application/problem+json");

    let mut socket = connect(addr, Some("Ann")).await.unwrap();
    for text in ["one", "two"] {
        socket.send(tungstenite::Message::text(text)).await.unwrap();
        let back = socket.next().await.unwrap().unwrap();
        assert_eq!(back.into_text().unwrap(), format!("Ann: {text}"));
    }
    socket.close(None).await.unwrap();
    while let Some(last) = socket.next().await {
        assert!(last.unwrap().is_close());
    }
}

#[tokio::test]
async fn a_websocket_passes_a_chain_in_our_server() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    tokio::spawn(server.serve_until(std::future::pending(), rooms()));
    talks(addr).await;
}

#[tokio::test]
async fn a_websocket_passes_a_chain_in_hyper() {
    let (listener, addr) = free_port().await;
    let rooms = rooms();
    tokio::spawn(async move {
        for number in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            let (io, rooms) = (TokioIo::new(socket), rooms.clone());
            // Alternates between hyper itself and hyper-util's `auto`.
            tokio::spawn(async move {
                if number % 2 == 0 {
                    let server = hyper::server::conn::http1::Builder::new();
                    server.serve_connection(io, rooms).with_upgrades().await.unwrap();
                } else {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    server.serve_connection_with_upgrades(io, rooms).await.unwrap();
                }
            });
        }
    });
    // The refused and the accepted upgrade use one connection each; the third connection changes the order.
    talks(addr).await;
    drop(TcpStream::connect(addr).await.unwrap());
    talks(addr).await;
}

#[tokio::test]
async fn a_websocket_passes_a_chain_in_axum() {
    let (listener, addr) = free_port().await;
    tokio::spawn(async move { ::axum::serve(listener, Shared::new(rooms())).await });
    talks(addr).await;
    let (listener, addr) = free_port().await;
    let router = Router::new().fallback_service(rooms());
    tokio::spawn(async move { ::axum::serve(listener, router).await });
    talks(addr).await;
}

/// An upgraded connection stays open during a shutdown, until the deadline.
#[tokio::test]
async fn a_websocket_outlives_the_begin_of_a_drain() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let ended = tokio::spawn(server.serve_until(async { drop(stopped.await) }, rooms()));
    let mut socket = connect(addr, Some("Ann")).await.unwrap();
    drop(stop);
    // The listener is closed before anything else.
    while TcpStream::connect(addr).await.is_ok() {}
    socket.send(tungstenite::Message::text("still here")).await.unwrap();
    let back = socket.next().await.unwrap().unwrap();
    assert_eq!(back.into_text().unwrap(), "Ann: still here");
    assert!(!ended.is_finished());
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    drop(socket);
    ended.await.unwrap().unwrap();
}
