//! The interface of a store of keys.

use std::future::Future;
use std::time::Duration;

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::future::BoxFuture;

/// A store of keys, with the outcomes of their requests. For [`Idempotency::store`](super::Idempotency::store).
///
/// [`MemoryIdempotency`](super::MemoryIdempotency) is the store of one server, and `RedisIdempotency` (feature `redis`) of several.
/// With the feature `test-util`, `check_store` tests an implementation.
///
/// A record is in one of three states: *in flight*, with the time at which its lease ends, *unknown*, or *finished*. Each method is atomic: of two
/// requests that reserve one record at the same time, exactly one gets [`KeyState::Reserved`].
///
/// # Example
///
/// A store for the servers of one process. A store in a database does each of the three in one transaction or statement.
///
/// ```
/// use std::collections::HashMap;
/// use std::convert::Infallible;
/// use std::sync::{Mutex, PoisonError};
/// use std::time::Instant;
///
/// use tower_chain::middleware::idempotency::{
///     IdempotencyStore, KeyOutcome, KeyReservation, KeyState, KeyUpdate,
/// };
///
/// #[derive(Default)]
/// struct MapStore(Mutex<HashMap<[u8; 32], Record>>);
///
/// struct Record {
///     fingerprint: [u8; 32],
///     owner: [u8; 16],
///     /// `None` while the request is in flight.
///     outcome: Option<KeyOutcome>,
///     lease: Instant,
///     expires: Instant,
/// }
///
/// impl MapStore {
///     fn records(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Record>> {
///         let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
///         records.retain(|_, record| record.expires > Instant::now());
///         records
///     }
///
///     fn record(reservation: &KeyReservation, outcome: Option<KeyOutcome>) -> Record {
///         Record {
///             fingerprint: reservation.fingerprint,
///             owner: reservation.owner,
///             outcome,
///             lease: Instant::now() + reservation.lease,
///             expires: Instant::now() + reservation.age,
///         }
///     }
/// }
///
/// impl IdempotencyStore for MapStore {
///     type Error = Infallible;
///
///     async fn reserve(&self, reservation: &KeyReservation) -> Result<KeyState, Infallible> {
///         let mut records = self.records();
///         let Some(record) = records.get(&reservation.record) else {
///             records.insert(reservation.record, Self::record(reservation, None));
///             return Ok(KeyState::Reserved);
///         };
///         Ok(match &record.outcome {
///             _ if record.fingerprint != reservation.fingerprint => KeyState::OtherRequest,
///             Some(KeyOutcome::Finished(response)) => KeyState::Finished(response.clone()),
///             None if record.owner == reservation.owner => KeyState::Reserved,
///             None if record.lease > Instant::now() => KeyState::InFlight,
///             _ => KeyState::Unknown,
///         })
///     }
///
///     async fn renew(&self, reservation: &KeyReservation) -> Result<KeyUpdate, Infallible> {
///         let mut records = self.records();
///         match records.get(&reservation.record) {
///             Some(record) if record.owner != reservation.owner => return Ok(KeyUpdate::Lost),
///             Some(record) if record.outcome.is_some() => return Ok(KeyUpdate::Done),
///             _ => records.insert(reservation.record, Self::record(reservation, None)),
///         };
///         Ok(KeyUpdate::Done)
///     }
///
///     async fn finish(&self, reservation: &KeyReservation, outcome: KeyOutcome) -> Result<KeyUpdate, Infallible> {
///         let mut records = self.records();
///         match records.get(&reservation.record) {
///             Some(record) if record.owner != reservation.owner => return Ok(KeyUpdate::Lost),
///             Some(Record { outcome: Some(KeyOutcome::Finished(_)), .. }) => return Ok(KeyUpdate::Done),
///             _ if matches!(outcome, KeyOutcome::Released) => records.remove(&reservation.record),
///             _ => records.insert(reservation.record, Self::record(reservation, Some(outcome))),
///         };
///         Ok(KeyUpdate::Done)
///     }
/// }
///
/// # #[cfg(feature = "test-util")]
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(
/// tower_chain::middleware::idempotency::check_store(&MapStore::default())
/// # );
/// ```
pub trait IdempotencyStore: Send + Sync + 'static {
    /// Why the store failed. The error is logged.
    type Error: Into<BoxError>;

    /// Reserves a record that does not exist, or returns its state.
    ///
    /// The new record is in flight for [`lease`](KeyReservation::lease) and is removed after [`age`](KeyReservation::age). A record whose
    /// [`owner`](KeyReservation::owner) is that of the reservation is reserved again: the call was repeated.
    fn reserve(
        &self,
        reservation: &KeyReservation,
    ) -> impl Future<Output = Result<KeyState, Self::Error>> + Send;

    /// Extends the lease and the age of a record that is in flight, while its request runs.
    ///
    /// If the lease has ended meanwhile, the record is in flight again. If the record does not exist any more, it is created again. A record that is
    /// finished is not changed.
    fn renew(
        &self,
        reservation: &KeyReservation,
    ) -> impl Future<Output = Result<KeyUpdate, Self::Error>> + Send;

    /// Sets the outcome of a record, and keeps it for [`age`](KeyReservation::age) from now on.
    ///
    /// This also applies if the lease has ended meanwhile. If the record does not exist any more, it is created again. A record that is finished is not
    /// changed. [`KeyOutcome::Released`] removes the record.
    fn finish(
        &self,
        reservation: &KeyReservation,
        outcome: KeyOutcome,
    ) -> impl Future<Output = Result<KeyUpdate, Self::Error>> + Send;
}

