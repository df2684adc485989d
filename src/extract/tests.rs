//! Tables of what the extractors take and refuse.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::extract::MaxBody;
use crate::{Body, Chain, ChainService, Form, Json, MatchedPath, Path, Query};

async fn send(chain: &ChainService, req: Request<Body>) -> (StatusCode, http::HeaderMap, String) {
    let res = chain.clone().oneshot(req).await.unwrap();
    let (parts, body) = res.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8_lossy(&bytes).into_owned())
}

fn post(content_type: Option<&str>, body: impl Into<Body>) -> Request<Body> {
    let mut req = Request::post("/").body(body.into()).unwrap();
    if let Some(content_type) = content_type {
        req.headers_mut().insert("content-type", content_type.parse().unwrap());
    }
    req
}

/// A body in frames, of which no length is known ahead.
fn chunked(chunks: Vec<&'static [u8]>) -> Body {
    let frames = chunks
        .into_iter()
        .map(|chunk| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(chunk))));
    Body::new(StreamBody::new(stream::iter(frames)))
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct User {
    name: String,
    age: Option<u8>,
    #[serde(default)]
    tags: Vec<String>,
}

#[tokio::test]
async fn bodies_are_json_or_refused() {
    let chain = Chain::new().post(async |Json(value): Json<Value>| Json(value)).build();
    let json = Some("application/json");
    let deep = "[".repeat(200) + &"]".repeat(200);
    let rows: &[(Option<&str>, &[u8], u16, &str)] = &[
        (json, b"{}", 200, "{}"),
        (json, b" 0 ", 200, "0"),
        (json, b"null", 200, "null"),
        (json, b"\"str\"", 200, "\"str\""),
        (json, b"\xef\xbb\xbf[1]", 200, "[1]"),
        (Some("APPLICATION/JSON ; charset=UTF-8"), b"1", 200, "1"),
        (Some("application/json; charset=\"utf-8\""), b"1", 200, "1"),
        (Some("application/ld+json"), b"1", 200, "1"),
        (Some("application/vnd.api+json"), b"1", 200, "1"),
        (json, b"", 400, "The body is empty, where JSON is expected"),
        (json, b" ", 400, "The body is empty, where JSON is expected"),
        (json, b"{\"a\":", 400, "The body ends too early: it is not complete JSON"),
        (json, b"{} x", 400, "The body is not valid JSON, see line 1 column 4"),
        (json, b"{'a':1}", 400, "The body is not valid JSON, see line 1 column 2"),
        (json, b"\"\xff\"", 400, "The body is not valid JSON, see line 1 column 2"),
        (json, b"\x1f\x8b\x08", 400, "The body is not valid JSON, see line 1 column 1"),
        (json, b"NaN", 400, "The body is not valid JSON, see line 1 column 1"),
        (json, deep.as_bytes(), 400, "The body has lists and objects that are more than 127 deep"),
        (None, b"{}", 415, ""),
        (Some("text/plain"), b"{}", 415, ""),
        (Some("application/x-www-form-urlencoded"), b"a=1", 415, ""),
        (Some("application/json; charset=iso-8859-1"), b"{}", 415, ""),
        (Some("json"), b"{}", 415, ""),
    ];
    for (content_type, body, status, text) in rows {
        let shown = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
        let (found, headers, answer) =
            send(&chain, post(*content_type, Bytes::copy_from_slice(body))).await;
        assert_eq!(found, *status, "{content_type:?} {shown}");
        if found == StatusCode::OK {
            assert_eq!(answer, *text, "{shown}");
            assert_eq!(headers["content-type"], "application/json");
            continue;
        }
        assert_eq!(headers["content-type"], "application/problem+json", "{shown}");
        let problem: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(problem["status"], *status);
        if !text.is_empty() {
            assert_eq!(problem["detail"], *text, "{shown}");
        }
        assert_eq!(headers.contains_key("accept"), *status == 415);
    }
}

