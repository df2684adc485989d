//! A chain in every host, with a real client over a socket.

mod axum;
mod hyper;
mod lambda;
mod others;
mod tonic;
mod websocket;

use std::net::SocketAddr;
use std::time::Duration;

use ::axum::Json;
use ::axum::extract::Query;
use ::axum::http::HeaderMap;
use reqwest::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Client, Method, Version};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower_chain::{Chain, ChainService, Error, Next, Response, StatusCode};

#[test]
fn each_host_of_the_readme_names_tests_that_are_there() {
    let readme = include_str!("../../../README.md");
    let (_, hosts) = readme.split_once("\n## Hosts\n").unwrap();
    let (hosts, _) = hosts.split_once("\n## ").unwrap();
    let rows: Vec<&str> = hosts.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 10);
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in cell.split(", ").map(|name| name.trim_matches('`')) {
            let (module, test) = name.split_once("::").unwrap();
            let source = std::fs::read_to_string(format!("tests/hosts/{module}.rs")).unwrap();
            let begin = format!("\n#[tokio::test]\nasync fn {}", test.trim_end_matches(".."));
            let end = if test.ends_with("..") { "" } else { "()" };
            assert!(source.contains(&(begin + end)), "{name}");
        }
    }
}

#[derive(Clone)]
struct Caller(String);

#[derive(Deserialize, Serialize, Debug, PartialEq)]
struct Message {
    text: String,
}

#[derive(Deserialize)]
struct Page {
    number: u32,
}

/// The chain that every host runs: middleware, a guard that provides a value, handlers with axum's extractors, a stream, a mount.
fn api() -> ChainService {
    let inner = Chain::expecting::<(Caller,)>().at("/name", |c| c.get(name)).seal();
    Chain::new()
        .always(stamp)
        .at("/hello", |c| c.get(async || "hello"))
        .at("/pages", |c| c.get(async |Query(page): Query<Page>| format!("page {}", page.number)))
        .at("/echo", |c| c.post(async |Json(message): Json<Message>| Json(message)))
        .at("/ignored", |c| c.post(async || "not read"))
        .at("/large", |c| c.get(async || vec![b'x'; 1_000_000]))
        .at("/me", |c| c.guard(caller).mount("/", inner))
        .build()
}

async fn stamp(next: Next<'_>) -> Response {
    let mut response = next.run().await;
    response.headers_mut().insert("x-chain", http::HeaderValue::from_static("passed"));
    response
}

async fn caller(headers: HeaderMap) -> Result<Caller, Error> {
    match headers.get("authorization").and_then(|value| value.to_str().ok()) {
        Some(name) => Ok(Caller(name.to_owned())),
        None => Err(Error::new(StatusCode::UNAUTHORIZED, "Sign in first")
            .with_header(http::header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"))),
    }
}

async fn name(tower_chain::Provided(Caller(name)): tower_chain::Provided<Caller>) -> String {
    name
}

fn http1() -> Client {
    Client::builder().http1_only().build().unwrap()
}

fn http2() -> Client {
    Client::builder().http2_prior_knowledge().build().unwrap()
}

async fn free_port() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Requests every feature that a host may break. `base` is the URL of the chain, such as `http://127.0.0.1:3000/api`.
async fn asks_everything(client: &Client, base: &str) {
    let all = tokio::time::timeout(Duration::from_secs(30), ask_everything(client, base));
    all.await.expect("takes too long");
}

async fn ask_everything(client: &Client, base: &str) {
    let ask = |method: Method, path: &str| client.request(method, format!("{base}{path}"));

    let response = ask(Method::GET, "/hello").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-chain"], "passed");
    assert_eq!(response.text().await.unwrap(), "hello");

    // RFC 9110, 9.3.2: the length that GET would send.
    let response = ask(Method::HEAD, "/hello").send().await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()[CONTENT_LENGTH]),
        (StatusCode::OK, &"5".parse().unwrap())
    );
    assert_eq!(response.text().await.unwrap(), "");

    let response = ask(Method::GET, "/pages?number=7").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "page 7");
    assert_eq!(ask(Method::GET, "/pages?number=x").send().await.unwrap().status(), 400);

    let message = Message { text: "änd so on".repeat(10_000) };
    let response = ask(Method::POST, "/echo").json(&message).send().await.unwrap();
    assert_eq!(response.json::<Message>().await.unwrap(), message);
    assert_eq!(ask(Method::POST, "/echo").body("{}").send().await.unwrap().status(), 415);

    let response = ask(Method::DELETE, "/hello").send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()[ALLOW], "GET, HEAD, OPTIONS");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");

    let response = ask(Method::GET, "/nowhere").send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["x-chain"], "passed");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");

    let response = ask(Method::GET, "/me/name").send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert!(response.text().await.unwrap().contains("Sign in first"));
    let response =
        ask(Method::GET, "/me/name").header("authorization", "Ann").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "Ann");

    let response = ask(Method::GET, "/large").send().await.unwrap();
    assert_eq!(response.bytes().await.unwrap().len(), 1_000_000);
}

/// Sends the requests over HTTP/1.1 and HTTP/2.
async fn asks_over_both(base: &str) {
    asks_everything(&http1(), base).await;
    let client = http2();
    asks_everything(&client, base).await;
    let response = client.get(format!("{base}/hello")).send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
}
