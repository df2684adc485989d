//! One line for each request.
//!
//! # What it does
//!
//! [`AccessLog`] writes a line when the response is over: after the last byte of its body, or when the body is dropped because the client went away.
//! The line therefore has the bytes that were sent and the whole duration. It has Apache's combined format, or it is a JSON object, and both take
//! further [fields](AccessLog::field).
//!
//! Lines go through a bounded queue to a thread that writes them, to stderr by default. A request never waits for the writer: if the queue is full, the
//! line is dropped and counted.
//!
//! A line contains no query, no credentials and no header field that is not named. (The combined format names `Referer`, whose query and userinfo are left
//! out, and `User-Agent`.) A client can't end a line, or forge a part of one: quotes, backslashes, control characters and everything outside of ASCII are escaped.
//! Each value has at most 1,024 bytes.
//!
//! # Example
//!
//! ```
//! use tower_chain::Chain;
//! use tower_chain::middleware::access_log::AccessLog;
//!
//! let chain = Chain::new().always(AccessLog::combined()).get(async || "hello");
//! # let _ = chain.build();
//! ```
//!
//! ```text
//! 192.0.2.7 - - [01/Dec/2026:09:30:00 +0000] "GET /users/7 HTTP/1.1" 200 512 "https://example.com/" "curl/8.5.0"
//! ```
//!
//! # Example: JSON, a file, and one in a hundred
//!
//! ```no_run
//! use std::fs::File;
//! use std::num::NonZeroU32;
//!
//! use http::header::USER_AGENT;
//! use tower_chain::Chain;
//! use tower_chain::middleware::access_log::{AccessLog, LogField};
//!
//! # fn main() -> Result<(), std::io::Error> {
//! const HUNDRED: NonZeroU32 = NonZeroU32::new(100).unwrap();
//! let log = AccessLog::json()
//!     .field("user_agent", LogField::RequestHeader(USER_AGENT))
//!     .one_in(HUNDRED)
//!     .to_writer(File::options().append(true).create(true).open("access.log")?);
//! let lines = log.handle();
//! let chain = Chain::new().always(log).get(async || "hello");
//! // .. serve it; then, before the program ends:
//! lines.flush(std::time::Duration::from_secs(1));
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! {"time":"2026-12-01T09:30:00.125Z","client":"192.0.2.7","method":"GET","path":"/users/7","version":"HTTP/1.1","route":"/users/{id}","status":200,"bytes":512,"duration":0.004215,"user_agent":"curl/8.5.0"}
//! ```
//!
//! # What the client sees
//!
//! Nothing.
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! First, with [`Chain::always`](crate::Chain::always), before all steps that may refuse a request. A layer outside of it that compresses sends fewer bytes
//! than it reports.
//!
//! # Sources
//!
//! [Apache, log files](https://httpd.apache.org/docs/2.4/logs.html#combined) and
//! [`mod_log_config`](https://httpd.apache.org/docs/2.4/mod/mod_log_config.html), from which the escapes `\"`, `\\` and `\xhh` are. RFC 8259 for JSON. Status
//! 499, for a client that went away before the response, is nginx's.

mod field;
mod line;
mod queue;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime};

use http::Method;

pub use self::field::LogField;
use self::line::{Escaped, Line};
pub use self::queue::AccessLogHandle;
use self::queue::{Queue, Sink};
use crate::declare::{Declaration, Kind};
use crate::extract::TrustedProxies;
use crate::middleware::counted_body::{AtEnd, BodyEnd, client_addr, count};
use crate::step::Refusal;
use crate::{Endpoint, Middleware, Next, Request, Response};

/// A step that writes a line for each request. A clone shares the queue and the writer. See the [module](self).
#[derive(Clone)]
pub struct AccessLog {
    settings: Arc<Settings>,
    queue: Arc<Queue>,
}

#[derive(Clone)]
struct Settings {
    format: Format,
    fields: Vec<(String, LogField)>,
    proxies: Option<TrustedProxies>,
    query: bool,
    one_in: NonZeroU32,
    seen: Arc<AtomicU32>,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Combined,
    Json,
}

