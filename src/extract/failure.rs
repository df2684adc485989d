//! Errors of serde as errors of a field.
//!
//! The messages of serde quote submitted data. They are never sent: only the parts that describe the type are used.

use std::borrow::Cow;

use serde_core::de::{self, Expected, Unexpected};
#[cfg(any(feature = "form", feature = "json", feature = "query"))]
use serde_path_to_error::{Path, Segment};

#[cfg(any(feature = "form", feature = "json", feature = "query"))]
use crate::extract::{
    FieldError, InputError, Location, RawInput, budget::Trace, field_error::push_step,
};

/// The error at `path` that serde describes with `message`.
#[cfg(any(feature = "form", feature = "json", feature = "query"))]
pub(crate) fn field_error(
    source: &RawInput,
    location: Location,
    path: &Path,
    trace: &Trace,
    message: &str,
) -> FieldError {
    let mut pointer = pointer(source, path, trace);
    if let Some((code, detail)) = InputError::in_message(message) {
        return FieldError::new(location, code, detail).with_pointer(pointer);
    }
    let (code, detail, field) = describe(message);
    if let Some(field) = field {
        push_step(&mut pointer, field);
    }
    FieldError::new(location, code, detail).with_pointer(pointer)
}

/// The pointer of a path. The client has chosen the names that the type does not declare.
#[cfg(any(feature = "form", feature = "json", feature = "query"))]
fn pointer(source: &RawInput, path: &Path, trace: &Trace) -> String {
    let mut pointer = String::new();
    let mut levels = trace.levels.iter().rev();
    for segment in path {
        let is_declared = levels.next().copied().unwrap_or(false);
        match segment {
            Segment::Seq { index } => push_step(&mut pointer, &index.to_string()),
            Segment::Enum { variant } => push_step(&mut pointer, variant),
            Segment::Map { key } if is_declared => push_step(&mut pointer, key),
            Segment::Map { key } => push_step(&mut pointer, source.key(key)),
            Segment::Unknown => break,
        }
    }
    pointer
}

/// A code, a text, and the name of the field if the message contains it.
pub(crate) fn describe(message: &str) -> (&'static str, Cow<'static, str>, Option<&str>) {
    if let Some(rest) = message.strip_prefix("missing field `") {
        return ("missing", "Is missing".into(), rest.split_once('`').map(|(name, _)| name));
    }
    if message.starts_with("unknown field `") {
        return ("unknown", "Is not known here".into(), None);
    }
    if let Some(rest) = message.strip_prefix("duplicate field `") {
        let field = rest.split_once('`').map(|(name, _)| name);
        return ("duplicate", "Is given more than once".into(), field);
    }
    if message.starts_with("unknown variant `") {
        let choices = choices(message).unwrap_or_default();
        return ("choice", must_be_one_of(&choices), None);
    }
    if message.starts_with("number out of range") {
        return ("value", "Is a number out of range".into(), None);
    }
    if message.starts_with("invalid length ") {
        return ("length", WRONG_LENGTH.into(), None);
    }
    for (prefix, code) in [("invalid type: ", "type"), ("invalid value: ", "value")] {
        if message.starts_with(prefix) {
            let detail = match message.rsplit_once(", expected ").and_then(|(_, e)| expected(e)) {
                Some(expected) => format!("Must be {expected}").into(),
                None if code == "type" => "Has the wrong type".into(),
                None => "Has a value that is not possible here".into(),
            };
            return (code, detail, None);
        }
    }
    match message {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            ("type", "Must be a whole number".into(), None)
        }
        "number too large to fit in target type" | "number too small to fit in target type" => {
            ("value", "Is a number out of range".into(), None)
        }
        "invalid float literal" | "cannot parse float from empty string" => {
            ("type", "Must be a number".into(), None)
        }
        "provided string was not `true` or `false`" => {
            ("type", "Must be true or false".into(), None)
        }
        _ => ("invalid", "Is not valid".into(), None),
    }
}

/// The text for a value that is none of these.
pub(crate) fn must_be_one_of(choices: &[&str]) -> Cow<'static, str> {
    match choices.len() {
        1..=MAX_CHOICES => format!("Must be one of {}", choices.join(", ")).into(),
        _ => "Is not one of the values that are possible here".into(),
    }
}

/// The error of a text that Rust parses as a number, but that is not a finite one.
pub(crate) fn not_finite<E: de::Error>(text: &str) -> E {
    let unsigned = text.trim_start_matches(['+', '-']);
    match unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        true => E::custom("number too large to fit in target type"),
        false => E::custom("invalid float literal"),
    }
}

