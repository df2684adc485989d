//! Secret tokens, API keys and passwords.
//!
//! # What it does
//!
//! [`Authenticate`] lets a request pass that brings credentials which it knows, and tells the steps after it who is calling. It knows
//!
//! - one secret token, or several with names ([`token`](Authenticate::token), [`tokens`](Authenticate::tokens));
//! - API keys that are added, withdrawn and expire while requests are served ([`api_keys`](Authenticate::api_keys));
//! - users and passwords: a few of them given in the configuration ([`users`](Authenticate::users)), or checked by a slow password hash that runs
//!   off the reactor ([`basic_blocking`](Authenticate::basic_blocking)) or by an async function ([`basic`](Authenticate::basic));
//! - tokens that only their issuer can read: with the feature `introspection` it asks him (`Authenticate::introspection`);
//! - tokens for which an async function of yours gives a principal of your own type ([`with`](Authenticate::with)).
//!
//! Of secrets in the configuration only SHA-256 digests are kept, and digests are compared in constant time. Nothing that a client sends as
//! credentials is logged, echoed or shown by `Debug`.
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
//! Keys of machines in a header, or a session cookie of people:
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
//! Each refusal is a problem+json with `Cache-Control: no-store`, and carries one challenge per kind of credentials in the order of
//! writing. `error` and `error_description` stand in the Bearer challenge alone, and only if it is about the credentials that were sent.
//!
//! | cause | status | `WWW-Authenticate` |
//! | --- | --- | --- |
//! | no credentials, or only those of another scheme | 401 | `Bearer realm="api"` |
//! | unknown, withdrawn or expired | 401 | `Bearer realm="api", error="invalid_token", error_description="The credentials are not valid"` |
//! | malformed; a header, cookie or parameter twice; two sources at once | 400 | `Bearer realm="api", error="invalid_request", error_description=".."` |
//! | a cookie, with a request of another site (see [`TokenSource::cookie`]) | 403 | none |
//! | a form longer than [`form_limit`](Authenticate::form_limit) | 413 | none |
//! | the issuer can't be asked (`introspection`) | 503, with `Retry-After` | none |
//! | a token that is bound to a key or a certificate, without the proof for it (`introspection`) | 401 | as those of `Jwt`: `invalid_token`, `invalid_dpop_proof`, `use_dpop_nonce` |
//! | your function fails | as your function says | as your function says |
//!
//! The reason is an [`AuthenticateRefusal`], the source of the error. Behind CORS, expose `WWW-Authenticate`.
//!
//! The other challenges are `Basic realm="api", charset="UTF-8"`, `ApiKey realm="api", header="x-api-key"` and `Cookie realm="api", cookie-name="__Host-session"`.
//!
//! # What it provides
//!
//! A [`Principal`], which handlers take as it is; or a `T` of your own from [`with`](Authenticate::with), which they take as
//! [`Provided<T>`](crate::Provided). [`optional`](Authenticate::optional) makes it an `Option`. `Require` asks either for scopes and roles.
//!
//! # Where to put it
//!
//! Behind logging, CORS and a rate limit by address, before all that is about the caller. It doesn't run where no path matches, so that an unknown
//! path is a 404. Used as a layer without a chain it does, and it must stand behind CORS, or it refuses preflights.
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
mod keys;
mod optional;
mod presented;
mod principal;
mod refusal;
#[cfg(test)]
mod tests;
mod turns;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use self::authenticator::{Authenticator, CredentialVerifier, Verify};
use self::cache::Cache;
pub use self::error::AuthenticateError;
#[cfg(feature = "introspection")]
#[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
pub use self::introspection::{Introspected, Introspection, IntrospectionError};
pub use self::keys::{ApiKey, ApiKeys};
pub use self::optional::Optional;
pub use self::presented::{Login, Token};
pub use self::principal::Principal;
pub use self::refusal::AuthenticateRefusal;
use self::turns::Turns;
use super::credentials::{CredentialSources, Credentials, has_twins};
pub use super::credentials::{TokenSource, TokenSourceError};
use crate::Error;

