//! Under a service manager that speaks systemd's protocols: sockets that it hands over, and word to it of how the server stands.
//!
//! Sources: `sd_listen_fds(3)`, `sd_notify(3)`.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;

use listenfd::ListenFd;

use super::{Listener, ServeError, Server};

impl Listener {
    /// The sockets that the service manager has handed over (`LISTEN_FDS`), in its order: TCP or Unix sockets. They are handed over
    /// once; what is asked later gets none.
    ///
    /// It removes the variables from the environment, so that no child process takes them for its own: call it at the start of `main`.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if one of them is something else.
    pub fn inherited() -> Result<Vec<Self>, ServeError> {
        let mut handed_over = ListenFd::from_env();
        (0..handed_over.len())
            .map(|index| {
                take(&mut handed_over, index).map_err(|source| {
                    ServeError::bind(Some(format!("LISTEN_FDS, {index}")), source)
                })
            })
            .collect()
    }
}

impl Server {
    /// A server on the sockets that the service manager has handed over, as [`Listener::inherited`] finds them; `None` if there are none.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if one of them is something else than a TCP or Unix socket.
    ///
    /// # Example
    ///
    /// ```
    /// # async fn run(api: tower_chain::ChainService) -> Result<(), tower_chain::ServeError> {
    /// use tower_chain::Server;
    ///
    /// let server = match Server::inherited()? {
    ///     Some(server) => server,
    ///     None => Server::bind("127.0.0.1:3000").await?,
    /// };
    /// server.serve(api).await
    /// # }
    /// ```
    pub fn inherited() -> Result<Option<Self>, ServeError> {
        let mut listeners = Listener::inherited()?.into_iter();
        Ok(listeners.next().map(|first| listeners.fold(Self::new(first), Self::listen)))
    }
}

fn take(handed_over: &mut ListenFd, index: usize) -> io::Result<Listener> {
    if let Ok(Some(tcp)) = handed_over.take_tcp_listener(index) {
        return tcp.try_into();
    }
    match handed_over.take_unix_listener(index)? {
        Some(unix) => unix.try_into(),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Tells the service manager how the server stands, if it has asked for that (`NOTIFY_SOCKET`).
pub(super) fn notify(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET").and_then(|path| path.into_string().ok()) else {
        return;
    };
    if let Err(error) = send(&path, state) {
        tracing::debug!(%error, "can't tell the service manager");
    }
}

fn send(path: &str, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A service manager that doesn't read holds nobody up.
    socket.set_nonblocking(true)?;
    match path.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let addr = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state.as_bytes(), &addr)?;
        }
        _ => {
            socket.send_to(state.as_bytes(), path)?;
        }
    }
    Ok(())
}
