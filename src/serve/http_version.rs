//! Which HTTP a connection speaks.

/// Which HTTP a connection speaks, from its first request to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1: each request has its own version.
    Http1,
    Http2,
}
