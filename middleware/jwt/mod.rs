//! JSON Web Tokens.
//!
//! # What it does
//!
//! [`Jwt<C>`](Jwt) takes the bearer token of the header `Authorization` (or of another [source](Jwt::sources), such as a cookie), verifies its
//! signature, checks its claims, and provides them as [`Claims<C>`](Claims) to the steps after it. A request without a valid token is refused, and
//! the steps after this one do not run.
//!
//! It is strict where libraries are lenient. A key has exactly one algorithm, so a header can't choose one. `exp` is required; `nbf` and `iat` are
//! checked if they are present. A token with an audience is refused unless the settings name that audience. Extensions (`crit`, `b64`, `zip`),
//! duplicate members, claims of the wrong JSON type, and encodings other than that of the RFC are refused. Tokens that are bound to a key or to a
//! certificate (`cnf`) are not bearer tokens; they are refused unless the sender proves that it holds the key ([`Dpop`], [`Mtls`]). Keys are checked
//! when they are loaded: an HMAC secret shorter than the hash, or an RSA key under 2048 bits, is a configuration error.
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
//! # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
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
//! # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
//! # let (old, new) = ("the old secret of thirty-two bytes", "the new secret of thirty-two bytes");
//! let keys = Keys::new([
//!     Key::secret(Algorithm::Hs256, old)?.kid("2025"),
//!     Key::secret(Algorithm::Hs256, new)?.kid("2026"),
//! ])?;
//! let jwt = Jwt::<Member>::new(keys)
//!     .issuer("https://login.example.org")?
//!     .audience("https://api.example.org")?
//!     .require("sub")?
//!     .max_age(Duration::from_secs(24 * 60 * 60))?
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
//! | a common issuer, with the rules for its tokens | `Jwt::auth0`, `Jwt::entra_v2`, `Jwt::keycloak` and others, with the feature `jwks` |
//! | per tenant or request | [`KeySource::per_request`] |
//! | several issuers | [`KeySource::issuers`] |
//!
//! The application or its preset names the algorithms: there is no default, and no token can add one.
//!
//! # Caching and revocation
//!
//! With a [`TokenCache`], the signature of the same token is checked once. A [`Denylist`], or an `async fn` given to [`Jwt::revoked`], is checked for
//! each request, also for cached tokens. With the feature `redis`, several servers can share a list. By default there is neither a cache nor a list.
//!
//! [`Jwt::verify`] verifies a token that is not in the head of a request, such as one in the first message of a WebSocket. [`Keys::verify`] verifies a
//! JWS that is not a JWT.
//!
//! # What the client sees
//!
//! | cause | status | headers |
//! | --- | --- | --- |
//! | no token, or another scheme | 401 | `WWW-Authenticate: Bearer realm="api"` |
//! | malformed; a header, cookie or parameter twice; two sources at once; too long | 400 | `WWW-Authenticate: Bearer realm="api", error="invalid_request", error_description=".."` |
//! | a token that is refused for any other reason | 401 | `WWW-Authenticate: Bearer realm="api", error="invalid_token", error_description=".."` |
//! | a [proof of possession](Dpop) that is missing or refused | 401 | `WWW-Authenticate: DPoP realm="api", algs="..", error="invalid_dpop_proof", error_description=".."` |
//! | a proof without the required [nonce](Dpop::nonces) | 401 | the same with `use_dpop_nonce`, and `DPoP-Nonce` |
//! | a cookie, in a request that another site caused (see [`TokenSource::cookie`]) | 403 | none |
//! | a form longer than [`form_limit`](Jwt::form_limit) | 413 | none |
//! | one key has signed [too many proofs](Dpop::replay_capacity) lately | 429 | `Retry-After: 5` |
//! | keys, revocations or used proofs are unavailable | 503 | `Retry-After: 5` |
//!
//! The same token in a cookie and in another source counts as one, in the other source, because a browser sends its cookies by itself.
//!
//! With [`challenge_scopes`](Jwt::challenge_scopes), the challenges of Bearer and DPoP have a `scope` as well.
//! There is one challenge for each kind of source, in the order of the sources. Those for cookies and other headers are the same as for `Authenticate`,
//! without an error. Each response has `Cache-Control: no-store` and a body of `application/problem+json` whose `detail` is the description. The
//! descriptions are fixed texts that contain nothing of the token. Behind CORS, expose `WWW-Authenticate`.
//!
//! # What the operator sees
//!
//! The exact reason is a [`JwtRefusal`], which is the source of the error. Each refusal is one event of level `DEBUG` with the target
//! `tower_chain::middleware::jwt` and these fields, none of which contains a value of the token:
//!
//! | field | content |
//! | --- | --- |
//! | `reason` | the [code](JwtRefusal::code) of the refusal |
//! | `part` | the claim, the header parameter (`alg`, `kid`, `typ`) or the part of a proof (`htm`, `htu`, `ath`, `iat`, `jti`, `nonce`, `jkt`, ..) that is at fault |
//! | `expected` | what the part must be, from the configuration and the time |
//! | `hint` | `differs in the trailing slash`, where this is the only difference |
//!
//! A failure of an issuer, of a store or of a function of yours is an event of level `WARN`, which includes the `status` and the `issuer_error` that an issuer
//! has returned.
//!
//! # What it provides
//!
//! [`Claims<C>`](Claims), or with [`optional`](Jwt::optional) [`MaybeClaims<C>`](MaybeClaims). An axum handler behind
//! [`into_layer`](crate::MiddlewareExt::into_layer) takes `Extension<Claims<C>>`. The value of `Authorization` is marked as sensitive, so `Debug`
//! does not show it in the logs of later steps.
//!
//! # Where to put it
//!
//! Before the handlers that need it, after CORS and after a limit per client, because to verify a signature costs more than to count a request. Paths
//! are matched first, so an unknown path is a 404, not a 401.
//!
//! # Sources
//!
//! [RFC 7515](https://www.rfc-editor.org/rfc/rfc7515) (JWS), [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519) (JWT),
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725) (best practices), [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750) (bearer tokens),
//! [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068) (access tokens), [RFC 9449](https://www.rfc-editor.org/rfc/rfc9449) (DPoP),
//! [RFC 8705](https://www.rfc-editor.org/rfc/rfc8705) (certificates). Signatures are checked by aws-lc-rs, or with the feature
//! `jwt-rust-crypto` alone by the pure Rust backend of `jsonwebtoken`.

