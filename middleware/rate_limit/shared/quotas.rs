//! Quotas that an operator has replaced on one server, for all servers that share the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::client::StoreClient;
use super::keys::quota_key;
use crate::middleware::rate_limit::config::clock::until;
use crate::middleware::rate_limit::config::quota::Quota;
use crate::middleware::rate_limit::limiter::Limiter;

impl StoreClient {
    /// Sends quotas that were replaced on this server, and reads those that were replaced on other servers, in the background. Does so at most once in
    /// [`SYNC_EVERY`], and only while requests arrive, which need the quotas.
    pub(crate) fn sync_quotas(self: &Arc<Self>, limiter: &Arc<Limiter>, now: u64) {
        let next = self.next_sync.load(Ordering::Relaxed);
        if now < next {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let later = until(now, SYNC_EVERY);
        if self.next_sync.compare_exchange(next, later, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            let (this, limiter) = (self.clone(), limiter.clone());
            runtime.spawn(async move { this.sync_quotas_now(&limiter).await });
        }
    }

    /// As [`sync_quotas`](StoreClient::sync_quotas), at once.
    pub(crate) fn sync_quotas_soon(self: &Arc<Self>, limiter: &Arc<Limiter>) {
        self.next_sync.store(0, Ordering::Release);
        self.sync_quotas(limiter, limiter.clock.now());
    }

    /// These calls do not count for the breaker: it concerns decisions, and a store that fails to decide may still read.
    async fn sync_quotas_now(self: &Arc<Self>, limiter: &Limiter) {
        let store = &self.limits.store;
        if !self.is_reachable() {
            return;
        }
        for policy in &limiter.settings.policies {
            let key = quota_key(&self.limits.prefix, &policy.name);
            if let Some(quota) = policy.unsent_quota() {
                let text = quota.to_text();
                let sent = timeout(SYNC_EVERY, store.write(&key, &text)).await;
                if matches!(sent, Ok(Ok(()))) {
                    policy.quota_is_sent(quota);
                }
                continue;
            }
            match timeout(SYNC_EVERY, store.read(&key)).await {
                Err(_) | Ok(Err(_)) => {}
                Ok(Ok(None)) => policy.adopt_quota(None),
                // A text that this version cannot read changes nothing.
                Ok(Ok(Some(text))) => {
                    if let Some(quota) = Quota::from_text(&text) {
                        policy.adopt_quota(Some(quota));
                    }
                }
            }
        }
    }
}

/// How often the quotas are read.
const SYNC_EVERY: Duration = Duration::from_secs(1);
