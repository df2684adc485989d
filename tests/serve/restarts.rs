//! Restarts under load: clients that keep their connections open and send a request once in a while lose none.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;

/// How a server is replaced by the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The next one binds the address once the last one has ended.
    Rebind,
    /// The same, with a runtime for each core.
    RebindPerCore,
    /// The next one accepts from the same socket before the last one stops, as with socket activation.
    Inherit,
}

/// What the clients have seen so far.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    lost: AtomicUsize,
    refused: AtomicUsize,
    is_over: AtomicBool,
}

/// A client that waits for 50 to 600 ms between two requests.
async fn laggy(addr: SocketAddr, number: u64, seen: Arc<Seen>) {
    let pause = Duration::from_millis(50 + number * 97 % 551);
    while !seen.is_over.load(Ordering::Relaxed) {
        let Ok(socket) = TcpStream::connect(addr).await else {
            seen.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut client = Raw(socket);
        loop {
            let request = post("/length", "Content-Length: 3\r\n") + "abc";
            let sent = client.0.write_all(request.as_bytes()).await;
            // It must not be sent again: the server may have begun it.
            match client.try_response().await.filter(|_| sent.is_ok()) {
                Some(response) => {
                    seen.answered.fetch_add(1, Ordering::Relaxed);
                    if response.contains("connection: close") {
                        break;
                    }
                }
                None => {
                    seen.lost.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
}

async fn restart(way: Way, times: usize, clients: u64) {
    let first = fixed_port();
    let addr = first.local_addr().unwrap();
    // Otherwise the port is free again.
    let inherited = (way == Way::Inherit).then_some(first);
    let start = async || {
        let server = match &inherited {
            Some(socket) => Server::new(Listener::try_from(socket.try_clone().unwrap()).unwrap()),
            None => Server::bind(addr).await.unwrap(),
        };
        let server = if way == Way::RebindPerCore { server.per_core() } else { server };
        Running::of(server, service())
    };
    let seen = Arc::new(Seen::default());
    let mut server = start().await;
    let running: Vec<_> =
        (0..clients).map(|number| tokio::spawn(laggy(addr, number, seen.clone()))).collect();
    for _ in 0..times {
        // Each client has had a request with this server.
        let enough = seen.answered.load(Ordering::Relaxed) + clients as usize;
        within(async {
            while seen.answered.load(Ordering::Relaxed) < enough {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let next = if way == Way::Inherit { Some(start().await) } else { None };
        within(server.stop()).await;
        server = match next {
            Some(next) => next,
            None => start().await,
        };
    }
    seen.is_over.store(true, Ordering::Relaxed);
    within(server.stop()).await;
    within(join_all(running)).await;
    let [answered, lost, refused] =
        [&seen.answered, &seen.lost, &seen.refused].map(|count| count.load(Ordering::Relaxed));
    println!("{way:?}: {times} restarts, {answered} answered, {lost} lost, {refused} refused");
    assert_eq!(lost, 0, "{way:?}: of {answered}");
    if way == Way::Inherit {
        assert_eq!(refused, 0, "{answered}");
    }
}

/// A listener on a port that the system gives to no client: one that connects while there is no server would connect to itself.
fn fixed_port() -> std::net::TcpListener {
    let start = (std::process::id() % 8_000) as u16;
    let mut ports = (0..2_000).map(|port| 20_000 + start + port);
    ports.find_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok()).unwrap()
}

const WAYS: [Way; 3] = [Way::Rebind, Way::RebindPerCore, Way::Inherit];

#[tokio::test]
async fn a_restart_loses_no_request() {
    join_all(WAYS.map(|way| restart(way, 2, 30))).await;
}

/// `cargo test --all-features --test serve twenty_restarts -- --ignored --nocapture`
#[tokio::test]
#[ignore = "takes minutes"]
async fn twenty_restarts_lose_no_request() {
    for way in WAYS {
        restart(way, 20, 100).await;
    }
}
