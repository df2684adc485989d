//! A policy: one of the limits of a limiter.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use http::HeaderValue;
use smallvec::SmallVec;

use super::error::{RateLimitError, checked, is_name};
use super::key::LimitKey;
use super::quota::Quota;
use crate::{Request, Response};

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
    pub(crate) settle: Option<SettleRule>,
    pub(crate) max_debt: u32,
    pub(crate) shadow: bool,
    changed: Arc<ReplacedQuota>,
    /// `"name";q=100;w=60`, formatted once because it is equal in all responses.
    pub(crate) field: HeaderValue,
    /// `"name";r=`, the start of the item in `RateLimit`.
    pub(crate) left: Box<str>,
}

/// How a policy learns what a request has cost.
#[derive(Clone)]
pub(crate) enum SettleRule {
    /// From the head of the response.
    Response(Arc<dyn Fn(&Response) -> Option<u32> + Send + Sync>),
    /// From the [`ActualCost`](crate::middleware::rate_limit::ActualCost) in the response, when its body ends.
    AtEnd,
    /// From the number of bytes of the body, when it ends: one for each so many bytes.
    Bytes(NonZeroU32),
}

/// A quota that was replaced while the server runs. Until then, only the flag is read.
struct ReplacedQuota {
    is: AtomicBool,
    /// Whether it was replaced before, also if it is restored now.
    ever: AtomicBool,
    /// Whether the shared store does not know it yet.
    is_unsent: AtomicBool,
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
        if !is_name(&name) {
            return Err(RateLimitError::Name(name));
        }
        Ok(Self {
            field: field(&name, quota, 0),
            left: format!("\"{name}\";r=").into(),
            name: name.into(),
            key: None,
            quota,
            quota_by: None,
            cost: 1,
            cost_by: None,
            when: None,
            settle: None,
            max_debt: u32::MAX,
            shadow: false,
            changed: Arc::new(ReplacedQuota {
                is: AtomicBool::new(false),
                ever: AtomicBool::new(false),
                is_unsent: AtomicBool::new(false),
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

    /// Charges what the request has really cost, once the head of the response is known. Defaults to the cost when it arrives.
    ///
    /// A request is charged its [`cost`](Policy::cost) when it arrives, which reserves that much. The response then settles it: the difference is charged
    /// or refunded. `None` keeps the reservation, and so does a request that is dropped before its response. The charge does not stop where the quota
    /// is used up: the client is then in debt, and is refused until its debt has come back. See [`max_debt`](Policy::max_debt). In a
    /// [shared](crate::RateLimit::shared) store, the difference is charged or refunded in the background, by a second call.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::RateLimit;
    /// use tower_chain::middleware::rate_limit::{Policy, Quota};
    ///
    /// #[derive(Clone)]
    /// struct Tokens(u32); // put into the extensions of the response by the handler
    ///
    /// let tokens = Policy::new("tokens", Quota::per_hour(50_000))
    ///     .cost(500)
    ///     .settle(|response| response.extensions().get().map(|Tokens(used)| *used));
    /// # let _ = RateLimit::new(tokens);
    /// ```
    #[must_use]
    pub fn settle(
        mut self,
        cost: impl Fn(&Response) -> Option<u32> + Send + Sync + 'static,
    ) -> Self {
        self.settle = Some(SettleRule::Response(Arc::new(cost)));
        self
    }

    /// Charges what the request has really cost, once its body was sent or dropped: the
    /// [`ActualCost`](crate::middleware::rate_limit::ActualCost) that the handler put into the extensions of the response. Without one, the
    /// reservation is kept. See [`settle`](Policy::settle).
    #[must_use]
    pub fn settle_at_end(mut self) -> Self {
        self.settle = Some(SettleRule::AtEnd);
        self
    }

    /// Charges one for each `bytes` bytes of the body of the response, rounded up, once it was sent or dropped. See [`settle`](Policy::settle).
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::RateLimit;
    /// use tower_chain::middleware::rate_limit::{Policy, Quota};
    ///
    /// // 1 GB per hour, in kilobytes.
    /// let download = Policy::new("download", Quota::per_hour(1_000_000)).settle_bytes(1_000);
    /// # let _ = RateLimit::new(download);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn settle_bytes(mut self, bytes: u32) -> Self {
        let bytes = checked(NonZeroU32::new(bytes).ok_or(RateLimitError::ZeroLimit));
        self.settle = Some(SettleRule::Bytes(bytes));
        self
    }

    /// Bounds by how many requests beyond its quota a client can be in debt, by [`settle`](Policy::settle) or by
    /// [`charge`](crate::middleware::rate_limit::PolicyHandle::charge). Costs beyond that are lost. Defaults to as many as come back in 100 years.
    #[must_use]
    pub fn max_debt(mut self, requests: u32) -> Self {
        self.max_debt = requests;
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

    /// Refuses nothing by this policy, to try it out beside the others. Defaults to refusing.
    ///
    /// A request that does not fit is counted in [`refusals`](crate::middleware::rate_limit::RateLimitHandle::refusals), logged at debug level and
    /// observed, see [`Decision::shadowed`](crate::middleware::rate_limit::Decision::shadowed). This policy is then not charged; the other policies
    /// are. It appears in no header field, and its refusals are not strikes.
    #[must_use]
    pub fn shadow(mut self) -> Self {
        self.shadow = true;
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
        let Self { key, quota_by, cost_by, when, cost, settle, shadow, .. } = self;
        let depends = quota_by.is_some() || cost_by.is_some() || when.is_some();
        key.is_none() && !depends && !shadow && settle.is_none() && *cost > 0
    }

    pub(crate) fn applies(&self, req: &Request) -> bool {
        self.when.as_ref().is_none_or(|applies| applies(req))
    }

    /// The cost of a request for a policy whose cost does not depend on it.
    pub(crate) fn cost_of_all(&self) -> u32 {
        self.cost
    }

    /// Whether no request ever fits, unless it may wait.
    pub(crate) fn never_fits(&self) -> bool {
        let is_fixed = self.cost_by.is_none() && self.quota_by.is_none();
        is_fixed && self.cost > self.quota().burst_size()
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

    /// Whether requests may have had another quota than the one that the policy was built with.
    pub(crate) fn has_other_quotas(&self) -> bool {
        self.quota_by.is_some() || self.changed.ever.load(Ordering::Acquire)
    }

    /// Replaces the quota, and marks the new one as not sent to the shared store.
    pub(crate) fn set_quota(&self, quota: Quota) {
        self.changed.is_unsent.store(true, Ordering::Release);
        self.replace_quota(quota);
    }

    fn replace_quota(&self, quota: Quota) {
        *self.changed.quota.write().unwrap_or_else(PoisonError::into_inner) = quota;
        self.changed.see(quota);
        self.changed.ever.store(true, Ordering::Release);
        self.changed.is.store(true, Ordering::Release);
    }

    /// Returns to the quota that the policy was built with.
    pub(crate) fn restore_quota(&self) {
        self.changed.is_unsent.store(false, Ordering::Release);
        self.changed.is.store(false, Ordering::Release);
    }

    /// The replaced quota that the shared store does not know.
    pub(crate) fn unsent_quota(&self) -> Option<Quota> {
        self.changed.is_unsent.load(Ordering::Acquire).then(|| self.quota())
    }

    /// The shared store knows this quota. If it was replaced again meanwhile, the new one is still unsent.
    pub(crate) fn quota_is_sent(&self, sent: Quota) {
        self.changed.is_unsent.store(self.quota() != sent, Ordering::Release);
    }

    /// Takes over the quota from the shared store; `None` restores the configured one. An unsent quota of this server stays.
    pub(crate) fn adopt_quota(&self, quota: Option<Quota>) {
        if self.changed.is_unsent.load(Ordering::Acquire) {
            return;
        }
        match quota {
            Some(quota) if quota != self.quota() => self.replace_quota(quota),
            Some(_) => {}
            None => self.changed.is.store(false, Ordering::Release),
        }
    }

    /// The quotas that requests had under this policy besides this one. Only the first `MOST_QUOTAS` are known.
    pub(crate) fn other_quotas(&self, quota: Quota) -> SmallVec<[Quota; 2]> {
        if !self.has_other_quotas() {
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

    /// Whether the item of `RateLimit-Policy` is the same in all responses. It differs between quotas, and between months.
    pub(crate) fn has_one_field(&self) -> bool {
        !self.has_other_quotas() && !self.quota.is_month()
    }

    /// The item of `RateLimit-Policy` for a quota of this policy, at a time since 1970.
    pub(crate) fn field_of(&self, quota: Quota, unix: u64) -> HeaderValue {
        field(&self.name, quota, unix)
    }

    /// The quota that [`field`](Policy::field) contains.
    pub(crate) fn first_quota(&self) -> Quota {
        self.quota
    }
}

/// How many quotas of a policy are known. A change from a further one starts with nothing used.
const MOST_QUOTAS: usize = 8;

/// The item of `RateLimit-Policy`. The name was checked and needs no escapes.
fn field(name: &str, quota: Quota, unix: u64) -> HeaderValue {
    let window = quota.window_seconds(unix);
    let item = format!("\"{name}\";q={};w={window}", quota.burst_size());
    // All characters are printable ASCII. If they were not, the field would be empty rather than wrong.
    HeaderValue::from_maybe_shared(item).unwrap_or(HeaderValue::from_static(""))
}

/// A policy named after its quota, such as `100-in-15min`.
impl From<Quota> for Policy {
    fn from(quota: Quota) -> Self {
        let period = quota.period();
        if quota.is_month() {
            return checked(Self::try_new(format!("{}-in-month", quota.limit()), quota));
        }
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
