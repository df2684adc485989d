//! The interface of a store that several servers share, and the settings for using it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::health::StoreHealth;
use crate::middleware::rate_limit::config::error::{RateLimitError, checked, is_name};
use crate::middleware::rate_limit::config::policy::Policy;
use crate::middleware::rate_limit::config::quota::LONGEST;
use crate::middleware::rate_limit::memory::LocalMemory;

/// A store that several servers share.
///
/// The state of a key is one time: until when the key is charged, by the clock of the store. Decisions are made by GCRA: a charge of `cost` fits if
/// the key is then charged for no longer than `burst` requests take to come back. All charges of a call are decided together: if one does not fit,
/// none is made. An implementation makes each call in one round trip, and sets a time to live on every key.
///
/// An answer after the deadline is still used, so do not cancel a late call. It is unknown whether a failed call was executed; a limiter never
/// repeats a call whose second execution would change something again.
///
/// # Example
///
/// A complete store for the servers of one process. A store over a network does the same with the commands of its database.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex, PoisonError};
/// use std::time::{Duration, Instant};
///
/// use tower_chain::middleware::rate_limit::{
///     LimitKey, LimitStore, StoreAnswer, StoreCall, StoreFuture, StoreSlot,
/// };
/// use tower_chain::middleware::rate_limit::SharedLimits;
/// use tower_chain::RateLimit;
///
/// #[derive(Clone, Default)]
/// struct MapStore(Arc<Mutex<Times>>);
///
/// #[derive(Default)]
/// struct Times {
///     charged: HashMap<String, Instant>,
///     slots: HashMap<String, HashMap<String, Instant>>,
/// }
///
/// impl MapStore {
///     fn with_state<'a, T: Send + 'a>(&'a self, f: impl FnOnce(&mut Times, Instant) -> T) -> StoreFuture<'a, T> {
///         let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let now = Instant::now();
///         times.charged.retain(|_, until| *until > now);
///         times.slots.values_mut().for_each(|taken| taken.retain(|_, until| *until > now));
///         times.slots.retain(|_, taken| !taken.is_empty());
///         let answer = f(&mut times, now);
///         Box::pin(std::future::ready(Ok(answer)))
///     }
/// }
///
/// impl LimitStore for MapStore {
///     fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
///         self.with_state(|times, now| {
///             let charged = |key: &String| times.charged.get(key).map_or(Duration::ZERO, |until| *until - now);
///             let mut answer = StoreAnswer { admitted: true, ..StoreAnswer::default() };
///             answer.blocked_for = call.blocks.iter().map(charged).collect();
///             if let Some(slot) = &call.slot {
///                 let taken = times.slots.get(&slot.key).map_or(0, HashMap::len);
///                 answer.is_busy = taken >= slot.most as usize;
///             }
///             answer.admitted &= answer.blocked_for.iter().all(Duration::is_zero) && !answer.is_busy;
///             // A store may always pay for fewer requests in advance than it is asked to: here for none.
///             let mut after = Vec::new();
///             for (at, charge) in call.charges.iter().enumerate() {
///                 let most = charge.interval * charge.burst;
///                 let before = charged(&charge.key).min(charge.longest);
///                 let time = before + charge.interval * charge.cost;
///                 let fits = charge.cost == 0 || call.forced || time <= most;
///                 answer.admitted &= fits || charge.shadow;
///                 answer.shadowed |= u32::from(!fits && charge.shadow) << at;
///                 after.push(if fits { time.min(most).max(before) } else { before });
///                 answer.charged_for.push(before);
///             }
///             if answer.admitted {
///                 answer.charged_for = after;
///             }
///             for (charge, time) in call.charges.iter().zip(&answer.charged_for) {
///                 times.charged.insert(charge.key.clone(), now + *time);
///             }
///             if let (true, Some(slot)) = (answer.admitted, &call.slot) {
///                 let taken = times.slots.entry(slot.key.clone()).or_default();
///                 taken.insert(slot.id.clone(), now + slot.longest);
///             }
///             answer
///         })
///     }
///
///     fn refund<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
///         self.with_state(|times, now| {
///             for (key, time) in keys {
///                 if let Some(until) = times.charged.get_mut(key) {
///                     *until = until.checked_sub(*time).unwrap_or(now);
///                 }
///             }
///         })
///     }
///
///     fn release<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
///         self.with_state(|times, _| {
///             if let Some(taken) = times.slots.get_mut(&slot.key) {
///                 taken.remove(&slot.id);
///             }
///         })
///     }
///
///     fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()> {
///         self.with_state(|times, _| times.charged.retain(|key, _| !keys.contains(key)))
///     }
///
///     fn ping(&self) -> StoreFuture<'_, ()> {
///         self.with_state(|_, _| ())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_chain::middleware::rate_limit::RateLimitError> {
/// let store = MapStore::default();
/// let server = || {
///     let limit = RateLimit::per_minute(3).key(LimitKey::from_fn(|_| Some("guest")));
///     limit.shared("names", SharedLimits::new(store.clone())).handle().policies::<&str>()
/// };
/// let servers = [server()?, server()?];
/// assert!(servers[0].admit("ann", 2).await.is_ok());
/// assert!(servers[1].admit("ann", 1).await.is_ok());
/// assert!(servers[0].admit("ann", 1).await.is_err());
/// # Ok(())
/// # }
/// ```
pub trait LimitStore: Send + Sync + 'static {
    /// Decides one request: makes all of its charges, or none.
    fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer>;

    /// Refunds charges: each key is charged for so much less time, but not for less than zero.
    fn refund<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()>;

    /// Refunds charges that were made under these quotas. Defaults to [`refund`](LimitStore::refund), which is right for a store that has only one time
    /// for each key.
    fn refund_charges<'a>(&'a self, refunds: &'a [StoreRefund]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let keys: Vec<_> =
                refunds.iter().map(|refund| (refund.key.clone(), refund.time)).collect();
            self.refund(&keys).await
        })
    }

    /// Releases the slot of a request that has ended.
    fn release<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()>;

    /// Whether the store [renews](LimitStore::renew) slots. Defaults to no: a slot then expires after its `longest` time, however long its work takes.
    fn supports_renewal(&self) -> bool {
        false
    }

    /// Makes a slot last for its whole `longest` time from now on. If it has expired, it is taken again, also if all slots are taken: its work still
    /// runs. Called several times within that time, as long as the work takes. Defaults to doing nothing.
    fn renew<'a>(&'a self, _slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Removes a server from a line. Defaults to doing nothing: see [`StoreTurn`].
    fn leave_line<'a>(&'a self, _turn: &'a StoreTurn) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Removes keys.
    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()>;

    /// Checks whether the store is reachable, over a new connection if necessary.
    fn ping(&self) -> StoreFuture<'_, ()>;

    /// Whether the store decides charges with a [window](StoreCharge::window). Defaults to no: policies with such quotas are then an error where a
    /// limiter is built, and other quotas with windows, such as those of `quota_by`, are decided by each server alone.
    fn supports_windows(&self) -> bool {
        false
    }

    /// Reads a setting, which one server has [written](LimitStore::write) for all. Defaults to none.
    fn read<'a>(&'a self, _key: &'a str) -> StoreFuture<'a, Option<String>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Writes a setting without a time to live, such as a [replaced quota](crate::middleware::rate_limit::RateLimitHandle::set_quota). Defaults to an
    /// error: the setting then applies only to the server that has tried to write it.
    fn write<'a>(&'a self, _key: &'a str, _value: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(std::future::ready(Err(StoreError::of_keys("this store keeps no settings"))))
    }
}

