//! The behaviour of a chain, one fact per test.

use std::convert::Infallible;
use std::time::Duration;

use super::support::{Trace, answer, ask, header, now, request, status, text};
use axum_core::extract::{FromRequestParts, Request as AxumRequest};
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Method};
use tower_chain::{
    Body, BoxMiddleware, BuildError, Chain, Error, MiddlewareExt, Next, Provided, Request,
    Response, Sealed, StatusCode, from_fn,
};

async fn ok() -> &'static str {
    "ok"
}

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

fn problem(status: u16, title: &str, detail: &str) -> String {
    format!(
        r#"{status} {{"type":"about:blank","title":"{title}","status":{status},"detail":"{detail}"}}"#
    )
}

fn not_found() -> String {
    problem(404, "Not Found", "Nothing answers at this path")
}

// Handlers without a path.

#[test]
fn a_handler_without_a_path_answers_any_path_in_the_outermost_chain() {
    let service = Chain::new().get(ok).build();
    for path in ["/", "/a", "/a/b/", "/%20", "*"] {
        assert_eq!(answer(&service, "GET", path), "200 ok", "{path}");
    }
}

#[test]
fn a_handler_without_a_path_answers_exactly_the_path_of_at_or_mount() {
    let inner = Chain::new().get(ok);
    let service = Chain::new().at("/a", |c| c.get(ok)).mount("/m", inner).build();
    for (path, expected) in
        [("/a", 200), ("/a/", 200), ("/a/x", 404), ("/m", 200), ("/m/x", 404), ("/", 404)]
    {
        assert_eq!(status(&service, "GET", path), expected, "{path}");
    }
}

#[test]
fn the_empty_chain_answers_404() {
    assert_eq!(answer(&Chain::new().build(), "GET", "/"), not_found());
}

// Order.

#[test]
fn first_written_runs_first_and_its_response_comes_back_last() {
    let t = Trace::default();
    let service = Chain::new().use_(t.tag("a")).use_(t.tag("b")).get(t.handler("h")).build();
    ask(&service, "GET", "/");
    assert_eq!(t.take(), ">a >b h <b <a");
}

#[test]
fn a_step_covers_the_steps_after_it_and_nothing_before_it() {
    let t = Trace::default();
    let service = Chain::new()
        .at("/before", |c| c.get(t.handler("before")))
        .use_(t.tag("m"))
        .at("/after", |c| c.get(t.handler("after")))
        .build();
    ask(&service, "GET", "/before");
    assert_eq!(t.take(), "before");
    ask(&service, "GET", "/after");
    assert_eq!(t.take(), ">m after <m");
}

#[test]
fn order_holds_across_the_seals_of_a_long_chain() {
    let t = Trace::default();
    let mut expected: Vec<String> = (0..20).map(|i| format!(">{i}")).collect();
    expected.push("h".to_owned());
    expected.extend((0..20).rev().map(|i| format!("<{i}")));
    const NAMES: [&str; 20] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
        "17", "18", "19",
    ];
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, u] =
        NAMES.map(|name| t.tag(name));
    let service = Chain::new()
        .use_(a)
        .use_(b)
        .always(c)
        .use_(d)
        .use_(e)
        .use_(f)
        .use_(g)
        .use_(h)
        .always(i)
        .use_(j)
        .use_(k)
        .use_(l)
        .use_(m)
        .use_(n)
        .use_(o)
        .use_(p)
        .use_(q)
        .use_(r)
        .use_(s)
        .use_(u)
        .get(t.handler("h"))
        .build();
    ask(&service, "GET", "/");
    assert_eq!(t.take(), expected.join(" "));
}

// Matching precedes all steps.

#[test]
fn middleware_and_guards_do_not_run_where_nothing_matches() {
    let t = Trace::default();
    let guard_trace = t.clone();
    let service = Chain::new()
        .always(t.tag("always"))
        .use_(t.tag("use"))
        .guard(move || {
            guard_trace.note("guard");
            std::future::ready(Ok::<(), Error>(()))
        })
        .at("/a", |c| c.use_(t.tag("inner")).get(t.handler("a")))
        .build();
    assert_eq!(status(&service, "GET", "/zzz"), 404);
    assert_eq!(t.take(), ">always <always");
    assert_eq!(status(&service, "POST", "/a"), 405);
    assert_eq!(t.take(), ">always <always");
    assert_eq!(status(&service, "OPTIONS", "/a"), 204);
    assert_eq!(t.take(), ">always <always");
    assert_eq!(status(&service, "GET", "/a"), 200);
    assert_eq!(t.take(), ">always >use guard >inner a <inner <use <always");
}

#[test]
fn an_unknown_path_behind_an_authentication_is_404_and_not_401() {
    async fn deny() -> Result<(), StatusCode> {
        Err(StatusCode::UNAUTHORIZED)
    }
    let service = Chain::new().guard(deny).at("/a", |c| c.get(ok)).build();
    assert_eq!(status(&service, "GET", "/a"), 401);
    assert_eq!(status(&service, "GET", "/b"), 404);
    assert_eq!(status(&service, "POST", "/a"), 405);
}

#[test]
fn always_inside_a_mount_sees_what_reaches_the_mount_matched_or_not() {
    let t = Trace::default();
    let users = Chain::new().always(t.tag("users")).at("/x", |c| c.get(t.handler("x")));
    let service = Chain::new()
        .always(t.tag("root"))
        .mount("/users", users)
        .at("/other", |c| c.get(t.handler("other")))
        .build();
    for (method, path, expected) in [
        ("GET", "/users/x", ">root >users x <users <root"),
        ("GET", "/users/zzz", ">root >users <users <root"),
        ("GET", "/users", ">root >users <users <root"),
        ("POST", "/users/x", ">root >users <users <root"),
        ("GET", "/usersx", ">root <root"),
        ("GET", "/other", ">root other <root"),
        ("POST", "/other", ">root <root"),
    ] {
        ask(&service, method, path);
        assert_eq!(t.take(), expected, "{method} {path}");
    }
}

