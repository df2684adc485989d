//! Who the client is, whatever it sends.

use std::net::Ipv4Addr;

use super::*;

use ForwardedHeader::{CloudFrontViewerAddress, Forwarded, XForwardedFor};

const PROXY: &str = "10.0.0.1";

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(name.parse::<HeaderName>().unwrap(), value);
    }
    headers
}

fn client(proxies: &TrustedProxies, peer: &str, lines: &[(&str, &str)]) -> String {
    proxies.client(peer.parse().unwrap(), &headers(lines)).to_string()
}

fn internal(header: ForwardedHeader) -> TrustedProxies {
    TrustedProxies::cidrs(header, ["10.0.0.0/8", "fd00::/8"]).unwrap()
}

#[test]
fn no_spoofed_header_names_another_client() {
    const XFF: &str = "x-forwarded-for";
    let proxies = internal(XForwardedFor);
    for (peer, lines, expected) in [
        // The proxy wrote the last entry; all before it came from the client.
        (PROXY, &[(XFF, "192.0.2.1")][..], "192.0.2.1"),
        (PROXY, &[(XFF, "1.1.1.1, 192.0.2.1")], "192.0.2.1"),
        (PROXY, &[(XFF, "1.1.1.1,2.2.2.2,192.0.2.1")], "192.0.2.1"),
        (PROXY, &[(XFF, "1.1.1.1"), (XFF, "192.0.2.1")], "192.0.2.1"),
        (PROXY, &[(XFF, "192.0.2.1, 10.2.3.4")], "192.0.2.1"),
        (PROXY, &[(XFF, "192.0.2.1"), (XFF, "10.2.3.4, fd00::7")], "192.0.2.1"),
        (PROXY, &[(XFF, "9.9.9.9, 192.0.2.1, 10.2.3.4")], "192.0.2.1"),
        // A client can't hide behind a trusted address of its own writing: the walk goes past it only where it is trusted.
        (PROXY, &[(XFF, "10.9.9.9, 192.0.2.1")], "192.0.2.1"),
        // Ports, brackets, quotes, zones and mapped addresses are the same client.
        (PROXY, &[(XFF, "1.1.1.1, 192.0.2.1:4711")], "192.0.2.1"),
        (PROXY, &[(XFF, "1.1.1.1, \"192.0.2.1\"")], "192.0.2.1"),
        (PROXY, &[(XFF, "1.1.1.1, ::ffff:192.0.2.1")], "192.0.2.1"),
        (PROXY, &[(XFF, "[2001:db8::1]:443")], "2001:db8::1"),
        (PROXY, &[(XFF, "[2001:db8::1]")], "2001:db8::1"),
        (PROXY, &[(XFF, "2001:db8::1")], "2001:db8::1"),
        (PROXY, &[(XFF, "fe80::1%eth0")], "fe80::1"),
        // At garbage the walk stops: never on to what stands left of it.
        (PROXY, &[(XFF, "1.1.1.1, unknown")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, _hidden")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, ")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1,")], PROXY),
        (PROXY, &[(XFF, "")], PROXY),
        (PROXY, &[(XFF, ",,,,")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, 192.0.2.1:port")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, 192.0.2.1:123456")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, 192.0.2.1:")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, [2001:db8::1")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, [192.0.2.1]")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, 192.0.2.999")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, 0300.0.2.1")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, 192.0.2.1 192.0.2.2")], PROXY),
        (PROXY, &[(XFF, "1.1.1.1, unknown, 10.2.3.4")], "10.2.3.4"),
        // Bytes that are no text spoil nothing to the right of them.
        (PROXY, &[(XFF, "\u{e9}\u{e9}, 192.0.2.1")], "192.0.2.1"),
        (PROXY, &[(XFF, "192.0.2.1, \u{e9}")], PROXY),
        // All trusted: the leftmost one. No header: the peer.
        (PROXY, &[(XFF, "10.1.1.1, 10.2.2.2")], "10.1.1.1"),
        (PROXY, &[], PROXY),
        // Other headers are the client's own.
        (PROXY, &[("forwarded", "for=1.1.1.1"), ("x-real-ip", "1.1.1.1")], PROXY),
        (PROXY, &[("forwarded", "for=1.1.1.1"), (XFF, "192.0.2.1")], "192.0.2.1"),
        // Whoever isn't a trusted proxy is the client.
        ("192.0.2.9", &[(XFF, "1.1.1.1")], "192.0.2.9"),
        ("192.0.2.9", &[(XFF, "10.0.0.1")], "192.0.2.9"),
        ("11.0.0.1", &[(XFF, "1.1.1.1")], "11.0.0.1"),
        // A socket for both families shows IPv4 as mapped.
        ("::ffff:10.0.0.1", &[(XFF, "192.0.2.1")], "192.0.2.1"),
        ("::ffff:192.0.2.9", &[(XFF, "1.1.1.1")], "192.0.2.9"),
        ("fd12::1", &[(XFF, "192.0.2.1")], "192.0.2.1"),
        ("::1", &[(XFF, "192.0.2.1")], "::1"),
    ] {
        assert_eq!(client(&proxies, peer, lines), expected, "{peer} {lines:?}");
    }
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    let proxies = internal(Forwarded);
    for (value, expected) in [
        ("for=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=\"192.0.2.43:47011\"", "192.0.2.43"),
        ("for=1.1.1.1, for=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.1;proto=https, proto=http;for=10.2.2.2", "192.0.2.1"),
        ("for=1.1.1.1, for=unknown", PROXY),
        ("for=1.1.1.1, for=\"_gazonk\"", PROXY),
        ("for=1.1.1.1, proto=https", PROXY),
        ("for=1.1.1.1;for=2.2.2.2", PROXY),
        ("for=1.1.1.1, for", PROXY),
        ("for=1.1.1.1, for=", PROXY),
        // A quotation mark that the client left open swallows nothing.
        ("for=\"1.1.1.1, for=192.0.2.1", "192.0.2.1"),
        ("for=1.1.1.1, for=\"192.0.2.1", PROXY),
        // A host that the client made up, with a comma in it, is no entry.
        ("for=192.0.2.1;host=\"x\";proto=https", "192.0.2.1"),
        ("for=192.0.2.1;host=\"x,for=9.9.9.9;a=b\";proto=https", PROXY),
        ("for=192.0.2.1;host=\"x,for=9.9.9.9\"", PROXY),
    ] {
        assert_eq!(client(&proxies, PROXY, &[("forwarded", value)]), expected, "{value}");
        assert_eq!(client(&proxies, PROXY, &[("x-forwarded-for", "1.1.1.1")]), PROXY);
    }
}

