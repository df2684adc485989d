//! Requests that are signed with an Ed25519 key (RFC 9421), together with a digest of their body (RFC 9530).
//!
//! Run with
//!
//! ```sh
//! cargo run --example message_signatures --features message-signatures,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! printf -- '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n' > client.pem
//! BODY='pay 7' DIGEST="sha-256=:$(printf 'pay 7' | openssl dgst -sha256 -binary | base64):"
//! PARAMS="(\"@method\" \"@target-uri\" \"content-digest\");created=$(date +%s);keyid=\"client-1\""
//! printf '"@method": POST\n"@target-uri": http://localhost:3000/payments\n"content-digest": %s\n"@signature-params": %s' "$DIGEST" "$PARAMS" > base.txt
//! SIGNATURE=$(openssl pkeyutl -sign -inkey client.pem -rawin -in base.txt | base64 -w 0)
//! curl -H "content-digest: $DIGEST" -H "signature-input: sig=$PARAMS" -H "signature: sig=:$SIGNATURE:" -d "$BODY" localhost:3000/payments
//! # pay 7, signed by client-1
//! curl -i -H "content-digest: $DIGEST" -H "signature-input: sig=$PARAMS" -H "signature: sig=:$SIGNATURE:" -d 'pay 9' localhost:3000/payments
//! # HTTP/1.1 400 Bad Request
//! # want-content-digest: sha-512=10, sha-256=9
//! curl -i -d "$BODY" localhost:3000/payments
//! # HTTP/1.1 401 Unauthorized
//! # accept-signature: sig=("@method" "@target-uri" "content-digest");created
//! ```

use std::error::Error;

use tower_chain::middleware::message_signatures::{
    MessageSignatures, MessageSignaturesError, SignatureAlgorithm, VerifiedSignature, VerifyingKey,
};
use tower_chain::{Chain, ChainService};

/// The public key of the client: that of RFC 9421, B.1.4.
const CLIENT: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----";

async fn pay(signature: VerifiedSignature, order: String) -> String {
    format!("{order}, signed by {}\n", signature.key_id())
}

/// `origin` is the one that clients use.
fn api(origin: &str) -> Result<ChainService, MessageSignaturesError> {
    let key = VerifyingKey::new(SignatureAlgorithm::Ed25519, CLIENT)?;
    let signatures = MessageSignatures::new(origin)?.key("client-1", key)?;
    Ok(Chain::new().use_(signatures).at("/payments", |c| c.post(pay)).build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let api = api(&format!("http://localhost:{port}"))?;
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api).await?)
}

#[tokio::test]
async fn only_signed_requests_arrive() -> Result<(), Box<dyn Error>> {
    use std::time::SystemTime;
    use tower_chain::Request;
    use tower_chain::middleware::message_signatures::MessageSigner;

    let private = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----";
    let signer = MessageSigner::new("client-1", SignatureAlgorithm::Ed25519, private)?;
    let api = api("https://api.example.com")?;
    let request = http::Request::post("https://api.example.com/payments").body(())?;
    let (mut head, ()) = request.into_parts();
    signer.sign_request(&mut head, b"pay 7", SystemTime::now())?;
    for (body, status) in [("pay 7", 200), ("pay 9", 400)] {
        let req: Request = http::Request::from_parts(head.clone(), body.into());
        assert_eq!(api.handle(req).await.status(), status);
    }
    let unsigned: Request = http::Request::post("/payments").body("pay 7".into())?;
    assert_eq!(api.handle(unsigned).await.status(), 401);
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api("https://api.example.com")?.audit().assert_none();
    Ok(())
}
