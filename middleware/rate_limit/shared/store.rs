//! A memory that several servers share, and what is done while it is away.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::middleware::rate_limit::config::quota::{RateLimitError, checked};

/// A memory that several servers share.
///
/// Of each key it holds one time: until when the key is charged, by the clock of the store. The decisions are those of GCRA:
/// a charge of `cost` fits if, afterwards, the key is charged for no longer than `burst` requests take. All that one call asks is decided together: if one
/// charge does not fit, none is made. An implementation makes each call one round trip, and puts a time to live on every key.
///
/// A call whose answer comes too late is heard nevertheless: don't cancel it. Whether a call that failed was made is not known; a limiter makes
/// none twice that would change something twice.
///
/// # Example
///
/// The whole of a store, for the servers of one process. One over a network says the same in the words of its database.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Mutex, PoisonError};
/// use std::time::{Duration, Instant};
///
/// use tower_chain::middleware::rate_limit::{
///     LimitStore, StoreAnswer, StoreCall, StoreFuture, StorePlace,
/// };
/// use tower_chain::{RateLimit, SharedLimits};
///
/// #[derive(Default)]
/// struct Shelf(Mutex<Times>);
///
/// #[derive(Default)]
/// struct Times {
///     charged: HashMap<String, Instant>,
///     places: HashMap<String, HashMap<String, Instant>>,
/// }
///
/// impl Shelf {
///     fn ask<'a, T: Send + 'a>(&'a self, f: impl FnOnce(&mut Times, Instant) -> T) -> StoreFuture<'a, T> {
///         let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let now = Instant::now();
///         times.charged.retain(|_, until| *until > now);
///         times.places.values_mut().for_each(|taken| taken.retain(|_, until| *until > now));
///         times.places.retain(|_, taken| !taken.is_empty());
///         let answer = f(&mut times, now);
///         Box::pin(std::future::ready(Ok(answer)))
///     }
/// }
///
/// impl LimitStore for Shelf {
///     fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
///         self.ask(|times, now| {
///             let charged = |key: &String| times.charged.get(key).map_or(Duration::ZERO, |until| *until - now);
///             let mut answer = StoreAnswer { admitted: true, ..StoreAnswer::default() };
///             answer.blocked_for = call.block.as_ref().map_or(Duration::ZERO, charged);
///             if let Some(place) = &call.place {
///                 let taken = times.places.get(&place.key).map_or(0, HashMap::len);
///                 answer.is_busy = taken >= place.most as usize;
///             }
///             answer.admitted &= answer.blocked_for.is_zero() && !answer.is_busy;
///             // A store may always pay for fewer requests in advance than it is asked to: here for none.
///             let mut after = Vec::new();
///             for charge in &call.charges {
///                 let most = charge.interval * charge.burst;
///                 let before = charged(&charge.key).min(charge.longest);
///                 let time = before + charge.interval * charge.cost;
///                 answer.admitted &= charge.cost == 0 || call.forced || time <= most;
///                 after.push(time.min(most).max(before));
///                 answer.charged_for.push(before);
///             }
///             if answer.admitted {
///                 answer.charged_for = after;
///             }
///             for (charge, time) in call.charges.iter().zip(&answer.charged_for) {
///                 times.charged.insert(charge.key.clone(), now + *time);
///             }
///             if let (true, Some(place)) = (answer.admitted, &call.place) {
///                 let taken = times.places.entry(place.key.clone()).or_default();
///                 taken.insert(place.id.clone(), now + place.longest);
///             }
///             answer
///         })
///     }
///
///     fn give_back<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
///         self.ask(|times, now| {
///             for (key, time) in keys {
///                 if let Some(until) = times.charged.get_mut(key) {
///                     *until = until.checked_sub(*time).unwrap_or(now);
///                 }
///             }
///         })
///     }
///
///     fn leave<'a>(&'a self, place: &'a StorePlace) -> StoreFuture<'a, ()> {
///         self.ask(|times, _| {
///             if let Some(taken) = times.places.get_mut(&place.key) {
///                 taken.remove(&place.id);
///             }
///         })
///     }
///
///     fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()> {
///         self.ask(|times, _| times.charged.retain(|key, _| !keys.contains(key)))
///     }
///
///     fn ping(&self) -> StoreFuture<'_, ()> {
///         self.ask(|_, _| ())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let shared = SharedLimits::new(Shelf::default());
/// let servers = [(); 2].map(|()| RateLimit::per_minute(3).shared(shared.clone()).handle());
/// assert!(servers[0].admit("ann", 2).await.is_ok());
/// assert!(servers[1].admit("ann", 1).await.is_ok());
/// assert!(servers[0].admit("ann", 1).await.is_err());
/// # }
/// ```
pub trait LimitStore: Send + Sync + 'static {
    /// Decides one request: makes its charges, all or none.
    fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer>;

    /// Takes charges back: each key is charged for so much less time, but never for less than none.
    fn refund<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()>;

    /// Frees the place of a request that has ended.
    fn release<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()>;

    /// Forgets these keys.
    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()>;

    /// Asks whether the store is there, over a connection anew if need be.
    fn ping(&self) -> StoreFuture<'_, ()>;
}

