//! Sources of keys: fixed, per request, fetched, or per issuer.

use std::fmt;
use std::future::Future;
#[cfg(feature = "jwks")]
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Uri};

use super::Keys;
#[cfg(feature = "jwks")]
use super::jwks::{Jwks, JwksClient};
use super::key::Key;
use crate::declare::{Declaration, Resource};
use crate::middleware::credentials::RequestHead;
use crate::middleware::jwt::algorithm::Algorithm;
use crate::middleware::jwt::error::JwtError;
use crate::middleware::jwt::impossible;
use crate::middleware::jwt::token::json;
use crate::middleware::jwt::token::jws::{CompactJws, JoseHeader, Longest};

/// The source of the keys of a [`Jwt`](crate::middleware::jwt::Jwt): fixed [`Keys`], a function of the request, a JWKS, or several issuers with
/// keys of their own.
pub struct KeySource(pub(crate) Origin);

pub(crate) enum Origin {
    Fixed(Keys),
    Chosen(Box<Chosen>),
    #[cfg(feature = "jwks")]
    Remote(Arc<JwksClient>),
    Issuers(Vec<(Box<str>, Origin)>),
}

impl Origin {
    /// Whether a token of this issuer may be verified by these keys.
    pub(crate) fn is_for(&self, issuer: &str) -> bool {
        match self {
            Self::Fixed(_) | Self::Chosen(_) => true,
            #[cfg(feature = "jwks")]
            Self::Remote(remote) => remote.issuer().is_none_or(|own| own == issuer),
            Self::Issuers(issuers) => issuers.iter().any(|(name, _)| **name == *issuer),
        }
    }

    pub(crate) fn declare(&self, to: &mut Declaration) {
        match self {
            Self::Fixed(keys) => {
                for secret in keys.secrets() {
                    to.uses(Resource::Secret(secret));
                }
            }
            Self::Issuers(issuers) => issuers.iter().for_each(|(_, origin)| origin.declare(to)),
            Self::Chosen(_) => {}
            #[cfg(feature = "jwks")]
            Self::Remote(_) => {}
        }
    }
}

/// The error of a source that logs its failures itself, because clients could cause any number of them.
#[cfg_attr(not(feature = "jwks"), allow(dead_code, reason = "only a preset creates it"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoggedError;

impl fmt::Display for LoggedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keys are unavailable")
    }
}

impl std::error::Error for LoggedError {}

