//! Listeners, and the services that a server accepts.

use super::*;

#[tokio::test]
async fn a_handler_sees_the_address_of_the_peer() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send("GET /peer HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let expected = client.0.local_addr().unwrap().to_string();
    assert_eq!(body_of(&client.response().await), expected);
}

#[tokio::test]
async fn several_listeners_are_served() {
    let first = Server::bind("127.0.0.1:0").await.unwrap();
    let second = Listener::bind("127.0.0.1:0").await.unwrap();
    let addrs = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let ended = tokio::spawn(first.listen(second).serve_until(stopped, service()));
    for addr in addrs {
        let mut client = Raw(TcpStream::connect(addr).await.unwrap());
        client.send(GET).await;
        assert_eq!(body_of(&client.response().await), "hello");
    }
    drop(stop);
    within(ended).await.unwrap().unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_backlog_is_the_length_of_the_queue() {
    let short = Listener::bind_with_backlog("127.0.0.1:0", 1).await.unwrap();
    let long = Listener::bind("127.0.0.1:0").await.unwrap();
    for (listener, all) in [(short, false), (long, true)] {
        let mut connected = Vec::new();
        for _ in 0..20 {
            // No server accepts: Linux ignores what doesn't fit into the queue, and the client tries again after a second.
            let connect = TcpStream::connect(listener.local_addr().unwrap());
            match tokio::time::timeout(Duration::from_millis(500), connect).await {
                Ok(stream) => connected.push(stream.unwrap()),
                Err(_) => break,
            }
        }
        assert_eq!(connected.len() == 20, all, "{}", connected.len());
    }
}

#[tokio::test]
async fn an_ipv4_client_has_its_ipv4_address_on_any_socket() {
    // Some machines have no IPv6.
    let Ok(server) = Server::bind("[::]:0").await else { return };
    let port = server.local_addr().unwrap().port();
    tokio::spawn(server.serve_until(std::future::pending(), service()));
    let mut client = Raw(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    client.send("GET /peer HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let expected = client.0.local_addr().unwrap().to_string();
    assert_eq!(body_of(&client.response().await), expected);
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served_and_removed_at_the_end() {
    let folder = tempdir();
    let path = folder.join("api.sock");
    for _ in 0..2 {
        let server = Server::new(Listener::bind_unix(&path).unwrap());
        let error = Listener::bind_unix(&path).unwrap_err();
        assert!(matches!(error, ServeError::Bind { .. }), "{error}");
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        let ended = tokio::spawn(server.serve_until(stopped, service()));
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET /peer HTTP/1.0\r\n\r\n").await.unwrap();
        let mut response = String::new();
        within(client.read_to_string(&mut response)).await.unwrap();
        assert_eq!(body_of(&response), "unknown");
        drop(stop);
        within(ended).await.unwrap().unwrap();
        assert!(!path.exists());
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
fn tempdir() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("tower-chain-serve-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let error = Server::bind(addr).await.unwrap_err().to_string();
    assert!(error.contains(&addr.to_string()), "{error}");
    assert!(error.contains("use another address"), "{error}");
}

/// The server accepts any tower service with the same types.
#[tokio::test]
async fn an_axum_router_and_a_static_chain_are_served_as_well() {
    let router = axum::Router::new().route("/", axum::routing::get(async || "hello"));
    let chain = Chain::new().get(async || "hello").into_service();
    let (first, second) =
        (Server::bind("127.0.0.1:0").await.unwrap(), Server::bind("127.0.0.1:0").await.unwrap());
    let addrs = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    tokio::spawn(first.serve_until(std::future::pending(), router));
    tokio::spawn(second.serve_until(std::future::pending(), chain));
    for addr in addrs {
        let mut client = Raw(TcpStream::connect(addr).await.unwrap());
        client.send(GET).await;
        assert_eq!(body_of(&client.response().await), "hello");
    }
}

#[tokio::test]
async fn a_listener_may_accept_http2_only() {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().http2_only();
    let server = Running::of(Server::new(listener), service());
    let mut http2 = Client::connect(server.addr, true).await;
    assert_eq!(http2.get("/").await.collect().await.unwrap().to_bytes(), "hello");
    for request in [GET, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "\x16\x03\x01"] {
        let mut client = server.connect().await;
        client.send(request).await;
        client.0.shutdown().await.unwrap();
        let response = client.rest().await.unwrap_or_default();
        assert!(!response.contains("HTTP/1") && !response.contains("hello"), "{response}");
    }
}
