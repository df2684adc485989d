//! Panics, unread bodies, and whether the connection stays open.

use super::*;

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_stays_open() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let response = client.response().await;
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    assert!(response.contains("application/problem+json"), "{response}");
    assert!(!response.contains("a bug"), "{response}");
    client.send(GET).await;
    assert_eq!(body_of(&client.response().await), "hello");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_panics_breaks_the_response_off() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send("GET /broken HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let response = client.rest().await.unwrap();
    // The last chunk is missing, so the client detects that the body is incomplete.
    assert!(!response.contains("0\r\n\r\n"), "{response}");
    server.stop().await;
}

#[tokio::test]
async fn an_unread_body_is_drained_and_the_connection_stays_open() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    let body = vec![b'x'; 3_000_000];
    client.send(post("/ignored", &format!("Content-Length: {}\r\n", body.len()))).await;
    // The response doesn't wait for the body, and is not lost.
    assert_eq!(body_of(&client.response().await), "not read");
    client.send(body).await;
    client.send(GET).await;
    assert_eq!(body_of(&client.response().await), "hello");
    server.stop().await;
}

#[tokio::test]
async fn chunks_that_a_handler_leaves_unread_are_drained() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send(post("/ignored", "Transfer-Encoding: chunked\r\n")).await;
    assert_eq!(body_of(&client.response().await), "not read");
    for _ in 0..100 {
        client.send("400\r\n").await;
        client.send([b'x'; 0x400]).await;
        client.send("\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    client.send(GET).await;
    assert_eq!(body_of(&client.response().await), "hello");
    server.stop().await;
}

#[cfg(feature = "json")]
#[tokio::test]
async fn the_connection_stays_open_after_a_413_a_400_and_a_415() {
    async fn take(_: tower_chain::Json<serde_json::Value>) -> &'static str {
        "taken"
    }
    let server = Running::start(Chain::new().post(take).build()).await;
    let mut client = server.connect().await;
    let json = "Content-Type: application/json\r\n";
    let large = format!("\"{}\"", "x".repeat(2_000_000));
    for (headers, body, status) in [
        (format!("{json}Content-Length: {}\r\n", large.len()), large.clone(), 413),
        (
            format!("{json}Transfer-Encoding: chunked\r\n"),
            format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()),
            413,
        ),
        (format!("{json}Content-Length: 1\r\n"), "{".to_owned(), 400),
        ("Content-Length: 2\r\n".to_owned(), "{}".to_owned(), 415),
        (format!("{json}Content-Length: 2\r\n"), "{}".to_owned(), 200),
    ] {
        client.send(post("/", &headers)).await;
        client.send(body).await;
        let response = client.response().await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert_eq!(response.contains("application/problem+json"), status != 200, "{response}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_response_survives_a_body_that_is_too_large_to_drain() {
    let server = Running::tuned(service(), |server| server.unread_body_limit(1000)).await;
    for headers in ["Content-Length: 20000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = server.connect().await;
        client.send(post("/ignored", headers)).await;
        // More than fits into the buffers of the sockets: closing now would reset the connection, and the response would be lost.
        let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 0x10_0000], b"\r\n"].concat();
        for _ in 0..19 {
            client.send(&chunk).await;
        }
        let response = client.response().await;
        assert_eq!(body_of(&response), "not read");
        client.0.shutdown().await.unwrap();
        assert_eq!(client.rest().await.unwrap(), "");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_before_a_late_response_is_announced() {
    let late = async |req: Request| {
        drop(req);
        tokio::time::sleep(Duration::from_millis(200)).await;
        "not read"
    };
    let server =
        Running::tuned(Chain::new().post(late).build(), |server| server.unread_body_limit(1000))
            .await;
    for (length, closes) in [(1000, false), (1001, true), (8192, true)] {
        let mut client = server.connect().await;
        // The first part arrives together with the head, and the end never does.
        let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("{head}{length:x}\r\n{}\r\n", "x".repeat(length));
        client.send(chunk).await;
        let response = client.response().await.to_ascii_lowercase();
        assert_eq!(response.contains("connection: close"), closes, "{length}: {response}");
    }
    server.stop().await;
}

#[tokio::test]
async fn after_an_unread_body_the_connection_serves_the_next_request_or_announces_its_end() {
    let server = Running::tuned(service(), |server| {
        server.unread_body_limit(1000).body_read_timeout(Duration::from_millis(100))
    })
    .await;
    let long = vec![b'x'; 6_000_000];
    let chunks = [b"5b8d80\r\n".as_slice(), &long, b"\r\n0\r\n\r\n"].concat();
    for (case, path, fields, body, ends) in [
        ("short", "/ignored", "Content-Length: 3\r\n", &b"abc"[..], false),
        ("as long as the limit", "/ignored", "Content-Length: 1000\r\n", &long[..1000], false),
        ("longer", "/ignored", "Content-Length: 1001\r\n", &long[..1001], true),
        ("much longer", "/ignored", "Content-Length: 6000000\r\n", &long, true),
        ("chunks", "/ignored", "Transfer-Encoding: chunked\r\n", &chunks, false),
        ("expected", "/ignored", "Content-Length: 3\r\nExpect: 100-continue\r\n", b"", true),
        (
            "expected chunks",
            "/ignored",
            "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
            b"",
            true,
        ),
        ("stalled", "/length", "Content-Length: 3\r\n", b"a", true),
        ("stalled chunks", "/length", "Transfer-Encoding: chunked\r\n", b"1\r\na\r\n", true),
        ("refused", "/length", "Host: b\r\nContent-Length: 1001\r\n", &long[..1001], true),
        ("panicked", "/panic-post", "Content-Length: 1001\r\n", &long[..1001], true),
        ("not found", "/nowhere", "Content-Length: 1001\r\n", &long[..1001], true),
    ] {
        for version in ["1.0", "1.1"] {
            if version == "1.0" && fields.contains("chunked") {
                continue;
            }
            let mut client = server.connect().await;
            let (mut read, mut write) = client.0.split();
            let head = format!(
                "POST {path} HTTP/{version}\r\nHost: test\r\nConnection: keep-alive\r\n{fields}\r\n"
            );
            let sent = [head.as_bytes(), body].concat();
            let sending = async {
                write.write_all(&sent).await.unwrap();
                if !ends {
                    write.write_all(GET.as_bytes()).await.unwrap();
                    write.shutdown().await.unwrap();
                }
            };
            let receiving = async {
                let mut received = String::new();
                within(read.read_to_string(&mut received)).await.map(|_| received)
            };
            let received = tokio::join!(sending, receiving).1.unwrap().to_ascii_lowercase();
            let case = format!("{case}, HTTP/{version}: {received}");
            assert_eq!(received.contains("connection: close\r\n"), ends, "{case}");
            assert_eq!(received.ends_with("hello"), !ends, "{case}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn on_http2_an_unread_stream_is_reset_without_error_and_the_others_continue() {
    let server =
        Running::tuned(service(), |server| server.body_read_timeout(Duration::from_millis(100)))
            .await;
    for (path, name, value) in [
        ("/ignored", "x", "a"),
        ("/ignored", "content-length", "6000000"),
        ("/ignored", "expect", "100-continue"),
        ("/length", "content-length", "6000000"),
        ("/nowhere", "x", "a"),
    ] {
        let head = |method, path, name, value| {
            [
                (":method", method),
                (":scheme", "http"),
                (":path", path),
                (":authority", "test"),
                (name, value),
            ]
            .map(|(name, value)| frames::field(name, value))
            .concat()
        };
        let mut sent = frames::preface(65_535);
        frames::frame(&mut sent, 1, 0x4, 1, &head("POST", path, name, value));
        frames::frame(&mut sent, 0, 0, 1, b"abc");
        let mut client = server.connect().await;
        client.send(sent).await;
        let mut read = Vec::new();
        // RST_STREAM with NO_ERROR, after the response.
        client.read_until(&mut read, &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0], 0).await;
        let headers = read.windows(6).position(|window| window == [1, 4, 0, 0, 0, 1]);
        assert!(headers.is_some(), "{path} {name}: {value}");
        let mut next = Vec::new();
        frames::frame(&mut next, 0, 0, 1, b"still sent");
        frames::frame(&mut next, 1, 0x5, 3, &head("GET", "/", "x", "a"));
        client.send(next).await;
        client.read_until(&mut read, b"hello", 0).await;
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it_before_it_sends() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send(post("/length", "Content-Length: 3\r\nExpect: 100-continue\r\n")).await;
    assert_eq!(client.response().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert_eq!(body_of(&client.response().await), "3");

    // The handler doesn't read this body. The response comes before the client sends it, and the connection closes, because the client may or may not send it.
    client.send(post("/ignored", "Content-Length: 3\r\nExpect: 100-continue\r\n")).await;
    assert_eq!(body_of(&client.response().await), "not read");
    client.0.shutdown().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), "");
    server.stop().await;
}

#[tokio::test]
async fn an_upgraded_connection_outlives_its_response() {
    async fn upgrade(mut req: Request) -> impl IntoResponse {
        let upgrading = hyper::upgrade::on(&mut req);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrading.await.unwrap());
            let (mut read, mut write) = tokio::io::split(&mut io);
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")])
    }
    let server = Running::start(Chain::new().get(upgrade).build()).await;
    let mut client = server.connect().await;
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    let response = client.response().await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    client.send("echo this").await;
    client.0.shutdown().await.unwrap();
    assert_eq!(client.rest().await.unwrap(), "echo this");
    within(server.stop()).await;
}

#[tokio::test]
async fn http2_streams_outlive_a_panic_and_an_unread_body() {
    let server = Running::start(service()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let url = |path: &str| format!("http://{}{path}", server.addr);
    for _ in 0..3 {
        let response = client.get(url("/panic")).send().await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.version(), http::Version::HTTP_2);
        let broken = async { client.get(url("/broken")).send().await?.bytes().await };
        assert!(broken.await.is_err());
        let response = client.post(url("/ignored")).body(vec![0; 3_000_000]).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "not read");
    }
    let response = client.post(url("/length")).body(vec![0; 3_000_000]).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "3000000");
    let peer = || async { client.get(url("/peer")).send().await.unwrap().text().await.unwrap() };
    // The same port means the same connection.
    assert_eq!(peer().await, peer().await);
    within(server.stop()).await;
}

