//! The memory against an oracle in `u128`, against `governor` itself, with many threads, and in a flood.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;

use super::*;
use crate::middleware::rate_limit::Quota;

/// A generator of numbers that says the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }
}

fn charge(memory: &LocalMemory, client: u64, segment: u8, quota: Quota, cost: u32) -> KeyCheck {
    let hash = memory.hash(client);
    let ask = CheckKind::Charge { rate: quota.rate(), cost, further: 0 };
    KeyCheck::new(memory.shard_of(hash), hash ^ u64::from(segment) << 40, segment, ask)
}

/// A charge that may be taken back.
fn refundable(memory: &LocalMemory, client: u64, segment: u8, quota: Quota, cost: u32) -> KeyCheck {
    KeyCheck { refundable: true, ..charge(memory, client, segment, quota, cost) }
}

fn admit(memory: &LocalMemory, client: u64, quota: Quota, now: u64) -> bool {
    memory.decide(&mut [charge(memory, client, 0, quota, 1)], now)
}

const SECOND: u64 = 1_000_000_000;

/// What a limit is: a counter with a line before it, which serves a nanosecond of work each nanosecond. A request is work, admitted while the
/// line has room for it; taking it back takes out of the line what of it wasn't served.
#[derive(Default)]
struct Counter {
    queue: VecDeque<(usize, u128)>,
    waiting: u128,
    served: u128,
}

impl Counter {
    fn serve(&mut self, now: u128) {
        let mut time = now - self.served;
        self.served = now;
        while let Some((_, work)) = self.queue.front_mut() {
            let done = time.min(*work);
            (*work, time, self.waiting) = (*work - done, time - done, self.waiting - done);
            if *work > 0 {
                break;
            }
            self.queue.pop_front();
        }
    }

    fn join(&mut self, number: usize, work: u128) {
        self.queue.push_back((number, work));
        self.waiting += work;
    }

    fn take_back(&mut self, number: usize) {
        let waiting = &mut self.waiting;
        self.queue.retain(|(other, work)| {
            *waiting -= if *other == number { *work } else { 0 };
            *other != number
        });
    }
}

#[test]
fn a_million_random_operations_agree_with_an_oracle() {
    let quotas = [
        Quota::per_second(3),
        Quota::per_minute(7).burst(2),
        Quota::new(5, Duration::from_nanos(11)),
        Quota::new(1, Duration::from_secs(90 * 366 * 24 * 3600)),
        Quota::per_hour(1_000_000),
    ];
    let memory = LocalMemory::new(10_000);
    let mut oracle: HashMap<(u64, usize), Counter> = HashMap::new();
    let (mut dice, mut now) = (Dice(7), 0_u64);
    let (mut admitted, mut refused, mut returned) = (0, 0, 0);
    let mut receipts: Vec<(u64, usize, Receipt, usize)> = Vec::new();
    for number in 0..1_000_000 {
        now += match dice.below(10) {
            0 => dice.below(3 * SECOND),
            1 => dice.below(5),
            2 => dice.below(SECOND / 100),
            _ => 0,
        };
        if dice.below(4) == 0 && !receipts.is_empty() {
            // In any order; some are kept instead, and some are never heard of again.
            let last = receipts.len() as u64 - 1;
            let (client, which, receipt, number) =
                receipts.swap_remove((last - dice.below(last.min(40) + 1)) as usize);
            if dice.below(4) == 0 {
                memory.keep(&receipt);
                continue;
            }
            let counter = oracle.entry((client, which)).or_default();
            counter.serve(now.into());
            let before = counter.waiting;
            counter.take_back(number);
            assert_eq!(
                u128::from(memory.refund(&receipt, u64::MAX, now)),
                before - counter.waiting
            );
            returned += usize::from(before > counter.waiting);
            continue;
        }
        let client = dice.below(40);
        let cost = [1, 1, 1, 2, 3, 0][dice.below(6) as usize];
        let first = dice.below(5) as usize;
        // One policy, or two that must agree.
        let which: Vec<usize> =
            if dice.below(3) == 0 { vec![first, (first + 1) % 5] } else { vec![first] };
        let mut checks: Vec<_> =
            which.iter().map(|&w| refundable(&memory, client, w as u8, quotas[w], cost)).collect();
        let mut expected = Vec::new();
        for &w in &which {
            let interval = u128::from(quotas[w].rate().interval);
            let (work, room) =
                (interval * u128::from(cost), interval * u128::from(quotas[w].burst_size()));
            let counter = oracle.entry((client, w)).or_default();
            counter.serve(now.into());
            let wait = (counter.waiting + work).saturating_sub(room);
            expected.push((work, (work <= room).then_some(wait)));
        }
        let fits = cost == 0 || expected.iter().all(|(_, wait)| *wait == Some(0));
        assert_eq!(memory.decide(&mut checks, now), fits);
        for ((check, &w), (work, wait)) in checks.iter().zip(&which).zip(&expected) {
            if cost > 0 {
                let outcome = match wait {
                    None => CheckOutcome::Never,
                    Some(0) => CheckOutcome::Admitted,
                    Some(wait) => CheckOutcome::Wait(u64::try_from(*wait).unwrap()),
                };
                assert_eq!(check.outcome, outcome);
            }
            if fits && cost > 0 {
                oracle.entry((client, w)).or_default().join(number, *work);
                receipts.push((client, w, Receipt::of(check).unwrap(), number));
            }
        }
        if fits { admitted += 1 } else { refused += 1 }
    }
    // The dice were not one-sided.
    assert!(
        admitted > 100_000 && refused > 100_000 && returned > 30_000,
        "{admitted} {refused} {returned}"
    );
}

