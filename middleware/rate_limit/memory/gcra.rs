//! One check of one key, and how `governor` decides it by GCRA. The state of GCRA is a single time per key, the theoretical arrival time: until when
//! the key is charged. Each request moves it by one interval into the future, and a request is refused if it would then be further ahead than the
//! burst takes to come back. Time itself drains the charge, so nothing has to be counted down.

use std::cell::Cell;
use std::num::NonZeroU32;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;

use crate::middleware::rate_limit::config::quota::Rate;

/// One check of one key for one request: first what to check, then also the result.
#[derive(Clone, Debug)]
pub(crate) struct KeyCheck {
    pub(crate) shard: usize,
    pub(crate) key: u64,
    /// The kind of key: `policy * LEVELS + level` for charges, or one of the constants below plus the number of the key. It also selects the overflow
    /// counter if the table is full.
    pub(crate) segment: u8,
    pub(crate) kind: CheckKind,
    /// Until when the key is charged: before the decision, or after it if it was charged.
    pub(crate) until: u64,
    /// How many requests of the key are in flight, including this one.
    pub(crate) count: u32,
    pub(crate) outcome: CheckOutcome,
    /// Whether the table had no slot for the key.
    pub(crate) overflowed: bool,
    /// The slot in which the key was found.
    pub(crate) at: Option<usize>,
    /// Whether the charge may be refunded, and its number among the charges that may.
    pub(crate) refundable: bool,
    pub(crate) number: u64,
    /// Whether the cost of the charge is settled after the request.
    pub(crate) settles: bool,
    /// Whether the policy refuses nothing. If the charge does not fit, it is not made.
    pub(crate) shadow: bool,
}

/// What to check for a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CheckKind {
    /// Whether `cost` more requests fit into the quota. They may wait for as long as `further` requests take to come back.
    Charge { rate: Rate, cost: u32, further: u32 },
    /// Whether fewer than `most` requests are in flight.
    Slot { most: u32 },
    /// Whether the subject is not blocked.
    NotBlocked,
}

impl CheckKind {
    pub(crate) fn is_block(&self) -> bool {
        matches!(self, Self::NotBlocked)
    }

    pub(crate) fn is_charge(&self) -> bool {
        matches!(self, Self::Charge { .. })
    }
}

/// The result of a [`KeyCheck`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckOutcome {
    Admitted,
    /// Refused. It would be admitted after this many nanoseconds.
    Wait(u64),
    /// The cost is above the burst: it will never be admitted.
    Never,
    /// All slots are taken. Another request must end first.
    Busy,
}

impl KeyCheck {
    pub(crate) fn new(shard: usize, key: u64, segment: u8, kind: CheckKind) -> Self {
        Self {
            shard,
            key,
            segment,
            kind,
            until: 0,
            count: 0,
            outcome: CheckOutcome::Admitted,
            overflowed: false,
            at: None,
            refundable: false,
            number: 0,
            settles: false,
            shadow: false,
        }
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.outcome == CheckOutcome::Admitted
    }

    /// Whether the check refuses the request.
    pub(crate) fn refuses(&self) -> bool {
        !self.is_admitted() && !self.shadow
    }

    /// Whether a charge has a receipt, if the request is admitted: it was made, and costs something or is settled later.
    pub(crate) fn has_receipt(&self) -> bool {
        self.is_admitted() && self.costs()
    }

    fn costs(&self) -> bool {
        self.settles || matches!(self.kind, CheckKind::Charge { cost: 1.., .. })
    }

    /// Whether this is a charge of a policy, and not a block, a slot or a strike.
    pub(crate) fn is_of_policy(&self) -> bool {
        self.segment < ENTER
    }
}

/// What a decision has taken, so that it can be returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) shard: usize,
    pub(crate) key: u64,
    pub(crate) segment: u8,
    pub(crate) overflowed: bool,
    pub(crate) taken: ReceiptKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ReceiptKind {
    /// A charge of `cost`, under `number` among the charges that may be refunded. It has drained at `end` at the latest.
    Time {
        rate: Rate,
        cost: u32,
        number: u64,
        end: u64,
    },
    Slot,
}

