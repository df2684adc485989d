//! Finds the wire name of a field from its Rust name.
//!
//! The engine knows only Rust names, and not what serde renames, flattens or gives an alias. serde reports the wire names
//! ([`Input::fields`]), but not which field each of them belongs to. Most differ only in case. For the others the input is changed one value at a
//! time and validated again: a value belongs to the field whose error changes. This is done once for a field of a type, within bounds, and
//! only for input that is refused.

use std::any::TypeId;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Mutex, OnceLock, PoisonError};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde_json::{Map, Value};
use validator::{ValidationError, ValidationErrors, ValidationErrorsKind};

use crate::extract::{Input, Location, RawInput, same_name};

/// The rules of a type, with their context if they have one.
pub(super) type Rules<'a, T> = dyn Fn(&T) -> Result<(), ValidationErrors> + 'a;

/// The wire name of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WireName {
    /// The field is a member with this name.
    Member(String),
    /// The field is flattened into the struct around it, and adds no step to the path.
    Same,
}

/// A step of a path in Rust names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    Field(Cow<'static, str>),
    Index(usize),
}

pub(super) struct WireNames<'a, E: Input> {
    rules: &'a Rules<'a, E::Data>,
    /// `None` for path parameters, and for input that is too large to be changed repeatedly.
    document: Option<Submitted>,
    /// How often the input may still be validated again.
    attempts: Rc<Cell<u32>>,
}

