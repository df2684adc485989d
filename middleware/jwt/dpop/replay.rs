//! Which proofs were used already.

use std::collections::HashSet;
use std::mem;
use std::sync::{Mutex, PoisonError};

use crate::middleware::jwt::refusal::Refusal;

/// The proofs of two spans of time. When a span is over, the proofs of the one before are too old to be accepted, and are forgotten.
pub(super) struct Replay {
    capacity: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    young: HashSet<Id>,
    old: HashSet<Id>,
    /// When `young` was begun, in seconds.
    since: u64,
}

type Id = [u8; 32];

impl Replay {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, seen: Mutex::default() }
    }

    /// Takes note of a proof, which is accepted for `span` seconds at most.
    pub(super) fn spend(&self, id: Id, span: u64, now: u64) -> Result<(), Refusal> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_sub(seen.since);
        if age > span {
            seen.old = mem::take(&mut seen.young);
            seen.since = now;
            // Nothing came for so long that the younger ones are too old as well.
            if age > span.saturating_mul(2) {
                seen.old.clear();
            }
        }
        if seen.young.contains(&id) || seen.old.contains(&id) {
            return Err(Refusal::Replay);
        }
        if seen.young.len() + seen.old.len() >= self.capacity {
            return Err(Refusal::ReplayUnavailable);
        }
        seen.young.insert(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_once_as_long_as_it_is_accepted() {
        // Whenever in a span it comes, it is known for a whole span.
        for first in 0..25 {
            for later in 0..=10 {
                let replay = Replay::new(100);
                replay.spend([0; 32], 10, 1000).expect("the first");
                replay.spend([1; 32], 10, 1000 + first).expect("the second");
                let again = replay.spend([1; 32], 10, 1000 + first + later);
                assert_eq!(again, Err(Refusal::Replay), "{first} {later}");
            }
        }
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let replay = Replay::new(3);
        for n in 0..3 {
            assert_eq!(replay.spend([n; 32], 10, 1000), Ok(()));
        }
        assert_eq!(replay.spend([3; 32], 10, 1000), Err(Refusal::ReplayUnavailable));
        assert_eq!(replay.spend([0; 32], 10, 1000), Err(Refusal::Replay));
        assert_eq!(replay.spend([3; 32], 10, 1011), Err(Refusal::ReplayUnavailable));
        assert_eq!(replay.spend([3; 32], 10, 1022), Ok(()));
        let seen = replay.seen.lock().unwrap();
        assert_eq!((seen.young.len(), seen.old.len()), (1, 0));
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let replay = Replay::new(3);
        replay.spend([1; 32], 10, 1000).expect("the first");
        assert_eq!(replay.spend([1; 32], 10, 900), Err(Refusal::Replay));
    }
}
