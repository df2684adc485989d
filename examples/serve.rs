//! The server with its limits, on TCP and on a Unix socket, or on sockets from systemd.
//!
//! Run with
//!
//! ```sh
//! cargo run --example serve --features systemd
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! or, with a socket from systemd, `systemd-socket-activate -l 3000 target/debug/examples/serve`.
//!
//! ```sh
//! curl localhost:3000/
//! # hello, 127.0.0.1:..
//! curl --unix-socket hello.sock localhost/
//! # hello, somebody on this machine
//! curl localhost:3000/slow
//! # done, even if Ctrl-C stops the server meanwhile
//! ```

use std::time::Duration;

use tower_chain::extract::PeerAddr;
use tower_chain::serve::{Listener, ServeError};
use tower_chain::{Chain, ChainService, Request, Server};

async fn hello(req: Request) -> String {
    match req.extensions().get() {
        Some(PeerAddr(addr)) => format!("hello, {addr}\n"),
        None => "hello, somebody on this machine\n".to_owned(),
    }
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(5)).await;
    "done, even if Ctrl-C stops the server meanwhile\n"
}

fn api() -> ChainService {
    Chain::new().at("/", |c| c.get(hello)).at("/slow", |c| c.get(slow)).build()
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let server = match Server::inherited()? {
        Some(server) => server,
        None => {
            let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
            let server = Server::bind(format!("127.0.0.1:{port}")).await?;
            server.listen(Listener::bind_unix("hello.sock")?)
        }
    };
    server
        .header_read_timeout(Duration::from_secs(5))
        .idle_timeout(Duration::from_secs(30))
        .max_connections(1_000)
        .drain_deadline(Duration::from_secs(10))
        .serve(api())
        .await
}

#[cfg(test)]
#[tokio::test]
async fn without_a_socket_there_is_no_address() -> Result<(), http::Error> {
    let request = http::Request::get("/").body(tower_chain::Body::empty())?;
    assert_eq!(hello(request).await, "hello, somebody on this machine\n");
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
