//! Overload: refuses what the server can't finish in time.
//!
//! # What it does
//!
//! [`Shed`] limits how many requests are in flight at once, and finds the limit itself. It measures how long requests take. While the server is
//! not busy, that is the latency of the work alone; when more requests are in flight than it can work on, they wait for each other, and the
//! latency rises. The limit follows the ratio of the two. Requests beyond the limit are refused at once with 503, which costs little, and
//! those that are admitted are answered in time. Without it, every request waits for all the ones before it, and clients give up on
//! responses that the server has worked for.
//!
//! It counts a request until its response begins. It needs no rate and no number of threads, and adapts when the server becomes slower or faster.
//!
//! # Example
//!
//! ```
//! use tower_chain::Chain;
//! use tower_chain::middleware::shed::Shed;
//!
//! let chain = Chain::new().use_(Shed::new()).get(async || "hello");
//! # let _ = chain.build();
//! ```
//!
//! # Example: priorities, a limit for each route, and deadlines
//!
//! ```
//! use http::HeaderName;
//! use tower_chain::middleware::shed::{Deadline, Priority, Shed};
//! use tower_chain::{Chain, Error, StatusCode};
//!
//! async fn search(deadline: Deadline) -> Result<&'static str, Error> {
//!     match deadline.remaining() {
//!         Some(left) if left.as_millis() < 20 => {
//!             Err(Error::new(StatusCode::GATEWAY_TIMEOUT, "There is no time for this search"))
//!         }
//!         _ => Ok("found"), // .. pass the deadline on to the database ..
//!     }
//! }
//!
//! let shed = Shed::new()
//!     .per_route()
//!     .priority_by(|req| match req.headers().contains_key("x-batch") {
//!         true => Priority::Low,
//!         false => Priority::Normal,
//!     })
//!     .timeout_header(HeaderName::from_static("x-timeout-ms"));
//! let chain = Chain::new().use_(shed).at("/search", |c| c.get(search));
//! # let _ = chain.build();
//! ```
//!
//! # What the client sees
//!
//! | cause | status | fields | body |
//! | --- | --- | --- | --- |
//! | more requests in flight than the limit for this priority | 503 | `Retry-After`, `Cache-Control: no-store` | problem+json of type `temporary-reduced-capacity` |
//! | the time that the client gives has passed | 504 | `Cache-Control: no-store` | problem+json |
//! | a field with the client's timeout that can't be read, or is there twice | 400 | | problem+json with `header` |
//!
//! For gRPC, put [`GrpcStatus`](crate::middleware::grpc_status) before it: the statuses become `UNAVAILABLE`, `DEADLINE_EXCEEDED` and
//! `INVALID_ARGUMENT`.
//!
//! # What it provides
//!
//! [`Deadline`]: until when the client waits, if it says so.
//!
//! # Where to put it
//!
//! After steps that refuse cheaply, such as authentication by a local key or a rate limit, and before the work. It must be around the
//! part that waits (a pool of connections, a processor): only there does the latency show the load. Steps before it, and requests that it
//! refuses, are not measured.
//!
//! A rate limit shares the server fairly among clients; this protects the server as a whole. Use both.
//!
//! # How the limit is found
//!
//! For each class, over windows of 100 milliseconds and at least 10 responses: *limit* = *limit* x min(1, 1.5 x *baseline* / *latency*) + square
//! root of *limit*, where *latency* is the median of the window, and *baseline* is the median while less than half of the limit was in use. The
//! change is smoothed by 0.2 for each window, and the limit does not grow while it is not needed. If the server is always busy, the baseline is measured
//! again every 10 seconds, with half of the limit for two windows. In a steady overload, requests then take about twice their latency without load.
//!
//! Responses with a status of 500 or above and requests that are dropped, as when a client gives up, have no latency that counts: fast failures
//! would look like a fast server, and late ones last as long as the patience of the clients. If more than half of the requests of a window fail
//! after more than the baseline, the limit becomes half of what was in flight.
//!
//! # What it achieves
//!
//! A server that can answer 500 requests a second gets 1,500, from clients that wait for 200 ms. Answered in time, a second: 503 with `Shed`; 476
//! with tower's `LoadShed` and `ConcurrencyLimit` with the right number, 10; 17 with the same layers and 200; 17 with neither. (A simulation:
//! `cargo test --all-features --lib at_three_times -- --nocapture`.)
//!
//! # Sources
//!
//! RFC 9110, 15.6.4 (503) and 10.2.3 (`Retry-After`); [gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)
//! (`grpc-timeout`). The gradient of latencies is that of the concurrency limits of Netflix and Envoy, the measured window with less load that of
//! BBR.