#[test]
fn a_charge_that_moved_up_is_worth_no_more_than_what_is_left_of_it() {
    let memory = LocalMemory::new(100);
    let quota = Quota::new(4, Duration::from_secs(40));
    let mut charges = [(); 4].map(|()| [refundable(&memory, 1, 0, quota, 1)]);
    assert!(charges.iter_mut().all(|check| memory.decide(check, 0)));
    let [first, .., last] = charges.map(|[check]| Receipt::of(&check).unwrap());
    // The last one stands at 20 to 30 seconds from now on, and half of it has come back after 25.
    assert_eq!(memory.refund(&first, u64::MAX, 0), 10 * SECOND);
    assert!(admit(&memory, 1, quota, 25 * SECOND));
    assert_eq!(memory.refund(&last, u64::MAX, 25 * SECOND), 5 * SECOND);
    let check = charge(&memory, 1, 0, quota, 1);
    assert_eq!(memory.look(check.shard, check.key).0, 35 * SECOND);
}

#[test]
fn what_was_given_back_by_hand_is_not_given_back_again() {
    for left in [0, 10 * SECOND] {
        let memory = LocalMemory::new(100);
        let quota = Quota::new(4, Duration::from_secs(40));
        let mut charges = [(); 2].map(|()| [refundable(&memory, 1, 0, quota, 1)]);
        assert!(charges.iter_mut().all(|check| memory.decide(check, 0)));
        let receipts = charges.map(|[check]| Receipt::of(&check).unwrap());
        let (shard, key) = (receipts[0].shard, receipts[0].key);
        memory.change(shard, key, 0, |_| left);
        memory.truncate(shard, key, left);
        // Somebody else's charge comes after that, and stays.
        assert!(admit(&memory, 1, quota, 0));
        let given = receipts.map(|receipt| memory.refund(&receipt, u64::MAX, 0));
        assert_eq!(given, [left, 0]);
        assert_eq!(memory.look(shard, key).0, 10 * SECOND);
    }
}

#[test]
fn it_decides_as_governor_does() {
    let quota = Quota::per_second(10).burst(4);
    let (clock, memory) = (FakeRelativeClock::default(), LocalMemory::new(1000));
    let governor: governor::RateLimiter<u64, HashMapStateStore<u64>, _, NoOpMiddleware<Nanos>> =
        governor::RateLimiter::new(
            quota.rate().governed(0).unwrap(),
            HashMapStateStore::default(),
            clock.clone(),
        );
    let (mut dice, mut now) = (Dice(1), 0);
    let mut admitted = 0;
    for _ in 0..100_000 {
        let step = dice.below(SECOND / 50);
        now += step;
        clock.advance(Duration::from_nanos(step));
        let (client, cost) = (dice.below(9), 1 + dice.below(3) as u32);
        let theirs = governor.check_key_n(&client, NonZeroU32::new(cost).unwrap()).unwrap().is_ok();
        let ours = memory.decide(&mut [charge(&memory, client, 0, quota, cost)], now);
        assert_eq!(ours, theirs);
        admitted += usize::from(ours);
    }
    assert!((5_000..95_000).contains(&admitted));
}

