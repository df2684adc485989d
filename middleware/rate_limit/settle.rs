//! Costs that are known only after the request: how a policy learns them, and the charge of the difference.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use super::checks::{CheckPlan, SharedKeys};
use super::config::quota::Rate;
use super::limiter::Limiter;
use super::memory::gcra::{CheckKind, KeyCheck};

/// The cost of a response that is known only when its body ends, such as the tokens of a language model. For policies with
/// [`settle_at_end`](super::Policy::settle_at_end).
///
/// A handler puts a clone into the extensions of its response, and adds to it while it writes the body.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::rate_limit::{ActualCost, Policy, Quota};
/// use tower_chain::{Chain, RateLimit, Response};
///
/// async fn answer() -> Response {
///     let cost = ActualCost::new();
///     cost.add(1_200); // more is added while the body is written
///     let mut response = Response::new("hello".into());
///     response.extensions_mut().insert(cost);
///     response
/// }
///
/// let tokens = Policy::new("tokens", Quota::per_hour(50_000)).cost(500).settle_at_end();
/// let chain = Chain::new().use_(RateLimit::new(tokens)).post(answer);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Default)]
pub struct ActualCost(Arc<AtomicU64>);

impl ActualCost {
    /// A cost of zero. Clones have the same cost.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to the cost.
    pub fn add(&self, cost: u32) {
        // The sum of 2^32 such additions fits.
        self.0.fetch_add(cost.into(), Ordering::AcqRel);
    }

    /// The cost so far.
    pub fn get(&self) -> u32 {
        u32::try_from(self.0.load(Ordering::Acquire)).unwrap_or(u32::MAX)
    }
}

impl fmt::Debug for ActualCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ActualCost").field(&self.get()).finish()
    }
}

/// A charge that is made without a check: it may put its key into debt.
pub(crate) struct Debt {
    pub(crate) shard: usize,
    pub(crate) key: u64,
    pub(crate) segment: u8,
    pub(crate) overflowed: bool,
    /// The rate in the memory of this server: the share of this server, if the store was unreachable.
    pub(crate) rate: Rate,
    pub(crate) cost: u32,
    /// The name of the key in the shared store, and its full rate.
    pub(crate) name: Option<(String, Rate)>,
}

impl Limiter {
    /// Makes charges without a check. Each key owes at most what its policy allows; see [`Policy::max_debt`](super::Policy::max_debt).
    pub(crate) fn charge_debts(self: &Arc<Self>, debts: Vec<Debt>) {
        if debts.is_empty() {
            return;
        }
        let now = self.clock.now();
        let mut plan = CheckPlan::default();
        let (mut names, mut known) = (Vec::new(), Vec::new());
        for Debt { shard, key, segment, overflowed, rate, cost, name } in debts {
            let further = self.most_debt(segment, rate);
            let charged = (key, segment, overflowed);
            known.push(self.memory.charge_debt(shard, charged, rate, cost, further, now));
            let Some((name, full)) = name else { continue };
            names.push(name);
            let further = self.most_debt(segment, full);
            let kind = CheckKind::Charge { rate: full, cost, further };
            plan.checks.push(KeyCheck::new(shard, key, segment, kind));
        }
        plan.shared = Some(Box::new(SharedKeys { names, ..SharedKeys::default() }));
        let Some(shared_store) = self.shared_store().cloned() else { return };
        if plan.checks.is_empty() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                shared_store.charge_unchecked(&plan, &known, now).await;
            })),
            Err(_) => shared_store.record_local(&plan, 0, &known, now, None),
        }
    }
}
