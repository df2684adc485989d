//! Values of one type that several scopes provide: each step gets the value of its own scope.

use std::convert::Infallible;

use axum::extract::State;
use http::HeaderValue;
use tower::Layer;
use tower_chain::{Chain, ChainService, Next, Provided, Request, Response};

use super::support::{ask, text};

#[derive(Clone)]
struct Tenant(&'static str);

async fn tenant(Provided(Tenant(name)): Provided<Tenant>) -> &'static str {
    name
}

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

/// Passes the request on, and adds the tenant to the response.
async fn seen(Provided(Tenant(name)): Provided<Tenant>, next: Next<'_>) -> Response {
    let mut response = next.run().await;
    response.headers_mut().append("seen", HeaderValue::from_static(name));
    response
}

async fn as_guard() -> Result<Tenant, Response> {
    Ok(Tenant("guard"))
}

#[test]
fn a_step_gets_the_value_of_its_own_scope() {
    let outer = || Chain::new().provide(Tenant("outer"));
    let inner = |name| Chain::new().provide(Tenant(name)).get(pass);
    let behind = tower::service_fn(async |req: Request| {
        let Tenant(name) = req.extensions().get().unwrap();
        Ok::<_, Infallible>(Response::new((*name).into()))
    });
    // What the steps saw, from the first to the last, then the answer.
    let rows: Vec<(&str, ChainService, &str, &str)> = vec![
        (
            "a handler after a mount",
            outer().mount("/a", inner("inner")).get(tenant).build(),
            "/a",
            " outer",
        ),
        (
            "a handler inside is not affected",
            outer()
                .mount("/a", Chain::new().provide(Tenant("inner")).get(seen).get(tenant))
                .build(),
            "/a",
            "inner inner",
        ),
        (
            "a handler after a path of the same chain",
            outer().at("/a", |c| c.provide(Tenant("inner")).get(pass)).get(tenant).build(),
            "/a",
            " outer",
        ),
        (
            "a handler after a group",
            outer()
                .at("/a", |c| c.group(|c| c.provide(Tenant("inner")).get(pass)).get(tenant))
                .build(),
            "/a",
            " outer",
        ),
        (
            "a broader pattern",
            outer().at("/{x}", |c| c.get(tenant)).mount("/a", inner("inner")).build(),
            "/a",
            " outer",
        ),
        (
            "middleware and then a handler",
            outer().mount("/a", inner("inner")).use_(seen).get(tenant).build(),
            "/a",
            "outer outer",
        ),
        (
            "three levels",
            outer()
                .mount(
                    "/a",
                    Chain::new()
                        .provide(Tenant("middle"))
                        .mount("/b", inner("inner"))
                        .at("/{x}", |c| c.get(seen)),
                )
                .get(tenant)
                .build(),
            "/a/b",
            "middle outer",
        ),
        (
            "a sibling with a value of its own",
            outer()
                .mount("/a", inner("first"))
                .mount("/{x}", Chain::new().provide(Tenant("second")).get(seen))
                .at("/{*x}", |c| c.get(tenant))
                .build(),
            "/a",
            "second outer",
        ),
        (
            // The first pass ends after `two`. The second pass is in `one` again, whose steps don't run again.
            "a scope that is entered again",
            outer()
                .mount(
                    "/a",
                    Chain::new()
                        .provide(Tenant("one"))
                        .at("/b", |c| c.get(seen))
                        .at("/{x}", |c| c.get(seen)),
                )
                .mount("/a", Chain::new().provide(Tenant("two")).at("/b", |c| c.get(seen)))
                .get(tenant)
                .build(),
            "/a/b",
            "one two one outer",
        ),
        (
            "a guard inside",
            outer().mount("/a", Chain::new().guard(as_guard).get(pass)).get(tenant).build(),
            "/a",
            " outer",
        ),
        (
            "a guard outside that runs before the scope is entered again",
            Chain::new()
                .mount(
                    "/a",
                    Chain::new()
                        .provide(Tenant("inner"))
                        .at("/b", |c| c.get(seen))
                        .at("/{x}", |c| c.get(seen)),
                )
                .guard(as_guard)
                .at("/a/b", |c| c.get(seen))
                .get(tenant)
                .build(),
            "/a/b",
            "inner guard inner guard",
        ),
        (
            "a hook of the scope outside",
            outer()
                .on_no_match(tenant)
                .mount("/a", Chain::new().provide(Tenant("inner")).at("/b", |c| c.get(tenant)))
                .build(),
            "/a/c",
            " outer",
        ),
        (
            "a hook of the scope inside",
            outer()
                .mount(
                    "/a",
                    Chain::new()
                        .provide(Tenant("inner"))
                        .on_no_match(tenant)
                        .at("/b", |c| c.get(tenant)),
                )
                .build(),
            "/a/c",
            " inner",
        ),
        (
            "a path that does not match inside",
            outer()
                .mount("/a", Chain::new().provide(Tenant("inner")).at("/b", |c| c.get(tenant)))
                .get(tenant)
                .build(),
            "/a/c",
            " outer",
        ),
        (
            "a path that does not match inside, and a catch-all",
            outer()
                .mount("/a", Chain::new().provide(Tenant("inner")).at("/b", |c| c.get(tenant)))
                .at("/{*x}", |c| c.get(tenant))
                .build(),
            "/a/c",
            " outer",
        ),
        (
            "a method that does not match inside",
            outer()
                .mount("/a", Chain::new().provide(Tenant("inner")).post(tenant))
                .get(tenant)
                .build(),
            "/a",
            " outer",
        ),
        (
            "two mounts at one path",
            outer()
                .mount("/a", Chain::new().provide(Tenant("inner")).post(tenant))
                .mount("/a", Chain::new().provide(Tenant("second")).get(tenant))
                .build(),
            "/a",
            " second",
        ),
        (
            "the state of extractors",
            Chain::new()
                .with_state(Tenant("outer"))
                .mount("/a", Chain::new().with_state(Tenant("inner")).get(pass))
                .get(async |State(Tenant(name)): State<Tenant>| name)
                .build(),
            "/a",
            " outer",
        ),
        (
            "the service behind a layer, in another chain",
            Chain::new()
                .provide(Tenant("around"))
                .service("/", outer().mount("/a", inner("inner")).into_layer().layer(behind))
                .build(),
            "/a",
            " outer",
        ),
        (
            "a hook for another method",
            outer()
                .on_method_not_allowed(tenant)
                .mount("/a", Chain::new().provide(Tenant("inner")).post(tenant))
                .build(),
            "/a",
            " outer",
        ),
    ];
    let mut wrong = Vec::new();
    for (case, service, path, expected) in rows {
        let response = ask(&service, "GET", path);
        let mut seen: Vec<String> = response
            .headers()
            .get_all("seen")
            .iter()
            .map(|name| name.to_str().unwrap().to_owned())
            .collect();
        seen.reverse();
        let seen = seen.join(" ");
        let found = format!("{seen} {}", text(response));
        if found != expected {
            wrong.push(format!("{case}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
