//! JWK sets that are fetched from an issuer.

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
use crate::middleware::jwt::impossible;
use crate::middleware::jwt::keys::Keys;
pub(crate) use client::JwksClient;
pub(crate) use fetch::AnyFetch;
pub use fetch::{Fetch, HttpFetch};

/// The JWK set of an issuer, which is fetched and kept fresh.
///
/// - The keys are fetched on the first request. All requests that wait share one fetch.
/// - When the keys are no longer [fresh](Jwks::fresh_for), they are fetched again in the background, and requests do not wait. Only if there was no
///   request for twice that time, the next request waits for the fetch, because a key may have been withdrawn meanwhile.
/// - If a fetch fails, the known keys are used for a [limited time](Jwks::stale_for). The next fetch is made after 10 seconds, then 20, then 30.
/// - A token with an unknown `kid`, or with a signature that does not fit the known key, causes a fetch at once, at most twice in a row and then every 30
///   seconds. A flood of made-up tokens therefore never reaches the issuer. Every fetch serves all clients. A new key, also one under the same `kid`
///   as after a restart of the issuer, is thus found within 30 seconds.
/// - The metadata of an issuer are fetched again after an hour, and when the keys are no longer at the URL in the metadata.
///
/// A set has at most 256 KiB and 100 keys, and at most two redirects on the same host are followed. A tokio runtime with timers is required. Each
/// request has a `User-Agent` of `tower-chain` and its version, because some firewalls refuse requests without one.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::{Algorithm, Jwks};
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// let keys = Jwks::url("https://login.example.org/keys", [Algorithm::Es256])?
///     .timeout(Duration::from_secs(2))?
///     .fresh_for(Duration::from_secs(5 * 60))?;
/// let jwt = Jwt::<()>::new(keys).issuer("https://login.example.org")?.audience("https://api.example.org")?;
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
pub struct Jwks {
    target: Target,
    /// Keys beside those that are fetched.
    local: Option<Keys>,
    /// The hosts from which keys may be fetched without encryption.
    http_hosts: Vec<Box<str>>,
    algorithms: Vec<Algorithm>,
    fetch: Box<dyn AnyFetch>,
    timeout: Duration,
    fresh_for: Duration,
    stale_for: Duration,
}

enum Target {
    Keys(Uri),
    /// An issuer, and the URL at which it is reached.
    Issuer(Box<str>, Uri),
}

impl Jwks {
    /// Fetches the JWK set at a URL, for tokens that are signed with one of these algorithms.
    ///
    /// A key without an `alg` is used for each algorithm of the list that fits its type, so name only those that the issuer uses.
    ///
    /// # Errors
    ///
    /// If the URL is neither https nor a loopback address, contains a placeholder, or is that of a discovery document or of an issuer; if the list is
    /// empty or contains an HMAC.
    pub fn url(
        url: &str,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        Self::new(Target::Keys(Self::checked_keys(url, &[])?), algorithms)
    }

    /// Like [`url`](Self::url), but also accepts `http` for the host of this URL.
    ///
    /// Whoever can change what is sent on the way to the host can then create tokens that are accepted. Use it only for a host in the same cluster or
    /// container network.
    ///
    /// # Errors
    ///
    /// As [`url`](Self::url).
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Jwt;
    /// use tower_chain::middleware::jwt::{Algorithm, Jwks};
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// let keys = Jwks::insecure_url("http://keycloak.auth.svc:8080/realms/x/certs", [Algorithm::Rs256])?;
    /// let jwt = Jwt::<()>::new(keys).issuer("https://login.example.org/realms/x")?.audience("api")?;
    /// # let _ = jwt;
    /// # Ok(())
    /// # }
    /// ```
    pub fn insecure_url(
        url: &str,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        let http_hosts = host_of(url);
        let target = Target::Keys(Self::checked_keys(url, &http_hosts)?);
        Ok(Self { http_hosts, ..Self::new(target, algorithms)? })
    }

    /// Fetches the JWK set of an issuer, at the URL in its metadata: those of
    /// [OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html), or else those of [RFC 8414](https://www.rfc-editor.org/rfc/rfc8414).
    ///
    /// The metadata, and the claim `iss` of each token, must contain this issuer, byte for byte.
    ///
    /// # Errors
    ///
    /// If the issuer is neither an https URL nor a loopback address, has a query, contains a placeholder, is the URL of its discovery document or of its
    /// JWK set, or is one of Entra ID without a tenant (`common`); if the list is empty or contains an HMAC.
    pub fn issuer(
        issuer: &str,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        let url = Self::checked_issuer(issuer, &[])?;
        Self::new(Target::Issuer(Box::from(issuer), url), algorithms)
    }

    /// Like [`issuer`](Self::issuer), but also accepts `http` for the host of this issuer.
    ///
    /// Whoever can change what is sent on the way to the host can then create tokens that are accepted. Use it only for a host in the same cluster or
    /// container network.
    ///
    /// # Errors
    ///
    /// As [`issuer`](Self::issuer).
    pub fn insecure_issuer(
        issuer: &str,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        let http_hosts = host_of(issuer);
        let url = Self::checked_issuer(issuer, &http_hosts)?;
        Ok(Self { http_hosts, ..Self::new(Target::Issuer(Box::from(issuer), url), algorithms)? })
    }

