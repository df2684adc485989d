//! The keys of AWS load balancers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum_core::BoxError;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::argument::name;
use crate::middleware::jwt::algorithm::Algorithm;
use crate::middleware::jwt::error::JwtError;
use crate::middleware::jwt::keys::jwks::{AnyFetch, Fetch, HttpFetch};
use crate::middleware::jwt::keys::source::{self, KeySource, LoggedError, Peeked};
use crate::middleware::jwt::keys::{Keys, key::Key};

/// The keys of the Application Load Balancers of an AWS region, which
/// [AWS publishes](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html) as one PEM file for each `kid`.
///
/// A key is fetched when the first token names it, and again after an hour. If that fails, it is used for a day; a 404 withdraws it. At most 64 keys are kept, and at most 8
/// unknown ones are fetched in 10 seconds, so a flood of made-up names does not reach AWS; a key that can't be fetched for this reason is a 503. Known keys
/// do not count, and do not wait for others. With [`Jwt::aws_load_balancer`](crate::Jwt::aws_load_balancer), no key is fetched for a token that would be refused for its header, its time or
/// its claims. A tokio runtime with timers is required.
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::LoadBalancerKeys;
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// # let arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/name/50dc6c495c0c9188";
/// let jwt = Jwt::<serde_json::Value>::aws_load_balancer(arn, "the client id")?
///     .keys(LoadBalancerKeys::new("eu-central-1")?);
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
pub struct LoadBalancerKeys {
    folder: String,
    fetch: Box<dyn AnyFetch>,
}

impl LoadBalancerKeys {
    /// Fetches the keys of a region, such as `eu-central-1`.
    ///
    /// # Errors
    ///
    /// If it is not the name of a region.
    pub fn new(region: &str) -> Result<Self, JwtError> {
        let (what, example) = ("an AWS region", "eu-central-1");
        let parts = region.split('-').count();
        name(region, "", what, example)?;
        if parts < 3 || region.split('-').any(str::is_empty) {
            return Err(JwtError::Preset { what, example });
        }
        let folder = if region.starts_with("us-gov-") {
            format!("https://s3-{region}.amazonaws.com/aws-elb-public-keys-prod-{region}/")
        } else {
            format!("https://public-keys.auth.elb.{region}.amazonaws.com/")
        };
        let fetch = Box::new(HttpFetch::new()?);
        Ok(Self { folder, fetch })
    }

    /// Sets the client that fetches keys. Defaults to [`HttpFetch`].
    #[must_use]
    pub fn fetch(mut self, fetch: impl Fetch) -> Self {
        self.fetch = Box::new(fetch);
        self
    }
}

impl fmt::Debug for LoadBalancerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancerKeys").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl From<LoadBalancerKeys> for KeySource {
    fn from(keys: LoadBalancerKeys) -> Self {
        let client = Arc::new(KeyClient { settings: keys, state: Mutex::default() });
        Self::per_request(
            |query| source::peek(query.token),
            move |peeked| {
                let client = client.clone();
                async move {
                    match peeked {
                        // No key of a load balancer has another algorithm.
                        Some(peeked) if peeked.algorithm != Algorithm::Es256 => {
                            Ok(Some(Keys::published([])))
                        }
                        Some(Peeked { kid: Some(kid), .. }) if is_key_name(&kid) => {
                            client.keys(kid).await
                        }
                        _ => Ok(None),
                    }
                }
            },
        )
    }
}

struct KeyClient {
    settings: LoadBalancerKeys,
    /// Never locked during I/O.
    state: Mutex<ClientState>,
}

#[derive(Default)]
struct ClientState {
    known: HashMap<String, KnownKey>,
    fetching: HashMap<String, PendingFetch>,
    /// For keys that are not known. Those that are were published, so a client can't make up more of them.
    window: FetchWindow,
}

struct KnownKey {
    keys: Keys,
    fetched: Instant,
    /// When the key is fetched again.
    refresh_at: Instant,
}

/// A fetch in a task of its own. If the client that caused it disconnects, it continues for the others.
#[derive(Clone)]
struct PendingFetch {
    fetched: Shared<BoxFuture<'static, FetchedKeys>>,
    task: AbortHandle,
    /// When requests stop waiting, because its runtime may not be running any more.
    until: Instant,
}

/// `Ok(None)` if there is no such key.
type FetchedKeys = Result<Option<Keys>, LoggedError>;

impl PendingFetch {
    fn is_over(&self, now: Instant) -> bool {
        self.task.is_finished() || now >= self.until
    }
}

/// How many keys were fetched since when.
#[derive(Default)]
struct FetchWindow {
    since: Option<Instant>,
    fetches: u32,
}

impl FetchWindow {
    fn take(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            *self = Self { since: Some(now), fetches: 0 };
        }
        self.fetches = self.fetches.saturating_add(1);
        if self.fetches == FETCHES + 1 {
            tracing::warn!("too many unknown keys of load balancers: some are not fetched");
        }
        self.fetches <= FETCHES
    }
}

