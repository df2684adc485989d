//! The decision of a limiter, as handlers, observers and rejections see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::middleware::rate_limit::config::quota::Quota;

/// The decision of a limiter about a request. It does not identify the client.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::rate_limit::{Decision, Quota};
/// use tower_chain::{Chain, Provided, RateLimit};
///
/// async fn search(limit: Provided<Decision>) -> String {
///     // Cheaper work for who asks often.
///     let left = limit.standings().iter().map(|standing| standing.remaining()).min();
///     format!("{left:?} left")
/// }
///
/// let chain = Chain::new().use_(RateLimit::new(Quota::per_minute(60)).with_decision()).get(search);
/// # let _ = chain.build();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Decision(
    /// `None` if the request was skipped. Behind a pointer, because futures reserve space for a decision also where none is made.
    Option<Arc<DecisionData>>,
);

/// The data of a decision that was made.
#[derive(PartialEq, Eq)]
pub(crate) struct DecisionData {
    pub(crate) verdict: Verdict,
    pub(crate) client: Option<Pseudonym>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) standings: SmallVec<[Standing; 1]>,
}

/// Whether a request was admitted, and why or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The request is within all quotas.
    Admitted,
    /// A skip rule has passed the request on. Nothing was counted.
    Skipped,
    /// A quota is used up.
    Exceeded,
    /// The cost of the request is above the burst of a policy: it will never be admitted.
    TooCostly,
    /// Too many requests of the client are in flight.
    Busy,
    /// The client is blocked for a time, by a penalty or by hand.
    Blocked,
    /// The shared store is unreachable, and the mode is [`Deny`](crate::middleware::rate_limit::WhileUnreachable::Deny).
    Unavailable,
    /// All slots are taken, and too many requests of all clients [wait](crate::RateLimit::queue) for one.
    QueueFull,
}

impl Decision {
    pub(crate) fn skipped() -> Self {
        Self(None)
    }

    pub(crate) fn new(found: DecisionData) -> Self {
        Self(Some(Arc::new(found)))
    }

    /// Whether the request was admitted, and why or why not. In shadow mode, the verdict that would have been enforced.
    pub fn verdict(&self) -> Verdict {
        self.0.as_ref().map_or(Verdict::Skipped, |found| found.verdict)
    }

    /// Whether the request is within its limits, or was skipped.
    pub fn is_admitted(&self) -> bool {
        matches!(self.verdict(), Verdict::Admitted | Verdict::Skipped)
    }

    /// A pseudonym of the client for logs and metrics. `None` if the request was skipped, or if no policy applied.
    pub fn client(&self) -> Option<Pseudonym> {
        self.0.as_ref()?.client
    }

    /// After which time a refused client should try again, in whole seconds, rounded up. `None` if the request was admitted, or if waiting does not
    /// help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.as_ref()?.retry_after
    }

    /// The state of the client for each policy that applied.
    pub fn standings(&self) -> &[Standing] {
        self.0.as_ref().map_or(&[], |found| &found.standings)
    }

    /// The policies that refused the request.
    pub fn violated(&self) -> impl Iterator<Item = &str> {
        let violated = self.standings().iter().filter(|standing| standing.violated);
        violated.filter(|standing| !standing.shadow).map(Standing::policy)
    }

    /// The policies in [shadow mode](crate::middleware::rate_limit::Policy::shadow) that would have refused the request.
    pub fn shadowed(&self) -> impl Iterator<Item = &str> {
        let violated = self.standings().iter().filter(|standing| standing.violated);
        violated.filter(|standing| standing.shadow).map(Standing::policy)
    }

    /// Whether a fifth or less of a quota is left.
    pub fn is_near_limit(&self) -> bool {
        let mut standings = self.standings().iter().filter(|standing| !standing.shadow);
        standings.any(|s| u64::from(s.remaining) * 5 <= u64::from(s.limit()))
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("verdict", &self.verdict())
            .field("client", &self.client())
            .field("retry_after", &self.retry_after())
            .field("standings", &self.standings())
            .finish()
    }
}

/// A pseudonym of a client: a hash with a key that only this process has. It does not reveal the client.
///
/// It is equal for all requests of a client until the server is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pseudonym(pub(crate) u64);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The state of a client for one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub(crate) policy: Arc<str>,
    pub(crate) quota: Quota,
    pub(crate) remaining: u32,
    pub(crate) reset: Duration,
    pub(crate) full: Duration,
    pub(crate) violated: bool,
    pub(crate) shadow: bool,
}

impl Standing {
    /// The name of the policy.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The quota.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// How many requests may be made at once after a pause.
    pub fn limit(&self) -> u32 {
        self.quota.burst_size()
    }

    /// How many more requests may be made now.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// How many requests have been made and have not come back yet.
    pub fn used(&self) -> u32 {
        self.limit().saturating_sub(self.remaining)
    }

    /// After which time one more request may be made. Zero if none was used.
    pub fn reset(&self) -> Duration {
        self.reset
    }

    /// After which time the whole quota will have come back.
    pub fn full(&self) -> Duration {
        self.full
    }

    /// Whether this policy refused the request, or would have done so without its shadow mode.
    pub fn is_violated(&self) -> bool {
        self.violated
    }
}
