//! Requests that a client may repeat: each runs once, and repetitions get its response.
//!
//! # What it does
//!
//! A client that gets no response does not know whether its request was processed. It sends the request again with the same `Idempotency-Key`, and
//! [`Idempotency`] ensures that the request runs only once:
//!
//! - The first request with a key reserves the key and runs. Its response is stored, with its status, its header fields, its body and its trailers.
//! - A repetition gets the stored response, byte for byte, with `Idempotency-Replayed: true`.
//! - While the first request runs, a repetition is refused with 409 and `Retry-After`.
//! - Another request under the same key is refused with 422.
//! - If the first request did not finish, its outcome is *unknown*: its client disconnected, a handler panicked, or the server stopped. A
//!   repetition is refused with 409, and does not run. No key stays locked: after its [`age`](Idempotency::age) it can be used again.
//!
//! A key belongs to one principal, one method and one path. Two users may use the same key, and never get each other's responses. The step
//! compiles only after the step that authenticates:
//!
//! ```compile_fail,E0277
//! # use tower_chain::Chain;
//! # use tower_chain::middleware::idempotency::Idempotency;
//! # #[derive(Clone)] struct User { id: u64 }
//! // No step before this one provides the `User`.
//! let api = Chain::new()
//!     .use_(Idempotency::per(|user: &User| user.id.to_string()))
//!     .post(async || "paid");
//! ```
//!
//! The path is that of the URI that the client sent ([`ClientUri`](crate::extract::ClientUri)), without the query. The query, `Content-Type`,
//! `Content-Encoding` and the body are the fingerprint of the request: with another query under the same key, a request is refused, and does not run.
//! Other header fields don't count.
//!
//! # Example
//!
//! ```
//! use tower_chain::middleware::idempotency::Idempotency;
//! use tower_chain::{Chain, Error};
//!
//! #[derive(Clone)]
//! struct User {
//!     id: u64,
//! }
//!
//! async fn user() -> Result<User, Error> {
//!     // From a session, say.
//!     Ok(User { id: 7 })
//! }
//!
//! let api = Chain::new()
//!     .guard(user)
//!     .use_(Idempotency::per(|user: &User| user.id.to_string()))
//!     .at("/payments", |c| c.post(async || "paid"));
//! # let _ = api.build();
//! ```
//!
//! After `Authenticate`, write `Idempotency::per(|principal: &Principal| principal.name().to_owned())`, and after `Jwt`
//! `Idempotency::per(|claims: &Claims<Member>| claims.sub.clone())`. If tokens of several issuers are accepted, the name must also have the
//! issuer. If one name is another user on another host, it must also have the host.
//!
//! # Example, tuned
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_chain::middleware::idempotency::{Idempotency, MemoryIdempotency, Retention};
//! # #[cfg(feature = "serve")]
//! use tower_chain::serve::Detach;
//! use tower_chain::{Chain, Error};
//!
//! # #[derive(Clone)] struct User { id: u64 }
//! # async fn user() -> Result<User, Error> { Ok(User { id: 7 }) }
//! # #[cfg(not(feature = "serve"))]
//! # fn main() {}
//! # #[cfg(feature = "serve")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let once = Idempotency::per(|user: &User| user.id.to_string())
//!     .required()
//!     .age(Duration::from_secs(7 * 24 * 3600))?
//!     .max_response_body(64 * 1024)
//!     // A 503 of this application is sent before anything was done.
//!     .retention(|status| match status.as_u16() {
//!         503 => Retention::Release,
//!         _ => Retention::of(status),
//!     })
//!     .store(MemoryIdempotency::new().max_records(20_000)?);
//!
//! let api = Chain::new()
//!     .guard(user)
//!     // A request runs to completion even if its client disconnects, and its response is stored.
//!     .use_(Detach::new())
//!     .use_(once)
//!     .at("/payments", |c| c.post(async || "paid"));
//! # let _ = api.build();
//! # Ok(())
//! # }
//! ```
//!
//! For several servers, use `RedisIdempotency` (feature `redis`), or your own [`IdempotencyStore`].
//!
//! # What the client sees
//!
//! The key is a String of RFC 9651, in quotes: `Idempotency-Key: "8e03978e-40d5-43e8-bc93-6894a57f9324"`. Clients such as those of Stripe send it without
//! quotes. This is accepted as well, and is the same key, if it is visible ASCII without quotes, commas, semicolons and backslashes
//! ([`strings_only`](Idempotency::strings_only) refuses it).
//!
//! Each refusal is a problem+json. Its `type` is the address of the draft with the name in the second column as its fragment.
//!
//! | cause | type | status | header, member |
//! | --- | --- | --- | --- |
//! | no key, where one is [required](Idempotency::required) | `missing-key` | 400 | |
//! | the key is malformed, too short or too long, or is there twice | `malformed-key` | 400 | |
//! | the key was used with another query or body | `other-request` | 422 | |
//! | the first request is still running | `in-flight` | 409 | `Retry-After: 1` |
//! | the first request did not finish | `unknown-outcome` | 409 | |
//! | the first request is finished, and its response was too large to be kept | `response-not-kept` | 409 | `response-status` |
//! | the principal has too many keys | `too-many-keys` | 429 | `Retry-After` |
//! | the store is full | `store-full` | 503 | `Retry-After` |
//! | the store is unreachable | `store-unreachable` | 503 | `Retry-After: 1` |
//! | the body is too large | | 413 | `limit` |
//!
//! Which responses are stored is decided by their status. [`retention`](Idempotency::retention) changes this rule:
//!
//! | status | a repetition | reason |
//! | --- | --- | --- |
//! | 2xx, 3xx, and 4xx except those below | gets the response | |
//! | 401, 403, 407, 409, 421, 423, 425, 429 | runs | the request was refused because of circumstances that can change; a handler that answers so must not have had an effect |
//! | 408, 5xx | is refused: unknown outcome | the handler may have failed halfway |
//!
//! A limiter or `Shed` that is after this step answers 503 as if the handler had failed. Put it before this step.
//!
//! Fields of the connection (RFC 9110, 7.6.1) are not stored. `Set-Cookie` is: it reaches only the same principal. With
//! [`for_anyone`](Idempotency::for_anyone) it is not, nor are the fields of [`omit_header`](Idempotency::omit_header). A `Date` that a handler has set is
//! repeated. Fields that steps before this one add are those of the repetition.
//!
//! # Responses that are streams
//!
//! A response whose length is known is stored before its first byte is sent. Another one is passed on as it is made, and stored before its last part is
//! sent. If it is cut off, by the handler or by the client, nothing of it is stored, and the outcome is unknown. If it is longer than
//! [`max_response_body`](Idempotency::max_response_body), it is sent, and only its status is kept.
//!
//! # Clients that disconnect
//!
//! A server drops a request when its client disconnects, and its outcome is then unknown. With `Detach` (feature `serve`) before this step, the request runs to
//! completion instead, and its response is stored. To detach the handler alone is not enough: its response would be lost.
//!
//! # Memory
//!
//! The body of a request with a key is read into memory, up to [`max_request_body`](Idempotency::max_request_body), and passed on. The store is bounded
//! by the [keys of a principal](Idempotency::max_keys_per_principal), by the size of a response, and by its own limits.
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! After the step that authenticates, after limits of requests, and after `BodyLimit` and layers that decompress. Before the steps that read the body, such
//! as validation: a request that they refuse has used its key. As a tower layer ([`into_layer`](crate::chain::Dependent::into_layer)) it takes the
//! principal from the extensions of the request, and responds with 500 if there is none. It needs a runtime of tokio.
//!
//! Refusals are logged with their reason and path, at `DEBUG`, or at `WARN` for an unknown outcome and too many keys. Neither keys nor principals are logged,
//! and stores receive digests of them. Responses are stored as they are: protect the store as you protect the data in them.
//!
//! # Sources
//!
//! [draft-ietf-httpapi-idempotency-key-header-07](https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header-07),
//! [RFC 9651, 3.3.3](https://www.rfc-editor.org/rfc/rfc9651#section-3.3.3) (Strings),
//! [RFC 9110, 9.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2) (idempotent methods).

