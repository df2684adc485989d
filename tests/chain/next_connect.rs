//! The behaviour that next-connect's own tests assert, and whether this crate keeps it or changes it.
//!
//! | next-connect | this crate |
//! | --- | --- |
//! | adding is chainable, keeps order, several functions in one registration | the type of the chain; `first_written_runs_first` |
//! | an instance is a handler; `handler()` converts it to a function | `build()` makes a service |
//! | `clone()` for reuse | a chain is a value; a function returns it, see [`a_function_that_returns_a_chain_makes_a_new_one_each_time`] |
//! | patterns with regular expressions, optional parameters, a missing slash at the start | an error when built, which states what to write instead: [`foreign_patterns_are_refused`] |
//! | the literal text of a pattern may be a regular expression | literals are literal |
//! | paths are case-insensitive | paths are case-sensitive |
//! | a trailing slash makes no difference | kept, and `strict_slash` |
//! | a wrong method is 404 | 405 with `Allow` |
//! | middleware alone does not match | kept |
//! | the last function that calls next is a 500 | `on_no_match` |
//! | calling `next` twice runs another function | does not compile |
//! | an error's message is the response (v0) | never: a generic 500, as in v1 |
//! | `onError` may resume the chain (v0) | it renders the error, and can't resume the chain |
//! | the URL is rewritten under a mount (v0) | unchanged, as in v1 |
//! | a sub-router's `onError` is ignored | hooks are scoped, and the innermost one is used |
//! | parameters set before take precedence over captured ones | new for each request |
//! | the 404 names method and URL | it names neither: no part of the request is in it |
//! | `run` without a response returns undefined | `into_layer` passes such a request to the inner service |
//! | a response that was already sent, promises that never settle | a response is a value |

use super::support::{Trace, answer, ask, header, now, request, status, text};
use http::{HeaderValue, Method};
use tower_chain::{
    Chain, ChainService, Error, Next, Path, Provided, Request, Response, Sealed, StatusCode,
};

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