mod algorithm;
mod crypto;
mod error;
mod explain;
mod impossible;
mod keys;
#[cfg(feature = "jwks")]
mod presets;
mod proof;
mod refusal;
mod revocation;
mod settings;
mod share;
mod step;
#[cfg(feature = "test-util")]
mod test_issuer;
#[cfg(test)]
mod tests;
mod token;
mod token_cache;
mod verify;

use std::fmt;

use serde::de::DeserializeOwned;

pub use algorithm::Algorithm;
pub use error::JwtError;
pub use keys::Keys;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub use keys::jwks::{Fetch, HttpFetch, Jwks};
pub use keys::key::Key;
pub use keys::source::{KeyQuery, KeySource};
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub use presets::load_balancer::LoadBalancerKeys;
pub(crate) use proof::Proofs;
#[cfg(feature = "authenticate")]
pub(crate) use proof::dpop::RefusedProof;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use proof::dpop::redis::RedisReplay;
#[cfg(all(test, feature = "introspection", feature = "jwt"))]
pub(crate) use proof::dpop::test_client::DpopClient;
pub use proof::dpop::{Dpop, ReplayStore};
pub use proof::mtls::{CertificateThumbprint, Mtls};
pub use refusal::JwtRefusal;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use revocation::redis::RedisDenylist;
pub use revocation::{Denylist, RevokeError};
pub use step::OptionalJwt;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub use test_issuer::{ServedIssuer, TestIssuer};
pub use token::access_token::AccessToken;
pub use token::claims::{Claims, MaybeClaims, RegisteredClaims};
#[cfg(feature = "introspection")]
pub(crate) use token::confirmation::Confirmation;
pub use token_cache::TokenCache;

use super::credentials::CredentialSources;
pub use super::credentials::{TokenSource, TokenSourceError};
use keys::source::Origin;
use revocation::Revocation;
use token::jws::Longest;
use token::policy::ClaimsPolicy;
use token_cache::Store;

