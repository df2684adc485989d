//! What a limiter declares of itself.

use std::sync::Arc;

use http::StatusCode;

use super::config::key::{KeyKind, LimitKey};
use super::limiter::Limiter;
use crate::declare::{Answer, Declaration, Field, Kind, Resource, Subject};

pub(super) fn limit(limiter: &Arc<Limiter>, to: &mut Declaration) {
    let settings = &limiter.settings;
    // A limiter in shadow mode refuses nothing.
    let limits = |policy: usize| !settings.policies[policy].shadow && !settings.shadow;
    for policy in (0..settings.policies.len()).filter(|policy| limits(*policy)) {
        let subject = subject(settings.key_of(policy));
        if settings.penalty.is_some() && subject != Subject::Everyone {
            to.kind(Kind::Penalty(subject.clone()));
        }
        to.kind(Kind::Limit(subject));
    }
    if settings.policies.is_empty() && settings.concurrency.is_some() {
        to.kind(Kind::Limit(subject(settings.slot_key())));
    }
    // Clones of a limiter have the same counts; limiters with one store and one name as well.
    to.uses(Resource::Limiter(match &limiter.shared_store {
        Some(shared) => shared.limits.prefix.to_string(),
        None => format!("{:p}", Arc::as_ptr(limiter)),
    }));
    for set in &settings.headers {
        for name in set.names() {
            to.adds(Field::new(name.as_str(), "The quota, and what is left of it").optional());
        }
    }
    if settings.reject.is_none() && !settings.shadow {
        let refused = Answer::problem(StatusCode::TOO_MANY_REQUESTS, "The quota is used up");
        let kind = "https://iana.org/assignments/http-problem-types#quota-exceeded";
        to.answers(refused.with_type(kind).header("retry-after").header("cache-control"));
        if limiter.shared_store.is_some() {
            let cause = "The store of the limiter can't be reached";
            let refused = Answer::problem(StatusCode::SERVICE_UNAVAILABLE, cause);
            let kind = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
            to.answers(refused.with_type(kind).header("cache-control"));
        }
    }
}

fn subject(key: &LimitKey) -> Subject {
    match &key.kind {
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
