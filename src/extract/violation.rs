//! Rules of a type, and the errors of the data that breaks them.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use crate::Error;
use crate::extract::fields::{Found, Names};
use crate::extract::input::{Input, RawInput, Refused};
use crate::extract::{Document, FieldError};

/// A broken rule, at a path in the names of the program. A validation engine returns these, and [`check`] finds the names of the client.
///
/// Put no submitted data into the code, the text or the parameters.
#[derive(Clone, Debug)]
pub struct Violation {
    path: Vec<FieldStep>,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    params: Vec<(Cow<'static, str>, String)>,
    is_whole: bool,
    other: Option<String>,
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

    /// Adds a parameter of the rule, as [`FieldError::with_param`] does.
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

/// Parses an input and applies rules to it: what `Valid` and `Garde` do, for another validation engine.
///
/// With [`ByField`](crate::extract::ByField), the rules are also applied to input that does not have the expected form, with stand-ins for the members
/// that can't be read. Their violations are left out.
///
/// # Errors
///
/// The refusal of [`Input::parse`], or 422 with the violations.
///
/// # Example
///
/// ```
/// # #[cfg(feature = "json")] {
/// use tower_chain::Json;
/// use tower_chain::extract::{FieldStep, RawInput, Violation, check};
///
/// #[derive(Debug, serde::Deserialize)]
/// struct Order {
///     count: u32,
/// }
///
/// let rules = |order: &Order| match order.count {
///     0 => vec![Violation::new(vec![FieldStep::Field("count".into())], "none", "Must not be 0")],
///     _ => Vec::new(),
/// };
/// let refused = check::<Json<Order>>(&RawInput::body(r#"{"count":0}"#), rules).unwrap_err();
/// assert_eq!(refused.status(), 422);
/// # }
/// ```
pub fn check<E: Input<Data: 'static>>(
    source: &RawInput,
    rules: impl FnOnce(&E::Data) -> Vec<Violation>,
) -> Result<E, Error> {
    match E::parse_by_field(source) {
        Ok(input) => check_parsed(input, source, rules),
        Err(refused) => Err(all_errors::<E>(source, refused, rules)),
    }
}

/// Applies rules to an input that was parsed before.
///
/// # Errors
///
/// 422 with the violations.
pub fn check_parsed<E: Input<Data: 'static>>(
    input: E,
    source: &RawInput,
    rules: impl FnOnce(&E::Data) -> Vec<Violation>,
) -> Result<E, Error> {
    let violations = rules(input.data());
    match violations.is_empty() {
        true => Ok(input),
        false => Err(refuse::<E>(&input, source, violations)),
    }
}

#[cold]
fn refuse<E: Input<Data: 'static>>(
    input: &E,
    source: &RawInput,
    violations: Vec<Violation>,
) -> Error {
    let document = E::document(source);
    let found = locate::<E>(source, document.as_ref(), input.data(), violations, &[]);
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    source.refuse(status, "The input is not valid", sorted(found))
}

/// The errors of an input that does not have the expected form, with those of the rules.
#[cold]
fn all_errors<E: Input<Data: 'static>>(
    source: &RawInput,
    refused: Refused<'_, E::Data>,
    rules: impl FnOnce(&E::Data) -> Vec<Violation>,
) -> Error {
    let Some(mut partial) = refused.partial else { return refused.error };
    let mut errors = std::mem::take(&mut partial.errors);
    if let Some(data) = &partial.data {
        let violations = rules(data);
        errors.extend(locate::<E>(
            source,
            Some(&partial.document),
            data,
            violations,
            &partial.replaced,
        ));
    }
    source.refuse(refused.error.status(), refused.error.detail().to_owned(), sorted(errors))
}

pub(crate) fn sorted(mut found: Vec<Found>) -> Vec<FieldError> {
    found.sort_by(|a, b| a.order.cmp(&b.order));
    found.into_iter().map(|found| found.error).collect()
}

fn locate<E: Input<Data: 'static>>(
    source: &RawInput,
    document: Option<&Document<'_>>,
    data: &E::Data,
    violations: Vec<Violation>,
    replaced: &[(String, String)],
) -> Vec<Found> {
    let data: &dyn Any = data;
    let names = Names { source, shape: E::shape(), document, data };
    let mut found = Vec::new();
    for violation in violations {
        let mut place = names.place(&violation.path);
        if violation.is_whole {
            place.order.push(usize::MAX);
        }
        if !concerns_a_stand_in(&violation, &place.pointer, replaced) {
            let mut error = FieldError::new(E::LOCATION, violation.code, violation.detail)
                .with_pointer(place.pointer);
            for (name, json) in violation.params {
                error = error.with_param(name, json);
            }
            found.push(Found { order: place.order, error });
        }
    }
    found
}

/// Whether a rule was applied to a stand-in.
fn concerns_a_stand_in(
    violation: &Violation,
    pointer: &str,
    replaced: &[(String, String)],
) -> bool {
    let is_inside = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    replaced.iter().any(|(stand_in, json)| {
        let beside = || {
            pointer.rsplit_once('/').map(|(around, _)| around)
                == stand_in.rsplit_once('/').map(|(around, _)| around)
        };
        is_inside(pointer, stand_in)
            // The number of items and of members does not depend on what is in them.
            || (is_inside(stand_in, pointer) && violation.code != "length")
            || (violation.other.as_ref() == Some(json) && beside())
    })
}
