//! A chain on another executor than tokio's: here, a thread that polls one future.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use axum::body::to_bytes;
use futures_util::{StreamExt, stream};
use http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_chain::middleware::access_log::AccessLog;
use tower_chain::middleware::deprecated::Deprecated;
use tower_chain::middleware::idempotency::Idempotency;
use tower_chain::middleware::jwt::{AccessToken, TestIssuer};
use tower_chain::middleware::server_timing::ServerTiming;
use tower_chain::middleware::shed::Shed;
use tower_chain::middleware::telemetry::Telemetry;
use tower_chain::respond::{Event, Sse};
use tower_chain::{
    Authenticate, Body, BodyLimit, Chain, ChainService, Claims, Cookies, ETag, Form, Json, Jwt,
    Path, ProblemDetails, Query, RateLimit, Request, Require, Response, SecurityHeaders, Valid,
    ValidateInput,
};
use validator::Validate;

#[derive(Clone, Serialize, Deserialize, Validate, tower_chain::Fields)]
struct User {
    #[validate(length(min = 1))]
    name: String,
}

fn api(issuer: &TestIssuer) -> ChainService {
    let valid = async |Valid(user): Valid<User>| user.name;
    let events =
        async || Sse::new(stream::iter([Ok::<_, std::io::Error>(Event::new().data("one"))]));
    let key = Authenticate::short_token("secret").unwrap();
    let jwt = Jwt::<AccessToken>::new(issuer.keys());
    let read = Require::<Claims<AccessToken>>::scope("read").unwrap();
    let old = Deprecated::since("2026-01-01T00:00:00Z").unwrap();
    Chain::new()
        .always(AccessLog::json().to_fn(|_| ()))
        .always(Telemetry::new())
        .always(ServerTiming::new("total").unwrap())
        .always(SecurityHeaders::new())
        .use_(Shed::new())
        .use_(ProblemDetails::new())
        .use_(RateLimit::per_second(1000))
        .use_(BodyLimit::bytes(1000))
        .at("/path/{id}", |c| c.get(async |Path(id): Path<u32>| id.to_string()))
        .at("/query", |c| c.get(async |Query(user): Query<User>| user.name))
        .at("/json", |c| c.post(async |Json(user): Json<User>| Json(user)))
        .at("/valid", |c| c.use_(ValidateInput::<Json<User>>::new()).post(valid))
        .at("/form", |c| c.post(async |Form(user): Form<User>| user.name))
        .at("/cookie", |c| c.get(async |cookies: Cookies| cookies.iter().count().to_string()))
        .at("/etag", |c| c.use_(ETag::new()).get(async || "tagged"))
        .at("/events", |c| c.get(events))
        .at("/old", |c| c.use_(old).get(async || "old"))
        .at("/key", |c| c.use_(key).get(async || "key"))
        .at("/jwt", |c| c.use_(jwt).use_(read).get(async || "jwt"))
        .at("/limited", |c| {
            c.use_(RateLimit::per_minute(1).delay(Duration::from_secs(1))).get(async || "limited")
        })
        .at("/paid", |c| c.use_(Idempotency::for_anyone()).post(async || "paid"))
        .build()
}

#[test]
fn requests_are_answered() {
    assert!(tokio::runtime::Handle::try_current().is_err());
    let issuer = TestIssuer::new();
    let token =
        |scope: &str| format!("Bearer {}", issuer.token(json!({ "sub": "ada", "scope": scope })));
    let get = |path: &str| http::Request::get(path).body(Body::empty()).unwrap();
    let with = |path: &str, name, value: &str| {
        http::Request::get(path).header(name, value).body(Body::empty()).unwrap()
    };
    let post = |path: &str, kind: &str, body: &'static str| {
        http::Request::post(path).header(CONTENT_TYPE, kind).body(Body::from(body)).unwrap()
    };
    let json = "application/json";
    let mut paid = post("/paid", json, "{}");
    paid.headers_mut()
        .insert("idempotency-key", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"".parse().unwrap());
    let cases: Vec<(Request, u16, &str)> = vec![
        (get("/path/7"), 200, "7"),
        (get("/path/x"), 400, ""),
        (get("/nowhere"), 404, ""),
        (post("/path/7", json, "{}"), 405, ""),
        (get("/query?name=Ann"), 200, "Ann"),
        (post("/json", json, r#"{"name":"Ann"}"#), 200, r#"{"name":"Ann"}"#),
        (post("/json", json, "{"), 400, ""),
        (post("/json", "text/plain", "{}"), 415, ""),
        (post("/valid", json, r#"{"name":"Ann"}"#), 200, "Ann"),
        (post("/valid", json, r#"{"name":""}"#), 422, ""),
        (post("/form", "application/x-www-form-urlencoded", "name=Ann"), 200, "Ann"),
        (with("/cookie", http::header::COOKIE, "a=1; b=2"), 200, "2"),
        (get("/etag"), 200, "tagged"),
        (get("/old"), 200, "old"),
        (get("/key"), 401, ""),
        (with("/key", AUTHORIZATION, "Bearer secret"), 200, "key"),
        (get("/jwt"), 401, ""),
        (with("/jwt", AUTHORIZATION, &token("write")), 403, ""),
        (with("/jwt", AUTHORIZATION, &token("read")), 200, "jwt"),
        (get("/limited"), 200, "limited"),
        (get("/limited"), 429, ""),
        // Its store works on a task of tokio's. Without a store, a request does not run.
        (paid, 503, ""),
    ];
    let api = api(&issuer);
    for (request, status, body) in cases {
        let path = request.uri().to_string();
        let (head, text) = ask(&api, request);
        assert_eq!(head.status, status, "{path}: {text}");
        assert!(head.headers.contains_key("x-content-type-options"), "{path}");
        match status {
            200 => assert_eq!(text, body, "{path}"),
            _ => assert_eq!(
                serde_json::from_str::<Value>(&text).unwrap()["status"],
                Value::from(status)
            ),
        }
    }
}

/// Events arrive, without the comments that keep the connection alive: they need the timer of tokio.
#[test]
fn a_stream_of_events_is_sent() {
    let (head, text) =
        ask(&api(&TestIssuer::new()), http::Request::get("/events").body(Body::empty()).unwrap());
    assert_eq!(head.headers[CONTENT_TYPE], "text/event-stream");
    assert_eq!(text, "data: one\n\n");
}

#[test]
fn requests_run_at_the_same_time() {
    let api = api(&TestIssuer::new());
    let one = |id: u32| {
        let request = http::Request::get(format!("/path/{id}")).body(Body::empty()).unwrap();
        api.clone().oneshot(request)
    };
    let answers = stream::iter(0..100).map(one).buffer_unordered(10).collect::<Vec<_>>();
    let answers: Vec<Response> = block_on(answers).into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!(answers.len(), 100);
}

#[test]
fn an_etag_is_compared() {
    let api = api(&TestIssuer::new());
    let (head, _) = ask(&api, http::Request::get("/etag").body(Body::empty()).unwrap());
    let request = http::Request::get("/etag").header("if-none-match", &head.headers[ETAG]);
    let (head, text) = ask(&api, request.body(Body::empty()).unwrap());
    assert_eq!((head.status.as_u16(), &*text), (304, ""));
}

fn ask(api: &ChainService, request: Request) -> (http::response::Parts, String) {
    block_on(async {
        let (head, body) = api.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = to_bytes(body, 10_000).await.unwrap();
        (head, String::from_utf8(bytes.into()).unwrap())
    })
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
