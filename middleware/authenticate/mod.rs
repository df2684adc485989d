//! Secret tokens, API keys and passwords.
//!
//! # What it does
//!
//! [`Authenticate`] accepts requests with valid credentials, and provides the caller to the steps after it. It supports
//!
//! - one secret token, or several with names ([`token`](Authenticate::token), [`tokens`](Authenticate::tokens));
//! - API keys, which can be added, withdrawn and expire while requests are served ([`api_keys`](Authenticate::api_keys)), or are in a store of your own
//!   ([`api_key_store`](Authenticate::api_key_store));
//! - users and passwords: a few in the configuration ([`users`](Authenticate::users)), checked by a slow password hash on a blocking thread
//!   ([`basic_blocking`](Authenticate::basic_blocking)), or by an async function ([`basic`](Authenticate::basic));
//! - opaque tokens, which the authorization server introspects, with the feature `introspection` (`Authenticate::introspection`);
//! - JSON Web Tokens beside other credentials, with the feature `jwt` (`Authenticate::jwt`);
//! - tokens for which an async function returns a principal of your own type ([`with`](Authenticate::with)).
//!
//! Only SHA-256 digests of configured secrets are kept, and digests are compared in constant time. Credentials are never logged, echoed or shown by
//! `Debug`.
//!
//! # Example
//!
//! ```
//! use tower_chain::{Authenticate, Chain, Principal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = "Vy3pRT1rW9ZsU0bq6xQ2Lw";
//! // Authorization: Bearer <secret>
//! let chain = Chain::new()
//!     .use_(Authenticate::token(secret)?)
//!     .get(async |principal: Principal| format!("hello, {}", principal.name()));
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Example, tuned
//!
//! API keys for machines in a header, or a session cookie for people:
//!
//! ```
//! use tower_chain::middleware::authenticate::{ApiKey, ApiKeys, TokenSource, Token};
//! use tower_chain::{Authenticate, Chain, Error, Principal};
//!
//! async fn session(token: Token) -> Result<Option<Principal>, Error> {
//!     # async fn look_up(_: &str) -> Result<Option<String>, std::io::Error> { Ok(None) }
//!     let user = look_up(token.as_str()).await?; // a failing store is a 500
//!     Ok(user.map(|user| Principal::new(user).role("member")))
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = ApiKeys::new();
//! keys.add(ApiKey::new("billing", "Vy3pRT1rW9ZsU0bq6xQ2Lw")?.scope("invoices:read"))?;
//!
//! let people = Authenticate::with(session).sources([TokenSource::cookie("__Host-session")?])?;
//! let authenticate = Authenticate::api_keys(&keys)
//!     .or(people)
//!     .realm("invoices")?
//!     .trusted_origin("https://app.example.com")?;
//!
//! let chain = Chain::new().use_(authenticate).get(async |principal: Principal| {
//!     format!("hello, {}", principal.name())
//! });
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # What the client sees
//!
//! Each refusal is a problem+json with `Cache-Control: no-store` and one challenge per kind of credentials, in the order of the sources. Only the
//! challenge for the credentials that were sent has `error` and `error_description`, and only if its scheme is Bearer or DPoP.
//!
//! | cause | status | `WWW-Authenticate` |
//! | --- | --- | --- |
//! | no credentials, or only those of another scheme | 401 | `Bearer realm="api"` |
//! | unknown, withdrawn or expired | 401 | `Bearer realm="api", error="invalid_token", error_description="The credentials are not valid"` |
//! | malformed; a header, cookie or parameter twice; credentials in two sources | 400 | `Bearer realm="api", error="invalid_request", error_description=".."` |
//! | a cookie, in a request that another site caused (see [`TokenSource::cookie`]) | 403 | none |
//! | a form longer than [`form_limit`](Authenticate::form_limit) | 413 | none |
//! | the authorization server (`introspection`) or the [store of keys](ApiKeyStore) is unavailable | 503, with `Retry-After` | none |
//! | too many requests of one client wait for a check ([`basic_blocking`](Authenticate::basic_blocking), `introspection`) | 429, with `Retry-After` | none |
//! | too many requests of all clients wait, or this one has waited for 10 seconds | 503, with `Retry-After` | none |
//! | a token that is bound to a key or a certificate, without the proof for it (`introspection`) | 401 | as for `Jwt`: `invalid_token`, `invalid_dpop_proof`, `use_dpop_nonce` |
//! | your function returns an error | that of the error | that of the error |
//!
//! With several functions ([`or`](Authenticate::or)), a status of 429 or 5xx is sent only if no other function accepts the credentials, and instead of a 401.
//!
//! The same credentials in a cookie and in another source count as one, in the other source, because a browser sends its cookies by itself. Behind CORS,
//! expose `WWW-Authenticate`.
//!
//! # What the operator sees
//!
//! The reason is an [`AuthenticateRefusal`], the source of the error. Each refusal is one event of level `DEBUG` with the target
//! `tower_chain::middleware::authenticate`. Its field `reason` is the [code](AuthenticateRefusal::code). For a token that is introspected, `part` is the member
//! of the response (`active`, `exp`, `iss`, `aud`, `token_type`, ..) or the part of the proof that is at fault, `expected` is what it must be, and `hint`
//! the probable cause. No field contains a value of the token. A failure of the authorization server is an event of level `WARN` with the `status`
//! and the `issuer_error` that it has returned.
//!
//! The other challenges are `Basic realm="api", charset="UTF-8"`, `ApiKey realm="api", header="x-api-key"` and `Cookie realm="api", cookie-name="__Host-session"`.
//!
//! # What it provides
//!
//! A [`Principal`], which handlers take directly, or a `T` of your own from [`with`](Authenticate::with), which they take as
//! [`Provided<T>`](crate::Provided). With [`optional`](Authenticate::optional) it is an `Option`. `Require` checks the scopes and roles of either.
//!
//! # Where to put it
//!
//! After logging, CORS and a rate limit by address, and before all steps that need the caller. It does not run if no path matches, so an unknown path is
//! a 404. As a layer without a chain it always runs; put it after CORS, or it refuses preflight requests.
//!
//! # Sources
//!
//! [RFC 9110, 11](https://www.rfc-editor.org/rfc/rfc9110#section-11) (challenges, `token68`),
//! [RFC 6750](https://www.rfc-editor.org/rfc/rfc6750) (Bearer),
//! [RFC 7617](https://www.rfc-editor.org/rfc/rfc7617) (Basic),
//! [RFC 7662](https://www.rfc-editor.org/rfc/rfc7662) (introspection),
//! [RFC 9728](https://www.rfc-editor.org/rfc/rfc9728) (`resource_metadata`),
//! [RFC 9700, 4.3.2](https://www.rfc-editor.org/rfc/rfc9700#section-4.3.2) (tokens in queries),
//! [Fetch Metadata](https://www.w3.org/TR/fetch-metadata/) (`Sec-Fetch-Site`).

