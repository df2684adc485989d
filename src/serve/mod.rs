//! A server for HTTP/1.1 and HTTP/2.
//!
//! # What it does
//!
//! [`serve`] listens on an address and answers every request with a service, until the process gets SIGINT or SIGTERM; then it lets
//! the requests in flight end. [`Server`] is the same with knobs.
//!
//! # Example
//!
//! ```no_run
//! # async fn run() -> Result<(), tower_chain::ServeError> {
//! use tower_chain::Chain;
//!
//! let api = Chain::new().get(async || "hello").build();
//! tower_chain::serve("127.0.0.1:3000", api).await?;
//! # Ok(()) }
//! ```
//!
//! # Example, tuned
//!
//! ```no_run
//! # async fn run() -> Result<(), tower_chain::ServeError> {
//! use std::time::Duration;
//! use tower_chain::{Chain, Listener, Server};
//!
//! let api = Chain::new().get(async || "hello").build();
//! Server::bind("0.0.0.0:3000").await?
//!     .listen(Listener::bind_unix("/run/api.sock")?)
//!     .header_read_timeout(Duration::from_secs(5))
//!     .idle_timeout(Duration::from_secs(60))
//!     .max_connections(2_000)
//!     .drain_deadline(Duration::from_secs(20))
//!     .serve(api)
//!     .await?;
//! # Ok(()) }
//! ```
//!
//! # What the client sees
//!
//! | cause | answer |
//! | --- | --- |
//! | the service panics | 500 `application/problem+json`; the connection lives on |
//! | the body of a response panics | the response breaks off; on HTTP/2 the other streams live on |
//! | a handler doesn't read the body of the request | the answer; the rest of the body is read and dropped, up to [`Server::unread_body_limit`], and the connection lives on |
//! | a head that is no HTTP | 400, empty; the connection ends |
//! | a head larger than [`Server::max_header_size`] | 431, empty; the connection ends |
//! | a head that takes longer than [`Server::header_read_timeout`] | the connection ends |
//! | no request for [`Server::idle_timeout`] | the connection ends |
//! | a body of which nothing comes for [`Server::body_read_timeout`] | the handler sees an error of the body |
//! | a response of which nothing is read for [`Server::write_timeout`] | the connection ends, on HTTP/2 the stream |
//! | an HTTP/1.1 request without `Host`, or with several | 400 `application/problem+json` ([RFC 9112, 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)) |
//! | the server stops | on HTTP/1.1 the answers say `Connection: close`, on HTTP/2 comes `GOAWAY`; what is in flight ends |
//!
//! # What it provides
//!
//! [`PeerAddr`](crate::PeerAddr) in the extensions of every request that came by TCP.
//!
//! # Where to put it
//!
//! At the end of `main`. Behind a proxy, [`Listener::proxy_protocol`] or the proxy's own headers tell who the client is; in the open,
//! `Listener::tls` (feature `tls`). Under a service manager the feature `systemd` takes its sockets (`Server::inherited`), and tells it
//! `READY=1` and `STOPPING=1` if it asks for that (`Type=notify`).
//!
//! # Sources
//!
//! RFC 9110, 9112 and 9113, by [hyper](https://docs.rs/hyper). RFC 9112, 9.6 for the end of connections.

mod activity;
mod body;
mod connection;
mod io;
mod listener;
mod proxy;
mod request;
mod signal;
mod streams;
#[cfg(all(unix, feature = "systemd"))]
mod systemd;
#[cfg(feature = "tls")]
mod tls;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::ToSocketAddrs;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::{Request, Response};
use connection::{Phase, Service, Shared};
pub use listener::Listener;
use signal::StopSignals;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use tls::{Tls, TlsError};

