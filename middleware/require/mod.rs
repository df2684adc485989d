//! Scopes, roles, permissions and policies.
//!
//! # What it does
//!
//! [`Require`] accepts requests whose caller has the required grants. It checks the value that an earlier step provides: `Principal`, `Claims<Member>`,
//! or the result of a guard. Without such a step, the chain does not compile.
//!
//! # Example
//!
//! ```
//! use tower_chain::grants::Grants;
//! use tower_chain::{Chain, Error, Provided, Require, StatusCode};
//!
//! #[derive(Clone)]
//! struct User {
//!     roles: Vec<String>,
//! }
//!
//! impl Grants for User {
//!     fn has_role(&self, role: &str) -> bool {
//!         self.roles.iter().any(|own| own == role)
//!     }
//! }
//!
//! async fn user() -> Result<User, Error> {
//!     // From a session, say.
//!     Ok(User { roles: vec!["admin".to_owned()] })
//! }
//!
//! let chain = Chain::new()
//!     .guard(user)
//!     .use_(Require::<User>::role("admin")?)
//!     .get(async || "the admin's page");
//! # let _ = chain.build();
//! # Ok::<(), tower_chain::middleware::require::RequireError>(())
//! ```
//!
//! # Example, tuned
//!
//! ```
//! use tower_chain::grants::Grants;
//! use tower_chain::{Chain, Error, Request, Require, StatusCode};
//! # #[derive(Clone)] struct User { name: String }
//! # impl Grants for User {}
//! # async fn user() -> Result<User, Error> { Ok(User { name: String::new() }) }
//!
//! /// Users see their own pages. Those of others are a 404.
//! fn own_page(user: &User, req: &Request) -> Result<(), Error> {
//!     let own = req.uri().path().strip_prefix("/users/") == Some(&*user.name);
//!     own.then_some(()).ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "There is no such page"))
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let write = Require::scopes(["pages:read", "pages:write"])?.and(Require::permission("edit")?);
//! let require = Require::<User>::any([write, Require::role("admin")?])?.realm("pages")?;
//!
//! let chain = Chain::new().guard(user).use_(require).at("/users/{name}", |c| {
//!     c.use_(Require::<User>::policy(own_page)).get(async || "a page")
//! });
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! A payment may require more than a token: a recent sign-in with a second factor. The client then sends its user back to the issuer (step-up
//! authentication, RFC 9470):
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_chain::grants::Grants;
//! use tower_chain::{Chain, Require};
//! # #[derive(Clone)] struct User;
//! # impl Grants for User {}
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recent = Require::<User>::acr_values(["urn:example:mfa"])?.and(Require::max_age(Duration::from_secs(300))?);
//! let chain = Chain::new().provide(User).use_(recent).post(async || "paid");
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! For an async policy, such as one that reads a database, use a [`guard`](crate::Chain::guard) that takes the principal as an argument.
//!
//! # What the client sees
//!
//! Each refusal is a problem+json with `Cache-Control: no-store`.
//!
//! | cause | status | `WWW-Authenticate` |
//! | --- | --- | --- |
//! | a scope is missing | 403 | `Bearer realm="api", error="insufficient_scope", scope="pages:read pages:write"`, with all named scopes, in the order of the configuration |
//! | a role or a permission is missing, or a policy returns `false` | 403 | `Bearer realm="api", error="insufficient_scope"` |
//! | the caller signed in with another method, or too long ago | 401 | `Bearer realm="api", error="insufficient_user_authentication", error_description="..", acr_values="urn:example:mfa", max_age="300"`, with the named scopes |
//! | the request has no caller ([`Grants::is_authenticated`]; for a policy alone, [`Anonymous`]), as after an optional authentication | 401 | `Bearer realm="api", scope="pages:read pages:write"`, with the named scopes |
//! | a policy returns an error | that of the error | that of the error |
//!
//! With a [`scheme`](Require::scheme) other than Bearer and DPoP, a 403 has no challenge, and the challenge of a 401 has only the realm. The reason is a
//! [`RequireRefusal`], which is the source of the error.
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! After the authentication, on the paths that need it, inside [`at`](crate::Chain::at). As a tower layer
//! ([`into_layer`](crate::chain::Dependent::into_layer)) it takes the principal from the extensions of the request, and responds with 500 if there is none.
//!
//! # Sources
//!
//! [RFC 6750, 3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1) (`insufficient_scope`),
//! [RFC 9470](https://www.rfc-editor.org/rfc/rfc9470) (`insufficient_user_authentication`),
//! [RFC 6749, 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3) (scopes),
//! [RFC 9110, 15.5.2 and 15.5.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.4) (401 and 403).

mod rule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

pub use self::rule::Decision;
use self::rule::{Denial, Rule, SignInClock};
use crate::chain::Dependent;
use crate::challenge::{Challenge, ChallengeError};
use crate::declare::{Answer, Declaration, Field, Kind};
use crate::grants::{Anonymous, Grants};
use crate::step::Refusal;
use crate::{Endpoint, Error, Middleware, Next, Provided, Request, Response};

/// Accepts requests whose caller has the required grants.
///
/// `T` is the type that the authentication before it provides, such as `Claims<Member>` or `Principal`. Without such a step, the chain does not compile.
/// For scopes, roles and permissions, `T` must implement [`Grants`]; for a [policy](Require::policy) it may be any type. The [module](self) documents
/// the responses that clients see.
///
/// # Example
///
/// ```
/// use tower_chain::grants::Grants;
/// use tower_chain::{Chain, Require};
///
/// #[derive(Clone)]
/// struct User;
///
/// impl Grants for User {}
///
/// # fn main() -> Result<(), tower_chain::middleware::require::RequireError> {
/// let chain = Chain::new().provide(User).use_(Require::<User>::role("admin")?).get(async || "hello");
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
///
/// Without a step that provides the `User`:
///
/// ```compile_fail,E0277
/// # use tower_chain::grants::Grants;
/// # use tower_chain::{Chain, Require};
/// # #[derive(Clone)] struct User;
/// # impl Grants for User {}
/// # fn main() -> Result<(), tower_chain::middleware::require::RequireError> {
/// let chain = Chain::new().use_(Require::<User>::role("admin")?).get(async || "hello");
/// # Ok(())
/// # }
/// ```
pub struct Require<T> {
    rule: Rule<T>,
    /// Whether there is a caller, if `T` has that information.
    authenticated: Option<fn(&T) -> bool>,
    scheme: String,
    realm: String,
    resource_metadata: Option<String>,
    clock: Arc<SignInClock>,
}

impl<T: Grants> Require<T> {
    /// Requires a scope.
    ///
    /// # Errors
    ///
    /// If it is not a scope: empty, or with a space, a quote, a backslash or a character other than visible ASCII
    /// ([RFC 6749, 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)).
    pub fn scope(scope: impl Into<String>) -> Result<Self, RequireError> {
        let scope = scope.into();
        if !is_plain(&scope) {
            return Err(RequireError::Scope { scope });
        }
        let rule = Rule::Scope(scope.into_boxed_str(), T::has_scope);
        Ok(Self::of(rule, Some(T::is_authenticated)))
    }

    /// Requires all of several scopes.
    ///
    /// # Errors
    ///
    /// The errors of [`scope`](Self::scope), or if the list is empty.
    pub fn scopes<S: Into<String>>(
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, RequireError> {
        let scopes: Result<Vec<_>, _> = scopes.into_iter().map(Self::scope).collect();
        Self::all(scopes?)
    }

    /// Requires at least one of several scopes.
    ///
    /// # Errors
    ///
    /// The errors of [`scope`](Self::scope), or if the list is empty.
    pub fn any_scope<S: Into<String>>(
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, RequireError> {
        let scopes: Result<Vec<_>, _> = scopes.into_iter().map(Self::scope).collect();
        Self::any(scopes?)
    }

    /// Requires a role.
    ///
    /// # Errors
    ///
    /// If it is blank, begins or ends with white space, or contains a control character.
    pub fn role(role: impl Into<String>) -> Result<Self, RequireError> {
        Self::grant(role.into(), "the role", T::has_role)
    }

    /// Requires a permission.
    ///
    /// # Errors
    ///
    /// The errors of [`role`](Self::role).
    pub fn permission(permission: impl Into<String>) -> Result<Self, RequireError> {
        Self::grant(permission.into(), "the permission", T::has_permission)
    }

    fn grant(
        name: String,
        what: &'static str,
        has: fn(&T, &str) -> bool,
    ) -> Result<Self, RequireError> {
        let plain = name.trim_ascii();
        if plain.is_empty() {
            return Err(RequireError::Blank { what });
        }
        if plain.len() != name.len() || name.contains(char::is_control) {
            return Err(RequireError::Whitespace { what });
        }
        Ok(Self::of(Rule::Grant(name.into_boxed_str(), has), Some(T::is_authenticated)))
    }

    /// Requires that the caller signed in with one of several methods, such as with a second factor: [`Grants::acr`] must be one of these values.
    ///
    /// # Errors
    ///
    /// If the list is empty, or a value is empty or contains a space, a quote, a backslash or a character other than visible ASCII.
    pub fn acr_values<S: Into<String>>(
        values: impl IntoIterator<Item = S>,
    ) -> Result<Self, RequireError> {
        let values: Vec<Box<str>> = values.into_iter().map(|v| v.into().into_boxed_str()).collect();
        if let Some(acr) = values.iter().find(|value| !is_plain(value)) {
            return Err(RequireError::Acr { acr: acr.to_string() });
        }
        if values.is_empty() {
            return Err(RequireError::Empty);
        }
        Ok(Self::of(Rule::Acr(values, T::acr), Some(T::is_authenticated)))
    }

    /// Requires that the caller signed in no longer ago than this, in whole seconds: [`Grants::authenticated_at`].
    ///
    /// The sign-in may be up to a minute in the future, because clocks differ.
    ///
    /// # Errors
    ///
    /// If it is shorter than a second: no sign-in is so recent when its token arrives.
    pub fn max_age(max_age: Duration) -> Result<Self, RequireError> {
        if max_age.as_secs() == 0 {
            return Err(RequireError::ZeroAge);
        }
        let rule = Rule::Age(Duration::from_secs(max_age.as_secs()), T::authenticated_at);
        Ok(Self::of(rule, Some(T::is_authenticated)))
    }
}

impl<T> Require<T> {
    /// Requires that a function of the caller and the request accepts the request.
    ///
    /// It returns `bool`, or `Result<(), Error>` for a response of its own, such as a 404 that hides an existing resource. `false` for a request that an
    /// optional authentication let pass without credentials is a 401.
    pub fn policy<D: Decision>(policy: impl Fn(&T, &Request) -> D + Send + Sync + 'static) -> Self {
        let policy = move |caller: &T, req: &Request| policy(caller, req).decide();
        Self::of(Rule::Policy(Arc::new(policy)), None)
    }

    /// Requires all of a list.
    ///
    /// # Errors
    ///
    /// If the list is empty.
    pub fn all(list: impl IntoIterator<Item = Self>) -> Result<Self, RequireError> {
        Self::list(list, Rule::All)
    }

    /// Requires at least one of a list.
    ///
    /// # Errors
    ///
    /// If the list is empty.
    pub fn any(list: impl IntoIterator<Item = Self>) -> Result<Self, RequireError> {
        Self::list(list, Rule::Any)
    }

    fn list(
        list: impl IntoIterator<Item = Self>,
        rule: fn(Vec<Rule<T>>) -> Rule<T>,
    ) -> Result<Self, RequireError> {
        let mut authenticated = None;
        let mut rules = Vec::new();
        for require in list {
            authenticated = authenticated.or(require.authenticated);
            rules.push(require.rule);
        }
        if rules.is_empty() {
            return Err(RequireError::Empty);
        }
        Ok(Self::of(rule(rules), authenticated))
    }

    fn of(rule: Rule<T>, authenticated: Option<fn(&T) -> bool>) -> Self {
        Self {
            rule,
            authenticated,
            scheme: "Bearer".to_owned(),
            realm: "api".to_owned(),
            resource_metadata: None,
            clock: Arc::new(SystemTime::now),
        }
    }

    /// Sets the clock for [`max_age`](Self::max_age). Defaults to [`SystemTime::now`].
    #[must_use]
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(now);
        self
    }

    /// Also requires another requirement. The realm, the scheme and the clock are those of this one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.rule = Rule::All(vec![self.rule, other.rule]);
        self.authenticated = self.authenticated.or(other.authenticated);
        self
    }

    /// Accepts another requirement as an alternative. The realm, the scheme and the clock are those of this one.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.rule = Rule::Any(vec![self.rule, other.rule]);
        self.authenticated = self.authenticated.or(other.authenticated);
        self
    }

    /// Sets the realm of the challenge. Defaults to `api`.
    ///
    /// # Errors
    ///
    /// If it contains a character other than printable ASCII.
    pub fn realm(mut self, realm: impl Into<String>) -> Result<Self, RequireError> {
        self.realm = realm.into();
        self.challenge()?;
        Ok(self)
    }

    /// Sets the scheme of the challenge. Defaults to `Bearer`.
    ///
    /// # Errors
    ///
    /// If it is not a token (RFC 9110, 5.6.2).
    pub fn scheme(mut self, scheme: impl Into<String>) -> Result<Self, RequireError> {
        self.scheme = scheme.into();
        self.challenge()?;
        Ok(self)
    }

    /// Sets the URL of the metadata of this resource, for the challenge (`resource_metadata`,
    /// [RFC 9728, 5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)). Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL.
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Result<Self, RequireError> {
        let url = url.into();
        Challenge::bearer().url("resource_metadata", &url)?;
        self.resource_metadata = Some(url);
        Ok(self)
    }

    fn challenge(&self) -> Result<Challenge, ChallengeError> {
        let challenge = Challenge::new(self.scheme.clone())?.param("realm", &self.realm)?;
        match &self.resource_metadata {
            Some(url) if self.is_oauth() => challenge.param("resource_metadata", url),
            _ => Ok(challenge),
        }
    }

    fn is_oauth(&self) -> bool {
        OAUTH.iter().any(|scheme| scheme.eq_ignore_ascii_case(&self.scheme))
    }

    /// RFC 6750, 3: a client that has no token yet can request the right one.
    fn unauthenticated(&self) -> Result<Challenge, ChallengeError> {
        let challenge = self.challenge()?;
        if self.is_oauth() { self.with_scopes(challenge) } else { Ok(challenge) }
    }

    /// RFC 6750, 3.1. Only the schemes of OAuth have such a challenge.
    fn insufficient_scope(&self) -> Result<Option<Challenge>, ChallengeError> {
        if !self.is_oauth() {
            return Ok(None);
        }
        let challenge = self.challenge()?.param("error", "insufficient_scope")?;
        self.with_scopes(challenge).map(Some)
    }

    /// RFC 9470, 3. It includes the scopes, so the client can request everything at once.
    fn sign_in(&self) -> Result<Challenge, ChallengeError> {
        let challenge = self.challenge()?;
        let (mut values, mut age) = (Vec::new(), None);
        self.rule.sign_in(&mut values, &mut age);
        let description = match (values.is_empty(), age) {
            (true, None) => return Ok(challenge),
            _ if !self.is_oauth() => return Ok(challenge),
            (false, None) => "A different authentication level is required",
            (true, Some(_)) => "More recent authentication is required",
            (false, Some(_)) => "A different or more recent authentication is required",
        };
        let mut challenge = challenge
            .param("error", "insufficient_user_authentication")?
            .param("error_description", description)?;
        if !values.is_empty() {
            challenge = challenge.param("acr_values", values.join(" "))?;
        }
        if let Some(age) = age {
            challenge = challenge.param("max_age", age.as_secs().to_string())?;
        }
        self.with_scopes(challenge)
    }

    fn with_scopes(&self, challenge: Challenge) -> Result<Challenge, ChallengeError> {
        let mut scopes = Vec::new();
        self.rule.scopes(&mut scopes);
        if scopes.is_empty() {
            return Ok(challenge);
        }
        challenge.param("scope", scopes.join(" "))
    }
}

