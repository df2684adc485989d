//! What each step of one's own chain costs: time, allocations, and its share of the whole.
//!
//! # What it does
//!
//! [`Overhead`] sends a request through a built chain many times, in place and without a socket, and takes the time at each step. What is
//! told of a step is its own part: without the steps inside of it, and without what taking the time took itself. What is left belongs to the
//! chain: finding the path, and the boxes between the steps.
//!
//! ```text
//! POST /users answers 200, median of 10000 requests
//!
//! step                                time   share  allocations
//! /                               0.242 µs   7.4 %            2
//! ├─ always log                   0.055 µs   1.7 %            0
//! ├─ always SecurityHeaders       0.585 µs  17.9 %            2
//! └─ /users
//!    ├─ use RateLimit             0.455 µs  14.0 %            1
//!    ├─ use Jwt                   0.785 µs  24.1 %            4
//!    └─ POST create               1.138 µs  34.9 %            8
//! the whole                       3.262 µs 100.0 %           17
//! without probes                  3.180 µs
//! ```
//!
//! This is what the example `overhead` prints: `cargo run --release --example overhead --features full,overhead`. The last line is measured from outside,
//! without any probe: it says how far the rest is to be trusted.
//!
//! Steps bear the names that they have in the tree of the chain (`to_string()` of a [`ChainService`]). Those that the request doesn't come
//! through are left out. With the feature on, a step that isn't measured costs one comparison more; without it, nothing.
//!
//! Build with `--release`: what a debug build takes says nothing about the other.
//!
//! # Example
//!
//! ```
//! use tower_chain::{Chain, Next, Overhead, Response};
//!
//! async fn log(next: Next<'_>) -> Response {
//!     next.run().await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), http::Error> {
//! let service = Chain::new().always(log).at("/hello", |c| c.get(async || "hello")).build();
//! let request = http::Request::get("/hello").body(String::new())?;
//! let report = Overhead::of(&service).request(move || request.clone()).run().await;
//! println!("{report}");
//! # assert_eq!(report.steps()[2].path(), "/hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Example: allocations, and files
//!
//! Allocations are counted by the global allocator, which is the program's to choose. Any that counts will do; this one is from the crate
//! `stats_alloc`.
//!
//! ```
//! use std::alloc::System;
//!
//! use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
//! use tower_chain::{Chain, Overhead};
//!
//! #[global_allocator]
//! static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let service = Chain::new().get(async || "hello").build();
//! let report = Overhead::of(&service)
//!     .allocations(|| ALLOCATOR.stats().allocations as u64)
//!     .run()
//!     .await;
//! assert!(report.allocations().is_some());
//! # let dir = std::env::temp_dir().join("tower-chain-overhead-doc");
//! # std::fs::create_dir_all(&dir)?;
//! # std::env::set_current_dir(&dir)?;
//! std::fs::write("overhead.svg", report.to_svg())?;
//! std::fs::write("overhead.json", report.to_json())?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is counted where
//!
//! | what | goes to |
//! | --- | --- |
//! | a step's own work before and after the steps inside of it | the step |
//! | its waiting: a timer, a database, a lock | the innermost step that waits; [`waited`](StepCost::waited) says how much of its time it is |
//! | extracting the arguments of a handler, and making a response of its result | the handler |
//! | a tower layer, with what it takes to lead it into the chain | its step |
//! | a chain or router that stands inside as a service | the step of the service, whole |
//! | matching, the box of each path and of each eight steps, hooks, 404 and 405 | the chain: `/` |
//! | making the request, reading the body of the response, dropping it | nobody |
//!
//! Work that a step hands to another task or thread is seen as waiting.
//!
//! # Where to put it
//!
//! In a program or a test of its own, beside the function that builds the chain. The request should go through each time: of a limiter that
//! refuses the hundredth request, the report is one of refusals, and says so in its first line.

use std::fmt;
use std::time::{Duration, Instant};

use axum_core::BoxError;
use bytes::Bytes;
use http_body::Body as HttpBody;

use self::report::Samples;
pub use self::report::{OverheadReport, StepCost};
use crate::probe::record::{Recorded, Recording, reading};
use crate::{Body, ChainService, Request};

mod report;
mod svg;
#[cfg(test)]
mod tests;

/// Measures what each step of a chain costs. See the [module](self).
#[must_use = "nothing is measured until it runs"]
pub struct Overhead {
    service: ChainService,
    request: Box<dyn FnMut() -> Request + Send>,
    runs: usize,
    counter: Option<fn() -> u64>,
}

impl Overhead {
    /// Measures this chain.
    pub fn of(service: &ChainService) -> Self {
        Self {
            service: service.clone(),
            request: Box::new(|| Request::new(Body::empty())),
            runs: 1000,
            counter: None,
        }
    }

    /// Sets what makes the requests. They should be alike, and go through. Defaults to `GET /` without a body.
    pub fn request<B>(
        mut self,
        mut request: impl FnMut() -> http::Request<B> + Send + 'static,
    ) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.request = Box::new(move || request().map(Body::new));
        self
    }

    /// Sets how many requests are measured, at least one. A tenth of them is sent before, and as many beside, without probes. Defaults to 1000.
    pub fn runs(mut self, requests: usize) -> Self {
        self.runs = requests.max(1);
        self
    }

    /// Says how many allocations the program has made so far, as its allocator counts them. Defaults to none: then there is no such column.
    ///
    /// If other threads allocate meanwhile and the allocator counts them in, what is told is the usual count, not the exact one.
    pub fn allocations(mut self, counter: fn() -> u64) -> Self {
        self.counter = Some(counter);
        self
    }

    /// Sends the requests, one after the other, and says what they cost.
    ///
    /// It runs in the runtime in which it is awaited. One with a single thread disturbs least.
    pub async fn run(mut self) -> OverheadReport {
        let service = self.service.clone();
        let routes = service.table();
        let reading = report::median(&mut reading(routes, self.counter).await);
        let asked = (self.request)();
        let asked = format!("{} {}", asked.method(), asked.uri().path());
        let mut samples = Samples::default();
        let mut recording = Recording::new(routes, self.counter);
        let unmeasured = self.runs.div_ceil(10);
        for run in 0..unmeasured + self.runs {
            let unprobed = self.plain().await;
            let req = (self.request)();
            let answer = async { service.handle(req).await };
            let (response, back) = Recorded::new(recording, answer).await;
            recording = back.unwrap_or_else(|| Recording::new(routes, self.counter));
            if run >= unmeasured {
                samples.add(response.status(), unprobed, &recording);
            }
            recording.clear();
        }
        OverheadReport::new(asked, routes.tree(), samples, reading, self.counter.is_some())
    }

    async fn plain(&mut self) -> Duration {
        let req = (self.request)();
        let start = Instant::now();
        let response = self.service.handle(req).await;
        let time = start.elapsed();
        drop(response);
        time
    }
}

impl fmt::Debug for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overhead").field("runs", &self.runs).finish_non_exhaustive()
    }
}
