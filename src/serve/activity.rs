//! What happens on a connection, as its timer sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Shared by the socket, the requests and the timer of one connection. A request costs two looks at the clock and no timer.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    /// When the present state began, in milliseconds after `accepted`; `UNSEEN` until someone looks.
    since: AtomicU64,
    /// Requests that are not answered yet.
    in_flight: AtomicU32,
    /// Whether bytes of a request came that has not begun yet.
    reading: AtomicBool,
    /// The last bytes that came on HTTP/1.
    last: AtomicU32,
    /// Whether they are the end of a body.
    last_is_body: AtomicBool,
    /// Whether a body was left unread, and whether the response has begun: `LEFT_UNREAD` and `RESPONDED`. They are in one value, as a response
    /// must announce the end of the connection if and only if the body was left unread before it.
    exchange: AtomicU8,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// The rest of a head, of which something came since this time; or the first bytes.
    Head(Instant),
    /// The next request, since the last answer was taken at this time.
    Idle(Instant),
    /// Its own answers.
    Busy,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            since: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            reading: AtomicBool::new(true),
            last: AtomicU32::new(END_OF_HEAD),
            last_is_body: AtomicBool::new(false),
            exchange: AtomicU8::new(0),
        }
    }

    pub(super) fn state(&self) -> ConnectionState {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return ConnectionState::Busy;
        }
        let mut since = self.since.load(Ordering::Acquire);
        if since == UNSEEN {
            since = self.elapsed();
            let stored = Ordering::AcqRel;
            if let Err(now) = self.since.compare_exchange(UNSEEN, since, stored, Ordering::Acquire)
            {
                since = now;
            }
        }
        let since = self.accepted + Duration::from_millis(since);
        if self.reading.load(Ordering::Acquire) {
            ConnectionState::Head(since)
        } else {
            ConnectionState::Idle(since)
        }
    }

    /// Notes that these bytes came on HTTP/1.
    pub(super) fn received(&self, bytes: &[u8]) {
        let last = bytes[bytes.len().saturating_sub(4)..].iter();
        let last =
            last.fold(self.last.load(Ordering::Relaxed), |last, &b| last << 8 | u32::from(b));
        self.last.store(last, Ordering::Relaxed);
        self.last_is_body.store(false, Ordering::Relaxed);
        self.received_any();
    }

    /// Notes that bytes came.
    pub(super) fn received_any(&self) {
        if !self.reading.load(Ordering::Relaxed) && self.in_flight.load(Ordering::Acquire) == 0 {
            self.begin_state();
            self.reading.store(true, Ordering::Release);
        }
    }

    /// Notes that the body of a request has been read to its end.
    pub(super) fn body_ended(&self) {
        self.last_is_body.store(true, Ordering::Relaxed);
    }

    /// Whether the last bytes that came are a part of a head, as far as can be seen: what came together with the end of a body can't.
    fn is_in_head(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let ended = last & 0xff_ffff == END_OF_HEAD || last & 0xffff == BARE_END_OF_HEAD;
        !ended && !self.last_is_body.load(Ordering::Relaxed)
    }

    /// Notes that the peer takes what it is sent. An answer may be done long before the peer has it.
    pub(super) fn sent(&self, bytes: usize) {
        // Pings and the like don't keep an idle connection open.
        if bytes >= MORE_THAN_A_PING && self.in_flight.load(Ordering::Acquire) == 0 {
            self.begin_state();
        }
    }

    /// Notes that a request begins. It ends when the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.last_is_body.store(false, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }

    /// How many requests are not answered yet. On HTTP/1, bodies that are still read count as well.
    pub(super) fn requests_in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Notes that a request of HTTP/1 begins, which has no response yet.
    pub(super) fn begin_exchange(&self) {
        self.exchange.fetch_and(!RESPONDED, Ordering::AcqRel);
    }

    /// Notes that the response of a request of HTTP/1 begins. Returns whether the connection ends with it, as the body was left unread.
    pub(super) fn respond(&self) -> bool {
        self.exchange.fetch_or(RESPONDED, Ordering::AcqRel) & LEFT_UNREAD != 0
    }

    /// Notes that the server won't read the rest of a request: the connection ends after the response.
    pub(super) fn leave_unread(&self) {
        self.exchange.fetch_or(LEFT_UNREAD, Ordering::AcqRel);
    }

    /// As [`leave_unread`](Activity::leave_unread), if the response can still announce the end of the connection. Returns whether it can.
    pub(super) fn leave_unread_before_response(&self) -> bool {
        let unread = self.exchange.fetch_update(Ordering::AcqRel, Ordering::Acquire, |exchange| {
            (exchange & RESPONDED == 0).then_some(exchange | LEFT_UNREAD)
        });
        unread.is_ok()
    }

    /// Whether the peer may be sending what nobody reads: the rest of a body, or a head that was refused.
    pub(super) fn peer_may_send(&self) -> bool {
        self.exchange.load(Ordering::Acquire) & LEFT_UNREAD != 0
            || matches!(self.state(), ConnectionState::Head(_))
    }

    fn begin_state(&self) {
        self.since.store(self.elapsed(), Ordering::Release);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(0)
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // The answer is about to be sent, and that looks at the clock.
        self.0.since.store(UNSEEN, Ordering::Release);
        // A client that doesn't wait for its answers may have sent a part of its next request.
        self.0.reading.store(self.0.is_in_head(), Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Stands for a state that has begun since the timer looked last.
const UNSEEN: u64 = u64::MAX;
const LEFT_UNREAD: u8 = 1;
const RESPONDED: u8 = 2;
const END_OF_HEAD: u32 = u32::from_be_bytes(*b"\0\n\r\n");
/// RFC 9112, 2.2: a recipient may take a line feed alone as the end of a line.
const BARE_END_OF_HEAD: u32 = u32::from_be_bytes(*b"\0\0\n\n");
/// A ping of HTTP/2 has 17 bytes, and some 22 more within TLS.
const MORE_THAN_A_PING: usize = 64;