/// RFC 6749, 3.3: visible ASCII but for quotes and backslashes.
fn is_plain(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !text.is_empty() && text.bytes().all(allowed)
}

impl<T: Clone + Send + Sync + 'static> Dependent for Require<T> {
    type Needs = (Provided<T>,);
    type Middleware = Required<T>;

    fn into_middleware(self) -> Required<T> {
        // Realm, scheme and scopes were checked when they were set.
        let insufficient = self.insufficient_scope().ok().flatten();
        let unauthenticated = self.unauthenticated().unwrap_or_else(|_| Challenge::bearer());
        Required {
            unauthenticated: unauthenticated.to_value(),
            insufficient: insufficient.map(|challenge| challenge.to_value()),
            sign_in: self.sign_in().unwrap_or_else(|_| Challenge::bearer()).to_value(),
            clock: self.clock,
            rule: self.rule,
            authenticated: self.authenticated,
        }
    }
}

/// The middleware of a [`Require`].
pub struct Required<T> {
    rule: Rule<T>,
    authenticated: Option<fn(&T) -> bool>,
    unauthenticated: HeaderValue,
    insufficient: Option<HeaderValue>,
    sign_in: HeaderValue,
    clock: Arc<SignInClock>,
}

impl<T: Send + Sync + 'static> Required<T> {
    fn check(&self, req: &Request) -> Result<(), Error> {
        let Some(caller) = req.extensions().get::<T>() else {
            return Err(Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!(
                    "`Require` found no `{}` in the extensions of the request: put the authentication before it",
                    std::any::type_name::<T>()
                ),
            ));
        };
        let Err(denial) = self.rule.decide(caller, req, &*self.clock) else { return Ok(()) };
        let missing = match self.authenticated {
            Some(authenticated) => !authenticated(caller),
            // A policy accepts any type, which may not know whether there is a caller.
            None => req.extensions().get::<Anonymous<T>>().is_some(),
        };
        let error = match denial {
            Denial::Answer(error) if self.authenticated.is_none() => error,
            _ if missing => RequireRefusal::Missing
                .answer("Credentials are missing", Some(&self.unauthenticated)),
            Denial::Answer(error) => error,
            Denial::SignIn => {
                let detail = "The caller must authenticate again, or in another way";
                RequireRefusal::SignIn.answer(detail, Some(&self.sign_in))
            }
            Denial::Grant => {
                let detail = "The caller was not granted what this requires";
                RequireRefusal::Insufficient.answer(detail, self.insufficient.as_ref())
            }
        };
        if error.headers().contains_key(CACHE_CONTROL) {
            return Err(error);
        }
        Err(error.with_header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
    }
}

