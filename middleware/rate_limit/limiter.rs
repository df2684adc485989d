//! A limiter: its settings, its memory, its clock, and the store that it shares with others.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderMap;

use super::config::clock::LimitClock;
use super::config::key::{KeyKind, Subject};
use super::config::settings::LimitSettings;
use super::memory::LocalMemory;
use super::metrics::DecisionCounters;
use super::queue::SlotQueues;
use super::response::headers::{self, FieldWriter, LimitHeaders, PolicyState};
use super::shared::client::{LocalState, StoreClient};
use super::warnings::Warnings;
use crate::Request;
use crate::extract::{ClientAddr, PeerAddr};

/// All parts of a limiter. A clone of a [`RateLimit`](super::RateLimit) shares them.
#[derive(Clone)]
pub(crate) struct Limiter {
    pub(crate) settings: LimitSettings,
    pub(crate) clock: LimitClock,
    pub(crate) memory: Arc<LocalMemory>,
    pub(crate) shared_store: Option<Arc<StoreClient>>,
    /// The queues for slots, if requests wait for them.
    pub(crate) queues: Option<Arc<SlotQueues>>,
    /// Whether the short path, [`Limiter::charge_once`], is enough for all requests.
    pub(crate) is_simple: bool,
    /// Whether a client was ever blocked. Until then, no request looks for a block.
    pub(crate) blocks: Arc<AtomicBool>,
    pub(crate) warnings: Arc<Warnings>,
    pub(crate) counters: Arc<DecisionCounters>,
}

impl Limiter {
    pub(crate) fn skips(&self, req: &Request) -> bool {
        self.settings.skip.iter().any(|skip| skip(req))
            || (!self.settings.skip_clients.is_empty()
                && self.client(req).is_some_and(|client| {
                    self.settings.skip_clients.iter().any(|network| network.contains(client))
                }))
    }

    /// The shared store. The first call gives it the clock and the memory, which the setters may replace until then.
    pub(crate) fn shared_store(&self) -> Option<&Arc<StoreClient>> {
        let shared_store = self.shared_store.as_ref()?;
        shared_store
            .local
            .get_or_init(|| LocalState { clock: self.clock.clone(), memory: self.memory.clone() });
        Some(shared_store)
    }

    /// Connects the shared store with another memory or clock.
    pub(crate) fn renew_shared_store(&mut self) {
        if let Some(shared_store) = &self.shared_store {
            self.shared_store = Some(Arc::new(StoreClient::new(shared_store.limits.clone())));
        }
    }

    /// The address of the client, according to the proxies of the limiter or those that the chain provides.
    #[inline]
    pub(crate) fn client(&self, req: &Request) -> Option<IpAddr> {
        let client = match &self.settings.proxies {
            Some(proxies) => {
                let peer = req.extensions().get::<PeerAddr>()?.0.ip();
                Some(proxies.client(peer, req.headers()))
            }
            None => ClientAddr::of(req.headers(), req.extensions()).map(|ClientAddr(addr)| addr),
        };
        self.warnings.client(self.settings.proxies.is_some(), req, client);
        client
    }

    /// The results of the asynchronous keys: first the key of the limiter, then those of the policies.
    pub(crate) async fn find(&self, req: &mut Request) -> Vec<Option<Subject>> {
        let (parts, body) = std::mem::take(req).into_parts();
        let mut found = Vec::with_capacity(self.settings.policies.len() + 1);
        let keys = self.settings.policies.iter().map(|policy| policy.key.as_ref());
        for key in std::iter::once(Some(&self.settings.key)).chain(keys) {
            found.push(match key.map(|key| &key.kind) {
                Some(KeyKind::Asynchronous(f)) => f(&parts).await,
                _ => None,
            });
        }
        *req = Request::from_parts(parts, body);
        found
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap, states: &[PolicyState]) {
        let mut fields = FieldWriter::of(headers);
        for set in &self.settings.headers {
            set.write(&mut fields, &self.settings.policies, states, &self.clock);
            if let (LimitHeaders::Ietf, Some(most)) = (set, self.settings.concurrency) {
                headers::concurrency(&mut fields, most);
            }
        }
        if let Some(names) = &self.settings.exposed {
            headers::expose(&mut fields, names);
        }
        fields.append();
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("policies", &self.settings.policies)
            .field("key", &self.settings.key)
            .field("proxies", &self.settings.proxies)
            .field("shadow", &self.settings.shadow)
            .field("headers", &self.settings.headers)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