/// The head of a POST that is followed by frames, on stream 1 of HTTP/2.
fn http2_post(path: &str) -> Vec<u8> {
    let mut sent = frames::preface(65_535);
    frames::frame(&mut sent, 1, 0x4, 1, &memory::head("POST", path));
    sent
}

#[tokio::test]
async fn trailers_of_http2_have_the_rules_of_a_head() {
    let server = Running::start(service()).await;
    let many =
        |count: usize| -> Vec<u8> { (0..count).flat_map(|_| frames::field("x", "a")).collect() };
    for (trailers, answer) in [
        (many(1), &b"3"[..]),
        (many(100), b"3"),
        (many(101), b"failed: the trailers"),
        (frames::field("x", " a"), b"failed: the trailers"),
        (frames::field("x", "a\t"), b"failed: the trailers"),
    ] {
        let mut sent = http2_post("/length");
        frames::frame(&mut sent, 0, 0, 1, b"abc");
        frames::frame(&mut sent, 1, 0x5, 1, &trailers);
        let mut client = server.connect().await;
        client.send(sent).await;
        client.read_until(&mut Vec::new(), answer, 0).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn empty_frames_do_not_keep_a_body_open() {
    let timeout = Duration::from_millis(200);
    let server = Running::tuned(service(), |server| server.body_read_timeout(timeout)).await;
    let mut client = server.connect().await;
    client.send(http2_post("/length")).await;
    let mut empty = Vec::new();
    frames::frame(&mut empty, 0, 0, 1, b"");
    let mut read = Vec::new();
    for _ in 0..50 {
        client.send(&empty).await;
        let arrived = tokio::time::timeout(timeout / 4, client.0.read_buf(&mut read)).await;
        if arrived.is_ok() && read.windows(6).any(|window| window == b"failed") {
            return;
        }
    }
    panic!("the body is still open");
}
