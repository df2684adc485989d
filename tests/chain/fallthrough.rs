//! Handlers that pass a request on: to the next handler of their pattern, then to broader patterns.

use proptest::prelude::*;
use tower_chain::extract::{MatchedPath, Path};
use tower_chain::{Chain, ChainService, Next, Response};

use super::support::{Trace, answer, ask, header, status};

async fn ok() -> &'static str {
    "ok"
}

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

async fn matched(path: MatchedPath, Path(values): Path<Vec<String>>) -> String {
    format!("{} {}", path.as_str(), values.join(","))
}

#[test]
fn a_request_that_is_passed_on_reaches_broader_patterns() {
    let service = |chain: fn() -> ChainService| chain();
    for (case, service, path, expected) in [
        (
            "a parameter",
            service(|| {
                Chain::new()
                    .at("/users/me", |c| c.get(pass))
                    .at("/users/{id}", |c| c.get(matched))
                    .build()
            }),
            "/users/me",
            "200 /users/{id} me",
        ),
        (
            "written before",
            service(|| {
                Chain::new()
                    .at("/users/{id}", |c| c.get(matched))
                    .at("/users/me", |c| c.get(pass))
                    .build()
            }),
            "/users/me",
            "200 /users/{id} me",
        ),
        (
            "a catch-all",
            service(|| {
                Chain::new()
                    .at("/a/{b}/c", |c| c.get(pass))
                    .at("/{*rest}", |c| c.get(matched))
                    .build()
            }),
            "/a/1/c",
            "200 /{*rest} a,1,c",
        ),
        (
            "two in turn",
            service(|| {
                Chain::new()
                    .at("/{*rest}", |c| c.get(matched))
                    .at("/a/{b}", |c| c.get(pass))
                    .at("/a/b", |c| c.get(pass))
                    .build()
            }),
            "/a/b",
            "200 /{*rest} a,b",
        ),
        (
            "overlapping",
            service(|| {
                Chain::new().at("/a/{x}", |c| c.get(pass)).at("/{y}/b", |c| c.get(matched)).build()
            }),
            "/a/b",
            "200 /{y}/b a",
        ),
        (
            "overlapping elsewhere",
            service(|| {
                Chain::new().at("/a/{x}", |c| c.get(pass)).at("/{y}/b", |c| c.get(matched)).build()
            }),
            "/a/c",
            "404",
        ),
        (
            "a part of a segment",
            service(|| {
                Chain::new().at("/f-{n}", |c| c.get(pass)).at("/{file}", |c| c.get(matched)).build()
            }),
            "/f-1",
            "200 /{file} f-1",
        ),
        (
            "a slash at the end",
            service(|| {
                Chain::new()
                    .at("/a/{x}", |c| c.get(pass))
                    .at("/{y}/{z}", |c| c.get(matched))
                    .build()
            }),
            "/a/c/",
            "200 /{y}/{z} a,c",
        ),
        (
            "its own pattern first",
            service(|| {
                Chain::new()
                    .at("/a", |c| c.get(pass))
                    .at("/{x}", |c| c.get(ok))
                    .at("/a", |c| c.get(async || "own"))
                    .build()
            }),
            "/a",
            "200 own",
        ),
        (
            "no path",
            service(|| {
                Chain::new()
                    .at("/a", |c| c.get(pass))
                    .at("/{x}", |c| c.get(matched))
                    .get(ok)
                    .build()
            }),
            "/a",
            "200 /{x} a",
        ),
        (
            "no path is left",
            service(|| Chain::new().at("/a", |c| c.get(pass)).get(ok).build()),
            "/a",
            "200 ok",
        ),
        (
            "another method",
            service(|| {
                Chain::new()
                    .at("/a", |c| c.get(pass))
                    .at("/{x}", |c| c.post(ok))
                    .at("/{*y}", |c| c.get(matched))
                    .build()
            }),
            "/a",
            "200 /{*y} a",
        ),
        (
            "a service",
            service(|| {
                let echo = tower::service_fn(async |req: tower_chain::Request| {
                    Ok::<_, std::convert::Infallible>(Response::new(
                        req.uri().path().to_owned().into(),
                    ))
                });
                Chain::new().service("/files", echo).at("/files/{name}", |c| c.get(pass)).build()
            }),
            "/files/x",
            "200 /x",
        ),
        (
            "into another mount",
            service(|| {
                let one = Chain::new().at("/x", |c| c.get(pass));
                let two = Chain::new().at("/{y}", |c| c.get(matched));
                Chain::new().mount("/m", one).mount("/{n}", two).build()
            }),
            "/m/x",
            "200 /{n}/{y} m,x",
        ),
    ] {
        let got = answer(&service, "GET", path);
        match expected {
            "404" => assert!(got.starts_with("404"), "{case}: {got}"),
            expected => assert_eq!(got, expected, "{case}"),
        }
    }
}

