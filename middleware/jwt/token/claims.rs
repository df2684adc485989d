//! The claims that the step provides.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Extensions;
use smallvec::SmallVec;

use super::confirmation::Confirmation;
use crate::chain::FromChain;
use crate::grants::Grants;

/// The claims of a verified token, provided by [`Jwt`](crate::middleware::jwt::Jwt).
///
/// It is a handle: a clone copies no claim. It derefs to `C`. The registered claims are in [`Claims::registered`].
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
    token: RegisteredClaims,
}

impl<C> Claims<C> {
    /// Claims without a token, to call a handler in a test. In a chain only [`Jwt`](crate::middleware::jwt::Jwt) makes them.
    pub fn new(claims: C) -> Self {
        Self::verified(claims, RegisteredClaims::default())
    }

    pub(crate) fn verified(claims: C, token: RegisteredClaims) -> Self {
        Self(Arc::new(Verified { claims, token }))
    }

    /// The registered claims of the token: its subject, its times and so on.
    ///
    /// This is an associated function because a method could hide a method of `C`.
    pub fn registered(this: &Self) -> &RegisteredClaims {
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

/// The grants of the claims.
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

    /// The `acr` of `C`, or else the claim `acr` of the token.
    fn acr(&self) -> Option<&str> {
        self.0.claims.acr().or_else(|| self.0.token.acr())
    }

    /// The time of `C`, or else the claim `auth_time` of the token.
    fn authenticated_at(&self) -> Option<SystemTime> {
        self.0.claims.authenticated_at().or_else(|| self.0.token.authenticated_at())
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

    /// The claims of a [`Jwt`](crate::middleware::jwt::Jwt), or else those of an [optional](crate::middleware::jwt::Jwt::optional) one.
    fn find(extensions: &Extensions) -> Option<Self> {
        let own = extensions.get::<Self>().cloned();
        own.or_else(|| extensions.get::<MaybeClaims<C>>()?.0.clone())
    }
}

/// The claims of a verified token, or nothing if the request had none; provided by [`Jwt::optional`](crate::middleware::jwt::Jwt::optional).
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::middleware::jwt::MaybeClaims;
/// use tower_chain::{Chain, Jwt};
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
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
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

    fn acr(&self) -> Option<&str> {
        self.0.acr()
    }

    fn authenticated_at(&self) -> Option<SystemTime> {
        self.0.authenticated_at()
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
pub struct RegisteredClaims {
    /// All texts, concatenated. Short ones need no allocation.
    text: SmallVec<[u8; 48]>,
    /// Where each text begins and ends, by [`ClaimName`].
    ranges: [Option<(u32, u32)>; TEXTS],
    pub(crate) times: Times,
    confirmation: Option<Box<Confirmation>>,
}

/// The claims that are texts, borrowed from the token if possible.
#[derive(Default)]
pub(crate) struct Texts<'de>([Option<Cow<'de, str>>; TEXTS]);

/// The name of a claim that is a text.
#[derive(Clone, Copy)]
pub(crate) enum ClaimName {
    Issuer,
    Subject,
    Id,
    Scope,
    Acr,
}

/// The claims that are dates, in seconds since the epoch.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) expires: Option<u64>,
    pub(crate) not_before: Option<u64>,
    pub(crate) issued: Option<u64>,
    /// The fraction of `issued`, in microseconds. Zero if the issuer writes whole seconds.
    pub(crate) issued_micros: u32,
    pub(crate) authenticated: Option<u64>,
}

impl Times {
    /// Whether the token was issued before a time since the epoch, or does not report when.
    ///
    /// The times are compared as precisely as `iat` is written. In whole seconds, a token of the same second may have been issued after that time.
    pub(crate) fn is_issued_before(&self, before: Duration) -> bool {
        let micros = self.issued_micros;
        let before = (before.as_secs(), if micros == 0 { 0 } else { before.subsec_micros() });
        self.issued.is_none_or(|seconds| (seconds, micros) < before)
    }
}

impl<'de> Texts<'de> {
    pub(crate) fn set(&mut self, name: ClaimName, text: Cow<'de, str>) {
        if let Some(place) = self.0.get_mut(name as usize) {
            *place = Some(text);
        }
    }

    pub(crate) fn get(&self, name: ClaimName) -> Option<&str> {
        self.0.get(name as usize)?.as_deref()
    }
}

impl RegisteredClaims {
    /// Copies the claims, which then outlive the token.
    pub(crate) fn new(texts: &Texts<'_>, times: Times, confirmation: Option<Confirmation>) -> Self {
        let mut ranges = [None; TEXTS];
        let mut text = SmallVec::new();
        text.reserve_exact(texts.0.iter().flatten().map(|text| text.len()).sum());
        for (range, part) in ranges.iter_mut().zip(&texts.0) {
            if let Some(part) = part {
                let start = text.len();
                text.extend_from_slice(part.as_bytes());
                // A token of more than four gigabytes does not come this far.
                *range = u32::try_from(start).ok().zip(u32::try_from(text.len()).ok());
            }
        }
        Self { text, ranges, times, confirmation: confirmation.map(Box::new) }
    }

    fn text(&self, name: ClaimName) -> Option<&str> {
        let (start, end) = (*self.ranges.get(name as usize)?)?;
        std::str::from_utf8(self.text.get(start as usize..end as usize)?).ok()
    }

    pub(crate) fn confirmation(&self) -> Option<&Confirmation> {
        self.confirmation.as_deref()
    }

    /// The claim `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.text(ClaimName::Issuer)
    }

    /// The claim `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.text(ClaimName::Subject)
    }

    /// The claim `jti`.
    pub fn id(&self) -> Option<&str> {
        self.text(ClaimName::Id)
    }

    /// The parts of the claim `scope`, where that is a string (RFC 9068, 2.2.3).
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let scope = self.text(ClaimName::Scope).into_iter();
        scope.flat_map(|scope| scope.split(' ')).filter(|scope| !scope.is_empty())
    }

    /// The claim `acr`, where that is a string (RFC 9470, 6.1).
    pub fn acr(&self) -> Option<&str> {
        self.text(ClaimName::Acr)
    }

    /// The claim `exp`.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.times.expires.map(time)
    }

    /// The claim `nbf`.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.times.not_before.map(time)
    }

    /// The claim `iat`, with its fraction if the issuer writes one.
    pub fn issued_at(&self) -> Option<SystemTime> {
        let fraction = Duration::from_micros(self.times.issued_micros.into());
        self.times.issued.map(|seconds| time(seconds) + fraction)
    }

    /// The claim `auth_time`, where that is a date (RFC 9470, 6.1).
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.times.authenticated.map(time)
    }
}

/// Who the token is about stays out of logs; when it ends does not.
impl fmt::Debug for RegisteredClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.times.expires)
            .field("not_before", &self.times.not_before)
            .field("issued", &self.times.issued)
            .finish_non_exhaustive()
    }
}

/// Values are at most those of the year 9999, so no clock overflows.
fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// How many claims are texts.
const TEXTS: usize = 5;
