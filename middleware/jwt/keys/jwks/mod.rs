//! Keys that an issuer publishes.

mod client;
mod fetch;
mod metadata;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use http::Uri;

use crate::middleware::jwt::algorithm::{Algorithm, Family};
use crate::middleware::jwt::error::JwtError;
pub(crate) use client::JwksClient;
use fetch::AnyFetch;
pub use fetch::{Fetch, HttpFetch};

/// The keys that an issuer publishes as a JWK set, kept fresh.
///
/// They are fetched when they are first needed, by one request for all that wait. After that requests don't wait: keys that are no longer
/// [fresh](Jwks::fresh_for) are fetched again beside the traffic. Only where nothing was asked for twice that time do requests wait once more, so that no
/// withdrawn key is taken for a good one after a quiet night. If a fetch fails, the known keys serve on, for a [bounded time](Jwks::stale_for).
/// A token with an unknown `kid` has the keys fetched at once, at most twice in a row and then every 30 seconds, so that a flood of
/// made-up names never reaches the issuer. A failed fetch changes no key, and is not repeated for 10 seconds, then 20, then 30.
///
/// The metadata of an issuer are read again after an hour, and when there are no keys where they said.
///
/// A set is at most 256 KiB with 100 keys; it may be two redirects away on the same host. It needs a tokio runtime with timers.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::{Algorithm, Jwks};
///
/// # fn main() -> Result<(), tower_chain::JwtError> {
/// let keys = Jwks::url("https://login.example.org/keys", [Algorithm::Es256])?
///     .timeout(Duration::from_secs(2))
///     .fresh_for(Duration::from_secs(5 * 60));
/// let jwt = Jwt::<()>::new(keys).issuer("https://login.example.org").audience("https://api.example.org");
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
pub struct Jwks {
    target: Target,
    algorithms: Vec<Algorithm>,
    fetch: Box<dyn AnyFetch>,
    timeout: Duration,
    fresh_for: Duration,
    stale_for: Duration,
}

enum Target {
    Keys(Uri),
    Issuer(Box<str>),
}

impl Jwks {
    /// The JWK set at a URL, for tokens that are signed with one of these algorithms.
    ///
    /// A key that names no algorithm is used for each of the list that fits its kind, so name only those that the issuer uses.
    ///
    /// # Errors
    ///
    /// If the URL is neither https nor a loopback address, the list is empty, or an algorithm in it needs a secret.
    pub fn url(
        url: &str,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        Self::new(Target::Keys(metadata::url(url).ok_or(JwtError::Url)?), algorithms)
    }

    /// The JWK set of an issuer, found through its metadata: those of
    /// [OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html), or else of [RFC 8414](https://www.rfc-editor.org/rfc/rfc8414).
    ///
    /// The metadata must name the issuer by the same text, byte for byte, and so must the claim `iss` of each token.
    ///
    /// # Errors
    ///
    /// If the issuer is no https URL nor a loopback address, has a query, the list is empty, or an algorithm in it needs a secret.
    pub fn issuer(
        issuer: &str,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        let url = metadata::url(issuer).ok_or(JwtError::Url)?;
        if url.query().is_some() {
            return Err(JwtError::Url);
        }
        Self::new(Target::Issuer(Box::from(issuer)), algorithms)
    }

    fn new(
        target: Target,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        let algorithms: Vec<Algorithm> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(JwtError::NoAlgorithm);
        }
        if let Some(algorithm) = algorithms.iter().find(|one| one.family() == Family::Hmac) {
            return Err(JwtError::SharedSecretAlgorithm { algorithm: *algorithm });
        }
        Ok(Self {
            target,
            algorithms,
            fetch: Box::new(HttpFetch::new().map_err(|_| JwtError::Tls)?),
            timeout: Duration::from_secs(5),
            fresh_for: Duration::from_secs(10 * 60),
            stale_for: Duration::from_secs(24 * 60 * 60),
        })
    }

    /// How documents are fetched. Defaults to [`HttpFetch`].
    #[must_use]
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Box::new(fetch);
        self
    }

    /// How long it may take to get the keys, all documents and redirects together. Defaults to 5 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long keys are used without asking again. Defaults to 10 minutes.
    ///
    /// A `Cache-Control: max-age` of the issuer is used instead, but not below one minute nor above one hour. A key that the issuer
    /// withdraws is refused after at most twice this time, as long as the issuer can be reached.
    #[must_use]
    pub fn fresh_for(mut self, fresh_for: Duration) -> Self {
        self.fresh_for = fresh_for;
        self
    }

    /// How long keys serve while the issuer can't be reached, counted from when they were last fetched. Defaults to 24 hours.
    #[must_use]
    pub fn stale_for(mut self, stale_for: Duration) -> Self {
        self.stale_for = stale_for;
        self
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.target {
            Target::Keys(url) => url.to_string(),
            Target::Issuer(issuer) => issuer.to_string(),
        };
        // What stands in a query may be a secret.
        let place = place.split('?').next().unwrap_or_default();
        f.debug_struct("Jwks")
            .field("place", &place)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}
