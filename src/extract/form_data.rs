//! `application/x-www-form-urlencoded`, the format of forms and queries.

use http::StatusCode;
use percent_encoding::percent_decode;
use serde_core::de::DeserializeOwned;

use crate::Error;
use crate::extract::budget::Budget;
use crate::extract::failure::field_error;
use crate::extract::objects::Objects;
use crate::extract::{Document, FieldError, Location, RawInput};

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
    let budget = Budget::unlimited();
    let reader = serde_html_form::Deserializer::from_bytes(pairs);
    T::deserialize(Objects::new(reader, &budget)).map_err(|_| {
        source.refuse(status, wrong_form(location), vec![explain::<T>(source, location, pairs)])
    })
}

/// The pairs as a tree, after they were refused.
pub(crate) fn document<T: DeserializeOwned>(source: &RawInput) -> Option<Document<'_>> {
    if source.is_made() {
        return Some(Document::made::<T>());
    }
    let pairs = source.bytes();
    if !is_utf8(pairs) {
        return None;
    }
    let mut document = Document::form(pairs, source.value_limit())?;
    let budget = Budget::traced();
    let reader = serde_html_form::Deserializer::from_bytes(pairs);
    let _ = T::deserialize(Objects::new(reader, &budget));
    document.declared = budget.into_trace().declared;
    Some(document)
}

/// Parses the pairs again to find out where it fails.
#[cold]
fn explain<T: DeserializeOwned>(source: &RawInput, location: Location, pairs: &[u8]) -> FieldError {
    let budget = Budget::traced();
    let reader = Objects::new(serde_html_form::Deserializer::from_bytes(pairs), &budget);
    match serde_path_to_error::deserialize::<_, T>(reader) {
        Err(found) => {
            let message = found.inner().to_string();
            field_error(source, location, found.path(), &budget.into_trace(), &message)
        }
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
}
