//! The circuit breaker of a shared store: when the store is called, how its failures are counted, and how it is probed until it is reachable again.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::cached::TRUSTED;
use super::call::{AnswerFuture, LATEST, NoAnswer};
use super::client::{LocalState, StoreClient};
use super::outbox::{DueCharge, OutboxUpdate};
use super::store::{LimitStore, StoreCall, StoreCharge, StoreError};
use crate::middleware::rate_limit::config::clock::until;

impl StoreClient {
    /// Whether the store may be called: the breaker is closed, and there is a runtime with timers for the deadline.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.unreachable.load(Ordering::Acquire) && Handle::try_current().is_ok()
    }

    /// One call of the store within the deadline. `None` if it fails, or if the breaker is open.
    pub(crate) async fn call<T, F>(
        self: &Arc<Self>,
        f: impl FnOnce(Arc<dyn LimitStore>) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        if !self.is_reachable() {
            return None;
        }
        self.call_now(f).await
    }

    /// As [`call`](StoreClient::call), but made also while the breaker is open: the caller knows that the store is reachable.
    pub(crate) async fn call_now<T, F>(
        self: &Arc<Self>,
        f: impl FnOnce(Arc<dyn LimitStore>) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.wait(f(self.limits.store.clone())).await.ok()
    }

    /// Waits for an answer within the deadline. Counts failures, and opens the breaker after too many in a row.
    pub(crate) async fn wait<T>(
        self: &Arc<Self>,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, NoAnswer> {
        let error = match timeout(self.limits.deadline, answer).await {
            Ok(Ok(answer)) => {
                self.failures.store(0, Ordering::Relaxed);
                return Ok(answer);
            }
            Ok(Err(error)) if error.is_of_keys() => {
                self.failures.store(0, Ordering::Relaxed);
                if !self.has_refused_keys.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the shared store refuses a key: its requests are decided without the store");
                }
                return Err(NoAnswer::RefusedKeys);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let failures = self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if failures >= FAILURES && !self.unreachable.swap(true, Ordering::AcqRel) {
            match &error {
                Some(error) => tracing::error!(%error, "the shared store is unreachable"),
                None => {
                    tracing::error!(deadline = ?self.limits.deadline, "the shared store is unreachable: it does not answer in time")
                }
            }
            self.supervise();
        }
        Err(if error.is_some() { NoAnswer::Failed } else { NoAnswer::Late })
    }

    /// Starts the supervisor, unless it runs: it probes an unreachable store and sends the outbox.
    pub(crate) fn supervise(self: &Arc<Self>) {
        let (Ok(runtime), Some(local)) = (Handle::try_current(), self.local.get()) else { return };
        if !self.is_supervised.load(Ordering::Relaxed)
            && !self.is_supervised.swap(true, Ordering::AcqRel)
        {
            let attendant =
                StoreSupervisor { shared_store: Arc::downgrade(self), local: local.clone() };
            runtime.spawn(attendant.run());
        }
    }

    /// Whether the store is reachable and executes a decision. A store may answer a ping and still fail every script, or every write.
    async fn answers(&self) -> bool {
        // The key changes each time, so each probe may reach another node of a cluster.
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let key = format!("{}:{{#{number}}}:#probe", self.limits.prefix);
        let interval = Duration::from_millis(1);
        let charges = vec![StoreCharge {
            key,
            interval,
            burst: 1,
            cost: 1,
            shadow: false,
            window: None,
            longest: interval,
        }];
        let trial = StoreCall { charges, forced: true, ..StoreCall::default() };
        let store = &self.limits.store;
        let plan = async {
            store.ping().await?;
            store.take(&trial).await
        };
        matches!(timeout(self.limits.deadline.max(PROBE_EVERY), plan).await, Ok(Ok(_)))
    }

    /// Closes the breaker. The next failure opens it again.
    fn mark_reachable(&self) {
        self.failures.store(FAILURES - 1, Ordering::Relaxed);
        self.unreachable.store(false, Ordering::Release);
    }

    /// Sends refunds and released slots, until a call fails.
    async fn send_updates(self: &Arc<Self>, local: &LocalState) {
        let mut updates = self.outbox.updates();
        while !updates.is_empty() {
            let some = updates.split_off(updates.len().saturating_sub(AT_ONCE));
            let is_sent =
                join_all(some.into_iter().map(|word| self.send_update(local, word))).await;
            if !is_sent.contains(&true) {
                return updates.into_iter().for_each(|word| self.outbox.push(word));
            }
        }
    }

    async fn send_update(self: &Arc<Self>, local: &LocalState, word: OutboxUpdate) -> bool {
        let now = local.clock.now();
        match word {
            OutboxUpdate::Leave(_, until) if until <= now => true,
            OutboxUpdate::Leave(slot, until) => self.release_now(slot, until).await,
            OutboxUpdate::GiveBack(mut keys) => {
                keys.retain_mut(|back| {
                    back.nanos = back.nanos.min(back.end.saturating_sub(now));
                    back.nanos > 0
                });
                keys.is_empty() || self.refund_now(keys).await
            }
        }
    }

    /// Sends charges and blocks. Returns whether the store accepts them: a few are tried before the rest is sent.
    async fn send_charges(self: &Arc<Self>, local: &LocalState) -> bool {
        let now = || local.clock.now();
        let names = self.outbox.names();
        let (few, many) = names.split_at(names.len().min(A_FEW));
        for names in std::iter::once(few).chain(many.chunks(AT_ONCE)) {
            let due = names.iter().filter_map(|name| self.outbox.due(name, now()));
            let is_sent = join_all(due.map(|due| self.send_charge(local, due))).await;
            // In a cluster, some nodes may be unreachable.
            if !is_sent.is_empty() && !is_sent.contains(&true) {
                return false;
            }
        }
        true
    }

    /// Sends the charge of one key. Returns whether the store answered in time, be it with a refusal of this key. If it did not, it may still execute the charge, which is not sent
    /// again before that is known.
    async fn send_charge(self: &Arc<Self>, local: &LocalState, mut due: DueCharge) -> bool {
        due.charge.window = due.window.and_then(|rate| self.window(rate));
        let call =
            StoreCall { charges: vec![due.charge.clone()], forced: true, ..StoreCall::default() };
        let store = self.limits.store.clone();
        let mut answer: AnswerFuture = Box::pin(async move { store.take(&call).await });
        let telling = SendingCharge { shared_store: self.clone(), local: local.clone(), due };
        let answered = self.wait(&mut answer).await;
        match answered {
            Ok(_) => telling.is_done(),
            Err(NoAnswer::Failed | NoAnswer::RefusedKeys) => {}
            Err(NoAnswer::Late) => drop(tokio::spawn(async move {
                if let Ok(Ok(_)) = timeout(LATEST, answer).await {
                    telling.is_done();
                }
            })),
        }
        matches!(answered, Ok(_) | Err(NoAnswer::RefusedKeys))
    }
}

/// A charge that is being sent. When it is dropped, it may be sent again.
struct SendingCharge {
    shared_store: Arc<StoreClient>,
    local: LocalState,
    due: DueCharge,
}

impl SendingCharge {
    fn is_done(&self) {
        self.shared_store.outbox.is_sent(&self.due);
        if let Some((shard, key)) = self.due.block {
            // A server that lifts the block must take effect here again.
            let now = self.local.clock.now();
            self.local.memory.trust(shard, key, now, until(now, TRUSTED));
        }
    }
}

impl Drop for SendingCharge {
    fn drop(&mut self) {
        self.shared_store.outbox.resolve(&self.due.charge.key, self.local.clock.now());
    }
}

/// The task that probes an unreachable store and sends the outbox. It ends when the store is reachable and the outbox is empty.
struct StoreSupervisor {
    shared_store: Weak<StoreClient>,
    local: LocalState,
}

impl StoreSupervisor {
    async fn run(self) {
        // How many probes in a row have succeeded while the breaker is open.
        let mut answers = 0;
        loop {
            sleep(PROBE_EVERY).await;
            let Some(shared_store) = self.shared_store.upgrade() else { return };
            if shared_store.unreachable.load(Ordering::Acquire) {
                answers = if shared_store.answers().await { answers + 1 } else { 0 };
                // Each server sends first its released slots and refunds, then its charges, and only after that closes the breaker. When the first
                // request reaches the store again, the store knows what all servers have admitted.
                match answers {
                    0 => {}
                    1 => shared_store.send_updates(&self.local).await,
                    2 if shared_store.send_charges(&self.local).await => {}
                    2 => answers = 0,
                    _ => {
                        answers = 0;
                        shared_store.mark_reachable();
                        tracing::info!("the shared store is reachable again");
                    }
                }
                continue;
            }
            shared_store.send_updates(&self.local).await;
            shared_store.send_charges(&self.local).await;
            if shared_store.outbox.is_empty() && shared_store.is_reachable() {
                return;
            }
        }
    }
}

/// The runtime may end while the store is unreachable. Then the next request calls the store, and starts a new supervisor if that fails.
impl Drop for StoreSupervisor {
    fn drop(&mut self) {
        if let Some(shared_store) = self.shared_store.upgrade() {
            if shared_store.unreachable.load(Ordering::Acquire) {
                shared_store.mark_reachable();
            }
            shared_store.is_supervised.store(false, Ordering::Release);
        }
    }
}

/// The breaker opens after this many failures in a row.
const FAILURES: u32 = 5;
const PROBE_EVERY: Duration = Duration::from_millis(150);
/// How many keys are sent at once, and how many first.
const AT_ONCE: usize = 64;
const A_FEW: usize = 8;
