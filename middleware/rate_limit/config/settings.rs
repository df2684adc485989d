//! The settings of a limiter.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::HeaderName;
use smallvec::SmallVec;

use super::key::{KeyKind, LimitKey};
use super::policy::Policy;
use super::quota::Quota;
use crate::extract::{Network, TrustedProxies};
use crate::middleware::rate_limit::response::decision::Decision;
use crate::middleware::rate_limit::response::headers::{LimitHeaders, PolicyState};
use crate::{Request, Response};

pub(crate) type Predicate = Arc<dyn Fn(&Request) -> bool + Send + Sync>;
pub(crate) type Reject = Arc<dyn Fn(&Request, &Decision) -> Response + Send + Sync>;
pub(crate) type Observe = Arc<dyn Fn(&Request, &Decision) + Send + Sync>;

/// The settings of a limiter. They do not change while it runs, except for the quotas inside of the policies.
#[derive(Clone)]
pub(crate) struct LimitSettings {
    pub(crate) policies: Vec<Policy>,
    pub(crate) key: LimitKey,
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) skip: Vec<Predicate>,
    pub(crate) skip_clients: Vec<Network>,
    pub(crate) count: Option<CountRule>,
    pub(crate) penalty: Option<PenaltyRule>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) delay: Duration,
    pub(crate) shadow: bool,
    pub(crate) headers: Vec<LimitHeaders>,
    pub(crate) exposed: Option<Vec<HeaderName>>,
    pub(crate) reject: Option<Reject>,
    pub(crate) observe: Option<Observe>,
    pub(crate) jitter: Duration,
}

/// Which responses count.
#[derive(Clone)]
pub(crate) struct CountRule {
    pub(crate) counts: Arc<dyn Fn(&Response) -> bool + Send + Sync>,
    /// Whether a request counts that was dropped before its response.
    pub(crate) dropped: bool,
}

/// Blocks a subject for a time after this many refusals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PenaltyRule {
    pub(crate) strikes: Quota,
    pub(crate) block: Duration,
    /// Each further block is twice as long as the one before it, up to this. `None` for blocks of equal length.
    pub(crate) longest: Option<Duration>,
}

impl LimitSettings {
    /// These policies, and the defaults of all other settings.
    pub(crate) fn new(policies: Vec<Policy>) -> Self {
        Self {
            policies,
            key: LimitKey::client(),
            proxies: None,
            skip: Vec::new(),
            skip_clients: Vec::new(),
            count: None,
            penalty: None,
            concurrency: None,
            delay: Duration::ZERO,
            shadow: false,
            headers: vec![LimitHeaders::Ietf],
            exposed: None,
            reject: None,
            observe: None,
            jitter: Duration::ZERO,
        }
    }

    /// Removes the states that no client may see: those of policies in shadow mode, or all of them.
    pub(crate) fn hide_shadows(&self, states: &mut SmallVec<[PolicyState; 2]>) {
        let shows = |state: &PolicyState| {
            self.policies.get(usize::from(state.policy)).is_some_and(|policy| !policy.shadow)
        };
        states.retain(|state| !self.shadow && shows(state));
    }

    /// Whether some policy settles costs that are known after the request.
    pub(crate) fn settles(&self) -> bool {
        self.policies.iter().any(|policy| policy.settle.is_some())
    }

    /// The key of the policy at this position.
    pub(crate) fn key_of(&self, at: usize) -> &LimitKey {
        self.policies.get(at).and_then(|policy| policy.key.as_ref()).unwrap_or(&self.key)
    }

    /// The number of the first key that requests are counted under: 0 for the key of the limiter. If each policy has a key of its own, the key of the
    /// limiter is not used, and it is 1 for the key of the first policy.
    pub(crate) fn first_key(&self) -> u8 {
        u8::from(!self.policies.is_empty() && self.policies.iter().all(|p| p.key.is_some()))
    }

    /// The key that requests in flight are counted under.
    pub(crate) fn slot_key(&self) -> &LimitKey {
        if self.first_key() == 0 { &self.key } else { self.key_of(0) }
    }

    /// The number of the key whose subject is penalised for refusals by a policy. `None` if the policy counts all clients as one: the refusals are not
    /// the fault of any one of them.
    pub(crate) fn key_to_penalise(&self, policy: u8) -> Option<u8> {
        match &self.policies.get(usize::from(policy))?.key {
            None => Some(0),
            Some(key) if matches!(key.kind, KeyKind::Everyone) => None,
            Some(_) => Some(policy + 1),
        }
    }

    /// Whether the policies count under more than one key.
    pub(crate) fn has_several_keys(&self) -> bool {
        self.policies.len() > 1 && self.policies.iter().any(|policy| policy.key.is_some())
    }

    /// Whether the value of some key comes from an asynchronous function.
    pub(crate) fn is_async(&self) -> bool {
        let is = |key: &LimitKey| matches!(key.kind, KeyKind::Asynchronous(_));
        is(&self.key) || self.policies.iter().any(|policy| policy.key.as_ref().is_some_and(is))
    }

    /// Whether each request makes exactly one charge, and nothing else is needed to respond to it.
    pub(crate) fn makes_one_charge(&self) -> bool {
        self.policies.len() == 1
            && self.policies.iter().all(Policy::is_plain)
            && self.penalty.is_none()
            && self.concurrency.is_none()
            && self.count.is_none()
            && self.delay.is_zero()
            && self.observe.is_none()
            && !self.is_async()
    }
}

/// Whether a request is a CORS preflight (Fetch, 3.2.2).
pub(crate) fn is_preflight(req: &Request) -> bool {
    req.method() == Method::OPTIONS && req.headers().contains_key("access-control-request-method")
}
