//! A reserved key, while its request runs.

use std::sync::Arc;
use std::time::Duration;

use axum_core::BoxError;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::response::without_body;
use super::store::{AnyStore, KeyOutcome, KeyReservation, KeyState, KeyUpdate};

/// The right to run a request, and the duty to store its outcome.
///
/// If it is dropped, so is the request: its client has disconnected, a timeout has passed, or a handler panicked. The outcome is then unknown, or the
/// key is released if nothing has run yet. If the whole server stops, the store notices that the lease is not renewed.
pub(super) struct Claim {
    store: Arc<dyn AnyStore>,
    reservation: Arc<KeyReservation>,
    runtime: Handle,
    /// What to do if it is dropped; `None` if the outcome is stored already.
    if_dropped: Option<KeyOutcome>,
    renewal: Option<Renewal>,
}

/// The answer of the store, in time.
pub(super) enum Claimed {
    New(Claim),
    /// Another request has the key.
    Taken(KeyState),
    Unreachable(BoxError),
}

impl Claim {
    /// Reserves a key.
    ///
    /// The call runs to completion in a task of its own, even if its answer is too late or the request is dropped: if it has reserved the key, the key
    /// is released again.
    pub(super) async fn reserve(
        store: &Arc<dyn AnyStore>,
        reservation: KeyReservation,
        deadline: Duration,
    ) -> Claimed {
        let Ok(runtime) = Handle::try_current() else {
            return Claimed::Unreachable("there is no runtime of tokio".into());
        };
        let claim = Self {
            store: store.clone(),
            reservation: Arc::new(reservation),
            runtime: runtime.clone(),
            if_dropped: Some(KeyOutcome::Released),
            renewal: None,
        };
        let (answer, answered) = oneshot::channel();
        runtime.spawn(async move {
            // A claim that no request receives is dropped in the channel.
            let _ = answer.send(claim.ask().await);
        });
        match timeout(deadline, answered).await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(_)) => Claimed::Unreachable("the store panicked".into()),
            Err(_) => Claimed::Unreachable("no answer in time".into()),
        }
    }

    async fn ask(mut self) -> Claimed {
        let asked = self.store.reserve_any(&self.reservation);
        // Not the whole lease: the key is released before others find that its lease has ended.
        match timeout(self.reservation.lease / 2, asked).await {
            Ok(Ok(KeyState::Reserved)) => Claimed::New(self),
            Ok(Ok(state)) => {
                self.if_dropped = None;
                Claimed::Taken(state)
            }
            // The key may be reserved nevertheless. It is released when this is dropped.
            Ok(Err(error)) => Claimed::Unreachable(error),
            Err(_) => Claimed::Unreachable("no answer in half of the lease".into()),
        }
    }

    /// From now on the request runs: its lease is renewed, and its outcome is unknown if it is dropped.
    pub(super) fn start(&mut self) {
        self.if_dropped = Some(KeyOutcome::Unknown);
        let (store, reservation) = (self.store.clone(), self.reservation.clone());
        let (stop, mut stopped) = oneshot::channel::<()>();
        let task = self.runtime.spawn(async move {
            let (pause, started) = (reservation.lease / 3, Instant::now());
            // A handler that hangs does not lock its key for ever.
            while started.elapsed() < reservation.age {
                if timeout(pause, &mut stopped).await.is_ok() {
                    return;
                }
                match timeout(pause, store.renew_any(&reservation)).await {
                    Ok(Ok(KeyUpdate::Lost)) => {
                        tracing::warn!("the idempotency key of a running request was lost");
                        return;
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(error, "can't renew the lease of an idempotency key");
                    }
                    Err(_) => tracing::warn!("can't renew the lease of an idempotency key in time"),
                }
            }
        });
        self.renewal = Some(Renewal { stop: Some(stop), task });
    }

    /// Stores the outcome in a task of its own, which runs to completion even if the request is dropped.
    pub(super) fn finish(mut self, outcome: KeyOutcome) -> JoinHandle<()> {
        self.if_dropped = None;
        self.store_outcome(outcome)
    }

    fn store_outcome(&mut self, outcome: KeyOutcome) -> JoinHandle<()> {
        let (store, reservation) = (self.store.clone(), self.reservation.clone());
        // The lease is renewed until the outcome is stored.
        let mut renewal = self.renewal.take();
        self.runtime.spawn(async move {
            // A renewal creates the record again if the store has lost it, so none may arrive after the release.
            if outcome == KeyOutcome::Released
                && let Some(renewal) = renewal.take()
            {
                renewal.end().await;
            }
            keep_trying(&*store, &reservation, outcome).await;
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(outcome) = self.if_dropped.take() {
            if outcome == KeyOutcome::Unknown {
                tracing::warn!(
                    "a request with an idempotency key was dropped: its outcome is unknown"
                );
            }
            // If the runtime is being shut down, the task never runs, and the lease ends.
            self.store_outcome(outcome);
        }
    }
}

/// Renews a lease until this is dropped.
struct Renewal {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Renewal {
    /// Stops, and waits for a call of the store that is still running.
    async fn end(mut self) {
        drop(self.stop.take());
        let _ = (&mut self.task).await;
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Stores an outcome, with pauses and several attempts while the store fails. If none succeeds, the outcome is unknown when the lease ends.
async fn keep_trying(store: &dyn AnyStore, reservation: &KeyReservation, outcome: KeyOutcome) {
    let mut outcome = outcome;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
        }
        let stored = timeout(reservation.lease, store.finish_any(reservation, outcome.clone()));
        match (stored.await, &outcome) {
            (Ok(Ok(KeyUpdate::TooLarge)), KeyOutcome::Finished(bytes)) => {
                tracing::debug!("the store of idempotency keys has no space for a response");
                outcome = KeyOutcome::Finished(without_body(bytes));
            }
            (Ok(Ok(KeyUpdate::Lost)), KeyOutcome::Released) => return,
            (Ok(Ok(KeyUpdate::Lost)), _) => {
                tracing::warn!(
                    "an idempotency key was lost while its request ran: another request has it"
                );
                return;
            }
            (Ok(Ok(_)), _) => return,
            (Ok(Err(error)), _) => {
                tracing::warn!(error, attempt, "can't store the outcome of an idempotency key");
            }
            (Err(_), _) => {
                tracing::warn!(attempt, "can't store the outcome of an idempotency key in time");
            }
        }
    }
}

/// How often the outcome of a request is sent to the store, and the first pause between two attempts. It doubles each time: 6 s together.
const ATTEMPTS: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
