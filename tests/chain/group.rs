//! Groups: scopes without a path.

use std::future::{Ready, ready};

use tower_chain::function::Guard;
use tower_chain::{Chain, Error, Next, Provided, Response, StatusCode};

use crate::support::{Trace, answer, ask, header, now, request, status};

async fn can_read(headers: http::HeaderMap) -> Result<(), Error> {
    can(&headers, "read")
}

async fn can_write(headers: http::HeaderMap) -> Result<(), Error> {
    can(&headers, "write")
}

fn can(headers: &http::HeaderMap, what: &str) -> Result<(), Error> {
    let may = headers.get("x-may").is_some_and(|may| may.to_str().unwrap().contains(what));
    may.then_some(()).ok_or_else(|| Error::new(StatusCode::FORBIDDEN, "Not you"))
}

async fn list() -> &'static str {
    "list"
}

async fn create() -> &'static str {
    "create"
}

/// The same two groups: at the root, at a path, in a group, in a mounted chain, and at a path with strict slashes.
macro_rules! groups {
    ($chain:expr) => {
        $chain
            .group(|c| c.guard(can_read).get(list))
            .group(|c| c.guard(can_write).post(create).delete(create))
    };
}

#[test]
fn each_group_has_its_own_steps_and_allow_lists_all_methods() {
    let services = [
        ("/", groups!(Chain::new()).build()),
        ("/any/path", groups!(Chain::new()).build()),
        ("/posts", Chain::new().at("/posts", |c| groups!(c)).build()),
        ("/posts/", Chain::new().at("/posts", |c| groups!(c)).build()),
        ("/posts", Chain::new().strict_slash().at("/posts", |c| groups!(c)).build()),
        ("/posts/7", Chain::new().at("/posts/{id}", |c| groups!(c)).build()),
        ("/posts", Chain::new().mount("/posts", groups!(Chain::new())).build()),
        ("/posts", Chain::new().group(|c| c.at("/posts", |c| groups!(c))).build()),
        ("/posts", Chain::new().at("/posts", |c| c.group(|c| groups!(c))).build()),
        ("/", Chain::new().group(|c| groups!(c)).build()),
    ];
    for (path, service) in services {
        let cases = [
            ("GET", "read", "200 list"),
            ("HEAD", "read", "200"),
            ("POST", "write", "200 create"),
            ("DELETE", "write", "200 create"),
        ];
        for (method, may, expected) in cases {
            let mut req = request(method, path);
            req.headers_mut().insert("x-may", may.parse().unwrap());
            let response = now(service.handle(req));
            let found =
                format!("{} {}", response.status().as_u16(), crate::support::text(response));
            assert_eq!(found.trim_end(), expected, "{method} {path}");
            let other = if may == "read" { "write" } else { "read" };
            let mut req = request(method, path);
            req.headers_mut().insert("x-may", other.parse().unwrap());
            assert_eq!(now(service.handle(req)).status(), 403, "{method} {path}");
        }
        let allow = "DELETE, GET, HEAD, OPTIONS, POST";
        let response = ask(&service, "PUT", path);
        assert_eq!((response.status().as_u16(), header(&response, "allow").as_str()), (405, allow));
        let response = ask(&service, "OPTIONS", path);
        assert_eq!((response.status().as_u16(), header(&response, "allow").as_str()), (204, allow));
    }
}

#[test]
fn steps_after_a_group_are_not_covered_and_see_no_value_of_it() {
    let t = Trace::default();
    async fn both(n: Provided<u8>, name: Provided<&'static str>) -> String {
        format!("{}{}", n.0, name.0)
    }
    let service = Chain::new()
        .provide(1_u8)
        .at("/x", |c| {
            c.group(|c| {
                let c = c.use_(t.tag("a")).provide("inside").get(both);
                c.at("/sub", |c| c.get(list))
            })
            .use_(t.tag("b"))
            .put(async |n: Provided<u8>| n.0.to_string())
            .at("/sub", |c| c.post(create))
        })
        .build();
    for (method, path, expected, steps) in [
        ("GET", "/x", "200 1inside", ">a <a"),
        ("PUT", "/x", "200 1", ">b <b"),
        ("GET", "/x/sub", "200 list", ">a <a"),
        ("POST", "/x/sub", "200 create", ">b <b"),
    ] {
        assert_eq!(answer(&service, method, path), expected, "{method} {path}");
        assert_eq!(t.take(), steps, "{method} {path}");
    }
    for (path, allow) in [("/x", "GET, HEAD, OPTIONS, PUT"), ("/x/sub", "GET, HEAD, OPTIONS, POST")]
    {
        assert_eq!(header(&ask(&service, "DELETE", path), "allow"), allow);
    }
}

