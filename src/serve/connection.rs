//! One connection, from the accepted socket to its end.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::activity::{Activity, ConnectionState};
use super::budget::LazyBudget;
use super::clients::Clients;
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
        // What opens the connection is freed before it is served.
        if let Some(connection) = Box::pin(self.open(socket, addr, security, permit)).await {
            connection.drive().await;
        }
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

    /// Opens a connection. `None` if its client takes too long, or makes an error.
    async fn open(
        self,
        socket: Socket,
        addr: Option<SocketAddr>,
        security: Security,
        permit: OwnedSemaphorePermit,
    ) -> Option<TimedConnection> {
        let server = self.server.clone();
        let activity = Arc::new(Activity::new());
        let pace = server.limits.response_pace();
        let io = Io::new(socket, activity.clone(), pace, self.phase.clone(), permit);
        let mut phase = self.phase.clone();
        // The time limit is the same while the server stops: the client may have sent its request already.
        let opened = timeout(
            server.limits.header_read_timeout,
            open(io, addr, security, server.clients.as_ref()),
        );
        let opened = tokio::select! {
            biased;
            opened = opened => opened,
            () = Phase::aborted(&mut phase) => return None,
        };
        match opened {
            Ok(Ok((OpenedStream::Plain(io), version, peer))) => {
                Some(self.serve(*io, version, peer, activity))
            }
            #[cfg(feature = "tls")]
            Ok(Ok((OpenedStream::Tls(io), version, peer))) => {
                Some(self.serve(*io, version, peer, activity))
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "connection not opened");
                None
            }
            Err(_) => {
                tracing::debug!("connection not opened in time");
                None
            }
        }
    }

    fn serve<I>(
        self,
        io: I,
        version: HttpVersion,
        peer: Peer,
        activity: Arc<Activity>,
    ) -> TimedConnection
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { service, server, phase } = self;
        let limits = &server.limits;
        let budget = Arc::new(LazyBudget::new(server.budget.clone(), peer.ip()));
        let (activity, state) = (activity.clone(), server.clone());
        let requests =
            Requests { service, peer, activity: activity.clone(), server: state, budget };
        let frames = (version == HttpVersion::Http2).then(|| {
            activity.begin_http2();
            Box::new([Frames::of_client(), Frames::of_server()])
        });
        let io = TokioIo::new(Clear { io, activity: activity.clone(), frames });
        let connection: Pin<Box<dyn Connection + Send>> = match version {
            HttpVersion::Http1 => {
                Box::pin(server.http1.serve_connection(io, requests).with_upgrades())
            }
            HttpVersion::Http2 => {
                let streams = Streams { pace: limits.response_pace() };
                Box::pin(limits.http2(streams).serve_connection(io, requests))
            }
        };
        let expires = Instant::now() + jittered(limits.max_connection_age);
        TimedConnection { connection, activity, server, phase, version, expires }
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

enum OpenedStream {
    Plain(Box<Io>),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::server::TlsStream<Io>>),
}

/// Reads the PROXY protocol, does the TLS handshake, and finds out the HTTP version.
async fn open(
    mut io: Io,
    addr: Option<SocketAddr>,
    security: Security,
    clients: Option<&Clients>,
) -> io::Result<(OpenedStream, HttpVersion, Peer)> {
    let mut peer = Peer::new(addr);
    if security.proxy_protocol
        // Boxed, because other connections don't need its state.
        && let Some(client) = Box::pin(proxy::read(&mut io)).await?
    {
        peer = Peer::new(Some(client));
    }
    if let (Some(clients), Some(addr)) = (clients, peer.ip()) {
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
        return Ok((OpenedStream::Tls(Box::new(io)), version, peer));
    }
    let version = match sniff(&mut io).await? {
        // hyper answers other bytes with GOAWAY.
        _ if security.http2_only => HttpVersion::Http2,
        version => version,
    };
    Ok((OpenedStream::Plain(Box::new(io)), version, peer))
}

/// Recognizes HTTP/2 by the first bytes (RFC 9113, 3.3).
async fn sniff(io: &mut Io) -> io::Result<HttpVersion> {
    let mut start = [0; PREFACE.len()];
    let mut buf = ReadBuf::new(&mut start);
    let version = loop {
        let before = buf.filled().len();
        std::future::poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, &mut buf)).await?;
        if buf.filled() == PREFACE {
            break HttpVersion::Http2;
        }
        if buf.filled().len() == before || !PREFACE.starts_with(buf.filled()) {
            break HttpVersion::Http1;
        }
    };
    io.unread(Bytes::copy_from_slice(buf.filled()));
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