/// Lets a request pass that brings a secret token, an API key or a password, and tells the steps after it who is calling.
///
/// `T` is what it provides. See the [module](self) for what clients see.
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

    /// Accepts one secret token that may be so short that it can be guessed. For development, and for secrets that others chose.
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
    /// If a secret is shorter than 16 bytes or can't be sent in a header, or if two names or two secrets are the same.
    pub fn tokens<N, S>(tokens: impl IntoIterator<Item = (N, S)>) -> Result<Self, AuthenticateError>
    where
        N: Into<String>,
        S: AsRef<[u8]>,
    {
        let keys = ApiKeys::new();
        for (name, secret) in tokens {
            keys.add(ApiKey::new(name, secret)?)?;
        }
        Ok(Self::of_keys(keys, TokenSource::bearer()))
    }

    /// Accepts API keys in the header `X-API-Key`. They may be added and withdrawn while requests are served.
    pub fn api_keys(keys: &ApiKeys) -> Self {
        Self::of_keys(keys.clone(), TokenSource::api_key())
    }

    /// Accepts a few users by Basic, each with a password. The name of the principal is the user.
    ///
    /// Of the passwords a fast digest is kept, so that this is for generated ones, of machines. Those that people choose belong behind a
    /// slow hash: see [`basic_blocking`](Self::basic_blocking).
    ///
    /// # Errors
    ///
    /// If a password is shorter than 16 bytes, if a user has a colon, if one of them has control characters, or if a user is there twice.
    pub fn users<N, S>(users: impl IntoIterator<Item = (N, S)>) -> Result<Self, AuthenticateError>
    where
        N: Into<String>,
        S: AsRef<str>,
    {
        let keys = ApiKeys::new();
        for (user, password) in users {
            keys.add(ApiKey::login(user.into(), password.as_ref())?)?;
        }
        Ok(Self::of_keys(keys, TokenSource::basic()))
    }

    fn of_keys(keys: ApiKeys, source: TokenSource) -> Self {
        Self::of(source, CredentialVerifier::Keys(keys, |principal| principal))
    }
}

