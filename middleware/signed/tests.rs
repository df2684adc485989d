mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::extract::MaxBody;
use crate::test_log::Log;
use crate::{Chain, ChainService};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const TEXT: &str = "It's a Secret to Everybody";
const NOW: u64 = 1_700_000_000;

fn at(seconds: u64) -> impl Fn() -> SystemTime + Send + Sync + 'static {
    move || UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Answers with the name of the key, the id and the body.
fn receiver(signed: Signed) -> ChainService {
    let handler = async |delivery: Delivery, body: Bytes| {
        let mut text = format!("{} {:?} ", delivery.key(), delivery.id()).into_bytes();
        text.extend(&body);
        text
    };
    Chain::new().use_(signed).post(handler).build()
}

async fn send(chain: &ChainService, fields: &HeaderMap, body: &[u8]) -> Response {
    let mut req = http::Request::post("/").body(Body::from(body.to_vec())).unwrap();
    req.headers_mut().extend(fields.clone());
    chain.clone().oneshot(req).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    };
    let mut map = HeaderMap::new();
    pairs.iter().map(pair).for_each(|(name, value)| {
        map.append(name, value);
    });
    map
}

fn standard() -> Signed {
    Signed::standard(SECRET).unwrap().clock(at(NOW))
}

fn sign(id: &str, time: u64, body: &[u8]) -> HeaderMap {
    let signer = WebhookSigner::standard(SECRET).unwrap();
    signer.sign(id, UNIX_EPOCH + Duration::from_secs(time), body).unwrap()
}

/// A published secret, delivery and signature of each format: the reference libraries of Standard Webhooks, GitHub's documentation, and for
/// Stripe an HMAC by another crate.
#[tokio::test]
async fn published_examples_are_accepted_and_signed_alike() {
    let stripe = {
        use hmac::Mac;
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"whsec_test_secret").unwrap();
        mac.update(b"1492774577.{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}");
        mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let stripe = format!("t=1492774577,v1={stripe}");
    type Case<'a> = (Signed, WebhookSigner, u64, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 3] = [
        (
            Signed::standard(SECRET).unwrap(),
            WebhookSigner::standard(SECRET).unwrap(),
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            &[
                ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                ("webhook-timestamp", "1614265330"),
                ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ],
            r#"Some("msg_p5jXN8AQM9LWM0D4loKWxJek")"#,
        ),
        (
            Signed::github(TEXT).unwrap(),
            WebhookSigner::github(TEXT).unwrap(),
            NOW,
            "Hello, World!",
            &[(
                "x-hub-signature-256",
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            )],
            "None",
        ),
        (
            Signed::stripe("whsec_test_secret").unwrap(),
            WebhookSigner::stripe("whsec_test_secret").unwrap(),
            1_492_774_577,
            "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\"\n}",
            &[("stripe-signature", &stripe)],
            r#"Some("evt_test_webhook")"#,
        ),
    ];
    for (signed, signer, time, body, given, id) in cases {
        let signed_by_us = signer.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            UNIX_EPOCH + Duration::from_secs(time),
            body.as_bytes(),
        );
        assert_eq!(signed_by_us.unwrap(), fields(given));
        let chain = receiver(signed.clock(at(time)));
        let response = send(&chain, &fields(given), body.as_bytes()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(response).await, format!("default {id} {body}"));
        // Another byte anywhere.
        let changed = body.replacen('e', "E", 1);
        assert_eq!(send(&chain, &fields(given), changed.as_bytes()).await.status(), 401);
    }
}

