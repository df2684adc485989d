//! A chain as the service of bare hyper, on an accept loop of one's own.
//!
//! Run with
//!
//! ```sh
//! cargo run --example hyper
//! ```
//!
//! The manifest, beside `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! hyper = { version = "1", features = ["client", "http1", "server"] }
//! hyper-util = { version = "0.1", features = ["tokio"] }
//! ```
//!
//! ```sh
//! curl localhost:3000/hello
//! # hello
//! curl -i -X DELETE localhost:3000/hello
//! # HTTP/1.1 405 Method Not Allowed
//! # allow: GET, HEAD, OPTIONS
//! ```

use std::error::Error;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower_chain::{Chain, ChainService};

fn api() -> ChainService {
    Chain::new().at("/hello", |c| c.get(async || "hello\n")).build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let api = api();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}\n{api}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), api.clone());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("{error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hyper_runs_the_chain() -> Result<(), Box<dyn Error>> {
        let (client, server) = tokio::io::duplex(1024);
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), api()));
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(client)).await?;
        tokio::spawn(connection);
        let request = http::Request::delete("/hello").header("host", "test");
        let response = send.send_request(request.body(String::new())?).await?;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"GET, HEAD, OPTIONS".parse()?)
        );
        Ok(())
    }
}
