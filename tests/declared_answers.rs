//! Each built-in step declares the refusals that it really answers: status, media type, type of the problem and header fields.
#![cfg(all(feature = "full", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use http::header::HeaderName;
use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use tower_chain::declare::{Answer, DeclaredStep, Field};
use tower_chain::middleware::deprecated::Deprecated;
use tower_chain::middleware::idempotency::{Idempotency, MemoryIdempotency};
use tower_chain::middleware::message_signatures::{
    MessageSignatures, MessageSigner, SignatureAlgorithm, VerifyingKey,
};
use tower_chain::middleware::rate_limit::{LimitClock, LimitKey, Policy, Quota, SlotQueue};
use tower_chain::middleware::shed::Shed;
use tower_chain::middleware::signed::{Signed, WebhookSigner};
use tower_chain::middleware::telemetry::Telemetry;
use tower_chain::test_util::{TestClient, TestRequest, TestResponse};
use tower_chain::{
    Authenticate, Body, BodyLimit, Chain, ChainService, ETag, Error, Json, Jwt, Principal,
    RateLimit, Require, SecurityHeaders, ValidateInput,
};

/// What is wrong with the declarations, as a text for each declared answer of the status; empty if one of them is that of the response.
fn undeclared(api: &ChainService, response: &TestResponse) -> Vec<String> {
    let handlers = api.routes()[0].handlers();
    let (method, _) = response.asked();
    let handler = handlers.iter().find(|handler| handler.method().is_none_or(|own| own == method));
    let steps = handler.unwrap_or(&handlers[0]).middleware();
    let declared = |step: &std::sync::Arc<DeclaredStep>| step.declaration().clone();
    let all: Vec<_> = steps.iter().map(declared).collect();
    let added: Vec<&Field> = all.iter().flat_map(|step| step.added()).collect();
    let answers = all.iter().flat_map(|step| step.answered());
    let found: Vec<String> = answers
        .filter(|answer| answer.status() == response.status())
        .map(|answer| difference(answer, &added, response))
        .collect();
    match found.iter().any(String::is_empty) {
        true => Vec::new(),
        false if found.is_empty() => vec!["the status is not declared".to_owned()],
        false => found,
    }
}

fn difference(answer: &Answer, added: &[&Field], response: &TestResponse) -> String {
    let mut text = String::new();
    let media_type = response.header("content-type").map(|value| value.split(';').next().unwrap());
    if media_type != answer.media_type() {
        text += &format!("media type {media_type:?} instead of {:?}; ", answer.media_type());
    }
    if media_type == Some("application/problem+json") {
        let problem: serde_json::Value = response.json();
        let kind = problem["type"].as_str().filter(|kind| *kind != "about:blank");
        if kind != answer.problem_type() {
            text += &format!("type {kind:?} instead of {:?}; ", answer.problem_type());
        }
    }
    for field in answer.headers().iter().filter(|field| field.is_required()) {
        if response.header(field.name()).is_none() {
            text += &format!("no `{}`; ", field.name());
        }
    }
    for name in response.headers().keys() {
        let of = |field: &&Field| field.name() == name.as_str();
        let is_known = answer.headers().iter().any(|field| of(&field)) || added.iter().any(of);
        if !is_known && !["content-type", "content-length"].contains(&name.as_str()) {
            text += &format!("`{name}` is not declared; ");
        }
    }
    text
}

/// A chain, and the requests of which the last one gets the status.
struct Case {
    name: &'static str,
    api: ChainService,
    requests: Vec<fn(TestClient) -> TestRequest>,
    status: u16,
}

fn case(
    name: &'static str,
    api: ChainService,
    requests: &[fn(TestClient) -> TestRequest],
    status: u16,
) -> Case {
    Case { name, api, requests: requests.to_vec(), status }
}

#[derive(Clone)]
struct User;

async fn user() -> Result<User, Error> {
    Ok(User)
}

#[derive(Clone, Deserialize, validator::Validate)]
struct Order {
    #[validate(range(min = 1))]
    count: u32,
}

