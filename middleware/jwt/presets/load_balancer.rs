//! The keys of AWS load balancers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum_core::BoxError;
use futures_util::lock::Mutex as AsyncMutex;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout};

use super::argument::name;
use crate::middleware::jwt::algorithm::Algorithm;
use crate::middleware::jwt::error::JwtError;
use crate::middleware::jwt::keys::jwks::{AnyFetch, Fetch, HttpFetch};
use crate::middleware::jwt::keys::source::KeySource;
use crate::middleware::jwt::keys::{Keys, key::Key};

/// The keys of the Application Load Balancers of an AWS region, which
/// [AWS publishes](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html) as one PEM file for each `kid`.
///
/// A key is fetched when the first token names it, and again after an hour. If that fails, it is used for a day. At most 64 keys are kept, and at most 8 are
/// fetched in 10 seconds, so a flood of made-up names does not reach AWS; a key that can't be fetched for this reason is a 503. A tokio runtime with
/// timers is required.
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
        let client = Arc::new(KeyClient {
            settings: keys,
            known: Mutex::default(),
            fetching: AsyncMutex::default(),
        });
        Self::per_request(
            |query| query.unverified_kid().filter(|kid| is_key_name(kid)),
            move |kid| {
                let client = client.clone();
                async move {
                    match kid {
                        Some(kid) => client.keys(kid).await,
                        None => Ok(None),
                    }
                }
            },
        )
    }
}

struct KeyClient {
    settings: LoadBalancerKeys,
    /// Never locked during I/O.
    known: Mutex<HashMap<String, KnownKey>>,
    /// Locked while a key is fetched: one key at a time.
    fetching: AsyncMutex<FetchWindow>,
}

#[derive(Clone)]
struct KnownKey {
    keys: Keys,
    fetched: Instant,
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
        self.fetches += 1;
        self.fetches <= FETCHES
    }
}

impl KeyClient {
    async fn keys(&self, kid: String) -> Result<Option<Keys>, BoxError> {
        let is_fresh = |known: &KnownKey| known.fetched.elapsed() < FRESH;
        let known = self.known(&kid);
        if let Some(known) = known.filter(is_fresh) {
            return Ok(Some(known.keys));
        }
        let mut window = self.fetching.lock().await;
        // Another request may have fetched it while this one waited.
        let known = self.known(&kid);
        if let Some(known) = known.clone().filter(is_fresh) {
            return Ok(Some(known.keys));
        }
        let stale = known.filter(|known| known.fetched.elapsed() < STALE).map(|known| known.keys);
        if !window.take(Instant::now()) {
            let refused = || BoxError::from("too many keys of load balancers are fetched");
            return stale.map(Some).ok_or_else(refused);
        }
        let fetched = timeout(TIMEOUT, self.fetch(&kid)).await;
        match fetched.unwrap_or_else(|_| Err("the key took too long".into())) {
            Ok(Some(key)) => {
                let known = KnownKey { keys: Keys::from(key.kid(&*kid)), fetched: Instant::now() };
                let keys = known.keys.clone();
                self.insert(kid, known);
                Ok(Some(keys))
            }
            Ok(None) => Ok(None),
            Err(error) => stale.map(Some).ok_or(error),
        }
    }

    fn known(&self, kid: &str) -> Option<KnownKey> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(kid).cloned()
    }

    fn insert(&self, kid: String, key: KnownKey) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS {
            let oldest = known.iter().min_by_key(|(_, key)| key.fetched);
            if let Some(kid) = oldest.map(|(kid, _)| kid.clone()) {
                known.remove(&kid);
            }
        }
        known.insert(kid, key);
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
            // S3 answers 403 for a file that does not exist.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(None),
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
