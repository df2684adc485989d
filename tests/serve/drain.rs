//! Graceful shutdown: no request is lost, and no client delays it.

use futures_util::future::join_all;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;

#[cfg(unix)]
#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let (mut program, addr) = program("true").await;
    let mut client = Raw(TcpStream::connect(addr).await.unwrap());
    client.send(post("/length", "Content-Length: 3\r\n")).await;
    // Its response shows that the first request has arrived as well: both are handled by one thread, in order.
    let mut other = Raw(TcpStream::connect(addr).await.unwrap());
    other.send(GET).await;
    other.response().await;
    let pid = program.id().unwrap().to_string();
    let signal = |name: &str| {
        let status = std::process::Command::new("kill").args([name, &pid]).status();
        assert!(status.unwrap().success());
    };
    signal("-INT");
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    client.send("ab").await;
    assert!(program.try_wait().unwrap().is_none());
    signal("-TERM");
    // The drain itself would take 30 seconds.
    assert!(within(program.wait()).await.unwrap().success());
}

#[tokio::test]
async fn a_full_server_that_stops_serves_waiting_connections() {
    let (service, gate) = gated();
    let server = Running::tuned(service, |server| server.max_connections(1)).await;
    let addr = server.addr;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = server.connect().await;
        client.send(GET).await;
        clients.push(client);
    }
    gate.entered().await;
    let stopping = tokio::spawn(server.stop());
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    gate.open(5);
    for mut client in clients {
        assert_eq!(body_of(&client.response().await), "done");
        assert_eq!(client.rest().await.unwrap(), "");
    }
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn waiting_connections_do_not_delay_the_deadline() {
    let (service, gate) = gated();
    let tune = |server: Server| server.max_connections(1).drain_deadline(Duration::from_millis(50));
    let server = Running::tuned(service, tune).await;
    let mut clients = [server.connect().await, server.connect().await];
    for client in &mut clients {
        client.send(GET).await;
    }
    gate.entered().await;
    within(server.stop()).await;
    for mut client in clients {
        assert_eq!(client.rest().await.unwrap_or_default(), "");
    }
}

