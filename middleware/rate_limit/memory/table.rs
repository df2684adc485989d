//! The bounded memory of a limiter: for each key a time, 16 bytes in all.
//!
//! A key is the keyed 64-bit hash of what names the client, so that no address and no secret is held, and that nobody can choose
//! keys that collide. The table is open addressing with linear probing and deletion by shifting back; it needs no tombstones, so a
//! flood leaves no trace in it.

/// What is remembered of a key: until when it is charged, in nanoseconds, or how many requests of it are under way.
///
/// A time is forgotten once it has passed: it says nothing then. A count is forgotten at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value(u64);

impl Value {
    pub(crate) fn until(nanos: u64) -> Self {
        Self(nanos & !COUNT)
    }

    pub(crate) fn count(count: u32) -> Self {
        Self(COUNT | u64::from(count))
    }

    /// A number of requests that are paid for and may be made until then.
    pub(crate) fn lease(count: u32, until: u64) -> Self {
        let seconds = (until / SECOND).min(LEASE_MASK);
        Self(COUNT | LEASE | seconds << 32 | u64::from(count))
    }

    /// One request less.
    pub(crate) fn less(self) -> Self {
        if self.as_count() == 0 { self } else { Self(self.0 - 1) }
    }

    pub(crate) fn as_until(self) -> u64 {
        if self.0 & COUNT == 0 { self.0 } else { 0 }
    }

    pub(crate) fn as_count(self) -> u32 {
        if self.0 & COUNT == 0 { 0 } else { self.0 as u32 }
    }

    fn is_count(self) -> bool {
        self.0 & COUNT != 0
    }

    pub(crate) fn is_over(self, now: u64) -> bool {
        match self.0 & (COUNT | LEASE) {
            COUNT => self.as_count() == 0,
            both if both == COUNT | LEASE => {
                self.as_count() == 0 || (self.0 >> 32 & LEASE_MASK) * SECOND <= now
            }
            _ => self.0 <= now,
        }
    }
}

/// One shard of the memory. It never holds more than its cap.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Table {
    front: Front,
    /// Empty, or a power of two of slots; a key of 0 marks a free one.
    slots: Box<[(u64, Value)]>,
    /// No time in the table lies after this one.
    latest: u64,
    counts: usize,
    len: usize,
    cap: usize,
    hand: usize,
    /// How many slots were looked at, for tests: what a request costs, on whatever machine.
    #[cfg(test)]
    pub(crate) looked: std::cell::Cell<u64>,
}

/// The key that was charged last, if there is one: where it is, and until when it is charged. Its slot is told once another key is charged, so
/// that who comes often needs no other cache line than that of the lock.
#[derive(Debug, Default)]
#[repr(C)]
struct Front {
    key: u64,
    until: u64,
    at: usize,
}

impl Table {
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap: cap.max(1), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    pub(crate) fn find(&self, key: u64) -> Option<Value> {
        self.locate(key).map(|(_, value)| value)
    }

    /// The value of a key, and where it is for now.
    #[inline]
    pub(crate) fn locate(&self, key: u64) -> Option<(usize, Value)> {
        let key = occupied(key);
        if self.front.key == key {
            return Some((self.front.at, Value(self.front.until)));
        }
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(key);
        loop {
            self.looks();
            match self.slots[at] {
                (found, value) if found == key => return Some((at, value)),
                (FREE, _) => return None,
                _ => at = self.after(at),
            }
        }
    }

    /// Whether this many new keys find room, after what is over was cleared away as far as needed and as far as one request may take.
    pub(crate) fn has_room(&mut self, further: usize, now: u64) -> bool {
        if self.len + further > self.cap {
            self.sweep(now, SWEEP_FULL);
        }
        self.len + further <= self.cap
    }

    /// Remembers a value. Returns `false`, with nothing changed, if the key is new and the table is at its cap.
    pub(crate) fn set(&mut self, key: u64, value: Value) -> bool {
        let at = self.locate(key).map(|(at, _)| at);
        self.set_at(at, key, value)
    }

    /// As [`set`](Table::set), for a key that was found at a place, where it may no longer be.
    #[inline]
    pub(crate) fn set_at(&mut self, at: Option<usize>, key: u64, value: Value) -> bool {
        if self.front.key == occupied(key) && !value.is_count() {
            self.front.until = value.0;
            return true;
        }
        self.set_in_slot(at, key, value)
    }