impl AccessLog {
    /// Lines in Apache's combined format, on stderr. The identity and the user are `-`.
    pub fn combined() -> Self {
        Self::new(Format::Combined, Vec::new())
    }

    /// Lines of JSON, on stderr, with the members `time`, `client`, `method`, `path`, `version`, `route`, `status`, `bytes` and `duration`.
    pub fn json() -> Self {
        let fields = [
            ("time", LogField::Time),
            ("client", LogField::Client),
            ("method", LogField::Method),
            ("path", LogField::Path),
            ("version", LogField::Version),
            ("route", LogField::Route),
            ("status", LogField::Status),
            ("bytes", LogField::Bytes),
            ("duration", LogField::Duration),
        ];
        Self::json_of(fields)
    }

    /// Lines of JSON, on stderr, with these members.
    pub fn json_of<'n>(fields: impl IntoIterator<Item = (&'n str, LogField)>) -> Self {
        let fields = fields.into_iter().map(|(name, field)| (name.to_owned(), field));
        Self::new(Format::Json, fields.collect())
    }

    fn new(format: Format, fields: Vec<(String, LogField)>) -> Self {
        let settings = Settings {
            format,
            fields,
            proxies: None,
            query: false,
            one_in: NonZeroU32::MIN,
            seen: Arc::default(),
        };
        let queue = Queue::new(Sink::Writer(Box::new(io::stderr())), QUEUE_LENGTH);
        Self { settings: Arc::new(settings), queue: Arc::new(queue) }
    }

    /// Adds a value: as a member with this name in JSON, in quotes at the end of the line in the combined format. A member with this name is replaced.
    #[must_use]
    pub fn field(self, name: &str, field: LogField) -> Self {
        self.with(|settings| match settings.fields.iter_mut().find(|(own, _)| own == name) {
            Some((_, own)) => *own = field,
            None => settings.fields.push((name.to_owned(), field)),
        })
    }

    /// Finds the address of the client behind these proxies. Defaults to what [`ClientAddr`](crate::extract::ClientAddr) finds, which is the peer unless a host or a step before has
    /// provided [`TrustedProxies`].
    #[must_use]
    pub fn trusted_proxies(self, proxies: TrustedProxies) -> Self {
        self.with(|settings| settings.proxies = Some(proxies))
    }

    /// Writes the queries of the request and of `Referer` as well. Defaults to leaving them out, because a query may contain secrets.
    #[must_use]
    pub fn with_query(self) -> Self {
        self.with(|settings| settings.query = true)
    }

    /// Writes one in so many lines. Defaults to all. The lines of requests that failed are always written: those with a status from 400 on, and those
    /// whose response ended too early.
    #[must_use]
    pub fn one_in(self, number: NonZeroU32) -> Self {
        self.with(|settings| settings.one_in = number)
    }

    /// Sends the lines to a writer. Defaults to stderr.
    #[must_use]
    pub fn to_writer(self, writer: impl io::Write + Send + 'static) -> Self {
        self.queue.set_target(Sink::Writer(Box::new(writer)));
        self
    }

    /// Sends the lines to a function, without the line break. It runs on a thread of its own and may wait.
    #[must_use]
    pub fn to_fn(self, write: impl Fn(&str) + Send + 'static) -> Self {
        self.queue.set_target(Sink::Function(Box::new(write)));
        self
    }

    /// Sets how many lines may wait for the writer, at least 1. Defaults to 4,096.
    #[must_use]
    pub fn queue_length(self, lines: usize) -> Self {
        self.queue.set_length(lines);
        self
    }

    /// Reports how many lines were dropped, and waits until the lines are written.
    pub fn handle(&self) -> AccessLogHandle {
        AccessLogHandle::new(self.queue.clone())
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    fn record(&self, req: &Request) -> Record {
        let settings = &self.settings;
        let client = client_addr(settings.proxies.as_ref(), req);
        let path = match settings.query {
            true => req.uri().path_and_query().map_or("/", |path| path.as_str()),
            false => req.uri().path(),
        };
        let mut line = Line {
            time: SystemTime::now(),
            start: Instant::now(),
            client: client.map(|client| client.0),
            method: req.method().clone(),
            path: Escaped::new(path.as_bytes()),
            version: req.version(),
            referer: None,
            user_agent: None,
            route: None,
            status: None,
            sent: 0,
            seconds: 0.0,
            values: vec![None; settings.fields.len()],
        };
        let header = |name| req.headers().get(name).map(|value| value.as_bytes());
        if settings.format == Format::Combined {
            let referer = header(http::header::REFERER);
            line.referer = referer.map(|referer| {
                let end = referer.iter().position(|byte| matches!(byte, b'?' | b'#'));
                let end = end.filter(|_| !settings.query).unwrap_or(referer.len());
                Escaped::new(&without_userinfo(&referer[..end]))
            });
            line.user_agent = header(http::header::USER_AGENT).map(Escaped::new);
        }
        for (value, (_, field)) in line.values.iter_mut().zip(&settings.fields) {
            *value = match field {
                LogField::RequestHeader(name) => header(name.clone()).map(Escaped::new),
                LogField::Request(f) => f(req).map(|text| Escaped::new(text.as_bytes())),
                _ => None,
            };
        }
        Record { log: self.clone(), line, failed: false }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("fields", &self.settings.fields).finish_non_exhaustive()
    }
}

