//! Bytes before HTTP on a socket are a PROXY header, or the connection is closed.

#![no_main]

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tower_chain::extract::PeerAddr;
use tower_chain::serve::Listener;
use tower_chain::{Chain, Request, Server};

static PLACE: LazyLock<(Runtime, String)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let path =
        format!("{}/tower-chain-fuzz-{}.sock", std::env::temp_dir().display(), std::process::id());
    let service = Chain::new()
        .get(async |req: Request| {
            req.extensions().get::<PeerAddr>().map_or("none".to_owned(), |peer| peer.0.to_string())
        })
        .build();
    let guard = runtime.enter();
    let listener = Listener::bind_unix(&path).expect("a socket").proxy_protocol();
    runtime.spawn(Server::new(listener).header_read_timeout(Duration::from_secs(1)).serve(service));
    drop(guard);
    (runtime, path)
});

fuzz_target!(|data: &[u8]| {
    let (runtime, path) = &*PLACE;
    let answer = runtime.block_on(async {
        let mut client = UnixStream::connect(path).await.expect("the server listens");
        // The server may have closed the connection already.
        let _ = client.write_all(data).await;
        let _ = client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    });
    if answer.is_empty() {
        return;
    }
    // SETTINGS of HTTP/2, if its preface follows the header.
    let http2 = answer.get(3) == Some(&4);
    let answer = String::from_utf8_lossy(&answer);
    assert!(http2 || answer.starts_with("HTTP/1."), "{answer}");
    // Without a header, the server sends no response.
    assert!(data.starts_with(b"PROXY ") || data.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
    if let Some((head, body)) = answer.split_once("\r\n\r\n")
        && head.starts_with("HTTP/1.1 200")
        && body != "none"
    {
        assert!(body.parse::<SocketAddr>().is_ok(), "{body}");
    }
});