#[test]
fn only_spaces_and_tabs_are_blank() {
    let addr = "192.0.2.1";
    for blank in ["", " ", "\t", " \t"] {
        let value = format!("1.1.1.1,{blank}{addr}{blank}");
        assert_eq!(client(&internal(XForwardedFor), PROXY, &[("x-forwarded-for", &value)]), addr);
        let value = format!("proto=http;{blank}For={addr}{blank}");
        assert_eq!(client(&internal(Forwarded), PROXY, &[("forwarded", &value)]), addr);
    }
    for odd in ["\u{85}", "\u{a0}", "\u{1680}", "\u{2000}", "\u{2028}", "\u{3000}", "\u{feff}"] {
        for entry in [format!("{odd}{addr}"), format!("{addr}{odd}"), format!(" {odd} {addr}")] {
            let value = format!("1.1.1.1, {entry}");
            let found = client(&internal(XForwardedFor), PROXY, &[("x-forwarded-for", &value)]);
            assert_eq!(found, PROXY, "{value:?}");
            for value in
                [format!("for={entry}"), format!("{odd}for={addr}"), format!("for{odd}={addr}")]
            {
                let found = client(&internal(Forwarded), PROXY, &[("forwarded", &value)]);
                assert_eq!(found, PROXY, "{value:?}");
            }
            let single = ForwardedHeader::Single(HeaderName::from_static("x-real-ip"));
            assert_eq!(client(&internal(single), PROXY, &[("x-real-ip", &entry)]), PROXY);
            let value = format!("{entry}:443");
            let fields = [("cloudfront-viewer-address", &*value)];
            assert_eq!(client(&internal(CloudFrontViewerAddress), PROXY, &fields), PROXY);
            let network: Result<Network, _> = entry.parse();
            assert!(network.is_err(), "{entry:?}");
        }
    }
    // Only letters of ASCII have a case.
    for name in ["\u{17f}or", "f\u{2d2}r"] {
        let value = format!("{name}={addr}");
        assert_eq!(client(&internal(Forwarded), PROXY, &[("forwarded", &value)]), PROXY);
    }
}

