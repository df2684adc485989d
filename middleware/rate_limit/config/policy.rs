//! A policy: one of the limits of a limiter.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use http::HeaderValue;
use smallvec::SmallVec;

use super::clock::seconds;
use super::error::{RateLimitError, checked};
use super::key::LimitKey;
use super::quota::Quota;
use crate::Request;

type By<T> = Arc<dyn Fn(&Request) -> T + Send + Sync>;

/// One of the limits of a [`RateLimit`](crate::RateLimit): a name, a quota and a key.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::rate_limit::{LimitKey, Policy, Quota};
/// use tower_chain::RateLimit;
///
/// let limit = RateLimit::new(Policy::new("burst", Quota::per_second(20)))
///     .and(Policy::new("daily", Quota::per_hour(10_000)))
///     .and(
///         Policy::new("upload", Quota::per_minute(3))
///             .key(LimitKey::header(http::HeaderName::from_static("x-api-key")))
///             .when(|req| req.method() == http::Method::PUT),
///     );
/// # let _ = limit;
/// ```
#[derive(Clone)]
pub struct Policy {
    pub(crate) name: Arc<str>,
    pub(crate) key: Option<LimitKey>,
    quota: Quota,
    quota_by: Option<By<Option<Quota>>>,
    cost: u32,
    cost_by: Option<By<u32>>,
    when: Option<By<bool>>,
    changed: Arc<ReplacedQuota>,
    /// `"name";q=100;w=60`, formatted once because it is equal in all responses.
    pub(crate) field: HeaderValue,
    /// `"name";r=`, the start of the item in `RateLimit`.
    pub(crate) left: Box<str>,
}

/// A quota that was replaced while the server runs. Until then, only the flag is read.
struct ReplacedQuota {
    is: AtomicBool,
    quota: RwLock<Quota>,
    /// All quotas that requests had so far, up to a number.
    seen: RwLock<SmallVec<[Quota; 1]>>,
}

impl ReplacedQuota {
    fn see(&self, quota: Quota) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains(&quota) && seen.len() < MOST_QUOTAS {
            seen.push(quota);
        }
    }
}

impl Policy {
    /// A policy with this name, which appears in header fields and in the body of a refusal.
    ///
    /// # Panics
    ///
    /// If [`try_new`](Policy::try_new) fails.
    #[track_caller]
    pub fn new(name: impl Into<String>, quota: Quota) -> Self {
        checked(Self::try_new(name, quota))
    }

