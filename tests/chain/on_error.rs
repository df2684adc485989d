//! What the function of `on_error` may take, and which errors it renders.

use http::{HeaderMap, HeaderValue, Method, Uri};
use tower_chain::{
    Body, Chain, Error, MatchedPath, Next, NextWith, Path, Provided, Response, StatusCode,
};

use crate::support::{answer, ask, header, now, request, text};

#[derive(Clone)]
struct RequestId(u32);

async fn request_id(next: NextWith<'_, (RequestId,)>) -> Response {
    let id = next.headers().get("x-id").and_then(|id| id.to_str().ok()?.parse().ok());
    next.run_with(RequestId(id.unwrap_or(7))).await
}

async fn fails() -> Result<(), Error> {
    Err(Error::new(StatusCode::CONFLICT, "Taken"))
}

async fn reads_the_body(_: String) -> Result<(), Error> {
    fails().await
}

async fn panics() {
    panic!("a bug");
}

async fn forbids() -> Result<(), Error> {
    Err(Error::new(StatusCode::FORBIDDEN, "Not you"))
}

async fn empties(mut next: Next<'_>) -> Response {
    *next = http::Request::new(Body::empty());
    next.run().await
}

#[test]
fn the_hook_takes_the_head_and_provided_values_of_every_request_that_fails() {
    async fn render(
        method: Method,
        error: Error,
        uri: Uri,
        headers: HeaderMap,
        Provided(RequestId(id)): Provided<RequestId>,
    ) -> (StatusCode, String) {
        let language = headers.get("accept-language").map(|value| value.to_str().unwrap());
        let line = format!("{method} {} {id} {}", uri.path(), language.unwrap_or("-"));
        (error.status(), line)
    }
    let layer = tower_http::limit::RequestBodyLimitLayer::new(4);
    let service = Chain::new()
        .always(request_id)
        .on_error(render)
        .at("/fails", |c| c.get(fails).post(reads_the_body))
        .at("/layer", |c| c.use_(layer).post(reads_the_body))
        .at("/panics", |c| c.get(panics))
        .at("/caught", |c| c.catch_panics().get(panics))
        .at("/guarded", |c| c.guard(forbids).get(fails))
        .at("/empty", |c| c.use_(empties).get(fails))
        .at("/inner/{id}", |c| c.at("/x", |c| c.get(fails)))
        .build();
    let cases = [
        ("GET", "/fails", 409),
        ("POST", "/fails", 409),
        ("POST", "/layer", 409),
        ("PUT", "/fails", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/%ff", 400),
        ("GET", "/panics", 500),
        ("GET", "/caught", 500),
        ("GET", "/guarded", 403),
        ("GET", "/empty", 409),
        ("GET", "/inner/1/x", 409),
        ("GET", "/inner/1/y", 404),
    ];
    for (method, path, status) in cases {
        let mut req = request(method, path);
        req.headers_mut().insert("x-id", HeaderValue::from_static("3"));
        req.headers_mut().insert("accept-language", HeaderValue::from_static("de"));
        let response = now(service.handle(req));
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(text(response), format!("{method} {path} 3 de"));
    }
}

#[test]
fn an_error_is_html_or_json_by_accept() {
    async fn by_accept(headers: HeaderMap, error: Error) -> Response {
        use tower_chain::IntoResponse;
        let html = headers.get("accept").is_some_and(|accept| accept == "text/html");
        match html {
            true => (error.status(), [("content-type", "text/html")], "<h1>").into_response(),
            false => error.into_response(),
        }
    }
    let service = Chain::new().on_error(by_accept).get(fails).build();
    for (accept, expected) in
        [("text/html", "text/html"), ("application/json", "application/problem+json")]
    {
        let mut req = request("GET", "/");
        req.headers_mut().insert("accept", HeaderValue::from_static(accept));
        let response = now(service.handle(req));
        assert_eq!(header(&response, "content-type"), expected);
        assert!(Error::of(&response).is_some());
    }
}

#[test]
fn the_hook_sees_the_match_of_the_request() {
    async fn render(error: Error, id: Option<Path<u32>>, path: Option<MatchedPath>) -> String {
        let id = id.map(|Path(id)| id);
        format!("{} {id:?} {:?}", error.status().as_u16(), path.as_deref())
    }
    let service = Chain::new()
        .on_error(render)
        .at("/users/{id}", |c| c.get(fails))
        .at("/users", |c| c.get(fails))
        .build();
    for (path, expected) in [
        ("/users/7", "409 Some(7) Some(\"/users/{id}\")"),
        ("/users", "409 None Some(\"/users\")"),
        ("/zzz", "404 None None"),
    ] {
        assert_eq!(answer(&service, "GET", path), format!("200 {expected}"));
    }
}

#[test]
fn an_argument_that_refuses_leaves_the_error_to_the_next_hook() {
    async fn inner(error: Error, id: Path<u32>) -> String {
        format!("inner {} {}", error.status().as_u16(), *id)
    }
    async fn outer(error: Error) -> String {
        format!("outer {}", error.status().as_u16())
    }
    let service =
        Chain::new().on_error(outer).on_error(inner).at("/{id}", |c| c.get(fails)).build();
    assert_eq!(answer(&service, "GET", "/7"), "200 inner 409 7");
    assert_eq!(answer(&service, "GET", "/x"), "200 outer 409");
    let alone = Chain::new().on_error(inner).at("/{id}", |c| c.get(fails)).build();
    assert!(answer(&alone, "GET", "/x").starts_with("409 {"));
}

#[test]
fn a_hook_that_panics_is_rendered_by_the_next_one() {
    async fn inner(_: Error) -> &'static str {
        panic!("in the hook")
    }
    let service = Chain::new()
        .on_error(async |error: Error| error.status().as_u16().to_string())
        .at("/a", |c| c.on_error(inner).get(fails))
        .build();
    assert_eq!(answer(&service, "GET", "/a"), "200 500");
}

#[test]
fn a_mounted_chain_has_its_own_hook_with_its_own_values() {
    let inner = Chain::new()
        .provide(RequestId(1))
        .on_error(async |_: Error, id: Provided<RequestId>| id.0.0.to_string())
        .get(fails);
    let service = Chain::new()
        .provide("outer")
        .on_error(async |name: Provided<&'static str>, _: Error| name.0)
        .mount("/inner", inner)
        .at("/outer", |c| c.get(fails))
        .build();
    assert_eq!(answer(&service, "GET", "/inner"), "200 1");
    assert_eq!(answer(&service, "POST", "/inner"), "200 1");
    assert_eq!(answer(&service, "GET", "/outer"), "200 outer");
    assert_eq!(ask(&service, "GET", "/zzz").status(), 200);
}
