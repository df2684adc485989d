//! The charges that may still be taken back.

use std::collections::HashMap;

use smallvec::SmallVec;

/// The charges of requests under way that may be taken back, of one shard.
///
/// A key is a line that is served one after another: each charge stands behind the one before, and comes back while it is served. Who takes
/// a charge back takes out of the line what hasn't been served of it, and those behind move up. So nobody stands better than if the request
/// had never been: what was served came back by itself.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    lines: HashMap<Line, SmallVec<[Slot; 1]>>,
    last: u64,
}

/// A key, or, if it says `true`, one of the limiters that those without room share.
pub(crate) type Line = (bool, u64);

/// From when to when a charge is served.
#[derive(Debug)]
struct Slot {
    number: u64,
    start: u64,
    end: u64,
}

impl UnderWay {
    /// Notes a charge of so many nanoseconds that ends then. Returns its number, which is never 0.
    pub(crate) fn enter(&mut self, line: Line, nanos: u64, end: u64) -> u64 {
        self.last += 1;
        let slot = Slot { number: self.last, start: end.saturating_sub(nanos), end };
        self.lines.entry(line).or_default().push(slot);
        self.last
    }

    /// Takes a charge out of the line. Returns how much of it hasn't been served.
    pub(crate) fn give_back(&mut self, line: Line, number: u64, now: u64) -> u64 {
        let Some(slot) = self.leave(line, number) else { return 0 };
        let left = slot.end.saturating_sub(slot.start.max(now));
        for behind in self.lines.get_mut(&line).into_iter().flatten() {
            if behind.end > slot.end {
                behind.start = behind.start.saturating_sub(left);
                behind.end -= left;
            }
        }
        left
    }

    /// A charge can't be taken back any more.
    pub(crate) fn keep(&mut self, line: Line, number: u64) {
        self.leave(line, number);
    }

    /// The line is no longer than that: something before its end was taken out.
    pub(crate) fn move_up(&mut self, line: Line, until: u64) {
        for slot in self.lines.get_mut(&line).into_iter().flatten() {
            let by = slot.end.saturating_sub(until);
            slot.start = slot.start.saturating_sub(by);
            slot.end -= by;
        }
    }

    /// The line ends there from now on: who stands behind is let off.
    pub(crate) fn cut(&mut self, line: Line, until: u64) {
        for slot in self.lines.get_mut(&line).into_iter().flatten() {
            slot.end = slot.end.min(until);
            slot.start = slot.start.min(slot.end);
        }
    }

    fn leave(&mut self, line: Line, number: u64) -> Option<Slot> {
        let slots = self.lines.get_mut(&line)?;
        let at = slots.iter().position(|slot| slot.number == number)?;
        let slot = slots.swap_remove(at);
        if slots.is_empty() {
            self.lines.remove(&line);
            if self.lines.capacity() > (8 * self.lines.len()).max(64) {
                self.lines.shrink_to_fit();
            }
        }
        Some(slot)
    }
}
