//! What is likely wrong, said once.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use http::header::FORWARDED;

use super::config::key::{Kind, LimitKey};
use super::config::policy::Policy;
use super::config::settings::Settings;
use crate::Request;
use crate::extract::TrustedProxies;

/// What was seen so far. Each warning is given once in the life of a limiter.
#[derive(Debug, Default)]
pub(crate) struct Lints {
    forwarded: AtomicBool,
    /// How many requests were looked at for a forwarded header.
    looked: AtomicU32,
    peerless: AtomicBool,
    twice: AtomicBool,
    /// How many requests were looked at for having come by before.
    entered: AtomicU32,
    /// The first key, and how many requests in a row had it. `SEEN` once another one came.
    first: AtomicU64,
    same: AtomicU32,
}

/// In the extensions of a request: the limiters that it has passed.
#[derive(Clone)]
struct Entered(Vec<usize>);

impl Lints {
    /// Looks at where the address of the client comes from.
    #[inline]
    pub(crate) fn client(&self, trusts_proxies: bool, req: &Request, client: Option<IpAddr>) {
        let looks = !trusts_proxies && self.looked.load(Ordering::Relaxed) < SUSPICIOUS;
        if looks || client.is_none() {
            self.look_at_client(req, client.is_none(), looks);
        }
    }

    fn look_at_client(&self, req: &Request, peerless: bool, looks: bool) {
        if peerless && once(&self.peerless) {
            tracing::warn!(
                "no request has a `PeerAddr`: all clients share one limit; the host must insert it in the extensions"
            );
        }
        if !looks {
            return;
        }
        // A proxy writes its header into each request, so the first ones tell.
        self.looked.fetch_add(1, Ordering::Relaxed);
        let headers = req.headers();
        if (headers.contains_key("x-forwarded-for") || headers.contains_key(FORWARDED))
            && req.extensions().get::<TrustedProxies>().is_none()
            && once(&self.forwarded)
        {
            tracing::warn!(
                "a request has a forwarded header, but no proxy is trusted: if there is a proxy, all its clients share one limit; set `trusted_proxies`"
            );
        }
    }

    /// Looks at whether all requests have the same key.
    pub(crate) fn named(&self, key: &LimitKey, hash: u64) {
        if self.same.load(Ordering::Relaxed) >= SEEN || matches!(key.kind, Kind::Everyone) {
            return;
        }
        match self.first.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
            Err(first) if first != hash => self.same.store(SEEN, Ordering::Relaxed),
            _ => {
                if self.same.fetch_add(1, Ordering::Relaxed) == SUSPICIOUS {
                    self.same.store(SEEN, Ordering::Relaxed);
                    tracing::warn!(
                        requests = SUSPICIOUS,
                        "all requests so far were counted under one key: if there is a proxy, set `trusted_proxies`"
                    );
                }
            }
        }
    }

    /// Looks at whether a request comes by the same limiter twice.
    pub(crate) fn enter(&self, settings: &Settings, req: &mut Request) {
        if self.entered.load(Ordering::Relaxed) >= LOOKED_AT {
            return;
        }
        if self.entered.fetch_add(1, Ordering::Relaxed) == 0 {
            start(settings, req);
        }
        let this = std::ptr::from_ref(settings) as usize;
        let extensions = req.extensions_mut();
        match extensions.get_mut::<Entered>() {
            Some(Entered(passed)) if passed.contains(&this) => {
                if once(&self.twice) {
                    tracing::warn!(
                        "a request came by the same limiter twice and was counted twice: is it in the chain twice?"
                    );
                }
            }
            Some(Entered(passed)) => passed.push(this),
            None => {
                extensions.insert(Entered(vec![this]));
            }
        }
    }
}

/// Looks at what can be told from the configuration alone.
fn start(settings: &Settings, req: &Request) {
    let proxies = settings.proxies.as_ref().or_else(|| req.extensions().get());
    if proxies.is_some_and(TrustedProxies::trusts_everyone) {
        tracing::warn!(
            "every address is trusted as a proxy: any client can name itself; list the networks of the proxies, or count hops"
        );
    }
    let counts_all_as_one = |policy: &Policy| {
        let key = policy.key.as_ref().unwrap_or(&settings.key);
        matches!(key.kind, Kind::Everyone)
    };
    if settings.penalty.is_some() && matches!(settings.key.kind, Kind::Everyone) {
        tracing::warn!(
            "the limiter has a penalty box and one key for all: it will block everybody"
        );
    }
    if settings.count.is_some() && settings.policies.iter().any(counts_all_as_one) {
        tracing::warn!(
            "a policy counts responses under one key for all: one client can use up the quota of everybody"
        );
    }
}

fn once(said: &AtomicBool) -> bool {
    !said.swap(true, Ordering::Relaxed)
}

/// So many requests of one single client make one wonder.
const SUSPICIOUS: u32 = 1000;
const SEEN: u32 = u32::MAX / 2;
const LOOKED_AT: u32 = 32;
