//! The `Content-Length` of a response, compared with its body.
//!
//! Middleware may replace a body and leave its old length. hyper sends both as they are: on HTTP/1 the client then takes the rest of one
//! response for the start of the next one.
//!
//! Sources: RFC 9110, 8.6; RFC 9112, 6.2 and 6.3; RFC 9113, 8.1.1.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
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
    /// Compares the field with the body, and corrects it if it is wrong. `is_head` is whether the request has the method HEAD.
    pub(super) fn check(is_head: bool, response: &mut Response) -> Self {
        // Responses have few fields: this is shorter than a lookup.
        if !response.headers().keys().any(|name| *name == CONTENT_LENGTH) {
            return Self::Right;
        }
        let status = response.status();
        if status.is_informational() || status == StatusCode::NO_CONTENT {
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