impl<T: Clone + Send + Sync + 'static> Authenticate<T> {
    /// Accepts the tokens for which an async function of yours gives a principal, of any type, as `Authorization: Bearer <token>`.
    ///
    /// `Ok(None)` refuses the token. `Err` is the answer as it is: 503, say, when the store can't be asked.
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
    ///     // Ask the store for the digest of the token.
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
            Credentials::Token(token) => Box::pin(verify(Token::new(token.to_string()))),
            Credentials::Login(..) => Box::pin(async { Ok(None) }),
        });
        Self::of(TokenSource::bearer(), CredentialVerifier::Function(verify))
    }

    /// Accepts the users and passwords for which an async function of yours gives a principal, by Basic.
    ///
    /// `Ok(None)` refuses them. Answer as late for an unknown user as for a wrong password: verify a hash of your own choosing for those.
    /// What was found good is remembered: see [`cache_ttl`](Self::cache_ttl).
    pub fn basic<F, Fut>(verify: F) -> Self
    where
        F: Fn(Login) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<T>, Error>> + Send + 'static,
    {
        let verify: Arc<Verify<T>> = Arc::new(move |credentials, _| match credentials {
            Credentials::Login(login, colon) => Box::pin(verify(Login::new(login.clone(), *colon))),
            Credentials::Token(_) => Box::pin(async { Ok(None) }),
        });
        Self::of(TokenSource::basic(), CredentialVerifier::Function(verify)).cache_ttl(CACHE_TTL)
    }

    /// Accepts the users and passwords for which a slow function of yours gives a principal, by Basic.
    ///
    /// The function runs on Tokio's threads for blocking work, so requests which need no check don't wait. It runs at most once per core at the
    /// same time, and for one client on at most half of the cores; other requests wait for their turn. A client that floods the server with
    /// passwords therefore delays only itself. A client is an address as [`ClientAddr`](crate::extract::ClientAddr) finds it (the /64 of an IPv6
    /// address), so [provide](crate::Chain::provide) [`TrustedProxies`](crate::extract::TrustedProxies) behind a proxy. Successful checks are cached: see
    /// [`cache_ttl`](Self::cache_ttl).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::authenticate::Login;
    /// use tower_chain::{Authenticate, Error, Principal};
    ///
    /// # fn stored_hash(_: &str) -> Option<String> { None }
    /// # fn verify_hash(_: &str, _: &str) -> bool { false }
    /// # const HASH_OF_NOBODY: &str = "";
    /// fn check(login: &Login) -> Result<Option<Principal>, Error> {
    ///     let stored = stored_hash(login.user());
    ///     // An unknown user takes as long as a wrong password.
    ///     let good = verify_hash(stored.as_deref().unwrap_or(HASH_OF_NOBODY), login.password());
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
        let turns = Turns::new(cores, (cores / 2).max(1));
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

    /// Sets where tokens are looked for, instead of the default. Where [`or`](Self::or) joined several, it is about the last one.
    ///
    /// # Errors
    ///
    /// If there is none, or one twice, or if it is about Basic, whose source is given.
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

    /// Accepts `Authorization: <token>`, without a scheme, as well. Defaults to off. See [`TokenSource::bare`].
    ///
    /// Where [`or`](Self::or) joined several, it is about the last one. Users and passwords are no token: Basic stays as it is.
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

    /// Accepts what another one accepts as well. Realm, trusted origins and limits of this one hold.
    ///
    /// Where both look at the same place, this one is asked first.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.ways.extend(other.ways);
        self.placed()
    }

    /// Sets the realm that challenges name. Defaults to `api`.
    ///
    /// # Errors
    ///
    /// If it holds a line break or anything else than printable ASCII.
    pub fn realm(mut self, realm: impl Into<String>) -> Result<Self, AuthenticateError> {
        self.places.terms.set_realm(realm.into())?;
        Ok(self.placed())
    }

    /// Sets the URL at which clients learn where to get a token, for the Bearer challenge (`resource_metadata`,
    /// [RFC 9728, 5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)). Defaults to none.
    ///
    /// # Errors
    ///
    /// If it isn't printable ASCII.
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Result<Self, AuthenticateError> {
        self.places.terms.set_resource_metadata(url.into())?;
        Ok(self.placed())
    }

    /// Adds an origin whose pages may send requests with the cookie, such as `https://app.example.com`. Defaults to none but the
    /// own one.
    ///
    /// # Errors
    ///
    /// If it is no origin: scheme, host and port in lower case, and nothing behind them.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Result<Self, AuthenticateError> {
        self.places.trust(origin.into())?;
        Ok(self)
    }

    /// Sets how long a form may be in which a token is looked for, in bytes. Defaults to 64 KiB. See [`TokenSource::form`].
    #[must_use]
    pub fn form_limit(mut self, form_limit: usize) -> Self {
        self.places.form_limit = form_limit;
        self
    }

    /// Sets for how long credentials that a function found good are good without asking it again. Zero asks each time. Where
    /// [`or`](Self::or) joined several, it is about the last one.
    ///
    /// Defaults to one minute for Basic, and to zero for [`with`](Self::with). Until it is over, a withdrawn password goes on to work. Refusals are never
    /// remembered. It doesn't touch keys that are known without a function, and what `introspection` found is never good beyond the `exp` of the token.
    #[must_use]
    pub fn cache_ttl(mut self, cache_ttl: Duration) -> Self {
        if let Some(way) = self.ways.last_mut() {
            let capacity = way.cache.as_ref().map_or(CACHE_CAPACITY, Cache::capacity);
            way.cache = Some(Cache::new(cache_ttl, capacity));
        }
        self
    }

    /// Sets how many credentials are remembered. Beyond, the oldest are forgotten. Defaults to 1024. See [`cache_ttl`](Self::cache_ttl).
    #[must_use]
    pub fn cache_capacity(mut self, cache_capacity: usize) -> Self {
        if let Some(way) = self.ways.last_mut() {
            let ttl = way.cache.as_ref().map_or(Duration::ZERO, Cache::ttl);
            way.cache = Some(Cache::new(ttl, cache_capacity));
        }
        self
    }

    /// Lets requests without credentials pass. It then provides `Option<T>`. Bad credentials are refused as before.
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

    /// Works out what doesn't change from request to request.
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

/// No secret is shown.
impl<T> fmt::Debug for Authenticate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticate")
            .field("challenges", &self.places.challenges())
            .finish_non_exhaustive()
    }
}

const CACHE_TTL: Duration = Duration::from_secs(60);
const CACHE_CAPACITY: usize = 1024;