#[tokio::test]
async fn what_is_not_signed_is_refused() {
    let signature = sign("msg_1", NOW, b"body")["webhook-signature"].to_str().unwrap().to_owned();
    let digest = signature.strip_prefix("v1,").unwrap();
    let many = [&*signature; 17].join(" ");
    let sixteen = format!("{} {signature}", ["v1,AAAA"; 15].join(" "));
    let long = format!("{signature} v9,{}", "a".repeat(4096));
    let now = NOW.to_string();
    let id = ("webhook-id", "msg_1");
    let time = ("webhook-timestamp", &*now);
    let good = ("webhook-signature", &*signature);
    for (expected, given) in [
        (200, vec![id, time, good]),
        (200, vec![id, time, ("webhook-signature", &*sixteen)]),
        (200, vec![id, time, ("webhook-signature", &*format!("v2,whatever {signature}"))]),
        (400, vec![]),
        (400, vec![time, good]),
        (400, vec![id, good]),
        (400, vec![id, time]),
        (400, vec![id, id, time, good]),
        (400, vec![id, time, time, good]),
        (400, vec![id, time, good, good]),
        (400, vec![("webhook-id", ""), time, good]),
        (400, vec![("webhook-id", "msg.1"), time, good]),
        (400, vec![("webhook-id", "msg 1"), time, good]),
        (400, vec![("webhook-id", &*"a".repeat(257)), time, good]),
        (400, vec![id, ("webhook-timestamp", ""), good]),
        (400, vec![id, ("webhook-timestamp", "+1700000000"), good]),
        (400, vec![id, ("webhook-timestamp", "-1"), good]),
        (400, vec![id, ("webhook-timestamp", "1700000000.0"), good]),
        (400, vec![id, ("webhook-timestamp", "99999999999999999999"), good]),
        (400, vec![id, time, ("webhook-signature", "")]),
        (400, vec![id, time, ("webhook-signature", digest)]),
        (400, vec![id, time, ("webhook-signature", "v1,not base64")]),
        (400, vec![id, time, ("webhook-signature", &*many)]),
        (400, vec![id, time, ("webhook-signature", &*long)]),
        (401, vec![("webhook-id", "msg_2"), time, good]),
        (401, vec![id, ("webhook-timestamp", "1700000001"), good]),
        (400, vec![id, ("webhook-timestamp", "01700000000"), good]),
        (401, vec![id, time, ("webhook-signature", "v1,AAAA")]),
        (401, vec![id, time, ("webhook-signature", &*format!("v1a,{digest}"))]),
        (401, vec![id, time, ("webhook-signature", &*format!("v2,{digest}"))]),
    ] {
        let chain = receiver(standard());
        let response = send(&chain, &fields(&given), b"body").await;
        assert_eq!(response.status(), expected, "{given:?}");
        if expected == 401 {
            assert_eq!(response.headers()["www-authenticate"], "Webhook-Signature");
        }
        if expected != 200 {
            let body = text(response).await;
            assert!(!body.contains("timestamp") && !body.contains(digest), "{body}");
        }
    }
}

#[tokio::test]
async fn malformed_fields_of_github_and_stripe_are_refused() {
    let tag = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let github = |value: &str| ("x-hub-signature-256", value.to_owned(), "Hello, World!");
    let stripe = WebhookSigner::stripe(TEXT).unwrap();
    let stripe = stripe.sign("-", UNIX_EPOCH + Duration::from_secs(NOW), b"{}").unwrap();
    let whole = stripe["stripe-signature"].to_str().unwrap();
    let v1 = whole.split_once(',').unwrap().1;
    let in_stripe = |value: String| ("stripe-signature", value, "{}");
    for (expected, (name, value, body)) in [
        (200, github(&format!("sha256={tag}"))),
        (400, github(&format!("sha256={}", tag.to_uppercase()))),
        (400, github(tag)),
        (400, github(&format!("sha1={tag}"))),
        (400, github(&format!("sha256={tag}0"))),
        (400, github(&format!("sha256=+{}", &tag[1..]))),
        (400, github(&format!("sha256={}", &tag[1..]))),
        (400, github(&format!("sha256=é{}", &tag[2..]))),
        (401, github(&format!("sha256={}", tag.replace('7', "8")))),
        (200, in_stripe(whole.to_owned())),
        (200, in_stripe(format!("t={NOW},v0=old,v1={},{v1}", "0".repeat(64)))),
        (401, in_stripe(format!("t={NOW}, {v1}"))),
        (400, in_stripe(v1.to_owned())),
        (400, in_stripe(format!("t={NOW},t={NOW},{v1}"))),
        (400, in_stripe(format!("t=1,{whole}"))),
        (400, in_stripe(format!("t={NOW},v1=zz"))),
        (400, in_stripe(format!("t={NOW}{}", ",v0=a".repeat(16)))),
        (400, in_stripe(String::new())),
        (401, in_stripe(format!("t={NOW}"))),
        (401, in_stripe(format!("t={NOW},v0={}", &v1[3..]))),
        (401, in_stripe(format!("t={},{v1}", NOW + 1))),
    ] {
        let signed = match name {
            "stripe-signature" => Signed::stripe(TEXT),
            _ => Signed::github(TEXT),
        };
        let chain = receiver(signed.unwrap().clock(at(NOW)));
        let mut given = HeaderMap::new();
        given.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        assert_eq!(send(&chain, &given, body.as_bytes()).await.status(), expected, "{value}");
    }
    let chain = receiver(Signed::github(TEXT).unwrap());
    let sha1 = fields(&[("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59")]);
    assert_eq!(send(&chain, &sha1, b"Hello, World!").await.status(), 400);
}

