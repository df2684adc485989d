//! The test client itself: the same cases in process and over TCP give equal results, for a chain and for an axum `Router`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod wire;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension};
use axum::response::{IntoResponse, Redirect};
use axum::routing;
use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::LimitClock;
use tower_chain::respond::{Event, Sse};
use tower_chain::test_util::{BodyError, SendError, TestClient, TestForm, TestNext, TestRequest};
use tower_chain::{
    Body, Chain, ChainService, ClientAddr, Cookies, Error, Json, MatchedPath, Next, Path, Provided,
    RateLimit, Request, Response,
};

#[derive(Clone)]
struct User(&'static str);

#[derive(Deserialize, Serialize)]
struct NewUser {
    name: String,
    age: u8,
}

async fn echo(req: Request) -> Response {
    let (parts, body) = req.into_parts();
    let mut lines = vec![format!("{} {}", parts.method, parts.uri)];
    let mut fields: Vec<_> = parts.headers.iter().map(|(n, v)| format!("{n}: {v:?}")).collect();
    fields.sort();
    lines.extend(fields);
    let mut stream = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(chunk) => whole.extend_from_slice(&chunk),
            Err(_) => {
                lines.push("body: cut off".to_owned());
                break;
            }
        }
    }
    lines.push(String::from_utf8_lossy(&whole).into_owned());
    lines.join("\n").into_response()
}

async fn cut_off() -> Body {
    let chunks = [Ok("some"), Err(std::io::Error::other("the disk is gone"))];
    // Sends the first chunk before the end.
    Body::from_stream(stream::iter(chunks).then(async |chunk| {
        if chunk.is_err() {
            tokio::task::yield_now().await;
        }
        chunk
    }))
}

async fn events() -> impl IntoResponse {
    let events =
        (1..=3).map(|n| Ok::<_, Infallible>(Event::new().id(n).event("tick").data("a\nb")));
    Sse::new(stream::iter(events)).keep_alive(None)
}

async fn sign_in(cookies: Cookies) -> impl IntoResponse {
    let _ = cookies;
    [("set-cookie", "sid=7; Path=/; HttpOnly; SameSite=Lax; Max-Age=60")]
}

async fn seen_cookies(headers: HeaderMap) -> String {
    let seen = headers.get("cookie").map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    seen.unwrap_or_else(|| "none".to_owned())
}

fn chain() -> ChainService {
    Chain::new()
        .provide(User("nobody"))
        .at("/echo", |c| c.all(echo))
        .at("/users", |c| {
            c.post(async |Json(user): Json<NewUser>| (StatusCode::CREATED, Json(user)))
        })
        .at("/me", |c| c.get(async |user: Provided<User>| user.0.0))
        .at("/addr", |c| c.get(async |ClientAddr(addr): ClientAddr| addr.to_string()))
        .at("/empty", |c| c.get(async || StatusCode::NO_CONTENT))
        .at("/old", |c| c.all(async || Redirect::temporary("echo?x=1")))
        .at("/done", |c| c.post(async || Redirect::to("/me")))
        .at("/elsewhere", |c| c.get(async || Redirect::to("http://example.org/")))
        .at("/broken", |c| {
            c.get(async || {
                Err::<(), _>(std::io::Error::other("secret").into()).map_err(|e: Error| e)
            })
        })
        .at("/cut", |c| c.get(cut_off))
        .at("/events", |c| c.get(events))
        .at("/sign-in", |c| c.post(sign_in))
        .at("/cookies", |c| c.get(seen_cookies))
        .at("/panic", |c| c.get(async || -> () { panic!("no such luck") }))
        .at("/large", |c| c.get(async || vec![b'x'; 100_000]))
        .build()
}

