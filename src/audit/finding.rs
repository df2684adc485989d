//! A finding.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::rule::Rule;
use crate::declare::DeclaredStep;

/// A finding: a rule, and the step that breaks it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub(super) rule: Rule,
    pub(super) step: Arc<DeclaredStep>,
    /// The other step of the rule, if it is about two.
    pub(super) other: Option<Arc<DeclaredStep>>,
    pub(super) detail: String,
    pub(super) routes: Vec<String>,
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
