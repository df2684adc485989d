//! Scopes, roles and permissions.

use std::fmt;
use std::sync::Arc;

use axum_core::response::IntoResponse;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::{
    Challenge, ChallengeError, Dependent, Endpoint, Error, Grants, Middleware, Provided, Request,
    Response, Rest,
};

/// Lets a request pass whose caller was granted what is required.
///
/// `T` is what the authentication before it provides, such as `Claims<Member>` or `Principal`; without such a step the chain does not
/// compile. For scopes, roles and permissions `T` must implement [`Grants`]; for a [policy](Require::policy) it may be anything.
pub struct Require<T> {
    rule: Rule<T>,
    /// Tells a caller from none, where `T` can tell.
    authenticated: Option<fn(&T) -> bool>,
    scheme: String,
    realm: String,
}

enum Rule<T> {
    Scope(Box<str>, fn(&T, &str) -> bool),
    Grant(Box<str>, fn(&T, &str) -> bool),
    Policy(Arc<Policy<T>>),
    All(Vec<Rule<T>>),
    Any(Vec<Rule<T>>),
}

type Policy<T> = dyn Fn(&T, &Request) -> bool + Send + Sync;

impl<T: Grants> Require<T> {
    /// Requires a scope.
    ///
    /// # Errors
    ///
    /// If it is no scope: empty, or with a blank, a quote, a backslash or anything outside of visible ASCII
    /// ([RFC 6749, 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)).
    pub fn scope(scope: impl Into<String>) -> Result<Self, RequireError> {
        let scope = scope.into();
        let allowed = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
        if scope.is_empty() || !scope.bytes().all(allowed) {
            return Err(RequireError::Scope { scope });
        }
        Ok(Self::of(Rule::Scope(scope.into_boxed_str(), T::has_scope), Some(T::is_authenticated)))
    }

    /// Requires a role.
    pub fn role(role: impl Into<String>) -> Self {
        let grant = Rule::Grant(role.into().into_boxed_str(), T::has_role);
        Self::of(grant, Some(T::is_authenticated))
    }

    /// Requires a permission.
    pub fn permission(permission: impl Into<String>) -> Self {
        let grant = Rule::Grant(permission.into().into_boxed_str(), T::has_permission);
        Self::of(grant, Some(T::is_authenticated))
    }
}

impl<T> Require<T> {
    /// Requires that a function says yes to the caller and the request.
    pub fn policy(policy: impl Fn(&T, &Request) -> bool + Send + Sync + 'static) -> Self {
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

    /// Requires another thing as well.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.rule = Rule::All(vec![self.rule, other.rule]);
        self.authenticated = self.authenticated.or(other.authenticated);
        self
    }

    /// Is content with another thing instead.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.rule = Rule::Any(vec![self.rule, other.rule]);
        self.authenticated = self.authenticated.or(other.authenticated);
        self
    }

    /// Sets the realm that the challenge names. Defaults to `api`.
    ///
    /// # Errors
    ///
    /// If it holds a line break or anything else than printable ASCII.
    pub fn realm(mut self, realm: impl Into<String>) -> Result<Self, RequireError> {
        self.realm = realm.into();
        self.challenge()?;
        Ok(self)
    }

    /// Sets the scheme of the challenge. Defaults to `Bearer`.
    ///
    /// # Errors
    ///
    /// If it is no token (RFC 9110, 5.6.2).
    pub fn scheme(mut self, scheme: impl Into<String>) -> Result<Self, RequireError> {
        self.scheme = scheme.into();
        self.challenge()?;
        Ok(self)
    }

    fn of(rule: Rule<T>, authenticated: Option<fn(&T) -> bool>) -> Self {
        Self { rule, authenticated, scheme: "Bearer".to_owned(), realm: "api".to_owned() }
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
            Err(RequireError::Empty)
        } else {
            Ok(Self::of(rule(rules), authenticated))
        }
    }

    fn challenge(&self) -> Result<Challenge, ChallengeError> {
        Challenge::new(self.scheme.clone())?.param("realm", &self.realm)
    }
}

impl<T> Rule<T> {
    fn holds(&self, caller: &T, req: &Request) -> bool {
        match self {
            Self::Scope(name, granted) | Self::Grant(name, granted) => granted(caller, name),
            Self::Policy(policy) => policy(caller, req),
            Self::All(rules) => rules.iter().all(|rule| rule.holds(caller, req)),
            Self::Any(rules) => rules.iter().any(|rule| rule.holds(caller, req)),
        }
    }

    /// The scopes that are named, in the order of writing, each once.
    fn scopes<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Scope(scope, _) if !found.contains(&&**scope) => found.push(scope),
            Self::All(rules) | Self::Any(rules) => {
                rules.iter().for_each(|rule| rule.scopes(found));
            }
            Self::Scope(..) | Self::Grant(..) | Self::Policy(_) => {}
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Dependent for Require<T> {
    type Needs = (Provided<T>,);
    type Middleware = Required<T>;

    fn into_middleware(self) -> Required<T> {
        let mut scopes = Vec::new();
        self.rule.scopes(&mut scopes);
        // Realm, scheme and scopes were checked when they were set.
        let challenge = self.challenge();
        let unauthenticated = challenge.clone();
        let insufficient = challenge.and_then(|challenge| {
            let challenge = challenge.param("error", "insufficient_scope")?;
            if scopes.is_empty() {
                Ok(challenge)
            } else {
                challenge.param("scope", scopes.join(" "))
            }
        });
        let value = |challenge: Result<Challenge, _>| {
            challenge.map_or(HeaderValue::from_static("Bearer"), |challenge| challenge.to_value())
        };
        Required {
            unauthenticated: value(unauthenticated),
            insufficient: value(insufficient),
            rule: self.rule,
            authenticated: self.authenticated,
        }
    }
}

/// The middleware that a [`Require`] becomes.
pub struct Required<T> {
    rule: Rule<T>,
    authenticated: Option<fn(&T) -> bool>,
    unauthenticated: HeaderValue,
    insufficient: HeaderValue,
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
        if self.rule.holds(caller, req) {
            return Ok(());
        }
        let (status, detail, challenge) =
            if self.authenticated.is_none_or(|authenticated| authenticated(caller)) {
                (
                    StatusCode::FORBIDDEN,
                    "The caller was not granted what this requires",
                    &self.insufficient,
                )
            } else {
                (StatusCode::UNAUTHORIZED, "This needs credentials", &self.unauthenticated)
            };
        Err(Error::new(status, detail)
            .with_header(WWW_AUTHENTICATE, challenge.clone())
            .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
    }
}

impl<T: Send + Sync + 'static> Middleware for Required<T> {
    type Provides = ();

    async fn call<N: Endpoint>(&self, req: &mut Request, next: Rest<'_, N>) -> Response {
        match self.check(req) {
            Ok(()) => next.run(req).await,
            Err(error) => error.into_response(),
        }
    }

    fn name(&self) -> String {
        "Require".to_owned()
    }
}

impl<T> fmt::Debug for Rule<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(name, _) | Self::Grant(name, _) => write!(f, "{name:?}"),
            Self::Policy(_) => f.write_str("policy"),
            Self::All(rules) => f.debug_tuple("All").field(rules).finish(),
            Self::Any(rules) => f.debug_tuple("Any").field(rules).finish(),
        }
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

/// What is wrong with a [`Require`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequireError {
    /// A scope can't be one.
    Scope {
        /// What was given.
        scope: String,
    },
    /// A list is empty.
    Empty,
    /// The challenge can't be written.
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
                "{scope:?} can't be a scope: use visible ASCII without blanks, quotes and backslashes, one scope a call"
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