impl<'a, E: Input + 'static> WireNames<'a, E> {
    pub(super) fn new(source: &RawInput, rules: &'a Rules<'a, E::Data>) -> Self {
        let document =
            E::is_named().then(|| Submitted::read(E::LOCATION, source.bytes())).flatten();
        // A large input is changed less often, which bounds the work of a refusal.
        let affordable = MAX_TRIED_BYTES / source.bytes().len().max(1);
        let attempts = u32::try_from(affordable).unwrap_or(u32::MAX).min(MAX_ATTEMPTS);
        Self { rules, document, attempts: Rc::new(Cell::new(attempts)) }
    }

    /// The wire name of the field `name`, which is at `path`. Its struct is at `wire` and has the wire names `declared`.
    pub(super) fn find(
        &self,
        path: &[PathStep],
        wire: &[String],
        declared: Option<&[&str]>,
        name: &str,
        kind: &ValidationErrorsKind,
    ) -> WireName {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let here = self.document.as_ref().and_then(|document| document.at(wire)?.as_object());
        let present: Vec<&str> = here
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .filter(|key| declared.is_none_or(|declared| declared.contains(key)))
            .take(MAX_FIELDS)
            .collect();
        if let Some(found) = same_name(name, &present) {
            return WireName::Member(found.to_owned());
        }
        let submitted =
            !matches!(kind, ValidationErrorsKind::Field(errors) if value(errors).is_null());
        let by_name = declared.and_then(|declared| same_name(name, declared));
        if let Some(found) = by_name
            && (!submitted || present.is_empty())
        {
            return WireName::Member(found.to_owned());
        }
        let key = cache_key::<E>(path, name);
        let cached = cache().lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        match cached {
            // Without declared names, the input of one client does not determine the names of another.
            Some(WireName::Member(found))
                if (submitted || declared.is_none()) && !present.contains(&&*found) => {}
            Some(found) => return found,
            None => {}
        }
        let Some(document) = &self.document else {
            return WireName::Member(by_name.unwrap_or(name).to_owned());
        };
        let found = if submitted {
            self.find_by_change(document, path, wire, (declared, &present), name, kind)
        } else {
            self.find_by_absence(document, path, wire, declared, &present, name)
        };
        if let Some(found) = found {
            let mut cache = cache().lock().unwrap_or_else(PoisonError::into_inner);
            if cache.len() < MAX_CACHED {
                cache.insert(key, found.clone());
            }
            return found;
        }
        match by_name {
            Some(found) => WireName::Member(found.to_owned()),
            None if declared.is_none() && !matches!(kind, ValidationErrorsKind::Field(_)) => {
                WireName::Same
            }
            None => WireName::Member(name.to_owned()),
        }
    }

    /// Finds the submitted value that belongs to the field, by changing values.
    fn find_by_change(
        &self,
        document: &Submitted,
        path: &[PathStep],
        wire: &[String],
        (declared, present): (Option<&[&str]>, &[&str]),
        name: &str,
        kind: &ValidationErrorsKind,
    ) -> Option<WireName> {
        let mut leaf = path.to_vec();
        leaf.push(PathStep::Field(Cow::Owned(name.to_owned())));
        let field_at = leaf.len();
        let before = value(first_leaf(kind, &mut leaf)?);
        let nested = !matches!(kind, ValidationErrorsKind::Field(_));
        for key in present {
            let mut at = wire.to_vec();
            at.push((*key).to_owned());
            let submitted = document.at(&at)?;
            let mut places = Vec::new();
            scalars(submitted, &mut at.clone(), &mut places);
            if !nested && !submitted.is_object() {
                places.insert(0, at.clone());
            }
            places.dedup();
            for place in places {
                let changes = document.at(&place).map(changes).unwrap_or_default();
                let went_there = |change| {
                    let after = self.validate_with(document, &place, change)?;
                    Some(
                        after.as_ref().and_then(|errors| field(errors, &leaf)).map(value)
                            != Some(before),
                    )
                };
                if changes.into_iter().any(|change| went_there(change) == Some(true)) {
                    let container = submitted.is_object() || submitted.is_array();
                    // The client has chosen the keys of a flattened map. They are not names of the field.
                    let flattened_map = declared.is_none()
                        && match kind {
                            ValidationErrorsKind::List(_) => {
                                place.len() - at.len() < leaf.len() - field_at
                            }
                            _ => before.get(key).is_some(),
                        };
                    return Some(match flattened_map || nested && !container {
                        true => WireName::Same,
                        false => WireName::Member((*key).to_owned()),
                    });
                }
            }
        }
        None
    }

    /// Finds the missing value of the field, by adding values.
    fn find_by_absence(
        &self,
        document: &Submitted,
        path: &[PathStep],
        wire: &[String],
        declared: Option<&[&str]>,
        present: &[&str],
        name: &str,
    ) -> Option<WireName> {
        let mut leaf = path.to_vec();
        leaf.push(PathStep::Field(Cow::Owned(name.to_owned())));
        // A member that is null counts as missing.
        let is_null = |key: &&&str| {
            let at: Vec<String> = wire.iter().cloned().chain([(**key).to_string()]).collect();
            document.at(&at).is_none_or(Value::is_null)
        };
        let absent = declared?.iter().filter(|key| !present.contains(key));
        for key in present.iter().filter(is_null).chain(absent).take(MAX_FIELDS) {
            let at: Vec<String> = wire.iter().cloned().chain([(*key).to_string()]).collect();
            for sample in changes(&Value::Null) {
                let Some(after) = self.validate_with(document, &at, sample) else { continue };
                let after = after.as_ref().and_then(|errors| field(errors, &leaf)).map(value);
                if after.is_none_or(|after| !after.is_null()) {
                    return Some(WireName::Member((*key).to_string()));
                }
            }
        }
        None
    }

    pub(super) fn is_map(&self, wire: &[String]) -> bool {
        self.document.as_ref().and_then(|document| document.at(wire)).is_some_and(Value::is_object)
    }

    /// The values of the map at `wire` that break a rule: the key of each, and its errors when it is the only one.
    pub(super) fn alone(
        &self,
        path: &[PathStep],
        wire: &[String],
    ) -> Vec<(String, WireNames<'a, E>, ValidationErrors)> {
        let mut found = Vec::new();
        let Some((document, map)) =
            self.document.as_ref().and_then(|d| Some((d, d.at(wire)?.as_object()?)))
        else {
            return found;
        };
        if map.len() > MAX_FIELDS {
            return found;
        }
        for (key, item) in map {
            if self.attempts.get() == 0 {
                break;
            }
            let only = Value::Object(Map::from_iter([(key.clone(), item.clone())]));
            let Some(document) = document.with(wire, only) else { continue };
            let Some(Some(mut errors)) = self.validate(&document) else { continue };
            if let Some(ValidationErrorsKind::List(items)) = take(&mut errors, path)
                && let Some((_, errors)) = items.into_iter().next()
            {
                let names = WireNames {
                    rules: self.rules,
                    document: Some(document),
                    attempts: self.attempts.clone(),
                };
                found.push((key.clone(), names, *errors));
            }
        }
        found
    }

    /// Validates the input with another value at `place`. If no attempt is left, the input is not copied.
    fn validate_with(
        &self,
        document: &Submitted,
        place: &[String],
        value: Value,
    ) -> Option<Option<ValidationErrors>> {
        (self.attempts.get() > 0).then_some(())?;
        self.validate(&document.with(place, value)?)
    }

    /// Validates an input. `None` if it can't be parsed, or no attempt is left.
    fn validate(&self, document: &Submitted) -> Option<Option<ValidationErrors>> {
        self.attempts.set(self.attempts.get().checked_sub(1)?);
        let input = E::parse(&RawInput::body(document.write())).ok()?;
        Some((self.rules)(input.data()).err())
    }
}

