//! JSON Web Tokens.
//!
//! # What it does
//!
//! [`Jwt<C>`](Jwt) takes the bearer token of the header `Authorization` (or of another [place](Jwt::sources), such as a cookie), verifies its
//! signature, holds its claims to a policy, and provides them as [`Claims<C>`](Claims) to the steps after it. A request without a valid token is
//! answered here; nothing behind it runs.
//!
//! It is strict where libraries are lenient. A key has exactly one algorithm, so that a header can't choose. `exp` is required; `nbf` and
//! `iat` count when they are there. A token that names an audience is refused unless the policy names it too. Extensions (`crit`, `b64`, `zip`), members that
//! stand there twice, claims of the wrong JSON type, and encodings other than the one of the RFC are refused. So are tokens that are bound to a key or
//! to a certificate (`cnf`), unless the sender proves to have it ([`Dpop`], [`Mtls`]): they are no bearer tokens. Keys are checked when they are loaded: an HMAC secret shorter than the hash or an RSA key under 2048 bits is an
//! error at the start.
//!
//! # Example
//!
//! ```
//! use serde::Deserialize;
//! use tower_chain::{Chain, Claims, Jwt};
//!
//! #[derive(Deserialize)]
//! struct Member {
//!     sub: String,
//! }
//!
//! async fn me(claims: Claims<Member>) -> String {
//!     format!("hello, {}", claims.sub)
//! }
//!
//! # fn main() -> Result<(), tower_chain::JwtConfigError> {
//! # let secret = "a secret that has thirty-two bytes";
//! let api = Chain::new().use_(Jwt::<Member>::hs256(secret)?).get(me).build();
//! # let _ = api;
//! # Ok(())
//! # }
//! ```
//!
//! # Example: tuned
//!
//! ```
//! use std::time::Duration;
//!
//! use serde::Deserialize;
//! use tower_chain::middleware::jwt::{Algorithm, Key, Keys};
//! use tower_chain::{Chain, Jwt};
//!
//! #[derive(Deserialize)]
//! struct Member {
//!     roles: Vec<String>,
//! }
//!
//! # fn main() -> Result<(), tower_chain::JwtConfigError> {
//! # let (old, new) = ("the old secret of thirty-two bytes", "the new secret of thirty-two bytes");
//! let keys = Keys::new([
//!     Key::secret(Algorithm::Hs256, old)?.kid("2025"),
//!     Key::secret(Algorithm::Hs256, new)?.kid("2026"),
//! ])?;
//! let jwt = Jwt::<Member>::new(keys)
//!     .issuer("https://login.example.org")
//!     .audience("https://api.example.org")
//!     .require("sub")
//!     .max_age(Duration::from_secs(24 * 60 * 60))
//!     .leeway(Duration::from_secs(5))?
//!     .check(|member, _| !member.roles.is_empty())
//!     .realm("api")?;
//! let api = Chain::new().use_(jwt).get(async || "hello").build();
//! # let _ = api;
//! # Ok(())
//! # }
//! ```
//!
//! # Where keys come from
//!
//! | keys | how |
//! | --- | --- |
//! | one secret or one public key | [`Jwt::hs256`], [`Jwt::rs256`], [`Jwt::es256`], [`Jwt::ed25519`], .. |
//! | several, by `kid`; DER; JWK | [`Key`] and [`Keys::new`] |
//! | a JWKS file | [`Keys::jwks`] |
//! | a JWKS URL, an OpenID or OAuth issuer | `Jwks::url`, `Jwt::oidc`, with the feature `jwks` |
//! | per tenant or request | [`KeySource::per_request`] |
//! | several issuers | [`KeySource::issuers`] |
//!
//! Every list of algorithms is yours: there is no default, and nothing that a token says widens it.
//!
//! # Memory and revocation
//!
//! A [`TokenCache`] saves the signature check of a token that comes again. A [`Denylist`], or an `async fn` given to [`Jwt::revoked`], is asked for
//! each request, about cached tokens too. With the feature `redis` there is a list that several servers share. Neither is there by default.
//!
//! A token that comes in another way, such as in the first message of a WebSocket, is verified with [`Jwt::verify`]; a JWS that is no JWT with
//! [`Keys::verify`].
//!
//! # What the client sees
//!
//! | cause | status | headers |
//! | --- | --- | --- |
//! | no token, or another scheme | 401 | `WWW-Authenticate: Bearer realm="api"` |
//! | malformed; a header, cookie or parameter twice; two places at once; too long | 400 | `WWW-Authenticate: Bearer realm="api", error="invalid_request", error_description=".."` |
//! | a token that is refused, for whatever reason | 401 | `WWW-Authenticate: Bearer realm="api", error="invalid_token", error_description=".."` |
//! | a [proof of possession](Dpop) that is missing or refused | 401 | `WWW-Authenticate: DPoP realm="api", algs="..", error="invalid_dpop_proof", error_description=".."` |
//! | a proof without the [nonce](Dpop::nonces) that is asked for | 401 | the same with `use_dpop_nonce`, and `DPoP-Nonce` |
//! | a cookie, with a request of another site (see [`Source::cookie`]) | 403 | none |
//! | a form longer than [`form_limit`](Jwt::form_limit) | 413 | none |
//! | keys, revocations or used proofs can't be had | 503 | `Retry-After: 5` |
//!
//! There is one challenge for each kind of place, in the order of writing; those of cookies and other headers are as those of `Authenticate`, without an error.
//! Each of them has `Cache-Control: no-store` and a body of `application/problem+json` whose `detail` is the description. The descriptions are fixed texts, and hold
//! nothing of the token. The exact reason is a [`Refusal`]: the source of the error, and with its [code](Refusal::code) an event of level `DEBUG`. Behind CORS, expose `WWW-Authenticate`.
//!
//! # What it provides
//!
//! [`Claims<C>`](Claims); behind [`optional`](Jwt::optional) it is [`MaybeClaims<C>`](MaybeClaims). An axum handler behind
//! [`into_layer`](crate::MiddlewareExt::into_layer) takes `Extension<Claims<C>>`. The value of `Authorization` is marked as sensitive, so that
//! later steps don't log it.
//!
//! # Where to put it
//!
//! Before the handlers that need it, after CORS and after a limit per client: verifying a signature costs more than counting a request. Paths are matched first,
//! so an unknown path answers 404, not 401.
//!
//! # Sources
//!
//! [RFC 7515](https://www.rfc-editor.org/rfc/rfc7515) (JWS), [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519) (JWT),
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725) (best practices), [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750) (bearer tokens),
//! [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068) (access tokens), [RFC 9449](https://www.rfc-editor.org/rfc/rfc9449) (DPoP),
//! [RFC 8705](https://www.rfc-editor.org/rfc/rfc8705) (certificates). Signatures are checked by aws-lc-rs, or with the feature
//! `jwt-rust-crypto` alone by the pure Rust backend of `jsonwebtoken`.

