//! Unparsed bodies: text, and bytes.

use axum_core::extract::FromRequest;
use axum_core::response::IntoResponse;
use bytes::Bytes;
use http::HeaderValue;
use http::StatusCode;
use http::header::ACCEPT;

use crate::extract::body::refuse_encoded;
use crate::extract::media_type::{Charset, ContentType};
use crate::extract::read_body;
use crate::{Error, Request, Response};

/// A body as text in UTF-8, with any content type.
///
/// | cause | status |
/// | --- | --- |
/// | another charset | 415, with `Accept` |
/// | compressed, without a layer that decompresses | 415, with `Accept-Encoding` |
/// | body above [its limit](crate::extract::MaxBody) | 413, with the limit |
/// | not UTF-8 | 400 |
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, extract::Text};
///
/// let chain = Chain::new().post(async |Text(text): Text| text.to_uppercase());
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

impl<S: Sync> FromRequest<S> for Text {
    type Rejection = Error;

    async fn from_request(mut req: Request, _: &S) -> Result<Self, Error> {
        if ContentType::of(req.headers()).is_some_and(|found| found.charset == Charset::Other) {
            return Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The text must be UTF-8")
                .with_header(ACCEPT, HeaderValue::from_static("text/plain;charset=utf-8")));
        }
        refuse_encoded(req.headers())?;
        let bytes = read_body(&mut req).await?;
        match String::from_utf8(bytes.into()) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(Error::new(StatusCode::BAD_REQUEST, "The body is not UTF-8")),
        }
    }
}

/// A body as bytes, with any content type, up to [its limit](crate::extract::MaxBody).
///
/// To read it as a stream, with only the limit of a `BodyLimit` step, take the `Request`.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, extract::Binary};
///
/// let chain = Chain::new().post(async |Binary(bytes): Binary| bytes.len().to_string());
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binary(pub Bytes);

impl<S: Sync> FromRequest<S> for Binary {
    type Rejection = Error;

    async fn from_request(mut req: Request, _: &S) -> Result<Self, Error> {
        read_body(&mut req).await.map(Self)
    }
}

impl IntoResponse for Binary {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
