//! What is stored of a response, and what a repetition gets.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tower_chain::extract::{FieldError, Location};
use tower_chain::middleware::idempotency::{Idempotency, Retention};
use tower_chain::serve::{Detach, detached};
use tower_chain::test_util::{TestClient, TestResponse};
use tower_chain::{Body, BodyLimit, Chain, ChainService, Error, Request, Response};

use super::world::{User, received, user};

fn step() -> Idempotency<tower_chain::middleware::idempotency::PerPrincipal<User>> {
    Idempotency::per(|user: &User| user.0.clone())
}

async fn post(client: &TestClient, path: &str, key: &str) -> TestResponse {
    client.post(path).header("x-user", "ann").header("idempotency-key", key).text("x").send().await
}

/// The same; `None` if the connection fails, which a test client can't report otherwise.
async fn try_post(client: &TestClient, path: &str, key: &str) -> Option<TestResponse> {
    let (client, path, key) = (client.clone(), path.to_owned(), key.to_owned());
    tokio::spawn(async move { post(&client, &path, &key).await }).await.ok()
}

/// Counts its calls, and answers once with this response.
fn counted(
    make: impl Fn(usize) -> Response + Clone + Send + Sync + 'static,
) -> (ChainService, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let handler = move |_: Request| {
        let response = make(count.fetch_add(1, Ordering::SeqCst));
        async move { response }
    };
    (Chain::new().guard(user).use_(step()).post(handler).build(), calls)
}

