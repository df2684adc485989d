//! The behaviours of the draft and of three public implementations, as requests over HTTP.
//!
//! | source | what it is |
//! | --- | --- |
//! | draft | draft-ietf-httpapi-idempotency-key-header-07, with its section |
//! | idempot-js | its suites `framework-adapter-suite.js` and `idempotency.feature` |
//! | axum-idempotent | its tests and its documentation |
//! | Stripe | its documentation of idempotent requests |
//!
//! Where this crate differs on purpose, the row begins with "not".

use std::sync::Arc;

use http::Method;
use tower_chain::middleware::idempotency::MemoryIdempotency;
use tower_chain::test_util::{TestClient, TestRequest};

use super::world::{Effects, TestServer};

/// A request, and the status and kind of its answer: `replayed`, the type of a problem, or nothing.
struct Send {
    user: &'static str,
    method: Method,
    path: &'static str,
    keys: &'static [&'static str],
    body: &'static str,
    kind: &'static str,
    expected: (u16, &'static str),
}

const UUID: &str = "\"8e03978e-40d5-43e8-bc93-6894a57f9324\"";

/// The usual request of a row, under the key of the row.
fn send(status: u16, kind: &'static str) -> Send {
    Send {
        user: "ann",
        method: Method::POST,
        path: "/pay",
        keys: &[UUID],
        body: "payment",
        kind: "text/plain",
        expected: (status, kind),
    }
}

