//! Responses as bytes in a store.

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::header::{CONNECTION, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;

use super::carried::{read_error, write_error};
use super::encoding::{Input, put};
use crate::{Body, Error, Response};

/// The response of a request that is finished.
pub(super) enum Stored {
    Response(Response),
    /// The response was too large to be kept. Its status.
    NotKept(StatusCode),
}

/// What is stored for a response that is not kept.
pub(super) fn not_kept(status: StatusCode) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(NOT_KEPT);
    out.put_u16(status.as_u16());
    out.freeze()
}

/// What is stored instead of a response for which the store has no space.
pub(super) fn without_body(stored: &Bytes) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(NOT_KEPT);
    out.extend_from_slice(stored.get(1..3).unwrap_or_default());
    out.freeze()
}

/// The bytes of a response. Fields of the connection, and those that are not to be kept, are left out.
pub(super) fn write(
    parts: &Parts,
    omitted: &[HeaderName],
    error: Option<&Error>,
    body: &[u8],
    trailers: Option<&HeaderMap>,
) -> Bytes {
    let mut out = BytesMut::with_capacity(256 + body.len());
    out.put_u8(RESPONSE);
    out.put_u16(parts.status.as_u16());
    write_fields(&mut out, &parts.headers, omitted);
    match trailers {
        Some(trailers) => {
            out.put_u8(1);
            write_fields(&mut out, trailers, omitted);
        }
        None => out.put_u8(0),
    }
    write_error(&mut out, error);
    out.extend_from_slice(body);
    out.freeze()
}

/// The response, byte for byte; `None` if the bytes were not written by [`write()`] or [`not_kept`].
pub(super) fn read(bytes: Bytes) -> Option<Stored> {
    let mut input = Input(bytes);
    let kind = input.number::<1>()?;
    let status = StatusCode::from_u16(u16::try_from(input.number::<2>()?).ok()?).ok()?;
    match kind as u8 {
        NOT_KEPT => return Some(Stored::NotKept(status)),
        RESPONSE => {}
        _ => return None,
    }
    let headers = read_fields(&mut input)?;
    let trailers = match input.number::<1>()? {
        0 => None,
        _ => Some(read_fields(&mut input)?),
    };
    let error = read_error(&mut input)?;
    let mut response = Response::new(body(input.rest(), trailers));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(error) = error {
        *response.extensions_mut() = error;
    }
    Some(Stored::Response(response))
}

/// A body of these bytes.
pub(super) fn body(bytes: Bytes, trailers: Option<HeaderMap>) -> Body {
    let Some(trailers) = trailers else { return Body::from(bytes) };
    // Its length is not known in advance: HTTP/1.1 has no trailers after a `Content-Length`.
    let frames = [Frame::data(bytes), Frame::trailers(trailers)];
    Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>))))
}

fn write_fields(out: &mut BytesMut, fields: &HeaderMap, omitted: &[HeaderName]) {
    let named: Vec<&[u8]> = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    let is_kept = |name: &HeaderName| {
        !OF_CONNECTION.contains(name)
            && !omitted.contains(name)
            && !named.iter().any(|other| other.eq_ignore_ascii_case(name.as_ref()))
    };
    let kept = || fields.iter().filter(|(name, _)| is_kept(name));
    out.put_u32(u32::try_from(kept().count()).unwrap_or(u32::MAX));
    for (name, value) in kept() {
        put(out, name.as_ref());
        put(out, value.as_bytes());
    }
}

fn read_fields(input: &mut Input) -> Option<HeaderMap> {
    let count = input.number::<4>()?;
    let mut fields = HeaderMap::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(&input.bytes()?).ok()?;
        let value = HeaderValue::from_maybe_shared(input.bytes()?).ok()?;
        fields.try_append(name, value).ok()?;
    }
    Some(fields)
}

/// The fields of a connection (RFC 9110, 7.6.1).
const OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The first byte. It also is the version of the format.
const RESPONSE: u8 = 1;
const NOT_KEPT: u8 = 2;
