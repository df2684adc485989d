//! The `Content-Disposition` of a part of a multipart form (RFC 7578, 4.2).
//!
//! It is read as busboy 1.6 reads it, with these differences:
//!
//! | field | busboy | here | reason |
//! | --- | --- | --- | --- |
//! | a name or file name that is given twice | the first one | refused | two parsers could use two different ones |
//! | bytes that are not UTF-8 | read as Latin-1 | refused | the name of a form in UTF-8 would change |
//! | `name*` without `name` | ignored | read | no part is lost |
//! | `%22`, `%0D`, `%0A` | left as they are | decoded | browsers escape these characters (HTML, 4.10.21.8) |
//! | a folder in a file name | removed | left as it is | it is the client's text, and never a path |
//! | another type than `form-data` | the part is skipped | the part has no name | no part is lost |
//! | malformed, or an extended value in an unknown charset | the part is skipped | refused, unless there is a plain value | no part is lost |

use std::borrow::Cow;

use http::header::CONTENT_DISPOSITION;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;

use crate::Error;

/// The names of a part.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ContentDisposition {
    pub(super) name: Option<String>,
    pub(super) file_name: Option<String>,
}

impl ContentDisposition {
    /// Reads the names; those of another type than `form-data` are not names of a field.
    ///
    /// # Errors
    ///
    /// 400 if the field is malformed or not UTF-8.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        match headers.get(CONTENT_DISPOSITION) {
            None => Ok(Self::default()),
            Some(field) => Self::parse(field.as_bytes())
                .map_err(|problem| Error::new(StatusCode::BAD_REQUEST, problem)),
        }
    }

    fn parse(field: &[u8]) -> Result<Self, &'static str> {
        let text = str::from_utf8(field).map_err(|_| "The name of a part is not UTF-8")?;
        let (kind, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        if !kind.trim_matches(BLANKS).eq_ignore_ascii_case("form-data") {
            return Ok(Self::default());
        }
        let [mut name, mut name_ext, mut file_name, mut file_name_ext] = [const { None }; 4];
        while let Some(parameter) = rest.strip_prefix(';') {
            let parameter = parameter.trim_start_matches(BLANKS);
            if parameter.is_empty() {
                rest = parameter;
                break;
            }
            let (own, value) = parameter.split_once('=').ok_or(MALFORMED)?;
            let (value, after) = Self::value(value.trim_start_matches(BLANKS))?;
            rest = after.trim_start_matches(BLANKS);
            let slot = match &*own.trim_end_matches(BLANKS).to_ascii_lowercase() {
                "name" => &mut name,
                "name*" => &mut name_ext,
                "filename" => &mut file_name,
                "filename*" => &mut file_name_ext,
                "" => return Err(MALFORMED),
                other if !other.bytes().all(is_token) => return Err(MALFORMED),
                _ => continue,
            };
            // Two parsers could use two different ones.
            if slot.replace(value).is_some() {
                return Err("A part has two names");
            }
        }
        if !rest.is_empty() {
            return Err(MALFORMED);
        }
        // Clients and other parsers do not know `name*`, so it never replaces a name.
        let name_ext = name_ext.filter(|_| name.is_none());
        Ok(Self { name: pick(name, name_ext)?, file_name: pick(file_name, file_name_ext)? })
    }

    /// A token or a quoted string, and the text after it.
    fn value(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
        let Some(quoted) = text.strip_prefix('"') else {
            let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
            let (token, after) = text.split_at(end);
            return Ok((Cow::Borrowed(token), after));
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Ok((Cow::Owned(unescape(value)), &quoted[at + 1..])),
                // Windows paths have backslashes that escape nothing.
                '\\' if chars.peek().is_some_and(|(_, next)| ['"', '\\'].contains(next)) => {
                    value.extend(chars.next().map(|(_, escaped)| escaped));
                }
                c => value.push(c),
            }
        }
        Err(MALFORMED)
    }
}

/// Browsers escape these three characters, and no others (HTML, 4.10.21.8).
fn unescape(value: String) -> String {
    if !value.contains('%') {
        return value;
    }
    let mut text = value.replace("%22", "\"");
    for (escaped, c) in [("%0D", "\r"), ("%0d", "\r"), ("%0A", "\n"), ("%0a", "\n")] {
        text = text.replace(escaped, c);
    }
    text
}

/// The extended value (RFC 8187) is used before the plain one, unless it can't be read.
fn pick(
    plain: Option<Cow<'_, str>>,
    extended: Option<Cow<'_, str>>,
) -> Result<Option<String>, &'static str> {
    match (extended.as_deref().map(extended_value), plain) {
        (Some(Some(value)), _) => Ok(Some(value)),
        (_, Some(plain)) => Ok(Some(plain.into_owned())),
        (Some(None), None) => {
            Err("An extended name of a part is malformed, or in an unknown charset")
        }
        (None, None) => Ok(None),
    }
}