#[tokio::test]
async fn a_timestamp_is_accepted_within_the_tolerance_in_both_directions() {
    for (tolerance, off, expected) in [
        (300, -301, 401),
        (300, -300, 200),
        (300, 0, 200),
        (300, 300, 200),
        (300, 301, 401),
        (10, 11, 401),
        (10, -10, 200),
        (43_200, -43_200, 200),
        (43_200, 43_201, 401),
    ] {
        let signed = standard().tolerance(Duration::from_secs(tolerance)).unwrap();
        let fields = sign("msg_1", NOW.checked_add_signed(off).unwrap(), b"body");
        let status = send(&receiver(signed), &fields, b"body").await.status();
        assert_eq!(status, expected, "{tolerance} {off}");
    }
    // No overflow at either end, whatever the clock shows.
    for clock in [0, u64::from(u32::MAX)] {
        for time in ["0", "999999999999"] {
            let mut fields = sign("msg_1", NOW, b"body");
            fields.insert("webhook-timestamp", HeaderValue::from_static(time));
            let chain = receiver(standard().clock(at(clock)));
            assert_eq!(send(&chain, &fields, b"body").await.status(), 401);
        }
    }
    let before_1970 = standard().clock(|| UNIX_EPOCH - Duration::from_secs(1));
    let chain = receiver(before_1970);
    assert_eq!(send(&chain, &sign("msg_1", NOW, b"body"), b"body").await.status(), 401);
}

#[tokio::test]
async fn the_name_of_the_key_that_verified_is_provided() {
    let private = format!("whsk_{}", STANDARD.encode([7; 32]));
    let ed25519 = WebhookSigner::standard_private_key(&private).unwrap();
    let public = ed25519.public_key().unwrap();
    let both = standard().secret("next", OTHER).unwrap().public_key("asymmetric", &public).unwrap();
    let chain = receiver(both);
    let time = UNIX_EPOCH + Duration::from_secs(NOW);
    let next = WebhookSigner::standard(OTHER).unwrap().sign("b", time, b"x").unwrap();
    let asymmetric = ed25519.sign("c", time, b"x").unwrap();
    for (fields, expected) in [
        (sign("a", NOW, b"x"), "default Some(\"a\") x"),
        (next, "next Some(\"b\") x"),
        (asymmetric.clone(), "asymmetric Some(\"c\") x"),
    ] {
        assert_eq!(text(send(&chain, &fields, b"x").await).await, expected);
    }
    // A public key alone does not accept an HMAC with it, and a secret does not accept an Ed25519 signature.
    let chain = receiver(Signed::standard_public_key(&public).unwrap().clock(at(NOW)));
    assert_eq!(send(&chain, &asymmetric, b"y").await.status(), 401);
    assert_eq!(send(&chain, &asymmetric, b"x").await.status(), 200);
    let secret = public.replace("whpk_", "whsec_");
    let confused = WebhookSigner::standard(&secret).unwrap().sign("d", time, b"x").unwrap();
    assert_eq!(send(&chain, &confused, b"x").await.status(), 401);
    assert_eq!(send(&receiver(standard()), &asymmetric, b"x").await.status(), 401);
    // The private key with its public half, as other libraries write it.
    let whole = [[7; 32].as_slice(), &STANDARD.decode(&public[5..]).unwrap()].concat();
    let whole = format!("whsk_{}", STANDARD.encode(whole));
    let same = WebhookSigner::standard_private_key(&whole).unwrap();
    assert_eq!(same.public_key(), Some(public));
}

