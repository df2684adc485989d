//! The host of a request, on every HTTP version.

use super::*;

/// Returns what the handler sees of the host.
fn host_service() -> ChainService {
    async fn host(req: Request) -> String {
        let field = req.headers().get("host").map(|host| host.to_str().unwrap().to_owned());
        let target = req.uri().authority().map(|authority| authority.as_str().to_owned());
        format!("{field:?} {target:?}")
    }
    Chain::new().get(host).build()
}

#[tokio::test]
async fn a_host_has_one_meaning_on_http1() {
    let server = Running::start(host_service()).await;
    for (target, hosts, status_1_0, status_1_1) in [
        ("/", &[][..], 200, 400),
        ("/", &["a"], 200, 200),
        ("/", &["a:80"], 200, 200),
        ("/", &["[::1]:80"], 200, 200),
        ("/", &["a", "a"], 400, 400),
        ("/", &["a", "b"], 400, 400),
        ("/", &["a", ""], 400, 400),
        ("/", &[""], 400, 400),
        ("/", &["a b"], 400, 400),
        ("/", &["a, b"], 400, 400),
        ("/", &["a/b"], 400, 400),
        ("/", &["user@a"], 400, 400),
        ("/", &["a:b"], 400, 400),
        ("/", &["a:65536"], 400, 400),
        ("/", &["::1"], 400, 400),
        ("http://a/", &["a"], 200, 200),
        ("http://a/", &["b"], 200, 200),
        ("http://a/", &[], 200, 400),
        ("http://a/", &["a", "a"], 400, 400),
        ("http://user@a/", &["a"], 400, 400),
        ("http://a:b/", &["a"], 400, 400),
    ] {
        for (version, status) in [("1.0", status_1_0), ("1.1", status_1_1)] {
            let fields: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
            let mut client = server.connect().await;
            client.send(format!("GET {target} HTTP/{version}\r\n{fields}\r\n")).await;
            let response = client.response().await;
            let case = format!("{target} HTTP/{version} {hosts:?}: {response}");
            assert!(response.starts_with(&format!("HTTP/{version} {status} ")), "{case}");
            if status == 400 {
                assert!(!response.contains("Some("), "{case}");
            } else if target != "/" {
                // RFC 9112, 3.2.2: the target replaces the field.
                assert_eq!(body_of(&response), r#"Some("a") Some("a")"#, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn the_host_of_a_connect_is_its_target() {
    let service = Chain::new().on(http::Method::CONNECT, async || "connected").build();
    let server = Running::start(service).await;
    for (host, status) in [
        ("Host: a:443\r\n", 200),
        ("Host: A:443\r\n", 200),
        ("Host: b:443\r\n", 400),
        ("Host: a:80\r\n", 400),
        ("Host: a\r\n", 400),
        ("Host: a:443\r\nHost: a:443\r\n", 400),
    ] {
        for version in ["1.0", "1.1"] {
            let mut client = server.connect().await;
            client.send(format!("CONNECT a:443 HTTP/{version}\r\n{host}\r\n")).await;
            let mut read = Vec::new();
            client.read_until(&mut read, b"\r\n\r\n", 0).await;
            let response = String::from_utf8_lossy(&read);
            let expected = format!("HTTP/{version} {status} ");
            assert!(response.starts_with(&expected), "{host} {version}: {response}");
        }
    }
}

#[tokio::test]
async fn a_target_has_the_form_that_its_method_permits() {
    let service = Chain::new().on(http::Method::CONNECT, async || "connected").all(async || "all");
    let server = Running::start(service.build()).await;
    for (line, status) in [
        ("GET /", 200),
        ("GET http://test/", 200),
        ("GET http://test", 200),
        ("GET test", 400),
        ("GET test:80", 400),
        ("GET *", 400),
        ("POST test:80", 400),
        ("OPTIONS *", 200),
        ("OPTIONS /", 200),
        ("OPTIONS test:80", 400),
        ("CONNECT test:80", 200),
        ("CONNECT /", 400),
        ("CONNECT *", 400),
        ("CONNECT http://test:80/", 400),
    ] {
        for version in ["1.0", "1.1"] {
            let host = if line == "CONNECT test:80" { "test:80" } else { "test" };
            let mut client = server.connect().await;
            client.send(format!("{line} HTTP/{version}\r\nHost: {host}\r\n\r\n")).await;
            let mut read = Vec::new();
            client.read_until(&mut read, b"\r\n\r\n", 0).await;
            let response = String::from_utf8_lossy(&read);
            let expected = format!("HTTP/{version} {status} ");
            assert!(response.starts_with(&expected), "{line} HTTP/{version}: {response}");
        }
    }
    const BAD_REQUEST: u8 = 0x8c;
    for (method, path, scheme) in [("GET", "*", "http"), ("POST", "*", "http"), ("GET", "/", "")] {
        let pseudo =
            [(":method", method), (":scheme", scheme), (":path", path), (":authority", "test")];
        let head: Vec<u8> =
            pseudo.iter().flat_map(|(name, value)| frames::field(name, value)).collect();
        let mut sent = frames::preface(65_535);
        frames::frame(&mut sent, 1, 0x5, 1, &head);
        let mut client = server.connect().await;
        client.send(sent).await;
        let mut read = Vec::new();
        client.read_until(&mut read, &[1, 4, 0, 0, 0, 1], 1).await;
        let at = read.windows(6).position(|window| window == [1, 4, 0, 0, 0, 1]).unwrap();
        assert_eq!(read[at + 6], BAD_REQUEST, "{method} {path} {scheme:?}");
    }
}

#[tokio::test]
async fn a_host_has_one_meaning_on_http2() {
    const OK: u8 = 0x88;
    const BAD_REQUEST: u8 = 0x8c;
    let server = Running::start(host_service()).await;
    for (authority, hosts, status) in [
        (Some("a"), &[][..], OK),
        (None, &["a"], OK),
        (Some("a"), &["a"], OK),
        (Some("a"), &["A:80"], OK),
        (None, &[], BAD_REQUEST),
        (Some("a"), &["b"], BAD_REQUEST),
        (Some("a"), &["a:81"], BAD_REQUEST),
        (Some("a"), &["a", "a"], BAD_REQUEST),
        (Some("a"), &[""], BAD_REQUEST),
        (None, &[""], BAD_REQUEST),
        (None, &["a", "b"], BAD_REQUEST),
        (None, &["a b"], BAD_REQUEST),
        (None, &["user@a"], BAD_REQUEST),
        (Some("user@a"), &[], BAD_REQUEST),
        (Some("a:b"), &[], BAD_REQUEST),
        (Some("a:65536"), &[], BAD_REQUEST),
    ] {
        let pseudo = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        let authority_field = authority.map(|authority| (":authority", authority));
        let fields = pseudo.into_iter().chain(authority_field);
        let fields = fields.chain(hosts.iter().map(|host| ("host", *host)));
        let head: Vec<u8> = fields.flat_map(|(name, value)| frames::field(name, value)).collect();
        let mut sent = frames::preface(65_535);
        frames::frame(&mut sent, 1, 0x5, 1, &head);
        let mut client = server.connect().await;
        client.send(sent).await;
        // The frame HEADERS of stream 1: its type, its flags, the stream, and `:status` of the static table.
        let mut read = Vec::new();
        client.read_until(&mut read, &[1, 4, 0, 0, 0, 1], 1).await;
        let at = read.windows(6).position(|window| window == [1, 4, 0, 0, 0, 1]).unwrap();
        assert_eq!(read[at + 6], status, "{authority:?} {hosts:?}");
    }
}