/// The future that the methods of a [`LimitStore`] return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The checks of one request for a [`LimitStore`]. All keys have the same hash tag in braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCall {
    /// The charges, one for each policy and network of the client.
    pub charges: Vec<StoreCharge>,
    /// The keys of blocks, one for each subject that the request is counted under. If one of them is charged, the request is refused, whatever its
    /// cost.
    pub blocks: Vec<String>,
    /// The slot that the request takes. The slots of a subject are its requests in flight.
    pub slot: Option<StoreSlot>,
    /// Makes each charge as far as it fits, instead of refusing.
    pub forced: bool,
    /// How many more requests like this one to charge for if it is admitted, as far as they fit. The server then admits them without a call.
    pub lease: u32,
}

/// A charge in a [`StoreCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCharge {
    /// The name of the key.
    pub key: String,
    /// The time in which one request comes back.
    pub interval: Duration,
    /// The number of requests that a key may be charged for.
    pub burst: u32,
    /// The number of requests to charge for. 0 only reads the state.
    pub cost: u32,
    /// Whether the request is admitted also if this charge does not fit. The charge is then not made.
    pub shadow: bool,
    /// The window of the charge, in a store that [supports windows](LimitStore::supports_windows). `None` if requests come back one by one.
    pub window: Option<StoreWindow>,
    /// The quota under which the key is charged. `None` if the key is not the key of a policy, such as that of a block.
    ///
    /// A key has a time for each quota: a charge under one quota does not change the time of another. A quota that the key does not have yet starts
    /// with [`carried`](StoreQuota::carried). A store that has only one time for each key is safe, but then a change of plan takes effect late: a
    /// client waits until the time that it was charged for under the old quota is over.
    ///
    /// `interval` and `burst` may differ from it: with a delay more requests fit, and a server that was cut off sends what it has admitted in other
    /// units.
    pub quota: Option<StoreQuota>,
    /// For how long from now the key may be charged at most. A store shortens a longer charge to this, also where the request is refused.
    ///
    /// This is 100 years, except where an operator sets the time of a [block](crate::middleware::rate_limit::PolicyHandle::block): another server may have charged the key
    /// under a quota that this server does not know, so nothing else shortens it. A store whose clock may be set back keeps with each key for how
    /// long it was charged when it was written, and shortens the charge to that.
    pub longest: Duration,
}

