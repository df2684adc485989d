//! Charges that may still be refunded.

use std::collections::HashMap;

use smallvec::SmallVec;

/// The charges of requests in flight that may be refunded, for one shard.
///
/// The charges of a key form a queue that drains at one nanosecond per nanosecond: each charge starts to drain when the one before it has ended. A
/// refund removes the part of a charge that has not drained yet, and the charges behind it move forward by that much. The key is then exactly as if
/// the request had never been made, and the drained part is not refunded, because it has come back by itself.
#[derive(Debug, Default)]
pub(crate) struct RefundableCharges {
    queues: HashMap<QueueKey, SmallVec<[RefundableCharge; 1]>>,
    last: u64,
}

/// The key of a queue, or, with `true`, the position of an overflow counter.
pub(crate) type QueueKey = (bool, u64);

/// From when to when a charge drains.
#[derive(Debug)]
struct RefundableCharge {
    number: u64,
    start: u64,
    end: u64,
}

impl RefundableCharges {
    /// Registers a charge of so many nanoseconds that has drained at `end`. Returns its number, which is never 0.
    pub(crate) fn register(&mut self, queue: QueueKey, nanos: u64, end: u64) -> u64 {
        self.last += 1;
        let charge = RefundableCharge { number: self.last, start: end.saturating_sub(nanos), end };
        self.queues.entry(queue).or_default().push(charge);
        self.last
    }

    /// Removes a charge from the queue, except for the part of it beyond `most`. Returns how much of it was removed: what has drained is not.
    pub(crate) fn refund(&mut self, queue: QueueKey, number: u64, most: u64, now: u64) -> u64 {
        let Some(charge) = self.remove(queue, number) else { return 0 };
        let left = charge.end.saturating_sub(charge.start.max(now)).min(most);
        for behind in self.queues.get_mut(&queue).into_iter().flatten() {
            if behind.end > charge.end {
                behind.start = behind.start.saturating_sub(left);
                behind.end -= left;
            }
        }
        left
    }

    /// Keeps a charge: it can no longer be refunded.
    pub(crate) fn keep(&mut self, queue: QueueKey, number: u64) {
        self.remove(queue, number);
    }

    /// The queue ends at `until` or earlier, because something was removed before its end. The charges move forward.
    pub(crate) fn advance(&mut self, queue: QueueKey, until: u64) {
        for charge in self.queues.get_mut(&queue).into_iter().flatten() {
            let by = charge.end.saturating_sub(until);
            charge.start = charge.start.saturating_sub(by);
            charge.end -= by;
        }
    }

    /// The queue is cut off at `until`: what was charged after that is no longer refundable.
    pub(crate) fn truncate(&mut self, queue: QueueKey, until: u64) {
        for charge in self.queues.get_mut(&queue).into_iter().flatten() {
            charge.end = charge.end.min(until);
            charge.start = charge.start.min(charge.end);
        }
    }

    fn remove(&mut self, queue: QueueKey, number: u64) -> Option<RefundableCharge> {
        let charges = self.queues.get_mut(&queue)?;
        let at = charges.iter().position(|charge| charge.number == number)?;
        let charge = charges.swap_remove(at);
        if charges.is_empty() {
            self.queues.remove(&queue);
            if self.queues.capacity() > (8 * self.queues.len()).max(64) {
                self.queues.shrink_to_fit();
            }
        }
        Some(charge)
    }
}
