//! What each step of a chain costs: time, allocations, and its share of the total.
//!
//! # What it does
//!
//! [`Overhead`] sends a request through a built chain many times, in process and without a socket, and measures the time of each step. The figure of a
//! step is its own part: without the steps inside it, and without the cost of the measurement. The rest belongs to the chain: matching the
//! path, and the boxes between the steps.
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
//! total                           3.262 µs 100.0 %           17
//! without probes                  3.180 µs
//! ```
//!
//! The example `overhead` prints this: `cargo run --release --example overhead --features full,overhead`. The last line is measured from outside,
//! without probes. Compare it with the total to see how exact the measurement is.
//!
//! Steps have the same names as in the tree of the chain (`to_string()` of a [`ChainService`]). Steps that the request doesn't reach are left
//! out. With the feature enabled, a step that isn't measured costs one comparison more.
//!
//! Build with `--release`: the figures of a debug build are not comparable.
//!
//! # Example
//!
//! ```
//! use tower_chain::overhead::Overhead;
//! use tower_chain::{Chain, Next, Response};
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
//! Allocations are counted by the global allocator, which the program chooses. Any allocator that counts is suitable; this one is from the crate
//! `stats_alloc`.
//!
//! ```
//! use std::alloc::System;
//!
//! use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
//! use tower_chain::overhead::Overhead;
//! use tower_chain::Chain;
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
//! # What each cost is attributed to
//!
//! | cost | is attributed to |
//! | --- | --- |
//! | a step's own work before and after the steps inside it | the step |
//! | waiting for a timer, a database or a lock | the innermost step that waits; see [`waited`](StepCost::waited) |
//! | extracting the arguments of a handler, and converting its result to a response | the handler |
//! | a tower layer, with its adapter to the chain | its step |
//! | a chain or router that is used as a service inside | the step of the service |
//! | matching, the box of each path and of each eight steps, hooks, 404 and 405 | the chain: `/` |
//! | creating the request, reading and dropping the response | not counted |
//!
//! Work that a step gives to another task or thread counts as waiting.
//!
//! # Where to put it
//!
//! In a separate program or test, next to the function that builds the chain. Each request should reach the handler. If a rate limit refuses
//! the hundredth request, the report measures refusals; its first line shows the statuses.

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
    /// Creates a measurement of this chain.
    pub fn of(service: &ChainService) -> Self {
        Self {
            service: service.clone(),
            request: Box::new(|| Request::new(Body::empty())),
            runs: 1000,
            counter: None,
        }
    }

    /// Sets the function that creates the requests. They should be alike and reach the handler. Defaults to `GET /` without a body.
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

    /// Sets how many requests are measured, at least one. Defaults to 1000.
    ///
    /// Before them, a tenth as many are sent as a warm-up. As many again are sent without probes, for comparison.
    pub fn runs(mut self, requests: usize) -> Self {
        self.runs = requests.max(1);
        self
    }

    /// Sets the function that returns how many allocations the program has made so far. Defaults to none; then there is no such column.
    ///
    /// If the allocator also counts other threads, and these allocate meanwhile, the reported median may differ from the exact number.
    pub fn allocations(mut self, counter: fn() -> u64) -> Self {
        self.counter = Some(counter);
        self
    }

    /// Sends the requests one after the other, and reports what the steps cost.
    ///
    /// It runs in the current runtime. A runtime with one thread disturbs the measurement least.
    pub async fn run(mut self) -> OverheadReport {
        let service = self.service.clone();
        let routes = service.lookup();
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