mod carried;
mod claim;
mod config;
#[cfg(feature = "test-util")]
mod conformance;
mod encoding;
mod error;
mod key;
mod memory;
mod recording;
#[cfg(feature = "redis")]
mod redis;
mod refusal;
mod request;
mod response;
mod step;
mod store;
mod subject;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, SET_COOKIE};
use http::{Method, StatusCode};

pub use self::config::Retention;
use self::config::{Settings, time};
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub use self::conformance::check_store;
pub use self::error::IdempotencyError;
pub use self::memory::MemoryIdempotency;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisIdempotency;
pub use self::step::Idempotent;
use self::store::AnyStore;
pub use self::store::{IdempotencyStore, KeyOutcome, KeyReservation, KeyState, KeyUpdate};
pub use self::subject::{Anyone, PerPrincipal};
use crate::Provided;
use crate::chain::Dependent;

/// A step that runs a request with an `Idempotency-Key` once. See the [module](self).
///
/// If one step is used in several chains, each has its own records in memory; [`store`](Self::store) with an [`Arc`] shares them.
pub struct Idempotency<S> {
    subject: S,
    settings: Settings,
    store: Arc<dyn AnyStore>,
}

impl<T: Send + Sync + 'static> Idempotency<PerPrincipal<T>> {
    /// Keys of a principal, which an earlier step provides as `T`. The function returns its name: a text or bytes that no other principal has, and that
    /// is the same for all requests of this principal.
    ///
    /// A request whose principal has an empty name is answered with 500. To accept requests without a principal as well, use
    /// [`for_anyone`](Self::for_anyone) on another path.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::idempotency::Idempotency;
    /// use tower_chain::Chain;
    ///
    /// #[derive(Clone)]
    /// struct User {
    ///     id: u64,
    /// }
    ///
    /// let api = Chain::new()
    ///     .provide(User { id: 7 })
    ///     .use_(Idempotency::per(|user: &User| user.id.to_string()))
    ///     .post(async || "paid");
    /// # let _ = api.build();
    /// ```
    pub fn per<K: Into<Vec<u8>>>(name: impl Fn(&T) -> K + Send + Sync + 'static) -> Self {
        let subject = PerPrincipal(Arc::new(move |principal: &T| name(principal).into()));
        Self::of(subject, Settings::new(1..=255, Vec::new()))
    }
}

