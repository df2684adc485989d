//! Token introspection: the authorization server checks opaque tokens (RFC 7662).

#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
mod bound;
mod grants;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum_core::BoxError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use tracing::Instrument;

#[cfg(not(any(feature = "jwt", feature = "jwt-rust-crypto")))]
use super::authenticator::Possession;
use super::authenticator::{CredentialVerifier, Verified, Verify};
use super::cache::{Cache, CacheKey};
use super::{Authenticate, Token, TokenSource};
use crate::Error;
use crate::chain::FromChain;
use crate::middleware::credentials::{
    Credentials, Explanation, OWN_USER_AGENT, is_invisible, issuer_error, one_of,
};
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
use crate::middleware::jwt::Proofs;
use crate::turns::{Client, Turn, TurnLimits, Turns};

/// Checks tokens by a request to the introspection endpoint of an authorization server ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)).
///
/// It does not include an HTTP client: `new` takes an async function that sends a request. The function should not follow redirects to other hosts, and
/// should limit the response; a body of more than 256 KiB is refused.
///
/// Concurrent requests with the same token cause one introspection request. Results are cached: active tokens until they expire, but at most for
/// [`cache_ttl`](Self::cache_ttl), and other tokens for at most 5 seconds. If the server is unavailable or its response is malformed, the client gets a
/// 503 with `Retry-After`.
///
/// One client causes at most 32 requests at the same time, one network at most 128, and all together at most 1024; further tokens wait, for at most
/// 10 seconds. A flood of made-up tokens therefore does not delay the tokens of other clients. A client is an address as
/// [`ClientAddr`](crate::extract::ClientAddr) finds it (the /64 of an IPv6 address, whose network is the /48). Behind a proxy,
/// [provide](crate::Chain::provide) [`TrustedProxies`](crate::extract::TrustedProxies): without, all clients behind the proxy share what one network may
/// have, and a warning is logged once.
///
/// An authorization server reports other tokens than access tokens as active as well, and tokens for other APIs. Only these are accepted:
///
/// - access tokens: the response has a `token_type` of `Bearer` or `DPoP` ([RFC 6749, 7.1](https://www.rfc-editor.org/rfc/rfc6749#section-7.1)), or
///   names an access token in `token_use` or `typ`, as some servers do. No member names another kind, such as a refresh token or an ID token. See
///   [`any_token_type`](Self::any_token_type);
/// - tokens for this API: `aud` is, or contains, the audience. See [`any_audience`](Self::any_audience);
/// - tokens that pass each [`check`](Self::check) of the application.
///
/// A token is also refused if the server answers with 400 and `unsupported_token_type` or `invalid_token`, which means that it does not introspect
/// tokens of this kind. Any other failure of the server is a 503.
///
/// A token that is bound to a key or a certificate of the client (`cnf`, or `DPoP` as its type) is refused, unless the sender proves to hold it: see
/// `dpop` and `mtls`, with the feature `jwt`.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use tower_chain::middleware::authenticate::{Introspected, Introspection};
/// use tower_chain::{Authenticate, Chain};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let fetch = move |req: http::Request<Bytes>| {
///     let client = client.clone();
///     async move {
///         let response = client.execute(req.try_into()?).await?;
///         let status = response.status();
///         let mut answer = http::Response::new(response.bytes().await?);
///         *answer.status_mut() = status;
///         Ok::<_, reqwest::Error>(answer)
///     }
/// };
///
/// let endpoint = "https://login.example.com/introspect";
/// let introspection = Introspection::new(endpoint, "https://invoices.example.com", fetch)?
///     .client("invoices-api", "the secret of this API")?
///     .issuer("https://login.example.com")?
///     .check(|token| token.claim("realm").is_some_and(|realm| realm == "customers"));
///
/// let chain = Chain::new()
///     .use_(Authenticate::introspection(introspection))
///     .get(async |token: Introspected| token.subject().unwrap_or("?").to_owned());
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
pub struct Introspection {
    endpoint: Uri,
    authorization: Option<HeaderValue>,
    issuer: Option<String>,
    /// Empty if any audience is accepted.
    audiences: Vec<String>,
    any_token_type: bool,
    checks: Vec<Box<ResponseCheck>>,
    timeout: Duration,
    fetch: Box<SendRequest>,
    good: Cache<Introspected>,
    bad: Cache<TokenRefusal>,
    asking: Mutex<HashMap<CacheKey, PendingRequest>>,
    turns: Turns,
    #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
    proofs: Proofs,
}

