//! Where a request comes from.

use std::net::SocketAddr;

/// The socket address of the peer of the connection, as the server puts it into the extensions of each request.
///
/// It is the address of the client, or that of the last proxy in front of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);
