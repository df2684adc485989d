//! The JWKS client: what is fetched when, and which requests wait for it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::header::{ACCEPT, CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{Jwks, Target, metadata};
use crate::middleware::credentials::{OWN_USER_AGENT, issuer_error};
use crate::middleware::jwt::algorithm::Algorithm;
use crate::middleware::jwt::error::JwtError;
use crate::middleware::jwt::keys::Keys;
use crate::middleware::jwt::keys::jwk;
use crate::middleware::jwt::refusal::JwtRefusal;

/// Fetches the keys of a [`Jwks`] and caches them.
pub(crate) struct JwksClient {
    jwks: Jwks,
    /// Never locked during I/O.
    state: Mutex<ClientState>,
}

struct ClientState {
    set: Option<CachedSet>,
    /// The URL of the keys in the metadata.
    place: Option<JwksLocation>,
    /// The fetch that is in flight. All requests that wait share it.
    flight: Option<PendingFetch>,
    failures: u32,
    /// After a failure: when to try again.
    retry: Option<Instant>,
    tokens: FetchBudget,
}

impl ClientState {
    fn failed(&mut self, at: Instant) {
        self.flight = None;
        self.failures = self.failures.saturating_add(1);
        self.retry = Some(at + BACKOFF * self.failures.min(3));
        // The URL of the keys may have changed as well.
        self.place = None;
    }
}

/// A fetch in a task of its own. If the client that caused it disconnects, it continues for the others.
#[derive(Clone)]
struct PendingFetch {
    landed: Shared<BoxFuture<'static, ()>>,
    /// Dropped with the task. This detects a task that ended by a panic or with its runtime, which could not update the state.
    task: Weak<()>,
    since: Instant,
    /// When requests stop waiting, because its runtime may not be running any more.
    until: Instant,
}

impl PendingFetch {
    fn is_over(&self, now: Instant) -> bool {
        self.task.strong_count() == 0 || now >= self.until
    }

    async fn wait(self) {
        // The result is in the state. Outside of tokio there is no timer.
        match Handle::try_current() {
            Ok(_) => drop(tokio::time::timeout_at(self.until, self.landed).await),
            Err(_) => self.landed.await,
        }
    }
}

#[derive(Clone)]
struct CachedSet {
    keys: Keys,
    tag: Option<Tag>,
    fetched: Instant,
    fresh_for: Duration,
}

/// An entity tag, which is valid for this URL only.
#[derive(Clone)]
struct Tag {
    url: Uri,
    value: HeaderValue,
}

/// The URL of the keys, and when it was found.
#[derive(Clone)]
struct JwksLocation {
    url: Uri,
    found: Instant,
}

/// A token bucket: how often tokens that no known key has signed may cause a fetch.
struct FetchBudget {
    tokens: u32,
    refilled: Option<Instant>,
}

impl FetchBudget {
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

impl JwksClient {
    pub(crate) fn new(jwks: Jwks) -> Self {
        let tokens = FetchBudget { tokens: BURST, refilled: None };
        let state =
            ClientState { set: None, place: None, flight: None, failures: 0, retry: None, tokens };
        Self { jwks, state: Mutex::new(state) }
    }

    /// The issuer that tokens must name, if there is one.
    pub(crate) fn issuer(&self) -> Option<&str> {
        match &self.jwks.target {
            Target::Issuer(issuer, _) => Some(issuer),
            Target::Keys(_) => None,
        }
    }

    /// The keys that are not fetched.
    pub(crate) fn local(&self) -> Option<&Keys> {
        self.jwks.local.as_ref()
    }

    /// The names of the accepted algorithms.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = &'static str> {
        self.jwks.algorithms.iter().map(|algorithm| algorithm.name())
    }

    pub(crate) fn accepts(&self, algorithm: Algorithm) -> bool {
        self.jwks.algorithms.contains(&algorithm)
    }

    /// Returns the cached keys. Waits for a fetch if there are none, or if they are so old that a key may have been withdrawn.
    pub(crate) async fn keys(self: &Arc<Self>) -> Result<Keys, JwtRefusal> {
        let flight = {
            let now = Instant::now();
            let mut state = self.lock();
            match self.usable(&state, now) {
                Some(set) => {
                    let age = now.saturating_duration_since(set.fetched);
                    let keys = set.keys.clone();
                    if age < set.fresh_for {
                        return Ok(keys);
                    }
                    // If the last fetch failed a moment ago, the next one will probably fail as well, so don't wait for it.
                    let failing = state.retry.is_some_and(|retry| {
                        let since = now.saturating_duration_since(retry);
                        since < self.jwks.timeout.saturating_add(LATELY)
                    });
                    let waits = age >= set.fresh_for.saturating_mul(2) && !failing;
                    match self.start(&mut state, now) {
                        Some(flight) if waits => Some(flight),
                        // It runs in the background.
                        _ => return Ok(keys),
                    }
                }
                None => self.start(&mut state, now),
            }
        };
        flight.ok_or(JwtRefusal::KeysUnavailable)?.wait().await;
        let state = self.lock();
        let set = self.usable(&state, Instant::now());
        set.map(|set| set.keys.clone()).ok_or(JwtRefusal::KeysUnavailable)
    }

