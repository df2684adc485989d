//! The limits on what a client sends, and on how long it takes.

use super::*;

#[tokio::test]
async fn a_head_that_takes_too_long_ends_the_connection() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| server.header_read_timeout(timeout)).await;
    let mut silent = server.connect().await;
    let mut first = server.connect().await;
    first.send("GET / HTTP/1.1\r\nHo").await;
    let mut second = server.connect().await;
    second.send(GET).await;
    second.response().await;
    second.send("GET / HTTP/1.1\r\nHo").await;
    for client in [&mut silent, &mut first, &mut second] {
        assert_eq!(client.rest().await.unwrap_or_default(), "");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_busy_one_does_not() {
    let timeout = Duration::from_millis(100);
    let (service, gate) = gated();
    let server = Running::tuned(service, |server| {
        server.idle_timeout(timeout).header_read_timeout(timeout * 100)
    })
    .await;
    let mut busy = server.connect().await;
    busy.send(GET).await;
    gate.entered().await;

    gate.open(1);
    busy.response().await;
    busy.send(GET).await;
    gate.entered().await;
    let mut idle = server.connect().await;
    idle.send(GET).await;
    gate.entered().await;
    gate.open(2);
    busy.response().await;
    idle.response().await;
    assert_eq!(idle.rest().await.unwrap(), "");
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered() {
    let server = Running::tuned(service(), |server| server.max_header_size(8 * 1024)).await;
    let mut client = server.connect().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(100_000)))
        .await;
    let response = client.response().await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn an_http2_head_that_is_too_large_is_answered() {
    let server = Running::tuned(service(), |server| server.max_header_size(8 * 1024)).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/", server.addr);
    let response = client.get(&url).header("x", "x".repeat(20_000)).send().await.unwrap();
    assert_eq!(response.status(), 431);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_head_has_at_most_a_hundred_fields_on_http2() {
    let server = Running::start(service()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    // The client adds `accept`.
    for (name, fields, status) in
        [("x", 99, 200), ("x", 100, 431), ("x", 300, 431), ("cookie", 300, 200)]
    {
        let mut request = client.get(format!("http://{}/", server.addr));
        for _ in 0..fields {
            request = request.header(name, "a");
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{fields} times {name}");
    }
    drop(client);
    server.stop().await;
}

/// Run in a process of its own, because the limit is one of the process.
#[cfg(unix)]
#[tokio::test]
async fn a_server_without_file_descriptors_continues_when_some_are_free() {
    let (_program, addr) = program("ulimit -n 40").await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = Raw(TcpStream::connect(addr).await.unwrap());
        client.send(GET).await;
        clients.push(client);
    }
    assert_eq!(body_of(&clients[0].response().await), "hello");
    let waiting = clients.split_off(45);
    // Connections that end free file descriptors for those that wait.
    clients.truncate(10);
    for mut waiting in waiting {
        assert_eq!(body_of(&waiting.response().await), "hello");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_raises_its_limit_of_open_files() {
    let (_program, addr) = program("ulimit -Sn 40").await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = Raw(TcpStream::connect(addr).await.unwrap());
        client.send(GET).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(body_of(&client.response().await), "hello");
    }
}

#[tokio::test]
async fn a_body_that_stops_is_an_error_for_the_handler() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| server.body_read_timeout(timeout)).await;
    let mut client = server.connect().await;
    client.send(post("/length", "Content-Length: 3\r\n")).await;
    client.send("ab").await;
    assert_eq!(body_of(&client.response().await), "failed: the client stopped sending");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_dropped() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| server.write_timeout(timeout)).await;
    let mut client = server.connect().await;
    client.send("GET /endless HTTP/1.1\r\nHost: test\r\n\r\n").await;
    // The server waits for its connections, so it stops only if it closed this one.
    within(server.stop()).await;
    drop(client);
}

#[tokio::test]
async fn connections_past_the_limit_wait() {
    let server = Running::tuned(service(), |server| server.max_connections(1)).await;
    let mut first = server.connect().await;
    first.send(GET).await;
    first.response().await;
    let mut second = server.connect().await;
    second.send(GET).await;
    first.send(GET).await;
    first.response().await;
    let mut byte = [0];
    assert_eq!(
        second.0.try_read(&mut byte).map_err(|error| error.kind()),
        Err(io::ErrorKind::WouldBlock)
    );
    drop(first);
    assert_eq!(body_of(&second.response().await), "hello");
    drop(second);
    server.stop().await;
}

#[tokio::test]
async fn each_of_several_listeners_is_accepted_from_up_to_the_limit() {
    for max in [1, 2, 3] {
        let first = Server::bind("127.0.0.1:0").await.unwrap();
        let mut addrs = vec![first.local_addr().unwrap()];
        let mut server = first.max_connections(max);
        for _ in 0..2 {
            let listener = Listener::bind_with_backlog("127.0.0.1:0", 16).await.unwrap();
            addrs.push(listener.local_addr().unwrap());
            server = server.listen(listener);
        }
        let server = Running::of(server, service());
        // With as many connections open as possible, each listener still serves the next one.
        let mut open = Vec::new();
        for addr in addrs.into_iter().cycle().take(6) {
            if open.len() == max {
                open.clear();
            }
            let mut client = Raw(TcpStream::connect(addr).await.unwrap());
            client.send(GET).await;
            assert_eq!(body_of(&client.response().await), "hello", "{max}");
            open.push(client);
        }
        drop(open);
        server.stop().await;
    }
}

#[tokio::test]
async fn connections_that_wait_are_served_when_the_server_stops() {
    let server = Running::tuned(service(), |server| server.max_connections(1)).await;
    let mut first = server.connect().await;
    first.send(GET).await;
    first.response().await;
    // One is accepted and waits, the other one is in the queue of the system.
    let mut waiting = [server.connect().await, server.connect().await];
    for client in &mut waiting {
        client.send(GET).await;
    }
    first.send(GET).await;
    first.response().await;
    server.stop.send(()).unwrap();
    drop(first);
    for client in &mut waiting {
        assert_eq!(body_of(&client.response().await), "hello");
    }
    drop(waiting);
    within(server.ended).await.unwrap().unwrap();
}

/// Sends another request on a connection. `None` if it was closed.
async fn still_served(client: &mut Raw) -> Option<()> {
    client.0.write_all(GET.as_bytes()).await.ok()?;
    let response = client.try_response().await?;
    assert_eq!(body_of(&response), "hello");
    Some(())
}

#[tokio::test]
async fn connections_of_one_client_past_its_limit_are_closed() {
    let server = Running::tuned(service(), |server| server.max_connections_per_client(2)).await;
    let mut ours = [server.connect().await, server.connect().await];
    for client in &mut ours {
        assert!(still_served(client).await.is_some());
    }
    assert!(still_served(&mut server.connect().await).await.is_none());
    // Another client, on a loopback address of its own.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = Raw(socket.connect(server.addr).await.unwrap());
    assert!(still_served(&mut other).await.is_some());

    let [mut one, two] = ours;
    drop(two);
    // The server detects it at its next read.
    within(async { while still_served(&mut server.connect().await).await.is_none() {} }).await;
    assert!(still_served(&mut one).await.is_some());
}

#[tokio::test]
async fn behind_a_proxy_connections_are_counted_for_its_clients() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().proxy_protocol();
    let server = Server::new(listener).max_connections_per_client(1);
    let server = Running::of(server, service());
    let from = async |addr: &str| {
        let mut client = server.connect().await;
        client.send(format!("PROXY TCP6 {addr} ::1 1 443\r\n")).await;
        let served = still_served(&mut client).await;
        (client, served.is_some())
    };
    let _open = [from("2001:db8::1").await, from("2001:db8:0:1::1").await];
    assert!(_open.iter().all(|(_, served)| *served));
    let (_, served) = from("2001:db8::2").await;
    assert!(!served, "one network is one client");
}

