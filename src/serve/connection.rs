//! One connection, from the accepted socket to its end.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, ConnectionState};
use super::frames::Frames;
use super::http_version::HttpVersion;
use super::io::{Clear, Io, Socket};
use super::limits::Limits;
use super::listener::Security;
use super::peer::Peer;
use super::phase::Phase;
use super::proxy;
use super::request::Requests;
use super::seldom::Seldom;
use super::servable::ErasedService;
use super::state::ServerState;
use super::streams::Streams;
#[cfg(feature = "tls")]
use crate::extract::ClientCertificate;

/// What serves the connections of a server.
#[derive(Clone)]
pub(super) struct SharedState {
    service: Arc<dyn ErasedService>,
    pub(super) server: Arc<ServerState>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl SharedState {
    pub(super) fn new(
        service: Arc<dyn ErasedService>,
        limits: Limits,
        phase: watch::Receiver<Phase>,
    ) -> Self {
        Self { service, server: Arc::new(ServerState::new(limits)), phase }
    }

    /// Serves one connection to its end.
    pub(super) async fn connection(
        self,
        socket: Socket,
        addr: Option<SocketAddr>,
        security: Security,
        permit: OwnedSemaphorePermit,
    ) {
        TimedConnection::new(self, socket, addr, security, permit).drive().await;
    }

    /// Serves a connection as soon as another one has ended, and then drops `begins`.
    pub(super) async fn queued(
        self,
        socket: Socket,
        addr: Option<SocketAddr>,
        security: Security,
        permits: Arc<Semaphore>,
        begins: Option<oneshot::Sender<()>>,
    ) {
        let mut phase = self.phase.clone();
        let permit = tokio::select! {
            permit = permits.acquire_owned() => permit,
            () = Phase::aborted(&mut phase) => return,
        };
        drop(begins);
        if let Ok(permit) = permit {
            self.connection(socket, addr, security, permit).await;
        }
    }
}

impl Limits {
    fn http2(&self, streams: Streams) -> http2::Builder<Streams> {
        let mut http2 = http2::Builder::new(streams);
        let window = u32::try_from(self.max_buffered_per_connection).unwrap_or(u32::MAX);
        let window = window.clamp(SMALLEST_WINDOW, LARGEST_WINDOW);
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(self.ping_interval)
            .keep_alive_timeout(self.ping_timeout)
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_send_buf_size(STREAM_BUFFER)
            .initial_connection_window_size(window)
            .initial_stream_window_size(window)
            .max_header_list_size(u32::try_from(self.max_header_size).unwrap_or(u32::MAX));
        http2
    }
}

/// Reads the PROXY protocol, does the TLS handshake, and finds out the HTTP version.
async fn open(
    mut io: Io,
    addr: Option<SocketAddr>,
    security: Security,
    service: Arc<dyn ErasedService>,
    activity: Arc<Activity>,
) -> io::Result<OpenConnection> {
    let mut peer = Peer::new(addr);
    if security.proxy_protocol
        // Boxed, because other connections don't need its state.
        && let Some(client) = Box::pin(proxy::read(&mut io)).await?
    {
        peer = Peer::new(Some(client));
    }
    if let (Some(clients), Some(addr)) = (&activity.server.clients, peer.ip()) {
        match clients.admit(addr) {
            Some(slot) => io.keep(slot),
            None => return Err(io::Error::other("the client has too many connections")),
        }
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = security.tls {
        // Boxed for the same reason.
        let io = Box::pin(tokio_rustls::TlsAcceptor::from(tls.config()).accept(io)).await?;
        let session = io.get_ref().1;
        let version = match session.alpn_protocol() {
            Some(b"h2") => HttpVersion::Http2,
            _ if security.http2_only => return Err(io::Error::other("the client has no HTTP/2")),
            _ => HttpVersion::Http1,
        };
        let chain = session.peer_certificates().unwrap_or_default();
        peer.certificate = ClientCertificate::from_chain(chain.iter().map(|der| der.to_vec()));
        return Ok(OpenConnection::new(io, version, peer, service, activity));
    }
    let version = match sniff(&mut io).await? {
        // hyper answers other bytes with GOAWAY.
        _ if security.http2_only => HttpVersion::Http2,
        version => version,
    };
    Ok(OpenConnection::new(io, version, peer, service, activity))
}

/// Recognizes HTTP/2 by the first bytes (RFC 9113, 3.3).
async fn sniff(io: &mut Io) -> io::Result<HttpVersion> {
    let mut start = BytesMut::new();
    let version = loop {
        let before = start.len();
        poll_fn(|cx| {
            // Most requests fit in it, and need no second read. It is not kept while nothing arrives.
            let mut chunk = [0; 512];
            let mut buf = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut *io).poll_read(cx, &mut buf))?;
            start.extend_from_slice(buf.filled());
            Poll::Ready(io::Result::Ok(()))
        })
        .await?;
        if start.starts_with(PREFACE) {
            break HttpVersion::Http2;
        }
        if start.len() == before || !PREFACE.starts_with(&start) {
            break HttpVersion::Http1;
        }
    };
    io.unread(start.freeze());
    Ok(version)
}

