//! How long a response is: its `Content-Length`, compared with its body, and its `Transfer-Encoding`.
//!
//! Middleware may replace a body and leave its old length. hyper sends both as they are: on HTTP/1 the client then takes the rest of one
//! response for the start of the next one. A handler may also pass on the fields of another server's response, whose coding hyper has removed:
//! hyper then claims that coding, or drops the connection if there is a length as well.
//!
//! Sources: RFC 9110, 8.6 and 9.3.6; RFC 9112, 6.1 to 6.3; RFC 9113, 8.1.1.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::Body as _;

use crate::Response;

/// The result of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentLength {
    /// There is none, or it is right.
    Right,
    /// It was wrong, and has been corrected or removed.
    Corrected,
    /// It is right if the body, whose length is unknown, turns out to have this length.
    Declared(u64),
}

impl ContentLength {
    /// Compares the field with the body, and corrects it if it is wrong. Removes `Transfer-Encoding`, which the server itself adds where it codes a
    /// body. `is_head` and `is_connect` are whether the request has these methods.
    pub(super) fn check(is_head: bool, is_connect: bool, response: &mut Response) -> Self {
        // Responses have few fields: this is shorter than a lookup.
        let is_of_length =
            |name: &HeaderName| *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
        if !response.headers().keys().any(is_of_length) {
            return Self::Right;
        }
        response.headers_mut().remove(TRANSFER_ENCODING);
        if !response.headers().contains_key(CONTENT_LENGTH) {
            return Self::Right;
        }
        let status = response.status();
        let is_tunnel = is_connect && status.is_success();
        if status.is_informational() || status == StatusCode::NO_CONTENT || is_tunnel {
            // RFC 9110, 8.6: these never have the field.
            response.headers_mut().remove(CONTENT_LENGTH);
            return Self::Right;
        }
        let declared = declared(response.headers());
        // There the field is the length of a body that is not sent.
        let without_body = is_head || status == StatusCode::NOT_MODIFIED;
        let actual = response.body().size_hint().exact();
        match (declared, actual) {
            (Some(_), _) if without_body => return Self::Right,
            (Some(declared), Some(actual)) if declared == actual => return Self::Right,
            (Some(declared), None) => return Self::Declared(declared),
            _ => {}
        }
        tracing::error!(
            %status,
            declared = ?response.headers().get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(),
            actual,
            "a response has a wrong Content-Length"
        );
        response.headers_mut().remove(CONTENT_LENGTH);
        if let Some(actual) = actual.filter(|_| !without_body) {
            response.headers_mut().insert(CONTENT_LENGTH, actual.into());
        }
        Self::Corrected
    }
}

/// `None` if there are several fields, or if the field is not a number.
fn declared(headers: &HeaderMap) -> Option<u64> {
    let mut fields = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let text = field.to_str().ok()?;
    // `u64::from_str` accepts a sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
