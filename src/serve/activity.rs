//! The activity on a connection, from which its timer derives the time limits.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::ConnectionBudget;
use super::frames::Seen;
use super::state::ServerState;

/// Shared by the socket, the requests and the timer of one connection. A request reads the clock once and needs no timer.
pub(super) struct Activity {
    /// What the connection shares with all others.
    pub(super) server: Arc<ServerState>,
    /// The address of the client, unless it came by a Unix socket.
    client: OnceLock<IpAddr>,
    /// Created when it is first needed. Most requests of HTTP/1 need none.
    budget: OnceLock<Arc<ConnectionBudget>>,
    accepted: Instant,
    /// Whether a state has begun since the last call of `settle`.
    begun: AtomicBool,
    /// Requests without a response so far.
    in_flight: AtomicU32,
    /// Whether a part of the head of the next request has arrived.
    reading: AtomicBool,
    /// The last four bytes that arrived on HTTP/1.
    last: AtomicU32,
    /// Whether these are the end of a body.
    last_is_body: AtomicBool,
    /// Whether a body was left unread, whether the response has begun, and whether the client was too slow with the body: `LEFT_UNREAD`,
    /// `RESPONDED` and `STALLED`. They are in one value, as a response must announce the end of the connection if and only if the body was left
    /// unread before it.
    exchange: AtomicU8,
    /// How many requests have begun.
    requests: AtomicU32,
    is_http2: AtomicBool,
    /// Whether the connection ends after the requests in flight.
    is_closing: AtomicBool,
    /// Whether the socket is to be checked for an error.
    check_socket: AtomicBool,
    /// Since when a head of HTTP/2 is not complete, in milliseconds after `accepted`. `NEVER` if there is none.
    unfinished: AtomicU64,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// The rest of a head whose first bytes have arrived, or the first bytes of the connection.
    Head,
    /// The next request. The client has received the last response.
    Idle,
    /// Its own responses.
    Busy,
}

impl Activity {
    pub(super) fn new(server: Arc<ServerState>) -> Self {
        Self {
            server,
            client: OnceLock::new(),
            budget: OnceLock::new(),
            accepted: Instant::now(),
            begun: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            reading: AtomicBool::new(true),
            last: AtomicU32::new(END_OF_HEAD),
            last_is_body: AtomicBool::new(false),
            exchange: AtomicU8::new(0),
            requests: AtomicU32::new(0),
            is_http2: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            check_socket: AtomicBool::new(false),
            unfinished: AtomicU64::new(NEVER),
        }
    }

    /// When the connection was accepted. It is then in the state `Head`.
    pub(super) fn accepted(&self) -> Instant {
        self.accepted
    }

    /// Records whose connection this is, before the budget is first used.
    pub(super) fn set_client(&self, client: Option<IpAddr>) {
        if let Some(client) = client {
            let _ = self.client.set(client);
        }
    }

    /// The budget of this connection.
    pub(super) fn budget(&self) -> &Arc<ConnectionBudget> {
        self.budget.get_or_init(|| self.server.budget.connection(self.client.get().copied()))
    }

    /// Reads the clock if a state has begun that is not `Busy`. To be called whenever the connection was polled.
    pub(super) fn settle(&self, since: &mut Instant) {
        if self.begun.load(Ordering::Acquire) && self.in_flight.load(Ordering::Acquire) == 0 {
            self.begun.store(false, Ordering::Release);
            *since = Instant::now();
        }
    }