type ResponseCheck = dyn Fn(&Introspected) -> bool + Send + Sync;
type SendRequest = dyn Fn(http::Request<Bytes>) -> Pin<Box<dyn Future<Output = SentResponse> + Send>>
    + Send
    + Sync;
type SentResponse = Result<http::Response<Bytes>, BoxError>;
type PendingRequest = Shared<BoxFuture<'static, Result<Judged, Unavailable>>>;

impl Introspection {
    /// Accepts tokens for an audience, after a request to the introspection endpoint at a URL. The function sends this request and reads the
    /// response.
    ///
    /// The audience is the name by which the authorization server knows this API, often its URL. A token is accepted if `aud` is this text, or a
    /// list that contains it.
    ///
    /// # Errors
    ///
    /// If the endpoint is not an `https` URL (or `http` on the own machine), or if the audience is blank or begins or ends with white space.
    pub fn new<F, Fut, E>(
        endpoint: impl Into<String>,
        audience: impl Into<String>,
        fetch: F,
    ) -> Result<Self, IntrospectionError>
    where
        F: Fn(http::Request<Bytes>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<http::Response<Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self::at(endpoint.into(), audience.into(), false, fetch)
    }

    /// Like [`new`](Self::new), but also accepts an `http` URL.
    ///
    /// Whoever can read what is sent on the way to the host can then read tokens and the credentials of this API, and whoever can change it can make tokens
    /// accepted. Use it only for a host in the same cluster or container network.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn insecure<F, Fut, E>(
        endpoint: impl Into<String>,
        audience: impl Into<String>,
        fetch: F,
    ) -> Result<Self, IntrospectionError>
    where
        F: Fn(http::Request<Bytes>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<http::Response<Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self::at(endpoint.into(), audience.into(), true, fetch)
    }

    fn at<F, Fut, E>(
        url: String,
        audience: String,
        insecure: bool,
        fetch: F,
    ) -> Result<Self, IntrospectionError>
    where
        F: Fn(http::Request<Bytes>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<http::Response<Bytes>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let endpoint = match url.parse::<Uri>() {
            Ok(uri) if is_fit(&uri, insecure) => uri,
            _ => return Err(IntrospectionError::Endpoint { url: shown(&url) }),
        };
        let audience = text(audience, "the audience")?;
        Ok(Self {
            endpoint,
            authorization: None,
            issuer: None,
            audiences: vec![audience],
            any_token_type: false,
            checks: Vec::new(),
            timeout: Duration::from_secs(5),
            fetch: Box::new(move |req| Box::pin(fetch(req).map(|result| result.map_err(E::into)))),
            good: Cache::new(Duration::from_secs(60), CAPACITY),
            bad: Cache::new(BAD_TTL, CAPACITY),
            asking: Mutex::default(),
            turns: Turns::new(REQUESTS),
            #[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
            proofs: Proofs::default(),
        })
    }

    /// Sets the client credentials of this API, which are sent by Basic (RFC 6749, 2.3.1). Defaults to none.
    ///
    /// # Errors
    ///
    /// If one of them is blank, begins or ends with white space, or contains a control character.
    pub fn client(
        mut self,
        id: impl Into<String>,
        secret: impl Into<String>,
    ) -> Result<Self, IntrospectionError> {
        let id = form_encoded(&text(id, "the id of the client")?);
        let secret = form_encoded(&text(secret, "the secret of the client")?);
        self.authorization =
            sensitive(&format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
        Ok(self)
    }

    /// Sets a bearer token that authenticates this API. Defaults to none.
    ///
    /// # Errors
    ///
    /// If the token contains a character other than visible ASCII.
    pub fn bearer(mut self, token: impl AsRef<str>) -> Result<Self, IntrospectionError> {
        let token = token.as_ref();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(IntrospectionError::Bearer);
        }
        self.authorization = sensitive(&format!("Bearer {token}"));
        Ok(self)
    }

    /// Sets the `iss` that tokens must have, byte for byte. Defaults to any.
    ///
    /// # Errors
    ///
    /// If it is blank, begins or ends with white space, or contains a control character.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Result<Self, IntrospectionError> {
        self.issuer = Some(text(issuer, "the issuer")?);
        Ok(self)
    }

    /// Accepts tokens for one more audience. Each call adds one. Defaults to the one of [`new`](Self::new) alone.
    ///
    /// # Errors
    ///
    /// If it is blank, begins or ends with white space, or contains a control character.
    pub fn audience(mut self, audience: impl Into<String>) -> Result<Self, IntrospectionError> {
        self.audiences.push(text(audience, "the audience")?);
        Ok(self)
    }

    /// Accepts tokens for any audience, and those without one. For a server that introspects only tokens for the API that sends the request, or
    /// where a [`check`](Self::check) decides. Defaults to off.
    #[must_use]
    pub fn any_audience(mut self) -> Self {
        self.audiences.clear();
        self
    }

    /// Accepts tokens of any kind, also those of which the server does not report the kind. Use it for a server that does not send `token_type`, together
    /// with a [`check`](Self::check) that tells access tokens from refresh tokens. Defaults to off.
    #[must_use]
    pub fn any_token_type(mut self) -> Self {
        self.any_token_type = true;
        self
    }

    /// Adds a check of the whole response: `false` refuses the token. Each call adds one. Defaults to none.
    ///
    /// A successful check is cached together with the response.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&Introspected) -> bool + Send + Sync + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Sets how long the server may take to respond. Defaults to 5 seconds.
    ///
    /// # Errors
    ///
    /// If it is zero: every request would time out.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, IntrospectionError> {
        if timeout.is_zero() {
            return Err(IntrospectionError::ZeroTimeout);
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// Sets how long an active token is cached, but never beyond its `exp`. A revoked token is accepted until then. Zero disables the cache. Defaults
    /// to one minute.
    #[must_use]
    pub fn cache_ttl(mut self, cache_ttl: Duration) -> Self {
        self.good = Cache::new(cache_ttl, self.good.capacity());
        self.bad = Cache::new(cache_ttl.min(BAD_TTL), self.bad.capacity());
        self
    }

    /// Sets how many active tokens are cached, and how many others. When a cache is full, entries that were not used lately are evicted first.
    /// Zero disables the cache. Defaults to 10 000.
    #[must_use]
    pub fn cache_capacity(mut self, cache_capacity: usize) -> Self {
        self.good = Cache::new(self.good.ttl(), cache_capacity);
        self.bad = Cache::new(self.bad.ttl(), cache_capacity);
        self
    }

    /// Checks a token, from the cache or by a request to the server.
    async fn ask(self: Arc<Self>, token: Token, client: Option<Client>) -> Verified<Introspected> {
        let key = self.good.key(token.as_str().as_bytes());
        if let Some(known) = self.known(&key) {
            return Ok(known.map_err(|refusal| self.explain(refusal)));
        }
        let in_flight = self.asking().get(&key).cloned();
        let answer = match in_flight {
            Some(asking) => asking.await,
            None => {
                let turn = self.turns.take(client).await?;
                self.clone().start(key, token, turn).await
            }
        };
        let found = answer.map_err(|Unavailable| {
            Error::new(StatusCode::SERVICE_UNAVAILABLE, "The authorization server is unavailable")
                .with_header(RETRY_AFTER, HeaderValue::from_static("5"))
        })?;
        let found = found.and_then(|token| token.alive_at(SystemTime::now()));
        Ok(found.map_err(|refusal| self.explain(refusal)))
    }

    /// The cached result.
    fn known(&self, key: &CacheKey) -> Option<Judged> {
        let now = Instant::now();
        if let Some(token) = self.good.get(key, now) {
            return Some(token.alive_at(SystemTime::now()));
        }
        self.bad.get(key, now).map(Err)
    }

    /// Explains why a token is not accepted, for the log.
    fn explain(&self, refusal: TokenRefusal) -> Explanation {
        let audiences = || self.audiences.iter().map(|name| &**name);
        match refusal {
            TokenRefusal::Inactive => Explanation::part("active").expected("true"),
            TokenRefusal::NotIntrospected(error) => Explanation {
                hint: Some(error),
                ..Explanation::part("token")
                    .expected("one of a kind that the authorization server introspects")
            },
            TokenRefusal::Time(name) => Explanation::part(name).expected("seconds since 1970"),
            TokenRefusal::Expired => Explanation::part("exp").expected("later than now"),
            TokenRefusal::NotYetValid => Explanation::part("nbf").expected("not later than now"),
            TokenRefusal::Issuer(hint) => {
                let issuer = self.issuer.as_deref().unwrap_or_default();
                Explanation { hint, ..Explanation::part("iss").expected(issuer) }
            }
            TokenRefusal::Audience(hint) => {
                Explanation { hint, ..Explanation::part("aud").expected(one_of(audiences())) }
            }
            TokenRefusal::Kind(member) => {
                let accepted = KINDS.iter().find(|(kind, _)| *kind == member);
                Explanation::part(member).expected(match accepted {
                    Some((_, kinds)) => one_of(*kinds),
                    None => "absent, as for an access token".to_owned(),
                })
            }
            TokenRefusal::Bound => Explanation::part("cnf").expected(
                "a token that is not bound, or a configured proof; see `Introspection::dpop`",
            ),
            TokenRefusal::Check => {
                Explanation::part("response").expected("accepted by each `Introspection::check`")
            }
        }
    }

    /// Sends a request to the server, or joins the one that is in flight for this token.
    ///
    /// The request runs to its end with its turn, even if its client disconnects. Otherwise a client that disconnects all the time could cause
    /// more requests at the same time than it has turns.
    fn start(self: Arc<Self>, key: CacheKey, token: Token, turn: Turn) -> PendingRequest {
        let this = self.clone();
        let request = async move {
            let _turn = turn;
            // Another request may have finished since the cache was checked.
            match this.known(&key) {
                Some(known) => Ok(known),
                None => this.fetch_and_cache(key, &token).await,
            }
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return request.boxed().shared();
        };
        let mut asking = self.asking();
        if let Some(in_flight) = asking.get(&key) {
            return in_flight.clone();
        }
        // Removes the entry also if the function of the application panics. It waits for the lock, and thus until the entry exists.
        let entry = PendingEntry { introspection: self.clone(), key };
        let request = async move {
            let _entry = entry;
            request.await
        };
        let task = runtime.spawn(request.in_current_span());
        let pending = task.map(|result| result.unwrap_or(Err(Unavailable))).boxed().shared();
        asking.insert(key, pending.clone());
        pending
    }

    fn asking(&self) -> MutexGuard<'_, HashMap<CacheKey, PendingRequest>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_and_cache(&self, key: CacheKey, token: &Token) -> Result<Judged, Unavailable> {
        let found = self.fetch(token).await.map_err(|failure| {
            let IntrospectionFailure { reason, status, issuer_error } = failure;
            let status = status.map(|status| status.as_u16());
            tracing::warn!(reason, status, issuer_error, "introspection failed");
            Unavailable
        })?;
        let now = Instant::now();
        match &found {
            Ok(token) => {
                let left = token.left(SystemTime::now());
                self.good.insert_for(key, token.clone(), left.min(self.good.ttl()), now);
            }
            Err(refusal) => self.bad.insert(key, *refusal, now),
        }
        Ok(found)
    }

    async fn fetch(&self, token: &Token) -> Result<Judged, IntrospectionFailure> {
        let body = format!("token={}&token_type_hint=access_token", form_encoded(token.as_str()));
        let mut req = http::Request::new(Bytes::from(body));
        *req.method_mut() = http::Method::POST;
        *req.uri_mut() = self.endpoint.clone();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        req.headers_mut().insert(CONTENT_TYPE, form);
        req.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        req.headers_mut().insert(USER_AGENT, OWN_USER_AGENT);
        if let Some(authorization) = &self.authorization {
            req.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answer = (self.fetch)(req);
        // Outside of Tokio there is no timer, and the function must limit the time itself.
        let answer = match tokio::runtime::Handle::try_current() {
            Ok(_) => match tokio::time::timeout(self.timeout, answer).await {
                Ok(answer) => answer,
                Err(_) => return Err("timeout".into()),
            },
            Err(_) => answer.await,
        };
        let answer = answer.map_err(|_| "no response")?;
        if answer.body().len() > LONGEST {
            return Err("a response that is too long".into());
        }
        match answer.status() {
            StatusCode::OK => {}
            status => {
                if let Some(error) = error_of_the_token(status, answer.body()) {
                    return Ok(Err(TokenRefusal::NotIntrospected(error)));
                }
                return Err(IntrospectionFailure {
                    status: Some(status),
                    issuer_error: issuer_error(answer.body()),
                    ..IntrospectionFailure::from("a status other than 200")
                });
            }
        }
        let claims: UniqueMembers = serde_json::from_slice(answer.body())
            .map_err(|_| "a response that is not a JSON object")?;
        match claims.0.get("active") {
            Some(Value::Bool(true)) => Ok(self.judge(claims.0)),
            Some(Value::Bool(false)) => Ok(Err(TokenRefusal::Inactive)),
            _ => Err("a response without `active`".into()),
        }
    }

    #[cfg(not(any(feature = "jwt", feature = "jwt-rust-crypto")))]
    fn covers(&self, claims: &Map<String, Value>) -> bool {
        let is_dpop = claims.get("token_type").and_then(Value::as_str);
        !claims.contains_key("cnf") && !is_dpop.is_some_and(|t| t.eq_ignore_ascii_case("DPoP"))
    }

    #[cfg(not(any(feature = "jwt", feature = "jwt-rust-crypto")))]
    fn possession(self: &Arc<Self>) -> Option<Arc<dyn Possession<Introspected>>> {
        None
    }

    /// Checks the response for an active token, which may not be an access token for this API.
    fn judge(&self, claims: Map<String, Value>) -> Judged {
        let time = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(value) => date(value).map(Some).ok_or(TokenRefusal::Time(name)),
        };
        let (expires, not_before) = (time("exp")?, time("nbf")?);
        if let Some(issuer) = &self.issuer {
            let named = claims.get("iss").and_then(Value::as_str);
            if named != Some(issuer) {
                let hint = Explanation::default().slash(named, [&**issuer]).hint;
                return Err(TokenRefusal::Issuer(hint));
            }
        }
        let is_us = |aud: &Value| self.audiences.iter().any(|audience| aud == audience);
        let for_us = match claims.get("aud") {
            _ if self.audiences.is_empty() => true,
            Some(Value::Array(list)) => list.iter().all(Value::is_string) && list.iter().any(is_us),
            Some(aud) => is_us(aud),
            None => false,
        };
        if !for_us {
            let named = match claims.get("aud") {
                Some(Value::Array(list)) => &**list,
                Some(aud) => std::slice::from_ref(aud),
                None => &[],
            };
            let audiences = || self.audiences.iter().map(|name| &**name);
            let hint = |aud: &Value| Explanation::default().slash(aud.as_str(), audiences()).hint;
            return Err(TokenRefusal::Audience(named.iter().find_map(hint)));
        }
        if !self.any_token_type {
            is_access_token(&claims).map_err(TokenRefusal::Kind)?;
        }
        if !self.covers(&claims) {
            return Err(TokenRefusal::Bound);
        }
        let token = Introspected(Arc::new(ActiveToken { claims, expires, not_before }));
        if self.checks.iter().all(|check| check(&token)) {
            Ok(token)
        } else {
            Err(TokenRefusal::Check)
        }
    }
}

