//! Settings, bounds, principals, and stores that fail.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method};
use tower_chain::chain::Dependent;
use tower_chain::middleware::idempotency::{
    Idempotency, IdempotencyError, IdempotencyStore, KeyOutcome, KeyReservation, KeyState,
    KeyUpdate, MemoryIdempotency, PerPrincipal, check_store,
};
use tower_chain::test_util::{TestClient, TestResponse};
use tower_chain::{Authenticate, Body, Chain, Claims, Jwt, Principal};

use super::world::{User, user};

const SECOND: Duration = Duration::from_secs(1);

fn step() -> Idempotency<PerPrincipal<User>> {
    Idempotency::per(|user: &User| user.0.clone())
}

fn api(step: Idempotency<PerPrincipal<User>>) -> (TestClient, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let handler = move |body: String| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { body }
    };
    (TestClient::new(Chain::new().guard(user).use_(step).post(handler).build()), calls)
}

async fn post(client: &TestClient, user: &str, key: &str, body: &str) -> TestResponse {
    client.post("/").header("x-user", user).header("idempotency-key", key).text(body).send().await
}

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_has_the_properties_of_stores() {
    check_store(&MemoryIdempotency::new()).await;
}

#[test]
fn wrong_settings_fail_when_they_are_made() {
    let zero = |setting| Err(IdempotencyError::Zero { setting });
    let time = |setting| Err(IdempotencyError::Time { setting });
    let day = Duration::from_secs(24 * 3600);
    for (result, expected) in [
        (step().methods([]).map(drop), Err(IdempotencyError::NoMethods)),
        (step().methods([Method::PUT]).map(drop), Ok(())),
        (step().key_length(0..=9).map(drop), Err(IdempotencyError::KeyLength)),
        (step().key_length(9..=256).map(drop), Err(IdempotencyError::KeyLength)),
        #[expect(clippy::reversed_empty_ranges, reason = "the error of the caller")]
        (step().key_length(9..=8).map(drop), Err(IdempotencyError::KeyLength)),
        (step().age(Duration::ZERO).map(drop), time("age")),
        (step().age(day * 400).map(drop), time("age")),
        (step().lease(Duration::ZERO).map(drop), time("lease")),
        (step().store_timeout(Duration::ZERO).map(drop), time("store_timeout")),
        (step().age(SECOND).map(drop), Ok(())),
        (step().lease(day * 2).map(drop), Err(IdempotencyError::LeaseAboveAge)),
        (
            step().lease(SECOND * 2).and_then(|s| s.age(SECOND)).map(drop),
            Err(IdempotencyError::LeaseAboveAge),
        ),
        (step().max_keys_per_principal(0).map(drop), zero("max_keys_per_principal")),
        (MemoryIdempotency::new().max_records(0).map(drop), zero("max_records")),
    ] {
        assert_eq!(result, expected);
        if let Err(error) = result {
            assert!(!error.to_string().is_empty());
        }
    }
}

