//! A call of the store that is heard to its end, whoever waits for it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::client::Remote;
use super::keys::block_key;
use super::outbox::Back;
use super::store::{StoreAnswer, StoreCall, StoreCharge, StoreError};
use crate::middleware::rate_limit::checks::Asked;
use crate::middleware::rate_limit::config::clock::{nanos, until};
use crate::middleware::rate_limit::config::quota::LONGEST;
use crate::middleware::rate_limit::memory::gcra::{Ask, Check};

/// A question that the store may still answer. Once it is dropped nobody waits for the answer, which is heard nevertheless: what the store has charged
/// for a request that went on without it, or that is no more, is given back.
pub(crate) struct Asking {
    remote: Arc<Remote>,
    call: Arc<StoreCall>,
    answer: Option<Answering>,
    /// Whether the deadline is over.
    is_late: bool,
    keeps: bool,
    /// The keys that were charged here for the same request: one of both charges is too many.
    doubted: Vec<String>,
}

pub(crate) type Answering = BoxFuture<'static, Result<StoreAnswer, StoreError>>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unheard {
    Failed,
    /// It may still come.
    Late,
}

impl Asking {
    pub(crate) fn new(remote: &Arc<Remote>, call: StoreCall) -> Self {
        let (store, call) = (remote.with.store.clone(), Arc::new(call));
        let asked = call.clone();
        let answer = Box::pin(async move { store.take(&asked).await });
        Self {
            remote: remote.clone(),
            call,
            answer: Some(answer),
            is_late: false,
            keeps: false,
            doubted: Vec::new(),
        }
    }

    /// Waits for the answer within the deadline.
    pub(crate) async fn hear(&mut self) -> Result<StoreAnswer, Unheard> {
        let Some(answer) = &mut self.answer else { return Err(Unheard::Failed) };
        let heard = self.remote.hear(answer).await;
        self.is_late = heard == Err(Unheard::Late);
        if !self.is_late {
            self.answer = None;
        }
        heard
    }

    /// Whether the store may still answer.
    pub(crate) fn is_open(&self) -> bool {
        self.answer.is_some()
    }

    /// What the store charges late stays charged.
    pub(crate) fn keep(&mut self) {
        self.keeps = true;
    }

    /// These keys were charged here meanwhile.
    pub(crate) fn doubt(&mut self, names: Vec<String>) {
        self.doubted = names;
    }

    /// Waits for an answer that nobody else waits for.
    async fn hear_out(self, mut answer: Answering) {
        // A store that doesn't answer is away, also if all clients hang up before that is known.
        let heard = match self.is_late {
            true => Err(Unheard::Late),
            false => self.remote.hear(&mut answer).await,
        };
        let heard = match heard {
            Err(Unheard::Late) => timeout(LATEST, answer).await.ok().and_then(Result::ok),
            heard => heard.ok(),
        };
        if let Some(answer) = heard.filter(|answer| answer.admitted) {
            self.undo(&answer);
        }
    }

    /// What an answer that nobody waited for says was charged.
    fn undo(&self, answer: &StoreAnswer) {
        let now = self.remote.now();
        if !self.keeps {
            let charged = self.call.charges.iter().zip(&answer.charged_for);
            // A forced charge that reached the burst was made in part, if at all. Nobody knows for how much, so none of it is given back.
            let exact = charged.filter(|(charge, till)| {
                !self.call.forced || **till < charge.interval.saturating_mul(charge.burst)
            });
            let back = exact.map(|(charge, till)| {
                let requests = u64::from(charge.cost) * (u64::from(answer.leased) + 1);
                let nanos = nanos(charge.interval).saturating_mul(requests).min(nanos(*till));
                Back { name: charge.key.clone(), nanos, end: until(now, *till) }
            });
            self.remote.give_back(back.filter(|back| back.nanos > 0).collect(), true);
        }
        if let Some(place) = &self.call.place {
            self.remote.leave(place.clone());
        }
    }
}

impl Remote {
    /// One call of the store within the deadline. Fails with the question itself if the store may still answer it.
    pub(crate) async fn take(
        self: &Arc<Self>,
        asked: &Asked,
        lease: u32,
        forced: bool,
    ) -> Result<StoreAnswer, Option<Asking>> {
        let charge = |(check, key): (&Check, &String)| {
            let Ask::Charge { rate, cost, further } = check.ask else { return None };
            Some(StoreCharge {
                key: key.clone(),
                interval: Duration::from_nanos(rate.interval),
                burst: rate.burst.get().saturating_add(further),
                cost,
                longest: LONGEST,
            })
        };
        let (checks, Some(shared)) = (&asked.checks[asked.own()..], asked.shared.as_ref()) else {
            return Err(None);
        };
        if !self.is_reachable() {
            return Err(None);
        }
        let call = StoreCall {
            charges: checks.iter().zip(&shared.names).filter_map(charge).collect(),
            block: (!forced).then(|| block_key(&shared.client)),
            place: shared.place.clone(),
            forced,
            lease,
        };
        let mut asking = Asking::new(self, call);
        match asking.hear().await {
            Ok(answer) if answer.charged_for.len() == shared.names.len() => Ok(answer),
            Err(Unheard::Late) => Err(Some(asking)),
            Ok(_) | Err(Unheard::Failed) => Err(None),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let changes = self.call.place.is_some() || self.call.charges.iter().any(|c| c.cost > 0);
        match (self.answer.take(), Handle::try_current()) {
            (Some(answer), Ok(runtime)) if changes => {
                let late = Self {
                    remote: self.remote.clone(),
                    call: self.call.clone(),
                    answer: None,
                    is_late: self.is_late,
                    keeps: self.keeps,
                    doubted: std::mem::take(&mut self.doubted),
                };
                runtime.spawn(late.hear_out(answer));
            }
            _ => {
                let now = self.remote.now();
                self.doubted.iter().for_each(|name| self.remote.owed.undoubt(name, now));
            }
        }
    }
}

/// What comes later isn't waited for.
pub(crate) const LATEST: Duration = Duration::from_secs(30);