#[test]
fn a_header_for_one_address_counts_only_when_it_holds_one() {
    let proxies = internal(ForwardedHeader::Single(HeaderName::from_static("cf-connecting-ip")));
    let ask = |values: &[&str]| {
        let lines: Vec<_> = values.iter().map(|value| ("cf-connecting-ip", *value)).collect();
        client(&proxies, PROXY, &lines)
    };
    assert_eq!(ask(&["192.0.2.1"]), "192.0.2.1");
    assert_eq!(ask(&["2001:db8::1"]), "2001:db8::1");
    assert_eq!(ask(&["1.1.1.1", "192.0.2.1"]), PROXY);
    assert_eq!(ask(&["1.1.1.1, 192.0.2.1"]), PROXY);
    assert_eq!(ask(&["nobody"]), PROXY);

    let proxies = internal(CloudFrontViewerAddress);
    let ask = |value| client(&proxies, PROXY, &[("cloudfront-viewer-address", value)]);
    assert_eq!(ask("192.0.2.1:46532"), "192.0.2.1");
    assert_eq!(ask("2001:db8::1:46532"), "2001:db8::1");
    assert_eq!(ask("192.0.2.1"), PROXY);
}

#[test]
fn hops_are_counted_from_the_right() {
    let ask = |hops, value| {
        let proxies = TrustedProxies::hops(XForwardedFor, hops).unwrap();
        client(&proxies, "203.0.113.5", &[("x-forwarded-for", value)])
    };
    assert_eq!(ask(1, "1.1.1.1, 192.0.2.1"), "192.0.2.1");
    assert_eq!(ask(2, "1.1.1.1, 192.0.2.1, 35.191.0.1"), "192.0.2.1");
    assert_eq!(ask(2, "1.1.1.1, unknown, 35.191.0.1"), "203.0.113.5");
    // Fewer entries than proxies: the request came around them.
    assert_eq!(ask(3, "192.0.2.1, 35.191.0.1"), "203.0.113.5");
    assert_eq!(ask(1, ""), "203.0.113.5");
}

#[test]
fn endless_headers_are_read_no_further_than_allowed() {
    let proxies = internal(XForwardedFor);
    let many = format!("1.1.1.1{}", ", 10.0.0.2".repeat(10_000));
    assert_eq!(client(&proxies, PROXY, &[("x-forwarded-for", &many)]), "10.0.0.2");
    let long = format!("{}, 192.0.2.1", "x".repeat(100_000));
    assert_eq!(client(&proxies, PROXY, &[("x-forwarded-for", &long)]), "192.0.2.1");
}

