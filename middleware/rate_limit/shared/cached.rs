//! Answers of the shared store that this server has cached.

use std::time::Duration;

use super::store::StoreAnswer;
use crate::middleware::rate_limit::checks::CheckPlan;
use crate::middleware::rate_limit::config::clock::{nanos, until};
use crate::middleware::rate_limit::config::quota::Rate;
use crate::middleware::rate_limit::memory::LocalMemory;
use crate::middleware::rate_limit::memory::gcra::{CheckKind, CheckOutcome, governed};

/// Applies cached answers to the checks. Returns whether the request may still be admitted. A cached refusal is used for a short time, because
/// another server may refund charges or reset the client; with `altogether`, because the store is unreachable, it is used until it ends.
pub(crate) fn apply_cached(
    memory: &LocalMemory,
    plan: &mut CheckPlan,
    now: u64,
    altogether: bool,
) -> bool {
    let mut chance = true;
    for check in &mut plan.checks {
        let (known, trusted) = memory.known(check.shard, check.key);
        let fresh = trusted > now;
        match check.kind {
            CheckKind::Charge { rate, cost, further } => {
                check.until = known;
                if fresh || altogether {
                    check.outcome = governed(rate, further, cost, known, now).0;
                }
            }
            CheckKind::NotBlocked => {
                check.until = known;
                if known > now && (fresh || altogether) {
                    check.outcome = CheckOutcome::Wait(known - now);
                }
            }
            CheckKind::Slot { .. } => {}
        }
        chance &= !check.refuses();
    }
    chance
}

/// Caches the answer of the store, and sets the outcome of each check from it.
pub(crate) fn cache_answer(
    memory: &LocalMemory,
    plan: &mut CheckPlan,
    answer: &StoreAnswer,
    sent: u64,
    now: u64,
) {
    let mut refused = answer.is_busy || !answer.blocked_for.iter().all(Duration::is_zero);
    let (mut charged, mut blocked) = (answer.charged_for.iter(), answer.blocked_for.iter());
    let mut windows = answer.windows.iter();
    let mut shadowed = answer.shadowed;
    for check in &mut plan.checks {
        let seen = check.until;
        let (known, refuses) = match check.kind {
            CheckKind::Charge { rate, cost, further } => {
                let Some(charged) = charged.next() else { continue };
                let window = windows.next().copied().unwrap_or_default();
                check.until = in_window(rate, window, *charged, now);
                let is_shadowed = check.shadow && shadowed & 1 == 1;
                shadowed >>= 1;
                let taken = if answer.admitted && !is_shadowed { rate.charge(cost) } else { 0 };
                if check.refundable {
                    let before = check.until.saturating_sub(taken);
                    memory.advance(check.shard, check.key, before);
                }
                if check.refundable && taken > 0 {
                    check.number = memory.register(check.shard, check.key, taken, check.until);
                }
                let next = governed(rate, further, cost, check.until, now).0;
                if check.shadow {
                    check.outcome = match (is_shadowed, next) {
                        (false, _) => CheckOutcome::Admitted,
                        // It would fit by now: only the time of the call was missing.
                        (true, CheckOutcome::Admitted) => CheckOutcome::Wait(1),
                        (true, next) => next,
                    };
                } else if !answer.admitted {
                    check.outcome = next;
                    refused |= !check.is_admitted();
                }
                let is_known = in_window(rate, window, *charged, sent);
                (is_known, next != CheckOutcome::Admitted)
            }
            CheckKind::NotBlocked => {
                let Some(blocked) = blocked.next() else { continue };
                check.until = until(now, *blocked);
                if check.until > now {
                    check.outcome = CheckOutcome::Wait(check.until - now);
                }
                let (own, trusted) = memory.known(check.shard, check.key);
                if own > check.until && trusted >= own {
                    // This server has blocked the subject, and the store has not confirmed that yet.
                    check.until = own;
                    check.outcome = CheckOutcome::Wait(own.saturating_sub(now));
                    continue;
                }
                (until(sent, *blocked), check.until > now)
            }
            CheckKind::Slot { .. } => {
                if answer.is_busy {
                    check.outcome = CheckOutcome::Busy;
                }
                continue;
            }
        };
        // The script ran after the call was sent, so counting from then never makes the time too long. If another answer has changed the state since
        // this call was sent, the order of the two is unknown, and the longer one is kept.
        memory.change(check.shard, check.key, sent, |old| {
            if old == seen { known } else { known.max(old) }
        });
        if refuses {
            memory.trust(check.shard, check.key, now, until(now, TRUSTED).min(check.until));
        }
    }
    if !answer.admitted && !refused {
        // The request would fit by now: only the time of the call was missing.
        let charges =
            plan.checks.iter_mut().filter(|check| check.kind.is_charge() && !check.shadow);
        if let Some(check) = charges.max_by_key(|check| check.until) {
            check.outcome = CheckOutcome::Wait(1);
        }
    }
}

/// Until when a key is charged by the clock of this server, if its window ends after `window` and it is charged for so long.
fn in_window(rate: Rate, window: Duration, charged: Duration, now: u64) -> u64 {
    match rate.is_window() {
        true => rate.adopt(nanos(window), nanos(charged.saturating_sub(window)), now),
        false => until(now, charged),
    }
}

/// For how long a refusal is repeated without a call. Another server may refund charges or reset the client meanwhile.
pub(crate) const TRUSTED: Duration = Duration::from_secs(1);