#[tokio::test]
async fn keys_without_quotes_can_be_refused() {
    let (client, calls) = api(step().strings_only());
    post(&client, "ann", "k", "x").await.assert_problem(400);
    post(&client, "ann", "\"k\"", "x").await.assert_status(200);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn principals_of_all_kinds_have_their_own_keys() {
    #[derive(serde::Deserialize)]
    struct Member {
        sub: String,
    }
    let secret = "a secret that has thirty-two bytes";
    let users =
        Authenticate::users([("ann", "correct horse battery"), ("bob", "staple battery horse")]);
    let by_principal = Chain::new()
        .use_(users.unwrap())
        .use_(Idempotency::per(|principal: &Principal| principal.name().to_owned()))
        .post(async |principal: Principal| principal.name().to_owned())
        .build();
    let client = TestClient::new(by_principal);
    for (user, password) in [
        ("ann", "correct horse battery"),
        ("bob", "staple battery horse"),
        ("ann", "correct horse battery"),
    ] {
        let req = client.post("/").basic(user, password).header("idempotency-key", "k");
        req.text("x").send().await.assert_text(user);
    }
    // It compiles with claims as well.
    let by_claims = Chain::new()
        .use_(Jwt::<Member>::hs256(secret).unwrap())
        .use_(Idempotency::per(|claims: &Claims<Member>| claims.sub.clone()))
        .post(async || "paid")
        .build();
    let req = TestClient::new(by_claims).post("/").header("idempotency-key", "k");
    req.text("x").send().await.assert_problem(401);
}

#[tokio::test]
async fn a_principal_without_a_name_is_an_error() {
    let (client, calls) = api(Idempotency::per(|_: &User| String::new()));
    post(&client, "ann", "k", "x").await.assert_problem(500);
    // As a layer, without a step that provides the principal.
    let layered = tower::ServiceBuilder::new()
        .layer(step().into_layer())
        .service(Chain::new().post(async || "paid").build());
    let client = TestClient::new(layered);
    let answer = client.post("/").header("idempotency-key", "k").text("x").send().await;
    answer.assert_problem(500);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn anyone_may_have_keys_if_the_program_states_it() {
    let handler = async || ([("set-cookie", "session=1"), ("x-own", "1")], "subscribed");
    let api = Chain::new().use_(Idempotency::for_anyone()).post(handler).build();
    let client = TestClient::new(api);
    let post = |key: &'static str| client.post("/").header("idempotency-key", key).text("x").send();
    post("too-short").await.assert_problem(400);
    let (first, again) = (post("8e03978e-40d5-43e8").await, post("8e03978e-40d5-43e8").await);
    assert_eq!(first.header("set-cookie"), Some("session=1"));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!((again.header("set-cookie"), again.header("x-own")), (None, Some("1")));
}

#[tokio::test(start_paused = true)]
async fn one_principal_can_not_fill_the_store_for_others() {
    let store = Arc::new(MemoryIdempotency::new().max_records(80).unwrap().max_bytes(8000));
    let (client, calls) = api(step().age(SECOND * 60).unwrap().store(store.clone()));
    // An eighth of the records: ten.
    for at in 0..10 {
        post(&client, "mallory", &format!("k{at}"), "x").await.assert_status(200);
    }
    for at in 0..100 {
        let answer = post(&client, "mallory", &format!("n{at}"), "x").await;
        answer.assert_problem(429).assert_retry_after(SECOND * 60);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 10);
    let replayed = post(&client, "mallory", "k3", "x").await;
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    post(&client, "ann", "k", "x").await.assert_status(200);
    // An eighth of the bytes. A response that doesn't fit is sent, not kept, and its request does not run again.
    let large = "x".repeat(600);
    post(&client, "ann", "large", &large).await.assert_text(&large);
    post(&client, "ann", "larger", &large).await.assert_text(&large);
    let again = post(&client, "ann", "large", &large).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    post(&client, "ann", "larger", &large).await.assert_problem(409);
    // Many principals together can fill it. Then new keys are refused, and known ones are not.
    let mut full = 0;
    for at in 0..100 {
        let answer = post(&client, &format!("user{at}"), "k", "x").await;
        full += usize::from(answer.status() == 503);
        if answer.status() == 503 {
            answer.assert_problem(503).assert_retry_after(SECOND * 60);
        }
    }
    assert_eq!(full, 100 - (80 - 10 - 3));
    assert_eq!(post(&client, "ann", "k", "x").await.header("idempotency-replayed"), Some("true"));
    tokio::time::sleep(SECOND * 61).await;
    post(&client, "mallory", "new", "x").await.assert_status(200);
    assert!(format!("{store:?}").contains("records: 1, bytes: "), "{store:?}");
}

#[tokio::test(start_paused = true)]
async fn a_repetition_while_the_request_runs_is_refused_and_the_lease_is_renewed() {
    let handler = async || {
        tokio::time::sleep(SECOND * 300).await;
        "paid"
    };
    let api = Chain::new().guard(user).use_(step()).post(handler).build();
    let send = {
        let api = api.clone();
        move |body: &'static str| {
            let req =
                http::Request::post("/").header("x-user", "ann").header("idempotency-key", "k");
            api.clone().handle(req.body(Body::from(body)).unwrap())
        }
    };
    let client = TestClient::new(api);
    let first = tokio::spawn(send("x"));
    for _ in 0..29 {
        tokio::time::sleep(SECOND * 10).await;
        let answer = post(&client, "ann", "k", "x").await;
        // The client of the test sends another content type.
        answer.assert_problem(422);
        let answer = send("x").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (409, &"1".parse::<http::HeaderValue>().unwrap())
        );
    }
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(send("x").await.headers()["idempotency-replayed"], "true");
}

/// A store that fails.
#[derive(Clone, Copy)]
enum Broken {
    Fails,
    Hangs,
    Panics,
    /// It works, and returns bytes that this crate did not write.
    Corrupt,
}

