//! The PROXY protocol, versions 1 and 2: a proxy in front of the server sends the address of the client before TLS and HTTP begin.
//!
//! The crate `ppp` is not used, as it is less strict: it accepts a sign before a port (`+1`), and UDP. It also takes a line of version 1 for an
//! invalid one when it arrives in several parts. The tests show each of these.
//!
//! Source: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, sections 2.1 and 2.2.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::io::Io;

/// Reads the header from the start of a connection. Returns `None` if the header has no client: a health check of the proxy, or an unknown
/// protocol.
pub(super) async fn read(io: &mut Io) -> io::Result<Option<SocketAddr>> {
    let mut read = BytesMut::new();
    loop {
        match parse(&read) {
            Ok((length, source)) => {
                read.advance(length);
                io.unread(read.freeze());
                return Ok(source);
            }
            Err(Incomplete::Invalid) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header"));
            }
            Err(Incomplete::More) => {
                let mut chunk = [0; 512];
                let mut buf = ReadBuf::new(&mut chunk);
                poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, &mut buf)).await?;
                if buf.filled().is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                read.extend_from_slice(buf.filled());
            }
        }
    }
}

/// Why a header was not parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incomplete {
    More,
    Invalid,
}

/// The length of the header, and the address of the client.
type ProxyHeader = (usize, Option<SocketAddr>);

