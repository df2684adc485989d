//! JSON values, one on each line.

use axum_core::BoxError;
use axum_core::response::IntoResponse;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::X_ACCEL_BUFFERING;
use crate::{Body, Response};

/// A response that streams JSON values, each on its own line (`application/x-ndjson`).
///
/// An error of the stream, or a value that can't be serialized, aborts the response. A client that reads to the end therefore knows that the
/// stream is complete. When the client disconnects, the stream is dropped.
///
/// `X-Accel-Buffering: no` lets nginx pass each line on at once. A layer that compresses may still buffer lines; it does not compress
/// [`Sse`](crate::respond::Sse).
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
    /// Sends the values of a stream.
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
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
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
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut lines = response.into_body().into_data_stream();
        assert_eq!(lines.next().await.unwrap().unwrap(), "\"a\\nb\"\n");
        assert_eq!(lines.next().await.unwrap().unwrap(), "\"c\"\n");
        assert!(lines.next().await.unwrap().is_err());
    }
}
