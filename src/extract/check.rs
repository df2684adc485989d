//! Applies rules to an input.

use std::collections::HashSet;

use http::StatusCode;

use crate::Error;
use crate::extract::fields::names::{Names, Place};
use crate::extract::fields::reader::{Found, MAX_ERRORS, sorted};
use crate::extract::input::RawInput;
use crate::extract::typed_input::{Input, Refused};
use crate::extract::violation::Violation;
use crate::extract::{FieldError, Location};

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
    rules: impl Fn(&E::Data) -> Vec<Violation>,
) -> Result<E, Error> {
    check_result(E::parse_by_field(source), source, rules)
}

/// Applies rules to the result of [`Input::parse_by_field`].
#[doc(hidden)]
pub fn check_result<E: Input<Data: 'static>>(
    parsed: Result<E, Refused<'_, E::Data>>,
    source: &RawInput,
    rules: impl Fn(&E::Data) -> Vec<Violation>,
) -> Result<E, Error> {
    match parsed {
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
    rules: impl Fn(&E::Data) -> Vec<Violation>,
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
    let names = Names::new(source, E::shape(), document.as_ref(), input.data());
    let placed = violations.into_iter().map(|violation| (names.place(&violation.path), violation));
    let found = found(E::LOCATION, placed);
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    source.refuse(status, "The input is not valid", sorted(found))
}

/// The errors of an input that does not have the expected form, with those of the rules.
#[cold]
fn all_errors<E: Input<Data: 'static>>(
    source: &RawInput,
    refused: Refused<'_, E::Data>,
    rules: impl Fn(&E::Data) -> Vec<Violation>,
) -> Error {
    let Some(mut partial) = refused.partial else { return refused.error };
    let mut errors = std::mem::take(&mut partial.errors);
    if let Some([data, other]) = &partial.data {
        let names = |data| Names::new(source, E::shape(), Some(&partial.document), data);
        let (names, names_of_other) = (names(data), names(other));
        // A rule whose result depends on a stand-in is not known to be broken.
        let others = rules(other).into_iter().take(MAX_COMPARED);
        let others: HashSet<_> =
            others.map(|one| (names_of_other.compared(&one.path), one.code)).collect();
        let known = rules(data)
            .into_iter()
            .take(MAX_COMPARED)
            .filter(|one| others.contains(&(names.compared(&one.path), one.code.clone())));
        let placed = known
            .map(|one| (names.place(&one.path), one))
            .filter(|(place, one)| !concerns_a_stand_in(one, &place.exact, &partial.replaced));
        errors.extend(found(E::LOCATION, placed));
    }
    source.refuse(refused.error.status(), refused.error.detail().to_owned(), sorted(errors))
}

fn found(location: Location, placed: impl Iterator<Item = (Place, Violation)>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (mut place, violation) in placed {
        if violation.is_whole {
            place.order.push(usize::MAX);
        }
        let mut error =
            FieldError::new(location, violation.code, violation.detail).with_pointer(place.pointer);
        for (name, json) in violation.params {
            error = error.with_param(name, json);
        }
        // Values of different keys may have equal errors, since the keys are not shown.
        if !found.iter().any(|found| found.error == error) {
            found.push(Found { order: place.order, error });
        }
        // A refusal does not list more, and each name is searched for.
        if found.len() >= MAX_ERRORS {
            break;
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

/// The most violations that are compared with those of other stand-ins. A refusal lists fewer.
const MAX_COMPARED: usize = 1000;
