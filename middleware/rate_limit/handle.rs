//! A limiter in one's hand, while it runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::decision::Standing;
use super::key::Subject;
use super::limiter::{Limiter, until};
use super::memory::{Ask, Outcome};
use super::quota::Quota;

/// Looks into a running limiter and changes it. Made by [`RateLimit::handle`](crate::RateLimit::handle).
///
/// A client is named as its key names it: by its address for the default key, by the text of a header, by what a function found. What is
/// asked concerns all policies at once; those that know the client by another key are untouched.
///
/// With a [shared](crate::RateLimit::shared) store the calls reach it, within its deadline; other servers may still refuse for a moment what they know to
/// have been used up. Blocks are those of this server.
///
/// # Example
///
/// ```
/// # futures_util::FutureExt::now_or_never(async {
/// use std::net::Ipv4Addr;
/// use tower_chain::RateLimit;
///
/// let limit = RateLimit::per_minute(10);
/// let handle = limit.handle();
/// let client = Ipv4Addr::new(192, 0, 2, 7);
///
/// handle.charge(client, 4).await;
/// assert_eq!(handle.peek(client).await[0].remaining(), 6);
/// handle.reset(client).await;
/// assert_eq!(handle.peek(client).await[0].remaining(), 10);
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitHandle {
    pub(crate) limiter: Arc<Limiter>,
}

impl RateLimitHandle {
    /// How a client stands with each policy. Nothing is charged.
    pub async fn peek(&self, client: impl Into<Subject>) -> Vec<Standing> {
        let limiter = &self.limiter;
        let mut asked = limiter.ask_for(client.into().named(), 0);
        if let Some(remote) = &limiter.remote
            && let Some(answer) = remote.take(&asked, 0, false, 0).await
        {
            let now = limiter.clock.now();
            for (check, charged) in asked.checks.iter().zip(&answer.charged_for) {
                limiter.memory.change(check.shard, check.key, now, |_| until(now, *charged));
            }
        }
        limiter.look(&mut asked)
    }

    /// Forgets a client: its quotas are full again, and it is no longer blocked.
    ///
    /// Returns `false` if the shared store could not be reached.
    pub async fn reset(&self, client: impl Into<Subject>) -> bool {
        let limiter = &self.limiter;
        let asked = limiter.ask_for(client.into().named(), 0);
        let now = limiter.clock.now();
        for check in &asked.checks {
            limiter.memory.change(check.shard, check.key, now, |_| 0);
            limiter.memory.end_lease(check.shard, check.key);
        }
        let (shard, key) = limiter.block_of(&asked);
        limiter.memory.change(shard, key, now, |_| 0);
        match &limiter.remote {
            Some(remote) => remote.clear(asked.names).await,
            None => true,
        }
    }

    /// Gives so many requests back to a client, never more than it has used.
    pub async fn refund(&self, client: impl Into<Subject>, requests: u32) {
        let limiter = &self.limiter;
        let asked = limiter.ask_for(client.into().named(), requests);
        let now = limiter.clock.now();
        let mut keys = Vec::new();
        for (at, check) in asked.checks.iter().enumerate() {
            let Ask::Charge { rate, cost, .. } = check.ask else { continue };
            let back = rate.charge(cost);
            limiter.memory.change(check.shard, check.key, now, |until| until.saturating_sub(back));
            if let Some(name) = asked.names.get(at) {
                keys.push((name.clone(), Duration::from_nanos(back)));
            }
        }
        if let Some(remote) = &limiter.remote {
            remote.give_back(keys);
        }
    }

    /// Charges a client for so many requests, or for as many as it has left.
    pub async fn charge(&self, client: impl Into<Subject>, requests: u32) {
        let limiter = &self.limiter;
        let asked = limiter.ask_for(client.into().named(), requests);
        let now = limiter.clock.now();
        for check in &asked.checks {
            let Ask::Charge { rate, cost, .. } = check.ask else { continue };
            limiter.memory.change(check.shard, check.key, now, |until| {
                let most = now.saturating_add(rate.whole());
                until.max(now).saturating_add(rate.charge(cost)).min(most.max(until))
            });
        }
        if let Some(remote) = &limiter.remote {
            remote.take(&asked, 0, true, 0).await;
        }
    }

    /// Refuses all requests of a client for a time. Blocking it again sets the time anew; a time of zero lifts the block.
    ///
    /// Returns `false` if there was no room to remember it.
    pub fn block(&self, client: impl Into<Subject>, time: Duration) -> bool {
        let limiter = &self.limiter;
        limiter.blocks.store(true, Ordering::Release);
        let asked = limiter.ask_for(client.into().named(), 0);
        let (shard, key) = limiter.block_of(&asked);
        let now = limiter.clock.now();
        limiter.memory.change(shard, key, now, |_| until(now, time))
    }

    /// For which time a client is still blocked; `None` if it isn't.
    pub fn blocked_for(&self, client: impl Into<Subject>) -> Option<Duration> {
        let limiter = &self.limiter;
        let asked = limiter.ask_for(client.into().named(), 0);
        let (shard, key) = limiter.block_of(&asked);
        let left = limiter.memory.look(shard, key).0.saturating_sub(limiter.clock.now());
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// Changes the quota of the policy with this name, for all requests from now on. Clients keep what they have used.
    ///
    /// Returns `false` if there is no such policy.
    pub fn set_quota(&self, policy: &str, quota: Quota) -> bool {
        let found = self.limiter.policies.iter().find(|known| &*known.name == policy);
        found.inspect(|policy| policy.set_quota(quota)).is_some()
    }

    /// How many keys are remembered on this server.
    pub fn keys(&self) -> usize {
        self.limiter.memory.len()
    }

    /// How many bytes these keys take.
    pub fn bytes(&self) -> usize {
        self.limiter.memory.bytes()
    }

    /// Whether a request of a client would be admitted now, by what this server knows. Nothing is charged.
    pub fn would_admit(&self, client: impl Into<Subject>) -> bool {
        let client = client.into();
        let mut asked = self.limiter.ask_for(client.named(), 1);
        self.limiter.look(&mut asked);
        asked.checks.iter().all(|check| check.outcome == Outcome::Admitted)
            && self.blocked_for(client).is_none()
    }
}
