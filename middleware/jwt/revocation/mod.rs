//! Revoked tokens: refused although they are valid.

#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

use super::error::JwtError;
use super::token::claims::{Claims, RegisteredClaims};

/// How it is checked whether a token is revoked.
pub(crate) enum Revocation<C> {
    Denylist(Denylist),
    Hook(Box<RevocationHook<C>>),
}

pub(crate) type RevocationHook<C> =
    dyn Fn(Claims<C>) -> BoxFuture<'static, Result<bool, axum_core::BoxError>> + Send + Sync;

/// Revoked tokens, in memory: by `jti`, or all tokens of a subject that were issued before a time. For
/// [`Jwt::denylist`](crate::middleware::jwt::Jwt::denylist).
///
/// An entry is kept until the tokens have expired. The list never has more entries than its capacity. A clone is a handle to the same list.
///
/// # Example
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::Denylist;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let secret = "a secret that has thirty-two bytes";
/// let revoked = Denylist::new(10_000)?;
/// let jwt = Jwt::<()>::hs256(secret)?.denylist(revoked.clone());
///
/// // Later, when ann signs out everywhere:
/// let now = SystemTime::now();
/// revoked.revoke_subject(None, "ann", now, now + Duration::from_secs(3600))?;
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Denylist {
    list: Arc<RwLock<List>>,
    capacity: usize,
}

#[derive(Default)]
struct List {
    ids: HashMap<Box<str>, SystemTime>,
    subjects: HashMap<Box<str>, Vec<RevokedSubject>>,
    length: usize,
}

struct RevokedSubject {
    issuer: Option<Box<str>>,
    issued_before: SystemTime,
    until: SystemTime,
}

impl Denylist {
    /// Creates a list of at most this many revocations.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn new(capacity: usize) -> Result<Self, JwtError> {
        if capacity == 0 {
            Err(JwtError::ZeroLimit)
        } else {
            Ok(Self { list: Arc::default(), capacity })
        }
    }

    /// Revokes one token, by its `jti`.
    ///
    /// # Errors
    ///
    /// If the token has no `jti`, or the list is full.
    pub fn revoke(&self, token: &RegisteredClaims) -> Result<(), RevokeError> {
        let until = token.expires_at().unwrap_or_else(forever);
        self.revoke_id(token.id().ok_or(RevokeError::NoId)?, until)
    }

    /// Revokes the token with this `jti`. `until` is when the token expires; the entry may be removed ten minutes later, which is the longest
    /// leeway. After several calls for one `jti`, the latest time is used.
    ///
    /// # Errors
    ///
    /// If the list is full.
    pub fn revoke_id(&self, id: &str, until: SystemTime) -> Result<(), RevokeError> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = list.ids.get_mut(id) {
            *known = until.max(*known);
            return Ok(());
        }
        list.remove_expired(self.capacity)?;
        list.ids.insert(Box::from(id), until);
        list.length += 1;
        Ok(())
    }

    /// Revokes all tokens of a subject that were issued before a time, and those without `iat`.
    ///
    /// `None` as the issuer means the tokens of all issuers. The entry may be removed ten minutes after `until`, when the last of the tokens has
    /// expired. After several calls for one subject, the latest times are used.
    ///
    /// # Errors
    ///
    /// If the list is full.
    pub fn revoke_subject(
        &self,
        issuer: Option<&str>,
        subject: &str,
        issued_before: SystemTime,
        until: SystemTime,
    ) -> Result<(), RevokeError> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let of_subject = list.subjects.get_mut(subject).map(|entries| entries.iter_mut());
        let mut of_subject = of_subject.into_iter().flatten();
        if let Some(known) = of_subject.find(|entry| entry.issuer.as_deref() == issuer) {
            known.issued_before = known.issued_before.max(issued_before);
            known.until = known.until.max(until);
            return Ok(());
        }
        list.remove_expired(self.capacity)?;
        let new = RevokedSubject { issuer: issuer.map(Box::from), issued_before, until };
        list.subjects.entry(Box::from(subject)).or_default().push(new);
        list.length += 1;
        Ok(())
    }

    /// Whether a token is revoked.
    pub fn is_revoked(&self, token: &RegisteredClaims) -> bool {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        if token.id().is_some_and(|id| list.ids.contains_key(id)) {
            return true;
        }
        let of_subject = token.subject().and_then(|subject| list.subjects.get(subject));
        of_subject.is_some_and(|entries| {
            entries.iter().any(|entry| {
                entry.issuer.as_deref().is_none_or(|issuer| token.issuer() == Some(issuer))
                    && token.issued_at().is_none_or(|issued| issued < entry.issued_before)
            })
        })
    }
}

impl List {
    /// Removes the entries of expired tokens if the list is full. Other entries are never removed, so the call may fail.
    fn remove_expired(&mut self, capacity: usize) -> Result<(), RevokeError> {
        if self.length < capacity {
            return Ok(());
        }
        let over = SystemTime::now().checked_sub(SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
        self.ids.retain(|_, until| *until > over);
        self.subjects.retain(|_, entries| {
            entries.retain(|entry| entry.until > over);
            !entries.is_empty()
        });
        self.length = self.ids.len() + self.subjects.values().map(Vec::len).sum::<usize>();
        if self.length < capacity { Ok(()) } else { Err(RevokeError::Full) }
    }
}

impl fmt::Debug for Denylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Denylist")
            .field("length", &list.length)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Why something could not be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokeError {
    /// The token has no `jti`.
    NoId,
    /// The list is full of revocations of tokens that have not expired.
    Full,
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoId => "the token has no `jti`: revoke its subject instead",
            Self::Full => "the denylist is full: give it a larger capacity",
        })
    }
}

impl std::error::Error for RevokeError {}

/// The expiry of tokens that never expire: beyond the year 9999.
fn forever() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 38)
}

/// How long after its `exp` a token may still be accepted: longer than any leeway.
pub(crate) const SLACK: Duration = Duration::from_secs(601);
