//! A broken rule of a type.

use std::borrow::Cow;
use std::fmt;

/// A broken rule, at a path in the names of the program. A validation engine returns these, and [`check`](crate::extract::check()) finds the names of the client.
///
/// Put no submitted data into the code, the text or the parameters.
#[derive(Clone, Debug)]
pub struct Violation {
    pub(super) path: Vec<FieldStep>,
    pub(super) code: Cow<'static, str>,
    pub(super) detail: Cow<'static, str>,
    pub(super) params: Vec<(Cow<'static, str>, String)>,
    pub(super) is_whole: bool,
    pub(super) other: Option<String>,
}

/// A step of a path in the names of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldStep {
    /// The Rust name of a field, without `r#`.
    Field(String),
    /// The position of an item of a list, or of a value of a map in the order of iteration.
    Index(usize),
    /// The Rust name of a field or the key of a map, for an engine that does not distinguish them.
    Name(String),
}

impl fmt::Display for FieldStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) | Self::Name(name) => f.write_str(name),
            Self::Index(index) => index.fmt(f),
        }
    }
}

impl Violation {
    /// A broken rule of the value at `path`, with a code for programs and a human-readable text.
    pub fn new(
        path: Vec<FieldStep>,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            path,
            code: code.into(),
            detail: detail.into(),
            params: Vec::new(),
            is_whole: false,
            other: None,
        }
    }

    /// Adds a parameter of the rule, as [`FieldError::with_param`](crate::extract::FieldError::with_param) does.
    #[must_use]
    pub fn with_param(
        mut self,
        name: impl Into<Cow<'static, str>>,
        json: impl Into<String>,
    ) -> Self {
        self.params.push((name.into(), json.into()));
        self
    }

    /// Marks a rule for several fields of the struct at the path. It is not checked while one of them can't be read.
    #[must_use]
    pub fn of_struct(mut self) -> Self {
        self.is_whole = true;
        self
    }

    /// Sets the value that the field was compared with, as JSON. It is not sent. The rule is not checked while that value can't be read.
    #[must_use]
    pub fn compared_with(mut self, json: impl Into<String>) -> Self {
        self.other = Some(json.into());
        self
    }
}