fn router() -> Router {
    Router::new()
        .route("/echo", routing::any(echo))
        .route(
            "/users",
            routing::post(async |axum::Json(user): axum::Json<NewUser>| {
                (StatusCode::CREATED, axum::Json(user))
            }),
        )
        .route(
            "/me",
            routing::get(async |user: Option<Extension<User>>| {
                user.map_or("nobody", |user| user.0.0)
            }),
        )
        .route("/addr", routing::get(async |peer: Extension<PeerAddr>| peer.0.0.ip().to_string()))
        .route("/empty", routing::get(async || StatusCode::NO_CONTENT))
        .route("/old", routing::any(async || Redirect::temporary("echo?x=1")))
        .route("/done", routing::post(async || Redirect::to("/me")))
        .route("/elsewhere", routing::get(async || Redirect::to("http://example.org/")))
        .route("/broken", routing::get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .route("/cut", routing::get(cut_off))
        .route("/events", routing::get(events))
        .route("/sign-in", routing::post(sign_in))
        .route("/cookies", routing::get(seen_cookies))
        .route("/panic", routing::get(async || -> () { panic!("no such luck") }))
        .route("/large", routing::get(async || vec![b'x'; 100_000]))
        .layer(DefaultBodyLimit::max(1000))
}

/// Requests of every kind that the client sends.
fn cases(c: &TestClient) -> Vec<TestRequest> {
    let form = TestForm::new().text("a", "1").file("b", "c.txt", "text/plain", "content");
    vec![
        c.get("/echo"),
        c.get("/echo?a=1").query(&[("b", "x y"), ("b", "ü&")]),
        c.get("/echo/").header("x-a", "1").header("x-a", "2").bearer("abc").cookie("k", "v"),
        c.get("/echo").basic("Aladdin", "open sesame").cookie("a", "1").cookie("b", "2"),
        c.get("/echo").forwarded_for("192.0.2.1").forwarded_for("10.0.0.1").forwarded("for=_x"),
        c.head("/echo"),
        c.head("/large"),
        c.head("/nowhere"),
        c.post("/echo"),
        c.put("/echo").text("grüße"),
        c.patch("/echo").bytes(vec![0, 159, 146]),
        c.delete("/echo").bytes("with a body"),
        c.options("/users"),
        c.post("/echo").json(&json!({ "a": [1, 2] })),
        c.post("/echo").form(&[("a", "1"), ("a", "2")]),
        c.post("/echo").multipart(form),
        c.post("/echo").chunked(["one ", "two ", "three"]),
        c.post("/echo").text("shortened").content_length(5),
        c.post("/echo").text("too short").content_length(100),
        c.post("/echo").bytes("").content_length(7),
        c.post("/echo").text("{}").content_type("application/x-what"),
        c.post("/users").json(&json!({ "name": "Ann", "age": 30 })),
        c.post("/users").json(&json!({ "name": "Ann", "age": "old" })),
        c.post("/users").text("{}"),
        c.post("/users").bytes("{").content_type("application/json"),
        c.post("/users").json(&json!({ "name": "x".repeat(2000), "age": 1 })),
        c.delete("/users"),
        c.get("/nowhere"),
        c.get("/me"),
        c.get("/me").provided(User("Bob")),
        c.get("/addr"),
        c.get("/addr").peer(([192, 0, 2, 7], 1234)),
        c.get("/empty"),
        c.head("/empty"),
        c.get("/old"),
        c.post("/done"),
        c.get("/elsewhere"),
        c.get("/broken"),
        c.get("/cut"),
        c.get("/events"),
        c.post("/sign-in"),
        c.get("/cookies"),
        c.get("/large"),
        c.get("/panic"),
        c.get("/echo").header("x-bad", "line\nbreak"),
        c.get("/a/{b}").param("c", 1),
    ]
}

/// All parts of a response that a test can inspect.
async fn outcome(request: TestRequest) -> String {
    match request.try_send().await {
        Ok(response) => {
            let mut headers: Vec<_> =
                response.headers().iter().map(|(n, v)| format!("{n}: {v:?}")).collect();
            headers.sort();
            let cut = response.body_error().is_some();
            format!("{}\n{headers:#?}\n{:?}\ncut: {cut}", response.status(), response.bytes())
        }
        Err(error) => error.to_string(),
    }
}

async fn agrees(client: TestClient, over_tcp: TestClient) {
    let pairs: Vec<_> = cases(&client).into_iter().zip(cases(&over_tcp)).collect();
    for (number, (in_process, over_tcp)) in pairs.into_iter().enumerate() {
        let name = format!("case {number}: {in_process:?}");
        assert_eq!(outcome(in_process).await, outcome(over_tcp).await, "{name}");
    }
}

#[tokio::test]
async fn a_chain_answers_the_same_in_process_and_over_tcp() {
    let client = TestClient::new(chain());
    agrees(client.clone(), client.over_tcp().await).await;
}

#[tokio::test]
async fn an_axum_router_answers_the_same_in_process_and_over_tcp() {
    let client = TestClient::new(router());
    agrees(client.clone(), client.over_tcp().await).await;
}

#[tokio::test]
async fn a_client_that_keeps_and_follows_does_the_same_in_process_and_over_tcp() {
    let following = |client: TestClient| client.cookie_jar().follow_redirects();
    let client = TestClient::new(chain());
    let tcp = client.clone().over_tcp().await;
    agrees(following(client), following(tcp)).await;
}

async fn both(service: ChainService) -> [TestClient; 2] {
    let client = TestClient::new(service);
    [client.clone(), client.over_tcp().await]
}

#[tokio::test]
async fn a_service_receives_what_a_test_sends() {
    for client in both(chain()).await {
        let response = client
            .post("/echo?a=1")
            .query(&[("b", "x y")])
            .bearer("abc")
            .cookie("k", "v")
            .cookie("l", "w")
            .forwarded_for("192.0.2.1")
            .json(&[1, 2])
            .send()
            .await;
        let expected = [
            "POST /echo?a=1&b=x+y",
            "authorization: \"Bearer abc\"",
            "content-length: \"5\"",
            "content-type: \"application/json\"",
            "cookie: \"k=v; l=w\"",
            "host: \"localhost\"",
            "x-forwarded-for: \"192.0.2.1\"",
            "[1,2]",
        ];
        assert_eq!(response.text().lines().collect::<Vec<_>>(), expected);

        let response = client.post("/echo").chunked(["a", "b"]).send().await;
        response
            .assert_text_contains("transfer-encoding: \"chunked\"")
            .assert_text_contains("\nab");
        assert!(!response.text().contains("content-length"));

        let response = client.post("/echo").text("too short").content_length(100).send().await;
        response.assert_text_contains("cut off\ntoo short");
        let response = client.post("/echo").text("shortened").content_length(5).send().await;
        response.assert_text_contains("\nshort").assert_text_contains("content-length: \"5\"");
    }
}

#[tokio::test]
async fn cookies_are_kept_and_forgotten_only_with_a_jar() {
    let service = Chain::new()
        .at("/in", |c| c.post(async || [("set-cookie", "sid=7")]))
        .at("/sub", |c| c.post(async || [("set-cookie", "sub=1; Path=/a")]))
        .at("/out", |c| c.post(async || [("set-cookie", "sid=; Max-Age=0")]))
        .at("/past", |c| {
            c.post(async || [("set-cookie", "sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT")])
        })
        .at("/a/b", |c| c.get(seen_cookies))
        .at("/ab", |c| c.get(seen_cookies))
        .build();
    for client in both(service).await {
        client.post("/in").send().await;
        client.get("/ab").send().await.assert_text("none");

        let client = client.cookie_jar();
        for forget in ["/out", "/past"] {
            client.post("/in").send().await.assert_success();
            client.post("/sub").send().await.assert_success();
            assert_eq!(client.jar_cookie("sid").as_deref(), Some("7"));
            client.get("/ab").send().await.assert_text("sid=7");
            client.get("/a/b").send().await.assert_text("sub=1; sid=7");
            client.get("/ab").cookie("sid", "8").send().await.assert_text("sid=8");
            client.post(forget).send().await.cookie("sid").assert_removal();
            assert_eq!(client.jar_cookie("sid"), None);
            client.get("/ab").send().await.assert_text("none");
        }
    }
}

#[tokio::test]
async fn redirects_are_followed_only_if_enabled() {
    for client in both(chain()).await {
        client.post("/done").send().await.assert_status(303).assert_redirect("/me");
        let client = client.follow_redirects();
        let response = client.post("/done").text("x").send().await;
        response.assert_text("nobody");
        assert_eq!(response.asked(), (&http::Method::GET, &Uri::from_static("/me")));
        let response = client.put("/old").text("again").send().await;
        response.assert_text_contains("PUT /echo?x=1").assert_text_contains("again");
        client.get("/elsewhere").send().await.assert_redirect("http://example.org/");
    }
    let endless = Chain::new().get(async || Redirect::to("/")).build();
    let client = TestClient::new(endless).follow_redirects();
    client.get("/").send().await.assert_redirect("/");
}

#[tokio::test]
async fn a_stream_is_read_piece_by_piece_and_dropped() {
    let (dropped, mut was_dropped) = tokio::sync::mpsc::channel::<()>(1);
    let service = Chain::new()
        .get(move || {
            let guard = dropped.clone();
            async move {
                let first = stream::once(future::ready(Ok::<_, Infallible>(Bytes::from("first"))));
                let forever = stream::poll_fn(move |_| {
                    let _ = &guard;
                    std::task::Poll::Pending
                });
                Body::from_stream(first.chain(forever))
            }
        })
        .build();
    let clients = both(service).await;
    for client in &clients {
        let mut stream = client.get("/").stream().await;
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.chunk().await, Some(Ok(Bytes::from("first"))));
        drop(stream);
    }
    // The channel closes when the service and all of its bodies are dropped.
    drop(clients);
    assert_eq!(was_dropped.recv().await, None);
}

