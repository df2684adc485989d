//! Features that need a connection: HTTP/2, trailers, upgrades; and snapshots of exchanges.

use axum::extract::ws::{Message, WebSocketUpgrade};
use futures_util::SinkExt;
use http::Version;
use http_body_util::BodyExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, protocol::Role};

use super::*;

async fn over_all(service: ChainService) -> [TestClient; 3] {
    let client = TestClient::new(service);
    [client.clone(), client.clone().over_tcp().await, client.over_http2().await]
}

/// Removes the differences on HTTP/2, where the echo shows an absolute URI, no `Host`, and no chunks.
fn without_framing(outcome: &str) -> String {
    outcome
        .replace("http://localhost/", "/")
        .replace("host: \\\"localhost\\\"\\n", "")
        .replace("transfer-encoding: \\\"chunked\\\"\\n", "")
        .lines()
        .filter(|line| !line.trim().starts_with("\"content-length: "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn a_chain_answers_the_same_in_process_and_over_http2() {
    let client = TestClient::new(chain());
    let http2 = client.clone().over_http2().await;
    assert_eq!(http2.get("/me").send().await.version(), Version::HTTP_2);
    let (mut compared, mut lies) = (0, 0);
    for (number, (ours, http2)) in cases(&client).into_iter().zip(cases(&http2)).enumerate() {
        let name = format!("case {number}: {ours:?}");
        let (ours, http2) = (outcome(ours).await, outcome(http2).await);
        // RFC 9113, 8.1.1: a length that differs from that of the content is a protocol error.
        if ours.contains("body: cut off") || name.contains("shortened") {
            lies += 1;
            continue;
        }
        assert_eq!(without_framing(&ours), without_framing(&http2), "{name}");
        compared += 1;
    }
    assert!(compared > 40 && lies == 2, "{compared} {lies}");
}

#[tokio::test]
async fn trailers_go_both_ways() {
    async fn sum(req: Request) -> Response {
        let collected = req.into_body().collect().await.unwrap();
        let sent = collected.trailers().cloned().unwrap_or_default();
        // A body with a known length has no chunks on HTTP/1.1, and so no trailers.
        let body = Body::from_stream(stream::iter([Ok::<_, Infallible>(collected.to_bytes())]));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-back", sent.get("x-sum").cloned().unwrap());
        let body = body.with_trailers(future::ready(Some(Ok(trailers))));
        let mut response = Response::new(Body::new(body));
        response.headers_mut().insert("trailer", http::HeaderValue::from_static("x-back"));
        response
    }
    for client in over_all(Chain::new().post(sum).build()).await {
        let asking = client.post("/").header("te", "trailers").text("abc").trailer("x-sum", "294");
        let response = asking.send().await;
        response.assert_text("abc").assert_trailer("x-back", "294");
        assert!(
            failure(|| {
                response.assert_trailer("x-back", "295");
            })
            .contains("x-back: 294")
        );
    }
    let error = TestClient::new(chain()).post("/echo").trailer("a b", "1").try_send().await;
    assert!(matches!(error, Err(SendError::Request(_))), "{error:?}");
}

/// Our middleware, with axum's WebSocket extractor in the handler.
fn rooms() -> ChainService {
    async fn room(Provided(User(name)): Provided<User>, upgrade: WebSocketUpgrade) -> Response {
        upgrade.on_upgrade(async move |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                if let Message::Text(text) = message {
                    socket.send(Message::Text(format!("{name}: {text}").into())).await.unwrap();
                }
            }
        })
    }
    Chain::new()
        .always(async |next: Next<'_>| next.run().await)
        .provide(User("Ann"))
        .at("/room", |c| c.get(room))
        .at("/me", |c| c.get(async || "no room"))
        .build()
}

#[tokio::test]
async fn a_websocket_is_talked_to_without_a_port_and_over_one() {
    for client in both(rooms()).await {
        let asking = client
            .get("/room")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let connection = asking.upgrade("websocket").await;
        // RFC 6455, 1.3
        assert_eq!(connection.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut socket = WebSocketStream::from_raw_socket(connection, Role::Client, None).await;
        for text in ["one", "two"] {
            socket.send(tungstenite::Message::text(text)).await.unwrap();
            let back = socket.next().await.unwrap().unwrap();
            assert_eq!(back.into_text().unwrap(), format!("Ann: {text}"));
        }
        socket.close(None).await.unwrap();
        assert!(socket.next().await.is_none_or(|last| last.is_ok_and(|last| last.is_close())));
    }
}

#[tokio::test]
async fn a_service_that_stays_with_http_fails_the_upgrade() {
    for client in both(rooms()).await {
        let task = tokio::spawn(client.get("/me").upgrade("websocket"));
        let text = *task.await.unwrap_err().into_panic().downcast::<String>().unwrap();
        assert!(text.contains("expected the status 101, but it is 200 OK"), "{text}");
        assert!(text.contains("> upgrade: websocket") && text.contains("< no room"), "{text}");
    }
    let http2 = TestClient::new(rooms()).over_http2().await;
    let task = tokio::spawn(http2.get("/room").upgrade("websocket"));
    let text = *task.await.unwrap_err().into_panic().downcast::<String>().unwrap();
    assert!(text.contains("over_tcp"), "{text}");
}

#[tokio::test]
async fn a_snapshot_is_the_same_over_every_connection() {
    let mut texts = Vec::new();
    for client in over_all(chain()).await {
        let mut text = String::new();
        for request in [
            client.post("/users").bearer("s").json(&json!({ "name": "Ann", "age": 30 })),
            client.post("/users").text("{}"),
            client.post("/sign-in"),
            client.get("/cut"),
            client.get("/events"),
            client.get("/nowhere?a=1"),
        ] {
            let snapshot = request.send().await.snapshot();
            text += &snapshot.masked_header("set-cookie").masked_json("/age").to_string();
        }
        texts.push(text);
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(texts[0], texts[2]);
    for part in
        ["POST /users\nauthorization: [masked]\n", "\"age\": \"[masked]\"", "set-cookie: [masked]"]
    {
        assert!(texts[0].contains(part), "{part} is missing in {}", texts[0]);
    }
    assert!(texts[0].contains("\nsome\n\n(cut off)\n"), "{}", texts[0]);
}

#[tokio::test]
async fn values_are_read_line_by_line() {
    use tower_chain::respond::NdJson;

    let service = Chain::new()
        .at("/good", |c| {
            c.get(async || NdJson::new(stream::iter([1, 2, 3].map(Ok::<u8, Infallible>))))
        })
        .at("/odd", |c| c.get(async || "1\r\n\n  \n\"two\"\n3"))
        .build();
    for client in over_all(service).await {
        let mut lines = client.get("/good").stream().await;
        for number in 1..=3 {
            assert_eq!(lines.json_line::<u8>().await, Some(Ok(number)));
        }
        assert_eq!(lines.json_line::<u8>().await, None);
        let mut lines = client.get("/odd").stream().await;
        assert_eq!(lines.json_line::<u8>().await, Some(Ok(1)));
        assert!(matches!(lines.json_line::<u8>().await, Some(Err(BodyError::Failed(_)))));
        assert_eq!(lines.json_line::<u8>().await, Some(Ok(3)));
        assert_eq!(lines.json_line::<u8>().await, None);
    }
}

/// In process no task waits for a socket, so tokio's clock can be paused.
#[tokio::test(start_paused = true)]
async fn a_timeout_is_tested_with_a_paused_clock() {
    use tower_http::timeout::TimeoutLayer;
    let limit = Duration::from_secs(3600);
    let layer = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, limit);
    let service = Chain::new().use_(layer).get(async || future::pending::<()>().await).build();
    let start = tokio::time::Instant::now();
    TestClient::new(service).get("/").send().await.assert_status(504);
    assert!(start.elapsed() >= limit);
}
