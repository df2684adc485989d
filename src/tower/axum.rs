//! What only axum's own types carry: the match of its router.

use ::axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use futures_util::FutureExt;
use http::Extensions;
use std::mem;

use crate::Request;
use crate::route::routes::Matched;

/// The pattern that axum's router matched, if it has matched one.
pub(super) fn matched_path(extensions: &Extensions) -> Option<MatchedPath> {
    extensions.get().cloned()
}

/// Makes the pattern and the parameters that axum's router matched visible to the extractors of this crate.
pub(super) fn show_match(pattern: &str, req: &mut Request) {
    let (mut parts, body) = mem::take(req).into_parts();
    // The extractor only reads the extensions, so it is ready at once. It refuses values that are not UTF-8.
    let params = RawPathParams::from_request_parts(&mut parts, &()).now_or_never();
    *req = Request::from_parts(parts, body);
    let pairs = params.iter().flatten().flat_map(RawPathParams::iter);
    req.extensions_mut().insert(Matched::of_router(pattern, pairs));
}