/// What a [`LimitStore`] gives back.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What a [`LimitStore`] is asked for one request. All keys in it have the same hash tag in braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCall {
    /// The charges, one for each policy and network of the client.
    pub charges: Vec<StoreCharge>,
    /// The key of a block. If it is charged at all, the request is refused, whatever it costs.
    pub block: Option<String>,
    /// The place that the request takes among those of its client that are under way.
    pub slot: Option<StoreSlot>,
    /// Charges as much as fits instead of refusing.
    pub forced: bool,
    /// For how many more requests like this one to charge if this one is admitted, as far as they fit: they will be made without asking.
    pub lease: u32,
}

/// One charge that a [`LimitStore`] is asked to make.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCharge {
    /// The name of the key.
    pub key: String,
    /// In which time one request comes back.
    pub interval: Duration,
    /// For how many requests a key may be charged at most.
    pub burst: u32,
    /// How many requests to charge for; 0 to look only.
    pub cost: u32,
    /// For how long from now the key may be charged at all. A store shortens a longer charge to this, also where the request is refused.
    ///
    /// It is 100 years, except where an operator sets the time of a [block](crate::RateLimitHandle::block): what is stored may have been charged under a
    /// quota that this server does not know, so a store never shortens it on its own. A store whose clock may be set back remembers how long each key
    /// was charged for when it was written, and shortens a charge to that.
    pub longest: Duration,
}

/// The place of a request among those of its client that are under way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSlot {
    /// The name of the key that holds the places of the client.
    pub key: String,
    /// What tells this request from all others.
    pub id: String,
    /// How many places there are.
    pub most: u32,
    /// When the place is free again if nobody frees it: the server may have died.
    pub longest: Duration,
}

/// What a [`LimitStore`] decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreAnswer {
    /// Whether the request is admitted: the charges were made and the place was taken.
    pub admitted: bool,
    /// For which time from now each key is charged, in the order of the charges, with those that were made.
    pub charged_for: Vec<Duration>,
    /// For how many requests more was charged, as [`StoreCall::lease`] asked.
    pub leased: u32,
    /// For which time from now the block holds; zero if there is none.
    pub blocked_for: Duration,
    /// Whether there was no place.
    pub is_busy: bool,
}