impl KeyClient {
    async fn keys(self: &Arc<Self>, kid: String) -> FetchedKeys {
        match self.known_or_pending(kid) {
            Ok(keys) => Ok(Some(keys)),
            Err(None) => Err(LoggedError),
            Err(Some(pending)) => {
                let wait = pending.until.saturating_duration_since(Instant::now());
                timeout(wait, pending.fetched).await.unwrap_or(Err(LoggedError))
            }
        }
    }

    /// Returns the key, or the fetch to wait for, if there may be one.
    fn known_or_pending(self: &Arc<Self>, kid: String) -> Result<Keys, Option<PendingFetch>> {
        let now = Instant::now();
        let mut state = self.lock();
        let state = &mut *state;
        let pending = state.fetching.get(&kid).filter(|pending| !pending.is_over(now));
        match state.known.get_mut(&kid) {
            // A key that is being fetched again is used meanwhile, and also if this failed a moment ago.
            Some(known) if pending.is_some() || now < known.refresh_at => {
                return if now < known.fetched + STALE {
                    Ok(known.keys.clone())
                } else {
                    Err(pending.cloned())
                };
            }
            Some(known) => known.refresh_at = now + WINDOW,
            None if pending.is_some() => return Err(pending.cloned()),
            None if state.window.take(now) => {}
            None => return Err(None),
        }
        let pending = self.start(kid.clone(), now).ok_or(None)?;
        state.fetching.retain(|_, pending| !pending.is_over(now));
        state.fetching.insert(kid, pending.clone());
        Err(Some(pending))
    }

    /// `None` without a runtime.
    fn start(self: &Arc<Self>, kid: String, now: Instant) -> Option<PendingFetch> {
        let client = self.clone();
        let task = Handle::try_current().ok()?.spawn(async move { client.refresh(kid).await });
        Some(PendingFetch {
            task: task.abort_handle(),
            fetched: task.map(|ended| ended.unwrap_or(Err(LoggedError))).boxed().shared(),
            until: now + TIMEOUT + GRACE,
        })
    }

    /// Fetches a key, and returns the known one if this fails.
    async fn refresh(&self, kid: String) -> FetchedKeys {
        let fetched = timeout(TIMEOUT, self.fetch(&kid)).await;
        match fetched.unwrap_or_else(|_| Err("the key took too long".into())) {
            Ok(Some(key)) => {
                let keys = Keys::from(key.kid(&*kid));
                self.insert(kid, keys.clone());
                Ok(Some(keys))
            }
            Ok(None) => {
                self.lock().known.remove(&kid);
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(error, "can't fetch a key of a load balancer");
                self.usable(&kid).map(Some).ok_or(LoggedError)
            }
        }
    }

    /// The known key, if it may be used although it can't be fetched again.
    fn usable(&self, kid: &str) -> Option<Keys> {
        let state = self.lock();
        let known = state.known.get(kid).filter(|known| known.fetched.elapsed() < STALE);
        known.map(|known| known.keys.clone())
    }

    fn insert(&self, kid: String, keys: Keys) {
        let known = &mut self.lock().known;
        if known.len() >= KEYS && !known.contains_key(&kid) {
            let oldest = known.iter().min_by_key(|(_, key)| key.fetched);
            if let Some(kid) = oldest.map(|(kid, _)| kid.clone()) {
                known.remove(&kid);
            }
        }
        let now = Instant::now();
        known.insert(kid, KnownKey { keys, fetched: now, refresh_at: now + FRESH });
    }

    fn lock(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `None` if there is no such key.
    async fn fetch(&self, kid: &str) -> Result<Option<Key>, BoxError> {
        let mut request = Request::new(());
        *request.uri_mut() = format!("{}{kid}", self.settings.folder).parse()?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let response = self.settings.fetch.fetch_any(request).await?;
        match response.status() {
            StatusCode::OK => {
                let body = Limited::new(response.into_body(), PEM_BYTES).collect().await?;
                Ok(Some(Key::pem(Algorithm::Es256, body.to_bytes())?))
            }
            StatusCode::NOT_FOUND => Ok(None),
            // S3 answers 403 for a file that does not exist, but also if it refuses the request: this does not withdraw a known key.
            StatusCode::FORBIDDEN if self.usable(kid).is_none() => Ok(None),
            status => Err(format!("the status is {status}").into()),
        }
    }
}

/// Whether it is a UUID, as load balancers name their keys. It becomes a part of a URL.
fn is_key_name(kid: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    kid.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && kid.split('-').all(is_hex)
}

const AGENT: &str = concat!("tower-chain/", env!("CARGO_PKG_VERSION"));
const PEM_BYTES: usize = 8 * 1024;
const KEYS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(5);
const FRESH: Duration = Duration::from_secs(60 * 60);
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
const FETCHES: u32 = 8;
const WINDOW: Duration = Duration::from_secs(10);
/// How much longer than the timeout of the fetch requests wait.
const GRACE: Duration = Duration::from_secs(1);
