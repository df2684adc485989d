//! The `Server-Timing` header field: where the time of a request went.
//!
//! # What it does
//!
//! [`ServerTiming`] measures the time from the request to the response of the steps after it, and adds it to the response as a metric of
//! `Server-Timing`. A browser draws the metrics in its network panel, and passes them to scripts as `PerformanceServerTiming`.
//!
//! Each step has a name. Several of them in one chain measure one part each: a step that is outside of others reports the time of all steps
//! after it, and as `self` the part of it that none of the others measured.
//!
//! With the feature `step-times`, `ServerTiming::each_step` adds a metric for each step after it, with the step's own time.
//!
//! The time ends with the head of the response. The time that a streamed body takes is not a part of it.
//!
//! # Example
//!
//! ```
//! use tower_chain::middleware::server_timing::ServerTiming;
//! use tower_chain::Chain;
//!
//! # fn main() -> Result<(), tower_chain::middleware::server_timing::ServerTimingError> {
//! let chain = Chain::new().always(ServerTiming::new("total")?).get(async || "hello");
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Example: two parts
//!
//! ```
//! use tower_chain::middleware::server_timing::ServerTiming;
//! use tower_chain::Chain;
//!
//! # fn main() -> Result<(), tower_chain::middleware::server_timing::ServerTimingError> {
//! let chain = Chain::new()
//!     .always(ServerTiming::new("total")?.description("the whole chain")?.precision(1))
//!     // .. steps here are the part of `total` that is not in `handler` ..
//!     .use_(ServerTiming::new("handler")?)
//!     .get(async || "hello");
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # What the client sees
//!
//! | cause | status | fields | body |
//! | --- | --- | --- | --- |
//! | one step | unchanged | `Server-Timing: total;dur=12.345` | unchanged |
//! | a description | unchanged | `Server-Timing: total;dur=12.345;desc="the whole chain"` | unchanged |
//! | `each_step` | unchanged | `Server-Timing: total;dur=12.345, chain;dur=0.005, use-log;dur=0.340, GET-list;dur=12.000` | unchanged |
//! | `total` around `handler` | unchanged | `Server-Timing: handler;dur=10.000` and `Server-Timing: total;dur=12.345, total-self;dur=2.345` | unchanged |
//!
//! A handler's own `Server-Timing` is kept.
//!
//! **Any client sees the times.** They may reveal whether a name is known, whether a response was cached, or how long the comparison of a
//! secret takes: with enough requests, noise averages out. On a public API, measure only the requests of clients that may know
//! the times (`timing.when(..)`, with a check that other clients can't pass), or round the times with
//! [`precision`](ServerTiming::precision). A browser shows them to scripts of other origins only with `Timing-Allow-Origin`, which this step never
//! sets. That stops scripts, but not a client that reads the response itself.
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! Before the steps to be measured: first, with `always`, for the whole chain; before a handler for the handler. Steps beside each other,
//! rather than inside of each other, are counted separately.
//!
//! # Sources
//!
//! W3C Server Timing; RFC 9110, 5.6.2 (token) and 5.6.4 (quoted-string).

use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

use crate::declare::{Declaration, Field};
use crate::{Endpoint, Middleware, Next, Response};

/// A step that reports how long the steps after it took. See the [module](self).
#[derive(Clone, Debug)]
pub struct ServerTiming {
    name: String,
    /// The parameter `desc` with its semicolon, or nothing.
    description: String,
    precision: usize,
    #[cfg(feature = "step-times")]
    each_step: bool,
}

impl ServerTiming {
    /// A metric with this name and no description, in milliseconds with three decimal places.
    ///
    /// # Errors
    ///
    /// [`ServerTimingError::Name`] unless the name is a token of RFC 9110: letters, digits and ``!#$%&'*+-.^_`|~``.
    pub fn new(name: &str) -> Result<Self, ServerTimingError> {
        if name.is_empty() || !name.chars().all(is_of_token) {
            return Err(ServerTimingError::Name(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            description: String::new(),
            precision: 3,
            #[cfg(feature = "step-times")]
            each_step: false,
        })
    }

    /// Describes in words what is measured. Quotes and backslashes are escaped. Defaults to no description.
    ///
    /// # Errors
    ///
    /// [`ServerTimingError::Description`] if it has characters other than visible ASCII and spaces.
    pub fn description(mut self, text: &str) -> Result<Self, ServerTimingError> {
        if !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(ServerTimingError::Description(text.to_owned()));
        }
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        self.description = format!(";desc=\"{escaped}\"");
        Ok(self)
    }

