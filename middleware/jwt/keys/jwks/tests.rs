//! Issuers that behave, and others.

use std::future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use http::header::{ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::middleware::jwt::KeySource;
use crate::middleware::jwt::{Jwt, JwtRefusal, TokenCache};
use crate::{Body, Chain, Claims, Response};

const ISSUER: &str = "https://issuer.example";

/// A key pair of an issuer.
struct Signer {
    kid: String,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.to_owned(), pair }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        })
    }

    /// The values of its members as an array, in the order in which they are read.
    fn positional(&self) -> Value {
        let names = ["kty", "use", "", "alg", "kid", "issuer", "crv", "n", "e", "x", "y", "k", "d"];
        names.iter().map(|name| self.jwk()[name].clone()).collect()
    }

    fn token(&self) -> String {
        self.sign(&json!({"alg": "ES256", "kid": self.kid}), ISSUER)
    }

    fn sign(&self, header: &Value, issuer: &str) -> String {
        let exp = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 100_000;
        let claims = json!({"iss": issuer, "aud": "me", "exp": exp});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn set<'s>(signers: impl IntoIterator<Item = &'s Signer>) -> String {
    let keys: Vec<Value> = signers.into_iter().map(Signer::jwk).collect();
    json!({ "keys": keys }).to_string()
}

/// What the issuer does with a request for its keys.
#[derive(Clone)]
enum Mode {
    Answer(String),
    Status(u16),
    Redirect(&'static str),
    Hang,
    Break,
    Panic,
}

/// An issuer that counts what it is asked.
#[derive(Clone)]
struct Issuer(Arc<Counts>);

struct Counts {
    mode: Mutex<Mode>,
    metadata: Mutex<String>,
    /// Where the keys are.
    path: Mutex<&'static str>,
    /// The tags that came with requests, each with the path that was asked for.
    tags: Mutex<Vec<String>>,
    discoveries: AtomicUsize,
    fetches: AtomicUsize,
    unchanged: AtomicUsize,
    restarts: AtomicUsize,
}

impl Issuer {
    fn new(keys: String) -> Self {
        let metadata = json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys")});
        Self(Arc::new(Counts {
            mode: Mutex::new(Mode::Answer(keys)),
            metadata: Mutex::new(metadata.to_string()),
            path: Mutex::new("/keys"),
            tags: Mutex::default(),
            discoveries: AtomicUsize::new(0),
            fetches: AtomicUsize::new(0),
            unchanged: AtomicUsize::new(0),
            restarts: AtomicUsize::new(0),
        }))
    }

    fn becomes(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    /// The issuer has other keys, under the same names.
    fn restarts(&self, keys: String) {
        self.0.restarts.fetch_add(1, Ordering::Relaxed);
        self.becomes(Mode::Answer(keys));
    }

    /// The keys go to another place, and the metadata say so.
    fn moves(&self, path: &'static str) {
        *self.0.path.lock().unwrap() = path;
        let metadata = json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}{path}")});
        *self.0.metadata.lock().unwrap() = metadata.to_string();
    }

    fn counts(&self) -> (usize, usize) {
        (self.0.discoveries.load(Ordering::Relaxed), self.0.fetches.load(Ordering::Relaxed))
    }

    fn jwks(&self) -> Jwks {
        Jwks::issuer(ISSUER, [Algorithm::Es256]).unwrap().fetch(self.clone())
    }

    fn jwt(&self) -> Jwt<()> {
        Jwt::new(self.jwks()).audience("me").unwrap()
    }
}

impl Fetch for Issuer {
    type Error = std::io::Error;

