//! Clients that disconnect, or close their sending side, while a handler runs.

use futures_util::FutureExt;
use tower_chain::serve::detached;

use super::*;

/// Handlers that wait for a gate. The marker is held by the handler that runs.
fn waiting() -> (ChainService, Gate, Arc<()>) {
    let (gate, marker) = (Gate(Arc::new([Semaphore::new(0), Semaphore::new(0)])), Arc::new(()));
    async fn wait(gate: Provided<(Gate, Arc<()>)>) -> &'static str {
        let marker = gate.1.clone();
        gate.0.0.pass().await;
        drop(marker);
        "done"
    }
    async fn wait_with_body(gate: Provided<(Gate, Arc<()>)>, body: String) -> String {
        gate.0.0.pass().await;
        body
    }
    async fn fails(gate: Provided<(Gate, Arc<()>)>) -> &'static str {
        gate.0.0.pass().await;
        panic!("a bug")
    }
    let service = Chain::new()
        .provide((gate.clone(), marker.clone()))
        .at("/", |c| c.get(wait).post(wait_with_body))
        .at("/detached", |c| c.get(detached(wait)).post(detached(wait_with_body)))
        .at("/panic", |c| c.get(detached(fails)))
        .build();
    (service, gate, marker)
}

/// Waits until a handler runs, or until none does. `idle` is how often the marker is held then.
async fn running(marker: &Arc<()>, idle: usize, runs: bool) {
    within(async {
        while (Arc::strong_count(marker) > idle) != runs {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_its_response() {
    let (service, gate, _) = waiting();
    let server = Running::start(service).await;
    for version in ["1.0", "1.1"] {
        for path in ["/", "/detached"] {
            for (request, body) in [
                (format!("GET {path} HTTP/{version}\r\nHost: test\r\n\r\n"), "done"),
                (
                    format!(
                        "POST {path} HTTP/{version}\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"
                    ),
                    "abc",
                ),
            ] {
                let mut client = server.connect().await;
                client.send(request).await;
                client.0.shutdown().await.unwrap();
                gate.entered().await;
                gate.open(1);
                let response = client.rest().await.unwrap();
                assert!(response.starts_with(&format!("HTTP/{version} 200 ")), "{response}");
                assert_eq!(body_of(&response), body);
            }
        }
    }
    // Several at once.
    let mut client = server.connect().await;
    client.send(GET.repeat(3)).await;
    client.0.shutdown().await.unwrap();
    gate.open(3);
    assert_eq!(client.rest().await.unwrap().matches("done").count(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_within_a_body_gets_no_success() {
    let (service, gate, _) = waiting();
    let server = Running::start(service).await;
    gate.open(10);
    for body in ["Content-Length: 4\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n4\r\nabc"] {
        let mut client = server.connect().await;
        client.send(format!("POST / HTTP/1.1\r\nHost: test\r\n{body}")).await;
        client.0.shutdown().await.unwrap();
        let response = client.rest().await.unwrap_or_default();
        assert!(!response.contains(" 200 "), "{response}");
    }
    server.stop().await;
}

#[tokio::test]
async fn without_half_close_the_handler_is_dropped() {
    let (service, gate, marker) = waiting();
    let idle = Arc::strong_count(&marker);
    let server = Running::tuned(service, |server| server.half_close(false)).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    gate.entered().await;
    running(&marker, idle, true).await;
    client.0.shutdown().await.unwrap();
    running(&marker, idle, false).await;
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_is_reset_ends_its_handler() {
    let (service, gate, marker) = waiting();
    let idle = Arc::strong_count(&marker);
    let check = Duration::from_millis(50);
    let server = Running::tuned(service, |server| server.header_read_timeout(check)).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    gate.entered().await;
    running(&marker, idle, true).await;
    client.0.set_zero_linger().unwrap();
    drop(client);
    running(&marker, idle, false).await;
    server.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_unix_socket_that_is_closed_ends_its_handler() {
    let path = std::env::temp_dir().join(format!("closed-{}.sock", std::process::id()));
    let (service, gate, marker) = waiting();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.listen(Listener::bind_unix(&path).unwrap());
    let server = Running::of(server.header_read_timeout(Duration::from_millis(50)), service);
    let connect = async || {
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client.write_all(GET.as_bytes()).await.unwrap();
        gate.entered().await;
        client
    };
    // One that closes its sending side gets its response.
    let mut half = connect().await;
    half.shutdown().await.unwrap();
    let idle = Arc::strong_count(&marker);
    let closed = connect().await;
    running(&marker, idle, true).await;
    drop(closed);
    running(&marker, idle, false).await;
    gate.open(1);
    let mut response = String::new();
    within(half.read_to_string(&mut response)).await.unwrap();
    assert_eq!(body_of(&response), "done");
    server.stop().await;
}

#[tokio::test]
async fn a_detached_handler_runs_on_without_its_client() {
    let (service, gate, marker) = waiting();
    let idle = Arc::strong_count(&marker);
    let server = Running::tuned(service, |server| server.half_close(false)).await;
    for http2 in [false, true] {
        for (path, dropped) in [("/", true), ("/detached", false)] {
            let mut client = Client::connect(server.addr, http2).await;
            let asking = tokio::spawn(async move { client.get(path).await });
            gate.entered().await;
            running(&marker, idle, true).await;
            asking.abort();
            assert!(asking.await.unwrap_err().is_cancelled());
            if !dropped {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                running(&marker, idle, true).await;
                gate.open(1);
            }
            running(&marker, idle, false).await;
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_waits_for_detached_handlers() {
    for (deadline, in_time) in [(Duration::from_secs(20), true), (Duration::ZERO, false)] {
        let (service, gate, marker) = waiting();
        let server =
            Running::tuned(service, |server| server.half_close(false).drain_deadline(deadline))
                .await;
        let mut client = server.connect().await;
        client.send("GET /detached HTTP/1.1\r\nHost: test\r\n\r\n").await;
        gate.entered().await;
        drop(client);
        let stopping = tokio::spawn(server.stop());
        if in_time {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!stopping.is_finished());
            gate.open(1);
        }
        within(stopping).await.unwrap();
        gate.open(1);
        within(async {
            while Arc::strong_count(&marker) > 1 {
                tokio::task::yield_now().await
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_detached_handlers_of_another() {
    for per_core in [false, true] {
        for http2 in [false, true] {
            let (service, gate, _) = waiting();
            let start = || {
                Running::tuned(service.clone(), |server| match per_core {
                    true => server.per_core(),
                    false => server,
                })
            };
            let (busy, idle) = (start().await, start().await);
            let mut client = Client::connect(busy.addr, http2).await;
            let asking = tokio::spawn(async move { client.get("/detached").await });
            gate.entered().await;
            within(idle.stop()).await;
            let stopping = tokio::spawn(busy.stop());
            asking.abort();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!stopping.is_finished());
            gate.open(1);
            within(stopping).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_panic_of_a_detached_handler_is_a_500() {
    let (service, gate, _) = waiting();
    let server = Running::start(service).await;
    gate.open(1);
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(client.response().await.starts_with("HTTP/1.1 500 "));
    server.stop().await;
}

#[tokio::test]
async fn a_detached_handler_has_a_limit_that_counts_calls_without_a_client() {
    for (limit, max) in [(None, 1024), (Some(3), 3), (Some(1), 1), (Some(0), 0)] {
        let (_, gate, marker) = waiting();
        let handler = detached(async |Provided((gate, marker)): Provided<(Gate, Arc<()>)>| {
            gate.pass().await;
            drop(marker);
            "done"
        });
        let handler = match limit {
            Some(limit) => handler.max_running(limit),
            None => handler,
        };
        let service = Chain::new().provide((gate.clone(), marker.clone())).get(handler).build();
        let request = || Request::new(Body::empty());
        // Each client leaves as soon as its handler has begun.
        for _ in 0..max + 100 {
            assert!(service.handle(request()).now_or_never().is_none_or(|it| it.status() == 503));
        }
        for _ in 0..max {
            gate.entered().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(gate.0[0].available_permits(), 0, "{limit:?}");
        let refused = service.handle(request()).await;
        assert_eq!(
            (refused.status(), &refused.headers()["retry-after"]),
            (503.try_into().unwrap(), &"1".parse().unwrap())
        );
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        if max > 0 {
            // The slot of a handler that has ended is free for the next.
            gate.open(max + 1);
            let served = within(async {
                loop {
                    let response = service.handle(request()).await;
                    match response.status() {
                        StatusCode::OK => break response,
                        _ => tokio::task::yield_now().await,
                    }
                }
            });
            assert_eq!(served.await.into_body().collect().await.unwrap().to_bytes(), "done");
        }
    }
}

#[tokio::test]
async fn a_client_that_resets_its_streams_starts_a_bounded_number_of_detached_handlers() {
    let gate = Gate(Arc::new([Semaphore::new(0), Semaphore::new(0)]));
    let handler = detached(async |Provided(gate): Provided<Gate>| gate.pass().await);
    let service = Chain::new().provide(gate.clone()).get(handler.max_running(2)).build();
    let server = Running::start(service).await;
    let mut client = Client::connect(server.addr, true).await;
    for round in 0..5 {
        let Client::Http2(send) = &mut client else { panic!() };
        let request = http::Request::get("http://test/").body(String::new()).unwrap();
        let asking = send.send_request(request);
        if round < 2 {
            let asking = tokio::spawn(asking);
            gate.entered().await;
            asking.abort();
        } else {
            assert_eq!(within(asking).await.unwrap().status(), 503, "{round}");
        }
    }
    gate.open(2);
    server.stop().await;
}
