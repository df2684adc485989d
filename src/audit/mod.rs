//! Findings about the order and the settings of the steps of a chain.
//!
//! The compiler checks the types of steps, not their order: a chain in which the rate limit comes after the authentication compiles and
//! runs. [`ChainService::audit`] reports such mistakes from the [declarations](crate::declare) of the steps, each with the place in the
//! program and the remedy. The [page of rules](crate::guide::audit) explains each of them.
//!
//! A finding that is intended is allowed at its place, with a reason: [`Chain::allow`](crate::Chain::allow). It holds for the steps after it.
//!
//! # Example
//!
//! ```
//! use tower_chain::audit::Rule;
//! use tower_chain::{Chain, RateLimit};
//! # use tower_chain::Authenticate;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let token = Authenticate::token("a-secret-of-at-least-16-bytes")?;
//! let api = Chain::new()
//!     .use_(token) // clients can try tokens without a limit
//!     .use_(RateLimit::per_minute(60))
//!     .get(async || "hello")
//!     .build();
//! assert_eq!(api.audit().list()[0].rule(), Rule::AuthenticationBeforeLimit);
//!
//! let token = Authenticate::token("a-secret-of-at-least-16-bytes")?;
//! let api = Chain::new()
//!     .use_(RateLimit::per_minute(60))
//!     .use_(token)
//!     .get(async || "hello")
//!     .build();
//! api.audit().assert_none();
//! # Ok(())
//! # }
//! ```

mod rules;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

pub use self::rules::Rule;
use self::rules::{Operation, find};
use crate::ChainService;
use crate::declare::DeclaredStep;

impl ChainService {
    /// The findings about the order and the settings of the steps. See [`audit`](crate::audit).
    ///
    /// Tower layers and functions declare nothing of themselves. The audit knows only what
    /// [`declared`](crate::step::declared) states about them.
    pub fn audit(&self) -> Audit {
        let operations = self.routes().iter().flat_map(|route| {
            let operation = |handler| Operation { path: route.pattern(), handler };
            route.handlers().iter().map(operation)
        });
        Audit(find(&operations.collect::<Vec<_>>()))
    }
}

/// The findings about a chain. `Display` prints each of them with its place and its remedy.
#[derive(Clone, Debug)]
pub struct Audit(Vec<Finding>);

impl Audit {
    /// The findings, in the order of the steps.
    pub fn list(&self) -> &[Finding] {
        &self.0
    }

    /// Checks that there is no finding, for a test.
    ///
    /// # Panics
    ///
    /// Panics with the text of the findings, if there are some.
    #[track_caller]
    pub fn assert_none(&self) {
        assert!(self.0.is_empty(), "{self}");
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => return f.write_str("no finding"),
            1 => f.write_str("1 finding")?,
            count => write!(f, "{count} findings")?,
        }
        self.0.iter().try_for_each(|finding| write!(f, "\n\n{finding}"))
    }
}

/// A finding: a rule, and the step that breaks it.
#[derive(Clone, Debug)]
pub struct Finding {
    rule: Rule,
    step: Arc<DeclaredStep>,
    /// The other step of the rule, if it is about two.
    other: Option<Arc<DeclaredStep>>,
    detail: String,
    routes: Vec<String>,
}

impl Finding {
    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The step to which the rule applies: the handler, for a rule about routes.
    pub fn step(&self) -> &DeclaredStep {
        &self.step
    }

    /// Where the step was added.
    pub fn location(&self) -> &'static Location<'static> {
        self.step.location()
    }

    /// The methods and paths that are concerned, such as `POST /users`.
    pub fn routes(&self) -> &[String] {
        &self.routes
    }

    /// What to change.
    pub fn remedy(&self) -> &'static str {
        self.rule.remedy()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, step, other, detail, routes } = self;
        write!(f, "{}: {}: `{}` {detail}", step.location(), rule.name(), step.name())?;
        if let Some(other) = other {
            write!(f, " (`{}`, {})", other.name(), other.location())?;
        }
        writeln!(f)?;
        let shown: Vec<&str> = routes.iter().take(SHOWN).map(String::as_str).collect();
        let more = routes.len() - shown.len();
        match (shown.is_empty(), more) {
            (true, _) => {}
            (false, 0) => writeln!(f, "  concerns {}", shown.join(", "))?,
            (false, more) => writeln!(f, "  concerns {} and {more} more", shown.join(", "))?,
        }
        write!(
            f,
            "  {}; if it is intended, write `.allow(\"{}\", \"the reason\")` before it",
            rule.remedy(),
            rule.name()
        )
    }
}

/// How many routes the text of a finding lists.
const SHOWN: usize = 4;

#[cfg(test)]
mod tests;