impl Authenticate<Introspected> {
    /// Accepts the access tokens that an authorization server reports as active, as `Authorization: Bearer <token>`. Provides an [`Introspected`].
    pub fn introspection(introspection: Introspection) -> Self {
        let introspection = Arc::new(introspection);
        let possession = introspection.possession();
        let verify: Arc<Verify<Introspected>> =
            Arc::new(move |credentials, client| match credentials {
                Credentials::Token(token) => {
                    Box::pin(introspection.clone().ask(Token::new(token.to_string()), client))
                }
                Credentials::Login(..) => Box::pin(async { Ok(Err(Explanation::default())) }),
            });
        let mut this = Self::of(TokenSource::bearer(), CredentialVerifier::Function(verify));
        for way in &mut this.ways {
            way.lifetime = |token| token.left(SystemTime::now());
            way.possession.clone_from(&possession);
        }
        this.placed()
    }
}

/// Secrets and tokens are not shown.
impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("endpoint", &shown(&self.endpoint.to_string()))
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

/// The response of an authorization server for an active token.
///
/// `Require` checks what it grants, by the members that common servers send:
///
/// | grants | members |
/// | --- | --- |
/// | scopes | `scope` and `scp`: a string with spaces between the scopes, or a list |
/// | roles | `roles`, `groups`, `cognito:groups`, and `roles` in `realm_access` |
/// | roles of one client | `roles` in each member of `resource_access`. The role `admin` of the client `orders` is `orders:admin` |
/// | permissions | `entitlements` and `permissions` |
///
/// A list may contain strings, or objects with a `value`; a string is a list of one. A member of another type grants nothing. Roles of a client whose
/// name contains a colon are in the member `resource_access` alone.
#[derive(Clone, PartialEq)]
pub struct Introspected(Arc<ActiveToken>);

