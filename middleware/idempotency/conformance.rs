//! The properties that every store must have.

use std::fmt::Debug;
use std::time::Duration;

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::request::{digest, half, owner};
use super::store::{IdempotencyStore, KeyOutcome, KeyReservation, KeyState, KeyUpdate};

/// Checks that a store does what [`IdempotencyStore`] requires. For the test of an implementation.
///
/// It uses names that no other run has, so the store may be in use. It takes about two seconds, or no time if the clock of tokio is paused and the store uses that.
///
/// # Panics
///
/// If the store fails, or does something else. The message names the property.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::idempotency::{MemoryIdempotency, check_store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// check_store(&MemoryIdempotency::new()).await;
/// # }
/// ```
pub async fn check_store(store: &impl IdempotencyStore) {
    let store = Checked(store);
    store.records_are_reserved_once().await;
    store.outcomes_are_kept().await;
    store.leases_end_and_are_renewed().await;
    store.only_the_owner_changes_a_record().await;
    store.lost_records_are_created_again().await;
    store.principals_are_apart().await;
    store.a_short_age_ends_no_count().await;
}

struct Checked<'s, S>(&'s S);

impl<S: IdempotencyStore> Checked<'_, S> {
    async fn records_are_reserved_once(&self) {
        let first = reservation();
        self.reserves(&first, KeyState::Reserved, "a new record is reserved").await;
        let repeated = "a repeated call of the owner reserves its record again";
        self.reserves(&first, KeyState::Reserved, repeated).await;
        self.reserves(&again(&first), KeyState::InFlight, "a reserved record is in flight").await;
        let other = KeyReservation { fingerprint: digest(&[b"other"]), ..again(&first) };
        self.reserves(&other, KeyState::OtherRequest, "another fingerprint is noticed").await;

        let one = reservation();
        let racing: Vec<_> = (0..16).map(|_| again(&one)).collect();
        let states = join_all(racing.iter().map(|reservation| self.0.reserve(reservation))).await;
        let states = states.into_iter().map(|state| succeeded(state, "requests race"));
        let reserved = states.filter(|state| *state == KeyState::Reserved).count();
        assert_eq!(reserved, 1, "of requests that race, exactly one reserves the record");
    }

    async fn outcomes_are_kept(&self) {
        for length in [0, 1, 100_000] {
            let first = reservation();
            let bytes: Vec<u8> = (0..=255).cycle().take(length).collect();
            let finished = KeyOutcome::Finished(Bytes::from(bytes.clone()));
            self.reserves(&first, KeyState::Reserved, "a new record is reserved").await;
            self.finishes(&first, finished, KeyUpdate::Done, "a record is finished").await;
            let state = KeyState::Finished(Bytes::from(bytes));
            self.reserves(&again(&first), state.clone(), "the outcome is kept as it is").await;
            let fact = "a finished record is not changed";
            self.finishes(&first, KeyOutcome::Unknown, KeyUpdate::Done, fact).await;
            self.renews(&first, KeyUpdate::Done, fact).await;
            self.reserves(&again(&first), state, fact).await;
            let other = KeyReservation { fingerprint: digest(&[b"other"]), ..again(&first) };
            let fact = "another fingerprint never gets the outcome";
            self.reserves(&other, KeyState::OtherRequest, fact).await;
        }
        let unknown = reservation();
        self.reserves(&unknown, KeyState::Reserved, "a new record is reserved").await;
        self.finishes(&unknown, KeyOutcome::Unknown, KeyUpdate::Done, "unknown is kept").await;
        self.reserves(&again(&unknown), KeyState::Unknown, "unknown is kept").await;
        let fact = "the owner may finish a record whose outcome was unknown";
        self.finishes(&unknown, finished(), KeyUpdate::Done, fact).await;
        self.reserves(&again(&unknown), KeyState::Finished(outcome()), fact).await;

        let released = reservation();
        self.reserves(&released, KeyState::Reserved, "a new record is reserved").await;
        self.finishes(&released, KeyOutcome::Released, KeyUpdate::Done, "a record is released")
            .await;
        let other = KeyReservation { fingerprint: digest(&[b"other"]), ..again(&released) };
        self.reserves(&other, KeyState::Reserved, "a released record is free").await;
    }

    async fn leases_end_and_are_renewed(&self) {
        let short = KeyReservation { lease: SHORT, ..reservation() };
        self.reserves(&short, KeyState::Reserved, "a new record is reserved").await;
        sleep(SHORT * 2).await;
        self.reserves(&again(&short), KeyState::Unknown, "after its lease, a record is unknown")
            .await;
        self.renews(&short, KeyUpdate::Done, "a lease that has ended can be renewed").await;
        self.reserves(&again(&short), KeyState::InFlight, "a renewed record is in flight").await;
        sleep(SHORT * 2).await;
        let fact = "a record can be finished after its lease";
        self.finishes(&short, finished(), KeyUpdate::Done, fact).await;
        self.reserves(&again(&short), KeyState::Finished(outcome()), fact).await;

        for outcome in [None, Some(finished()), Some(KeyOutcome::Unknown)] {
            let brief = KeyReservation { lease: SHORT, age: SHORT, ..reservation() };
            self.reserves(&brief, KeyState::Reserved, "a new record is reserved").await;
            if let Some(outcome) = outcome {
                self.finishes(&brief, outcome, KeyUpdate::Done, "a record gets an outcome").await;
            }
            sleep(SHORT * 2).await;
            self.reserves(&again(&brief), KeyState::Reserved, "after its age, a record is free")
                .await;
        }
    }

    async fn only_the_owner_changes_a_record(&self) {
        let first = reservation();
        let other = again(&first);
        self.reserves(&first, KeyState::Reserved, "a new record is reserved").await;
        let fact = "another request doesn't change a record";
        self.renews(&other, KeyUpdate::Lost, fact).await;
        for outcome in [KeyOutcome::Released, KeyOutcome::Unknown, finished()] {
            self.finishes(&other, outcome, KeyUpdate::Lost, fact).await;
        }
        self.reserves(&again(&first), KeyState::InFlight, fact).await;
    }

    async fn lost_records_are_created_again(&self) {
        let lost = reservation();
        self.renews(&lost, KeyUpdate::Done, "a record that is lost is created by a renewal").await;
        self.reserves(&again(&lost), KeyState::InFlight, "a renewed record is in flight").await;
        let lost = reservation();
        let fact = "a record that is lost is created by its outcome";
        self.finishes(&lost, finished(), KeyUpdate::Done, fact).await;
        self.reserves(&again(&lost), KeyState::Finished(outcome()), fact).await;
        let lost = reservation();
        let fact = "a record that is lost is not created by its release";
        self.finishes(&lost, KeyOutcome::Released, KeyUpdate::Done, fact).await;
        self.reserves(&again(&lost), KeyState::Reserved, fact).await;
    }

    async fn principals_are_apart(&self) {
        let one = KeyReservation { max_keys: 2, ..reservation() };
        let next = || KeyReservation { record: digest(&[&owner()]), ..again(&one) };
        let second = next();
        self.reserves(&one, KeyState::Reserved, "a principal may have keys").await;
        self.reserves(&second, KeyState::Reserved, "a principal may have several keys").await;
        let refused = succeeded(self.0.reserve(&next()).await, "a principal has too many keys");
        // A store need not count. If it does, it counts as follows.
        if !matches!(refused, KeyState::TooManyKeys(time) if time <= one.age) {
            assert_eq!(refused, KeyState::Reserved, "a principal has too many keys");
            return;
        }
        self.reserves(&again(&one), KeyState::InFlight, "a key that is known is not a new one")
            .await;
        self.reserves(&reservation(), KeyState::Reserved, "another principal may have keys").await;
        let anyone = KeyReservation { principal: None, ..next() };
        self.reserves(&anyone, KeyState::Reserved, "without a principal nothing is counted").await;
        self.finishes(&second, KeyOutcome::Released, KeyUpdate::Done, "a key is released").await;
        self.reserves(&next(), KeyState::Reserved, "a released key doesn't count").await;
    }

    /// Two steps of different ages may share a store.
    async fn a_short_age_ends_no_count(&self) {
        let long = KeyReservation { max_keys: 2, ..reservation() };
        let next = || KeyReservation { record: digest(&[&owner()]), ..again(&long) };
        let short = KeyReservation { lease: SHORT, age: SHORT, ..next() };
        let fact = "a key with a shorter age doesn't end the count of the other keys";
        self.reserves(&long, KeyState::Reserved, fact).await;
        self.reserves(&short, KeyState::Reserved, fact).await;
        sleep(SHORT * 2).await;
        self.reserves(&next(), KeyState::Reserved, fact).await;
        let refused = succeeded(self.0.reserve(&next()).await, fact);
        if !matches!(refused, KeyState::TooManyKeys(_)) {
            // As above: a store need not count.
            assert_eq!(refused, KeyState::Reserved, "{fact}");
            let refused = succeeded(self.0.reserve(&next()).await, fact);
            assert_eq!(refused, KeyState::Reserved, "{fact}");
        }
    }

    async fn reserves(&self, reservation: &KeyReservation, expected: KeyState, fact: &str) {
        assert_eq!(succeeded(self.0.reserve(reservation).await, fact), expected, "{fact}");
    }

    async fn renews(&self, reservation: &KeyReservation, expected: KeyUpdate, fact: &str) {
        assert_eq!(succeeded(self.0.renew(reservation).await, fact), expected, "{fact}");
    }

    async fn finishes(
        &self,
        reservation: &KeyReservation,
        outcome: KeyOutcome,
        expected: KeyUpdate,
        fact: &str,
    ) {
        let update = self.0.finish(reservation, outcome).await;
        assert_eq!(succeeded(update, fact), expected, "{fact}");
    }
}

fn succeeded<T: Debug, E: Into<BoxError>>(result: Result<T, E>, fact: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store fails: {} ({fact})", error.into()),
    }
}

/// A reservation of a record and a principal that nothing else uses.
fn reservation() -> KeyReservation {
    KeyReservation {
        record: digest(&[&owner()]),
        fingerprint: digest(&[b"a request"]),
        owner: owner(),
        principal: Some(half(digest(&[&owner()]))),
        max_keys: 1000,
        lease: Duration::from_secs(20),
        age: Duration::from_secs(60),
    }
}

/// The same request, sent again.
fn again(first: &KeyReservation) -> KeyReservation {
    KeyReservation { owner: owner(), ..first.clone() }
}

fn outcome() -> Bytes {
    Bytes::from_static(b"\x00\xff\r\n")
}

fn finished() -> KeyOutcome {
    KeyOutcome::Finished(outcome())
}

const SHORT: Duration = Duration::from_millis(200);