/// Serves HTTP/1.1 and HTTP/2 on an address until the process gets SIGINT or SIGTERM, then lets the requests in flight end.
///
/// The service is a [`ChainService`](crate::ChainService), or any other tower service over the same types. [`Server`] has the knobs.
///
/// # Errors
///
/// [`ServeError::Bind`] if the address can't be bound.
///
/// # Example
///
/// ```no_run
/// # async fn run() -> Result<(), tower_chain::ServeError> {
/// use tower_chain::Chain;
///
/// let api = Chain::new().get(async || "hello").build();
/// tower_chain::serve("127.0.0.1:3000", api).await?;
/// # Ok(()) }
/// ```
pub async fn serve<S>(addr: impl ToSocketAddrs, service: S) -> Result<(), ServeError>
where
    S: tower::Service<Request, Response = Response, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    Server::bind(addr).await?.serve(service).await
}

/// A server before it serves: its listeners and its limits.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_chain::{Chain, Server};
///
/// let api = Chain::new().get(async || "hello").build();
/// let server = Server::bind("127.0.0.1:0").await?;
/// println!("http://{}", server.local_addr()?);
/// let stop = async { /* a message, a signal, .. */ };
/// server.serve_until(stop, api).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a server does nothing until `serve` is awaited"]
pub struct Server {
    listeners: Vec<Listener>,
    limits: Limits,
}

/// The knobs of a server.
#[derive(Clone, Debug)]
struct Limits {
    header_read_timeout: Duration,
    idle_timeout: Duration,
    body_read_timeout: Duration,
    write_timeout: Duration,
    drain_delay: Duration,
    drain_grace: Duration,
    drain_deadline: Duration,
    max_connections: usize,
    max_header_size: usize,
    max_concurrent_streams: u32,
    unread_body: u64,
    ping_interval: Duration,
    ping_timeout: Duration,
}

