//! The tests of Next.js for API routes, and where this crate tests the same behaviour, or why it doesn't.
//!
//! | Next.js | this crate |
//! | --- | --- |
//! | `.json` stays in a dynamic segment | `routes` |
//! | a route proxies to its own server | below |
//! | a catch-all answers a nested path | `routes` |
//! | 204 has no type, length or body, even where one is given | `answers` |
//! | unknown path 404; `/api` is not `/api-conflict`; `/api` is the index | below |
//! | OPTIONS through CORS is 204 | the example `layers` |
//! | a handler's own 500 with JSON stays | below |
//! | a throw, now or later, is a 500 without its message | `answers`: `?`, and a panic |
//! | JSON with charset, and a list at the top | `bodies` |
//! | an empty JSON body is `{}` | a 400, because an empty text is not valid JSON; `Option<Json<T>>` accepts an absent body |
//! | JSON of true, null and text; `undefined` is an empty string | `answers`; `()` is an empty body |
//! | invalid JSON is a 400 with the reason | `bodies`; in the body, because HTTP/2 has no reason phrases |
//! | over 1 MiB is a 413 that names the limit; a larger limit lets it through | `bodies` |
//! | ETag, and 304 if the client sends it | `answers`; only for GET and HEAD with 200 |
//! | a form with a mixed-case content type | `bodies` |
//! | parser off: the handler reads the stream; a setting that leaves it on | `bodies`, `/raw` and `/large` |
//! | wrong arguments of a redirect | do not compile |
//! | redirect 307, 301, and a client that follows | `answers`, below; without the target as the body |
//! | query: none, one, several | `bodies`, below |
//! | cookies: none, trailing `;` | `answers` |
//! | POST to a page; POST to a route with a query gets JSON | pages don't exist in this crate; below |
//! | parameter in the query, and merged with it | `routes` |
//! | static before dynamic | `routes` |
//! | nested parameters; a partial match is a 404 | `routes` |
//! | a child process in a handler | below |
//! | a nullable payload is an empty string | `answers`, `/unit` |
//! | more than 4 MiB logs a warning, in one piece or several, and is sent; another threshold; none | `BodyLimit::warn_response_above`, tested there |
//! | client bundle, manifest, static export | not applicable |
//! | a warning where a handler sends nothing, and `externalResolver` | does not compile: a handler returns its response |
//! | a body that was parsed already | `others`: middleware reads and restores it |
//! | catch-all: list; optional: nothing at its root; slash at the end | `routes`; without a redirect |
//! | an edge route reads text | `bodies`, `/text` |
//! | a client that disconnects cancels the stream: in progress, stalled, not started | below |
//! | middleware reads JSON, text, form and multipart, and the route still answers | below |
//! | order of routes, errors when built | `routes` |

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tower_chain::extract::{Multipart, Text, read_body};
use tower_chain::{
    Body, Chain, Error, Form, Json, Next, Provided, Query, Redirect, Response, Server, StatusCode,
};

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

#[tokio::test]
async fn middleware_may_read_a_body_of_any_type() {
    async fn reads(mut next: Next<'_>) -> Result<Response, Error> {
        let body = read_body(&mut next).await?;
        *next.body_mut() = body.into();
        Ok(next.run().await)
    }
    async fn first(mut form: Multipart) -> Result<String, Error> {
        match form.next_part().await? {
            Some(part) => part.text().await,
            None => Ok(String::new()),
        }
    }
    let chain = Chain::new()
        .use_(reads)
        .at("/json", |c| c.post(async |Json(text): Json<String>| text))
        .at("/text", |c| c.post(async |Text(text): Text| text))
        .at("/form", |c| {
            c.post(async |Form(pairs): Form<Vec<(String, String)>>| pairs[0].1.clone())
        })
        .at("/upload", |c| c.post(first))
        .build();
    // More than one HTTP frame.
    let long = "a".repeat(100_000);
    let part = "--X\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n";
    let rows = [
        ("/json", "application/json", format!("\"{long}\"")),
        ("/text", "text/plain", long.clone()),
        ("/form", "application/x-www-form-urlencoded", format!("a={long}")),
        ("/upload", "multipart/form-data; boundary=X", format!("{part}{long}\r\n--X--\r\n")),
    ]
    .map(|(path, kind, body)| row("POST", path, 200).kind(kind).body(body).answer(long.clone()));
    run(chain, rows.into()).await;
}

#[tokio::test]
async fn a_query_and_a_child_process_are_nothing_special() {
    async fn process() -> Result<String, Error> {
        let output = tokio::process::Command::new("true").output().await?;
        Ok(output.status.success().to_string())
    }
    let chain = Chain::new()
        .at("/query", |c| {
            let pairs = async |Query(pairs): Query<Vec<(String, String)>>| Json(pairs);
            c.get(pairs).post(pairs)
        })
        .at("/process", |c| c.get(process))
        .build();
    let rows = vec![
        row("GET", "/query", 200).answer("[]"),
        row("GET", "/query?a=1", 200).answer(r#"[["a","1"]]"#),
        row("GET", "/query?a=1&b=2&a=3", 200).answer(r#"[["a","1"],["b","2"],["a","3"]]"#),
        row("POST", "/query?a=1", 200).body("text").answer(r#"[["a","1"]]"#),
        row("GET", "/process", 200).answer("true"),
    ];
    run(chain, rows).await;
}

#[tokio::test]
async fn a_route_may_ask_its_own_server_and_a_client_follows_a_redirect() {
    async fn proxy(Provided(Base(base)): Provided<Base>) -> Result<String, Error> {
        Ok(reqwest::get(format!("{base}/target")).await?.text().await?)
    }
    #[derive(Clone)]
    struct Base(String);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", server.local_addr().unwrap());
    let chain = Chain::new()
        .provide(Base(base.clone()))
        .at("/proxy", |c| c.get(proxy))
        .at("/target", |c| c.get(async || "target").post(async |text: String| text))
        .at("/to", |c| c.all(async || Redirect::to("/target")))
        .build();
    let running = tokio::spawn(server.serve(chain));
    let client = reqwest::Client::new();
    for (req, text) in [
        (client.get(format!("{base}/proxy")), "target"),
        (client.get(format!("{base}/to")), "target"),
        // 307 keeps the method and the body.
        (client.post(format!("{base}/to")).body("kept"), "kept"),
    ] {
        assert_eq!(req.send().await.unwrap().text().await.unwrap(), text);
    }
    running.abort();
}

/// Sends a message when it is dropped.
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
        // By default a client that closes its side may still wait for the response, which a handler that has not begun it can't know.
        let server = Server::bind("127.0.0.1:0").await.unwrap().half_close(false);
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
    // The last chunk, of length zero, is missing: the client can detect that the body is incomplete.
    assert!(!text.contains("\r\n0\r\n") && !text.contains("CANARY"), "{text}");
    assert!(!text.contains("problem") && !text.contains("Internal"), "{text}");
    running.abort();
}