#[derive(Deserialize)]
struct Member {}

fn get(client: TestClient) -> TestRequest {
    client.get("/")
}

fn post(client: TestClient) -> TestRequest {
    client.post("/").text("body")
}

fn keyed(client: TestClient) -> TestRequest {
    post(client).header("idempotency-key", "\"key\"")
}

fn idempotent(
    set: impl FnOnce(
        Idempotency<tower_chain::middleware::idempotency::PerPrincipal<User>>,
    ) -> Idempotency<tower_chain::middleware::idempotency::PerPrincipal<User>>,
    status: u16,
) -> ChainService {
    let step = set(Idempotency::per(|_: &User| "ann").max_request_body(100));
    let answer = move || async move {
        (StatusCode::from_u16(status).unwrap(), "x".repeat(usize::from(status)))
    };
    Chain::new().guard(user).use_(step).post(answer).build()
}

fn idempotency() -> Vec<Case> {
    let second: fn(TestClient) -> TestRequest =
        |client| post(client).header("idempotency-key", "\"other\"");
    let full = MemoryIdempotency::new().max_records(1).unwrap();
    vec![
        case("missing key", idempotent(|step| step.required(), 200), &[post], 400),
        case(
            "malformed key",
            idempotent(|step| step, 200),
            &[|client| post(client).header("idempotency-key", "a b")],
            400,
        ),
        case(
            "other request",
            idempotent(|step| step, 200),
            &[keyed, |client| keyed(client).text("other")],
            422,
        ),
        case("unknown outcome", idempotent(|step| step, 500), &[keyed, keyed], 409),
        case("not kept", idempotent(|step| step.max_response_body(10), 200), &[keyed, keyed], 409),
        case(
            "too many keys",
            idempotent(|step| step.max_keys_per_principal(1).unwrap(), 200),
            &[keyed, second],
            429,
        ),
        case("full", idempotent(|step| step.store(full), 200), &[keyed, second], 503),
        case(
            "body",
            idempotent(|step| step, 200),
            &[|client| keyed(client).text("x".repeat(101))],
            413,
        ),
    ]
}

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn signed(body: &'static str, client: TestClient) -> TestRequest {
    let signer = WebhookSigner::standard(SECRET).unwrap();
    let fields = signer.sign("msg_1", SystemTime::now(), body.as_bytes()).unwrap();
    with(client.post("/").text(body), &fields)
}

fn with(request: TestRequest, fields: &HeaderMap) -> TestRequest {
    fields.iter().fold(request, |request, (name, value)| request.header(name, value.clone()))
}

fn deliveries() -> Vec<Case> {
    let signed_step = || Signed::standard(SECRET).unwrap().max_body(10);
    let api = |step: Signed| Chain::new().use_(step).post(async || "handled").build();
    let tiny: fn(TestClient) -> TestRequest = |client| signed("body", client);
    let other: fn(TestClient) -> TestRequest = |client| {
        let signer = WebhookSigner::standard(SECRET).unwrap();
        let fields = signer.sign("msg_2", SystemTime::now(), b"body").unwrap();
        with(client.post("/").text("body"), &fields)
    };
    vec![
        case("unsigned", api(signed_step()), &[post], 400),
        case(
            "another body",
            api(signed_step()),
            &[|client| signed("body", client).text("bodx")],
            401,
        ),
        case("too long", api(signed_step()), &[|client| signed("01234567890", client)], 413),
        case("handled before", api(signed_step()), &[tiny, tiny], 200),
        case("refused", api(signed_step().refuse_duplicates()), &[tiny, tiny], 409),
        case("full", api(signed_step().capacity(1).unwrap()), &[tiny, other], 503),
    ]
}

const KEY: &[u8] = b"a secret of at least thirty-two bytes";

fn message(client: TestClient, set: fn(MessageSigner) -> MessageSigner) -> TestRequest {
    let signer = MessageSigner::new("key", SignatureAlgorithm::HmacSha256, KEY).unwrap();
    let request = http::Request::post("https://example.com/").body(()).unwrap();
    let (mut head, ()) = request.into_parts();
    set(signer).sign_request(&mut head, b"body", SystemTime::now()).unwrap();
    with(client.post("/").text("body"), &head.headers)
}

