//! Which host a request is for. Applications and caches choose by it, so it must have one meaning.
//!
//! Sources: RFC 9110, 4.2 and 7.2; RFC 9112, 3.2 and 3.3; RFC 9113, 8.3.1; RFC 3986, 3.2.2 and 6.2.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Version};

/// Checks the target and the host of a request. Fails with what is wrong, for a response with the status 400.
///
/// The `Host` of a request with a target in absolute form is replaced by the authority of that target (RFC 9112, 3.2.2).
pub(super) fn check<B>(req: &mut Request<B>) -> Result<(), &'static str> {
    if !has_valid_form(req) {
        return Err("The target of the request is not valid for its method");
    }
    // Most requests repeat no field.
    if req.headers().len() > req.headers().keys_len()
        && req.headers().get_all(HOST).iter().nth(1).is_some()
    {
        return Err("The request has more than one `Host`");
    }
    let field = match field(req.headers()) {
        Some(field) => Some(Authority::parse(field.as_bytes()).ok_or(INVALID)?),
        None => None,
    };
    let target = match req.uri().authority() {
        Some(target) => Some(Authority::parse(target.as_str().as_bytes()).ok_or(INVALID)?),
        None => None,
    };
    match (req.version(), field, target) {
        (Version::HTTP_11, None, _) => Err("The request has no `Host`"),
        (Version::HTTP_2, None, None) => Err("The request has neither `:authority` nor `Host`"),
        (Version::HTTP_2, Some(field), Some(target)) => {
            let port = default_port(req.uri().scheme());
            match field.is_same(&target, port) {
                true => Ok(()),
                false => Err("The request has a `Host` other than its `:authority`"),
            }
        }
        // RFC 9112, 3.2: the target in authority form is the host as well.
        (_, Some(field), Some(target)) if *req.method() == Method::CONNECT => {
            match field.is_same(&target, None) {
                true => Ok(()),
                false => Err("The request has a `Host` other than its target"),
            }
        }
        (Version::HTTP_10 | Version::HTTP_11, _, Some(_)) if *req.method() != Method::CONNECT => {
            if let Some(authority) = req.uri().authority()
                && let Ok(host) = HeaderValue::from_str(authority.as_str())
            {
                req.headers_mut().insert(HOST, host);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether the target has a form that the method permits (RFC 9112, 3.2; RFC 9113, 8.3.1 and 8.5): an authority alone for CONNECT, a path for all
/// others, and `*` for OPTIONS. A handler on any path would answer the other forms, and take `GET a:80` for a path.
fn has_valid_form<B>(req: &Request<B>) -> bool {
    let (method, uri) = (req.method(), req.uri());
    // h2 accepts an empty scheme.
    if uri.scheme_str().is_some_and(str::is_empty) {
        return false;
    }
    match uri.path().as_bytes() {
        [b'/', ..] => *method != Method::CONNECT,
        [] => *method == Method::CONNECT,
        path => *method == Method::OPTIONS && path == b"*",
    }
}

/// The field of a request that has at most one. Clients send it first (RFC 9110, 7.2), where it is found without a lookup.
fn field(headers: &HeaderMap) -> Option<&HeaderValue> {
    match headers.iter().next() {
        Some((name, value)) if *name == HOST => Some(value),
        _ => headers.get(HOST),
    }
}

/// A host, and a port if one is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` if the text is not a host with an optional port. A user or a password is not permitted.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let (host, rest) = text.split_at(match text {
            [b'[', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b']')?;
                std::str::from_utf8(&rest[..end]).ok()?.parse::<Ipv6Addr>().ok()?;
                end + 2
            }
            _ => length_of_name(text),
        });
        let port = match rest {
            _ if host.is_empty() => return None,
            [] | [b':'] => None,
            // `u16::from_str` accepts a sign.
            [b':', port @ ..] if port.iter().all(u8::is_ascii_digit) => {
                Some(std::str::from_utf8(port).ok()?.parse().ok()?)
            }
            _ => return None,
        };
        Some(Self { host, port })
    }

    fn is_same(&self, other: &Authority<'_>, default_port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.or(default_port) == other.port.or(default_port)
    }
}

/// How long the name or IPv4 address is with which a text begins. An empty one is not valid in a URI of HTTP (RFC 9110, 4.2.1).
fn length_of_name(text: &[u8]) -> usize {
    let mut rest = text;
    loop {
        let plain = rest.iter().position(|byte| !IS_IN_NAME[usize::from(*byte)]);
        rest = &rest[plain.unwrap_or(rest.len())..];
        match rest {
            [b'%', a, b, after @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                rest = after
            }
            _ => return text.len() - rest.len(),
        }
    }
}

fn default_port(scheme: Option<&Scheme>) -> Option<u16> {
    match scheme?.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// The characters of a name, but for those that are encoded with `%` (RFC 3986, 3.2.2).
const IS_IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut others: &[u8] = b"-._~!$&'()*+,;=";
    while let [byte, rest @ ..] = others {
        table[*byte as usize] = true;
        others = rest;
    }
    table
};

const INVALID: &str = "The host of the request is not valid";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_an_optional_port_is_valid() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:", "example.com", None),
            ("example.com:0", "example.com", Some(0)),
            ("example.com:65535", "example.com", Some(65535)),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("[::ffff:192.0.2.1]:8080", "[::ffff:192.0.2.1]", Some(8080)),
            ("a_b-c.~!$&'()*+,;=%7F", "a_b-c.~!$&'()*+,;=%7F", None),
        ] {
            let host = host.as_bytes();
            assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { host, port }), "{text}");
        }
        for text in [
            "",
            ":80",
            " a",
            "a ",
            "a b",
            "a, b",
            "a:b",
            "a:+1",
            "a:-1",
            "a:65536",
            "a:1:2",
            "user@a",
            "u:p@a",
            "a/",
            "a?",
            "a#",
            "a\\b",
            "a\"",
            "<a>",
            "a|b",
            "ä",
            "%",
            "%4",
            "%4g",
            "[",
            "[]",
            "[::1",
            "::1",
            "[::1]a",
            "[::1%25eth0]",
            "[v1.a]",
            "[192.0.2.1]",
            "[::1]:x",
            "a\0",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_same_host_can_be_written_in_several_ways() {
        for (one, other, scheme, same) in [
            ("a", "A", Scheme::HTTP, true),
            ("a", "a:80", Scheme::HTTP, true),
            ("a:443", "a:", Scheme::HTTPS, true),
            ("a", "a:80", Scheme::HTTPS, false),
            ("a", "b", Scheme::HTTP, false),
            ("a", "a.", Scheme::HTTP, false),
            ("a:1", "a:2", Scheme::HTTP, false),
        ] {
            let [one_parsed, other_parsed] =
                [one, other].map(|text| Authority::parse(text.as_bytes()).unwrap());
            let port = default_port(Some(&scheme));
            assert_eq!(one_parsed.is_same(&other_parsed, port), same, "{one} {other}");
        }
    }
}