impl Receipt {
    /// The receipt of an admitted check. `None` if the check took nothing.
    pub(crate) fn of(check: &KeyCheck) -> Option<Self> {
        let taken = match check.kind {
            CheckKind::Charge { rate, cost, .. } if check.has_receipt() => {
                let &KeyCheck { number, until: end, .. } = check;
                ReceiptKind::Time { rate, cost, number, end }
            }
            CheckKind::Slot { .. } => ReceiptKind::Slot,
            CheckKind::Charge { .. } | CheckKind::NotBlocked => return None,
        };
        let &KeyCheck { shard, key, segment, overflowed, .. } = check;
        Some(Self { shard, key, segment, overflowed, taken })
    }

    /// Whether this is a charge, and not a slot.
    pub(crate) fn is_charge(&self) -> bool {
        matches!(self.taken, ReceiptKind::Time { .. })
    }
}

/// A charge, as `governor` decides it.
pub(crate) struct GovernorCheck {
    limiter: governor::RateLimiter<u64, SingleState, DecisionTime, NoOpMiddleware<Nanos>>,
    cost: NonZeroU32,
}

impl GovernorCheck {
    /// Prepares a charge of `cost` requests of which `further` may wait. `Err` is an outcome that does not depend on the state of the key.
    pub(crate) fn new(rate: Rate, further: u32, cost: u32, now: u64) -> Result<Self, CheckOutcome> {
        let (Some(cost), Some(quota)) = (NonZeroU32::new(cost), rate.governed(further)) else {
            return Err(CheckOutcome::Admitted);
        };
        if cost > quota.burst_size() {
            // Checked here, because the multiplication inside of `governor` could wrap.
            return Err(CheckOutcome::Never);
        }
        let limiter =
            governor::RateLimiter::new(quota, SingleState::default(), DecisionTime(Cell::new(0)));
        limiter.clock().0.set(now);
        Ok(Self { limiter, cost })
    }

    /// Decides on a key that is charged until then. Also returns until when it is charged if the request is admitted.
    pub(crate) fn decide(self, until: u64) -> (CheckOutcome, Option<u64>) {
        match self.limiter.check_key_n(&until, self.cost) {
            Ok(Ok(())) => (CheckOutcome::Admitted, Some(self.limiter.into_state_store().0.get())),
            Ok(Err(refused)) => {
                let wait = refused.earliest_possible().duration_since(self.limiter.clock().now());
                (CheckOutcome::Wait(wait.as_u64()), None)
            }
            Err(_) => (CheckOutcome::Never, None),
        }
    }
}

/// Lets `governor` decide whether `cost` requests fit, and until when the key is charged if they do.
pub(crate) fn governed(
    rate: Rate,
    further: u32,
    cost: u32,
    until: u64,
    now: u64,
) -> (CheckOutcome, Option<u64>) {
    match GovernorCheck::new(rate, further, cost, rate.origin(until, now)) {
        Ok(governed) => match governed.decide(until) {
            (CheckOutcome::Wait(over), until_now) => {
                (CheckOutcome::Wait(rate.wait(over, until, now)), until_now)
            }
            decided => decided,
        },
        Err(outcome) => (outcome, None),
    }
}

/// A store with a single state, which is its key: `governor` reads it and writes the new one here. The shard is locked meanwhile.
#[derive(Debug, Default)]
struct SingleState(Cell<u64>);

impl StateStore for SingleState {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, until: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (result, next) = f((*until > 0).then(|| Nanos::new(*until)))?;
        self.0.set(next.as_u64());
        Ok(result)
    }
}

/// The time of the decision. It is 0 while the limiter is built, because `governor` measures all times from then on. Its times are then those of our
/// clock.
#[derive(Debug)]
struct DecisionTime(Cell<u64>);

impl Clock for DecisionTime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.get())
    }
}

/// The key of one segment of a client. The multiples are spread evenly over all 64 bits, so the segments of a client do not collide with each other.
pub(crate) fn mix(hash: u64, segment: u8) -> u64 {
    hash ^ (u64::from(segment) + 1).wrapping_mul(SPREAD)
}

/// 2^64 divided by the golden ratio: its multiples are spread evenly.
pub(crate) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The segments that are not charges of a policy. Those come first: 8 policies with 3 levels each. Each of these segments has one number for the key of
/// the limiter and one for the key of each policy.
pub(crate) const ENTER: u8 = 24;
pub(crate) const BLOCK: u8 = 33;
pub(crate) const STRIKE: u8 = 42;
pub(crate) const BLOCKED_BEFORE: u8 = 51;
