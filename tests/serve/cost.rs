//! The exact number of allocations that the server adds to a request.

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_chain::{Chain, ChainService, Server};

use super::GET;

/// Allocations for a request on a connection that has served requests before. The client makes none.
fn allocations(serve: impl AsyncFnOnce(TcpListener, ChainService)) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut client, mut answer) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        serve(listener, Chain::new().get(async || "hello").build()).await;
        (client, vec![0; 4096])
    });
    let mut ask = |times: u64| {
        runtime.block_on(async {
            for _ in 0..times {
                client.write_all(GET.as_bytes()).await.unwrap();
                let length = client.read(&mut answer).await.unwrap();
                assert!(answer[..length].ends_with(b"\r\n\r\nhello"));
            }
        });
    };
    ask(20);
    let count = allocation_counter::measure(|| ask(100)).count_total;
    // The runtime itself allocates occasionally.
    (count + 50) / 100
}

#[test]
fn a_request_costs_one_allocation_more_than_with_bare_hyper() {
    let bare = allocations(async |listener, service| {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    });
    let ours = allocations(async |listener, service| {
        tokio::spawn(Server::new(listener).serve_until(std::future::pending(), service));
    });
    // The address of the peer.
    assert!(ours <= bare + 1, "{ours} instead of {bare}");
}
