//! A server for HTTP/1.1 and HTTP/2.
//!
//! # What it does
//!
//! [`serve`] listens on an address and passes every request to a service, until the process receives SIGINT or SIGTERM. Then it lets the
//! requests in flight finish. [`Server`] does the same, with settings.
//!
//! # Example
//!
//! ```no_run
//! # async fn run() -> Result<(), tower_chain::serve::ServeError> {
//! use tower_chain::Chain;
//!
//! let api = Chain::new().get(async || "hello").build();
//! tower_chain::serve("127.0.0.1:3000", api).await?;
//! # Ok(()) }
//! ```
//!
//! # Example, tuned
//!
//! ```no_run
//! # async fn run() -> Result<(), tower_chain::serve::ServeError> {
//! use std::time::Duration;
//! use tower_chain::serve::Listener;
//! use tower_chain::{Chain, Server};
//!
//! let api = Chain::new().get(async || "hello").build();
//! Server::bind("0.0.0.0:3000").await?
//!     .listen(Listener::bind_unix("/run/api.sock")?)
//!     .header_read_timeout(Duration::from_secs(5))
//!     .idle_timeout(Duration::from_secs(60))
//!     .max_connections(2_000)
//!     .drain_deadline(Duration::from_secs(20))
//!     .serve(api)
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! # What the client sees
//!
//! | cause | answer |
//! | --- | --- |
//! | the service panics | 500 `application/problem+json`; the connection stays open |
//! | a response has a wrong `Content-Length` | the right one, and `Connection: close` on HTTP/1. A body whose length is unknown before is broken off when it is longer or shorter than declared. The server logs it at level `ERROR` |
//! | a response has a `Transfer-Encoding`, such as one that a handler passes on from another server | the field is removed: the server adds its own where it codes the body. A successful response to CONNECT has no length either ([RFC 9110, 9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6)) |
//! | the body of a response panics | the response breaks off; on HTTP/2 the other streams continue |
//! | a handler doesn't read the body of the request | the answer; the rest of the body is read and dropped, and the connection stays open. With `Connection: close` if the body is longer than [`Server::unread_body_limit`], took longer than [`Server::body_read_timeout`], or waits for a `100 Continue`. On HTTP/2 `RST_STREAM` with `NO_ERROR` after the answer ([RFC 9113, 8.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.1)) |
//! | a body that is not valid: the size of a chunk, an extension or trailers that are too long | reading it fails: 400 `application/problem+json` if an extractor reads it, with `Connection: close` |
//! | an `Expect` other than `100-continue`, of a request with a body | 417 `application/problem+json`, with `Connection: close` ([RFC 9110, 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)) |
//! | a response of unknown length on HTTP/1.0 | the response, with `Connection: close`: the end of the connection is its end |
//! | a head that is not valid HTTP | 400, empty; the connection ends |
//! | a head larger than [`Server::max_header_size`] | 431, empty; the connection ends |
//! | more than 100 header fields; on HTTP/2 cookies don't count | 431; on HTTP/1 it is empty and the connection ends, on HTTP/2 it is `application/problem+json` |
//! | trailers with more than 100 fields, on HTTP/1 also if they are too long, or on HTTP/2 with a value that begins or ends with a blank | reading the body fails: 400 `application/problem+json` if an extractor reads it |
//! | heads of HTTP/2 requests in flight that exceed [`Server::max_buffered_per_connection`], or a quarter of [`Server::max_buffered_per_network`] or [`Server::max_buffered`] | 503 `application/problem+json` |
//! | more calls of a detached handler than [`Detached::max_running`] | 503 `application/problem+json`, with `Retry-After` |
//! | a head, or on HTTP/2 another frame than `DATA`, that takes longer than [`Server::header_read_timeout`] | the connection ends |
//! | more connections of one client than [`Server::max_connections_per_client`] | the connection ends |
//! | no request for [`Server::idle_timeout`] | the connection ends |
//! | a body of which nothing arrives for [`Server::body_read_timeout`], that is slower than [`Server::min_body_rate`] or takes longer than [`Server::body_timeout`] | 408 `application/problem+json`, with `Connection: close`, if an extractor reads it. For a handler that reads it, reading fails with [`TimedOut`](std::io::ErrorKind::TimedOut) |
//! | a response of which nothing is read for [`Server::write_timeout`], that is read more slowly than [`Server::min_response_rate`] or for longer than [`Server::response_timeout`] | the connection ends; on HTTP/2 only the stream |
//! | a `Transfer-Encoding` other than `chunked`, such as `gzip, chunked` | 501 `application/problem+json`, and `Connection: close` ([RFC 9112, 6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1)) |
//! | a handler returns a status below 200, but for 101 to a request with `Upgrade` on HTTP/1.1 | 500 `application/problem+json`: hyper can't send interim responses. The server logs it at level `ERROR` |
//! | a target in a form that its method doesn't permit: `GET a:80`, `GET *`, `CONNECT /` | 400 `application/problem+json` ([RFC 9112, 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2), [RFC 9113, 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)) |
//! | a `Host` or `:authority` that is missing (but on HTTP/1.0), repeated or not valid; a `Host` other than the `:authority` | 400 `application/problem+json` ([RFC 9112, 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2), [RFC 9113, 8.3.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1)) |
//! | on HTTP/2 a header field that begins or ends with a blank | 400 `application/problem+json` ([RFC 9113, 8.2.1](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.1)) |
//! | a connection reaches [`Server::max_requests_per_connection`] or [`Server::max_connection_age`] | it ends as when the server stops |
//! | the client closes its sending side after a request | on HTTP/1 the response, unless [`Server::half_close`] is off; on HTTP/2 the connection ends |
//! | the server stops | on HTTP/1 responses have `Connection: close`, on HTTP/2 the server sends `GOAWAY`; requests in flight finish |
//!
//! # What it provides
//!
//! [`PeerAddr`](crate::extract::PeerAddr) in the extensions of every request that arrived by TCP, and
//! [`ClientCertificate`](crate::extract::ClientCertificate) if the client presented a valid one: see `Tls::client_certificates`.
//!
//! # What the log shows
//!
//! Each request runs in a span of `tracing` at level `ERROR` with the method, the matched path and an id: its `X-Request-Id`, or a number. The
//! line of a failed request has these fields, and so have the lines that the request's own code logs:
//!
//! ```text
//! ERROR request{http.request.method=GET id=17 http.route=/users/{id}}: tower_chain::error: request failed status=500 detail= source=..
//! ```
//!
//! Without a subscriber, the causes of errors are lost. The server then reports that on stderr, once. This line at the start of `main` prints
//! them: `tracing_subscriber::fmt().with_writer(std::io::stderr).init();`
//!
//! # Where to put it
//!
//! At the end of `main`. Behind a proxy, the address of the client is in the PROXY protocol ([`Listener::proxy_protocol`]) or in the header
//! fields that the proxy sets. Without a proxy, use `Listener::tls` (feature `tls`). With the feature `systemd`, the server takes over the sockets of
//! a service manager (`Server::inherited`), and reports `READY=1` and `STOPPING=1` to it (`Type=notify`).
//!
//! # Sources
//!
//! RFC 9110, 9112 and 9113, by [hyper](https://docs.rs/hyper). RFC 9112, 9.6 for the end of connections.