#[test]
fn an_any_method_handler_answers_head_get_and_post_and_a_later_one_runs_after_it() {
    let t = Trace::default();
    let service = Chain::new()
        .at("/{first}", |c| c.all(pass).head(t.handler("head")).all(t.handler("all")))
        .always(async move |_: Next<'_>| StatusCode::IM_A_TEAPOT)
        .build();
    for (method, expected) in [("HEAD", "head"), ("GET", "all"), ("POST", "all")] {
        assert_eq!(status(&service, method, "/x"), 200);
        assert_eq!(t.take(), expected, "{method}");
    }
}

#[test]
fn exact_optional_and_wildcard_routes_mix_with_middleware_in_order() {
    let t = Trace::default();
    let service = Chain::new()
        .use_(t.tag("any"))
        .use_at("/foo", t.tag("foo"))
        .at("/foo", |c| c.get(pass))
        .at("/foo/{bar}", |c| c.get(pass))
        .at("/foo/{bar}/{*rest}", |c| c.get(pass))
        .get(t.handler("last"))
        .build();
    for (path, expected) in [
        ("/foo", ">any >foo last <foo <any"),
        ("/foo/bar", ">any >foo last <foo <any"),
        ("/foo/bar/baz/qux", ">any >foo last <foo <any"),
        ("/fooo", ">any last <any"),
        ("/", ">any last <any"),
    ] {
        assert_eq!(answer(&service, "GET", path), "200 last");
        assert_eq!(t.take(), expected, "{path}");
    }
}

#[test]
fn handlers_match_exactly_and_prefixes_match_what_is_longer() {
    let t = Trace::default();
    let service = Chain::new()
        .use_at("/static", t.tag("static"))
        .use_at("/{param}/x", t.tag("param"))
        .at("/static", |c| c.get(t.handler("static")))
        .at("/{a}/x", |c| c.get(t.handler("param")))
        .at("/movie/{title}.mp4", |c| c.get(async |Path(title): Path<String>| title))
        .build();
    assert_eq!(answer(&service, "GET", "/movie/narnia.mp4"), "200 narnia");
    assert_eq!(answer(&service, "GET", "/movie/a.b.mp4"), "200 a.b");
    assert_eq!(status(&service, "GET", "/movie/narnia.mp4/x"), 404);
    assert_eq!(status(&service, "GET", "/static/longer"), 404);
    t.take();
    ask(&service, "GET", "/static");
    assert_eq!(t.take(), ">static static <static");
    ask(&service, "GET", "/static/x");
    assert_eq!(t.take(), ">static >param param <param <static");
}

#[test]
fn three_levels_of_mounts_run_in_order_and_share_their_parameters() {
    async fn show(Path((a, b, c)): Path<(String, String, String)>) -> String {
        format!("{a} {b} {c}")
    }
    let t = Trace::default();
    let third = Chain::new().use_(t.tag("3")).at("/{c}", |c| c.get(show));
    let second = Chain::new().use_(t.tag("2")).mount("/{b}", third).get(t.handler("second"));
    let first = Chain::new().use_(t.tag("1")).mount("/{a}", second).get(t.handler("first"));
    let service = Chain::new().mount("/m", first).build();
    for (path, expected, trace) in [
        ("/m", "200 first", ">1 first <1"),
        ("/m/x", "200 second", ">1 >2 second <2 <1"),
        ("/m/x/longer/zz", "200 x longer zz", ">1 >2 >3 <3 <2 <1"),
    ] {
        assert_eq!(answer(&service, "GET", path), expected, "{path}");
        assert_eq!(t.take(), trace, "{path}");
    }
    assert_eq!(status(&service, "GET", "/m/x/y"), 404);
    assert_eq!(status(&service, "GET", "/mx"), 404);
}

#[test]
fn next_gives_the_value_of_what_follows_and_the_outer_value_wins() {
    async fn add(n: u32, next: Next<'_>) -> Response {
        let inner: u32 = text(next.run().await).parse().unwrap();
        Response::new((inner + n).to_string().into())
    }
    async fn one(next: Next<'_>) -> Response {
        add(1, next).await
    }
    async fn two(next: Next<'_>) -> Response {
        add(2, next).await
    }
    let service = Chain::new().use_(one).use_(two).get(async || "3").build();
    assert_eq!(answer(&service, "GET", "/"), "200 6");
}

#[test]
fn what_one_step_sets_on_the_request_the_next_ones_see() {
    #[derive(Clone)]
    struct Hello(&'static str);
    async fn sets(mut next: Next<'_>) -> Response {
        next.extensions_mut().insert(Hello("from middleware"));
        next.run().await
    }
    async fn sees(req: Request) -> &'static str {
        req.extensions().get::<Hello>().map_or("nothing", |hello| hello.0)
    }
    let mounted = Chain::new().get(sees);
    let service = Chain::new().use_(sets).mount("/sub", mounted).build();
    assert_eq!(answer(&service, "GET", "/sub"), "200 from middleware");
}

#[test]
fn every_method_has_its_verb() {
    let echo = async |method: Method| method.to_string();
    let service = Chain::new()
        .get(echo)
        .post(echo)
        .put(echo)
        .patch(echo)
        .delete(echo)
        .options(echo)
        .query(echo)
        .head(async || [("x-method", "HEAD")])
        .on(Method::TRACE, echo)
        .build();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "TRACE"] {
        assert_eq!(answer(&service, method, "/any/path"), format!("200 {method}"));
    }
    assert_eq!(header(&ask(&service, "HEAD", "/"), "x-method"), "HEAD");
    assert_eq!(status(&service, "PROPFIND", "/"), 405);
}

#[test]
fn errors_of_middleware_and_handlers_are_500_without_their_text_wherever_they_happen() {
    async fn fails() -> Result<(), Error> {
        Err(std::io::Error::other("internal text"))?
    }
    async fn fails_before(_: Next<'_>) -> Result<Response, Error> {
        Err(std::io::Error::other("internal text"))?
    }
    async fn fails_after(next: Next<'_>) -> Result<Response, Error> {
        let _ = next.run().await;
        Err(std::io::Error::other("internal text"))?
    }
    for service in [
        Chain::new().use_(pass).get(fails).build(),
        Chain::new().use_(pass).use_(fails_before).get(async || "ok").build(),
        Chain::new().use_(fails_after).use_(pass).get(async || "ok").build(),
    ] {
        let found = answer(&service, "GET", "/");
        assert!(found.starts_with("500 {"), "{found}");
        assert!(!found.contains("internal text"), "{found}");
    }
}

#[test]
fn a_hook_for_no_match_that_fails_goes_to_the_hook_for_errors() {
    async fn fails() -> Result<(), Error> {
        Err(std::io::Error::other("not even a 404"))?
    }
    let service = Chain::new()
        .on_error(async |error: Error| (error.status(), "rendered"))
        .on_no_match(fails)
        .at("/a", |c| c.get(async || "ok"))
        .build();
    assert_eq!(answer(&service, "GET", "/zzz"), "500 rendered");
}