mod deadline;
mod limit;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum_core::response::IntoResponse;
use http::header::{CACHE_CONTROL, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

pub use self::deadline::Deadline;
use self::deadline::Timeout;
use self::limit::{Bounds, Class, Slot};
pub use self::limit::{ClassState, Priority};
use crate::declare::{Answer, Declaration, Kind};
use crate::step::Refusal;
use crate::{Endpoint, Error, Middleware, Next, Request, Response};

/// A step that refuses requests when the server is overloaded. See the [module](self).
#[derive(Clone)]
pub struct Shed {
    bounds: Bounds,
    by: By,
    priority: Option<Arc<dyn Fn(&Request) -> Priority + Send + Sync>>,
    timeout: Timeout,
    retry_after: Duration,
    classes: Arc<Classes>,
}

/// Which limit a request counts for.
#[derive(Clone)]
enum By {
    One,
    Route,
    Function(Arc<dyn Fn(&Request) -> Cow<'static, str> + Send + Sync>),
}

impl Shed {
    /// One limit for all requests, from 4 to 10,000 in flight, of which the first is 32.
    #[allow(clippy::new_without_default, reason = "steps have no default")]
    pub fn new() -> Self {
        Self {
            bounds: Bounds { least: 4, most: 10_000, first: 32 },
            by: By::One,
            priority: None,
            timeout: Timeout::default(),
            retry_after: Duration::from_secs(1),
            classes: Arc::default(),
        }
    }

    /// Sets the bounds of the limit, in requests in flight. Defaults to 4 and 10,000. The limit begins at 32, or at the nearest bound.
    ///
    /// # Errors
    ///
    /// [`ShedError::Bounds`] if the least limit is zero or larger than the largest.
    pub fn limits(mut self, least: usize, most: usize) -> Result<Self, ShedError> {
        if least == 0 || least > most {
            return Err(ShedError::Bounds { least, most });
        }
        self.bounds = Bounds { least, most, first: 32.clamp(least, most) };
        Ok(self)
    }

    /// Finds a limit for each path pattern, such as `/users/{id}`. Defaults to one limit.
    ///
    /// Use it if the routes take very different times, or wait for different things. Requests without a route share one limit.
    #[must_use]
    pub fn per_route(mut self) -> Self {
        self.by = By::Route;
        self
    }

    /// Finds a limit for each class that the function returns, such as `"search"`. Defaults to one limit.
    ///
    /// There are at most 1,000 classes; requests of further ones share one limit. Do not make a class of what the client sends.
    #[must_use]
    pub fn class_by<C>(mut self, class: impl Fn(&Request) -> C + Send + Sync + 'static) -> Self
    where
        C: Into<Cow<'static, str>>,
    {
        self.by = By::Function(Arc::new(move |req| class(req).into()));
        self
    }

    /// Sets the priority of each request. Defaults to [`Priority::Normal`] for all.
    ///
    /// A client must not be able to choose it: take it from the path, or from a value that a step before has verified.
    #[must_use]
    pub fn priority_by(
        mut self,
        priority: impl Fn(&Request) -> Priority + Send + Sync + 'static,
    ) -> Self {
        self.priority = Some(Arc::new(priority));
        self
    }

    /// Reads how long the client waits from a header field, in milliseconds. Defaults to `grpc-timeout` alone, which is always read.
    ///
    /// If both are present, the shorter time applies.
    #[must_use]
    pub fn timeout_header(mut self, name: HeaderName) -> Self {
        self.timeout.header = Some(name);
        self
    }

    /// Sets how long a client is assumed to wait if it does not say so, and at most. Defaults to no deadline.
    ///
    /// # Panics
    ///
    /// If it is zero: every request would be answered with 504.
    #[track_caller]
    #[must_use]
    pub fn longest_timeout(mut self, timeout: Duration) -> Self {
        assert!(
            !timeout.is_zero(),
            "the longest timeout is zero: set a longer time, or leave the setting out"
        );
        self.timeout.longest = Some(timeout);
        self
    }

    /// Sets the value of `Retry-After`, in whole seconds, at least 1. Defaults to 1 second.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// The present state of each class, for metrics. A clone of the step has the same state.
    pub fn states(&self) -> Vec<ClassState> {
        let classes = self.classes.read();
        let mut states: Vec<ClassState> =
            classes.iter().map(|(name, class)| class.state(name)).collect();
        states.sort_by(|a, b| a.class.cmp(&b.class));
        states
    }

    fn class<N: Endpoint>(&self, next: &Next<'_, N, (Deadline,)>) -> Arc<Class> {
        let name = match &self.by {
            By::One => Cow::Borrowed(""),
            By::Route => Cow::Borrowed(next.matched_path().unwrap_or_default()),
            By::Function(class) => class(next),
        };
        self.classes.get(&name, self.bounds)
    }

    /// A place among the requests in flight, or the refusal.
    fn admit<N: Endpoint>(
        &self,
        next: &Next<'_, N, (Deadline,)>,
    ) -> Result<(Slot, Deadline), Response> {
        let now = Instant::now();
        let deadline = self.timeout.deadline(next.headers(), now)?;
        if deadline.remaining().is_some_and(|left| left.is_zero()) {
            let detail = "The client's deadline has passed";
            let error = unstored(Error::new(StatusCode::GATEWAY_TIMEOUT, detail));
            return Err(Refusal::new("Shed", "deadline").mark(error));
        }
        let priority = self.priority.as_ref().map_or_else(Priority::default, |of| of(next));
        match Class::admit(self.class(next), priority, now) {
            Some(slot) => Ok((slot, deadline)),
            None => {
                tracing::debug!(?priority, "request refused, the server is overloaded");
                Err(self.refusal())
            }
        }
    }

    fn refusal(&self) -> Response {
        let error = Error::new(StatusCode::SERVICE_UNAVAILABLE, "The server is overloaded")
            .with_type(OVERLOADED);
        let mut response = unstored(error);
        response.headers_mut().insert(RETRY_AFTER, self.retry_after.as_secs().max(1).into());
        Refusal::new("Shed", "overloaded").mark(response)
    }
}

impl fmt::Debug for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shed").field("classes", &self.states()).finish_non_exhaustive()
    }
}

impl Middleware for Shed {
    type Provides = (Deadline,);

    async fn call<N: Endpoint>(&self, next: Next<'_, N, (Deadline,)>) -> Response {
        let (slot, deadline) = match self.admit(&next) {
            Ok(admitted) => admitted,
            Err(refusal) => return refusal,
        };
        let response = next.run_with(deadline).await;
        slot.finish(!response.status().is_server_error());
        response
    }

    fn declare(&self, to: &mut Declaration) {
        let overloaded =
            Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "The server is overloaded");
        to.kind(Kind::Overload).answers(
            overloaded.with_type(OVERLOADED).header("retry-after").header("cache-control"),
        );
        self.timeout.declare(to);
    }
}

/// The type of the refusal, by the registry of IANA.
const OVERLOADED: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// Settings of [`Shed`] that can't work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShedError {
    /// No request could be admitted.
    #[non_exhaustive]
    Bounds {
        /// The least limit.
        least: usize,
        /// The largest limit.
        most: usize,
    },
}

impl fmt::Display for ShedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bounds { least, most } => write!(
                f,
                "a limit from {least} to {most} is not possible: write `limits(least, most)` with 1 <= least <= most"
            ),
        }
    }
}

impl std::error::Error for ShedError {}

/// The classes by name.
#[derive(Default)]
struct Classes(RwLock<HashMap<Box<str>, Arc<Class>>>);

impl Classes {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Box<str>, Arc<Class>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, name: &str, bounds: Bounds) -> Arc<Class> {
        if let Some(class) = self.read().get(name) {
            return class.clone();
        }
        let mut classes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = if classes.len() < MOST_CLASSES { name } else { OTHER_CLASSES };
        classes.entry(name.into()).or_insert_with(|| Arc::new(Class::new(bounds))).clone()
    }
}

fn unstored(error: Error) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const MOST_CLASSES: usize = 1_000;
const OTHER_CLASSES: &str = "(other)";
