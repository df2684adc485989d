//! The length of a response, on every HTTP version.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::*;

/// A body whose frames are the rest of the path. It states that it has five bytes.
struct Lying(Vec<Bytes>);

impl Lying {
    fn of(path: &str) -> Self {
        Self(path.rsplit('/').map(|part| Bytes::copy_from_slice(part.as_bytes())).collect())
    }
}

impl HttpBody for Lying {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().0.pop().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(5)
    }
}

/// Returns a body of five bytes whose length is known, or unknown with `/stream`, with the lengths that the query declares.
fn length_service() -> ChainService {
    async fn respond(req: Request) -> impl IntoResponse {
        let parts = ["hel", "lo"].map(|part| io::Result::Ok(Bytes::from(part)));
        let body = match req.uri().path() {
            "/stream" => Body::from_stream(stream::iter(parts)),
            "/empty" => Body::empty(),
            path => match path.strip_prefix("/lying/") {
                Some(frames) => Body::new(Lying::of(frames)),
                None => Body::from("hello"),
            },
        };
        let mut headers = HeaderMap::new();
        for declared in req.uri().query().unwrap_or_default().split('&').filter(|d| !d.is_empty()) {
            headers.append(CONTENT_LENGTH, HeaderValue::from_str(declared).unwrap());
        }
        let status = match req.uri().path() {
            "/204" => StatusCode::NO_CONTENT,
            "/304" => StatusCode::NOT_MODIFIED,
            _ => StatusCode::OK,
        };
        (status, headers, body)
    }
    Chain::new().all(respond).build()
}

/// A response as a client parses it.
#[derive(Debug, PartialEq)]
enum Received {
    /// A whole response: its length, its body, and whether the connection stays open.
    Whole(Option<&'static str>, &'static str, bool),
    /// The response breaks off.
    Broken,
}
use Received::{Broken, Whole};

const CASES: &[(&str, &str, Received)] = &[
    ("GET", "/", Whole(Some("5"), "hello", true)),
    ("GET", "/?5", Whole(Some("5"), "hello", true)),
    ("GET", "/?4", Whole(Some("5"), "hello", false)),
    ("GET", "/?6", Whole(Some("5"), "hello", false)),
    ("GET", "/?5&5", Whole(Some("5"), "hello", false)),
    ("GET", "/?5&6", Whole(Some("5"), "hello", false)),
    ("GET", "/?+5", Whole(Some("5"), "hello", false)),
    ("GET", "/?-1", Whole(Some("5"), "hello", false)),
    ("GET", "/?5,5", Whole(Some("5"), "hello", false)),
    ("GET", "/?18446744073709551616", Whole(Some("5"), "hello", false)),
    ("GET", "/empty?5", Whole(Some("0"), "", false)),
    ("GET", "/stream?5", Whole(Some("5"), "hello", true)),
    ("GET", "/stream?4", Broken),
    ("GET", "/stream?6", Broken),
    ("GET", "/lying/hello", Whole(Some("5"), "hello", true)),
    ("GET", "/lying/hello?5", Whole(Some("5"), "hello", true)),
    ("GET", "/lying/hel/lo", Whole(Some("5"), "hello", true)),
    ("GET", "/lying/hel/lo?5", Whole(Some("5"), "hello", true)),
    ("GET", "/lying/hell", Broken),
    ("GET", "/lying/hell?5", Broken),
    ("GET", "/lying/hello!", Broken),
    ("GET", "/lying/hello!?5", Broken),
    ("GET", "/lying/hel/lo!", Broken),
    ("GET", "/lying/h/e?5", Broken),
    ("GET", "/204?5", Whole(None, "", true)),
    // The chain removes the length together with the body.
    ("GET", "/304?7", Whole(None, "", true)),
    ("HEAD", "/empty?7", Whole(Some("7"), "", true)),
    ("HEAD", "/empty?7&8", Whole(None, "", false)),
];

