//! Updates of the shared store for which no request waits: refunds, released slots and blocks.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::cached::TRUSTED;
use super::client::{LocalState, StoreClient};
use super::keys::block_key;
use super::outbox::{OutboxUpdate, Refund};
use super::store::{StoreCall, StoreCharge, StoreRefund, StoreSlot, StoreTurn};
use crate::middleware::rate_limit::config::clock::until;
use crate::middleware::rate_limit::config::quota::LONGEST;

impl StoreClient {
    /// Refunds charges in the background: first those that are still in the outbox, the others in the store. `is_reachable` is set by a caller that
    /// has just received an answer.
    pub(crate) fn refund(self: &Arc<Self>, mut keys: Vec<Refund>, is_there: bool) {
        let now = self.now();
        keys.retain_mut(|back| {
            back.nanos = self.outbox.refund(back, now);
            back.nanos > 0
        });
        if keys.is_empty() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) if is_there || self.is_reachable() => {
                let this = self.clone();
                runtime.spawn(async move { this.refund_now(keys).await });
            }
            _ => {
                self.outbox.push(OutboxUpdate::GiveBack(keys));
                self.supervise();
            }
        }
    }

    /// Refunds charges. A call that failed is not repeated, since it may have been executed: a client is charged for one request too many rather than
    /// given one twice.
    pub(crate) async fn refund_now(self: &Arc<Self>, keys: Vec<Refund>) -> bool {
        let keys: Vec<_> = keys
            .into_iter()
            .map(|Refund { name, quota, nanos, .. }| StoreRefund {
                key: name,
                quota: quota.map(|rate| self.quota(rate)),
                time: Duration::from_nanos(nanos),
            })
            .collect();
        self.call_now(|store| async move { store.refund_charges(&keys).await }).await.is_some()
    }

    /// Releases a slot in the background, and no longer renews it.
    pub(crate) fn release(self: &Arc<Self>, slot: StoreSlot) {
        if !self.stop_renewing(&slot) {
            return;
        }
        let until = until(self.now(), slot.longest);
        match Handle::try_current() {
            Ok(runtime) if self.is_reachable() => {
                let this = self.clone();
                runtime.spawn(async move { this.release_now(slot, until).await });
            }
            _ => {
                self.outbox.push(OutboxUpdate::Leave(slot, until));
                self.supervise();
            }
        }
    }

    /// Leaves the line for the slots of a subject, in the background. If that fails, the place expires.
    pub(crate) fn leave_line(self: &Arc<Self>, turn: StoreTurn) {
        if let Ok(runtime) = Handle::try_current() {
            let this = self.clone();
            runtime.spawn(async move {
                this.call(|store| async move { store.leave_line(&turn).await }).await;
            });
        }
    }

    /// Releases a slot. A failed call is repeated until the slot expires.
    pub(crate) async fn release_now(self: &Arc<Self>, slot: StoreSlot, until: u64) -> bool {
        let is_sent = slot.clone();
        let is_sent =
            self.call_now(|store| async move { store.release(&is_sent).await }).await.is_some();
        if !is_sent {
            self.outbox.push(OutboxUpdate::Leave(slot, until));
            self.supervise();
        }
        is_sent
    }

    /// Sets the block of a subject on all servers, whether that is longer or shorter than before. Returns whether the store knows it. If not, it is
    /// sent later, and until then this server uses its own time; when it is sent later, it never shortens a block of another server.
    pub(crate) async fn block(
        self: &Arc<Self>,
        subject: &str,
        (shard, key): (usize, u64),
        time: Duration,
    ) -> bool {
        let name = block_key(subject);
        let Some(LocalState { clock, memory }) = self.local.get() else { return false };
        if time.is_zero() {
            self.outbox.forget(std::slice::from_ref(&name));
            return self.call(|store| async move { store.clear(&[name]).await }).await.is_some();
        }
        let (now, end) = (clock.now(), until(clock.now(), time));
        memory.trust(shard, key, now, end);
        let is_sent = self.send_block(&name, time, time).await;
        if is_sent {
            self.outbox.forget(std::slice::from_ref(&name));
            // A server that lifts the block must take effect here again.
            memory.trust(shard, key, now, until(clock.now(), TRUSTED).min(end));
        } else {
            self.outbox.block(&name, (shard, key), clock.now(), |_| end);
            self.supervise();
        }
        is_sent
    }

    /// Blocks a subject on all servers for at least this time.
    async fn extend_block(
        self: &Arc<Self>,
        name: &str,
        at: (usize, u64),
        time: Duration,
        end: u64,
    ) {
        let Some(LocalState { clock, memory }) = self.local.get() else { return };
        if !self.send_block(name, time, LONGEST).await {
            self.outbox.block(name, at, clock.now(), |other| other.max(end));
            self.supervise();
        } else if !self.outbox.has_longer_block(name, end) {
            let now = clock.now();
            memory.trust(at.0, at.1, now, until(now, TRUSTED).min(end));
        }
    }

    /// Sends a block. One that is stored already is shortened to `longest`.
    async fn send_block(self: &Arc<Self>, name: &str, time: Duration, longest: Duration) -> bool {
        let key = name.to_owned();
        let charge = StoreCharge {
            key,
            interval: time,
            burst: 1,
            cost: 1,
            shadow: false,
            window: None,
            quota: None,
            longest,
        };
        let call = StoreCall { charges: vec![charge], forced: true, ..StoreCall::default() };
        self.call(|store| async move { store.take(&call).await }).await.is_some()
    }

    /// Blocks a subject on all servers for at least this time, in the background.
    pub(crate) fn block_later(self: &Arc<Self>, subject: &str, at: (usize, u64), time: Duration) {
        let Some(local) = self.local.get() else { return };
        let (now, end) = (local.clock.now(), until(local.clock.now(), time));
        local.memory.extend_trust(at.0, at.1, now, end);
        let name = block_key(subject);
        match Handle::try_current() {
            Ok(runtime) if self.is_reachable() => {
                let this = self.clone();
                runtime.spawn(async move { this.extend_block(&name, at, time, end).await });
            }
            _ => {
                self.outbox.block(&name, at, now, |other| other.max(end));
                self.supervise();
            }
        }
    }

    /// Removes keys, such as those of a client.
    pub(crate) async fn clear(self: &Arc<Self>, keys: Vec<String>) -> bool {
        self.outbox.forget(&keys);
        self.call(|store| async move { store.clear(&keys).await }).await.is_some()
    }
}