/// The window of a [`StoreCharge`]: all requests of a window come back at once when it ends.
///
/// Without a window, a key is charged from the present on. With a window, a charge counts from the end of the present window: a key that is charged until
/// then or earlier has used nothing. A charge fits if the key is then charged for no longer than `burst` times `interval` from the end of the window on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreWindow {
    /// Windows of this length, by the clock of the store. One of them starts at this time after midnight UTC of 1970-01-01.
    Calendar {
        /// The length of each window.
        length: Duration,
        /// When a window starts.
        start: Duration,
    },
    /// The months of the calendar, by the clock of the store and in a local time: the time since 1970 plus `shift` is the local time one day later.
    Month {
        /// The difference of the local time to UTC, plus one day: it is never negative.
        shift: Duration,
    },
    /// A window of at least this length, which starts with a request if no window is open. It ends at the next multiple of `grid` since 1970. No charge
    /// is as long as `grid`, so the end of an open window is the last multiple of `grid` before the time until which the key is charged.
    FirstRequest {
        /// The length of the window.
        length: Duration,
        /// The distance between two possible ends.
        grid: Duration,
    },
}

/// The quota of a [`StoreCharge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StoreQuota {
    /// The time in which one request comes back.
    pub interval: Duration,
    /// The number of requests that may be made at once.
    pub burst: u32,
    /// The window of the quota. Two quotas that differ only in their windows have two times.
    pub window: Option<StoreWindow>,
}

impl StoreQuota {
    /// For how long a key is charged under this quota if it was charged for `charged` under another one: the same fraction of the burst is used,
    /// rounded up. Under a quota with a window, both times count from the end of its present window on.
    pub fn carried(self, charged: Duration, from: Self) -> Duration {
        let whole = |quota: Self| quota.interval.as_nanos() * u128::from(quota.burst);
        let nanos = charged.as_nanos().saturating_mul(whole(self)).div_ceil(whole(from).max(1));
        let longest = match self.window {
            Some(StoreWindow::FirstRequest { grid, .. }) => grid.saturating_sub(MICROSECOND),
            _ => LONGEST,
        };
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(longest)
    }
}

/// A refund for a [`LimitStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreRefund {
    /// The name of the key.
    pub key: String,
    /// The quota under which the key was charged.
    pub quota: Option<StoreQuota>,
    /// For how much less time the key is charged, but not for less than zero.
    pub time: Duration,
}

/// The slot of one request in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSlot {
    /// The key that contains the slots of the subject.
    pub key: String,
    /// The identity of this slot, which is unique among all servers.
    pub id: String,
    /// The number of slots.
    pub most: u32,
    /// After which time the slot expires if it is neither released nor [renewed](LimitStore::renew), because its server may have crashed.
    pub longest: Duration,
    /// The place of the server in the line for the slots of this subject, if requests [wait](crate::RateLimit::queue) for them.
    pub turn: Option<StoreTurn>,
}

/// The place of a server in the line for the slots of a subject. One request of each server waits in it.
///
/// A slot that is free belongs to the first in the line: a server gets one if more slots are free than servers are before it, where a server that is not in
/// the line comes after all others. It then leaves the line. A store that ignores this gives a free slot to the server that calls first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreTurn {
    /// The key that contains the line.
    pub key: String,
    /// The identity of the server. It does not contain a colon.
    pub server: String,
    /// Whether the server enters the line, at its end, if all slots are taken and nothing else refuses the request. The place expires unless the server
    /// calls again within a second.
    pub waits: bool,
}