#[tokio::test]
async fn a_wrong_length_never_reaches_a_client_of_http1() {
    let server = Running::start(length_service()).await;
    for (method, target, expected) in CASES {
        for version in ["1.0", "1.1"] {
            let mut client = server.connect().await;
            let sent = format!(
                "{method} {target} HTTP/{version}\r\nHost: test\r\nConnection: keep-alive\r\n\r\n"
            );
            client.send(&sent).await;
            client.send("GET /next HTTP/1.1\r\nHost: test\r\n\r\n").await;
            client.0.shutdown().await.unwrap();
            let received = client.rest().await.unwrap();
            let (head, rest) = received.split_once("\r\n\r\n").unwrap_or((&received, ""));
            let head = head.to_ascii_lowercase();
            let lengths: Vec<_> =
                head.lines().filter_map(|line| line.strip_prefix("content-length: ")).collect();
            let case = format!("{method} {target} HTTP/{version}: {received:?}");
            match *expected {
                Broken => assert!(rest.len() < 5 && !rest.contains("HTTP/"), "{case}"),
                Whole(length, body, open) => {
                    assert_eq!(lengths, length.as_slice(), "{case}");
                    let next = rest.strip_prefix(body).expect(&case);
                    assert_eq!(next.starts_with("HTTP/"), open, "{case}");
                    assert_eq!(head.contains("connection: close"), !open, "{case}");
                }
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_length_never_reaches_a_client_of_http2() {
    let server = Running::start(length_service()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for (method, target, expected) in CASES {
        let url = format!("http://{}{target}", server.addr);
        let response = client.request(method.parse().unwrap(), url).send().await;
        let case = format!("{method} {target}: {response:?}");
        let Ok(response) = response else {
            assert_eq!(*expected, Broken, "{case}");
            continue;
        };
        let lengths: Vec<_> = response.headers().get_all(CONTENT_LENGTH).iter().cloned().collect();
        let body = response.text().await;
        match *expected {
            Broken => assert!(body.is_err(), "{case} {body:?}"),
            Whole(length, expected, _) => {
                assert_eq!(body.ok().as_deref(), Some(expected), "{case}");
                // hyper gives a response to HEAD a length only where a handler does.
                assert_eq!(lengths, length.as_slice(), "{case}");
            }
        }
    }
    drop(client);
    server.stop().await;
}

/// Returns the body, with fields that another server would have sent.
fn passed_on_service() -> ChainService {
    async fn respond(req: Request) -> impl IntoResponse {
        let body = match req.uri().path() {
            "/stream" => {
                Body::from_stream(stream::iter([io::Result::Ok(Bytes::from_static(b"hello"))]))
            }
            _ => Body::from("hello"),
        };
        let mut headers = HeaderMap::new();
        for coding in req.uri().query().unwrap_or_default().split('&') {
            match coding {
                "5" => headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5")),
                coding => {
                    headers.insert("transfer-encoding", HeaderValue::from_str(coding).unwrap())
                }
            };
        }
        (headers, body)
    }
    let connect = async || ([("content-length", "5"), ("transfer-encoding", "chunked")], "hello");
    Chain::new().on(http::Method::CONNECT, connect).all(respond).build()
}

#[tokio::test]
async fn a_coding_that_another_server_applied_is_not_claimed() {
    let server = Running::start(passed_on_service()).await;
    for path in ["/", "/stream"] {
        for query in ["chunked", "gzip", "gzip,chunked", "chunked&5", "5&chunked"] {
            for version in ["1.0", "1.1"] {
                let mut client = server.connect().await;
                let get = format!("GET {path}?{query} HTTP/{version}\r\nHost: test\r\n\r\n");
                client.send(get).await;
                client.0.shutdown().await.unwrap();
                let received = client.rest().await.unwrap().to_ascii_lowercase();
                let case = format!("{path} {query} HTTP/{version}: {received:?}");
                let (head, body) = received.split_once("\r\n\r\n").expect(&case);
                let chunked = path == "/stream" && !query.contains('5') && version == "1.1";
                assert_eq!(head.contains("transfer-encoding: chunked"), chunked, "{case}");
                assert!(!head.contains("gzip"), "{case}");
                let expected = if chunked { "5\r\nhello\r\n0\r\n\r\n" } else { "hello" };
                assert_eq!(body, expected, "{case}");
            }
            let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
            let url = format!("http://{}{path}?{query}", server.addr);
            let response = client.get(url).send().await.unwrap();
            assert!(!response.headers().contains_key("transfer-encoding"), "{path} {query}");
            assert_eq!(response.text().await.unwrap(), "hello", "{path} {query}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_tunnel_has_no_length() {
    // RFC 9110, 9.3.6.
    let server = Running::start(passed_on_service()).await;
    for version in ["1.0", "1.1"] {
        let mut client = server.connect().await;
        client.send(format!("CONNECT test:80 HTTP/{version}\r\nHost: test:80\r\n\r\n")).await;
        let mut read = Vec::new();
        client.read_until(&mut read, b"\r\n\r\n", 0).await;
        let head = String::from_utf8_lossy(&read).to_ascii_lowercase();
        assert!(head.starts_with(&format!("http/{version} 200 ")), "{head}");
        assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    }
}

#[tokio::test]
async fn a_205_has_no_content() {
    // RFC 9110, 15.3.6.
    let service = Chain::new().all(async || (StatusCode::RESET_CONTENT, "hello")).build();
    let server = Running::start(service).await;
    for version in ["1.0", "1.1"] {
        let mut client = server.connect().await;
        client.send(format!("GET / HTTP/{version}\r\nHost: test\r\n\r\n")).await;
        let response = client.response().await;
        assert!(response.contains("content-length: 0\r\n"), "{response}");
        assert_eq!(body_of(&response), "", "{response}");
    }
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let response = client.get(format!("http://{}/", server.addr)).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "");
}
