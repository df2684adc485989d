//! Revoked tokens: refused although they are valid.

#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;

use super::error::JwtError;
use super::share::share_of_one;
use super::token::claims::{Claims, RegisteredClaims};

/// How it is checked whether a token is revoked.
pub(crate) enum Revocation<C> {
    Denylist(Denylist),
    Hook(Box<RevocationHook<C>>),
}

pub(crate) type RevocationHook<C> =
    dyn Fn(Claims<C>) -> BoxFuture<'static, Result<bool, axum_core::BoxError>> + Send + Sync;

/// Revoked tokens, in memory: by issuer and `jti`, or all tokens of a subject that were issued before a time. For
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
    /// By `jti`. Issuers choose it on their own (RFC 7519, 4.1.7), so several may use the same one.
    ids: HashMap<Box<str>, Vec<RevokedId>>,
    /// How many of the ids belong to each subject.
    ids_of_subject: HashMap<Arc<Subject>, usize>,
    subjects: HashMap<Box<str>, Vec<RevokedSubject>>,
    length: usize,
    /// When the entries of expired tokens were last removed.
    swept: Option<SystemTime>,
}

struct RevokedId {
    issuers: Issuers,
    until: SystemTime,
    /// Of the token, if the token was given.
    subject: Option<Arc<Subject>>,
}

/// The issuers whose tokens are revoked.
#[derive(PartialEq, Eq)]
enum Issuers {
    Any,
    /// `None` means tokens without `iss`.
    Only(Option<Box<str>>),
}

impl Issuers {
    fn contain(&self, issuer: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only.as_deref() == issuer,
        }
    }
}

/// The claims `iss` and `sub` of a token. Two issuers may use one name for different subjects.
#[derive(PartialEq, Eq, Hash)]
struct Subject {
    issuer: Option<Box<str>>,
    name: Option<Box<str>>,
}

struct RevokedSubject {
    issuer: Option<Box<str>>,
    /// Since the epoch.
    issued_before: Duration,
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

    /// Revokes one token, by its issuer and its `jti`.
    ///
    /// A subject may have a sixteenth of the free entries, so a user who signs in and out all the time does not fill the list for the others.
    /// The tokens of one issuer without a subject count as those of one subject.
    ///
    /// # Errors
    ///
    /// If the token has no `jti`, its subject has too many revoked tokens, or the list is full.
    pub fn revoke(&self, token: &RegisteredClaims) -> Result<(), RevokeError> {
        let until = token.expires_at().unwrap_or_else(forever);
        let issuer = token.issuer().map(Box::from);
        let subject = Subject { issuer: issuer.clone(), name: token.subject().map(Box::from) };
        let id = token.id().ok_or(RevokeError::NoId)?;
        self.insert_id(id, Issuers::Only(issuer), Some(subject), until)
    }

    /// Revokes the token with this `jti`. `None` as the issuer means the tokens of all issuers.
    ///
    /// `until` is when the token expires; the entry may be removed ten minutes later, which is the longest leeway. After several calls for one
    /// issuer and `jti`, the latest time is used.
    ///
    /// # Errors
    ///
    /// If the list is full.
    pub fn revoke_id(
        &self,
        issuer: Option<&str>,
        id: &str,
        until: SystemTime,
    ) -> Result<(), RevokeError> {
        let issuers = issuer.map_or(Issuers::Any, |issuer| Issuers::Only(Some(Box::from(issuer))));
        self.insert_id(id, issuers, None, until)
    }

