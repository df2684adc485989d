//! The `Content-Type` of a body.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// A media type, and whether its text is UTF-8 (RFC 9110, 8.3.1).
pub(crate) struct MediaType<'a> {
    pub(crate) kind: &'a str,
    pub(crate) subtype: &'a str,
    pub(crate) charset: Charset,
    params: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// None is named.
    Default,
    Utf8,
    Other,
}

impl<'a> MediaType<'a> {
    /// `None` if there is no such field, more than one, or one that can't be read.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value.to_str().ok()?)
    }

    /// Whether there is one field, which is `essence` to the letter: what most requests have, so that nothing need be read.
    #[cfg(any(feature = "form", feature = "json"))]
    pub(crate) fn is_exactly(headers: &HeaderMap, essence: &str) -> bool {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        values.next().is_some_and(|value| value.as_bytes() == essence.as_bytes())
            && values.next().is_none()
    }

    fn parse(value: &'a str) -> Option<Self> {
        let (essence, params) = value.split_once(';').unwrap_or((value, ""));
        let (kind, subtype) = essence.trim_matches([' ', '\t']).split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut media_type = Self { kind, subtype, charset: Charset::Default, params };
        if let Some(charset) = media_type.param("charset") {
            let utf8 =
                ["utf-8", "utf8", "us-ascii"].iter().any(|name| name.eq_ignore_ascii_case(charset));
            media_type.charset = if utf8 { Charset::Utf8 } else { Charset::Other };
        }
        Some(media_type)
    }

    /// The value of a parameter, without its quotes.
    pub(crate) fn param(&self, name: &str) -> Option<&'a str> {
        self.params.split(';').find_map(|param| {
            let (key, value) = param.trim_matches([' ', '\t']).split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim_matches('"'))
        })
    }

    #[cfg(any(feature = "form", feature = "json", feature = "multipart"))]
    pub(crate) fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// `application/json`, or any type with the suffix `+json` (RFC 6839, 3.1).
    #[cfg(feature = "json")]
    pub(crate) fn is_json(&self) -> bool {
        let suffix = self.subtype.len().checked_sub("+json".len());
        self.is("application", "json")
            || suffix
                .filter(|at| *at > 0)
                .and_then(|at| self.subtype.get(at..))
                .is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
    }
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_are_told_apart() {
        for (value, charset) in [
            ("a/b", Some(Charset::Default)),
            ("a/b;charset=utf-8", Some(Charset::Utf8)),
            ("a/b ; Charset=\"UTF-8\"", Some(Charset::Utf8)),
            ("a/b; x=y; charset=utf8", Some(Charset::Utf8)),
            ("a/b;charset=iso-8859-1", Some(Charset::Other)),
            ("a/b;charset=", Some(Charset::Other)),
            ("a", None),
            ("/b", None),
            ("a/", None),
            ("a b/c", None),
            ("a/b c", None),
        ] {
            assert_eq!(MediaType::parse(value).map(|m| m.charset), charset, "{value}");
        }
    }

    #[cfg(feature = "json")]
    #[test]
    fn json_is_a_type_or_a_suffix() {
        for (value, expected) in [
            ("application/json", true),
            ("APPLICATION/JSON ;charset=utf-8", true),
            ("application/ld+json", true),
            ("application/problem+JSON", true),
            ("application/+json", false),
            ("text/json", false),
            ("application/jsonp", false),
            ("application/json-seq", false),
            ("text/plain", false),
        ] {
            assert_eq!(MediaType::parse(value).is_some_and(|m| m.is_json()), expected, "{value}");
        }
    }
}
