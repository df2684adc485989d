//! A response whose body is read piece by piece.

use std::collections::VecDeque;
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use serde::de::DeserializeOwned;

use super::exchange::{self, Sent};
use super::response::TestResponse;
use super::transport::BodyError;
use super::upgrade::TestUpgrade;
use crate::{Body, Error, Response};

/// A response whose body is read piece by piece. Dropping it drops the body in the service, like a client that disconnects.
///
/// Made by [`TestRequest::stream`](super::TestRequest::stream).
///
/// # Example
///
/// ```
/// use futures_util::stream;
/// use tower_chain::Chain;
/// use tower_chain::respond::{Event, Sse};
/// use tower_chain::test_util::TestClient;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let news = async || {
///     let events = ["one", "two"].map(|text| Ok::<_, std::io::Error>(Event::new().event("news").data(text)));
///     Sse::new(stream::iter(events))
/// };
/// let client = TestClient::new(Chain::new().get(news).build());
///
/// let mut stream = client.get("/").stream().await;
/// let event = stream.event().await.ok_or("no event")??;
/// assert_eq!((event.name.as_str(), event.data.as_str()), ("news", "one"));
/// drop(stream); // the client disconnects
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping the stream disconnects the client"]
pub struct TestStream {
    sent: Sent,
    parts: Parts,
    body: Body,
    limit: usize,
    trailers: Option<HeaderMap>,
    events: Decoder,
    lines: BytesMut,
}

impl TestStream {
    pub(super) fn new(sent: Sent, response: Response, limit: usize) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            sent,
            parts,
            body,
            limit,
            trailers: None,
            events: Decoder::default(),
            lines: BytesMut::new(),
        }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The trailers, once the body has ended.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Returns the next piece of the body, as the service sent it. Over TCP, pieces may be joined or split. `None` at the end.
    ///
    /// # Errors
    ///
    /// If the body fails. After that it has ended.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await?;
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(frame)) => self.trailers = frame.into_trailers().ok(),
                Err(error) => {
                    self.body = Body::empty();
                    return Some(Err(BodyError::Failed(causes(&error))));
                }
            }
        }
    }

    /// Returns the next server-sent event. `None` at the end. Comments and an incomplete last event are skipped.
    ///
    /// # Errors
    ///
    /// If the body fails.
    pub async fn event(&mut self) -> Option<Result<TestEvent, BodyError>> {
        loop {
            if let Some(event) = self.events.ready.pop_front() {
                return Some(Ok(event));
            }
            match self.chunk().await? {
                Ok(data) => self.events.feed(&data),
                Err(error) => return Some(Err(error)),
            }
            if self.events.line.len() > self.limit {
                return Some(Err(BodyError::TooLong { limit: self.limit }));
            }
        }
    }

    /// Returns the next line of a stream of JSON values, such as `application/x-ndjson`. `None` at the end. Empty lines are skipped.
    ///
    /// # Errors
    ///
    /// If the body fails, or if the line is not JSON or not a `T`.
    pub async fn json_line<T: DeserializeOwned>(&mut self) -> Option<Result<T, BodyError>> {
        loop {
            let line = match self.lines.iter().position(|byte| *byte == b'\n') {
                Some(end) => self.lines.split_to(end + 1),
                None if self.lines.len() > self.limit => {
                    return Some(Err(BodyError::TooLong { limit: self.limit }));
                }
                None => match self.chunk().await {
                    Some(Ok(data)) => {
                        self.lines.extend_from_slice(&data);
                        continue;
                    }
                    Some(Err(error)) => return Some(Err(error)),
                    None if self.lines.is_empty() => return None,
                    None => self.lines.split(),
                },
            };
            if !line.trim_ascii().is_empty() {
                let value = serde_json::from_slice(&line);
                return Some(value.map_err(|error| BodyError::Failed(format!("a line: {error}"))));
            }
        }
    }

    /// Returns the connection, if the service has switched protocols.
    pub(super) async fn upgraded(mut self, place: &Location<'_>) -> TestUpgrade {
        let upgrading = self.parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(upgrading)) = (self.status(), upgrading) {
            return match upgrading.await {
                Ok(io) => TestUpgrade::new(self.parts.headers, io),
                Err(error) => panic!("{place}: the connection was not handed over: {error}"),
            };
        }
        let response = self.finish().await;
        panic!("{place}: expected the status 101, but it is {}\n\n{response}", response.status)
    }

    /// Reads the rest of the body, and returns the response for assertions.
    pub async fn finish(mut self) -> TestResponse {
        let mut body = BytesMut::new();
        let mut body_error = None;
        while let Some(chunk) = self.chunk().await {
            match chunk {
                Ok(data) if data.len() > self.limit - body.len() => {
                    body.extend_from_slice(&data[..self.limit - body.len()]);
                    body_error = Some(BodyError::TooLong { limit: self.limit });
                    break;
                }
                Ok(data) => body.extend_from_slice(&data),
                Err(error) => body_error = Some(error),
            }
        }
        TestResponse {
            sent: self.sent,
            status: self.parts.status,
            version: self.parts.version,
            headers: self.parts.headers,
            extensions: self.parts.extensions,
            body: body.freeze(),
            trailers: self.trailers,
            body_error,
        }
    }
}

impl fmt::Debug for TestStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.sent, f)?;
        let error = Error::of_extensions(&self.parts.extensions);
        exchange::received(f, self.parts.status, &self.parts.headers, error)
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// A server-sent event. Made by [`TestStream::event`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestEvent {
    /// The name. `message` if the event has none.
    pub name: String,
    /// The data, its lines joined.
    pub data: String,
    /// The last id so far.
    pub id: Option<String>,
    /// After which time the client should reconnect, if the event has `retry`.
    pub retry: Option<Duration>,
}

/// Reads events as a browser does (WHATWG HTML, 9.2.6).
#[derive(Default)]
struct Decoder {
    ready: VecDeque<TestEvent>,
    line: Vec<u8>,
    started: bool,
    after_return: bool,
    name: String,
    data: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
}

impl Decoder {
    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let after_return = std::mem::take(&mut self.after_return);
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    self.end_line();
                }
                byte => self.line.push(byte),
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = match std::mem::replace(&mut self.started, true) {
            false => line.strip_prefix('\u{feff}').unwrap_or(&line),
            true => &line,
        };
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            _ => {}
        }
    }

    fn end_event(&mut self) {
        let name = std::mem::take(&mut self.name);
        let retry = self.retry.take();
        if let Some(data) = self.data.take() {
            let name = if name.is_empty() { "message".to_owned() } else { name };
            self.ready.push_back(TestEvent { name, data, id: self.id.clone(), retry });
        }
    }
}