mod answer;
mod authenticator;
mod cache;
mod error;
#[cfg(feature = "introspection")]
mod introspection;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
mod jwt;
mod keys;
mod optional;
mod presented;
mod principal;
mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::StatusCode;

use self::authenticator::{Authenticator, CredentialVerifier, Verified, Verify};
use self::cache::Cache;
pub use self::error::AuthenticateError;
#[cfg(feature = "introspection")]
#[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
pub use self::introspection::{Introspected, Introspection, IntrospectionError};
pub use self::keys::{ApiKey, ApiKeyStore, ApiKeys};
pub use self::optional::Optional;
pub use self::presented::{Login, Token};
pub use self::principal::Principal;
pub use self::refusal::AuthenticateRefusal;
use super::credentials::{CredentialSources, Credentials, Explanation, has_twins, later};
pub use super::credentials::{TokenSource, TokenSourceError};
use crate::Error;
use crate::turns::{TurnLimits, Turns};

/// Accepts requests with a valid secret token, API key or password, and provides the caller to the steps after it.
///
/// `T` is the type that it provides. The [module](self) documents the responses that clients see.
///
/// # Example
///
/// ```
/// use tower_chain::{Authenticate, Chain, Principal};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let secret = "Vy3pRT1rW9ZsU0bq6xQ2Lw";
/// let chain = Chain::new()
///     .use_(Authenticate::token(secret)?)
///     .get(async |principal: Principal| format!("hello, {}", principal.name()));
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
pub struct Authenticate<T = Principal> {
    ways: Vec<Authenticator<T>>,
    places: CredentialSources,
}

