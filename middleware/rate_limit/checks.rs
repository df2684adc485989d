//! Which keys a request is checked against, and what is checked for each.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::config::clock::nanos;
use super::config::key::{LEVELS, LimitKey, Prefixes, Subject, SubjectRef, factor};
use super::config::quota::{Quota, Rate};
use super::limiter::Limiter;
use super::memory::carry::{QuotaCarry, quota_key};
use super::memory::gcra::{BLOCK, CheckKind, ENTER, KeyCheck, SPREAD, mix};
use super::shared::keys;
use super::shared::store::StoreSlot;
use crate::Request;

/// The checks of one request, in order: the block of the client, a free slot, and then the charges of all policies.
#[derive(Default)]
pub(crate) struct CheckPlan {
    pub(crate) checks: SmallVec<[KeyCheck; 2]>,
    /// The policies that apply, by position, and the quota that each of them has for this request.
    pub(crate) quotas: SmallVec<[(u8, Quota); 2]>,
    /// The charges of policies with several quotas, which start with what is used of the other quotas.
    pub(crate) carries: Vec<QuotaCarry>,
    /// The client, by its shard and its hash. Blocks, penalties, concurrency and leases count under it.
    pub(crate) client: (usize, u64),
    /// Whether the state of an admitted client is not needed, because no header field and no observer shows it.
    pub(crate) quiet: bool,
    /// Whether the memory has already counted the decision in its totals.
    pub(crate) counted: bool,
    /// The same keys under their names in the shared store, if there is one.
    pub(crate) shared: Option<Box<SharedKeys>>,
}

/// The names of the keys of one request in the shared store.
#[derive(Default)]
pub(crate) struct SharedKeys {
    /// The key of each charge, in the order of the charges.
    pub(crate) names: Vec<String>,
    /// The prefix of the other keys of the client: its block and its slots.
    pub(crate) client: String,
    /// The slot that the request takes in the store.
    pub(crate) slot: Option<StoreSlot>,
    /// The full rate of each charge, where `Local` mode charges only the share of this server.
    pub(crate) full_rates: SmallVec<[Rate; 2]>,
}

/// The keyed hashes of the networks that a client is counted under, the smallest first. All of them are in the shard of the widest one, so one lock
/// is enough.
#[derive(Clone, Copy)]
pub(crate) struct KeyHashes {
    pub(crate) hashes: [u64; LEVELS],
    pub(crate) levels: usize,
}

impl KeyHashes {
    pub(crate) fn narrowest(&self) -> u64 {
        self.hashes[0]
    }

    fn widest(&self) -> u64 {
        self.hashes[self.levels - 1]
    }
}

impl CheckPlan {
    /// The position of the first charge. The block and the slot come before the charges.
    pub(crate) fn first_charge(&self) -> usize {
        self.checks.iter().take_while(|check| !check.kind.is_charge()).count()
    }

    /// A hash over the keys, rates and costs of all charges. A lease pays for requests of equal shape. The keys are keyed hashes, so a client cannot
    /// construct a collision.
    pub(crate) fn shape(&self) -> u64 {
        self.checks.iter().fold(0, |shape: u64, check| match check.kind {
            CheckKind::Charge { rate, cost, .. } => {
                let charge = rate.interval ^ u64::from(rate.burst.get()) << 32 ^ u64::from(cost);
                (shape.rotate_left(23) ^ check.key ^ charge).wrapping_mul(SPREAD)
            }
            _ => shape,
        })
    }

    /// The names of the keys that cost something, in the order of their receipts, the quota of each, and for how many nanoseconds the store has charged
    /// it.
    pub(crate) fn charged_names(&mut self) -> Vec<(String, Rate, u64)> {
        let Some(shared) = &mut self.shared else { return Vec::new() };
        let charges = self.checks.iter().filter_map(|check| match check.kind {
            CheckKind::Charge { rate, cost, .. } => Some((rate, cost)),
            _ => None,
        });
        let names = std::mem::take(&mut shared.names);
        let charge = |(at, (name, (rate, cost))): (usize, (String, (Rate, u32)))| {
            let rate = shared.full_rates.get(at).copied().unwrap_or(rate);
            (cost > 0).then(|| (name, rate, rate.charge(cost)))
        };
        names.into_iter().zip(charges).enumerate().filter_map(charge).collect()
    }
}

impl Limiter {
    /// The checks for this request.
    pub(crate) fn plan(&self, req: &Request, found: &[Option<Subject>], quiet: bool) -> CheckPlan {
        let client = self.client(req);
        let mut plan = CheckPlan { quiet, ..CheckPlan::default() };
        let first = found.first().and_then(Option::as_ref);
        // The hash of the limiter's own key, found once for all policies that have no key of their own.
        let mut own = None;
        let blocks = self.shared_store.is_some() || self.blocks.load(Ordering::Acquire);
        if blocks || self.settings.penalty.is_some() || self.settings.concurrency.is_some() {
            own = self.settings.key.with(req, client, first, |named| self.name(&mut plan, named));
            if own.is_none() {
                // An optional key that is missing leaves policies out. Blocks and slots then count under the address of the client.
                self.name(&mut plan, client.map_or(SubjectRef::Unknown, SubjectRef::Addr));
            }
            self.add_block_and_slot(&mut plan, blocks);
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
            self.warnings.named(key, hashes.narrowest());
            self.charge(&mut plan, at, &hashes, policy.quota_for(req), policy.cost_of(req));
            if let (Some(shared_store), Some(shared)) = (&self.shared_store, &mut plan.shared) {
                key.with(req, client, found, |named| {
                    keys::charges(
                        &shared_store.limits.prefix,
                        &mut shared.names,
                        &self.settings.policies,
                        at,
                        key,
                        named,
                    );
                });
            }
        }
        plan
    }

