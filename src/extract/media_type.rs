//! The `Content-Type` of a body.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use mediatype::MediaType;

/// A content type (RFC 9110, 8.3.1), and whether its text is UTF-8.
pub(crate) struct ContentType<'a> {
    pub(crate) charset: Charset,
    media_type: MediaType<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// The content type has no `charset`.
    Default,
    Utf8,
    Other,
}

impl<'a> ContentType<'a> {
    /// `None` if there is no such field, more than one, or one that is malformed.
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value.to_str().ok()?)
    }

    /// Whether the one field is exactly this text. Most requests have the usual one, which needs no parsing.
    #[cfg(any(feature = "form", feature = "json"))]
    pub(crate) fn is_exactly(headers: &HeaderMap, essence: &str) -> bool {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        values.next().is_some_and(|value| value.as_bytes() == essence.as_bytes())
            && values.next().is_none()
    }

    /// Whether the content type is JSON in UTF-8.
    #[cfg(feature = "json")]
    pub(crate) fn is_json_body(headers: &'a HeaderMap) -> bool {
        Self::is_exactly(headers, "application/json")
            || Self::of_utf8(headers).is_some_and(|found| found.is_json())
    }

    /// Whether the content type is that of an HTML form, in UTF-8.
    #[cfg(feature = "form")]
    pub(crate) fn is_form_body(headers: &'a HeaderMap) -> bool {
        Self::is_exactly(headers, "application/x-www-form-urlencoded")
            || Self::of_utf8(headers)
                .is_some_and(|found| found.is("application", "x-www-form-urlencoded"))
    }

    /// The content type, unless its charset is another one than UTF-8.
    #[cfg(any(feature = "form", feature = "json"))]
    pub(crate) fn of_utf8(headers: &'a HeaderMap) -> Option<Self> {
        Self::of(headers).filter(|found| found.charset != Charset::Other)
    }

    fn parse(value: &'a str) -> Option<Self> {
        let media_type = MediaType::parse(value.trim_matches([' ', '\t'])).ok()?;
        let mut found = Self { charset: Charset::Default, media_type };
        let names: Vec<_> = found.params("charset").collect();
        let is_utf8 = |name: &Cow<'_, str>| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|utf8| utf8.eq_ignore_ascii_case(name))
        };
        found.charset = match &*names {
            [] => Charset::Default,
            names if names.iter().all(is_utf8) => Charset::Utf8,
            _ => Charset::Other,
        };
        Some(found)
    }

    /// The values of all parameters of this name, without quotes.
    pub(crate) fn params(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        let named = self.media_type.params.iter().filter(move |(own, _)| *own == name);
        named.map(|(_, value)| value.unquoted_str())
    }

    #[cfg(any(feature = "form", feature = "json", feature = "multipart"))]
    pub(crate) fn is(&self, kind: &str, subtype: &str) -> bool {
        let found = &self.media_type;
        found.ty == kind && found.subty == subtype && found.suffix.is_none()
    }

    /// `application/json`, or any type with the suffix `+json` (RFC 6839, 3.1).
    #[cfg(feature = "json")]
    pub(crate) fn is_json(&self) -> bool {
        self.is("application", "json")
            || self.media_type.suffix.is_some_and(|suffix| suffix == "json")
    }
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
            // In a quoted value nothing is a separator.
            ("a/b; x=\"a;charset=latin1;b\"", Some(Charset::Default)),
            ("a/b; x=\"a\\\";charset=latin1;b\"; charset=utf-8", Some(Charset::Utf8)),
            ("a/b; charset=\"ut\\f-8\"", Some(Charset::Utf8)),
            ("a/b; charset=\"utf-8; x=y\"", Some(Charset::Other)),
            ("a/b; x=\"charset=latin1", None),
            // A parameter that is repeated must not be read in two ways.
            ("a/b; charset=utf-8; charset=latin1", Some(Charset::Other)),
            ("a/b; charset=latin1; charset=utf-8", Some(Charset::Other)),
            ("a/b; charset=utf-8; charset=UTF8", Some(Charset::Utf8)),
            ("a/b;", Some(Charset::Default)),
            ("\ta/b\t;\tcharset=utf-8 ", Some(Charset::Utf8)),
            ("\u{2000}a/b", None),
            ("a/b\u{a0}; charset=utf-8", None),
            ("a/b;\u{2000}charset=latin1", None),
            ("a/b; charset=\u{a0}utf-8", None),
            ("a/b; charset =utf-8", None),
            ("a/b; charset= utf-8", None),
            ("a/b; charset=utf-\u{ff18}", None),
            ("a/b, c/d", None),
            ("a", None),
            ("/b", None),
            ("a/", None),
            ("a b/c", None),
            ("a/b c", None),
        ] {
            assert_eq!(ContentType::parse(value).map(|m| m.charset), charset, "{value}");
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
            ("application/json; x=\"a;charset=latin1;b\"", true),
            ("application/json+json", true),
            ("application/vnd.a+b+json", true),
            ("application/+json", false),
            ("application/json+xml", false),
            ("application/\u{17f}on", false),
            ("application/json\u{a0}", false),
            ("text/json", false),
            ("application/jsonp", false),
            ("application/json-seq", false),
            ("text/plain", false),
        ] {
            assert_eq!(ContentType::parse(value).is_some_and(|m| m.is_json()), expected, "{value}");
        }
    }
}