/// `Ok(None)` means that there are no keys for this request.
pub(crate) type Chosen = dyn Fn(&KeyQuery<'_>) -> BoxFuture<'static, Result<Option<Keys>, axum_core::BoxError>>
    + Send
    + Sync;

impl KeySource {
    /// Selects keys by the request: one set per tenant, for example.
    ///
    /// `select` reads the request, and `resolve` returns the keys for what `select` returned. `Ok(None)` refuses the token, and `Err` is a 503.
    /// Both are called for every request, so create [`Keys`] once and return clones.
    ///
    /// # Example
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::Arc;
    ///
    /// use tower_chain::middleware::jwt::{Algorithm, Key, KeySource, Keys};
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// let key = Key::secret(Algorithm::Hs256, "the secret of the tenant called acme")?;
    /// let tenants = Arc::new(HashMap::from([(String::from("acme"), Keys::from(key))]));
    ///
    /// let source = KeySource::per_request(
    ///     |query| query.headers().get("x-tenant").and_then(|name| name.to_str().ok().map(String::from)),
    ///     move |tenant: Option<String>| {
    ///         let tenants = tenants.clone();
    ///         async move { Ok::<_, std::io::Error>(tenant.and_then(|name| tenants.get(&name).cloned())) }
    ///     },
    /// );
    /// # let _ = source;
    /// # Ok(())
    /// # }
    /// ```
    pub fn per_request<T, F, R, Fut, E>(select: F, resolve: R) -> Self
    where
        F: Fn(&KeyQuery<'_>) -> T + Send + Sync + 'static,
        R: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Keys>, E>> + Send + 'static,
        E: Into<axum_core::BoxError>,
    {
        Self(Origin::Chosen(Box::new(move |query| {
            let keys = resolve(select(query));
            Box::pin(async move { keys.await.map_err(Into::into) })
        })))
    }

    /// Accepts several issuers, each with keys of its own. The claim `iss` must be the name of the issuer whose keys verify the token, byte for byte.
    ///
    /// # Errors
    ///
    /// The errors of [`Jwt::issuer`](crate::middleware::jwt::Jwt::issuer) for each name; if the list is empty or contains an issuer twice, or if the keys of one are those of several issuers, or of an issuer with another name.
    pub fn issuers<N, S>(issuers: impl IntoIterator<Item = (N, S)>) -> Result<Self, JwtError>
    where
        N: Into<String>,
        S: Into<Self>,
    {
        let mut all: Vec<(Box<str>, Origin)> = Vec::new();
        for (name, source) in issuers {
            let name = impossible::issuer(name)?;
            impossible::tenant(&name)?;
            if all.iter().any(|(have, _)| *have == name) {
                return Err(JwtError::Issuers);
            }
            let source = source.into().0;
            if matches!(source, Origin::Issuers(_)) || !source.is_for(&name) {
                return Err(JwtError::Issuers);
            }
            all.push((name, source));
        }
        if all.is_empty() { Err(JwtError::Issuers) } else { Ok(Self(Origin::Issuers(all))) }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(keys) => keys.fmt(f),
            Self::Chosen(_) => f.write_str("per request"),
            #[cfg(feature = "jwks")]
            Self::Remote(remote) => remote.fmt(f),
            Self::Issuers(issuers) => {
                f.debug_map().entries(issuers.iter().map(|(n, s)| (n, s))).finish()
            }
        }
    }
}

impl From<Keys> for KeySource {
    fn from(keys: Keys) -> Self {
        Self(Origin::Fixed(keys))
    }
}

#[cfg(feature = "jwks")]
impl From<Jwks> for KeySource {
    fn from(jwks: Jwks) -> Self {
        Self(Origin::Remote(Arc::new(JwksClient::new(jwks))))
    }
}

impl From<Key> for KeySource {
    fn from(key: Key) -> Self {
        Keys::from(key).into()
    }
}

/// The data by which keys may be selected: the request, and the claims of the token, which are not verified yet.
#[derive(Clone, Copy)]
pub struct KeyQuery<'a> {
    pub(crate) request: Option<RequestHead<'a>>,
    pub(crate) token: &'a [u8],
}

impl<'a> KeyQuery<'a> {
    /// The method. `GET` for a token without a request.
    pub fn method(&self) -> &'a Method {
        self.request.map_or(&Method::GET, |request| request.method())
    }

    /// The URI. `None` for a token without a request.
    pub fn uri(&self) -> Option<&'a Uri> {
        self.request.map(|request| request.uri())
    }

    /// The headers. Empty for a token without a request.
    pub fn headers(&self) -> &'a HeaderMap {
        static EMPTY: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
        self.request.map_or(&EMPTY, |request| request.headers())
    }

    /// The value of this type in the extensions, such as one that an earlier step provided.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.request?.extensions().get()
    }

    /// The `kid` of the header. The client chose it: look it up, but never put it into a path, a query or a log.
    pub fn unverified_kid(&self) -> Option<String> {
        peek(self.token)?.kid
    }

    /// The claim `iss`. The client chose it: look it up, but never fetch from it.
    pub fn unverified_issuer(&self) -> Option<String> {
        peek(self.token)?.issuer
    }
}

/// The query is not shown, because it may contain the token.
impl fmt::Debug for KeyQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyQuery")
            .field("method", self.method())
            .field("path", &self.uri().map(Uri::path))
            .finish_non_exhaustive()
    }
}

/// The unverified data of a token by which keys are selected.
pub(crate) struct Peeked {
    #[cfg_attr(not(feature = "jwks"), expect(dead_code, reason = "read only before a fetch"))]
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<String>,
    pub(crate) issuer: Option<String>,
}

/// Reads the data by which keys are selected. `None` if the token would be refused anyway.
pub(crate) fn peek(token: &[u8]) -> Option<Peeked> {
    // Padding is accepted here in any case, because nothing is decided.
    let compact = CompactJws::split(token, Longest::of(usize::MAX)).ok()?.padded(true);
    let header = compact.decode(compact.header).ok()?;
    let head = JoseHeader::read(&header).ok()?;
    let payload = compact.decode(compact.payload).ok()?;
    Some(Peeked {
        algorithm: head.algorithm,
        kid: head.kid.map(std::borrow::Cow::into_owned),
        issuer: json::peek_issuer(&payload),
    })
}