/// `UTF-8'en'na%C3%AFve`.
fn extended_value(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let decoded = percent_decode_str(encoded);
    match &*charset.to_ascii_lowercase() {
        "utf-8" | "utf8" => decoded.decode_utf8().ok().map(Cow::into_owned),
        "us-ascii" | "ascii" => {
            decoded.decode_utf8().ok().filter(|text| text.is_ascii()).map(Cow::into_owned)
        }
        "iso-8859-1" | "latin1" => Some(decoded.map(char::from).collect()),
        _ => None,
    }
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

const BLANKS: [char; 2] = [' ', '\t'];
const MALFORMED: &str = "The Content-Disposition of a part is malformed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_clients_write_them() {
        for (field, name, file_name) in [
            (&b"form-data; name=\"a\""[..], Some("a"), None),
            (b"form-data; name=a", Some("a"), None),
            (b"form-data;name=a;filename=b.txt", Some("a"), Some("b.txt")),
            (b"FORM-DATA; NAME=\"a\"; FileName=\"b\"", Some("a"), Some("b")),
            (b"form-data ; name = \"a\" ; filename = \"b\" ;", Some("a"), Some("b")),
            (b"form-data; filename=\"b\"; name=\"a\"", Some("a"), Some("b")),
            (
                b"form-data; name=\"a;b\"; filename=\"c;name=d.txt\"",
                Some("a;b"),
                Some("c;name=d.txt"),
            ),
            (b"form-data; name=\"a\\\"b\"", Some("a\"b"), None),
            (b"form-data; name=\"a\\\\\"; filename=\"x\"", Some("a\\"), Some("x")),
            (
                b"form-data; name=\"a\"; filename=\"C:\\dir\\b.txt\"",
                Some("a"),
                Some("C:\\dir\\b.txt"),
            ),
            (b"form-data; name=\"a%22b%0D%0Ac%0d%0a\"", Some("a\"b\r\nc\r\n"), None),
            (b"form-data; name=\"100%\"; filename=\"%41%zz%\"", Some("100%"), Some("%41%zz%")),
            ("form-data; name=\"\u{e9}\u{4f60}\"".as_bytes(), Some("\u{e9}\u{4f60}"), None),
            (b"form-data; name=\"\"; filename=\"\"", Some(""), Some("")),
            (
                b"form-data; name=a; filename*=UTF-8''na%C3%AFve.txt",
                Some("a"),
                Some("na\u{ef}ve.txt"),
            ),
            (b"form-data; filename*=utf-8'en'%e2%82%ac; name=a", Some("a"), Some("\u{20ac}")),
            (
                b"form-data; name=a; FILENAME*=ISO-8859-1''na%EFve; filename=x",
                Some("a"),
                Some("na\u{ef}ve"),
            ),
            (b"form-data; name=a; filename=x; filename*=UTF-8''%ff", Some("a"), Some("x")),
            (b"form-data; name=a; filename=x; filename*=koi8-r''y", Some("a"), Some("x")),
            (b"form-data; name*=UTF-8''%C3%A9", Some("\u{e9}"), None),
            (b"form-data; name=a; name*=UTF-8''b", Some("a"), None),
            (b"form-data; name*=UTF-8''b; name=a", Some("a"), None),
            (b"form-data; name*=koi8-r''b; name=a", Some("a"), None),
            (b"form-data; name=a; filename*=utf8''na%C3%AFve", Some("a"), Some("na\u{ef}ve")),
            (b"form-data; name=a; filename*=US-ASCII''x%2Ey", Some("a"), Some("x.y")),
            (b"form-data; name=a; filename*=latin1''na%EFve", Some("a"), Some("na\u{ef}ve")),
            (b"form-data; name=a; xname=b; x-filename=c", Some("a"), None),
            (b"form-data; xname=\"; name=b\"; name=a", Some("a"), None),
            (b"form-data", None, None),
            (b"attachment; name=a; filename=b", None, None),
        ] {
            let shown = String::from_utf8_lossy(field);
            let found = ContentDisposition::parse(field).unwrap_or_else(|e| panic!("{shown}: {e}"));
            assert_eq!(
                (found.name.as_deref(), found.file_name.as_deref()),
                (name, file_name),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_name_that_would_be_lost_is_refused() {
        for (field, problem) in [
            (&b"form-data; name=\"caf\xe9\""[..], "not UTF-8"),
            (b"form-data; name=a; filename=\"caf\xe9.txt\"", "not UTF-8"),
            (b"form-data; name=a; filename*=UTF-8''%ff", "extended"),
            (b"form-data; name=a; filename*=koi8-r''x", "extended"),
            (b"form-data; name=a; filename*=plain.txt", "extended"),
            (b"form-data; name=a; filename*=us-ascii''%C3%A9", "extended"),
            (b"form-data; name=a; name=b", "two names"),
            (b"form-data; name=a; NAME=b", "two names"),
            (b"form-data; name=a; filename=b; filename=c", "two names"),
            (b"form-data; name=\"a", "malformed"),
            (b"form-data; name=\"a\"b\"", "malformed"),
            (b"form-data; name=\"a\\\"", "malformed"),
            (b"form-data; name", "malformed"),
            (b"form-data; =a", "malformed"),
            (b"form-data; na me=a", "malformed"),
            (b"form-data; name=a b", "malformed"),
        ] {
            let found = ContentDisposition::parse(field);
            let shown = String::from_utf8_lossy(field);
            assert!(found.is_err_and(|found| found.contains(problem)), "{shown}");
        }
    }
}
