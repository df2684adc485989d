//! The client of a connection, as its requests see it.

use std::net::{IpAddr, SocketAddr};

use http::Extensions;

use crate::extensions::reused;
#[cfg(feature = "tls")]
use crate::extract::ClientCertificate;
use crate::extract::PeerAddr;

/// The client of a connection: its address, unless it came by a Unix socket, and its certificate, if it has shown one.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    addr: Option<PeerAddr>,
    #[cfg(feature = "tls")]
    pub(super) certificate: Option<ClientCertificate>,
}

impl Peer {
    pub(super) fn new(addr: Option<SocketAddr>) -> Self {
        // On a socket for both protocols, an IPv4 client is `::ffff:192.0.2.1`. One client should have one address.
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Self {
            addr: addr.map(canonical).map(PeerAddr),
            #[cfg(feature = "tls")]
            certificate: None,
        }
    }

    /// The address of the client.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.addr.map(|PeerAddr(addr)| addr.ip())
    }

    /// Adds the client to the extensions of a request.
    pub(super) fn describe(&self, extensions: &mut Extensions) {
        if let Some(addr) = self.addr {
            if extensions.is_empty() {
                *extensions = reused();
            }
            extensions.insert(addr);
        }
        #[cfg(feature = "tls")]
        if let Some(certificate) = &self.certificate {
            extensions.insert(certificate.clone());
        }
    }
}