/// Why a [`LimitStore`] could not answer. It goes to the log, never to a client.
#[derive(Debug)]
pub struct StoreError(Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// An error with this cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shared store of the rate limiter failed: {}", self.0)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

/// What a limiter does while its shared store is away.
///
/// In each mode a client is refused that this server knows to be blocked, or to have used up its quota when the store was last heard of, until the time
/// is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhileUnreachable {
    /// Every server goes on by itself with its share of each quota and of the requests under way, from where the store left off. What it admits meanwhile
    /// is told to the store when it is back, before anybody goes by what the store says: nothing is admitted twice.
    ///
    /// A share is at least one request at a time, which comes back in the time in which the whole quota does. So where there are more servers than the
    /// quota has requests at once, all of them together admit one each.
    Local {
        /// How many servers share the quota.
        servers: u32,
    },
    /// Every other request is let through, and isn't counted.
    Allow,
    /// Every other request is refused with 503.
    Deny,
}

/// A [`LimitStore`] and how a limiter uses it. See [`RateLimit::shared`](crate::RateLimit::shared).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tower_chain::{RateLimit, RedisStore, SharedLimits, WhileUnreachable};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shared = SharedLimits::new(RedisStore::new("redis://127.0.0.1/")?)
///     .prefix("api")
///     .deadline(Duration::from_millis(20))
///     .while_unreachable(WhileUnreachable::Local { servers: 4 });
/// let limit = RateLimit::per_minute(600).shared(shared);
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
}

impl SharedLimits {
    /// Uses this store.
    pub fn new(store: impl LimitStore) -> Self {
        Self {
            store: Arc::new(store),
            prefix: "limit".to_owned(),
            deadline: Duration::from_millis(50),
            while_unreachable: WhileUnreachable::Local { servers: 1 },
            lease: 0,
            longest_request: Duration::from_secs(60),
        }
    }

    /// Sets the first part of the names of all keys. Limiters with the same prefix and the same policy names share their counts; with the same names of all
    /// policies also their blocks and their requests under way. Defaults to `limit`.
    ///
    /// Braces in it are dropped: they mark which part of a name chooses the node of a cluster.
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
    /// [`RateLimitError::StorePrefix`] if nothing is in it but braces: an empty tag would spread the keys of one request over the nodes of a
    /// cluster.
    pub fn try_prefix(mut self, prefix: impl Into<String>) -> Result<Self, RateLimitError> {
        self.prefix = prefix.into();
        self.prefix.retain(|c| c != '{' && c != '}');
        if self.prefix.is_empty() {
            return Err(RateLimitError::StorePrefix);
        }
        Ok(self)
    }

    /// Sets how long a request waits for the store at most. Defaults to 50 ms.
    ///
    /// After five failures in a row requests don't wait at all; a probe asks six times a second whether the store is back. It is asked again once it has
    /// answered for half a second, in which each server tells it what it missed.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many requests of a client a server pays for in advance, so that it needn't ask for each. Defaults to 0.
    ///
    /// For clients with very many requests. It is at most a twentieth of the burst of each policy. What is paid for and not used within ten
    /// seconds is lost to the client, as is what was left of it when the client is [blocked](crate::RateLimitHandle::block), charged or reset by this server;
    /// another one may admit what it was paid for until then. The quota is never exceeded. It pays for requests that are like the one which asked: of the same
    /// client, under the same policies, at the same cost. It does nothing for limiters with [`concurrency`](crate::RateLimit::concurrency) or
    /// [`delay`](crate::RateLimit::delay), where each request must be asked for.
    #[must_use]
    pub fn lease(mut self, requests: u32) -> Self {
        self.lease = requests;
        self
    }

    /// Sets how long a request under way keeps its place, for limiters with [`concurrency`](crate::RateLimit::concurrency). Defaults to 60 s.
    ///
    /// The places of a server that dies are free after this time; a request that takes longer no longer counts.
    #[must_use]
    pub fn longest_request(mut self, longest: Duration) -> Self {
        self.longest_request = longest;
        self
    }

    /// Sets what is done while the store is away. Defaults to [`WhileUnreachable::Local`] with one server.
    #[must_use]
    pub fn while_unreachable(mut self, mode: WhileUnreachable) -> Self {
        self.while_unreachable = mode;
        self
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
