//! The names of keys in a shared store, which are the same on every server.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::middleware::rate_limit::config::key::{LimitKey, SubjectRef};
use crate::middleware::rate_limit::config::policy::Policy;

/// The names of the keys that a policy charges for a subject: one for each level of networks.
pub(crate) fn charges(
    prefix: &str,
    names: &mut Vec<String>,
    policies: &[Policy],
    at: usize,
    key: &LimitKey,
    named: SubjectRef<'_>,
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

/// The start of the names of the block and the slots of a subject. If the subject is a value of the key of a policy, it contains the name of the policy.
pub(crate) fn subject(
    prefix: &str,
    policies: &[Policy],
    number: u8,
    key: &LimitKey,
    named: SubjectRef<'_>,
) -> String {
    let subjects = subjects(key, named);
    let tag = tag(prefix, policies, &subjects);
    let mut name = match tag == prefix {
        false => format!("{prefix}:{{{tag}}}:"),
        true => format!("{{{prefix}}}:"),
    };
    if let Some(policy) = policies.get(usize::from(number).wrapping_sub(1)) {
        name.push_str(&policy.name);
    }
    // The smallest network, unless the tag is the same.
    if let Some(subject) = subjects.first().filter(|subject| *subject != tag) {
        name.push(':');
        name.push_str(subject);
    }
    name
}

/// The hash tag, which selects the node of a cluster. Where all policies have the key of the limiter, it is the client: clients are spread over the
/// nodes. Where they have different keys, it is the prefix, because one script runs on one node.
fn tag<'a>(prefix: &'a str, policies: &[Policy], subjects: &'a [String]) -> &'a str {
    match subjects.last() {
        Some(widest) if policies.iter().all(|policy| policy.key.is_none()) => widest,
        _ => prefix,
    }
}
/// A subject as text: the networks of an address, or one name.
fn subjects(key: &LimitKey, named: SubjectRef<'_>) -> Vec<String> {
    match key.canonical(named) {
        SubjectRef::Addr(addr) => key.prefixes().levels(addr).map(|net| net.to_string()).collect(),
        // A name may be a secret, and may contain any byte. Its digest is neither.
        SubjectRef::Text(text) => {
            let digest = Sha256::digest(text);
            let hex = digest.iter().take(16).fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            vec![hex]
        }
        SubjectRef::Number(number) => vec![format!("#{number}")],
        SubjectRef::Everyone => vec!["*".to_owned()],
        SubjectRef::Unknown => vec!["?".to_owned()],
    }
}

/// The name of a setting: the replaced quota of a policy.
pub(crate) fn quota_key(prefix: &str, policy: &str) -> String {
    format!("{prefix}:{policy}:#quota")
}

pub(crate) fn block_key(subject: &str) -> String {
    format!("{subject}:#block")
}
