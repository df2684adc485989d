//! Entity tags are compared one by one, with any content.

#![no_main]

use std::sync::LazyLock;

use futures_util::FutureExt;
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use tower_chain::{Body, Chain, ChainService, ETag};

static CHAIN: LazyLock<ChainService> = LazyLock::new(|| {
    Chain::new().use_(ETag::new()).get(async || ([("etag", "\"a,b\"")], "hello")).build()
});

fn status(value: &[u8]) -> Option<u16> {
    let value = HeaderValue::from_bytes(value).ok()?;
    let req = http::Request::get("/").header("if-none-match", value).body(Body::empty()).ok()?;
    Some(CHAIN.handle(req).now_or_never()?.status().as_u16())
}

fuzz_target!(|data: &[u8]| {
    if let Some(status) = status(data) {
        assert!(status == 200 || status == 304);
    }
    // A valid list (RFC 9110, 8.8.3).
    let mut tags: Vec<Vec<u8>> = Vec::new();
    for tag in data.split(|byte| *byte == b' ') {
        let (weak, tag) = match tag.split_first() {
            Some((b'w', tag)) => (true, tag),
            _ => (false, tag),
        };
        if !tag.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e)) {
            return;
        }
        let weak: &[u8] = if weak { b"W/" } else { b"" };
        tags.push([weak, b"\"", tag, b"\""].concat());
    }
    let known = tags.iter().any(|tag| tag.strip_prefix(b"W/").unwrap_or(tag) == b"\"a,b\"");
    let found = status(&tags.join(&b", "[..]));
    assert_eq!(found, Some(if known { 304 } else { 200 }));
});