fn parse(bytes: &[u8]) -> Result<ProxyHeader, Incomplete> {
    let is_start_of = |start: &[u8]| start.starts_with(&bytes[..bytes.len().min(start.len())]);
    if is_start_of(V2_SIGNATURE) {
        parse_v2(bytes)
    } else if is_start_of(V1_START) {
        parse_v1(bytes)
    } else {
        Err(Incomplete::Invalid)
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`
fn parse_v1(bytes: &[u8]) -> Result<ProxyHeader, Incomplete> {
    let head = &bytes[..bytes.len().min(V1_LENGTH)];
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        return Err(if head.len() < V1_LENGTH { Incomplete::More } else { Incomplete::Invalid });
    };
    let line = std::str::from_utf8(&head[..end]).map_err(|_| Incomplete::Invalid)?;
    source_v1(line).map(|source| (end + 2, source)).ok_or(Incomplete::Invalid)
}

fn source_v1(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let [source, _]: [IpAddr; 2] = match family {
        "TCP4" => {
            [source.parse::<Ipv4Addr>().ok()?.into(), destination.parse::<Ipv4Addr>().ok()?.into()]
        }
        "TCP6" => {
            [source.parse::<Ipv6Addr>().ok()?.into(), destination.parse::<Ipv6Addr>().ok()?.into()]
        }
        _ => return None,
    };
    let (port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(Some(SocketAddr::new(source, port)))
}

/// Only digits, without leading zeros. `u16::from_str` accepts a sign.
fn port(text: &str) -> Option<u16> {
    let canonical = text == "0" || text.starts_with(|c: char| matches!(c, '1'..='9'));
    text.parse().ok().filter(|_| canonical)
}

fn parse_v2(bytes: &[u8]) -> Result<ProxyHeader, Incomplete> {
    let Some((start, rest)) = bytes.split_first_chunk::<16>() else { return Err(Incomplete::More) };
    let [.., version_and_command, family, high, low] = *start;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_LENGTH {
        return Err(Incomplete::Invalid);
    }
    let local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Incomplete::Invalid),
    };
    let Some(addresses) = rest.get(..length) else { return Err(Incomplete::More) };
    let source = match family {
        _ if local => None,
        // TCP over IPv4: two addresses, two ports.
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = first::<12>(addresses)?;
            Some(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))))
        }
        // TCP over IPv6.
        0x21 => {
            let ip = first::<16>(addresses)?;
            let [.., high, low, _, _] = first::<36>(addresses)?;
            Some(SocketAddr::from((ip, u16::from_be_bytes([high, low]))))
        }
        // Unspecified, and Unix sockets, which have no IP address.
        0x00 | 0x31 => None,
        _ => return Err(Incomplete::Invalid),
    };
    Ok((16 + length, source))
}

fn first<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Incomplete> {
    bytes.first_chunk().copied().ok_or(Incomplete::Invalid)
}

const V1_START: &[u8] = b"PROXY ";
/// The maximum length of a line, with its line break.
const V1_LENGTH: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The maximum length after the first 16 bytes: addresses, and further values of the proxy, for example about TLS.
const V2_LENGTH: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_version_1() {
        let longest = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
        let v6 = "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n";
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", Some("192.0.2.1:56324")),
            (v6, Some("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", None),
            (longest, None),
        ] {
            let expected = expected.map(|addr| addr.parse().unwrap());
            assert_eq!(parse(line.as_bytes()), Ok((line.len(), expected)), "{line}");
            let followed = format!("{line}GET /");
            assert_eq!(parse(followed.as_bytes()), Ok((line.len(), expected)), "{line}");
            for end in 0..line.len() {
                assert_eq!(
                    parse(&line.as_bytes()[..end]),
                    Err(Incomplete::More),
                    "{}",
                    &line[..end]
                );
            }
        }
    }

    #[test]
    fn an_invalid_header_is_refused() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "\x16\x03\x01",
            "PROXY\r\n",
            "proxy TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1  56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 01 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Incomplete::Invalid), "{line}");
        }
        let endless = [V1_START, &[b'1'; 200]].concat();
        assert_eq!(parse(&endless), Err(Incomplete::Invalid));
        let v2 = |rest: &[u8]| parse(&[V2_SIGNATURE, rest].concat());
        assert_eq!(v2(&[0x11, 0x11, 0, 12]), Err(Incomplete::Invalid), "version 1");
        assert_eq!(v2(&[0x22, 0x11, 0, 12]), Err(Incomplete::Invalid), "unknown command");
        assert_eq!(v2(&[0x21, 0x11, 0xff, 0xff]), Err(Incomplete::Invalid), "too long");
        assert_eq!(v2(&[0x21, 0x11, 0, 1, 127]), Err(Incomplete::Invalid), "too short");
        assert_eq!(v2(&[0x21, 0x12, 0, 0]), Err(Incomplete::Invalid), "UDP");
    }

    #[test]
    fn a_header_may_have_no_client() {
        let health_check = [V2_SIGNATURE, &[0x20, 0x00, 0, 0]].concat();
        assert_eq!(parse(&health_check), Ok((16, None)));
        let unix = [V2_SIGNATURE, &[0x21, 0x31, 0, 216], &[0; 216]].concat();
        assert_eq!(parse(&unix), Ok((16 + 216, None)));
    }

    #[test]
    fn the_crate_ppp_is_less_strict() {
        let sign = "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n";
        assert_eq!(parse(sign.as_bytes()), Err(Incomplete::Invalid));
        assert!(ppp::v1::Header::try_from(sign).is_ok());

        let part = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 ";
        assert_eq!(parse(part.as_bytes()), Err(Incomplete::More));
        let result = ppp::HeaderResult::parse(part.as_bytes());
        assert!(!ppp::PartialResult::is_incomplete(&result));

        let udp = [V2_SIGNATURE, &[0x21, 0x12, 0, 12], &[0; 12]].concat();
        assert_eq!(parse(&udp), Err(Incomplete::Invalid));
        assert!(ppp::v2::Header::try_from(&*udp).is_ok());
    }

    proptest! {
        /// Headers that another implementation writes are read.
        #[test]
        fn headers_of_version_2_are_read(ip: IpAddr, port: u16, padding in 0..2000_usize) {
            use ppp::v2::{Builder, Command, Protocol, Type, Version};
            let source = SocketAddr::new(ip, port);
            let destination: SocketAddr = match ip {
                IpAddr::V4(_) => "192.0.2.1:443".parse().unwrap(),
                IpAddr::V6(_) => "[2001:db8::1]:443".parse().unwrap(),
            };
            let header = Builder::with_addresses(
                Version::Two | Command::Proxy,
                Protocol::Stream,
                (source, destination),
            )
            .write_tlv(Type::NoOp, &vec![0; padding])
            .unwrap()
            .build()
            .unwrap();
            prop_assert_eq!(parse(&header), Ok((header.len(), Some(source))));
            for end in [0, 1, 12, 15, 16, 20, header.len() - 1] {
                prop_assert_eq!(parse(&header[..end]), Err(Incomplete::More));
            }
        }

        /// Another implementation agrees on these lines. After `UNKNOWN` it is stricter than the specification.
        #[test]
        fn lines_of_version_1_are_judged_as_by_others(line in "PROXY (TCP4|TCP6|TCP)( (1[.]2[.]3[.]4|::1|1[.]2[.]3|1)){0,3}( [0-9]{1,6}){0,3}\r\n") {
            let other = ppp::v1::Header::try_from(line.as_str());
            let ours = parse(line.as_bytes());
            let source = other.as_ref().ok().map(|header| match header.addresses {
                ppp::v1::Addresses::Unknown => None,
                ppp::v1::Addresses::Tcp4(a) => Some(SocketAddr::from((a.source_address, a.source_port))),
                ppp::v1::Addresses::Tcp6(a) => Some(SocketAddr::from((a.source_address, a.source_port))),
            });
            prop_assert_eq!(ours.ok().map(|(_, source)| source), source, "{:?}", other);
        }
    }
}