/// A connection with its time limits.
struct TimedConnection {
    connection: Pin<Box<dyn Connection + Send>>,
    activity: Arc<Activity>,
    server: Arc<ServerState>,
    phase: watch::Receiver<Phase>,
    version: HttpVersion,
    /// When it is to end.
    expires: Instant,
}

impl TimedConnection {
    async fn drive(mut self) {
        let mut end = Shutdown::Open;
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut seldom = Seldom::default();
        loop {
            let event = {
                let Self { connection, activity, phase, .. } = &mut self;
                let mut event = pin!(Event::next(phase, activity, timer.as_mut(), end));
                seldom.reset();
                poll_fn(|cx| {
                    if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                        return Poll::Ready(Event::Ended(result));
                    }
                    activity.settle();
                    seldom.poll(event.as_mut(), cx)
                })
                .await
            };
            let now = Instant::now();
            let begins_to_end = match event {
                Event::Ended(result) => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                Event::Phase(Phase::Aborting) => return,
                Event::Phase(Phase::Serving | Phase::Draining) | Event::Closing => true,
                Event::Timer if end == Shutdown::Open && now >= self.expires => true,
                Event::Timer => {
                    match self.due(end, now) {
                        TimerAction::Later(at) => timer.as_mut().reset(at),
                        TimerAction::Drop => return,
                        TimerAction::ShutDown => {
                            self.connection.as_mut().shut_down();
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
                    if self.version == HttpVersion::Http2 {
                        self.connection.as_mut().shut_down();
                        end = Shutdown::ShutDown(now);
                    }
                }
                timer.as_mut().reset(now);
            }
        }
    }

    /// What the time limits require now.
    ///
    /// The state changes without notice. The timer therefore checks it at least as often as the shortest time limit that a new state could have.
    fn due(&self, end: Shutdown, now: Instant) -> TimerAction {
        let Limits { header_read_timeout, idle_timeout, drain_grace, .. } = self.server.limits;
        let look_again = match end {
            Shutdown::Draining(_) => header_read_timeout.min(drain_grace),
            Shutdown::Open | Shutdown::ShutDown(_) => header_read_timeout.min(idle_timeout),
        };
        let mut look_again = now + look_again;
        if end == Shutdown::Open {
            look_again = look_again.min(self.expires);
        }
        if let Some(since) = self.activity.unfinished_since() {
            let at = since + header_read_timeout;
            if at <= now {
                tracing::debug!("the head of a request is not complete in time");
                return TimerAction::Drop;
            }
            look_again = look_again.min(at);
        }
        let (at, then) = match (self.activity.state(), end) {
            (ConnectionState::Busy, _) => {
                self.activity.check_socket();
                return TimerAction::Later(look_again);
            }
            (ConnectionState::Head(since), _) if self.version == HttpVersion::Http1 => {
                (since + header_read_timeout, TimerAction::Drop)
            }
            (ConnectionState::Head(since) | ConnectionState::Idle(since), Shutdown::Open) => {
                (since + idle_timeout, TimerAction::ShutDown)
            }
            (
                ConnectionState::Head(since) | ConnectionState::Idle(since),
                Shutdown::Draining(start),
            ) => (since.max(start) + drain_grace, TimerAction::ShutDown),
            (
                ConnectionState::Head(since) | ConnectionState::Idle(since),
                Shutdown::ShutDown(start),
            ) => (since.max(start) + header_read_timeout, TimerAction::Drop),
        };
        if at <= now { then } else { TimerAction::Later(at.min(look_again)) }
    }
}

/// What happens on a connection.
enum Event {
    Ended(hyper::Result<()>),
    /// The phase of the server has changed.
    Phase(Phase),
    /// It has served as many requests as it may.
    Closing,
    Timer,
}

impl Event {
    /// Waits for the next event, except for the end of the connection.
    async fn next(
        phase: &mut watch::Receiver<Phase>,
        activity: &Activity,
        timer: Pin<&mut Sleep>,
        end: Shutdown,
    ) -> Self {
        tokio::select! {
            biased;
            changed = phase.changed() => match changed {
                Ok(()) => Self::Phase(*phase.borrow_and_update()),
                // The server was dropped.
                Err(_) => Self::Phase(Phase::Aborting),
            },
            () = activity.closing(), if end == Shutdown::Open => Self::Closing,
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
    let age = age.min(AGELESS);
    age - age / 10 + (age / 5).mul_f64(random as f64 / u64::MAX as f64)
}

/// Longer than any connection lasts.
const AGELESS: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How much of one response HTTP/2 keeps for the socket: small, because the streams of a connection share its budget.
const STREAM_BUFFER: usize = 64 * 1024;
/// The window of a new connection (RFC 9113, 6.9.2), which can't be made smaller.
const SMALLEST_WINDOW: u32 = 65_535;
/// RFC 9113, 6.9.1.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