impl<T: Send + Sync + 'static> Middleware for Required<T> {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        match self.check(&next) {
            Ok(()) => next.run().await,
            Err(error) => {
                let source = error.source();
                let refusal = source.and_then(|source| source.downcast_ref::<RequireRefusal>());
                let reason = refusal.map_or("policy", |refusal| refusal.code());
                Refusal::new("Require", reason).mark(error)
            }
        }
    }

    fn name(&self) -> String {
        "Require".to_owned()
    }

    fn declare(&self, to: &mut Declaration) {
        self.rule.declare(to);
        let answer = |status, cause: String| Answer::problem(status, cause).header("cache-control");
        let (status, cause) = (StatusCode::UNAUTHORIZED, "Credentials are missing".to_owned());
        to.kind(Kind::Authorization).answers(answer(status, cause).header("www-authenticate"));
        let cause = format!("The caller was not granted {}", self.rule);
        let refused = answer(StatusCode::FORBIDDEN, cause);
        to.answers(match self.insufficient {
            // A policy may answer its own 403, without a challenge.
            Some(_) => refused.header(Field::from("www-authenticate").optional()),
            None => refused,
        });
    }
}

impl<T> fmt::Debug for Require<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Require").field(&self.rule).finish()
    }
}

impl<T> fmt::Debug for Required<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Required").field(&self.rule).finish()
    }
}

