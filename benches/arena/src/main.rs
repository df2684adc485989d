//! The entry for HttpArena: <https://www.http-arena.com/docs/add-framework/>.
//!
//! | port | what |
//! | --- | --- |
//! | 8080 | HTTP/1.1 |
//! | 8081 | HTTP/1.1 over TLS |
//! | 8082 | HTTP/2 without TLS, and nothing else |
//! | 8443 | HTTP/2 over TLS |
//!
//! The data are in `/data` and the certificate in `/certs`, as the benchmark mounts them; `ARENA_ROOT` is put in front of both, and
//! `ARENA_PORTS` is added to the ports.

use std::error::Error as StdError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower_chain::serve::{Listener, Tls};
use tower_chain::{
    Chain, ChainService, Error, Json, Path as Param, Provided, Query, Request, Response, Server,
    StatusCode,
};
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::services::ServeDir;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let root = PathBuf::from(std::env::var_os("ARENA_ROOT").unwrap_or_else(|| "/".into()));
    let first: u16 = std::env::var("ARENA_PORTS").map_or(Ok(0), |added| added.parse())?;
    let listen = async |port: u16| Listener::bind(("0.0.0.0", first + port)).await;
    let certificate = (root.join("certs/server.crt"), root.join("certs/server.key"));
    let api = api(&root.join("data"))?;
    let mut server = Server::new(listen(8080).await?).listen(listen(8082).await?.http2_only());
    if certificate.0.exists() {
        let tls = || Tls::from_pem_files(&certificate.0, &certificate.1);
        server =
            server.listen(listen(8081).await?.tls(tls()?)).listen(listen(8443).await?.tls(tls()?));
    }
    // 4,096 connections, on some profiles 16,384.
    Ok(server.max_connections(65_536).per_core().serve(api).await?)
}

fn api(data: &Path) -> Result<ChainService, Box<dyn StdError>> {
    let dataset: Dataset = serde_json::from_str(&fs::read_to_string(data.join("dataset.json"))?)?;
    let files = ServeDir::new(data.join("static")).precompressed_br().precompressed_gzip();
    Ok(Chain::new()
        .provide(Arc::new(dataset))
        .at("/baseline11", |c| c.get(sum).post(sum_with_body))
        .at("/baseline2", |c| c.get(sum))
        .at("/pipeline", |c| c.get(async || "ok"))
        .at("/upload", |c| c.post(upload))
        .at("/json/{count}", |c| {
            c.use_(CompressionLayer::new().quality(CompressionLevel::Fastest)).get(items)
        })
        .at("/ws", |c| c.get(echo))
        .service("/static", files)
        .build())
}

#[derive(Deserialize)]
struct Terms {
    a: i64,
    b: i64,
}

async fn sum(Query(Terms { a, b }): Query<Terms>) -> String {
    a.saturating_add(b).to_string()
}

async fn sum_with_body(Query(Terms { a, b }): Query<Terms>, body: String) -> Result<String, Error> {
    let invalid = |_| Error::new(StatusCode::BAD_REQUEST, "The body is not a number");
    let more: i64 = body.trim().parse().map_err(invalid)?;
    Ok(a.saturating_add(b).saturating_add(more).to_string())
}

/// Counts the bytes of a body of any length as they arrive.
async fn upload(req: Request) -> Result<String, Error> {
    let mut body = req.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len());
    }
    Ok(bytes.to_string())
}

type Dataset = Vec<Item>;

#[derive(Clone, Deserialize, Serialize)]
struct Item {
    id: i64,
    name: String,
    category: String,
    price: i64,
    quantity: i64,
    active: bool,
    tags: Vec<String>,
    rating: Rating,
}

#[derive(Clone, Deserialize, Serialize)]
struct Rating {
    score: i64,
    count: i64,
}

#[derive(Serialize)]
struct Total {
    #[serde(flatten)]
    item: Item,
    total: i64,
}

#[derive(Serialize)]
struct Items {
    items: Vec<Total>,
    count: usize,
}

#[derive(Deserialize)]
struct Multiplier {
    m: Option<i64>,
}

async fn items(
    Param(count): Param<usize>,
    Query(Multiplier { m }): Query<Multiplier>,
    Provided(dataset): Provided<Arc<Dataset>>,
) -> Json<Items> {
    let total = |item: &Item| Total {
        total: item.price * item.quantity * m.unwrap_or(1),
        item: item.clone(),
    };
    let items: Vec<_> = dataset.iter().take(count).map(total).collect();
    Json(Items { count: items.len(), items })
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket: WebSocket| {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_) | Message::Binary(_))
                && socket.send(message).await.is_err()
            {
                return;
            }
        }
    })
}
