//! What Next.js tests of its API routes, one by one: where it is tested here, or why it isn't.
//!
//! | Next.js | here |
//! | --- | --- |
//! | `.json` stays in a segment; catch-all; nested parameters; static before dynamic; partial match 404 | `routes` |
//! | a route proxies to its own server; child process in a handler | nothing that the chain could break |
//! | 204 has no type, length or body; JSON of null, true, text; HEAD | `answers` |
//! | `/api` is not `/api-conflict` | below |
//! | OPTIONS through CORS is 204 | the example `layers` |
//! | a handler's own 500 with JSON stays | below |
//! | throw is a 500 without its message | `answers` |
//! | JSON with charset, list at the top, invalid, over 1 MiB, with a larger limit; odd casing of a type | `bodies` |
//! | an empty JSON body is `{}` | it is a 400: an empty text is no JSON, and `Option<Json<T>>` takes none |
//! | `undefined` is an empty text | `()` is an empty body, `Json(())` is `null` |
//! | ETag and 304 | `answers`; for GET and HEAD with 200 alone |
//! | parser off: the handler reads the stream | `bodies`, `/raw` |
//! | wrong arguments of a redirect | does not compile |
//! | redirect 307, 301 | `answers`; without the target as the body |
//! | query: none, one, several; merged with parameters | `bodies`, `routes` |
//! | cookies: none, trailing `;` | `answers` |
//! | more than 4 MiB warns | `BodyLimit::warn_response_above`, tested there |
//! | warning where a handler sends nothing; external resolver | does not compile: a handler returns its response |
//! | client bundle, manifest, static export, edge runtime | no such things |
//! | a body that was parsed already | `others`: a middleware reads it and puts it back |
//! | a client that leaves cancels the stream: progressing, stalled, not begun | below |
//! | order of routes, mistakes found when built | the tests of the chain |

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tower_chain::{Body, Chain, Json, Server, StatusCode};

use crate::{row, run};

#[tokio::test]
async fn a_prefix_is_no_match_and_a_handlers_500_stays() {
    let own = async || {
        let kind = [("content-type", "application/problem+json")];
        (StatusCode::INTERNAL_SERVER_ERROR, kind, Json(serde_json::json!({ "mine": true })))
    };
    let chain = Chain::new()
        .at("/api", |c| c.get(async || "index"))
        .at("/api-conflict", |c| c.get(async || "page"))
        .at("/own", |c| c.get(own))
        .build();
    let rows = vec![
        row("GET", "/api", 200).answer("index"),
        row("GET", "/api/", 200).answer("index"),
        row("GET", "/api-conflict", 200).answer("page"),
        row("GET", "/api/none", 404),
        row("GET", "/own", 500).answer("{\"mine\":true}"),
    ];
    run(chain, rows).await;
}

/// Says when it is dropped.
struct Guard(Option<oneshot::Sender<()>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(sender) = self.0.take() {
            let _ = sender.send(());
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_producer() {
    for (path, read) in [("/progressing", true), ("/stalled", true), ("/unbegun", false)] {
        let (sender, dropped) = oneshot::channel();
        let (entered, inside) = oneshot::channel();
        let guard = Mutex::new(Some((Guard(Some(sender)), entered)));
        let take = Arc::new(move || {
            let (guard, entered) = guard.lock().unwrap().take().unwrap();
            entered.send(()).unwrap();
            guard
        });
        let (a, b, c) = (take.clone(), take.clone(), take);
        let progressing = move || {
            let chunks = stream::unfold(a(), async |guard| {
                tokio::task::yield_now().await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096])), guard))
            });
            std::future::ready(Body::from_stream(chunks))
        };
        let stalled = move || {
            let chunks = stream::unfold((b(), true), async |(guard, first)| {
                if !first {
                    std::future::pending::<()>().await;
                }
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), (guard, false)))
            });
            std::future::ready(Body::from_stream(chunks))
        };
        let unbegun = move || {
            let guard = c();
            async move {
                std::future::pending::<()>().await;
                drop(guard);
            }
        };
        let chain = Chain::new()
            .at("/progressing", |c| c.get(progressing))
            .at("/stalled", |c| c.get(stalled))
            .at("/unbegun", |c| c.get(unbegun))
            .build();
        let server = Server::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        let running = tokio::spawn(server.serve(chain));
        let mut client = TcpStream::connect(addr).await.unwrap();
        client
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
            .await
            .unwrap();
        inside.await.unwrap();
        if read {
            let mut some = [0; 64];
            assert!(client.read(&mut some).await.unwrap() > 0);
        }
        drop(client);
        let in_time = tokio::time::timeout(Duration::from_secs(10), dropped).await;
        assert!(in_time.is_ok(), "{path} runs on");
        running.abort();
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_cut_off_and_nothing_is_appended() {
    let chunks = || {
        let chunks = [Ok(Bytes::from_static(b"first")), Err(std::io::Error::other("CANARY"))];
        std::future::ready(Body::from_stream(stream::iter(chunks)))
    };
    let chain = Chain::new().get(chunks).build();
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let running = tokio::spawn(server.serve(chain));
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    // The connection ends, with or without a reset.
    let _ = client.read_to_end(&mut all).await;
    let text = String::from_utf8(all).unwrap();
    // The last chunk, of length zero, is missing: the client knows that it has not all.
    assert!(!text.contains("\r\n0\r\n") && !text.contains("CANARY"), "{text}");
    assert!(!text.contains("problem") && !text.contains("Internal"), "{text}");
    running.abort();
}
