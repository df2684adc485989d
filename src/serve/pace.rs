//! How fast a client sends or reads.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// The limits on the time for which a client keeps the server waiting. The time that a handler takes does not count.
#[derive(Clone, Copy, Debug)]
pub(super) struct PaceLimits {
    /// How long it may do nothing.
    pub(super) pause: Duration,
    /// How many bytes per second it must send or read on average. Zero means any number.
    pub(super) rate: u32,
    /// How long it may take for all of a body.
    pub(super) total: Duration,
}

/// Measures how long a client has kept the server waiting.
#[derive(Debug)]
pub(super) struct Pace {
    limits: PaceLimits,
    /// The time waited for the current body.
    total: Duration,
    /// The time waited, less the time that the bytes take at the slowest permitted rate.
    behind: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(limits: PaceLimits) -> Self {
        Self { limits, total: Duration::ZERO, behind: Duration::ZERO, since: None, timer: None }
    }

    /// Records that another body begins.
    pub(super) fn begin_body(&mut self) {
        self.total = Duration::ZERO;
    }

    /// Records that the client sent or read these bytes.
    pub(super) fn progress(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.timer = None;
            let waited = since.elapsed();
            self.total += waited;
            self.behind += waited;
        }
        if !self.behind.is_zero() {
            // An empty frame of HTTP/2 is no progress.
            let earned = match (bytes, self.limits.rate) {
                (0, _) => Duration::ZERO,
                (_, 0) => Duration::MAX,
                (_, rate) => Duration::from_secs_f64(bytes as f64 / f64::from(rate)),
            };
            self.behind = self.behind.saturating_sub(earned);
        }
    }

    /// Waits for the client. Is ready when the client is too slow. `extra` is added to the pause that it may make.
    pub(super) fn poll_late(&mut self, extra: Duration, cx: &mut Context<'_>) -> Poll<()> {
        self.since.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| {
            let pause = (self.limits.pause + extra).saturating_sub(self.behind);
            Box::pin(sleep(pause.min(self.limits.total.saturating_sub(self.total))))
        });
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;

    use super::*;

    /// After how many pieces of this length, each after this pause, a client is too slow.
    async fn pieces(limits: PaceLimits, bytes: usize, seconds: u64) -> Option<usize> {
        let mut pace = Pace::new(limits);
        for piece in 0..1000 {
            assert!(poll_fn(|cx| pace.poll_late(Duration::ZERO, cx)).now_or_never().is_none());
            tokio::time::advance(Duration::from_secs(seconds)).await;
            if poll_fn(|cx| pace.poll_late(Duration::ZERO, cx)).now_or_never().is_some() {
                return Some(piece);
            }
            pace.progress(bytes);
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_must_not_pause_fall_behind_or_take_too_long() {
        const SECOND: Duration = Duration::from_secs(1);
        let limits = |rate, total| PaceLimits { pause: 30 * SECOND, rate, total };
        for (rate, total, bytes, seconds, late) in [
            (0, Duration::MAX, 1, 29, None),
            (0, Duration::MAX, 1, 31, Some(0)),
            (0, Duration::MAX, 0, 10, Some(2)),
            (0, 100 * SECOND, 1, 29, Some(3)),
            (0, 100 * SECOND, 1_000_000, 29, Some(3)),
            (100, Duration::MAX, 1000, 9, None),
            (100, Duration::MAX, 1000, 10, None),
            // It falls behind by 5 seconds with each piece.
            (100, Duration::MAX, 1000, 15, Some(3)),
            (100, Duration::MAX, 1, 1, Some(30)),
            (100, 100 * SECOND, 1000, 9, Some(11)),
            (u32::MAX, Duration::MAX, usize::MAX, 29, None),
        ] {
            let case = format!("{rate} {total:?} {bytes} {seconds}");
            assert_eq!(pieces(limits(rate, total), bytes, seconds).await, late, "{case}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_the_server_takes_does_not_count() {
        let pause = Duration::from_secs(30);
        let mut pace = Pace::new(PaceLimits { pause, rate: 1000, total: pause });
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(60)).await;
            assert!(poll_fn(|cx| pace.poll_late(Duration::ZERO, cx)).now_or_never().is_none());
            pace.progress(1);
        }
        // What was fast before is no credit.
        pace.progress(usize::MAX);
        assert!(poll_fn(|cx| pace.poll_late(Duration::ZERO, cx)).now_or_never().is_none());
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(poll_fn(|cx| pace.poll_late(Duration::ZERO, cx)).now_or_never().is_some());
    }
}