/// A connection of HTTP/1 or HTTP/2.
trait Connection: Future<Output = hyper::Result<()>> {
    /// Makes it end: after the response in flight on HTTP/1, with GOAWAY on HTTP/2.
    fn shut_down(self: Pin<&mut Self>);
}

impl<I> Connection for http1::UpgradeableConnection<I, Requests>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I> Connection for http2::Connection<I, Requests, Streams>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A connection that speaks HTTP.
struct OpenConnection {
    http: Pin<Box<dyn Connection + Send>>,
    version: HttpVersion,
}

impl OpenConnection {
    fn new<I>(
        io: I,
        version: HttpVersion,
        peer: Peer,
        service: Arc<dyn ErasedService>,
        activity: Arc<Activity>,
    ) -> Self
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        activity.set_client(peer.ip());
        let frames = (version == HttpVersion::Http2).then(|| {
            activity.begin_http2();
            Box::new([Frames::of_client(), Frames::of_server()])
        });
        let server = activity.server.clone();
        let io = TokioIo::new(Clear { io, activity: activity.clone(), frames });
        let requests = Requests { service, peer, activity };
        let http: Pin<Box<dyn Connection + Send>> = match version {
            HttpVersion::Http1 => {
                Box::pin(server.http1.serve_connection(io, requests).with_upgrades())
            }
            HttpVersion::Http2 => {
                let streams = Streams { pace: server.limits.response_pace() };
                Box::pin(server.limits.http2(streams).serve_connection(io, requests))
            }
        };
        Self { http, version }
    }
}

/// What a connection does.
enum Stage {
    /// What comes before HTTP. It is freed before HTTP begins.
    Opening(Pin<Box<dyn Future<Output = io::Result<OpenConnection>> + Send>>),
    Open(OpenConnection),
}

/// A connection with its time limits.
struct TimedConnection {
    stage: Stage,
    activity: Arc<Activity>,
    phase: watch::Receiver<Phase>,
    /// When the state of the activity began, unless it is `Busy`.
    since: Instant,
    /// When it is to end.
    expires: Option<Instant>,
}

impl TimedConnection {
    fn new(
        shared: SharedState,
        socket: Socket,
        addr: Option<SocketAddr>,
        security: Security,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let SharedState { service, server, phase } = shared;
        let age = server.limits.connection_age();
        let activity = Arc::new(Activity::new(server));
        let since = activity.accepted();
        let io = Io::new(socket, activity.clone(), phase.clone(), permit);
        let opening = open(io, addr, security, service, activity.clone());
        let expires = age.map(|age| since + jittered(age));
        Self { stage: Stage::Opening(Box::pin(opening)), activity, phase, since, expires }
    }