/// Why a request was refused. It is the [source](crate::Error::source) of the error, for logs, metrics and `on_error`; the client sees the
/// status, the challenge and a fixed text. An error of a policy is the response, without a `RequireRefusal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequireRefusal {
    /// The request has no caller.
    Missing,
    /// The caller does not have the required grants.
    Insufficient,
    /// The caller must sign in again, or with another method.
    SignIn,
}

impl RequireRefusal {
    /// A short name that never changes, for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Insufficient => "insufficient_scope",
            Self::SignIn => "insufficient_user_authentication",
        }
    }

    fn answer(self, detail: &'static str, challenge: Option<&HeaderValue>) -> Error {
        tracing::debug!(reason = self.code(), "refused");
        let status = match self {
            Self::Missing | Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::Insufficient => StatusCode::FORBIDDEN,
        };
        let error = Error::new(status, detail).with_source(self);
        match challenge {
            Some(challenge) => error.with_header(WWW_AUTHENTICATE, challenge.clone()),
            None => error,
        }
    }
}

impl fmt::Display for RequireRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no caller",
            Self::Insufficient => "the caller was not granted what is required",
            Self::SignIn => "the caller must authenticate again, or in another way",
        })
    }
}

impl std::error::Error for RequireRefusal {}

/// What is wrong with a [`Require`]. The text states what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequireError {
    /// The text is not a scope.
    Scope {
        /// The given text.
        scope: String,
    },
    /// The text is not a value of `acr`.
    Acr {
        /// The given text.
        acr: String,
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
    /// The age of a sign-in is zero, or shorter than the second in which it is counted.
    ZeroAge,
    /// A list is empty.
    Empty,
    /// A text for the challenge contains a character that is not allowed in a header.
    Challenge(ChallengeError),
}

impl From<ChallengeError> for RequireError {
    fn from(error: ChallengeError) -> Self {
        Self::Challenge(error)
    }
}

impl fmt::Display for RequireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope { scope } => write!(
                f,
                "{scope:?} can't be a scope: use visible ASCII without spaces, quotes and backslashes, one scope per call"
            ),
            Self::Acr { acr } => write!(
                f,
                "{acr:?} can't be a value of `acr`: use visible ASCII without spaces, quotes and backslashes, as the issuer writes it"
            ),
            Self::Blank { what } => {
                write!(f, "{what} is empty: no caller has it, so give its name")
            }
            Self::Whitespace { what } => write!(
                f,
                "{what} begins or ends with white space, or contains a line break: remove it, because names are compared byte for byte"
            ),
            Self::ZeroAge => f.write_str(
                "the age of a sign-in is zero: nothing would be accepted, so give at least a second",
            ),
            Self::Empty => {
                f.write_str("the list of what is required is empty: name at least one thing")
            }
            Self::Challenge(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Challenge(error) => Some(error),
            _ => None,
        }
    }
}

/// The schemes that have `insufficient_scope`: RFC 6750, 3.1, and RFC 9449, 7.1.
const OAUTH: [&str; 2] = ["Bearer", "DPoP"];