    fn set_in_slot(&mut self, at: Option<usize>, key: u64, value: Value) -> bool {
        self.tell_slot();
        let key = occupied(key);
        let Some(at) = at else { return self.insert(key, value) };
        match self.slots.get_mut(at) {
            Some((found, old)) if *found == key => {
                self.counts -= usize::from(old.is_count());
                *old = value;
                self.note(value);
                if !value.is_count() {
                    self.front = Front { key, until: value.0, at };
                }
                true
            }
            _ => self.set(key, value),
        }
    }

    /// Writes what is known of the key at the front into its slot, before that is looked at or moved.
    fn tell_slot(&mut self) {
        let Front { key, until, at } = std::mem::take(&mut self.front);
        if key != FREE {
            self.slots[at].1 = Value(until);
            self.latest = self.latest.max(until);
        }
    }

    fn insert(&mut self, key: u64, value: Value) -> bool {
        if self.len >= self.cap {
            return false;
        }
        // At most seven eighths full: probes stay short.
        if (self.len + 1) * 8 > self.slots.len() * 7 {
            self.resize((self.slots.len() * 2).max(SMALLEST));
        }
        self.note(value);
        self.put(key, value);
        self.len += 1;
        true
    }

    pub(crate) fn remove(&mut self, key: u64) {
        self.tell_slot();
        if let Some((at, _)) = self.locate(key) {
            self.free(at);
        }
    }

    /// Looks at so many slots, frees those that are over, and gives memory back once little is left.
    pub(crate) fn sweep(&mut self, now: u64, slots: usize) {
        self.tell_slot();
        if self.slots.is_empty() {
            return;
        }
        if self.counts == 0 && self.latest <= now {
            self.slots = Box::default();
            (self.len, self.hand) = (0, 0);
            return;
        }
        for _ in 0..slots.min(self.slots.len()) {
            self.looks();
            let at = self.hand & (self.slots.len() - 1);
            let (key, value) = self.slots[at];
            if key != FREE && value.is_over(now) {
                // What is shifted into this slot is looked at next.
                self.free(at);
            } else {
                self.hand = self.after(at);
            }
        }
        if self.slots.len() > SMALLEST && self.len * 8 < self.slots.len() {
            self.resize((self.len * 2).next_power_of_two().max(SMALLEST));
        }
    }

    fn note(&mut self, value: Value) {
        if value.is_count() {
            self.counts += 1;
        } else {
            self.latest = self.latest.max(value.0);
        }
    }

    fn put(&mut self, key: u64, value: Value) {
        let mut at = self.home(key);
        while self.slots[at].0 != FREE {
            self.looks();
            at = self.after(at);
        }
        self.slots[at] = (key, value);
    }

    /// Frees a slot and moves back what probed past it.
    fn free(&mut self, mut hole: usize) {
        self.counts -= usize::from(self.slots[hole].1.is_count());
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            self.looks();
            at = self.after(at);
            let (key, _) = self.slots[at];
            if key == FREE {
                break;
            }
            let distance = at.wrapping_sub(self.home(key)) & mask;
            if distance >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
        }
        self.slots[hole] = (FREE, Value(0));
        self.len -= 1;
    }

    fn resize(&mut self, slots: usize) {
        let new = vec![(FREE, Value(0)); slots].into_boxed_slice();
        let old = std::mem::replace(&mut self.slots, new);
        self.hand = 0;
        for (key, value) in old {
            self.looks();
            if key != FREE {
                self.put(key, value);
            }
        }
    }

    /// The first slot for a key. The high bits chose the shard; these are the low ones.
    fn home(&self, key: u64) -> usize {
        key as usize & (self.slots.len() - 1)
    }

    fn looks(&self) {
        #[cfg(test)]
        self.looked.set(self.looked.get() + 1);
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

fn occupied(key: u64) -> u64 {
    if key == FREE { 1 } else { key }
}

/// The bit that tells a count from a time; times stay below 2^63.
const COUNT: u64 = 1 << 63;
/// The bit that tells a count which ends by itself; its second stands in the 30 bits after it.
const LEASE: u64 = 1 << 62;
const LEASE_MASK: u64 = (1 << 30) - 1;
const SECOND: u64 = 1_000_000_000;
const FREE: u64 = 0;
const SMALLEST: usize = 8;
/// How many slots are looked at when a table is full: far below a microsecond, so that a flood costs no more than peace.
const SWEEP_FULL: usize = 8;
