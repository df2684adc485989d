//! `axum::serve` on a runtime with a thread per core, for `reconnects`. `GET /baseline11?a=1&b=2` on the port of the argument.

use std::error::Error as StdError;

use axum::Router;
use axum::extract::RawQuery;
use axum::routing::get;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let port: u16 = std::env::args().nth(1).ok_or("PORT is missing")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, Router::new().route("/baseline11", get(sum))).await?)
}

async fn sum(RawQuery(query): RawQuery) -> String {
    let query = query.unwrap_or_default();
    let values = query.split('&').filter_map(|term| term.split_once('=')?.1.parse::<i64>().ok());
    values.sum::<i64>().to_string()
}