/// The submitted input as a tree that can be changed. The pairs of a form become an object of texts.
#[derive(Clone)]
struct Submitted {
    root: Value,
    pairs: bool,
}

impl Submitted {
    fn read(location: Location, text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return None;
        }
        if location == Location::Body
            && let Ok(root) = serde_json::from_slice(text)
        {
            return Some(Self { root, pairs: false });
        }
        let decode = |text: &[u8]| {
            let blanks: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
            percent_decode(&blanks).decode_utf8_lossy().into_owned()
        };
        let mut map = Map::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, text) = at.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            let text = Value::String(decode(text));
            match map.entry(decode(name)) {
                serde_json::map::Entry::Vacant(entry) => {
                    entry.insert(text);
                }
                serde_json::map::Entry::Occupied(mut entry) => match entry.get_mut() {
                    Value::Array(list) => list.push(text),
                    one => *one = Value::Array(vec![one.take(), text]),
                },
            }
        }
        Some(Self { root: Value::Object(map), pairs: true })
    }

    fn write(&self) -> Vec<u8> {
        if !self.pairs {
            return self.root.to_string().into_bytes();
        }
        let mut text = String::new();
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        for (name, value) in self.root.as_object().into_iter().flatten() {
            let values = match value {
                Value::Array(list) => list.as_slice(),
                one => std::slice::from_ref(one),
            };
            for value in values {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                text.push_str(&format!("{}={}&", encode(name), encode(&value)));
            }
        }
        text.pop();
        text.into_bytes()
    }

    fn at(&self, wire: &[String]) -> Option<&Value> {
        wire.iter().try_fold(&self.root, |value, step| match value {
            Value::Object(map) => map.get(step),
            Value::Array(list) => list.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    fn with(&self, wire: &[String], new: Value) -> Option<Self> {
        let mut changed = self.clone();
        let Some((last, parents)) = wire.split_last() else {
            changed.root = new;
            return Some(changed);
        };
        let parent = parents.iter().try_fold(&mut changed.root, |value, step| match value {
            Value::Object(map) => map.get_mut(step),
            Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        })?;
        match parent {
            Value::Object(map) => {
                map.insert(last.clone(), new);
            }
            Value::Array(list) => *list.get_mut(last.parse::<usize>().ok()?)? = new,
            _ => return None,
        }
        Some(changed)
    }
}

/// Other values of the same kind. The type can be parsed from most of them.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => {
            let samples = ["x", "1", "true"].map(|text| Value::String(text.to_owned()));
            let others = [Value::from(1), Value::Bool(true), Value::Array(Vec::new())];
            samples.into_iter().chain(others).chain([Value::Object(Map::new())]).collect()
        }
        Value::Bool(value) => vec![Value::Bool(!value)],
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(n), ..) => [n.checked_add(1), n.checked_sub(1)]
                .into_iter()
                .flatten()
                .map(Value::from)
                .collect(),
            (_, Some(n), _) => vec![Value::from(n - 1)],
            (_, _, Some(n)) => vec![Value::from(n + 1.0), Value::from(n / 2.0)],
            _ => Vec::new(),
        },
        Value::String(text) => {
            let mut changes = vec![format!("{text}~"), format!("{text}a")];
            if let Ok(number) = text.parse::<i64>() {
                changes.extend(
                    [number.checked_add(1), number.checked_sub(1)]
                        .into_iter()
                        .flatten()
                        .map(|n| n.to_string()),
                );
            }
            let mut shorter = text.clone();
            if shorter.pop().is_some() {
                changes.push(shorter);
            }
            changes.into_iter().map(Value::String).collect()
        }
        Value::Array(list) => {
            let mut longer = list.clone();
            longer.extend(list.last().cloned());
            let mut shorter = list.clone();
            shorter.pop();
            vec![Value::Array(longer), Value::Array(shorter)]
        }
        Value::Object(_) => Vec::new(),
    }
}

