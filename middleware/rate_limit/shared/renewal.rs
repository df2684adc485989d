//! The renewal of slots in the shared store, for as long as their work runs on this server.
//!
//! A slot in the store expires after a time, so the slots of a server that crashed are free again. One task of each limiter renews its slots before that.

use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::client::StoreClient;
use super::slots::{RenewedSlot, RenewedSlots};
use super::store::StoreSlot;

impl StoreClient {
    /// Renews a slot until it is released. If the store does not contain it yet, it is sent as soon as the store is reachable.
    pub(crate) fn renew(self: &Arc<Self>, slot: StoreSlot, is_sent: bool) {
        if !self.limits.store.supports_renewal() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let after = if is_sent { slot.longest / RENEW_AFTER } else { Duration::ZERO };
        let renewed = RenewedSlot { due: Instant::now() + after, slot, is_sent };
        let mut all = self.renewed();
        all.slots.insert(renewed.slot.id.clone(), renewed);
        if !std::mem::replace(&mut all.has_task, true) {
            let task = RenewalTask { client: Arc::downgrade(self), has_ended: false };
            runtime.spawn(task.run(self.renewal_pause()));
        }
    }

    /// Stops renewing a slot that is released. Returns whether it must be released in the store.
    pub(super) fn stop_renewing(&self, slot: &StoreSlot) -> bool {
        self.renewed().slots.remove(&slot.id).is_none_or(|renewed| renewed.is_sent)
    }

    /// Renews the slots that are due. Returns whether any slot is left.
    async fn renew_due(self: &Arc<Self>) -> bool {
        let due: Vec<StoreSlot> = {
            let mut all = self.renewed();
            if all.slots.is_empty() {
                all.has_task = false;
                return false;
            }
            let now = Instant::now();
            // A probe of the supervisor must find the store reachable first. A slot that is due then is still due later.
            let is_reachable = self.is_reachable();
            let due = all.slots.values_mut().filter(|renewed| is_reachable && renewed.due <= now);
            due.map(|renewed| {
                renewed.is_sent = true;
                renewed.slot.clone()
            })
            .collect()
        };
        for some in due.chunks(AT_ONCE) {
            join_all(some.iter().map(|slot| self.renew_now(slot.clone()))).await;
        }
        true
    }

    async fn renew_now(self: &Arc<Self>, slot: StoreSlot) {
        let sent = slot.clone();
        let renewed = self.call(|store| async move { store.renew(&sent).await }).await;
        let is_released = match (self.renewed().slots.get_mut(&slot.id), renewed) {
            (Some(known), Some(())) => {
                known.due = Instant::now() + slot.longest / RENEW_AFTER;
                false
            }
            // It is due again after the next pause.
            (Some(_), None) => false,
            // The work has ended during the call, which may have taken the slot again.
            (None, _) => true,
        };
        if is_released {
            self.release(slot);
        }
    }

    fn renewal_pause(&self) -> Duration {
        (self.limits.longest_request / RETRY_AFTER).max(SHORTEST_PAUSE)
    }

    fn renewed(&self) -> MutexGuard<'_, RenewedSlots> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that renews the slots of a limiter. It ends when no slot is left.
struct RenewalTask {
    client: Weak<StoreClient>,
    has_ended: bool,
}

impl RenewalTask {
    async fn run(mut self, pause: Duration) {
        while !self.has_ended {
            sleep(pause).await;
            self.has_ended = match self.client.upgrade() {
                Some(client) => !client.renew_due().await,
                None => true,
            };
        }
    }
}

/// The runtime may end before the task. Then the next slot starts a new one.
impl Drop for RenewalTask {
    fn drop(&mut self) {
        if let (false, Some(client)) = (self.has_ended, self.client.upgrade()) {
            client.renewed().has_task = false;
        }
    }
}

/// A slot is renewed after this part of its time, and again after that part if it fails.
const RENEW_AFTER: u32 = 3;
const RETRY_AFTER: u32 = 6;
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
/// How many slots are renewed at once.
const AT_ONCE: usize = 64;
