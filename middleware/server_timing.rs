//! Where the time of a request went, told to the browser.
//!
//! # What it does
//!
//! [`ServerTiming`] measures how long the steps behind it take, until their response is there, and adds the time to the response as a
//! metric of `Server-Timing`. A browser draws the metrics in its network panel, and gives them to scripts as
//! `PerformanceServerTiming`.
//!
//! Each step has a name. Several in one chain measure one part each: a step that stands outside of others takes the time behind it,
//! and next to it, as `self`, what of it was spent in none of the others.
//!
//! With [`each_step`](ServerTiming::each_step) one of them is enough: it adds a metric for each step behind it, with the step's own time.
//!
//! The time ends with the head of the response. A body that streams takes longer, and is not part of it.
//!
//! # Example
//!
//! ```
//! use tower_chain::{Chain, ServerTiming};
//!
//! # fn main() -> Result<(), tower_chain::middleware::server_timing::ServerTimingConfigError> {
//! let chain = Chain::new().always(ServerTiming::new("total")?).get(async || "hello");
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Example: each step, for developers alone
//!
//! ```
//! use tower_chain::{Chain, MiddlewareExt, Next, Request, Response, ServerTiming};
//!
//! async fn log(next: Next<'_>) -> Response {
//!     next.run().await
//! }
//!
//! # fn main() -> Result<(), tower_chain::middleware::server_timing::ServerTimingConfigError> {
//! let timing = ServerTiming::new("total")?.each_step();
//! let for_developers = |req: &Request| req.headers().contains_key("x-debug");
//! let chain = Chain::new().always(timing.when(for_developers)).use_(log).get(async || "hello");
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Example: two parts
//!
//! ```
//! use tower_chain::{Chain, ServerTiming};
//!
//! # fn main() -> Result<(), tower_chain::middleware::server_timing::ServerTimingConfigError> {
//! let chain = Chain::new()
//!     .always(ServerTiming::new("total")?.description("the whole chain")?.precision(1))
//!     // .. what stands here is the part of `total` that is not in `handler` ..
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
//! | one step | as it was | `Server-Timing: total;dur=12.345` | as it was |
//! | a description | as it was | `Server-Timing: total;dur=12.345;desc="the whole chain"` | as it was |
//! | `each_step` | as it was | `Server-Timing: total;dur=12.345, chain;dur=0.005, use-log;dur=0.340, GET-list;dur=12.000` | as it was |
//! | `total` around `handler` | as it was | `Server-Timing: handler;dur=10.000` and `Server-Timing: total;dur=12.345, total-self;dur=2.345` | as it was |
//!
//! The metric of a step has the step's name in the tree of the chain, with `-` for what a token can't have. `chain` is what the chain itself
//! takes between the steps. Waiting belongs to the innermost step that waits. A handler's own `Server-Timing` is kept.
//!
//! **Times are told to whoever asks.** They may show whether a name is known, whether an answer was cached, and how long a secret takes
//! to compare: enough of them average out what looks like noise. On a public API send them to those alone who may know them, as in the second
//! example with a check that a stranger can't pass, or round them by [`precision`](ServerTiming::precision). To scripts of other origins a browser
//! shows them only with `Timing-Allow-Origin`, which this step never sets; that keeps scripts out, and nobody who reads the response itself.
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! In front of what is to be measured: first, with `always`, for the whole chain; before a handler for the handler. Where it doesn't stand it
//! costs nothing. With [`each_step`](ServerTiming::each_step) the request that is measured pays for its clock readings; while there is one in the program,
//! each step of the others looks whether it is theirs, which takes some nanoseconds. Steps that stand next to each other, rather than inside each
//! other, are counted each for itself.
//!
//! # Sources
//!
//! W3C Server Timing; RFC 9110, 5.6.2 (token) and 5.6.4 (quoted-string).

use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};

use crate::{Endpoint, Middleware, Next, Response, StepTime};

/// A step that tells how long the steps behind it took. See the [module](self).
#[derive(Clone, Debug)]
pub struct ServerTiming {
    name: String,
    /// What stands behind `dur`, ready to be written.
    description: String,
    precision: usize,
    each_step: bool,
}

impl ServerTiming {
    /// A metric of this name, without a description, in milliseconds with three digits behind the point.
    ///
    /// # Errors
    ///
    /// [`ServerTimingConfigError::Name`] if it is no token of RFC 9110: letters, digits and ``!#$%&'*+-.^_`|~``.
    pub fn new(name: &str) -> Result<Self, ServerTimingConfigError> {
        if name.is_empty() || !name.chars().all(is_of_token) {
            return Err(ServerTimingConfigError::Name(name.to_owned()));
        }
        let (name, description) = (name.to_owned(), String::new());
        Ok(Self { name, description, precision: 3, each_step: false })
    }