/// Collects the paths of the values inside `value` that are neither objects nor lists.
fn scalars(value: &Value, at: &mut Vec<String>, places: &mut Vec<Vec<String>>) {
    if places.len() >= MAX_FIELDS {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                at.push(key.clone());
                scalars(value, at, places);
                at.pop();
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                at.push(index.to_string());
                scalars(value, at, places);
                at.pop();
            }
        }
        _ => places.push(at.clone()),
    }
}

/// The first errors of a single field, and the path to them.
fn first_leaf<'e>(
    kind: &'e ValidationErrorsKind,
    path: &mut Vec<PathStep>,
) -> Option<&'e [ValidationError]> {
    let errors = match kind {
        ValidationErrorsKind::Field(errors) => return Some(errors),
        ValidationErrorsKind::Struct(errors) => errors,
        ValidationErrorsKind::List(items) => {
            let (index, errors) = items.iter().next()?;
            path.push(PathStep::Index(*index));
            errors
        }
    };
    // The error of a whole struct has no value to compare.
    let fields = errors.errors().iter().filter(|(name, _)| *name != "__all__");
    let (name, kind) = fields.min_by_key(|(name, _)| *name)?;
    path.push(PathStep::Field(name.clone()));
    first_leaf(kind, path)
}

/// The errors of a field.
fn field<'e>(errors: &'e ValidationErrors, path: &[PathStep]) -> Option<&'e [ValidationError]> {
    match follow(errors, path)? {
        ValidationErrorsKind::Field(errors) => Some(errors),
        _ => None,
    }
}

fn follow<'e>(errors: &'e ValidationErrors, path: &[PathStep]) -> Option<&'e ValidationErrorsKind> {
    let (first, rest) = path.split_first()?;
    let PathStep::Field(name) = first else { return None };
    let raw = || errors.errors().get(format!("r#{name}").as_str());
    let kind = errors.errors().get(&**name).or_else(raw)?;
    match (kind, rest) {
        (kind, []) => Some(kind),
        (ValidationErrorsKind::Struct(errors), rest) => follow(errors, rest),
        (ValidationErrorsKind::List(items), [PathStep::Index(index), rest @ ..]) => {
            follow(items.get(index)?, rest)
        }
        _ => None,
    }
}

fn take(errors: &mut ValidationErrors, path: &[PathStep]) -> Option<ValidationErrorsKind> {
    follow(errors, path).cloned()
}

/// The submitted value in the error of the engine. It never leaves this module.
fn value(errors: &[ValidationError]) -> &Value {
    errors.iter().find_map(|error| error.params.get("value")).unwrap_or(&Value::Null)
}

type CacheKey = (TypeId, String);

fn cache_key<E: 'static>(path: &[PathStep], name: &str) -> CacheKey {
    let mut text = String::new();
    for step in path {
        match step {
            PathStep::Field(name) => text.push_str(name),
            PathStep::Index(_) => text.push('*'),
        }
        text.push('/');
    }
    text.push_str(name);
    (TypeId::of::<E>(), text)
}

/// The names that were found by changing values. The keys are names in the program, so clients can't make it grow.
fn cache() -> &'static Mutex<HashMap<CacheKey, WireName>> {
    static CACHE: OnceLock<Mutex<HashMap<CacheKey, WireName>>> = OnceLock::new();
    CACHE.get_or_init(Mutex::default)
}

const MAX_ATTEMPTS: u32 = 256;
const MAX_CACHED: usize = 4096;
const MAX_FIELDS: usize = 64;
const MAX_LENGTH: usize = 64 * 1024;
const MAX_TRIED_BYTES: usize = 512 * 1024;
