//! Spans and metrics of whole chains, as a subscriber and a recorder receive them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Once;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tower::ServiceExt;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::telemetry::{RequestId, Telemetry, TraceContext};
use tower_chain::step::Refusal;
use tower_chain::{
    Authenticate, Body, BodyLimit, Chain, ChainService, Error, Json, MatchedPath, Next, Principal,
    RateLimit, Request, Require, Response,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

type Fields = BTreeMap<String, String>;

/// The spans of this thread that have ended, in their order.
fn spans() -> Vec<Fields> {
    ENDED.take()
}

/// Starts to capture spans. One subscriber for the whole program: those that come and go with a thread lose spans.
fn capture() {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Capture);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    ENDED.take();
}

struct Capture;

struct Collect<'a>(&'a mut Fields);

impl Visit for Collect<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if attributes.metadata().target() == "tower_chain::telemetry" {
            let mut fields = Fields::new();
            attributes.record(&mut Collect(&mut fields));
            OPEN.with_borrow_mut(|open| open.insert(id.into_u64(), fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        OPEN.with_borrow_mut(|open| {
            if let Some(fields) = open.get_mut(&id.into_u64()) {
                values.record(&mut Collect(fields));
            }
        });
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        if let Some(fields) = OPEN.with_borrow_mut(|open| open.remove(&id.into_u64())) {
            ENDED.with_borrow_mut(|ended| ended.push(fields));
        }
    }
}

thread_local! {
    static OPEN: RefCell<BTreeMap<u64, Fields>> = const { RefCell::new(BTreeMap::new()) };
    static ENDED: RefCell<Vec<Fields>> = const { RefCell::new(Vec::new()) };
}

/// What the metrics of this thread are while `run` runs: name and attributes, and the value or values.
fn measured(run: impl FnOnce(&Snapshotter)) -> BTreeMap<String, Vec<f64>> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || run(&snapshotter));
    values(&snapshotter)
}

fn values(snapshotter: &Snapshotter) -> BTreeMap<String, Vec<f64>> {
    let all = snapshotter.snapshot().into_vec().into_iter();
    let entry = |(key, _, _, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
        let labels: Vec<_> = key.key().labels().collect();
        let labels: Vec<_> =
            labels.iter().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let values = match value {
            DebugValue::Gauge(value) => vec![value.into_inner()],
            DebugValue::Histogram(values) => {
                values.into_iter().map(|value| value.into_inner()).collect()
            }
            DebugValue::Counter(value) => vec![value as f64],
        };
        (format!("{} {}", key.key().name(), labels.join(" ")), values)
    };
    all.map(entry).collect()
}

fn request(method: &str, path: &str) -> Request {
    let mut req = http::Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    req.extensions_mut().insert(PeerAddr("192.0.2.7:4711".parse().unwrap()));
    req
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here waits")
}

fn answered(chain: &ChainService, req: Request) -> Response {
    now(chain.handle(req))
}

fn span_of(chain: &ChainService, req: Request) -> Fields {
    spans();
    drop(answered(chain, req));
    let mut spans = spans();
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.remove(0)
}

fn field<'f>(fields: &'f Fields, name: &str) -> &'f str {
    fields.get(name).map_or("", String::as_str)
}

async fn limited(next: Next<'_>) -> Response {
    next.run().await
}

