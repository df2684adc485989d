use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue, REFERER, USER_AGENT};
use http::{HeaderName, Method};
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::line::Timestamp;
use super::*;
use crate::{Body, Chain, ChainService, Error, StatusCode};

/// The lines of a log, after it has written all of them.
struct Lines {
    handle: AccessLogHandle,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Lines {
    fn of(log: AccessLog) -> (AccessLog, Self) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let own = lines.clone();
        let log = log.to_fn(move |line| own.lock().unwrap().push(line.to_owned()));
        let handle = log.handle();
        (log, Self { handle, lines })
    }

    fn all(&self) -> Vec<String> {
        assert!(self.handle.flush(Duration::from_secs(30)));
        self.lines.lock().unwrap().clone()
    }
}

fn request(path: &str) -> Request {
    let mut req = Request::new(Body::empty());
    *req.uri_mut() = path.parse().unwrap();
    req.extensions_mut().insert(crate::extract::PeerAddr("192.0.2.7:4711".parse().unwrap()));
    req
}

async fn sent(chain: &ChainService, req: Request) -> usize {
    chain.handle(req).await.into_body().collect().await.unwrap().to_bytes().len()
}

/// Without what depends on the clock.
fn timeless(line: &str) -> String {
    let cut = |line: &str, start: &str, end: char| match line.split_once(start) {
        Some((before, rest)) => {
            let (_, after) = rest.split_once(end).unwrap();
            format!("{before}{start}..{end}{after}")
        }
        None => line.to_owned(),
    };
    let line = cut(line, "- - [", ']');
    cut(&cut(&line, "\"time\":\"", '"'), "\"duration\":", '}')
}

fn chain(log: AccessLog) -> ChainService {
    Chain::new()
        .always(log)
        .at("/users/{id}", |c| {
            c.guard(async |headers: http::HeaderMap| {
                let allowed = headers.contains_key(AUTHORIZATION);
                allowed.then_some(()).ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "No"))
            })
            .get(async || "Ann")
            .post(async |text: String| text)
        })
        .at("/empty", |c| c.get(async || StatusCode::NO_CONTENT))
        .build()
}