    /// A policy whose name comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Name`] unless the name has 1 to 64 characters, all of them ASCII letters, digits, `-`, `_`, `.` or spaces.
    pub fn try_new(name: impl Into<String>, quota: Quota) -> Result<Self, RateLimitError> {
        let name = name.into();
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_. ".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            return Err(RateLimitError::Name(name));
        }
        Ok(Self {
            field: field(&name, quota),
            left: format!("\"{name}\";r=").into(),
            name: name.into(),
            key: None,
            quota,
            quota_by: None,
            cost: 1,
            cost_by: None,
            when: None,
            changed: Arc::new(ReplacedQuota {
                is: AtomicBool::new(false),
                quota: RwLock::new(quota),
                seen: RwLock::new(SmallVec::from_iter([quota])),
            }),
        })
    }

    /// Sets the key that requests are counted under. Defaults to the key of the limiter.
    #[must_use]
    pub fn key(mut self, key: LimitKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets how many requests one request counts for. Defaults to 1. A cost of 0 is always admitted.
    #[must_use]
    pub fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// Sets how many requests one request counts for, depending on the request. Defaults to 1 for all.
    ///
    /// A request whose cost is above the burst is never admitted: its refusal has no `Retry-After`.
    #[must_use]
    pub fn cost_by(mut self, cost: impl Fn(&Request) -> u32 + Send + Sync + 'static) -> Self {
        self.cost_by = Some(Arc::new(cost));
        self
    }

    /// Sets the quota depending on the request, such as on the plan of its user. Defaults to the quota of the policy, which also applies where the
    /// function returns `None`.
    ///
    /// Each quota of a client has a count of its own, which no other quota shortens. The first request under a quota that the client did not have
    /// lately starts this count with the fraction that is used of its other quotas: if half of 10 a day is used, half of 60 a minute is used too, and
    /// comes back within half a minute. So a change of plan takes effect at once, in both directions, and a change back finds the old count.
    ///
    /// The quotas are those of one client at different times, such as its plans. For several kinds of requests with quotas of their own, use a policy for
    /// each kind, with [`when`](Policy::when).
    #[must_use]
    pub fn quota_by(
        mut self,
        quota: impl Fn(&Request) -> Option<Quota> + Send + Sync + 'static,
    ) -> Self {
        self.quota_by = Some(Arc::new(quota));
        self
    }

    /// Applies the policy only to some requests. Defaults to all.
    #[must_use]
    pub fn when(mut self, applies: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(applies));
        self
    }

    /// Whether the policy applies to all requests alike, under the key of the limiter.
    pub(crate) fn is_plain(&self) -> bool {
        let Self { key, quota_by, cost_by, when, cost, .. } = self;
        key.is_none() && quota_by.is_none() && cost_by.is_none() && when.is_none() && *cost > 0
    }

    pub(crate) fn applies(&self, req: &Request) -> bool {
        self.when.as_ref().is_none_or(|applies| applies(req))
    }

    /// The cost of a request for a policy whose cost does not depend on it.
    pub(crate) fn cost_of_all(&self) -> u32 {
        self.cost
    }

    pub(crate) fn cost_of(&self, req: &Request) -> u32 {
        self.cost_by.as_ref().map_or(self.cost, |cost| cost(req))
    }

    pub(crate) fn quota_for(&self, req: &Request) -> Quota {
        let own = self.quota_by.as_ref().and_then(|quota| quota(req));
        own.unwrap_or_else(|| self.quota())
    }

    pub(crate) fn quota(&self) -> Quota {
        if self.changed.is.load(Ordering::Acquire) {
            *self.changed.quota.read().unwrap_or_else(PoisonError::into_inner)
        } else {
            self.quota
        }
    }

    /// Whether an operator has replaced the quota.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed.is.load(Ordering::Acquire)
    }

    pub(crate) fn set_quota(&self, quota: Quota) {
        *self.changed.quota.write().unwrap_or_else(PoisonError::into_inner) = quota;
        self.changed.see(quota);
        self.changed.is.store(true, Ordering::Release);
    }

    /// The quotas that requests had under this policy besides this one. Only the first `MOST_QUOTAS` are known.
    pub(crate) fn other_quotas(&self, quota: Quota) -> SmallVec<[Quota; 2]> {
        if self.quota_by.is_none() && !self.changed.is.load(Ordering::Acquire) {
            return SmallVec::new();
        }
        let seen = self.changed.seen.read().unwrap_or_else(PoisonError::into_inner);
        let others = seen.iter().copied().filter(|other| *other != quota).collect();
        if !seen.contains(&quota) && seen.len() < MOST_QUOTAS {
            drop(seen);
            self.changed.see(quota);
        }
        others
    }

    /// The item of `RateLimit-Policy` for another quota of this policy.
    pub(crate) fn field_of(&self, quota: Quota) -> HeaderValue {
        field(&self.name, quota)
    }

    /// The quota that [`field`](Policy::field) contains.
    pub(crate) fn first_quota(&self) -> Quota {
        self.quota
    }
}

/// How many quotas of a policy are known. A change from a further one starts with nothing used.
const MOST_QUOTAS: usize = 8;

/// The item of `RateLimit-Policy`. The name was checked and needs no escapes.
fn field(name: &str, quota: Quota) -> HeaderValue {
    let window = seconds(quota.rate().burst_time()).max(1);
    let item = format!("\"{name}\";q={};w={window}", quota.burst_size());
    // All characters are printable ASCII. If they were not, the field would be empty rather than wrong.
    HeaderValue::from_maybe_shared(item).unwrap_or(HeaderValue::from_static(""))
}

/// A policy named after its quota, such as `100-in-15min`.
impl From<Quota> for Policy {
    fn from(quota: Quota) -> Self {
        let period = quota.period();
        let (seconds, nanos) = (period.as_secs(), period.subsec_nanos());
        let period = match (seconds, nanos) {
            (1.., 0) if seconds % 86400 == 0 => format!("{}d", seconds / 86400),
            (1.., 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
            (1.., 0) if seconds % 60 == 0 => format!("{}min", seconds / 60),
            (_, 0) => format!("{seconds}s"),
            _ => format!("{}ms", period.as_millis().max(1)),
        };
        checked(Self::try_new(format!("{}-in-{period}", quota.limit()), quota))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("quota", &self.quota())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
