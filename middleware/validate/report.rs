//! Turns the errors of the engine into a list for the client.

use std::borrow::Cow;

use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

use super::message;
use super::names::{PathStep, Rules, WireName, WireNames};
use crate::extract::{FieldError, Input, RawInput};

/// All errors, in the order of the fields.
pub(super) fn field_errors<E: Input + 'static>(
    source: &RawInput,
    rules: &Rules<'_, E::Data>,
    errors: &ValidationErrors,
) -> Vec<FieldError> {
    let names = WireNames::new(source, rules);
    let mut report = Report::<E> { source, names, keys: Vec::new(), list: Vec::new() };
    report.walk(errors, &mut Vec::new(), &mut Vec::new());
    report.list
}

struct Report<'a, E: Input> {
    source: &'a RawInput,
    names: WireNames<'a, E>,
    /// The depths of the current path whose steps are keys that the client has chosen.
    keys: Vec<usize>,
    list: Vec<FieldError>,
}

impl<E: Input + 'static> Report<'_, E> {
    /// Adds the errors of a struct. `path` has the names of the program, `wire` those of the client.
    fn walk(
        &mut self,
        errors: &ValidationErrors,
        path: &mut Vec<PathStep>,
        wire: &mut Vec<String>,
    ) {
        if self.list.len() > MAX_LISTED {
            return;
        }
        let wire_refs: Vec<&str> = wire.iter().map(String::as_str).collect();
        let order = E::fields(&wire_refs);
        let mut fields = Vec::new();
        for (name, kind) in errors.errors() {
            let step = match &**name {
                // The errors of a rule for the whole struct, and of a list without a field around it, have the pointer of the struct.
                "__all__" | "_tmp_validator" => WireName::Same,
                name => self.names.find(path, wire, order, name, kind),
            };
            let place = match &step {
                WireName::Member(step) => order
                    .and_then(|order| order.iter().position(|field| field == step))
                    .unwrap_or(usize::MAX - 1),
                WireName::Same => usize::MAX,
            };
            fields.push((place, step, name, kind));
        }
        fields.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
        for (_, step, name, kind) in fields {
            path.push(PathStep::Field(name.clone()));
            let deeper = matches!(step, WireName::Member(_));
            if let WireName::Member(step) = step {
                wire.push(step);
            }
            self.visit(kind, path, wire);
            if deeper {
                wire.pop();
            }
            path.pop();
        }
    }

    fn visit(
        &mut self,
        kind: &ValidationErrorsKind,
        path: &mut Vec<PathStep>,
        wire: &mut Vec<String>,
    ) {
        match kind {
            ValidationErrorsKind::Field(errors) => {
                errors.iter().for_each(|error| self.push(wire, error));
            }
            ValidationErrorsKind::Struct(errors) => self.walk(errors, path, wire),
            ValidationErrorsKind::List(_) if self.names.is_map(wire) => {
                self.visit_map(kind, path, wire)
            }
            ValidationErrorsKind::List(items) => {
                for (index, errors) in items {
                    path.push(PathStep::Index(*index));
                    wire.push(index.to_string());
                    self.walk(errors, path, wire);
                    wire.pop();
                    path.pop();
                }
            }
        }
    }

    /// Adds the errors of a map. The engine numbers its values in the order of iteration, which does not tell the keys. So each value is
    /// validated in a map of its own.
    fn visit_map(
        &mut self,
        kind: &ValidationErrorsKind,
        path: &mut Vec<PathStep>,
        wire: &mut Vec<String>,
    ) {
        let before = self.list.len();
        self.keys.push(wire.len());
        for (key, names, errors) in self.names.alone(path, wire) {
            let whole = std::mem::replace(&mut self.names, names);
            path.push(PathStep::Index(0));
            wire.push(key);
            self.walk(&errors, path, wire);
            wire.pop();
            path.pop();
            self.names = whole;
        }
        self.keys.pop();
        if self.list.len() == before {
            // There are too many values. Their errors get the pointer of the map.
            leaves(kind, &mut |error| self.push(wire, error));
        }
    }

    fn push(&mut self, wire: &[String], error: &ValidationError) {
        let detail = error.message.clone().unwrap_or_else(|| Cow::Owned(message::of(error)));
        let mut entry = FieldError::new(E::LOCATION, error.code.clone(), detail);
        for (depth, step) in wire.iter().enumerate() {
            let own = !self.keys.contains(&depth) && step.len() <= MAX_NAME;
            entry = entry.at(if own { step } else { self.source.key(step) });
        }
        // `value` and `other` contain submitted data.
        let mut params: Vec<_> =
            error.params.iter().filter(|(name, _)| *name != "value" && *name != "other").collect();
        params.sort_unstable_by_key(|(name, _)| *name);
        for (name, value) in params {
            entry = entry.with_param(name.clone(), value.to_string());
        }
        self.list.push(entry);
    }
}

fn leaves(kind: &ValidationErrorsKind, found: &mut impl FnMut(&ValidationError)) {
    match kind {
        ValidationErrorsKind::Field(errors) => errors.iter().for_each(found),
        ValidationErrorsKind::Struct(errors) => {
            errors.errors().values().for_each(|kind| leaves(kind, found));
        }
        ValidationErrorsKind::List(items) => {
            let kinds = items.values().flat_map(|errors| errors.errors().values());
            kinds.for_each(|kind| leaves(kind, found));
        }
    }
}

/// A longer name does not come from the program.
const MAX_NAME: usize = 128;

/// The most errors that are converted. A refusal lists fewer.
const MAX_LISTED: usize = 1000;