    pub(super) fn state(&self) -> ConnectionState {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            ConnectionState::Busy
        } else if self.reading.load(Ordering::Acquire) {
            ConnectionState::Head
        } else {
            ConnectionState::Idle
        }
    }

    /// Records that these bytes arrived on HTTP/1.
    pub(super) fn received(&self, bytes: &[u8]) {
        let last = match bytes.last_chunk() {
            Some(last) => u32::from_be_bytes(*last),
            None => bytes
                .iter()
                .fold(self.last.load(Ordering::Relaxed), |last, &b| last << 8 | u32::from(b)),
        };
        self.last.store(last, Ordering::Relaxed);
        self.last_is_body.store(false, Ordering::Relaxed);
        if !self.reading.load(Ordering::Relaxed) && self.in_flight.load(Ordering::Acquire) == 0 {
            self.begin_state();
            self.reading.store(true, Ordering::Release);
        }
    }

    /// Records that the connection speaks HTTP/2.
    pub(super) fn begin_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
        // A client may always be sending frames: WINDOW_UPDATE, PING, or requests that it sent before it received GOAWAY.
        self.leave_unread();
    }

    /// Records that these frames arrived on HTTP/2.
    pub(super) fn received_frames(&self, seen: Seen) {
        if seen.begun {
            self.unfinished.store(self.elapsed(), Ordering::Relaxed);
        } else if !seen.unfinished {
            self.unfinished.store(NEVER, Ordering::Relaxed);
        }
    }

    /// Since when a head of HTTP/2 is not complete.
    pub(super) fn unfinished_since(&self) -> Option<Instant> {
        let since = self.unfinished.load(Ordering::Relaxed);
        (since != NEVER).then(|| self.accepted + Duration::from_millis(since))
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
        // Answers to pings must not keep an idle connection open, and a TLS handshake must not extend the time for the first head.
        if bytes > 0 && self.requests() > 0 && !self.is_http2.load(Ordering::Relaxed) {
            self.sent_messages();
        }
    }

    /// Records that a part of a response was sent.
    pub(super) fn sent_messages(&self) {
        if self.in_flight.load(Ordering::Acquire) == 0 {
            self.begin_state();
        }
    }

    /// Records that a request begins. It ends when the returned value is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.last_is_body.store(false, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }

    /// Requests a check whether the peer has reset the connection. hyper does not read while a handler runs.
    pub(super) fn check_socket(&self) {
        self.check_socket.store(true, Ordering::Relaxed);
    }

    /// Whether such a check was requested since the last call.
    pub(super) fn is_socket_check_due(&self) -> bool {
        self.check_socket.load(Ordering::Relaxed)
            && self.check_socket.swap(false, Ordering::Relaxed)
    }

    /// How many requests have begun so far.
    pub(super) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Counts a request. With the last of `max`, the connection begins to end.
    pub(super) fn count_request(&self, max: u32) {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) >= max {
            self.close();
        }
    }

    /// Ends the connection after the requests in flight.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    /// Whether the connection ends after the requests in flight.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// How many requests are in flight. On HTTP/1, a body that is still read counts as well.
    pub(super) fn requests_in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Records that a request of HTTP/1 begins, which has no response yet.
    pub(super) fn begin_exchange(&self) {
        self.exchange.fetch_and(LEFT_UNREAD, Ordering::AcqRel);
    }

    /// Records that the response of a request of HTTP/1 begins. Returns whether the connection ends with it, as the body was left unread.
    pub(super) fn respond(&self) -> bool {
        self.exchange.fetch_or(RESPONDED, Ordering::AcqRel) & LEFT_UNREAD != 0
    }

    /// Records that the client of HTTP/1 was too slow with the body of a request.
    pub(super) fn stall(&self) {
        self.exchange.fetch_or(LEFT_UNREAD | STALLED, Ordering::AcqRel);
    }

    /// Whether the client of HTTP/1 was too slow with the body of this request.
    pub(super) fn is_stalled(&self) -> bool {
        self.exchange.load(Ordering::Acquire) & STALLED != 0
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
            || self.state() == ConnectionState::Head
    }

    fn begin_state(&self) {
        self.begun.store(true, Ordering::Release);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(0)
    }
}

/// A request without a complete response so far.
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.begin_state();
        // A client that sends several requests at once may have sent a part of the next one.
        self.0.reading.store(self.0.is_in_head(), Ordering::Release);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

const LEFT_UNREAD: u8 = 1;
const RESPONDED: u8 = 2;
const STALLED: u8 = 4;
const END_OF_HEAD: u32 = u32::from_be_bytes(*b"\0\n\r\n");
/// RFC 9112, 2.2: a recipient may accept a line feed alone as the end of a line.
const BARE_END_OF_HEAD: u32 = u32::from_be_bytes(*b"\0\0\n\n");
const NEVER: u64 = u64::MAX;
