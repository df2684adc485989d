//! One runtime for each core: the rules of a server hold across all of them.

use std::collections::BTreeSet;
#[cfg(target_os = "linux")]
use std::sync::mpsc;

use futures_util::future::join_all;

use super::*;

/// Answers with the name of its thread.
async fn thread() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

async fn per_core(service: ChainService) -> Running {
    Running::tuned(service, Server::per_core).await
}

fn cores() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// The threads that serve, as far as this many connections show them.
async fn threads(server: &Running, connections: usize) -> BTreeSet<String> {
    let mut threads = BTreeSet::new();
    for _ in 0..connections {
        let mut client = server.connect().await;
        client.send(GET).await;
        threads.insert(body_of(&client.response().await).to_owned());
    }
    threads
}

#[tokio::test]
async fn every_core_serves_connections() {
    let server = per_core(Chain::new().get(thread).build()).await;
    let threads = threads(&server, 40 * cores()).await;
    let expected: BTreeSet<String> = (0..cores()).map(|core| format!("serve-{core}")).collect();
    if cfg!(target_os = "linux") {
        assert_eq!(threads, expected);
    }
    assert!(threads.is_subset(&expected), "{threads:?}");
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_handler_that_blocks_its_thread_delays_no_other_core() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (entered, blocked) = mpsc::channel();
    let block = move || {
        entered.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        std::future::ready("released")
    };
    let service = Chain::new().at("/block", |c| c.get(block)).at("/", |c| c.get(thread)).build();
    let server = per_core(service).await;
    let mut blocking = server.connect().await;
    blocking.send(GET.replace("GET / ", "GET /block ")).await;
    tokio::task::spawn_blocking(move || blocked.recv()).await.unwrap().unwrap();
    let mut clients = Vec::new();
    for _ in 0..40 * cores() {
        let mut client = server.connect().await;
        client.send(GET).await;
        clients.push(client);
    }
    let answered = async |client: &mut Raw| {
        let mut first = [0; 1];
        tokio::time::timeout(Duration::from_secs(2), client.0.peek(&mut first)).await.is_ok()
    };
    let answered = join_all(clients.iter_mut().map(answered)).await;
    let served = answered.iter().filter(|answered| **answered).count();
    // The system gives each core its share of the connections.
    assert!(served >= 10 * (cores() - 1), "{served} of {}", answered.len());
    release.send(()).unwrap();
    assert_eq!(body_of(&blocking.response().await), "released");
    for client in &mut clients {
        client.response().await;
    }
    drop((clients, blocking));
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_core_that_is_blocked_accepts_nothing_while_the_server_stops() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (entered, blocked) = mpsc::channel();
    let block = move || {
        entered.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        std::future::ready("released")
    };
    let service = Chain::new().at("/block", |c| c.get(block)).at("/", |c| c.get(thread)).build();
    let server = per_core(service).await;
    let addr = server.addr;
    let mut blocking = server.connect().await;
    blocking.send(GET.replace("GET / ", "GET /block ")).await;
    tokio::task::spawn_blocking(move || blocked.recv()).await.unwrap().unwrap();
    let mut clients = Vec::new();
    for _ in 0..40 * cores() {
        let mut client = server.connect().await;
        client.send(GET).await;
        clients.push(client);
    }
    let stopping = tokio::spawn(server.stop());
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    // Those in the queue of the blocked core are served as well.
    for mut client in clients {
        assert!(client.response().await.starts_with("HTTP/1.1 200 "));
    }
    release.send(()).unwrap();
    assert_eq!(body_of(&blocking.response().await), "released");
    drop(blocking);
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn the_limits_count_the_connections_of_all_cores() {
    let (service, gate) = gated();
    let tune = |server: Server| server.per_core().max_connections(3);
    let server = Running::tuned(service, tune).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.send(GET).await;
        clients.push(client);
    }
    for _ in 0..3 {
        gate.entered().await;
    }
    // A fourth request would arrive at once.
    assert!(tokio::time::timeout(Duration::from_millis(200), gate.entered()).await.is_err());
    gate.open(20);
    join_all(clients.into_iter().map(async |mut client: Raw| {
        assert_eq!(body_of(&client.response().await), "done");
    }))
    .await;
    server.stop().await;

    let tune = |server: Server| server.per_core().max_connections_per_client(2);
    let server = Running::tuned(Chain::new().get(thread).build(), tune).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.connect().await);
    }
    let mut served = 0;
    for client in &mut clients {
        let _ = client.0.write_all(GET.as_bytes()).await;
        served += usize::from(client.try_response().await.is_some());
    }
    assert_eq!(served, 2);
    server.stop().await;
}