    /// Says in words what is measured. Quotes and backslashes in it are escaped. Defaults to nothing.
    ///
    /// # Errors
    ///
    /// [`ServerTimingConfigError::Description`] if it has other characters than visible ASCII and blanks.
    pub fn description(mut self, text: &str) -> Result<Self, ServerTimingConfigError> {
        if !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(ServerTimingConfigError::Description(text.to_owned()));
        }
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        self.description = format!(";desc=\"{escaped}\"");
        Ok(self)
    }

    /// Sets how many digits stand behind the point of the milliseconds, at most 6. Defaults to 3: microseconds.
    #[must_use]
    pub fn precision(mut self, digits: u8) -> Self {
        self.precision = usize::from(digits.min(6));
        self
    }

    /// Adds a metric for each step behind this one, with the step's own time. It tells the names of the program's functions and types.
    /// Defaults to the whole alone.
    #[must_use]
    pub fn each_step(mut self) -> Self {
        self.each_step = true;
        self
    }

    fn metrics(
        &self,
        total: Duration,
        inside: Option<Duration>,
        steps: &[StepTime<'_>],
    ) -> Option<HeaderValue> {
        let Self { name, description, precision, .. } = self;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let mut text = String::with_capacity(name.len() * 2 + description.len() + 48);
        let _ = write!(text, "{name};dur={:.precision$}{description}", ms(total));
        if let Some(inside) = inside {
            let own = ms(total.saturating_sub(inside));
            let _ = write!(text, ", {name}-self;dur={own:.precision$}");
        }
        for step in steps {
            let _ = write!(text, ", {};dur={:.precision$}", token(step.name()), ms(step.time()));
        }
        HeaderValue::try_from(text).ok()
    }
}

/// The name of a step as a token.
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
        let (mut response, steps) = match self.each_step {
            true => next.run_timed().await,
            false => (next.run().await, Vec::new()),
        };
        let total = start.elapsed();
        // Steps inside of this one have left their times; those around it are to see this one's alone, which has theirs in it.
        let inside = response.extensions_mut().remove::<Inside>().map(|Inside(time)| time);
        response.extensions_mut().insert(Inside(total));
        if let Some(value) = self.metrics(total, inside, &steps) {
            response.headers_mut().append(SERVER_TIMING, value);
        }
        response
    }

    fn name(&self) -> String {
        format!("ServerTiming({})", self.name)
    }
}

/// How much time was measured already, in the extensions of a response.
#[derive(Clone, Copy)]
struct Inside(Duration);

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What makes a [`ServerTiming`] impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerTimingConfigError {
    /// The name is no token.
    Name(String),
    /// The description has characters that a header field can't have.
    Description(String),
}

impl fmt::Display for ServerTimingConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "{name:?} can't name a metric: take letters, digits and `-`, such as `total` or `database-read`"
            ),
            Self::Description(text) => {
                write!(
                    f,
                    "{text:?} can't describe a metric: take visible ASCII characters and blanks"
                )
            }
        }
    }
}

impl std::error::Error for ServerTimingConfigError {}

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
            let value = step.metrics(time, inside, &[]).unwrap();
            assert_eq!(value.to_str().unwrap(), expected);
        }
    }

    #[test]
    fn what_a_field_cannot_carry_is_refused() {
        for name in ["", "a b", "a;b", "a,b", "a=b", "\"a\"", "ä", "a\r\nb"] {
            let error = ServerTiming::new(name).unwrap_err();
            assert_eq!(error, ServerTimingConfigError::Name(name.to_owned()));
            assert!(!error.to_string().contains('\n'));
        }
        for text in ["a\r\nset-cookie: b", "ä", "\t", "\u{7f}"] {
            let error = step("a").description(text).unwrap_err();
            assert_eq!(error, ServerTimingConfigError::Description(text.to_owned()));
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

    // The rest is held up for as long as the clock itself says.
    async fn held_up(next: Next<'_>) -> Response {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        next.run().await
    }

    #[tokio::test]
    async fn the_time_behind_it_is_what_it_tells() {
        let chain = Chain::new().use_(step("a")).use_(held_up).use_(step("b")).get(async || "x");
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

    #[tokio::test]
    async fn each_step_has_its_own_time() {
        async fn waits(next: Next<'_>) -> Response {
            tokio::task::yield_now().await;
            next.run().await
        }
        let chain = Chain::new()
            .always(step("total").each_step())
            .use_(waits)
            .at("/slow/{id}", |c| c.use_(held_up).get(async || "hello"))
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
        assert_eq!(names, ["total", "chain", "use-waits", "use-held_up", "GET-closure"]);
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
