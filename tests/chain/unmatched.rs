//! Which scope a request without a handler belongs to, compared with a reference implementation.

use http::StatusCode;
use proptest::prelude::*;
use tower_chain::{Chain, Next, Response, Sealed};

use super::support::{Trace, answer, ask, status};

async fn ok() -> &'static str {
    "ok"
}

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

async fn page() -> &'static str {
    "page"
}

async fn api() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "api")
}

#[test]
fn steps_written_elsewhere_do_not_move_a_request_to_another_scope() {
    let t = Trace::default();
    let mount = || Chain::new().always(t.tag("cors")).at("/users", |c| c.get(ok));
    let chains = [
        ("alone", Chain::new().mount("/api", mount()).build()),
        (
            "a hook at the root before it",
            Chain::new()
                .on_no_match(api)
                .mount("/api", mount())
                .at("/api/health", |c| c.get(ok))
                .build(),
        ),
        (
            "a hook at the root after it",
            Chain::new()
                .mount("/api", mount())
                .at("/api/health", |c| c.get(ok))
                .on_no_match(api)
                .build(),
        ),
        (
            "a static sibling before it",
            Chain::new().at("/api/health", |c| c.get(ok)).mount("/api", mount()).build(),
        ),
        (
            "a sibling with middleware",
            Chain::new()
                .mount("/api", mount())
                .at("/api/health/{x}/y", |c| c.use_(pass).get(ok))
                .build(),
        ),
        (
            "a sibling mount",
            Chain::new()
                .on_no_match(api)
                .mount("/api/health", Chain::new().at("/live", |c| c.get(ok)))
                .mount("/api", mount())
                .build(),
        ),
        (
            "a mount with a parameter",
            Chain::new()
                .on_no_match(api)
                .at("/api/health", |c| c.get(ok))
                .mount("/{any}", mount())
                .build(),
        ),
    ];
    for (case, service) in &chains {
        for (method, path) in [
            ("GET", "/api/zzz"),
            ("OPTIONS", "/api/health/x"),
            ("POST", "/api/users/1"),
            ("GET", "/api/health/live/x"),
        ] {
            assert_eq!(status(service, method, path), 404, "{case}: {method} {path}");
            assert_eq!(t.take(), ">cors <cors", "{case}: {method} {path}");
        }
    }
}

#[test]
fn a_mount_with_its_own_hook_owns_its_prefix() {
    let mount = || Chain::new().on_no_match(api).at("/users/{id}", |c| c.get(ok));
    let plain = || Chain::new().at("/users/{id}", |c| c.get(ok));
    let spa = || {
        tower::service_fn(async |_: tower_chain::Request| {
            Ok::<_, std::convert::Infallible>(Response::new("page".into()))
        })
    };
    let chains = [
        (
            "a catch-all",
            Chain::new()
                .at("/{*rest}", |c| c.get(page))
                .mount("/v1", mount())
                .mount("/v2", plain())
                .build(),
        ),
        (
            "a catch-all after it",
            Chain::new()
                .mount("/v1", mount())
                .mount("/v2", plain())
                .at("/{*rest}", |c| c.all(page))
                .build(),
        ),
        (
            "a handler without a path",
            Chain::new().mount("/v1", mount()).mount("/v2", plain()).get(page).build(),
        ),
        (
            "a service",
            Chain::new().mount("/v1", mount()).mount("/v2", plain()).service("/", spa()).build(),
        ),
        (
            "parameters",
            Chain::new()
                .at("/{a}/{b}/{c}", |c| c.get(page))
                .at("/{a}/{b}", |c| c.get(page))
                .mount("/v1", mount())
                .mount("/v2", plain())
                .at("/{a}", |c| c.get(page))
                .build(),
        ),
    ];
    for (case, service) in &chains {
        assert_eq!(answer(service, "GET", "/v1/users/7"), "200 ok", "{case}");
        assert_eq!(status(service, "POST", "/v1/users/7"), 405, "{case}");
        for path in ["/v1/nope", "/v1/users", "/v1/users/7/x", "/v1/%61"] {
            if *case == "parameters" && path.ends_with("/x") {
                // Four segments: no pattern beside the mount matches.
                continue;
            }
            assert_eq!(answer(service, "GET", path), "404 api", "{case}: {path}");
            let outside = path.replace("/v1", "/v2");
            assert_eq!(answer(service, "GET", &outside), "200 page", "{case}: {outside}");
        }
        for path in ["/v1", "/v1/"] {
            assert_eq!(answer(service, "GET", path), "404 api", "{case}: {path}");
        }
        assert_eq!(answer(service, "GET", "/v10"), "200 page", "{case}");
    }
    // A more specific path, written outside of the mount, still answers.
    let service = Chain::new().mount("/v1", mount()).at("/v1/about", |c| c.get(page)).build();
    assert_eq!(answer(&service, "GET", "/v1/about"), "200 page");
    assert_eq!(answer(&service, "GET", "/v1/about/x"), "404 api");
    // The inner service of a layer is no exception.
    let inner = tower::service_fn(async |_: tower_chain::Request| {
        Ok::<_, std::convert::Infallible>(Response::new("page".into()))
    });
    let mut layered = tower::Layer::layer(&Chain::new().mount("/v1", mount()).into_layer(), inner);
    for (path, expected) in [("/v1/nope", 404), ("/v2", 200)] {
        let response = super::support::now(tower::Service::call(
            &mut layered,
            super::support::request("GET", path),
        ));
        assert_eq!(response.unwrap().status(), expected, "{path}");
    }
}

