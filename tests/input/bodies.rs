//! The matrix of bodies: how Next.js and this crate parse each of them.

use http_body_util::BodyExt;
use serde_json::Value;
use tower_chain::extract::{Binary, MaxBody, Multipart, Text};
use tower_chain::{
    Body, BodyLimit, Chain, ChainService, Error, Form, Json, ProblemDetails, Request,
};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::RequestDecompressionLayer;

use crate::{Row, row, run};

fn chain() -> ChainService {
    async fn upload(mut form: Multipart) -> Result<String, Error> {
        let mut parts = Vec::new();
        while let Some(part) = form.next_part().await? {
            let name = part.name().unwrap_or_default().to_owned();
            parts.push(format!("{name}={:?}", part.bytes().await?));
        }
        Ok(parts.join("&"))
    }
    Chain::new()
        .at("/json", |c| c.all(async |Json(value): Json<Value>| Json(value)))
        .at("/maybe", |c| {
            c.all(async |value: Option<Json<Value>>| {
                value.map_or("none".to_owned(), |v| v.to_string())
            })
        })
        .at("/form", |c| {
            c.post(async |Form(pairs): Form<Vec<(String, String)>>| format!("{pairs:?}"))
        })
        .at("/string", |c| c.post(async |text: String| text))
        .at("/text", |c| c.post(async |Text(text): Text| text))
        .at("/bytes", |c| c.post(async |bytes: Binary| bytes))
        .at("/upload", |c| c.post(upload))
        .at("/large", |c| {
            c.provide(MaxBody::bytes(2 << 20))
                .post(async |Binary(bytes): Binary| bytes.len().to_string())
        })
        .at("/raw", |c| {
            c.post(async |req: tower_chain::Request| {
                http_body_util::BodyExt::collect(req.into_body())
                    .await
                    .map(|body| body.to_bytes().len().to_string())
                    .map_err(Error::from)
            })
        })
        .build()
}

fn json(body: impl Into<Vec<u8>>, status: u16) -> Row {
    row("POST", "/json", status).kind("application/json").body(body)
}