#[derive(PartialEq)]
struct ActiveToken {
    claims: Map<String, Value>,
    expires: Option<u64>,
    not_before: Option<u64>,
}

impl Introspected {
    /// The member `sub`: the subject of the token.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// The member `client_id`: the client to which the token was issued.
    pub fn client_id(&self) -> Option<&str> {
        self.text("client_id")
    }

    /// The member `username`: a name of the subject for people.
    pub fn username(&self) -> Option<&str> {
        self.text("username")
    }

    /// The scopes of the members `scope` and `scp`. A string is split at spaces.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        ["scope", "scp"].into_iter().filter_map(|name| self.claim(name)).flat_map(grants::scopes)
    }

    /// When the token expires, if the response contains `exp`.
    pub fn expires_at(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.0.expires?))
    }

    /// Any member.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.claims.get(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claim(name).and_then(Value::as_str)
    }

    /// Checks the times.
    fn alive_at(self, now: SystemTime) -> Judged {
        let now = seconds(now);
        if self.0.expires.is_some_and(|expires| expires <= now) {
            Err(TokenRefusal::Expired)
        } else if self.0.not_before.is_some_and(|not_before| now < not_before) {
            Err(TokenRefusal::NotYetValid)
        } else {
            Ok(self)
        }
    }

    /// The time until the token expires.
    fn left(&self, now: SystemTime) -> Duration {
        match self.0.expires {
            Some(expires) => Duration::from_secs(expires.saturating_sub(seconds(now))),
            None => Duration::MAX,
        }
    }
}

