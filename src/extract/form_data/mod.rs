//! `application/x-www-form-urlencoded`, the format of forms and queries.

mod names;
mod reader;
#[cfg(test)]
#[cfg(all(feature = "form", feature = "query"))]
mod tests;

use http::StatusCode;
use percent_encoding::percent_decode;
use serde_core::de::DeserializeOwned;

use self::names::{Ignored, NameError};
use self::reader::{Pair, Problem, ReadError, Reader};
use crate::Error;
use crate::extract::budget::{Budget, Depth};
use crate::extract::failure::field_error;
#[cfg(feature = "form")]
use crate::extract::field_error::push_step;
use crate::extract::{BracketSyntax, FieldError, Location, RawInput};

/// Parses pairs of names and values (URL standard, 5.1).
///
/// A name may be repeated if the field is a list. An empty value is `None` if the field is optional and not a text.
pub(crate) fn parse<T: DeserializeOwned>(
    location: Location,
    status: StatusCode,
    source: &RawInput,
) -> Result<T, Error> {
    let text = source.bytes();
    let max = source.value_limit();
    // Each pair takes at least one byte, so a short text can't have too many.
    if text.len() >= max && text.iter().filter(|byte| **byte == b'&').count() >= max {
        return Err(source.too_many_values());
    }
    if !is_utf8(text) {
        let text = match location {
            Location::Query => "The query is not UTF-8",
            _ => "The form is not UTF-8",
        };
        return Err(source.translated(Error::new(StatusCode::BAD_REQUEST, text)));
    }
    let pairs = reader::pairs(text);
    let refuse = |error| source.refuse(status, wrong_form(location), vec![error]);
    let syntax = match source.bracket_syntax() {
        Some(syntax) if syntax.is_literal() => None,
        Some(syntax) => {
            check_names(location, &pairs, syntax).map_err(refuse)?;
            Some(syntax)
        }
        None => {
            check_ignored::<T>(location, &pairs).map_err(refuse)?;
            None
        }
    };
    let budget = match source.max_values() {
        Some(max) if syntax.is_some() => Budget::new(max, text.len()),
        _ => Budget::unlimited(),
    };
    let items = reader::items(&pairs);
    let reader = Reader::root(&items, syntax, Depth::root(&budget));
    match T::deserialize(reader) {
        _ if budget.is_exceeded() => Err(source.too_many_values()),
        Ok(data) => Ok(data),
        Err(error) if error.problem == Some(Problem::Buffered) => {
            Err(Error::internal(format!("{}: {BUFFERED}", std::any::type_name::<T>())))
        }
        Err(_) => Err(refuse(explain::<T>(source, location, reader))),
    }
}

/// All names and values, decoded.
#[cfg(feature = "form")]
pub(crate) fn texts(text: &[u8]) -> Vec<(String, String)> {
    let pairs = reader::pairs(text).into_iter();
    pairs.map(|pair| (pair.name.to_string(), pair.value().into_owned())).collect()
}

/// The JSON Pointer of the field that has this name in a form.
#[cfg(feature = "form")]
pub(crate) fn pointer(name: &str) -> String {
    let mut pointer = String::new();
    if !name.is_empty() {
        let name = name.strip_suffix("[]").unwrap_or(name);
        let (base, rest) = name.split_at(name.find('[').unwrap_or(name.len()));
        push_step(&mut pointer, base);
        for step in rest.split_terminator(']').filter_map(|step| step.strip_prefix('[')) {
            push_step(&mut pointer, step);
        }
    }
    pointer
}

fn check_names(
    location: Location,
    pairs: &[Pair<'_>],
    syntax: BracketSyntax,
) -> Result<(), FieldError> {
    let error = |error| match error {
        NameError::Unmatched => {
            FieldError::new(location, "brackets", "A name has brackets that do not match")
        }
        NameError::TooDeep => FieldError::new(location, "depth", "A name has too many brackets")
            .with_param("max", syntax.depth().to_string()),
    };
    pairs.iter().try_for_each(|pair| names::check(&pair.name, syntax)).map_err(error)
}

/// Refuses a list that was sent in brackets, which would be empty.
fn check_ignored<T: DeserializeOwned>(
    location: Location,
    pairs: &[Pair<'_>],
) -> Result<(), FieldError> {
    let mut names = pairs.iter().map(|pair| &*pair.name).filter(|name| name.ends_with(']'));
    // Few forms have such a name.
    let Some(first) = names.next() else { return Ok(()) };
    let detail = "Is sent with brackets in its name, which are not supported here: \
        for a list, repeat the name without brackets";
    let error = FieldError::new(location, "brackets", detail);
    let (error, field) = match names::ignored::<T>(std::iter::once(first).chain(names)) {
        None => return Ok(()),
        Some(Ignored::Field(field)) => (error.at(field), field),
        Some(Ignored::Unknown) => (error, ""),
    };
    tracing::warn!(
        field,
        "refused a form or query with brackets in a name: to read them as lists and objects, provide BracketSyntax::new(); \
        to ignore them, BracketSyntax::literal()"
    );
    Err(error)
}

/// Reads the pairs again to find out where this fails.
#[cold]
fn explain<T: DeserializeOwned>(
    source: &RawInput,
    location: Location,
    reader: Reader<'_, '_, '_>,
) -> FieldError {
    let Err(found) = serde_path_to_error::deserialize::<_, T>(reader) else {
        return FieldError::new(location, "invalid", "Is not valid");
    };
    let error: &ReadError = found.inner();
    let shown = field_error::<T>(source, location, found.path(), &error.to_string());
    match error.problem {
        Some(problem) => {
            let (code, detail) = problem.code_and_detail();
            let error = FieldError::new(location, code, detail).with_pointer(shown.pointer());
            match source.bracket_syntax() {
                Some(syntax) if problem == Problem::Index => {
                    error.with_param("max", syntax.index().to_string())
                }
                _ => error,
            }
        }
        None => shown,
    }
}

/// What the log states about a type that no form can fill.
const BUFFERED: &str = "a number or bool in a flattened field, or in an enum that serde buffers (internally tagged, untagged), can't be read \
    from a form or query, where all values are texts: move the field into the struct itself, or read it from a text with deserialize_with";

fn wrong_form(location: Location) -> &'static str {
    match location {
        Location::Query => "The query does not have the expected form",
        _ => "The body does not have the expected form",
    }
}

/// Whether the decoded pairs are UTF-8.
fn is_utf8(pairs: &[u8]) -> bool {
    // `%80` and above are not ASCII.
    let encoded = |at: &[u8]| at[0] == b'%' && at[1].is_ascii_hexdigit() && at[1] > b'7';
    if pairs.is_ascii() && !pairs.windows(2).any(encoded) {
        return true;
    }
    let mut piece = [0; 64];
    let mut length = 0;
    for byte in percent_decode(pairs) {
        piece[length] = byte;
        length += 1;
        if length == piece.len() {
            length = match str::from_utf8(&piece) {
                Ok(_) => 0,
                // The rest of the character is in the next piece.
                Err(error) if error.error_len().is_none() => {
                    piece.copy_within(error.valid_up_to().., 0);
                    length - error.valid_up_to()
                }
                Err(_) => return false,
            };
        }
    }
    str::from_utf8(&piece[..length]).is_ok()
}
