//! How a request is decided upon: what is asked of the memory, and what is made of the answer.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, Method};

use super::answer::{Answer, Charged, Refused};
use super::asked::{Asked, Hashes, STRIKE, mix};
use super::check::{Ask, Check};
use super::clock::{LimitClock, nanos};
use super::decision::Decision;
use super::fields::{self, Fields, LimitHeaders, State};
use super::key::{Kind, LimitKey, Subject};
use super::lints::Lints;
use super::memory::{Charge, Memory};
use super::policy::Policy;
use super::quota::Quota;
use super::remote::{Here, Remote};
use super::totals::Counters;
use crate::extract::{ClientAddr, Network, PeerAddr, TrustedProxies};
use crate::{Request, Response};

pub(crate) type Predicate = Arc<dyn Fn(&Request) -> bool + Send + Sync>;
pub(crate) type Reject = Arc<dyn Fn(&Request, &Decision) -> Response + Send + Sync>;
pub(crate) type Observe = Arc<dyn Fn(&Request, &Decision) + Send + Sync>;

/// All that a limiter is.
#[derive(Clone)]
pub(crate) struct Limiter {
    pub(crate) policies: Vec<Policy>,
    pub(crate) key: LimitKey,
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) skip: Vec<Predicate>,
    pub(crate) skip_clients: Vec<Network>,
    pub(crate) count: Option<Count>,
    pub(crate) penalty: Option<Penalty>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) delay: Duration,
    pub(crate) shadow: bool,
    pub(crate) headers: Vec<LimitHeaders>,
    pub(crate) exposed: Option<Vec<HeaderName>>,
    pub(crate) reject: Option<Reject>,
    pub(crate) observe: Option<Observe>,
    pub(crate) clock: LimitClock,
    pub(crate) memory: Arc<Memory>,
    pub(crate) remote: Option<Arc<Remote>>,
    /// Whether [`Limiter::charge_once`] may do.
    pub(crate) is_simple: bool,
    /// Whether anybody was ever blocked; until then nobody looks for it.
    pub(crate) blocks: Arc<AtomicBool>,
    pub(crate) jitter: Duration,
    pub(crate) lints: Arc<Lints>,
    pub(crate) counters: Arc<Counters>,
}

/// Which responses count.
#[derive(Clone)]
pub(crate) struct Count {
    pub(crate) counts: Arc<dyn Fn(&Response) -> bool + Send + Sync>,
    /// Whether a request counts that was dropped before it was answered.
    pub(crate) dropped: bool,
}

/// So many refusals, and a client is blocked for a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Penalty {
    pub(crate) strikes: Quota,
    pub(crate) block: Duration,
}

impl Limiter {
    pub(crate) fn skips(&self, req: &Request) -> bool {
        self.skip.iter().any(|skip| skip(req))
            || (!self.skip_clients.is_empty()
                && self.client(req).is_some_and(|client| {
                    self.skip_clients.iter().any(|network| network.contains(client))
                }))
    }

    /// The shared store, which knows the time and the memory from here on.
    pub(crate) fn remote(&self) -> Option<&Arc<Remote>> {
        let remote = self.remote.as_ref()?;
        remote.here.get_or_init(|| Here { clock: self.clock.clone(), memory: self.memory.clone() });
        Some(remote)
    }

    /// The shared store has to learn of another memory or time.
    pub(crate) fn renew_remote(&mut self) {
        if let Some(remote) = &self.remote {
            self.remote = Some(Arc::new(Remote::new(remote.with.clone())));
        }
    }

    /// What a client has paid for in advance doesn't outlive what is decided about it otherwise.
    pub(crate) fn end_leases(&self, asked: &Asked, now: u64) {
        if self.remote.as_ref().is_some_and(|remote| remote.with.lease > 0) {
            let (shard, client) = asked.primary;
            self.memory.end_leases(shard, client, now);
        }
    }

    /// The address of the client, by the proxies of the limiter or those that the chain provides.
    #[inline]
    pub(crate) fn client(&self, req: &Request) -> Option<IpAddr> {
        let client = match &self.proxies {
            Some(proxies) => {
                let peer = req.extensions().get::<PeerAddr>()?.0.ip();
                Some(proxies.client(peer, req.headers()))
            }
            None => ClientAddr::of(req.headers(), req.extensions()).map(|ClientAddr(addr)| addr),
        };
        self.lints.client(self, req, client);
        client
    }

    /// Whether some key must be asked for.
    pub(crate) fn is_async(&self) -> bool {
        let is = |key: &LimitKey| matches!(key.kind, Kind::Asynchronous(_));
        is(&self.key) || self.policies.iter().any(|policy| policy.key.as_ref().is_some_and(is))
    }