#[tokio::test]
async fn each_body_is_read_or_refused() {
    let mib = 1 << 20;
    let text = |length: usize| format!("\"{}\"", "a".repeat(length - 2));
    let form = "application/x-www-form-urlencoded";
    let rows = vec![
        // No content type and no body: absent, if that is allowed. Next: an empty string.
        row("POST", "/maybe", 200).answer("none"),
        row("POST", "/json", 415).field("accept", "application/json"),
        // Next parses an empty text as an object, although it is not valid JSON.
        json("", 400).answer("..empty"),
        json(" ", 400).answer("..empty"),
        json(r#"{"a":"CANARY"#, 400).answer("..ends too early"),
        json("{} CANARY", 400),
        json("0", 200).answer("0").field("content-type", "application/json"),
        json("null", 200).answer("null"),
        json(r#""str""#, 200).answer(r#""str""#),
        json(r#"[{"a":1}]"#, 200).answer(r#"[{"a":1}]"#),
        row("POST", "/json", 200).kind("Application/JSON ; charset=UTF-8").body("1").answer("1"),
        row("POST", "/json", 200).kind("application/ld+json").body("1").answer("1"),
        // Next reads these two as text.
        row("POST", "/json", 200).kind("application/vnd.api+json").body("1").answer("1"),
        row("POST", "/json", 200).kind("application/problem+json").body("1").answer("1"),
        row("POST", "/json", 415).kind("text/plain").body("1"),
        row("POST", "/json", 415).kind("no media type").body("1"),
        // Next transcodes; JSON allows only UTF-8 (RFC 8259, 8.1).
        row("POST", "/json", 415).kind("application/json; charset=iso-8859-1").body("1"),
        row("POST", "/json", 415).kind("application/json; charset=x-unknown").body("1"),
        // Next substitutes U+FFFD.
        json(b"\"\xff\"", 400),
        json(b"\xef\xbb\xbf1", 200).answer("1"),
        json(b"\x1f\x8b\x08\x00", 400),
        json(b"\x1f\x8b\x08\x00", 415).header("content-encoding", "gzip"),
        json(text(mib), 200),
        json(text(mib + 1), 413).answer(r#".."limit":1048576"#),
        json(text(mib), 200).chunked(),
        json(text(mib + 1), 413).chunked().answer(r#".."limit":1048576"#),
        // Every method may have a body.
        row("DELETE", "/json", 200).kind("application/json").body("1").answer("1"),
        row("GET", "/maybe", 200).answer("none"),
        // Pairs: names may repeat, and brackets have no meaning.
        row("POST", "/form", 200)
            .kind(form)
            .body("a=1&a=2&b[c]=%26+x")
            .answer(r#"[("a", "1"), ("a", "2"), ("b[c]", "& x")]"#),
        row("POST", "/form", 200).kind(form).answer("[]"),
        row("POST", "/form", 200).kind("Application/X-WWW-Form-Urlencoded").body("a").answer(r#"[("a", "")]"#),
        row("POST", "/form", 400).kind(form).body("a=%ff"),
        row("POST", "/form", 415).body("a=1"),
        row("POST", "/text", 200).kind("text/plain").body("{}").answer("{}"),
        row("POST", "/text", 200).kind("no media type").body("x").answer("x"),
        row("POST", "/text", 400).kind("text/plain").body(b"\xff"),
        row("POST", "/text", 415).kind("text/plain; charset=iso-8859-1").body("x"),
        // The extractors of axum's core.
        row("POST", "/string", 200).body("x").answer("x"),
        row("POST", "/string", 400).body(b"\xff").answer("..not UTF-8"),
        row("POST", "/string", 413).body(vec![b'a'; (2 << 20) + 1]).chunked().answer("..too large"),
        row("POST", "/bytes", 200).body("x").answer("x").field("content-type", "application/octet-stream"),
        // Next corrupts binary data here.
        row("POST", "/upload", 200)
            .kind("multipart/form-data; boundary=X")
            .body(b"--X\r\ncontent-disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n\xff\x00\r\n--X--\r\n")
            .answer(r#"f=b"\xff\0""#),
        row("POST", "/upload", 415).kind("application/json").body("{}"),
        // A limit for this route, and no limit.
        row("POST", "/large", 200).body(vec![0; 2 << 20]).answer("2097152"),
        row("POST", "/large", 413).body(vec![0; (2 << 20) + 1]),
        row("POST", "/large", 413).body(vec![0; (2 << 20) + 1]).chunked(),
        row("POST", "/raw", 200).body(vec![0; 3 << 20]).answer("3145728"),
    ];
    run(chain(), rows).await;
}

/// The limit applies to the decompressed size of a body.
#[tokio::test]
async fn the_limit_holds_for_what_is_unpacked() {
    let packed = |text: String| async {
        let layer = CompressionLayer::new().compress_when(SizeAbove::new(0));
        let chain = Chain::new().use_(layer).get(move || std::future::ready(text.clone())).build();
        let req = http::Request::get("/").header("accept-encoding", "gzip");
        let answer = chain.handle(req.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        answer.into_body().collect().await.unwrap().to_bytes().to_vec()
    };
    let text = |length: usize| format!("\"{}\"", "a".repeat(length - 2));
    let mib = 1 << 20;
    let chain = Chain::new()
        .use_(ProblemDetails::new())
        .use_(RequestDecompressionLayer::new())
        .at("/json", |c| c.post(async |Json(text): Json<String>| text.len().to_string()))
        .at("/limited", |c| {
            c.use_(BodyLimit::bytes(100)).post(async |body: Request| {
                let body = body.into_body().collect().await.map_err(Error::from);
                body.map(|body| body.to_bytes().len().to_string())
            })
        })
        .build();
    let post = |path: &str, encoding: &str, body: Vec<u8>, status: u16| {
        row("POST", path, status)
            .kind("application/json")
            .header("content-encoding", encoding)
            .body(body)
    };
    let (fits, bomb) = (packed(text(mib)).await, packed(text(mib + 1)).await);
    assert!(bomb.len() < 4096);
    let rows = vec![
        post("/json", "gzip", packed("\"hello\"".to_owned()).await, 200).answer("5"),
        post("/json", "gzip", fits.clone(), 200),
        post("/json", "gzip", bomb.clone(), 413).answer(r#".."limit":1048576"#),
        post("/json", "gzip", bomb.clone(), 413).chunked(),
        post("/json", "gzip", fits[..fits.len() / 2].to_vec(), 400),
        post("/json", "gzip", b"CANARY".to_vec(), 400),
        post("/json", "x-unknown", b"{}".to_vec(), 415),
        post("/limited", "gzip", packed("a".repeat(100)).await, 200).answer("100"),
        post("/limited", "gzip", bomb, 413).answer(r#".."limit":100"#),
    ];
    run(chain, rows).await;
}
