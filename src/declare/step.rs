//! A step of a built chain.

use std::panic::Location;

use crate::declare::{Declaration, Describe};

/// A step of a built chain, with its declaration.
#[derive(Clone, Debug)]
pub struct DeclaredStep {
    pub(crate) verb: &'static str,
    pub(crate) name: String,
    pub(crate) location: &'static Location<'static>,
    pub(crate) scope: String,
    pub(crate) prefix: Option<String>,
    pub(crate) declaration: Declaration,
    pub(crate) describe: Option<Describe>,
    pub(crate) allowed: Vec<(&'static str, &'static str)>,
}

impl DeclaredStep {
    /// The method of the chain that added the step, such as `use_`. For a handler, the HTTP method, or `ALL`.
    pub fn verb(&self) -> &'static str {
        self.verb
    }

    /// The name of the middleware or of the function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the step was added.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// The path of the chain that contains the step; empty for the outermost chain.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The whole prefix of a step that [`use_at`](crate::Chain::use_at) added.
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// What the step declares of itself.
    pub fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// The findings that are allowed for the step: the name of the rule, and the reason. See [`Chain::allow`](crate::Chain::allow).
    pub fn allowed(&self) -> &[(&'static str, &'static str)] {
        &self.allowed
    }
}
