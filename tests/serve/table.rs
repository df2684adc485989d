//! Each cause on each HTTP version, without and with TLS: the status of the response, and whether the connection serves the next request.

use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use rcgen::{CertifiedKey, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite};

use super::tls::{certificate, connect_as, tls};
use super::*;

/// How a client speaks to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Http10,
    Http11,
    Http2,
    TlsHttp11,
    TlsHttp2,
}

use Column::*;

impl Column {
    fn is_http2(self) -> bool {
        matches!(self, Http2 | TlsHttp2)
    }

    fn is_tls(self) -> bool {
        matches!(self, TlsHttp11 | TlsHttp2)
    }
}

/// A server without TLS, and the same with it.
struct Servers {
    plain: Running,
    tls: Running,
    certificate: CertifiedKey<KeyPair>,
}

impl Servers {
    async fn start(service: ChainService, tune: impl Fn(Server) -> Server) -> Self {
        let certificate = certificate();
        let listen = async || Listener::bind("127.0.0.1:0").await.unwrap();
        let with_tls = Server::new(listen().await.tls(tls(&certificate)));
        let plain = Running::of(tune(Server::new(listen().await)), service.clone());
        Self { plain, tls: Running::of(tune(with_tls), service), certificate }
    }

    async fn connect(&self, column: Column) -> Connected {
        if !column.is_tls() {
            return Connected::on(TcpStream::connect(self.plain.addr).await.unwrap(), column).await;
        }
        Connected::on(self.tls_stream(column).await, column).await
    }

    async fn tls_stream(&self, column: Column) -> tokio_rustls::client::TlsStream<TcpStream> {
        let alpn = if column.is_http2() { "h2" } else { "http/1.1" };
        connect_as(None, &self.tls, self.certificate.cert.der(), &[alpn]).await.unwrap()
    }

    async fn stop(self) {
        tokio::join!(self.plain.stop(), self.tls.stop());
    }
}

/// A connection of a client.
enum Connected {
    Http1(hyper::client::conn::http1::SendRequest<Body>, http::Version),
    Http2(hyper::client::conn::http2::SendRequest<Body>),
}

impl Connected {
    async fn on(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, column: Column) -> Self {
        let io = TokioIo::new(io);
        if column.is_http2() {
            let executor = TokioExecutor::new();
            let (send, connection) =
                hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            return Self::Http2(send);
        }
        let (send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let version =
            if column == Http10 { http::Version::HTTP_10 } else { http::Version::HTTP_11 };
        Self::Http1(send, version)
    }

    async fn send(&mut self, asked: &Asked) -> hyper::Result<http::Response<Incoming>> {
        let body = match asked.body {
            Sent::Nothing => Body::empty(),
            Sent::Bytes(length) => Body::from(vec![b'x'; length]),
            Sent::Stalled => {
                let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"x"))]);
                Body::from_stream(first.chain(stream::pending()))
            }
        };
        let is_connect = asked.method == "CONNECT";
        let mut request = http::Request::builder().method(asked.method);
        if let Sent::Stalled = asked.body {
            request = request.header("content-length", "10");
        }
        for _ in 0..asked.times {
            let value = asked.value.repeat(asked.repeat);
            request = request.header(asked.name, value);
        }
        let host = if is_connect { "test:80" } else { "test" };
        match self {
            Self::Http1(send, version) => {
                let target = if is_connect { host } else { asked.path };
                request = request.uri(target).version(*version).header("connection", "keep-alive");
                // An invalid `Host` takes the place of the valid one.
                if asked.name != "host" || asked.value == "test" {
                    request = request.header("host", host);
                }
                send.ready().await?;
                send.send_request(request.body(body).unwrap()).await
            }
            Self::Http2(send) => {
                let uri = match is_connect {
                    true => host.to_owned(),
                    false => format!("http://{host}{}", asked.path),
                };
                send.ready().await?;
                send.send_request(request.uri(uri).body(body).unwrap()).await
            }
        }
    }

    /// Whether the connection serves another request.
    async fn is_open(&mut self) -> bool {
        match within(self.send(&GET_ROOT)).await {
            Ok(response) => response.status() == 200,
            Err(_) => false,
        }
    }
}