impl Authenticate {
    /// Accepts one secret token, as `Authorization: Bearer <token>`. The name of the principal is `token`.
    ///
    /// # Errors
    ///
    /// If the secret is shorter than 16 bytes (see [`short_token`](Self::short_token)), or can't be sent in a header.
    pub fn token(secret: impl AsRef<[u8]>) -> Result<Self, AuthenticateError> {
        Self::tokens([("token", secret)])
    }

    /// Accepts one secret token that may be short enough to be guessed. For development, and for a secret that another party chose.
    ///
    /// # Errors
    ///
    /// If the secret is empty, or can't be sent in a header.
    pub fn short_token(secret: impl AsRef<[u8]>) -> Result<Self, AuthenticateError> {
        let keys = ApiKeys::new();
        keys.add(ApiKey::short("token", secret)?)?;
        Ok(Self::of_keys(keys, TokenSource::bearer()))
    }

    /// Accepts several secret tokens, each with the name of its principal, as `Authorization: Bearer <token>`.
    ///
    /// # Errors
    ///
    /// If a secret is shorter than 16 bytes or can't be sent in a header, if two names or two secrets are the same, or if the list is empty.
    pub fn tokens<N, S>(tokens: impl IntoIterator<Item = (N, S)>) -> Result<Self, AuthenticateError>
    where
        N: Into<String>,
        S: AsRef<[u8]>,
    {
        let keys = ApiKeys::new();
        for (name, secret) in tokens {
            keys.add(ApiKey::new(name, secret)?)?;
        }
        Self::of_given_keys(keys, TokenSource::bearer())
    }

    /// Accepts API keys in the header `X-API-Key`. Keys can be added and withdrawn while requests are served.
    pub fn api_keys(keys: &ApiKeys) -> Self {
        Self::of_keys(keys.clone(), TokenSource::api_key())
    }

    /// Accepts API keys in the header `X-API-Key`, which an [`ApiKeyStore`] looks up.
    ///
    /// Each request is a look-up, unless [`cache_ttl`](Self::cache_ttl) is set: then a key is accepted until its time in the cache ends, also if it is withdrawn
    /// or expires meanwhile. If the store fails, the response is a 503.
    pub fn api_key_store(store: impl ApiKeyStore) -> Self {
        let store = Arc::new(store);
        let verify: Arc<Verify<Principal>> = Arc::new(move |credentials, _| {
            let found = keys::look_up(store.clone(), credentials.as_bytes());
            verified(async move {
                found.await.map_err(|error| {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    later(
                        Error::new(status, "The credentials can't be checked now")
                            .with_source(error),
                    )
                })
            })
        });
        Self::of(TokenSource::api_key(), CredentialVerifier::Function(verify))
    }

    /// Accepts a few users by Basic, each with a password. The name of the principal is the user.
    ///
    /// Only fast digests of the passwords are kept, so use generated passwords, for machines. Passwords that people choose require a slow hash: see
    /// [`basic_blocking`](Self::basic_blocking).
    ///
    /// # Errors
    ///
    /// If a password is shorter than 16 bytes, a user contains a colon, one of them contains control characters, a user is present twice, or the
    /// list is empty.
    pub fn users<N, S>(users: impl IntoIterator<Item = (N, S)>) -> Result<Self, AuthenticateError>
    where
        N: Into<String>,
        S: AsRef<str>,
    {
        let keys = ApiKeys::new();
        for (user, password) in users {
            keys.add(ApiKey::login(user.into(), password.as_ref())?)?;
        }
        Self::of_given_keys(keys, TokenSource::basic())
    }

    /// Of keys to which none will be added.
    fn of_given_keys(keys: ApiKeys, source: TokenSource) -> Result<Self, AuthenticateError> {
        if keys.is_empty() {
            return Err(AuthenticateError::Empty);
        }
        Ok(Self::of_keys(keys, source))
    }

    fn of_keys(keys: ApiKeys, source: TokenSource) -> Self {
        Self::of(source, CredentialVerifier::Keys(keys, |principal| principal))
    }
}