#[tokio::test]
async fn the_body_reaches_each_kind_of_extractor_byte_for_byte() {
    let body = b"{ \"a\" : [1,\t2] }\n";
    let stream = async |req: Request| req.into_body().collect().await.unwrap().to_bytes();
    #[cfg(feature = "json")]
    let json = async |crate::Json(value): crate::Json<serde_json::Value>| value.to_string();
    #[cfg(not(feature = "json"))]
    let json = async |body: String| {
        serde_json::from_str::<serde_json::Value>(&body).map(|value| value.to_string()).unwrap()
    };
    let bytes = async |body: Bytes| body;
    let chain = Chain::new()
        .use_(standard())
        .at("/stream", |c| c.post(stream))
        .at("/json", |c| c.post(json))
        .at("/bytes", |c| c.post(bytes))
        .build();
    for (n, (path, expected)) in
        [("/stream", &body[..]), ("/bytes", body), ("/json", br#"{"a":[1,2]}"#)].iter().enumerate()
    {
        // In pieces of three bytes.
        let pieces = body.chunks(3).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
        let pieces = futures_util::stream::iter(pieces.collect::<Vec<_>>());
        let mut req = http::Request::post(*path).body(Body::from_stream(pieces)).unwrap();
        req.headers_mut().extend(sign(&format!("msg_{n}"), NOW, body));
        req.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        let response = chain.clone().oneshot(req).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let found = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(found, *expected, "{path}");
    }
}

async fn unlimited_body(mut next: Next<'_>) -> Response {
    next.extensions_mut().insert(MaxBody::unlimited());
    next.run().await
}

async fn ten_bytes(mut next: Next<'_>) -> Response {
    next.extensions_mut().insert(MaxBody::bytes(10));
    next.run().await
}

#[tokio::test]
async fn a_body_is_read_up_to_the_bound() {
    const MIB: usize = 1024 * 1024;
    type Bound = fn(Chain) -> ChainService;
    let unlimited: Bound = |c| {
        let handler = async |body: Bytes| body.len().to_string();
        c.use_(unlimited_body).use_(standard()).post(handler).build()
    };
    let outer: Bound = |c| {
        let handler = async |body: Bytes| body.len().to_string();
        c.use_(ten_bytes).use_(standard()).post(handler).build()
    };
    let own: Bound = |c| {
        let handler = async |body: Bytes| body.len().to_string();
        c.use_(standard().max_body(3 * MIB as u64)).post(handler).build()
    };
    let default: Bound = |c| {
        let handler = async |body: Bytes| body.len().to_string();
        c.use_(standard()).post(handler).build()
    };
    for (name, chain, bound) in [
        ("default", default, MIB),
        ("unlimited", unlimited, MIB),
        ("outer", outer, 10),
        ("own", own, 3 * MIB),
    ] {
        let chain = chain(Chain::new());
        for (length, expected) in [(bound, 200), (bound + 1, 413)] {
            let body = vec![b'a'; length];
            let fields = sign(&format!("msg_{length}"), NOW, &body);
            let pieces = body.chunks(MIB / 2).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
            let pieces = futures_util::stream::iter(pieces.collect::<Vec<_>>());
            let mut req = http::Request::post("/").body(Body::from_stream(pieces)).unwrap();
            req.headers_mut().extend(fields);
            let response = chain.clone().oneshot(req).await.unwrap();
            assert_eq!(response.status(), expected, "{name} {length}");
        }
    }
}

/// Answers with the status, and counts the calls.
fn answering(signed: Signed) -> (ChainService, Arc<AtomicU16>, Arc<AtomicU64>) {
    let (status, calls) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU64::new(0)));
    let (own, count) = (Arc::clone(&status), Arc::clone(&calls));
    let chain = Chain::new()
        .catch_panics()
        .use_(signed)
        .post(crate::handler_fn::<(), _, _>(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let status = own.load(Ordering::Relaxed);
            async move {
                assert_ne!(status, 999, "the handler panics");
                StatusCode::from_u16(status).unwrap()
            }
        }))
        .build();
    (chain, status, calls)
}

