//! The header field `Idempotency-Key`.

use std::ops::RangeInclusive;

use http::HeaderMap;
use http::header::HeaderName;
use sfv::{BareItem, Item, Parser};

/// The key of a request: `None` if it has none.
///
/// # Errors
///
/// If the field is not one key of an allowed length.
pub(super) fn key_of(
    headers: &HeaderMap,
    lengths: &RangeInclusive<usize>,
    strings_only: bool,
) -> Result<Option<String>, Malformed> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed("is in the request more than once"));
    }
    let value = value.as_bytes().trim_ascii();
    // Two bytes for each character (escapes), two quotes, and some space for parameters.
    if value.len() > 2 * lengths.end() + 256 {
        return Err(TOO_LONG);
    }
    let key = match value.first() {
        Some(b'"') => match Parser::new(value).parse::<Item>() {
            Ok(Item { bare_item: BareItem::String(key), .. }) => key.as_str().to_owned(),
            _ => return Err(Malformed("is not a String of RFC 9651")),
        },
        _ if strings_only => return Err(Malformed("is not a String of RFC 9651, in quotes")),
        _ if value.iter().all(|byte| is_bare(*byte)) => String::from_utf8_lossy(value).into_owned(),
        _ => return Err(Malformed("is neither a String of RFC 9651 nor a plain token")),
    };
    match key.len() {
        length if lengths.contains(&length) => Ok(Some(key)),
        length if length > *lengths.end() => Err(TOO_LONG),
        _ => Err(Malformed("is too short")),
    }
}

/// The keys that [`key_of`] accepts, without parameters, as a regular expression.
pub(super) fn pattern(lengths: &RangeInclusive<usize>, strings_only: bool) -> String {
    let count = format!("{{{},{}}}", lengths.start(), lengths.end());
    let string = format!(r#""([ !#-\[\]-~]|\\["\\]){count}""#);
    match strings_only {
        true => format!("^{string}$"),
        false => format!(r"^({string}|[!#-+\--:<-\[\]-~]{count})$"),
    }
}

/// What is wrong with a key. It completes the sentence "The Idempotency-Key ..".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// Visible ASCII, except for the characters that delimit lists, parameters and strings.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const TOO_LONG: Malformed = Malformed("is too long");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn key(values: &[&[u8]], strings_only: bool) -> Result<Option<String>, Malformed> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        key_of(&headers, &(1..=255), strings_only)
    }

    #[test]
    fn a_key_is_a_string_or_a_token() {
        let (long, longer) = ("a".repeat(255), "a".repeat(256));
        let uuid = "8e03978e-40d5-43e8-bc93-6894a57f9324";
        let quoted = |text: &str| format!("\"{text}\"");
        for (value, expected, as_string) in [
            (quoted(uuid), Some(uuid), true),
            (uuid.to_owned(), Some(uuid), false),
            ("KG5LxwFBepaKHyUD".to_owned(), Some("KG5LxwFBepaKHyUD"), false),
            ("order:7/a+b=".to_owned(), Some("order:7/a+b="), false),
            (quoted("a b, c;d"), Some("a b, c;d"), true),
            (quoted(r#"a\"b\\c"#), Some(r#"a"b\c"#), true),
            // Parameters are ignored, as of other items.
            (quoted("a") + ";v=1", Some("a"), true),
            (format!("  {}  ", quoted("a")), Some("a"), true),
            (quoted(&long), Some(&*long), true),
            (long.clone(), Some(&*long), false),
            (quoted(&longer), None, false),
            (longer.clone(), None, false),
            (quoted(""), None, false),
            (String::new(), None, false),
            ("\"".to_owned(), None, false),
            ("\"a".to_owned(), None, false),
            ("a\"".to_owned(), None, false),
            ("\"a\"b".to_owned(), None, false),
            ("\"a\", \"b\"".to_owned(), None, false),
            ("a,b".to_owned(), None, false),
            ("a b".to_owned(), None, false),
            ("a;v=1".to_owned(), None, false),
            (r#""a\n""#.to_owned(), None, false),
            ("\"caf\u{e9}\"".to_owned(), None, false),
            ("caf\u{e9}".to_owned(), None, false),
            ("a\tb".to_owned(), None, false),
            ("\"a\tb\"".to_owned(), None, false),
        ] {
            let found = key(&[value.as_bytes()], false);
            assert_eq!(found.clone().ok().flatten().as_deref(), expected, "{value}");
            assert_eq!(found.is_err(), expected.is_none(), "{value}");
            assert_eq!(key(&[value.as_bytes()], true).is_ok(), as_string, "{value}");
        }
        assert_eq!(key(&[], false), Ok(None));
        assert!(key(&[b"a", b"a"], false).is_err());
        assert!(key(&[&[b'"'; 2000]], false).is_err());
    }
}
