//! Measures the time to verify a token, compared with the library and with the bare signature check, and the time of the authentication steps
//! around an empty handler.
//!
//! ```sh
//! cargo bench -p benches --bench jwt [-- FILTER]
//! ```
//!
//! Each line is the minimum of many batches. Compared cases alternate, so a busy machine disturbs them little and equally. Compare the
//! ratios; a line with a target states whether it is met.

#![allow(clippy::unwrap_used, reason = "a program")]

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa::KeySize};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::Criterion;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use tower_chain::middleware::authenticate::{ApiKey, ApiKeys};
use tower_chain::middleware::jwt::{Algorithm, Key, TokenCache};
use tower_chain::{Authenticate, Body, Chain, ChainService, Jwt, Request, StatusCode};

#[derive(Deserialize)]
#[expect(dead_code, reason = "read by no one, made all the same")]
struct Member {
    iss: String,
    aud: String,
    sub: String,
    name: String,
    email: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    roles: Vec<String>,
}

const CLAIMS: &str = r#"{"iss":"https://issuer.example.org","aud":"https://api.example.org","sub":"248289761001","name":"Ada Lovelace","email":"ada@example.org","iat":1500000000,"nbf":1500000000,"exp":4000000000,"roles":["member","admin"]}"#;

/// One algorithm: a token, this crate's key, the library's key, and the bare check with a prepared key.
struct Case {
    algorithm: Algorithm,
    token: String,
    key: Key,
    library: (jsonwebtoken::Algorithm, DecodingKey),
    bare: Box<dyn Fn(&[u8], &[u8]) -> bool>,
}

fn token(name: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{name}","typ":"JWT"}}"#));
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(CLAIMS));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

const SECRET: &[u8] = b"a secret that has thirty-two bytes";

fn cases() -> Vec<Case> {
    use jsonwebtoken::Algorithm as Library;
    let random = SystemRandom::new();

    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let hs256 = Case {
        algorithm: Algorithm::Hs256,
        token: token("HS256", |message| hmac::sign(&key, message).as_ref().to_vec()),
        key: Key::secret(Algorithm::Hs256, SECRET).unwrap(),
        library: (Library::HS256, DecodingKey::from_secret(SECRET).unwrap()),
        bare: Box::new(move |message, signature| hmac::verify(&key, message, signature).is_ok()),
    };

    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = pair.public_key().as_ref();
    let public = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).unwrap();
    let rs256 = Case {
        algorithm: Algorithm::Rs256,
        token: token("RS256", |message| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
            signature
        }),
        key: Key::der(Algorithm::Rs256, pair.public_key().as_der().unwrap().as_ref()).unwrap(),
        library: (Library::RS256, DecodingKey::from_rsa_der(der)),
        bare: Box::new(move |message, signature| public.verify_sig(message, signature).is_ok()),
    };

    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap();
    let es256 = Case {
        algorithm: Algorithm::Es256,
        token: token("ES256", |message| pair.sign(&random, message).unwrap().as_ref().to_vec()),
        key: Key::der(Algorithm::Es256, pair.public_key().as_der().unwrap().as_ref()).unwrap(),
        library: (Library::ES256, DecodingKey::from_ec_der(point)),
        bare: Box::new(move |message, signature| public.verify_sig(message, signature).is_ok()),
    };

    let pair = Ed25519KeyPair::generate().unwrap();
    let point = pair.public_key().as_ref();
    let public = ParsedPublicKey::new(&ED25519, point).unwrap();
    let eddsa = Case {
        algorithm: Algorithm::Ed25519,
        token: token("EdDSA", |message| pair.sign(message).as_ref().to_vec()),
        key: Key::der(Algorithm::Ed25519, pair.public_key().as_der().unwrap().as_ref()).unwrap(),
        library: (Library::EdDSA, DecodingKey::from_ed_der(point)),
        bare: Box::new(move |message, signature| public.verify_sig(message, signature).is_ok()),
    };
    vec![hs256, rs256, es256, eddsa]
}