#[tokio::test]
async fn a_delivery_is_handled_again_only_if_its_handler_has_failed() {
    for (first, again) in [
        (200, false),
        (204, false),
        (202, false),
        (301, true),
        (400, true),
        (409, true),
        (422, true),
        (429, true),
        (500, true),
        (503, true),
        (999, true),
    ] {
        for refuse in [false, true] {
            let signed = if refuse { standard().refuse_duplicates() } else { standard() };
            let (chain, status, calls) = answering(signed);
            let fields = sign("msg_1", NOW, b"body");
            status.store(first, Ordering::Relaxed);
            let sent = if first == 999 { 500 } else { first };
            assert_eq!(send(&chain, &fields, b"body").await.status(), sent);
            status.store(200, Ordering::Relaxed);
            let second = send(&chain, &fields, b"body").await.status();
            assert_eq!(calls.load(Ordering::Relaxed), 1 + u64::from(again), "{first}");
            assert_eq!(second, if refuse && !again { 409 } else { 200 }, "{first}");
            // A later attempt of the same delivery has a new timestamp and signature.
            let later = sign("msg_1", NOW + 60, b"body");
            send(&chain, &later, b"body").await;
            assert_eq!(calls.load(Ordering::Relaxed), 1 + u64::from(again), "{first}");
            // A forged one with the same id does not use it up.
            let mut forged = sign("msg_2", NOW, b"body");
            forged.insert("webhook-signature", HeaderValue::from_static("v1,AAAA"));
            assert_eq!(send(&chain, &forged, b"body").await.status(), 401);
            assert_eq!(send(&chain, &sign("msg_2", NOW, b"body"), b"body").await.status(), 200);
        }
    }
}