/// The decision of a [`LimitStore`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreAnswer {
    /// Whether the request is admitted: the charges were made and the slot was taken.
    pub admitted: bool,
    /// For how long from now each key is charged, in the order of the charges, including those that were just made.
    pub charged_for: Vec<Duration>,
    /// The [shadow](StoreCharge::shadow) charges that did not fit and were not made: bit 0 for the first charge of the call, and so on.
    pub shadowed: u32,
    /// After which time the window of each charge ends, in the order of the charges; zero for a charge without a window. May be empty if there is none.
    pub windows: Vec<Duration>,
    /// How many more requests were charged, see [`StoreCall::lease`].
    pub leased: u32,
    /// For how long from now each subject is blocked, in the order of the blocks. Zero if it is not blocked.
    pub blocked_for: Vec<Duration>,
    /// Whether all slots are taken.
    pub is_busy: bool,
}

impl StoreAnswer {
    /// Whether the charge at this position was left out in shadow mode.
    pub(crate) fn is_shadowed(&self, at: usize) -> bool {
        let shadowed = u32::try_from(at).ok().and_then(|at| self.shadowed.checked_shr(at));
        shadowed.is_some_and(|shadowed| shadowed & 1 == 1)
    }
}

/// Why a [`LimitStore`] failed. It is logged, and never sent to a client.
#[derive(Debug)]
pub struct StoreError {
    cause: Box<dyn std::error::Error + Send + Sync>,
    is_of_keys: bool,
}

impl StoreError {
    /// Returns an error with this cause. If at least half of the recent calls fail, the store counts as unreachable.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { cause: cause.into(), is_of_keys: false }
    }

    /// Returns an error that concerns only the keys of this call, such as a key that must not be written. The store counts as reachable; only requests
    /// with these keys are decided without it.
    pub fn of_keys(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { cause: cause.into(), is_of_keys: true }
    }

    pub(crate) fn is_of_keys(&self) -> bool {
        self.is_of_keys
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shared store of the rate limiter failed: {}", self.cause)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

/// What a limiter does while its shared store is unreachable.
///
/// In each mode, a client that this server knows to be blocked, or to have used up its quota at the last answer of the store, is refused until that
/// time is over.
///
/// # What is admitted in the worst case
///
/// For a quota with a burst of `Q` requests, of which `R` come back during the time that is considered:
///
/// | the store | `Local { servers }` | `Allow` | `Deny` |
/// | --- | --- | --- | --- |
/// | answers within the deadline | `Q + R` | `Q + R` | `Q + R` |
/// | answers late, but within ten deadlines | `Q + R`, see below | `Q + R`, see below | `Q + R` |
/// | is unreachable for all servers | `Q + R` if all servers know the state of the client, `2 (Q + R)` if none does | no limit | `Q + R` |
/// | is unreachable for some servers | `2 (Q + R)` | no limit | `Q + R` |
/// | is unreachable, and a server restarts | one more share, `(Q + R) / servers`, for each restart | no limit | `Q + R` |
/// | has lost its data, or evicted keys | `Q` more | `Q` more | `Q` more |
///
/// `Q` counts as at least `servers` here: a share is at least one request. Where `servers` is less than the number of servers that are cut off, each of
/// these admits `(Q + R) / servers`: with the default of 1, all of it.
///
/// A response that is late does not show yet whether the store is reachable. The first time that this happens, a request is decided as if it were not.
/// From the first late answer on, and for 60 s after the last one, requests wait for up to ten deadlines, and nothing is decided without the store. A
/// late answer to a request that was decided here is taken into account: a charge of the store pays for a charge that was made here.
///
/// A request that was admitted without the store is charged later, also if it no longer fits: its client then waits for longer, by up to the time in
/// which the burst comes back. So what exceeds the quota is owed, and over a long time no more than the quota is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhileUnreachable {
    /// Each server decides alone, on its share of each quota and of the slots, and continues from the last known state. When the store is reachable
    /// again, all servers send what they have admitted before they use its answers, so nothing is admitted twice.
    ///
    /// A share is `1 / servers` of what is left of the quota as far as this server knows. It is at least one request, which comes back in the time of the
    /// whole quota. If there are more servers than the burst has requests, each of them admits one.
    Local {
        /// The number of servers that share the quota.
        servers: u32,
    },
    /// All other requests are passed on without being counted.
    Allow,
    /// All other requests are refused with 503.
    Deny,
}

