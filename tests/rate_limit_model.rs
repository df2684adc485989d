//! Random operations on a limiter, compared with a simple model of each kind of quota: in memory, and on several servers with one store.

#![cfg(feature = "rate-limit")]
#![allow(clippy::unwrap_used, reason = "what fails in a test should stop it")]

use std::net::IpAddr;
use std::time::Duration;

use tower_chain::RateLimit;
use tower_chain::middleware::rate_limit::{
    CalendarPeriod, LimitClock, Policy, PolicyHandle, Quota,
};

/// A deterministic generator of random numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// How the requests of a quota come back, in seconds.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One in each so many seconds.
    Drip(u64),
    /// All, when a window of this length ends that starts with a request.
    Fixed(u64),
    /// All, at the end of each window of this length since 1970.
    Calendar(u64),
    /// All, at the end of a month.
    Month,
}

/// What one client has used of one quota.
#[derive(Clone, Copy, Debug)]
struct Model {
    kind: Kind,
    burst: u64,
    max_debt: u64,
    /// In requests or, where a debt comes back by the time, in seconds (`Drip`) or microseconds (`Month`) until all have come back.
    used: u64,
    /// When the present window ends or, for `Drip`, the last time.
    at: u64,
}

impl Model {
    fn quota(&self) -> Quota {
        let burst = u32::try_from(self.burst).unwrap();
        match self.kind {
            Kind::Drip(seconds) => Quota::new(burst, Duration::from_secs(seconds * self.burst)),
            Kind::Fixed(seconds) => Quota::new(burst, Duration::from_secs(seconds)).fixed_window(),
            Kind::Calendar(seconds) => {
                Quota::new(burst, Duration::from_secs(seconds)).from_midnight_utc()
            }
            Kind::Month => Quota::calendar(burst, CalendarPeriod::Month),
        }
    }

    /// What one request counts for.
    fn unit(&self) -> u64 {
        match self.kind {
            Kind::Drip(seconds) => seconds,
            Kind::Month => 28 * DAY * 1_000_000 / self.burst,
            Kind::Fixed(_) | Kind::Calendar(_) => 1,
        }
    }

    fn end_of_window(&self, now: u64) -> u64 {
        match self.kind {
            Kind::Drip(_) => now,
            // In microseconds, at a multiple of the grid.
            Kind::Fixed(seconds) => {
                ((now + seconds) * 1_000_000).next_multiple_of((self.burst + 1) * 16)
            }
            Kind::Calendar(seconds) => (now / seconds + 1) * seconds,
            Kind::Month => {
                let mut ends = MONTHS.iter().scan(0, |end, days| {
                    *end += days * DAY;
                    Some(*end)
                });
                ends.find(|end| *end > now).unwrap()
            }
        }
    }

    /// Time has passed.
    fn at(&mut self, now: u64) {
        match self.kind {
            Kind::Drip(_) => {
                self.used = self.used.saturating_sub(now - self.at);
                self.at = now;
            }
            Kind::Fixed(_) if self.at <= now * 1_000_000 => self.used = 0,
            Kind::Fixed(_) => {}
            Kind::Calendar(_) | Kind::Month => {
                // A debt comes back by the limit of a window in each, and by the days of each month.
                while self.at <= now && self.used > 0 {
                    let end = self.end_of_window(self.at);
                    let back = match self.kind {
                        Kind::Month => (end - self.at) * 1_000_000,
                        _ => self.burst,
                    };
                    (self.used, self.at) = (self.used.saturating_sub(back), end);
                }
                if self.at <= now {
                    self.at = self.end_of_window(now);
                }
            }
        }
    }

    fn add(&mut self, used: u64, now: u64) {
        if used > 0 && matches!(self.kind, Kind::Fixed(_)) && self.at <= now * 1_000_000 {
            self.at = self.end_of_window(now);
        }
        self.used += used;
    }

    fn admit(&mut self, requests: u64, now: u64) -> bool {
        let used = requests * self.unit();
        let fits = requests == 0 || self.used + used <= self.burst * self.unit();
        if fits {
            self.add(used, now);
        }
        fits
    }

    fn charge(&mut self, requests: u64, now: u64) {
        let most = ((self.burst + self.max_debt) * self.unit()).max(self.used);
        self.add((requests * self.unit()).min(most - self.used), now);
    }

    fn refund(&mut self, requests: u64) {
        self.used = self.used.saturating_sub(requests * self.unit());
    }

    fn reset(&mut self, now: u64) {
        self.used = 0;
        self.at = if matches!(self.kind, Kind::Fixed(_)) { 0 } else { self.end_of_window(now) };
    }

    fn left(&self) -> u64 {
        (self.burst * self.unit()).saturating_sub(self.used) / self.unit()
    }
}

fn client(number: u64) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(number).unwrap()])
}

const DAY: u64 = 86_400;
const MONTHS: [u64; 36] = [
    31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
    31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31,
];

