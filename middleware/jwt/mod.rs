//! JSON Web Tokens.
//!
//! # What it does
//!
//! [`Jwt<C>`](Jwt) takes the bearer token of the header `Authorization`, verifies its signature, holds its claims to a policy, and provides them as
//! [`Claims<C>`](Claims) to the steps after it. A request without a valid token is answered here; nothing behind it runs.
//!
//! It is strict where libraries are lenient. A key has exactly one algorithm, so that a header can't choose. `exp` is required; `nbf` and
//! `iat` count when they are there. A token that names an audience is refused unless the policy names it too. Extensions (`crit`, `b64`, `zip`), members that
//! stand there twice, claims of the wrong JSON type, and encodings other than the one of the RFC are refused. So are tokens that are bound to a key
//! (`cnf`): they are no bearer tokens. Keys are checked when they are loaded: an HMAC secret shorter than the hash or an RSA key under 2048 bits is an
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
//! | no token, or another scheme | 401 | `WWW-Authenticate: Bearer` |
//! | `Authorization` malformed or twice | 400 | `WWW-Authenticate: Bearer error="invalid_request", error_description=".."` |
//! | a token that is refused, for whatever reason | 401 | `WWW-Authenticate: Bearer error="invalid_token", error_description=".."` |
//! | a [proof of possession](Dpop) that is missing or refused | 401 | `WWW-Authenticate: DPoP error="invalid_dpop_proof", error_description="..", algs=".."` |
//! | keys or revocations can't be had | 503 | `Retry-After: 5` |
//!
//! Each of them has `Cache-Control: no-store` and a body of `application/problem+json` whose `detail` is the description. The descriptions are fixed texts, and hold
//! nothing of the token. The exact reason is a [`Refusal`]: the source of the error, and with its [code](Refusal::code) an event of level `DEBUG`. With a [realm](Jwt::realm) the challenge begins `Bearer realm=".."`.
//!
//! # What it provides
//!
//! [`Claims<C>`](Claims); behind [`optional`](Jwt::optional) it is [`MaybeClaims<C>`](MaybeClaims). An axum handler behind
//! [`into_layer`](crate::Middleware::into_layer) takes `Extension<Claims<C>>`. The value of `Authorization` is marked as sensitive, so that
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
//! [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068) (access tokens). Signatures are checked by aws-lc-rs, or with the feature
//! `jwt-rust-crypto` alone by the pure Rust backend of `jsonwebtoken`.

mod algorithm;
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
mod policy;
#[cfg(feature = "redis")]
mod redis;
mod refusal;
mod revocation;
mod source;
#[cfg(feature = "test-util")]
mod test_issuer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

use axum_core::response::IntoResponse;
use http::header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisDenylist;
pub use algorithm::Algorithm;
pub use cache::TokenCache;
pub use claims::{Claims, MaybeClaims, Token};
pub use dpop::Dpop;
pub use error::JwtConfigError;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub use jwks::{Fetch, HttpFetch, Jwks};
pub use key::{Key, Keys};
pub use refusal::Refusal;
pub use revocation::{Denylist, RevokeError};
pub use source::{KeyQuery, KeySource};
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub use test_issuer::{ServedIssuer, TestIssuer};

use crate::{Endpoint, Error, Middleware, Request, Response, Rest};
use cache::Store;
use jws::{Compact, Head};
use policy::Policy;
use revocation::Revocation;
use source::{RequestHead, Source};

/// Verifies the bearer token of each request, and provides its [`Claims<C>`].
///
/// `C` is what the application wants to read of the claims; any type that implements `Deserialize` does, `()` and `serde_json::Value` too. See the
/// [module](self) for what is refused, and how.
pub struct Jwt<C> {
    source: Source,
    policy: Policy,
    checks: Vec<Box<Check<C>>>,
    revocations: Vec<Revocation<C>>,
    cache: Option<Store<C>>,
    max_bytes: usize,
    /// What stands in each challenge before and after the error.
    realm: Option<String>,
    resource_metadata: Option<String>,
    dpop: Option<Dpop>,
}

type Check<C> = dyn Fn(&C, &Token) -> bool + Send + Sync;

impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Tokens that are signed with one of these keys: a [`Key`], [`Keys`], or another [`KeySource`].
    pub fn new(keys: impl Into<KeySource>) -> Self {
        Self {
            source: keys.into().0,
            policy: Policy::default(),
            checks: Vec::new(),
            revocations: Vec::new(),
            cache: None,
            max_bytes: TOKEN_BYTES,
            realm: None,
            resource_metadata: None,
            dpop: None,
        }
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

    /// Accepts tokens of this issuer: the claim `iss` must be this text, byte for byte. Each call adds one. Defaults to any issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.policy.issuers.push(issuer.into().into_boxed_str());
        self
    }

    /// Accepts tokens for this audience: the claim `aud` must be this text, or a list that holds it. Each call adds one.
    ///
    /// Defaults to none: a token with an audience is refused then, as RFC 7519, 4.1.3 demands, and one without is accepted.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.policy.any_audience = false;
        self.policy.audiences.push(audience.into().into_boxed_str());
        self
    }

    /// Accepts tokens for any audience, present or not, as long as its JSON type is right. Meant for gateways that check it elsewhere.
    #[must_use]
    pub fn any_audience(mut self) -> Self {
        self.policy.any_audience = true;
        self.policy.audiences.clear();
        self
    }

    /// Accepts tokens about this subject: the claim `sub` must be this text. Each call adds one. Defaults to any subject.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.policy.subjects.push(subject.into().into_boxed_str());
        self
    }

    /// Accepts tokens of this type, and no others: the `typ` of the header, where case and a leading `application/` don't matter. Each call
    /// adds one. Defaults to `JWT`, `at+jwt`, or none.
    #[must_use]
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.policy.types.push(typ.into().into_boxed_str());
        self
    }

    /// Refuses tokens without this claim. Each call adds one. Defaults to `exp` alone.
    #[must_use]
    pub fn require(mut self, claim: impl Into<String>) -> Self {
        self.policy.required.push(claim.into().into_boxed_str());
        self
    }

    /// Accepts tokens without `exp`. They are valid for ever; think of [`max_age`](Jwt::max_age) or a revocation.
    ///
    /// Defaults to refusing them. An `exp` that is there always counts.
    #[must_use]
    pub fn expiry_optional(mut self) -> Self {
        self.policy.needs_expiry = false;
        self
    }

    /// Refuses tokens that were issued longer ago than this, and those without `iat`. Defaults to no limit.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.policy.max_age = Some(max_age.as_secs());
        self
    }

    /// By how much clocks may differ, in whole seconds. Defaults to 60 seconds; at most ten minutes.
    ///
    /// # Errors
    ///
    /// If it is longer than ten minutes.
    pub fn leeway(mut self, leeway: Duration) -> Result<Self, JwtConfigError> {
        if leeway > MAX_LEEWAY {
            return Err(JwtConfigError::Leeway);
        }
        self.policy.leeway = leeway.as_secs();
        Ok(self)
    }

    /// Adds a check of the application: `false` refuses the token.
    ///
    /// It is for what makes a token invalid (401). Whether its bearer may do something (403) is for a later step.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&C, &Token) -> bool + Send + Sync + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Refuses tokens on this list. It is asked for each request, about cached tokens too.
    #[must_use]
    pub fn denylist(mut self, denylist: Denylist) -> Self {
        self.revocations.push(Revocation::Denylist(denylist));
        self
    }

    /// Refuses tokens on a list that several servers share. It is asked for each request, about cached tokens too. If it fails, the answer is 503.
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    #[must_use]
    pub fn redis_denylist(self, denylist: RedisDenylist) -> Self {
        self.revoked(move |claims| {
            let denylist = denylist.clone();
            async move { denylist.is_revoked(Claims::token(&claims)).await }
        })
    }

    /// Asks an `async fn` whether a token is revoked, for each request, about cached tokens too. If it fails, the answer is 503.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Claims, Jwt};
    ///
    /// # fn main() -> Result<(), tower_chain::JwtConfigError> {
    /// # let secret = "a secret that has thirty-two bytes";
    /// let jwt = Jwt::<()>::hs256(secret)?.revoked(async |claims: Claims<()>| {
    ///     Ok::<bool, std::io::Error>(Claims::token(&claims).id() == Some("stolen"))
    /// });
    /// # let _ = jwt;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn revoked<F, Fut, E>(mut self, is_revoked: F) -> Self
    where
        F: Fn(Claims<C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<axum_core::BoxError>,
    {
        self.revocations.push(Revocation::Hook(Box::new(move |claims| {
            let answer = is_revoked(claims);
            Box::pin(async move { answer.await.map_err(Into::into) })
        })));
        self
    }

    /// Remembers verified tokens. Defaults to verifying each token each time.
    #[must_use]
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(Store::new(cache));
        self
    }

    /// Sets what the time is. Defaults to [`SystemTime::now`].
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.policy.clock = Some(Box::new(now));
        self
    }

    /// Holds tokens to the profile for access tokens, [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068).
    ///
    /// That is: `typ` is `at+jwt`, `iss` is this issuer, `aud` has this audience, and `exp`, `iat`, `sub`, `client_id` and `jti` are there. ID tokens are refused.
    #[must_use]
    pub fn rfc9068(mut self, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        self.policy.access_token = true;
        self = self.typ("at+jwt").issuer(issuer).audience(audience);
        for claim in ["iss", "aud", "exp", "iat", "sub", "client_id", "jti"] {
            self = self.require(claim);
        }
        self
    }

    /// How many bytes a token may have. Defaults to 8192.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_bytes(mut self, bytes: usize) -> Result<Self, JwtConfigError> {
        if bytes == 0 {
            return Err(JwtConfigError::ZeroLimit);
        }
        self.max_bytes = bytes;
        Ok(self)
    }

    /// The realm of the challenge. Defaults to none.
    ///
    /// # Errors
    ///
    /// If it has a character other than printable ASCII.
    pub fn realm(mut self, realm: &str) -> Result<Self, JwtConfigError> {
        self.realm = Some(quoted(realm)?);
        Ok(self)
    }

    /// The absolute URL of the metadata of this resource, for the challenge ([RFC 9728, 5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)).
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// If it has a character other than printable ASCII.
    pub fn resource_metadata(mut self, url: &str) -> Result<Self, JwtConfigError> {
        self.resource_metadata = Some(quoted(url)?);
        Ok(self)
    }

    /// Accepts tokens that are bound to a key of the client, with a proof that the sender holds it
    /// ([RFC 9449](https://www.rfc-editor.org/rfc/rfc9449)). Defaults to refusing such tokens.
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.policy.proofs = true;
        self.dpop = Some(dpop);
        self
    }

    /// Lets requests without a token pass. What is provided then is [`MaybeClaims<C>`](MaybeClaims). A token that is there must be valid all the same.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Jwt, MaybeClaims};
    ///
    /// async fn hello(claims: MaybeClaims<()>) -> &'static str {
    ///     if claims.is_some() { "hello, member" } else { "hello, stranger" }
    /// }
    ///
    /// # fn main() -> Result<(), tower_chain::JwtConfigError> {
    /// # let secret = "a secret that has thirty-two bytes";
    /// let api = Chain::new().use_(Jwt::<()>::hs256(secret)?.optional()).get(hello).build();
    /// # let _ = api;
    /// # Ok(())
    /// # }
    /// ```
    pub fn optional(self) -> OptionalJwt<C> {
        OptionalJwt(self)
    }

    /// Verifies a token that came in another way than in a header, such as in the first message of a WebSocket.
    ///
    /// # Errors
    ///
    /// If the token is refused, or could not be verified.
    pub async fn verify(&self, token: impl AsRef<[u8]>) -> Result<Claims<C>, Refusal> {
        let claims = self.verify_token(None, token.as_ref()).await?;
        bearer_only(claims)
    }

    /// `Ok(None)` if the request has no token.
    async fn authenticate(&self, request: RequestHead<'_>) -> Result<Option<Claims<C>>, Refusal> {
        let Some(dpop) = &self.dpop else {
            return match jws::bearer(request.headers())? {
                Some(token) => self.verify_token(Some(request), token).await.map(Some),
                None => Ok(None),
            };
        };
        match Dpop::token(request.headers())? {
            None => Ok(None),
            Some((false, _)) if dpop.is_required() => Ok(None),
            Some((false, token)) => {
                bearer_only(self.verify_token(Some(request), token).await?).map(Some)
            }
            Some((true, token)) => {
                // The token first: only who has a good one makes us check a proof.
                let claims = self.verify_token(Some(request), token).await?;
                let bound_to = Claims::token(&claims).thumbprint.as_deref();
                dpop.prove(&request, token, bound_to, self.policy.now())?;
                Ok(Some(claims))
            }
        }
    }

    async fn verify_token(
        &self,
        request: Option<RequestHead<'_>>,
        token: &[u8],
    ) -> Result<Claims<C>, Refusal> {
        // First of all, so that nothing that is no token costs anything.
        let _ = Compact::split(token, self.max_bytes)?;
        let (source, issuer) = match &self.source {
            Source::Issuers(issuers) => {
                let named = source::peek(token).ok_or(Refusal::Malformed)?.issuer;
                let (name, source) = named
                    .and_then(|named| issuers.iter().find(|(name, _)| **name == *named))
                    .ok_or(Refusal::Issuer)?;
                (source, Some(&**name))
            }
            source => (source, None),
        };
        let claims = match source {
            Source::Fixed(keys) => self.verify_with(keys, issuer, token),
            Source::Chosen(choose) => {
                let keys = choose(&source::KeyQuery { request, token }).await;
                let keys = keys.map_err(|error| {
                    tracing::warn!(error, "no keys to verify tokens with");
                    Refusal::KeysUnavailable
                })?;
                self.verify_with(&keys.ok_or(Refusal::Key)?, issuer, token)
            }
            #[cfg(feature = "jwks")]
            Source::Remote(remote) => {
                let issuer = issuer.or(remote.issuer());
                let keys = remote.keys().await?;
                match self.verify_with(&keys, issuer, token) {
                    Err(refusal @ (Refusal::Key | Refusal::Algorithm)) => {
                        if !self.may_be_new(remote, issuer, token) {
                            return Err(refusal);
                        }
                        match remote.newer_than(&keys).await {
                            Some(newer) => self.verify_with(&newer, issuer, token),
                            None => Err(refusal),
                        }
                    }
                    verified => verified,
                }
            }
            Source::Issuers(_) => Err(Refusal::Issuer),
        }?;
        for revocation in &self.revocations {
            let revoked = match revocation {
                Revocation::Denylist(list) => list.is_revoked(Claims::token(&claims)),
                Revocation::Hook(ask) => ask(claims.clone()).await.map_err(|error| {
                    tracing::warn!(error, "can't tell whether a token is revoked");
                    Refusal::RevocationUnavailable
                })?,
            };
            if revoked {
                return Err(Refusal::Revoked);
            }
        }
        Ok(claims)
    }

    /// Whether the key of a token may be one that the issuer has published lately. What would be refused anyway fetches nothing.
    #[cfg(feature = "jwks")]
    fn may_be_new(&self, remote: &jwks::Remote, issuer: Option<&str>, token: &[u8]) -> bool {
        let Some(peeked) = source::peek(token) else { return false };
        let named = peeked.issuer.as_deref();
        let trusted = |name: &str| named == Some(name);
        peeked.kid.is_some()
            && remote.accepts(peeked.algorithm)
            && issuer.is_none_or(trusted)
            && (self.policy.issuers.is_empty()
                || self.policy.issuers.iter().any(|name| trusted(name)))
    }

    /// Fetches the keys of each issuer now, instead of with the first request. Does nothing where keys are not fetched.
    ///
    /// # Errors
    ///
    /// If an issuer's keys could not be had. It is tried again with the next request.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub async fn warm_up(&self) -> Result<(), Refusal> {
        let sources = match &self.source {
            Source::Issuers(issuers) => issuers.iter().map(|(_, source)| source).collect(),
            source => vec![source],
        };
        for source in sources {
            if let Source::Remote(remote) = source {
                remote.keys().await?;
            }
        }
        Ok(())
    }

    /// A token that is remembered is verified already; what may have changed since is looked at again.
    fn verify_with(
        &self,
        keys: &Keys,
        issuer: Option<&str>,
        token: &[u8],
    ) -> Result<Claims<C>, Refusal> {
        let now = self.policy.now();
        let Some(cache) = &self.cache else {
            return self.verify_anew(keys, issuer, token, now).map(|(claims, _)| claims);
        };
        let digest = cache.digest(token);
        if let Some(known) = cache.find(&digest, now)
            && keys.contains(&known.key)
        {
            self.policy.times(Claims::token(&known.claims), now)?;
            return Ok(known.claims);
        }
        let (claims, key) = self.verify_anew(keys, issuer, token, now)?;
        cache.insert(digest, &claims, key.id(), now);
        Ok(claims)
    }

    fn verify_anew<'k>(
        &self,
        keys: &'k Keys,
        issuer: Option<&str>,
        token: &[u8],
        now: u64,
    ) -> Result<(Claims<C>, &'k Key), Refusal> {
        let compact = Compact::split(token, self.max_bytes)?;
        let mut buffer = [0; HEADER_BYTES];
        let header = jws::decode_into(compact.header, &mut buffer)?;
        let head = Head::read(header)?;
        self.policy.typ(head.typ.as_deref())?;
        let key = keys.check(&compact, &head)?;

        let (mut small, large);
        let payload = if compact.payload.len() <= PAYLOAD_ON_STACK {
            small = [0; PAYLOAD_ON_STACK];
            jws::decode_into(compact.payload, &mut small)?
        } else {
            large = jws::decode(compact.payload)?;
            &large
        };
        let (claims, read) = json::claims::<C>(payload)?;
        self.policy.times(&read.token, now)?;
        self.policy.claims(&read)?;
        if issuer.is_some_and(|name| read.token.issuer() != Some(name)) {
            return Err(Refusal::Issuer);
        }
        if !self.checks.iter().all(|check| check(&claims, &read.token)) {
            return Err(Refusal::Custom);
        }
        Ok((Claims::verified(claims, read.token), key))
    }

    /// The answer to a request that is refused (RFC 6750, 3).
    fn refuse(&self, refusal: Refusal, req: &Request) -> Error {
        tracing::debug!(reason = refusal.code(), "access token refused");
        let (status, error) = match refusal {
            Refusal::Missing => (StatusCode::UNAUTHORIZED, None),
            Refusal::Request => (StatusCode::BAD_REQUEST, Some("invalid_request")),
            Refusal::KeysUnavailable
            | Refusal::RevocationUnavailable
            | Refusal::ReplayUnavailable => {
                return Error::new(StatusCode::SERVICE_UNAVAILABLE, refusal.description())
                    .with_header(RETRY_AFTER, HeaderValue::from_static("5"))
                    .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
                    .with_source(refusal);
            }
            // RFC 9449, 7.1.
            Refusal::Proof | Refusal::Replay => {
                (StatusCode::UNAUTHORIZED, Some("invalid_dpop_proof"))
            }
            _ => (StatusCode::UNAUTHORIZED, Some("invalid_token")),
        };
        let description = error.map(|_| refusal.description());
        let algorithms = self.dpop.as_ref().map(Dpop::names);
        // The error belongs to the scheme that the client used.
        let proven =
            self.dpop.is_some() && matches!(Dpop::token(req.headers()), Ok(Some((true, _))));
        let mut answer = Error::new(status, refusal.description());
        let bearer = self.dpop.as_ref().is_none_or(|dpop| !dpop.is_required());
        for (scheme, is_meant) in [("Bearer", bearer), ("DPoP", self.dpop.is_some())] {
            if !is_meant {
                continue;
            }
            let used = (scheme == "DPoP") == (proven || !bearer);
            let challenge = self.challenge([
                ("realm", self.realm.as_deref()),
                ("error", error.filter(|_| used)),
                ("error_description", description.filter(|_| used)),
                ("resource_metadata", self.resource_metadata.as_deref()),
                ("algs", algorithms.as_deref().filter(|_| scheme == "DPoP")),
            ]);
            if let Ok(challenge) = HeaderValue::try_from(format!("{scheme}{challenge}")) {
                answer = answer.with_header(WWW_AUTHENTICATE, challenge);
            }
        }
        answer.with_header(CACHE_CONTROL, HeaderValue::from_static("no-store")).with_source(refusal)
    }

    /// The parameters of a challenge that have a value.
    fn challenge(&self, parameters: [(&str, Option<&str>); 5]) -> String {
        let mut challenge = String::new();
        let mut separator = " ";
        for (name, value) in parameters {
            let Some(value) = value else { continue };
            for part in [separator, name, "=\"", value, "\""] {
                challenge.push_str(part);
            }
            separator = ", ";
        }
        challenge
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Middleware for Jwt<C> {
    type Provides = (Claims<C>,);

    async fn call<N: Endpoint>(
        &self,
        req: &mut Request,
        next: Rest<'_, N, Self::Provides>,
    ) -> Response {
        hide_credentials(req);
        match self.authenticate(RequestHead::of(req)).await {
            Ok(Some(claims)) => next.run_with(req, (claims,)).await,
            Ok(None) => self.refuse(Refusal::Missing, req).into_response(),
            Err(refusal) => self.refuse(refusal, req).into_response(),
        }
    }

    fn name(&self) -> String {
        String::from("Jwt")
    }
}

/// Shows the policy, no key.
impl<C> fmt::Debug for Jwt<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt")
            .field("keys", &self.source)
            .field("issuers", &self.policy.issuers)
            .field("audiences", &self.policy.audiences)
            .finish_non_exhaustive()
    }
}