    /// Sets the number of decimal places of the milliseconds, at most 6. Defaults to 3, which are microseconds.
    #[must_use]
    pub fn precision(mut self, digits: u8) -> Self {
        self.precision = usize::from(digits.min(6));
        self
    }

    /// Adds a metric for each step after this one, with the step's own time. Defaults to the whole alone.
    ///
    /// A metric has the name of the step in the tree of the chain, with `-` in place of characters that a token can't have. `chain` is the time
    /// of the chain itself, between the steps. Time spent waiting belongs to the innermost step that waits. The names of the program's functions
    /// and types become visible to the client.
    ///
    /// A measured request pays for its clock readings. While there is one in the program, each step of other requests checks
    /// whether it is measured, which takes some nanoseconds.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::server_timing::ServerTiming;
    /// use tower_chain::{Chain, MiddlewareExt, Next, Request, Response};
    ///
    /// async fn log(next: Next<'_>) -> Response {
    ///     next.run().await
    /// }
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::server_timing::ServerTimingError> {
    /// let timing = ServerTiming::new("total")?.each_step();
    /// let for_developers = |req: &Request| req.headers().contains_key("x-debug");
    /// let chain = Chain::new().always(timing.when(for_developers)).use_(log).get(async || "hello");
    /// # let _ = chain.build();
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "step-times")]
    #[cfg_attr(docsrs, doc(cfg(feature = "step-times")))]
    #[must_use]
    pub fn each_step(mut self) -> Self {
        self.each_step = true;
        self
    }

    /// Passes the request on. Returns the metrics of the steps after this one as well, ready to be appended to a list.
    #[cfg(feature = "step-times")]
    async fn run<N: Endpoint>(&self, next: Next<'_, N>) -> (Response, String) {
        if !self.each_step {
            return (next.run().await, String::new());
        }
        let (response, steps) = next.run_timed().await;
        let metric = |step: crate::step::StepTime<'_>| {
            let (name, precision) = (token(step.name()), self.precision);
            format!(", {name};dur={:.precision$}", milliseconds(step.time()))
        };
        (response, steps.into_iter().map(metric).collect())
    }

    #[cfg(not(feature = "step-times"))]
    async fn run<N: Endpoint>(&self, next: Next<'_, N>) -> (Response, String) {
        (next.run().await, String::new())
    }

    fn metrics(
        &self,
        total: Duration,
        inside: Option<Duration>,
        steps: &str,
    ) -> Option<HeaderValue> {
        let Self { name, description, precision, .. } = self;
        let mut text = String::with_capacity(name.len() * 2 + description.len() + steps.len() + 48);
        let _ = write!(text, "{name};dur={:.precision$}{description}", milliseconds(total));
        if let Some(inside) = inside {
            let own = milliseconds(total.saturating_sub(inside));
            let _ = write!(text, ", {name}-self;dur={own:.precision$}");
        }
        text.push_str(steps);
        HeaderValue::try_from(text).ok()
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The name of a step as a token.
#[cfg(feature = "step-times")]
fn token(name: &str) -> String {
    if name == "/" {
        return "chain".to_owned();
    }
    let words = name.split(|c| !is_of_token(c)).filter(|word| !word.is_empty());
    let token = words.collect::<Vec<_>>().join("-");
    if token.is_empty() { "step".to_owned() } else { token }
}

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

impl Middleware for ServerTiming {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let start = Instant::now();
        let (mut response, steps) = self.run(next).await;
        let total = start.elapsed();
        // A step inside of this one has left its time. A step around this one must find only the time of this one, which contains it.
        let inside = response.extensions_mut().remove::<Measured>().map(|Measured(time)| time);
        response.extensions_mut().insert(Measured(total));
        if let Some(value) = self.metrics(total, inside, &steps) {
            response.headers_mut().append(SERVER_TIMING, value);
        }
        response
    }

    fn name(&self) -> String {
        format!("ServerTiming({})", self.name)
    }

    fn declare(&self, to: &mut Declaration) {
        to.adds(Field::new("server-timing", "The time of the server in milliseconds").optional());
    }
}

