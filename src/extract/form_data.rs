//! `application/x-www-form-urlencoded`, as the body of a form and as a query.

use http::StatusCode;
use percent_encoding::percent_decode;
use serde_core::de::DeserializeOwned;

use crate::Error;
use crate::extract::failure::field_error;
use crate::extract::{FieldError, Location, Source};

/// Reads pairs of names and values (URL standard, 5.1).
///
/// A name may be repeated where the field is a list. An empty value is `None` where the field is optional and no text.
pub(crate) fn parse<T: DeserializeOwned>(
    location: Location,
    status: StatusCode,
    source: &Source,
) -> Result<T, Error> {
    let pairs = source.bytes();
    if pairs.contains(&b'%') && percent_decode(pairs).decode_utf8().is_err() {
        let text = match location {
            Location::Query => "The query is not UTF-8",
            _ => "The form is not UTF-8",
        };
        return Err(Error::new(StatusCode::BAD_REQUEST, text));
    }
    match serde_html_form::from_bytes::<T>(pairs) {
        Ok(data) => match without_numbers_that_are_none(pairs) {
            Some(altered) if serde_html_form::from_bytes::<T>(&altered).is_err() => Err(source
                .refuse(
                    status,
                    wrong_form(location),
                    vec![explain::<T>(source, location, &altered)],
                )),
            _ => Ok(data),
        },
        Err(_) => Err(source.refuse(
            status,
            wrong_form(location),
            vec![explain::<T>(source, location, pairs)],
        )),
    }
}

/// Reads the pairs again, to see where it fails.
#[cold]
fn explain<T: DeserializeOwned>(source: &Source, location: Location, pairs: &[u8]) -> FieldError {
    let reader = serde_html_form::Deserializer::from_bytes(pairs);
    match serde_path_to_error::deserialize::<_, T>(reader) {
        Err(found) => field_error::<T>(source, location, found.path(), &found.inner().to_string()),
        Ok(_) => FieldError::new(location, "invalid", "Is not valid"),
    }
}

fn wrong_form(location: Location) -> &'static str {
    match location {
        Location::Query => "The query does not have the expected form",
        _ => "The body does not have the expected form",
    }
}

/// `NaN` and `inf` are numbers to Rust and pass every range. Where there are such values, gives back the pairs with text in
/// their place, which only a field of text accepts.
fn without_numbers_that_are_none(pairs: &[u8]) -> Option<Vec<u8>> {
    let odd = |value: &[u8]| {
        let value = value.strip_prefix(b"-").or(value.strip_prefix(b"+")).unwrap_or(value);
        // The plus sign of a form is a blank, unless it is encoded.
        let value = value.strip_prefix(b"%2B").or(value.strip_prefix(b"%2b")).unwrap_or(value);
        let value = value.strip_prefix(b"%2D").or(value.strip_prefix(b"%2d")).unwrap_or(value);
        value.len() <= "infinity".len() * 3 && {
            let text: Vec<u8> = percent_decode(value).collect();
            [&b"nan"[..], b"inf", b"infinity"].iter().any(|odd| text.eq_ignore_ascii_case(odd))
        }
    };
    let split = |pair: &[u8]| pair.iter().position(|byte| *byte == b'=').map(|at| at + 1);
    let is_odd = |pair: &[u8]| split(pair).is_some_and(|at| odd(&pair[at..]));
    if !pairs.split(|byte| *byte == b'&').any(is_odd) {
        return None;
    }
    let mut altered = Vec::with_capacity(pairs.len() + 8);
    for pair in pairs.split(|byte| *byte == b'&') {
        if !altered.is_empty() {
            altered.push(b'&');
        }
        match split(pair) {
            Some(at) if odd(&pair[at..]) => {
                altered.extend_from_slice(&pair[..at]);
                altered.extend_from_slice(b"text");
            }
            _ => altered.extend_from_slice(pair),
        }
    }
    Some(altered)
}
