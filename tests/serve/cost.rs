//! The exact number of allocations that the server adds to a request, and the bytes that a connection holds.

use std::io::{Read, Write};
use std::net::SocketAddr;

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
fn a_request_costs_no_allocation_more_than_with_bare_hyper() {
    let bare = allocations(async |listener, service| {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    });
    let ours = allocations(async |listener, service| {
        tokio::spawn(Server::new(listener).serve_until(std::future::pending(), service));
    });
    // The address of the peer is one, and hyper by itself has one for its buffer.
    assert!(ours <= bare, "{ours} instead of {bare}");
}

/// What a connection of a memory test does before the memory is measured.
#[derive(Clone, Copy)]
enum Use {
    Idle,
    /// It has had this many requests, the last of which was answered.
    Asked(usize),
}

/// The bytes that one connection holds.
fn held(used: Use) -> i64 {
    // Fewer than wait in the queue of the system.
    const CONNECTIONS: usize = 100;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = Chain::new().at("/", |c| c.get(async || "hello")).build();
    let addr = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(Server::new(listener).serve_until(std::future::pending(), service));
        addr
    });
    let open = || {
        let mut open: Vec<_> = (0..CONNECTIONS).map(|_| connect(addr)).collect();
        if let Use::Asked(times) = used {
            open.iter_mut().for_each(|client| (0..times).for_each(|_| ask(&runtime, client)));
        }
        // The server accepts connections in their order, so the others have been accepted as well.
        ask(&runtime, &mut connect(addr));
        open
    };
    // Once without measuring: tables of the runtime grow.
    drop(open());
    ask(&runtime, &mut connect(addr));
    let mut clients = Vec::new();
    let held = allocation_counter::measure(|| clients = open()).bytes_current;
    held / CONNECTIONS as i64
}

fn connect(addr: SocketAddr) -> std::net::TcpStream {
    std::net::TcpStream::connect(addr).unwrap()
}

fn ask(runtime: &tokio::runtime::Runtime, client: &mut std::net::TcpStream) {
    client.write_all(GET.as_bytes()).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nhello") {
        runtime.block_on(tokio::task::yield_now());
        let mut buffer = [0; 512];
        match client.read(&mut buffer) {
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    client.set_nonblocking(false).unwrap();
}

/// 16 KiB after a request are two buffers of hyper, of which most pages are never touched: `memory.rs` measures those that are.
#[test]
fn a_connection_holds_a_bounded_number_of_bytes() {
    for (used, limit) in
        [(Use::Idle, 3 * 1024), (Use::Asked(1), 21 * 1024), (Use::Asked(3), 21 * 1024)]
    {
        let held = held(used);
        assert!(held <= limit, "{held} bytes instead of {limit}");
    }
}
