//! The client of a connection, as its requests see it.

use std::net::SocketAddr;

use http::Extensions;

#[cfg(feature = "tls")]
use crate::extract::ClientCertificate;
use crate::extract::PeerAddr;

/// The client of a connection: its address, unless it came by a Unix socket, and its certificate, if it has shown one.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) addr: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    pub(super) certificate: Option<ClientCertificate>,
}

impl Peer {
    pub(super) fn new(addr: Option<SocketAddr>) -> Self {
        Self {
            addr,
            #[cfg(feature = "tls")]
            certificate: None,
        }
    }

    /// Adds the client to the extensions of a request.
    pub(super) fn describe(&self, extensions: &mut Extensions) {
        if let Some(addr) = self.addr {
            // On a socket for both protocols, an IPv4 client is `::ffff:192.0.2.1`. One client should have one address.
            extensions.insert(PeerAddr(SocketAddr::new(addr.ip().to_canonical(), addr.port())));
        }
        #[cfg(feature = "tls")]
        if let Some(certificate) = &self.certificate {
            extensions.insert(certificate.clone());
        }
    }
}