/// A scope of a random tree.
#[derive(Clone, Debug)]
struct Scope {
    /// Literals, or `{x}`.
    path: Vec<&'static str>,
    always: bool,
    hook: bool,
    children: Vec<Scope>,
}

fn scope() -> impl Strategy<Value = Scope> {
    let path = || {
        let segment = prop_oneof![3 => prop::sample::select(vec!["a", "b"]), 1 => Just("{x}")];
        prop::collection::vec(segment, 1..3)
    };
    let flags = || (prop::bool::weighted(0.4), prop::bool::weighted(0.25));
    let leaf = (path(), flags()).prop_map(|(path, (always, hook))| Scope {
        path,
        always,
        hook,
        children: Vec::new(),
    });
    leaf.prop_recursive(3, 12, 4, move |inner| {
        (path(), flags(), prop::collection::vec(inner, 0..4))
            .prop_map(|(path, (always, hook), children)| Scope { path, always, hook, children })
    })
}

/// A scope with its whole path, and the names of the steps that run for it.
#[derive(Clone)]
struct Flat {
    path: Vec<&'static str>,
    listens: bool,
    owns: bool,
    trace: Vec<String>,
    answer: String,
}

/// Writes the scopes of the tree as a list, each path once: of two scopes with one path, the second is removed from the tree.
fn flatten(scopes: &mut Vec<Scope>, outer: &Flat, flat: &mut Vec<Flat>) {
    scopes.retain_mut(|scope| {
        let path: Vec<&str> = outer.path.iter().chain(&scope.path).copied().collect();
        if flat.iter().any(|other| other.path == path) {
            return false;
        }
        let name = path.concat();
        let mut trace = outer.trace.clone();
        if scope.always {
            trace.push(name.clone());
        }
        let answer = if scope.hook { name } else { outer.answer.clone() };
        let this =
            Flat { path, listens: scope.always || scope.hook, owns: scope.hook, trace, answer };
        flat.push(this.clone());
        flatten(&mut scope.children, &this, flat);
        true
    });
}

