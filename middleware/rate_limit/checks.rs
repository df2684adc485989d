//! What is asked of the memory for a request: which keys, and what of each.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::config::clock::nanos;
use super::config::key::{LEVELS, LimitKey, Named, Prefixes, Subject, factor};
use super::config::policy::Policy;
use super::config::quota::{Quota, Rate};
use super::limiter::Limiter;
use super::memory::gcra::{Ask, BLOCK, Check, ENTER, SPREAD, mix};
use super::shared::keys;
use super::shared::store::StorePlace;
use crate::Request;

/// What is asked for one request.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) checks: SmallVec<[Check; 2]>,
    /// Which policies apply, and with which quota.
    pub(crate) quotas: SmallVec<[(u8, Quota); 2]>,
    /// The client, by its shard and its hash: whose requests are counted together for what isn't a policy.
    pub(crate) primary: (usize, u64),
    /// Whether nobody wants to know how an admitted client stands.
    pub(crate) quiet: bool,
    /// Whether the memory has counted the decision.
    pub(crate) counted: bool,
    /// What is told to the shared store, if there is one.
    pub(crate) shared: Option<Box<Shared>>,
}

/// The names under which a shared store knows what is asked.
#[derive(Default)]
pub(crate) struct Shared {
    /// The keys that are charged, one for each charge.
    pub(crate) names: Vec<String>,
    /// The first part of the names of what else is remembered of the client.
    pub(crate) client: String,
    /// The place that the request takes.
    pub(crate) place: Option<StorePlace>,
    /// The rate of each charge, where this server gives out a share of it.
    pub(crate) whole: SmallVec<[Rate; 2]>,
}

/// The keyed hashes of the networks that a client is counted under, the smallest first. All of them lie in the shard of the widest.
#[derive(Clone, Copy)]
pub(crate) struct Hashes {
    pub(crate) hashes: [u64; LEVELS],
    pub(crate) levels: usize,
}

impl Hashes {
    pub(crate) fn narrowest(&self) -> u64 {
        self.hashes[0]
    }

    fn widest(&self) -> u64 {
        self.hashes[self.levels - 1]
    }
}

impl Asked {
    /// How many checks stand before the charges.
    pub(crate) fn own(&self) -> usize {
        self.checks.iter().take_while(|check| !check.ask.is_charge()).count()
    }

    /// What all requests have in common that are charged alike. Made of keyed hashes, so that nobody can choose two that meet.
    pub(crate) fn shape(&self) -> u64 {
        self.checks.iter().fold(0, |shape: u64, check| match check.ask {
            Ask::Charge { rate, cost, .. } => {
                let charge = rate.interval ^ u64::from(rate.burst.get()) << 32 ^ u64::from(cost);
                (shape.rotate_left(23) ^ check.key ^ charge).wrapping_mul(SPREAD)
            }
            _ => shape,
        })
    }

    /// The names of the keys that cost something, in the order of their receipts, and for how many nanoseconds the store has them charged.
    pub(crate) fn charged_names(&mut self) -> Vec<(String, u64)> {
        let Some(shared) = &mut self.shared else { return Vec::new() };
        let charges = self.checks.iter().filter_map(|check| match check.ask {
            Ask::Charge { rate, cost, .. } => Some((rate, cost)),
            _ => None,
        });
        let names = std::mem::take(&mut shared.names);
        let charge = |(at, (name, (rate, cost))): (usize, (String, (Rate, u32)))| {
            let rate = shared.whole.get(at).copied().unwrap_or(rate);
            (cost > 0).then(|| (name, rate.charge(cost)))
        };
        names.into_iter().zip(charges).enumerate().filter_map(charge).collect()
    }
}

impl Limiter {
    /// What is asked of the memory for this request.
    pub(crate) fn ask(&self, req: &Request, found: &[Option<Subject>], quiet: bool) -> Asked {
        let client = self.client(req);
        let mut asked = Asked { quiet, ..Asked::default() };
        let first = found.first().and_then(Option::as_ref);
        // Found once, for all policies that have no key of their own.
        let mut own = None;
        let blocks = self.remote.is_some() || self.blocks.load(Ordering::Acquire);
        if blocks || self.settings.penalty.is_some() || self.settings.concurrency.is_some() {
            own = self.settings.key.with(req, client, first, |named| self.name(&mut asked, named));
            if own.is_none() {
                // An optional key that is missing leaves policies out, but nobody goes unnamed.
                self.name(&mut asked, client.map_or(Named::Nobody, Named::Addr));
            }
            self.ask_at_the_door(&mut asked, blocks);
        }
        for (at, policy) in self.settings.policies.iter().enumerate() {
            if !policy.applies(req) {
                continue;
            }
            let (key, found) = match &policy.key {
                Some(key) => (key, found.get(at + 1).and_then(Option::as_ref)),
                None => (&self.settings.key, first),
            };
            let hashes = match (&policy.key, own) {
                (None, Some(own)) => Some(own),
                _ => key.with(req, client, found, |named| self.hashes(key, named)),
            };
            let Some(hashes) = hashes else { continue };
            if policy.key.is_none() {
                own = Some(hashes);
            }
            self.lints.named(key, hashes.narrowest());
            self.charge(&mut asked, at, &hashes, policy.quota_for(req), policy.cost_of(req));
            if let (Some(remote), Some(shared)) = (&self.remote, &mut asked.shared) {
                key.with(req, client, found, |named| {
                    keys::charges(
                        &remote.with.prefix,
                        &mut shared.names,
                        &self.settings.policies,
                        at,
                        key,
                        named,
                    );
                });
            }
        }
        asked
    }

