//! Secret tokens and API keys.

mod keys;
mod principal;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use axum_core::response::IntoResponse;
use futures_util::future::BoxFuture;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

pub use self::keys::{ApiKey, ApiKeys};
pub use self::principal::Principal;
use self::source::Malformed;
pub use self::source::Source;
use crate::{Challenge, ChallengeError, Endpoint, Error, Middleware, Request, Response, Rest};

/// Lets a request pass that brings a secret token or an API key, and tells the steps after it who is calling.
///
/// See the [module](self) for what clients see.
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
    ways: Vec<Way<T>>,
    realm: String,
    /// Each source once, in the order of writing, with what it asks for and the ways that it serves.
    places: Vec<Place>,
}

/// Sources, and who judges what stands there.
struct Way<T> {
    sources: Vec<Source>,
    verifier: Verifier<T>,
}

enum Verifier<T> {
    Keys(ApiKeys, fn(Principal) -> T),
    Function(Arc<Verify<T>>),
}

type Verify<T> = dyn Fn(Token) -> BoxFuture<'static, Result<Option<T>, Error>> + Send + Sync;

struct Place {
    source: Source,
    challenge: String,
    ways: Vec<usize>,
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
        Ok(Self::of_keys(&keys, Source::bearer()))
    }

    /// Accepts several secret tokens, each with the name of its principal.
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
        Ok(Self::of_keys(&keys, Source::bearer()))
    }

    /// Accepts API keys, which may be added and withdrawn while requests are served, in the header `X-API-Key`.
    pub fn api_keys(keys: &ApiKeys) -> Self {
        Self::of_keys(keys, Source::api_key())
    }

    fn of_keys(keys: &ApiKeys, source: Source) -> Self {
        Self::of(Way {
            sources: vec![source],
            verifier: Verifier::Keys(keys.clone(), |principal| principal),
        })
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
        let verify: Arc<Verify<T>> = Arc::new(move |token| Box::pin(verify(token)));
        Self::of(Way { sources: vec![Source::bearer()], verifier: Verifier::Function(verify) })
    }

    fn of(way: Way<T>) -> Self {
        Self { ways: vec![way], realm: DEFAULT_REALM.to_owned(), places: Vec::new() }.placed()
    }

    /// Sets the realm that challenges name. Defaults to `api`.
    ///
    /// # Errors
    ///
    /// If it holds a line break or anything else than printable ASCII.
    pub fn realm(mut self, realm: impl Into<String>) -> Result<Self, AuthenticateError> {
        let realm = realm.into();
        Challenge::new("Bearer")?.param("realm", &realm)?;
        self.realm = realm;
        Ok(self.placed())
    }

    /// Sets where tokens are looked for, instead of the default. Where [`or`](Self::or) joined several, it is about the last one.
    ///
    /// # Errors
    ///
    /// If there is none, or one twice.
    pub fn sources(
        mut self,
        sources: impl IntoIterator<Item = Source>,
    ) -> Result<Self, AuthenticateError> {
        let sources: Vec<_> = sources.into_iter().collect();
        let repeated = (1..sources.len()).any(|n| sources[..n].contains(&sources[n]));
        if sources.is_empty() || repeated {
            return Err(AuthenticateError::Sources);
        }
        if let Some(way) = self.ways.last_mut() {
            way.sources = sources;
        }
        Ok(self.placed())
    }

    /// Accepts `Authorization: <token>` without a scheme as well. Defaults to off.
    #[must_use]
    pub fn bare(mut self) -> Self {
        if let Some(way) = self.ways.last_mut()
            && !way.sources.contains(&Source::bare())
        {
            way.sources.push(Source::bare());
        }
        self.placed()
    }

    /// Accepts what another one accepts as well. The realm of this one holds.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.ways.extend(other.ways);
        self.placed()
    }

    fn placed(mut self) -> Self {
        self.places.clear();
        for (number, way) in self.ways.iter().enumerate() {
            for source in &way.sources {
                match self.places.iter_mut().find(|place| place.source == *source) {
                    Some(place) => place.ways.push(number),
                    None => self.places.push(Place {
                        source: source.clone(),
                        challenge: source.challenge(&self.realm).to_string(),
                        ways: vec![number],
                    }),
                }
            }
        }
        self
    }

    /// The one place at which the request brings something, and what.
    fn find<'r>(&self, req: &'r Request) -> Result<(usize, &'r str), Refusal> {
        let mut found = None;
        for (number, place) in self.places.iter().enumerate() {
            let here = place
                .source
                .find(req)
                .map_err(|Malformed(detail)| Refusal::Malformed(number, detail))?;
            if let Some(token) = here {
                if found.is_some() {
                    return Err(Refusal::Malformed(number, "Credentials are sent in two places"));
                }
                found = Some((number, token));
            }
        }
        found.ok_or(Refusal::Missing)
    }

    fn judge(&self, req: &Request) -> Judgement<T> {
        let (number, token) = match self.find(req) {
            Ok(found) => found,
            Err(refusal) => return Judgement::Refused(self.refuse(refusal)),
        };
        let mut waiting = Vec::new();
        for way in self.places.get(number).iter().flat_map(|place| &place.ways) {
            match self.ways.get(*way).map(|way| &way.verifier) {
                Some(Verifier::Keys(keys, principal)) => {
                    if let Some(known) = keys.find(token.as_bytes(), SystemTime::now) {
                        return Judgement::Accepted(principal(known));
                    }
                }
                Some(Verifier::Function(verify)) => waiting.push(verify.clone()),
                None => {}
            }
        }
        let refused = self.refuse(Refusal::Invalid(number));
        if waiting.is_empty() {
            return Judgement::Refused(refused);
        }
        let token = Token(token.to_owned());
        Judgement::Waiting(Box::pin(async move {
            for verify in waiting {
                match verify(token.clone()).await {
                    Ok(Some(principal)) => return Ok(principal),
                    Ok(None) => {}
                    Err(error) => return Err(no_store(error)),
                }
            }
            Err(refused)
        }))
    }

    fn refuse(&self, refusal: Refusal) -> Error {
        let (status, detail, at, problem) = match refusal {
            Refusal::Missing => (StatusCode::UNAUTHORIZED, "This needs credentials", None, ""),
            Refusal::Malformed(at, detail) => {
                (StatusCode::BAD_REQUEST, detail, Some(at), "invalid_request")
            }
            Refusal::Invalid(at) => (
                StatusCode::UNAUTHORIZED,
                "The credentials are not valid",
                Some(at),
                "invalid_token",
            ),
        };
        let mut error = no_store(Error::new(status, detail));
        let mut asked: Vec<&str> = Vec::new();
        let failed = at.and_then(|at| self.places.get(at)).map(|place| &*place.challenge);
        for place in &self.places {
            if asked.contains(&&*place.challenge) {
                continue;
            }
            asked.push(&place.challenge);
            let value = if failed == Some(&*place.challenge) {
                format!("{}, error=\"{problem}\", error_description=\"{detail}\"", place.challenge)
            } else {
                place.challenge.clone()
            };
            if let Ok(value) = HeaderValue::try_from(value) {
                error = error.with_header(WWW_AUTHENTICATE, value);
            }
        }
        error
    }
}

