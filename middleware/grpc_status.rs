//! Errors as gRPC statuses, for a chain in front of gRPC services.
//!
//! # What it does
//!
//! A gRPC client can't read `application/problem+json`. For requests whose `Content-Type` begins with `application/grpc`, [`GrpcStatus`] turns
//! every response that is not gRPC into a gRPC status. Other requests pass through unchanged.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "grpc-status")] {
//! use tower_chain::{Chain, Error, GrpcStatus, StatusCode};
//!
//! # #[derive(Clone)] struct Caller;
//! async fn caller(headers: http::HeaderMap) -> Result<Caller, Error> {
//!     match headers.contains_key("authorization") {
//!         true => Ok(Caller),
//!         false => Err(Error::new(StatusCode::UNAUTHORIZED, "Sign in first")),
//!     }
//! }
//!
//! // tonic: Server::builder().layer(layer).add_service(..)
//! let layer = Chain::new().always(GrpcStatus::new()).guard(caller).into_layer();
//! # let _ = layer;
//! # }
//! ```
//!
//! # Example: another code
//!
//! ```
//! # #[cfg(feature = "grpc-status")] {
//! use tower_chain::{Chain, GrpcStatus, StatusCode};
//!
//! // 409 becomes ALREADY_EXISTS, 6.
//! let grpc = GrpcStatus::new().code(StatusCode::CONFLICT, 6);
//! # let _ = Chain::new().always(grpc);
//! # }
//! ```
//!
//! # What the client sees
//!
//! HTTP 200 with `content-type: application/grpc` and no body. The header has `grpc-status`, `grpc-message` with the detail of the error, and
//! the other fields of the error, such as `retry-after`. The details of 5xx are not sent.
//!
//! | status | `grpc-status` |
//! | --- | --- |
//! | 400, 406, 414, 415, 422 | 3 `INVALID_ARGUMENT` |
//! | 401 | 16 `UNAUTHENTICATED` |
//! | 403 | 7 `PERMISSION_DENIED` |
//! | 404, 405, 501 | 12 `UNIMPLEMENTED` |
//! | 408, 504 | 4 `DEADLINE_EXCEEDED` |
//! | 409 | 10 `ABORTED` |
//! | 412 | 9 `FAILED_PRECONDITION` |
//! | 413, 429, 431 | 8 `RESOURCE_EXHAUSTED` |
//! | 500 | 13 `INTERNAL` |
//! | 502, 503 | 14 `UNAVAILABLE` |
//! | any other | 2 `UNKNOWN` |
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! First, with [`Chain::always`](crate::Chain::always). Errors of the steps before it are not translated, and neither are those of a path that
//! does not match, if it is added with `use_`.
//!
//! # Sources
//!
//! [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), "Responses" and "Trailers-Only";
//! [status codes and their use](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{Body, Endpoint, Error, Middleware, Next, Response};

/// A step that turns errors into gRPC statuses for gRPC clients. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct GrpcStatus {
    codes: Vec<(StatusCode, u32)>,
}

impl GrpcStatus {
    /// The statuses as in the table of the [module](self).
    pub fn new() -> Self {
        Self::default()
    }

    /// Translates an HTTP status to this gRPC code. Defaults to the table of the [module](self).
    #[must_use]
    pub fn code(mut self, status: StatusCode, code: u32) -> Self {
        self.codes.retain(|(known, _)| *known != status);
        self.codes.push((status, code));
        self
    }

    fn code_of(&self, status: StatusCode) -> u32 {
        if let Some((_, code)) = self.codes.iter().find(|(known, _)| *known == status) {
            return *code;
        }
        match status.as_u16() {
            400 | 406 | 414 | 415 | 422 => 3,
            401 => 16,
            403 => 7,
            404 | 405 | 501 => 12,
            408 | 504 => 4,
            409 => 10,
            412 => 9,
            413 | 429 | 431 => 8,
            500 => 13,
            502 | 503 => 14,
            _ => 2,
        }
    }

