//! The cost to look up a path, by kind and number of paths.

use std::convert::Infallible;

use axum_core::response::IntoResponse;
use tower_chain::{Chain, Request, StatusCode};

use super::{Case, Subject, get};

async fn bare() -> StatusCode {
    StatusCode::OK
}

fn routed(paths: usize, pattern: fn(usize) -> String, path: fn(usize) -> String) -> Subject {
    let mut chain = Chain::new().at("/", |c| c.get(bare));
    for i in 0..paths {
        chain = chain.at(&pattern(i), |c| c.get(bare));
    }
    Subject::new(chain.into_service(), get(&path(paths / 2)))
}

fn static_paths(paths: usize) -> Subject {
    let path = |i| format!("/api/v1/resource{i}/items");
    routed(paths, path, path)
}

fn params(paths: usize) -> Subject {
    let pattern = |i| format!("/api/v1/resource{i}/{{id}}/items");
    routed(paths, pattern, |i| format!("/api/v1/resource{i}/4711/items"))
}

fn catch_alls(paths: usize) -> Subject {
    let pattern = |i| format!("/api/v1/resource{i}/{{*rest}}");
    routed(paths, pattern, |i| format!("/api/v1/resource{i}/a/b/c.txt"))
}

/// The router alone, with the same response.
fn matchit_alone(paths: usize) -> Subject {
    let mut router = matchit::Router::new();
    for i in 0..paths {
        router.insert(format!("/api/v1/resource{i}/items"), i).unwrap();
    }
    let service = tower::service_fn(move |req: Request| {
        let found = router.at(req.uri().path()).is_ok();
        let status = if found { StatusCode::OK } else { StatusCode::NOT_FOUND };
        std::future::ready(Ok::<_, Infallible>(status.into_response()))
    });
    Subject::new(service, get(&format!("/api/v1/resource{}/items", paths / 2)))
}

pub(super) fn cases() -> Vec<Case> {
    let kinds: [(&str, fn(usize) -> Subject); 4] = [
        ("matchit alone, static", matchit_alone),
        ("static", static_paths),
        ("parameter", params),
        ("catch-all", catch_alls),
    ];
    let mut cases = Vec::new();
    for (kind, build) in kinds {
        for size in [10, 100, 1_000, 10_000] {
            cases.push(Case {
                group: "paths",
                name: format!("{kind}, one of {size}"),
                build,
                size,
            });
        }
    }
    cases
}
