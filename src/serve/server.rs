//! The server: its settings, and how it stops.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::net::ToSocketAddrs;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::accept::{accept_all, close};
use super::connection::SharedState;
use super::draining::{Draining, Stage};
use super::error::ServeError;
use super::limits::Limits;
use super::listener::{Listener, Security};
use super::log;
use super::notify::notify;
use super::open_files;
use super::per_core::Cores;
use super::phase::Phase;
use super::servable::{ErasedService, Servable, erased};
use super::signal::StopSignals;

/// A server that does not run yet: its listeners and its limits.
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
/// let stop = async { /* wait for a message, a signal, .. */ };
/// server.serve_until(stop, api).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a server does nothing until `serve` is awaited"]
pub struct Server {
    listeners: Vec<Listener>,
    limits: Limits,
    per_core: bool,
    stage: watch::Sender<Stage>,
}

#[allow(
    clippy::async_yields_async,
    reason = "the outer future resolves when the server shall stop, the inner one when it shall stop at once"
)]
impl Server {
    /// Creates a server on a TCP address. With port 0 the system chooses the port: see [`local_addr`](Server::local_addr).
    ///
    /// The socket is bound at once: clients can connect before [`serve`](Server::serve) runs.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if the address can't be bound.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self, ServeError> {
        Listener::bind(addr).await.map(Self::new)
    }

    /// Creates a server on a listener of this crate or of tokio.
    pub fn new(listener: impl Into<Listener>) -> Self {
        Self {
            listeners: vec![listener.into()],
            limits: Limits::default(),
            per_core: false,
            stage: watch::Sender::new(Stage::Serving),
        }
    }

    /// Adds a further listener.
    pub fn listen(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// Serves on one thread for each core that the process may use, each with a runtime and a listening socket of its own (`SO_REUSEPORT`).
    /// Defaults to off: all connections are accepted by one task of the runtime that calls [`serve`](Server::serve).
    ///
    /// One task that accepts all connections is the limit on machines with many cores and clients that reconnect often. With this, the
    /// system distributes new connections, and a connection stays on its core: no data moves between cores. A handler that blocks its
    /// thread delays only the connections of that core. All limits, certificates, the PROXY protocol and the drain apply to all cores
    /// together.
    ///
    /// - A connection that has much to do can't use a second core. Prefer the default for few connections with much work each.
    /// - The runtimes have one thread: `tokio::task::block_in_place` panics in them; `spawn_blocking` works. A task that a handler spawns ends
    ///   when the server has stopped.
    /// - Any program of the same user can listen on the address as well, if it sets `SO_REUSEPORT`.
    /// - Only Linux distributes connections. On other systems, for Unix sockets, and for sockets that the program has bound itself, the cores
    ///   accept from one shared socket.
    /// - While the server stops, connections in the queue of a core whose thread is blocked by a handler are served by the runtime that called
    ///   `serve`. From a socket that the program has bound itself, such a core still accepts until the handler returns, at most for
    ///   [`drain_deadline`](Server::drain_deadline).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn run(api: tower_chain::ChainService) -> Result<(), tower_chain::serve::ServeError> {
    /// use tower_chain::Server;
    ///
    /// Server::bind("0.0.0.0:3000").await?.per_core().serve(api).await
    /// # }
    /// ```
    pub fn per_core(mut self) -> Self {
        self.per_core = true;
        self
    }

    /// The TCP address of the first listener.
    ///
    /// # Errors
    ///
    /// An [`io::Error`](std::io::Error) if the system does not return it, or if the first listener is a Unix socket.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        // `new` takes the first one, so there is always one.
        self.listeners
            .first()
            .map_or_else(|| Err(std::io::ErrorKind::NotFound.into()), Listener::local_addr)
    }

    /// Returns a token by which handlers and streams learn that this server stops. See [`Draining`].
    pub fn draining(&self) -> Draining {
        Draining::new(&self.stage)
    }

    /// Sets how long a client may take to send the head of a request; before the first request also for the PROXY protocol and the TLS
    /// handshake. Defaults to 10 seconds.
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
    ///
    /// An extractor then answers with 408, and the connection ends.
    pub fn body_read_timeout(mut self, body_read_timeout: Duration) -> Self {
        self.limits.body_read_timeout = body_read_timeout;
        self
    }

    /// Sets how long the server waits altogether for the body of one request. The time that the handler takes between its reads does not count.
    /// Defaults to no limit: how long an upload takes depends on its size. See also [`min_body_rate`](Server::min_body_rate).
    pub fn body_timeout(mut self, body_timeout: Duration) -> Self {
        self.limits.body_timeout = body_timeout;
        self
    }

    /// Sets how many bytes of a body a client must send per second on average, while the server waits for it. Defaults to zero, which is no
    /// limit.
    ///
    /// It may fall behind by [`body_read_timeout`](Server::body_read_timeout), and does not get credit for having been faster before. Bodies
    /// that are sent while something happens, as in a stream of gRPC, need the default.
    pub fn min_body_rate(mut self, bytes_per_second: u32) -> Self {
        self.limits.min_body_rate = bytes_per_second;
        self
    }

    /// Sets how long a client may read nothing while the server has data to send. Defaults to 30 seconds.
    ///
    /// On HTTP/2, a stream that is not read for this time is reset. There a body is sent in pieces of up to 16 KiB, and the client has one second
    /// more for each 4 KiB of the piece.
    pub fn write_timeout(mut self, write_timeout: Duration) -> Self {
        self.limits.write_timeout = write_timeout;
        self
    }

    /// Sets how long the server waits altogether for a client to read one response. The time in which there is nothing to send does not count:
    /// a stream of events may take as long as it likes. Defaults to no limit. See also [`min_response_rate`](Server::min_response_rate).
    pub fn response_timeout(mut self, response_timeout: Duration) -> Self {
        self.limits.response_timeout = response_timeout;
        self
    }

    /// Sets how many bytes of a response a client must read per second on average, while the server has data to send. Defaults to zero, which
    /// is no limit.
    ///
    /// It may fall behind by [`write_timeout`](Server::write_timeout), and does not get credit for having been faster before.
    pub fn min_response_rate(mut self, bytes_per_second: u32) -> Self {
        self.limits.min_response_rate = bytes_per_second;
        self
    }

    /// Sets after how much time without data the system checks that a TCP client still exists, and again at this interval. Defaults to 60
    /// seconds; zero turns it off.
    ///
    /// It ends connections whose clients have lost their network, such as those of WebSockets, which have no other time limit. It has no
    /// effect outside of Unix, and none on connections that were accepted before the server runs.
    pub fn tcp_keepalive(mut self, tcp_keepalive: Duration) -> Self {
        self.limits.tcp_keepalive = tcp_keepalive;
        self
    }

    /// Sets how many connections are served at once. Defaults to 10,000.
    ///
    /// Further ones wait: one of each listener is accepted, the others stay in the queue of the system. The server logs at level `WARN` when
    /// connections begin to wait.
    ///
    /// On Unix, the server raises the number of files that the process may have open (the soft limit of `RLIMIT_NOFILE`), as far as this
    /// setting needs it and the hard limit permits it.
    pub fn max_connections(mut self, max_connections: usize) -> Self {
        self.limits.max_connections = max_connections;
        self
    }

    /// Sets how many connections one client may have open. Further ones are closed before anything is read. Defaults to no limit.
    ///
    /// A client is an IPv4 address, or an IPv6 network of 64 bits. Behind a proxy, all connections belong to the proxy, unless it sends the
    /// address of the client with the [PROXY protocol](Listener::proxy_protocol). Connections on a Unix socket are not counted.
    pub fn max_connections_per_client(mut self, max_connections_per_client: usize) -> Self {
        self.limits.max_connections_per_client = max_connections_per_client;
        self
    }

    /// Sets how many requests one connection may have before it ends. Defaults to no limit.
    ///
    /// On HTTP/1 the last response has `Connection: close`. On HTTP/2 the server sends `GOAWAY`, and still serves the requests that the client
    /// has sent before it receives that.
    pub fn max_requests_per_connection(mut self, max_requests_per_connection: u32) -> Self {
        self.limits.max_requests_per_connection = max_requests_per_connection;
        self
    }

    /// Sets how old a connection may become before it ends. Defaults to no limit.
    ///
    /// It makes clients that never disconnect, such as those of gRPC, connect again: to new servers behind a load balancer, or to a new
    /// address. The age has a tenth less or more, at random, and connections that were opened together don't end together. The connection ends
    /// as it does when the server stops: responses of HTTP/1 have `Connection: close`, and an idle connection is kept open for
    /// [`drain_grace`](Server::drain_grace); on HTTP/2 the server sends `GOAWAY`, and requests in flight finish.
    pub fn max_connection_age(mut self, max_connection_age: Duration) -> Self {
        self.limits.max_connection_age = max_connection_age;
        self
    }

    /// Sets how large the head of a request may be, in bytes. Defaults to 16 KiB, at most 408 KiB on HTTP/1.
    pub fn max_header_size(mut self, max_header_size: usize) -> Self {
        self.limits.max_header_size = max_header_size;
        self
    }

    /// Sets how many requests one HTTP/2 connection may have in flight. Defaults to 200.
    pub fn max_concurrent_streams(mut self, max_concurrent_streams: u32) -> Self {
        self.limits.max_concurrent_streams = max_concurrent_streams;
        self
    }

    /// Sets how many bytes of responses one connection may hold that its client has not taken yet. Defaults to 1 MiB.
    ///
    /// At the limit, bodies are not polled for further frames until the client reads, and on HTTP/2 no further handler starts. A frame that
    /// exists is always sent, and a frame of more than a quarter of the limit counts as a quarter: a large one doesn't stop the other streams.
    ///
    /// On HTTP/2 the same number limits two more things. The first is the heads of the requests in flight, except for the first 16 of them: a
    /// request beyond the limit is answered with 503. The second is the window of the connection, that is how many bytes of request bodies a
    /// client may send before a handler reads them; at least 64 KiB, at most 2 GiB.
    ///
    /// # Worst case
    ///
    /// For clients that send all they may and read nothing, the server holds at most, for *n* connections:
    ///
    /// | what | how much |
    /// | --- | --- |
    /// | responses that are sent in frames | [`max_buffered`](Server::max_buffered), and 2 *n* frames, and one for each thread of the runtime |
    /// | responses that handlers make whole | the same, where a response is one frame, and what the handlers make that run already while the limit is reached |
    /// | heads of requests in flight on HTTP/1 | *n* times [`max_header_size`](Server::max_header_size) |
    /// | heads of requests in flight on HTTP/2 | a quarter of [`max_buffered`](Server::max_buffered), and *n* times 16 times [`max_header_size`](Server::max_header_size) |
    /// | bodies of requests that no handler reads | *n* times 128 KiB on HTTP/1, *n* times this limit on HTTP/2 |
    /// | bodies of requests that extractors have read | the limit of the extractor for each request in flight |
    ///
    /// *n* is at most [`max_connections`](Server::max_connections), and for one client at most
    /// [`max_connections_per_client`](Server::max_connections_per_client). A client that reads nothing is dropped after
    /// [`write_timeout`](Server::write_timeout).
    pub fn max_buffered_per_connection(mut self, bytes: usize) -> Self {
        self.limits.max_buffered_per_connection = bytes;
        self
    }

    /// Sets how many bytes of responses the connections from one network may hold that their clients have not taken yet. Defaults to 64 MiB,
    /// half of what all connections may hold: one client can't use up the memory of the others.
    ///
    /// A network is an IPv4 network of 24 bits, or an IPv6 network of 48 bits. The heads of its HTTP/2 requests may take a quarter of this
    /// number in addition. Behind a proxy, all connections are from the network of the proxy, unless it sends the address of the client with
    /// the [PROXY protocol](Listener::proxy_protocol): set it to [`max_buffered`](Server::max_buffered) there. Connections on a Unix socket
    /// have no network.
    pub fn max_buffered_per_network(mut self, bytes: usize) -> Self {
        self.limits.max_buffered_per_network = bytes;
        self
    }

    /// Sets how many bytes of responses all connections together may hold that their clients have not taken yet. Defaults to 128 MiB.
    ///
    /// The heads of HTTP/2 requests that are in flight may take a quarter of this number in addition. One frame of each connection, the
    /// response of one handler that had to wait, and the heads of its first 16 requests are not counted: a client that reads is served even
    /// while others use up this limit. See
    /// [`max_buffered_per_connection`](Server::max_buffered_per_connection) for the worst case.
    pub fn max_buffered(mut self, bytes: usize) -> Self {
        self.limits.max_buffered = bytes;
        self
    }

    /// Sets how much of a body that no handler reads is read and dropped on HTTP/1, to keep the connection open. Defaults to 4 MiB.
    ///
    /// If it is known before the response that there is more, the response has `Connection: close`, and the connection ends. The rest of other
    /// bodies is read for at most 5 seconds.
    pub fn unread_body_limit(mut self, bytes: u64) -> Self {
        self.limits.unread_body = bytes;
        self
    }

    /// Sets how long the server still accepts connections after it was asked to stop, until load balancers have noticed. Defaults to zero.
    pub fn drain_delay(mut self, drain_delay: Duration) -> Self {
        self.limits.drain_delay = drain_delay;
        self
    }

    /// Sets how long an idle HTTP/1 connection is kept open while the server stops, for a request that the client has just sent. Defaults to
    /// 2 seconds.
    ///
    /// HTTP/1 can't announce the end of an idle connection. A client that sends a request while the server closes the connection loses it,
    /// and must not repeat a POST. Within this time, a client that is in use sends its next request: the response has `Connection: close`.
    /// It should be longer than the pauses of clients that keep connections open, and shorter than `drain_deadline`.
    ///
    /// A connection without a request so far is not idle: its client has [`header_read_timeout`](Server::header_read_timeout) to send one.
    pub fn drain_grace(mut self, drain_grace: Duration) -> Self {
        self.limits.drain_grace = drain_grace;
        self
    }

    /// Sets how long the server waits for requests in flight when it stops. Then they are dropped. Defaults to 30 seconds.
    ///
    /// The server also waits for upgraded connections, such as WebSockets, and for [`detached`](crate::serve::detached()) handlers. Upgraded
    /// connections and endless responses must be ended by their handlers: [`draining`](Server::draining) notifies them.
    pub fn drain_deadline(mut self, drain_deadline: Duration) -> Self {
        self.limits.drain_deadline = drain_deadline;
        self
    }

    /// Sets whether a client of HTTP/1 that closes its sending side after a request gets the response. Defaults to true.
    ///
    /// For the server, such a client looks like one that has closed the whole connection, until the system of the client refuses data. A
    /// handler whose client has disconnected therefore runs on, at most until the server writes to the connection or detects the reset: within
    /// [`header_read_timeout`](Server::header_read_timeout) after the client's system has sent it, which it does at once if it has not read
    /// all data, and otherwise in answer to a probe of [`tcp_keepalive`](Server::tcp_keepalive). A Unix socket distinguishes the two. If false, a handler is dropped as soon as
    /// its client closes its sending side.
    ///
    /// On HTTP/2 a client ends a stream by itself, and one that closes its sending side of the connection ends all streams.
    pub fn half_close(mut self, half_close: bool) -> Self {
        self.limits.half_close = half_close;
        self
    }

    /// Serves until the process receives SIGINT or SIGTERM, then lets the requests in flight finish.
    ///
    /// A second signal drops them at once.
    ///
    /// # Errors
    ///
    /// [`ServeError::Signal`] if no handler for signals can be installed, [`ServeError::Limit`] if a limit is zero.
    pub async fn serve<S>(self, service: S) -> Result<(), ServeError>
    where
        S: Servable,
    {
        let mut signals = StopSignals::new().map_err(ServeError::Signal)?;
        let stop = async move {
            signals.next().await;
            async move { signals.next().await }.boxed()
        };
        self.run(stop.boxed(), erased(service)).await
    }

    /// Serves until the future `stop` resolves, then lets the requests in flight finish.
    ///
    /// If the returned future is dropped, they are dropped at once.
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
        S: Servable,
    {
        // `stop` need not be `Send`, as the future of the server is.
        let (stopping, stopped) = oneshot::channel::<()>();
        let stopped = stopped.map(|_| std::future::pending().boxed());
        let served = self.run(stopped.boxed(), erased(service));
        let stop = async move {
            stop.await;
            drop(stopping);
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            never = stop => match never {},
            result = served => result,
        }
    }

    /// Serves until `stop` resolves. Its result is a future that resolves when the requests in flight shall be dropped.
    ///
    /// The future is boxed: the body of an `async fn` is compiled in the program that polls it, and this one contains the whole server.
    fn run(
        self,
        stop: BoxFuture<'static, BoxFuture<'static, ()>>,
        service: Arc<dyn ErasedService>,
    ) -> BoxFuture<'static, Result<(), ServeError>> {
        self.run_unboxed(stop, service).boxed()
    }

    async fn run_unboxed(
        self,
        stop: BoxFuture<'static, BoxFuture<'static, ()>>,
        service: Arc<dyn ErasedService>,
    ) -> Result<(), ServeError> {
        let Self { mut listeners, limits, per_core, stage } = self;
        let limits = limits.checked()?;
        log::report_missing_subscriber();
        open_files::permit(limits.max_connections);
        listeners.iter().for_each(|on| on.keep_alive(limits.tcp_keepalive));
        let (phase, watched) = watch::channel(Phase::Serving);
        let deadline = limits.drain_deadline;
        let delay = limits.drain_delay;
        let permits = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
        let shared = SharedState::new(service, limits, watched);
        let certificates: Vec<Security> = listeners.iter().map(|on| on.security.clone()).collect();
        // Dropped at the end, or with the future: that ends the threads.
        let mut cores = match per_core {
            true => Some(Cores::start(&mut listeners, &shared, &permits)?),
            false => None,
        };
        notify("READY=1");
        let abort = {
            let stop = async {
                let abort = stop.await.shared();
                stage.send_replace(Stage::Stopping);
                tokio::select! {
                    () = sleep(delay) => {}
                    () = abort.clone() => {}
                }
                abort
            };
            let serving = async {
                match &cores {
                    Some(_) => watch_certificates(&certificates).await,
                    None => {
                        let accepting = accept_all(&listeners, &shared, &permits);
                        tokio::join!(accepting, watch_certificates(&certificates));
                    }
                }
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                biased;
                abort = stop => abort,
                never = serving => match never {},
            }
        };
        notify("STOPPING=1");
        // Connections that the system has accepted are served. Later ones are refused, and can go to another server.
        close(listeners, &shared, &permits);
        if let Some(cores) = &mut cores {
            cores.stop_accepting(&shared, &permits);
        }
        shared.server.draining.store(true, Ordering::Release);
        phase.send_replace(Phase::Draining);
        stage.send_replace(Stage::Draining);
        let background = shared.server.background.clone();
        drop(shared);
        let ended = async {
            phase.closed().await;
            background.ended().await;
        };
        tokio::select! {
            biased;
            () = ended => return Ok(()),
            () = sleep(deadline) => tracing::warn!("requests were still in flight at the deadline"),
            () = abort => tracing::warn!("requests in flight are dropped"),
        }
        phase.send_replace(Phase::Aborting);
        // A handler that blocks its thread can't be dropped.
        let _ = timeout(ABORT, phase.closed()).await;
        Ok(())
    }
}

/// Reloads the certificates of the listeners when their files change. Never returns.
async fn watch_certificates(listeners: &[Security]) {
    #[cfg(feature = "tls")]
    futures_util::future::join_all(
        listeners.iter().filter_map(|on| on.tls.as_ref()).map(super::Tls::watch),
    )
    .await;
    #[cfg(not(feature = "tls"))]
    let _ = listeners;
}

/// How long the server waits until its dropped connections have ended.
const ABORT: Duration = Duration::from_secs(1);
