//! Turns the errors of the engine into violations with paths.

use std::borrow::Cow;

use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

use super::message;
use crate::extract::{FieldStep, Violation};

/// The violations of a result of the engine.
#[inline]
pub(super) fn violations(result: Result<(), ValidationErrors>) -> Vec<Violation> {
    match result {
        Ok(()) => Vec::new(),
        Err(errors) => of_errors(&errors),
    }
}

#[cold]
fn of_errors(errors: &ValidationErrors) -> Vec<Violation> {
    let mut list = Vec::new();
    of_struct(errors, &mut Vec::new(), &mut list);
    list
}

fn of_struct(errors: &ValidationErrors, path: &mut Vec<FieldStep>, list: &mut Vec<Violation>) {
    let mut fields: Vec<_> = errors.errors().iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    for (name, kind) in fields {
        if list.len() > MAX_LISTED {
            return;
        }
        match &**name {
            // The errors of a rule for the whole struct, and of a list without a field around it.
            "__all__" => of_kind(kind, path, list, true),
            "_tmp_validator" => of_kind(kind, path, list, false),
            text => {
                let text = text.strip_prefix("r#").unwrap_or(text).to_owned();
                path.push(match name {
                    Cow::Borrowed(_) => FieldStep::Field(text),
                    // A rule that is written by hand made the name, perhaps from the key of a map.
                    Cow::Owned(_) => FieldStep::Name(text),
                });
                of_kind(kind, path, list, false);
                path.pop();
            }
        }
    }
}

fn of_kind(
    kind: &ValidationErrorsKind,
    path: &mut Vec<FieldStep>,
    list: &mut Vec<Violation>,
    is_whole: bool,
) {
    match kind {
        ValidationErrorsKind::Field(errors) => {
            list.extend(errors.iter().map(|error| violation(error, path.clone(), is_whole)));
        }
        ValidationErrorsKind::Struct(errors) => of_struct(errors, path, list),
        ValidationErrorsKind::List(items) => {
            for (index, errors) in items {
                path.push(FieldStep::Index(*index));
                of_struct(errors, path, list);
                path.pop();
            }
        }
    }
}

fn violation(error: &ValidationError, path: Vec<FieldStep>, is_whole: bool) -> Violation {
    let detail = error.message.clone().unwrap_or_else(|| Cow::Owned(message::of(error)));
    let mut violation = Violation::new(path, error.code.clone(), detail);
    if is_whole {
        violation = violation.of_struct();
    }
    // `value` and `other` contain submitted data.
    let mut params: Vec<_> =
        error.params.iter().filter(|(name, _)| *name != "value" && *name != "other").collect();
    params.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in params {
        violation = violation.with_param(name.clone(), value.to_string());
    }
    match error.params.get("other") {
        Some(other) => violation.compared_with(other.to_string()),
        None => violation,
    }
}

/// The most errors that are converted. A refusal lists fewer.
const MAX_LISTED: usize = 1000;
