//! Warnings about configurations that are probably wrong. Each is logged once.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use http::header::FORWARDED;

use super::config::key::{KeyKind, LimitKey};
use super::config::policy::Policy;
use super::config::settings::LimitSettings;
use crate::Request;
use crate::extract::TrustedProxies;

/// What was seen so far. Each warning is logged once in the life of a limiter.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    forwarded: AtomicBool,
    /// How many requests were checked for a forwarded header.
    looked: AtomicU32,
    peerless: AtomicBool,
    twice: AtomicBool,
    /// How many requests were checked for having passed this limiter before.
    entered: AtomicU32,
    /// The hash of the first key, and how many requests in a row had it. `SEEN` after a request with another key.
    first: AtomicU64,
    same: AtomicU32,
}

/// The limiters that a request has passed. Stored in its extensions.
#[derive(Clone)]
struct PassedLimiters(Vec<(usize, Option<Arc<str>>)>);

impl Warnings {
    /// Checks where the address of the client comes from.
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
        // A proxy adds its header to each request, so the first requests are enough.
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

    /// Checks whether all requests have the same key.
    pub(crate) fn named(&self, key: &LimitKey, hash: u64) {
        if self.same.load(Ordering::Relaxed) >= SEEN || matches!(key.kind, KeyKind::Everyone) {
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

    /// Whether the next request is checked for having passed this limiter before.
    #[inline]
    pub(crate) fn looks_at_entries(&self) -> bool {
        self.entered.load(Ordering::Relaxed) < LOOKED_AT
    }

    /// Checks whether a request passes the same limiter twice.
    pub(crate) fn enter(&self, settings: &LimitSettings, name: Option<&str>, req: &mut Request) {
        if !self.looks_at_entries() {
            return;
        }
        if self.entered.fetch_add(1, Ordering::Relaxed) == 0 {
            start(settings, req);
        }
        let this = std::ptr::from_ref(settings) as usize;
        let name = name.map(Arc::from);
        let extensions = req.extensions_mut();
        match extensions.get_mut::<PassedLimiters>() {
            Some(PassedLimiters(passed)) if passed.iter().any(|(other, _)| *other == this) => {
                if once(&self.twice) {
                    tracing::warn!(
                        "a request passed the same limiter twice and was counted twice: is the limiter in the chain twice?"
                    );
                }
            }
            Some(PassedLimiters(passed)) => {
                if name.is_some()
                    && passed.iter().any(|(_, other)| *other == name)
                    && once(&self.twice)
                {
                    tracing::warn!(
                        name = name.as_deref(),
                        "two limiters of a chain have the same name in a shared store: if they use the same store, they share one count"
                    );
                }
                passed.push((this, name));
            }
            None => {
                extensions.insert(PassedLimiters(vec![(this, name)]));
            }
        }
    }
}

/// Checks what can be known from the settings alone.
fn start(settings: &LimitSettings, req: &Request) {
    let proxies = settings.proxies.as_ref().or_else(|| req.extensions().get());
    if proxies.is_some_and(TrustedProxies::trusts_everyone) {
        tracing::warn!(
            "every address is trusted as a proxy: any client can choose its address; list the networks of the proxies, or count hops"
        );
    }
    for policy in settings.policies.iter().filter(|policy| policy.never_fits()) {
        if settings.delay.is_zero() {
            tracing::warn!(
                policy = &*policy.name,
                "a policy refuses each request that it applies to: the cost is above the burst of the quota; lower the cost, or raise the limit"
            );
        }
    }
    let counts_all_as_one = |policy: &Policy| {
        let key = policy.key.as_ref().unwrap_or(&settings.key);
        matches!(key.kind, KeyKind::Everyone)
    };
    if settings.penalty.is_some() && matches!(settings.key.kind, KeyKind::Everyone) {
        tracing::warn!(
            "the limiter has a penalty and one key for all: one client can block all others"
        );
    }
    if settings.count.is_some() && settings.policies.iter().any(counts_all_as_one) {
        tracing::warn!(
            "a policy counts responses under one key for all: one client can use up the quota of all others"
        );
    }
}

fn once(said: &AtomicBool) -> bool {
    !said.swap(true, Ordering::Relaxed)
}

/// This many requests with one key are suspicious.
const SUSPICIOUS: u32 = 1000;
const SEEN: u32 = u32::MAX / 2;
const LOOKED_AT: u32 = 32;
