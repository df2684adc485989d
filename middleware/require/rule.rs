//! A requirement, and how it is checked.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::declare::Declaration;
use crate::{Error, Request};

pub(super) enum Rule<T> {
    Scope(Box<str>, fn(&T, &str) -> bool),
    /// A role or a permission.
    Grant(Box<str>, fn(&T, &str) -> bool),
    Policy(Arc<RequirePolicy<T>>),
    /// A sign-in with one of these methods.
    Acr(Vec<Box<str>>, for<'a> fn(&'a T) -> Option<&'a str>),
    /// A sign-in within this time.
    Age(Duration, fn(&T) -> Option<SystemTime>),
    All(Vec<Rule<T>>),
    Any(Vec<Rule<T>>),
}

/// Why a requirement is not met.
pub(super) enum Denial {
    /// The caller does not have the grant.
    Grant,
    /// The caller must sign in again, or with another method.
    SignIn,
    /// The error that a policy returned.
    Answer(Error),
}

pub(super) type SignInClock = dyn Fn() -> SystemTime + Send + Sync;
type RequirePolicy<T> = dyn Fn(&T, &Request) -> Result<(), Option<Error>> + Send + Sync;

impl<T> Rule<T> {
    pub(super) fn decide(
        &self,
        caller: &T,
        req: &Request,
        now: &SignInClock,
    ) -> Result<(), Denial> {
        let granted = |granted: bool, denial| if granted { Ok(()) } else { Err(denial) };
        match self {
            Self::Scope(name, has) | Self::Grant(name, has) => {
                granted(has(caller, name), Denial::Grant)
            }
            Self::Policy(policy) => {
                policy(caller, req).map_err(|answer| answer.map_or(Denial::Grant, Denial::Answer))
            }
            Self::Acr(values, acr) => {
                let acr = acr(caller);
                granted(values.iter().any(|value| acr == Some(&**value)), Denial::SignIn)
            }
            Self::Age(longest, signed_in) => {
                let young = |at| match now().duration_since(at) {
                    Ok(age) => age <= *longest,
                    Err(ahead) => ahead.duration() <= LEEWAY,
                };
                granted(signed_in(caller).is_some_and(young), Denial::SignIn)
            }
            Self::All(rules) => rules.iter().try_for_each(|rule| rule.decide(caller, req, now)),
            Self::Any(rules) => {
                let mut denied = Denial::Grant;
                for rule in rules {
                    let Err(denial) = rule.decide(caller, req, now) else { return Ok(()) };
                    // The error of a policy is the most specific. To sign in again may also help if a grant is missing.
                    denied = match (denied, denial) {
                        (Denial::Answer(first), _) => Denial::Answer(first),
                        (_, Denial::Answer(answer)) => Denial::Answer(answer),
                        (Denial::SignIn, _) | (_, Denial::SignIn) => Denial::SignIn,
                        (Denial::Grant, Denial::Grant) => Denial::Grant,
                    };
                }
                Err(denied)
            }
        }
    }

    /// The named scopes, in the order of the configuration, each once.
    pub(super) fn scopes<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Scope(scope, _) if !found.contains(&&**scope) => found.push(scope),
            Self::All(rules) | Self::Any(rules) => {
                rules.iter().for_each(|rule| rule.scopes(found));
            }
            Self::Scope(..) | Self::Grant(..) | Self::Policy(_) | Self::Acr(..) | Self::Age(..) => {
            }
        }
    }

    /// Declares the grants that a caller needs in any case. The text of the refusal has the alternatives.
    pub(super) fn declare(&self, to: &mut Declaration) {
        match self {
            Self::Scope(scope, _) => drop(to.requires_scope(&**scope)),
            Self::Grant(grant, _) => drop(to.requires_role(&**grant)),
            Self::All(rules) => rules.iter().for_each(|rule| rule.declare(to)),
            Self::Any(rules) => {
                if let [only] = rules.as_slice() {
                    only.declare(to);
                }
            }
            Self::Policy(_) | Self::Acr(..) | Self::Age(..) => {}
        }
    }

    /// The named values of `acr`, in the order of the configuration, each once, and the shortest maximum age.
    pub(super) fn sign_in<'a>(&'a self, values: &mut Vec<&'a str>, age: &mut Option<Duration>) {
        match self {
            Self::Acr(named, _) => {
                for value in named {
                    if !values.contains(&&**value) {
                        values.push(value);
                    }
                }
            }
            Self::Age(longest, _) => *age = Some(age.map_or(*longest, |age| age.min(*longest))),
            Self::All(rules) | Self::Any(rules) => {
                rules.iter().for_each(|rule| rule.sign_in(values, age));
            }
            Self::Scope(..) | Self::Grant(..) | Self::Policy(_) => {}
        }
    }
}

/// In words, for a description.
impl<T> fmt::Display for Rule<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, rules: &[Self], word: &str| {
            for (index, rule) in rules.iter().enumerate() {
                let (before, nested) = (
                    if index == 0 { "" } else { word },
                    matches!(rule, Self::All(_) | Self::Any(_)),
                );
                match nested && rules.len() > 1 {
                    true => write!(f, "{before}({rule})")?,
                    false => write!(f, "{before}{rule}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Scope(name, _) => write!(f, "the scope `{name}`"),
            Self::Grant(name, _) => write!(f, "`{name}`"),
            Self::Policy(_) => f.write_str("what a policy requires"),
            Self::Acr(values, _) => write!(f, "a sign-in by `{}`", values.join("` or `")),
            Self::Age(longest, _) => {
                write!(f, "a sign-in within the last {} seconds", longest.as_secs())
            }
            Self::All(rules) => list(f, rules, " and "),
            Self::Any(rules) => list(f, rules, " or "),
        }
    }
}

impl<T> fmt::Debug for Rule<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(name, _) | Self::Grant(name, _) => write!(f, "{name:?}"),
            Self::Policy(_) => f.write_str("policy"),
            Self::Acr(values, _) => f.debug_tuple("Acr").field(values).finish(),
            Self::Age(longest, _) => f.debug_tuple("Age").field(longest).finish(),
            Self::All(rules) => f.debug_tuple("All").field(rules).finish(),
            Self::Any(rules) => f.debug_tuple("Any").field(rules).finish(),
        }
    }
}

/// How far ahead the clock of the issuer may be, as for other dates of tokens.
const LEEWAY: Duration = Duration::from_secs(60);

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
