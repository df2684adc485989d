//! Requests and their responses, in process and over TCP. Both must be equal.

#![cfg(all(
    feature = "cookies",
    feature = "etag",
    feature = "form",
    feature = "garde",
    feature = "json",
    feature = "multipart",
    feature = "ndjson",
    feature = "problem-details",
    feature = "query",
    feature = "serve",
    feature = "sse",
    feature = "validate"
))]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod answers;
mod bodies;
mod cost;
#[path = "../../src/test_log.rs"]
mod log;
mod memory;
mod next_js;
mod others;
mod refusals;
mod routes;
mod secrets;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tower_chain::{Body, ChainService, Server};

/// A request and its expected response.
struct Row {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Sent without a length.
    chunked: bool,
    status: u16,
    /// The body, or after `..` a part of it.
    answer: String,
    /// A header field and its value. An empty value means that the field is absent.
    fields: Vec<(&'static str, String)>,
}

fn row(method: &'static str, path: impl Into<String>, status: u16) -> Row {
    Row {
        method,
        path: path.into(),
        headers: Vec::new(),
        body: Vec::new(),
        chunked: false,
        status,
        answer: "..".to_owned(),
        fields: Vec::new(),
    }
}

impl Row {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn kind(self, content_type: &str) -> Self {
        self.header("content-type", content_type)
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    fn answer(mut self, answer: impl Into<String>) -> Self {
        self.answer = answer.into();
        self
    }

    fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn check(&self, how: &str, status: u16, headers: &HeaderMap, body: &[u8]) {
        let text = String::from_utf8_lossy(body);
        let case = format!("{how}: {} {} {:?}\n{text}", self.method, self.path, self.headers);
        assert_eq!(status, self.status, "{case}");
        match self.answer.strip_prefix("..") {
            Some(part) => assert!(text.contains(part), "{part} is not in\n{case}"),
            None => assert_eq!(text, self.answer, "{case}"),
        }
        for (name, value) in &self.fields {
            let all: Vec<&str> =
                headers.get_all(*name).iter().filter_map(|value| value.to_str().ok()).collect();
            assert_eq!(all.join(" | "), *value, "{name} {case}");
        }
        if status >= 400 && self.method != "HEAD" {
            assert_eq!(headers["content-type"], "application/problem+json", "{case}");
        }
        assert!(!text.contains("CANARY"), "{case}");
    }
}

/// Sends each request to the chain in process, then over a socket.
async fn run(chain: ChainService, rows: Vec<Row>) {
    for row in &rows {
        let mut req = Request::builder().method(row.method).uri(&row.path);
        for (name, value) in &row.headers {
            req = req.header(*name, value);
        }
        let body = match row.chunked {
            true => Body::from_stream(chunks(&row.body)),
            false => Body::from(row.body.clone()),
        };
        let (parts, body) = chain.handle(req.body(body).unwrap()).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        row.check("in process", parts.status.as_u16(), &parts.headers, &body);
    }

    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let addr = server.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let ended = tokio::spawn(server.serve_until(stopped, chain));
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for row in &rows {
        let method = reqwest::Method::from_bytes(row.method.as_bytes()).unwrap();
        let mut req = client.request(method, format!("http://{addr}{}", row.path));
        for (name, value) in &row.headers {
            req = req.header(*name, value);
        }
        if row.chunked {
            req = req.body(reqwest::Body::wrap_stream(chunks(&row.body)));
        } else if !row.body.is_empty() {
            req = req.body(row.body.clone());
        }
        let response = req.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        row.check("over TCP", status, &headers, &body);
    }
    drop(client);
    stop.send(()).unwrap();
    ended.await.unwrap().unwrap();
}

fn chunks(body: &[u8]) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + use<> {
    let chunks: Vec<_> = body.chunks(5000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    futures_util::stream::iter(chunks)
}