impl Broken {
    async fn fail<T>(self) -> Result<T, io::Error> {
        match self {
            Self::Fails | Self::Corrupt => Err(io::Error::other("it fails")),
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("a bug of the store"),
        }
    }
}

impl IdempotencyStore for Broken {
    type Error = io::Error;

    async fn reserve(&self, _: &KeyReservation) -> Result<KeyState, io::Error> {
        match self {
            Self::Corrupt => {
                Ok(KeyState::Finished(bytes::Bytes::from_static(b"\x01\x00\xc8\xff\xff\xff\xff")))
            }
            broken => broken.fail().await,
        }
    }

    async fn renew(&self, _: &KeyReservation) -> Result<KeyUpdate, io::Error> {
        self.fail().await
    }

    async fn finish(&self, _: &KeyReservation, _: KeyOutcome) -> Result<KeyUpdate, io::Error> {
        self.fail().await
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_store_requests_are_refused_unless_the_program_states_otherwise() {
    for broken in [Broken::Fails, Broken::Hangs, Broken::Panics] {
        let (client, calls) = api(step().store(broken));
        let answer = post(&client, "ann", "k", "x").await;
        answer.assert_problem(503).assert_retry_after(SECOND);
        assert!(!answer.text().contains("it fails"));
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        let (client, calls) = api(step().store(broken).run_without_store());
        post(&client, "ann", "k", "x").await.assert_status(200);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }
    // Without a key, the store isn't needed.
    let (client, _) = api(step().store(Broken::Fails));
    client.post("/").header("x-user", "ann").text("x").send().await.assert_status(200);
    let (client, calls) = api(step().store(Broken::Corrupt));
    post(&client, "ann", "k", "x").await.assert_problem(409);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_path_of_a_key_is_that_of_the_client() {
    // The same key under two prefixes of one service, which sees one path.
    let inner = Chain::new()
        .guard(user)
        .use_(step())
        .post(async |headers: HeaderMap| format!("{:?}", headers.get("x-number")))
        .build();
    let outer = Chain::new().service("/a", inner.clone()).service("/b", inner).build();
    let client = TestClient::new(outer);
    for (path, number, expected) in [("/a/x", "1", "1"), ("/b/x", "2", "2"), ("/a/x", "3", "1")] {
        let req = client.post(path).header("x-user", "ann").header("idempotency-key", "k");
        let answer = req.header("x-number", number).text("x").send().await;
        assert_eq!(answer.text(), format!("Some(\"{expected}\")"), "{path}");
    }
}

/// A store behind a network: each renewal has its effect after a while, also if its caller no longer waits.
#[derive(Clone, Default)]
struct Distant(Arc<MemoryIdempotency>);

impl IdempotencyStore for Distant {
    type Error = io::Error;

    async fn reserve(&self, reservation: &KeyReservation) -> io::Result<KeyState> {
        self.0.reserve(reservation).await.map_err(|never| match never {})
    }

    async fn renew(&self, reservation: &KeyReservation) -> io::Result<KeyUpdate> {
        let (store, reservation) = (self.0.clone(), reservation.clone());
        let sent = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            store.renew(&reservation).await.map_err(|never| match never {})
        });
        sent.await.map_err(io::Error::other)?
    }

    async fn finish(&self, reservation: &KeyReservation, to: KeyOutcome) -> io::Result<KeyUpdate> {
        self.0.finish(reservation, to).await.map_err(|never| match never {})
    }
}

/// The lease is renewed after one second: while the handler runs, at the end of the handler, and after it.
#[tokio::test(start_paused = true)]
async fn a_renewal_never_takes_a_key_again_that_was_released() {
    for work in [700, 1000, 1100, 1400, 1600, 2200] {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let handler = move || {
            let call = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(work)).await;
                match call {
                    0 => Err(tower_chain::Error::new(http::StatusCode::TOO_MANY_REQUESTS, "Later")),
                    _ => Ok("paid"),
                }
            }
        };
        let once = step().lease(3 * SECOND).unwrap().store(Distant::default());
        let client = TestClient::new(Chain::new().guard(user).use_(once).post(handler).build());
        assert_eq!(post(&client, "ann", "k", "x").await.status(), 429, "{work} ms");
        tokio::time::sleep(SECOND).await;
        assert_eq!(post(&client, "ann", "k", "x").await.status(), 200, "{work} ms");
        assert_eq!(calls.load(Ordering::SeqCst), 2, "{work} ms");
    }
}
