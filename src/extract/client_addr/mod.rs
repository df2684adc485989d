//! The address of the client, by an algorithm that fails safe behind proxies.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum_core::extract::FromRequestParts;
use http::header::{FORWARDED, HeaderName};
use http::request::Parts;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

use crate::Error;

/// The socket address of the peer: the host at the other end of the connection, which may be a proxy.
///
/// The server inserts it in the extensions of each request. [`ClientAddr`] and `RateLimit` read it. A host other than the server of this crate
/// must insert it itself:
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::Router;
/// use axum::extract::{ConnectInfo, Request};
/// use axum::middleware::map_request;
/// use tower_chain::extract::PeerAddr;
///
/// async fn peer(ConnectInfo(addr): ConnectInfo<SocketAddr>, mut req: Request) -> Request {
///     req.extensions_mut().insert(PeerAddr(addr));
///     req
/// }
///
/// // Served with `into_make_service_with_connect_info::<SocketAddr>()`.
/// let app: Router = Router::new().layer(map_request(peer));
/// # let _ = app;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Extracts the address of the client.
///
/// It is the address of the peer, unless [`TrustedProxies`] was [provided](crate::Chain::provide) and the peer is one of them. An IPv4
/// address that an IPv6 socket reports as `::ffff:a.b.c.d` is returned as IPv4.
///
/// There is no safe default for a server behind a proxy: only its operator knows which header field the proxy sets, and how many proxies there
/// are. Without [`TrustedProxies`], forwarding header fields are ignored, because any client can send them.
///
/// # Errors
///
/// Refuses with 500 if the request has no [`PeerAddr`], which is a fault of the host.
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::extract::{ClientAddr, ForwardedHeader, TrustedProxies};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proxies = TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, ["10.0.0.0/8"])?;
/// let chain = Chain::new()
///     .provide(proxies)
///     .get(async |ClientAddr(addr): ClientAddr| format!("you are {addr}"));
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// Finds the address of the client of a request, as the extractor does; `None` without a [`PeerAddr`].
    #[inline]
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Option<Self> {
        let peer = match &extensions.get::<PeerAddr>()?.0 {
            SocketAddr::V4(peer) => IpAddr::V4(*peer.ip()),
            SocketAddr::V6(peer) => peer.ip().to_canonical(),
        };
        Some(Self(match extensions.get::<TrustedProxies>() {
            Some(proxies) => proxies.client(peer, headers),
            None => peer,
        }))
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::of(&parts.headers, &parts.extensions).ok_or_else(|| {
            Error::internal(
                "the request has no `PeerAddr`; the host must insert it in the extensions",
            )
        })
    }
}

/// Which proxies are trusted to report the address of the client, and in which header field.
///
/// Exactly one header field is read: the one that the proxy is known to set. All others come from the client. Its lines are joined in order and
/// read from the right, where the nearest proxy has written. Trusted addresses are skipped. The first one that is not trusted is the client.
/// The search stops at an entry that is not an address (`unknown`, an obfuscated name, garbage), and the proxy that wrote it counts as the client.
///
/// Provide it with [`Chain::provide`](crate::Chain::provide) for [`ClientAddr`] and for every `RateLimit` after it.
///
/// # Example
///
/// ```
/// use tower_chain::extract::{ForwardedHeader, TrustedProxies};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // nginx on the same host
/// let local = TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, ["127.0.0.1", "::1"])?;
/// // a load balancer that appends the client and itself
/// let cloud = TrustedProxies::hops(ForwardedHeader::XForwardedFor, 2)?;
/// # let _ = (local, cloud);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TrustedProxies {
    header: ForwardedHeader,
    trust: Trust,
}

#[derive(Clone, Debug)]
enum Trust {
    Networks(Arc<[Network]>),
    Hops(usize),
}