#[test]
fn a_request_that_a_group_passes_on_reaches_the_next_one() {
    async fn passes(next: Next<'_>) -> Response {
        next.run().await
    }
    for (service, expected) in [
        (Chain::new().group(|c| c.get(passes)).group(|c| c.get(list)).build(), "200 list"),
        (Chain::new().group(|c| c.get(passes)).get(list).build(), "200 list"),
        (
            Chain::new().at("/", |c| c.group(|c| c.get(passes)).group(|c| c.get(list))).build(),
            "200 list",
        ),
        (Chain::new().on_no_match(async || "none").group(|c| c.get(passes)).build(), "200 none"),
        (Chain::new().group(|c| c.on_no_match(async || "inner").get(passes)).build(), "200 inner"),
    ] {
        assert_eq!(answer(&service, "GET", "/"), expected);
    }
}

#[test]
fn always_steps_and_hooks_of_a_group_run_for_its_path() {
    let t = Trace::default();
    let service = Chain::new()
        .at("/a", |c| {
            c.group(|c| c.always(t.tag("one")).get(list))
                .group(|c| c.on_error(async |error: Error| error.title().to_owned()).post(create))
        })
        .build();
    assert_eq!(answer(&service, "PUT", "/a"), "200 Method Not Allowed");
    assert_eq!(t.take(), ">one <one");
    assert_eq!(answer(&service, "POST", "/a"), "200 create");
    assert_eq!(t.take(), "");
    assert_eq!(status(&service, "PUT", "/b"), 404);
}

#[test]
fn a_group_is_checked_as_a_scope_is() {
    let unreachable = Chain::new().group(|c| c.get(list)).group(|c| c.get(list)).try_build();
    assert!(unreachable.unwrap_err().to_string().contains("no request reaches"));
    let covers_nothing = Chain::new().group(|c| c.guard(can_read)).get(list).try_build();
    assert!(covers_nothing.unwrap_err().to_string().contains("`can_read`"));
}

