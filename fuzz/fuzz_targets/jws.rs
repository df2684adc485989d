//! A token without a valid signature is refused; one with a valid signature is accepted only if it is JSON with an expiry.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sha2::Sha256;
use tower_chain::Jwt;

const SECRET: &[u8] = b"a secret that is long enough for HS256";

static JWT: LazyLock<Jwt<Value>> = LazyLock::new(|| {
    let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    Jwt::hs256(SECRET).expect("a good secret").issuer("joe").expect("an issuer").any_audience().clock(now)
});

fn is_taken(token: &[u8]) -> Option<Value> {
    JWT.verify(token)
        .now_or_never()
        .expect("nothing here waits")
        .ok()
        .map(|claims| claims.into_inner())
}

fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(DIGITS[digit as usize].into());
        }
    }
    text
}

fuzz_target!(|data: &[u8]| {
    // Only this program has the key, so no fuzzed token is accepted.
    assert!(is_taken(data).is_none());
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(header), Some(claims)) = (parts.next(), parts.next()) else { return };
    let message = format!("{}.{}", encode(header), encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a key of any length");
    mac.update(message.as_bytes());
    let token = format!("{message}.{}", encode(&mac.finalize().into_bytes()));
    if let Some(taken) = is_taken(token.as_bytes()) {
        let header: Value = serde_json::from_slice(header).expect("JSON");
        let claims: Value = serde_json::from_slice(claims).expect("JSON");
        assert_eq!(header["alg"], "HS256");
        assert_eq!(claims["iss"], "joe");
        assert!(claims["exp"].as_f64().expect("a number") > 1_699_999_000.0);
        assert_eq!(taken, claims);
    }
});