mod accept;
mod activity;
mod background;
mod body;
mod budget;
mod clients;
mod connection;
mod detach;
mod detached;
mod draining;
mod error;
mod fields;
mod frames;
mod host;
mod http_version;
#[cfg(all(unix, feature = "systemd"))]
mod inherited;
mod io;
mod length;
mod limits;
mod listener;
mod log;
mod notify;
mod open_files;
mod pace;
mod peer;
mod per_core;
mod phase;
mod proxy;
mod request;
mod seldom;
mod servable;
mod server;
mod signal;
mod state;
mod streams;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod unix_socket;

use tokio::net::ToSocketAddrs;

pub use detach::{Detach, DetachedService};
pub use detached::{Detached, detached};
pub use draining::Draining;
pub use error::ServeError;
pub use listener::Listener;
pub use servable::Servable;
pub use server::Server;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use tls::{ClientRoots, Tls, TlsError};

/// Serves HTTP/1.1 and HTTP/2 on an address until the process receives SIGINT or SIGTERM, then lets the requests in flight finish.
///
/// The service is a [`ChainService`](crate::ChainService), or any other tower service over the same types. [`Server`] has the settings.
///
/// # Errors
///
/// [`ServeError::Bind`] if the address can't be bound.
///
/// # Example
///
/// ```no_run
/// # async fn run() -> Result<(), tower_chain::serve::ServeError> {
/// use tower_chain::Chain;
///
/// let api = Chain::new().get(async || "hello").build();
/// tower_chain::serve("127.0.0.1:3000", api).await?;
/// # Ok(()) }
/// ```
pub async fn serve<S>(addr: impl ToSocketAddrs, service: S) -> Result<(), ServeError>
where
    S: Servable,
{
    Server::bind(addr).await?.serve(service).await
}
