//! What a shared store is told, and needs to say nothing to.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::cached::TRUSTED;
use super::client::{Here, Remote};
use super::keys::block_key;
use super::outbox::{Back, Word};
use super::store::{StoreCall, StoreCharge, StorePlace};
use crate::middleware::rate_limit::checks::Shared;
use crate::middleware::rate_limit::config::clock::until;
use crate::middleware::rate_limit::config::quota::LONGEST;

impl Remote {
    /// Takes charges back, without anybody waiting for it: those of which the store doesn't know yet here, the others there. Whoever has just heard
    /// of the store knows that it is there.
    pub(crate) fn give_back(self: &Arc<Self>, mut keys: Vec<Back>, is_there: bool) {
        let now = self.now();
        keys.retain_mut(|back| {
            back.nanos = self.owed.give_back(&back.name, back.nanos, now);
            back.nanos > 0
        });
        if keys.is_empty() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) if is_there || self.is_reachable() => {
                let this = self.clone();
                runtime.spawn(async move { this.give_back_now(keys).await });
            }
            _ => {
                self.owed.push(Word::GiveBack(keys));
                self.attend();
            }
        }
    }

    /// Takes charges back. A call that failed isn't repeated, since it may have been heard: a client is rather charged for one request
    /// too many than given one twice.
    pub(crate) async fn give_back_now(self: &Arc<Self>, keys: Vec<Back>) -> bool {
        let keys: Vec<_> = keys
            .into_iter()
            .map(|Back { name, nanos, .. }| (name, Duration::from_nanos(nanos)))
            .collect();
        self.tell(|store| async move { store.give_back(&keys).await }).await.is_some()
    }

    /// Frees a place, without anybody waiting for it.
    pub(crate) fn leave(self: &Arc<Self>, place: StorePlace) {
        let until = until(self.now(), place.longest);
        match Handle::try_current() {
            Ok(runtime) if self.is_reachable() => {
                let this = self.clone();
                runtime.spawn(async move { this.leave_now(place, until).await });
            }
            _ => {
                self.owed.push(Word::Leave(place, until));
                self.attend();
            }
        }
    }

    /// Frees a place, or sees to it that it is tried again until it is free by itself.
    pub(crate) async fn leave_now(self: &Arc<Self>, place: StorePlace, until: u64) -> bool {
        let told = place.clone();
        let told = self.tell(|store| async move { store.leave(&told).await }).await.is_some();
        if !told {
            self.owed.push(Word::Leave(place, until));
            self.attend();
        }
        told
    }

    /// Blocks a client on all servers for this time, whatever it was blocked for before. Returns whether the store knows it; if not, it is told later, and
    /// this server is certain of it until then. What is told later never ends a block of another server early.
    pub(crate) async fn block(
        self: &Arc<Self>,
        client: &str,
        (shard, key): (usize, u64),
        time: Duration,
    ) -> bool {
        let name = block_key(client);
        let Some(Here { clock, memory }) = self.here.get() else { return false };
        if time.is_zero() {
            self.owed.forget(std::slice::from_ref(&name));
            return self.call(|store| async move { store.clear(&[name]).await }).await.is_some();
        }
        let (now, end) = (clock.now(), until(clock.now(), time));
        memory.trust(shard, key, now, end);
        let told = self.tell_block(&name, time, time).await;
        if told {
            self.owed.forget(std::slice::from_ref(&name));
            // Who lifts it elsewhere is heard again.
            memory.trust(shard, key, now, until(clock.now(), TRUSTED).min(end));
        } else {
            self.owed.block(&name, (shard, key), clock.now(), |_| end);
            self.attend();
        }
        told
    }

    /// Blocks a client on all servers for at least this time.
    async fn extend_block(
        self: &Arc<Self>,
        name: &str,
        at: (usize, u64),
        time: Duration,
        end: u64,
    ) {
        let Some(Here { clock, memory }) = self.here.get() else { return };
        if !self.tell_block(name, time, LONGEST).await {
            self.owed.block(name, at, clock.now(), |other| other.max(end));
            self.attend();
        } else if !self.owed.has_longer_block(name, end) {
            let now = clock.now();
            memory.trust(at.0, at.1, now, until(now, TRUSTED).min(end));
        }
    }

    /// Tells the store of a block. One that it knows already is shortened to `longest`.
    async fn tell_block(self: &Arc<Self>, name: &str, time: Duration, longest: Duration) -> bool {
        let key = name.to_owned();
        let charge = StoreCharge { key, interval: time, burst: 1, cost: 1, longest };
        let call = StoreCall { charges: vec![charge], forced: true, ..StoreCall::default() };
        self.call(|store| async move { store.take(&call).await }).await.is_some()
    }

    /// Blocks a client on all servers for at least this time, without anybody waiting for it.
    pub(crate) fn block_later(self: &Arc<Self>, client: &str, at: (usize, u64), time: Duration) {
        let Some(here) = self.here.get() else { return };
        let (now, end) = (here.clock.now(), until(here.clock.now(), time));
        here.memory.extend_trust(at.0, at.1, now, end);
        let name = block_key(client);
        match Handle::try_current() {
            Ok(runtime) if self.is_reachable() => {
                let this = self.clone();
                runtime.spawn(async move { this.extend_block(&name, at, time, end).await });
            }
            _ => {
                self.owed.block(&name, at, now, |other| other.max(end));
                self.attend();
            }
        }
    }

    /// Forgets a client.
    pub(crate) async fn clear(self: &Arc<Self>, client: Box<Shared>) -> bool {
        let mut keys = client.names;
        keys.push(block_key(&client.client));
        self.owed.forget(&keys);
        self.call(|store| async move { store.clear(&keys).await }).await.is_some()
    }
}
