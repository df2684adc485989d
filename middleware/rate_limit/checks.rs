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

/// The checks of one request, in order: the blocks of its subjects, a free slot, and then the charges of all policies.
#[derive(Clone, Default)]
pub(crate) struct CheckPlan {
    pub(crate) checks: SmallVec<[KeyCheck; 2]>,
    /// The policies that apply, by position, and the quota that each of them has for this request.
    pub(crate) quotas: SmallVec<[(u8, Quota); 2]>,
    /// The charges of policies with several quotas, which start with what is used of the other quotas.
    pub(crate) carries: Vec<QuotaCarry>,
    /// The first subject of the request, by its shard and its hash. Logs, totals and leases use it.
    pub(crate) client: (usize, u64),
    /// The subjects that the request is counted under, one for each key. Empty if there is no block, penalty, concurrency or shared store.
    pub(crate) subjects: SmallVec<[CountedSubject; 1]>,
    /// Whether the state of an admitted client is not needed, because no header field and no observer shows it.
    pub(crate) quiet: bool,
    /// Whether the memory has already counted the decision in its totals.
    pub(crate) counted: bool,
    /// Whether the request waits for a slot, if none is free.
    pub(crate) waits: bool,
    /// The same keys under their names in the shared store, if there is one.
    pub(crate) shared: Option<Box<SharedKeys>>,
}

/// A subject that a request is counted under: a value of the key of the limiter, or of the key of one policy. Of a hierarchy of networks, it is the
/// smallest one. Its block, its strikes and its slots affect no other subject.
#[derive(Clone)]
pub(crate) struct CountedSubject {
    /// The number of its key: 0 for the key of the limiter, otherwise the position of the policy plus 1.
    pub(crate) key: u8,
    /// The shard that the subject has in common with its wider networks.
    pub(crate) shard: usize,
    pub(crate) hash: u64,
    /// The start of the names of its block and its slots in the shared store. Empty without a store.
    pub(crate) name: Box<str>,
}

impl CountedSubject {
    /// The key of one of the segments of this subject, such as its block.
    pub(crate) fn segment(&self, first: u8) -> (usize, u64) {
        (self.shard, mix(self.hash, first + self.key))
    }
}

/// The names of the keys of one request in the shared store.
#[derive(Clone, Default)]
pub(crate) struct SharedKeys {
    /// The key of each charge, in the order of the charges.
    pub(crate) names: Vec<String>,
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

