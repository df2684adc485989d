//! What is required, and how it is decided.

use std::fmt;
use std::sync::Arc;

use crate::{Error, Request};

pub(super) enum Rule<T> {
    Scope(Box<str>, fn(&T, &str) -> bool),
    /// A role or a permission.
    Grant(Box<str>, fn(&T, &str) -> bool),
    Policy(Arc<Policy<T>>),
    All(Vec<Rule<T>>),
    Any(Vec<Rule<T>>),
}

type Policy<T> = dyn Fn(&T, &Request) -> Result<(), Option<Error>> + Send + Sync;

impl<T> Rule<T> {
    /// `Err` is a refusal, with the answer that a policy gave to it.
    pub(super) fn decide(&self, caller: &T, req: &Request) -> Result<(), Option<Error>> {
        match self {
            Self::Scope(name, granted) | Self::Grant(name, granted) => {
                granted(caller, name).decide()
            }
            Self::Policy(policy) => policy(caller, req),
            Self::All(rules) => rules.iter().try_for_each(|rule| rule.decide(caller, req)),
            Self::Any(rules) => {
                let mut answer = None;
                for rule in rules {
                    match rule.decide(caller, req) {
                        Ok(()) => return Ok(()),
                        Err(refusal) => answer = answer.or(refusal),
                    }
                }
                Err(answer)
            }
        }
    }

    /// The scopes that are named, in the order of writing, each once.
    pub(super) fn scopes<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Scope(scope, _) if !found.contains(&&**scope) => found.push(scope),
            Self::All(rules) | Self::Any(rules) => {
                rules.iter().for_each(|rule| rule.scopes(found));
            }
            Self::Scope(..) | Self::Grant(..) | Self::Policy(_) => {}
        }
    }
}

impl<T> fmt::Debug for Rule<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(name, _) | Self::Grant(name, _) => write!(f, "{name:?}"),
            Self::Policy(_) => f.write_str("policy"),
            Self::All(rules) => f.debug_tuple("All").field(rules).finish(),
            Self::Any(rules) => f.debug_tuple("Any").field(rules).finish(),
        }
    }
}

/// What a [policy](super::Require::policy) returns: `bool`, or `Result<(), Error>`.
pub trait Decision {
    #[doc(hidden)]
    fn decide(self) -> Result<(), Option<Error>>;
}

impl Decision for bool {
    fn decide(self) -> Result<(), Option<Error>> {
        if self { Ok(()) } else { Err(None) }
    }
}

impl Decision for Result<(), Error> {
    fn decide(self) -> Result<(), Option<Error>> {
        self.map_err(Some)
    }
}
