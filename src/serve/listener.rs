//! Listeners: the sockets that accept connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

use super::error::ServeError;
use super::io::Socket;
#[cfg(feature = "tls")]
use super::tls::Tls;
#[cfg(unix)]
use super::unix_socket::UnixSocket;

/// A socket that accepts connections, and what each connection begins with before HTTP: the PROXY protocol, TLS, or neither.
///
/// # Example
///
/// ```
/// # async fn run(api: tower_chain::ChainService) -> Result<(), tower_chain::serve::ServeError> {
/// use tower_chain::serve::Listener;
/// use tower_chain::Server;
///
/// Server::bind("0.0.0.0:3000").await?
///     .listen(Listener::bind("[::1]:3001").await?)
///     .serve(api)
///     .await
/// # }
/// ```
pub struct Listener {
    socket: ListenerSocket,
    /// The length of its queue, if this crate has bound it.
    backlog: Option<u32>,
    pub(super) security: Security,
}

enum ListenerSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixSocket),
}

/// What a connection begins with before HTTP.
#[derive(Clone, Debug, Default)]
pub(super) struct Security {
    pub(super) proxy_protocol: bool,
    pub(super) http2_only: bool,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Tls>,
}

impl Listener {
    /// Listens on a TCP address. With port 0 the system chooses the port: see [`local_addr`](Listener::local_addr).
    ///
    /// If a name has several addresses, the first one that can be bound is used.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if no address can be bound.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self, ServeError> {
        Self::bind_with_backlog(addr, BACKLOG).await
    }

    /// As [`bind`](Listener::bind), with a queue of this length for connections that the server has not accepted yet. `bind` has 4,096.
    ///
    /// The system may have a smaller maximum (on Linux `net.core.somaxconn`). It refuses or ignores connections beyond the queue.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if no address can be bound.
    pub async fn bind_with_backlog(
        addr: impl ToSocketAddrs,
        backlog: u32,
    ) -> Result<Self, ServeError> {
        let addrs = lookup_host(addr).await.map_err(|source| ServeError::bind(None, source))?;
        let mut last = ServeError::bind(None, io::ErrorKind::AddrNotAvailable.into());
        for addr in addrs {
            match listen(addr, backlog) {
                Ok(listener) => return Ok(Self { backlog: Some(backlog), ..listener.into() }),
                Err(source) => last = ServeError::bind(Some(addr.to_string()), source),
            }
        }
        Err(last)
    }

    /// Listens on a Unix socket.
    ///
    /// If the path is a socket on which no process listens, as a server that was killed leaves it behind, that socket is replaced. Anything
    /// else at the path is kept, and is an error: a file, a directory, a symbolic link (also one to a socket), or a socket that is in use.
    /// The permissions of the new socket follow from the umask of the process. On Linux, a path that starts with a NUL byte is an abstract
    /// name, which is not a file.
    ///
    /// The socket is removed from the file system as soon as the server stops accepting connections, or when the listener is dropped. It is
    /// kept if the path is no longer the socket that this listener has bound. A socket that another process has bound and handed over is
    /// never removed.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if the path can't be bound, or if it is in use.
    #[cfg(unix)]
    pub fn bind_unix(path: impl AsRef<Path>) -> Result<Self, ServeError> {
        let path = path.as_ref();
        let socket = UnixSocket::bind(path)
            .map_err(|source| ServeError::bind(Some(path.display().to_string()), source))?;
        Ok(ListenerSocket::Unix(socket).into())
    }

    /// Expects TLS on every connection. Defaults to off.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.security.tls = Some(tls);
        self
    }

    /// Expects a header of the [PROXY protocol](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt), version 1 or 2, at the start
    /// of every connection, and takes the address of the client from it. A connection without that header is closed. Defaults to off.
    ///
    /// Any program that can connect to this listener can claim any address. Use it only where the proxy alone can connect.
    ///
    /// # Example
    ///
    /// ```
    /// # async fn run(api: tower_chain::ChainService) -> Result<(), tower_chain::serve::ServeError> {
    /// use tower_chain::serve::Listener;
    /// use tower_chain::Server;
    ///
    /// Server::new(Listener::bind("10.0.0.5:3000").await?.proxy_protocol()).serve(api).await
    /// # }
    /// ```
    #[must_use]
    pub fn proxy_protocol(mut self) -> Self {
        self.security.proxy_protocol = true;
        self
    }

    /// Accepts HTTP/2 only: by prior knowledge without TLS (RFC 9113, 3.3), and by ALPN with TLS. Other connections are closed. Defaults to
    /// off: without TLS, the server recognizes HTTP/2 by its first bytes.
    ///
    /// Use it for gRPC, and behind a proxy that speaks HTTP/2 to the server: nothing can then be taken for HTTP/1.
    #[must_use]
    pub fn http2_only(mut self) -> Self {
        self.security.http2_only = true;
        self
    }

    /// The TCP address on which this listens.
    ///
    /// # Errors
    ///
    /// An [`io::Error`] if the system does not return it, or if this is a Unix socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            ListenerSocket::Tcp(listener) => listener.local_addr(),
            #[cfg(unix)]
            ListenerSocket::Unix(_) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "a Unix socket has no such address"))
            }
        }
    }

    /// Copies for several runtimes. Accepted connections are distributed by the system where it can; elsewhere all copies accept from one
    /// socket.
    pub(super) fn copies(self, count: usize, keep_alive: Duration) -> io::Result<Copies> {
        let Self { socket, backlog, security } = self;
        let with = |socket| StdListener { socket, backlog, security: security.clone(), keep_alive };
        Ok(match socket {
            ListenerSocket::Tcp(listener) => {
                // A socket that the program has bound may have options that further ones would not have, such as a single interface.
                let mut copies = backlog
                    .map_or_else(Vec::new, |backlog| copies_of(&listener, count - 1, backlog));
                let first = listener.into_std()?;
                while copies.len() < count - 1 {
                    copies.push(first.try_clone()?);
                }
                copies.push(first);
                // Other processes may accept from a socket that was bound elsewhere, so it is only closed.
                let own = if backlog.is_some() { &copies[..] } else { &[] };
                let own: io::Result<Vec<_>> = own.iter().map(|socket| socket.try_clone()).collect();
                let of = |sockets: Vec<_>| sockets.into_iter().map(StdSocket::Tcp).map(with);
                Copies { stopped: of(own?).collect(), accepting: of(copies).collect(), kept: None }
            }
            #[cfg(unix)]
            ListenerSocket::Unix(socket) => {
                let (copies, rest) = socket.copies(count)?;
                Copies {
                    accepting: copies.into_iter().map(StdSocket::Unix).map(with).collect(),
                    stopped: Vec::new(),
                    kept: Some(Self { security, ..ListenerSocket::Unix(rest).into() }),
                }
            }
        })
    }

    /// Makes the system check idle connections at this interval. Accepted sockets inherit that from the listener.
    pub(super) fn keep_alive(&self, interval: Duration) {
        #[cfg(unix)]
        if let ListenerSocket::Tcp(listener) = &self.socket
            && let Err(error) = keep_alive(listener, interval)
        {
            tracing::warn!(%error, "can't set TCP keepalive");
        }
        #[cfg(not(unix))]
        let _ = interval;
    }

    /// Returns the next connection. After an error that concerns more than one connection it pauses: while the process has no file descriptor
    /// left, the next call would fail as well.
    pub(super) async fn accept(&self) -> (Socket, Option<SocketAddr>) {
        let mut pause = Duration::from_millis(10);
        loop {
            match self.try_accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "can't accept connections, trying again");
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    /// Stops listening. Returns the connections that the system has accepted already, as closing the listener would reset them.
    ///
    /// It calls the system directly: tokio would first wait for an event that reports them.
    pub(super) fn close(self) -> Vec<(Socket, Option<SocketAddr>)> {
        match self.socket {
            ListenerSocket::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else { return Vec::new() };
                let accepted = all_of(
                    || listener.accept(),
                    |(socket, addr)| {
                        let _ = socket.set_nodelay(true);
                        socket.set_nonblocking(true)?;
                        Ok((Socket::Tcp(TcpStream::from_std(socket)?), Some(addr)))
                    },
                );
                // A core whose thread is blocked has a copy of the socket, which would go on listening.
                #[cfg(unix)]
                if self.backlog.is_some() {
                    let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
                }
                accepted
            }
            #[cfg(unix)]
            ListenerSocket::Unix(socket) => {
                // Removes the path first: a client that still finds it has its connection accepted.
                let Ok(listener) = socket.into_listener().into_std() else { return Vec::new() };
                all_of(
                    || listener.accept(),
                    |(socket, _)| {
                        socket.set_nonblocking(true)?;
                        Ok((Socket::Unix(UnixStream::from_std(socket)?), None))
                    },
                )
            }
        }
    }

    async fn try_accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        match &self.socket {
            ListenerSocket::Tcp(listener) => {
                let (socket, addr) = listener.accept().await?;
                // The server writes whole responses. Waiting for more data would only delay them.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "can't set TCP_NODELAY");
                }
                Ok((Socket::Tcp(socket), Some(addr)))
            }
            #[cfg(unix)]
            ListenerSocket::Unix(socket) => {
                let (socket, _) = socket.listener().accept().await?;
                Ok((Socket::Unix(socket), None))
            }
        }
    }
}