impl<T: Clone + Send + Sync + 'static> Authenticate<T> {
    /// Accepts the tokens for which an async function returns a principal, of any type, as `Authorization: Bearer <token>`.
    ///
    /// `Ok(None)` refuses the token. `Err` is the response, such as a 503 if a database is unavailable.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::authenticate::Token;
    /// use tower_chain::{Authenticate, Chain, Error, Provided};
    ///
    /// #[derive(Clone)]
    /// struct User(u64);
    ///
    /// async fn user(token: Token) -> Result<Option<User>, Error> {
    ///     // Look up the digest of the token.
    ///     # let _ = token.as_str();
    ///     Ok(None)
    /// }
    ///
    /// let chain = Chain::new()
    ///     .use_(Authenticate::with(user))
    ///     .get(async |user: Provided<User>| user.0.0.to_string());
    /// # let _ = chain.build();
    /// ```
    pub fn with<F, Fut>(verify: F) -> Self
    where
        F: Fn(Token) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<T>, Error>> + Send + 'static,
    {
        let verify: Arc<Verify<T>> = Arc::new(move |credentials, _| match credentials {
            Credentials::Token(token) => verified(verify(Token::new(token.to_string()))),
            Credentials::Login(..) => verified(async { Ok(None) }),
        });
        Self::of(TokenSource::bearer(), CredentialVerifier::Function(verify))
    }

    /// Accepts the users and passwords for which an async function returns a principal, by Basic.
    ///
    /// `Ok(None)` refuses them. The function should take as long for an unknown user as for a wrong password: verify a fixed hash for unknown users.
    /// Successful checks are cached: see [`cache_ttl`](Self::cache_ttl).
    pub fn basic<F, Fut>(verify: F) -> Self
    where
        F: Fn(Login) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<T>, Error>> + Send + 'static,
    {
        let verify: Arc<Verify<T>> = Arc::new(move |credentials, _| match credentials {
            Credentials::Login(login, colon) => verified(verify(Login::new(login.clone(), *colon))),
            Credentials::Token(_) => verified(async { Ok(None) }),
        });
        Self::of(TokenSource::basic(), CredentialVerifier::Function(verify)).cache_ttl(CACHE_TTL)
    }

    /// Accepts the users and passwords for which a slow function returns a principal, by Basic.
    ///
    /// The function runs on Tokio's threads for blocking work, so requests which need no check don't wait. It runs at most once per core at the
    /// same time, for one client on at most half of the cores, and for one network on three quarters; other requests wait for their turn. A client
    /// that floods the server with passwords therefore delays only itself. A request waits for at most 10 seconds, and of one client at most 1024
    /// requests wait; more are refused.
    ///
    /// A client is an address as [`ClientAddr`](crate::extract::ClientAddr) finds it (the /64 of an IPv6 address, whose network is the /48), so
    /// [provide](crate::Chain::provide) [`TrustedProxies`](crate::extract::TrustedProxies) behind a proxy. Without, all clients behind the proxy share what
    /// one network may have, and a warning is logged once. Successful checks are cached: see [`cache_ttl`](Self::cache_ttl).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::authenticate::Login;
    /// use tower_chain::{Authenticate, Error, Principal};
    ///
    /// # fn stored_hash(_: &str) -> Option<String> { None }
    /// # fn verify_hash(_: &str, _: &str) -> bool { false }
    /// # const HASH_OF_NO_USER: &str = "";
    /// fn check(login: &Login) -> Result<Option<Principal>, Error> {
    ///     let stored = stored_hash(login.user());
    ///     // An unknown user takes as long as a wrong password.
    ///     let good = verify_hash(stored.as_deref().unwrap_or(HASH_OF_NO_USER), login.password());
    ///     Ok((good && stored.is_some()).then(|| Principal::new(login.user())))
    /// }
    ///
    /// let authenticate = Authenticate::basic_blocking(check);
    /// # let _ = authenticate;
    /// ```
    pub fn basic_blocking<F>(verify: F) -> Self
    where
        F: Fn(&Login) -> Result<Option<T>, Error> + Send + Sync + 'static,
    {
        let cores = available_parallelism().map_or(1, |cores| cores.get());
        let client = (cores / 2).max(1);
        let turns = Turns::new(TurnLimits { all: cores, network: (cores + client) / 2, client });
        let verifier = CredentialVerifier::Blocking(Arc::new(verify), turns);
        Self::of(TokenSource::basic(), verifier).cache_ttl(CACHE_TTL)
    }

    fn of(source: TokenSource, verifier: CredentialVerifier<T>) -> Self {
        let (sources, places) = (vec![source], Vec::new());
        let way = Authenticator {
            sources,
            places,
            proof_place: None,
            verifier,
            cache: None,
            lifetime: |_| Duration::MAX,
            possession: None,
        };
        Self { ways: vec![way], places: CredentialSources::new() }.placed()
    }

    /// Sets the sources of tokens, instead of the default. After [`or`](Self::or) it sets those of the last one.
    ///
    /// # Errors
    ///
    /// If the list is empty or contains a source twice, or for Basic, whose source is fixed.
    pub fn sources(
        mut self,
        sources: impl IntoIterator<Item = TokenSource>,
    ) -> Result<Self, AuthenticateError> {
        let sources: Vec<_> = sources.into_iter().collect();
        match self.ways.last_mut() {
            Some(way)
                if !sources.is_empty()
                    && !has_twins(&sources)
                    && way.sources != [TokenSource::basic()] =>
            {
                way.sources = sources;
                Ok(self.placed())
            }
            _ => Err(TokenSourceError::List.into()),
        }
    }

    /// Also accepts `Authorization: <token>`, without a scheme. Defaults to off. See [`TokenSource::bare`].
    ///
    /// After [`or`](Self::or) it is set for the last one. It has no effect on Basic.
    #[must_use]
    pub fn bare(mut self) -> Self {
        if let Some(way) = self.ways.last_mut()
            && way.sources != [TokenSource::basic()]
            && !way.sources.contains(&TokenSource::bare())
        {
            way.sources.push(TokenSource::bare());
        }
        self.placed()
    }

    /// Also accepts what another one accepts. The realm, the trusted origins and the limits are those of this one, and the scopes and the metadata of the
    /// challenge as well, if they are set.
    ///
    /// If both have a source in common, this one is checked first, and then the other one if this one refuses the credentials or can't check them now. If
    /// neither accepts them, and one could not check them, the response is its 503, or the error of its function: the credentials may be valid.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.ways.extend(other.ways);
        self.places.longest = self.places.longest.max(other.places.longest);
        self.places.terms.complete(&other.places.terms);
        self.placed()
    }

    /// Sets how many bytes the credentials may have. Defaults to 8192.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_bytes(mut self, bytes: usize) -> Result<Self, AuthenticateError> {
        if bytes == 0 {
            return Err(AuthenticateError::ZeroLimit);
        }
        self.places.longest = bytes;
        Ok(self)
    }

    /// Sets the realm of the challenges. Defaults to `api`.
    ///
    /// # Errors
    ///
    /// If it contains a character other than printable ASCII.
    pub fn realm(mut self, realm: impl Into<String>) -> Result<Self, AuthenticateError> {
        self.places.terms.set_realm(realm.into())?;
        Ok(self.placed())
    }

    /// Sets the scopes for the Bearer challenge: those that a token needs here, so that a client which has no token can request the right one
    /// ([RFC 6750, 3](https://www.rfc-editor.org/rfc/rfc6750#section-3)). Defaults to none. They are checked by `Require`, not here.
    ///
    /// # Errors
    ///
    /// If a scope is empty, or contains a space, a quote, a backslash or a character other than visible ASCII.
    pub fn challenge_scopes(
        mut self,
        scopes: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Self, AuthenticateError> {
        self.places.terms.set_scopes(scopes)?;
        Ok(self.placed())
    }

    /// Sets the URL of the metadata of this resource, for the Bearer challenge (`resource_metadata`,
    /// [RFC 9728, 5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)). Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL.
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Result<Self, AuthenticateError> {
        self.places.terms.set_resource_metadata(url.into())?;
        Ok(self.placed())
    }

    /// Adds an origin whose pages may send requests with the cookie, such as `https://app.example.com`. Defaults to the
    /// own origin alone.
    ///
    /// # Errors
    ///
    /// If it is not an origin: scheme, host and port in lower case, without a path.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Result<Self, AuthenticateError> {
        self.places.trust(origin.into())?;
        Ok(self)
    }

    /// Sets the longest form in which a token is looked for, in bytes. Defaults to 64 KiB. See [`TokenSource::form`].
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn form_limit(mut self, form_limit: usize) -> Result<Self, AuthenticateError> {
        if form_limit == 0 {
            return Err(AuthenticateError::ZeroLimit);
        }
        self.places.form_limit = form_limit;
        Ok(self)
    }

    /// Sets how long the result of a successful check by a function is cached. Zero disables the cache. After [`or`](Self::or) it is set for the last
    /// one.
    ///
    /// Defaults to one minute for Basic, and to zero for [`with`](Self::with). A withdrawn password is accepted until then. Refusals are never cached. It
    /// has no effect on keys that are checked without a function. A result of `introspection` is never cached beyond the `exp` of the token.
    #[must_use]
    pub fn cache_ttl(mut self, cache_ttl: Duration) -> Self {
        if let Some(way) = self.ways.last_mut() {
            let capacity = way.cache.as_ref().map_or(CACHE_CAPACITY, Cache::capacity);
            way.cache = Some(Cache::new(cache_ttl, capacity));
        }
        self
    }

    /// Sets how many successful checks are cached. When the cache is full, results that were not used lately are evicted first. Zero disables the cache. Defaults
    /// to 1024. See [`cache_ttl`](Self::cache_ttl).
    #[must_use]
    pub fn cache_capacity(mut self, cache_capacity: usize) -> Self {
        if let Some(way) = self.ways.last_mut() {
            let ttl = way.cache.as_ref().map_or(Duration::ZERO, Cache::ttl);
            way.cache = Some(Cache::new(ttl, cache_capacity));
        }
        self
    }

    /// Lets requests without credentials pass, and provides `Option<T>`. Invalid credentials are still refused.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Authenticate, Chain, Principal, Provided};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let secret = "Vy3pRT1rW9ZsU0bq6xQ2Lw";
    /// let chain = Chain::new().use_(Authenticate::token(secret)?.optional()).get(
    ///     async |Provided(principal): Provided<Option<Principal>>| match principal {
    ///         Some(principal) => format!("hello, {}", principal.name()),
    ///         None => "hello, stranger".to_owned(),
    ///     },
    /// );
    /// # let _ = chain.build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn optional(self) -> Optional<T> {
        Optional::new(self)
    }

    /// Updates all that is derived from the settings and does not change from request to request.
    fn placed(mut self) -> Self {
        let proof_sources: Vec<_> =
            self.ways.iter().map(|way| way.possession.as_ref()?.source()).collect();
        let algorithms = self.ways.iter().find_map(|way| way.possession.as_ref()?.algorithms());
        if let Some(algorithms) = algorithms {
            self.places.terms.set_algorithms(algorithms);
        }
        let sources = self.ways.iter().zip(&proof_sources);
        self.places.set(sources.flat_map(|(way, proof)| way.sources.iter().chain(proof)));
        for (way, proof) in self.ways.iter_mut().zip(proof_sources) {
            let places = way.sources.iter().filter_map(|source| self.places.position(source));
            way.places = places.collect();
            way.proof_place = proof.and_then(|source| self.places.position(&source));
            way.places.extend(way.proof_place);
        }
        if let [way] = &self.ways[..]
            && let (Some(place), Some(possession)) = (way.proof_place, &way.possession)
            && possession.is_required()
        {
            self.places.ask_only_for(place);
        }
        self
    }
}

/// The result of a function of the application, which does not explain a refusal.
fn verified<T>(
    found: impl Future<Output = Result<Option<T>, Error>> + Send + 'static,
) -> BoxFuture<'static, Verified<T>> {
    Box::pin(async move { Ok(found.await?.ok_or_else(Explanation::default)) })
}

/// Secrets are not shown.
impl<T> fmt::Debug for Authenticate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("challenges", &self.places.challenges())
            .finish_non_exhaustive()
    }
}

const CACHE_TTL: Duration = Duration::from_secs(60);
const CACHE_CAPACITY: usize = 1024;