#[tokio::test]
async fn a_dropped_request_drops_the_handler() {
    struct Left(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Left {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
    let (left, mut has_left) = tokio::sync::mpsc::unbounded_channel();
    let service = Chain::new()
        .get(move || {
            let (started, left) = (started.clone(), Left(left.clone()));
            async move {
                let _left = left;
                let _ = started.send(());
                future::pending::<()>().await;
            }
        })
        .build();
    for client in both(service).await {
        tokio::select! {
            _ = client.get("/").send() => unreachable!("the handler never answers"),
            _ = has_started.recv() => {}
        }
        assert_eq!(has_left.recv().await, Some(()));
    }
}

#[tokio::test]
async fn events_are_read_one_by_one() {
    for client in both(chain()).await {
        let mut stream = client.get("/events").stream().await;
        for n in 1..=3 {
            let event = stream.event().await.unwrap().unwrap();
            assert_eq!((event.name.as_str(), event.data.as_str()), ("tick", "a\nb"));
            assert_eq!(event.id, Some(n.to_string()));
        }
        assert_eq!(stream.event().await, None);
    }
}

#[tokio::test]
async fn a_body_that_fails_is_a_value() {
    for client in both(chain()).await {
        let response = client.get("/cut").send().await;
        response.assert_status(200).assert_body_error();
        assert_eq!(response.bytes(), "some");
        let response = client.max_body(10).get("/large").send().await;
        assert_eq!(response.body_error(), Some(&BodyError::TooLong { limit: 10 }));
        assert_eq!(response.bytes().len(), 10);
    }
}

#[tokio::test]
async fn a_missing_response_differs_from_a_response() {
    let failing = tower::service_fn(async |_: Request| {
        Err::<Response, _>(std::io::Error::other("out of order"))
    });
    let client = TestClient::new(failing);
    for client in [client.clone(), client.over_tcp().await] {
        let error = client.get("/").try_send().await.unwrap_err();
        assert!(matches!(error, SendError::Service(_)), "{error:?}");
        assert!(error.to_string().contains("out of order"));
    }
    for client in both(chain()).await {
        let error = client.get("/panic").try_send().await.unwrap_err();
        assert!(matches!(&error, SendError::Panicked(text) if text == "no such luck"), "{error:?}");
        client.get("/me").send().await.assert_status(200);
    }
}

#[tokio::test]
async fn many_requests_at_once_each_get_their_own_answer() {
    for client in both(chain()).await {
        let asks = (0..50).map(|n| client.get("/echo").query(&[("n", n)]).send());
        for (n, response) in future::join_all(asks).await.into_iter().enumerate() {
            response.assert_text_contains(&format!("GET /echo?n={n}\n"));
        }
    }
}

#[tokio::test]
async fn readiness_is_awaited_for_each_call() {
    use tower::ServiceBuilder;
    let busy = ServiceBuilder::new().concurrency_limit(1).service(chain());
    let client = TestClient::new(busy);
    let asks = (0..20).map(|_| client.get("/me").send());
    for response in future::join_all(asks).await {
        response.assert_text("nobody");
    }
}

#[tokio::test]
async fn a_limit_is_tested_with_a_clock_that_the_test_moves() {
    let clock = LimitClock::fake();
    let limit = RateLimit::per_minute(2).clock(clock.clone());
    let service = Chain::new().use_(limit).get(async || "hello").build();
    let client = TestClient::new(service);
    let ask = || client.get("/").send();
    let policy = ask().await.rate_limits()[0].policy.clone();
    ask().await.assert_status(200).assert_rate_limit(&policy, 0);
    ask().await.assert_problem(429).assert_retry_after(Duration::from_secs(30));
    let other = SocketAddr::from(([192, 0, 2, 1], 1));
    client.get("/").peer(other).send().await.assert_status(200);
    clock.advance(Duration::from_secs(30));
    ask().await.assert_status(200);
}

#[tokio::test]
async fn a_layer_of_others_stands_before_a_recorded_next() {
    use tower::Layer;
    use tower_http::set_header::SetRequestHeaderLayer;
    let value = http::HeaderValue::from_static("1");
    let next = TestNext::new();
    let layer = SetRequestHeaderLayer::overriding(http::HeaderName::from_static("x-layer"), value);
    TestClient::new(layer.layer(next.clone())).get("/").send().await.assert_status(200);
    assert_eq!(next.assert_called_once().headers()["x-layer"], "1");
}

#[tokio::test]
async fn a_middleware_takes_what_the_test_provides() {
    async fn named(user: Provided<User>, mut next: Next<'_>) -> Response {
        next.extensions_mut().insert(user.0.0.len());
        next.run().await
    }
    let next = TestNext::new();
    next.behind(named).get("/").provided(User("Ann")).send().await.assert_status(200);
    assert_eq!(next.assert_called_once().provided::<usize>(), Some(&3));
    let response = next.behind(named).get("/").send().await;
    response.assert_problem(500);
    assert!(response.to_string().contains("User"), "{response}");
}

/// Runs an assertion that must fail, and returns its message.
fn failure(check: impl FnOnce()) -> String {
    let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)) else {
        panic!("it holds");
    };
    panic.downcast::<String>().map_or_else(|_| String::new(), |text| *text)
}

