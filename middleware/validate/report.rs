//! The errors of the engine as a list for the client.

use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

use super::message;
use crate::extract::{FieldError, Location};

/// All errors, in an order that is the same each time.
pub(super) fn field_errors(location: Location, errors: &ValidationErrors) -> Vec<FieldError> {
    let mut list = Vec::new();
    walk(location, &mut Vec::new(), errors, &mut list);
    list
}

fn walk(
    location: Location,
    path: &mut Vec<String>,
    errors: &ValidationErrors,
    list: &mut Vec<FieldError>,
) {
    let mut fields: Vec<_> = errors.errors().iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    for (name, kind) in fields {
        // What a rule of the whole struct says, and a list without a field around it, stand at the struct itself.
        let named = name != "__all__" && name != "_tmp_validator";
        if named {
            path.push(name.strip_prefix("r#").unwrap_or(name).to_owned());
        }
        match kind {
            ValidationErrorsKind::Field(errors) => {
                list.extend(errors.iter().map(|error| entry(location, path, error)));
            }
            ValidationErrorsKind::Struct(errors) => walk(location, path, errors, list),
            ValidationErrorsKind::List(items) => {
                for (index, errors) in items {
                    path.push(index.to_string());
                    walk(location, path, errors, list);
                    path.pop();
                }
            }
        }
        if named {
            path.pop();
        }
    }
}

fn entry(location: Location, path: &[String], error: &ValidationError) -> FieldError {
    let detail = error.message.clone().unwrap_or_else(|| message::of(error).into());
    let mut entry = FieldError::new(location, error.code.clone(), detail);
    for step in path {
        entry = entry.at(step);
    }
    // `value` is what was submitted, and `other` what it was compared with.
    let mut params: Vec<_> =
        error.params.iter().filter(|(name, _)| *name != "value" && *name != "other").collect();
    params.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in params {
        entry = entry.with_param(name.clone(), value.to_string());
    }
    entry
}