/// A request.
#[derive(Clone, Copy)]
struct Asked {
    method: &'static str,
    path: &'static str,
    /// A field that is sent this many times, with the value repeated.
    name: &'static str,
    value: &'static str,
    repeat: usize,
    times: usize,
    body: Sent,
}

#[derive(Clone, Copy)]
enum Sent {
    Nothing,
    Bytes(usize),
    /// Less than is declared.
    Stalled,
}

const fn asked(method: &'static str, path: &'static str, body: Sent) -> Asked {
    Asked { method, path, name: "x", value: "", repeat: 1, times: 0, body }
}

const fn with(
    asked: Asked,
    name: &'static str,
    value: &'static str,
    repeat: usize,
    times: usize,
) -> Asked {
    Asked { name, value, repeat, times, ..asked }
}

const GET_ROOT: Asked = asked("GET", "/", Sent::Nothing);
const ALL: [Column; 5] = [Http10, Http11, Http2, TlsHttp11, TlsHttp2];

/// Whether a connection of HTTP/1 stays open after the response. One of HTTP/2 always does, as other streams use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Http1 {
    Open,
    Ends,
}

fn table_service() -> ChainService {
    async fn wrong_length() -> impl IntoResponse {
        ([("content-length", "10")], "abc")
    }
    async fn read(body: String) -> String {
        body.len().to_string()
    }
    Chain::new()
        .at("/", |c| c.get(async || "hello"))
        .at("/panic", |c| c.get(panics))
        .at("/ignored", |c| c.post(async || "not read"))
        .at("/read", |c| c.post(read))
        .at("/length", |c| c.get(wrong_length))
        .at("/interim", |c| c.get(async || StatusCode::from_u16(103).unwrap()))
        .build()
}

#[tokio::test]
async fn each_cause_has_the_same_status_on_every_http_version() {
    let servers = Servers::start(table_service(), |server| {
        server.unread_body_limit(1000).body_read_timeout(Duration::from_millis(100))
    })
    .await;
    let get = |path| asked("GET", path, Sent::Nothing);
    let post = |path, body| asked("POST", path, body);
    let root = GET_ROOT;
    for (cause, asked, status, http1) in [
        ("a request", root, 200, Http1::Open),
        ("a panic", get("/panic"), 500, Http1::Open),
        ("an unknown path", get("/nowhere"), 404, Http1::Open),
        ("an unknown method", post("/", Sent::Nothing), 405, Http1::Open),
        ("a body that is read", post("/read", Sent::Bytes(5000)), 200, Http1::Open),
        ("a body that is not read", post("/ignored", Sent::Bytes(3)), 200, Http1::Open),
        ("a long body that is not read", post("/ignored", Sent::Bytes(5000)), 200, Http1::Ends),
        (
            "an expectation that is not met",
            with(post("/ignored", Sent::Stalled), "expect", "100-continue", 1, 1),
            200,
            Http1::Ends,
        ),
        ("a body that stalls", post("/read", Sent::Stalled), 408, Http1::Ends),
        (
            "an unknown expectation",
            with(post("/read", Sent::Bytes(3)), "expect", "200-ok", 1, 1),
            417,
            Http1::Ends,
        ),
        ("a head that is too large", with(root, "x", "x", 20_000, 1), 431, Http1::Ends),
        ("too many fields", with(root, "x", "x", 1, 150), 431, Http1::Ends),
        ("a repeated Host", with(root, "host", "test", 1, 2), 400, Http1::Open),
        ("a Host that is not valid", with(root, "host", "a b", 1, 1), 400, Http1::Open),
        ("an empty Host", with(root, "host", "", 1, 1), 400, Http1::Open),
        ("a wrong Content-Length of a response", get("/length"), 200, Http1::Ends),
        ("an interim response", get("/interim"), 500, Http1::Open),
    ] {
        for column in ALL {
            let mut client = servers.connect(column).await;
            let response = within(client.send(&asked)).await;
            let case = format!("{cause} on {column:?}");
            let response = response.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(response.status(), status, "{case}");
            assert_eq!(
                response.headers().contains_key("connection"),
                {
                    // HTTP/1.0 announces that the connection stays open, HTTP/1.1 that it ends.
                    !column.is_http2() && (column == Http10 || http1 == Http1::Ends)
                },
                "{case}: {response:?}"
            );
            let body = within(response.into_body().collect()).await.unwrap().to_bytes();
            if asked.path == "/length" {
                assert_eq!(body, "abc", "{case}");
            }
            let stays_open = column.is_http2() || http1 == Http1::Open;
            assert_eq!(client.is_open().await, stays_open, "{case}");
        }
    }
    servers.stop().await;
}

