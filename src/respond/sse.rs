//! Server-sent events.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_core::BoxError;
use axum_core::extract::FromRequestParts;
use axum_core::response::IntoResponse;
use bytes::Bytes;
use futures_util::Stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http_body::Frame;
use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep};

use super::X_ACCEL_BUFFERING;
use crate::{Body, Error, Response};

/// A response that streams events (`text/event-stream`, WHATWG HTML, 9.2).
///
/// While the stream is silent, a comment is sent every 15 seconds to keep the connection open; see [`keep_alive`](Self::keep_alive). Header fields
/// ask caches and proxies not to store, change or buffer the stream. tower-http's compression does not compress it. Outside of a runtime of
/// tokio, as on AWS Lambda with another runtime, events are sent and comments are not.
///
/// An error of the stream aborts the response, and the browser connects again with [`LastEventId`]. When the client disconnects, the stream is
/// dropped.
///
/// # Example
///
/// ```
/// use futures_util::stream;
/// use tower_chain::Chain;
/// use tower_chain::respond::{Event, Sse};
///
/// async fn ticks() -> impl axum_core::response::IntoResponse {
///     let events = (1..=3).map(|n| Ok::<_, std::io::Error>(Event::new().id(n).data("tick")));
///     Sse::new(stream::iter(events))
/// }
///
/// let chain = Chain::new().get(ticks);
/// # let _ = chain.build();
/// ```
#[derive(Debug)]
#[must_use]
pub struct Sse<S> {
    events: S,
    keep_alive: Option<Duration>,
}

impl<S, E> Sse<S>
where
    S: Stream<Item = Result<Event, E>> + Send + 'static,
    E: Into<BoxError>,
{
    /// Sends the events of a stream.
    pub fn new(events: S) -> Self {
        Self { events, keep_alive: Some(Duration::from_secs(15)) }
    }

    /// Sets the silence after which a comment is sent, of at most a year; `None` sends none. Defaults to 15 seconds.
    pub fn keep_alive(mut self, silence: impl Into<Option<Duration>>) -> Self {
        self.keep_alive = silence.into().map(|silence| silence.min(YEAR));
        self
    }
}

impl<S, E> IntoResponse for Sse<S>
where
    S: Stream<Item = Result<Event, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    fn into_response(self) -> Response {
        let events = Events { events: self.events, keep_alive: self.keep_alive, timer: None };
        let mut response = Response::new(Body::new(events));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }
}

/// One event of an [`Sse`] stream.
///
/// A line break can't end a field: in `data` it begins another `data` line, which the browser joins again, and in the other fields it is
/// removed.
///
/// # Example
///
/// ```
/// use tower_chain::respond::Event;
///
/// let event = Event::new().event("price").id("7").data("12.50");
/// # let _ = event;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Event {
    text: String,
}

impl Event {
    /// An event without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds data: `message.data` in the browser.
    pub fn data(mut self, data: impl AsRef<str>) -> Self {
        for line in lines(data.as_ref()) {
            self.field("data", line);
        }
        self
    }

    /// Adds data as JSON, on one line.
    ///
    /// # Errors
    ///
    /// If the value can't be serialized.
    #[cfg(feature = "json")]
    #[cfg_attr(docsrs, doc(cfg(feature = "json")))]
    pub fn json<T: serde::Serialize>(self, data: &T) -> Result<Self, serde_json::Error> {
        Ok(self.data(serde_json::to_string(data)?))
    }

    /// Sets the name of the event. The browser passes it to the listeners of that name. Defaults to `message`.
    pub fn event(mut self, name: impl AsRef<str>) -> Self {
        self.field("event", &one_line(name.as_ref()));
        self
    }

    /// Sets the id that the browser sends as [`LastEventId`] when it connects again.
    pub fn id(mut self, id: impl Display) -> Self {
        // Browsers ignore an id that contains a NUL.
        self.field("id", &one_line(&id.to_string()).replace('\0', ""));
        self
    }

    /// Sets how long the browser waits before it connects again.
    pub fn retry(mut self, after: Duration) -> Self {
        self.field("retry", &after.as_millis().to_string());
        self
    }

    /// Adds a comment, which browsers ignore.
    pub fn comment(mut self, comment: impl AsRef<str>) -> Self {
        for line in lines(comment.as_ref()) {
            self.field("", line);
        }
        self
    }

    fn field(&mut self, name: &str, value: &str) {
        self.text.extend([name, ": ", value, "\n"]);
    }

    fn into_bytes(mut self) -> Bytes {
        self.text.push('\n');
        self.text.into()
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else { return rest.take() };
        let after = &text[end..];
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..));
        Some(&text[..end])
    })
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], "")
}

/// The id of the last event that the browser received before it connected again; `None` for its first connection.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::respond::{Event, LastEventId, Sse};
///
/// async fn events(LastEventId(last): LastEventId) -> impl axum_core::response::IntoResponse {
///     let next = last.and_then(|id| id.parse().ok()).map_or(0, |id: u64| id + 1);
///     let events = (next..next + 3).map(|id| Ok::<_, std::io::Error>(Event::new().id(id).data("tick")));
///     Sse::new(futures_util::stream::iter(events))
/// }
///
/// let chain = Chain::new().get(events);
/// # let _ = chain.build();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastEventId(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let id = parts.headers.get("last-event-id");
        Ok(Self(id.and_then(|id| String::from_utf8(id.as_bytes().to_vec()).ok())))
    }
}