#[test]
fn a_hook_for_errors_that_fails_is_a_plain_500() {
    async fn fails(_: Error) -> Result<&'static str, Error> {
        Err(std::io::Error::other("again"))?
    }
    let service = Chain::new().on_error(fails).get(async || StatusCode::OK).build();
    assert_eq!(status(&service, "GET", "/"), 200);
    let failing = Chain::new()
        .on_error(fails)
        .get(async || Err::<(), _>(Error::new(StatusCode::CONFLICT, "first")))
        .build();
    let found = answer(&failing, "GET", "/");
    assert!(found.starts_with("500 {") && !found.contains("again"), "{found}");
}

#[test]
fn the_query_takes_no_part_in_matching() {
    let service = Chain::new().at("/foo/bar", |c| c.get(async || "ok")).build();
    for path in ["/foo/bar?x=/other", "/foo/bar?", "/foo/bar/?a#b"] {
        assert_eq!(status(&service, "GET", path), 200, "{path}");
    }
}

#[test]
fn a_404_names_nothing_of_the_request_and_has_no_body_for_head() {
    let service = Chain::new().at("/a", |c| c.get(async || "ok")).build();
    let found = answer(&service, "GET", "/%3Cscript%3Ealert(1)?secret=1");
    assert!(found.starts_with("404 {") && !found.contains("script") && !found.contains("secret"));
    assert_eq!(answer(&service, "HEAD", "/zzz"), "404");
}

#[test]
fn parameters_are_fresh_for_each_request_and_literal_values_are_decoded_once() {
    let service = Chain::new()
        .at("/{a}/{b}", |c| c.get(async |Path((a, b)): Path<(String, String)>| format!("{a}|{b}")))
        .build();
    for (path, expected) in [
        ("/x/y", "200 x|y"),
        ("/a%20b/%2F", "200 a b|/"),
        ("/100%25/%2525", "200 100%|%25"),
        ("/%E6%97%A5/+", "200 日|+"),
    ] {
        assert_eq!(answer(&service, "GET", path), expected, "{path}");
    }
}

#[test]
fn foreign_patterns_are_refused() {
    for (pattern, hint) in [
        ("/:id", "{id}"),
        ("/:id?", "{id?}"),
        ("/foo/*", "{*rest}"),
        ("foo", "`/foo`"),
        ("/a//b", "`/`"),
        ("", "slash"),
    ] {
        let chain = Chain::new().at(pattern, |c| c.get(async || "ok"));
        let error = chain.try_build().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(hint), "{pattern}: {error}");
    }
}

#[test]
fn a_function_that_returns_a_chain_makes_a_new_one_each_time() {
    fn base(t: &Trace, routes: Sealed) -> ChainService {
        Chain::new().use_(t.tag("base")).mount("/", routes).build()
    }
    let t = Trace::default();
    let one = base(&t, Chain::new().get(t.handler("one")).seal());
    let other = base(&t, Chain::new().post(t.handler("other")).seal());
    assert_eq!(status(&one, "POST", "/"), 405);
    assert_eq!(status(&other, "GET", "/"), 405);
    assert_eq!(t.take(), "");
    ask(&one, "GET", "/");
    assert_eq!(t.take(), ">base one <base");
}

#[tokio::test]
async fn what_nobody_answers_goes_to_the_service_behind_a_layer() {
    use tower::{Layer, ServiceExt};
    let chain = Chain::new().at("/own", |c| c.get(async || "own")).at("/pass", |c| c.get(pass));
    let behind = tower::service_fn(async |req: Request| {
        Ok::<_, std::convert::Infallible>(Response::new(format!("behind {}", req.uri()).into()))
    });
    let service = chain.into_layer().layer(behind);
    for (method, path, expected) in [
        ("GET", "/own", "own"),
        ("POST", "/own", "behind /own"),
        ("GET", "/pass", "behind /pass"),
        ("GET", "/zzz?q", "behind /zzz?q"),
    ] {
        let response = service.clone().oneshot(request(method, path)).await.unwrap();
        assert_eq!(text(response), expected, "{method} {path}");
    }
}

#[test]
fn state_that_differs_per_request_is_not_shared_between_requests() {
    async fn user(headers: http::HeaderMap) -> Result<String, Error> {
        let name = headers.get("x-user").and_then(|name| name.to_str().ok());
        name.map(str::to_owned).ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "no user"))
    }
    let service = Chain::new().guard(user).get(async |name: Provided<String>| name.0).build();
    for name in ["ada", "grace", "ada"] {
        let mut req = request("GET", "/");
        req.headers_mut().insert("x-user", HeaderValue::from_static(name));
        assert_eq!(text(now(service.handle(req))), name);
    }
    assert_eq!(status(&service, "GET", "/"), 401);
}