#[test]
fn a_group_is_a_line_of_the_tree_and_its_steps_are_listed() {
    let service = groups!(Chain::new()).build();
    let tree = "/\n├─ group\n│  ├─ guard can_read\n│  └─ GET list\n└─ group\n   ├─ guard can_write\n   \
                ├─ POST create\n   └─ DELETE create\n";
    assert_eq!(service.to_string(), tree);
    let handlers = service.routes()[0].handlers();
    let steps: Vec<_> = handlers
        .iter()
        .map(|handler| {
            handler.middleware().iter().map(|step| step.name()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(steps, ["can_read", "can_write", "can_write"]);
}

#[derive(Clone)]
struct User(&'static str);

async fn user(headers: http::HeaderMap) -> User {
    User(if headers.contains_key("x-may") { "create" } else { "read" })
}

/// A function that returns a guard: the type of the guard is named by its arguments and its value.
fn needs(permission: &'static str) -> impl Guard<(Provided<User>,), Value = ()> {
    move |Provided(User(may)): Provided<User>| async move {
        let refusal = || Error::new(StatusCode::FORBIDDEN, "Not you");
        (may == permission).then_some(()).ok_or_else(refusal)
    }
}

/// The same without the trait, with a permission that is not `Copy`, and a guard that provides a value.
fn needs_one_of(
    permissions: Vec<String>,
) -> impl Fn(Provided<User>) -> Ready<Result<Granted, StatusCode>> + Send + Sync + 'static {
    move |Provided(User(may))| {
        let granted = permissions.iter().any(|permission| permission == may);
        ready(granted.then_some(Granted(may)).ok_or(StatusCode::FORBIDDEN))
    }
}

#[derive(Clone)]
struct Granted(&'static str);

#[test]
fn a_function_returns_a_guard() {
    let service = Chain::new()
        .guard(async |headers: http::HeaderMap| Ok::<_, Error>(user(headers).await))
        .at("/posts", |c| {
            c.group(|c| c.guard(needs("read")).get(list))
                .group(|c| c.guard(needs("create")).post(create))
                .group(|c| {
                    c.guard(needs_one_of(vec!["create".to_owned(), "admin".to_owned()]))
                        .put(async |granted: Provided<Granted>| granted.0.0)
                })
        })
        .build();
    for (method, plain, creator) in
        [("GET", 200, 403), ("POST", 403, 200), ("PUT", 403, 200), ("PATCH", 405, 405)]
    {
        assert_eq!(status(&service, method, "/posts"), plain, "{method}");
        let mut req = request(method, "/posts");
        req.headers_mut().insert("x-may", "x".parse().unwrap());
        assert_eq!(now(service.handle(req)).status(), creator, "{method}");
    }
}

/// Chains of which one part of a path is in a scope further inside, and the other part comes after it. `$steps` are between them.
macro_rules! split_paths {
    ($steps:expr) => {{
        let steps = $steps;
        [
            (
                "a group",
                Chain::new()
                    .at("/a", |c| steps!(c.group(|c| c.get(list)), steps).post(create))
                    .build(),
            ),
            (
                "a path",
                Chain::new()
                    .at("/a", |c| steps!(c.at("/", |c| c.get(list)), steps).post(create))
                    .build(),
            ),
            (
                "a mount",
                Chain::new()
                    .at("/a", |c| steps!(c.mount("/", Chain::new().get(list)), steps).post(create))
                    .build(),
            ),
            ("the root", steps!(Chain::new().group(|c| c.get(list)), steps).post(create).build()),
            (
                "two groups",
                Chain::new()
                    .at("/a", |c| steps!(c.group(|c| c.get(list)), steps).group(|c| c.post(create)))
                    .build(),
            ),
            (
                "two levels",
                Chain::new()
                    .at("/a", |c| {
                        c.group(|c| {
                            steps!(c.group(|c| c.group(|c| c.get(list))), steps).post(create)
                        })
                    })
                    .build(),
            ),
            (
                "a mounted chain",
                Chain::new()
                    .mount("/a", steps!(Chain::new().group(|c| c.get(list)), steps).post(create))
                    .build(),
            ),
            (
                "two mounts",
                steps!(Chain::new().mount("/a", Chain::new().get(list)), steps)
                    .mount("/a", Chain::new().post(create))
                    .build(),
            ),
        ]
    }};
}

#[test]
fn a_refusal_passes_all_steps_that_are_for_a_part_of_its_path() {
    let t = Trace::default();
    macro_rules! steps {
        ($chain:expr, $t:ident) => {
            $chain.always($t.tag("cors"))
        };
    }
    for (case, service) in split_paths!(&t) {
        for (method, expected) in [("PUT", 405), ("OPTIONS", 204)] {
            let response = ask(&service, method, "/a");
            assert_eq!(response.status(), expected, "{case}: {method}");
            assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS, POST", "{case}: {method}");
            assert_eq!(t.take(), ">cors <cors", "{case}: {method}");
        }
        assert_eq!(answer(&service, "GET", "/a"), "200 list", "{case}");
        assert_eq!(t.take(), "", "{case}");
        assert_eq!(answer(&service, "POST", "/a"), "200 create", "{case}");
        assert_eq!(t.take(), ">cors <cors", "{case}");
    }
}

#[test]
fn a_hook_for_a_part_of_a_path_answers_its_405() {
    macro_rules! steps {
        ($chain:expr, $hook:ident) => {
            $chain.on_method_not_allowed($hook)
        };
    }
    async fn hook() -> (StatusCode, &'static str) {
        (StatusCode::METHOD_NOT_ALLOWED, "hook")
    }
    for (case, service) in split_paths!(hook) {
        assert_eq!(answer(&service, "PUT", "/a"), "405 hook", "{case}");
        let response = ask(&service, "PUT", "/a");
        assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS, POST", "{case}");
        assert_eq!(status(&service, "OPTIONS", "/a"), 204, "{case}");
    }
}

#[test]
fn automatic_options_are_off_for_a_path_if_one_of_its_chains_turned_them_off() {
    for (case, service) in [
        (
            "the first",
            Chain::new()
                .mount("/a", Chain::new().no_auto_options().get(list))
                .mount("/a", Chain::new().post(create))
                .build(),
        ),
        (
            "the second",
            Chain::new()
                .mount("/a", Chain::new().post(create))
                .mount("/a", Chain::new().no_auto_options().get(list))
                .build(),
        ),
        (
            "a group",
            Chain::new()
                .at("/a", |c| c.post(create).group(|c| c.no_auto_options().get(list)))
                .build(),
        ),
    ] {
        let response = ask(&service, "OPTIONS", "/a");
        assert_eq!(response.status(), 405, "{case}");
        assert_eq!(header(&response, "allow"), "GET, HEAD, POST", "{case}");
        assert!(!service.routes()[0].answers_options(), "{case}");
    }
}