/// Returns the minimum time of one call of each, in nanoseconds. The calls alternate.
fn least<const N: usize>(mut calls: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut least = [f64::MAX; N];
    for _ in 0..300 {
        for (call, least) in calls.iter_mut().zip(&mut least) {
            let start = Instant::now();
            for _ in 0..20 {
                call();
            }
            *least = least.min(start.elapsed().as_nanos() as f64 / 20.0);
        }
    }
    least
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn target(name: &str, value: f64, most: f64) -> String {
    let verdict = if value <= most { "met" } else { "MISSED" };
    format!("{name} {value:.2}, at most {most}: {verdict}")
}

/// T1 to T5 and T7: a verified token, compared with `jsonwebtoken::decode`, the bare check, a hit in the cache, and a token with a wrong signature.
fn verify(criterion: &mut Criterion, case: &Case) {
    let Case { algorithm, token, key, library, bare } = case;
    let jwt = || {
        let jwt = Jwt::<Member>::new(key.clone());
        let jwt = jwt.issuer("https://issuer.example.org").unwrap();
        jwt.audience("https://api.example.org").unwrap()
    };
    let plain = jwt();
    let cached = jwt().cache(TokenCache::new(10_000).unwrap());
    let mut validation = Validation::new(library.0);
    validation.set_issuer(&["https://issuer.example.org"]);
    validation.set_audience(&["https://api.example.org"]);
    validation.validate_nbf = true;
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();

    let forged = {
        let mut signature = signature.clone();
        let middle = signature.len() / 2;
        signature[middle] ^= 1;
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    };

    let mut ours = || assert!(ready(plain.verify(black_box(token))).is_ok());
    let mut hit = || assert!(ready(cached.verify(black_box(token))).is_ok());
    let mut decode = || {
        let decoded = jsonwebtoken::decode::<Member>(black_box(token), &library.1, &validation);
        assert!(decoded.is_ok());
    };
    let mut floor = || assert!(bare(black_box(message.as_bytes()), &signature));
    let mut refuse = || assert!(ready(plain.verify(black_box(&forged))).is_err());
    let mut group = criterion.benchmark_group(format!("verify/{algorithm}"));
    group.bench_function("jwt", |bencher| bencher.iter(&mut ours));
    group.bench_function("jwt, forged", |bencher| bencher.iter(&mut refuse));
    group.bench_function("jwt, cached", |bencher| bencher.iter(&mut hit));
    group.bench_function("jsonwebtoken", |bencher| bencher.iter(&mut decode));
    group.bench_function("bare", |bencher| bencher.iter(&mut floor));
    group.finish();

    let [ours, hit, decode, floor, refuse] =
        least([&mut ours, &mut hit, &mut decode, &mut floor, &mut refuse]);
    println!(
        "{algorithm}: {ours:.0} ns, hit {hit:.0} ns, library {decode:.0} ns, bare {floor:.0} ns, forged {refuse:.0} ns"
    );
    println!("  T7 {}", target("of a good token, a forged one", refuse / ours, 1.1));
    match algorithm {
        Algorithm::Hs256 => {
            println!("  T1 {}", target("of the library", ours / decode, 0.5));
            println!("  T1 {}", target("ns over the bare check", ours - floor, 1500.0));
        }
        _ => println!("  T2/T3 {}", target("of the bare check", ours / floor, 1.1)),
    }
    match algorithm {
        Algorithm::Rs256 => {
            println!("  T2 {}", target("of the library", ours / decode, 0.8));
            println!("  T5 {}", target("30 hits, of one check", 30.0 * hit / ours, 1.0));
        }
        Algorithm::Es256 => {
            println!("  T5 {}", target("80 hits, of one check", 80.0 * hit / ours, 1.0))
        }
        _ => {}
    }
    if token.len() <= 500 {
        println!("  T4 {}", target("ns of a hit", hit, 400.0));
    }
}

/// T6: text that is not a token.
fn garbage(criterion: &mut Criterion) {
    let jwt = Jwt::<Member>::hs256(SECRET).unwrap();
    let long = ".".repeat(2 * 1024 * 1024);
    let mut refuse = || assert!(ready(jwt.verify(black_box(&long))).is_err());
    criterion.bench_function("refuse/2 MiB of dots", |bencher| bencher.iter(&mut refuse));
    let [refused] = least([&mut refuse]);
    println!("2 MiB of dots: {refused:.0} ns\n  T6 {}", target("ns", refused, 1000.0));
}

fn request(name: &'static str, value: &str) -> impl Fn() -> Request + use<> {
    let value: http::HeaderValue = value.parse().unwrap();
    move || {
        let mut req = Request::new(Body::empty());
        req.headers_mut().insert(name, value.clone());
        req
    }
}

/// T12: a whole request through one step, compared with the same chain without the step.
fn step(criterion: &mut Criterion, case: &Case) {
    let keys = ApiKeys::new();
    for number in 0..100 {
        keys.add(ApiKey::new(format!("key {number}"), format!("{KEY}{number:03}")).unwrap())
            .unwrap();
    }
    let jwt = Jwt::<Member>::new(case.key.clone()).any_audience();
    let jwt = jwt.cache(TokenCache::new(10_000).unwrap());
    let bare = Chain::new().get(async || {}).build();
    let key = Chain::new().use_(Authenticate::api_keys(&keys)).get(async || {}).build();
    let token = Chain::new().use_(jwt).get(async || {}).build();
    let with_key = request("x-api-key", &format!("{KEY}042"));
    let with_token = request("authorization", &format!("Bearer {}", case.token));
    let answer = |service: &ChainService, req: Request| {
        assert_eq!(ready(service.handle(black_box(req))).status(), StatusCode::OK);
    };
    let mut group = criterion.benchmark_group("step");
    group.bench_function("none", |bencher| bencher.iter(|| answer(&bare, with_key())));
    group.bench_function("API key", |bencher| bencher.iter(|| answer(&key, with_key())));
    group.bench_function("cached JWT", |bencher| bencher.iter(|| answer(&token, with_token())));
    group.finish();
    let [without, with_a_key, same, with_a_token] = least([
        &mut || answer(&bare, with_key()),
        &mut || answer(&key, with_key()),
        &mut || answer(&bare, with_token()),
        &mut || answer(&token, with_token()),
    ]);
    println!(
        "step: API key {with_a_key:.0} ns, none {without:.0} ns; JWT {with_a_token:.0} ns, none {same:.0} ns"
    );
    println!("  T12 {}", target("ns for an API key", with_a_key - without, 250.0));
    println!("  T12 {}", target("ns for a cached JWT", with_a_token - same, 600.0));
}

/// T14: whether the time of a refusal reveals how similar a key was: Welch's t-test between a fixed class and random ones, as in "dude, is my code
/// constant time?" (Reparaz, Balasch, Verbauwhede, 2017).
fn constant_time() {
    let keys = ApiKeys::new();
    let secret = format!("{KEY}000");
    keys.add(ApiKey::new("key", &secret).unwrap()).unwrap();
    let service = Chain::new().use_(Authenticate::api_keys(&keys)).get(async || {}).build();
    let with = |place: usize| {
        let mut other = secret.clone();
        other.replace_range(place..=place, "!");
        other
    };
    let wrong = "z".repeat(secret.len());
    // Both classes have the same length: the client knows the number of bytes that it sends.
    let classes = [
        ("first byte", with(0), wrong.clone()),
        ("last byte", with(secret.len() - 1), wrong.clone()),
        ("one byte short", secret[1..].to_owned(), wrong[1..].to_owned()),
        ("the same again", wrong.clone(), wrong.clone()),
    ];
    for (name, near, far) in classes {
        let requests = [request("x-api-key", &near), request("x-api-key", &far)];
        let mut times = [Vec::new(), Vec::new()];
        // The order of the classes must not be predictable.
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..60_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let class = (random >> 40) as usize % 2;
            let req = requests[class]();
            let start = Instant::now();
            let response = ready(service.handle(black_box(req)));
            let time = start.elapsed().as_nanos() as f64;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            times[class].push(time);
        }
        // The slower half contains interruptions.
        let mut all = times.concat();
        all.sort_unstable_by(f64::total_cmp);
        let most = all[all.len() / 2];
        let [near, far] = times.map(|times| moments(times.iter().copied().filter(|t| *t <= most)));
        let t = (near.0 - far.0).abs() / (near.1 / near.2 + far.1 / far.2).sqrt();
        println!("constant time, {name}: T14 {}", target("t", t, 4.5));
    }
}

/// Mean, variance and count.
fn moments(times: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for time in times {
        count += 1.0;
        let delta = time - mean;
        mean += delta / count;
        squares += delta * (time - mean);
    }
    (mean, squares / (count - 1.0), count)
}

const KEY: &str = "Vy3pRT1rW9ZsU0bq6xQ2Lw";

fn main() {
    let _ = DEFAULT_PROVIDER.install_default();
    let mut criterion = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .configure_from_args();
    let cases = cases();
    cases.iter().for_each(|case| verify(&mut criterion, case));
    garbage(&mut criterion);
    step(&mut criterion, &cases[0]);
    constant_time();
    criterion.final_summary();
}