/// Verifies the bearer token of each request, and provides its [`Claims<C>`].
///
/// `C` is the type of the claims that the application reads: any type that implements `Deserialize`, also `()` and `serde_json::Value`. The
/// [module](self) documents which tokens are refused, and how.
pub struct Jwt<C> {
    keys: Origin,
    policy: ClaimsPolicy,
    checks: Vec<Box<ClaimsCheck<C>>>,
    revocations: Vec<Revocation<C>>,
    cache: Option<Store<C>>,
    longest: Longest,
    /// The sources of bearer tokens.
    sources: Vec<TokenSource>,
    /// The same sources, and the scheme of tokens with a proof.
    places: CredentialSources,
    /// The index of that scheme in `places`.
    proven_place: Option<usize>,
    proofs: Proofs,
}

type ClaimsCheck<C> = dyn Fn(&C, &RegisteredClaims) -> bool + Send + Sync;

impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Accepts tokens that are signed with one of these keys: a [`Key`], [`Keys`], or another [`KeySource`].
    pub fn new(keys: impl Into<KeySource>) -> Self {
        let this = Self {
            keys: keys.into().0,
            policy: ClaimsPolicy::default(),
            checks: Vec::new(),
            revocations: Vec::new(),
            cache: None,
            longest: Longest::default(),
            sources: vec![TokenSource::bearer()],
            places: CredentialSources::new(),
            proven_place: None,
            proofs: Proofs::default(),
        };
        this.placed()
    }

    /// Accepts tokens that are signed with HMAC-SHA-256 and this secret of at least 32 bytes.
    ///
    /// # Errors
    ///
    /// If the secret is too short, all zeros, or the content of a key file.
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Key::secret(Algorithm::Hs256, secret).map(Self::new)
    }

    /// Accepts tokens that are signed with HMAC-SHA-384 and this secret of at least 48 bytes.
    ///
    /// # Errors
    ///
    /// If the secret is too short, all zeros, or the content of a key file.
    pub fn hs384(secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Key::secret(Algorithm::Hs384, secret).map(Self::new)
    }

    /// Accepts tokens that are signed with HMAC-SHA-512 and this secret of at least 64 bytes.
    ///
    /// # Errors
    ///
    /// If the secret is too short, all zeros, or the content of a key file.
    pub fn hs512(secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Key::secret(Algorithm::Hs512, secret).map(Self::new)
    }

    /// Accepts tokens that are signed with RSA (PKCS#1 v1.5, SHA-256), for this public key in PEM.
    ///
    /// # Errors
    ///
    /// The errors of [`Key::pem`].
    pub fn rs256(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Key::pem(Algorithm::Rs256, pem).map(Self::new)
    }

    /// Accepts tokens that are signed with RSA (PSS, SHA-256), for this public key in PEM.
    ///
    /// # Errors
    ///
    /// The errors of [`Key::pem`].
    pub fn ps256(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Key::pem(Algorithm::Ps256, pem).map(Self::new)
    }

    /// Accepts tokens that are signed with ECDSA on P-256, for this public key in PEM.
    ///
    /// # Errors
    ///
    /// The errors of [`Key::pem`].
    pub fn es256(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Key::pem(Algorithm::Es256, pem).map(Self::new)
    }

    /// Accepts tokens that are signed with ECDSA on P-384, for this public key in PEM.
    ///
    /// # Errors
    ///
    /// The errors of [`Key::pem`].
    pub fn es384(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Key::pem(Algorithm::Es384, pem).map(Self::new)
    }

    /// Accepts tokens that are signed with Ed25519, for this public key in PEM.
    ///
    /// # Errors
    ///
    /// The errors of [`Key::pem`].
    pub fn ed25519(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Key::pem(Algorithm::Ed25519, pem).map(Self::new)
    }

    /// Accepts tokens of an OpenID or OAuth issuer for this audience. The keys are found and fetched through the metadata of the issuer; see
    /// [`Jwks::issuer`].
    ///
    /// # Errors
    ///
    /// The errors of [`Jwks::issuer`] and [`audience`](Jwt::audience).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Jwt;
    /// use tower_chain::middleware::jwt::Algorithm;
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
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
    ) -> Result<Self, JwtError> {
        Self::new(Jwks::issuer(issuer, algorithms)?).audience(audience)
    }
}

/// Shows the policy, but no key.
impl<C> fmt::Debug for Jwt<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("keys", &self.keys)
            .field("issuers", &self.policy.issuers)
            .field("audiences", &self.policy.audiences)
            .finish_non_exhaustive()
    }
}
