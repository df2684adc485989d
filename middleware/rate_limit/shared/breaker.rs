//! When the shared store is asked and when it isn't, and who tells it what it missed.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::cached::TRUSTED;
use super::call::{Answering, LATEST, Unheard};
use super::client::{Here, Remote};
use super::outbox::{Due, Word};
use super::store::{LimitStore, StoreCall, StoreCharge, StoreError};
use crate::middleware::rate_limit::config::clock::until;

impl Remote {
    /// Whether the store may be asked: it isn't away, and there is a runtime that keeps the deadline.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.away.load(Ordering::Acquire) && Handle::try_current().is_ok()
    }

    /// One call of the store within the deadline; `None` if it failed, or isn't tried because it failed before.
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
        self.tell(f).await
    }

    /// As [`call`](Remote::call), by whoever knows that the store is there.
    pub(crate) async fn tell<T, F>(
        self: &Arc<Self>,
        f: impl FnOnce(Arc<dyn LimitStore>) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.hear(f(self.with.store.clone())).await.ok()
    }

    /// Waits for an answer of the store within the deadline, and learns from it whether the store is there.
    pub(crate) async fn hear<T>(
        self: &Arc<Self>,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Unheard> {
        let error = match timeout(self.with.deadline, answer).await {
            Ok(Ok(answer)) => {
                self.failures.store(0, Ordering::Relaxed);
                return Ok(answer);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let failures = self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if failures >= FAILURES && !self.away.swap(true, Ordering::AcqRel) {
            match &error {
                Some(error) => tracing::error!(%error, "the shared store is away"),
                None => {
                    tracing::error!(deadline = ?self.with.deadline, "the shared store is away: it does not answer in time")
                }
            }
            self.attend();
        }
        Err(if error.is_some() { Unheard::Failed } else { Unheard::Late })
    }

    /// Sees to it that somebody asks for a store that is away, and tells it what it missed.
    pub(crate) fn attend(self: &Arc<Self>) {
        let (Ok(runtime), Some(here)) = (Handle::try_current(), self.here.get()) else { return };
        if !self.attended.load(Ordering::Relaxed) && !self.attended.swap(true, Ordering::AcqRel) {
            let attendant = Attendant { remote: Arc::downgrade(self), here: here.clone() };
            runtime.spawn(attendant.run());
        }
    }

    /// Whether the store answers, and runs what decides: a store may well know that it is there and still run no script, or write nothing.
    async fn answers(&self) -> bool {
        // Each time another node of a cluster.
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let key = format!("{}:{{#{number}}}:#probe", self.with.prefix);
        let interval = Duration::from_millis(1);
        let charges = vec![StoreCharge { key, interval, burst: 1, cost: 1, longest: interval }];
        let trial = StoreCall { charges, forced: true, ..StoreCall::default() };
        let store = &self.with.store;
        let asked = async {
            store.ping().await?;
            store.take(&trial).await
        };
        matches!(timeout(self.with.deadline.max(PROBE_EVERY), asked).await, Ok(Ok(_)))
    }

    /// Asks the store again from now on; the next failure is enough to stop.
    fn come_back(&self) {
        self.failures.store(FAILURES - 1, Ordering::Relaxed);
        self.away.store(false, Ordering::Release);
    }

    /// Tells the store what is free again, until it fails.
    async fn tell_words(self: &Arc<Self>, here: &Here) {
        let mut words = self.owed.words();
        while !words.is_empty() {
            let some = words.split_off(words.len().saturating_sub(AT_ONCE));
            let told = join_all(some.into_iter().map(|word| self.tell_word(here, word))).await;
            if !told.contains(&true) {
                return words.into_iter().for_each(|word| self.owed.push(word));
            }
        }
    }

    async fn tell_word(self: &Arc<Self>, here: &Here, word: Word) -> bool {
        let now = here.clock.now();
        match word {
            Word::Leave(_, until) if until <= now => true,
            Word::Leave(place, until) => self.leave_now(place, until).await,
            Word::GiveBack(mut keys) => {
                keys.retain_mut(|back| {
                    back.nanos = back.nanos.min(back.end.saturating_sub(now));
                    back.nanos > 0
                });
                keys.is_empty() || self.give_back_now(keys).await
            }
        }
    }

    /// Tells the store what was charged and who was blocked without it. Returns whether it takes that: a few try it before the many.
    async fn tell_debts(self: &Arc<Self>, here: &Here) -> bool {
        let now = || here.clock.now();
        let names = self.owed.names();
        let (few, many) = names.split_at(names.len().min(A_FEW));
        for names in std::iter::once(few).chain(many.chunks(AT_ONCE)) {
            let due = names.iter().filter_map(|name| self.owed.due(name, now()));
            let told = join_all(due.map(|due| self.tell_debt(here, due))).await;
            // Of a cluster some nodes may be away.
            if !told.is_empty() && !told.contains(&true) {
                return false;
            }
        }
        true
    }

    /// Tells the store of one key. Returns whether it answered in time; if not, it may have heard, and isn't told again before that is known.
    async fn tell_debt(self: &Arc<Self>, here: &Here, due: Due) -> bool {
        let call =
            StoreCall { charges: vec![due.charge.clone()], forced: true, ..StoreCall::default() };
        let store = self.with.store.clone();
        let mut answer: Answering = Box::pin(async move { store.take(&call).await });
        let telling = Telling { remote: self.clone(), here: here.clone(), due };
        let heard = self.hear(&mut answer).await;
        match heard {
            Ok(_) => telling.is_heard(),
            Err(Unheard::Failed) => {}
            Err(Unheard::Late) => drop(tokio::spawn(async move {
                if let Ok(Ok(_)) = timeout(LATEST, answer).await {
                    telling.is_heard();
                }
            })),
        }
        heard.is_ok()
    }
}

/// What the store is being told. Dropped, it can be told again.
struct Telling {
    remote: Arc<Remote>,
    here: Here,
    due: Due,
}

impl Telling {
    fn is_heard(&self) {
        self.remote.owed.told(&self.due);
        if let Some((shard, key)) = self.due.block {
            // Who lifts it elsewhere is heard again.
            let now = self.here.clock.now();
            self.here.memory.trust(shard, key, now, until(now, TRUSTED));
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.remote.owed.undoubt(&self.due.charge.key, self.here.clock.now());
    }
}

/// Who asks for a store that is away and tells it what it missed.
struct Attendant {
    remote: Weak<Remote>,
    here: Here,
}

impl Attendant {
    async fn run(self) {
        // For how many times in a row the store has answered while it was thought to be away.
        let mut answers = 0;
        loop {
            sleep(PROBE_EVERY).await;
            let Some(remote) = self.remote.upgrade() else { return };
            if remote.away.load(Ordering::Acquire) {
                answers = if remote.answers().await { answers + 1 } else { 0 };
                // All servers say what is free, then what was charged, and only then go by what the store says: it knows of all by then.
                match answers {
                    0 => {}
                    1 => remote.tell_words(&self.here).await,
                    2 if remote.tell_debts(&self.here).await => {}
                    2 => answers = 0,
                    _ => {
                        answers = 0;
                        remote.come_back();
                        tracing::info!("the shared store is back");
                    }
                }
                continue;
            }
            remote.tell_words(&self.here).await;
            remote.tell_debts(&self.here).await;
            if remote.owed.is_told() && remote.is_reachable() {
                return;
            }
        }
    }
}

/// Its runtime may end before the store is back: then the next request asks the store, and finds another one for this.
impl Drop for Attendant {
    fn drop(&mut self) {
        if let Some(remote) = self.remote.upgrade() {
            if remote.away.load(Ordering::Acquire) {
                remote.come_back();
            }
            remote.attended.store(false, Ordering::Release);
        }
    }
}

/// After so many failures in a row the store counts as away.
const FAILURES: u32 = 5;
const PROBE_EVERY: Duration = Duration::from_millis(150);
/// How many keys the store is told of at once, and how many at first.
const AT_ONCE: usize = 64;
const A_FEW: usize = 8;