    async fn fetch(&self, request: Request<()>) -> Result<Response, std::io::Error> {
        assert_eq!(request.uri().query(), None, "nothing of a token reaches the issuer");
        if request.uri().path().starts_with("/.well-known/") {
            self.0.discoveries.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let metadata = self.0.metadata.lock().unwrap().clone();
            if metadata == "hang" {
                future::pending::<()>().await;
            }
            return Ok(Response::new(Body::from(metadata)));
        }
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let path = request.uri().path();
        if let Some(tag) = request.headers().get(IF_NONE_MATCH) {
            self.0.tags.lock().unwrap().push(format!("{path} {}", tag.to_str().unwrap()));
        }
        let moved = [*self.0.path.lock().unwrap(), "/"].iter().all(|known| *known != path);
        let mode = self.0.mode.lock().unwrap().clone();
        let mode = if moved { Mode::Status(410) } else { mode };
        let mut response = Response::new(Body::empty());
        match mode {
            Mode::Hang => future::pending::<()>().await,
            Mode::Panic => panic!("a bug in the fetch"),
            Mode::Break => return Err(std::io::Error::other("connection reset")),
            Mode::Status(status) => *response.status_mut() = StatusCode::from_u16(status).unwrap(),
            Mode::Redirect(to) => {
                *response.status_mut() = StatusCode::FOUND;
                response.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
            }
            Mode::Answer(keys) => {
                // A restarted issuer may number its documents again.
                let tag = keys.len() + self.0.restarts.load(Ordering::Relaxed);
                let etag = HeaderValue::try_from(format!("\"{tag}\"")).unwrap();
                if request.headers().get(IF_NONE_MATCH) == Some(&etag) {
                    self.0.unchanged.fetch_add(1, Ordering::Relaxed);
                    *response.status_mut() = StatusCode::NOT_MODIFIED;
                } else {
                    response.headers_mut().insert(ETAG, etag);
                    *response.body_mut() = Body::from(keys);
                }
            }
        }
        Ok(response)
    }
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// Lets what goes on beside the requests come to its end.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_requests_make_one_discovery_and_one_fetch() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = issuer.jwt();
    let token = signer.token();
    let all = (0..1000).map(|_| jwt.verify(&token));
    for verified in futures_util::future::join_all(all).await {
        verified.unwrap();
    }
    assert_eq!(issuer.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_made_up_names_in_a_minute_make_at_most_three_fetches() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = issuer.jwt();
    let good = signer.token();
    let other = Signer::new("b");
    jwt.warm_up().await.unwrap();
    let warm = issuer.counts().1;
    let start = Instant::now();
    for n in 0..10_000 {
        let forged = other.sign(&json!({"alg": "ES256", "kid": format!("kid-{n}")}), ISSUER);
        assert_eq!(jwt.verify(&forged).await.unwrap_err(), JwtRefusal::Key);
        tokio::time::advance(Duration::from_micros(5999)).await;
        if n % 100 == 0 {
            jwt.verify(&good).await.unwrap();
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60));
    let fetches = issuer.counts().1 - warm;
    assert!(fetches <= 3, "{fetches}");
    assert!(issuer.0.unchanged.load(Ordering::Relaxed) > 0);
}

#[tokio::test(start_paused = true)]
async fn a_flood_waits_for_no_good_request() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = Arc::new(issuer.jwt());
    jwt.warm_up().await.unwrap();
    issuer.becomes(Mode::Hang);
    let flood = jwt.clone();
    let unknown = Signer::new("b").token();
    let waiting = tokio::spawn(async move { flood.verify(unknown).await.map(drop) });
    settle().await;
    assert_eq!(issuer.counts().1, 2);
    let start = Instant::now();
    jwt.verify(signer.token()).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(waiting.await.unwrap().unwrap_err(), JwtRefusal::Key);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn what_would_be_refused_anyway_fetches_nothing() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = issuer.jwt();
    jwt.warm_up().await.unwrap();
    let kid = "k".repeat(300);
    let table = [
        (json!({"alg": "ES256", "kid": "new"}), "https://evil.example", JwtRefusal::Key),
        (json!({"alg": "ES384", "kid": "new"}), ISSUER, JwtRefusal::Algorithm),
        (json!({"alg": "HS256", "kid": "new"}), ISSUER, JwtRefusal::Algorithm),
        (json!({"alg": "none", "kid": "new"}), ISSUER, JwtRefusal::Algorithm),
        (json!({"alg": "ES256", "kid": kid}), ISSUER, JwtRefusal::Key),
        (json!({"alg": "ES256", "kid": "new", "crit": ["x"]}), ISSUER, JwtRefusal::Header),
        (json!({"alg": "ES256", "kid": "new", "typ": "dpop+jwt"}), ISSUER, JwtRefusal::Type),
        (
            json!({"alg": "ES256", "kid": "a", "jku": "https://evil.example"}),
            "x",
            JwtRefusal::Issuer,
        ),
    ];
    for (header, name, expected) in table {
        let token = signer.sign(&header, name);
        assert_eq!(jwt.verify(token).await.unwrap_err(), expected, "{header}");
    }
    // Nor does a wrong signature of a token of another issuer.
    for _ in 0..10 {
        let forged =
            Signer::new("a").sign(&json!({"alg": "ES256", "kid": "a"}), "https://evil.example");
        assert_eq!(jwt.verify(forged).await.unwrap_err(), JwtRefusal::Signature);
    }
    assert_eq!(issuer.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_new_key_takes_one_fetch_and_a_withdrawn_one_is_refused() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let issuer = Issuer::new(set([&old]));
    let jwt = issuer.jwt().cache(TokenCache::new(100).unwrap());
    jwt.verify(old.token()).await.unwrap();
    let old_token = old.token();
    jwt.verify(&old_token).await.unwrap();
    issuer.becomes(Mode::Answer(set([&old, &new])));
    pass(1).await;
    let token = new.token();
    let many = futures_util::future::join_all((0..100).map(|_| jwt.verify(&token))).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(issuer.counts(), (1, 2));
    jwt.verify(&old_token).await.unwrap();
    // The old key goes; after the keys are no longer fresh, so do its tokens, cached ones too.
    issuer.becomes(Mode::Answer(set([&new])));
    pass(601).await;
    let _ = jwt.verify(&token).await;
    settle().await;
    assert_eq!(jwt.verify(&old_token).await.unwrap_err(), JwtRefusal::Key);
    jwt.verify(&token).await.unwrap();
}

/// No request asked for the keys, so that none noticed what became of them.
#[tokio::test(start_paused = true)]
async fn after_a_quiet_time_a_withdrawn_key_is_refused_at_once() {
    let (old, new) = (Signer::new("old"), Signer::new("newer"));
    for (quiet, cached, refused) in
        [(1199, false, false), (1200, false, true), (1200, true, true), (23 * 3600, true, true)]
    {
        let issuer = Issuer::new(set([&old]));
        let mut jwt = issuer.jwt();
        if cached {
            jwt =
                jwt.cache(TokenCache::new(10).unwrap().ttl(Duration::from_secs(100_000)).unwrap());
        }
        let token = old.token();
        jwt.verify(&token).await.unwrap();
        issuer.becomes(Mode::Answer(set([&new])));
        pass(quiet).await;
        let first = jwt.verify(&token).await.map(drop);
        assert_eq!(first, if refused { Err(JwtRefusal::Key) } else { Ok(()) }, "{quiet}");
        settle().await;
        assert_eq!(jwt.verify(&token).await.map(drop), Err(JwtRefusal::Key), "{quiet}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_quiet_time_a_hung_issuer_costs_one_timeout_and_the_known_keys_serve() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    // With a cache, so that the many cost little.
    let jwt = issuer.jwt().cache(TokenCache::new(10).unwrap());
    jwt.warm_up().await.unwrap();
    issuer.becomes(Mode::Hang);
    pass(12 * 3600).await;
    let start = Instant::now();
    let token = signer.token();
    let all = futures_util::future::join_all((0..100).map(|_| jwt.verify(&token))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    // As long as there is traffic, no one waits again.
    for _ in 0..3600 {
        let start = Instant::now();
        jwt.verify(&token).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        pass(1).await;
        settle().await;
    }
    // After another quiet time it may be back.
    let new = Signer::new("new");
    issuer.becomes(Mode::Answer(set([&new])));
    pass(600).await;
    assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::Key);
    jwt.verify(new.token()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn busy_traffic_never_waits_for_a_hung_issuer() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = issuer.jwt().cache(TokenCache::new(10).unwrap());
    let token = signer.token();
    jwt.verify(&token).await.unwrap();
    issuer.becomes(Mode::Hang);
    for second in 0..2 * 3600 {
        let start = Instant::now();
        jwt.verify(&token).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO, "{second}");
        pass(1).await;
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_is_a_failed_one() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    issuer.becomes(Mode::Panic);
    let jwt = issuer.jwt();
    let token = signer.token();
    let all = futures_util::future::join_all((0..10).map(|_| jwt.verify(&token))).await;
    assert!(all.into_iter().all(|one| one.unwrap_err() == JwtRefusal::KeysUnavailable));
    issuer.becomes(Mode::Answer(set([&signer])));
    assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::KeysUnavailable);
    assert_eq!(issuer.counts().1, 1);
    pass(10).await;
    jwt.verify(&token).await.unwrap();
    // Keys that are known serve on.
    issuer.becomes(Mode::Panic);
    for _ in 0..20 {
        pass(601).await;
        jwt.verify(&token).await.unwrap();
        settle().await;
    }
    issuer.becomes(Mode::Answer(set([&Signer::new("bb")])));
    pass(601).await;
    assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::Key);
}

#[test]
fn a_fetch_whose_runtime_ends_or_stands_still_is_a_failed_one() {
    for ends in [true, false] {
        let signer = Signer::new("a");
        let issuer = Issuer::new(set([&signer]));
        issuer.becomes(Mode::Hang);
        let jwt = issuer.jwt();
        let token = signer.token();
        let runtime = |paused| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(paused).build().unwrap()
        };
        let first = runtime(false);
        first.block_on(async {
            assert!(Box::pin(jwt.verify(&token)).now_or_never().is_none());
            settle().await;
        });
        // Outside of any runtime there is no panic.
        let first = (!ends).then_some(first);
        let outside = Box::pin(jwt.verify(&token)).now_or_never();
        let refused = outside.map(|verified| verified.map(drop));
        assert_eq!(refused, ends.then_some(Err(JwtRefusal::KeysUnavailable)));
        // Whoever waits elsewhere gets an answer, and later on the keys.
        issuer.becomes(Mode::Answer(set([&signer])));
        let second = runtime(true);
        second.block_on(async {
            let start = Instant::now();
            let refusal = jwt.verify(&token).await.unwrap_err();
            assert_eq!(refusal, JwtRefusal::KeysUnavailable);
            assert!(start.elapsed() <= Duration::from_secs(7), "{:?}", start.elapsed());
            pass(10).await;
            jwt.verify(&token).await.unwrap();
        });
        // The one that was given up has no say when it goes on after all.
        if let Some(first) = first {
            first.block_on(settle());
        }
        second.block_on(async { jwt.verify(&token).await.map(drop) }).unwrap();
    }
    // Without any there is an answer, too.
    let issuer = Issuer::new(String::new());
    let answer = Box::pin(issuer.jwt().verify(Signer::new("a").token())).now_or_never();
    assert_eq!(answer.map(Result::unwrap_err), Some(JwtRefusal::KeysUnavailable));
}

#[tokio::test(start_paused = true)]
async fn keys_that_moved_are_found_in_the_same_fetch_and_no_tag_goes_along() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = issuer.jwt();
    let token = signer.token();
    let tags = || std::mem::take(&mut *issuer.0.tags.lock().unwrap());
    jwt.verify(&token).await.unwrap();
    pass(601).await;
    jwt.verify(&token).await.unwrap();
    settle().await;
    let tag = format!("\"{}\"", set([&signer]).len());
    assert_eq!((issuer.counts(), tags()), ((1, 2), vec![format!("/keys {tag}")]));
    // A new place, a new key, and nothing at the old place.
    let new = Signer::new("b");
    issuer.moves("/moved");
    issuer.becomes(Mode::Answer(set([&new])));
    assert_eq!(set([&new]).len(), set([&signer]).len(), "both have the same tag");
    jwt.verify(new.token()).await.unwrap();
    assert_eq!((issuer.counts(), tags()), ((2, 4), vec![format!("/keys {tag}")]));
    assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::Key);
    tags();
    // From now on it is the tag of the new place.
    pass(601).await;
    jwt.verify(new.token()).await.unwrap();
    settle().await;
    assert_eq!(tags(), [format!("/moved {tag}")]);
}

