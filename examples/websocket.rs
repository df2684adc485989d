//! A chat room over WebSockets, with axum's extractor.
//!
//! A browser lets any page open a WebSocket to any host, and sends the host's cookies. The guard therefore checks the `Origin`. Run with
//!
//! ```sh
//! cargo run --example websocket --features query,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! axum = { version = "0.8", features = ["ws"] }
//! futures-util = "0.3"
//! http = "1"
//! serde = { version = "1", features = ["derive"] }
//! tokio-tungstenite = { version = "0.29", default-features = false, features = ["handshake"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! Connect with `websocat 'ws://localhost:3000/room?name=Ann'`.
//!
//! ```sh
//! curl -i --max-time 1 -H 'connection: upgrade' -H 'upgrade: websocket' -H 'sec-websocket-version: 13' \
//!     -H 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==' 'localhost:3000/room?name=Ann'
//! # HTTP/1.1 101 Switching Protocols
//! # sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
//! curl -i -H 'origin: https://evil.example' 'localhost:3000/room?name=Ann'
//! # HTTP/1.1 403 Forbidden
//! # content-type: application/problem+json
//! ```

use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade, close_code};
use http::HeaderMap;
use tokio::sync::broadcast::{Sender, channel};
use tower_chain::serve::Draining;
use tower_chain::{Chain, ChainService, Error, Provided, Query, Response, Server, StatusCode};

const PAGE: &str = "http://localhost:3000";

/// Accepts a missing `Origin`: programs don't send it, and pages can't omit it.
async fn from_own_page(headers: HeaderMap) -> Result<(), Error> {
    match headers.get("origin") {
        Some(origin) if origin != PAGE => {
            Err(Error::new(StatusCode::FORBIDDEN, "This page may not talk here"))
        }
        _ => Ok(()),
    }
}

#[derive(serde::Deserialize)]
struct Guest {
    name: String,
}

type Room = Sender<String>;

async fn room(
    Provided(room): Provided<Room>,
    Provided(draining): Provided<Draining>,
    Query(guest): Query<Guest>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Subscribes before the upgrade, to miss no message during it.
    let mut heard = room.subscribe();
    upgrade.max_message_size(4096).on_upgrade(async move |mut socket| {
        loop {
            tokio::select! {
                said = socket.recv() => match said {
                    Some(Ok(Message::Text(text))) => drop(room.send(format!("{}: {text}", guest.name))),
                    Some(Ok(_)) => {}
                    _ => break,
                },
                // The server stops: the client may connect to another one.
                () = draining.started() => {
                    let away = CloseFrame { code: close_code::AWAY, reason: "restart".into() };
                    let _ = socket.send(Message::Close(Some(away))).await;
                    break;
                }
                line = heard.recv() => {
                    // A client that reads too slowly for the buffer is disconnected.
                    let Ok(line) = line else { break };
                    if socket.send(Message::text(line)).await.is_err() {
                        break;
                    }
                }
            }
        }
    })
}

fn api(draining: Draining) -> ChainService {
    let (sender, _): (Room, _) = channel(64);
    Chain::new()
        .provide(sender)
        .provide(draining)
        .guard(from_own_page)
        .at("/room", |c| c.get(room))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let server = Server::bind(format!("127.0.0.1:{port}")).await?;
    let api = api(server.draining());
    Ok(server.serve(api).await?)
}

#[cfg(test)]
#[tokio::test]
async fn everybody_hears_everybody() -> Result<(), Box<dyn std::error::Error>> {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let server = Server::bind("127.0.0.1:0").await?;
    let (addr, api) = (server.local_addr()?, api(server.draining()));
    api.audit().assert_none();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let ended = tokio::spawn(server.serve_until(async { drop(stopped.await) }, api));
    let enter = async |name: &str| {
        let socket = tokio::net::TcpStream::connect(addr).await?;
        let url = format!("ws://{addr}/room?name={name}");
        tokio_tungstenite::client_async(url, socket).await.map(|(socket, _)| socket)
    };
    let (mut ann, mut bob) = (enter("Ann").await?, enter("Bob").await?);
    for (name, text) in [("Ann", "hello"), ("Bob", "good night")] {
        let speaker = if name == "Ann" { &mut ann } else { &mut bob };
        speaker.send(Message::text(text)).await?;
        for listener in [&mut ann, &mut bob] {
            let heard = listener.next().await.ok_or("the room is closed")??;
            assert_eq!(heard.into_text()?, format!("{name}: {text}"));
        }
    }
    drop(stop);
    for listener in [&mut ann, &mut bob] {
        let Some(Ok(Message::Close(Some(close)))) = listener.next().await else {
            return Err("no close".into());
        };
        assert_eq!(u16::from(close.code), 1001);
    }
    drop((ann, bob));
    ended.await??;
    Ok(())
}