    /// A response without a body ("Trailers-Only").
    fn translate(&self, refusal: Response) -> Response {
        let status = refusal.status();
        let message = match Error::of(&refusal) {
            Some(error) if !status.is_server_error() && !error.detail().is_empty() => {
                Cow::Owned(error.detail().to_owned())
            }
            _ => Cow::Borrowed(status.canonical_reason().unwrap_or("Refused")),
        };
        let message = utf8_percent_encode(&message, ENCODED).to_string();
        let (mut parts, _) = refusal.into_parts();
        parts.status = StatusCode::OK;
        for of_the_body in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            parts.headers.remove(of_the_body);
        }
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        parts.headers.insert(GRPC_STATUS, HeaderValue::from(self.code_of(status)));
        // It is percent-encoded, which makes it a valid header value.
        if let Ok(message) = HeaderValue::try_from(message) {
            parts.headers.insert(GRPC_MESSAGE, message);
        }
        Response::from_parts(parts, Body::empty())
    }
}

impl Middleware for GrpcStatus {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        if !is_grpc(next.headers()) {
            return next.run().await;
        }
        let response = next.run().await;
        if is_grpc(response.headers()) { response } else { self.translate(response) }
    }
}

/// `application/grpc`, `application/grpc+proto`, ..; not `application/grpc-web`, whose clients read the status from the body.
fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.and_then(|kind| kind.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The characters that are encoded in a `grpc-message`: all but printable ASCII, and the percent sign.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use axum_core::response::IntoResponse;
    use futures_util::FutureExt;

    use super::*;
    use crate::Chain;

    fn answer(grpc: GrpcStatus, content_type: &str, refusal: Response) -> Response {
        let refusal = std::sync::Mutex::new(Some(refusal));
        let service = Chain::new()
            .always(grpc)
            .all(move || std::future::ready(refusal.lock().unwrap().take().unwrap()))
            .build();
        let request = http::Request::post("/a.B/C").header("content-type", content_type);
        service.handle(request.body(Body::empty()).unwrap()).now_or_never().unwrap()
    }

    #[test]
    fn a_refusal_is_a_grpc_status_with_its_headers() {
        let refusal = Error::new(StatusCode::TOO_MANY_REQUESTS, "100 % used, später mehr")
            .with_header(http::header::RETRY_AFTER, HeaderValue::from_static("3"));
        let response = answer(GrpcStatus::new(), "application/grpc+proto", refusal.into_response());
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/grpc");
        assert_eq!(response.headers()["grpc-status"], "8");
        assert_eq!(response.headers()["grpc-message"], "100 %25 used, sp%C3%A4ter mehr");
        assert_eq!(response.headers()["retry-after"], "3");
    }

    #[test]
    fn the_detail_of_a_server_error_stays_hidden() {
        let refusal = Error::new(StatusCode::INTERNAL_SERVER_ERROR, "password is hunter2");
        let response = answer(GrpcStatus::new(), "application/grpc", refusal.into_response());
        assert_eq!(response.headers()["grpc-status"], "13");
        assert_eq!(response.headers()["grpc-message"], "Internal Server Error");
    }

    #[test]
    fn a_grpc_response_is_left_alone() {
        let mut fine = "framed".into_response();
        fine.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        let response = answer(GrpcStatus::new(), "application/grpc", fine);
        assert!(!response.headers().contains_key("grpc-status"));
        assert_eq!(response.headers()["content-type"], "application/grpc+proto");
    }

    #[test]
    fn other_requests_get_the_refusal_as_it_is() {
        for content_type in ["application/json", "application/grpc-web+proto", "application/grpcx"]
        {
            let refusal = Error::new(StatusCode::FORBIDDEN, "No").into_response();
            let response = answer(GrpcStatus::new(), content_type, refusal);
            assert_eq!(response.status(), 403, "{content_type}");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
    }

    #[test]
    fn a_code_can_be_chosen() {
        let grpc = GrpcStatus::new().code(StatusCode::CONFLICT, 1).code(StatusCode::CONFLICT, 6);
        let refusal = Error::new(StatusCode::CONFLICT, "Taken").into_response();
        let response = answer(grpc, "application/grpc", refusal);
        assert_eq!(response.headers()["grpc-status"], "6");
    }
}