    /// Returns keys that were fetched after the known ones. `None` if it is too early for a fetch, or the keys are the same.
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
        flight?.wait().await;
        self.newer(&self.lock(), known)
    }

    fn newer(&self, state: &ClientState, known: &Keys) -> Option<Keys> {
        let keys = &self.usable(state, Instant::now())?.keys;
        (!keys.is(known)).then(|| keys.clone())
    }

    fn usable<'s>(&self, state: &'s ClientState, now: Instant) -> Option<&'s CachedSet> {
        let set = state.set.as_ref()?;
        let age = now.saturating_duration_since(set.fetched);
        (age < self.jwks.stale_for.max(set.fresh_for)).then_some(set)
    }

    /// Joins the fetch that is in flight, or starts one. `None` for some time after a failure.
    fn start(self: &Arc<Self>, state: &mut ClientState, now: Instant) -> Option<PendingFetch> {
        if let Some(flight) = &state.flight {
            if !flight.is_over(now) {
                return Some(flight.clone());
            }
            let since = flight.since;
            state.failed(since);
            tracing::warn!(place = ?self.jwks, "a fetch of keys came to no end");
        }
        if state.retry.is_some_and(|retry| now < retry) {
            return None;
        }
        let Ok(runtime) = Handle::try_current() else {
            tracing::warn!("keys can't be fetched outside of a tokio runtime");
            return None;
        };
        let (remote, alive) = (self.clone(), Arc::new(()));
        let task = Arc::downgrade(&alive);
        let landed = runtime.spawn(async move { remote.refresh(alive).await });
        let flight = PendingFetch {
            landed: landed.map(drop).boxed().shared(),
            task,
            since: now,
            until: now + self.jwks.timeout.min(DAY) + GRACE,
        };
        state.flight = Some(flight.clone());
        Some(flight)
    }

    async fn refresh(&self, alive: Arc<()>) {
        let (tag, place) = {
            let state = self.lock();
            (state.set.as_ref().and_then(|set| set.tag.clone()), state.place.clone())
        };
        let fetching = self.fetch_keys(place, tag.as_ref());
        let fetched = tokio::time::timeout(self.jwks.timeout, fetching).await;
        let fetched = fetched.unwrap_or_else(|_| Err("it took too long".into()));
        let now = Instant::now();
        let mut state = self.lock();
        // The result of an abandoned fetch is ignored.
        if state.flight.as_ref().is_none_or(|own| own.task.as_ptr() != Arc::as_ptr(&alive)) {
            return;
        }
        state.flight = None;
        match fetched {
            Ok(FetchedKeys { place, fresh_for, keys }) => {
                state.failures = 0;
                state.retry = None;
                state.place = Some(place);
                match keys {
                    Some((keys, tag)) => {
                        // Equal keys keep their handle, because a new handle means new keys.
                        let keys = match &state.set {
                            Some(set) if set.keys.same_as(&keys) => set.keys.clone(),
                            _ => keys,
                        };
                        state.set = Some(CachedSet { keys, tag, fetched: now, fresh_for });
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
                state.failed(now);
                let response = error.downcast_ref::<metadata::IssuerResponse>();
                let status = response.map(|response| response.status.as_u16());
                let issuer_error = response.and_then(|response| response.error.clone());
                tracing::warn!(error, status, issuer_error, place = ?self.jwks, "can't fetch keys");
            }
        }
    }

    /// Fetches the keys from the configured URL, or from the URL in the metadata.
    async fn fetch_keys(
        &self,
        known: Option<JwksLocation>,
        tag: Option<&Tag>,
    ) -> Result<FetchedKeys, BoxError> {
        let now = Instant::now();
        let issuer = match &self.jwks.target {
            Target::Keys(url) => {
                return self.fetch_set(JwksLocation { url: url.clone(), found: now }, tag).await;
            }
            Target::Issuer(issuer, url) => {
                metadata::IssuerLocation { issuer, url, http_hosts: &self.jwks.http_hosts }
            }
        };
        let found =
            async || self.discover(&issuer).await.map(|url| JwksLocation { url, found: now });
        let Some(known) = known else { return self.fetch_set(found().await?, tag).await };
        if now.saturating_duration_since(known.found) >= METADATA_FRESH {
            // If the metadata can't be fetched, use the known URL. Half of the time is left for the keys.
            let renewed = tokio::time::timeout(self.jwks.timeout / 2, found()).await;
            return self.fetch_set(renewed.ok().and_then(Result::ok).unwrap_or(known), tag).await;
        }
        match self.fetch_set(known.clone(), tag).await {
            Ok(fetched) => Ok(fetched),
            // The keys may have moved.
            Err(error) => match found().await? {
                place if place.url == known.url => Err(error),
                place => self.fetch_set(place, tag).await,
            },
        }
    }

    async fn fetch_set(
        &self,
        place: JwksLocation,
        tag: Option<&Tag>,
    ) -> Result<FetchedKeys, BoxError> {
        let document = self.get(place.url.clone(), SET_BYTES, tag).await?;
        let fresh_for = document.max_age.map_or(self.jwks.fresh_for, |max_age| {
            Duration::from_secs(max_age).clamp(MIN_FRESH, MAX_FRESH)
        });
        let Some(body) = document.body else {
            return Ok(FetchedKeys { place, fresh_for, keys: None });
        };
        let keys = jwk::usable(&body, &self.jwks.algorithms)?;
        if keys.is_empty() {
            return Err(JwtError::NoUsableJwk.into());
        }
        Ok(FetchedKeys { place, fresh_for, keys: Some((Keys::published(keys), document.tag)) })
    }

    /// Finds the URL of the keys of an issuer. The second URL is tried if the first one does not exist.
    async fn discover(&self, at: &metadata::IssuerLocation<'_>) -> Result<Uri, BoxError> {
        let [first, second] = metadata::places(at.url).ok_or("the issuer is not a URL")?;
        let document = match self.get(first, METADATA_BYTES, None).await {
            Ok(document) => document,
            Err(error) if metadata::is_absent(&error) => {
                self.get(second, METADATA_BYTES, None).await?
            }
            Err(error) => return Err(error),
        };
        metadata::keys_url(&document.body.unwrap_or_default(), at)
    }

    async fn get(
        &self,
        mut url: Uri,
        max_bytes: usize,
        tag: Option<&Tag>,
    ) -> Result<FetchedDocument, BoxError> {
        for _ in 0..=REDIRECTS {
            let mut request = Request::new(());
            *request.uri_mut() = url.clone();
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
            request.headers_mut().insert(USER_AGENT, OWN_USER_AGENT);
            let tag = tag.filter(|tag| tag.url == url);
            if let Some(tag) = tag {
                request.headers_mut().insert(IF_NONE_MATCH, tag.value.clone());
            }
            let response = self.jwks.fetch.fetch_any(request).await?;
            let headers = response.headers();
            let max_age = headers.get(CACHE_CONTROL).and_then(metadata::max_age);
            match response.status() {
                StatusCode::OK => {
                    let value = headers.get(ETAG).cloned();
                    let body = Limited::new(response.into_body(), max_bytes).collect().await?;
                    let tag = value.map(|value| Tag { url, value });
                    return Ok(FetchedDocument { body: Some(body.to_bytes()), tag, max_age });
                }
                StatusCode::NOT_MODIFIED if tag.is_some() => {
                    return Ok(FetchedDocument { body: None, tag: None, max_age });
                }
                status if status.is_redirection() => {
                    let location = headers.get(LOCATION).ok_or("a redirect to nowhere")?;
                    url = metadata::redirected(&url, location).ok_or("a redirect to elsewhere")?;
                }
                status => {
                    let body = Limited::new(response.into_body(), ERROR_BYTES).collect().await;
                    let error = body.ok().and_then(|body| issuer_error(&body.to_bytes()));
                    return Err(Box::new(metadata::IssuerResponse { status, error }));
                }
            }
        }
        Err("too many redirects".into())
    }

    fn lock(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for JwksClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jwks.fmt(f)
    }
}

struct FetchedKeys {
    place: JwksLocation,
    fresh_for: Duration,
    /// `None` if the keys have not changed (304).
    keys: Option<(Keys, Option<Tag>)>,
}

struct FetchedDocument {
    body: Option<Bytes>,
    tag: Option<Tag>,
    max_age: Option<u64>,
}

const SET_BYTES: usize = 256 * 1024;
const METADATA_BYTES: usize = 64 * 1024;
/// How much of a response with an error is read for the log.
const ERROR_BYTES: usize = 4 * 1024;
const REDIRECTS: usize = 2;
const MIN_FRESH: Duration = Duration::from_secs(60);
const MAX_FRESH: Duration = Duration::from_secs(60 * 60);
/// How long the metadata are used.
const METADATA_FRESH: Duration = Duration::from_secs(60 * 60);
const BACKOFF: Duration = Duration::from_secs(10);
/// How long a failure counts as recent, from the time of the next attempt.
const LATELY: Duration = Duration::from_secs(30);
/// How much longer than the timeout of the fetch requests wait.
const GRACE: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many fetches in a row tokens that no known key has signed may cause, and after how long one more is allowed.
const BURST: u32 = 2;
const REFILL: Duration = Duration::from_secs(30);