    async fn drive(mut self) {
        let mut end = Shutdown::Open;
        let first = match self.due(end, self.since) {
            TimerAction::Later(at) => at,
            TimerAction::ShutDown | TimerAction::Drop => self.since,
        };
        let mut timer = pin!(sleep_until(first));
        let mut seldom = Seldom::default();
        loop {
            let event = {
                let Self { stage, activity, phase, since, .. } = &mut self;
                let mut event = pin!(Event::next(phase, timer.as_mut()));
                seldom.reset();
                poll_fn(|cx| {
                    let was_open = stage.version().is_some();
                    if let Poll::Ready(ended) = stage.poll(cx) {
                        return Poll::Ready(ended);
                    }
                    activity.settle(since);
                    if end == Shutdown::Open {
                        if activity.is_closing() {
                            return Poll::Ready(Event::Closing);
                        }
                    } else if !was_open && stage.version().is_some() {
                        return Poll::Ready(Event::Opened);
                    }
                    seldom.poll(event.as_mut(), cx)
                })
                .await
            };
            let now = Instant::now();
            let begins_to_end = match event {
                Event::NotOpened(error) => {
                    tracing::debug!(%error, "connection not opened");
                    return;
                }
                Event::Ended(result) => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                Event::Phase(Phase::Aborting) => return,
                Event::Phase(Phase::Serving | Phase::Draining) | Event::Closing => true,
                Event::Opened => true,
                Event::Timer if end == Shutdown::Open && self.is_expired(now) => true,
                Event::Timer => {
                    match self.due(end, now) {
                        TimerAction::Later(at) => timer.as_mut().reset(at),
                        TimerAction::Drop => return,
                        TimerAction::ShutDown => {
                            self.stage.shut_down();
                            end = Shutdown::ShutDown(now);
                            timer.as_mut().reset(now);
                        }
                    }
                    false
                }
            };
            if begins_to_end {
                if end == Shutdown::Open {
                    self.activity.close();
                    end = Shutdown::Draining(now);
                }
                if let (Shutdown::Draining(_), Some(HttpVersion::Http2)) =
                    (end, self.stage.version())
                {
                    self.stage.shut_down();
                    end = Shutdown::ShutDown(now);
                }
                timer.as_mut().reset(now);
            }
        }
    }

    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What the time limits require now.
    ///
    /// The state changes without notice. The timer therefore checks it at least as often as the shortest time limit that a new state could have.
    fn due(&mut self, end: Shutdown, now: Instant) -> TimerAction {
        let Limits { header_read_timeout, idle_timeout, drain_grace, .. } =
            self.activity.server.limits;
        let look_again = match end {
            Shutdown::Draining(_) => header_read_timeout.min(drain_grace),
            Shutdown::Open | Shutdown::ShutDown(_) => header_read_timeout.min(idle_timeout),
        };
        let mut look_again = now + look_again;
        if let (Shutdown::Open, Some(expires)) = (end, self.expires) {
            look_again = look_again.min(expires);
        }
        if let Some(since) = self.activity.unfinished_since() {
            let at = since + header_read_timeout;
            if at <= now {
                tracing::debug!("the head of a request is not complete in time");
                return TimerAction::Drop;
            }
            look_again = look_again.min(at);
        }
        self.activity.settle(&mut self.since);
        let since = self.since;
        let (at, then) = match (self.activity.state(), end) {
            (ConnectionState::Busy, _) => {
                self.activity.check_socket();
                return TimerAction::Later(look_again);
            }
            (ConnectionState::Head, _) if self.stage.version() != Some(HttpVersion::Http2) => {
                (since + header_read_timeout, TimerAction::Drop)
            }
            (_, Shutdown::Open) => (since + idle_timeout, TimerAction::ShutDown),
            (_, Shutdown::Draining(start)) => {
                (since.max(start) + drain_grace, TimerAction::ShutDown)
            }
            (_, Shutdown::ShutDown(start)) => {
                (since.max(start) + header_read_timeout, TimerAction::Drop)
            }
        };
        if at <= now { then } else { TimerAction::Later(at.min(look_again)) }
    }
}

impl Stage {
    /// The HTTP version, once it is known.
    fn version(&self) -> Option<HttpVersion> {
        match self {
            Self::Opening(_) => None,
            Self::Open(open) => Some(open.version),
        }
    }

    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Self::Opening(opening) = self {
            match ready!(opening.as_mut().poll(cx)) {
                Ok(open) => *self = Self::Open(open),
                Err(error) => return Poll::Ready(Event::NotOpened(error)),
            }
        }
        match self {
            Self::Open(open) => open.http.as_mut().poll(cx).map(Event::Ended),
            Self::Opening(_) => Poll::Pending,
        }
    }

    /// Makes the connection end if it speaks HTTP.
    fn shut_down(&mut self) {
        if let Self::Open(open) = self {
            open.http.as_mut().shut_down();
        }
    }
}

/// What happens on a connection.
enum Event {
    NotOpened(io::Error),
    Ended(hyper::Result<()>),
    /// It speaks HTTP from now on, while it is to end.
    Opened,
    /// The phase of the server has changed.
    Phase(Phase),
    /// It has served as many requests as it may.
    Closing,
    Timer,
}

impl Event {
    /// Waits for a change of the phase, or the timer.
    async fn next(phase: &mut watch::Receiver<Phase>, timer: Pin<&mut Sleep>) -> Self {
        tokio::select! {
            biased;
            changed = phase.changed() => match changed {
                Ok(()) => Self::Phase(*phase.borrow_and_update()),
                // The server was dropped.
                Err(_) => Self::Phase(Phase::Aborting),
            },
            () = timer => Self::Timer,
        }
    }
}

/// How far the end of a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    Open,
    /// Responses have `Connection: close`. An idle connection stays open for a moment, as its client may have just sent a request.
    Draining(Instant),
    /// hyper was asked to end the connection: after the response in flight on HTTP/1, with GOAWAY on HTTP/2.
    ShutDown(Instant),
}

/// What to do when the timer fires.
enum TimerAction {
    Later(Instant),
    ShutDown,
    Drop,
}

/// The age with up to a tenth less or more: connections that were opened together don't end together.
fn jittered(age: Duration) -> Duration {
    let random = RandomState::new().hash_one(());
    age - age / 10 + (age / 5).mul_f64(random as f64 / u64::MAX as f64)
}

/// How much of one response HTTP/2 keeps for the socket: small, because the streams of a connection share its budget.
const STREAM_BUFFER: usize = 64 * 1024;
/// The window of a new connection (RFC 9113, 6.9.2), which can't be made smaller.
const SMALLEST_WINDOW: u32 = 65_535;
/// RFC 9113, 6.9.1.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