#[test]
fn middleware_around_both_patterns_runs_once() {
    let t = Trace::default();
    let service = Chain::new()
        .always(t.tag("always"))
        .use_(t.tag("both"))
        .use_(tower::layer::util::Identity::new())
        .at("/{x}", |c| c.always(t.tag("broad always")).use_(t.tag("broad")).get(t.handler("x")))
        .use_(t.tag("later"))
        .at("/a", |c| c.use_(t.tag("own")).get(pass))
        .on_no_match(t.handler("none"))
        .always(t.tag("last"))
        .build();
    assert_eq!(answer(&service, "GET", "/a"), "200 x");
    assert_eq!(
        t.take(),
        ">always >both >later >own >last >broad always >broad x <broad <broad always <last <own <later <both <always"
    );
    assert_eq!(answer(&service, "GET", "/b"), "200 x");
    assert_eq!(t.take(), ">always >both >broad always >broad x <broad <broad always <both <always");
}

#[test]
fn a_prefix_protects_a_broader_pattern_too() {
    let deny = || tower_chain::from_fn(async |_: Next<'_>| http::StatusCode::FORBIDDEN);
    // The handler that passes on sets another path, under the prefix. The service receives that path.
    async fn rewrite(mut next: Next<'_>) -> Response {
        *next.uri_mut() = http::Uri::from_static("/files/admin/x");
        next.run().await
    }
    let echo = tower::service_fn(async |_: tower_chain::Request| {
        Ok::<_, std::convert::Infallible>(Response::new("secret".into()))
    });
    let service = Chain::new()
        .use_at("/files/admin", deny())
        .at("/files/open", |c| c.get(rewrite))
        .service("/files", echo)
        .build();
    assert_eq!(status(&service, "GET", "/files/open"), 403);
    assert_eq!(status(&service, "GET", "/files/admin/y"), 403);
    assert_eq!(status(&service, "GET", "/files/other"), 200);
}

#[test]
fn a_mount_with_its_own_hook_keeps_what_is_passed_on() {
    let mount = Chain::new().on_no_match(async || "mount").at("/x", |c| c.get(pass));
    let service = Chain::new().mount("/m", mount).at("/{*rest}", |c| c.get(ok)).build();
    assert_eq!(answer(&service, "GET", "/m/x"), "200 mount");
}

#[test]
fn other_methods_follow_the_same_order() {
    let service = Chain::new()
        .at("/a", |c| c.get(pass).options(pass).delete(pass))
        .at("/{x}", |c| c.get(ok).options(async || "options").put(ok))
        .build();
    assert_eq!(status(&service, "HEAD", "/a"), 200);
    assert_eq!(answer(&service, "OPTIONS", "/a"), "200 options");
    assert_eq!(status(&service, "DELETE", "/a"), 404);
    let refused = ask(&service, "PUT", "/a");
    assert_eq!(refused.status(), 405);
    assert_eq!(header(&refused, "allow"), "DELETE, GET, HEAD, OPTIONS");
}

#[test]
fn a_catch_all_that_passes_on_is_refused_where_it_does_not_run() {
    let error = |result: Result<ChainService, tower_chain::BuildError>| {
        result.err().map(|error| error.to_string())
    };
    for chain in [
        Chain::new()
            .at("/api/{*rest}", |c| c.all(pass))
            .at("/api/users", |c| c.get(ok))
            .try_build(),
        Chain::new()
            .at("/api/users", |c| c.get(ok))
            .at("/api/{*rest}", |c| c.all(pass))
            .try_build(),
        Chain::new().at("/api/{*rest}", |c| c.get(pass)).at("/api/{id}", |c| c.all(ok)).try_build(),
        Chain::new()
            .mount("/api", Chain::new().at("/{*rest}", |c| c.all(pass)).at("/a/b", |c| c.get(ok)))
            .try_build(),
        Chain::new()
            .mount("/api", Chain::new().at("/{*rest}", |c| c.all(pass).get(ok)))
            .at("/api/a-{b}", |c| c.get(ok))
            .try_build(),
    ] {
        let error = error(chain).expect("it must not build");
        assert!(error.contains("write `.use_at(\"/api\", pass)`"), "{error}");
        assert!(error.contains(file!()), "{error}");
    }
    let root =
        error(Chain::new().at("/{*rest}", |c| c.all(pass)).at("/a", |c| c.get(ok)).try_build());
    assert!(root.expect("it must not build").contains("`.use_at(\"/\", pass)`"));
    for chain in [
        // Nothing more specific below it, another method, or a handler that answers.
        Chain::new()
            .at("/api/{*rest}", |c| c.get(pass))
            .at("/{x}/users", |c| c.head(ok))
            .try_build(),
        Chain::new().at("/api/{*rest}", |c| c.all(pass)).at("/other", |c| c.get(ok)).try_build(),
        Chain::new()
            .at("/api/{*rest}", |c| c.post(pass))
            .at("/api/users", |c| c.get(ok))
            .try_build(),
        Chain::new().at("/api/{*rest}", |c| c.all(ok)).at("/api/users", |c| c.get(ok)).try_build(),
        Chain::new().at("/api/{*rest}", |c| c.all(pass)).at("/api", |c| c.get(ok)).try_build(),
        Chain::new().use_at("/api", pass).at("/api/users", |c| c.get(ok)).try_build(),
    ] {
        assert_eq!(error(chain), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_visits_the_patterns_in_their_order(
        table in prop::collection::btree_map(
            prop::collection::vec(prop::sample::select(vec!["a", "b", "{}", "{*}"]), 1..4), any::<bool>(), 0..8),
        answered: bool,
        shuffle in any::<u64>(),
        paths in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4), 1..8),
    ) {
        // A catch-all is the last segment, and answers.
        let table: Vec<(Vec<&str>, bool)> = table.into_iter()
            .filter(|(pattern, _)| !pattern[..pattern.len() - 1].contains(&"{*}"))
            .map(|(pattern, passes)| { let passes = passes && pattern.last() != Some(&"{*}"); (pattern, passes) })
            .collect();
        let t = Trace::default();
        let tag = |name: String| t.tag(name.leak());
        let mut rows: Vec<usize> = (0..table.len()).collect();
        rows.sort_by_key(|row| (*row as u64 + 1).wrapping_mul(shuffle | 1).rotate_left(17));
        let mut chain = Chain::new().use_(t.tag("root")).at("/never/never/never/never", |c| c.get(ok));
        for row in rows {
            let (pattern, passes) = &table[row];
            let text: String = pattern.iter().enumerate().map(|(at, segment)| match *segment {
                "{}" => format!("/{{p{at}}}"),
                "{*}" => "/{*rest}".to_owned(),
                literal => format!("/{literal}"),
            }).collect();
            let name = format!("{row}");
            chain = match passes {
                true => chain.at(&text, |c| c.use_(tag(name)).get(pass)),
                false => chain.at(&text, |c| c.use_(tag(name)).get(ok)),
            };
        }
        let service = match answered {
            true => chain.get(async || "anywhere").build(),
            false => chain.build(),
        };
        // Literals before parameters before catch-alls, from the left.
        let rank = |segment: &&str| match *segment { "{*}" => 2, "{}" => 1, _ => 0 };
        let mut order: Vec<usize> = (0..table.len()).collect();
        order.sort_by_key(|row| table[*row].0.iter().map(|s| (rank(s), *s)).collect::<Vec<_>>());
        for path in &paths {
            let matches = |pattern: &[&str]| {
                let rest = pattern.last() == Some(&"{*}");
                let fixed = pattern.len() - usize::from(rest);
                (if rest { path.len() > fixed } else { path.len() == fixed })
                    && pattern[..fixed].iter().zip(path).all(|(segment, value)| *segment == "{}" || segment == value)
            };
            let mut visited = Vec::new();
            let mut expected = if answered { "200 anywhere" } else { "404" };
            for row in order.iter().filter(|row| matches(&table[**row].0)) {
                visited.push(row.to_string());
                if !table[*row].1 {
                    expected = "200 ok";
                    break;
                }
            }
            let text: String = path.iter().map(|segment| format!("/{segment}")).collect();
            let got = answer(&service, "GET", &text);
            prop_assert!(got.starts_with(expected), "{}: {} instead of {}", text, got, expected);
            let mut trace: Vec<String> = t.take().split(' ').filter(|entry| entry.starts_with('>')).map(|entry| entry[1..].to_owned()).collect();
            if visited.is_empty() && !answered {
                prop_assert!(trace.is_empty());
                continue;
            }
            prop_assert_eq!(trace.remove(0), "root", "{}", text);
            prop_assert_eq!(trace, visited, "{}", text);
        }
    }
}

#[test]
fn a_guard_checks_each_match() {
    // Tenants may not see this path, whichever handler passed the request on to it.
    async fn no_tenants(path: MatchedPath) -> Result<(), http::StatusCode> {
        match path.as_str().starts_with("/{tenant}") {
            true => Err(http::StatusCode::FORBIDDEN),
            false => Ok(()),
        }
    }
    let service = Chain::new()
        .guard(no_tenants)
        .at("/a/{x}", |c| c.get(pass))
        .at("/{tenant}/{x}", |c| c.get(ok))
        .build();
    assert_eq!(status(&service, "GET", "/b/1"), 403);
    assert_eq!(status(&service, "GET", "/a/1"), 403);
}

#[test]
fn a_check_in_front_of_a_service_also_sees_connect() {
    async fn deny(_: Next<'_>) -> http::StatusCode {
        http::StatusCode::UNAUTHORIZED
    }
    let echo = || {
        tower::service_fn(async |_: tower_chain::Request| {
            Ok::<_, std::convert::Infallible>(Response::new("secret".into()))
        })
    };
    let service = Chain::new().all(deny).service("/", echo()).build();
    let mut layered = tower::Layer::layer(&Chain::new().all(deny).into_layer(), echo());
    for method in ["GET", "CONNECT"] {
        assert_eq!(status(&service, method, "/admin"), 401, "{method}");
        let response = super::support::now(tower::Service::call(
            &mut layered,
            super::support::request(method, "/admin"),
        ));
        assert_eq!(response.unwrap().status(), 401, "{method}");
    }
    let error = Chain::new()
        .at("/admin", |c| c.all(deny).service("/", echo()))
        .try_build()
        .expect_err("the check doesn't run for what is under the path")
        .to_string();
    assert!(error.contains("write `.use_at(\"/admin\", deny)`"), "{error}");
    let index = Chain::new().at("/files", |c| c.get(pass).service("/", echo()));
    assert_eq!(status(&index.build(), "GET", "/files"), 200);
}

#[test]
fn a_handler_for_every_method_never_answers_connect() {
    let connect = || http::Method::CONNECT;
    let tunnel = async || "tunnel";
    for (case, service, expected) in [
        ("alone", Chain::new().all(ok).build(), "405"),
        ("after", Chain::new().on(connect(), pass).all(ok).build(), "404"),
        (
            "after, at a path",
            Chain::new().at("/a", |c| c.on(connect(), pass).all(ok)).build(),
            "404",
        ),
        ("elsewhere", Chain::new().at("/a", |c| c.on(connect(), pass)).all(ok).build(), "404"),
        ("before", Chain::new().all(ok).on(connect(), tunnel).build(), "200 tunnel"),
        (
            "before, at a path",
            Chain::new().at("/a", |c| c.all(ok).on(connect(), tunnel)).build(),
            "200 tunnel",
        ),
        (
            "around",
            Chain::new().all(ok).at("/a", |c| c.on(connect(), tunnel)).build(),
            "200 tunnel",
        ),
        ("in front", Chain::new().all(pass).on(connect(), tunnel).build(), "200 tunnel"),
    ] {
        let got = answer(&service, "CONNECT", "/a");
        assert!(got.starts_with(expected), "{case}: {got}");
    }
}

#[test]
fn a_mount_with_its_own_hook_keeps_what_is_passed_on_at_its_own_path() {
    let mount = || Chain::new().on_no_match(async || "mount").get(pass);
    for service in [
        Chain::new().mount("/m", mount()).at("/{page}", |c| c.get(ok)).build(),
        Chain::new().mount("/m", mount()).get(ok).build(),
        Chain::new().mount("/m", mount()).at("/{*rest}", |c| c.get(ok)).build(),
    ] {
        for path in ["/m", "/m/", "/m/x"] {
            assert_eq!(answer(&service, "GET", path), "200 mount", "{path}");
        }
    }
    // The mount has a catch-all of its own.
    let mount =
        Chain::new().on_no_match(async || "mount").at("/{*path}", |c| c.get(async || "rest"));
    let service = Chain::new().mount("/m", mount).at("/{*rest}", |c| c.get(ok)).build();
    for (path, expected) in [("/m", "mount"), ("/m/", "mount"), ("/m/x", "rest"), ("/n", "ok")] {
        assert_eq!(answer(&service, "GET", path), format!("200 {expected}"), "{path}");
    }
}

#[test]
fn a_get_handler_of_a_path_answers_head_before_a_head_handler_without_a_path() {
    let t = Trace::default();
    let service = Chain::new()
        .at("/a", |c| c.get(t.handler("a")))
        .at("/b", |c| c.head(t.handler("b")).get(t.handler("no")))
        .at("/c", |c| c.post(ok))
        .head(t.handler("root"))
        .build();
    for (path, expected) in [("/a", "a"), ("/b", "b"), ("/c", "root"), ("/d", "root")] {
        assert_eq!(status(&service, "HEAD", path), 200, "{path}");
        assert_eq!(t.take(), expected, "{path}");
    }
}
