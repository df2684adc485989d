//! The extractors allocate no more than parsing and validating without this crate.

use std::future::Future;

use allocation_counter::measure;
use axum_core::extract::{FromRequest, FromRequestParts};
use bytes::Bytes;
use futures_util::FutureExt;
use http::Uri;
use serde::Deserialize;
use tower_chain::middleware::garde::Garde;
use tower_chain::{Body, Form, Json, Query, Request, Valid};
use validator::Validate;

#[derive(Deserialize, Validate, garde::Validate)]
struct NewUser {
    #[validate(length(min = 1))]
    #[garde(length(min = 1))]
    name: String,
    #[validate(email)]
    #[garde(email)]
    email: String,
}

#[derive(Deserialize, Validate)]
struct Order {
    #[validate(nested)]
    lines: Vec<Line>,
}

#[derive(Deserialize, Validate)]
struct Line {
    #[validate(length(min = 1))]
    article: String,
    #[validate(range(min = 1))]
    count: u32,
}

const USER: &[u8] = br#"{"name":"Ann","email":"ann@example.org"}"#;
const ORDER: &[u8] =
    br#"{"lines":[{"article":"a","count":1},{"article":"b","count":2},{"article":"c","count":3}]}"#;
const PAIRS: &str = "name=Ann+B&email=ann%40example.org";

fn post(kind: &'static str, body: &'static [u8]) -> Request {
    let body = Body::from(Bytes::from_static(body));
    http::Request::post("/").header("content-type", kind).body(body).unwrap()
}

fn get() -> Request {
    let mut req = Request::new(Body::empty());
    *req.uri_mut() = Uri::from_static("/?name=Ann+B&email=ann%40example.org");
    req
}

fn ready<T, E>(future: impl Future<Output = Result<T, E>>) -> T {
    match future.now_or_never() {
        Some(Ok(output)) => output,
        _ => panic!("not ready, or refused"),
    }
}

/// Allocations and bytes, after warm-up runs, because regular expressions are compiled at their first use.
fn counted(run: impl Fn()) -> (u64, u64) {
    run();
    run();
    let info = measure(run);
    (info.count_total, info.bytes_total)
}

#[test]
fn good_input_costs_no_more_allocations_than_by_hand() {
    let head = |(allocations, bytes): (u64, u64), request: fn() -> Request| {
        let (more, more_bytes) = counted(|| drop(request()));
        (allocations + more, bytes + more_bytes)
    };
    let json = || post("application/json", USER);
    let by_hand = counted(|| serde_json::from_slice::<NewUser>(USER).unwrap().validate().unwrap());
    let ours = counted(|| drop(ready(Valid::<Json<NewUser>>::from_request(json(), &()))));
    assert_eq!(ours, head(by_hand, json), "json");

    let json = || post("application/json", ORDER);
    let by_hand = counted(|| serde_json::from_slice::<Order>(ORDER).unwrap().validate().unwrap());
    let ours = counted(|| {
        let Valid(order) = ready(Valid::<Json<Order>>::from_request(json(), &()));
        assert_eq!(
            order.lines.iter().map(|line| line.article.len() as u32 * line.count).sum::<u32>(),
            6
        );
    });
    assert_eq!(ours, head(by_hand, json), "nested json");

    let form = || post("application/x-www-form-urlencoded", PAIRS.as_bytes());
    let pairs = || serde_html_form::from_str::<NewUser>(PAIRS).unwrap();
    let by_hand = counted(|| pairs().validate().unwrap());
    let ours = counted(|| drop(ready(Valid::<Form<NewUser>>::from_request(form(), &()))));
    assert_eq!(ours, head(by_hand, form), "form");

    let ours = counted(|| {
        let (mut parts, _) = get().into_parts();
        let Valid(user) = ready(Valid::<Query<NewUser>>::from_request_parts(&mut parts, &()));
        assert_eq!(user.name.len() + user.email.len(), 20);
    });
    assert_eq!(ours, head(by_hand, get), "query");

    let by_hand = counted(|| garde::Validate::validate(&pairs()).unwrap());
    let ours = counted(|| drop(ready(Garde::<Form<NewUser>>::from_request(form(), &()))));
    assert_eq!(ours, head(by_hand, form), "form, by garde");
}