impl From<ListenerSocket> for Listener {
    fn from(socket: ListenerSocket) -> Self {
        Self { socket, backlog: None, security: Security::default() }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        ListenerSocket::Tcp(listener).into()
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        ListenerSocket::Unix(listener.into()).into()
    }
}

/// A listener of the standard library. It is set to non-blocking mode.
impl TryFrom<std::net::TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Self::from)
    }
}

/// A listener of the standard library. It is set to non-blocking mode.
#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener).map(Self::from)
    }
}

/// The copies of a listener for several runtimes.
pub(super) struct Copies {
    pub(super) accepting: Vec<StdListener>,
    /// The same sockets once more, to be closed when the server stops, for cores that can't do it because their thread is blocked.
    pub(super) stopped: Vec<StdListener>,
    /// What has to live as long as they accept.
    pub(super) kept: Option<Listener>,
}

/// A listener that belongs to no runtime yet.
pub(super) struct StdListener {
    socket: StdSocket,
    backlog: Option<u32>,
    security: Security,
    keep_alive: Duration,
}

enum StdSocket {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

impl TryFrom<StdListener> for Listener {
    type Error = io::Error;

    fn try_from(listener: StdListener) -> io::Result<Self> {
        let StdListener { socket, backlog, security, keep_alive } = listener;
        let this: Self = match socket {
            StdSocket::Tcp(socket) => socket.try_into()?,
            #[cfg(unix)]
            StdSocket::Unix(socket) => socket.try_into()?,
        };
        this.keep_alive(keep_alive);
        Ok(Self { backlog, security, ..this })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Listener");
        match &self.socket {
            ListenerSocket::Tcp(listener) => debug.field("socket", listener),
            #[cfg(unix)]
            ListenerSocket::Unix(socket) => debug.field("socket", socket),
        };
        debug.field("security", &self.security).finish()
    }
}

/// As tokio's own `bind`, but for the length of the queue.
fn listen(addr: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // On Windows it would let two programs listen on the same address.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(backlog)
}

/// Further sockets on the address of a listener, among which the system distributes connections. Fewer than `count` if it can't.
#[cfg(target_os = "linux")]
fn copies_of(listener: &TcpListener, count: usize, backlog: u32) -> Vec<std::net::TcpListener> {
    let copy = || {
        let addr = listener.local_addr()?;
        // The system adds the first socket to the group of the others when they are bound.
        rustix::net::sockopt::set_socket_reuseport(listener, true)?;
        let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(addr)?;
        socket.listen(backlog)?.into_std()
    };
    let copies: io::Result<Vec<_>> = (0..count).map(|_| copy()).collect();
    copies.unwrap_or_else(|error: io::Error| {
        tracing::info!(%error, "the cores accept from one socket");
        Vec::new()
    })
}

#[cfg(not(target_os = "linux"))]
fn copies_of(_: &TcpListener, _: usize, _: u32) -> Vec<std::net::TcpListener> {
    Vec::new()
}

#[cfg(unix)]
fn keep_alive(listener: &TcpListener, interval: Duration) -> rustix::io::Result<()> {
    use rustix::net::sockopt;

    sockopt::set_socket_keepalive(listener, !interval.is_zero())?;
    if interval.is_zero() {
        return Ok(());
    }
    // The system counts in seconds, at most 32,767 of them.
    let interval = interval.clamp(Duration::from_secs(1), Duration::from_secs(32_767));
    sockopt::set_tcp_keepidle(listener, interval)?;
    sockopt::set_tcp_keepintvl(listener, interval)
}

/// Accepts until no connection is waiting.
fn all_of<T, U>(
    mut accept: impl FnMut() -> io::Result<T>,
    prepare: impl Fn(T) -> io::Result<U>,
) -> Vec<U> {
    let mut accepted = Vec::new();
    loop {
        match accept() {
            Ok(socket) => accepted.extend(prepare(socket)),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return accepted,
            // The server has stopped this socket already, by its other copy.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept the waiting connections, they are reset");
                return accepted;
            }
        }
    }
}

