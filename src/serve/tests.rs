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
        let (client, socket) = duplex(16 * 1024);
        let (phase, watched) = watch::channel(Phase::Serving);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let shared = SharedState::new(service, Limits::default(), watched);
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
        .build()
}

async fn length(req: Request) -> String {
    match req.into_body().collect().await {
        Ok(body) => body.to_bytes().len().to_string(),
        Err(_) => "broken off".to_owned(),
    }
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
    let Connection { client, phase, served, .. } = Connection::open(service());
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
    sleep(Duration::from_millis(200)).await;
    late.send(GET).await;
    late.answer("hello").await;
    assert_about(idle.lived_since(since).await, Duration::from_millis(250));
    busy.answer("slow").await;
    let ended = Instant::now();
    assert_about(busy.lived_since(ended).await, Duration::from_millis(250));
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
const IDLE: Duration = Duration::from_secs(75);
const HOUR: Duration = Duration::from_secs(60 * 60);