#[tokio::test]
async fn a_delivery_in_flight_is_not_acknowledged() {
    let (started, release) =
        (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (start, wait) = (Arc::clone(&started), Arc::clone(&release));
    let chain = Chain::new()
        .use_(standard())
        .post(crate::handler_fn::<(), _, _>(move || {
            let (start, wait) = (Arc::clone(&start), Arc::clone(&wait));
            async move {
                start.notify_one();
                wait.notified().await;
                "handled"
            }
        }))
        .build();
    let fields = sign("msg_1", NOW, b"body");
    let mut first = Box::pin(send(&chain, &fields, b"body"));
    assert!(first.as_mut().now_or_never().is_none());
    started.notified().await;
    let second = send(&chain, &fields, b"body").await;
    assert_eq!(second.status(), 409);
    assert_eq!(second.headers()["retry-after"], "10");
    // The client disconnects: the outcome is not known, and the sender sends the delivery again.
    drop(first);
    let mut again = Box::pin(send(&chain, &fields, b"body"));
    assert!(again.as_mut().now_or_never().is_none());
    release.notify_one();
    assert_eq!(text(again.await).await, "handled");
    assert_eq!(text(send(&chain, &fields, b"body").await).await, "");
}

#[tokio::test]
async fn deliveries_are_identified_as_set() {
    let stripe = WebhookSigner::stripe(TEXT).unwrap();
    let github = WebhookSigner::github(TEXT).unwrap();
    let time = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    let event = br#"{"id":"evt_1","object":"event"}"#;
    let by_content = || Signed::stripe(TEXT).unwrap().identify_by(DeliveryIdentity::Content);
    // The second delivery, and whether the handler runs for it.
    for (name, signed, first, second, runs) in [
        ("stripe, retry", Signed::stripe(TEXT), (NOW, &event[..]), (NOW + 9, &event[..]), false),
        ("stripe by content, retry", by_content(), (NOW, event), (NOW + 9, event), true),
        ("stripe by content, replay", by_content(), (NOW, event), (NOW, event), false),
        ("stripe, no id", Signed::stripe(TEXT), (NOW, b"{}"), (NOW + 9, b"{}"), true),
        ("stripe, no id, replay", Signed::stripe(TEXT), (NOW, b"{}"), (NOW, b"{}"), false),
        (
            "stripe, two ids",
            Signed::stripe(TEXT),
            (NOW, br#"{"id":"a"}"#),
            (NOW, br#"{"id":"b"}"#),
            true,
        ),
        ("github, replay", Signed::github(TEXT), (NOW, b"{}"), (NOW, b"{}"), false),
        ("github, other body", Signed::github(TEXT), (NOW, b"{}"), (NOW, b"{ }"), true),
    ] {
        let (chain, _, calls) = answering(signed.unwrap().clock(at(NOW)));
        let signer = if name.starts_with("stripe") { &stripe } else { &github };
        for (n, (seconds, body)) in [first, second].into_iter().enumerate() {
            let mut fields = signer.sign("-", time(seconds), body).unwrap();
            // Not signed, so it does not make a replay a new delivery.
            fields.insert("x-github-delivery", HeaderValue::from(n));
            assert_eq!(send(&chain, &fields, body).await.status(), 200, "{name}");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1 + u64::from(runs), "{name}");
    }
    // A second signature does not make a replay a new delivery.
    let (chain, _, calls) = answering(by_content().unwrap().clock(at(NOW)));
    let fields_of = stripe.sign("-", time(NOW), event).unwrap();
    let value = fields_of["stripe-signature"].to_str().unwrap().to_owned();
    let v1 = value.split_once(',').unwrap().1;
    for value in [&*value, &format!("{value},{v1}"), &format!("{v1},{value}")] {
        let status = send(&chain, &fields(&[("stripe-signature", value)]), event).await.status();
        assert_eq!(status, 200, "{value}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn memory_is_per_step_and_bounded() {
    let clock = Arc::new(AtomicU64::new(NOW));
    let own = Arc::clone(&clock);
    let now = move || UNIX_EPOCH + Duration::from_secs(own.load(Ordering::Relaxed));
    let (chain, _, calls) = answering(standard().capacity(2).unwrap().clock(now));
    let (other, ..) = answering(standard());
    for (id, expected) in [("a", 200), ("b", 200), ("c", 503), ("a", 200)] {
        let response = send(&chain, &sign(id, NOW, b""), b"").await;
        assert_eq!(response.status(), expected, "{id}");
        assert_eq!(response.headers().contains_key("retry-after"), expected == 503);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(send(&other, &sign("c", NOW, b""), b"").await.status(), 200);
    // The first timestamps are no longer accepted.
    clock.store(NOW + 601, Ordering::Relaxed);
    assert_eq!(send(&chain, &sign("c", NOW + 601, b""), b"").await.status(), 200);
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[test]
fn a_wrong_configuration_is_an_error() {
    let key = |bytes: usize| STANDARD.encode(vec![7; bytes]);
    let short = |name: &str, least| SignedError::ShortSecret { name: name.to_owned(), least };
    let name = || "default".to_owned();
    for (result, expected) in [
        (Signed::standard(""), short("default", 24)),
        (Signed::standard("whsec_"), short("default", 24)),
        (Signed::standard(&key(23)), short("default", 24)),
        (Signed::standard("whsec_not base64"), SignedError::Base64 { name: name() }),
        (Signed::standard(&SECRET[..37]), SignedError::Base64 { name: name() }),
        (
            Signed::standard(&format!("whpk_{}", key(32))),
            SignedError::WrongKind { name: name(), expected: "whsec_" },
        ),
        (
            Signed::standard_public_key(SECRET),
            SignedError::WrongKind { name: name(), expected: "whpk_" },
        ),
        (
            Signed::standard_public_key(&format!("whpk_{}", key(31))),
            SignedError::Ed25519 { name: name() },
        ),
        (Signed::github(""), short("default", 16)),
        (Signed::github("fifteen letters"), short("default", 16)),
        (Signed::stripe("whsec_"), short("default", 16)),
        (standard().secret("next", &key(8)), short("next", 24)),
        (standard().secret("default", OTHER), SignedError::DuplicateName { name: name() }),
        (
            standard().secret("next", &SECRET[6..]),
            SignedError::DuplicateKey { name: "next".to_owned(), other: name() },
        ),
        (
            Signed::github(TEXT).unwrap().public_key("next", &format!("whpk_{}", key(32))),
            SignedError::NoPublicKeys,
        ),
        (standard().tolerance(Duration::ZERO), SignedError::Tolerance),
        (standard().tolerance(Duration::from_secs(43_201)), SignedError::Tolerance),
        (Signed::github(TEXT).unwrap().tolerance(Duration::from_secs(1)), SignedError::NoTimestamp),
        (standard().remember(Duration::from_secs(599)), SignedError::ShortMemory),
        (standard().remember(Duration::ZERO), SignedError::Zero),
        (standard().capacity(0), SignedError::Zero),
        (standard().header_prefix("a b"), SignedError::HeaderPrefix),
        (standard().header_prefix(""), SignedError::HeaderPrefix),
        (Signed::github(TEXT).unwrap().header_prefix("svix"), SignedError::HeaderPrefix),
        (Signed::github(TEXT).unwrap().identify_by(DeliveryIdentity::Id), SignedError::NoId),
    ] {
        let error = result.expect_err("refused");
        assert_eq!(error, expected);
        assert!(!error.to_string().contains(&SECRET[6..]), "{error}");
    }
    assert!(Signed::standard(&format!("v1,{SECRET}")).is_ok());
    assert!(Signed::standard(&SECRET[6..]).is_ok());
    let signer = WebhookSigner::standard(SECRET).unwrap();
    for id in ["", "a.b", "a b", "é"] {
        assert_eq!(signer.sign(id, UNIX_EPOCH, b""), Err(SignedError::Id), "{id:?}");
    }
    let early = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(signer.sign("a", early, b""), Err(SignedError::Time));
}

#[test]
fn no_secret_is_printed() {
    let signed = standard().secret("next", OTHER).unwrap();
    let printed = format!("{signed:?} {:?}", WebhookSigner::standard(SECRET).unwrap());
    assert!(printed.contains("next") && printed.contains("300s"), "{printed}");
    for secret in [SECRET, OTHER] {
        assert!(!printed.contains(&secret[6..]), "{printed}");
    }
}

#[tokio::test]
async fn the_log_names_the_part_at_fault_in_one_event() {
    let log = Log::start();
    let chain = receiver(standard().source("svix").header_prefix("svix").unwrap());
    send(&chain, &HeaderMap::new(), b"").await;
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
    let mut old = HeaderMap::new();
    for (name, value) in sign("msg_1", NOW - 400, b"body") {
        let name = name.unwrap().as_str().replace("webhook", "svix");
        old.insert(HeaderName::try_from(name).unwrap(), value);
    }
    send(&chain, &old, b"body").await;
    old.insert("svix-timestamp", HeaderValue::from(NOW));
    send(&chain, &old, b"body").await;
    let lines = log.text();
    for (line, part) in lines.lines().zip(["svix-id", "timestamp", "signature"]) {
        assert!(line.contains(&format!("part=\"{part}\"")) && line.contains("svix"), "{line}");
    }
    assert_eq!(lines.lines().count(), 3);
}

#[test]
fn each_refusal_is_declared() {
    let refusals = [
        SignedRefusal::Missing,
        SignedRefusal::Malformed,
        SignedRefusal::Timestamp,
        SignedRefusal::Signature,
        SignedRefusal::InFlight,
        SignedRefusal::Full,
        SignedRefusal::Unavailable,
    ];
    for (signed, field, handled) in [
        (standard().header_prefix("svix").unwrap(), "svix-signature", 200),
        (Signed::github(TEXT).unwrap(), "x-hub-signature-256", 200),
        (Signed::stripe(TEXT).unwrap().refuse_duplicates(), "stripe-signature", 409),
    ] {
        let mut declaration = Declaration::default();
        signed.max_body(10).declare(&mut declaration);
        let statuses: Vec<_> = declaration.answered().iter().map(Answer::status).collect();
        assert!(refusals.iter().all(|refusal| statuses.contains(&refusal.status())), "{field}");
        assert!(statuses.contains(&StatusCode::from_u16(handled).unwrap()), "{field}");
        assert!(statuses.contains(&StatusCode::PAYLOAD_TOO_LARGE), "{field}");
        assert!(declaration.read().iter().any(|read| read.name() == field), "{field}");
        let scheme = Scheme::Header(field.to_owned());
        assert_eq!(*declaration.credentials()[0].scheme(), scheme);
        assert!(declaration.kinds().contains(&Kind::VerifiesBody));
        assert_eq!(declaration.body_limit(), Some(10));
        assert_eq!(declaration.used().len(), 1);
    }
}