impl Server {
    /// A server on a TCP address. With port 0 the system chooses one: see [`local_addr`](Server::local_addr).
    ///
    /// The socket is bound at once, so that clients can connect before [`serve`](Server::serve) runs.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if the address can't be bound.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self, ServeError> {
        Listener::bind(addr).await.map(Self::new)
    }

    /// A server on a listener: one of ours, or one of tokio's.
    pub fn new(listener: impl Into<Listener>) -> Self {
        Self { listeners: vec![listener.into()], limits: Limits::default() }
    }

    /// Adds a further listener.
    pub fn listen(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// The TCP address of the first listener.
    ///
    /// # Errors
    ///
    /// An [`io::Error`](std::io::Error) if the system doesn't tell, or if the first listener is a Unix socket.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        // There is always a first one: `new` takes it.
        self.listeners
            .first()
            .map_or_else(|| Err(std::io::ErrorKind::NotFound.into()), Listener::local_addr)
    }

    /// Sets how long a client may take for the head of a request, and for what comes before the first one. Defaults to 10 seconds.
    pub fn header_read_timeout(mut self, header_read_timeout: Duration) -> Self {
        self.limits.header_read_timeout = header_read_timeout;
        self
    }

    /// Sets how long a connection may wait for its next request. Defaults to 75 seconds.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.limits.idle_timeout = idle_timeout;
        self
    }

    /// Sets how long a client may pause within the body of a request. Defaults to 30 seconds.
    pub fn body_read_timeout(mut self, body_read_timeout: Duration) -> Self {
        self.limits.body_read_timeout = body_read_timeout;
        self
    }

    /// Sets how long a client may read nothing while there is something to send. Defaults to 30 seconds.
    ///
    /// On HTTP/2 a stream ends that isn't read for so long, and a second more for each 4 KiB of the piece that is being sent.
    pub fn write_timeout(mut self, write_timeout: Duration) -> Self {
        self.limits.write_timeout = write_timeout;
        self
    }

    /// Sets how many connections are open at once; further ones wait in the queue of the system. Defaults to 10,000.
    pub fn max_connections(mut self, max_connections: usize) -> Self {
        self.limits.max_connections = max_connections;
        self
    }

    /// Sets how large the head of a request may be, in bytes. Defaults to 16 KiB.
    pub fn max_header_size(mut self, max_header_size: usize) -> Self {
        self.limits.max_header_size = max_header_size;
        self
    }

    /// Sets how many requests one HTTP/2 connection may have in flight. Defaults to 200.
    pub fn max_concurrent_streams(mut self, max_concurrent_streams: u32) -> Self {
        self.limits.max_concurrent_streams = max_concurrent_streams;
        self
    }

    /// Sets how much of a body that no handler reads is read and dropped on HTTP/1.1, so that the connection lives on. Defaults to 4 MiB.
    ///
    /// If there is more, or if it takes longer than 5 seconds, the connection ends after the response.
    pub fn unread_body_limit(mut self, bytes: u64) -> Self {
        self.limits.unread_body = bytes;
        self
    }

    /// Sets how long the server still accepts connections after it was asked to stop, for load balancers that take their time to
    /// notice. Defaults to zero.
    pub fn drain_delay(mut self, drain_delay: Duration) -> Self {
        self.limits.drain_delay = drain_delay;
        self
    }

    /// Sets how long an idle HTTP/1.1 connection is kept open while the server stops, for a request that is on its way. Defaults to 250
    /// milliseconds.
    pub fn drain_grace(mut self, drain_grace: Duration) -> Self {
        self.limits.drain_grace = drain_grace;
        self
    }

    /// Sets how long the requests in flight may take to end while the server stops; then they are dropped. Defaults to 30 seconds.
    pub fn drain_deadline(mut self, drain_deadline: Duration) -> Self {
        self.limits.drain_deadline = drain_deadline;
        self
    }

    /// Serves until the process gets SIGINT or SIGTERM, then lets the requests in flight end.
    ///
    /// A second signal ends them at once.
    ///
    /// # Errors
    ///
    /// [`ServeError::Signal`] if the process can't listen for signals; [`ServeError::Limit`] if a limit is zero.
    pub async fn serve<S>(self, service: S) -> Result<(), ServeError>
    where
        S: tower::Service<Request, Response = Response, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let mut signals = StopSignals::new().map_err(ServeError::Signal)?;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut stop = Some(stop);
        let mut run = pin!(self.serve_until(async { drop(stopped.await) }, service));
        loop {
            tokio::select! {
                result = run.as_mut() => return result,
                () = signals.next() => match stop.take() {
                    Some(stop) => drop(stop),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Serves until the future `stop` ends, then lets the requests in flight end.
    ///
    /// # Errors
    ///
    /// [`ServeError::Limit`] if a limit is zero.
    pub async fn serve_until<S>(
        self,
        stop: impl Future<Output = ()>,
        service: S,
    ) -> Result<(), ServeError>
    where
        S: tower::Service<Request, Response = Response, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let Self { listeners, limits } = self;
        limits.check()?;
        let (phase, watched) = watch::channel(Phase::Serving);
        let deadline = limits.drain_deadline;
        let delay = limits.drain_delay;
        let permits = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
        let shared = Shared::new(service, limits, watched);
        tell("READY=1");
        {
            let mut accepting: FuturesUnordered<_> =
                listeners.iter().map(|on| accept(on, &shared, &permits)).collect();
            let stop = async {
                stop.await;
                sleep(delay).await;
            };
            tokio::select! {
                biased;
                () = stop => {}
                _ = accepting.next() => {}
                () = watch_certificates(&listeners) => {}
            }
        }
        tell("STOPPING=1");
        // Who connected before is served, who connects later goes elsewhere.
        for on in listeners {
            let security = on.security.clone();
            for (socket, addr) in on.close() {
                let Ok(permit) = permits.clone().try_acquire_owned() else { break };
                tokio::spawn(shared.clone().connection(socket, addr, security.clone(), permit));
            }
        }
        shared.draining.store(true, Ordering::Release);
        phase.send_replace(Phase::Draining);
        drop(shared);
        if timeout(deadline, phase.closed()).await.is_err() {
            tracing::warn!("requests were still in flight at the deadline");
            phase.send_replace(Phase::Aborting);
        }
        Ok(())
    }
}

impl Limits {
    fn check(&self) -> Result<(), ServeError> {
        let durations = [
            (self.header_read_timeout, "header_read_timeout"),
            (self.idle_timeout, "idle_timeout"),
            (self.body_read_timeout, "body_read_timeout"),
            (self.write_timeout, "write_timeout"),
            (self.drain_grace, "drain_grace"),
        ];
        for (duration, name) in durations {
            if duration.is_zero() {
                return Err(ServeError::Limit(name));
            }
        }
        if self.max_connections == 0 {
            return Err(ServeError::Limit("max_connections"));
        }
        if self.max_header_size == 0 {
            return Err(ServeError::Limit("max_header_size"));
        }
        if self.max_concurrent_streams == 0 {
            return Err(ServeError::Limit("max_concurrent_streams"));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            drain_grace: Duration::from_millis(250),
            drain_deadline: Duration::from_secs(30),
            max_connections: 10_000,
            max_header_size: 16 * 1024,
            max_concurrent_streams: 200,
            unread_body: 4 * 1024 * 1024,
            ping_interval: Duration::from_secs(20),
            ping_timeout: connection::PING_TIMEOUT,
        }
    }
}

/// Why a server can't start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// An address can't be bound.
    #[non_exhaustive]
    Bind {
        /// The address, if its name could be resolved.
        addr: Option<String>,
        /// What the system says.
        source: std::io::Error,
    },
    /// The process can't listen for signals.
    Signal(std::io::Error),
    /// The limit with this name is zero, so that nothing could be served.
    Limit(&'static str),
}

impl ServeError {
    fn bind(addr: Option<String>, source: std::io::Error) -> Self {
        Self::Bind { addr, source }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { addr, source } => {
                let addr = addr.as_deref().unwrap_or("this address");
                let remedy = match source.kind() {
                    std::io::ErrorKind::AddrInUse => "stop what listens there, or take another one",
                    std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege",
                    _ => "take an address of this machine, such as 127.0.0.1:3000",
                };
                write!(f, "can't listen on {addr}: {source}; {remedy}")
            }
            Self::Signal(source) => write!(f, "can't listen for signals: {source}"),
            Self::Limit(name) => {
                write!(f, "`{name}` is zero, so that nothing could be served: make it larger")
            }
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::Signal(source) => Some(source),
            Self::Limit(_) => None,
        }
    }
}