pin_project! {
    struct Events<S> {
        #[pin]
        events: S,
        keep_alive: Option<Duration>,
        // Began when the stream was silent first.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<S, E> http_body::Body for Events<S>
where
    S: Stream<Item = Result<Event, E>>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(event) = this.events.poll_next(cx) {
            *this.timer = None;
            return Poll::Ready(event.map(|event| match event {
                Ok(event) => Ok(Frame::data(event.into_bytes())),
                Err(error) => Err(error.into()),
            }));
        }
        let Some(silence) = *this.keep_alive else { return Poll::Pending };
        // Without a runtime of tokio there are no timers.
        if this.timer.is_none() && Handle::try_current().is_err() {
            return Poll::Pending;
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(silence)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        *this.timer = None;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
    }
}

/// The longest keep-alive: the clock of a runtime can't represent any duration.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn line_breaks_stay_in_their_field() {
        for (event, text) in [
            (Event::new().data("a"), "data: a\n\n"),
            (Event::new().data("a\nb\r\nc\rd"), "data: a\ndata: b\ndata: c\ndata: d\n\n"),
            (Event::new().data(""), "data: \n\n"),
            (Event::new().data("a\n"), "data: a\ndata: \n\n"),
            (Event::new().event("x\r\ndata: y").data("z"), "event: xdata: y\ndata: z\n\n"),
            (Event::new().id("1\n\u{0}2"), "id: 12\n\n"),
            (Event::new().retry(Duration::from_secs(2)), "retry: 2000\n\n"),
            (Event::new().comment("hi\nho"), ": hi\n: ho\n\n"),
        ] {
            assert_eq!(event.into_bytes(), text);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_filled_and_an_error_cuts_off() {
        let events = stream::unfold(0, async |n| {
            tokio::time::sleep(Duration::from_secs(20)).await;
            let event = match n {
                0 => Ok(Event::new().data("one")),
                _ => Err(std::io::Error::other("gone")),
            };
            Some((event, n + 1))
        });
        let response = Sse::new(events).into_response();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut frames = response.into_body().into_data_stream();
        let start = Instant::now();
        for (after, text) in [(15, ":\n\n"), (20, "data: one\n\n"), (35, ":\n\n")] {
            assert_eq!(frames.next().await.unwrap().unwrap(), text);
            assert_eq!(start.elapsed().as_secs(), after);
        }
        assert!(frames.next().await.unwrap().is_err());
    }

    #[test]
    fn without_tokio_events_are_sent() {
        let event = |text: &str| Ok::<_, std::io::Error>(Event::new().data(text));
        let events = stream::iter([event("one"), event("two")]).chain(stream::pending());
        let mut frames = Sse::new(events).into_response().into_body().into_data_stream();
        for text in ["data: one\n\n", "data: two\n\n"] {
            assert_eq!(frames.next().now_or_never().unwrap().unwrap().unwrap(), text);
        }
        assert!(frames.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_client_that_leaves_drops_the_stream() {
        let alive = Arc::new(());
        let held = alive.clone();
        let events = stream::pending::<Result<Event, std::io::Error>>().map(move |event| {
            let _ = &held;
            event
        });
        let response = Sse::new(events).into_response();
        assert_eq!(Arc::strong_count(&alive), 2);
        drop(response);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[tokio::test]
    async fn compression_passes_events_on_one_by_one() {
        use tower::ServiceExt;

        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Event, std::io::Error>>(1);
        let receiver = std::sync::Mutex::new(Some(receiver));
        let chain = crate::Chain::new()
            .use_(tower_http::compression::CompressionLayer::new())
            .get(move || {
                let receiver = receiver.lock().unwrap().take().unwrap();
                let events = stream::unfold(receiver, async |mut receiver| {
                    Some((receiver.recv().await?, receiver))
                });
                std::future::ready(Sse::new(events))
            })
            .build();
        let req =
            http::Request::get("/").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
        let response = chain.oneshot(req).await.unwrap();
        let mut frames = response.into_body().into_data_stream();
        for n in 0..3 {
            sender.send(Ok(Event::new().data(n.to_string()))).await.unwrap();
            assert_eq!(frames.next().await.unwrap().unwrap(), format!("data: {n}\n\n"));
        }
    }

    #[tokio::test]
    async fn a_silence_may_be_as_long_as_it_likes() {
        let events = stream::iter([Ok::<_, std::io::Error>(Event::new().data("x"))]);
        let body = Sse::new(events).keep_alive(Duration::MAX).into_response().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "data: x\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn no_events_are_an_empty_body() {
        let events = stream::empty::<Result<Event, std::io::Error>>();
        let body = Sse::new(events).keep_alive(None).into_response().into_body();
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }
}