fn messages() -> Vec<Case> {
    let step = || {
        let key = VerifyingKey::new(SignatureAlgorithm::HmacSha256, KEY).unwrap();
        MessageSignatures::new("https://example.com").unwrap().key("key", key).unwrap()
    };
    let api = |step: MessageSignatures| Chain::new().use_(step).post(async || "handled").build();
    let signed: fn(TestClient) -> TestRequest = |client| message(client, |signer| signer);
    let first: fn(TestClient) -> TestRequest =
        |client| message(client, |signer| signer.nonces(|| "1".to_owned()));
    let second: fn(TestClient) -> TestRequest =
        |client| message(client, |signer| signer.nonces(|| "2".to_owned()));
    vec![
        case("unsigned", api(step()), &[post], 401),
        case("malformed", api(step()), &[|c| post(c).header("signature-input", "(")], 400),
        case(
            "not covered",
            api(step()),
            &[|client| message(client, |signer| signer.components(["@method"]).unwrap())],
            401,
        ),
        case("digest", api(step()), &[|c| message(c, |signer| signer).text("bodx")], 400),
        case("too long", api(step().max_body(3)), &[signed], 413),
        case("no nonce", api(step().nonces()), &[signed], 401),
        case("replay", api(step().nonces()), &[first, first], 401),
        case("full", api(step().nonce_capacity(1).unwrap()), &[first, second], 503),
    ]
}

/// A step, behind which a handler answers each method.
macro_rules! api {
    ($step:expr) => {
        Chain::new().use_($step).all(async || "handled").build()
    };
}

fn limits() -> Vec<Case> {
    let clock = LimitClock::fake;
    let limit = || RateLimit::per_minute(1).clock(clock());
    let peer: fn(TestClient) -> TestRequest = |client| client.get("/").peer(([192, 0, 2, 1], 1));
    let costly = Policy::new("bytes", Quota::per_minute(1)).cost_by(|_| 9);
    let expensive = RateLimit::new(costly).clock(clock());
    let penalty = limit().penalty(Quota::per_minute(1), Duration::from_secs(60));
    let none = RateLimit::concurrent(1).key(LimitKey::everyone());
    let waits = RateLimit::concurrent(1)
        .key(LimitKey::everyone())
        .queue(SlotQueue::new(Duration::from_secs(1)).overall(0));
    // The slot is taken for as long as the test runs.
    let taken = |limit: &RateLimit| {
        let held = Chain::new().use_(limit.clone()).get(async || {
            Body::from_stream(futures_util::stream::pending::<
                Result<bytes::Bytes, std::convert::Infallible>,
            >())
        });
        let request = http::Request::get("/").body(Body::empty()).unwrap();
        let response = held.build().handle(request).now_or_never().unwrap();
        assert_eq!(response.status(), 200);
        std::mem::forget(response);
    };
    taken(&none);
    taken(&waits);
    vec![
        case("quota", api!(limit()), &[peer, peer], 429),
        case("costly", api!(expensive), &[peer], 429),
        case("blocked", api!(penalty), &[peer, peer, peer, peer], 429),
        case("busy", api!(none), &[peer], 429),
        case("queue", api!(waits), &[peer], 503),
    ]
}