    /// What the asynchronous keys find: first that of the limiter, then those of the policies.
    pub(crate) async fn find(&self, req: &mut Request) -> Vec<Option<Subject>> {
        let (parts, body) = std::mem::take(req).into_parts();
        let mut found = Vec::with_capacity(self.policies.len() + 1);
        let keys = self.policies.iter().map(|policy| policy.key.as_ref());
        for key in std::iter::once(Some(&self.key)).chain(keys) {
            found.push(match key.map(|key| &key.kind) {
                Some(Kind::Asynchronous(f)) => f(&parts).await,
                _ => None,
            });
        }
        *req = Request::from_parts(parts, body);
        found
    }

    /// Decides on the limiter's own memory. Returns whether the request is admitted, and when that was decided.
    pub(crate) fn decide(&self, asked: &mut Asked) -> (bool, u64) {
        let now = self.clock.now();
        let admitted = self.memory.decide(&mut asked.checks, now);
        asked.counted = admitted && asked.checks.last().is_some_and(Check::is_of_policy);
        if !admitted {
            self.strike(asked, now);
        }
        (admitted, now)
    }

    /// Whether all that is asked for a request is one charge, which nobody will take back.
    pub(crate) fn asks_one_charge(&self) -> bool {
        self.policies.len() == 1
            && self.policies.iter().all(Policy::is_plain)
            && self.penalty.is_none()
            && self.concurrency.is_none()
            && self.count.is_none()
            && self.delay.is_zero()
            && self.observe.is_none()
            && self.remote.is_none()
            && !self.is_async()
    }

    /// Decides on one charge. `None` if more is asked: then all of it is decided in the longer way.
    #[inline]
    pub(crate) fn charge_once(
        &self,
        client: &Hashes,
        cost: u32,
    ) -> Option<Result<Charged, Refused>> {
        if client.levels != 1 || self.blocks.load(Ordering::Acquire) {
            return None;
        }
        let (hash, quota) = (client.hashes[0], self.policies.first()?.quota());
        let at = self.memory.shard_of(hash);
        self.memory.expect(at);
        let now = self.clock.now();
        Some(match self.memory.charge(at, mix(hash, 0), quota.rate(), cost, now)? {
            Charge::Until(until) => Ok(Charged { quota, until, now }),
            Charge::Wait { until, wait } => {
                Err(Refused { charged: Charged { quota, until, now }, wait, client: (at, hash) })
            }
        })
    }

    /// Counts a refusal, and blocks whoever collects too many.
    pub(crate) fn strike(&self, asked: &Asked, now: u64) {
        let Some(penalty) = self.penalty else { return };
        let refused = |is: fn(&Ask) -> bool| {
            asked.checks.iter().any(|check| is(&check.ask) && !check.is_admitted())
        };
        // Only quotas count, and only until the client is blocked.
        if refused(|ask| matches!(ask, Ask::Free))
            || !refused(|ask| matches!(ask, Ask::Charge { .. }))
        {
            return;
        }
        let (shard, hash) = asked.primary;
        let ask = Ask::Charge { rate: penalty.strikes.rate(), cost: 1, further: 0 };
        let mut strike = [Check::new(shard, mix(hash, STRIKE), STRIKE, ask)];
        if !self.memory.decide(&mut strike, now) {
            let (shard, key) = self.block_of(asked);
            // An operator may have blocked the client for longer meanwhile.
            let end = until(now, penalty.block);
            self.memory.change(shard, key, now, |other| other.max(end));
            if let (Some(remote), Some(shared)) = (self.remote(), &asked.shared) {
                self.end_leases(asked, now);
                remote.block_later(&shared.client, (shard, key), penalty.block);
            }
        }
    }

    /// Counts an answer, unless the memory did.
    pub(crate) fn note(&self, answer: &Answer) {
        if !answer.counted {
            self.counters.note(answer.client.0, answer.verdict, answer.near_limit);
        }
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap, states: &[State]) {
        let mut fields = Fields::of(headers);
        for set in &self.headers {
            set.write(&mut fields, &self.policies, states);
            if let (LimitHeaders::Ietf, Some(most)) = (set, self.concurrency) {
                fields::concurrency(&mut fields, most);
            }
        }
        if let Some(names) = &self.exposed {
            fields::expose(&mut fields, names);
        }
        fields.append();
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("policies", &self.policies)
            .field("key", &self.key)
            .field("proxies", &self.proxies)
            .field("shadow", &self.shadow)
            .field("headers", &self.headers)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// Whether a browser asks what it may send (Fetch, 3.2.2).
pub(crate) fn is_preflight(req: &Request) -> bool {
    req.method() == Method::OPTIONS && req.headers().contains_key("access-control-request-method")
}

pub(crate) fn until(now: u64, time: Duration) -> u64 {
    now.saturating_add(nanos(time)).min(super::clock::END_OF_TIME)
}