    fn insert_id(
        &self,
        id: &str,
        issuers: Issuers,
        subject: Option<Subject>,
        until: SystemTime,
    ) -> Result<(), RevokeError> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let mut of_id = list.ids.get_mut(id).into_iter().flatten();
        if let Some(known) = of_id.find(|known| known.issuers == issuers) {
            known.until = until.max(known.until);
            return Ok(());
        }
        list.has_share(subject.as_ref(), self.capacity)?;
        let subject = subject.map(|subject| list.count_id(subject));
        let new = RevokedId { issuers, until, subject };
        list.ids.entry(Box::from(id)).or_default().push(new);
        list.length += 1;
        Ok(())
    }

    /// Revokes all tokens of a subject that were issued before a time, and those without `iat`.
    ///
    /// The time is compared with `iat` as precisely as the issuer writes it. Most issuers write whole seconds: then a token of the same second is not
    /// revoked, because a user who signs out everywhere and in again may get one. Add a second to the time to revoke those as well. If `iat` has a fraction,
    /// a token of the same second is revoked only if it was issued before the time.
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
        let issued_before = since_epoch(issued_before);
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let mut of_subject = list.subjects.get_mut(subject).into_iter().flatten();
        if let Some(known) = of_subject.find(|entry| entry.issuer.as_deref() == issuer) {
            known.issued_before = known.issued_before.max(issued_before);
            known.until = known.until.max(until);
            return Ok(());
        }
        list.has_share(None, self.capacity)?;
        let new = RevokedSubject { issuer: issuer.map(Box::from), issued_before, until };
        list.subjects.entry(Box::from(subject)).or_default().push(new);
        list.length += 1;
        Ok(())
    }

    /// Whether a token is revoked.
    pub fn is_revoked(&self, token: &RegisteredClaims) -> bool {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let mut of_id = token.id().and_then(|id| list.ids.get(id)).into_iter().flatten();
        if of_id.any(|known| known.issuers.contain(token.issuer())) {
            return true;
        }
        let of_subject = token.subject().and_then(|subject| list.subjects.get(subject));
        of_subject.is_some_and(|entries| {
            entries.iter().any(|entry| {
                entry.issuer.as_deref().is_none_or(|issuer| token.issuer() == Some(issuer))
                    && token.times.is_issued_before(entry.issued_before)
            })
        })
    }
}

impl List {
    /// Checks that there is a free entry, and that the subject has less than its share. Removes the entries of expired tokens if necessary.
    fn has_share(&mut self, subject: Option<&Subject>, capacity: usize) -> Result<(), RevokeError> {
        let has_share = |list: &Self| {
            let own = subject.and_then(|subject| list.ids_of_subject.get(subject));
            let free = capacity.saturating_sub(list.length);
            // A revocation without a token is a decision of the operator, and may use every entry.
            subject.map_or(free > 0, |_| own.copied().unwrap_or_default() < share_of_one(free))
        };
        if has_share(self) {
            return Ok(());
        }
        // This takes linear time, and requests wait for it, so it must not happen for each call. A clock that was set back counts as
        // time that has passed.
        let now = SystemTime::now();
        let since = self.swept.map(|swept| now.duration_since(swept));
        if since.is_some_and(|since| since.is_ok_and(|since| since < SWEEP_EVERY)) {
            let full = self.length >= capacity;
            return Err(if full { RevokeError::Full } else { RevokeError::TooMany });
        }
        self.swept = Some(now);
        let full = self.remove_expired(capacity);
        if has_share(self) { Ok(()) } else { Err(full.err().unwrap_or(RevokeError::TooMany)) }
    }

    /// Counts one more id of a subject.
    fn count_id(&mut self, subject: Subject) -> Arc<Subject> {
        let known = self.ids_of_subject.get_key_value(&subject).map(|(known, _)| known.clone());
        let subject = known.unwrap_or_else(|| Arc::new(subject));
        *self.ids_of_subject.entry(subject.clone()).or_default() += 1;
        subject
    }

    /// Removes the entries of expired tokens. Other entries are never removed, so the list may still be full.
    fn remove_expired(&mut self, capacity: usize) -> Result<(), RevokeError> {
        let over = SystemTime::now().checked_sub(SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
        self.ids.retain(|_, entries| {
            entries.retain(|entry| entry.until > over);
            !entries.is_empty()
        });
        self.ids_of_subject.clear();
        for subject in self.ids.values().flatten().filter_map(|entry| entry.subject.clone()) {
            *self.ids_of_subject.entry(subject).or_default() += 1;
        }
        self.subjects.retain(|_, entries| {
            entries.retain(|entry| entry.until > over);
            !entries.is_empty()
        });
        let ids: usize = self.ids.values().map(Vec::len).sum();
        self.length = ids + self.subjects.values().map(Vec::len).sum::<usize>();
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
    /// The subject has so many revoked tokens on the list that one more would take the capacity of other subjects.
    TooMany,
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoId => "the token has no `jti`: revoke its subject instead",
            Self::Full => "the denylist is full: give it a larger capacity",
            Self::TooMany => {
                "too many tokens of this subject are on the denylist: revoke the subject instead"
            }
        })
    }
}

impl std::error::Error for RevokeError {}

/// The time since the epoch, as an issuer writes it in `iat`.
pub(crate) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The expiry of tokens that never expire: beyond the year 9999.
fn forever() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 38)
}

/// How often a subject with too many entries may cause a search for expired ones.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long after its `exp` a token may still be accepted: longer than any leeway.
pub(crate) const SLACK: Duration = Duration::from_secs(601);