#[test]
fn wrong_networks_are_refused() {
    let build = |network: &str| TrustedProxies::cidrs(XForwardedFor, [network]).map(|_| ());
    for network in
        ["10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "::/0", "2001:db8::/32", "::ffff:10.0.0.0/104"]
    {
        assert_eq!(build(network), Ok(()), "{network}");
    }
    for network in [
        "",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "::1/129",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0/8",
        "proxy",
        "10.0.0.0/8/8",
        "010.0.0.0/8",
        "10.0.0.0/ 8",
        "10.0.0.0/256",
        "::ffff:10.0.0.1/104",
        "fe80::1%eth0/64",
    ] {
        assert_eq!(build(network), Err(TrustedProxiesError::Network(network.into())), "{network}");
    }
    let none: [&str; 0] = [];
    assert_eq!(TrustedProxies::cidrs(XForwardedFor, none).unwrap_err(), TrustedProxiesError::Empty);
    for hops in [0, 33] {
        let built = TrustedProxies::hops(XForwardedFor, hops);
        assert_eq!(built.unwrap_err(), TrustedProxiesError::Hops);
    }
    assert_eq!(
        TrustedProxies::hops(CloudFrontViewerAddress, 2).unwrap_err(),
        TrustedProxiesError::Hops
    );
    let mapped = TrustedProxies::cidrs(XForwardedFor, ["::ffff:10.0.0.0/104"]).unwrap();
    assert_eq!(client(&mapped, PROXY, &[("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
}

#[test]
fn the_extractor_reads_what_the_chain_provides() {
    use futures_util::FutureExt;

    let ask = |extensions: &mut dyn FnMut(&mut Extensions)| {
        let mut req =
            http::Request::get("/").header("x-forwarded-for", "192.0.2.1").body(()).unwrap();
        extensions(req.extensions_mut());
        let mut parts = req.into_parts().0;
        ClientAddr::from_request_parts(&mut parts, &()).now_or_never().unwrap()
    };
    let peer = PeerAddr(SocketAddr::from(([10, 0, 0, 1], 80)));
    let addr = |text: &str| ClientAddr(text.parse().unwrap());
    assert_eq!(ask(&mut |_| {}).unwrap_err().status(), 500);
    let alone = |e: &mut Extensions| {
        e.insert(peer);
    };
    assert_eq!(ask(&mut { alone }).unwrap(), addr(PROXY));
    let both = |e: &mut Extensions| {
        e.insert(peer);
        e.insert(internal(XForwardedFor));
    };
    assert_eq!(ask(&mut { both }).unwrap(), addr("192.0.2.1"));
}

proptest::proptest! {
    /// What the client writes never changes what the proxy wrote after it.
    #[test]
    fn nothing_to_the_left_of_the_proxys_entry_counts(
        left in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        client in proptest::prelude::any::<u32>(),
        forwarded in proptest::prelude::any::<bool>(),
        own_line in proptest::prelude::any::<bool>(),
    ) {
        let real = IpAddr::V4(Ipv4Addr::from_bits(client));
        let (header, name, entry) = match forwarded {
            true => (Forwarded, "forwarded", format!("for={real}")),
            false => (XForwardedFor, "x-forwarded-for", real.to_string()),
        };
        let left: Vec<u8> = left.into_iter().filter(|b| *b >= b' ' && *b != 0x7f).collect();
        let mut headers = HeaderMap::new();
        if own_line {
            headers.append(name, http::HeaderValue::from_bytes(&left).unwrap());
            headers.append(name, entry.parse().unwrap());
        } else {
            let line = [&left[..], b", ", entry.as_bytes()].concat();
            headers.append(name, http::HeaderValue::from_bytes(&line).unwrap());
        }
        let proxies = TrustedProxies::cidrs(header.clone(), ["fd00::1"]).unwrap();
        let found = proxies.client("fd00::1".parse().unwrap(), &headers);
        proptest::prop_assert_eq!(found, real);
        let proxies = TrustedProxies::hops(header, 1).unwrap();
        proptest::prop_assert_eq!(proxies.client("fd00::1".parse().unwrap(), &headers), real);
        // And no number of hops or bytes of anything makes it panic.
        for hops in [2, 3, 32] {
            let proxies = TrustedProxies::hops(Forwarded, hops).unwrap();
            proxies.client(real, &headers);
        }
    }
}