/// The time that a step has measured, in the extensions of its response.
#[derive(Clone, Copy)]
struct Measured(Duration);

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Why a [`ServerTiming`] can't be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerTimingError {
    /// The name is not a token.
    Name(String),
    /// The description has characters that a header field can't have.
    Description(String),
}

impl fmt::Display for ServerTimingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "{name:?} is not a name for a metric: use letters, digits and `-`, such as `total` or `database-read`"
            ),
            Self::Description(text) => {
                write!(
                    f,
                    "{text:?} is not a description of a metric: use visible ASCII characters and spaces"
                )
            }
        }
    }
}

impl std::error::Error for ServerTimingError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, Chain, ChainService, Next, StatusCode};

    async fn fields(chain: &ChainService, path: &str) -> Vec<String> {
        let req = http::Request::get(path).body(Body::empty()).unwrap();
        let response = chain.handle(req).await;
        let fields = response.headers().get_all(SERVER_TIMING).iter();
        fields.map(|field| field.to_str().unwrap().to_owned()).collect()
    }

    fn step(name: &str) -> ServerTiming {
        ServerTiming::new(name).unwrap()
    }

    #[test]
    fn metrics_are_written_as_the_standard_says() {
        let time = Duration::from_nanos(12_345_678);
        let own = Some(Duration::from_millis(10));
        let described = |text| step("a").description(text).unwrap();
        for (step, inside, expected) in [
            (step("a"), None, "a;dur=12.346"),
            (step("a").precision(0), None, "a;dur=12"),
            (step("a").precision(200), None, "a;dur=12.345678"),
            (step("a"), own, "a;dur=12.346, a-self;dur=2.346"),
            (step("a"), Some(Duration::from_secs(1)), "a;dur=12.346, a-self;dur=0.000"),
            (described("b, c;d"), None, "a;dur=12.346;desc=\"b, c;d\""),
            (described("\"\\"), None, "a;dur=12.346;desc=\"\\\"\\\\\""),
            (described(""), None, "a;dur=12.346;desc=\"\""),
        ] {
            let value = step.metrics(time, inside, "").unwrap();
            assert_eq!(value.to_str().unwrap(), expected);
        }
    }

    #[test]
    fn what_a_field_cannot_carry_is_refused() {
        for name in ["", "a b", "a;b", "a,b", "a=b", "\"a\"", "ä", "a\r\nb"] {
            let error = ServerTiming::new(name).unwrap_err();
            assert_eq!(error, ServerTimingError::Name(name.to_owned()));
            assert!(!error.to_string().contains('\n'));
        }
        for text in ["a\r\nset-cookie: b", "ä", "\t", "\u{7f}"] {
            let error = step("a").description(text).unwrap_err();
            assert_eq!(error, ServerTimingError::Description(text.to_owned()));
        }
    }

    #[tokio::test]
    async fn each_of_nested_steps_has_its_time() {
        let chain = Chain::new()
            .always(step("total"))
            .use_(step("handler"))
            .get(async || ([("server-timing", "db;dur=1")], "hello"))
            .build();
        let found = fields(&chain, "/").await;
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], "db;dur=1");
        let number =
            |metric: &str| -> f64 { metric.split_once("dur=").unwrap().1.parse().unwrap() };
        let handler = number(&found[1]);
        assert!(found[1].starts_with("handler;dur="));
        let (total, own) = found[2].split_once(", ").unwrap();
        assert!(total.starts_with("total;dur=") && own.starts_with("total-self;dur="));
        assert!((number(total) - handler - number(own)).abs() < 0.002, "{found:?}");
    }

    async fn takes_two_milliseconds(next: Next<'_>) -> Response {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        next.run().await
    }

    #[tokio::test]
    async fn the_time_of_the_steps_after_it_is_reported() {
        let chain = Chain::new()
            .use_(step("a"))
            .use_(takes_two_milliseconds)
            .use_(step("b"))
            .get(async || "x");
        let found = fields(&chain.build(), "/").await;
        let own = found[1].split_once("a-self;dur=").unwrap().1.parse::<f64>().unwrap();
        assert!(own >= 2.0, "{found:?}");
    }

    #[tokio::test]
    async fn always_covers_what_no_handler_answers_and_use_does_not() {
        let chain = Chain::new()
            .always(step("total"))
            .use_(step("rest"))
            .at("/known", |c| c.get(async || StatusCode::NO_CONTENT))
            .build();
        assert_eq!(fields(&chain, "/known").await.len(), 2);
        let unknown = fields(&chain, "/unknown").await;
        assert!(unknown.len() == 1 && unknown[0].starts_with("total;dur="), "{unknown:?}");
        assert!(!unknown[0].contains("self"));
    }

    #[cfg(feature = "step-times")]
    #[tokio::test]
    async fn each_step_has_its_own_time() {
        async fn waits(next: Next<'_>) -> Response {
            tokio::task::yield_now().await;
            next.run().await
        }
        let chain = Chain::new()
            .always(step("total").each_step())
            .use_(waits)
            .at("/slow/{id}", |c| c.use_(takes_two_milliseconds).get(async || "hello"))
            .at("/fast", |c| c.get(async || "hello"))
            .build();
        let metrics = |field: &str| -> Vec<(String, f64)> {
            let metric = |metric: &str| {
                let (name, dur) = metric.split_once(";dur=").unwrap();
                (name.to_owned(), dur.parse().unwrap())
            };
            field.split(", ").map(metric).collect()
        };
        let found = fields(&chain, "/slow/7").await;
        let found = metrics(&found[0]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["total", "chain", "use-waits", "use-takes_two_milliseconds", "GET-closure"]
        );
        let [total, steps @ ..] = &found[..] else { panic!("{found:?}") };
        let sum: f64 = steps.iter().map(|(_, dur)| dur).sum();
        assert!(sum <= total.1 + 0.003 && total.1 - sum < total.1 / 2.0, "{found:?}");
        assert!(found[3].1 >= 2.0 && found[2].1 + found[4].1 < 2.0, "{found:?}");

        let found = fields(&chain, "/fast").await;
        let names: Vec<String> = metrics(&found[0]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["total", "chain", "use-waits", "GET-closure"]);
        let found = fields(&chain, "/nowhere").await;
        assert!(found[0].contains(", chain;dur=") && !found[0].contains("use-"), "{found:?}");
    }

    #[cfg(feature = "step-times")]
    #[tokio::test]
    async fn a_measured_request_stays_measured_inside_of_another_one() {
        let chain = Chain::new()
            .always(step("outer").each_step())
            .use_(step("inner").each_step())
            .get(async || "hello")
            .build();
        let found = fields(&chain, "/").await;
        assert!(found[0].starts_with("inner;dur=") && found[0].contains(", GET-closure;dur="));
        let outer = &found[1];
        assert!(outer.contains(", use-ServerTiming-inner;dur="), "{outer}");
        assert!(outer.contains(", GET-closure;dur="), "{outer}");
    }

    #[cfg(feature = "step-times")]
    #[test]
    fn the_name_of_a_step_becomes_a_token() {
        for (name, expected) in [
            ("/", "chain"),
            ("use log", "use-log"),
            ("use Jwt<Member>", "use-Jwt-Member"),
            ("always [a, b<c, d>]", "always-a-b-c-d"),
            ("GET größe\r\n;dur=1", "GET-gr-e-dur-1"),
            ("«»", "step"),
            ("", "step"),
        ] {
            assert_eq!(token(name), expected);
            assert!(ServerTiming::new(&token(name)).is_ok());
        }
    }
}