/// Whether the error concerns one connection only. The next one may then be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// How many connections wait in the queue of the system by default: as many as Linux permits unless configured.
const BACKLOG: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_sockets_send_without_delay() {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let _first = TcpStream::connect(addr).await.unwrap();
        let (first, _) = listener.accept().await;
        let _second = TcpStream::connect(addr).await.unwrap();
        let mut sockets = vec![first];
        sockets.extend(listener.close().into_iter().map(|(socket, _)| socket));
        assert_eq!(sockets.len(), 2);
        for socket in sockets {
            assert!(matches!(socket, Socket::Tcp(socket) if socket.nodelay().unwrap()));
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_sockets_are_checked_while_idle() {
        use rustix::net::sockopt::{socket_keepalive, tcp_keepidle, tcp_keepintvl};

        for (interval, expected) in [
            (Duration::ZERO, None),
            (Duration::from_millis(1), Some(1)),
            (Duration::from_secs(60), Some(60)),
            (Duration::MAX, Some(32_767)),
        ] {
            let listener = Listener::bind("127.0.0.1:0").await.unwrap();
            listener.keep_alive(interval);
            let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (Socket::Tcp(socket), _) = listener.accept().await else { panic!() };
            assert_eq!(socket_keepalive(&socket).unwrap(), expected.is_some());
            if let Some(seconds) = expected {
                assert_eq!(tcp_keepidle(&socket).unwrap(), Duration::from_secs(seconds));
                assert_eq!(tcp_keepintvl(&socket).unwrap(), Duration::from_secs(seconds));
            }
        }
    }

    #[test]
    fn an_aborted_connection_does_not_hide_the_next_ones() {
        use io::ErrorKind::{ConnectionAborted, Interrupted, OutOfMemory, WouldBlock};
        for last in [WouldBlock, OutOfMemory] {
            let answers =
                [Ok(1), Err(ConnectionAborted), Ok(2), Err(Interrupted), Ok(3), Err(last), Ok(4)];
            let mut answers = answers.into_iter();
            let accept = || answers.next().unwrap().map_err(io::Error::from);
            let odd =
                |number: u32| if number % 2 == 1 { Ok(number) } else { Err(WouldBlock.into()) };
            assert_eq!(all_of(accept, odd), [1, 3]);
        }
    }
}