#[tokio::test]
async fn an_assert_that_does_not_hold_shows_the_whole_exchange() {
    let service = Chain::new()
        .post(async || {
            let body = Json(json!({ "a": { "b": [1, 2] }, "c": "d" }));
            ([("etag", "\"1\""), ("set-cookie", "k=v; Path=/"), ("allow", "GET, POST")], body)
        })
        .build();
    let response =
        TestClient::new(service).post("/?q=1").bearer("secret").text("sent").send().await;
    let r = &response;
    r.assert_success()
        .assert_status(200)
        .assert_status_in(..=200)
        .assert_content_type("application/json");
    r.assert_json(&json!({ "c": "d", "a": { "b": [1, 2] } }))
        .assert_json_contains(&json!({ "c": "d" }));
    r.assert_json_at("/a/b/1", 2).assert_etag("\"1\"").assert_allow(["POST", "GET"]);
    r.assert_header_count("etag", 1).assert_header_absent("x-a").assert_header_exists("etag");
    r.cookie("k").assert_value("v").assert_path("/");
    let checks: Vec<Box<dyn FnOnce() + '_>> = vec![
        Box::new(|| {
            r.assert_status(201);
        }),
        Box::new(|| {
            r.assert_status_in(400..500);
        }),
        Box::new(|| {
            r.assert_header("etag", "\"2\"");
        }),
        Box::new(|| {
            r.assert_header("x-a", "2");
        }),
        Box::new(|| {
            r.assert_header_contains("etag", "2");
        }),
        Box::new(|| {
            r.assert_header_exists("x-a");
        }),
        Box::new(|| {
            r.assert_header_absent("etag");
        }),
        Box::new(|| {
            r.assert_header_count("etag", 2);
        }),
        Box::new(|| {
            r.assert_content_type("text/plain");
        }),
        Box::new(|| {
            r.assert_text("other");
        }),
        Box::new(|| {
            r.assert_text_contains("other");
        }),
        Box::new(|| {
            r.assert_bytes("other");
        }),
        Box::new(|| {
            r.assert_empty();
        }),
        Box::new(|| {
            r.assert_body_error();
        }),
        Box::new(|| {
            r.assert_json(&json!({ "c": "d" }));
        }),
        Box::new(|| {
            r.assert_json_contains(&json!({ "a": { "b": [1] } }));
        }),
        Box::new(|| {
            r.assert_json_contains(&json!({ "x": 1 }));
        }),
        Box::new(|| {
            r.assert_json_at("/c", "e");
        }),
        Box::new(|| {
            r.assert_json_at("/x", "e");
        }),
        Box::new(|| {
            r.assert_json_is("/c", "a number", |c| c.is_number());
        }),
        Box::new(|| {
            r.json::<Vec<u8>>();
        }),
        Box::new(|| {
            r.assert_redirect("/");
        }),
        Box::new(|| {
            r.assert_allow(["GET"]);
        }),
        Box::new(|| {
            r.assert_etag("\"2\"");
        }),
        Box::new(|| {
            r.cookie("l");
        }),
        Box::new(|| {
            r.assert_problem(200);
        }),
        Box::new(|| {
            r.assert_problem_type("about:blank");
        }),
        Box::new(|| {
            r.assert_detail("what");
        }),
        Box::new(|| {
            r.assert_field_error("/a", "b");
        }),
        Box::new(|| {
            r.assert_challenge("Bearer");
        }),
        Box::new(|| {
            r.assert_retry_after(Duration::from_secs(1));
        }),
        Box::new(|| {
            r.assert_rate_limit("p", 1);
        }),
    ];
    for check in checks {
        let text = failure(check);
        for part in
            ["> POST /?q=1", "> authorization: (sensitive)", "> sent", "< 200 OK", "< etag: \"1\""]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("secret"));
    }
    let cookie = r.cookie("k");
    for check in [
        (|c| {
            c.assert_value("w");
        }) as fn(&tower_chain::test_util::TestCookie),
        |c| {
            c.assert_http_only();
        },
        |c| {
            c.assert_secure();
        },
        |c| {
            c.assert_same_site("Lax");
        },
        |c| {
            c.assert_path("/a");
        },
        |c| {
            c.assert_domain("example.org");
        },
        |c| {
            c.assert_max_age(Duration::ZERO);
        },
        |c| {
            c.assert_removal();
        },
    ] {
        assert!(failure(|| check(&cookie)).contains("set-cookie: k=v; Path=/"));
    }
}