fn api() -> ChainService {
    let token = Authenticate::token("Vy3pRT1rW9ZsU0bq6xQ2Lw").unwrap();
    let users = Chain::new()
        .get(async || "all")
        .at("/{id}", |c| c.get(async || "one").post(async |Json(name): Json<String>| name));
    Chain::new()
        .always(Telemetry::new())
        .at("/open", |c| c.get(async || "open"))
        .at("/limited", |c| {
            c.use_(RateLimit::per_client(1).every(Duration::from_secs(3600))).get(async || "ok")
        })
        .at("/body", |c| c.use_(BodyLimit::bytes(2)).post(async |text: String| text))
        .at("/guarded/{x}", |c| {
            async fn no() -> Result<(), Error> {
                Err(Error::new(StatusCode::FORBIDDEN, "No"))
            }
            c.guard(no).get(async || "never")
        })
        .at("/pass/{id}", |c| c.get(async |next: Next<'_>| next.run().await))
        .at("/pass/{*rest}", |c| c.get(async || "broad"))
        .at("/gone/{id}", |c| c.get(async |next: Next<'_>| next.run().await))
        .at("/broken", |c| c.get(async || StatusCode::BAD_GATEWAY))
        .service(
            "/files",
            tower::service_fn(async |_: Request| {
                Ok::<_, std::convert::Infallible>(Response::new(Body::from("file")))
            }),
        )
        .group(|c| c.use_(limited).at("/group/{a}", |c| c.get(async || "group")))
        .use_(token)
        .mount("/users", users)
        .at("/admin", |c| {
            c.use_(Require::<Principal>::scope("admin").unwrap()).get(async || "admin")
        })
        .build()
}

#[test]
fn the_route_is_right_for_every_answer() {
    capture();
    let chain = api();
    let with = |mut req: Request, name: &'static str, value: &'static str| {
        req.headers_mut().insert(name, HeaderValue::from_static(value));
        req
    };
    let token = |req| with(req, "authorization", "Bearer Vy3pRT1rW9ZsU0bq6xQ2Lw");
    let body = |req: Request, text: &'static str| req.map(|_| Body::from(text));
    drop(answered(&chain, request("GET", "/limited")));
    for (req, status, route, refusal) in [
        (request("GET", "/open"), 200, "/open", ""),
        (request("HEAD", "/open"), 200, "/open", ""),
        (request("OPTIONS", "/open"), 204, "/open", ""),
        (request("GET", "/limited"), 429, "/limited", "RateLimit quota_exceeded"),
        (body(request("POST", "/body"), "long"), 413, "/body", "BodyLimit too_large"),
        (request("GET", "/guarded/1"), 403, "/guarded/{x}", "no forbidden"),
        (request("DELETE", "/guarded/1"), 405, "/guarded/{x}", "Chain method_not_allowed"),
        (request("GET", "/group/1"), 200, "/group/{a}", ""),
        (request("GET", "/users"), 401, "/users", "Authenticate missing"),
        (request("GET", "/users/7"), 401, "/users/{id}", "Authenticate missing"),
        (
            with(request("GET", "/users/7"), "authorization", "Bearer x"),
            401,
            "/users/{id}",
            "Authenticate invalid_token",
        ),
        (token(request("GET", "/users/7")), 200, "/users/{id}", ""),
        (token(request("POST", "/users/7")), 415, "/users/{id}", "closure unsupported_media_type"),
        (token(request("PUT", "/users/7")), 405, "/users/{id}", "Chain method_not_allowed"),
        (token(request("GET", "/admin")), 403, "/admin", "Require insufficient_scope"),
        (request("GET", "/files"), 200, "/files", ""),
        (request("GET", "/files/a/b.css"), 200, "/files/{*path}", ""),
        (request("GET", "/pass/1"), 200, "/pass/{*rest}", ""),
        (request("GET", "/gone/1"), 404, "/gone/{id}", "Chain not_found"),
        (request("GET", "/users/7/x"), 404, "", "Chain not_found"),
        (request("GET", "/none"), 404, "", "Chain not_found"),
        (request("GET", "/%zz"), 400, "", "Chain path_encoding"),
        (request("BREW", "/open"), 405, "/open", "Chain method_not_allowed"),
    ] {
        let name = format!("{} {}", req.method(), req.uri());
        let span = span_of(&chain, req);
        assert_eq!(field(&span, "http.response.status_code"), status.to_string(), "{name}");
        assert_eq!(field(&span, "http.route"), route, "{name}");
        let found = format!("{} {}", field(&span, "refusal.step"), field(&span, "refusal.reason"));
        assert_eq!(found.trim(), refusal, "{name}");
        let method = name.split(' ').next().unwrap().replace("BREW", "HTTP");
        assert_eq!(field(&span, "otel.name"), format!("{method} {route}").trim_end(), "{name}");
    }
}

#[test]
fn the_span_has_the_attributes_of_the_conventions_and_no_secret() {
    capture();
    let chain = Chain::new()
        .always(Telemetry::new().https().server_address("api.example.com", 443).client_address())
        .at("/users/{id}", |c| c.post(async |text: String| text))
        .build();
    let mut req = request("POST", "/users/7?token=secret").map(|_| Body::from("12345"));
    for name in ["authorization", "cookie", "user-agent", "x-secret"] {
        req.headers_mut().insert(name, HeaderValue::from_static("secret"));
    }
    let mut span = {
        spans();
        let response = answered(&chain, req);
        assert!(spans().is_empty(), "the span ends with the body");
        now(response.into_body().collect()).unwrap();
        spans().remove(0)
    };
    assert_eq!(span.remove("trace_id").unwrap().len(), 32);
    assert_eq!(span.remove("span_id").unwrap().len(), 16);
    let expected = [
        ("client.address", "192.0.2.7"),
        ("http.request.body.size", "5"),
        ("http.request.method", "POST"),
        ("http.response.body.size", "5"),
        ("http.response.status_code", "200"),
        ("http.route", "/users/{id}"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("otel.kind", "server"),
        ("otel.name", "POST /users/{id}"),
        ("server.address", "api.example.com"),
        ("server.port", "443"),
        ("url.path", "/users/7"),
        ("url.scheme", "https"),
    ];
    let expected: Fields = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(span, expected);
}

#[test]
fn an_unknown_method_is_one_value_in_metrics_and_its_text_is_on_the_span() {
    capture();
    let chain = Chain::new().always(Telemetry::new()).all(async || "ok").build();
    for (method, expected, original, name) in [
        ("GET", "GET", "", "GET"),
        ("QUERY", "QUERY", "", "QUERY"),
        ("get", "_OTHER", "get", "HTTP"),
        ("PROPFIND", "_OTHER", "PROPFIND", "HTTP"),
        (&"A".repeat(100), "_OTHER", &"A".repeat(64), "HTTP"),
    ] {
        let values = measured(|_| {
            let span = span_of(&chain, request(method, "/"));
            assert_eq!(field(&span, "http.request.method"), expected);
            assert_eq!(field(&span, "http.request.method_original"), original);
            assert_eq!(field(&span, "otel.name"), name);
        });
        let label = format!("http.request.method={expected} ");
        assert!(values.keys().all(|key| key.contains(&label)), "{values:?}");
    }
}

#[test]
fn metrics_have_the_names_and_the_attributes_of_the_conventions() {
    capture();
    let chain = api();
    let values = measured(|_| {
        let response = answered(&chain, request("GET", "/open"));
        assert_eq!(now(response.into_body().collect()).unwrap().to_bytes(), "open");
        drop(answered(&chain, request("GET", "/none/7")));
        drop(answered(&chain, request("GET", "/none/8")));
        drop(answered(&chain, request("GET", "/broken")));
    });
    let common = "http.request.method=GET url.scheme=http network.protocol.name=http network.protocol.version=1.1";
    let series = |name: &str, rest: &str| {
        format!("http.server.{name} {common} http.response.status_code={rest}")
    };
    let mut expected =
        vec!["http.server.active_requests http.request.method=GET url.scheme=http".to_owned()];
    for rest in ["200 http.route=/open", "404", "502 http.route=/broken error.type=502"] {
        for name in ["request.body.size", "request.duration", "response.body.size"] {
            expected.push(series(name, rest));
        }
    }
    expected.sort();
    assert_eq!(values.keys().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(
        values["http.server.active_requests http.request.method=GET url.scheme=http"],
        [0.0]
    );
    assert_eq!(values[&series("response.body.size", "200 http.route=/open")], [4.0]);
    assert_eq!(values[&series("request.duration", "404")].len(), 2);
}

#[test]
fn a_request_that_is_cancelled_or_broken_is_not_active_any_more() {
    capture();
    let broken = || {
        let chunks = [Ok("ab"), Err(std::io::Error::other("broken"))];
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    let chain = Chain::new()
        .always(Telemetry::new())
        .at("/never", |c| c.get(async || std::future::pending::<StatusCode>().await))
        .at("/panic", |c| c.get(async || -> StatusCode { panic!("on purpose") }))
        .at("/broken", |c| c.get(move || std::future::ready(broken())))
        .build();
    let active = "http.server.active_requests http.request.method=GET url.scheme=http";
    let run = |path: &str| {
        let values = measured(|_| {
            let future = chain.handle(request("GET", path));
            let run = std::panic::AssertUnwindSafe(|| {
                if let Some(response) = future.now_or_never() {
                    let _ = now(response.into_body().collect());
                }
            });
            let _ = std::panic::catch_unwind(run);
        });
        assert_eq!(values[active], [0.0], "{path}");
        let mut spans = spans();
        assert_eq!(spans.len(), 1);
        spans.remove(0)
    };
    for (path, error, code, sent) in [
        ("/never", "cancelled", "", "0"),
        ("/panic", "panic", "ERROR", "0"),
        ("/broken", "response_body", "ERROR", "2"),
    ] {
        let span = run(path);
        assert_eq!(field(&span, "error.type"), error, "{path}");
        assert_eq!(field(&span, "otel.status_code"), code, "{path}");
        assert_eq!(field(&span, "http.response.body.size"), sent, "{path}");
    }
}

#[test]
fn the_duration_ends_when_the_body_is_dropped() {
    let chain = Chain::new().always(Telemetry::new()).get(async || "hello").build();
    let duration = |values: &BTreeMap<String, Vec<f64>>| {
        values.iter().filter(|(key, _)| key.contains("duration")).count()
    };
    let values = measured(|snapshotter| {
        let response = answered(&chain, request("GET", "/"));
        // A snapshot resets the values.
        let values = values(snapshotter);
        assert_eq!(duration(&values), 0);
        let active = "http.server.active_requests http.request.method=GET url.scheme=http";
        assert_eq!(values[active], [1.0]);
        drop(response);
    });
    assert_eq!(duration(&values), 1);
}

#[test]
fn the_trace_of_the_caller_continues_and_a_sampled_one_is_recorded() {
    capture();
    const TRACE: &str = "12345678901234567890123456789012";
    async fn trace(trace: TraceContext, again: TraceContext) -> String {
        assert_eq!(trace, again);
        let fields: HeaderMap = trace.headers().collect();
        let state = fields.get("tracestate").map_or("", |state| state.to_str().unwrap());
        format!("{} {state}", fields["traceparent"].to_str().unwrap())
    }
    let text = |chain: &ChainService, parent: &str| {
        let mut req = request("GET", "/");
        req.headers_mut().insert("traceparent", HeaderValue::try_from(parent).unwrap());
        req.headers_mut().insert("tracestate", HeaderValue::from_static("a=1"));
        let body = now(answered(chain, req).into_body().collect()).unwrap().to_bytes();
        String::from_utf8(body.into()).unwrap()
    };
    let with = Chain::new().always(Telemetry::new()).get(trace).build();
    let without = Chain::new().get(trace).build();
    let starting = Chain::new().always(Telemetry::new().start_traces()).get(trace).build();
    let linked = Telemetry::new().link(|_, caller| {
        let caller = caller.unwrap();
        TraceContext::from_parts(caller.trace_id().to_bytes(), [7; 8], caller.flags(), "")
    });
    let linked = Chain::new().always(linked).get(trace).build();
    for (chain, sampled, continues, span) in [
        (&with, true, true, true),
        (&with, false, true, false),
        (&without, true, true, false),
        (&starting, true, false, true),
        (&starting, false, false, true),
        (&linked, true, true, true),
        (&linked, false, true, true),
    ] {
        spans();
        let own = text(chain, &format!("00-{TRACE}-1234567890123456-0{}", u8::from(sampled)));
        let recorded = spans();
        let (parent, state) = own.split_once(' ').unwrap();
        let parts: Vec<_> = parent.split('-').collect();
        assert_eq!(parts[1] == TRACE, continues, "{own}");
        assert_eq!(state == "a=1", continues && !std::ptr::eq(chain, &linked), "{own}");
        assert_ne!(parts[2], "1234567890123456");
        assert_eq!(parts[3] == "01" || parts[3] == "03", sampled || !continues, "{own}");
        assert_eq!(recorded.len(), usize::from(span));
        if let Some(span) = recorded.first() {
            assert_eq!((field(span, "trace_id"), field(span, "span_id")), (parts[1], parts[2]));
        }
        if std::ptr::eq(chain, &linked) {
            assert_eq!(parts[2], "0707070707070707");
        }
    }
    let new = text(&with, "00-not-valid");
    assert!(!new.contains(TRACE) && new.ends_with("-03 "), "{new}");
}

#[test]
fn a_request_id_is_made_recorded_and_sent_back() {
    capture();
    async fn id(id: RequestId, headers: HeaderMap) -> String {
        assert_eq!(headers["x-request-id"], id.as_str());
        id.as_str().to_owned()
    }
    let chain =
        |telemetry: Telemetry| Chain::new().always(telemetry).at("/", |c| c.get(id)).build();
    let run = |chain: &ChainService, path: &str, sent: &'static str| {
        let mut req = request("GET", path);
        req.headers_mut().insert("x-request-id", HeaderValue::from_static(sent));
        spans();
        let response = answered(chain, req);
        let field = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let status = response.status();
        let body = now(response.into_body().collect()).unwrap().to_bytes();
        assert!(status != 200 || body == field.as_bytes());
        assert_eq!(spans()[0]["request_id"], field);
        field
    };
    let own = chain(Telemetry::new().request_ids());
    let trusting = chain(Telemetry::new().request_ids().trust_request_ids());
    assert_eq!(run(&own, "/", "abc").len(), 32);
    assert_ne!(run(&own, "/", "abc"), run(&own, "/", "abc"));
    assert_eq!(run(&trusting, "/", "abc"), "abc");
    assert_eq!(run(&trusting, "/none", "abc"), "abc", "a 404 has it as well");
    assert_eq!(run(&trusting, "/", "a b").len(), 32);
    let without = Chain::new().get(async |id: RequestId| id.as_str().to_owned()).build();
    assert_eq!(answered(&without, request("GET", "/")).status(), 500);
}

#[tokio::test]
async fn a_chain_that_is_a_layer_has_the_route_of_axum() {
    capture();
    let layer = || Chain::new().always(Telemetry::new()).into_layer();
    let inside = Router::new()
        .route("/users/{id}", any(async || "Ann"))
        .route("/closed", any(async || StatusCode::FORBIDDEN))
        .layer(layer());
    let around = Router::new()
        .nest("/api", Router::new().route("/users/{id}", any(async || "Ann")))
        .layer(layer());
    for (app, path, status, route) in [
        (&inside, "/users/7", 200, "/users/{id}"),
        (&inside, "/closed", 403, "/closed"),
        (&inside, "/none", 404, ""),
        (&around, "/api/users/7", 200, "/api/users/{id}"),
    ] {
        spans();
        let response = app.clone().oneshot(request("GET", path)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        drop(response);
        let spans = spans();
        assert_eq!(field(&spans[0], "http.route"), route, "{path}");
    }
}

#[test]
fn layers_of_others_find_the_route_in_the_request_and_in_the_response() {
    fn route(extensions: &http::Extensions) -> String {
        MatchedPath::of(extensions).map_or("-".to_owned(), |path| path.as_str().to_owned())
    }
    thread_local!(static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });
    let note = |what: &str, extensions: &http::Extensions| {
        SEEN.with_borrow_mut(|seen| seen.push(format!("{what} {}", route(extensions))));
    };
    let inside =
        tower_http::trace::TraceLayer::new_for_http().make_span_with(move |req: &Request| {
            note("request", req.extensions());
            tracing::Span::none()
        });
    let chain = Chain::new()
        .always(MatchedPath::on_responses())
        .always(inside)
        .at("/users/{id}", |c| c.get(async || "Ann"))
        .at("/pass/{id}", |c| c.get(async |next: Next<'_>| next.run().await))
        .at("/pass/{*rest}", |c| c.get(async || "broad"))
        .service(
            "/inner",
            Chain::new()
                .always(MatchedPath::on_responses())
                .at("/a", |c| c.get(async || "a"))
                .build(),
        )
        .build();
    let around = tower_http::trace::TraceLayer::new_for_http().on_response(
        move |response: &Response, _: Duration, _: &tracing::Span| {
            note("response", response.extensions());
        },
    );
    let service = tower::Layer::layer(&around, chain);
    for (path, expected) in [
        ("/users/7", ["request /users/{id}", "response /users/{id}"]),
        ("/pass/7", ["request /pass/{id}", "response /pass/{*rest}"]),
        ("/inner/a", ["request /inner/{*path}", "response /inner/{*path}"]),
        ("/none", ["request -", "response -"]),
    ] {
        SEEN.take();
        let _ = now(service.clone().oneshot(request("GET", path))).unwrap();
        assert_eq!(SEEN.take(), expected);
    }
}

#[test]
fn a_refusal_survives_a_hook_that_renders_the_error() {
    let chain = Chain::new()
        .on_error(async |error: Error| (error.status(), "rendered"))
        .use_(Authenticate::token("Vy3pRT1rW9ZsU0bq6xQ2Lw").unwrap())
        .get(async || "ok")
        .build();
    let response = answered(&chain, request("GET", "/"));
    assert_eq!(Refusal::of(&response), Some(&Refusal::new("Authenticate", "missing")));
    let own = Refusal::new("Inner", "a").mark(StatusCode::FORBIDDEN);
    let own = Refusal::new("Outer", "b").mark(own);
    assert_eq!(Refusal::of(&own).map(Refusal::step), Some("Inner"));
}

#[test]
fn the_sizes_of_bodies_are_those_that_were_read_and_sent() {
    let chain = Chain::new()
        .always(Telemetry::new())
        .at("/read", |c| c.post(async |text: String| text.repeat(2)))
        .at("/unread", |c| c.post(async || StatusCode::OK))
        .at("/large", |c| c.use_(BodyLimit::bytes(2)).post(async |_: String| StatusCode::OK))
        .build();
    for (path, read, sent) in [("/read", 5.0, 10.0), ("/unread", 0.0, 0.0)] {
        let values = measured(|_| {
            let stream = futures_util::stream::iter(["ab", "cde"].map(Ok::<_, std::io::Error>));
            let req = request("POST", path).map(|_| Body::from_stream(stream));
            now(answered(&chain, req).into_body().collect()).unwrap();
        });
        let of = |name: &str| {
            let mut found = values.iter().filter(|(key, _)| key.starts_with(name));
            found.next().unwrap().1[0]
        };
        assert_eq!(of("http.server.request.body.size"), read, "{path}");
        assert_eq!(of("http.server.response.body.size"), sent, "{path}");
    }
    // The count does not hide the cause of a body that is cut off.
    let values = measured(|_| {
        let stream = futures_util::stream::iter(["ab", "cde"].map(Ok::<_, std::io::Error>));
        let req = request("POST", "/large").map(|_| Body::from_stream(stream));
        assert_eq!(answered(&chain, req).status(), 413);
    });
    assert!(!values.is_empty());
}
