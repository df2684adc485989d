//! The PROXY protocol in front of HTTP.

use tower_chain::Server;
use tower_chain::serve::Listener;

use super::{Running, body_of, service};

async fn behind_a_proxy() -> Running {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().proxy_protocol();
    Running::of(Server::new(listener), service())
}

const PEER: &[u8] = b"GET /peer HTTP/1.1\r\nHost: test\r\n\r\n";

#[tokio::test]
async fn the_address_is_that_of_the_client_of_the_proxy() {
    let server = behind_a_proxy().await;
    let v1 = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".as_slice();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb";
    for header in [v1, v2.as_slice()] {
        // In one piece with the request, and apart from it.
        let mut client = server.connect().await;
        client.send([header, PEER].concat()).await;
        assert_eq!(body_of(&client.response().await), "192.0.2.1:56324");
        client.send(PEER).await;
        assert_eq!(body_of(&client.response().await), "192.0.2.1:56324");
        let mut client = server.connect().await;
        let (first, rest) = header.split_at(7);
        client.send(first).await;
        tokio::task::yield_now().await;
        client.send(rest).await;
        tokio::task::yield_now().await;
        client.send(PEER).await;
        assert_eq!(body_of(&client.response().await), "192.0.2.1:56324");
    }
}

#[tokio::test]
async fn a_health_check_of_the_proxy_has_the_address_of_the_proxy() {
    let server = behind_a_proxy().await;
    let mut client = server.connect().await;
    client.send([b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", PEER].concat()).await;
    let expected = client.0.local_addr().unwrap().to_string();
    assert_eq!(body_of(&client.response().await), expected);
}

#[tokio::test]
async fn a_connection_without_the_header_is_closed() {
    let server = behind_a_proxy().await;
    let mut client = server.connect().await;
    client.send(PEER).await;
    assert_eq!(client.rest().await.unwrap_or_default(), "");
}

/// Without the setting, the header is not valid HTTP.
#[tokio::test]
async fn a_header_is_not_believed_unless_switched_on() {
    let server = Running::start(service()).await;
    let mut client = server.connect().await;
    client.send(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n").await;
    client.send(PEER).await;
    assert!(client.response().await.starts_with("HTTP/1.1 400 "));
}
