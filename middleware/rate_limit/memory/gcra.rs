//! One question about one key, and how `governor` answers it.

use std::cell::Cell;
use std::num::NonZeroU32;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;

use crate::middleware::rate_limit::config::quota::Rate;

/// One policy, on one key, for one request: what is asked, and once decided, what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) shard: usize,
    pub(crate) key: u64,
    /// Which of the shared limiters takes over where there is no room.
    pub(crate) segment: u8,
    pub(crate) ask: Ask,
    /// Until when the key is charged: before the decision, or after it if it was charged.
    pub(crate) until: u64,
    /// How many requests of the key are under way, with this one.
    pub(crate) count: u32,
    pub(crate) outcome: Outcome,
    /// Whether there was no room for the key.
    pub(crate) overflowed: bool,
    /// Where the key was found.
    pub(crate) at: Option<usize>,
    /// For how many nanoseconds the key may be charged. `u64::MAX` unless an operator has replaced the quota that it was charged under.
    pub(crate) reach: u64,
    /// Whether it was charged for longer, and is shortened.
    pub(crate) cut: bool,
    /// Whether the charge may be taken back, and its number among those that may.
    pub(crate) returnable: bool,
    pub(crate) number: u64,
}

/// What is asked of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    /// Is there quota for `cost` requests? They may wait for as long as `further` requests take to come back.
    Charge { rate: Rate, cost: u32, further: u32 },
    /// Are fewer than so many requests under way?
    Enter { most: u32 },
    /// Is it free of a block?
    Free,
}

impl Ask {
    pub(crate) fn is_free(&self) -> bool {
        matches!(self, Self::Free)
    }

    pub(crate) fn is_charge(&self) -> bool {
        matches!(self, Self::Charge { .. })
    }
}

/// What was found for one [`Check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Admitted,
    /// So many nanoseconds more.
    Wait(u64),
    /// The cost is above the burst.
    Never,
    /// Somebody else's request must end first.
    Busy,
}

impl Check {
    pub(crate) fn new(shard: usize, key: u64, segment: u8, ask: Ask) -> Self {
        Self {
            shard,
            key,
            segment,
            ask,
            until: 0,
            count: 0,
            outcome: Outcome::Admitted,
            overflowed: false,
            at: None,
            reach: u64::MAX,
            cut: false,
            returnable: false,
            number: 0,
        }
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.outcome == Outcome::Admitted
    }

    /// Whether it is one of a policy, and not of a block, a place or a strike.
    pub(crate) fn is_of_policy(&self) -> bool {
        self.segment < ENTER
    }
}

/// What may be taken back of a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt {
    pub(crate) shard: usize,
    pub(crate) key: u64,
    pub(crate) segment: u8,
    pub(crate) overflowed: bool,
    pub(crate) taken: Taken,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Taken {
    /// So many nanoseconds, under this number among those that may be taken back, of which the last are over at `end` at the latest.
    Time {
        nanos: u64,
        number: u64,
        end: u64,
    },
    Place,
}

impl Receipt {
    /// The receipt of an admitted check; `None` if it took nothing.
    pub(crate) fn of(check: &Check) -> Option<Self> {
        let taken = match check.ask {
            Ask::Charge { rate, cost, .. } if cost > 0 => {
                let &Check { number, until: end, .. } = check;
                Taken::Time { nanos: rate.charge(cost), number, end }
            }
            Ask::Enter { .. } => Taken::Place,
            Ask::Charge { .. } | Ask::Free => return None,
        };
        let &Check { shard, key, segment, overflowed, .. } = check;
        Some(Self { shard, key, segment, overflowed, taken })
    }

    /// Whether it is for time, and not for a place.
    pub(crate) fn is_charge(&self) -> bool {
        matches!(self.taken, Taken::Time { .. })
    }
}

/// What is asked of a key, in the words of `governor`, which decides on it.
pub(crate) struct Governed {
    limiter: governor::RateLimiter<u64, Next, Now, NoOpMiddleware<Nanos>>,
    cost: NonZeroU32,
}

impl Governed {
    /// Asks whether `cost` requests fit now, where `further` ones may wait. The error is an outcome for which no key need be known.
    pub(crate) fn new(rate: Rate, further: u32, cost: u32, now: u64) -> Result<Self, Outcome> {
        let (Some(cost), Some(quota)) = (NonZeroU32::new(cost), rate.governed(further)) else {
            return Err(Outcome::Admitted);
        };
        if cost > quota.burst_size() {
            // Asked here, since the multiplication inside could wrap.
            return Err(Outcome::Never);
        }
        let limiter = governor::RateLimiter::new(quota, Next::default(), Now(Cell::new(0)));
        limiter.clock().0.set(now);
        Ok(Self { limiter, cost })
    }

    /// Decides on a key that is charged until then, and until when it is charged if the request is admitted.
    pub(crate) fn decide(self, until: u64) -> (Outcome, Option<u64>) {
        match self.limiter.check_key_n(&until, self.cost) {
            Ok(Ok(())) => (Outcome::Admitted, Some(self.limiter.into_state_store().0.get())),
            Ok(Err(refused)) => {
                let wait = refused.earliest_possible().duration_since(self.limiter.clock().now());
                (Outcome::Wait(wait.as_u64()), None)
            }
            Err(_) => (Outcome::Never, None),
        }
    }
}

/// Lets `governor` decide: whether `cost` requests fit, and until when the key is charged if they do.
pub(crate) fn governed(
    rate: Rate,
    further: u32,
    cost: u32,
    until: u64,
    now: u64,
) -> (Outcome, Option<u64>) {
    match Governed::new(rate, further, cost, now) {
        Ok(governed) => governed.decide(until),
        Err(outcome) => (outcome, None),
    }
}

/// The one value that a decision is about, as `governor` sees it: its key is what it is, and here is what it becomes. The shard is locked meanwhile.
#[derive(Debug, Default)]
struct Next(Cell<u64>);

impl StateStore for Next {
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

/// The time of a decision. It is 0 while the limiter is made, so that its times are those of our clock.
#[derive(Debug)]
struct Now(Cell<u64>);

impl Clock for Now {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.get())
    }
}

/// One key for each thing that is remembered of a client. Both are spread evenly, so that no two of them meet.
pub(crate) fn mix(hash: u64, segment: u8) -> u64 {
    hash ^ (u64::from(segment) + 1).wrapping_mul(SPREAD)
}

/// 2^64 by the golden ratio: its multiples are spread evenly.
pub(crate) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// The segments after those of the policies.
pub(crate) const ENTER: u8 = 24;
pub(crate) const BLOCK: u8 = 25;
pub(crate) const STRIKE: u8 = 26;