/// A [`Jwt`] that lets requests without a token pass. Made by [`Jwt::optional`].
pub struct OptionalJwt<C>(Jwt<C>);

impl<C: DeserializeOwned + Send + Sync + 'static> Middleware for OptionalJwt<C> {
    type Provides = (MaybeClaims<C>,);

    async fn call<N: Endpoint>(
        &self,
        req: &mut Request,
        next: Rest<'_, N, Self::Provides>,
    ) -> Response {
        hide_credentials(req);
        match self.0.authenticate(RequestHead::of(req)).await {
            Ok(claims) => next.run_with(req, (MaybeClaims(claims),)).await,
            Err(refusal) => self.0.refuse(refusal, req).into_response(),
        }
    }

    fn name(&self) -> String {
        String::from("OptionalJwt")
    }
}

impl<C> fmt::Debug for OptionalJwt<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OptionalJwt").field(&self.0).finish()
    }
}

/// Marks the credentials as sensitive: their `Debug` shows nothing then.
fn hide_credentials(req: &mut Request) {
    // A second value is refused, so the first is all that a later step can see.
    if let Some(value) = req.headers_mut().get_mut(AUTHORIZATION) {
        value.set_sensitive(true);
    }
    // An entry may make the map grow: it is asked for only where there is one.
    if req.headers().contains_key(dpop::DPOP)
        && let http::header::Entry::Occupied(mut values) = req.headers_mut().entry(dpop::DPOP)
    {
        values.iter_mut().for_each(|value| value.set_sensitive(true));
    }
}

/// RFC 9449, 7.2: a bound token is no bearer token.
fn bearer_only<C>(claims: Claims<C>) -> Result<Claims<C>, Refusal> {
    match Claims::token(&claims).thumbprint {
        Some(_) => Err(Refusal::SenderConstrained),
        None => Ok(claims),
    }
}

/// The inside of a quoted string (RFC 9110, 5.6.4).
fn quoted(text: &str) -> Result<String, JwtConfigError> {
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(JwtConfigError::ChallengeText);
    }
    Ok(text.replace('\\', "\\\\").replace('"', "\\\""))
}

const TOKEN_BYTES: usize = 8 * 1024;
/// How many bytes a decoded header may have.
const HEADER_BYTES: usize = 768;
/// How many bytes an encoded payload may have to be decoded without an allocation.
const PAYLOAD_ON_STACK: usize = 1024;
const MAX_LEEWAY: Duration = Duration::from_secs(600);
