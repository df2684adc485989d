//! Percent-decoding of request paths.
//!
//! The canonical form is percent-decoded, except for `%2F` and `%25`. An encoded slash therefore stays inside its segment,
//! and a value can be decoded later without ambiguity. `prefix` compares a path under other readings as well.

use std::borrow::Cow;

/// A path with an invalid percent-encoding, or one that is not UTF-8 when decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadEncoding;

/// Decodes a request path, except for `%2F` and `%25`. Borrows the path if nothing is encoded.
pub(crate) fn canonical(path: &str) -> Result<Cow<'_, str>, BadEncoding> {
    if !path.as_bytes().contains(&b'%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(BadEncoding);
        let value = digit()? * 16 + digit()?;
        match u8::try_from(value).map_err(|_| BadEncoding)? {
            b'/' => out.extend_from_slice(b"%2F"),
            b'%' => out.extend_from_slice(b"%25"),
            decoded => out.push(decoded),
        }
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| BadEncoding)
}

/// Decodes `%2F` and `%25`, which [`canonical`] leaves encoded.
pub(crate) fn decode_value(value: &str) -> Cow<'_, str> {
    if value.contains('%') {
        Cow::Owned(value.replace("%2F", "/").replace("%25", "%"))
    } else {
        Cow::Borrowed(value)
    }
}