impl FromChain for Introspected {
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

/// Only the names of the members are shown. Their values may be private.
impl fmt::Debug for Introspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.claims.keys()).finish()
    }
}

/// A JSON object without duplicate members. With duplicates, two readers could see different values.
struct UniqueMembers(Map<String, Value>);

impl<'de> serde_core::Deserialize<'de> for UniqueMembers {
    fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde_core::de::Visitor<'de> for Visitor {
            type Value = UniqueMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde_core::de::MapAccess<'de>>(
                self,
                mut members: A,
            ) -> Result<UniqueMembers, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(serde_core::de::Error::custom("a member is there twice"));
                    }
                }
                Ok(UniqueMembers(claims))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// Checks that a response is about an access token. At least one member must name its kind, and none may name another kind. Returns the member that is
/// missing, or reports another kind.
///
/// A server that reports a refresh token as active leaves `token_type` out (it is the type of RFC 6749, 7.1, which only access tokens have), or names the
/// kind in a member of its own: `typ` (Keycloak: `Bearer`, `Refresh`, `Offline`, `ID`) or `token_use` (Ory: `access_token`, `refresh_token`;
/// Cognito: `access`, `id`).
fn is_access_token(claims: &Map<String, Value>) -> Result<(), &'static str> {
    let mut named = false;
    for &(member, accepted) in KINDS {
        let Some(value) = claims.get(member) else { continue };
        let is = |kind: &&str| value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(kind));
        if accepted.iter().any(is) {
            named = true;
        } else if member != "typ" || value.as_str() != Some("JWT") {
            return Err(member);
        }
    }
    // OpenID Connect Core, 3.1.3.6 and 3.3.2.11: only ID tokens have these.
    match ["at_hash", "c_hash"].into_iter().find(|member| claims.contains_key(*member)) {
        Some(member) => Err(member),
        None if named => Ok(()),
        None => Err("token_type"),
    }
}