/// The variants of an enum, which serde lists at the end. The value before them is the client's, and may have any text.
fn choices(message: &str) -> Option<Vec<&str>> {
    let (_, listed) = without_position(message).rsplit_once("`, expected ")?;
    let (listed, separator) = match listed.strip_prefix("one of ") {
        Some(listed) => (listed, "`, `"),
        None => (listed, "` or `"),
    };
    let names: Vec<&str> = listed.strip_prefix('`')?.strip_suffix('`')?.split(separator).collect();
    names.iter().all(|name| !name.is_empty() && !name.contains('`')).then_some(names)
}

/// The message without the position that serde_json appends. The client may have written another one before it.
fn without_position(message: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match message.rsplit_once(" at line ") {
        Some((rest, position))
            if position
                .split_once(" column ")
                .is_some_and(|(line, column)| is_number(line) && is_number(column)) =>
        {
            rest
        }
        _ => message,
    }
}

/// The kinds of values that types of the standard library expect. Other texts may quote submitted data, and are not used.
fn expected(text: &str) -> Option<&'static str> {
    Some(match without_position(text) {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number of at least 0, in range",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number in range",
        "f32" | "f64" => "a number",
        "a number in range" => "a number in range",
        "a string" | "a borrowed string" | "string" | "str" => "a string",
        "a character" => "a single character",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "unit" => "null",
        text if text.starts_with("struct ") => "an object",
        text if text.starts_with("a tuple ") => "a list",
        text if text.starts_with("an array ") => "a list",
        _ => return None,
    })
}

/// The text for a list of another length than its type has.
pub(crate) const WRONG_LENGTH: &str = "Has the wrong number of items";

/// The most variants that an error lists.
const MAX_CHOICES: usize = 50;

/// Whether a type wants a number or bool of a text that serde has read into a buffer. Outside of a buffer, a number is parsed from its text, and fails in
/// another way.
pub(crate) fn is_buffered_text(unexpected: Unexpected<'_>, expected: &dyn Expected) -> bool {
    matches!(unexpected, Unexpected::Str(_)) && SCALARS.contains(&&*expected.to_string())
}

/// What the log states about a type that no text can fill.
pub(crate) const BUFFERED: &str = "a number or bool in a flattened field, or in an enum that serde buffers (internally tagged, untagged), can't be read \
    from a form, a query or a path, where all values are texts: move the field into the struct itself, or read it from a text with deserialize_with";

/// What the numbers of the standard library and `bool` expect.
const SCALARS: [&str; 15] = [
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "f32",
    "f64",
    "a boolean",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submitted_data_is_never_sent() {
        for message in [
            r#"invalid type: string "hunter2", expected u32 at line 1 column 9"#,
            r#"invalid type: string "x, expected hunter2", expected u32"#,
            r#"invalid value: string "hunter2", expected a day of the week"#,
            r#"invalid type: string "hunter2, expected hunter2"#,
            "unknown field `hunter2`, expected `a` or `b`",
            "unknown variant `hunter2`, expected `a` or `b`",
            "hunter2 is no uuid",
            "hunter2",
        ] {
            let (code, detail, field) = describe(message);
            assert!(!code.contains("hunter2") && !detail.contains("hunter2"), "{message}");
            assert_eq!(field, None, "{message}");
        }
    }

    #[test]
    fn the_expected_kind_is_reported() {
        for (message, code, detail) in [
            (
                "invalid type: null, expected a string at line 1 column 2",
                "type",
                "Must be a string",
            ),
            ("invalid type: map, expected a sequence", "type", "Must be a list"),
            (
                "invalid value: integer `-1`, expected u8",
                "value",
                "Must be a whole number of at least 0, in range",
            ),
            ("invalid type: sequence, expected struct User", "type", "Must be an object"),
            ("missing field `id`", "missing", "Is missing"),
            ("unknown variant `x`, expected `a`", "choice", "Must be one of a"),
            (
                "unknown variant `x`, expected `a` or `b` at line 1 column 2",
                "choice",
                "Must be one of a, b",
            ),
            (
                "unknown variant `x`, expected one of `a`, `b`, `c`",
                "choice",
                "Must be one of a, b, c",
            ),
            (
                "unknown variant `x`, expected `hunter2`, expected `a` or `b`",
                "choice",
                "Must be one of a, b",
            ),
            (
                "unknown variant `x`, expected `hunter2`, there are no variants",
                "choice",
                "Is not one of the values that are possible here",
            ),
            (
                "unknown variant `x`, expected `hunter2` at line 1`, expected `a` or `b` at line 1 column 2",
                "choice",
                "Must be one of a, b",
            ),
            (
                "unknown variant `x`, expected `hunter2` at line 1 column 2`, expected `a b`",
                "choice",
                "Must be one of a b",
            ),
            (
                "unknown variant `x`, expected `hunter2` at line 1 column 2`, there are no variants",
                "choice",
                "Is not one of the values that are possible here",
            ),
            ("number out of range at line 1 column 2", "value", "Is a number out of range"),
        ] {
            let (c, d, _) = describe(message);
            assert_eq!((c, &*d), (code, detail), "{message}");
        }
    }
}
