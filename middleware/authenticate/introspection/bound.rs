//! Opaque tokens that are bound to a key or a certificate of the client (RFC 9449, 6.2 and RFC 8705, 3.2).

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use http::HeaderValue;
use serde_json::{Map, Value};

use super::{Introspected, Introspection, seconds};
use crate::middleware::authenticate::authenticator::{Possession, SentToken, Unconfirmed};
use crate::middleware::authenticate::{AuthenticateRefusal, TokenSource};
use crate::middleware::credentials::Explanation;
use crate::middleware::jwt::{Confirmation, Dpop, JwtRefusal, Mtls};

impl Introspection {
    /// Accepts tokens that are bound to a key of the client (`jkt` in `cnf`), as `Authorization: DPoP <token>` with a proof that the sender holds
    /// the key ([RFC 9449, 6.2](https://www.rfc-editor.org/rfc/rfc9449#section-6.2)). Defaults to refusing such tokens.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::authenticate::Introspection;
    /// use tower_chain::middleware::jwt::Dpop;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let fetch = async |_| Ok::<_, std::io::Error>(http::Response::default());
    /// let api = "https://api.example.com";
    /// let introspection = Introspection::new("https://login.example.com/introspect", api, fetch)?
    ///     .dpop(Dpop::new(api)?.required(true));
    /// # let _ = introspection;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    #[must_use]
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.proofs.dpop = Some(dpop);
        self
    }

    /// Accepts tokens that are bound to a certificate of the client (`x5t#S256` in `cnf`), on connections with that certificate
    /// ([RFC 8705, 3.2](https://www.rfc-editor.org/rfc/rfc8705#section-3.2)). Defaults to refusing such tokens.
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    #[must_use]
    pub fn mtls(mut self, mtls: Mtls) -> Self {
        self.proofs.mtls = Some(mtls);
        self
    }

    /// Whether the sender can prove all that the token is bound to.
    pub(super) fn covers(&self, claims: &Map<String, Value>) -> bool {
        let bound = claims.get("cnf").map(Confirmation::read);
        let is_dpop = claims.get("token_type").and_then(Value::as_str);
        match bound {
            Some(bound) => self.proofs.cover(&bound),
            // A token of this type is bound, even if the response does not say to which key.
            None => !is_dpop.is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP")),
        }
    }

    pub(super) fn possession(self: &Arc<Self>) -> Option<Arc<dyn Possession<Introspected>>> {
        let proves = self.proofs.dpop.is_some() || self.proofs.mtls.is_some();
        proves.then(|| -> Arc<dyn Possession<Introspected>> { self.clone() })
    }
}

impl Possession<Introspected> for Introspection {
    fn source(&self) -> Option<TokenSource> {
        self.proofs.dpop.is_some().then(TokenSource::dpop)
    }

    fn algorithms(&self) -> Option<String> {
        self.proofs.dpop.as_ref().map(Dpop::names)
    }

    fn is_required(&self) -> bool {
        self.proofs.require_dpop()
    }

    fn nonce(&self) -> Option<HeaderValue> {
        self.proofs.dpop.as_ref()?.nonce(seconds(SystemTime::now()))
    }

    fn confirm<'a>(
        &'a self,
        token: &'a Introspected,
        sent: SentToken<'a>,
    ) -> BoxFuture<'a, Result<Option<HeaderValue>, Unconfirmed>> {
        Box::pin(async move {
            let bound = token.claim("cnf").map(Confirmation::read);
            let bound = bound.as_ref();
            let confirmed = self.proofs.confirm(&sent.head, sent.with_proof, bound);
            let confirmed = confirmed.map_err(|refusal| {
                let part = match refusal {
                    JwtRefusal::Certificate => "x5t#S256",
                    _ => "cnf",
                };
                unconfirmed(refusal, Explanation::part(part).expected("proven by the sender"))
            });
            let Some(dpop) = confirmed? else { return Ok(None) };
            let key = bound.and_then(|bound| bound.key.as_deref());
            let now = seconds(SystemTime::now());
            let proven = dpop.prove(&sent.head, sent.token, key, now).await;
            proven.map_err(|refused| unconfirmed(refused.refusal, refused.explanation))
        })
    }
}

fn unconfirmed(refusal: JwtRefusal, explanation: Explanation) -> Unconfirmed {
    let (status, code) = refusal.status_and_code();
    let (reason, detail) = (refusal.code(), refusal.description());
    let refusal = AuthenticateRefusal::Proof;
    Unconfirmed { status, code, detail, refusal, reason, explanation }
}

