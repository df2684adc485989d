//! Methods, codings and statuses that would change what the next bytes of a connection mean.

use super::*;

/// A service that answers every path with the status in it.
fn statuses() -> ChainService {
    async fn status(req: Request) -> StatusCode {
        req.uri().path()[1..].parse().unwrap()
    }
    Chain::new().at("/{status}", |c| c.all(status)).at("/", |c| c.get(async || "hello")).build()
}

#[tokio::test]
async fn an_interim_status_of_a_handler_is_a_500_and_corrupts_nothing() {
    let server = Running::start(statuses()).await;
    for status in [100, 101, 102, 103, 104, 150, 199] {
        for version in ["1.0", "1.1"] {
            for upgrade in ["", "Connection: keep-alive, upgrade\r\nUpgrade: echo\r\n"] {
                if (status, version) == (101, "1.1") && !upgrade.is_empty() {
                    continue;
                }
                let mut client = server.connect().await;
                let fields = format!("Host: test\r\nConnection: keep-alive\r\n{upgrade}");
                client.send(format!("GET /{status} HTTP/{version}\r\n{fields}\r\n")).await;
                let response = client.response().await;
                let case = format!("{status} {version}: {response}");
                assert!(response.starts_with(&format!("HTTP/{version} 500 ")), "{case}");
                client.send(format!("GET / HTTP/{version}\r\n{fields}\r\n")).await;
                assert_eq!(body_of(&client.response().await), "hello", "{case}");
            }
        }
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let get = async |path: String| {
            let url = format!("http://{}{path}", server.addr);
            client.get(url).send().await.unwrap().status()
        };
        assert_eq!(get(format!("/{status}")).await, 500, "{status} HTTP/2");
        assert_eq!(get("/".to_owned()).await, 200, "{status} HTTP/2");
    }
}

#[tokio::test]
async fn a_coding_that_is_not_chunked_is_not_implemented() {
    let server = Running::start(service()).await;
    for (fields, status) in [
        ("Transfer-Encoding: chunked\r\n", 200),
        ("Transfer-Encoding: Chunked\r\n", 200),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: gzip,chunked\r\n", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: identity, chunked\r\n", 501),
        ("Transfer-Encoding: x;a=b, chunked\r\n", 501),
        ("Transfer-Encoding: , chunked\r\n", 501),
    ] {
        let mut client = server.connect().await;
        client.send(post("/length", fields) + "3\r\nabc\r\n0\r\n\r\n" + GET).await;
        let mut read = Vec::new();
        client.read_until(&mut read, b"\r\n\r\n", 0).await;
        client.0.shutdown().await.unwrap();
        let response = String::from_utf8(read).unwrap() + &client.rest().await.unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {response}");
        assert_eq!(response.contains("connection: close\r\n"), status == 501, "{response}");
        assert_eq!(response.matches("HTTP/1.1 ").count(), if status == 501 { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_handler_for_every_method_does_not_answer_connect() {
    let every = Chain::new().all(async || "all").build();
    let one = Chain::new().on(http::Method::CONNECT, async || "one").all(async || "all").build();
    for (name, chain, status) in [("all", every, 405), ("on", one, 200)] {
        let server = Running::start(chain).await;
        let mut client = server.connect().await;
        client.send("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").await;
        let mut read = Vec::new();
        client.read_until(&mut read, b"\r\n\r\n", 0).await;
        let response = String::from_utf8_lossy(&read).into_owned();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {response}");
        let allow = "allow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n";
        assert_eq!(response.contains(allow), status == 405, "{name}: {response}");
        let Client::Http2(mut send) = Client::connect(server.addr, true).await else {
            unreachable!()
        };
        let request = http::Request::connect("a:443").body(String::new()).unwrap();
        assert_eq!(send.send_request(request).await.unwrap().status(), status, "{name}");
    }
}
