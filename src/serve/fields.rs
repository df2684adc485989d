//! Rules for the fields of a request on HTTP/2, in its head and in its trailers. hyper has the same rules for HTTP/1.
//!
//! Sources: RFC 9113, 8.2.1.

use http::HeaderValue;

/// How many header fields a request may have: as many as hyper takes on HTTP/1.
pub(super) const MAX_FIELDS: usize = 100;

/// Whether a value begins or ends with a blank, which is not valid on HTTP/2 (RFC 9113, 8.2.1). On HTTP/1 such blanks are not a part of it.
pub(super) fn is_padded(value: &HeaderValue) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last())
}
