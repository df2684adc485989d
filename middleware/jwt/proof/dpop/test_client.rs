//! A DPoP client, for tests.

#![allow(clippy::unwrap_used, reason = "compiled for tests alone")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::thumbprint;
use crate::middleware::jwt::crypto::sha256;

/// A key that signs proofs for `GET https://api.example.com/me`.
pub(crate) struct DpopClient(EcdsaKeyPair);

impl DpopClient {
    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(crate) fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = (&point[1..33], &point[33..65]);
        json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
    }

    pub(crate) fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(thumbprint(self.jwk().as_object().unwrap()).unwrap())
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn header(&self) -> Value {
        json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()})
    }

    pub(crate) fn claims(jti: &str, token: &str, iat: u64) -> Value {
        let ath = URL_SAFE_NO_PAD.encode(sha256(&[token.as_bytes()]));
        json!({"jti": jti, "htm": "GET", "htu": "https://api.example.com/me", "iat": iat, "ath": ath})
    }

    pub(crate) fn proof_at(&self, jti: &str, token: &str, iat: u64) -> String {
        self.sign(&self.header(), &Self::claims(jti, token, iat))
    }

    #[cfg(feature = "introspection")]
    pub(crate) fn proof_with_nonce(&self, jti: &str, token: &str, iat: u64, nonce: &str) -> String {
        let mut claims = Self::claims(jti, token, iat);
        claims["nonce"] = json!(nonce);
        self.sign(&self.header(), &claims)
    }
}