impl TrustedProxies {
    /// Trusts the proxies in these networks, each as `10.0.0.0/8`, `2001:db8::/32` or a single address.
    ///
    /// If the peer isn't in one of them, the header is ignored.
    ///
    /// # Errors
    ///
    /// [`TrustedProxiesError::Network`] if a network can't be parsed, [`TrustedProxiesError::Empty`] if there is none.
    pub fn cidrs<I>(header: ForwardedHeader, networks: I) -> Result<Self, TrustedProxiesError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let networks = networks
            .into_iter()
            .map(|network| network.as_ref().parse())
            .collect::<Result<Arc<[Network]>, _>>()?;
        if networks.is_empty() {
            return Err(TrustedProxiesError::Empty);
        }
        Ok(Self { header, trust: Trust::Networks(networks) })
    }

    /// Trusts that there are exactly this many proxies in front of the server, with any addresses: the client is the entry that is the `hops`-th
    /// from the right.
    ///
    /// The server must not be reachable without going through the proxies. The client of a request with fewer entries is its peer.
    ///
    /// # Errors
    ///
    /// [`TrustedProxiesError::Hops`] unless `hops` is 1 to 32, or 1 for a header field with a single address.
    pub fn hops(header: ForwardedHeader, hops: usize) -> Result<Self, TrustedProxiesError> {
        let most = if header.is_single() { 1 } else { MAX_HOPS };
        if !(1..=most).contains(&hops) {
            return Err(TrustedProxiesError::Hops);
        }
        Ok(Self { header, trust: Trust::Hops(hops) })
    }

    /// Finds the address of the client of a request with these headers that came from `peer`. It is canonical.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        match &self.trust {
            Trust::Networks(networks) => {
                let trusted = |addr: IpAddr| networks.iter().any(|network| network.contains(addr));
                if !trusted(peer) {
                    return peer;
                }
                let mut last = peer;
                self.entries(headers, |entry| {
                    let Some(addr) = entry else { return true };
                    last = addr;
                    !trusted(addr)
                });
                last
            }
            Trust::Hops(hops) => {
                let (mut left, mut client) = (*hops, peer);
                self.entries(headers, |entry| {
                    left -= 1;
                    if left == 0 {
                        client = entry.unwrap_or(peer);
                    }
                    left == 0 || entry.is_none()
                });
                client
            }
        }
    }

    /// Whether every address of a family is trusted. A client that reaches the server directly can then claim any address.
    pub fn trusts_everyone(&self) -> bool {
        match &self.trust {
            Trust::Networks(networks) => networks.iter().any(|network| network.0.prefix_len() == 0),
            Trust::Hops(_) => false,
        }
    }

    /// Passes the entries of the header field to `stop`, from the right, until it returns `true`. `None` is an entry that is not an address.
    fn entries(&self, headers: &HeaderMap, mut stop: impl FnMut(Option<IpAddr>) -> bool) {
        let mut lines = headers.get_all(self.header.name()).iter();
        if self.header.is_single() {
            let (Some(line), None) = (lines.next(), lines.next()) else { return };
            let entry = line.to_str().ok().and_then(|text| self.header.entry(text));
            if entry.is_some() {
                stop(entry);
            }
            return;
        }
        // Bytes, not text: an entry of the client on the left must not invalidate the entries of proxies on the right.
        let (mut hops, mut bytes) = (0, 0);
        for line in lines.rev() {
            for entry in line.as_bytes().rsplit(|byte| *byte == b',') {
                hops += 1;
                bytes += entry.len();
                if hops > MAX_HOPS || bytes > MAX_BYTES {
                    return;
                }
                let entry = std::str::from_utf8(entry).ok();
                if stop(entry.and_then(|entry| self.header.entry(entry))) {
                    return;
                }
            }
        }
    }
}

/// The header field in which a proxy reports the address of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: client, proxy`, to which each proxy appends its peer. Ports and brackets are accepted.
    XForwardedFor,
    /// `Forwarded: for=192.0.2.60;proto=http, for="[2001:db8::1]:4711"` ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)).
    Forwarded,
    /// `CloudFront-Viewer-Address: 192.0.2.60:46532`, with IPv6 addresses without brackets.
    CloudFrontViewerAddress,
    /// A header field with one address, such as `X-Real-IP`, `CF-Connecting-IP`, `True-Client-IP` or `Fly-Client-IP`. It is ignored if it is sent
    /// twice, or contains a comma.
    Single(HeaderName),
}

impl ForwardedHeader {
    /// The name of the header field.
    pub fn name(&self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED,
            Self::CloudFrontViewerAddress => CLOUDFRONT_VIEWER_ADDRESS,
            Self::Single(name) => name.clone(),
        }
    }

    fn is_single(&self) -> bool {
        matches!(self, Self::CloudFrontViewerAddress | Self::Single(_))
    }

    fn entry(&self, text: &str) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor | Self::Single(_) => node(text),
            Self::Forwarded => {
                let mut found = None;
                for pair in text.split(';') {
                    let (name, value) = pair.split_once('=')?;
                    // An entry may be half of a quoted string that a comma has split. The client could then write entries in it.
                    if !is_whole(value.trim_matches(OWS)) {
                        return None;
                    }
                    if name.trim_matches(OWS).eq_ignore_ascii_case("for")
                        && found.replace(value).is_some()
                    {
                        return None;
                    }
                }
                node(found?)
            }
            Self::CloudFrontViewerAddress => {
                let (addr, port) = text.trim_matches(OWS).rsplit_once(':')?;
                is_port(port).then(|| addr.parse().ok().map(|addr: IpAddr| addr.to_canonical()))?
            }
        }
    }
}