/// A refusal must not be kept by a cache: the next request may bring credentials.
fn no_store(error: Error) -> Error {
    if error.headers().contains_key(CACHE_CONTROL) {
        return error;
    }
    error.with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

enum Judgement<T> {
    Accepted(T),
    Refused(Error),
    Waiting(BoxFuture<'static, Result<T, Error>>),
}

/// Why a request is refused, and at which place.
#[derive(Clone, Copy)]
enum Refusal {
    Missing,
    Malformed(usize, &'static str),
    Invalid(usize),
}

impl<T: Clone + Send + Sync + 'static> Middleware for Authenticate<T> {
    type Provides = (T,);

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N, (T,)>) -> Response {
        for place in &self.places {
            place.source.mark_sensitive(req.headers_mut());
        }
        let principal = match self.judge(req) {
            Judgement::Accepted(principal) => principal,
            Judgement::Refused(error) => return error.into_response(),
            Judgement::Waiting(waiting) => match waiting.await {
                Ok(principal) => principal,
                Err(error) => return error.into_response(),
            },
        };
        next.run_with(req, (principal,)).await
    }

    fn name(&self) -> String {
        "Authenticate".to_owned()
    }
}

/// No secret is shown.
impl<T> fmt::Debug for Authenticate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<_> = self.places.iter().map(|place| &place.source).collect();
        f.debug_struct("Authenticate")
            .field("realm", &self.realm)
            .field("sources", &sources)
            .finish_non_exhaustive()
    }
}

/// A token that a client sent. It is shown by [`as_str`](Self::as_str) alone, never by `Debug`.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The text that the client sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What is wrong with the configuration of an [`Authenticate`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// A secret is so short that it can be guessed.
    ShortSecret {
        /// The name of the key.
        name: String,
    },
    /// A secret holds what can't be sent in a header.
    UnsendableSecret {
        /// The name of the key.
        name: String,
    },
    /// Two keys have one name.
    DuplicateName {
        /// That name.
        name: String,
    },
    /// Two keys have one secret.
    DuplicateSecret {
        /// The name of the later key.
        name: String,
        /// The name of the earlier key.
        other: String,
    },
    /// A source names a header that isn't one.
    Header {
        /// What was given.
        name: String,
    },
    /// There are no sources, or one twice.
    Sources,
    /// A challenge can't be written.
    Challenge(ChallengeError),
}

impl From<ChallengeError> for AuthenticateError {
    fn from(error: ChallengeError) -> Self {
        Self::Challenge(error)
    }
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSecret { name } => write!(
                f,
                "the secret of `{name}` can be guessed: use at least 16 random bytes, such as the output of `openssl rand -base64 24`"
            ),
            Self::UnsendableSecret { name } => write!(
                f,
                "the secret of `{name}` can't be sent in a header: use visible ASCII without blanks, such as base64"
            ),
            Self::DuplicateName { name } => {
                write!(
                    f,
                    "there is a key `{name}` already: withdraw it first, or choose another name"
                )
            }
            Self::DuplicateSecret { name, other } => {
                write!(f, "the keys `{name}` and `{other}` have the same secret: give each its own")
            }
            Self::Header { name } => write!(
                f,
                "{name:?} can't be a header of its own for a key: use a name such as `X-API-Key`, or the source for `Authorization` or cookies"
            ),
            Self::Sources => f.write_str("name at least one source, and each one once"),
            Self::Challenge(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AuthenticateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Challenge(error) => Some(error),
            _ => None,
        }
    }
}

const DEFAULT_REALM: &str = "api";
