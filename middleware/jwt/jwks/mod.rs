//! Keys that an issuer publishes.

mod fetch;
mod metadata;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use tokio::time::Instant;

use super::algorithm::{Algorithm, Family};
use super::error::JwtConfigError;
use super::jwk;
use super::key::Keys;
use super::refusal::Refusal;
use super::source::{KeySource, Origin};
use fetch::AnyFetch;
pub use fetch::{Fetch, HttpFetch};

/// The keys that an issuer publishes as a JWK set, kept fresh.
///
/// They are fetched when they are first needed, by one request for all that wait. After that requests don't wait: keys that are no longer
/// [fresh](Jwks::fresh_for) are fetched again beside the traffic, and if that fails the known ones serve on, for a [bounded time](Jwks::stale_for).
/// A token with an unknown `kid` has the keys fetched at once, at most twice in a row and then every 30 seconds, so that a flood of
/// made-up names never reaches the issuer. A failed fetch changes no key, and is not repeated for 10 seconds, then 20, then 30.
///
/// A set is at most 256 KiB with 100 keys; it may be two redirects away on the same host. It needs a tokio runtime.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::{Algorithm, Jwks};
///
/// # fn main() -> Result<(), tower_chain::JwtConfigError> {
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
    ) -> Result<Self, JwtConfigError> {
        Self::new(Target::Keys(metadata::url(url).ok_or(JwtConfigError::Url)?), algorithms)
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
    ) -> Result<Self, JwtConfigError> {
        let url = metadata::url(issuer).ok_or(JwtConfigError::Url)?;
        if url.query().is_some() {
            return Err(JwtConfigError::Url);
        }
        Self::new(Target::Issuer(Box::from(issuer)), algorithms)
    }

    fn new(
        target: Target,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtConfigError> {
        let algorithms: Vec<Algorithm> = algorithms.into_iter().collect();
        if algorithms.is_empty() {
            return Err(JwtConfigError::NoAlgorithm);
        }
        if let Some(algorithm) = algorithms.iter().find(|one| one.family() == Family::Hmac) {
            return Err(JwtConfigError::SharedSecretAlgorithm { algorithm: *algorithm });
        }
        Ok(Self {
            target,
            algorithms,
            fetch: Box::new(HttpFetch::new().map_err(|_| JwtConfigError::Tls)?),
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
    /// withdraws is refused after this time.
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

impl From<Jwks> for KeySource {
    fn from(jwks: Jwks) -> Self {
        let tokens = Bucket { tokens: BURST, refilled: None };
        let state =
            State { set: None, keys_url: None, flight: None, failures: 0, retry: None, tokens };
        Self(Origin::Remote(Arc::new(Remote { jwks, state: Mutex::new(state) })))
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.target {
            Target::Keys(url) => url.to_string(),
            Target::Issuer(issuer) => issuer.to_string(),
        };
        f.debug_struct("Jwks")
            .field("place", &place)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

/// A [`Jwks`] at work.
pub(crate) struct Remote {
    jwks: Jwks,
    /// Held for a look or a change, never over I/O.
    state: Mutex<State>,
}

struct State {
    set: Option<Set>,
    /// Where the metadata said that the keys are.
    keys_url: Option<Uri>,
    /// The fetch that is under way, for all who wait for it.
    flight: Option<Flight>,
    failures: u32,
    /// After a failure: when to try again.
    retry: Option<Instant>,
    tokens: Bucket,
}

type Flight = Shared<BoxFuture<'static, ()>>;

#[derive(Clone)]
struct Set {
    keys: Keys,
    etag: Option<HeaderValue>,
    fetched: Instant,
    fresh_for: Duration,
}

/// How often unknown names may have the keys fetched.
struct Bucket {
    tokens: u32,
    refilled: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let refilled = *self.refilled.get_or_insert(now);
        let gained = now.saturating_duration_since(refilled).as_secs() / REFILL.as_secs();
        if gained > 0 {
            self.tokens =
                BURST.min(self.tokens.saturating_add(u32::try_from(gained).unwrap_or(BURST)));
            self.refilled = Some(now);
        }
        if self.tokens == 0 {
            return false;
        }
        if self.tokens == BURST {
            self.refilled = Some(now);
        }
        self.tokens -= 1;
        true
    }
}

impl Remote {
    /// The issuer that tokens must name, where there is one.
    pub(crate) fn issuer(&self) -> Option<&str> {
        match &self.jwks.target {
            Target::Issuer(issuer) => Some(issuer),
            Target::Keys(_) => None,
        }
    }

    pub(crate) fn accepts(&self, algorithm: Algorithm) -> bool {
        self.jwks.algorithms.contains(&algorithm)
    }

    /// The keys as they are known; waits only if there are none that may be used.
    pub(crate) async fn keys(self: &Arc<Self>) -> Result<Keys, Refusal> {
        let flight = {
            let now = Instant::now();
            let mut state = self.lock();
            match self.usable(&state, now) {
                Some(set) => {
                    let keys = set.keys.clone();
                    let stale = now.saturating_duration_since(set.fetched) >= set.fresh_for;
                    if stale {
                        // It goes on by itself: no one waits for it.
                        self.start(&mut state, now);
                    }
                    return Ok(keys);
                }
                None => self.start(&mut state, now),
            }
        };
        flight.ok_or(Refusal::KeysUnavailable)?.await;
        let state = self.lock();
        let set = self.usable(&state, Instant::now());
        set.map(|set| set.keys.clone()).ok_or(Refusal::KeysUnavailable)
    }

    /// Keys that were fetched after those; `None` if it is too soon to ask, or nothing new came.
    pub(crate) async fn newer_than(self: &Arc<Self>, known: &Keys) -> Option<Keys> {
        let flight = {
            let now = Instant::now();
            let mut state = self.lock();
            match self.newer(&state, known) {
                Some(keys) => return Some(keys),
                None if state.flight.is_some() || state.tokens.take(now) => {
                    self.start(&mut state, now)
                }
                None => None,
            }
        };
        flight?.await;
        self.newer(&self.lock(), known)
    }

    fn newer(&self, state: &State, known: &Keys) -> Option<Keys> {
        let keys = &self.usable(state, Instant::now())?.keys;
        (!keys.is(known)).then(|| keys.clone())
    }

    fn usable<'s>(&self, state: &'s State, now: Instant) -> Option<&'s Set> {
        let set = state.set.as_ref()?;
        let age = now.saturating_duration_since(set.fetched);
        (age < self.jwks.stale_for.max(set.fresh_for)).then_some(set)
    }

    /// Joins the fetch that is under way, or starts one; `None` after a failure, until it is time again.
    fn start(self: &Arc<Self>, state: &mut State, now: Instant) -> Option<Flight> {
        if let Some(flight) = &state.flight {
            return Some(flight.clone());
        }
        if state.retry.is_some_and(|retry| now < retry) {
            return None;
        }
        let remote = self.clone();
        // A task of its own: a client that goes away takes no fetch along that others wait for.
        let task = tokio::spawn(async move { remote.refresh().await });
        let flight = task.map(drop).boxed().shared();
        state.flight = Some(flight.clone());
        Some(flight)
    }

    async fn refresh(&self) {
        let (etag, keys_url) = {
            let state = self.lock();
            let etag = state.set.as_ref().and_then(|set| set.etag.clone());
            (etag, state.keys_url.clone())
        };
        let fetched =
            tokio::time::timeout(self.jwks.timeout, self.fetch_keys(keys_url, etag)).await;
        let fetched = fetched.unwrap_or_else(|_| Err("it took too long".into()));
        let now = Instant::now();
        let mut state = self.lock();
        state.flight = None;
        match fetched {
            Ok(Fetched { url, fresh_for, keys }) => {
                state.failures = 0;
                state.retry = None;
                state.keys_url = Some(url);
                match keys {
                    Some((keys, etag)) => {
                        // The same keys stay the same handle, so that no one takes them for new ones.
                        let keys = match &state.set {
                            Some(set) if set.keys.same_as(&keys) => set.keys.clone(),
                            _ => keys,
                        };
                        state.set = Some(Set { keys, etag, fetched: now, fresh_for });
                    }
                    None => {
                        if let Some(set) = &mut state.set {
                            set.fetched = now;
                            set.fresh_for = fresh_for;
                        }
                    }
                }
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.retry = Some(now + BACKOFF * state.failures.min(3));
                // Where the keys are may have changed as well.
                state.keys_url = None;
                tracing::warn!(error, place = ?self.jwks, "can't fetch keys");
            }
        }
    }

    async fn fetch_keys(
        &self,
        keys_url: Option<Uri>,
        etag: Option<HeaderValue>,
    ) -> Result<Fetched, BoxError> {
        let url = match (&self.jwks.target, keys_url) {
            (_, Some(known)) => known,
            (Target::Keys(url), None) => url.clone(),
            (Target::Issuer(issuer), None) => self.discover(issuer).await?,
        };
        let document = self.get(url.clone(), SET_BYTES, etag.as_ref()).await?;
        let fresh_for = document.max_age.map_or(self.jwks.fresh_for, |max_age| {
            Duration::from_secs(max_age).clamp(MIN_FRESH, MAX_FRESH)
        });
        let Some(body) = document.body else {
            return Ok(Fetched { url, fresh_for, keys: None });
        };
        let keys = jwk::usable(&body, &self.jwks.algorithms)?;
        if keys.is_empty() {
            return Err(JwtConfigError::NoUsableJwk.into());
        }
        Ok(Fetched { url, fresh_for, keys: Some((Keys::published(keys), document.etag)) })
    }

    /// Where the issuer has its keys. The second place is asked if there is nothing at the first.
    async fn discover(&self, issuer: &str) -> Result<Uri, BoxError> {
        let [first, second] = metadata::places(issuer).ok_or("the issuer is no URL")?;
        let document = match self.get(first, METADATA_BYTES, None).await {
            Ok(document) => document,
            Err(error) if error.is::<metadata::Absent>() => {
                self.get(second, METADATA_BYTES, None).await?
            }
            Err(error) => return Err(error),
        };
        metadata::keys_url(&document.body.unwrap_or_default(), issuer)
    }

    async fn get(
        &self,
        mut url: Uri,
        max_bytes: usize,
        etag: Option<&HeaderValue>,
    ) -> Result<Document, BoxError> {
        for _ in 0..=REDIRECTS {
            let mut request = Request::new(());
            *request.uri_mut() = url.clone();
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
            if let Some(etag) = etag {
                request.headers_mut().insert(IF_NONE_MATCH, etag.clone());
            }
            let response = self.jwks.fetch.fetch_any(request).await?;
            let headers = response.headers();
            let max_age = headers.get(CACHE_CONTROL).and_then(metadata::max_age);
            match response.status() {
                StatusCode::OK => {
                    let etag = headers.get(ETAG).cloned();
                    let body = Limited::new(response.into_body(), max_bytes).collect().await?;
                    return Ok(Document { body: Some(body.to_bytes()), etag, max_age });
                }
                StatusCode::NOT_MODIFIED if etag.is_some() => {
                    return Ok(Document { body: None, etag: None, max_age });
                }
                StatusCode::NOT_FOUND => return Err(Box::new(metadata::Absent)),
                status if status.is_redirection() => {
                    let location = headers.get(LOCATION).ok_or("a redirect to nowhere")?;
                    url = metadata::redirected(&url, location).ok_or("a redirect to elsewhere")?;
                }
                status => return Err(format!("the status is {status}").into()),
            }
        }
        Err("too many redirects".into())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jwks.fmt(f)
    }
}

struct Fetched {
    url: Uri,
    fresh_for: Duration,
    /// `None`: the issuer says that they have not changed.
    keys: Option<(Keys, Option<HeaderValue>)>,
}

struct Document {
    body: Option<Bytes>,
    etag: Option<HeaderValue>,
    max_age: Option<u64>,
}

const SET_BYTES: usize = 256 * 1024;
const METADATA_BYTES: usize = 64 * 1024;
const REDIRECTS: usize = 2;
const MIN_FRESH: Duration = Duration::from_secs(60);
const MAX_FRESH: Duration = Duration::from_secs(60 * 60);
const BACKOFF: Duration = Duration::from_secs(10);
/// How many fetches in a row unknown names may cause, and how fast that comes back.
const BURST: u32 = 2;
const REFILL: Duration = Duration::from_secs(30);