#[tokio::test]
async fn no_handler_sees_blanks_around_a_value() {
    // RFC 9112, 5.1: they are not a part of it. RFC 9113, 8.2.1: the request is not valid.
    let seen = async |headers: http::HeaderMap| headers["x"].as_bytes().to_vec();
    let servers = Servers::start(Chain::new().get(seen).build(), |server| server).await;
    for column in ALL {
        for value in [" a", "a ", "\ta", "a\t", " "] {
            let mut client = servers.connect(column).await;
            let response = within(client.send(&with(GET_ROOT, "x", value, 1, 1))).await.unwrap();
            let expected = if column.is_http2() { 400 } else { 200 };
            assert_eq!(response.status(), expected, "{value:?} on {column:?}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let trimmed = value.trim();
            assert!(column.is_http2() || body == trimmed, "{value:?} on {column:?}: {body:?}");
        }
    }
    servers.stop().await;
}

#[tokio::test]
async fn connect_is_refused_on_every_http_version() {
    let servers = Servers::start(Chain::new().all(async || "all").build(), |server| server).await;
    for column in ALL {
        let mut client = servers.connect(column).await;
        let response = within(client.send(&asked("CONNECT", "", Sent::Nothing))).await.unwrap();
        assert_eq!(response.status(), 405, "{column:?}");
        response.into_body().collect().await.unwrap();
        assert!(client.is_open().await, "{column:?}");
    }
}

#[tokio::test]
async fn every_connection_ends_with_its_last_request_and_at_its_age() {
    let last: fn(Server) -> Server = |server| server.max_requests_per_connection(1);
    let old: fn(Server) -> Server =
        |server| server.max_connection_age(Duration::from_nanos(1)).idle_timeout(IDLE);
    for (cause, tune) in [("the last request", last), ("the age", old)] {
        let servers = Servers::start(table_service(), tune).await;
        for column in ALL {
            let mut client = servers.connect(column).await;
            // A client of HTTP/2 may receive GOAWAY before it sends anything.
            let response = within(client.send(&GET_ROOT)).await;
            let case = format!("{cause} on {column:?}: {response:?}");
            match response {
                Ok(response) => {
                    assert_eq!(response.status(), 200, "{case}");
                    response.into_body().collect().await.unwrap();
                    within(async { while client.is_open().await {} }).await;
                }
                Err(_) => assert!(column.is_http2() && cause == "the age", "{case}"),
            }
        }
    }
}

#[tokio::test]
async fn every_idle_connection_ends() {
    let tune = |server: Server| server.idle_timeout(IDLE).header_read_timeout(IDLE);
    let servers = Servers::start(table_service(), tune).await;
    for column in ALL {
        let mut client = servers.connect(column).await;
        client.send(&GET_ROOT).await.unwrap().into_body().collect().await.unwrap();
        let ended = async {
            loop {
                let is_closed = match &client {
                    Connected::Http1(send, _) => send.is_closed(),
                    Connected::Http2(send) => send.is_closed(),
                };
                if is_closed {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        within(ended).await;
    }
    servers.stop().await;
}

#[tokio::test]
async fn half_a_head_ends_every_connection() {
    let tune = |server: Server| server.header_read_timeout(Duration::from_millis(200));
    let servers = Servers::start(table_service(), tune).await;
    for column in ALL {
        let half = match column {
            Http10 => b"GET / HTTP/1.0\r\nHo".to_vec(),
            Http11 | TlsHttp11 => b"GET / HTTP/1.1\r\nHo".to_vec(),
            Http2 | TlsHttp2 => {
                let mut sent = frames::preface(65_535);
                // HEADERS without END_HEADERS.
                frames::frame(&mut sent, 1, 0x1, 1, &frames::field(":method", "GET"));
                sent
            }
        };
        let ended = async {
            let mut read = Vec::new();
            let _ = if column.is_tls() {
                let mut client = servers.tls_stream(column).await;
                client.write_all(&half).await.unwrap();
                client.read_to_end(&mut read).await
            } else {
                let mut client = servers.plain.connect().await.0;
                client.write_all(&half).await.unwrap();
                client.read_to_end(&mut read).await
            };
        };
        within(ended).await;
    }
    servers.stop().await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered_on_every_connection_of_a_server_that_stops() {
    for column in ALL {
        let (service, gate) = gated();
        let servers = Servers::start(service, |server| server).await;
        let mut client = servers.connect(column).await;
        let answered = tokio::spawn(async move {
            let response = client.send(&GET_ROOT).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (body, client)
        });
        gate.entered().await;
        let addr = if column.is_tls() { servers.tls.addr } else { servers.plain.addr };
        let stopping = tokio::spawn(servers.stop());
        within(async { while TcpStream::connect(addr).await.is_ok() {} }).await;
        gate.open(1);
        let (body, mut client) = within(answered).await.unwrap();
        assert_eq!(body, "done", "{column:?}");
        assert!(!client.is_open().await, "{column:?}");
        within(stopping).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_its_response_on_http1() {
    let servers = Servers::start(table_service(), |server| server).await;
    for column in [Http10, Http11, TlsHttp11] {
        let version = if column == Http10 { "1.0" } else { "1.1" };
        let request = format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n");
        let mut read = String::new();
        if column.is_tls() {
            let mut client = servers.tls_stream(column).await;
            client.write_all(request.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            within(client.read_to_string(&mut read)).await.unwrap();
        } else {
            let mut client = servers.plain.connect().await.0;
            client.write_all(request.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            within(client.read_to_string(&mut read)).await.unwrap();
        }
        assert_eq!(body_of(&read), "hello", "{column:?}");
    }
    servers.stop().await;
}

/// What the server answers to these bytes, until it ends the connection.
async fn answer_to(servers: &Servers, column: Column, sent: &str) -> String {
    let mut read = Vec::new();
    if column.is_tls() {
        let mut client = servers.tls_stream(column).await;
        client.write_all(sent.as_bytes()).await.unwrap();
        let _ = within(client.read_to_end(&mut read)).await;
    } else {
        let mut client = servers.plain.connect().await.0;
        client.write_all(sent.as_bytes()).await.unwrap();
        let _ = within(client.read_to_end(&mut read)).await;
    }
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn a_message_that_is_refused_ends_every_connection_of_http1() {
    let servers = Servers::start(table_service(), |server| server).await;
    let coded = "Host: test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let lengths = "Host: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab";
    for column in [Http10, Http11, TlsHttp11] {
        let version = if column == Http10 { "1.0" } else { "1.1" };
        for (cause, line, rest, status) in [
            // A sender of HTTP/1.0 can't have meant it (RFC 9112, 6.1).
            ("another coding", "POST /read", coded, if column == Http10 { "400" } else { "501" }),
            ("two lengths", "POST /read", lengths, "400"),
            ("a target that is not valid", "GET /a b", "Host: test\r\n\r\n", "400"),
            ("a name that is not valid", "GET /", "Ho st: test\r\n\r\n", "400"),
        ] {
            let sent = format!("{line} HTTP/{version}\r\n{rest}");
            let answer = answer_to(&servers, column, &sent).await;
            let case = format!("{cause} on {column:?}: {answer}");
            // hyper answers with version 1.1 where it knows no version of the request.
            assert_eq!(answer.split(' ').nth(1), Some(status), "{case}");
            assert!(answer.to_ascii_lowercase().contains("connection: close\r\n"), "{case}");
        }
    }
    servers.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_valid_ends_every_connection_of_http1() {
    let servers = Servers::start(table_service(), |server| server).await;
    let long = "x".repeat(20_000);
    for column in [Http11, TlsHttp11] {
        // Whether the first chunk is not valid.
        for (cause, first, body) in [
            ("the size of a chunk", true, "x\r\na\r\n0\r\n\r\n".to_owned()),
            ("a size that is too large", true, "fffffffffffffffff\r\na\r\n".to_owned()),
            ("a long extension", true, format!("1;{long}\r\na\r\n0\r\n\r\n")),
            ("a chunk longer than its size", false, "1\r\nab\r\n0\r\n\r\n".to_owned()),
            ("long trailers", false, format!("1\r\na\r\n0\r\nx: {long}\r\n\r\n")),
            ("too many trailers", false, format!("1\r\na\r\n0\r\n{}\r\n", "x: a\r\n".repeat(200))),
        ] {
            for (path, status) in [("/read", "400"), ("/ignored", "200"), ("/nowhere", "404")] {
                let fields = "Host: test\r\nTransfer-Encoding: chunked\r\n";
                let sent = format!("POST {path} HTTP/1.1\r\n{fields}\r\n{body}");
                let answer = answer_to(&servers, column, &sent).await;
                let case = format!("{cause} for {path} on {column:?}: {answer}");
                assert_eq!(answer.split(' ').nth(1), Some(status), "{case}");
                assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{case}");
                // A response to a body that is not read doesn't wait for the rest of it.
                let known = first || path == "/read";
                assert_eq!(answer.contains("connection: close\r\n"), known, "{case}");
            }
        }
    }
    servers.stop().await;
}

#[tokio::test]
async fn a_response_without_a_length_ends_a_connection_of_http10() {
    let stream = async || {
        Body::from_stream(stream::iter(["hel", "lo"].map(|part| io::Result::Ok(Bytes::from(part)))))
    };
    let closed = async || ([("connection", "close")], "hello");
    let service = Chain::new()
        .at("/", |c| c.get(async || "hello"))
        .at("/stream", |c| c.get(stream))
        .at("/closed", |c| c.get(closed));
    let servers = Servers::start(service.build(), |server| server).await;
    for column in ALL {
        for path in ["/stream", "/closed"] {
            let mut client = servers.connect(column).await;
            let response = within(client.send(&asked("GET", path, Sent::Nothing))).await.unwrap();
            let case = format!("{path} on {column:?}: {response:?}");
            let ends = column == Http10 || path == "/closed" && !column.is_http2();
            let announced: Vec<_> = response.headers().get_all("connection").iter().collect();
            assert_eq!(announced, if ends { &["close"][..] } else { &[] }, "{case}");
            let body = within(response.into_body().collect()).await.unwrap().to_bytes();
            assert_eq!(body, "hello", "{case}");
            assert_eq!(client.is_open().await, !ends, "{case}");
        }
    }
    servers.stop().await;
}

#[tokio::test]
async fn a_response_that_is_not_read_ends_on_every_connection() {
    const LENGTH: usize = 50_000_000;
    let large = async || vec![b'x'; LENGTH];
    let servers = Servers::start(Chain::new().get(large).build(), |server| {
        server.write_timeout(Duration::from_millis(200))
    })
    .await;
    for column in ALL {
        let mut client = servers.connect(column).await;
        let response = within(client.send(&GET_ROOT)).await.unwrap();
        // On HTTP/2 the client has one second more for each 4 KiB of a piece of 16 KiB.
        tokio::time::sleep(Duration::from_secs(if column.is_http2() { 6 } else { 1 })).await;
        let mut body = response.into_body();
        let mut read = 0;
        let ended = within(async {
            loop {
                match body.frame().await {
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                    other => break other,
                }
            }
        })
        .await;
        assert!(ended.is_some() && read < LENGTH, "{column:?}: {read} {ended:?}");
    }
    servers.stop().await;
}

const IDLE: Duration = Duration::from_millis(200);