/// The error of a response with status 400, if it is about the token (RFC 7009, 2.2.1 and RFC 6750, 3.1), and not about the client that sent the request.
fn error_of_the_token(status: StatusCode, body: &[u8]) -> Option<&'static str> {
    let UniqueMembers(members) = serde_json::from_slice(body).ok()?;
    match members.get("error")?.as_str()? {
        _ if status != StatusCode::BAD_REQUEST => None,
        "unsupported_token_type" => Some("the server answered unsupported_token_type"),
        "invalid_token" => Some("the server answered invalid_token"),
        _ => None,
    }
}

/// A token that is accepted, or why it is not.
type Judged = Result<Introspected, TokenRefusal>;

/// Why a token is not accepted. The text of an issuer or an audience is a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenRefusal {
    /// The server does not report it as active.
    Inactive,
    /// The server does not introspect tokens of its kind.
    NotIntrospected(&'static str),
    /// A time is not a number of seconds.
    Time(&'static str),
    Expired,
    NotYetValid,
    Issuer(Option<&'static str>),
    Audience(Option<&'static str>),
    /// The member that is missing, or reports another kind than an access token.
    Kind(&'static str),
    /// It is bound to something that no configured proof covers.
    Bound,
    Check,
}

/// Why there is no usable response, for the log.
struct IntrospectionFailure {
    reason: &'static str,
    status: Option<StatusCode>,
    issuer_error: Option<String>,
}

impl From<&'static str> for IntrospectionFailure {
    fn from(reason: &'static str) -> Self {
        Self { reason, status: None, issuer_error: None }
    }
}

/// There is no usable response. The reason is in the log.
#[derive(Clone, Copy)]
struct Unavailable;

/// The entry of a request that is in flight. It is removed when this is dropped.
struct PendingEntry {
    introspection: Arc<Introspection>,
    key: CacheKey,
}

impl Drop for PendingEntry {
    fn drop(&mut self) {
        self.introspection.asking().remove(&self.key);
    }
}

/// What is wrong with an [`Introspection`]. The text states what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// The URL of the endpoint is not secure or not absolute.
    Endpoint {
        /// The URL, without the parts that may be secret: user, password and query.
        url: String,
    },
    /// A text is empty, or contains only white space.
    Blank {
        /// Which one.
        what: &'static str,
    },
    /// A text begins or ends with white space, or contains a control character.
    Whitespace {
        /// Which one.
        what: &'static str,
    },
    /// The timeout is zero.
    ZeroTimeout,
    /// The bearer token can't be sent in a header.
    Bearer,
}

impl fmt::Display for IntrospectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint { url } => write!(
                f,
                "{url:?} can't be the introspection endpoint: use an absolute `https` URL (`http` on localhost), or allow `http` within your own network with `Introspection::insecure`"
            ),
            Self::Blank { what } => write!(
                f,
                "{what} is empty: no token would be accepted, so give the text that the authorization server has for it; see also `any_audience`"
            ),
            Self::Whitespace { what } => write!(
                f,
                "{what} begins or ends with white space, or contains a line break: remove it, because texts are compared byte for byte"
            ),
            Self::ZeroTimeout => {
                f.write_str("the timeout is zero: nothing would be accepted, so give a longer time")
            }
            Self::Bearer => {
                f.write_str("the token for the endpoint must be visible ASCII without spaces")
            }
        }
    }
}

