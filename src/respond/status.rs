//! Responses whose status is a part of their type.

use axum_core::response::IntoResponse;
use http::StatusCode;

use crate::Response;

/// A response with this status. A [documented](crate::declare) chain knows it, but not the status of `(StatusCode, T)`.
///
/// A status that is not from 100 to 999 does not compile.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::respond::WithStatus;
///
/// let chain = Chain::new().post(async || WithStatus::<202, _>("it will be done"));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WithStatus<const STATUS: u16, T>(pub T);

impl<const STATUS: u16, T: IntoResponse> IntoResponse for WithStatus<STATUS, T> {
    fn into_response(self) -> Response {
        const { assert!(STATUS >= 100 && STATUS <= 999, "a status is from 100 to 999") };
        let mut response = self.0.into_response();
        if let Ok(status) = StatusCode::from_u16(STATUS) {
            *response.status_mut() = status;
        }
        response
    }
}

/// A 201: the request created something.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, respond::Created};
///
/// let chain = Chain::new().post(async || Created("order 7"));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Created<T>(pub T);

impl<T: IntoResponse> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        WithStatus::<201, T>(self.0).into_response()
    }
}

/// A 204: the response has no content.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, respond::NoContent};
///
/// let chain = Chain::new().delete(async || NoContent);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// A text as `text/html; charset=utf-8`. It is sent unchanged: escape what comes from a client.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, respond::Html};
///
/// let chain = Chain::new().get(async || Html("<h1>Hello</h1>"));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Html<T>(pub T);

impl<T: IntoResponse> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        let kind = [(http::header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (kind, self.0).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_the_type() {
        assert_eq!(WithStatus::<202, _>("later").into_response().status(), 202);
        assert_eq!(Created("new").into_response().status(), 201);
        assert_eq!(NoContent.into_response().status(), 204);
        // The status of the content does not matter.
        assert_eq!(Created((StatusCode::IM_A_TEAPOT, "new")).into_response().status(), 201);
        let page = Html("<p>").into_response();
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    }
}