#[tokio::test]
async fn requests_in_flight_on_all_cores_finish() {
    let (service, gate) = gated();
    let server = per_core(service).await;
    let addr = server.addr;
    let count = 20 * cores();
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = server.connect().await;
        client.send(GET).await;
        clients.push(client);
    }
    for _ in 0..count {
        gate.entered().await;
    }
    let stopping = tokio::spawn(server.stop());
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    gate.open(count);
    for mut client in clients {
        let response = client.response().await;
        assert!(response.contains("connection: close"), "{response}");
        assert_eq!(body_of(&response), "done");
        assert_eq!(client.rest().await.unwrap(), "");
    }
    within(stopping).await.unwrap();
    // No socket of the group is left.
    tokio::net::TcpListener::bind(addr).await.unwrap();
}

#[tokio::test]
async fn connections_that_wait_in_a_queue_are_served_by_a_server_that_stops() {
    let (service, gate) = gated();
    let tune = |server: Server| server.per_core().max_connections(1);
    let server = Running::tuned(service, tune).await;
    let addr = server.addr;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = server.connect().await;
        client.send(GET).await;
        clients.push(client);
    }
    gate.entered().await;
    let stopping = tokio::spawn(server.stop());
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    gate.open(10);
    join_all(clients.into_iter().map(async |mut client: Raw| {
        assert_eq!(body_of(&client.response().await), "done");
    }))
    .await;
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_ends_all_cores() {
    let (service, gate) = gated();
    let server = per_core(service).await;
    let (addr, mut client) = (server.addr, server.connect().await);
    client.send(GET).await;
    gate.entered().await;
    server.ended.abort();
    assert_eq!(client.rest().await.unwrap_or_default(), "");
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
}

#[tokio::test]
async fn the_deadline_holds_for_all_cores() {
    let tune = |server: Server| server.per_core().drain_deadline(Duration::from_millis(50));
    let server = Running::tuned(service(), tune).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = server.connect().await;
        client.send(GET.replace("GET / ", "GET /never ")).await;
        clients.push(client);
    }
    within(server.stop()).await;
    for mut client in clients {
        assert_eq!(client.rest().await.unwrap_or_default(), "");
    }
}

#[tokio::test]
async fn the_proxy_protocol_is_read_on_all_cores() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().proxy_protocol();
    let server = Running::of(Server::new(listener).per_core(), service());
    for _ in 0..10 * cores() {
        let mut client = server.connect().await;
        client.send("PROXY TCP4 192.0.2.7 192.0.2.8 5 80\r\n").await;
        client.send(GET.replace("GET / ", "GET /peer ")).await;
        assert_eq!(body_of(&client.response().await), "192.0.2.7:5");
    }
    server.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn all_cores_accept_from_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("per-core-{}.sock", std::process::id()));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::new(Listener::bind_unix(&path).unwrap()).per_core();
    let stopped = async {
        let _ = stopped.await;
    };
    let ended = tokio::spawn(server.serve_until(stopped, Chain::new().get(thread).build()));
    for _ in 0..10 {
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut response = String::new();
        within(client.read_to_string(&mut response)).await.unwrap();
        assert!(response.contains("\r\n\r\nserve-"), "{response}");
    }
    stop.send(()).unwrap();
    within(ended).await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn the_address_is_not_shared_by_default() {
    let first = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = first.local_addr().unwrap();
    assert!(matches!(Server::bind(addr).await, Err(ServeError::Bind { .. })));
    // Nor with a second server of this kind.
    let running = Running::of(first.per_core(), service());
    threads(&running, 1).await;
    assert!(matches!(Server::bind(addr).await, Err(ServeError::Bind { .. })));
    running.stop().await;
}

#[tokio::test]
async fn a_socket_of_the_program_is_shared_and_not_bound_again() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let server = Server::new(Listener::try_from(socket).unwrap()).per_core();
    let running = Running::of(server, Chain::new().get(thread).build());
    assert!(!threads(&running, 10).await.is_empty());
    // Another socket of the group could be bound.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    #[cfg(target_os = "linux")]
    other.set_reuseport(true).unwrap();
    assert!(other.bind(addr).is_err());
    running.stop().await;
}
