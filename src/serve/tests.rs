//! The time limits of a connection, with a paused clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::connection::SharedState;
use super::io::Socket;
use super::limits::Limits;
use super::listener::Security;
use super::phase::Phase;
use super::servable::erased;
use crate::extract::Text;
use crate::{Chain, ChainService, Provided, Request};

/// A connection, as its client has it.
struct Connection {
    client: DuplexStream,
    phase: watch::Sender<Phase>,
    served: JoinHandle<()>,
    opened: Instant,
}

impl Connection {
    fn open(service: ChainService) -> Self {
        Self::tuned(service, Limits::default())
    }

    fn tuned(service: ChainService, limits: Limits) -> Self {
        let (client, socket) = duplex(16 * 1024);
        let (phase, watched) = watch::channel(Phase::Serving);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let shared = SharedState::new(erased(service), limits, watched);
        let served = shared.connection(Socket::Pipe(socket), None, Security::default(), permit);
        Self { client, phase, served: tokio::spawn(served), opened: Instant::now() }
    }

    async fn send(&mut self, bytes: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads an answer that ends with this text.
    async fn answer(&mut self, end: &str) {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            assert!(self.client.read_buf(&mut read).await.unwrap() > 0, "it ended");
        }
    }

    /// How long it lived after this moment.
    async fn lived_since(self, since: Instant) -> Duration {
        let Self { served, client, phase, .. } = self;
        served.await.unwrap();
        drop((client, phase));
        since.elapsed()
    }
}

fn service() -> ChainService {
    Chain::new()
        .at("/", |c| c.get(async || "hello"))
        .at("/slow", |c| {
            c.get(async || {
                sleep(HOUR).await;
                "slow"
            })
        })
        .at("/large", |c| c.get(async || vec![b'x'; 4_000_000]))
        .at("/length", |c| c.post(length))
        .at("/ignored", |c| c.post(async || "3"))
        .at("/bytes", |c| c.post(async |body: Bytes| body.len().to_string()))
        .at("/text", |c| c.post(async |Text(body): Text| body))
        .at("/limited", |c| c.post(limited))
        .build()
}

async fn length(req: Request) -> String {
    match req.into_body().collect().await {
        Ok(body) => body.to_bytes().len().to_string(),
        Err(_) => "broken off".to_owned(),
    }
}

/// Returns the error of the body with `?`.
async fn limited(req: Request) -> Result<String, crate::Error> {
    Ok(req.into_body().collect().await?.to_bytes().len().to_string())
}