    /// Sets the URL at which this server reaches the issuer, within the own network. Defaults to the issuer itself.
    ///
    /// The metadata and the claim `iss` must still contain the issuer. If the URL of the keys in the metadata is one of the issuer, the keys are fetched
    /// from the internal URL as well.
    ///
    /// # Errors
    ///
    /// If the URL is neither https nor a loopback address, has a query, or contains a placeholder; or if this is a [`url`](Self::url) and not an issuer.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Jwt;
    /// use tower_chain::middleware::jwt::{Algorithm, Jwks};
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// let keys = Jwks::issuer("https://login.example.org/realms/x", [Algorithm::Rs256])?
    ///     .insecure_internal_url("http://keycloak.auth.svc:8080/realms/x")?;
    /// let jwt = Jwt::<()>::new(keys).audience("https://api.example.org");
    /// # let _ = jwt;
    /// # Ok(())
    /// # }
    /// ```
    pub fn internal_url(self, url: &str) -> Result<Self, JwtError> {
        self.reached_at(url, Vec::new())
    }

    /// Like [`internal_url`](Self::internal_url), but also accepts `http` for the host of this URL.
    ///
    /// Whoever can change what is sent on the way to the host can then create tokens that are accepted. Use it only for a host in the same cluster or
    /// container network.
    ///
    /// # Errors
    ///
    /// As [`internal_url`](Self::internal_url).
    pub fn insecure_internal_url(self, url: &str) -> Result<Self, JwtError> {
        self.reached_at(url, host_of(url))
    }

    fn reached_at(mut self, url: &str, http_hosts: Vec<Box<str>>) -> Result<Self, JwtError> {
        let Target::Issuer(_, at) = &mut self.target else { return Err(JwtError::Url) };
        *at = Self::checked_issuer(url, &http_hosts)?;
        self.http_hosts = http_hosts;
        Ok(self)
    }

    fn checked_issuer(issuer: &str, http_hosts: &[Box<str>]) -> Result<Uri, JwtError> {
        let url = Self::checked(issuer, http_hosts)?;
        if url.query().is_some() {
            return Err(JwtError::Url);
        }
        if impossible::is_keys_url(issuer) {
            return Err(JwtError::KeysUrl);
        }
        impossible::tenant(issuer)?;
        Ok(url)
    }

    fn checked_keys(url: &str, http_hosts: &[Box<str>]) -> Result<Uri, JwtError> {
        let url = Self::checked(url, http_hosts)?;
        if impossible::is_issuer_url(&url) { Err(JwtError::IssuerUrl) } else { Ok(url) }
    }

    /// Parses a URL, and rejects those that can never work.
    fn checked(url: &str, http_hosts: &[Box<str>]) -> Result<Uri, JwtError> {
        let url = impossible::text(url, "the URL")?;
        impossible::url(&url)?;
        metadata::url(&url, http_hosts).ok_or(JwtError::Url)
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
            local: None,
            http_hosts: Vec::new(),
            algorithms,
            fetch: Box::new(HttpFetch::new()?),
            timeout: Duration::from_secs(5),
            fresh_for: Duration::from_secs(10 * 60),
            stale_for: Duration::from_secs(24 * 60 * 60),
        })
    }

    /// Also accepts tokens of this issuer that are signed with one of these keys, such as a secret that it shares with this API, or a key that it has not
    /// published yet. They are checked first, and are used while the issuer can't be reached. Defaults to none.
    #[must_use]
    pub fn local_keys(mut self, keys: impl Into<Keys>) -> Self {
        self.local = Some(keys.into());
        self
    }

    /// Sets the client that fetches documents. Defaults to [`HttpFetch`].
    #[must_use]
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Box::new(fetch);
        self
    }

    /// Sets how long a fetch may take, with all documents and redirects. Defaults to 5 seconds.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, JwtError> {
        self.timeout = impossible::time(timeout, "the timeout")?;
        Ok(self)
    }

    /// Sets how long keys are used without a new fetch. Defaults to 10 minutes.
    ///
    /// A `Cache-Control: max-age` of the issuer, between one minute and one hour, takes precedence. A key that the issuer withdraws is refused after at
    /// most twice this time, as long as the issuer can be reached.
    ///
    /// # Errors
    ///
    /// If it is zero: every request would fetch the keys.
    pub fn fresh_for(mut self, fresh_for: Duration) -> Result<Self, JwtError> {
        self.fresh_for = impossible::time(fresh_for, "the time for which keys are fresh")?;
        Ok(self)
    }

    /// Sets how long keys are used while the issuer can't be reached, from the last successful fetch. Defaults to 24 hours.
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
            Target::Issuer(issuer, _) => issuer.to_string(),
        };
        // A query may contain a secret.
        let place = place.split('?').next().unwrap_or_default();
        f.debug_struct("Jwks")
            .field("place", &place)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// The host of a URL. Empty if it is not a URL.
fn host_of(url: &str) -> Vec<Box<str>> {
    let uri = url.parse::<Uri>().ok();
    uri.as_ref().and_then(Uri::host).map(Box::from).into_iter().collect()
}