// 405, OPTIONS, HEAD.

#[test]
fn allow_is_complete_over_split_and_mounted_registrations() {
    let mounted = Chain::new().at("/a", |c| c.delete(ok));
    let service = Chain::new()
        .at("/m/a", |c| c.get(pass).get(ok))
        .use_(pass)
        .mount("/m", mounted)
        .at("/m/a/", |c| c.on(Method::from_bytes(b"PURGE").unwrap(), ok))
        .build();
    let response = ask(&service, "POST", "/m/a");
    assert_eq!(response.status(), 405);
    assert_eq!(header(&response, "allow"), "DELETE, GET, HEAD, OPTIONS, PURGE");
    assert_eq!(header(&response, "content-type"), "application/problem+json");
}

#[test]
fn an_unmatched_method_is_405_and_names_the_path_only_by_its_methods() {
    let service = Chain::new().at("/hello", |c| c.get(ok)).build();
    for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get", "QUERY"] {
        let response = ask(&service, method, "/hello");
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS");
    }
}

#[test]
fn all_means_no_405() {
    let service = Chain::new().at("/a", |c| c.get(ok).all(async |m: Method| m.to_string())).build();
    assert_eq!(answer(&service, "GET", "/a"), "200 ok");
    assert_eq!(answer(&service, "POST", "/a"), "200 POST");
    assert_eq!(answer(&service, "PROPFIND", "/a"), "200 PROPFIND");
    assert_eq!(answer(&service, "OPTIONS", "/a"), "200 OPTIONS");
}

#[test]
fn a_handler_for_every_method_answers_no_connect() {
    async fn tunnel() -> &'static str {
        "tunnel"
    }
    let connect = || http::Method::CONNECT;
    for (case, service, expected) in [
        ("alone", Chain::new().all(ok).build(), "405"),
        ("with a method", Chain::new().get(ok).all(ok).build(), "405"),
        ("before CONNECT", Chain::new().all(ok).on(connect(), tunnel).build(), "200 tunnel"),
        ("after CONNECT", Chain::new().on(connect(), tunnel).all(ok).build(), "200 tunnel"),
        ("after one that passes on", Chain::new().on(connect(), pass).all(ok).build(), "404"),
        (
            "at a path",
            Chain::new().at("/a", |c| c.all(ok).on(connect(), tunnel)).build(),
            "200 tunnel",
        ),
        (
            "outside of the path",
            Chain::new().at("/a", |c| c.on(connect(), pass)).all(ok).build(),
            "404",
        ),
        ("a check before it", Chain::new().all(pass).on(connect(), tunnel).build(), "200 tunnel"),
    ] {
        let found = answer(&service, "CONNECT", "/a");
        assert!(found.starts_with(expected), "{case}: {found}");
    }
}

#[test]
fn options_is_answered_with_allow_unless_a_handler_answers_or_it_is_off() {
    let service = Chain::new()
        .at("/auto", |c| c.get(ok).post(ok))
        .at("/own", |c| c.get(ok).options(async || "own"))
        .build();
    let response = ask(&service, "OPTIONS", "/auto");
    assert_eq!(
        (response.status().as_u16(), header(&response, "allow").as_str()),
        (204, "GET, HEAD, OPTIONS, POST")
    );
    assert_eq!(text(response), "");
    assert_eq!(answer(&service, "OPTIONS", "/own"), "200 own");
    assert_eq!(status(&service, "OPTIONS", "/zzz"), 404);
    let off = Chain::new().no_auto_options().at("/a", |c| c.get(ok)).build();
    let response = ask(&off, "OPTIONS", "/a");
    assert_eq!(
        (response.status().as_u16(), header(&response, "allow").as_str()),
        (405, "GET, HEAD")
    );
}

#[test]
fn options_for_the_whole_server_names_every_method() {
    let service = Chain::new().at("/a", |c| c.get(ok)).at("/b", |c| c.put(ok)).build();
    let response = ask(&service, "OPTIONS", "*");
    assert_eq!(
        (response.status().as_u16(), header(&response, "allow").as_str()),
        (204, "GET, HEAD, OPTIONS, PUT")
    );
}

#[test]
fn a_cors_layer_added_with_always_answers_preflights_on_any_path() {
    let service = Chain::new()
        .always(tower_http::cors::CorsLayer::permissive())
        .at("/a", |c| c.get(ok))
        .build();
    for path in ["/a", "/zzz"] {
        let mut req = request("OPTIONS", path);
        req.headers_mut().insert("origin", HeaderValue::from_static("https://a.example"));
        req.headers_mut().insert("access-control-request-method", HeaderValue::from_static("GET"));
        let response = now(service.handle(req));
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "access-control-allow-origin"), "*");
    }
    assert_eq!(header(&ask(&service, "GET", "/zzz"), "access-control-allow-origin"), "*");
}

#[test]
fn head_is_answered_by_get_without_its_body_but_with_its_length() {
    let t = Trace::default();
    let service = Chain::new().at("/a", |c| c.get(t.handler("hello"))).build();
    let response = ask(&service, "HEAD", "/a");
    assert_eq!(
        (response.status().as_u16(), header(&response, "content-length").as_str()),
        (200, "5")
    );
    assert_eq!(text(response), "");
    assert_eq!(t.take(), "hello");
}

