//! A bounded hash table: 8 bytes of key and 8 bytes of state per slot.
//!
//! A key is the keyed 64-bit hash of a subject, so the table contains no address and no secret, and a client cannot construct collisions. It uses
//! open addressing with linear probing, and deletes by shifting entries back. There are no tombstones, so a flood of keys leaves no trace.

/// The state of a key, packed into 64 bits: a time until which the key is charged, a number of requests in flight, or a lease. Times are below 2^62,
/// so the two highest bits tell the three apart: `00` a time in nanoseconds; `10` a count in the low 32 bits; `11` a lease, with the second in which
/// it ends in bits 32 to 61, and its number of requests in the low 32 bits.
///
/// A time that has passed is removed, because it no longer limits anything. So is a count of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyState(u64);

impl KeyState {
    pub(crate) fn until(nanos: u64) -> Self {
        Self(nanos & !COUNT)
    }

    pub(crate) fn count(count: u32) -> Self {
        Self(COUNT | u64::from(count))
    }

    /// A lease of so many requests that ends then.
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

/// One shard of the memory. It never has more keys than its cap.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct StateTable {
    last: LastCharged,
    /// Empty, or a power of two in length. A key of 0 marks a free slot.
    slots: Box<[(u64, KeyState)]>,
    /// No time in the slots is later than this one.
    latest: u64,
    counts: usize,
    len: usize,
    cap: usize,
    hand: usize,
    /// How many slots were visited. Tests use it to measure the cost of a request independently of the machine.
    #[cfg(test)]
    pub(crate) looked: std::cell::Cell<u64>,
}

/// The key that was charged last, its slot, and its state. The slot itself is written when another key is charged. A hot key therefore needs no other
/// cache line than the one of the lock.
#[derive(Debug, Default)]
#[repr(C)]
struct LastCharged {
    key: u64,
    until: u64,
    at: usize,
}

impl StateTable {
    pub(crate) fn new(cap: usize) -> Self {
        Self { cap: cap.max(1), ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    pub(crate) fn find(&self, key: u64) -> Option<KeyState> {
        self.locate(key).map(|(_, value)| value)
    }

    /// The state of a key, and its slot, which is valid until the table changes.
    #[inline]
    pub(crate) fn locate(&self, key: u64) -> Option<(usize, KeyState)> {
        let key = occupied(key);
        if self.last.key == key {
            return Some((self.last.at, KeyState(self.last.until)));
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

    /// Whether the table has slots for this many new keys. If it is full, expired entries are removed first, in bounded time.
    pub(crate) fn has_room(&mut self, further: usize, now: u64) -> bool {
        if self.len + further > self.cap {
            self.sweep(now, SWEEP_FULL);
        }
        self.len + further <= self.cap
    }

    /// Sets the state of a key. Returns `false`, with nothing changed, if the key is new and the table is at its cap.
    pub(crate) fn set(&mut self, key: u64, value: KeyState) -> bool {
        let at = self.locate(key).map(|(at, _)| at);
        self.set_at(at, key, value)
    }

    /// As [`set`](StateTable::set), for a key that was found at `at`. It may have moved since.
    #[inline]
    pub(crate) fn set_at(&mut self, at: Option<usize>, key: u64, value: KeyState) -> bool {
        if self.last.key == occupied(key) && !value.is_count() {
            self.last.until = value.0;
            return true;
        }
        self.set_in_slot(at, key, value)
    }

    fn set_in_slot(&mut self, at: Option<usize>, key: u64, value: KeyState) -> bool {
        self.write_back();
        let key = occupied(key);
        let Some(at) = at else { return self.insert(key, value) };
        match self.slots.get_mut(at) {
            Some((found, old)) if *found == key => {
                self.counts -= usize::from(old.is_count());
                *old = value;
                self.note(value);
                if !value.is_count() {
                    self.last = LastCharged { key, until: value.0, at };
                }
                true
            }
            _ => self.set(key, value),
        }
    }

    /// Writes the state of the last key into its slot. Everything that reads or moves slots calls this first.
    fn write_back(&mut self) {
        let LastCharged { key, until, at } = std::mem::take(&mut self.last);
        if key != FREE {
            self.slots[at].1 = KeyState(until);
            self.latest = self.latest.max(until);
        }
    }

    fn insert(&mut self, key: u64, value: KeyState) -> bool {
        if self.len >= self.cap {
            return false;
        }
        // At most seven eighths full, which keeps probes short.
        if (self.len + 1) * 8 > self.slots.len() * 7 {
            self.resize((self.slots.len() * 2).max(SMALLEST));
        }
        self.note(value);
        self.put(key, value);
        self.len += 1;
        true
    }

    pub(crate) fn remove(&mut self, key: u64) {
        self.write_back();
        if let Some((at, _)) = self.locate(key) {
            self.free(at);
        }
    }

    /// Visits so many slots, removes expired entries, and shrinks the table if few are left.
    pub(crate) fn sweep(&mut self, now: u64, slots: usize) {
        self.write_back();
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
                // An entry may have been shifted into this slot: it is visited next.
                self.free(at);
            } else {
                self.hand = self.after(at);
            }
        }
        if self.slots.len() > SMALLEST && self.len * 8 < self.slots.len() {
            self.resize((self.len * 2).next_power_of_two().max(SMALLEST));
        }
    }

    fn note(&mut self, value: KeyState) {
        if value.is_count() {
            self.counts += 1;
        } else {
            self.latest = self.latest.max(value.0);
        }
    }

    fn put(&mut self, key: u64, value: KeyState) {
        let mut at = self.home(key);
        while self.slots[at].0 != FREE {
            self.looks();
            at = self.after(at);
        }
        self.slots[at] = (key, value);
    }

    /// Frees a slot, and shifts back the entries that were probed past it.
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
        self.slots[hole] = (FREE, KeyState(0));
        self.len -= 1;
    }

    fn resize(&mut self, slots: usize) {
        let new = vec![(FREE, KeyState(0)); slots].into_boxed_slice();
        let old = std::mem::replace(&mut self.slots, new);
        self.hand = 0;
        for (key, value) in old {
            self.looks();
            if key != FREE {
                self.put(key, value);
            }
        }
    }

    /// The first slot to probe. It uses the low bits; the high bits have selected the shard.
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

/// Marks a count or a lease. Times are below 2^62.
const COUNT: u64 = 1 << 63;
/// Marks a lease.
const LEASE: u64 = 1 << 62;
const LEASE_MASK: u64 = (1 << 30) - 1;
const SECOND: u64 = 1_000_000_000;
const FREE: u64 = 0;
const SMALLEST: usize = 8;
/// How many slots a full table visits for one request. It is small, so a flood of new keys costs no more than normal traffic.
const SWEEP_FULL: usize = 8;
