//! The settings of a [`Jwt`]: which tokens it accepts, and in which sources it looks for them.

use std::future::Future;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

#[cfg(feature = "redis")]
use super::RedisDenylist;
use super::impossible;
use super::revocation::{Denylist, Revocation};
use super::token::claims::{Claims, RegisteredClaims};
use super::token::json::{Exact, ExactValues};
use super::token::policy::ID_TOKEN_CLAIMS;
use super::token_cache::{Store, TokenCache};
use super::{Dpop, Jwt, JwtError, KeySource, Mtls, OptionalJwt, TokenSource, TokenSourceError};
use crate::middleware::credentials::has_twins;

impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Replaces the source of the keys, such as that of a preset by one with a client or a cache time of your own, or with fixed keys in a test. All
    /// other rules stay.
    #[must_use]
    pub fn keys(mut self, keys: impl Into<KeySource>) -> Self {
        self.keys = keys.into().0;
        self
    }

    /// Accepts tokens of this issuer: the claim `iss` must be this text, byte for byte. Each call adds one. Defaults to any issuer.
    ///
    /// # Errors
    ///
    /// If it is blank, begins or ends with white space, contains a placeholder, is the URL of a discovery document or of a JWK set, or names no tenant of
    /// Entra ID (`common`); if the keys are those of other issuers (`Jwks::issuer`, [`KeySource::issuers`]).
    pub fn issuer(mut self, issuer: impl Into<String>) -> Result<Self, JwtError> {
        let issuer = impossible::issuer(issuer)?;
        impossible::tenant(&issuer)?;
        if !self.keys.is_for(&issuer) {
            return Err(JwtError::OtherIssuer);
        }
        self.policy.issuers.push(issuer);
        Ok(self)
    }

    /// Accepts tokens for this audience: the claim `aud` must be this text, or a list that contains it. Each call adds one.
    ///
    /// Defaults to none. A token with an audience is then refused, as RFC 7519, 4.1.3 requires, and a token without one is accepted.
    ///
    /// # Errors
    ///
    /// If it is blank, or begins or ends with white space.
    pub fn audience(mut self, audience: impl Into<String>) -> Result<Self, JwtError> {
        self.policy.any_audience = false;
        self.policy.audiences.push(impossible::text(audience, "the audience")?);
        Ok(self)
    }

    /// Accepts tokens for any audience, present or not, as long as its JSON type is right. For gateways that leave the check to another server.
    #[must_use]
    pub fn any_audience(mut self) -> Self {
        self.policy.any_audience = true;
        self.policy.audiences.clear();
        self
    }

    /// Accepts tokens about this subject: the claim `sub` must be this text. Each call adds one. Defaults to any subject.
    ///
    /// # Errors
    ///
    /// If it is blank, or begins or ends with white space.
    pub fn subject(mut self, subject: impl Into<String>) -> Result<Self, JwtError> {
        self.policy.subjects.push(impossible::text(subject, "the subject")?);
        Ok(self)
    }

    /// Accepts tokens of this type, and no others: the `typ` of the header, where case and a leading `application/` don't matter. Each call
    /// adds one. Defaults to `JWT`, `at+jwt`, or none.
    ///
    /// # Errors
    ///
    /// If it is blank, or begins or ends with white space.
    pub fn typ(mut self, typ: impl Into<String>) -> Result<Self, JwtError> {
        self.policy.types.push(impossible::text(typ, "the type")?);
        Ok(self)
    }

    /// Refuses tokens without this claim. Each call adds one. Defaults to `exp` alone.
    ///
    /// # Errors
    ///
    /// If the name is blank, or begins or ends with white space.
    pub fn require(mut self, claim: impl Into<String>) -> Result<Self, JwtError> {
        self.policy.required.push(impossible::text(claim, "the name of a claim")?);
        Ok(self)
    }

    /// Refuses tokens whose claim of this name, such as `azp`, is not this text. Further calls for the same name add accepted texts. Defaults to
    /// none.
    ///
    /// # Errors
    ///
    /// If the name or the text is blank, or begins or ends with white space.
    pub fn claim(
        mut self,
        name: impl AsRef<str>,
        text: impl Into<String>,
    ) -> Result<Self, JwtError> {
        let name = impossible::text(name.as_ref(), "the name of a claim")?;
        let text = impossible::text(text, "the value of a claim")?;
        let known = self.policy.exact.iter_mut().find(|exact| exact.name == name);
        match known.map(|exact| &mut exact.values) {
            Some(ExactValues::OneOf(texts) | ExactValues::Tenant(texts)) => texts.push(text),
            None => {
                let values = ExactValues::OneOf(vec![text]);
                self.policy.exact.push(Exact { name, values });
            }
        }
        Ok(self)
    }

    /// Accepts tokens without `exp`. Such a token never expires, so set [`max_age`](Jwt::max_age) or use a revocation list.
    ///
    /// Defaults to refusing them. An `exp` that is present is always checked.
    #[must_use]
    pub fn expiry_optional(mut self) -> Self {
        self.policy.needs_expiry = false;
        self
    }

    /// Refuses tokens that were issued longer ago than this, and those without `iat`. In whole seconds. Defaults to no
    /// limit.
    ///
    /// # Errors
    ///
    /// If it is shorter than a second.
    pub fn max_age(mut self, max_age: Duration) -> Result<Self, JwtError> {
        self.policy.max_age = Some(impossible::seconds(max_age, "the age of a token")?);
        Ok(self)
    }

    /// Sets by how much clocks may differ, in whole seconds. Defaults to 60 seconds; at most ten minutes.
    ///
    /// # Errors
    ///
    /// If it is longer than ten minutes.
    pub fn leeway(mut self, leeway: Duration) -> Result<Self, JwtError> {
        if leeway > MAX_LEEWAY {
            return Err(JwtError::Leeway);
        }
        self.policy.leeway = leeway.as_secs();
        Ok(self)
    }

    /// Adds a check of the application: `false` refuses the token.
    ///
    /// Use it for conditions that make a token invalid (401). Whether a caller may do something (403) is decided by a later step, such as `Require`.
    #[must_use]
    pub fn check(
        mut self,
        check: impl Fn(&C, &RegisteredClaims) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Refuses tokens on this list. It is checked for each request, also for cached tokens.
    #[must_use]
    pub fn denylist(mut self, denylist: Denylist) -> Self {
        self.revocations.push(Revocation::Denylist(denylist));
        self
    }

    /// Refuses tokens on a list that several servers share. It is checked for each request, also for cached tokens. If Redis fails, the response is
    /// a 503.
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    #[must_use]
    pub fn redis_denylist(self, denylist: RedisDenylist) -> Self {
        self.revoked(move |claims| {
            let denylist = denylist.clone();
            async move { denylist.is_revoked(Claims::registered(&claims)).await }
        })
    }

    /// Calls an `async fn` that returns whether a token is revoked, for each request, also for cached tokens. If it fails, the response is a 503.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Claims, Jwt};
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// # let secret = "a secret that has thirty-two bytes";
    /// let jwt = Jwt::<()>::hs256(secret)?.revoked(async |claims: Claims<()>| {
    ///     Ok::<bool, std::io::Error>(Claims::registered(&claims).id() == Some("stolen"))
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

    /// Caches verified tokens. Defaults to no cache.
    #[must_use]
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.cache = Some(Store::new(cache));
        self
    }

    /// Sets the clock. Defaults to [`SystemTime::now`].
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.policy.clock = Some(Box::new(now));
        self
    }

    /// Accepts only tokens that follow the profile for access tokens, [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068).
    ///
    /// `typ` must be `at+jwt`, `iss` this issuer, and `aud` must contain this audience; `exp`, `iat`, `sub`, `client_id` and `jti` must be present;
    /// `scope` must be a string if it is present. ID tokens are refused. The types of the other claims are those of `C`:
    /// [`AccessToken`](super::AccessToken) has the types of the RFC.
    ///
    /// # Errors
    ///
    /// The errors of [`issuer`](Jwt::issuer) and [`audience`](Jwt::audience).
    pub fn rfc9068(
        mut self,
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<Self, JwtError> {
        self.policy.access_token = true;
        self.policy.forbidden = ID_TOKEN_CLAIMS;
        self = self.typ("at+jwt")?.issuer(issuer)?.audience(audience)?;
        for claim in ["iss", "aud", "exp", "iat", "sub", "client_id", "jti"] {
            self = self.require(claim)?;
        }
        Ok(self)
    }

    /// Sets how many bytes a token may have. Defaults to 8192.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_bytes(mut self, bytes: usize) -> Result<Self, JwtError> {
        if bytes == 0 {
            return Err(JwtError::ZeroLimit);
        }
        self.longest.token = bytes;
        Ok(self.placed())
    }

    /// Sets how many bytes the header of a token may have, encoded. Defaults to 1024, which is enough for all but a chain of certificates (`x5c`).
    ///
    /// A header with the certificate of an RSA key of 4096 bits has about 2500 bytes, and each further certificate in the chain as many. The whole token, with
    /// its header, must not be longer than [`max_bytes`](Jwt::max_bytes).
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_header_bytes(mut self, bytes: usize) -> Result<Self, JwtError> {
        if bytes == 0 {
            return Err(JwtError::ZeroLimit);
        }
        self.longest.header = bytes;
        Ok(self)
    }

    /// Sets the sources of tokens. Defaults to `Authorization: Bearer`. A request with tokens in two sources is a 400,
    /// unless one of them is a cookie with the same token.
    ///
    /// [DPoP](Jwt::dpop) adds `Authorization: DPoP` to these sources. If proofs are required, tokens in all other sources are refused.
    ///
    /// # Errors
    ///
    /// If the list is empty or contains a source twice.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Jwt;
    /// use tower_chain::middleware::jwt::TokenSource;
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// # let secret = "a secret that has thirty-two bytes";
    /// let jwt = Jwt::<()>::hs256(secret)?
    ///     .sources([TokenSource::bearer(), TokenSource::cookie("__Host-session")?])?
    ///     .trusted_origin("https://app.example.com")?;
    /// # let _ = jwt;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sources(
        mut self,
        sources: impl IntoIterator<Item = TokenSource>,
    ) -> Result<Self, JwtError> {
        let sources: Vec<TokenSource> = sources.into_iter().collect();
        if sources.is_empty() || has_twins(&sources) {
            return Err(TokenSourceError::List.into());
        }
        self.sources = sources;
        Ok(self.placed())
    }

    /// Adds an origin whose pages may send requests with a token in a cookie, such as `https://app.example.com`. Defaults to the
    /// own origin alone. See [`TokenSource::cookie`].
    ///
    /// # Errors
    ///
    /// If it is not an origin: scheme, host and port in lower case, without a path.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Result<Self, JwtError> {
        self.places.trust(origin.into())?;
        Ok(self)
    }

    /// Sets the longest form in which a token is looked for, in bytes. Defaults to 64 KiB. See [`TokenSource::form`].
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn form_limit(mut self, form_limit: usize) -> Result<Self, JwtError> {
        if form_limit == 0 {
            return Err(JwtError::ZeroLimit);
        }
        self.places.form_limit = form_limit;
        Ok(self)
    }

    /// Sets the realm of the challenge. Defaults to `api`.
    ///
    /// # Errors
    ///
    /// If it contains a character other than printable ASCII.
    pub fn realm(mut self, realm: &str) -> Result<Self, JwtError> {
        let set = self.places.terms.set_realm(realm.to_owned());
        set.map_err(|_| JwtError::ChallengeText)?;
        Ok(self.placed())
    }

    /// Sets the scopes for the challenge: those that a token needs here, so that a client which has no token can request the right one
    /// ([RFC 6750, 3](https://www.rfc-editor.org/rfc/rfc6750#section-3)). Defaults to none. They are checked by `Require`, not here.
    ///
    /// # Errors
    ///
    /// If a scope is empty, or contains a space, a quote, a backslash or a character other than visible ASCII.
    pub fn challenge_scopes(
        mut self,
        scopes: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Self, JwtError> {
        let set = self.places.terms.set_scopes(scopes);
        set.map_err(|_| JwtError::ChallengeText)?;
        Ok(self.placed())
    }

    /// Sets the absolute URL of the metadata of this resource, for the challenge ([RFC 9728, 5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)).
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL.
    pub fn resource_metadata(mut self, url: &str) -> Result<Self, JwtError> {
        let set = self.places.terms.set_resource_metadata(url.to_owned());
        set.map_err(|_| JwtError::ChallengeText)?;
        Ok(self.placed())
    }

    /// Accepts tokens that are bound to a key of the client, with a proof that the sender holds the key
    /// ([RFC 9449](https://www.rfc-editor.org/rfc/rfc9449)). Defaults to refusing such tokens.
    #[must_use]
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.places.terms.set_algorithms(dpop.names());
        self.proofs.dpop = Some(dpop);
        self.placed()
    }

    /// Accepts tokens that are bound to a certificate of the client, on connections with that certificate
    /// ([RFC 8705](https://www.rfc-editor.org/rfc/rfc8705)). Defaults to refusing such tokens.
    #[must_use]
    pub fn mtls(mut self, mtls: Mtls) -> Self {
        self.proofs.mtls = Some(mtls);
        self
    }

    /// Updates all that is derived from the settings and does not change from request to request.
    pub(super) fn placed(mut self) -> Self {
        let proven = self.proofs.dpop.is_some().then(TokenSource::dpop);
        self.places.longest = self.longest.token;
        self.places.set(self.sources.iter().chain(&proven));
        self.proven_place = proven.and_then(|source| self.places.position(&source));
        if let Some(place) = self.proven_place.filter(|_| self.proofs.require_dpop()) {
            self.places.ask_only_for(place);
        }
        self
    }

    /// Lets requests without a token pass, and provides [`MaybeClaims<C>`](super::MaybeClaims). A token that is present must still be valid.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::jwt::MaybeClaims;
    /// use tower_chain::{Chain, Jwt};
    ///
    /// async fn hello(claims: MaybeClaims<()>) -> &'static str {
    ///     if claims.is_some() { "hello, member" } else { "hello, stranger" }
    /// }
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// # let secret = "a secret that has thirty-two bytes";
    /// let api = Chain::new().use_(Jwt::<()>::hs256(secret)?.optional()).get(hello).build();
    /// # let _ = api;
    /// # Ok(())
    /// # }
    /// ```
    pub fn optional(self) -> OptionalJwt<C> {
        OptionalJwt(self)
    }
}

const MAX_LEEWAY: Duration = Duration::from_secs(600);