#[tokio::test]
async fn a_request_in_flight_is_answered_while_the_server_stops() {
    let (service, gate) = gated();
    let server = Running::start(service).await;
    let (addr, mut client) = (server.addr, server.connect().await);
    client.send(GET).await;
    gate.entered().await;
    let stopping = tokio::spawn(server.stop());
    // The listener is closed before anything else.
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    gate.open(1);
    let response = client.response().await;
    assert!(response.contains("connection: close\r\n"), "{response}");
    assert_eq!(body_of(&response), "done");
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped_at_the_deadline() {
    let (service, gate) = gated();
    let deadline = Duration::from_millis(50);
    let server = Running::tuned(service, |server| server.drain_deadline(deadline)).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    gate.entered().await;
    let mut half_a_head = server.connect().await;
    half_a_head.send("GET / HT").await;
    within(server.stop()).await;
    assert_eq!(client.rest().await.unwrap_or_default(), "");
    assert_eq!(half_a_head.rest().await.unwrap_or_default(), "");
}

#[tokio::test]
async fn half_a_body_does_not_hang_a_server_that_stops() {
    let deadline = Duration::from_millis(50);
    let server = Running::tuned(service(), |server| server.drain_deadline(deadline)).await;
    let mut client = server.connect().await;
    client.send(post("/length", "Content-Length: 3\r\n")).await;
    client.send("ab").await;
    let mut silent = server.connect().await;
    within(server.stop()).await;
    assert_eq!(client.rest().await.unwrap_or_default(), "");
    assert_eq!(silent.rest().await.unwrap_or_default(), "");
}

/// Clients that send requests until the server has stopped. Each reports its first response, and at the end the requests without one.
async fn under_load<F>(clients: usize, client: fn(SocketAddr, usize, UnboundedSender<()>) -> F)
where
    F: Future<Output = Vec<String>> + Send + 'static,
{
    for _ in 0..5 {
        let seen = Seen::default();
        let server = Running::start(Chain::new().provide(seen.clone()).get(see).build()).await;
        let (served, mut sees_served) = unbounded_channel();
        let addr = server.addr;
        // On one thread, because hyper's client drops a sent request if another thread reads a GOAWAY at that moment.
        let clients = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let clients = (0..clients).map(|number| client(addr, number, served.clone()));
            runtime.unwrap().block_on(join_all(clients))
        });
        for _ in 0..2000 {
            within(sees_served.recv()).await.unwrap();
        }
        within(server.stop()).await;
        for refused in within(clients).await.unwrap().into_iter().flatten() {
            assert!(!seen.lock().unwrap().contains(&refused), "{refused} was begun and lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_request_is_lost_when_the_server_stops() {
    under_load(50, ask_http1).await;
}

async fn ask_http1(addr: SocketAddr, client: usize, served: UnboundedSender<()>) -> Vec<String> {
    let mut number = 0;
    while let Ok(socket) = TcpStream::connect(addr).await {
        let mut socket = Raw(socket);
        for request in 0..20 {
            number += 1;
            let path = format!("/{client}/{number}");
            let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
            let sent = socket.0.write_all(head.as_bytes()).await;
            let Some(response) = (match sent {
                Ok(()) => socket.try_response().await,
                Err(_) => None,
            }) else {
                // A connection that the system accepted after the server's last check.
                assert_eq!(request, 0, "a request was lost");
                return vec![path];
            };
            assert_eq!(body_of(&response), "hello");
            let _ = served.send(());
            if response.contains("connection: close") {
                break;
            }
        }
    }
    Vec::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_http2_request_is_lost_when_the_server_stops() {
    // RFC 9113, 6.8: a request that arrived too late was not begun, and the client may send it to another server.
    under_load(20, ask_http2).await;
}

async fn ask_http2(addr: SocketAddr, client: usize, served: UnboundedSender<()>) -> Vec<String> {
    let Client::Http2(mut send) = Client::connect(addr, true).await else { unreachable!() };
    let mut refused = Vec::new();
    for number in 0.. {
        // It isn't ready any more after GOAWAY.
        if send.ready().await.is_err() {
            break;
        }
        let uri = format!("http://test/{client}/{number}");
        let request = http::Request::get(&uri).body(String::new()).unwrap();
        match send.send_request(request).await {
            Ok(response) => {
                let body = response.into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "hello");
                let _ = served.send(());
            }
            Err(_) => refused.push(uri),
        }
    }
    refused
}

/// Data that arrives at a closed socket causes a reset, and the client loses what it has not received by then.
#[tokio::test]
async fn late_window_updates_do_not_break_a_response_off() {
    const LENGTH: usize = 2_000_000;
    let (service, gate) = gated_with(vec![b'x'; LENGTH]);
    let server = Running::start(service).await;
    let mut client = server.connect().await;
    // RFC 9113: the preface; SETTINGS and WINDOW_UPDATE for more than enough; a request, GET http / test (RFC 7541, A).
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.send(b"\0\0\x06\x04\0\0\0\0\0\0\x04\x40\0\0\0\0\0\x04\x08\0\0\0\0\0\x40\0\0\0").await;
    client.send(b"\0\0\x09\x01\x05\0\0\0\x01\x82\x86\x84\x41\x04test").await;
    gate.entered().await;
    let stopping = tokio::spawn(server.stop());
    let mut read = Vec::new();
    let ping = b"\0\0\x08\x06\0\0\0\0\0";
    client.read_until(&mut read, ping, 8).await;
    let at = read.windows(9).position(|head| head == ping).unwrap() + 9;
    client.send([b"\0\0\x08\x06\x01\0\0\0\0", &read[at..at + 8]].concat()).await;
    // The last GOAWAY: HTTP reads nothing more from this connection.
    client.read_until(&mut read, b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x01", 0).await;
    gate.open(1);
    while within(client.0.read_buf(&mut read)).await.unwrap() > 0 {
        let _ = client.0.write_all(b"\0\0\x04\x08\0\0\0\0\0\0\0\x01\0").await;
    }
    assert!(read.iter().filter(|byte| **byte == b'x').count() >= LENGTH);
    drop(client);
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_body_on_its_way_is_taken_while_the_server_stops() {
    let server = Running::start(service()).await;
    let addr = server.addr;
    let mut clients = Vec::new();
    for headers in ["Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = server.connect().await;
        client.send(post("/length", headers)).await;
        client.send(if headers.starts_with('C') { "abc" } else { "3\r\nabc\r\n" }).await;
        clients.push(client);
    }
    // An incomplete head counts too, because it arrived before the signal to stop.
    let mut half_a_head = server.connect().await;
    half_a_head.send("GET / HTTP/1.1\r\nHo").await;
    let stopping = tokio::spawn(server.stop());
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    half_a_head.send("st: test\r\n\r\n").await;
    assert_eq!(body_of(&half_a_head.response().await), "hello");
    for (mut client, rest) in clients.into_iter().zip(["def", "3\r\ndef\r\n0\r\n\r\n"]) {
        client.send(rest).await;
        let response = client.response().await;
        assert!(response.contains("connection: close\r\n"), "{response}");
        assert_eq!(body_of(&response), "6");
    }
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn an_answer_on_its_way_is_finished_while_the_server_stops() {
    let (feed, fed) = tokio::sync::watch::channel(());
    let answer = move || {
        let mut fed = fed.clone();
        fed.mark_changed();
        async move {
            Body::from_stream(futures_util::stream::unfold(fed, async |mut fed| {
                let piece = fed.changed().await.ok();
                piece.map(|()| (Ok::<_, Infallible>(Bytes::from_static(b"piece")), fed))
            }))
        }
    };
    let server = Running::start(Chain::new().get(answer).build()).await;
    let addr = server.addr;
    let (mut http1, mut http2) =
        (Client::connect(addr, false).await, Client::connect(addr, true).await);
    let mut bodies = [http1.get("/").await, http2.get("/").await];
    for body in &mut bodies {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "piece");
    }
    let stopping = tokio::spawn(server.stop());
    within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
    feed.send(()).unwrap();
    for body in &mut bodies {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "piece");
    }
    assert!(!stopping.is_finished());
    drop(feed);
    for body in bodies {
        assert_eq!(body.collect().await.unwrap().to_bytes(), "");
    }
    within(stopping).await.unwrap();
}

/// The requests that the server started.
type Seen = Arc<Mutex<HashSet<String>>>;

async fn see(Provided(seen): Provided<Seen>, req: Request) -> &'static str {
    seen.lock().unwrap().insert(req.uri().to_string());
    tokio::task::yield_now().await;
    "hello"
}

#[tokio::test]
async fn http2_requests_in_flight_are_answered_while_the_server_stops() {
    let (service, gate) = gated();
    let server = Running::start(service).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answers: Vec<_> = (0..10)
        .map(|_| tokio::spawn(client.get(format!("http://{}/", server.addr)).send()))
        .collect();
    for _ in 0..10 {
        gate.entered().await;
    }
    let stopping = tokio::spawn(server.stop());
    tokio::task::yield_now().await;
    gate.open(10);
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap().text().await.unwrap(), "done");
    }
    within(stopping).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_stops_the_server() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let ended = tokio::spawn(server.serve(service()));
    let mut client = Raw(TcpStream::connect(addr).await.unwrap());
    client.send(GET).await;
    // A process that answers has installed its signal handler.
    client.response().await;
    let status = std::process::Command::new("kill")
        .args(["-TERM", &std::process::id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    within(ended).await.unwrap().unwrap();
    assert_eq!(client.rest().await.unwrap(), "");
}

/// Streams and upgraded connections that end when the server stops, and one that does not.
fn streams(server: &Server) -> ChainService {
    use futures_util::StreamExt;
    use tower_chain::respond::{Event, Sse};
    use tower_chain::serve::Draining;

    async fn events(Provided(draining): Provided<Draining>) -> impl IntoResponse {
        let first = stream::iter([Ok::<_, Infallible>(Event::new().data("first"))]);
        let last = stream::iter([Ok(Event::new().data("last"))]);
        let wait = stream::pending().take_until(async move { draining.started().await });
        Sse::new(first.chain(wait).chain(last))
    }
    async fn upgrade(
        Provided(draining): Provided<Draining>,
        mut req: Request,
    ) -> impl IntoResponse {
        let upgrading = hyper::upgrade::on(&mut req);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrading.await.unwrap());
            io.write_all(b"first").await.unwrap();
            draining.started().await;
            io.write_all(b"closed").await.unwrap();
            io.shutdown().await.unwrap();
        });
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")])
    }
    Chain::new()
        .provide(server.draining())
        .at("/events", |c| c.get(events))
        .at("/upgrade", |c| c.get(upgrade))
        .at("/ready", |c| {
            c.get(async |Provided(draining): Provided<Draining>| match draining.is_stopping() {
                true => StatusCode::SERVICE_UNAVAILABLE,
                false => StatusCode::OK,
            })
        })
        .build()
}

