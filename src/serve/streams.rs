//! The streams of HTTP/2, each in a task that ends when its client stops reading the response.
//!
//! The time limit of the socket doesn't detect that: other streams and pings continue while the window of one stream is closed.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::pace::{Pace, PaceLimits};

/// Spawns the streams of one connection.
#[derive(Clone, Copy)]
pub(super) struct Streams {
    pub(super) pace: PaceLimits,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(StreamTask { stream, pace: Pace::new(self.pace), unread: None });
    }
}

/// What the body of a response did when its stream was polled last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyState {
    /// It was not polled: there is no response yet, or the window is closed.
    NotPolled,
    /// It was pending.
    Pending,
    /// It returned a frame of this length.
    Frame(usize),
}

thread_local! {
    /// For the stream that this thread polls. hyper polls the body of a response in the task of its stream, and nowhere else.
    static BODY_STATE: Cell<BodyState> = const { Cell::new(BodyState::NotPolled) };
}

impl BodyState {
    /// Sets the state for the stream that is polled.
    pub(super) fn note(self) {
        BODY_STATE.set(self);
    }
}

pin_project! {
    struct StreamTask<F> {
        #[pin]
        stream: F,
        pace: Pace,
        // The length of the last frame, if the body was not polled since.
        unread: Option<usize>,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        BodyState::NotPolled.note();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match BODY_STATE.get() {
            BodyState::NotPolled => {}
            polled => {
                this.pace.progress(this.unread.unwrap_or(0));
                *this.unread = match polled {
                    BodyState::Frame(bytes) => Some(bytes),
                    BodyState::NotPolled | BodyState::Pending => None,
                };
            }
        }
        let Some(bytes) = *this.unread else { return Poll::Pending };
        // hyper doesn't show how much of the frame has been sent, so a large frame gets more time.
        let extra = Duration::from_secs((bytes / SLOWEST) as u64);
        ready!(this.pace.poll_late(extra, cx));
        tracing::debug!("the client doesn't read the response of a stream");
        Poll::Ready(())
    }
}

/// How many bytes per second a client must read at least.
const SLOWEST: usize = 4096;