/// The clock has milliseconds.
#[track_caller]
fn assert_about(lived: Duration, expected: Duration) {
    let late = lived.checked_sub(expected).unwrap_or(HOUR);
    assert!(late < Duration::from_millis(20), "{lived:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_sent_byte_by_byte_has_the_same_time_limit_as_silence() {
    let silent = Connection::open(service());
    let since = silent.opened;
    assert_about(silent.lived_since(since).await, HEADER);

    for before in ["", GET] {
        let mut slow = Connection::open(service());
        if !before.is_empty() {
            slow.send(before).await;
            slow.answer("hello").await;
            sleep(Duration::from_secs(40)).await;
        }
        let since = Instant::now();
        for byte in "GET / HTTP/1.1".chars() {
            if slow.client.write_all(byte.to_string().as_bytes()).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        assert!(since.elapsed() < HEADER + Duration::from_secs(2));
        assert!(slow.served.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_after_its_limit_and_a_busy_one_does_not() {
    let mut connection = Connection::open(service());
    for pause in [1, 74, 30] {
        connection.send(GET).await;
        connection.answer("hello").await;
        sleep(Duration::from_secs(pause)).await;
    }
    connection.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
    connection.answer("slow").await;
    let since = Instant::now();
    assert_about(connection.lived_since(since).await, IDLE);
}

#[tokio::test(start_paused = true)]
async fn pings_do_not_keep_an_http2_connection_open() {
    let Connection { client, phase: _phase, served, .. } = Connection::open(service());
    let (mut send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(client))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    for path in ["/", "/slow"] {
        let uri = format!("http://test{path}");
        let request = http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let response = send.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
    let since = Instant::now();
    served.await.unwrap();
    assert_about(since.elapsed(), IDLE);
    connection.await.unwrap().unwrap();
}

/// A connection of HTTP/2 on which the client has sent its preface and a SETTINGS frame, and read the answer.
async fn http2() -> Connection {
    let mut connection = Connection::open(service());
    connection.client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    connection.client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    connection
}

#[tokio::test(start_paused = true)]
async fn a_head_of_http2_has_the_same_time_limit() {
    // `:method: GET`, `:scheme: http`, `:path: /` and `:authority: a` (RFC 7541, A).
    const FIELDS: [u8; 6] = [0x82, 0x86, 0x84, 0x01, 0x01, b'a'];
    let frame = |kind, flags, payload: &[u8]| {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], payload].concat()
    };
    let head = frame(1, 0x5, &FIELDS);
    let first = frame(1, 0x1, &FIELDS[..2]);
    for (name, sent, then) in [
        ("a part of a frame header", &head[..4], &[][..]),
        ("a part of a head", &head[..10], &[]),
        ("a head without its end", &first, &[]),
        ("byte by byte", &[], &head),
        ("continued byte by byte", &first, &frame(9, 0, &FIELDS[2..])),
        ("continued with nothing", &first, &frame(9, 0, b"").repeat(20)),
        ("a part of a ping", &frame(6, 0, &[0; 8])[..12], &[]),
    ] {
        let Connection { mut client, served, phase: _phase, .. } = http2().await;
        sleep(Duration::from_secs(5)).await;
        let since = Instant::now();
        client.write_all(sent).await.unwrap();
        for byte in then {
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        served.await.unwrap();
        let lived = since.elapsed();
        assert!(lived >= HEADER && lived < HEADER + Duration::from_secs(2), "{name}: {lived:?}");
    }
    // After a complete one the connection stays open, until it ends because this client does not answer pings.
    let mut connection = http2().await;
    connection.client.write_all(&head).await.unwrap();
    let since = Instant::now();
    assert!(connection.lived_since(since).await >= 3 * HEADER);
}

#[tokio::test(start_paused = true)]
async fn no_number_of_pings_keeps_an_http2_connection_open() {
    let ping: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let window: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for (frames, at_once) in [(ping, 1), (ping, 10), (settings, 10), (window, 10)] {
        let Connection { client, served, opened, phase: _phase, .. } = http2().await;
        let (mut read, mut write) = tokio::io::split(client);
        let reading = tokio::spawn(async move { read.read_to_end(&mut Vec::new()).await });
        while !served.is_finished() {
            let _ = write.write_all(&frames.repeat(at_once)).await;
            sleep(Duration::from_secs(1)).await;
        }
        let lived = opened.elapsed();
        // It has some time to answer GOAWAY.
        assert!(lived <= IDLE + HEADER + Duration::from_secs(2), "{frames:?}: {lived:?}");
        reading.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_in_time_is_a_408() {
    let limits = || Limits { min_body_rate: 100, ..Limits::default() };
    let total = || Limits { body_timeout: Duration::from_secs(60), ..Limits::default() };
    for path in ["/bytes", "/text", "/limited"] {
        for version in ["1.0", "1.1"] {
            for (limits, pause, end) in [
                (Limits::default(), HOUR, 30),
                (limits(), Duration::from_secs(1), 30),
                (total(), Duration::from_secs(20), 60),
            ] {
                let Connection { client, served, phase: _phase, .. } =
                    Connection::tuned(service(), limits);
                let (mut read, mut write) = tokio::io::split(client);
                let head = format!(
                    "POST {path} HTTP/{version}\r\nHost: test\r\nConnection: keep-alive\r\n\
                     Content-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n"
                );
                write.write_all(head.as_bytes()).await.unwrap();
                let since = Instant::now();
                let sending = tokio::spawn(async move {
                    while write.write_all(b"x").await.is_ok() {
                        sleep(pause).await;
                    }
                });
                let mut response = String::new();
                while !response.contains("\"status\":408") {
                    let mut buf = [0; 1024];
                    let length = read.read(&mut buf).await.unwrap();
                    assert!(length > 0, "{path} {version}: {response}");
                    response.push_str(std::str::from_utf8(&buf[..length]).unwrap());
                }
                let took = since.elapsed().as_secs();
                assert!(took.abs_diff(end) <= 1, "{path} {version}: {took}");
                assert!(response.starts_with(&format!("HTTP/{version} 408 ")), "{response}");
                assert!(response.contains("connection: close\r\n"), "{response}");
                drop(read);
                sending.abort();
                let _ = sending.await;
                served.await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn on_http2_a_body_that_does_not_arrive_in_time_is_a_408() {
    for path in ["/bytes", "/text", "/limited"] {
        let Connection { client, phase: _phase, served: _served, .. } = Connection::open(service());
        let (mut send, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
                .await
                .unwrap();
        tokio::spawn(connection);
        let body = crate::Body::from_stream(futures_util::stream::pending::<
            Result<Bytes, std::convert::Infallible>,
        >());
        let request = http::Request::post(format!("http://test{path}"))
            .header("content-type", "text/plain")
            .body(body)
            .unwrap();
        let since = Instant::now();
        let response = send.send_request(request).await.unwrap();
        assert_eq!(response.status(), 408, "{path}");
        assert_about(since.elapsed(), Duration::from_secs(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_must_be_read_fast_enough_if_that_is_set() {
    let rate = Limits { min_response_rate: 4096, ..Limits::default() };
    let total = Limits { response_timeout: Duration::from_secs(100), ..Limits::default() };
    for (limits, at_least, at_most) in [(rate, 30, 60), (total, 100, 125)] {
        let Connection { mut client, served, opened, phase: _phase } =
            Connection::tuned(service(), limits);
        client.write_all(b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        tokio::spawn(async move {
            let mut buf = vec![0; 16 * 1024];
            while client.read(&mut buf).await.is_ok_and(|length| length > 0) {
                sleep(Duration::from_secs(20)).await;
            }
        });
        served.await.unwrap();
        let lived = opened.elapsed().as_secs();
        assert!((at_least..at_most).contains(&lived), "{lived}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_http2_a_response_must_be_read_fast_enough_if_that_is_set() {
    let rate = Limits { min_response_rate: 16 * 1024, ..Limits::default() };
    let total = Limits { response_timeout: Duration::from_secs(100), ..Limits::default() };
    for limits in [rate, total] {
        let (slow, _alive) = large_on_http2_with(limits).await;
        let mut slow = slow;
        let mut read = 0;
        let ended = loop {
            match slow.frame().await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                ended => break ended,
            }
            sleep(Duration::from_secs(2)).await;
        };
        assert!(ended.is_some() && read < 4_000_000, "{read}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_a_large_response() {
    let mut connection = Connection::open(service());
    connection.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let (mut read, mut buf) = (0, vec![0; 16 * 1024]);
    while read < 4_000_000 {
        let length = connection.client.read(&mut buf).await.unwrap();
        assert!(length > 0, "it ended after {read} bytes");
        read += length;
        sleep(Duration::from_secs(20)).await;
    }
    assert!(connection.opened.elapsed() > HOUR);
    connection.send(GET).await;
    connection.answer("hello").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_dropped() {
    let mut connection = Connection::open(service());
    connection.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let since = connection.opened;
    assert_about(connection.lived_since(since).await, Duration::from_secs(30));
}

/// The body of a large response on HTTP/2, and the values that must not be dropped before it.
async fn large_on_http2() -> (hyper::body::Incoming, impl Sized) {
    large_on_http2_with(Limits::default()).await
}

async fn large_on_http2_with(limits: Limits) -> (hyper::body::Incoming, impl Sized) {
    let Connection { client, phase, served, .. } = Connection::tuned(service(), limits);
    let (mut send, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(client))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://test/large").body(Empty::<Bytes>::new()).unwrap();
    let response = send.send_request(request).await.unwrap();
    (response.into_body(), (phase, served, send, connection))
}

#[tokio::test(start_paused = true)]
async fn on_http2_a_body_of_one_piece_must_be_read_as_well() {
    let (mut slow, _alive) = large_on_http2().await;
    let mut read = 0;
    while let Some(frame) = slow.frame().await {
        read += frame.unwrap().data_ref().map_or(0, Bytes::len);
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(read, 4_000_000);

    let (unread, _alive) = large_on_http2().await;
    sleep(Duration::from_secs(40)).await;
    assert!(unread.collect().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_body_may_come_slowly_and_must_not_stop() {
    let mut connection = Connection::open(service());
    connection.send("POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n").await;
    for _ in 0..20 {
        sleep(Duration::from_secs(29)).await;
        connection.send("x").await;
    }
    connection.answer("20").await;
    connection.send("POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\nx").await;
    let since = Instant::now();
    connection.answer("broken off").await;
    assert_about(since.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_answers_and_a_moment_for_requests() {
    let mut idle = Connection::open(service());
    idle.send(GET).await;
    idle.answer("hello").await;
    let mut late = Connection::open(service());
    late.send(GET).await;
    late.answer("hello").await;
    let mut busy = Connection::open(service());
    busy.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    let since = Instant::now();
    for connection in [&idle, &late, &busy] {
        connection.phase.send_replace(Phase::Draining);
    }
    sleep(GRACE - Duration::from_millis(50)).await;
    late.send(GET).await;
    late.answer("hello").await;
    assert_about(idle.lived_since(since).await, GRACE);
    busy.answer("slow").await;
    let ended = Instant::now();
    // The response has announced the end.
    assert_about(busy.lived_since(ended).await, Duration::ZERO);
    late.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_first_request_of_a_connection() {
    let mut late = Connection::open(service());
    let silent = Connection::open(service());
    sleep(Duration::from_secs(1)).await;
    for connection in [&late, &silent] {
        connection.phase.send_replace(Phase::Draining);
    }
    sleep(Duration::from_secs(8)).await;
    late.send(GET).await;
    late.answer("hello").await;
    let since = silent.opened;
    assert_about(silent.lived_since(since).await, HEADER);
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_half_a_head_is_not_idle() {
    const HALF: &str = "GET / HTTP/1.1\r\nHo";
    let slow = "GET /slow HTTP/1.1\r\nHost: test\r\n\r\n";
    let form = "POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc";
    for (first, then, answer) in [
        (format!("{GET}{HALF}"), "", "hello"),
        (format!("{GET}{GET}{HALF}"), "", "hello"),
        (slow.to_owned(), HALF, "slow"),
        (format!("{form}{GET}{HALF}"), "", "hello"),
    ] {
        let open = async || {
            let mut connection = Connection::open(service());
            connection.send(&first).await;
            if !then.is_empty() {
                sleep(Duration::from_secs(1)).await;
                connection.send(then).await;
            }
            connection.answer(answer).await;
            connection
        };
        let late = open().await;
        let since = Instant::now();
        assert_about(late.lived_since(since).await, HEADER);

        let mut connection = open().await;
        connection.phase.send_replace(Phase::Draining);
        sleep(Duration::from_secs(8)).await;
        connection.send("st: test\r\n\r\n").await;
        connection.answer("hello").await;
    }
    // A body is not a part of the next head, whether the handler or the server reads it.
    for form in [form, "POST /ignored HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"] {
        let mut idle = Connection::open(service());
        idle.send(form).await;
        idle.answer("3").await;
        let since = Instant::now();
        assert!(idle.lived_since(since).await >= IDLE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_at_its_age() {
    let age = Duration::from_secs(1000);
    let limits = || Limits { max_connection_age: age, ..Limits::default() };
    let mut ages = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::tuned(service(), limits());
        // It is in use, until a response announces the end.
        loop {
            connection.send(GET).await;
            let mut read = Vec::new();
            while !read.ends_with(b"hello") {
                assert!(connection.client.read_buf(&mut read).await.unwrap() > 0);
            }
            if read.windows(17).any(|window| window == b"connection: close") {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        let opened = connection.opened;
        let lived = connection.lived_since(opened).await;
        assert!(lived >= age * 9 / 10 && lived <= age * 11 / 10 + GRACE, "{lived:?}");
        ages.push(lived.as_secs());
    }
    ages.dedup();
    assert!(ages.len() > 10, "all ages are the same: {ages:?}");

    // An idle one ends, and a request in flight finishes.
    let short = Limits { max_connection_age: Duration::from_secs(60), ..Limits::default() };
    let mut idle = Connection::tuned(service(), short.clone());
    idle.send(GET).await;
    idle.answer("hello").await;
    let opened = idle.opened;
    assert!(idle.lived_since(opened).await <= Duration::from_secs(66) + GRACE);
    let mut busy = Connection::tuned(service(), short.clone());
    busy.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
    busy.answer("slow").await;

    let Connection { client, phase: _phase, served, opened } = Connection::tuned(service(), short);
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let slow = http::Request::get("http://test/slow").body(Empty::<Bytes>::new()).unwrap();
    let slow = send.send_request(slow).await.unwrap();
    assert_eq!(slow.into_body().collect().await.unwrap().to_bytes(), "slow");
    connection.await.unwrap().unwrap();
    served.await.unwrap();
    assert!(opened.elapsed() < HOUR + Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_with_its_last_request() {
    let limits = Limits { max_requests_per_connection: 3, ..Limits::default() };
    for version in ["1.0", "1.1"] {
        let mut connection = Connection::tuned(service(), limits.clone());
        let get = format!("GET / HTTP/{version}\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
        connection.send(&get.repeat(5)).await;
        let mut read = String::new();
        connection.client.read_to_string(&mut read).await.unwrap();
        assert_eq!(read.matches("hello").count(), 3, "{read}");
        assert_eq!(read.matches("connection: close").count(), 1, "{read}");
    }
    let Connection { client, phase: _phase, served, .. } = Connection::tuned(service(), limits);
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    for _ in 0..3 {
        let get = http::Request::get("http://test/").body(Empty::<Bytes>::new()).unwrap();
        let response = send.send_request(get).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    }
    connection.await.unwrap().unwrap();
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_of_a_failed_request_has_its_method_path_and_id() {
    async fn fails() -> Result<(), crate::Error> {
        Err(std::io::Error::other("no disk").into())
    }
    async fn panics() {
        panic!("a bug")
    }
    fn broken() -> crate::Body {
        crate::Body::from_stream(futures_util::stream::poll_fn(
            |_| -> std::task::Poll<Option<Result<Bytes, std::io::Error>>> { panic!("a bug") },
        ))
    }
    let service = Chain::new()
        .at("/users/{id}", |c| {
            c.post(fails).put(panics).patch(async || broken()).delete(async || {
                tracing::warn!("its own line");
            })
        })
        .build();
    for (method, text, level) in [
        ("POST", "no disk", "ERROR"),
        ("PUT", "a bug", "ERROR"),
        ("PATCH", "a bug", "ERROR"),
        ("DELETE", "its own line", "WARN"),
    ] {
        for (field, id) in [
            ("X-Request-Id: abc-1", "id=\"abc-1\""),
            ("X-Request-Id: evil id", "id="),
            ("X: a", "id="),
        ] {
            let log = crate::test_log::Log::start();
            let mut connection = Connection::open(service.clone());
            let head = format!("{method} /users/7 HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n");
            connection.send(&head).await;
            // A body that panics ends the connection before anything is sent.
            let _ = connection.client.read_buf(&mut Vec::new()).await;
            drop(connection.client);
            connection.served.await.unwrap();
            let log = log.text();
            let line = log.lines().find(|line| line.contains(text)).expect("a line");
            let method = format!("http.request.method={method}");
            for part in [level, &method, "http.route=\"/users/{id}\"", id] {
                assert!(line.contains(part), "{part} is missing: {line}");
            }
            assert!(!line.contains("evil id"), "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_outlives_a_server_that_is_dropped() {
    let alive = Arc::new(());
    let held = Chain::new()
        .provide(alive.clone())
        .at("/slow", |c| c.get(async |_alive: Provided<Arc<()>>| sleep(HOUR).await));
    let held = held.build();
    let silent = Connection::open(held.clone());
    let mut http1 = Connection::open(held.clone());
    http1.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let Connection { client, phase, served, .. } = Connection::open(held);
    let (mut http2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    tokio::spawn(connection);
    let slow = http::Request::get("http://test/slow").body(Empty::<Bytes>::new()).unwrap();
    let slow = tokio::spawn(http2.send_request(slow));
    sleep(Duration::from_secs(1)).await;
    let since = Instant::now();
    for (phase, served) in
        [(phase, served), (silent.phase, silent.served), (http1.phase, http1.served)]
    {
        drop(phase);
        served.await.unwrap();
    }
    assert!(slow.await.unwrap().is_err());
    assert_about(since.elapsed(), Duration::ZERO);
    assert_eq!(Arc::strong_count(&alive), 1, "a handler runs on");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_drops_requests_in_flight() {
    let mut busy = Connection::open(service());
    busy.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    busy.phase.send_replace(Phase::Draining);
    sleep(Duration::from_secs(30)).await;
    busy.phase.send_replace(Phase::Aborting);
    let since = Instant::now();
    assert_about(busy.lived_since(since).await, Duration::ZERO);
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const HEADER: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(75);
const HOUR: Duration = Duration::from_secs(60 * 60);
