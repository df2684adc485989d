//! The circuit breaker: when a limiter calls its store, how failures are counted, and what the supervisor sends for the limiter.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::cached::TRUSTED;
use super::call::{AnswerFuture, LATEST, LateCall, NoAnswer};
use super::client::{LocalState, StoreClient};
use super::health::{PATIENCE, StoreUser};
use super::outbox::{DueCharge, OutboxUpdate};
use super::store::{LimitStore, StoreCall, StoreCharge, StoreError};
use super::supervisor::supervise;
use crate::middleware::rate_limit::config::clock::until;

impl StoreClient {
    /// Whether the store may be called: the breaker is closed, and there is a runtime with timers for the deadline.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.limits.health.is_unreachable() && Handle::try_current().is_ok()
    }

    /// One call of the store within the deadline. `None` if it fails, or if the breaker is open.
    pub(crate) async fn call<T, F>(
        self: &Arc<Self>,
        f: impl FnOnce(Arc<dyn LimitStore>) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
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
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let mut answer = Box::pin(f(self.limits.store.clone()));
        match self.wait(&mut answer).await {
            Ok(answer) => Some(answer),
            Err(NoAnswer::Late(call)) => {
                let this = self.clone();
                tokio::spawn(async move { drop(this.wait_longer(call, answer).await) });
                None
            }
            Err(NoAnswer::Failed | NoAnswer::RefusedKeys) => None,
        }
    }

    /// Waits for an answer, for the deadline, or longer if the store is known to answer late. Counts failures, which may open the breaker.
    pub(crate) async fn wait<T>(
        self: &Arc<Self>,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, NoAnswer> {
        let (health, deadline) = (&self.limits.health, self.limits.deadline);
        let sent = Instant::now();
        let mut answer = pin!(answer);
        let mut answered = timeout(health.patience(deadline), &mut answer).await;
        if answered.is_err() && !health.is_late() && health.has_answered_since(sent) {
            // The store has answered another call meanwhile, so this one is late.
            let longer = deadline.saturating_mul(PATIENCE - 1);
            answered = timeout(longer, &mut answer).await;
        }
        let error = match answered {
            Ok(Ok(answer)) => {
                health.succeeded(sent.elapsed(), deadline);
                return Ok(answer);
            }
            Ok(Err(error)) if error.is_of_keys() => {
                health.succeeded(sent.elapsed(), deadline);
                if !self.has_refused_keys.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the shared store refuses a key: its requests are decided without the store");
                }
                return Err(NoAnswer::RefusedKeys);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let (number, opens) = health.failed(error.is_some());
        if opens {
            match &error {
                Some(error) => tracing::warn!(%error, "the shared store is unreachable"),
                None => {
                    tracing::warn!(
                        ?deadline,
                        "the shared store is unreachable: it does not answer in time"
                    )
                }
            }
            self.supervise();
        }
        Err(if error.is_some() {
            NoAnswer::Failed
        } else {
            NoAnswer::Late(LateCall { number, sent })
        })
    }

    /// Waits for the answer of a call after the deadline.
    pub(crate) async fn wait_longer<T>(
        &self,
        call: LateCall,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        let answer = timeout(LATEST, answer).await.ok()?.ok()?;
        self.limits.health.answered_late(call.number, call.sent.elapsed());
        Some(answer)
    }

    /// Starts the supervisor of the store, unless it runs.
    pub(crate) fn supervise(self: &Arc<Self>) {
        if self.local.get().is_some() {
            supervise(&self.limits.health, self);
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

    /// Sends the charges of these keys. Returns whether the store has answered for any of them, and `None` if there is nothing to send now.
    pub(crate) async fn send_charges_of(self: &Arc<Self>, names: &[String]) -> Option<bool> {
        let local = self.local.get()?;
        let due = names.iter().flat_map(|name| self.outbox.due(name, local.clock.now()));
        let sent = join_all(due.map(|due| self.send_charge(local, due))).await;
        (!sent.is_empty()).then(|| sent.contains(&true))
    }

    /// Sends the charge of one key. Returns whether the store answered in time, be it with a refusal of this key. If it did not, it may still execute the charge, which is not sent
    /// again before that is known.
    async fn send_charge(self: &Arc<Self>, local: &LocalState, mut due: DueCharge) -> bool {
        due.charge.quota = due.quota.map(|rate| self.quota(rate));
        due.charge.window = due.charge.quota.and_then(|quota| quota.window);
        let call =
            StoreCall { charges: vec![due.charge.clone()], forced: true, ..StoreCall::default() };
        let store = self.limits.store.clone();
        let mut answer: AnswerFuture = Box::pin(async move { store.take(&call).await });
        let telling = SendingCharge { shared_store: self.clone(), local: local.clone(), due };
        let answered = self.wait(&mut answer).await;
        match answered {
            Ok(_) => telling.is_done(),
            Err(NoAnswer::Failed | NoAnswer::RefusedKeys) => {}
            Err(NoAnswer::Late(call)) => drop(tokio::spawn(async move {
                if telling.shared_store.wait_longer(call, answer).await.is_some() {
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
        let now = self.local.clock.now();
        self.shared_store.outbox.resolve(&self.due.charge.key, self.due.quota, now);
    }
}

impl StoreUser for StoreClient {
    /// A store may answer a ping and still fail every script, or every write, so a decision is tried too.
    fn probe(self: Arc<Self>) -> BoxFuture<'static, bool> {
        Box::pin(async move {
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
                quota: None,
                longest: interval,
            }];
            let trial = StoreCall { charges, forced: true, ..StoreCall::default() };
            let store = &self.limits.store;
            // The store may have to open a connection first, which takes longer than a call.
            if !matches!(timeout(LONGEST_PING, store.ping()).await, Ok(Ok(()))) {
                return false;
            }
            let patience = self.limits.deadline.saturating_mul(PATIENCE).max(PROBE_DEADLINE);
            matches!(timeout(patience, store.take(&trial)).await, Ok(Ok(_)))
        })
    }

    fn send_updates(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Some(local) = self.local.get() else { return };
            let mut updates = self.outbox.updates();
            while !updates.is_empty() {
                let some = updates.split_off(updates.len().saturating_sub(AT_ONCE));
                let sent = some.into_iter().map(|update| self.send_update(local, update));
                if !join_all(sent).await.contains(&true) {
                    return updates.into_iter().for_each(|update| self.outbox.push(update));
                }
            }
        })
    }

    fn send_charges(self: Arc<Self>) -> BoxFuture<'static, bool> {
        Box::pin(async move {
            let names = self.outbox.names();
            // A few are tried before the rest is sent.
            let (few, many) = names.split_at(names.len().min(A_FEW));
            for names in std::iter::once(few).chain(many.chunks(AT_ONCE)) {
                // In a cluster, some nodes may be unreachable.
                if self.send_charges_of(names).await == Some(false) {
                    return false;
                }
            }
            true
        })
    }

    fn is_done(&self) -> bool {
        self.outbox.is_empty()
    }
}

/// The longest time for a probe to get a connection, and to make a decision.
const LONGEST_PING: Duration = Duration::from_secs(5);
const PROBE_DEADLINE: Duration = Duration::from_secs(1);
/// How many keys are sent at once, and how many first.
const AT_ONCE: usize = 64;
const A_FEW: usize = 8;