/// Whether a value has no quotation marks, or is a single quoted string without escapes (RFC 9110, 5.6.4).
fn is_whole(value: &str) -> bool {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    !quoted.unwrap_or(value).contains(['"', '\\'])
}

/// Why [`TrustedProxies`] can't be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedProxiesError {
    /// A network is not an address, with or without a prefix length.
    Network(String),
    /// The list of networks is empty.
    Empty,
    /// The number of hops is not 1 to 32, or not 1 for a header field with a single address.
    Hops,
}

impl fmt::Display for TrustedProxiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(text) => write!(
                f,
                "`{text}` is not a network: write an address such as `192.0.2.7`, or a prefix such as `10.0.0.0/8` with no bit set after it"
            ),
            Self::Empty => f.write_str(
                "the list of trusted networks is empty: add one, or leave `TrustedProxies` out",
            ),
            Self::Hops => write!(
                f,
                "the number of trusted hops must be 1 to {MAX_HOPS}, and 1 for a header field with a single address"
            ),
        }
    }
}

impl std::error::Error for TrustedProxiesError {}

/// An IP network: an address and the length of its prefix, parsed from `10.0.0.0/8`, `2001:db8::/32` or a single address.
///
/// # Example
///
/// ```
/// use tower_chain::extract::Network;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let office: Network = "203.0.113.0/24".parse()?;
/// assert!(office.contains("203.0.113.9".parse()?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is in this network. An IPv4 address is also found in its mapped form.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.contains(&addr.to_canonical())
    }
}

impl FromStr for Network {
    type Err = TrustedProxiesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || TrustedProxiesError::Network(text.to_owned());
        let (addr, length) = match text.split_once('/') {
            Some((addr, length)) => {
                if !length.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(wrong());
                }
                (addr, Some(length.parse::<u8>().map_err(|_| wrong())?))
            }
            None => (text, None),
        };
        let mut addr: IpAddr = addr.trim_matches(OWS).parse().map_err(|_| wrong())?;
        let mut length = length.unwrap_or(if addr.is_ipv4() { 32 } else { 128 });
        // `::ffff:10.0.0.0/104` is a network of mapped addresses. Addresses are compared in their canonical form.
        if let (IpAddr::V6(_), IpAddr::V4(canonical), 96..) = (addr, addr.to_canonical(), length) {
            (addr, length) = (IpAddr::V4(canonical), length - 96);
        }
        match IpNet::new(addr, length) {
            Ok(network) if network.network() == addr => Ok(Self(network)),
            _ => Err(wrong()),
        }
    }
}

/// A node (RFC 7239, 6) with an address, in quotes or not, with brackets, port and zone or not.
fn node(text: &str) -> Option<IpAddr> {
    let mut text = text.trim_matches(OWS);
    if let Some(rest) = text.strip_prefix('"') {
        text = rest.strip_suffix('"')?;
    }
    let addr = if let Some(rest) = text.strip_prefix('[') {
        let (addr, port) = rest.split_once(']')?;
        if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
            return None;
        }
        IpAddr::V6(without_zone(addr).parse().ok()?)
    } else if let Some((addr, port)) = text.split_once(':').filter(|(_, port)| !port.contains(':'))
    {
        if !is_port(port) {
            return None;
        }
        IpAddr::V4(addr.parse().ok()?)
    } else {
        without_zone(text).parse().ok()?
    };
    Some(addr.to_canonical())
}

fn without_zone(text: &str) -> &str {
    match text.split_once('%') {
        Some((addr, zone)) if addr.contains(':') && !zone.is_empty() => addr,
        _ => text,
    }
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The most entries that are read, from the right.
const MAX_HOPS: usize = 32;
/// The most bytes of the header field that are read.
const MAX_BYTES: usize = 8 * 1024;

/// Optional white space (RFC 9110, 5.6.3). No other character of a header field is blank, unlike in `str::trim`.
const OWS: [char; 2] = [' ', '\t'];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const CLOUDFRONT_VIEWER_ADDRESS: HeaderName = HeaderName::from_static("cloudfront-viewer-address");

#[cfg(test)]
mod tests;