/// A `serde_json::Value` has numbers of any size, if another crate enables `serde_json/arbitrary_precision`.
#[tokio::test]
async fn a_number_out_of_range_is_refused() {
    let chain = Chain::new().post(async |Json(value): Json<f64>| Json(value)).build();
    for (body, expected) in [("1e308", 200), ("1e999", 422), ("-1e999", 422)] {
        let (status, _, answer) =
            send(&chain, post(Some("application/json"), Bytes::from(body))).await;
        assert_eq!(status, expected, "{body}");
        assert_eq!(answer.contains("The body does not have the expected form"), expected == 422);
    }
}

#[tokio::test]
async fn json_of_another_form_names_the_field() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "camelCase")]
    #[allow(dead_code, reason = "only read")]
    struct Order {
        customer_id: u32,
        #[serde(default)]
        lines: Vec<Line>,
        #[serde(default)]
        state: Option<State>,
        #[serde(default)]
        by: HashMap<String, (Line, u8)>,
    }
    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Line {
        count: u8,
        #[serde(default)]
        label: String,
    }
    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read")]
    #[serde(rename_all = "lowercase")]
    enum State {
        Open,
        Sent { count: u8, label: String },
        Held(Line),
    }
    let chain = Chain::new().post(async |_: Json<Order>| "fine").build();
    // Each kind of thing that may hold a struct, rightly filled.
    for body in [
        r#"{"customerId":1,"lines":[{"count":1}],"by":{"a":[{"count":1},2]}}"#,
        r#"{"customerId":1,"state":{"held":{"count":1}}}"#,
        r#"{"customerId":1,"state":{"sent":{"count":1,"label":"x"}}}"#,
        r#"{"customerId":1,"state":"open"}"#,
    ] {
        let (status, _, answer) = send(&chain, post(Some("application/json"), body)).await;
        assert_eq!(status, StatusCode::OK, "{body} {answer}");
    }
    for (body, pointer, code, detail) in [
        (
            r#"{"customerId":"SECRET"}"#,
            "/customerId",
            "type",
            "Must be a whole number of at least 0, in range",
        ),
        (
            r#"{"customerId":-1}"#,
            "/customerId",
            "value",
            "Must be a whole number of at least 0, in range",
        ),
        (r#"{}"#, "/customerId", "missing", "Is missing"),
        (
            r#"{"customerId":1,"customerId":2}"#,
            "/customerId",
            "duplicate",
            "Is given more than once",
        ),
        (
            r#"{"customerId":1,"lines":[{"count":1},{"count":300}]}"#,
            "/lines/1/count",
            "value",
            "Must be a whole number of at least 0, in range",
        ),
        (r#"{"customerId":1,"lines":[{"count":1},{}]}"#, "/lines/1/count", "missing", "Is missing"),
        (
            r#"{"customerId":1,"lines":[{"count":1,"label":["SECRET"]}]}"#,
            "/lines/0/label",
            "type",
            "Must be a string",
        ),
        (r#"{"customerId":1,"lines":"SECRET"}"#, "/lines", "type", "Must be a list"),
        (
            r#"{"customerId":1,"state":"SECRET"}"#,
            "/state",
            "choice",
            "Must be one of open, sent, held",
        ),
        (r#"{"customerId":1,"SECRET":1}"#, "/*", "unknown", "Is not known here"),
        (r#"null"#, "", "type", "Must be an object"),
        (r#""SECRET""#, "", "type", "Must be an object"),
        (r#"["SECRET"]"#, "", "type", "Must be an object"),
        (r#"[1,[],null]"#, "", "type", "Must be an object"),
        (
            r#"{"customerId":1,"lines":[{"count":1},[1,"SECRET"]]}"#,
            "/lines/1",
            "type",
            "Must be an object",
        ),
        (
            r#"{"customerId":1,"state":{"held":[1,"SECRET"]}}"#,
            "/state/held",
            "type",
            "Must be an object",
        ),
        (
            r#"{"customerId":1,"state":{"sent":[1,"SECRET"]}}"#,
            "/state/sent",
            "type",
            "Must be an object",
        ),
        (
            r#"{"customerId":1,"by":{"SECRET":[[1,"SECRET"],2]}}"#,
            "/by/*/0",
            "type",
            "Must be an object",
        ),
    ] {
        let (status, _, answer) = send(&chain, post(Some("application/json"), body)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(!answer.contains("SECRET"), "{answer}");
        let problem: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(
            problem["errors"],
            json!([{"location": "body", "pointer": pointer, "code": code, "detail": detail}]),
            "{body}"
        );
    }
}

/// On a stack of 1 MiB, half of what tokio's threads have, and unoptimized.
#[test]
fn deep_json_is_read_or_refused_and_never_too_much() {
    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Tree {
        n: u8,
        #[serde(default)]
        trees: Vec<Tree>,
        #[serde(default)]
        last: Option<Box<Tree>>,
        #[serde(default)]
        by: HashMap<String, Tree>,
    }
    let deep = |open: &str, n: usize, inside: &str, close: &str| {
        format!("{}{inside}{}", open.repeat(n), close.repeat(n))
    };
    let read = move || {
        for (open, inside, close, levels) in [
            (r#"{"n":1,"last":"#, "null", "}", 1),
            (r#"{"n":1,"trees":["#, "", "]}", 2),
            (r#"{"n":1,"by":{"a":"#, r#"{"n":1}"#, "}}", 2),
        ] {
            let most = 126 / levels;
            let status = |text: String| match Json::<Tree>::from_slice(text.as_bytes()) {
                Ok(_) => 200,
                Err(error) => error.status().as_u16(),
            };
            assert_eq!(status(deep(open, most, inside, close)), 200, "{open}");
            let wrong = deep(open, most - 1, &format!(r#"{open}"SECRET"{close}"#), close);
            assert_eq!(status(wrong), 422, "{open}");
            assert_eq!(status(deep(open, 10_000, inside, close)), 400, "{open}");
        }
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            assert!(Json::<Value>::from_slice(deep(open, 127, "1", close).as_bytes()).is_ok());
            assert!(Json::<Value>::from_slice(deep(open, 128, "1", close).as_bytes()).is_err());
            assert!(Json::<Value>::from_slice(open.repeat(100_000).as_bytes()).is_err());
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(read).unwrap().join().unwrap();
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit() {
    let plain = Chain::new().post(async |Json(text): Json<String>| text.len().to_string()).build();
    let text = |length: usize| format!("\"{}\"", "a".repeat(length - 2));
    let json = Some("application/json");
    let mib = 1024 * 1024;
    assert_eq!(send(&plain, post(json, text(mib))).await.0, StatusCode::OK);
    let (status, _, answer) = send(&plain, post(json, text(mib + 1))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["limit"], mib);

    let small = Chain::new()
        .provide(MaxBody::bytes(5))
        .at("/", |c| c.post(async |Json(text): Json<String>| text))
        .at("/large", |c| {
            c.provide(MaxBody::unlimited()).post(async |Json(text): Json<String>| text)
        })
        .build();
    let at = |path: &str, body: Body| {
        Request::post(path).header("content-type", "application/json").body(body).unwrap()
    };
    for (path, body, status) in [
        ("/", chunked(vec![b"\"a", b"bc\""]), 200),
        ("/", chunked(vec![b"\"a", b"b", b"cd\""]), 413),
        ("/", chunked(vec![b"\"abcdef\""]), 413),
        ("/large", chunked(vec![b"\"abc", b"def\""]), 200),
    ] {
        assert_eq!(send(&small, at(path, body)).await.0, status, "{path}");
    }
    let mut lying = at("/", Body::from("\"a\""));
    lying.headers_mut().insert("content-length", "6".parse().unwrap());
    assert_eq!(send(&small, lying).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let cut = Body::new(http_body_util::Limited::new(chunked(vec![b"\"a", b"bc\""]), 3));
    assert_eq!(send(&small, at("/", cut)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let broken = stream::iter([
        Ok(http_body::Frame::data(Bytes::from_static(b"\"a"))),
        Err(std::io::Error::other("gone")),
    ]);
    let broken = Body::new(StreamBody::new(broken));
    assert_eq!(send(&small, at("/", broken)).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_optional_body_may_be_absent_but_not_wrong() {
    let chain = Chain::new()
        .post(async |user: Option<Json<User>>| user.map_or("none".to_owned(), |u| u.0.name))
        .build();
    assert_eq!(send(&chain, post(None, Body::empty())).await.2, "none");
    let (status, _, name) = send(&chain, post(Some("application/json"), r#"{"name":"Ann"}"#)).await;
    assert_eq!((status, &*name), (StatusCode::OK, "Ann"));
    assert_eq!(send(&chain, post(Some("application/json"), "")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(send(&chain, post(None, "{}")).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn forms_and_queries_are_read_alike() {
    #[derive(Debug, Deserialize, Serialize)]
    struct All {
        #[serde(default)]
        a: Vec<u8>,
        b: Option<u32>,
        #[serde(default)]
        c: bool,
        s: Option<String>,
        f: Option<f64>,
    }
    let chain = Chain::new()
        .get(async |Query(all): Query<All>| Json(all))
        .post(async |Form(all): Form<All>| Json(all))
        .build();
    for (pairs, expected) in [
        ("", Ok(json!({"a": [], "b": null, "c": false, "s": null, "f": null}))),
        ("a=1&a=3", Ok(json!({"a": [1, 3], "b": null, "c": false, "s": null, "f": null}))),
        ("a=1", Ok(json!({"a": [1], "b": null, "c": false, "s": null, "f": null}))),
        ("b=&c=on", Ok(json!({"a": [], "b": null, "c": true, "s": null, "f": null}))),
        (
            "s=a+b%C3%A9%zz&x=1",
            Ok(json!({"a": [], "b": null, "c": false, "s": "a bé%zz", "f": null})),
        ),
        ("s=NaN&f=1.5", Ok(json!({"a": [], "b": null, "c": false, "s": "NaN", "f": 1.5}))),
        ("b=1&b=2", Err("/b")),
        ("b=x", Err("/b")),
        ("b=4294967296", Err("/b")),
        ("a=1&a=x", Err("/a/1")),
        ("c=maybe", Err("/c")),
        ("f=NaN", Err("/f")),
        ("f=1e999", Err("/f")),
        ("s=1e999", Ok(json!({"a": [], "b": null, "c": false, "s": "1e999", "f": null}))),
        ("f=-inf", Err("/f")),
        ("s=x&f=%2bInfinity", Err("/f")),
    ] {
        let get = Request::get(format!("/?{pairs}")).body(Body::empty()).unwrap();
        let form = post(Some("application/x-www-form-urlencoded"), pairs);
        for (req, location, status) in [(get, "query", 400), (form, "body", 422)] {
            let (found, _, answer) = send(&chain, req).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            match &expected {
                Ok(data) => assert_eq!((found.as_u16(), &answer), (200, data), "{pairs}"),
                Err(pointer) => {
                    assert_eq!(found.as_u16(), status, "{pairs}: {answer}");
                    assert_eq!(answer["errors"][0]["location"], location);
                    let at = answer["errors"][0]["pointer"].as_str().unwrap();
                    assert!(pointer.starts_with(at) && !at.is_empty(), "{pairs}: {at}");
                }
            }
        }
    }
    let form = |text: &'static str| post(Some("application/x-www-form-urlencoded"), text);
    assert_eq!(send(&chain, form("s=%ff")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(send(&chain, post(None, "a=1")).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        send(&chain, post(Some("text/plain"), "a=1")).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn a_form_of_a_get_is_its_query() {
    let chain = Chain::new().get(async |Form(user): Form<User>| user.name).build();
    let get = Request::get("/?name=Ann").body(Body::empty()).unwrap();
    assert_eq!(send(&chain, get).await.2, "Ann");
    let get = Request::get("/?x=Ann").body(Body::empty()).unwrap();
    assert_eq!(send(&chain, get).await.0, StatusCode::BAD_REQUEST);
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Color {
    Red,
    Green,
}

#[tokio::test]
async fn paths_are_typed() {
    #[derive(Deserialize)]
    struct Both {
        b: String,
        a: u8,
    }
    #[derive(Deserialize)]
    struct Rest {
        id: u8,
        rest: Vec<String>,
    }
    #[derive(Deserialize)]
    struct Id(u64);
    let chain = Chain::new()
        .at("/n/{id}", |c| c.get(async |Path(id): Path<u8>| id.to_string()))
        .at("/i/{id}", |c| c.get(async |Path(id): Path<i64>| id.to_string()))
        .at("/new/{id}", |c| c.get(async |Path(Id(id)): Path<Id>| id.to_string()))
        .at("/s/{id}", |c| c.get(async |Path(id): Path<String>| id))
        .at("/c/{id}", |c| c.get(async |Path(id): Path<char>| id.to_string()))
        .at("/f/{id}", |c| c.get(async |Path(id): Path<f64>| id.to_string()))
        .at("/b/{id}", |c| c.get(async |Path(id): Path<bool>| id.to_string()))
        .at("/e/{id}", |c| c.get(async |Path(id): Path<Color>| format!("{id:?}")))
        .at("/o/{id}", |c| c.get(async |Path(id): Path<Option<u8>>| format!("{id:?}")))
        .at("/t/{a}/{b}", |c| c.get(async |Path((a, b)): Path<(u8, String)>| format!("{a} {b}")))
        .at("/st/{a}/{b}", |c| c.get(async |Path(p): Path<Both>| format!("{} {}", p.a, p.b)))
        .at("/m/{a}/{b}", |c| {
            c.get(async |Path(p): Path<std::collections::BTreeMap<String, String>>| {
                format!("{p:?}")
            })
        })
        .at("/r/{*rest}", |c| c.get(async |Path(p): Path<Vec<String>>| p.join("|")))
        .at("/rs/{*rest}", |c| c.get(async |Path(p): Path<String>| p))
        .at("/rn/{id}/{*rest}", |c| {
            c.get(async |Path(p): Path<Rest>| format!("{} {}", p.id, p.rest.join("|")))
        })
        .at("/wrong/{a}", |c| c.get(async |Path(_): Path<Both>| "never"))
        .at("/wrong/{a}/{b}", |c| c.get(async |Path(_): Path<u8>| "never"))
        .build();
    for (path, status, expected) in [
        ("/n/7", 200, "7"),
        ("/n/256", 400, "/id"),
        ("/n/-1", 400, "/id"),
        ("/n/+1", 400, "/id"),
        ("/n/SECRET", 400, "/id"),
        ("/n/%37", 200, "7"),
        ("/i/-7", 200, "-7"),
        ("/new/18446744073709551615", 200, "18446744073709551615"),
        ("/new/18446744073709551616", 400, "/id"),
        ("/s/a%2Fb%20c%25", 200, "a/b c%"),
        ("/s/%C3%A9.json", 200, "é.json"),
        ("/c/%C3%A9", 200, "é"),
        ("/c/ab", 400, "/id"),
        ("/f/1.5", 200, "1.5"),
        ("/f/NaN", 400, "/id"),
        ("/f/inf", 400, "/id"),
        ("/b/true", 200, "true"),
        ("/b/1", 400, "/id"),
        ("/e/red", 200, "Red"),
        ("/e/green", 200, "Green"),
        ("/e/SECRET", 400, "/id"),
        ("/o/5", 200, "Some(5)"),
        ("/t/1/x", 200, "1 x"),
        ("/t/SECRET/x", 400, "/a"),
        ("/st/1/x", 200, "1 x"),
        ("/st/SECRET/x", 400, "/a"),
        ("/m/1/x", 200, r#"{"a": "1", "b": "x"}"#),
        ("/r/a/b%2Fc/d", 200, "a|b/c|d"),
        ("/r/a/b/", 200, "a|b"),
        ("/r/a//b//", 200, "a||b|"),
        ("/rs/a/b%2Fc", 200, "a/b/c"),
        ("/rs/a/b/", 200, "a/b/"),
        ("/rn/3/x/", 200, "3 x"),
        ("/rn/3/x/y", 200, "3 x|y"),
        ("/wrong/1", 500, ""),
        ("/wrong/1/2", 500, ""),
        ("/s/%ff", 400, ""),
        ("/s/%zz", 400, ""),
    ] {
        let (found, _, answer) =
            send(&chain, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(found, status, "{path}: {answer}");
        assert!(!answer.contains("SECRET"), "{answer}");
        match status {
            200 => assert_eq!(answer, expected, "{path}"),
            _ if expected.is_empty() => {}
            _ => {
                let problem: Value = serde_json::from_str(&answer).unwrap();
                assert_eq!(problem["errors"][0]["pointer"], expected, "{path}");
                assert_eq!(problem["errors"][0]["location"], "path", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn the_matched_pattern_is_told() {
    let chain = Chain::new()
        .at("/users/{id}", |c| c.get(async |path: MatchedPath| path.as_str().to_owned()))
        .at("/about", |c| c.get(async |path: MatchedPath| path.as_str().to_owned()))
        .all(async |path: Option<MatchedPath>| path.map_or("none".to_owned(), |p| p.to_string()))
        .build();
    for (path, expected) in [("/users/7", "/users/{id}"), ("/about", "/about"), ("/x", "none")] {
        let req = Request::builder().method(Method::GET).uri(path).body(Body::empty()).unwrap();
        assert_eq!(send(&chain, req).await.2, expected);
    }
}

#[tokio::test]
async fn json_that_cannot_be_written_is_a_500() {
    let chain =
        Chain::new().get(async || Json(std::collections::HashMap::from([((1, 2), 3)]))).build();
    let (status, headers, _) = send(&chain, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(headers["content-type"], "application/problem+json");
}

#[test]
fn an_answer_of_any_length_is_written_whole() {
    for length in 0..700 {
        let long = ["x".repeat(length), "\u{e9}\"\n".repeat(length % 7)];
        let response = crate::IntoResponse::into_response(Json(&long));
        let body = response.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
        assert_eq!(body, serde_json::to_vec(&long).unwrap());
    }
}

/// The codes and texts of an error do not depend on the format.
#[tokio::test]
async fn errors_of_values_are_the_same_in_queries_and_paths() {
    #[derive(Deserialize)]
    struct One<T> {
        #[allow(dead_code, reason = "only read")]
        v: T,
    }
    #[derive(Deserialize)]
    struct Pair {
        #[allow(dead_code, reason = "only read")]
        rest: (u8, u8),
    }
    macro_rules! routes {
        ($($name:literal $kind:ty),*) => {
            Chain::new()
                $(
                    .at(concat!("/query/", $name), |c| c.get(async |_: Query<One<$kind>>| "fine"))
                    .at(concat!("/path/", $name, "/{v}"), |c| c.get(async |_: Path<One<$kind>>| "fine"))
                    .at(concat!("/only/", $name, "/{v}"), |c| c.get(async |_: Path<$kind>| "fine"))
                )*
                .at("/query/pair", |c| c.get(async |_: Query<Pair>| "fine"))
                .at("/pair/{*rest}", |c| c.get(async |_: Path<Pair>| "fine"))
                .at("/never/{v}/x", |c| c.get(async |_: Path<One<(u8, u8)>>| "fine"))
                .build()
        };
    }
    let chain = routes!(
        "u8" u8, "i64" i64, "nonzero" std::num::NonZeroU8, "f32" f32, "f64" f64, "color" Color,
        "ip" std::net::IpAddr
    );
    let first = async |uri: String| {
        let (status, _, answer) =
            send(&chain, Request::get(&uri).body(Body::empty()).unwrap()).await;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let mut error = answer["errors"][0].clone();
        error.as_object_mut().map(|error| error.remove("location"));
        (status.as_u16(), error)
    };
    for (name, value, code) in [
        ("u8", "256", "value"),
        ("u8", "-1", "type"),
        ("u8", "x", "type"),
        ("u8", "1.0", "type"),
        ("u8", "1e1", "type"),
        ("i64", "9223372036854775808", "value"),
        ("i64", "-9223372036854775809", "value"),
        ("nonzero", "0", "value"),
        ("nonzero", "256", "value"),
        ("f32", "1e39", "value"),
        ("f32", "-1e39", "value"),
        ("f64", "1e309", "value"),
        ("f64", "NaN", "type"),
        ("f64", "-inf", "type"),
        ("f64", "x", "type"),
        ("color", "blue", "choice"),
        ("ip", "x", "invalid"),
    ] {
        let query = first(format!("/query/{name}?v={value}")).await;
        assert_eq!((query.0, &query.1["code"]), (400, &json!(code)), "{name} {value}");
        for path in ["path", "only"] {
            assert_eq!(first(format!("/{path}/{name}/{value}")).await, query, "{name} {value}");
        }
    }
    for (query, status, code) in [
        ("rest=1&rest=2", 200, Value::Null),
        ("rest=1", 400, json!("length")),
        ("rest=1&rest=2&rest=3", 400, json!("length")),
        ("rest=1&rest=x", 400, json!("type")),
    ] {
        let (found, error) = first(format!("/query/pair?{query}")).await;
        assert_eq!((found, &error["code"]), (status, &code), "{query}");
    }
    // The client chooses how many segments a catch-all has, and the pattern how many parameters.
    for (uri, status, code) in [
        ("/pair/1/2", 200, Value::Null),
        ("/pair/1", 400, json!("length")),
        ("/pair/1/2/3", 400, json!("length")),
        ("/never/1/x", 500, Value::Null),
    ] {
        let (found, error) = first(uri.to_owned()).await;
        assert_eq!((found, &error["code"]), (status, &code), "{uri}");
    }
}

/// A short input may have many values. It then waits for the turns of its client.
#[test]
fn every_input_has_its_client() {
    use crate::extract::{ClientAddr, Head, PeerAddr, RawInput};

    let mut req = Request::get("/?a=1").body(Body::empty()).unwrap();
    let peer = PeerAddr("192.0.2.7:1".parse().unwrap());
    let client = ClientAddr(peer.0.ip());
    for (peer, client) in [(None, None), (Some(peer), Some(client))] {
        if let Some(peer) = peer {
            req.extensions_mut().insert(peer);
        }
        let under = |input: RawInput| input.under(Head::from(&req)).client();
        assert_eq!(under(RawInput::body("")), client);
        assert_eq!(under(RawInput::body("{}")), client);
        assert_eq!(under(RawInput::body("{}".repeat(RawInput::LONG))), client);
        assert_eq!(under(RawInput::query(req.uri().clone())), client);
    }
}

/// serde reads what is in a flattened field or in a tagged enum into a buffer, where the texts of a path, query or form stay texts.
#[tokio::test]
async fn a_number_that_serde_buffers_is_the_mistake_of_the_program_in_each_format_of_texts() {
    #[derive(Deserialize)]
    struct Flat<T> {
        #[serde(flatten)]
        inner: Inner<T>,
    }
    #[derive(Deserialize)]
    struct Inner<T> {
        value: T,
    }
    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged<T> {
        Only { value: T },
    }
    #[derive(Deserialize)]
    struct Untagged<T> {
        value: TextOr<T>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOr<T> {
        Other(T),
        Text(String),
    }
    trait Shown {
        fn shown(self) -> String;
    }
    impl<T: std::fmt::Debug> Shown for Flat<T> {
        fn shown(self) -> String {
            format!("{:?}", self.inner.value)
        }
    }
    impl<T: std::fmt::Debug> Shown for Tagged<T> {
        fn shown(self) -> String {
            let Self::Only { value } = self;
            format!("{value:?}")
        }
    }
    impl<T: std::fmt::Debug> Shown for Untagged<T> {
        fn shown(self) -> String {
            match self.value {
                TextOr::Other(value) => format!("{value:?}"),
                TextOr::Text(text) => format!("text {text}"),
            }
        }
    }
    fn chain<D: serde::de::DeserializeOwned + Shown + Send + 'static>() -> ChainService {
        Chain::new()
            .at("/path/{kind}/{value}", |c| c.get(async |Path(data): Path<D>| data.shown()))
            .at("/query", |c| c.get(async |Query(data): Query<D>| data.shown()))
            .at("/form", |c| c.post(async |Form(data): Form<D>| data.shown()))
            .at("/json", |c| c.post(async |Json(data): Json<D>| data.shown()))
            .build()
    }
    async fn answers(chain: ChainService, text: &str, json: &str) -> Vec<(u16, String)> {
        let form = format!("kind=Only&value={text}");
        let body = format!(r#"{{"kind":"Only","value":{json}}}"#);
        let with = |uri: &str, kind: &str, body: String| {
            let req = Request::post(uri.to_owned()).header("content-type", kind);
            req.body(Body::from(body)).unwrap()
        };
        let get = |uri: String| Request::get(uri).body(Body::empty()).unwrap();
        let mut answers = Vec::new();
        for req in [
            get(format!("/path/Only/{text}")),
            get(format!("/query?{form}")),
            with("/form", "application/x-www-form-urlencoded", form),
            with("/json", "application/json", body),
        ] {
            let log = crate::test_log::Log::start();
            let (status, _, body) = send(&chain, req).await;
            let logged = log.text().contains("can't be read from a form, a query or a path");
            assert_eq!(status == 500, logged, "{status} {}", log.text());
            assert!(status != 500 || !body.contains("flattened"), "{body}");
            answers.push((status.as_u16(), if status == 200 { body } else { String::new() }));
        }
        answers
    }
    let program = || (500, String::new());
    let fine = |text: &str| (200, text.to_owned());
    let mistake = |json: &str| vec![program(), program(), program(), fine(json)];
    let same = |text: &str| vec![fine(text), fine(text), fine(text), fine(text)];
    assert_eq!(answers(chain::<Flat<u32>>(), "1", "1").await, mistake("1"));
    assert_eq!(answers(chain::<Flat<i64>>(), "-1", "-1").await, mistake("-1"));
    // With its feature `arbitrary_precision`, serde_json itself does not read a fraction that serde buffers.
    let is_read = serde_json::from_str::<Flat<f64>>(r#"{"value":0.5}"#).is_ok();
    let json = if is_read { fine("0.5") } else { (422, String::new()) };
    let fraction = vec![program(), program(), program(), json];
    assert_eq!(answers(chain::<Flat<f64>>(), "0.5", "0.5").await, fraction);
    assert_eq!(answers(chain::<Flat<f32>>(), "1e39", "0.5").await, fraction);
    assert_eq!(answers(chain::<Flat<bool>>(), "true", "true").await, mistake("true"));
    assert_eq!(answers(chain::<Flat<String>>(), "a", "\"a\"").await, same("\"a\""));
    assert_eq!(answers(chain::<Tagged<u8>>(), "1", "1").await, mistake("1"));
    assert_eq!(answers(chain::<Tagged<bool>>(), "true", "true").await, mistake("true"));
    assert_eq!(answers(chain::<Tagged<String>>(), "a", "\"a\"").await, same("\"a\""));
    // The text of the client is no number for serde, whichever format it comes in.
    assert_eq!(answers(chain::<Untagged<u8>>(), "1", "\"1\"").await, same("text 1"));
}
