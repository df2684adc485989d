//! `application/x-www-form-urlencoded`, the format of forms and queries.

use http::StatusCode;
use percent_encoding::percent_decode;
use serde_core::de::DeserializeOwned;

use crate::Error;
use crate::extract::failure::field_error;
use crate::extract::{FieldError, Location, RawInput};

/// Parses pairs of names and values (URL standard, 5.1).
///
/// A name may be repeated if the field is a list. An empty value is `None` if the field is optional and not a text.
pub(crate) fn parse<T: DeserializeOwned>(
    location: Location,
    status: StatusCode,
    source: &RawInput,
) -> Result<T, Error> {
    let pairs = source.bytes();
    let max = source.value_limit();
    // Each pair takes at least one byte, so a short text can't have too many.
    if pairs.len() >= max && pairs.iter().filter(|byte| **byte == b'&').count() >= max {
        return Err(source.too_many_values());
    }
    if !is_utf8(pairs) {
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

/// Parses the pairs again to find out where it fails.
#[cold]
fn explain<T: DeserializeOwned>(source: &RawInput, location: Location, pairs: &[u8]) -> FieldError {
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

/// Rust parses `NaN`, `inf` and `1e999` as numbers, which pass a range check. If there are such values, returns the pairs with a word in their
/// place, which only a field of text accepts.
fn without_numbers_that_are_none(pairs: &[u8]) -> Option<Vec<u8>> {
    // Few values look like such a number.
    let may_be = |at: &[u8]| {
        (at[0] == b'=' && b"nNiI+-%".contains(&at[1]))
            || (matches!(at[0], b'0'..=b'9' | b'.') && b"eE%".contains(&at[1]))
    };
    if pairs.len() < LONGEST_FINITE && !pairs.windows(2).any(may_be) {
        return None;
    }
    let odd = |value: &[u8]| {
        if !value.first().is_some_and(|first| b"nNiI+-%.0123456789".contains(first)) {
            return false;
        }
        let text = percent_decode(value).decode_utf8_lossy();
        // An unencoded plus sign is a space. serde_html_form refuses it in a number.
        text.parse::<f64>().is_ok_and(|number| !number.is_finite())
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

/// The largest number has 309 digits.
const LONGEST_FINITE: usize = 309;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_utf8_in_pieces_as_in_one() {
        for character in ["a", "%61", "é", "%C3%A9", "%e2%82%ac", "€", "😀", "%F0%9F%98%80", "%"]
        {
            for count in 1..70 {
                let text = format!("x{}", character.repeat(count));
                assert!(is_utf8(text.as_bytes()), "{text}");
                for wrong in ["%ff", "%C3", "%F0%9F%98"] {
                    assert!(!is_utf8(format!("{text}{wrong}").as_bytes()), "{text}{wrong}");
                    assert!(!is_utf8(format!("{wrong}{text}").as_bytes()), "{wrong}{text}");
                }
            }
        }
        assert!(!is_utf8(b"a=\xff"));
    }

    #[test]
    fn numbers_that_are_none_are_found_however_they_are_written() {
        for (pairs, altered) in [
            ("f=NaN", Some("f=text")),
            ("f=-inf&g=1", Some("f=text&g=1")),
            ("f=1&g=%2bInfinity", Some("f=1&g=text")),
            ("f=%6Ean", Some("f=text")),
            ("f=%2D%69nf", Some("f=text")),
            ("f=1e999&g=1e308", Some("f=text&g=1e308")),
            ("f=-1.E%3999", Some("f=text")),
            (&*format!("f={}", "9".repeat(400)), Some("f=text")),
            (&*format!("f={}", "0".repeat(400)), None),
            ("f=1e5", None),
            ("f=nano", None),
            ("f=--inf", None),
            ("nan", None),
            ("f=", None),
            ("", None),
        ] {
            let found = without_numbers_that_are_none(str::as_bytes(pairs));
            assert_eq!(found.as_deref(), altered.map(str::as_bytes), "{pairs}");
        }
    }
}
