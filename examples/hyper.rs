//! A chain as a service of hyper, HTTP/1.1 and HTTP/2, with a custom accept loop and graceful shutdown.
//!
//! Run with
//!
//! ```sh
//! cargo run --example hyper
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! hyper-util = { version = "0.1", features = ["server-auto", "server-graceful", "service", "tokio"] }
//! ```
//!
//! ```sh
//! curl localhost:3000/hello
//! # hello, by HTTP/1.1
//! curl --http2-prior-knowledge localhost:3000/hello
//! # hello, by HTTP/2.0
//! curl -i -X DELETE localhost:3000/hello
//! # HTTP/1.1 405 Method Not Allowed
//! # allow: GET, HEAD, OPTIONS
//! ```

use std::error::Error;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tower_chain::{Chain, ChainService, Request};

fn api() -> ChainService {
    let hello = async |req: Request| format!("hello, by {:?}\n", req.version());
    Chain::new().at("/hello", |c| c.get(hello)).build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let api = api();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}\n{api}", listener.local_addr()?);

    let (server, open) = (auto::Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            ended = tokio::signal::ctrl_c() => break ended?,
        };
        let connection = server.serve_connection(TokioIo::new(socket), api.clone());
        let connection = open.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("{error}");
            }
        });
    }
    // Waits for requests in flight.
    open.shutdown().await;
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