/// A [`LimitStore`], and how a limiter uses it. See [`RateLimit::shared`](crate::RateLimit::shared).
///
/// Clone it for all limiters of a program. They then have one connection, one circuit breaker and one task that probes the store; and two limiters
/// with the same name, which would share a count by mistake, are an error where the second one is built.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_chain::middleware::rate_limit::{RedisStore, SharedLimits, WhileUnreachable};
/// use tower_chain::RateLimit;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shared = SharedLimits::new(RedisStore::new("redis://127.0.0.1/")?)
///     .prefix("api")
///     .deadline(Duration::from_millis(20))
///     .while_unreachable(WhileUnreachable::Local { servers: 4 });
/// let limit = RateLimit::per_minute(600).shared("search", shared);
/// # let _ = limit;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedLimits {
    pub(crate) store: Arc<dyn LimitStore>,
    pub(crate) prefix: String,
    pub(crate) deadline: Duration,
    pub(crate) while_unreachable: WhileUnreachable,
    pub(crate) lease: u32,
    pub(crate) longest_request: Duration,
    pub(crate) health: Arc<StoreHealth>,
    names: Arc<Mutex<SharedNames>>,
}

/// The limiters that use clones of one [`SharedLimits`]: prefix and name of each, and its memory, which a limiter has in common with its clones.
type SharedNames = HashMap<String, Weak<LocalMemory>>;

impl SharedLimits {
    /// Settings with this store, and the defaults.
    pub fn new(store: impl LimitStore) -> Self {
        Self {
            store: Arc::new(store),
            prefix: "limit".to_owned(),
            deadline: Duration::from_millis(50),
            while_unreachable: WhileUnreachable::Local { servers: 1 },
            lease: 0,
            longest_request: Duration::from_secs(60),
            health: Arc::default(),
            names: Arc::default(),
        }
    }