fn build(scopes: &[Scope], outer: &[&'static str], t: &Trace, start: Sealed) -> Sealed {
    let mut chain = Chain::new().mount("/", start);
    for scope in scopes {
        let path: Vec<&'static str> = outer.iter().chain(&scope.path).copied().collect();
        let name: &'static str = path.concat().leak();
        let inner = build(&scope.children, &path, t, Chain::new().at("/h", |c| c.get(ok)).seal());
        let hook = move || std::future::ready((StatusCode::NOT_FOUND, name));
        // Each parameter needs a name of its own.
        let text: String = scope
            .path
            .iter()
            .enumerate()
            .map(|(at, segment)| match *segment {
                "{x}" => format!("/{{p{}}}", outer.len() + at),
                literal => format!("/{literal}"),
            })
            .collect();
        chain = match (scope.always, scope.hook) {
            (false, false) => chain.mount(&text, Chain::new().mount("/", inner)),
            (true, false) => chain.mount(&text, Chain::new().always(t.tag(name)).mount("/", inner)),
            (false, true) => chain.mount(&text, Chain::new().on_no_match(hook).mount("/", inner)),
            (true, true) => chain
                .mount(&text, Chain::new().always(t.tag(name)).on_no_match(hook).mount("/", inner)),
        };
    }
    chain.seal()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_belongs_to_the_innermost_scope_around_its_path(
        mut scopes in prop::collection::vec(scope(), 0..5),
        root_hook: bool,
        catch_all: bool,
        paths in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..6), 1..8),
    ) {
        let t = Trace::default();
        let root = Flat {
            path: Vec::new(),
            listens: true,
            owns: false,
            trace: vec!["root".to_owned()],
            answer: if root_hook { "none" } else { "" }.to_owned(),
        };
        let mut flat = Vec::new();
        flatten(&mut scopes, &root, &mut flat);
        flat.push(root);
        let tree = build(&scopes, &[], &t, Chain::new().at("/h", |c| c.get(ok)).seal());
        let none = async || (StatusCode::NOT_FOUND, "none");
        let rest = Chain::new().at("/{*rest}", |c| c.get(page)).seal();
        let root = Chain::new().always(t.tag("root"));
        let service = match (root_hook, catch_all) {
            (false, false) => root.mount("/", tree).build(),
            (true, false) => root.on_no_match(none).mount("/", tree).build(),
            (false, true) => root.mount("/", tree).mount("/", rest).build(),
            (true, true) => root.on_no_match(none).mount("/", tree).mount("/", rest).build(),
        };
        for path in paths {
            let around = |scope: &&Flat| {
                scope.path.len() <= path.len() + 1
                    && scope.path.iter().zip(path.iter().chain(&["zz"])).all(|(segment, value)| *segment == "{x}" || segment == value)
            };
            let text: String = path.iter().chain(&["zz"]).map(|segment| format!("/{segment}")).collect();
            let owned = flat.iter().filter(around).any(|scope| scope.owns);
            let got = answer(&service, "GET", &text);
            let trace = t.take();
            if catch_all && !owned {
                prop_assert_eq!(got, "200 page", "{}", text);
                prop_assert_eq!(trace, ">root <root", "{}", text);
                continue;
            }
            // More segments first; then, from the left, a literal before a parameter.
            let wanted = flat.iter().filter(around).filter(|scope| scope.listens).min_by_key(|scope| {
                (usize::MAX - scope.path.len(), scope.path.iter().map(|segment| *segment == "{x}").collect::<Vec<_>>())
            }).unwrap();
            let enter = wanted.trace.iter().map(|name| format!(">{name}"));
            let leave = wanted.trace.iter().rev().map(|name| format!("<{name}"));
            prop_assert_eq!(trace, enter.chain(leave).collect::<Vec<_>>().join(" "), "{}", text);
            match wanted.answer.as_str() {
                "" => prop_assert!(got.starts_with("404 {"), "{}: {}", text, got),
                name => prop_assert_eq!(got, format!("404 {name}"), "{}", text),
            }
        }
    }
}

#[test]
fn a_405_below_an_owned_prefix_belongs_to_its_path() {
    let mount = Chain::new().on_no_match(api).at("/users", |c| c.get(ok));
    let service = Chain::new().mount("/v1", mount).at("/{*rest}", |c| c.all(page)).build();
    let response = ask(&service, "DELETE", "/v1/users");
    assert_eq!(response.status(), 405);
    assert_eq!(super::support::header(&response, "allow"), "GET, HEAD, OPTIONS");
    assert_eq!(status(&service, "OPTIONS", "/v1/users"), 204);
}

#[test]
fn a_mount_at_the_path_of_the_mount_around_it_is_a_scope_of_its_own() {
    let t = Trace::default();
    let inner = || Chain::new().always(t.tag("inner")).at("/x", |c| c.get(ok));
    for (case, service, path) in [
        ("once", Chain::new().mount("/", inner()).build(), "/zzz"),
        ("twice", Chain::new().mount("/", Chain::new().mount("/", inner())).build(), "/zzz"),
        (
            "in a mount",
            Chain::new().mount("/m", Chain::new().mount("/", inner())).build(),
            "/m/zzz",
        ),
    ] {
        assert_eq!(status(&service, "GET", path), 404, "{case}");
        assert_eq!(t.take(), ">inner <inner", "{case}");
    }
}
