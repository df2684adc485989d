//! The activity on a connection, from which its timer derives the time limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Shared by the socket, the requests and the timer of one connection. A request reads the clock twice and needs no timer.
#[derive(Debug)]
pub(super) struct Activity {
    accepted: Instant,
    /// When the current state began, in milliseconds after `accepted`. `UNSEEN` until the timer reads it.
    since: AtomicU64,
    /// Requests without a response so far.
    in_flight: AtomicU32,
    /// Whether a part of the head of the next request has arrived.
    reading: AtomicBool,
    /// The last four bytes that arrived on HTTP/1.
    last: AtomicU32,
    /// Whether these are the end of a body.
    last_is_body: AtomicBool,
    /// Whether a body was left unread, and whether the response has begun: `LEFT_UNREAD` and `RESPONDED`. They are in one value, as a response
    /// must announce the end of the connection if and only if the body was left unread before it.
    exchange: AtomicU8,
}

/// What a connection waits for, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// The rest of a head whose first bytes arrived at this time, or the first bytes of the connection.
    Head(Instant),
    /// The next request, since the client received the last response.
    Idle(Instant),
    /// Its own responses.
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

    /// Records that these bytes arrived on HTTP/1.
    pub(super) fn received(&self, bytes: &[u8]) {
        let last = bytes[bytes.len().saturating_sub(4)..].iter();
        let last =
            last.fold(self.last.load(Ordering::Relaxed), |last, &b| last << 8 | u32::from(b));
        self.last.store(last, Ordering::Relaxed);
        self.last_is_body.store(false, Ordering::Relaxed);
        self.received_any();
    }

    /// Records that bytes arrived.
    pub(super) fn received_any(&self) {
        if !self.reading.load(Ordering::Relaxed) && self.in_flight.load(Ordering::Acquire) == 0 {
            self.begin_state();
            self.reading.store(true, Ordering::Release);
        }
    }

    /// Records that the body of a request has been read to its end.
    pub(super) fn body_ended(&self) {
        self.last_is_body.store(true, Ordering::Relaxed);
    }

    /// Whether the last bytes are a part of a head. Bytes that arrive together with the end of a body are not recognized.
    fn is_in_head(&self) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let ended = last & 0xff_ffff == END_OF_HEAD || last & 0xffff == BARE_END_OF_HEAD;
        !ended && !self.last_is_body.load(Ordering::Relaxed)
    }

    /// Records that the peer reads. A response may be complete long before the peer has received it.
    pub(super) fn sent(&self, bytes: usize) {
        // Pings must not keep an idle connection open.
        if bytes >= MORE_THAN_A_PING && self.in_flight.load(Ordering::Acquire) == 0 {
            self.begin_state();
        }
    }

    /// Records that a request begins. It ends when the returned value is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.last_is_body.store(false, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }

    /// How many requests are in flight. On HTTP/1, a body that is still read counts as well.
    pub(super) fn requests_in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Records that a request of HTTP/1 begins, which has no response yet.
    pub(super) fn begin_exchange(&self) {
        self.exchange.fetch_and(!RESPONDED, Ordering::AcqRel);
    }

    /// Records that the response of a request of HTTP/1 begins. Returns whether the connection ends with it, as the body was left unread.
    pub(super) fn respond(&self) -> bool {
        self.exchange.fetch_or(RESPONDED, Ordering::AcqRel) & LEFT_UNREAD != 0
    }

    /// Records that the server won't read the rest of a request. The connection ends after the response.
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

    /// Whether the peer may still be sending: the rest of a body, or of a head that was refused.
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

/// A request without a complete response so far.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // The response is about to be sent, and `sent` reads the clock.
        self.0.since.store(UNSEEN, Ordering::Release);
        // A client that sends several requests at once may have sent a part of the next one.
        self.0.reading.store(self.0.is_in_head(), Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The state has begun since the timer read it last.
const UNSEEN: u64 = u64::MAX;
const LEFT_UNREAD: u8 = 1;
const RESPONDED: u8 = 2;
const END_OF_HEAD: u32 = u32::from_be_bytes(*b"\0\n\r\n");
/// RFC 9112, 2.2: a recipient may accept a line feed alone as the end of a line.
const BARE_END_OF_HEAD: u32 = u32::from_be_bytes(*b"\0\0\n\n");
/// A PING frame has 17 bytes, and about 22 more in a TLS record.
const MORE_THAN_A_PING: usize = 64;