impl Idempotency<Anyone> {
    /// Keys that are not bound to a principal, for an API without authentication.
    ///
    /// **Every client that sends the same request under the same key gets the stored response**, whoever sent the first one. The key alone protects the
    /// response. So keys have at least 16 bytes by default, and `Set-Cookie` is not stored. Clients must generate keys at random. Put a limit of
    /// requests per client before this step: the number of keys of one client is not bounded.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::idempotency::Idempotency;
    /// use tower_chain::Chain;
    ///
    /// let api = Chain::new().use_(Idempotency::for_anyone()).post(async || "subscribed");
    /// # let _ = api.build();
    /// ```
    pub fn for_anyone() -> Self {
        Self::of(Anyone, Settings::new(16..=255, vec![SET_COOKIE]))
    }
}

impl<S> Idempotency<S> {
    fn of(subject: S, settings: Settings) -> Self {
        Self { subject, settings, store: Arc::new(MemoryIdempotency::new()) }
    }

    /// Refuses requests without a key with 400. Defaults to running them without protection.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.settings.required = true;
        self
    }

    /// Sets the methods of the requests that may have a key. Defaults to POST and PATCH. Requests with other methods run, and their key is ignored:
    /// PUT, DELETE and the safe methods are idempotent by definition.
    ///
    /// # Errors
    ///
    /// If no method is named.
    pub fn methods(
        mut self,
        methods: impl IntoIterator<Item = Method>,
    ) -> Result<Self, IdempotencyError> {
        self.settings.methods = methods.into_iter().collect();
        match self.settings.methods.is_empty() {
            true => Err(IdempotencyError::NoMethods),
            false => Ok(self),
        }
    }

    /// Sets how many bytes a key may have. Defaults to 1 to 255, and to 16 to 255 with [`for_anyone`](Self::for_anyone).
    ///
    /// # Errors
    ///
    /// If the range is empty, starts at 0 or ends above 255.
    pub fn key_length(mut self, bytes: RangeInclusive<usize>) -> Result<Self, IdempotencyError> {
        if bytes.is_empty() || *bytes.start() == 0 || *bytes.end() > 255 {
            return Err(IdempotencyError::KeyLength);
        }
        self.settings.lengths = bytes;
        Ok(self)
    }

    /// Refuses keys without quotes, which are not Strings of RFC 9651, with 400. Defaults to accepting them.
    #[must_use]
    pub fn strings_only(mut self) -> Self {
        self.settings.strings_only = true;
        self
    }

    /// Sets how many bytes the body of a request with a key may have. Defaults to 1 MiB. A lower limit of the request, as of `BodyLimit`, applies as well.
    /// A longer body is refused with 413, and its key is not used.
    #[must_use]
    pub fn max_request_body(mut self, bytes: u64) -> Self {
        self.settings.max_request = bytes;
        self
    }

    /// Sets how many bytes the body of a response may have to be stored. Defaults to 256 KiB. A longer one is sent, and repetitions are refused with 409
    /// (`response-not-kept`).
    #[must_use]
    pub fn max_response_body(mut self, bytes: u64) -> Self {
        self.settings.max_response = bytes;
        self
    }

    /// Sets how long a key is kept after its request. Defaults to 24 hours. After that, a request with the same key runs again.
    ///
    /// # Errors
    ///
    /// If it is shorter than a millisecond or than the [`lease`](Self::lease) that was set, or longer than a year.
    pub fn age(mut self, age: Duration) -> Result<Self, IdempotencyError> {
        self.settings.age = time("age", age)?;
        self.settings.check_times()?;
        Ok(self)
    }

    /// Sets how long a running request has its key without a sign of its server. Defaults to 10 seconds, or to the age if that is shorter.
    ///
    /// The lease is renewed three times in this time while the request runs. If the server stops, or if the request runs for longer than the
    /// [`age`](Self::age), its outcome is unknown when the lease ends.
    ///
    /// # Errors
    ///
    /// If it is shorter than a millisecond, or longer than the [`age`](Self::age).
    pub fn lease(mut self, lease: Duration) -> Result<Self, IdempotencyError> {
        self.settings.lease = Some(time("lease", lease)?);
        self.settings.check_times()?;
        Ok(self)
    }

    /// Sets how long a request waits for the store. Defaults to one second.
    ///
    /// A request that has not run is refused after that. One that has run is answered, and its response is stored in the background.
    ///
    /// # Errors
    ///
    /// If it is shorter than a millisecond or longer than a year.
    pub fn store_timeout(mut self, timeout: Duration) -> Result<Self, IdempotencyError> {
        self.settings.deadline = time("store_timeout", timeout)?;
        Ok(self)
    }

    /// Sets how many keys a principal may have at once. Defaults to 10,000. Further keys are refused with 429, until one of its keys expires.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_keys_per_principal(mut self, keys: u32) -> Result<Self, IdempotencyError> {
        if keys == 0 {
            return Err(IdempotencyError::Zero { setting: "max_keys_per_principal" });
        }
        self.settings.max_keys = keys;
        Ok(self)
    }

    /// Sets which responses are stored, by status. Defaults to [`Retention::of`], which the [module](self) lists.
    #[must_use]
    pub fn retention(
        mut self,
        rule: impl Fn(StatusCode) -> Retention + Send + Sync + 'static,
    ) -> Self {
        self.settings.retention = Arc::new(rule);
        self
    }

    /// Leaves a header field out of the stored response, so repetitions don't get it. Defaults to none; with [`for_anyone`](Self::for_anyone), to
    /// `Set-Cookie`.
    #[must_use]
    pub fn omit_header(mut self, name: HeaderName) -> Self {
        self.settings.omitted.push(name);
        self
    }

    /// Runs requests without protection while the store is unreachable. A repetition may then have its effect twice. Defaults to refusing requests with a
    /// key with 503.
    #[must_use]
    pub fn run_without_store(mut self) -> Self {
        self.settings.runs_without_store = true;
        self
    }

    /// Sets the store. Defaults to a [`MemoryIdempotency`].
    #[must_use]
    pub fn store(mut self, store: impl IdempotencyStore) -> Self {
        self.store = Arc::new(store);
        self
    }

    fn into_step(self) -> Idempotent<S> {
        Idempotent { subject: self.subject, settings: Arc::new(self.settings), store: self.store }
    }
}

impl<T: Clone + Send + Sync + 'static> Dependent for Idempotency<PerPrincipal<T>> {
    type Needs = (Provided<T>,);
    type Middleware = Idempotent<PerPrincipal<T>>;

    fn into_middleware(self) -> Self::Middleware {
        self.into_step()
    }
}

impl Dependent for Idempotency<Anyone> {
    type Needs = ();
    type Middleware = Idempotent<Anyone>;

    fn into_middleware(self) -> Self::Middleware {
        self.into_step()
    }
}

impl<S> fmt::Debug for Idempotency<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency").field("settings", &self.settings).finish_non_exhaustive()
    }
}
