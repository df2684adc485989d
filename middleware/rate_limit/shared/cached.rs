//! What is known of a shared store without asking it.

use std::time::Duration;

use super::store::StoreAnswer;
use crate::middleware::rate_limit::checks::Asked;
use crate::middleware::rate_limit::config::clock::until;
use crate::middleware::rate_limit::memory::Memory;
use crate::middleware::rate_limit::memory::gcra::{Ask, Outcome, governed};

/// Applies what was learned from the store before; returns whether it leaves the request a chance. What has no room the store would refuse, unless
/// somebody gave charges back: that is trusted for a moment, or, without the store, altogether.
pub(crate) fn know(memory: &Memory, asked: &mut Asked, now: u64, altogether: bool) -> bool {
    let mut chance = true;
    for check in &mut asked.checks {
        let (known, trusted) = memory.known(check.shard, check.key);
        let fresh = trusted > now;
        match check.ask {
            Ask::Charge { rate, cost, further } => {
                check.until = known;
                if fresh || altogether {
                    check.outcome = governed(rate, further, cost, known, now).0;
                }
            }
            Ask::Free => {
                check.until = known;
                if known > now && (fresh || altogether) {
                    check.outcome = Outcome::Wait(known - now);
                }
            }
            Ask::Enter { .. } => {}
        }
        chance &= check.is_admitted();
    }
    chance
}

/// Remembers what the store says, and why it refused.
pub(crate) fn learn(memory: &Memory, asked: &mut Asked, answer: &StoreAnswer, sent: u64, now: u64) {
    let mut refused = !answer.blocked_for.is_zero() || answer.is_busy;
    let mut charged = answer.charged_for.iter();
    for check in &mut asked.checks {
        let seen = check.until;
        let (known, refuses) = match check.ask {
            Ask::Charge { rate, cost, further } => {
                let Some(charged) = charged.next() else { continue };
                check.until = until(now, *charged);
                let taken = if answer.admitted { rate.charge(cost) } else { 0 };
                if check.returnable {
                    let before = check.until.saturating_sub(taken);
                    memory.move_up(check.shard, check.key, before);
                }
                if check.returnable && taken > 0 {
                    check.number = memory.enter(check.shard, check.key, taken, check.until);
                }
                let next = governed(rate, further, cost, check.until, now).0;
                if !answer.admitted {
                    check.outcome = next;
                    refused |= !check.is_admitted();
                }
                (*charged, next != Outcome::Admitted)
            }
            Ask::Free => {
                check.until = until(now, answer.blocked_for);
                if check.until > now {
                    check.outcome = Outcome::Wait(check.until - now);
                }
                let (own, trusted) = memory.known(check.shard, check.key);
                if own > check.until && trusted >= own {
                    // Blocked here, and the store hasn't said yet that it knows.
                    check.until = own;
                    check.outcome = Outcome::Wait(own.saturating_sub(now));
                    continue;
                }
                (answer.blocked_for, check.until > now)
            }
            Ask::Enter { .. } => {
                if answer.is_busy {
                    check.outcome = Outcome::Busy;
                }
                continue;
            }
        };
        // The script ran after the call was sent: this is never later than the truth. Where another answer came meanwhile, nobody knows which of both
        // is older.
        let said = until(sent, known);
        memory.change(
            check.shard,
            check.key,
            sent,
            |old| {
                if old == seen { said } else { said.max(old) }
            },
        );
        if refuses {
            memory.trust(check.shard, check.key, now, until(now, TRUSTED).min(check.until));
        }
    }
    if !answer.admitted && !refused {
        // The time that the answer took was all that was missing.
        let charges = asked.checks.iter_mut().filter(|check| check.ask.is_charge());
        if let Some(check) = charges.max_by_key(|check| check.until) {
            check.outcome = Outcome::Wait(1);
        }
    }
}

/// For how long it is believed that the store would refuse: other servers may give charges back, or forget the client, meanwhile.
pub(crate) const TRUSTED: Duration = Duration::from_secs(1);
