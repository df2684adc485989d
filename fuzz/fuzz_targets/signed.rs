//! A delivery is accepted only if this program has signed it, and its body then arrives unchanged.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use tower_chain::middleware::signed::{Signed, WebhookSigner};
use tower_chain::{Body, Chain, ChainService};
use tower_chain_fuzz::send;

const STANDARD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const TEXT: &str = "a secret that is long enough";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn receiver(signed: Signed) -> ChainService {
    let signed = signed.clock(now).capacity(usize::MAX).expect("not zero");
    Chain::new().use_(signed).post(async |body: Bytes| body).build()
}

/// A chain for each format, the names of its fields, and a signer.
static FORMATS: LazyLock<[(ChainService, &[&str], WebhookSigner); 3]> = LazyLock::new(|| {
    let good = "a good secret";
    [
        (
            receiver(Signed::standard(STANDARD).expect(good)),
            &["webhook-id", "webhook-timestamp", "webhook-signature"],
            WebhookSigner::standard(STANDARD).expect(good),
        ),
        (
            receiver(Signed::github(TEXT).expect(good)),
            &["x-hub-signature-256"],
            WebhookSigner::github(TEXT).expect(good),
        ),
        (
            receiver(Signed::stripe(TEXT).expect(good)),
            &["stripe-signature"],
            WebhookSigner::stripe(TEXT).expect(good),
        ),
    ]
});

fn post(chain: &ChainService, headers: HeaderMap, body: &[u8]) -> (u16, Vec<u8>) {
    let mut req = http::Request::post("/").body(Body::from(body.to_vec())).expect("a request");
    *req.headers_mut() = headers;
    send(chain, req)
}

fuzz_target!(|data: &[u8]| {
    let lines: Vec<&[u8]> = data.splitn(4, |byte| *byte == b'\n').collect();
    let body = lines.last().copied().unwrap_or_default();
    for (chain, names, signer) in &*FORMATS {
        let mut headers = HeaderMap::new();
        for (name, line) in names.iter().zip(&lines) {
            if let Ok(value) = http::HeaderValue::from_bytes(line) {
                headers.append(*name, value);
            }
        }
        let (status, _) = post(chain, headers, body);
        assert!(status == 400 || status == 401, "{status}");
        // The id may be anything that the signer accepts. Each body is sent once, or is acknowledged as a duplicate.
        let id = std::str::from_utf8(lines[0]).unwrap_or_default();
        if let Ok(fields) = signer.sign(id, now(), body) {
            let (status, received) = post(chain, fields.clone(), body);
            assert_eq!(status, 200);
            assert!(received == body || received.is_empty());
            let (status, _) = post(chain, fields, &[body, b"x"].concat());
            assert_eq!(status, 401);
        }
    }
});
