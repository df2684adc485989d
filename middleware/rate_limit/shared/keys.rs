//! The names under which a shared store knows clients, the same on every server.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::middleware::rate_limit::config::key::{LimitKey, Named};
use crate::middleware::rate_limit::config::policy::Policy;

/// The names of the keys that a policy charges for a client, the same on every server.
pub(crate) fn charges(
    prefix: &str,
    names: &mut Vec<String>,
    policies: &[Policy],
    at: usize,
    key: &LimitKey,
    named: Named<'_>,
) {
    let Some(policy) = policies.get(at) else { return };
    let (name, subjects) = (&policy.name, subjects(key, named));
    let tag = tag(prefix, policies, &subjects);
    for (level, subject) in subjects.iter().enumerate() {
        names.push(match (tag == prefix, subjects.len()) {
            (false, 1) => format!("{prefix}:{{{tag}}}:{name}"),
            (false, _) => format!("{prefix}:{{{tag}}}:{name}:{level}:{subject}"),
            (true, _) => format!("{{{prefix}}}:{name}:{level}:{subject}"),
        });
    }
}

/// The first part of the names of what else is remembered of a client. The names of all policies are in it: limiters that share a prefix and
/// nothing else don't block each other's clients.
pub(crate) fn client(
    prefix: &str,
    policies: &[Policy],
    key: &LimitKey,
    named: Named<'_>,
) -> String {
    let subjects = subjects(key, named);
    let widest = subjects.last().map_or("", String::as_str);
    let tag = tag(prefix, policies, &subjects);
    let (mut name, rest) = match tag == prefix {
        false => (format!("{prefix}:{{{tag}}}:"), None),
        true => (format!("{{{prefix}}}:"), Some(widest)),
    };
    for (at, policy) in policies.iter().enumerate() {
        name.push_str(if at == 0 { "" } else { "," });
        name.push_str(&policy.name);
    }
    if let Some(rest) = rest {
        name.push(':');
        name.push_str(rest);
    }
    name
}

/// What chooses the node of a cluster: where all policies have one key, the client, which spreads clients over the nodes; where they have
/// several, the prefix, since one script runs on one node.
fn tag<'a>(prefix: &'a str, policies: &[Policy], subjects: &'a [String]) -> &'a str {
    match subjects.last() {
        Some(widest) if policies.iter().all(|policy| policy.key.is_none()) => widest,
        _ => prefix,
    }
}
/// Whom a policy counts, in words that are the same on every server: the networks of an address, or one name.
fn subjects(key: &LimitKey, named: Named<'_>) -> Vec<String> {
    match key.canonical(named) {
        Named::Addr(addr) => key.prefixes().levels(addr).map(|net| net.to_string()).collect(),
        // Names may be secrets, and may hold anything.
        Named::Text(text) => {
            let digest = Sha256::digest(text);
            let hex = digest.iter().take(16).fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            vec![hex]
        }
        Named::Number(number) => vec![format!("#{number}")],
        Named::Everyone => vec!["*".to_owned()],
        Named::Nobody => vec!["?".to_owned()],
    }
}

pub(crate) fn block_key(client: &str) -> String {
    format!("{client}:#block")
}