/// A request that reserves a key.
///
/// All values are digests or random: a store never receives a key or the name of a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyReservation {
    /// The name of the record: a digest of principal, method, path and key.
    pub record: [u8; 32],
    /// A digest of the request: its query, its content type and its body.
    pub fingerprint: [u8; 32],
    /// A random number of this request. Only the request that has reserved a record may change it.
    pub owner: [u8; 16],
    /// A digest of the principal; `None` with [`Idempotency::for_anyone`](super::Idempotency::for_anyone).
    pub principal: Option<[u8; 16]>,
    /// How many records one principal may have.
    pub max_keys: u32,
    /// How long the record is in flight, unless it is renewed. After that its outcome is unknown.
    pub lease: Duration,
    /// How long the record is kept.
    pub age: Duration,
}

/// The state of a record when a request tries to reserve it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// It is reserved for this request.
    Reserved,
    /// Another request has reserved it, and its lease has not ended.
    InFlight,
    /// The lease has ended without an outcome, or the outcome is [`KeyOutcome::Unknown`].
    Unknown,
    /// The request is finished, with these bytes.
    Finished(Bytes),
    /// The record has another fingerprint. This comes before the other states.
    OtherRequest,
    /// The principal has too many records. The time until the first of them expires.
    TooManyKeys(Duration),
    /// The store is full. The time until the first record expires.
    Full(Duration),
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOutcome {
    /// It is finished. The store keeps these bytes as they are.
    Finished(Bytes),
    /// It is unknown what the request has done.
    Unknown,
    /// The request has done nothing, and may run again: the record is removed.
    Released,
}

/// Whether a record was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyUpdate {
    /// It has the outcome, or had one already.
    Done,
    /// It belongs to another request.
    Lost,
    /// There is no space for the bytes of this outcome. The record is unchanged.
    TooLarge,
}

/// An object-safe [`IdempotencyStore`].
pub(super) trait AnyStore: Send + Sync {
    fn reserve_any<'a>(
        &'a self,
        reservation: &'a KeyReservation,
    ) -> BoxFuture<'a, Result<KeyState, BoxError>>;

    fn renew_any<'a>(
        &'a self,
        reservation: &'a KeyReservation,
    ) -> BoxFuture<'a, Result<KeyUpdate, BoxError>>;

    fn finish_any<'a>(
        &'a self,
        reservation: &'a KeyReservation,
        outcome: KeyOutcome,
    ) -> BoxFuture<'a, Result<KeyUpdate, BoxError>>;
}

impl<S: IdempotencyStore> AnyStore for S {
    fn reserve_any<'a>(
        &'a self,
        reservation: &'a KeyReservation,
    ) -> BoxFuture<'a, Result<KeyState, BoxError>> {
        Box::pin(async move { self.reserve(reservation).await.map_err(Into::into) })
    }

    fn renew_any<'a>(
        &'a self,
        reservation: &'a KeyReservation,
    ) -> BoxFuture<'a, Result<KeyUpdate, BoxError>> {
        Box::pin(async move { self.renew(reservation).await.map_err(Into::into) })
    }

    fn finish_any<'a>(
        &'a self,
        reservation: &'a KeyReservation,
        outcome: KeyOutcome,
    ) -> BoxFuture<'a, Result<KeyUpdate, BoxError>> {
        Box::pin(async move { self.finish(reservation, outcome).await.map_err(Into::into) })
    }
}

/// Several steps, or tests, may share one store.
impl<S: IdempotencyStore> IdempotencyStore for std::sync::Arc<S> {
    type Error = S::Error;

    async fn reserve(&self, reservation: &KeyReservation) -> Result<KeyState, S::Error> {
        (**self).reserve(reservation).await
    }

    async fn renew(&self, reservation: &KeyReservation) -> Result<KeyUpdate, S::Error> {
        (**self).renew(reservation).await
    }

    async fn finish(
        &self,
        reservation: &KeyReservation,
        outcome: KeyOutcome,
    ) -> Result<KeyUpdate, S::Error> {
        (**self).finish(reservation, outcome).await
    }
}
