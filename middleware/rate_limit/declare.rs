//! What a limiter declares of itself.

use std::sync::Arc;

use super::config::key::{KeyKind, LimitKey};
use super::limiter::Limiter;
use super::response::decision::Verdict;
use super::response::refusal::{described, problem_type};
use crate::declare::{Answer, Declaration, Field, Kind, Resource, Subject};
use crate::extract::TrustedProxies;

pub(super) fn limit(limiter: &Arc<Limiter>, to: &mut Declaration) {
    let settings = &limiter.settings;
    // A limiter in shadow mode refuses nothing.
    let limits = |policy: usize| !settings.policies[policy].shadow && !settings.shadow;
    for policy in (0..settings.policies.len()).filter(|policy| limits(*policy)) {
        let subject = subject(settings.key_of(policy), settings.proxies.as_ref());
        if settings.penalty.is_some() && subject != Subject::Everyone {
            to.kind(Kind::Penalty(subject.clone()));
        }
        to.kind(Kind::Limit(subject));
    }
    if settings.policies.is_empty() && settings.concurrency.is_some() {
        to.kind(Kind::Limit(subject(settings.slot_key(), settings.proxies.as_ref())));
    }
    to.uses(Resource::Limiter(format!("{:p}", Arc::as_ptr(limiter))));
    if let Some(shared) = &limiter.shared_store {
        to.uses(Resource::Counts(shared.limits.prefix.to_string()));
    }
    for set in &settings.headers {
        for name in set.names() {
            to.adds(Field::new(name.as_str(), "The quota, and what is left of it").optional());
        }
    }
    if settings.reject.is_some() || settings.shadow {
        return;
    }
    let refused = |verdict, cause: &str| {
        let (status, kind, _) = described(verdict);
        let refused = Answer::problem(status, cause).with_type(problem_type(kind));
        refused.header("cache-control").header(Field::from("retry-after").optional())
    };
    if !settings.policies.is_empty() {
        to.answers(refused(Verdict::Exceeded, "The quota is used up"));
    }
    if settings.penalty.is_some() {
        to.answers(refused(Verdict::Blocked, "The client is blocked for a time"));
    }
    if settings.concurrency.is_some() {
        to.answers(refused(Verdict::Busy, "Too many requests of the client are in flight"));
    }
    if limiter.queues.is_some() {
        to.answers(refused(Verdict::QueueFull, "Too many requests are waiting"));
    }
    if limiter.shared_store.is_some() {
        to.answers(refused(Verdict::Unavailable, "The store of the limiter can't be reached"));
    }
}

fn subject(key: &LimitKey, proxies: Option<&TrustedProxies>) -> Subject {
    match &key.kind {
        KeyKind::Client(_) if proxies.is_some_and(TrustedProxies::trusts_everyone) => {
            Subject::ForwardedAddress
        }
        KeyKind::Client(_) => Subject::Address,
        KeyKind::Everyone => Subject::Everyone,
        KeyKind::Header(name) if FORWARDED.contains(&name.as_str()) => Subject::ForwardedAddress,
        KeyKind::Header(name) => Subject::Unverified(name.as_str().to_owned()),
        KeyKind::Provided(_) => Subject::Verified,
        KeyKind::Own(_) | KeyKind::Asynchronous(_) => Subject::Function,
    }
}

/// Fields in which proxies write the address of a client, and in which a client can write any.
const FORWARDED: [&str; 9] = [
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-forwarded-for",
    "x-real-ip",
];
