//! JSON values, one a line.

use axum_core::response::IntoResponse;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use crate::{Body, Response};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A stream of JSON values as an answer, each on a line of its own (`application/x-ndjson`).
///
/// An error of the stream, or a value that can't be serialized, cuts the response off: a client that reads to the end knows that it has all.
/// When the client leaves, the stream is dropped.
///
/// A layer that compresses may hold lines back until it has enough of them; [`Sse`](crate::respond::Sse) is left alone by it.
///
/// # Example
///
/// ```
/// use futures_util::stream;
/// use tower_chain::{Chain, respond::NdJson};
///
/// async fn numbers() -> impl axum_core::response::IntoResponse {
///     NdJson::new(stream::iter((1..=3).map(Ok::<i32, std::io::Error>)))
/// }
///
/// let chain = Chain::new().get(numbers);
/// # let _ = chain.build();
/// ```
#[derive(Debug)]
#[must_use]
pub struct NdJson<S>(S);

impl<S, T, E> NdJson<S>
where
    S: Stream<Item = Result<T, E>> + Send + 'static,
    T: Serialize,
    E: Into<BoxError>,
{
    /// Sends these values.
    pub fn new(values: S) -> Self {
        Self(values)
    }
}

impl<S, T, E> IntoResponse for NdJson<S>
where
    S: Stream<Item = Result<T, E>> + Send + 'static,
    T: Serialize,
    E: Into<BoxError>,
{
    fn into_response(self) -> Response {
        let lines = self.0.map(|value| {
            let mut line = serde_json::to_vec(&value.map_err(Into::into)?)?;
            line.push(b'\n');
            Ok::<_, BoxError>(Bytes::from(line))
        });
        let mut response = Response::new(Body::from_stream(lines));
        let kind = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn values_come_line_by_line_and_an_error_cuts_off() {
        let values = [Ok("a\nb"), Ok("c"), Err(std::io::Error::other("gone")), Ok("never")];
        let response = NdJson::new(stream::iter(values)).into_response();
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        let mut lines = response.into_body().into_data_stream();
        assert_eq!(lines.next().await.unwrap().unwrap(), "\"a\\nb\"\n");
        assert_eq!(lines.next().await.unwrap().unwrap(), "\"c\"\n");
        assert!(lines.next().await.unwrap().is_err());
    }
}