#[tokio::test]
async fn an_idle_http2_connection_ends() {
    let timeout = Duration::from_millis(100);
    let server = Running::tuned(service(), |server| {
        server.idle_timeout(timeout).header_read_timeout(timeout)
    })
    .await;
    let mut client = server.connect().await;
    // The preface and empty SETTINGS, and nothing after.
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    // The server's SETTINGS and a GOAWAY (type 7, RFC 9113, 6.8).
    let mut read = Vec::new();
    within(client.0.read_to_end(&mut read)).await.unwrap();
    assert!(read.windows(6).any(|frame| frame == b"\0\0\x08\x07\0\0"), "{read:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_ends_and_the_others_continue() {
    let timeout = Duration::from_millis(100);
    let alive = Arc::new(());
    let sent = std::sync::Mutex::new(Some(alive.clone()));
    let watched = move || {
        let sent = sent.lock().unwrap().take();
        std::future::ready(Body::new(endless().map_frame(move |frame| {
            assert!(sent.is_some());
            frame.map_data(|data| data.slice(..1000))
        })))
    };
    let service = Chain::new()
        .at("/", |c| c.get(async || "hello"))
        .at("/endless", |c| c.get(watched))
        .build();
    let server = Running::tuned(service, |server| server.write_timeout(timeout)).await;
    let Client::Http2(mut send) = Client::connect(server.addr, true).await else { unreachable!() };
    let get =
        |path: &str| http::Request::get(format!("http://test{path}")).body(String::new()).unwrap();
    let unread = send.send_request(get("/endless")).await.unwrap().into_body();
    // The window of the stream is closed now. The window of the connection is larger, and other streams continue.
    let ended = async {
        while Arc::strong_count(&alive) > 1 {
            let response = send.send_request(get("/")).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
        }
    };
    within(ended).await;
    assert!(unread.collect().await.is_err());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_reads_is_served_while_others_use_up_the_memory() {
    let server = Running::tuned(service(), |server| {
        server.max_buffered_per_connection(64 * 1024).max_buffered(128 * 1024)
    })
    .await;
    let mut unread = Vec::new();
    for path in ["/fresh", "/whole"].repeat(3) {
        let mut client = server.connect().await;
        client.send(memory::http2(u32::MAX, 50, path, &[])).await;
        // The responses have begun.
        client.read_until(&mut Vec::new(), &[1; 1000], 0).await;
        unread.push(client);
    }
    for http2 in [false, true] {
        let mut client = Client::connect(server.addr, http2).await;
        let whole = client.get("/whole").await.collect().await.unwrap().to_bytes();
        assert_eq!(whole.len(), 400 * 1024);
        let mut endless = client.get("/fresh").await;
        let mut read = 0;
        while read < 4_000_000 {
            read +=
                within(endless.frame()).await.unwrap().unwrap().data_ref().map_or(0, Bytes::len);
        }
    }
    assert_eq!(unread.len(), 6);
}

#[tokio::test]
async fn large_frames_that_are_not_read_do_not_stop_the_other_streams() {
    let service = Chain::new()
        .at("/", |c| c.get(async || "hello"))
        .at("/huge", |c| c.get(async || vec![1; 4 * 1024 * 1024]))
        .build();
    let server = Running::start(service).await;
    for unread in 1..=3 {
        let mut client = server.connect().await;
        // The window of each stream is much smaller than its response.
        client.send(memory::http2(65_535, unread, "/huge", &[])).await;
        let mut read = Vec::new();
        client.read_until(&mut read, &[1; 1000], 0).await;
        let mut next = Vec::new();
        frames::frame(&mut next, 1, 0x5, unread * 2 + 1, &memory::head("GET", "/"));
        client.send(next).await;
        client.read_until(&mut read, b"hello", 0).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_heads_of_one_network_leave_memory_for_those_of_others() {
    let server = Running::tuned(service(), |server| {
        server.max_buffered(1024 * 1024).max_buffered_per_network(512 * 1024)
    })
    .await;
    let large = frames::field("x", &"x".repeat(10_000));
    let connect = async |from: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        Raw(socket.connect(server.addr).await.unwrap())
    };
    // A request that exceeds the share of its network is refused.
    let mut greedy = connect("127.0.0.2:0").await;
    greedy.send(memory::http2(65_535, 40, "/never", &large)).await;
    greedy.read_until(&mut Vec::new(), b"\"status\":503", 0).await;
    // More requests than those whose heads are not counted.
    let mut other = connect("127.0.1.2:0").await;
    let mut sent = memory::http2(65_535, 20, "/never", &large);
    frames::frame(&mut sent, 1, 0x5, 41, &[memory::head("GET", "/"), large].concat());
    other.send(sent).await;
    let mut read = Vec::new();
    other.read_until(&mut read, b"hello", 0).await;
    let refused = b"\"status\":503";
    assert!(!read.windows(refused.len()).any(|window| window == refused));
}

#[tokio::test]
async fn a_limit_of_zero_is_refused() {
    let zero: [(&str, fn(Server) -> Server); 8] = [
        ("max_connections", |server| server.max_connections(0)),
        ("max_connections_per_client", |server| server.max_connections_per_client(0)),
        ("max_buffered_per_connection", |server| server.max_buffered_per_connection(0)),
        ("max_buffered_per_network", |server| server.max_buffered_per_network(0)),
        ("max_buffered", |server| server.max_buffered(0)),
        ("max_requests_per_connection", |server| server.max_requests_per_connection(0)),
        ("max_connection_age", |server| server.max_connection_age(Duration::ZERO)),
        ("idle_timeout", |server| server.idle_timeout(Duration::ZERO)),
    ];
    for (name, tune) in zero {
        let server = tune(Server::bind("127.0.0.1:0").await.unwrap());
        let error = server.serve_until(std::future::pending(), service()).await.unwrap_err();
        assert!(matches!(error, ServeError::Limit(limit) if limit == name), "{error}");
    }
}

#[tokio::test]
async fn a_limit_may_be_as_large_as_can_be() {
    let server = Running::tuned(service(), |server| {
        server
            .header_read_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .body_read_timeout(Duration::MAX)
            .write_timeout(Duration::MAX)
            .body_timeout(Duration::MAX)
            .response_timeout(Duration::MAX)
            .min_body_rate(u32::MAX)
            .min_response_rate(u32::MAX)
            .tcp_keepalive(Duration::MAX)
            .max_connection_age(Duration::MAX)
            .max_requests_per_connection(u32::MAX)
            .drain_grace(Duration::MAX)
            .drain_deadline(Duration::MAX)
            .max_connections(usize::MAX)
            .max_header_size(usize::MAX)
            .max_buffered_per_connection(usize::MAX)
            .max_buffered_per_network(usize::MAX)
            .max_buffered(usize::MAX)
            .unread_body_limit(u64::MAX)
    })
    .await;
    for http2 in [false, true] {
        let mut client = Client::connect(server.addr, http2).await;
        assert_eq!(client.get("/").await.collect().await.unwrap().to_bytes(), "hello");
    }
}
