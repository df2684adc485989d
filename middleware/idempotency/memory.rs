//! A store in the memory of one server.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::error::IdempotencyError;
use super::store::{IdempotencyStore, KeyOutcome, KeyReservation, KeyState, KeyUpdate};

/// An [`IdempotencyStore`] in the memory of this process. It is empty after a restart, so a request that was sent before it may run again.
///
/// Memory is bounded. A record takes about 300 bytes, and the bytes of its response. A record is removed only when it expires: removing one earlier would
/// let its request run again. So new keys are refused with 503 while there are [`max_records`](Self::max_records), and the responses that exceed
/// [`max_bytes`](Self::max_bytes) are not kept; their requests are still not run again.
///
/// One principal may have an eighth of either at most.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::idempotency::{Idempotency, MemoryIdempotency};
///
/// # #[derive(Clone)] struct User { id: u64 }
/// # fn main() -> Result<(), tower_chain::middleware::idempotency::IdempotencyError> {
/// let store = MemoryIdempotency::new().max_records(20_000)?.max_bytes(16 * 1024 * 1024);
/// let step = Idempotency::per(|user: &User| user.id.to_string()).store(store);
/// # let _ = step;
/// # Ok(())
/// # }
/// ```
pub struct MemoryIdempotency {
    max_records: usize,
    max_bytes: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    records: HashMap<[u8; 32], Record>,
    /// The records by the time at which they expire.
    expiries: BTreeSet<(Instant, [u8; 32])>,
    principals: HashMap<[u8; 16], Usage>,
    bytes: usize,
}

struct Record {
    fingerprint: [u8; 32],
    owner: [u8; 16],
    principal: Option<[u8; 16]>,
    lease: Instant,
    expires: Instant,
    outcome: Option<Known>,
}

/// The outcome of a request that is not in flight.
enum Known {
    Unknown,
    Finished(Bytes),
}

/// What the records of one principal take.
#[derive(Default)]
struct Usage {
    records: usize,
    bytes: usize,
}

impl MemoryIdempotency {
    /// An empty store with the default limits.
    pub fn new() -> Self {
        Self { max_records: 100_000, max_bytes: 64 * 1024 * 1024, table: Mutex::default() }
    }

    /// Sets how many records there may be. Defaults to 100,000.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_records(mut self, records: usize) -> Result<Self, IdempotencyError> {
        if records == 0 {
            return Err(IdempotencyError::Zero { setting: "max_records" });
        }
        self.max_records = records;
        Ok(self)
    }

    /// Sets how many bytes all responses together may have. Defaults to 64 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The table, without the records that have expired.
    fn table(&self, now: Instant) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        table
    }

    /// The part of a limit that one principal may have.
    fn share(limit: usize) -> usize {
        (limit / SHARE).max(1)
    }

    /// Whether these bytes fit, in place of those that the record has.
    fn fits(&self, table: &Table, principal: Option<[u8; 16]>, added: usize) -> bool {
        // An outcome without a response always fits. Its size is part of that of a record.
        if added <= FREE {
            return true;
        }
        let usage = principal.and_then(|name| table.principals.get(&name));
        let own = usage.map_or(0, |usage| usage.bytes);
        let fits_share = principal.is_none() || own + added <= Self::share(self.max_bytes);
        fits_share && table.bytes + added <= self.max_bytes
    }
}

impl Default for MemoryIdempotency {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryIdempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("MemoryIdempotency")
            .field("max_records", &self.max_records)
            .field("max_bytes", &self.max_bytes)
            .field("records", &table.records.len())
            .field("bytes", &table.bytes)
            .finish()
    }
}

impl IdempotencyStore for MemoryIdempotency {
    type Error = Infallible;

    async fn reserve(&self, reservation: &KeyReservation) -> Result<KeyState, Infallible> {
        let now = Instant::now();
        let mut table = self.table(now);
        if let Some(record) = table.records.get(&reservation.record) {
            return Ok(record.state(reservation, now));
        }
        if table.records.len() >= self.max_records {
            return Ok(KeyState::Full(table.first_expiry(now, |_| true)));
        }
        if let Some(principal) = reservation.principal {
            let most = Self::share(self.max_records).min(reservation.max_keys as usize);
            if table.principals.get(&principal).is_some_and(|usage| usage.records >= most) {
                let is_own = |record: &Record| record.principal == Some(principal);
                return Ok(KeyState::TooManyKeys(table.first_expiry(now, is_own)));
            }
        }
        table.insert(reservation, now);
        Ok(KeyState::Reserved)
    }

    async fn renew(&self, reservation: &KeyReservation) -> Result<KeyUpdate, Infallible> {
        let now = Instant::now();
        let mut table = self.table(now);
        Ok(match table.own(reservation, now) {
            None => KeyUpdate::Lost,
            Some(record) if record.outcome.is_some() => KeyUpdate::Done,
            Some(record) => {
                record.lease = now + reservation.lease;
                table.postpone(reservation, now);
                KeyUpdate::Done
            }
        })
    }

