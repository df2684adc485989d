//! What the extractors add to parsing and validating by hand: no allocation.

use axum_core::extract::FromRequest;
use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use serde::Deserialize;
use tower_chain::{Body, Json, Valid};
use validator::Validate;

#[derive(Deserialize, Validate)]
struct NewUser {
    #[validate(length(min = 1))]
    name: String,
    #[validate(email)]
    email: String,
}

const BODY: &[u8] = br#"{"name":"Ann","email":"ann@example.org"}"#;

#[test]
fn good_input_costs_no_more_allocations_than_by_hand() {
    let by_hand = || {
        let body = Body::from(Bytes::from_static(BODY));
        let user: NewUser = serde_json::from_slice(BODY).unwrap();
        user.validate().unwrap();
        assert_eq!(user.email.len(), user.name.len() + 12);
        drop(body);
    };
    let extracted = || {
        let req = Request::builder()
            .header("content-type", "application/json")
            .body(Body::from(Bytes::from_static(BODY)))
            .unwrap();
        let valid = Valid::<Json<NewUser>>::from_request(req, &()).now_or_never();
        let Some(Ok(Valid(user))) = valid else { panic!("not ready, or refused") };
        assert_eq!(user.email.len(), user.name.len() + 12);
    };
    let request = || {
        drop(Request::builder().header("content-type", "application/json").body(()).unwrap());
    };
    // Regular expressions are made at their first use.
    by_hand();
    extracted();
    let count = |run: &dyn Fn()| allocation_counter::measure(run).count_total;
    assert_eq!(count(&extracted), count(&by_hand) + count(&request));
}