#[tokio::test]
async fn random_operations_agree_with_a_model() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let clock = LimitClock::fake();
        let policies = 1 + usize::try_from(dice.below(3)).unwrap();
        let mut models = Vec::new();
        for _ in 0..policies {
            let burst = [1, 2, 5, 20][usize::try_from(dice.below(4)).unwrap()];
            let kind = match dice.below(5) {
                0 | 1 => Kind::Drip([1, 7, 60, 3600][usize::try_from(dice.below(4)).unwrap()]),
                2 => Kind::Fixed([10, 60, 900, DAY][usize::try_from(dice.below(4)).unwrap()]),
                3 => Kind::Calendar(
                    [10, 60, 3600, DAY, 7 * DAY][usize::try_from(dice.below(5)).unwrap()],
                ),
                _ => Kind::Month,
            };
            let max_debt = [0, 3, 1000][usize::try_from(dice.below(3)).unwrap()];
            models.push(Model { kind, burst, max_debt, used: 0, at: 0 });
        }
        let max_debt = |m: &Model| match m.kind {
            Kind::Fixed(_) => m.max_debt.min(14 * m.burst),
            _ => m.max_debt,
        };
        let policy = |at: usize| {
            let debt = u32::try_from(models[at].max_debt).unwrap();
            Policy::new(format!("p{at}"), models[at].quota()).max_debt(debt)
        };
        let mut limit = RateLimit::new(policy(0));
        for at in 1..policies {
            limit = limit.and(policy(at));
        }
        let limit = limit.clock(clock.clone());
        let all: PolicyHandle<IpAddr> = limit.handle().policies().unwrap();
        let each: Vec<PolicyHandle<IpAddr>> =
            (0..policies).map(|at| limit.handle().policy(&format!("p{at}")).unwrap()).collect();
        for m in &mut models {
            m.max_debt = max_debt(m);
            m.reset(0);
        }
        let mut state: Vec<Vec<Model>> = vec![models.clone(); 3];
        let mut now = 0;
        let mut log = Vec::new();
        for _ in 0..120 {
            let who = dice.below(3);
            let of = &mut state[usize::try_from(who).unwrap()];
            for m in of.iter_mut() {
                m.at(now);
            }
            let requests = [1, 1, 1, 2, 3, 0][usize::try_from(dice.below(6)).unwrap()];
            let n = u32::try_from(requests).unwrap();
            let at = usize::try_from(dice.below(policies as u64)).unwrap();
            match dice.below(12) {
                0 => {
                    each[at].charge(client(who), n * 3).await;
                    of[at].charge(requests * 3, now);
                    log.push(format!("{now} charge {who} p{at} {}", n * 3));
                }
                1 => {
                    each[at].refund(client(who), n).await;
                    of[at].refund(requests);
                    log.push(format!("{now} refund {who} p{at} {n}"));
                }
                2 => {
                    each[at].reset(client(who)).await;
                    of[at].reset(now);
                    log.push(format!("{now} reset {who} p{at}"));
                }
                3..6 => {
                    let step = [1, 5, 61, 1000, 4000, DAY, 9 * DAY]
                        [usize::try_from(dice.below(7)).unwrap()];
                    if now + step < 700 * DAY {
                        now += step;
                        clock.advance(Duration::from_secs(step));
                        log.push(format!("{now}"));
                    }
                }
                6 => {
                    let fits = of[at].admit(requests, now);
                    let admitted = each[at].admit(client(who), n).await.is_ok();
                    log.push(format!("{now} admit {who} p{at} {n}: {admitted}"));
                    assert_eq!(admitted, fits, "seed {seed} {of:?}\n{log:#?}");
                }
                _ => {
                    let fits = of.iter().all(|m| m.clone().admit(requests, now));
                    if fits {
                        of.iter_mut().for_each(|m| assert!(m.admit(requests, now)));
                    }
                    let admitted = all.admit(client(who), n).await;
                    log.push(format!("{now} admit {who} {n}: {}", admitted.is_ok()));
                    assert_eq!(admitted.is_ok(), fits, "seed {seed} {of:?}\n{log:#?}");
                    // A client that obeys gets through.
                    if let Err(refused) = admitted
                        && let Some(wait) = refused.retry_after()
                    {
                        let mut later = of.clone();
                        for m in &mut later {
                            m.at(now + wait.as_secs());
                        }
                        assert!(
                            later.iter_mut().all(|m| m.admit(requests, now + wait.as_secs())),
                            "seed {seed}: wait {wait:?} {of:?}\n{log:#?}"
                        );
                        let earlier = wait.as_secs() - 1;
                        let mut before = of.clone();
                        for m in &mut before {
                            m.at(now + earlier);
                        }
                        assert!(
                            !before.iter_mut().all(|m| m.admit(requests, now + earlier)),
                            "seed {seed}: could be {earlier} instead of {wait:?} {of:?}\n{log:#?}"
                        );
                    }
                }
            }
            let of = &mut state[usize::try_from(who).unwrap()];
            for m in of.iter_mut() {
                m.at(now);
            }
            let left: Vec<u64> =
                all.peek(client(who)).await.iter().map(|s| s.remaining().into()).collect();
            let expected: Vec<u64> = of.iter().map(Model::left).collect();
            assert_eq!(left, expected, "seed {seed} now {now} {of:?}\n{log:#?}");
        }
    }
}
