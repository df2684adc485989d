//! The streams of HTTP/2, each a task that ends when its client takes nothing any more.
//!
//! The time limit of the socket doesn't see that: other streams and pings go on while one stream's window is shut.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// Runs the streams of one connection.
#[derive(Clone, Copy)]
pub(super) struct Streams {
    pub(super) write_timeout: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(StreamTask {
            stream,
            write_timeout: self.write_timeout,
            offered: None,
            stalled: None,
        });
    }
}

/// What the body of a response did last while its stream was polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyState {
    /// It was not asked: there is no response yet, or no room for more of it.
    Unasked,
    /// It had nothing to send yet.
    Waiting,
    /// It gave something to send, of so many bytes.
    Offered(usize),
}

thread_local! {
    /// Of the stream that this thread polls: hyper polls the body of a response in the task of its stream, and nowhere else.
    static BODY_STATE: Cell<BodyState> = const { Cell::new(BodyState::Unasked) };
}

impl BodyState {
    /// Notes what a body does.
    pub(super) fn note(self) {
        BODY_STATE.set(self);
    }
}

pin_project! {
    struct StreamTask<F> {
        #[pin]
        stream: F,
        write_timeout: Duration,
        // How much the body gave, if it was not asked for more since.
        offered: Option<usize>,
        stalled: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        BodyState::Unasked.note();
        if this.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match BODY_STATE.get() {
            BodyState::Unasked => {}
            asked => {
                *this.stalled = None;
                *this.offered = match asked {
                    BodyState::Offered(bytes) => Some(bytes),
                    BodyState::Unasked | BodyState::Waiting => None,
                };
            }
        }
        let Some(bytes) = *this.offered else { return Poll::Pending };
        // How much of it has gone can't be seen from here, so a large piece is given its time.
        let limit = *this.write_timeout + Duration::from_secs((bytes / SLOWEST) as u64);
        let stalled = this.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        tracing::debug!("the client doesn't read the response of a stream");
        Poll::Ready(())
    }
}

/// How many bytes a second a client takes at least.
const SLOWEST: usize = 4096;