    /// What is asked for whom somebody names by hand.
    pub(crate) fn ask_for(&self, named: Named<'_>, cost: u32) -> Asked {
        let mut asked = Asked::default();
        let own = self.name(&mut asked, named);
        if self.remote.is_some() || self.blocks.load(Ordering::Acquire) {
            let (shard, key) = self.block_of(&asked);
            asked.checks.push(Check::new(shard, key, BLOCK, Ask::Free));
        }
        for (at, policy) in self.settings.policies.iter().enumerate() {
            let key = policy.key.as_ref().unwrap_or(&self.settings.key);
            let hashes = if policy.key.is_none() { own } else { self.hashes(key, named) };
            self.charge(&mut asked, at, &hashes, policy.quota(), cost);
            if let (Some(remote), Some(shared)) = (&self.remote, &mut asked.shared) {
                keys::charges(
                    &remote.with.prefix,
                    &mut shared.names,
                    &self.settings.policies,
                    at,
                    key,
                    named,
                );
            }
        }
        asked
    }

    /// Where the block of a client is remembered.
    pub(crate) fn block_of(&self, asked: &Asked) -> (usize, u64) {
        let (shard, hash) = asked.primary;
        (shard, mix(hash, BLOCK))
    }

    /// What a client has paid for in advance doesn't outlive what is decided about it otherwise.
    pub(crate) fn end_leases(&self, asked: &Asked, now: u64) {
        if self.remote.as_ref().is_some_and(|remote| remote.with.lease > 0) {
            let (shard, client) = asked.primary;
            self.memory.end_leases(shard, client, now);
        }
    }

    /// Asks what must be so before anything is charged.
    fn ask_at_the_door(&self, asked: &mut Asked, blocks: bool) {
        let (shard, hash) = asked.primary;
        if blocks {
            asked.checks.push(Check::new(shard, mix(hash, BLOCK), BLOCK, Ask::Free));
        }
        if let Some(most) = self.settings.concurrency {
            asked.checks.push(Check::new(shard, mix(hash, ENTER), ENTER, Ask::Enter { most }));
        }
    }

    fn charge(&self, asked: &mut Asked, at: usize, client: &Hashes, quota: Quota, cost: u32) {
        let shard = self.memory.shard_of(client.widest());
        // The memory of a single process holds no charges but its own, so an operator may shorten them. What other processes have charged is never
        // shortened here: one of them may have used a longer quota.
        let shortens = self.remote.is_none()
            && self.settings.policies.get(at).is_some_and(Policy::has_new_quota);
        if asked.primary == (0, 0) {
            asked.primary = (shard, client.widest());
        }
        for (level, hash) in client.hashes.iter().take(client.levels).enumerate() {
            let rate = if level == 0 { quota.rate() } else { quota.times(factor(level)).rate() };
            let segment = (at * LEVELS + level) as u8;
            let further = self.further(rate);
            let ask = Ask::Charge { rate, cost, further };
            let mut check = Check::new(shard, mix(*hash, segment), segment, ask);
            if shortens {
                check.reach = rate.whole().saturating_add(rate.charge(further));
            }
            check.returnable = self.gives_back();
            asked.checks.push(check);
        }
        asked.quotas.push((at as u8, quota));
    }

    /// Notes who the client is.
    fn name(&self, asked: &mut Asked, named: Named<'_>) -> Hashes {
        let hashes = self.hashes(&self.settings.key, named);
        asked.primary = (self.memory.shard_of(hashes.widest()), hashes.widest());
        if let Some(remote) = &self.remote {
            let client = keys::client(
                &remote.with.prefix,
                &self.settings.policies,
                &self.settings.key,
                named,
            );
            asked.shared = Some(Box::new(Shared { client, ..Shared::default() }));
        }
        hashes
    }

    #[inline]
    pub(crate) fn hashes(&self, key: &LimitKey, named: Named<'_>) -> Hashes {
        let named = match named {
            Named::Addr(addr) => match key.prefixes().only(&addr) {
                Some(only) => Named::Addr(IpAddr::V4(only)),
                None => return self.hashes_of_levels(key.prefixes(), addr),
            },
            other => key.canonical(other),
        };
        Hashes { hashes: [self.memory.key_of(named), 0, 0], levels: 1 }
    }

    fn hashes_of_levels(&self, prefixes: Prefixes, addr: IpAddr) -> Hashes {
        let mut found = Hashes { hashes: [0; LEVELS], levels: 1 };
        for (level, network) in prefixes.levels(addr).enumerate().take(LEVELS) {
            found.hashes[level] = self.memory.key_of(Named::Addr(network));
            found.levels = level + 1;
        }
        found
    }

    /// Whether a charge may be taken back.
    fn gives_back(&self) -> bool {
        self.settings.count.is_some() || !self.settings.delay.is_zero()
    }

    /// How many requests may wait their turn.
    fn further(&self, rate: Rate) -> u32 {
        if self.settings.delay.is_zero() {
            return 0;
        }
        u32::try_from(nanos(self.settings.delay) / rate.interval).unwrap_or(u32::MAX / 2)
    }
}