#[tokio::test]
async fn streams_and_upgraded_connections_end_properly_when_the_server_stops() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let service = streams(&server);
    let server = Running::of(server, service);
    let mut events = server.connect().await;
    events.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let mut upgraded = server.connect().await;
    upgraded
        .send("GET /upgrade HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    for client in [&mut events, &mut upgraded] {
        client.read_until(&mut Vec::new(), b"first", 0).await;
    }
    let mut http2 = Client::connect(server.addr, true).await;
    let mut http2_events = http2.get("/events").await;
    assert!(within(http2_events.frame()).await.unwrap().is_ok());
    let stopping = tokio::spawn(server.stop());
    let rest = events.rest().await.unwrap();
    assert!(rest.contains("data: last\n\n") && rest.ends_with("0\r\n\r\n"), "{rest}");
    assert!(upgraded.rest().await.unwrap().ends_with("closed"));
    let last = within(http2_events.collect()).await.unwrap().to_bytes();
    assert_eq!(last, "data: last\n\n");
    // The deadline is 30 seconds.
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn a_check_of_readiness_fails_before_the_listeners_are_closed() {
    let server = Server::bind("127.0.0.1:0").await.unwrap().drain_delay(Duration::from_secs(15));
    let service = streams(&server);
    let server = Running::of(server, service);
    let mut client = server.connect().await;
    let ready = "GET /ready HTTP/1.1\r\nHost: test\r\n\r\n";
    client.send(ready).await;
    assert!(client.response().await.starts_with("HTTP/1.1 200 "));
    server.stop.send(()).unwrap();
    within(async {
        loop {
            let mut fresh = Raw(TcpStream::connect(server.addr).await.unwrap());
            fresh.send(ready).await;
            if fresh.response().await.starts_with("HTTP/1.1 503 ") {
                break;
            }
        }
    })
    .await;
    server.ended.abort();
}

#[tokio::test]
async fn a_server_that_is_dropped_has_stopped_for_its_handlers() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let draining = server.draining();
    assert!(!draining.is_stopping());
    drop(server);
    within(draining.started()).await;
    assert!(draining.is_stopping());
}

/// 300 clients that keep their connections open and send a POST every 50 to 600 ms, as browsers and pools do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn laggy_clients_that_keep_connections_open_lose_no_request() {
    let server = Running::start(service()).await;
    let addr = server.addr;
    let clients: Vec<_> = (0..300_u64)
        .map(|number| {
            tokio::spawn(async move {
                let pause = Duration::from_millis(50 + number * 97 % 551);
                while let Ok(socket) = TcpStream::connect(addr).await {
                    let mut client = Raw(socket);
                    loop {
                        let request = post("/length", "Content-Length: 3\r\n") + "abc";
                        let sent = client.0.write_all(request.as_bytes()).await;
                        // It must not be sent again: the server may have begun it.
                        let response = client.try_response().await;
                        let response = response.filter(|_| sent.is_ok()).expect("a lost request");
                        if response.contains("connection: close") {
                            break;
                        }
                        tokio::time::sleep(pause).await;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    within(server.stop()).await;
    for client in clients {
        within(client).await.unwrap();
    }
}
