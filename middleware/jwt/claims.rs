//! What the middleware provides.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::{FromChain, Grants};

/// The claims of a verified token, provided by [`Jwt`](super::Jwt).
///
/// It is a handle: a clone copies no claim. Fields of `C` are reached through it. What the middleware itself read is in
/// [`Claims::token`].
///
/// # Example
///
/// ```
/// use tower_chain::Claims;
///
/// #[derive(serde::Deserialize)]
/// struct Member {
///     sub: String,
/// }
///
/// async fn me(claims: Claims<Member>) -> String {
///     format!("hello, {}", claims.sub)
/// }
/// # let _ = me(Claims::new(Member { sub: String::from("ann") }));
/// ```
pub struct Claims<C>(Arc<Verified<C>>);

struct Verified<C> {
    claims: C,
    token: Token,
}

impl<C> Claims<C> {
    /// Claims without a token, to call a handler in a test. In a chain only [`Jwt`](super::Jwt) makes them.
    pub fn new(claims: C) -> Self {
        Self::verified(claims, Token::default())
    }

    pub(crate) fn verified(claims: C, token: Token) -> Self {
        Self(Arc::new(Verified { claims, token }))
    }

    /// What the middleware read in the token: its subject, times and so on.
    ///
    /// This is an associated function, so that it hides no method of `C`.
    pub fn token(this: &Self) -> &Token {
        &this.0.token
    }

    /// The claims themselves. They are cloned if other handles are alive, as in a chain.
    pub fn into_inner(self) -> C
    where
        C: Clone,
    {
        match Arc::try_unwrap(self.0) {
            Ok(verified) => verified.claims,
            Err(shared) => shared.claims.clone(),
        }
    }
}

/// A caller may do what the claims say.
impl<C: Grants> Grants for Claims<C> {
    fn is_authenticated(&self) -> bool {
        self.0.claims.is_authenticated()
    }

    fn has_scope(&self, scope: &str) -> bool {
        self.0.claims.has_scope(scope)
    }

    fn has_role(&self, role: &str) -> bool {
        self.0.claims.has_role(role)
    }

    fn has_permission(&self, permission: &str) -> bool {
        self.0.claims.has_permission(permission)
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Deref for Claims<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0.claims
    }
}

impl<C: fmt::Debug> fmt::Debug for Claims<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claims").field(&self.0.claims).finish()
    }
}

impl<C: Send + Sync + 'static> FromChain for Claims<C> {
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

/// The claims of a verified token, or nothing if the request had none; provided by [`Jwt::optional`](super::Jwt::optional).
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Jwt, MaybeClaims};
///
/// #[derive(Deserialize)]
/// struct Member {
///     sub: String,
/// }
///
/// async fn hello(member: MaybeClaims<Member>) -> String {
///     match &*member {
///         Some(member) => format!("hello, {}", member.sub),
///         None => "hello, stranger".to_owned(),
///     }
/// }
///
/// # fn main() -> Result<(), tower_chain::JwtConfigError> {
/// # let secret = "a secret that has thirty-two bytes";
/// let chain = Chain::new().use_(Jwt::<Member>::hs256(secret)?.optional()).get(hello);
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
pub struct MaybeClaims<C>(pub Option<Claims<C>>);

impl<C> Clone for MaybeClaims<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Deref for MaybeClaims<C> {
    type Target = Option<Claims<C>>;

    fn deref(&self) -> &Option<Claims<C>> {
        &self.0
    }
}

impl<C: fmt::Debug> fmt::Debug for MaybeClaims<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MaybeClaims").field(&self.0).finish()
    }
}

/// A caller without a token is not authenticated and may do nothing.
impl<C: Grants> Grants for MaybeClaims<C> {
    fn is_authenticated(&self) -> bool {
        self.0.is_authenticated()
    }

    fn has_scope(&self, scope: &str) -> bool {
        self.0.has_scope(scope)
    }

    fn has_role(&self, role: &str) -> bool {
        self.0.has_role(role)
    }

    fn has_permission(&self, permission: &str) -> bool {
        self.0.has_permission(permission)
    }
}

impl<C: Send + Sync + 'static> FromChain for MaybeClaims<C> {
    type Value = Self;

    fn from_value(value: Self) -> Self {
        value
    }
}

/// The registered claims of a verified token ([RFC 7519, 4.1](https://www.rfc-editor.org/rfc/rfc7519#section-4.1)), as far as the
/// middleware reads them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Token {
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) id: Option<Box<str>>,
    pub(crate) scope: Option<Box<str>>,
    pub(crate) expires: Option<u64>,
    pub(crate) not_before: Option<u64>,
    pub(crate) issued: Option<u64>,
    /// Of the key to which the token is bound.
    pub(crate) thumbprint: Option<Box<str>>,
}

impl Token {
    /// The claim `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The claim `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The claim `jti`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The parts of the claim `scope`, where that is a string (RFC 9068, 2.2.3).
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.iter().flat_map(|scope| scope.split(' ')).filter(|scope| !scope.is_empty())
    }

    /// The claim `exp`.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires.map(time)
    }

    /// The claim `nbf`.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.not_before.map(time)
    }

    /// The claim `iat`.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.issued.map(time)
    }
}

/// Who the token is about stays out of logs; when it ends does not.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.expires)
            .field("not_before", &self.not_before)
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}

/// Values are at most those of the year 9999, so that no clock overflows.
fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