#[test]
fn many_threads_admit_exactly_the_burst() {
    for (threads, burst) in [(2, 1), (8, 100), (64, 1000)] {
        let memory = LocalMemory::new(50_000);
        let quota = Quota::new(burst, Duration::from_secs(1_000_000));
        let admitted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (memory, admitted) = (&memory, &admitted);
                scope.spawn(move || {
                    let mut dice = Dice(thread);
                    for at in 0..2_000 {
                        admitted.fetch_add(admit(memory, 7, quota, 1).into(), Ordering::Relaxed);
                        // Others come and go, so that the sweep has work.
                        admit(memory, 1000 + dice.below(5_000), Quota::per_second(1_000), at);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), burst as usize, "{threads} threads");
    }
}

#[test]
fn policies_with_different_keys_are_atomic_under_threads() {
    let memory = LocalMemory::new(100_000);
    let (wide, narrow) = (
        Quota::new(500, Duration::from_secs(1 << 20)),
        Quota::new(9, Duration::from_secs(1 << 20)),
    );
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            let (memory, admitted) = (&memory, &admitted);
            scope.spawn(move || {
                for at in 0..500_u64 {
                    let user = 100 + (thread * 500 + at) % 80;
                    let mut checks =
                        [charge(memory, 1, 0, wide, 1), charge(memory, user, 1, narrow, 1)];
                    admitted.fetch_add(memory.decide(&mut checks, 1).into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 500);
    // What the users were charged is what the shared key was charged: no refusal cost anybody anything.
    let charged: u64 = (0..80)
        .map(|user| {
            let check = charge(&memory, 100 + user, 1, narrow, 0);
            memory.look(check.shard, check.key).0.saturating_sub(1) / narrow.rate().interval
        })
        .sum();
    assert_eq!(charged, 500);
}

#[test]
fn a_flood_stays_within_the_cap_and_forgets_nobody() {
    let cap = 100_000;
    let memory = LocalMemory::new(cap);
    let quota = Quota::new(100, Duration::from_secs(900));
    let (exhausted, good) = (u64::MAX, u64::MAX - 1);
    assert_eq!((0..150).filter(|_| admit(&memory, exhausted, quota, 1)).count(), 100);
    assert!(admit(&memory, good, quota, 1));
    let looked =
        || -> u64 { (0..memory.shards.len()).map(|at| memory.lock(at).table.looked.get()).sum() };
    let mut costs = Vec::new();
    let mut most = 0;
    for block in 0..100_u64 {
        let before = looked();
        for client in block * 10_000..(block + 1) * 10_000 {
            admit(&memory, client, quota, 1 + client);
        }
        costs.push((looked() - before) / 10_000);
        most = most.max(memory.bytes());
        assert!(memory.len() <= cap);
        assert!(!admit(&memory, exhausted, quota, 1 + block));
    }
    assert!(admit(&memory, good, quota, 1_000_001));
    assert!(memory.len() > cap * 9 / 10);
    assert!(most <= cap * 40, "{most} bytes for {cap} keys");
    // In slots that were looked at for a request, since time is not the same on all machines.
    let most_slots = costs.iter().max().unwrap();
    assert!(costs[99] <= costs[0] * 2 && *most_slots <= 60, "{costs:?}");

    // Two windows later some requests of one client give it all back.
    let later = 1800 * SECOND;
    for at in 0..10_000 {
        admit(&memory, good, Quota::per_second(1_000_000), later + at);
    }
    assert!(memory.bytes() <= most / 10, "{} of {most} bytes are left", memory.bytes());
    assert_eq!(memory.len(), 1);
}

#[test]
fn new_keys_share_their_quota_once_there_is_no_room() {
    let memory = LocalMemory::new(10);
    let quota = Quota::new(2, Duration::from_secs(1000));
    for client in 0..10 {
        assert!(admit(&memory, client, quota, 1));
    }
    let admitted = (10..10_000).filter(|client| admit(&memory, *client, quota, 1)).count();
    assert_eq!(admitted, 2 * OVERFLOW_COUNTERS);
    assert_eq!(memory.len(), 10);
    // Those who were known still have what is theirs.
    assert!((0..10).all(|client| admit(&memory, client, quota, 1)));
    assert!((0..10).all(|client| !admit(&memory, client, quota, 1)));
    // Once they have it back there is room.
    let later = 2000 * SECOND;
    assert!((10_000..10_010).all(|client| admit(&memory, client, quota, later)));
}

#[test]
fn a_key_takes_at_most_forty_bytes() {
    let quota = Quota::per_hour(1);
    let memory = LocalMemory::new(256 * KEYS_PER_SHARD);
    let mut worst = 0.0_f64;
    for client in 0..400_000_u64 {
        admit(&memory, client, quota, 1);
        if client % 20_000 == 19_999 {
            worst = worst.max(memory.bytes() as f64 / memory.len() as f64);
        }
    }
    assert!(worst <= 40.0, "{worst} bytes a key");
}

#[test]
fn the_table_agrees_with_a_map() {
    let mut table = StateTable::new(700);
    let mut map: HashMap<u64, u64> = HashMap::new();
    let (mut dice, mut now) = (Dice(3), 0);
    for _ in 0..300_000 {
        now += dice.below(3);
        // Few distinct low bits: long probes.
        let key = (dice.below(1000) << 32) | dice.below(4) | 1;
        match dice.below(4) {
            0 => {
                table.remove(key);
                map.remove(&key);
            }
            1 => table.sweep(now, dice.below(20) as usize),
            _ => {
                let until = now + 1 + dice.below(1500);
                if table.set(key, KeyState::until(until)) {
                    map.insert(key, until);
                } else {
                    assert!(!map.contains_key(&key) && table.len() == 700);
                }
            }
        }
        // What is over may be gone; what isn't must be there.
        let (found, known) = (table.find(key).map(KeyState::as_until), map.get(&key).copied());
        match known {
            Some(until) if until > now => assert_eq!(found, known),
            _ => assert!(found.is_none() || found == known),
        }
    }
    for (key, until) in map {
        if until > now {
            assert_eq!(table.find(key), Some(KeyState::until(until)));
        }
    }
}

#[test]
fn a_count_is_kept_until_it_is_zero() {
    let memory = Arc::new(LocalMemory::new(100));
    let hash = memory.hash(1);
    let enter = || KeyCheck::new(memory.shard_of(hash), hash, 0, CheckKind::Slot { most: 1 });
    let mut first = [enter()];
    assert!(memory.decide(&mut first, 1));
    for at in 0..1_000 {
        admit(&memory, 1000 + at, Quota::per_second(100), 1 + at * SECOND);
        assert!(!memory.decide(&mut [enter()], 1 + at * SECOND));
    }
    memory.refund(&Receipt::of(&first[0]).unwrap(), u64::MAX, 2000 * SECOND);
    assert!(memory.decide(&mut [enter()], 2000 * SECOND));
}

#[test]
fn what_was_charged_without_room_is_given_back_as_well() {
    let memory = LocalMemory::new(1);
    let quota = Quota::new(3, Duration::from_secs(1000));
    assert!(admit(&memory, 0, quota, 1));
    let mut receipts = Vec::new();
    for _ in 0..3 {
        let mut check = [refundable(&memory, 1, 0, quota, 1)];
        assert!(memory.decide(&mut check, 1));
        receipts.extend(Receipt::of(&check[0]));
    }
    assert!(!admit(&memory, 1, quota, 1));
    for receipt in &receipts {
        memory.refund(receipt, u64::MAX, 1);
    }
    assert!(memory.decide(&mut [charge(&memory, 1, 0, quota, 3)], 1));
}

#[test]
fn a_charge_is_given_back_once_it_is_over_by_nothing() {
    let memory = LocalMemory::new(100);
    let quota = Quota::per_second(1).burst(2);
    let mut first = [refundable(&memory, 1, 0, quota, 1)];
    assert!(memory.decide(&mut first, 0));
    // The first has come back by itself when the second is made, and can't be had again.
    let mut second = [refundable(&memory, 1, 0, quota, 2)];
    assert!(memory.decide(&mut second, SECOND));
    memory.refund(&Receipt::of(&first[0]).unwrap(), u64::MAX, SECOND);
    assert!(!admit(&memory, 1, quota, SECOND));
    // A charge that is half over is worth the other half.
    memory.refund(&Receipt::of(&second[0]).unwrap(), u64::MAX, 2 * SECOND);
    assert_eq!(memory.len(), 0);
}

#[test]
fn what_is_paid_for_in_advance_ends_by_itself() {
    let memory = LocalMemory::new(100);
    let (client, shape) = (7, 70);
    let spend = |shape, now| memory.spend_lease(0, client, shape, now).is_some();
    memory.lease(0, client, shape, 2, SECOND);
    memory.lease(0, client, shape, 1, SECOND);
    assert_eq!([(); 4].map(|()| spend(shape, SECOND)), [true, true, true, false]);
    memory.lease(0, client, shape, 5, SECOND);
    assert!(spend(shape, 10 * SECOND));
    assert!(!spend(shape, 11 * SECOND));
    // And the sweep takes it away.
    for at in 0..100 {
        admit(&memory, 1 + at % 2, Quota::per_second(1_000_000), 20 * SECOND + at);
    }
    assert!(memory.len() <= 2);
}

#[test]
fn what_is_paid_for_in_advance_is_ended_for_a_client_whatever_it_was_for() {
    let memory = LocalMemory::new(100);
    let spend = |client, shape, now| memory.spend_lease(0, client, shape, now).is_some();
    for (client, shape) in [(7, 70), (7, 71), (8, 80)] {
        memory.lease(0, client, shape, 9, SECOND);
    }
    memory.end_leases(0, 7, SECOND);
    assert_eq!(
        [spend(7, 70, SECOND), spend(7, 71, SECOND), spend(8, 80, SECOND)],
        [false, false, true]
    );
    // What is paid for from then on is good until it is ended as well, be it at the same moment.
    memory.lease(0, 7, 70, 9, SECOND);
    assert!(spend(7, 70, SECOND));
    memory.end_leases(0, 7, SECOND);
    assert!(!spend(7, 70, SECOND));
    for now in (1..40).map(|half| half * SECOND / 2) {
        assert!(!spend(7, 70, now), "at {now}");
    }
}