#[test]
fn head_goes_to_get_before_a_later_handler_for_all_methods() {
    let t = Trace::default();
    let service = Chain::new().get(t.handler("get")).all(t.handler("all")).build();
    assert_eq!(status(&service, "HEAD", "/"), 200);
    assert_eq!(t.take(), "get");
}

#[test]
fn a_head_handler_wins_wherever_it_stands() {
    let head = async || [("x-head", "own")];
    let service = Chain::new()
        .at("/before", |c| c.head(head).get(ok))
        .at("/after", |c| c.get(ok).head(head))
        .build();
    for path in ["/before", "/after"] {
        assert_eq!(header(&ask(&service, "HEAD", path), "x-head"), "own", "{path}");
        assert_eq!(answer(&service, "GET", path), "200 ok");
    }
}

#[test]
fn a_refusal_to_head_has_no_body() {
    let service = Chain::new().at("/a", |c| c.post(ok)).build();
    assert_eq!(answer(&service, "HEAD", "/a"), "405");
    assert_eq!(answer(&service, "HEAD", "/b"), "404");
}

// Fallthrough and next.

#[test]
fn a_handler_that_passes_on_reaches_the_next_step_that_matches() {
    let t = Trace::default();
    let service = Chain::new()
        .at("/a", |c| c.get(pass).use_(t.tag("between")).get(pass).post(t.handler("post")))
        .at("/b", |c| c.get(t.handler("b")))
        .use_(t.tag("outer"))
        .at("/a", |c| c.get(t.handler("a2")))
        .all(t.handler("rest"))
        .build();
    assert_eq!(answer(&service, "GET", "/a"), "200 a2");
    assert_eq!(t.take(), ">between >outer a2 <outer <between");
}

#[test]
fn past_the_last_handler_on_no_match_answers_once() {
    let t = Trace::default();
    let service = Chain::new()
        .on_no_match(t.handler("no match"))
        .at("/a", |c| c.get(pass))
        .use_(t.tag("later"))
        .get(pass)
        .build();
    assert_eq!(answer(&service, "GET", "/a"), "200 no match");
    assert_eq!(t.take(), ">later no match <later");
    let plain = Chain::new().get(pass).build();
    assert_eq!(answer(&plain, "GET", "/a"), not_found());
}

#[test]
fn a_middleware_after_the_last_matching_handler_does_not_run() {
    let t = Trace::default();
    let service = Chain::new().get(pass).use_(t.tag("after")).post(ok).build();
    assert_eq!(status(&service, "GET", "/"), 404);
    assert_eq!(t.take(), "");
}