mod access_token;
mod algorithm;
mod answer;
mod cache;
mod claims;
mod crypto;
mod dpop;
mod error;
mod json;
mod jwk;
#[cfg(feature = "jwks")]
mod jwks;
mod jws;
mod key;
mod keys;
mod mtls;
mod policy;
#[cfg(feature = "redis")]
mod redis;
mod refusal;
mod revocation;
mod settings;
mod source;
#[cfg(feature = "test-util")]
mod test_issuer;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;

use serde::de::DeserializeOwned;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::{RedisDenylist, RedisReplay};
pub use access_token::AccessToken;
pub use algorithm::Algorithm;
pub use answer::OptionalJwt;
pub use cache::TokenCache;
pub use claims::{Claims, MaybeClaims, Token};
pub use dpop::{Dpop, ReplayStore};
pub use error::JwtConfigError;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub use jwks::{Fetch, HttpFetch, Jwks};
pub use key::Key;
pub use keys::Keys;
pub use mtls::{CertificateThumbprint, Mtls};
pub use refusal::Refusal;
pub use revocation::{Denylist, RevokeError};
pub use source::{KeyQuery, KeySource};
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub use test_issuer::{ServedIssuer, TestIssuer};

use super::credentials::Places;
pub use super::credentials::{Source, SourceError};
use cache::Store;
use policy::Policy;
use revocation::Revocation;
use source::Origin;

/// Verifies the bearer token of each request, and provides its [`Claims<C>`].
///
/// `C` is what the application wants to read of the claims; any type that implements `Deserialize` does, `()` and `serde_json::Value` too. See the
/// [module](self) for what is refused, and how.
pub struct Jwt<C> {
    keys: Origin,
    policy: Policy,
    checks: Vec<Box<Check<C>>>,
    revocations: Vec<Revocation<C>>,
    cache: Option<Store<C>>,
    max_bytes: usize,
    /// Where bearer tokens are looked for.
    sources: Vec<Source>,
    /// The same, and the scheme of tokens with a proof.
    places: Places,
    /// Which of the places is that scheme.
    proven_place: Option<usize>,
    dpop: Option<Dpop>,
    mtls: Option<Mtls>,
}