    /// The names of the keys that have receipts, in the same order, and the rate at which the store has charged each.
    pub(crate) fn charged_names(&mut self) -> Vec<(String, Rate)> {
        let Some(shared) = &mut self.shared else { return Vec::new() };
        let charges = self.checks.iter().filter_map(|check| match check.kind {
            CheckKind::Charge { rate, .. } => Some((rate, check.has_receipt())),
            _ => None,
        });
        let names = std::mem::take(&mut shared.names);
        let charge = |(at, (name, (rate, has_receipt))): (usize, (String, (Rate, bool)))| {
            let rate = shared.full_rates.get(at).copied().unwrap_or(rate);
            has_receipt.then_some((name, rate))
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
        let has_subjects = self.has_subjects();
        if self.shared_store.is_some() {
            plan.shared = Some(Box::default());
        }
        if has_subjects && self.settings.first_key() == 0 {
            let key = &self.settings.key;
            own = key.with(req, client, first, |named| self.add_subject(&mut plan, 0, key, named));
            if own.is_none() {
                // An optional key that is missing leaves policies out. Blocks and slots then count under the address of the client.
                let address = client.map_or(SubjectRef::Unknown, SubjectRef::Addr);
                self.add_subject(&mut plan, 0, key, address);
            }
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
                (Some(_), _) if has_subjects => key.with(req, client, found, |named| {
                    self.add_subject(&mut plan, at as u8 + 1, key, named)
                }),
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
        self.add_slot(&mut plan);
        plan
    }

    /// The checks for a subject that a caller of the handle names, under the policy at this position, or under all policies, which then have one key.
    pub(crate) fn plan_for(
        &self,
        only: Option<usize>,
        named: SubjectRef<'_>,
        cost: u32,
    ) -> CheckPlan {
        let mut plan = CheckPlan::default();
        if self.shared_store.is_some() {
            plan.shared = Some(Box::default());
        }
        let policies = &self.settings.policies;
        let (first, key) = (only.unwrap_or(0), self.settings.key_of(only.unwrap_or(0)));
        let has_own_key = policies.get(first).is_some_and(|policy| policy.key.is_some());
        let number = if has_own_key { first as u8 + 1 } else { 0 };
        let hashes = self.add_subject(&mut plan, number, key, named);
        for (at, policy) in policies.iter().enumerate() {
            if only.is_some_and(|only| only != at) {
                continue;
            }
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

    /// The checks for a slot of a subject that a caller of the handle names. Nothing is charged.
    pub(crate) fn plan_for_slot(&self, named: SubjectRef<'_>) -> CheckPlan {
        let mut plan = CheckPlan { quiet: true, ..CheckPlan::default() };
        if self.shared_store.is_some() {
            plan.shared = Some(Box::default());
        }
        let (number, key) = (self.settings.first_key(), self.settings.slot_key());
        self.add_subject(&mut plan, number, key, named);
        self.add_slot(&mut plan);
        plan
    }

    /// Ends the leases of a client: requests paid for in advance must not be admitted after a block, a charge or a reset.
    pub(crate) fn end_leases(&self, plan: &CheckPlan, now: u64) {
        if self.shared_store.as_ref().is_some_and(|shared_store| shared_store.limits.lease > 0) {
            let (shard, client) = plan.client;
            self.memory.end_leases(shard, client, now);
        }
    }

    /// Whether requests are checked against more than quotas: blocks, strikes or slots.
    fn has_subjects(&self) -> bool {
        self.has_blocks() || self.settings.penalty.is_some() || self.settings.concurrency.is_some()
    }

    /// Whether a subject may be blocked. In a shared store, another server may have done so.
    fn has_blocks(&self) -> bool {
        self.shared_store.is_some() || self.blocks.load(Ordering::Acquire)
    }

    /// Adds the check of a slot, after those of the blocks. The slots are those of the first subject.
    fn add_slot(&self, plan: &mut CheckPlan) {
        if let (Some(most), Some(subject)) = (self.settings.concurrency, plan.subjects.first()) {
            let ((shard, key), segment) = (subject.segment(ENTER), ENTER + subject.key);
            let check = KeyCheck::new(shard, key, segment, CheckKind::Slot { most });
            plan.checks.insert(plan.first_charge(), check);
        }
    }

    /// Adds the subject of a key, and the check of its block, which comes before the charges.
    fn add_subject(
        &self,
        plan: &mut CheckPlan,
        number: u8,
        key: &LimitKey,
        named: SubjectRef<'_>,
    ) -> KeyHashes {
        let hashes = self.hashes(key, named);
        let (shard, hash) = (self.memory.shard_of(hashes.widest()), hashes.narrowest());
        let name = self.shared_store.as_ref().map_or(String::new(), |shared_store| {
            let prefix = &shared_store.limits.prefix;
            keys::subject(prefix, &self.settings.policies, number, key, named)
        });
        let subject = CountedSubject { key: number, shard, hash, name: name.into() };
        if self.has_blocks() {
            let blocks = plan.checks.iter().take_while(|check| check.kind.is_block()).count();
            let (_, key) = subject.segment(BLOCK);
            let check = KeyCheck::new(shard, key, BLOCK + number, CheckKind::NotBlocked);
            plan.checks.insert(blocks, check);
        }
        if plan.client == (0, 0) {
            plan.client = (shard, hash);
        }
        plan.subjects.push(subject);
        hashes
    }

    fn charge(&self, plan: &mut CheckPlan, at: usize, client: &KeyHashes, quota: Quota, cost: u32) {
        let shard = self.memory.shard_of(client.widest());
        let Some(policy) = self.settings.policies.get(at) else { return };
        let (first, others) = (policy.first_quota(), policy.other_quotas(quota));
        if plan.client == (0, 0) {
            plan.client = (shard, client.narrowest());
        }
        for (level, hash) in client.hashes.iter().take(client.levels).enumerate() {
            let of = |quota: Quota| {
                let rate =
                    if level == 0 { quota.rate() } else { quota.times(factor(level)).rate() };
                if rate.is_window() { rate.by_clock(self.clock.start()) } else { rate }
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
            let policy = self.settings.policies.get(at);
            check.settles = policy.is_some_and(|policy| policy.settle.is_some());
            check.shadow = policy.is_some_and(|policy| policy.shadow);
            check.refundable = check.settles || self.is_refundable();
            plan.checks.push(check);
        }
        plan.quotas.push((at as u8, quota));
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

    /// By how many requests beyond its burst a key may be in debt.
    pub(crate) fn most_debt(&self, segment: u8, rate: Rate) -> u32 {
        let policy = self.settings.policies.get(usize::from(segment) / LEVELS);
        policy.map_or(u32::MAX, |policy| policy.max_debt).min(rate.longest_debt())
    }

    /// How many requests may wait for their turn.
    fn further(&self, rate: Rate) -> u32 {
        if self.settings.delay.is_zero() || rate.is_window() {
            return 0;
        }
        u32::try_from(nanos(self.settings.delay) / rate.interval).unwrap_or(u32::MAX / 2)
    }
}
