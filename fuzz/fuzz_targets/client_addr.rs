//! Behind a trusted proxy, no text that a client sends before the part that the proxy appends changes its address.

#![no_main]

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_chain::extract::{ForwardedHeader, Network, TrustedProxies};

fuzz_target!(|data: &[u8]| {
    let Some((hops, value)) = data.split_first() else { return };
    let peer: IpAddr = [10, 0, 0, 1].into();
    let client: IpAddr = [203, 0, 113, 9].into();
    for (header, appended) in [
        (ForwardedHeader::XForwardedFor, ", 203.0.113.9"),
        (ForwardedHeader::Forwarded, ", for=203.0.113.9"),
        (ForwardedHeader::CloudFrontViewerAddress, ""),
        (ForwardedHeader::Single(http::HeaderName::from_static("x-real-ip")), ""),
    ] {
        let name = header.name();
        let by_network = TrustedProxies::cidrs(header.clone(), ["10.0.0.0/8"]);
        let by_count = TrustedProxies::hops(header.clone(), usize::from(*hops % 4) + 1);
        let (Ok(by_network), by_count) = (by_network, by_count) else {
            panic!("good settings are refused")
        };
        let with = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name.clone(), HeaderValue::from_bytes(value).ok()?);
            }
            Some(headers)
        };
        let lines: Vec<&[u8]> = value.split(|byte| *byte == b'\n').collect();
        let Some(headers) = with(&lines) else { continue };
        let found = by_network.client(peer, &headers);
        if let Ok(by_count) = &by_count {
            by_count.client(peer, &headers);
        }
        // Headers from an address that isn't a proxy are ignored.
        assert_eq!(by_network.client(client, &headers), client);
        if appended.is_empty() {
            continue;
        }
        let _ = found;
        let together = [value, appended.as_bytes()].concat();
        if let Some(headers) = with(&[&together]) {
            let found = by_network.client(peer, &headers);
            // An invalid entry is ignored.
            assert!(found == client || found == peer, "{found}");
        }
        if let Some(headers) = with(&[value, &appended.as_bytes()[2..]]) {
            assert_eq!(by_network.client(peer, &headers), client);
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let _ = text.parse::<Network>().map(|network| network.contains(client));
    }
});