impl Middleware for AccessLog {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let route = next.current_route();
        let mut record = self.record(&next);
        let is_head = *next.method() == Method::HEAD;
        let response = next.run().await;
        record.answered(&response, route.pattern());
        count(response, is_head, record)
    }

    fn declare(&self, to: &mut Declaration) {
        to.kind(Kind::Log);
    }
}

/// A request in flight. It writes its line when it is dropped.
struct Record {
    log: AccessLog,
    line: Line,
    failed: bool,
}

impl Record {
    fn answered(&mut self, response: &Response, route: Option<&str>) {
        self.line.status = Some(response.status().as_u16());
        self.line.route = route.map(str::to_owned);
        let settings = &self.log.settings;
        for (value, (_, field)) in self.line.values.iter_mut().zip(&settings.fields) {
            let text = match field {
                LogField::ResponseHeader(name) => {
                    *value = response.headers().get(name).map(|text| Escaped::new(text.as_bytes()));
                    continue;
                }
                LogField::Response(f) => f(response),
                LogField::Refusal => {
                    let refusal = Refusal::of(response);
                    refusal.map(|refusal| format!("{}: {}", refusal.step(), refusal.reason()))
                }
                _ => continue,
            };
            *value = text.map(|text| Escaped::new(text.as_bytes()));
        }
    }

    /// Whether the line is in the sample.
    fn is_wanted(&self) -> bool {
        let Settings { one_in, seen, .. } = &*self.log.settings;
        let is_error = self.failed || self.line.status.is_none_or(|status| status >= 400);
        is_error || seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in.get())
    }
}

impl AtEnd for Record {
    fn end(mut self, sent: u64, end: BodyEnd) {
        self.line.sent = sent;
        self.failed = end != BodyEnd::Complete;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.is_wanted() {
            return;
        }
        self.line.seconds = self.line.start.elapsed().as_secs_f64();
        if self.line.status.is_none() {
            self.line.status = Some(if std::thread::panicking() { 500 } else { 499 });
        }
        let Settings { format, fields, .. } = &*self.log.settings;
        self.log.queue.push(match format {
            Format::Combined => self.line.combined(fields),
            Format::Json => self.line.json(fields),
        });
    }
}

/// A URI without the user and the password in its authority, which clients must not send (RFC 9110, 10.1.3).
fn without_userinfo(uri: &[u8]) -> Cow<'_, [u8]> {
    let first = uri.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(uri.len());
    let has_authority = uri[first..].starts_with(b"//") && (first == 0 || uri[first - 1] == b':');
    let start = if has_authority { first + 2 } else { 0 };
    let length = uri[start..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let authority = &uri[start..length.map_or(uri.len(), |length| start + length)];
    match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) => [&uri[..start], &uri[start + at + 1..]].concat().into(),
        None => uri.into(),
    }
}

const QUEUE_LENGTH: usize = 4_096;