#[tokio::test(start_paused = true)]
async fn metadata_are_read_again_after_an_hour_and_bad_ones_change_nothing() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = issuer.jwt();
    let token = signer.token();
    let mut read = Vec::new();
    for step in 0..13 {
        jwt.verify(&token).await.unwrap();
        settle().await;
        read.push(issuer.counts().0);
        if step == 8 {
            *issuer.0.metadata.lock().unwrap() = "<html>".to_owned();
        }
        pass(601).await;
    }
    // Every hour once.
    assert_eq!(read, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]);
    // Keys are still fetched from where they were.
    let mut all = vec![signer];
    for (kid, metadata) in [("b", "<html>"), ("c", "hang"), ("d", "{}")] {
        *issuer.0.metadata.lock().unwrap() = metadata.to_owned();
        all.push(Signer::new(kid));
        issuer.becomes(Mode::Answer(set(&all)));
        jwt.verify(all[all.len() - 1].token()).await.unwrap();
        pass(601).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_issuer_costs_the_timeout_and_no_more() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    issuer.becomes(Mode::Hang);
    let jwt = Jwt::<()>::new(issuer.jwks().timeout(Duration::from_secs(2)).unwrap())
        .audience("me")
        .unwrap();
    let token = signer.token();
    let start = Instant::now();
    let all = futures_util::future::join_all((0..100).map(|_| jwt.verify(&token))).await;
    assert!(all.into_iter().all(|one| one.unwrap_err() == JwtRefusal::KeysUnavailable));
    assert!(start.elapsed() <= Duration::from_millis(2100), "{:?}", start.elapsed());
    // Until it is time again, no one waits at all; then it recovers.
    issuer.becomes(Mode::Answer(set([&signer])));
    assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::KeysUnavailable);
    assert_eq!(issuer.counts().1, 1);
    pass(10).await;
    jwt.verify(&token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_or_lying_issuer_changes_no_key() {
    let signer = Signer::new("a");
    let secret =
        r#"{"keys":[{"kty":"oct","kid":"a","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}"#;
    let answer = |text: &str| Mode::Answer(text.to_owned());
    let modes = [
        Mode::Break,
        Mode::Hang,
        Mode::Status(500),
        Mode::Status(404),
        Mode::Status(204),
        Mode::Status(304),
        Mode::Redirect("https://evil.example/keys"),
        Mode::Redirect("http://issuer.example/keys"),
        Mode::Redirect("/keys"),
        answer(""),
        answer("<html>"),
        answer("[]"),
        answer("{}"),
        answer(&format!("[[{}]]", signer.jwk())),
        answer(&format!(r#"{{"keys":[{}]}}"#, signer.positional())),
        answer(r#"{"keys":{}}"#),
        answer(r#"{"keys":[]}"#),
        answer(r#"{"keys":[7,null,"x",{"kty":7}]}"#),
        answer(secret),
        answer(&format!(r#"{{"keys":[{}{{}}]}}"#, "{},".repeat(100))),
        answer(&format!("{{\"keys\":[]{}}}", " ".repeat(256 * 1024))),
        answer(&"[".repeat(1000)),
    ];
    for (index, mode) in modes.into_iter().enumerate() {
        let issuer = Issuer::new(set([&signer]));
        let jwt = issuer.jwt();
        // Cold: nothing but 503.
        issuer.becomes(mode.clone());
        assert_eq!(
            jwt.verify(signer.token()).await.unwrap_err(),
            JwtRefusal::KeysUnavailable,
            "{index}"
        );
        pass(10).await;
        issuer.becomes(Mode::Answer(set([&signer])));
        jwt.verify(signer.token()).await.unwrap();
        // Warm: the keys that are known serve on.
        issuer.becomes(mode);
        for _ in 0..20 {
            pass(601).await;
            jwt.verify(signer.token()).await.unwrap_or_else(|refusal| panic!("{index}: {refusal}"));
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_serve_stale_for_a_bounded_time() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = issuer.jwt();
    jwt.verify(signer.token()).await.unwrap();
    issuer.becomes(Mode::Break);
    pass(24 * 3600 - 1).await;
    jwt.verify(signer.token()).await.unwrap();
    settle().await;
    pass(60).await;
    assert_eq!(jwt.verify(signer.token()).await.unwrap_err(), JwtRefusal::KeysUnavailable);
    issuer.becomes(Mode::Answer(set([&signer])));
    pass(60).await;
    jwt.verify(signer.token()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_issuer_is_asked_ever_less() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(String::new());
    let jwt = issuer.jwt();
    let token = signer.token();
    let mut asked = Vec::new();
    for second in 0..=120 {
        let before = issuer.counts().1;
        assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::KeysUnavailable);
        if issuer.counts().1 > before {
            asked.push(second);
        }
        pass(1).await;
    }
    assert_eq!(asked, [0, 10, 30, 60, 90, 120]);
}

#[tokio::test(start_paused = true)]
async fn the_first_good_response_ends_an_outage() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(String::new());
    let jwt = issuer.jwt();
    let token = signer.token();
    for _ in 0..5 {
        assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::KeysUnavailable);
        pass(30).await;
    }
    issuer.becomes(Mode::Answer(set([&signer])));
    assert!(jwt.verify(&token).await.is_ok());
    // The next outage begins with the shortest pause, and a stale key is used.
    issuer.becomes(Mode::Break);
    pass(30 * 60).await;
    let mut asked = Vec::new();
    for second in 0..=40 {
        let before = issuer.counts().1;
        assert!(jwt.verify(&token).await.is_ok(), "{second}");
        settle().await;
        pass(1).await;
        if issuer.counts().1 > before {
            asked.push(second);
        }
    }
    assert_eq!(asked, [0, 10, 30]);
}

#[tokio::test(start_paused = true)]
async fn one_bad_entry_spoils_no_other() {
    let signer = Signer::new("a");
    let bad = [
        json!(null),
        json!(7),
        json!([]),
        json!({}),
        json!({"kty": "EC"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "x"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "x"}),
        json!({"kty": "RSA", "n": "!!", "e": "AQAB", "kid": 7}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
        json!({"kty": "oct", "k": "AAAA"}),
    ];
    let mut keys = bad.to_vec();
    keys.push(signer.jwk());
    let issuer = Issuer::new(json!({ "keys": keys }).to_string());
    issuer.jwt().verify(signer.token()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_takes_no_fetch_along() {
    let signer = Signer::new("a");
    let issuer = Issuer::new(set([&signer]));
    let jwt = issuer.jwt();
    let token = signer.token();
    let gone = Box::pin(jwt.verify(&token));
    assert!(gone.now_or_never().is_none());
    jwt.verify(&token).await.unwrap();
    assert_eq!(issuer.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn metadata_of_another_issuer_are_refused() {
    let signer = Signer::new("a");
    for name in ["https://evil.example", "https://issuer.example/", "HTTPS://issuer.example"] {
        let issuer = Issuer::new(set([&signer]));
        *issuer.0.metadata.lock().unwrap() =
            json!({"issuer": name, "jwks_uri": format!("{ISSUER}/keys")}).to_string();
        let refusal = issuer.jwt().verify(signer.token()).await.unwrap_err();
        assert_eq!(refusal, JwtRefusal::KeysUnavailable, "{name}");
        assert_eq!(issuer.counts(), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_issuers_each_has_its_own_keys_fetched() {
    let signer = Signer::new("a");
    let (first, second) = (Issuer::new(set([&signer])), Issuer::new(set([&Signer::new("a")])));
    let plain = |issuer: &Issuer| {
        let jwks = Jwks::url("https://keys.example/keys", [Algorithm::Es256]).unwrap();
        jwks.fetch(issuer.clone())
    };
    let source = KeySource::issuers([("one", plain(&first)), ("two", plain(&second))]).unwrap();
    let jwt = Jwt::<()>::new(source).audience("me").unwrap();
    let header = json!({"alg": "ES256", "kid": "a"});
    jwt.verify(signer.sign(&header, "one")).await.unwrap();
    assert_eq!((first.counts().1, second.counts().1), (1, 0));
    let refusal = jwt.verify(signer.sign(&header, "two")).await.unwrap_err();
    assert_eq!(refusal, JwtRefusal::Signature);
    let refusal = jwt.verify(signer.sign(&header, "three")).await.unwrap_err();
    assert_eq!(refusal, JwtRefusal::Issuer);
    // An issuer that is down is no harm to the other.
    let third = Issuer::new(String::new());
    third.becomes(Mode::Hang);
    let source = KeySource::issuers([("one", plain(&first)), ("two", plain(&third))]).unwrap();
    let jwt = Jwt::<()>::new(source).audience("me").unwrap();
    let refusal = jwt.verify(signer.sign(&header, "two")).await.unwrap_err();
    assert_eq!(refusal, JwtRefusal::KeysUnavailable);
    jwt.verify(signer.sign(&header, "one")).await.unwrap();
}

#[test]
fn wrong_configuration_is_refused() {
    use JwtError as E;
    let table = [
        (Jwks::url("http://a.example/keys", [Algorithm::Es256]), E::Url),
        (Jwks::url("", [Algorithm::Es256]), E::Blank { what: "the URL" }),
        (Jwks::issuer("https://a.example?x", [Algorithm::Es256]), E::Url),
        (Jwks::url("https://a.example/keys", []), E::NoAlgorithm),
        (
            Jwks::url("https://a.example/keys", [Algorithm::Rs256, Algorithm::Hs256]),
            E::SharedSecretAlgorithm { algorithm: Algorithm::Hs256 },
        ),
    ];
    for (built, expected) in table {
        assert_eq!(built.unwrap_err(), expected);
    }
    let other = Jwks::issuer("https://a.example", [Algorithm::Es256]).unwrap();
    assert_eq!(KeySource::issuers([("https://b.example", other)]).unwrap_err(), E::Issuers);
    let secret = Jwks::url("https://a.example/keys?code=canary", [Algorithm::Es256]).unwrap();
    let shown = format!("{secret:?}");
    assert!(shown.contains("https://a.example/keys") && !shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn keys_come_over_real_http_from_an_oauth_issuer() {
    use axum::{Json, Router, routing};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}/tenant", listener.local_addr().unwrap());
    let signer = Signer::new("a");
    let fetches = Arc::new(AtomicUsize::new(0));
    let count = fetches.clone();
    let metadata = json!({"issuer": issuer, "jwks_uri": issuer.replace("/tenant", "/moved")});
    let keys: Value = serde_json::from_str(&set([&signer])).unwrap();
    let app = Router::new()
        .route(
            "/.well-known/oauth-authorization-server/tenant",
            routing::get(async || Json(metadata)),
        )
        .route("/moved", routing::get(async || axum::response::Redirect::temporary("/keys")))
        .route(
            "/keys",
            routing::get(async move || {
                count.fetch_add(1, Ordering::Relaxed);
                Json(keys)
            }),
        );
    tokio::spawn(async move { axum::serve(listener, app).await });

    let jwt = Jwt::<Value>::oidc(&issuer, "me", [Algorithm::Es256]).unwrap();
    let service = Chain::new()
        .use_(jwt)
        .get(async |claims: Claims<Value>| claims["iss"].as_str().unwrap_or_default().to_owned())
        .build();
    let token = signer.sign(&json!({"alg": "ES256", "kid": "a"}), &issuer);
    for _ in 0..3 {
        let mut request = crate::Request::new(Body::empty());
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        request.headers_mut().insert(http::header::AUTHORIZATION, value);
        let response = service.handle(request).await;
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, issuer);
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_503_with_retry_after() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let jwt =
        Jwt::<()>::new(Jwks::url(&format!("http://{free}/keys"), [Algorithm::Es256]).unwrap());
    let service = Chain::new().use_(jwt).get(async || "in").build();
    let mut request = crate::Request::new(Body::empty());
    let value = HeaderValue::try_from(format!("Bearer {}", Signer::new("a").token())).unwrap();
    request.headers_mut().insert(http::header::AUTHORIZATION, value);
    let response = service.handle(request).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(!response.headers().contains_key("www-authenticate"));
}

#[test]
fn a_url_that_can_never_work_states_what_to_do() {
    use JwtError as E;
    let template = "https://login.example.com/{tenantid}/v2.0";
    for (text, expected, remedy) in [
        (template, E::Placeholder, "tenant"),
        ("https://login.example.com/{tenantid}/keys", E::Placeholder, "tenant"),
        ("https://a.example/.well-known/openid-configuration", E::DiscoveryUrl, "Jwks::issuer"),
        ("https://a.example/t/.well-known/openid-configuration", E::DiscoveryUrl, "Jwks::issuer"),
        ("https://a.example/.well-known/oauth-authorization-server/t", E::DiscoveryUrl, "issuer"),
        ("http://a.example/keys", E::Url, "https"),
    ] {
        for jwks in [Jwks::url(text, [Algorithm::Es256]), Jwks::issuer(text, [Algorithm::Es256])] {
            let error = jwks.map(drop).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}

/// Documents by their URLs, and what was requested.
#[derive(Clone)]
struct Network(Arc<(Vec<(&'static str, String)>, Mutex<Vec<String>>)>);

impl Fetch for Network {
    type Error = std::io::Error;

    async fn fetch(&self, request: Request<()>) -> Result<Response, std::io::Error> {
        assert_eq!(
            request.headers()["user-agent"],
            concat!("tower-chain/", env!("CARGO_PKG_VERSION"))
        );
        let url = request.uri().to_string();
        let (documents, requested) = &*self.0;
        requested.lock().unwrap().push(url.clone());
        let mut response = Response::new(Body::empty());
        match documents.iter().find(|(at, _)| *at == url) {
            Some((_, document)) => *response.body_mut() = Body::from(document.clone()),
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        Ok(response)
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_in_the_same_cluster_is_reached_there_and_has_its_public_name() {
    const PUBLIC: &str = "https://login.example/realms/x";
    const INSIDE: &str = "http://keycloak.auth.svc:8080/realms/x";
    let metadata =
        |issuer: &str, keys: &str| json!({"issuer": issuer, "jwks_uri": keys}).to_string();
    let openid = "http://keycloak.auth.svc:8080/realms/x/.well-known/openid-configuration";
    let certs = "http://keycloak.auth.svc:8080/realms/x/certs";
    let signer = Signer::new("a");
    let algorithms = [Algorithm::Es256];
    let inside =
        || Jwks::issuer(PUBLIC, algorithms).unwrap().insecure_internal_url(INSIDE).unwrap();
    let cases = [
        // The issuer reports its public URL of the keys, or its internal one.
        (inside(), metadata(PUBLIC, "https://login.example/realms/x/certs"), PUBLIC, Ok(())),
        (inside(), metadata(PUBLIC, certs), PUBLIC, Ok(())),
        // The name is the public one, in the metadata and in the tokens.
        (inside(), metadata(INSIDE, certs), PUBLIC, Err(JwtRefusal::KeysUnavailable)),
        (inside(), metadata(PUBLIC, certs), INSIDE, Err(JwtRefusal::Issuer)),
        // What the metadata name is no reason to leave the network.
        (
            inside(),
            metadata(PUBLIC, "http://10.0.0.1/certs"),
            PUBLIC,
            Err(JwtRefusal::KeysUnavailable),
        ),
        // The issuer has the internal name alone.
        (
            Jwks::insecure_issuer(INSIDE, algorithms).unwrap(),
            metadata(INSIDE, certs),
            INSIDE,
            Ok(()),
        ),
        (Jwks::insecure_url(certs, algorithms).unwrap(), String::new(), PUBLIC, Ok(())),
    ];
    for (number, (jwks, metadata, issuer, expected)) in cases.into_iter().enumerate() {
        let documents = vec![(openid, metadata), (certs, set([&signer]))];
        let network = Network(Arc::new((documents, Mutex::default())));
        let jwt = Jwt::<()>::new(jwks.fetch(network.clone())).audience("me").unwrap();
        let token = signer.sign(&json!({"alg": "ES256", "kid": "a"}), issuer);
        assert_eq!(jwt.verify(token).await.map(drop), expected, "{number}");
        let requested = network.0.1.lock().unwrap().clone();
        let inside = |url: &String| url.starts_with("http://keycloak.auth.svc:8080/");
        assert!(!requested.is_empty() && requested.iter().all(inside), "{number}: {requested:?}");
    }
}

#[test]
fn http_is_refused_unless_it_is_allowed_for_the_host() {
    use JwtError as E;
    let algorithms = [Algorithm::Es256];
    let inside = "http://keycloak:8080/realms/x";
    let public = || Jwks::issuer("https://login.example", algorithms).unwrap();
    let keys = || Jwks::url("https://login.example/keys", algorithms).unwrap();
    let table = [
        (Jwks::url(inside, algorithms), Err(E::Url)),
        (Jwks::issuer(inside, algorithms), Err(E::Url)),
        (public().internal_url(inside), Err(E::Url)),
        (Jwks::insecure_url(inside, algorithms), Err(E::IssuerUrl)),
        (Jwks::insecure_url("http://keycloak:8080/realms/x/certs", algorithms), Ok(())),
        (Jwks::insecure_issuer(inside, algorithms), Ok(())),
        (public().insecure_internal_url(inside), Ok(())),
        (public().internal_url("https://keycloak:8443/realms/x"), Ok(())),
        (public().internal_url("https://keycloak:8443/realms/x?a"), Err(E::Url)),
        (public().internal_url("https://keycloak:8443/{realm}"), Err(E::Placeholder)),
        (public().internal_url("https://k/.well-known/openid-configuration"), Err(E::DiscoveryUrl)),
        // The URL of a set is the internal one already.
        (keys().internal_url("https://keycloak:8443/"), Err(E::Url)),
        (Jwks::insecure_url("ftp://keycloak/", algorithms), Err(E::Url)),
        (Jwks::insecure_url("http://user@keycloak/", algorithms), Err(E::Url)),
        (Jwks::insecure_url("", algorithms), Err(E::Blank { what: "the URL" })),
        (Jwks::insecure_issuer("http://keycloak/?a", algorithms), Err(E::Url)),
    ];
    for (number, (built, expected)) in table.into_iter().enumerate() {
        assert_eq!(built.map(drop), expected, "{number}");
    }
    let error = E::Url.to_string();
    assert!(error.contains("`Jwks::insecure_url`"), "{error}");
}

/// As in the example of `Fetch`: a private authority, and a bearer token.
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_client_of_an_own_authority_adds_a_token_to_each_request() {
    use crate::serve::{Listener, Server, Tls};

    struct WithToken(HttpFetch);

    impl Fetch for WithToken {
        type Error = Box<dyn std::error::Error + Send + Sync>;

        async fn fetch(&self, mut request: Request<()>) -> Result<Response, Self::Error> {
            let value = HeaderValue::from_static("Bearer account");
            request.headers_mut().insert(http::header::AUTHORIZATION, value);
            Ok(self.0.fetch(request).await?)
        }
    }

    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let signer = Signer::new("a");
    let keys = set([&signer]);
    let chain = Chain::new().get(move |headers: http::HeaderMap| {
        let known = headers.get("authorization").is_some_and(|value| value == "Bearer account");
        let response = if known { Ok(keys.clone()) } else { Err(StatusCode::FORBIDDEN) };
        future::ready(response)
    });
    let tls = Tls::from_pem(authority.cert.pem(), authority.signing_key.serialize_pem()).unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(Server::new(listener.tls(tls)).serve_until(future::pending(), chain.build()));
    let trusting = |pem: String| HttpFetch::trusting(pem).unwrap();
    let down = || Err(JwtRefusal::KeysUnavailable);
    let url = format!("https://localhost:{port}/keys");
    let keys = || Jwks::url(&url, [Algorithm::Es256]).unwrap();
    for (jwks, expected) in [
        (keys().fetch(WithToken(trusting(authority.cert.pem()))), Ok(())),
        (keys().fetch(trusting(authority.cert.pem())), down()),
        (keys().fetch(WithToken(trusting(other.cert.pem()))), down()),
        (keys().fetch(WithToken(HttpFetch::new().unwrap())), down()),
    ] {
        let jwt = Jwt::<()>::new(jwks).audience("me").unwrap();
        assert_eq!(jwt.verify(signer.token()).await.map(drop), expected);
    }
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = HttpFetch::trusting(text).map(drop).unwrap_err();
        assert_eq!(error, JwtError::CertificateAuthority, "{text}");
        assert!(error.to_string().contains("ca.crt"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_under_the_same_name_is_found_at_once() {
    for kid in ["a", ""] {
        // An issuer with one key may leave `kid` out.
        let set = |signer: &Signer| {
            let mut jwk = signer.jwk();
            if kid.is_empty() {
                jwk.as_object_mut().unwrap().remove("kid");
            }
            json!({ "keys": [jwk] }).to_string()
        };
        let token = |signer: &Signer| match kid {
            "" => signer.sign(&json!({"alg": "ES256"}), ISSUER),
            kid => signer.sign(&json!({"alg": "ES256", "kid": kid}), ISSUER),
        };
        let (old, new) = (Signer::new(kid), Signer::new(kid));
        let issuer = Issuer::new(set(&old));
        let jwt = issuer.jwt().cache(TokenCache::new(10).unwrap());
        let old_token = token(&old);
        jwt.verify(&old_token).await.unwrap();
        issuer.restarts(set(&new));
        pass(1).await;
        let new_token = token(&new);
        let many = futures_util::future::join_all((0..100).map(|_| jwt.verify(&new_token))).await;
        assert!(many.iter().all(Result::is_ok), "{kid}");
        assert_eq!(issuer.counts(), (1, 2), "{kid}");
        assert_eq!(jwt.verify(&old_token).await.map(drop), Err(JwtRefusal::Signature), "{kid}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_bad_signatures_fetches_seldom_and_hides_no_new_key_for_long() {
    let (old, new) = (Signer::new("a"), Signer::new("a"));
    let issuer = Issuer::new(set([&old]));
    let jwt = issuer.jwt();
    jwt.warm_up().await.unwrap();
    let warm = issuer.counts().1;
    let forged = Signer::new("a").token();
    let good = old.token();
    for n in 0..1000 {
        assert_eq!(jwt.verify(&forged).await.map(drop), Err(JwtRefusal::Signature));
        tokio::time::advance(Duration::from_micros(59_990)).await;
        if n % 10 == 0 {
            jwt.verify(&good).await.unwrap();
        }
    }
    let fetches = issuer.counts().1 - warm;
    assert!((1..=3).contains(&fetches), "{fetches} in a minute");
    // The flood goes on, and the issuer is restarted.
    issuer.restarts(set([&new]));
    let (good, start) = (new.token(), Instant::now());
    while jwt.verify(&good).await.is_err() {
        assert!(start.elapsed() <= Duration::from_secs(30), "the new key is not found");
        let _ = jwt.verify(&forged).await;
        pass(1).await;
    }
}
