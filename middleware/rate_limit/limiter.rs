//! What a limiter is made of.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::HeaderMap;

use super::config::clock::LimitClock;
use super::config::key::{Kind, Subject};
use super::config::settings::Settings;
use super::memory::Memory;
use super::metrics::Counters;
use super::response::headers::{self, Fields, LimitHeaders, State};
use super::shared::client::{Here, Remote};
use super::warnings::Lints;
use crate::Request;
use crate::extract::{ClientAddr, PeerAddr};

/// All that a limiter is.
#[derive(Clone)]
pub(crate) struct Limiter {
    pub(crate) settings: Settings,
    pub(crate) clock: LimitClock,
    pub(crate) memory: Arc<Memory>,
    pub(crate) remote: Option<Arc<Remote>>,
    /// Whether [`Limiter::charge_once`] may do.
    pub(crate) is_simple: bool,
    /// Whether anybody was ever blocked; until then nobody looks for it.
    pub(crate) blocks: Arc<AtomicBool>,
    pub(crate) lints: Arc<Lints>,
    pub(crate) counters: Arc<Counters>,
}

impl Limiter {
    pub(crate) fn skips(&self, req: &Request) -> bool {
        self.settings.skip.iter().any(|skip| skip(req))
            || (!self.settings.skip_clients.is_empty()
                && self.client(req).is_some_and(|client| {
                    self.settings.skip_clients.iter().any(|network| network.contains(client))
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

    /// The address of the client, by the proxies of the limiter or those that the chain provides.
    #[inline]
    pub(crate) fn client(&self, req: &Request) -> Option<IpAddr> {
        let client = match &self.settings.proxies {
            Some(proxies) => {
                let peer = req.extensions().get::<PeerAddr>()?.0.ip();
                Some(proxies.client(peer, req.headers()))
            }
            None => ClientAddr::of(req.headers(), req.extensions()).map(|ClientAddr(addr)| addr),
        };
        self.lints.client(self.settings.proxies.is_some(), req, client);
        client
    }

    /// What the asynchronous keys find: first that of the limiter, then those of the policies.
    pub(crate) async fn find(&self, req: &mut Request) -> Vec<Option<Subject>> {
        let (parts, body) = std::mem::take(req).into_parts();
        let mut found = Vec::with_capacity(self.settings.policies.len() + 1);
        let keys = self.settings.policies.iter().map(|policy| policy.key.as_ref());
        for key in std::iter::once(Some(&self.settings.key)).chain(keys) {
            found.push(match key.map(|key| &key.kind) {
                Some(Kind::Asynchronous(f)) => f(&parts).await,
                _ => None,
            });
        }
        *req = Request::from_parts(parts, body);
        found
    }

    pub(crate) fn write(&self, headers: &mut HeaderMap, states: &[State]) {
        let mut fields = Fields::of(headers);
        for set in &self.settings.headers {
            set.write(&mut fields, &self.settings.policies, states);
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