impl std::error::Error for IntrospectionError {}

/// Returns a text that a token or an authorization server may have. `what` names the setting.
fn text(text: impl Into<String>, what: &'static str) -> Result<String, IntrospectionError> {
    let text = text.into();
    let plain = text.trim_matches(is_invisible);
    if plain.is_empty() {
        return Err(IntrospectionError::Blank { what });
    }
    if plain.len() != text.len() || text.contains(char::is_control) {
        return Err(IntrospectionError::Whitespace { what });
    }
    Ok(text)
}

fn is_fit(uri: &Uri, insecure: bool) -> bool {
    let own = insecure || matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let secure = uri.scheme_str() == Some("https") || uri.scheme_str() == Some("http") && own;
    secure && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
}

/// A URL without user, password and query.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match (url.split_once("//"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}//{host}"),
        (None, Some((_, host))) => host.to_owned(),
        _ => url.to_owned(),
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn form_encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A date between the epoch and the end of the year 9999. Some servers send a fraction of a second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range")]
fn date(value: &Value) -> Option<u64> {
    let fraction = || value.as_f64().filter(|seconds| (0.0..1e12).contains(seconds));
    let seconds = value.as_u64().or_else(|| fraction().map(|seconds| seconds as u64));
    seconds.filter(|seconds| *seconds <= LAST_SECOND)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The members that name the kind of a token, and their values for an access token.
const KINDS: &[(&str, &[&str])] = &[
    ("token_type", &["Bearer", "DPoP"]),
    ("token_use", &["access_token", "access"]),
    ("typ", &["Bearer", "DPoP", "at+jwt", "application/at+jwt"]),
];
/// All characters but the unreserved ones of RFC 3986, 2.3.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const CAPACITY: usize = 10_000;
const BAD_TTL: Duration = Duration::from_secs(5);
/// How many introspection requests there may be at the same time.
const REQUESTS: TurnLimits = TurnLimits { all: 1024, network: 128, client: 32 };
/// In bytes.
const LONGEST: usize = 256 * 1024;
/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;
