//! A request is accepted only with a signature of this program, and each request that this program can sign is accepted.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Uri};
use libfuzzer_sys::fuzz_target;
use tower_chain::middleware::message_signatures::{
    MessageSignatures, MessageSigner, SignatureAlgorithm, VerifyingKey,
};
use tower_chain::{Body, Chain, ChainService};
use tower_chain_fuzz::send;

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// The only required component is one that each signature has.
static CHAIN: LazyLock<ChainService> = LazyLock::new(|| {
    let key = VerifyingKey::new(SignatureAlgorithm::HmacSha256, SECRET).expect("a good secret");
    let signatures = MessageSignatures::new("https://example.com")
        .and_then(|signatures| signatures.key("k", key))
        .and_then(|signatures| signatures.cover([""; 0]))
        .expect("good settings")
        .unsigned_body()
        .clock(now);
    Chain::new().use_(signatures).all(async |body: Bytes| body).build()
});

fn signer() -> MessageSigner {
    let signer = MessageSigner::new("k", SignatureAlgorithm::HmacSha256, SECRET);
    signer.and_then(|signer| signer.origin("https://example.com")).expect("good settings")
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(6, |byte| *byte == b'\n');
    let [target, field, component, input, signature, body] =
        std::array::from_fn(|_| lines.next().unwrap_or_default());
    let uri = Uri::try_from(target).unwrap_or_default();
    let request = || {
        let req = http::Request::post(uri.clone());
        let req = match HeaderValue::from_bytes(field) {
            Ok(value) => req.header("priority", value.clone()).header("content-digest", value),
            Err(_) => req,
        };
        req.body(Body::from(body.to_vec())).expect("a request")
    };

    // Only this program has the key.
    let mut forged = request();
    for (name, value) in [("signature-input", input), ("signature", signature)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            forged.headers_mut().insert(name, value);
        }
    }
    let (status, _) = send(&CHAIN, forged);
    assert!(status == 400 || status == 401, "{status}");

    // What can be signed can be verified, and its body arrives. A digest may be another one.
    let Ok(component) = std::str::from_utf8(component) else { return };
    let Ok(signer) = signer().components([component]) else { return };
    let (mut head, _) = request().into_parts();
    if signer.sign_request(&mut head, body, now()).is_err() {
        return;
    }
    let signed = http::Request::from_parts(head.clone(), Body::from(body.to_vec()));
    let (status, received) = send(&CHAIN, signed);
    match status {
        200 => assert_eq!(received, body),
        400 => assert!(component.contains("digest")),
        status => panic!("{status}"),
    }
    // Another time is another signature.
    let input = head.headers["signature-input"].to_str().expect("ASCII");
    let input = input.replace("created=1700000000", "created=1700000001");
    head.headers.insert("signature-input", HeaderValue::try_from(input).expect("ASCII"));
    let (status, _) = send(&CHAIN, http::Request::from_parts(head, Body::from(body.to_vec())));
    assert_eq!(status, 401);
});
