//! Why a server can't start.

use std::fmt;

/// Why a server can't start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// An address can't be bound.
    #[non_exhaustive]
    Bind {
        /// The address, unless its name could not be resolved.
        addr: Option<String>,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The process can't listen for signals.
    Signal(std::io::Error),
    /// A thread or a socket for one of the cores can't be created (see [`Server::per_core`](super::Server::per_core)).
    Core(std::io::Error),
    /// The limit with this name is zero: no request could be served.
    Limit(&'static str),
}

impl ServeError {
    pub(super) fn bind(addr: Option<String>, source: std::io::Error) -> Self {
        Self::Bind { addr, source }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { addr, source } => {
                let addr = addr.as_deref().unwrap_or("this address");
                let remedy = match source.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        "stop the program that listens there, or use another address"
                    }
                    std::io::ErrorKind::AlreadyExists => "move that file away, or use another path",
                    std::io::ErrorKind::NotFound => "create the directory first",
                    std::io::ErrorKind::PermissionDenied => {
                        "ports below 1024, and the directories of other users, need a privilege"
                    }
                    _ => "use an address of this machine, such as 127.0.0.1:3000",
                };
                write!(f, "can't listen on {addr}: {source}; {remedy}")
            }
            Self::Signal(source) => write!(f, "can't listen for signals: {source}"),
            Self::Core(source) => write!(f, "can't start a thread for each core: {source}"),
            Self::Limit(name) => {
                write!(f, "`{name}` is zero: no request could be served; make it larger")
            }
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::Signal(source) | Self::Core(source) => Some(source),
            Self::Limit(_) => None,
        }
    }
}