#[tokio::test]
async fn a_refusal_of_fields_is_asserted_by_pointer_and_code() {
    let client = TestClient::new(chain());
    let response = client.post("/users").json(&json!({ "name": "Ann", "age": "old" })).send().await;
    response.assert_status_in(400..500);
    let fields = response.field_errors();
    assert_eq!(fields.len(), 1, "{response}");
    response.assert_field_error("/age", &fields[0].1);
}

#[tokio::test]
async fn a_handler_alone_at_a_path_finds_its_parameters() {
    async fn show(Path(id): Path<u32>, name: Provided<&'static str>, path: MatchedPath) -> String {
        format!("{id} {} {}", name.0, &*path)
    }
    let client = TestClient::handler_at("/users/{id}", show);
    client.get("/users/7").provided("Ann").send().await.assert_text("7 Ann /users/{id}");
    client.post("/users/x").provided("Ann").send().await.assert_status(400);
    client.get("/nowhere").send().await.assert_status(404);
}

#[tokio::test]
async fn a_guard_is_skipped_if_the_test_provides_its_value() {
    async fn refuses() -> Result<User, Error> {
        Err(Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
    }
    let api = Chain::new().guard(refuses).get(async |user: Provided<User>| user.0.0).build();
    let client = TestClient::new(api);
    client.get("/").send().await.assert_problem(401);
    client.get("/").provided(User("Ann")).send().await.assert_text("Ann");
    // A value of another type changes nothing.
    client.get("/").provided("Ann").send().await.assert_problem(401);
}