#[tokio::test]
async fn each_behaviour_of_the_draft_and_of_public_implementations() {
    let long: &'static str = Box::leak("a".repeat(255).into_boxed_str());
    let longer: &'static str = Box::leak("a".repeat(256).into_boxed_str());
    let keys = |key: &'static str| -> &'static [&'static str] { Box::leak(Box::new([key])) };
    let (long, longer) = (keys(long), keys(longer));
    // The behaviour, the requests, the number of effects, and whether a key is required.
    let table: Vec<(&str, &str, Vec<Send>, usize, bool)> = vec![
        ("draft 2.6", "the first request runs", vec![send(201, "")], 1, true),
        (
            "draft 2.6",
            "a repetition gets the result of the first request",
            vec![send(201, ""), send(201, "replayed"), send(201, "replayed")],
            1,
            true,
        ),
        (
            "draft 2.7",
            "a missing key is 400 where one is required",
            vec![Send { keys: &[], ..send(400, "missing-key") }],
            0,
            true,
        ),
        (
            "draft 2.7",
            "a key with another payload is 422",
            vec![send(201, ""), Send { body: "other", ..send(422, "other-request") }],
            1,
            true,
        ),
        (
            "draft 2.1",
            "a key is a String",
            vec![Send { keys: &["\"a b, c\\\"d\\\\\""], ..send(201, "") }],
            1,
            true,
        ),
        (
            "draft 2.1",
            "parameters of the Item don't count",
            vec![
                Send { keys: &["\"k\";v=1"], ..send(201, "") },
                Send { keys: &["\"k\""], ..send(201, "replayed") },
            ],
            1,
            true,
        ),
        (
            "draft 2.1",
            "there is one key in a request",
            vec![
                Send { keys: &["\"a\"", "\"b\""], ..send(400, "malformed-key") },
                Send { keys: &["\"a\", \"b\""], ..send(400, "malformed-key") },
            ],
            0,
            true,
        ),
        (
            "draft 2.2",
            "other keys are other requests",
            vec![send(201, ""), Send { keys: &["\"other\""], ..send(201, "") }],
            2,
            true,
        ),
        (
            "draft 5",
            "a key belongs to its client",
            vec![
                send(201, ""),
                Send { user: "bob", ..send(201, "") },
                Send { user: "bob", ..send(201, "replayed") },
                send(201, "replayed"),
            ],
            2,
            true,
        ),
        (
            "draft 1",
            "PATCH is protected, and idempotent methods are not",
            vec![
                Send { method: Method::PATCH, ..send(201, "") },
                Send { method: Method::PATCH, ..send(201, "replayed") },
                Send { method: Method::PUT, ..send(201, "") },
                Send { method: Method::PUT, ..send(201, "") },
                Send { method: Method::DELETE, keys: &[], ..send(201, "") },
                Send { method: Method::GET, keys: &[","], ..send(201, "") },
            ],
            5,
            true,
        ),
        (
            "idempot-js",
            "without a key, a request runs where none is required",
            vec![Send { keys: &[], ..send(201, "") }, Send { keys: &[], ..send(201, "") }],
            2,
            false,
        ),
        (
            "idempot-js",
            "an empty key is 400",
            vec![
                Send { keys: &[""], ..send(400, "malformed-key") },
                Send { keys: &["\"\""], ..send(400, "malformed-key") },
            ],
            0,
            false,
        ),
        (
            "idempot-js, Stripe",
            "keys have at most 255 characters",
            vec![
                Send { keys: long, ..send(201, "") },
                Send { keys: longer, ..send(400, "malformed-key") },
            ],
            1,
            true,
        ),
        (
            "idempot-js",
            "a plain key with a comma is 400",
            vec![Send { keys: &["key-with,comma"], ..send(400, "malformed-key") }],
            0,
            true,
        ),
        (
            "idempot-js",
            "an empty body is a body",
            vec![
                Send { body: "", ..send(201, "") },
                Send { body: "", ..send(201, "replayed") },
                send(422, "other-request"),
            ],
            1,
            true,
        ),
        (
            "not idempot-js",
            "another key with the same body runs: two equal payments are two payments",
            vec![send(201, ""), Send { keys: &["\"other\""], ..send(201, "") }],
            2,
            true,
        ),
        (
            "Stripe",
            "a plain key is the same key as the String",
            vec![
                Send { keys: &["8e03978e-40d5-43e8-bc93-6894a57f9324"], ..send(201, "") },
                send(201, "replayed"),
            ],
            1,
            true,
        ),
        (
            "Stripe",
            "a failure of the client is replayed",
            vec![
                Send { body: "refuse", ..send(422, "") },
                Send { body: "refuse", ..send(422, "replayed") },
            ],
            1,
            true,
        ),
        (
            "not Stripe v1",
            "a 500 is not replayed: its outcome is unknown, and it is not run again",
            vec![
                Send { body: "fail", ..send(500, "") },
                Send { body: "fail", ..send(409, "unknown-outcome") },
                Send { body: "panic", keys: &["p"], ..send(500, "") },
                Send { body: "panic", keys: &["p"], ..send(409, "unknown-outcome") },
            ],
            2,
            true,
        ),
        (
            "Stripe, axum-idempotent",
            "a refusal because of circumstances is not stored",
            vec![Send { body: "busy", ..send(429, "") }, Send { body: "busy", ..send(429, "") }],
            0,
            true,
        ),
        (
            "axum-idempotent",
            "another path or method is another request",
            vec![
                send(201, ""),
                Send { path: "/refund", ..send(201, "") },
                Send { method: Method::PATCH, ..send(201, "") },
                send(201, "replayed"),
            ],
            3,
            true,
        ),
        (
            "axum-idempotent",
            "another query or content type is another request, under the same key",
            vec![
                Send { path: "/pay?to=ann", ..send(201, "") },
                Send { path: "/pay?to=bob", ..send(422, "other-request") },
                Send { path: "/pay?to=ann", kind: "text/html", ..send(422, "other-request") },
                Send { path: "/pay?to=ann", ..send(201, "replayed") },
            ],
            1,
            true,
        ),
        (
            "axum-idempotent",
            "a request that no one is authenticated for does not use its key",
            vec![Send { user: "", ..send(401, "") }, send(201, "")],
            1,
            true,
        ),
    ];
    for (source, behaviour, requests, effects_expected, required) in table {
        let context = format!("{source}: {behaviour}");
        let effects = Effects::default();
        let set = |step: tower_chain::middleware::idempotency::Idempotency<_>| {
            let step = step.key_length(1..=255).unwrap();
            if required { step.required() } else { step }
        };
        let store = Arc::new(MemoryIdempotency::new());
        let server = TestServer::new(store, &effects, set, false);
        let client = TestClient::new(server.api.clone()).over_tcp().await;
        let mut first: Option<String> = None;
        for (at, sent) in requests.into_iter().enumerate() {
            let mut req: TestRequest = client.request(sent.method, sent.path);
            if !sent.user.is_empty() {
                req = req.header("x-user", sent.user);
            }
            for key in sent.keys {
                req = req.header("idempotency-key", *key);
            }
            let answer = req.text(sent.body).content_type(sent.kind).send().await;
            let kind = match answer.header("idempotency-replayed") {
                Some(mark) => {
                    assert_eq!(mark, "true", "{context}");
                    "replayed".to_owned()
                }
                None if answer.text().starts_with('{') => {
                    let kind = answer.json_at("/type");
                    let kind = kind.as_str().unwrap().split_once('#');
                    kind.map_or("", |(_, kind)| kind).to_owned()
                }
                None => String::new(),
            };
            let found = (answer.status().as_u16(), &*kind);
            assert_eq!(found, sent.expected, "request {at} of {context}: {}", answer.text());
            if at == 0 {
                first = Some(answer.text().to_owned());
            }
            if sent.expected.1 == "replayed" && at == 1 && sent.user == "ann" {
                assert_eq!(first.as_deref(), Some(answer.text()), "{context}");
                assert_eq!(answer.header("x-effect"), Some("1"), "{context}");
            }
        }
        assert_eq!(effects.count(), effects_expected, "{context}");
    }
}
