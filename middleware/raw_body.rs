//! The whole body of a request, for a step that verifies it.

use axum_core::extract::DefaultBodyLimit;
use bytes::Bytes;

use crate::extract::{MaxBody, read_body};
use crate::{Error, Request};

/// Reads a body up to `max`, which then also applies to the steps after this one, or up to the [limit](MaxBody) of the request. The caller puts
/// the body back.
///
/// A request without a limit is read up to the default one: a client could otherwise fill the memory before it is known.
pub(crate) async fn read_raw_body(req: &mut Request, max: Option<u64>) -> Result<Bytes, Error> {
    let outer = MaxBody::of(req.extensions());
    if let Some(max) = max {
        req.extensions_mut().insert(MaxBody::bytes(max));
        DefaultBodyLimit::max(usize::try_from(max).unwrap_or(usize::MAX)).apply(req);
        return read_body(req).await;
    }
    if outer.limit().is_some() {
        return read_body(req).await;
    }
    req.extensions_mut().insert(MaxBody::default());
    let body = read_body(req).await;
    req.extensions_mut().insert(outer);
    body
}
