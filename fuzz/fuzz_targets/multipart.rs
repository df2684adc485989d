//! A form is read to its end or refused, however it is split into chunks.

#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tower_chain::extract::{MaxBody, Multipart, MultipartLimits};
use tower_chain::{Body, Chain, ChainService, Error};
use tower_chain_fuzz::send;

async fn read(mut form: Multipart) -> Result<String, Error> {
    let (mut parts, mut bytes) = (0, 0);
    while let Some(mut part) = form.next_part().await? {
        parts += 1;
        let _ = (
            part.name().map(str::len),
            part.file_name().map(str::len),
            part.content_type().map(str::len),
        );
        // Every other part is left unread.
        while parts % 2 == 1 {
            let Some(chunk) = part.chunk().await? else { break };
            bytes += chunk.len();
        }
    }
    assert!(parts <= 4 && bytes <= 4096);
    Ok(format!("{parts} {bytes}"))
}

static CHAIN: LazyLock<ChainService> = LazyLock::new(|| {
    Chain::new()
        .provide(MaxBody::bytes(4096))
        .provide(MultipartLimits::new().parts(4).part_bytes(1024))
        .post(read)
        .build()
});

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else { return };
    let answer = |size: usize| {
        let chunks: Vec<_> =
            data.chunks(size).map(|c| Ok::<_, std::io::Error>(Bytes::copy_from_slice(c))).collect();
        let req = http::Request::post("/")
            .header("content-type", "multipart/form-data; boundary=X")
            .body(Body::from_stream(futures_util::stream::iter(chunks)))
            .expect("a request");
        send(&CHAIN, req)
    };
    let whole = answer(data.len().max(1));
    assert!([200, 400, 413, 415].contains(&whole.0), "{}", whole.0);
    // The chunk boundaries don't affect the result.
    let pieces = answer(usize::from(*size).max(1));
    assert_eq!(pieces.0 == 200, whole.0 == 200);
    if whole.0 == 200 {
        assert_eq!(pieces.1, whole.1);
    }
});
