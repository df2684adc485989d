//! The values that a line may contain.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use crate::{Request, Response};

/// A value in a line.
#[derive(Clone)]
#[non_exhaustive]
pub enum LogField {
    /// The time of the request: RFC 3339 in UTC, with milliseconds.
    Time,
    /// The address of the client.
    Client,
    /// The method.
    Method,
    /// The path as sent; with [`AccessLog::with_query`](super::AccessLog::with_query), the query as well.
    Path,
    /// The version of HTTP, such as `HTTP/1.1`.
    Version,
    /// The pattern that matched, such as `/users/{id}`.
    Route,
    /// The status. 499 if the client went away before the response, 500 after a panic.
    Status,
    /// The bytes of the response body that were sent.
    Bytes,
    /// The time from the request to the end of the response, in seconds.
    Duration,
    /// The step that refused the request, and its reason, such as `RateLimit: quota_exceeded`.
    Refusal,
    /// A header field of the request; of several lines, the first. Credentials and cookies are among them: name such fields only on purpose.
    RequestHeader(HeaderName),
    /// A header field of the response; of several lines, the first.
    ResponseHeader(HeaderName),
    /// What a function finds in the request. See [`LogField::request`].
    #[doc(hidden)]
    Request(RequestValue),
    /// What a function finds in the response. See [`LogField::response`].
    #[doc(hidden)]
    Response(ResponseValue),
}

type RequestValue = Arc<dyn Fn(&Request) -> Option<String> + Send + Sync>;
type ResponseValue = Arc<dyn Fn(&Response) -> Option<String> + Send + Sync>;

impl LogField {
    /// What a function finds in the request before the steps after the log run.
    pub fn request(f: impl Fn(&Request) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::Request(Arc::new(f))
    }

    /// What a function finds in the response, such as a value that a step has left in its extensions.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Error;
    /// use tower_chain::middleware::access_log::{AccessLog, LogField};
    ///
    /// let cause = LogField::response(|response| Some(Error::of(response)?.source()?.to_string()));
    /// let log = AccessLog::json().field("cause", cause);
    /// # let _ = log;
    /// ```
    pub fn response(f: impl Fn(&Response) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::Response(Arc::new(f))
    }
}

impl fmt::Debug for LogField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "Time",
            Self::Client => "Client",
            Self::Method => "Method",
            Self::Path => "Path",
            Self::Version => "Version",
            Self::Route => "Route",
            Self::Status => "Status",
            Self::Bytes => "Bytes",
            Self::Duration => "Duration",
            Self::Refusal => "Refusal",
            Self::RequestHeader(name) | Self::ResponseHeader(name) => name.as_str(),
            Self::Request(_) => "Request",
            Self::Response(_) => "Response",
        })
    }
}