#[cfg(all(test, feature = "jwt"))]
#[allow(clippy::unwrap_used, reason = "compiled for tests alone")]
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use bytes::Bytes;
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::extract::ClientCertificate;
    use crate::middleware::jwt::DpopClient;
    use crate::{Authenticate, Body, Chain, ChainService};

    const API: &str = "https://api.example.com";
    const CERTIFICATE: &[u8] = b"the certificate of the client";

    /// A chain whose issuer reports each token as active and bound to this.
    fn service(
        cnf: Value,
        token_type: &str,
        configure: impl Fn(Introspection) -> Introspection,
    ) -> ChainService {
        let mut says = json!({"active": true, "aud": API, "token_type": token_type, "sub": "ada"});
        if !cnf.is_null() {
            says["cnf"] = cnf;
        }
        let fetch = move |_| {
            let body = Bytes::from(says.to_string());
            async { Ok::<_, std::io::Error>(http::Response::new(body)) }
        };
        let introspection = Introspection::new("https://login.example.com/i", API, fetch).unwrap();
        Chain::new()
            .use_(Authenticate::introspection(configure(introspection)))
            .get(async |_: Introspected| "")
            .build()
    }

    async fn send(
        service: &ChainService,
        scheme: &str,
        proof: Option<String>,
        certificate: Option<&'static [u8]>,
    ) -> (u16, http::HeaderMap) {
        let mut req = http::Request::get("/me").header("authorization", format!("{scheme} opaque"));
        if let Some(proof) = proof {
            req = req.header("dpop", proof);
        }
        if let Some(der) = certificate {
            req = req.extension(ClientCertificate::from_der(der));
        }
        let response = service.handle(req.body(Body::empty()).unwrap()).await;
        (response.status().as_u16(), response.headers().clone())
    }

    fn now() -> u64 {
        seconds(SystemTime::now())
    }

    fn dpop() -> Dpop {
        Dpop::new(API).unwrap()
    }

    #[tokio::test]
    async fn an_opaque_token_is_accepted_with_what_it_is_bound_to_alone() {
        let client = DpopClient::new();
        let jkt = || json!({"jkt": client.thumbprint()});
        let x5t = || json!({"x5t#S256": URL_SAFE_NO_PAD.encode(Sha256::digest(CERTIFICATE))});
        let both = || json!({"jkt": client.thumbprint(), "x5t#S256": x5t()["x5t#S256"]});
        let unknown = || json!({"jkt": client.thumbprint(), "kid": "1"});
        let dpop_only = |i: Introspection| i.dpop(dpop());
        let mtls_only = |i: Introspection| i.mtls(Mtls::connection());
        let all = |i: Introspection| i.dpop(dpop()).mtls(Mtls::connection());
        let required = |i: Introspection| i.dpop(dpop().required(true));
        let none = |i: Introspection| i;
        type Configure<'a> = &'a dyn Fn(Introspection) -> Introspection;
        // What the token is bound to and its type, what is configured, the scheme, proof, certificate, and the status.
        let table: [(Value, &str, Configure<'_>, &str, bool, bool, u16); 19] = [
            (jkt(), "DPoP", &dpop_only, "DPoP", true, false, 200),
            (jkt(), "DPoP", &dpop_only, "DPoP", false, false, 401),
            (jkt(), "DPoP", &dpop_only, "Bearer", true, false, 401),
            (jkt(), "Bearer", &dpop_only, "Bearer", true, false, 401),
            (jkt(), "DPoP", &mtls_only, "Bearer", true, true, 401),
            (jkt(), "DPoP", &none, "Bearer", true, false, 401),
            (Value::Null, "DPoP", &dpop_only, "Bearer", false, false, 401),
            (Value::Null, "DPoP", &none, "Bearer", false, false, 401),
            (Value::Null, "Bearer", &dpop_only, "Bearer", false, false, 200),
            (Value::Null, "Bearer", &dpop_only, "DPoP", true, false, 401),
            (Value::Null, "Bearer", &required, "Bearer", false, false, 401),
            (jkt(), "DPoP", &required, "DPoP", true, false, 200),
            (x5t(), "Bearer", &mtls_only, "Bearer", false, true, 200),
            (x5t(), "Bearer", &mtls_only, "Bearer", false, false, 401),
            (x5t(), "Bearer", &dpop_only, "Bearer", false, true, 401),
            (both(), "DPoP", &all, "DPoP", true, true, 200),
            (both(), "DPoP", &all, "DPoP", true, false, 401),
            (both(), "DPoP", &all, "Bearer", false, true, 401),
            (unknown(), "DPoP", &all, "DPoP", true, true, 401),
        ];
        for (row, (cnf, kind, configure, scheme, proves, certificate, status)) in
            table.into_iter().enumerate()
        {
            let service = service(cnf, kind, configure);
            let proof = proves.then(|| client.proof_at(&row.to_string(), "opaque", now()));
            let certificate = certificate.then_some(CERTIFICATE);
            // The second time from memory.
            for time in 0..2 {
                let proof = proof
                    .as_ref()
                    .map(|_| client.proof_at(&format!("{row} {time}"), "opaque", now()));
                let (have, headers) = send(&service, scheme, proof, certificate).await;
                assert_eq!(have, status, "{row}: {headers:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_proof_is_for_one_request_of_one_key() {
        let (client, other) = (DpopClient::new(), DpopClient::new());
        let bound = || json!({"jkt": client.thumbprint()});
        let service = service(bound(), "DPoP", |i| i.dpop(dpop().nonces([7; 32]).unwrap()));
        let challenge = |headers: &http::HeaderMap| {
            let values = headers.get_all("www-authenticate").iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" | ")
        };
        let asked = r#"Bearer realm="api" | DPoP realm="api", algs="ES256 Ed25519""#;
        // The first proof lacks the nonce, which the response names.
        let proof = client.proof_at("1", "opaque", now());
        let (status, headers) = send(&service, "DPoP", Some(proof), None).await;
        assert_eq!(status, 401);
        assert!(challenge(&headers).starts_with(&format!(r#"{asked}, error="use_dpop_nonce""#)));
        let nonce = headers["dpop-nonce"].to_str().unwrap().to_owned();
        let with = |client: &DpopClient, jti: &str, token: &str| {
            client.proof_with_nonce(jti, token, now(), &nonce)
        };
        let good = with(&client, "2", "opaque");
        assert_eq!(send(&service, "DPoP", Some(good.clone()), None).await.0, 200);
        for (proof, code) in [
            (good, "invalid_dpop_proof"),
            (with(&other, "3", "opaque"), "invalid_token"),
            (with(&client, "4", "another token"), "invalid_dpop_proof"),
            (client.proof_with_nonce("5", "opaque", now() - 1000, &nonce), "invalid_dpop_proof"),
            ("nonsense".to_owned(), "invalid_dpop_proof"),
        ] {
            let (status, headers) = send(&service, "DPoP", Some(proof), None).await;
            assert_eq!(
                (status, &headers["cache-control"]),
                (401, &HeaderValue::from_static("no-store"))
            );
            assert!(challenge(&headers).contains(&format!(r#"{asked}, error="{code}""#)));
        }
        let mut req = http::Request::new(Body::empty());
        *req.uri_mut() = "/me".parse().unwrap();
        let response = service.handle(req).await;
        assert_eq!(challenge(response.headers()), asked);
        assert_eq!(response.headers()["dpop-nonce"], *nonce);
    }

    #[tokio::test]
    async fn a_bearer_token_is_not_anonymous_where_proofs_are_required() {
        let fetch = |_| async {
            let says = json!({"active": true, "aud": API, "token_type": "Bearer"}).to_string();
            Ok::<_, std::io::Error>(http::Response::new(Bytes::from(says)))
        };
        let introspection = Introspection::new("https://login.example.com/i", API, fetch).unwrap();
        let introspection = introspection.cache_ttl(Duration::ZERO).dpop(dpop().required(true));
        let service = Chain::new()
            .use_(Authenticate::introspection(introspection).optional())
            .get(async |token: crate::Provided<Option<Introspected>>| token.0.is_some().to_string())
            .build();
        let (status, headers) = send(&service, "Bearer", None, None).await;
        assert_eq!(status, 401);
        let challenges: Vec<_> = headers.get_all("www-authenticate").iter().collect();
        assert_eq!(
            challenges,
            [
                r#"DPoP realm="api", algs="ES256 Ed25519", error="invalid_token", error_description="The access token requires a proof of possession""#
            ]
        );
        let req = http::Request::get("/me").body(Body::empty()).unwrap();
        assert_eq!(service.handle(req).await.status(), 200);
    }
}
