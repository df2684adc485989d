//! Sockets that a service manager has opened and hands over, by the protocol of systemd.
//!
//! Source: `sd_listen_fds(3)`.

use std::io;

use listenfd::ListenFd;

use super::error::ServeError;
use super::listener::Listener;
use super::server::Server;

impl Listener {
    /// Returns the sockets that the service manager has handed over (`LISTEN_FDS`), in its order: TCP or Unix sockets. A second call returns
    /// none.
    ///
    /// It removes the variables from the environment, as a child process would take them for its own. Call it at the start of `main`.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if one of them is of another kind.
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
    /// Creates a server on the sockets that the service manager has handed over (see [`Listener::inherited`]). Returns `None` if there are none.
    ///
    /// # Errors
    ///
    /// [`ServeError::Bind`] if one of them is neither a TCP nor a Unix socket.
    ///
    /// # Example
    ///
    /// ```
    /// # async fn run(api: tower_chain::ChainService) -> Result<(), tower_chain::serve::ServeError> {
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