fn others() -> Vec<Case> {
    let token = || Authenticate::token("a-secret-of-at-least-16-bytes").unwrap();
    let jwt = || Jwt::<Member>::hs256("a secret of at least thirty-two bytes").unwrap();
    let wrong: fn(TestClient) -> TestRequest = |client| client.get("/").bearer("wrong");
    let twice: fn(TestClient) -> TestRequest =
        |client| client.get("/").bearer("wrong").header("authorization", "Bearer other");
    let required = |scope: &str| {
        Chain::new()
            .use_(Authenticate::tokens([("ann", "a-secret-of-at-least-16-bytes")]).unwrap())
            .use_(Require::<Principal>::scope(scope).unwrap())
            .get(async || "handled")
            .build()
    };
    let checked =
        || Chain::new().use_(ValidateInput::<Json<Order>>::new()).post(async || "handled").build();
    let json: fn(TestClient) -> TestRequest =
        |client| client.post("/").json(&serde_json::json!({ "count": 0 }));
    let etag = || api!(ETag::new());
    vec![
        case(
            "limit",
            Chain::new().use_(BodyLimit::bytes(3)).post(async |text: String| text).build(),
            &[post],
            413,
        ),
        case("token missing", api!(token()), &[get], 401),
        case("token wrong", api!(token()), &[wrong], 401),
        case("token twice", api!(token()), &[twice], 400),
        case("jwt missing", api!(jwt()), &[get], 401),
        case("jwt wrong", api!(jwt()), &[wrong], 401),
        case("jwt twice", api!(jwt()), &[twice], 400),
        case(
            "scope",
            required("admin"),
            &[|client| client.get("/").bearer("a-secret-of-at-least-16-bytes")],
            403,
        ),
        case("rule", checked(), &[json], 422),
        case("no JSON", checked(), &[|c| c.post("/").content_type("application/json")], 400),
        case("not JSON", checked(), &[post], 415),
        case(
            "too much JSON",
            Chain::new()
                .use_(BodyLimit::bytes(3))
                .use_(ValidateInput::<Json<Order>>::new())
                .post(async || "handled")
                .build(),
            &[json],
            413,
        ),
        case("same version", etag(), &[|c| c.get("/").header("if-none-match", "*")], 304),
        case("other version", etag(), &[|c| c.get("/").header("if-match", "\"x\"")], 412),
        case(
            "malformed timeout",
            api!(Shed::new()),
            &[|c| c.get("/").header("grpc-timeout", "x")],
            400,
        ),
        case("deadline", api!(Shed::new()), &[|c| c.get("/").header("grpc-timeout", "0n")], 504),
    ]
}

#[tokio::test]
async fn each_refusal_of_a_step_is_the_one_that_it_declares() {
    let mut wrong = Vec::new();
    let cases = [idempotency(), deliveries(), messages(), limits(), others()];
    for Case { name, api, requests, status } in cases.into_iter().flatten() {
        let client = TestClient::new(api.clone());
        let mut last = None;
        for request in requests {
            last = Some(request(client.clone()).send().await);
        }
        let response = last.unwrap();
        if response.status() != status {
            wrong.push(format!("{name}: {} instead of {status}", response.status()));
        }
        for text in undeclared(&api, &response) {
            wrong.push(format!("{name}: {status} {text}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn each_field_that_a_step_adds_is_the_one_that_it_declares() {
    let deprecated = Deprecated::since("2026-01-01").unwrap().sunset("2027-01-01").unwrap();
    let ids = HeaderName::from_static("x-id");
    let mut wrong = Vec::new();
    for (name, api) in [
        ("deprecated", api!(deprecated)),
        ("ids", Chain::new().always(Telemetry::new().request_ids_in(ids)).get(async || "").build()),
        ("security", api!(SecurityHeaders::new())),
        ("limit", api!(RateLimit::per_minute(1))),
        ("etag", api!(ETag::new())),
    ] {
        let client = TestClient::new(api.clone()).peer(([192, 0, 2, 1], 1));
        let response = client.request(Method::GET, "/").send().await;
        let step = &api.routes()[0].handlers()[0].middleware()[0];
        let added = step.declaration().added();
        for field in added.iter().filter(|field| field.is_required()) {
            if response.header(field.name()).is_none() {
                wrong.push(format!("{name}: no `{}`", field.name()));
            }
        }
        for found in response.headers().keys() {
            let is_known = added.iter().any(|field| field.name() == found.as_str());
            if !is_known && !["content-type", "content-length"].contains(&found.as_str()) {
                wrong.push(format!("{name}: `{found}` is not declared"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