#[test]
fn a_next_that_is_dropped_does_not_run_the_rest() {
    let t = Trace::default();
    async fn stop(_: Next<'_>) -> &'static str {
        "stopped"
    }
    let service = Chain::new().use_(stop).get(t.handler("h")).build();
    assert_eq!(answer(&service, "GET", "/"), "200 stopped");
    assert_eq!(t.take(), "");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_next_drops_the_rest_at_once() {
    struct NoteOnDrop(Trace);
    impl Drop for NoteOnDrop {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    #[derive(Clone)]
    struct Shared(Trace);
    async fn limit(Provided(Shared(t)): Provided<Shared>, next: Next<'_>) -> Response {
        let response = tokio::time::timeout(Duration::from_secs(1), next.run()).await;
        t.note("after timeout");
        response.unwrap_or_default()
    }
    async fn slow(Provided(Shared(t)): Provided<Shared>) {
        let _guard = NoteOnDrop(t);
        std::future::pending::<()>().await;
    }
    let t = Trace::default();
    let service = Chain::new().provide(Shared(t.clone())).use_(limit).get(slow).build();
    assert_eq!(service.handle(request("GET", "/")).await.status(), 200);
    assert_eq!(t.take(), "dropped after timeout");
}

// Patterns.

#[test]
fn static_comes_before_param_and_param_before_catch_all_whatever_the_order() {
    let forward = Chain::new()
        .at("/u/{*rest}", |c| c.get(async || "rest"))
        .at("/u/{id}", |c| c.get(async || "id"))
        .at("/u/me", |c| c.get(async || "me"))
        .build();
    let backward = Chain::new()
        .at("/u/me", |c| c.get(async || "me"))
        .at("/u/{id}", |c| c.get(async || "id"))
        .at("/u/{*rest}", |c| c.get(async || "rest"))
        .build();
    for service in [forward, backward] {
        for (path, expected) in [
            ("/u/me", "200 me"),
            ("/u/you", "200 id"),
            ("/u/you/too", "200 rest"),
            ("/u/me/too", "200 rest"),
        ] {
            assert_eq!(answer(&service, "GET", path), expected, "{path}");
        }
    }
}

#[test]
fn literals_are_literal() {
    let service = Chain::new()
        .at("/a.b", |c| c.get(async || "dot"))
        .at("/a+b", |c| c.get(async || "plus"))
        .at("/(x|y)", |c| c.get(async || "parens"))
        .at("/a b", |c| c.get(async || "blank"))
        .at("/日本", |c| c.get(async || "nihon"))
        .at("/{{x}}", |c| c.get(async || "braces"))
        .build();
    for (path, expected) in [
        ("/a.b", "200 dot"),
        ("/aXb", "404"),
        ("/a+b", "200 plus"),
        ("/aab", "404"),
        ("/(x|y)", "200 parens"),
        ("/x", "404"),
        ("/a%20b", "200 blank"),
        ("/%61%20b", "200 blank"),
        ("/%E6%97%A5%e6%9c%ac", "200 nihon"),
        ("/%7Bx%7D", "200 braces"),
        ("/A.B", "404"),
    ] {
        let found = answer(&service, "GET", path);
        assert!(found.starts_with(expected), "{path}: {found}");
    }
}

#[test]
fn a_slash_at_the_end_makes_no_difference_unless_strict() {
    let service = Chain::new().at("/a", |c| c.get(ok)).at("/b/", |c| c.get(ok)).build();
    for (path, expected) in
        [("/a", 200), ("/a/", 200), ("/a//", 404), ("//a", 404), ("/b", 200), ("/b/", 200)]
    {
        assert_eq!(status(&service, "GET", path), expected, "{path}");
    }
    let strict = Chain::new()
        .strict_slash()
        .at("/a", |c| c.get(async || "bare"))
        .at("/a/", |c| c.get(async || "slash"))
        .at("/b", |c| c.get(ok))
        .build();
    assert_eq!(answer(&strict, "GET", "/a"), "200 bare");
    assert_eq!(answer(&strict, "GET", "/a/"), "200 slash");
    assert_eq!(status(&strict, "GET", "/b/"), 404);
}

#[test]
fn an_invalid_percent_encoding_is_400_and_nothing_runs() {
    let t = Trace::default();
    let service = Chain::new().use_(t.tag("m")).at("/a/{x}", |c| c.get(t.handler("h"))).build();
    for path in ["/a/%", "/a/%2", "/a/%zz", "/a/%ff", "/%ff"] {
        assert_eq!(status(&service, "GET", path), 400, "{path}");
    }
    assert_eq!(t.take(), "");
}

fn build_error<T>(result: Result<T, BuildError>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn conflicts_and_duplicates_name_both_places_and_what_to_change() {
    let line = line!() + 2;
    let error = build_error(
        Chain::new().at("/a/{x}", |c| c.get(ok)).at("/a/{y}", |c| c.post(ok)).try_build(),
    );
    let places = error.matches(&format!("{}:{line}", file!())).count();
    assert_eq!(places, 2, "{error}");
    assert!(error.contains("`/a/{y}`") && error.contains("`/a/{x}`"), "{error}");
    assert!(error.contains("give their parameters the same names"), "{error}");

    let error =
        build_error(Chain::new().at("/a", |c| c.get(ok)).at("/a", |c| c.get(ok)).try_build());
    assert!(error.contains("no request reaches the handler for `GET /a`"), "{error}");
    assert_eq!(error.matches(file!()).count(), 2, "{error}");
}

#[test]
fn a_handler_that_no_request_reaches_is_refused() {
    async fn other() {}
    let unreachable = |result: Result<_, _>| {
        assert!(matches!(result, Err(BuildError::Unreachable { .. })), "{result:?}");
    };
    unreachable(Chain::new().get(ok).get(other).try_build());
    unreachable(Chain::new().all(ok).post(other).try_build());
    unreachable(Chain::new().all(ok).at("/a", |c| c.get(other)).try_build());
    unreachable(Chain::new().at("/a", |c| c.all(ok)).at("/a/", |c| c.get(other)).try_build());
    let reachable = |result: Result<_, _>| assert!(result.is_ok(), "{result:?}");
    reachable(Chain::new().get(pass).get(ok).try_build());
    reachable(Chain::new().get(ok).all(other).try_build());
    reachable(Chain::new().get(ok).head(other).try_build());
    reachable(Chain::new().at("/a", |c| c.get(ok)).get(other).try_build());
}

#[test]
fn middleware_that_covers_nothing_is_refused() {
    async fn refuse() -> Result<(), StatusCode> {
        Err(StatusCode::UNAUTHORIZED)
    }
    let line = line!() + 1;
    let error = build_error(Chain::new().get(ok).use_(pass).try_build());
    assert!(error.contains(&format!("`pass`, added at {}:{line}", file!())), "{error}");
    assert!(error.contains("put it before those that it is for"), "{error}");
    let line = line!() + 2;
    let error =
        build_error(Chain::new().use_at("/amdin", pass).at("/admin", |c| c.get(ok)).try_build());
    assert!(error.contains(&format!("`pass`, added at {}:{line}", file!())), "{error}");
    assert!(error.contains("is under `/amdin`; correct the prefix"), "{error}");

    let nothing = |result: Result<_, _>| {
        assert!(matches!(result, Err(BuildError::CoversNothing { .. })), "{result:?}");
    };
    nothing(Chain::new().use_(pass).try_build());
    nothing(Chain::new().get(ok).guard(refuse).try_build());
    nothing(
        Chain::new().at("/a", |c| c.get(ok)).use_(tower::layer::util::Identity::new()).try_build(),
    );
    nothing(Chain::new().at("/a", |c| c.get(ok).use_(pass)).at("/b", |c| c.get(ok)).try_build());
    nothing(Chain::new().use_(pass).mount("/a", Chain::new().always(pass)).try_build());
    nothing(Chain::new().get(ok).mount("/a", Chain::new().use_(pass).seal()).try_build());
    nothing(Chain::new().use_(pass).on_no_match(ok).try_build());
    nothing(Chain::new().get(ok).use_(None::<BoxMiddleware>).try_build());
    for prefix in ["/b", "/a/c", "/a/b/x", "/{x}/c", "/a/b/{x}", "/files"] {
        nothing(
            Chain::new()
                .at("/files", |c| c.get(ok))
                .use_at(prefix, pass)
                .at("/a/b", |c| c.get(ok))
                .try_build(),
        );
    }
    let moved = Chain::new().use_at("/m/a", pass).at("/a", |c| c.get(ok));
    nothing(Chain::new().mount("/m", moved).try_build());

    let covers = |result: Result<_, _>| assert!(result.is_ok(), "{result:?}");
    covers(Chain::new().get(ok).always(pass).try_build());
    covers(
        Chain::new().get(ok).provide(7).catch_panics().on_error(async |_: Error| ()).try_build(),
    );
    covers(Chain::new().use_(pass).get(ok).try_build());
    covers(Chain::new().use_(pass).at("/a", |c| c.at("/b", |c| c.get(ok))).try_build());
    covers(Chain::new().use_at("/any", pass).get(ok).try_build());
    for (prefix, path) in [
        ("/", "/a"),
        ("/a", "/a"),
        ("/a", "/a/"),
        ("/a/", "/a/b"),
        ("/%61", "/a"),
        ("/{x}/b", "/a/{y}"),
        ("/a-b/c", "/{x}-b/{y}"),
        ("/a/b/c", "/a/{*rest}"),
    ] {
        covers(Chain::new().use_at(prefix, pass).at(path, |c| c.get(ok)).try_build());
    }
    let moved = Chain::new().use_at("/a", pass).at("/a", |c| c.get(ok));
    covers(Chain::new().mount("/m", moved).try_build());
    let files = tower::service_fn(async |_: Request| Ok::<_, Infallible>(Response::default()));
    covers(Chain::new().use_at("/f/inner/x", pass).service("/f", files).try_build());
    // The inner service of a layer answers any path.
    let _ = Chain::new().use_at("/a", pass).use_(pass).into_layer();
}

#[test]
fn a_name_twice_along_one_path_is_refused_across_mounts() {
    let inner = Chain::new().at("/{id}", |c| c.get(ok));
    let error = build_error(Chain::new().mount("/{id}", inner).try_build());
    assert!(error.contains("the parameter `id` stands twice"), "{error}");
}

#[test]
#[should_panic(expected = "write `/a`")]
fn build_panics_where_try_build_fails() {
    let _ = Chain::new().at("a", |c| c.get(ok)).build();
}

// Params, mounts, isolation.

async fn seen(next: Next<'_>) -> Response {
    let pattern = next.matched_path().unwrap_or("none").to_owned();
    let mut response = next.run().await;
    response.headers_mut().insert("x-pattern", HeaderValue::from_str(&pattern).unwrap());
    response
}

#[test]
fn the_matched_pattern_is_visible_before_next_also_outside_the_mount() {
    let users = Chain::new().at("/{id}", |c| c.at("/posts", |c| c.get(ok)));
    let service = Chain::new().always(seen).mount("/users", users).at("/s", |c| c.get(ok)).build();
    for (path, expected) in [
        ("/users/7/posts", "/users/{id}/posts"),
        ("/users/1234567/posts/", "/users/{id}/posts"),
        ("/s", "/s"),
        ("/zzz", "none"),
    ] {
        assert_eq!(header(&ask(&service, "GET", path), "x-pattern"), expected, "{path}");
    }
}

#[test]
fn a_mount_prefix_matches_values_of_any_length() {
    for id in ["1", "abc", "a-much-longer-value"] {
        let posts = Chain::new().at("/posts", |c| c.get(ok));
        let service = Chain::new().mount("/users/{id}", posts).build();
        assert_eq!(answer(&service, "GET", &format!("/users/{id}/posts")), "200 ok");
        assert_eq!(status(&service, "GET", "/users/posts"), 404);
    }
}

#[test]
fn the_uri_under_a_mount_is_untouched() {
    let inner = Chain::new().at("/x", |c| c.get(async |req: AxumRequest| req.uri().to_string()));
    let service = Chain::new().mount("/m", inner).build();
    assert_eq!(answer(&service, "GET", "/m/x?q=1"), "200 /m/x?q=1");
}

#[test]
fn the_rest_of_the_path_is_available_separately() {
    use tower_chain::extract::RestPath;
    async fn rest(path: RestPath) -> String {
        path.to_string()
    }
    async fn seen(next: Next<'_>) -> Response {
        let rest = next.rest_path().to_owned();
        let mut response = next.run().await;
        response.headers_mut().append("x-rest", HeaderValue::from_str(&rest).unwrap());
        response
    }
    let layer = tower::layer::util::Identity::new();
    let inner = Chain::new().use_(seen).use_(layer).at("/b/{c}", |c| c.get(pass).get(rest));
    let service = Chain::new()
        .use_(seen)
        .mount("/m/{x}", inner)
        .at("/{*any}", |c| c.get(rest))
        .use_(seen)
        .get(rest)
        .build();
    for (path, expected, headers) in [
        ("/m/1/b/%2F?q", "200 /", "/b/%2F | /m/1/b/%2F"),
        ("/a/b", "200 /", "/a/b"),
        ("/", "200 /", "/ | /"),
    ] {
        assert_eq!(answer(&service, "GET", path), expected, "{path}");
        assert_eq!(header(&ask(&service, "GET", path), "x-rest"), headers, "{path}");
    }
}

#[test]
fn a_foreign_service_sees_the_path_behind_its_own() {
    let echo = tower::service_fn(async |req: Request| {
        Ok::<_, Infallible>(Response::new(Body::from(req.uri().to_string())))
    });
    let service = Chain::new().service("/s/{t}", echo).at("/s/x/own", |c| c.get(ok)).build();
    for (path, expected) in [
        ("/s/a", "200 /"),
        ("/s/a/", "200 /"),
        ("/s/a/b/c?d=%20e", "200 /b/c?d=%20e"),
        ("/s/a/%2Fb", "200 /%2Fb"),
        ("/s/x/own", "200 ok"),
    ] {
        assert_eq!(answer(&service, "GET", path), expected, "{path}");
    }
}

#[test]
fn middleware_of_a_mount_never_touches_its_siblings() {
    let t = Trace::default();
    let a = Chain::new().use_(t.tag("a")).at("/x", |c| c.get(t.handler("ax")));
    let b = Chain::new().use_(t.tag("b")).at("/y", |c| c.get(t.handler("by")));
    let service = Chain::new().mount("/m", a).mount("/m", b).build();
    ask(&service, "GET", "/m/x");
    assert_eq!(t.take(), ">a ax <a");
    ask(&service, "GET", "/m/y");
    assert_eq!(t.take(), ">b by <b");
}

#[test]
fn each_mount_of_a_chain_has_its_own_layer_state() {
    let t = Trace::default();
    let make = |name: &'static str| {
        let t = t.clone();
        Chain::new().use_(tower::limit::ConcurrencyLimitLayer::new(1)).get(move || {
            t.note(name);
            std::future::pending::<()>()
        })
    };
    let service = Chain::new().mount("/a", make("a")).mount("/b", make("b")).build();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut first = service.handle(request("GET", "/a"));
    let mut second = service.handle(request("GET", "/b"));
    let mut third = service.handle(request("GET", "/b"));
    for future in [&mut first, &mut second, &mut third] {
        assert!(std::pin::Pin::new(future).poll(&mut cx).is_pending());
    }
    let counts = (t.take(), "a b");
    assert_eq!(counts.0, counts.1, "the third waits for the second, the second not for the first");
}

#[test]
fn use_at_covers_a_prefix_by_whole_segments_however_it_is_encoded() {
    let t = Trace::default();
    let service = Chain::new()
        .use_at("/admin", t.tag("admin"))
        .use_at("/users/{id}/private", t.tag("private"))
        .at("/{*rest}", |c| c.get(t.handler("h")))
        .build();
    for (path, expected) in [
        ("/admin", ">admin h <admin"),
        ("/admin/", ">admin h <admin"),
        ("/admin/x", ">admin h <admin"),
        ("/%61dmin/x", ">admin h <admin"),
        ("/administrator", "h"),
        ("/Admin", "h"),
        ("/users/7/private/x", ">private h <private"),
        ("/users/7/public", "h"),
        ("/users//private", "h"),
    ] {
        ask(&service, "GET", path);
        assert_eq!(t.take(), expected, "{path}");
    }
    let inner = Chain::new().use_at("/x", t.tag("x")).at("/{*rest}", |c| c.get(t.handler("h")));
    let service = Chain::new().mount("/m", inner).build();
    ask(&service, "GET", "/m/x/y");
    assert_eq!(t.take(), ">x h <x");
    ask(&service, "GET", "/m/z/x");
    assert_eq!(t.take(), "h");
}

// Errors and hooks.

async fn add_header(next: Next<'_>) -> Response {
    let mut response = next.run().await;
    response.headers_mut().insert("x-request-id", HeaderValue::from_static("7"));
    response
}

async fn fails() -> Result<&'static str, Error> {
    Err(std::io::Error::other("disk on fire"))?
}

#[test]
fn middleware_outside_always_sees_a_response() {
    async fn sees(next: Next<'_>) -> Response {
        let response = next.run().await;
        assert_eq!(response.status(), 500);
        assert!(Error::of(&response).is_some_and(|error| error.source().is_some()));
        response
    }
    let service = Chain::new().use_(sees).get(fails).build();
    assert_eq!(
        answer(&service, "GET", "/"),
        r#"500 {"type":"about:blank","title":"Internal Server Error","status":500}"#
    );
}

#[test]
fn on_error_renders_and_keeps_the_headers_that_middleware_set() {
    async fn render(error: Error) -> (StatusCode, [(&'static str, &'static str); 1], String) {
        (error.status(), [("content-type", "text/x-own")], format!("own: {}", error.title()))
    }
    let service = Chain::new().on_error(render).use_(add_header).at("/a", |c| c.get(fails)).build();
    let response = ask(&service, "GET", "/a");
    assert_eq!(response.status(), 500);
    assert_eq!(header(&response, "x-request-id"), "7");
    assert_eq!(header(&response, "content-type"), "text/x-own");
    assert_eq!(text(response), "own: Internal Server Error");
    let response = ask(&service, "POST", "/a");
    assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS");
    assert_eq!(text(response), "own: Method Not Allowed");
    assert_eq!(answer(&service, "GET", "/zzz"), "404 own: Not Found");
}

#[test]
fn the_innermost_on_error_renders_and_the_error_is_still_seen_outside() {
    let service = Chain::new()
        .use_(async |next: Next<'_>| {
            let response = next.run().await;
            let seen = Error::of(&response).is_some();
            ([("x-seen", seen.to_string())], response)
        })
        .on_error(async |_: Error| "outer")
        .at("/a", |c| c.on_error(async |_: Error| "inner").get(fails))
        .at("/b", |c| c.get(fails))
        .build();
    assert_eq!(answer(&service, "GET", "/a"), "200 inner");
    assert_eq!(header(&ask(&service, "GET", "/a"), "x-seen"), "true");
    assert_eq!(answer(&service, "GET", "/b"), "200 outer");
}

#[test]
fn hooks_hold_for_the_steps_after_them_and_inside_them() {
    let inner = Chain::new()
        .on_no_match(async || (StatusCode::NOT_FOUND, "inner"))
        .on_method_not_allowed(async || (StatusCode::METHOD_NOT_ALLOWED, "inner method"))
        .at("/x", |c| c.get(ok));
    let service = Chain::new()
        .at("/before", |c| c.get(ok))
        .on_no_match(async || (StatusCode::NOT_FOUND, "outer"))
        .mount("/own", inner)
        .mount("/inherits", Chain::new().always(pass).at("/x", |c| c.get(ok)))
        .build();
    for (method, path, expected) in [
        ("GET", "/zzz", "404 outer"),
        ("GET", "/own/zzz", "404 inner"),
        ("POST", "/own/x", "405 inner method"),
        ("GET", "/inherits/zzz", "404 outer"),
    ] {
        assert_eq!(answer(&service, method, path), expected, "{path}");
    }
    assert_eq!(header(&ask(&service, "POST", "/own/x"), "allow"), "GET, HEAD, OPTIONS");
    assert_eq!(status(&service, "POST", "/before"), 405);
}

#[test]
fn a_hook_may_take_what_is_always_provided() {
    #[derive(Clone)]
    struct Name(&'static str);
    let service = Chain::new()
        .provide(Name("shop"))
        .on_no_match(async |Provided(Name(name)): Provided<Name>, method: Method| {
            (StatusCode::NOT_FOUND, format!("{method}: not in the {name}"))
        })
        .at("/a", |c| c.get(ok))
        .build();
    assert_eq!(answer(&service, "GET", "/b"), "404 GET: not in the shop");
}

#[test]
fn a_server_error_never_shows_its_cause() {
    let service = Chain::new().get(fails).build();
    assert!(!answer(&service, "GET", "/").contains("fire"));
}

#[test]
fn a_panic_is_a_500_where_it_is_caught() {
    async fn panics() {
        panic!("secret reason");
    }
    let service = Chain::new().use_(add_header).catch_panics().get(panics).build();
    let response = ask(&service, "GET", "/");
    assert_eq!(
        (response.status().as_u16(), header(&response, "x-request-id").as_str()),
        (500, "7")
    );
    assert!(!text(response).contains("secret"));
}

// Provided values.

#[derive(Clone, Debug, PartialEq)]
struct User(String);

async fn user(headers: HeaderMap) -> Result<User, Error> {
    let name = headers.get("x-user").and_then(|name| name.to_str().ok());
    name.map(|name| User(name.to_owned()))
        .ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
}

#[test]
fn a_guard_refuses_or_provides() {
    let service =
        Chain::new().guard(user).get(async |Provided(User(name)): Provided<User>| name).build();
    assert_eq!(answer(&service, "GET", "/"), problem(401, "Unauthorized", "Who are you?"));
    let mut req = request("GET", "/");
    req.headers_mut().insert("x-user", HeaderValue::from_static("ada"));
    assert_eq!(text(now(service.handle(req))), "ada");
}

#[test]
fn what_is_provided_reaches_guards_middleware_mounts_and_inner_paths() {
    #[derive(Clone)]
    struct Db(u32);
    async fn double(Provided(Db(n)): Provided<Db>) -> Result<u64, Infallible> {
        Ok(u64::from(n) * 2)
    }
    async fn shows(Provided(n): Provided<u64>, method: Method, next: Next<'_>) -> Response {
        let mut response = next.run().await;
        response
            .headers_mut()
            .insert("x-n", HeaderValue::from_str(&format!("{method}{n}")).unwrap());
        response
    }
    fn module() -> Sealed<(Db, u64)> {
        Chain::expecting::<(Db, u64)>()
            .at("/x", |c| {
                c.get(async |Provided(Db(a)): Provided<Db>, Provided(b): Provided<u64>| {
                    format!("{a} {b}")
                })
            })
            .seal()
    }
    let service =
        Chain::new().provide(Db(4)).guard(double).use_(shows).mount("/m", module()).build();
    assert_eq!(answer(&service, "GET", "/m/x"), "200 4 8");
    assert_eq!(header(&ask(&service, "GET", "/m/x"), "x-n"), "GET8");
}

#[test]
fn a_provided_value_that_is_removed_on_the_way_is_a_500_and_no_panic() {
    async fn clears(mut next: Next<'_>) -> Response {
        next.extensions_mut().clear();
        next.run().await
    }
    let service =
        Chain::new().provide(1_u32).use_(clears).get(async |_: Provided<u32>| "ok").build();
    assert_eq!(status(&service, "GET", "/"), 500);
}

// Kinds of middleware.

#[test]
fn middleware_may_be_there_or_not() {
    let t = Trace::default();
    let chosen: Vec<BoxMiddleware> =
        vec![t.tag("x").boxed(), from_fn(pass).boxed(), t.tag("y").boxed()];
    let service = Chain::new()
        .use_(Some(t.tag("some")))
        .use_(None::<super::support::Tag>)
        .use_(chosen)
        .use_(t.tag("when").when(|req| req.uri().path() == "/a"))
        .use_(t.tag("unless").unless(|req| req.uri().path() == "/a"))
        .get(t.handler("h"))
        .build();
    ask(&service, "GET", "/a");
    assert_eq!(t.take(), ">some >x >y >when h <when <y <x <some");
    ask(&service, "GET", "/b");
    assert_eq!(t.take(), ">some >x >y >unless h <unless <y <x <some");
}

#[test]
fn a_middleware_function_may_fail_with_any_error() {
    async fn parses(next: Next<'_>) -> Result<Response, Error> {
        let n = next.uri().query().unwrap_or_default().parse::<u16>()?;
        let mut response = next.run().await;
        response.headers_mut().insert("x-n", n.into());
        Ok(response)
    }
    let service = Chain::new().use_(parses).get(ok).build();
    assert_eq!(header(&ask(&service, "GET", "/?7"), "x-n"), "7");
    assert_eq!(status(&service, "GET", "/?x"), 500);
}

#[test]
fn extractors_of_others_work_and_their_refusals_answer() {
    struct Tea;
    impl<S: Sync> FromRequestParts<S> for Tea {
        type Rejection = StatusCode;
        async fn from_request_parts(
            parts: &mut http::request::Parts,
            _: &S,
        ) -> Result<Self, StatusCode> {
            match parts.headers.contains_key("x-tea") {
                true => Ok(Self),
                false => Err(StatusCode::IM_A_TEAPOT),
            }
        }
    }
    let service = Chain::new().get(async |_: Tea| "tea").build();
    assert_eq!(answer(&service, "GET", "/"), "418");
}

// A chain as a layer, and layers in a chain.

#[tokio::test]
async fn a_chain_is_a_layer_of_an_axum_router() {
    use tower::ServiceExt;
    let t = Trace::default();
    let chain =
        Chain::new().use_(t.tag("m")).provide(User("ada".to_owned())).at("/own", |c| c.get(ok));
    let router = axum::Router::new()
        .route(
            "/a",
            axum::routing::get(async |axum::Extension(User(name)): axum::Extension<User>| name),
        )
        .layer(chain.into_layer());
    for (path, expected, trace) in
        [("/a", "200 ada", ">m <m"), ("/own", "200 ok", ">m <m"), ("/zzz", "404 ", ">m <m")]
    {
        let response = router.clone().oneshot(request("GET", path)).await.unwrap();
        let found = format!("{} {}", response.status().as_u16(), text(response));
        assert_eq!((found.as_str(), t.take().as_str()), (expected, trace), "{path}");
    }
}

#[tokio::test]
async fn one_middleware_is_a_layer_by_itself() {
    use tower::{Layer, ServiceExt};
    let t = Trace::default();
    let service = t
        .tag("m")
        .into_layer()
        .layer(tower::service_fn(async |_: Request| Ok::<_, std::io::Error>(Response::default())));
    assert_eq!(service.oneshot(request("GET", "/")).await.unwrap().status(), 200);
    assert_eq!(t.take(), ">m <m");
}

#[test]
fn layers_of_tower_http_work_inside_a_chain() {
    let service = Chain::new()
        .always(tower_http::set_header::SetResponseHeaderLayer::overriding(
            http::HeaderName::from_static("x-layer"),
            HeaderValue::from_static("1"),
        ))
        .use_(tower_http::compression::CompressionLayer::new())
        .use_(tower_http::limit::RequestBodyLimitLayer::new(4))
        .at("/a", |c| c.post(async |body: String| body))
        .build();
    let mut req = request("POST", "/a");
    *req.body_mut() = Body::from("hello");
    let response = now(service.handle(req));
    assert_eq!((response.status().as_u16(), header(&response, "x-layer").as_str()), (413, "1"));
    assert_eq!(header(&ask(&service, "GET", "/zzz"), "x-layer"), "1");
    let mut req = request("POST", "/a");
    *req.body_mut() = Body::from("hell");
    assert_eq!(text(now(service.handle(req))), "hell");
}

#[tokio::test]
async fn a_layer_that_fails_becomes_an_error_of_the_chain() {
    let service = Chain::new()
        .on_error(async |error: Error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            (StatusCode::GATEWAY_TIMEOUT, cause)
        })
        .use_(tower::timeout::TimeoutLayer::new(Duration::ZERO))
        .get(std::future::pending::<()>)
        .build();
    let response = service.handle(request("GET", "/")).await;
    assert_eq!(response.status(), 504);
    assert_eq!(text(response), "request timed out");
}

// Listing.

#[test]
fn routes_list_patterns_methods_handlers_and_middleware() {
    async fn list() {}
    async fn create() {}
    async fn log(next: Next<'_>) -> Response {
        next.run().await
    }
    let users = Chain::new().use_(pass).get(list).post(create);
    let service = Chain::new()
        .always(log)
        .at("/hello", |c| c.get(ok))
        .mount("/users", users)
        .use_at("/admin", pass)
        .use_(tower_http::compression::CompressionLayer::new())
        .all(ok)
        .build();
    let lines: Vec<String> = service
        .routes()
        .iter()
        .flat_map(|route| {
            route.handlers().iter().map(|handler| {
                format!(
                    "{} {} {} {:?}",
                    route.pattern().unwrap_or("any"),
                    handler.method().map_or("ALL", Method::as_str),
                    handler.name(),
                    handler.middleware().iter().map(|step| step.name()).collect::<Vec<_>>()
                )
            })
        })
        .collect();
    assert_eq!(
        lines,
        [
            r#"/hello GET ok ["log"]"#,
            r#"/users GET list ["log", "pass"]"#,
            r#"/users POST create ["log", "pass"]"#,
            r#"any ALL ok ["log", "pass", "CompressionLayer"]"#,
        ]
    );
    assert_eq!(
        service.to_string(),
        "/\n\
         ├─ always log\n\
         ├─ /hello\n\
         │  └─ GET ok\n\
         ├─ /users\n\
         │  ├─ use pass\n\
         │  ├─ GET list\n\
         │  └─ POST create\n\
         ├─ use_at /admin pass\n\
         ├─ use CompressionLayer\n\
         └─ ALL ok\n"
    );
}

#[test]
fn the_public_types_are_send_sync_and_static() {
    fn assert<T: Send + Sync + 'static>() {}
    assert::<tower_chain::ChainService>();
    assert::<tower_chain::tower::ChainLayer>();
    assert::<Error>();
    assert::<BuildError>();
    assert::<BoxMiddleware>();
    assert::<tower_chain::route::Route>();
    fn send<T: Send>() {}
    send::<tower_chain::tower::ResponseFuture>();
    send::<Sealed>();
    send::<Chain>();
    let response = ask(&Chain::new().at("/a", |c| c.get(ok)).build(), "PUT", "/a");
    assert!(response.headers().contains_key(ALLOW));
}