    /// Sets the prefix of all keys, such as the name of the application. The [name of the limiter](crate::RateLimit::shared) follows it. Defaults to
    /// `limit`.
    ///
    /// Braces are removed from it: they mark the hash tag, which selects the node of a cluster.
    ///
    /// # Panics
    ///
    /// If [`try_prefix`](SharedLimits::try_prefix) fails.
    #[track_caller]
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        checked(self.try_prefix(prefix))
    }

    /// Sets a [prefix](SharedLimits::prefix) that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::StorePrefix`] if it contains nothing but braces: an empty hash tag would spread the keys of one request over the nodes of a
    /// cluster.
    pub fn try_prefix(mut self, prefix: impl Into<String>) -> Result<Self, RateLimitError> {
        self.prefix = prefix.into();
        self.prefix.retain(|c| c != '{' && c != '}');
        if self.prefix.is_empty() {
            return Err(RateLimitError::StorePrefix);
        }
        Ok(self)
    }

    /// Reserves the name of a limiter for the limiter with this memory, and adds it to the prefix. Fails if another limiter has it.
    pub(crate) fn reserve(
        mut self,
        name: &str,
        memory: &Arc<LocalMemory>,
    ) -> Result<Self, RateLimitError> {
        if !is_name(name) {
            return Err(RateLimitError::Name(name.to_owned()));
        }
        self.prefix = format!("{}:{name}", self.prefix);
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let other = names.get(&self.prefix).and_then(Weak::upgrade);
        if other.is_some_and(|other| !Arc::ptr_eq(&other, memory)) {
            return Err(RateLimitError::SharedName(name.to_owned()));
        }
        names.insert(self.prefix.clone(), Arc::downgrade(memory));
        drop(names);
        Ok(self)
    }

    /// Checks that the store can decide the quota of a policy.
    pub(crate) fn check_window(&self, policy: &Policy) -> Result<(), RateLimitError> {
        match policy.quota().rate().is_window() && !self.store.supports_windows() {
            true => Err(RateLimitError::WindowInStore),
            false => Ok(()),
        }
    }

    /// Transfers the names that a limiter has reserved to its new memory.
    pub(crate) fn replace_memory(&self, before: &Arc<LocalMemory>, memory: &Arc<LocalMemory>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in names.values_mut() {
            if owner.upgrade().is_some_and(|owner| Arc::ptr_eq(&owner, before)) {
                *owner = Arc::downgrade(memory);
            }
        }
    }

    /// Sets how long a request waits for the store. Defaults to 50 ms.
    ///
    /// A store whose answers come after the deadline is not unreachable: from the first such answer on, and for 60 s after the last one, requests wait
    /// for up to ten deadlines. Choose a deadline well above the usual time of a call, which for a store in another region includes its distance.
    ///
    /// If at least half of the last 16 calls fail or are not answered, and at least five of them, no request waits. One task for all limiters on the
    /// store then probes it three to six times a second. The store is used again after it has decided for half a second, in which each server sends
    /// what the store has missed. The deadline does not concern connections: they are opened in the background.
    ///
    /// Each change between these states is logged once, at the level `warn`.
    ///
    /// # Panics
    ///
    /// If [`try_deadline`](SharedLimits::try_deadline) fails.
    #[track_caller]
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        checked(self.try_deadline(deadline))
    }

    /// Sets a [deadline](SharedLimits::deadline) that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::ZeroTime`] if it is zero: no answer would be in time.
    pub fn try_deadline(mut self, deadline: Duration) -> Result<Self, RateLimitError> {
        if deadline.is_zero() {
            return Err(RateLimitError::ZeroTime("the deadline of a shared store"));
        }
        self.deadline = deadline;
        Ok(self)
    }

    /// Sets how many requests of a client a server may pay for in advance, to admit them without a call. Defaults to 0.
    ///
    /// For clients with very many requests. A lease is at most a twentieth of the burst of each policy, and the quota is never exceeded. The part
    /// that is not used within ten seconds is lost to the client; so is the rest of a lease when this server [blocks](crate::middleware::rate_limit::PolicyHandle::block),
    /// charges or resets the client. Another server may use its own lease until then. A lease pays for requests of the same client, under the same
    /// policies and at the same cost. It has no effect on limiters with [`concurrency`](crate::RateLimit::concurrency) or
    /// [`delay`](crate::RateLimit::delay), which need a call for each request, or whose policies count under several keys.
    #[must_use]
    pub fn lease(mut self, requests: u32) -> Self {
        self.lease = requests;
        self
    }

    /// Sets after which time the slots of a server that crashed are free, for limiters with [`concurrency`](crate::RateLimit::concurrency). Defaults
    /// to 60 s.
    ///
    /// A slot in the store expires after this time. While its work runs, this server renews it each third of that time, however long the work takes. If
    /// that fails, because the store is unreachable or late, it is tried again each sixth; a slot that has expired or was lost meanwhile is taken again,
    /// also if other servers have given it to others. Work that was admitted without the store takes its slot in the same way, once the store is
    /// reachable. In a store that [does not renew](LimitStore::supports_renewal), a request that takes longer is no longer counted.
    ///
    /// # Panics
    ///
    /// If [`try_longest_request`](SharedLimits::try_longest_request) fails.
    #[track_caller]
    #[must_use]
    pub fn longest_request(self, longest: Duration) -> Self {
        checked(self.try_longest_request(longest))
    }

    /// Sets a [longest request](SharedLimits::longest_request) that comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::ZeroTime`] if it is zero: each slot would expire at once.
    pub fn try_longest_request(mut self, longest: Duration) -> Result<Self, RateLimitError> {
        if longest.is_zero() {
            return Err(RateLimitError::ZeroTime("the longest request of a shared store"));
        }
        self.longest_request = longest;
        Ok(self)
    }

    /// Sets the behaviour while the store is unreachable. Defaults to [`WhileUnreachable::Local`] with one server.
    ///
    /// # Panics
    ///
    /// If [`try_while_unreachable`](SharedLimits::try_while_unreachable) fails.
    #[track_caller]
    #[must_use]
    pub fn while_unreachable(self, mode: WhileUnreachable) -> Self {
        checked(self.try_while_unreachable(mode))
    }

    /// Sets a [behaviour](SharedLimits::while_unreachable) whose number of servers comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::ZeroServers`] if the number of servers is 0.
    pub fn try_while_unreachable(mut self, mode: WhileUnreachable) -> Result<Self, RateLimitError> {
        if mode == (WhileUnreachable::Local { servers: 0 }) {
            return Err(RateLimitError::ZeroServers);
        }
        self.while_unreachable = mode;
        Ok(self)
    }
}

impl fmt::Debug for SharedLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLimits")
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .field("while_unreachable", &self.while_unreachable)
            .finish_non_exhaustive()
    }
}

/// A store may count in microseconds.
const MICROSECOND: Duration = Duration::from_micros(1);
