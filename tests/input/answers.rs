//! The matrix of responses.

use std::fmt;
use std::time::Duration;

use futures_util::stream;
use http::StatusCode;
use serde_json::json;
use tower_chain::extract::cookies::Cookie;
use tower_chain::respond::{Event, NdJson, Sse};
use tower_chain::{Body, Chain, ChainService, Cookies, ETag, Error, Json, Redirect};

use crate::{row, run};

#[derive(Debug)]
struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CANARY")
    }
}

impl std::error::Error for Broken {}

fn chain() -> ChainService {
    async fn fails() -> Result<(), Error> {
        Err(Broken)?
    }
    async fn panics() -> &'static str {
        panic!("CANARY")
    }
    Chain::new()
        .at("/json/null", |c| c.get(async || Json(())))
        .at("/json/text", |c| c.get(async || Json("str")))
        .at("/json/true", |c| c.get(async || (StatusCode::CREATED, Json(true))))
        .at("/json/problem", |c| {
            c.get(async || ([("content-type", "application/problem+json")], Json(json!({"a": 1}))))
        })
        .at("/text", |c| c.get(async || "text"))
        .at("/bytes", |c| c.get(async || vec![1_u8]))
        .at("/unit", |c| c.get(async || ()))
        .at("/stream", |c| {
            c.get(async || Body::from_stream(stream::iter(["a", "b"].map(Ok::<_, Broken>))))
        })
        .at("/lines", |c| c.get(async || NdJson::new(stream::iter([1, 2].map(Ok::<_, Broken>)))))
        .at("/events", |c| {
            c.get(async || {
                let event = Event::new().id(7).retry(Duration::from_secs(2)).data("a\nb");
                Sse::new(stream::iter([Ok::<_, Broken>(event)]))
            })
        })
        .at("/nothing", |c| c.get(async || StatusCode::NO_CONTENT))
        .at("/nothing/text", |c| c.get(async || (StatusCode::NO_CONTENT, "text")))
        .at("/same", |c| c.get(async || (StatusCode::NOT_MODIFIED, [("etag", "\"a\"")], Json(1))))
        .at("/to", |c| c.get(async || Redirect::to("/new?a=1")))
        .at("/moved", |c| c.get(async || Redirect::to("/new").moved()))
        .at("/thanks", |c| c.get(async || Redirect::to("/new").see_other()))
        .at("/for-good", |c| c.get(async || Redirect::to("/new").permanent()))
        .at("/login", |c| {
            c.get(async || Redirect::to("https://a.example/x").allow_origin("https://a.example"))
        })
        .at("/away", |c| c.get(async || Redirect::to("https://evil.example/")))
        .at("/split", |c| c.get(async || Redirect::to("/a\r\nx: CANARY")))
        .at("/fails", |c| c.get(fails))
        .at("/panics", |c| c.catch_panics().get(panics))
        .at("/cookies", |c| {
            c.get(async |cookies: Cookies| {
                let seen = cookies.value("a").unwrap_or("none").to_owned();
                (cookies.set(Cookie::new("b", "1")).set(Cookie::new("c", "2")), seen)
            })
        })
        .at("/tagged", |c| c.use_(ETag::new()).get(async || Json(1)).post(async || Json(1)))
        .at("/tagged/error", |c| {
            c.use_(ETag::new()).get(async || Error::new(StatusCode::NOT_FOUND, "Nothing here"))
        })
        .build()
}

#[tokio::test]
async fn each_answer_is_what_it_says() {
    let kind = "content-type";
    let tag = "W/\"6b86b273ff34fce19d6b804eff5a3f57\"";
    let server_error = r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#;
    let set = |name: &str| format!("{name}; HttpOnly; SameSite=Lax; Secure; Path=/");
    let rows = vec![
        row("GET", "/json/null", 200).answer("null").field(kind, "application/json"),
        row("GET", "/json/text", 200).answer("\"str\"").field(kind, "application/json"),
        row("GET", "/json/true", 201).answer("true").field(kind, "application/json"),
        // An explicit content type is kept; Next replaces it with that of JSON.
        row("GET", "/json/problem", 200)
            .answer("{\"a\":1}")
            .field(kind, "application/problem+json"),
        row("GET", "/text", 200).answer("text").field(kind, "text/plain; charset=utf-8"),
        row("GET", "/bytes", 200).answer("\u{1}").field(kind, "application/octet-stream"),
        row("GET", "/nothing", 204).answer("").field(kind, "").field("content-length", ""),
        // No body and no type: `undefined` in JavaScript.
        row("GET", "/unit", 200).answer("").field(kind, ""),
        row("GET", "/nothing/text", 204).answer("").field(kind, "").field("content-length", ""),
        row("GET", "/same", 304)
            .answer("")
            .field(kind, "")
            .field("content-length", "")
            .field("etag", "\"a\""),
        row("GET", "/stream", 200).answer("ab").field("content-length", ""),
        row("GET", "/lines", 200).answer("1\n2\n").field(kind, "application/x-ndjson"),
        row("GET", "/events", 200)
            .answer("id: 7\nretry: 2000\ndata: a\ndata: b\n\n")
            .field(kind, "text/event-stream")
            .field("cache-control", "no-cache, no-transform"),
        row("HEAD", "/text", 200).answer("").field("content-length", "4"),
        row("GET", "/to", 307).answer("").field("location", "/new?a=1"),
        row("GET", "/moved", 301).answer("").field("location", "/new"),
        row("GET", "/thanks", 303).answer("").field("location", "/new"),
        row("GET", "/for-good", 308).answer("").field("location", "/new"),
        row("GET", "/login", 307).answer("").field("location", "https://a.example/x"),
        row("GET", "/away", 400).field("location", ""),
        row("GET", "/split", 400).field("location", "").field("x", ""),
        row("GET", "/fails", 500).answer(server_error),
        row("GET", "/panics", 500).answer(server_error),
        row("GET", "/cookies", 200)
            .header("cookie", "a=1%20x; a=2; bad;")
            .answer("1 x")
            .field("set-cookie", format!("{} | {}", set("b=1"), set("c=2"))),
        row("GET", "/cookies", 200).answer("none"),
        row("GET", "/tagged", 200).answer("1").field("etag", tag),
        row("GET", "/tagged", 304).header("if-none-match", tag).answer("").field(kind, ""),
        row("HEAD", "/tagged", 304).header("if-none-match", "*").answer("").field("etag", tag),
        // Next sends the whole body again. `no-cache` is a directive for caches (RFC 9111, 5.2.1.4).
        row("GET", "/tagged", 304)
            .header("if-none-match", tag)
            .header("cache-control", "no-cache")
            .answer(""),
        // Next answers 304 for any method and status.
        row("POST", "/tagged", 200).header("if-none-match", tag).answer("1").field("etag", ""),
        row("GET", "/tagged/error", 404).header("if-none-match", "*").answer("..Nothing here"),
    ];
    run(chain(), rows).await;
}