    /// The checks for a subject that a caller of the handle names.
    pub(crate) fn plan_for(&self, named: SubjectRef<'_>, cost: u32) -> CheckPlan {
        let mut plan = CheckPlan::default();
        let own = self.name(&mut plan, named);
        if self.shared_store.is_some() || self.blocks.load(Ordering::Acquire) {
            let (shard, key) = self.block_of(&plan);
            plan.checks.push(KeyCheck::new(shard, key, BLOCK, CheckKind::NotBlocked));
        }
        for (at, policy) in self.settings.policies.iter().enumerate() {
            let key = policy.key.as_ref().unwrap_or(&self.settings.key);
            let hashes = if policy.key.is_none() { own } else { self.hashes(key, named) };
            self.charge(&mut plan, at, &hashes, policy.quota(), cost);
            if let (Some(shared_store), Some(shared)) = (&self.shared_store, &mut plan.shared) {
                keys::charges(
                    &shared_store.limits.prefix,
                    &mut shared.names,
                    &self.settings.policies,
                    at,
                    key,
                    named,
                );
            }
        }
        plan
    }

    /// The shard and the key of the block of a client.
    pub(crate) fn block_of(&self, plan: &CheckPlan) -> (usize, u64) {
        let (shard, hash) = plan.client;
        (shard, mix(hash, BLOCK))
    }

    /// Ends the leases of a client: requests paid for in advance must not be admitted after a block, a charge or a reset.
    pub(crate) fn end_leases(&self, plan: &CheckPlan, now: u64) {
        if self.shared_store.as_ref().is_some_and(|shared_store| shared_store.limits.lease > 0) {
            let (shard, client) = plan.client;
            self.memory.end_leases(shard, client, now);
        }
    }

    /// Adds the checks that come before the charges.
    fn add_block_and_slot(&self, plan: &mut CheckPlan, blocks: bool) {
        let (shard, hash) = plan.client;
        if blocks {
            plan.checks.push(KeyCheck::new(shard, mix(hash, BLOCK), BLOCK, CheckKind::NotBlocked));
        }
        if let Some(most) = self.settings.concurrency {
            plan.checks.push(KeyCheck::new(
                shard,
                mix(hash, ENTER),
                ENTER,
                CheckKind::Slot { most },
            ));
        }
    }

    fn charge(&self, plan: &mut CheckPlan, at: usize, client: &KeyHashes, quota: Quota, cost: u32) {
        let shard = self.memory.shard_of(client.widest());
        let Some(policy) = self.settings.policies.get(at) else { return };
        let (first, others) = (policy.first_quota(), policy.other_quotas(quota));
        if plan.client == (0, 0) {
            plan.client = (shard, client.widest());
        }
        for (level, hash) in client.hashes.iter().take(client.levels).enumerate() {
            let of = |quota: Quota| {
                if level == 0 { quota.rate() } else { quota.times(factor(level)).rate() }
            };
            let rate = of(quota);
            let segment = (at * LEVELS + level) as u8;
            let key = |rate| quota_key(mix(*hash, segment), rate, of(first));
            let further = self.further(rate);
            let kind = CheckKind::Charge { rate, cost, further };
            let mut check = KeyCheck::new(shard, key(rate), segment, kind);
            if !others.is_empty() {
                let others = others.iter().map(|other| (key(of(*other)), of(*other))).collect();
                plan.carries.push(QuotaCarry { shard, key: check.key, rate, others });
            }
            check.refundable = self.is_refundable();
            plan.checks.push(check);
        }
        plan.quotas.push((at as u8, quota));
    }

    /// Sets the client of the plan.
    fn name(&self, plan: &mut CheckPlan, named: SubjectRef<'_>) -> KeyHashes {
        let hashes = self.hashes(&self.settings.key, named);
        plan.client = (self.memory.shard_of(hashes.widest()), hashes.widest());
        if let Some(shared_store) = &self.shared_store {
            let client = keys::client(
                &shared_store.limits.prefix,
                &self.settings.policies,
                &self.settings.key,
                named,
            );
            plan.shared = Some(Box::new(SharedKeys { client, ..SharedKeys::default() }));
        }
        hashes
    }

    #[inline]
    pub(crate) fn hashes(&self, key: &LimitKey, named: SubjectRef<'_>) -> KeyHashes {
        let named = match named {
            SubjectRef::Addr(addr) => match key.prefixes().only(&addr) {
                Some(only) => SubjectRef::Addr(IpAddr::V4(only)),
                None => return self.hashes_of_levels(key.prefixes(), addr),
            },
            other => key.canonical(other),
        };
        KeyHashes { hashes: [self.memory.key_of(named), 0, 0], levels: 1 }
    }

    fn hashes_of_levels(&self, prefixes: Prefixes, addr: IpAddr) -> KeyHashes {
        let mut found = KeyHashes { hashes: [0; LEVELS], levels: 1 };
        for (level, network) in prefixes.levels(addr).enumerate().take(LEVELS) {
            found.hashes[level] = self.memory.key_of(SubjectRef::Addr(network));
            found.levels = level + 1;
        }
        found
    }

    /// Whether a charge may be refunded.
    fn is_refundable(&self) -> bool {
        self.settings.count.is_some() || !self.settings.delay.is_zero()
    }

    /// How many requests may wait for their turn.
    fn further(&self, rate: Rate) -> u32 {
        if self.settings.delay.is_zero() {
            return 0;
        }
        u32::try_from(nanos(self.settings.delay) / rate.interval).unwrap_or(u32::MAX / 2)
    }
}