type Check<C> = dyn Fn(&C, &Token) -> bool + Send + Sync;

impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Tokens that are signed with one of these keys: a [`Key`], [`Keys`], or another [`KeySource`].
    pub fn new(keys: impl Into<KeySource>) -> Self {
        let this = Self {
            keys: keys.into().0,
            policy: Policy::default(),
            checks: Vec::new(),
            revocations: Vec::new(),
            cache: None,
            max_bytes: TOKEN_BYTES,
            sources: vec![Source::bearer()],
            places: Places::new(),
            proven_place: None,
            dpop: None,
            mtls: None,
        };
        this.placed()
    }

    /// Tokens that are signed with HMAC-SHA-256 and this secret of at least 32 bytes.
    ///
    /// # Errors
    ///
    /// If the secret is too short, all zeros, or the content of a key file.
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        Key::secret(Algorithm::Hs256, secret).map(Self::new)
    }

    /// Tokens that are signed with HMAC-SHA-384 and this secret of at least 48 bytes.
    ///
    /// # Errors
    ///
    /// If the secret is too short, all zeros, or the content of a key file.
    pub fn hs384(secret: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        Key::secret(Algorithm::Hs384, secret).map(Self::new)
    }

    /// Tokens that are signed with HMAC-SHA-512 and this secret of at least 64 bytes.
    ///
    /// # Errors
    ///
    /// If the secret is too short, all zeros, or the content of a key file.
    pub fn hs512(secret: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        Key::secret(Algorithm::Hs512, secret).map(Self::new)
    }

    /// Tokens that are signed with RSA (PKCS#1 v1.5, SHA-256), for this public key in PEM.
    ///
    /// # Errors
    ///
    /// As those of [`Key::pem`].
    pub fn rs256(pem: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        Key::pem(Algorithm::Rs256, pem).map(Self::new)
    }

    /// Tokens that are signed with RSA (PSS, SHA-256), for this public key in PEM.
    ///
    /// # Errors
    ///
    /// As those of [`Key::pem`].
    pub fn ps256(pem: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        Key::pem(Algorithm::Ps256, pem).map(Self::new)
    }

    /// Tokens that are signed with ECDSA on P-256, for this public key in PEM.
    ///
    /// # Errors
    ///
    /// As those of [`Key::pem`].
    pub fn es256(pem: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        Key::pem(Algorithm::Es256, pem).map(Self::new)
    }

    /// Tokens that are signed with ECDSA on P-384, for this public key in PEM.
    ///
    /// # Errors
    ///
    /// As those of [`Key::pem`].
    pub fn es384(pem: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        Key::pem(Algorithm::Es384, pem).map(Self::new)
    }

    /// Tokens that are signed with Ed25519, for this public key in PEM.
    ///
    /// # Errors
    ///
    /// As those of [`Key::pem`].
    pub fn ed25519(pem: impl AsRef<[u8]>) -> Result<Self, JwtConfigError> {
        Key::pem(Algorithm::Ed25519, pem).map(Self::new)
    }

    /// Tokens of an OpenID or OAuth issuer for this audience. The keys are found and fetched through the metadata of the issuer; see [`Jwks::issuer`].
    ///
    /// # Errors
    ///
    /// As those of [`Jwks::issuer`].
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Jwt;
    /// use tower_chain::middleware::jwt::Algorithm;
    ///
    /// # fn main() -> Result<(), tower_chain::JwtConfigError> {
    /// let jwt = Jwt::<()>::oidc("https://login.example.org", "https://api.example.org", [Algorithm::Rs256])?;
    /// # let _ = jwt;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn oidc(
        issuer: &str,
        audience: impl Into<String>,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtConfigError> {
        Ok(Self::new(Jwks::issuer(issuer, algorithms)?).audience(audience))
    }
}

/// Shows the policy, no key.
impl<C> fmt::Debug for Jwt<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("keys", &self.keys)
            .field("issuers", &self.policy.issuers)
            .field("audiences", &self.policy.audiences)
            .finish_non_exhaustive()
    }
}

const TOKEN_BYTES: usize = 8 * 1024;