#[tokio::test]
async fn a_replay_is_the_response_byte_for_byte() {
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let expected = binary.clone();
    let (api, calls) = counted(move |_| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-digest", HeaderValue::from_static("7"));
        let body = Full::new(Bytes::from(binary.clone()))
            .with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = StatusCode::from_u16(299).unwrap();
        let fields = response.headers_mut();
        for (name, value) in [
            ("location", &b"/orders/7"[..]),
            ("set-cookie", b"a=1"),
            ("set-cookie", b"b=2"),
            ("x-bytes", b"caf\xe9"),
            ("date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
            ("connection", b"x-hop, keep-alive"),
            ("x-hop", b"1"),
            ("keep-alive", b"timeout=5"),
            ("trailer", b"x-digest"),
        ] {
            fields.append(
                http::HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        response
    });
    let client = TestClient::new(api);
    let (first, again) = (post(&client, "/", "k").await, post(&client, "/", "k").await);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!((first.status().as_u16(), again.status().as_u16()), (299, 299));
    assert_eq!(first.bytes(), &expected[..]);
    assert_eq!(again.bytes(), &expected[..]);
    assert_eq!(first.trailers(), again.trailers());
    assert_eq!(again.trailers().unwrap()["x-digest"], "7");
    let mut fields = first.headers().clone();
    for name in ["connection", "x-hop", "keep-alive"] {
        fields.remove(name);
    }
    fields.insert("idempotency-replayed", HeaderValue::from_static("true"));
    assert_eq!(&fields, again.headers());
}

#[tokio::test]
async fn a_hook_renders_a_replayed_error_as_the_first_one() {
    async fn page(error: Error) -> (StatusCode, String) {
        let fields: Vec<_> =
            error.field_errors().iter().map(|field| format!("{field:?}")).collect();
        let members: Vec<_> = error.members().map(|member| format!("{member:?}")).collect();
        let (title, detail) = (error.title().to_owned(), error.detail().to_owned());
        (error.status(), format!("{title} {detail} {} {fields:?} {members:?}", error.type_uri()))
    }
    let plain = async || -> Result<(), Error> {
        let error = Error::new(StatusCode::GONE, "It \"was\" here").with_type("urn:x");
        Err(error.with_title("Away").with_member("since", "[7]"))
    };
    let fields = async || -> Result<(), Error> {
        let field = FieldError::new(Location::Body, "length", "Too long").at("name");
        let field = field.with_param("max", "5");
        let other = FieldError::new(Location::Query, "range", "Too far").with_pointer("/a~1b");
        Err(FieldError::refuse(StatusCode::UNPROCESSABLE_ENTITY, "Wrong", &[field, other]))
    };
    let outside = Chain::new()
        .on_error(page)
        .guard(user)
        .use_(step())
        .at("/plain", |c| c.post(plain))
        .at("/fields", |c| c.post(fields))
        .build();
    let inside = Chain::new()
        .guard(user)
        .use_(step())
        .on_error(page)
        .at("/plain", |c| c.post(plain))
        .at("/fields", |c| c.post(fields))
        .build();
    let without = Chain::new()
        .guard(user)
        .use_(step())
        .at("/plain", |c| c.post(plain))
        .at("/fields", |c| c.post(fields))
        .build();
    for api in [outside, inside, without] {
        let client = TestClient::new(api);
        for path in ["/plain", "/fields"] {
            let (first, again) = (post(&client, path, "k").await, post(&client, path, "k").await);
            assert_eq!(again.header("idempotency-replayed"), Some("true"));
            assert_eq!((first.status(), first.text()), (again.status(), again.text()));
        }
    }
}

/// A body of unknown length, of these parts.
fn parts(parts: Vec<Result<&'static str, &'static str>>) -> Body {
    let parts = parts.into_iter().map(|part| part.map_err(std::io::Error::other));
    Body::from_stream(stream::iter(parts))
}

#[tokio::test]
async fn a_stream_is_stored_when_it_is_complete_and_never_in_part() {
    let long: &'static str = Box::leak("x".repeat(200_000).into_boxed_str());
    type Make = fn(&'static str) -> Response;
    let table: [(&str, Make, &str); 7] = [
        ("complete", |_| Response::new(parts(vec![Ok("a"), Ok("b")])), "replayed"),
        ("empty", |_| Response::new(parts(vec![])), "replayed"),
        ("fails", |_| Response::new(parts(vec![Ok("a"), Err("cut")])), "unknown-outcome"),
        ("too long", |x| Response::new(parts(vec![Ok(x), Ok(x)])), "response-not-kept"),
        (
            "too long, then it fails",
            |x| Response::new(parts(vec![Ok(x), Ok(x), Err("cut")])),
            "unknown-outcome",
        ),
        ("long, in one part", |x| Response::new(Body::from(x.repeat(2))), "response-not-kept"),
        (
            "with trailers",
            |_| {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-end", HeaderValue::from_static("1"));
                let frames = [Frame::data(Bytes::from("a")), Frame::trailers(trailers)];
                let frames = stream::iter(frames.map(Ok::<_, Infallible>));
                Response::new(Body::new(StreamBody::new(frames)))
            },
            "replayed",
        ),
    ];
    for (name, make, kind) in table {
        let (api, calls) = counted(move |_| make(long));
        for client in [
            TestClient::new(api.clone()),
            TestClient::new(api.clone()).over_tcp().await,
            TestClient::new(api.clone()).over_http2().await,
        ] {
            calls.store(0, Ordering::SeqCst);
            let key = format!("key-{:?}-{}", client.addr(), name.replace([' ', ','], "-"));
            let first = try_post(&client, "/", &key).await;
            let again = post(&client, "/", &key).await;
            assert_eq!(calls.load(Ordering::SeqCst), 1, "{name}");
            if kind == "replayed" {
                assert_eq!(again.header("idempotency-replayed"), Some("true"), "{name}");
                let first = first.unwrap();
                assert_eq!((first.bytes(), first.trailers()), (again.bytes(), again.trailers()));
                continue;
            }
            let problem = again.assert_problem(409).json_at("/type");
            assert!(problem.as_str().unwrap().ends_with(&format!("#{kind}")), "{name}: {problem}");
            if kind == "response-not-kept" {
                assert_eq!(again.json_at("/response-status"), 200);
                assert_eq!(first.unwrap().bytes().len(), 400_000);
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_its_client_does_not_read_to_the_end_is_unknown() {
    let (api, calls) = counted(|_| {
        let endless = stream::repeat("x").map(Ok::<_, Infallible>);
        Response::new(Body::from_stream(endless.take(100)))
    });
    let client = TestClient::new(api);
    let req = client.post("/").header("x-user", "ann").header("idempotency-key", "k");
    let mut response = req.text("x").stream().await;
    response.chunk().await.unwrap().unwrap();
    drop(response);
    tokio::task::yield_now().await;
    let again = post(&client, "/", "k").await;
    let kind = again.assert_problem(409).json_at("/type");
    assert!(kind.as_str().unwrap().ends_with("unknown-outcome"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_declared_length_ends_a_stream() {
    let (api, calls) = counted(|call| {
        let mut response = Response::new(parts(vec![Ok("ab"), Ok("cd")]));
        let length = HeaderValue::from_static(if call == 0 { "4" } else { "9" });
        response.headers_mut().insert("content-length", length);
        response
    });
    let client = TestClient::new(api).over_tcp().await;
    let (first, again) = (post(&client, "/", "k").await, post(&client, "/", "k").await);
    assert_eq!((first.text(), again.text()), ("abcd", "abcd"));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    // Shorter than it declares: it is cut off.
    let _ = try_post(&client, "/", "other").await;
    let again = post(&client, "/", "other").await;
    again.assert_problem(409);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_request_reaches_the_handler_unchanged_and_within_its_limit() {
    let echo = async |req: Request| {
        let collected = req.into_body().collect().await.unwrap();
        let trailers = collected.trailers().map(|trailers| format!("{trailers:?}"));
        format!("{:?} {trailers:?}", collected.to_bytes())
    };
    let api = |limit: Option<u64>, own: u64| {
        let chain = Chain::new().guard(user);
        match limit {
            Some(limit) => chain
                .use_(BodyLimit::bytes(limit))
                .use_(step().max_request_body(own))
                .post(echo)
                .build(),
            None => chain.use_(step().max_request_body(own)).post(echo).build(),
        }
    };
    let plain = TestClient::new(Chain::new().guard(user).post(echo).build());
    for (limit, own, length, status) in [
        (None, 1000, 1000, 200),
        (None, 1000, 1001, 413),
        (Some(1000), 2000, 1000, 200),
        (Some(1000), 2000, 1001, 413),
        (Some(u64::MAX), 1000, 1001, 413),
        (None, u64::MAX, 2 << 20, 413),
    ] {
        let client = TestClient::new(api(limit, own));
        let body: Vec<u8> = (0..=255).cycle().take(length).collect();
        let send = |client: &TestClient| {
            let req = client.post("/").header("x-user", "ann").header("idempotency-key", "k");
            let chunks: Vec<Bytes> = body.chunks(7).map(Bytes::copy_from_slice).collect();
            req.chunked(chunks).trailer("x-end", "1").send()
        };
        let answer = send(&client).await;
        assert_eq!(answer.status(), status, "{limit:?} {own} {length}");
        if status == 200 {
            assert_eq!(answer.text(), send(&plain).await.text());
            assert!(answer.text().contains("x-end"));
        } else {
            let most = limit.unwrap_or(1 << 20).min(own).min(1 << 20);
            assert_eq!(answer.json_at("/limit"), most);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_after_the_step_leaves_an_unknown_outcome() {
    let slow = async || tokio::time::sleep(Duration::from_secs(60)).await;
    let timeout = tower_http::timeout::TimeoutLayer::with_status_code;
    let timeout = timeout(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(1));
    let after = Chain::new().guard(user).use_(step()).use_(timeout).post(slow).build();
    let before = Chain::new().guard(user).use_(timeout).use_(step()).post(slow).build();
    for api in [after, before] {
        let client = TestClient::new(api);
        post(&client, "/", "k").await.assert_status(408);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let again = post(&client, "/", "k").await;
        assert!(
            again
                .assert_problem(409)
                .json_at("/type")
                .as_str()
                .unwrap()
                .ends_with("unknown-outcome")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_request_is_stored_although_its_client_has_disconnected() {
    let pay = async || {
        tokio::time::sleep(Duration::from_secs(60)).await;
        "paid"
    };
    for (detaches, replayed) in [(true, true), (false, false)] {
        let chain = Chain::new().guard(user);
        let api = match detaches {
            true => chain.use_(Detach::new()).use_(step()).post(pay).build(),
            // The handler runs to completion, and its response is lost.
            false => chain.use_(step()).post(detached(pay)).build(),
        };
        let request = || {
            let req =
                http::Request::post("/").header("x-user", "ann").header("idempotency-key", "k");
            api.clone().handle(req.body(Body::from("x")).unwrap())
        };
        let first = tokio::time::timeout(Duration::from_secs(1), request()).await;
        assert!(first.is_err());
        tokio::time::sleep(Duration::from_secs(61)).await;
        let again = received(request().await).await.unwrap();
        assert_eq!(again.kind == "replayed", replayed, "{again:?}");
    }
}

#[tokio::test]
async fn detached_requests_are_bounded_and_their_panics_are_passed_on() {
    let panics = async || -> &'static str { panic!("a bug") };
    let chain = |detach: Detach| Chain::new().catch_panics().use_(detach).get(panics).build();
    TestClient::new(chain(Detach::new())).get("/").send().await.assert_status(500);
    let full = TestClient::new(chain(Detach::new().max_running(0)));
    full.get("/").send().await.assert_problem(503).assert_retry_after(Duration::from_secs(1));
}

#[tokio::test]
async fn the_rule_for_each_status_can_be_set() {
    let all: Vec<u16> = (200..600).collect();
    let status = async |req: Request| {
        let status = req.uri().path().trim_start_matches('/').parse().unwrap();
        StatusCode::from_u16(status).unwrap()
    };
    let by_default = Chain::new().guard(user).use_(step()).post(status).build();
    let everything = step().retention(|_| Retention::Replay);
    let everything = Chain::new().guard(user).use_(everything).post(status).build();
    let (by_default, everything) = (TestClient::new(by_default), TestClient::new(everything));
    for status in all {
        let path = format!("/{status}");
        post(&by_default, &path, "k").await.assert_status(status);
        let again = post(&by_default, &path, "k").await;
        let kind = match (again.header("idempotency-replayed"), again.status().as_u16()) {
            (Some(_), found) if found == status => "replay",
            (None, found) if found == status => "release",
            (None, 409) => "unknown",
            other => panic!("{status}: {other:?}"),
        };
        let expected = match status {
            401 | 403 | 407 | 409 | 421 | 423 | 425 | 429 => "release",
            408 | 500.. => "unknown",
            _ => "replay",
        };
        assert_eq!(kind, expected, "{status}");
        post(&everything, &path, "k").await.assert_status(status);
        let again = post(&everything, &path, "k").await;
        assert_eq!(
            (again.status(), again.header("idempotency-replayed")),
            (first(status), Some("true"))
        );
    }
}

fn first(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}

/// HTTP has no content in a response with these statuses, so a server never reads the body.
#[tokio::test]
async fn a_response_without_content_is_stored_if_its_body_is_a_stream() {
    for status in [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED] {
        let (api, calls) = counted(move |_| {
            let mut response =
                Response::new(Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()));
            *response.status_mut() = status;
            response
        });
        let client = TestClient::new(api).over_tcp().await;
        let (first, second) = (post(&client, "/", "k").await, post(&client, "/", "k").await);
        assert_eq!((first.status(), second.status()), (status, status));
        assert_eq!(second.header("idempotency-replayed"), Some("true"), "{status}");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{status}");
    }
}