    async fn finish(
        &self,
        reservation: &KeyReservation,
        outcome: KeyOutcome,
    ) -> Result<KeyUpdate, Infallible> {
        let now = Instant::now();
        let mut table = self.table(now);
        match table.own(reservation, now) {
            None => return Ok(KeyUpdate::Lost),
            Some(Record { outcome: Some(Known::Finished(_)), .. }) => return Ok(KeyUpdate::Done),
            Some(_) => {}
        }
        let known = match outcome {
            KeyOutcome::Released => {
                table.remove(&reservation.record);
                return Ok(KeyUpdate::Done);
            }
            KeyOutcome::Unknown => Known::Unknown,
            KeyOutcome::Finished(bytes) => {
                if !self.fits(&table, reservation.principal, bytes.len()) {
                    return Ok(KeyUpdate::TooLarge);
                }
                Known::Finished(bytes)
            }
        };
        table.set(reservation, known);
        table.postpone(reservation, now);
        Ok(KeyUpdate::Done)
    }
}

impl Record {
    fn state(&self, reservation: &KeyReservation, now: Instant) -> KeyState {
        match &self.outcome {
            _ if self.fingerprint != reservation.fingerprint => KeyState::OtherRequest,
            Some(Known::Finished(bytes)) => KeyState::Finished(bytes.clone()),
            Some(Known::Unknown) => KeyState::Unknown,
            None if self.owner == reservation.owner => KeyState::Reserved,
            None if self.lease > now => KeyState::InFlight,
            None => KeyState::Unknown,
        }
    }

    /// How many bytes count against the limits.
    fn bytes(&self) -> usize {
        match &self.outcome {
            Some(Known::Finished(bytes)) if bytes.len() > FREE => bytes.len(),
            _ => 0,
        }
    }
}

impl Table {
    fn expire(&mut self, now: Instant) {
        while let Some((expires, record)) = self.expiries.first().copied() {
            if expires > now {
                return;
            }
            self.remove(&record);
        }
    }

    /// The record of a reservation. If it does not exist any more, it is created again; `None` if it belongs to another request.
    fn own(&mut self, reservation: &KeyReservation, now: Instant) -> Option<&mut Record> {
        if !self.records.contains_key(&reservation.record) {
            self.insert(reservation, now);
        }
        let record = self.records.get_mut(&reservation.record)?;
        (record.owner == reservation.owner).then_some(record)
    }

    fn insert(&mut self, reservation: &KeyReservation, now: Instant) {
        let record = Record {
            fingerprint: reservation.fingerprint,
            owner: reservation.owner,
            principal: reservation.principal,
            lease: now + reservation.lease,
            expires: now + reservation.age,
            outcome: None,
        };
        self.expiries.insert((record.expires, reservation.record));
        if let Some(principal) = record.principal {
            self.principals.entry(principal).or_default().records += 1;
        }
        self.records.insert(reservation.record, record);
    }

    fn remove(&mut self, name: &[u8; 32]) {
        let Some(record) = self.records.remove(name) else { return };
        self.expiries.remove(&(record.expires, *name));
        let bytes = record.bytes();
        self.bytes -= bytes;
        if let Some(principal) = record.principal
            && let Entry::Occupied(mut usage) = self.principals.entry(principal)
        {
            usage.get_mut().records -= 1;
            usage.get_mut().bytes -= bytes;
            if usage.get().records == 0 {
                usage.remove();
            }
        }
    }

    fn set(&mut self, reservation: &KeyReservation, known: Known) {
        let Some(record) = self.records.get_mut(&reservation.record) else { return };
        record.outcome = Some(known);
        let bytes = record.bytes();
        self.bytes += bytes;
        if let Some(usage) = record.principal.and_then(|name| self.principals.get_mut(&name)) {
            usage.bytes += bytes;
        }
    }

    /// Keeps a record for its age from now on.
    fn postpone(&mut self, reservation: &KeyReservation, now: Instant) {
        let Some(record) = self.records.get_mut(&reservation.record) else { return };
        self.expiries.remove(&(record.expires, reservation.record));
        record.expires = now + reservation.age;
        self.expiries.insert((record.expires, reservation.record));
    }

    /// The time until the first of some records expires. Looks at some thousands of records at most.
    fn first_expiry(&self, now: Instant, is_one: impl Fn(&Record) -> bool) -> Duration {
        let mut first = self.expiries.iter().take(LONGEST_SEARCH);
        let found = first.find(|(_, name)| self.records.get(name).is_some_and(&is_one));
        let last = self.expiries.iter().nth(LONGEST_SEARCH).or(self.expiries.last());
        found.or(last).map_or(Duration::ZERO, |(expires, _)| *expires - now)
    }
}

/// One principal may have this part of the store.
const SHARE: usize = 8;
/// An outcome of so few bytes has no response, and always fits.
const FREE: usize = 16;
/// How many records a refusal looks at for the time in `Retry-After`.
const LONGEST_SEARCH: usize = 1000;