/// Tells the service manager how the server stands.
fn tell(state: &str) {
    #[cfg(all(unix, feature = "systemd"))]
    systemd::notify(state);
    #[cfg(not(all(unix, feature = "systemd")))]
    let _ = state;
}

/// Looks after the files of the listeners' certificates, without end.
async fn watch_certificates(listeners: &[Listener]) {
    #[cfg(feature = "tls")]
    futures_util::future::join_all(
        listeners.iter().filter_map(|on| on.security.tls.as_ref()).map(Tls::watch),
    )
    .await;
    #[cfg(not(feature = "tls"))]
    let _ = listeners;
    std::future::pending().await
}

async fn accept<S: Service>(on: &Listener, shared: &Shared<S>, permits: &Arc<Semaphore>) {
    while accept_one(on, shared, permits).await.is_some() {}
}

/// Accepts one connection and lets it run. `None` means that there will be no further one.
async fn accept_one<S: Service>(
    on: &Listener,
    shared: &Shared<S>,
    permits: &Arc<Semaphore>,
) -> Option<()> {
    let permit = permits.clone().acquire_owned().await.ok()?;
    let (socket, addr) = on.accept().await;
    let shared = shared.clone();
    tokio::spawn(shared.connection(socket, addr, on.security.clone(), permit));
    Some(())
}