#[tokio::test]
async fn the_combined_format_is_that_of_apache() {
    let (log, lines) = Lines::of(AccessLog::combined());
    let chain = chain(log);
    let mut req = request("/users/7?token=secret");
    let fields = [
        (AUTHORIZATION, "Bearer secret"),
        (REFERER, "https://example.com/a?token=secret#x"),
        (USER_AGENT, "curl/8.5.0 (\"quoted\" \\)"),
    ];
    req.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    assert_eq!(sent(&chain, req).await, 3);
    sent(&chain, request("/empty")).await;
    sent(&chain, request("/none")).await;
    let mut head = request("/empty");
    *head.method_mut() = Method::HEAD;
    head.extensions_mut().clear();
    sent(&chain, head).await;
    let lines: Vec<_> = lines.all().iter().map(|line| timeless(line)).collect();
    let length = Error::new(StatusCode::NOT_FOUND, "Nothing answers at this path");
    let length = axum_core::response::IntoResponse::into_response(length);
    let length = length.into_body().collect().await.unwrap().to_bytes().len();
    assert_eq!(
        lines,
        [
            "192.0.2.7 - - [..] \"GET /users/7 HTTP/1.1\" 200 3 \"https://example.com/a\" \"curl/8.5.0 (\\\"quoted\\\" \\\\)\""
                .to_owned(),
            "192.0.2.7 - - [..] \"GET /empty HTTP/1.1\" 204 - \"-\" \"-\"".to_owned(),
            format!("192.0.2.7 - - [..] \"GET /none HTTP/1.1\" 404 {length} \"-\" \"-\""),
            "- - - [..] \"HEAD /empty HTTP/1.1\" 204 - \"-\" \"-\"".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_referer_has_no_credentials() {
    let (plain, lines) = Lines::of(AccessLog::combined());
    let (with_query, lines_with_query) = Lines::of(AccessLog::combined().with_query());
    for (referer, expected, expected_with_query) in [
        (
            "https://ann:secret@example.com/a?b#c",
            "https://example.com/a",
            "https://example.com/a?b#c",
        ),
        ("https://secret@example.com", "https://example.com", "https://example.com"),
        ("//ann:secret@example.com/", "//example.com/", "//example.com/"),
        (
            "//ann:secret@example.com/r/https://a/",
            "//example.com/r/https://a/",
            "//example.com/r/https://a/",
        ),
        ("//ann:secret@h?u=http://a", "//h", "//h?u=http://a"),
        ("ann:secret@h/http://a/", "h/http://a/", "h/http://a/"),
        ("ann:secret@example.com/", "example.com/", "example.com/"),
        ("https://ann:a@b@example.com/x", "https://example.com/x", "https://example.com/x"),
        (
            "https://example.com/@ann?x=a@b",
            "https://example.com/@ann",
            "https://example.com/@ann?x=a@b",
        ),
        ("/a//b@c", "/a//b@c", "/a//b@c"),
        ("@", "", ""),
        ("", "", ""),
    ] {
        for (log, lines, expected) in
            [(&plain, &lines, expected), (&with_query, &lines_with_query, expected_with_query)]
        {
            let mut req = request("/empty");
            req.headers_mut().insert(REFERER, HeaderValue::from_static(referer));
            sent(&chain(log.clone()), req).await;
            let line = lines.all().pop().unwrap();
            assert!(line.ends_with(&format!("\"{expected}\" \"-\"")), "{referer}: {line}");
        }
    }
}

#[tokio::test]
async fn json_has_the_route_of_refusals_and_the_fields_that_are_named() {
    let log = AccessLog::json_of([
        ("path", LogField::Path),
        ("route", LogField::Route),
        ("status", LogField::Status),
        ("bytes", LogField::Bytes),
        ("refusal", LogField::Refusal),
        ("agent", LogField::RequestHeader(USER_AGENT)),
        ("type", LogField::ResponseHeader(http::header::CONTENT_TYPE)),
        ("method", LogField::request(|req| Some(req.method().as_str().to_ascii_lowercase()))),
        ("detail", LogField::response(|response| Some(Error::of(response)?.detail().to_owned()))),
        ("client", LogField::Client),
    ]);
    let proxies = TrustedProxies::hops(crate::extract::ForwardedHeader::XForwardedFor, 1).unwrap();
    let (log, lines) = Lines::of(log.with_query().trusted_proxies(proxies));
    let chain = chain(log);
    let mut req = request("/users/7?page=2");
    req.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("2001:db8::1"));
    req.headers_mut().insert(USER_AGENT, HeaderValue::from_bytes(b"\xff\"\x80").unwrap());
    let refused = sent(&chain, req).await;
    let mut other = request("/users/7");
    *other.method_mut() = Method::PUT;
    let not_allowed = sent(&chain, other).await;
    let unknown = sent(&chain, request("/%zz")).await;
    let problem = r#""agent":null,"type":"application/problem+json""#;
    let expected = [
        format!(
            r#"{{"path":"/users/7?page=2","route":"/users/{{id}}","status":401,"bytes":{refused},"refusal":"closure: unauthorized","agent":"\ufffd\"\ufffd","type":"application/problem+json","method":"get","detail":"No","client":"2001:db8::1"}}"#
        ),
        format!(
            r#"{{"path":"/users/7","route":"/users/{{id}}","status":405,"bytes":{not_allowed},"refusal":"Chain: method_not_allowed",{problem},"method":"put","detail":"This path doesn't support the method of the request","client":"192.0.2.7"}}"#
        ),
        format!(
            r#"{{"path":"/%zz","route":null,"status":400,"bytes":{unknown},"refusal":"Chain: path_encoding",{problem},"method":"get","detail":"The path has an invalid percent-encoding","client":"192.0.2.7"}}"#
        ),
    ];
    assert_eq!(lines.all(), expected);
}

#[tokio::test]
async fn the_line_is_written_at_the_end_of_the_body_or_when_the_client_goes_away() {
    let (log, lines) = Lines::of(AccessLog::json_of([
        ("status", LogField::Status),
        ("bytes", LogField::Bytes),
        ("path", LogField::Path),
    ]));
    let chunks = || {
        let chunks = [Ok("ab"), Ok("cd"), Err(std::io::Error::other("broken"))];
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    let chain = Chain::new()
        .always(log)
        .at("/stream", |c| c.get(move || std::future::ready(chunks())))
        .at("/never", |c| c.get(async || std::future::pending::<StatusCode>().await))
        .build();
    let mut body = chain.handle(request("/stream")).await.into_body();
    body.frame().await.unwrap().unwrap();
    assert!(lines.all().is_empty(), "the body has not ended");
    drop(body);
    let body = chain.handle(request("/stream")).await.into_body();
    assert!(body.collect().await.is_err());
    let never = chain.handle(request("/never"));
    assert!(futures_util::FutureExt::now_or_never(never).is_none());
    let expected = [
        r#"{"status":200,"bytes":2,"path":"/stream"}"#,
        r#"{"status":200,"bytes":4,"path":"/stream"}"#,
        r#"{"status":499,"bytes":0,"path":"/never"}"#,
    ];
    assert_eq!(lines.all(), expected);
}

#[tokio::test]
async fn a_sample_keeps_every_error() {
    let ten = NonZeroU32::new(10).unwrap();
    let (log, lines) = Lines::of(AccessLog::json_of([("status", LogField::Status)]).one_in(ten));
    let chain = chain(log);
    for _ in 0..100 {
        sent(&chain, request("/empty")).await;
        sent(&chain, request("/none")).await;
    }
    let lines = lines.all();
    let count = |status: &str| lines.iter().filter(|line| line.contains(status)).count();
    assert_eq!((count("204"), count("404")), (10, 100));
}

/// A sample writes the first line, and then none that is not of a request that failed.
#[tokio::test]
async fn a_sample_keeps_the_lines_of_responses_that_were_cut() {
    let chunks = |length: usize| {
        let chunks = std::iter::repeat_n("ab", length).map(Ok::<_, std::io::Error>);
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    let (log, lines) = Lines::of(AccessLog::json().one_in(NonZeroU32::new(1000).unwrap()));
    let chain = Chain::new()
        .always(log)
        .at("/text", |c| c.get(async || "hello"))
        .at("/stream", |c| c.get(move || std::future::ready(chunks(2))))
        .at("/declared", |c| {
            c.get(move || std::future::ready(([("content-length", "4")], chunks(2))))
        })
        .at("/empty", |c| c.get(move || std::future::ready((StatusCode::NO_CONTENT, chunks(1)))))
        .build();
    sent(&chain, request("/text")).await;
    // How many frames are read, and whether the response was cut then.
    for (method, path, frames, is_cut) in [
        (Method::GET, "/text", 0, true),
        (Method::GET, "/text", 1, false),
        (Method::HEAD, "/text", 0, false),
        (Method::GET, "/stream", 1, true),
        // The end of a stream of unknown length is known only by a further call.
        (Method::GET, "/stream", 2, true),
        (Method::GET, "/stream", 3, false),
        (Method::HEAD, "/stream", 0, false),
        (Method::GET, "/declared", 1, true),
        (Method::GET, "/declared", 2, false),
        (Method::GET, "/empty", 0, false),
    ] {
        let before = lines.all().len();
        let mut req = request(path);
        *req.method_mut() = method.clone();
        let mut response = chain.handle(req).await;
        for _ in 0..frames {
            let _ = response.body_mut().frame().await;
        }
        drop(response);
        assert_eq!(lines.all().len() - before, usize::from(is_cut), "{method} {path} {frames}");
    }
}

#[tokio::test]
async fn a_request_does_not_wait_for_the_writer_and_lost_lines_are_counted() {
    struct Blocked(Sender<()>, std::sync::mpsc::Receiver<()>);
    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            let _ = self.1.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let ((begun, has_begun), (go, may_go)) = (channel(), channel());
    let log = AccessLog::combined().queue_length(2).to_writer(Blocked(begun, may_go));
    let handle = log.handle();
    let chain = chain(log);
    sent(&chain, request("/empty")).await;
    // The thread has taken the first line, and the queue is empty.
    has_begun.recv().unwrap();
    for _ in 0..5 {
        sent(&chain, request("/empty")).await;
    }
    assert_eq!(handle.lost(), 3);
    assert!(!handle.flush(Duration::ZERO), "the writer is blocked");
    drop(go);
    assert!(handle.flush(Duration::from_secs(30)));
    assert_eq!(handle.lost(), 3);
}

#[tokio::test]
async fn a_writer_that_fails_or_panics_loses_only_its_line() {
    let (log, lines) = Lines::of(AccessLog::json_of([("path", LogField::Path)]));
    let written = lines.lines.clone();
    let log = log.to_fn(move |line| {
        assert!(!line.contains("bad"), "a bad line");
        written.lock().unwrap().push(line.to_owned());
    });
    let chain = chain(log);
    for path in ["/a", "/bad", "/b"] {
        sent(&chain, request(path)).await;
    }
    assert_eq!(lines.all(), [r#"{"path":"/a"}"#, r#"{"path":"/b"}"#]);
    assert_eq!(lines.handle.lost(), 1);
}

#[test]
fn a_date_is_that_of_the_calendar() {
    for (seconds, expected, apache) in [
        (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
        (951_782_399, "2000-02-28T23:59:59.000Z", "28/Feb/2000:23:59:59 +0000"),
        (951_782_400, "2000-02-29T00:00:00.000Z", "29/Feb/2000:00:00:00 +0000"),
        (971_186_136, "2000-10-10T13:55:36.000Z", "10/Oct/2000:13:55:36 +0000"),
        (1_709_164_800, "2024-02-29T00:00:00.000Z", "29/Feb/2024:00:00:00 +0000"),
        (1_796_085_000, "2026-12-01T00:30:00.000Z", "01/Dec/2026:00:30:00 +0000"),
        (4_107_542_400, "2100-03-01T00:00:00.000Z", "01/Mar/2100:00:00:00 +0000"),
        (253_402_300_799, "9999-12-31T23:59:59.000Z", "31/Dec/9999:23:59:59 +0000"),
    ] {
        let date = Timestamp::of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((date.rfc3339().as_str(), date.to_string().as_str()), (expected, apache));
    }
}

/// A parser of the combined format, as readers of logs have one: the quoted parts of a line.
fn quoted(line: &str) -> Vec<String> {
    let (mut parts, mut part, mut chars) = (Vec::new(), None::<String>, line.chars());
    while let Some(c) = chars.next() {
        match (c, &mut part) {
            ('"', None) => part = Some(String::new()),
            ('"', Some(_)) => parts.extend(part.take()),
            ('\\', Some(text)) => text.extend(['\\', chars.next().unwrap()]),
            (c, Some(text)) => text.push(c),
            _ => {}
        }
    }
    assert_eq!(part, None, "a quotation mark is open: {line}");
    parts
}

proptest! {
    #[test]
    fn no_client_can_forge_a_line_or_a_part_of_one(
        path in "/[!-~]{0,60}",
        referer in prop::collection::vec(any::<u8>(), 0..80),
        agent in prop::collection::vec(any::<u8>(), 0..2000),
        id in prop::collection::vec(any::<u8>(), 0..40),
        text in ".{0,40}",
    ) {
        let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
        let req_path = uri.path().to_owned();
        let mut req = Request::new(Body::empty());
        *req.uri_mut() = uri;
        let fields = [("referer", &referer), ("user-agent", &agent), ("x-request-id", &id)];
        for (name, value) in fields {
            // What `http` refuses can't be sent.
            if let Ok(value) = HeaderValue::from_bytes(value) {
                req.headers_mut().insert(name, value);
            }
        }
        let id = HeaderName::from_static("x-request-id");
        let text = move |_: &Request| Some(text.clone());
        let fields = |log: AccessLog| {
            log.field("id", LogField::RequestHeader(id.clone())).field("text", LogField::request(text.clone()))
        };
        for log in [fields(AccessLog::combined()), fields(AccessLog::json())] {
            let (log, lines) = Lines::of(log);
            let chain = Chain::new().always(log.clone()).get(async || "hello").build();
            let req = {
                let mut copy = Request::new(Body::empty());
                *copy.uri_mut() = req.uri().clone();
                *copy.headers_mut() = req.headers().clone();
                copy
            };
            let response = futures_util::FutureExt::now_or_never(chain.handle(req)).unwrap();
            drop(response);
            let lines = lines.all();
            prop_assert_eq!(lines.len(), 1);
            let line = &lines[0];
            prop_assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}", line);
            prop_assert!(line.len() < 5 * 4 * 1024 + 200);
            match log.settings.format {
                Format::Combined => {
                    let parts = quoted(line);
                    prop_assert_eq!(parts.len(), 5, "{}", line);
                    let words: Vec<_> = parts[0].split(' ').collect();
                    prop_assert_eq!((words.len(), words[0], words[2]), (3, "GET", "HTTP/1.1"));
                    prop_assert!(!parts[0].contains('?') && !parts[1].contains('?'), "{}", line);
                    prop_assert!(line.contains("\" 200 "), "{}", line);
                }
                Format::Json => {
                    let json: serde_json::Map<_, _> = serde_json::from_str(line).unwrap();
                    prop_assert_eq!(json.len(), 11);
                    prop_assert_eq!(&json["status"], 200);
                    prop_assert_eq!(json["path"].as_str(), Some(req_path.as_str()));
                }
            }
        }
    }
}
