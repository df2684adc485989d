use futures_util::{StreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::{Body, Chain, ChainService};

async fn list(mut form: Multipart) -> Result<String, Error> {
    let mut lines = Vec::new();
    while let Some(part) = form.next_part().await? {
        let file = part.file_name().map(str::to_owned);
        let name = part.name().unwrap_or_default().to_owned();
        lines.push(format!("{name} {file:?} {}", part.text().await?));
    }
    Ok(lines.join("\n"))
}

async fn send(chain: &ChainService, kind: &str, body: impl Into<Body>) -> (u16, String) {
    let req = Request::post("/").header("content-type", kind).body(body.into()).unwrap();
    let response = chain.clone().oneshot(req).await.unwrap();
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

const KIND: &str = "multipart/form-data; boundary=X";
const FORM: &str = "--X\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\none\r\n--X\r\ncontent-disposition: form-data; name=\"f\"; filename=\"../x.txt\"\r\ncontent-type: text/plain\r\n\r\ntwo\r\n--X--\r\n";

#[tokio::test]
async fn parts_are_read_one_by_one() {
    let chain = Chain::new().post(list).build();
    for kind in [KIND, "Multipart/Form-Data;boundary=\"X\""] {
        let expected = "a None one\nf Some(\"../x.txt\") two".to_owned();
        assert_eq!(send(&chain, kind, FORM).await, (200, expected));
    }
}

#[tokio::test]
async fn what_is_no_form_or_too_large_is_refused() {
    let limits = MultipartLimits::new();
    let chain = |max: u64, limits: MultipartLimits| {
        Chain::new().provide(MaxBody::bytes(max)).provide(limits).post(list).build()
    };
    let chunked = || {
        let chunks: Vec<_> = FORM
            .as_bytes()
            .chunks(7)
            .map(Bytes::from_static)
            .map(Ok::<_, std::io::Error>)
            .collect();
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    let length = FORM.len() as u64;
    for (case, chain, kind, body, status) in [
        ("fits", chain(length, limits), KIND, chunked(), 200),
        ("too long", chain(length - 1, limits), KIND, chunked(), 413),
        ("part fits", chain(length, limits.part_bytes(3)), KIND, chunked(), 200),
        ("part too long", chain(length, limits.part_bytes(2)), KIND, chunked(), 413),
        ("too many parts", chain(length, limits.parts(1)), KIND, chunked(), 413),
        ("json", chain(length, limits), "application/json", chunked(), 415),
        ("no boundary", chain(length, limits), "multipart/form-data", chunked(), 415),
        ("other boundary", chain(length, limits), "multipart/form-data;boundary=Y", chunked(), 400),
        ("cut off", chain(length, limits), KIND, Body::from(&FORM[..100]), 400),
        ("empty", chain(length, limits), KIND, Body::empty(), 400),
    ] {
        let (found, text) = send(&chain, kind, body).await;
        assert_eq!(found, status, "{case}: {text}");
    }
}

/// Some parsers read such a part as empty, some take the next part for its content, and some lose the delimiter.
#[tokio::test]
async fn a_delimiter_right_after_a_head_is_refused() {
    let skip = async |mut form: Multipart| -> Result<String, Error> {
        let mut count = 0;
        while form.next_part().await?.is_some() {
            count += 1;
        }
        Ok(count.to_string())
    };
    let chain = Chain::new().at("/", |c| c.post(list).put(skip)).build();
    let part = |name: &str, content: &str| {
        format!("--X\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{content}")
    };
    let end = "\r\n--X--\r\n";
    for (content, status) in [
        (format!("{}{end}", part("b", "2")), 400),
        (format!("--X{end}"), 400),
        (format!("--Xy{end}"), 400),
        (format!("--X--\r\n{end}"), 400),
        (format!("\r\n{}{end}", part("b", "2")), 200),
        (format!("-{end}"), 200),
        (format!("--{end}"), 200),
        (format!("--x{end}"), 200),
        (format!("y--X{end}"), 200),
        (end.to_owned(), 200),
    ] {
        let body = part("a", &content);
        for method in ["POST", "PUT"] {
            for size in [1, 2, 7, body.len()] {
                let pieces: Vec<_> = body
                    .as_bytes()
                    .chunks(size)
                    .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
                    .collect();
                let req = Request::builder().method(method).uri("/").header("content-type", KIND);
                let body = Body::from_stream(stream::iter(pieces));
                let response = chain.clone().oneshot(req.body(body).unwrap()).await.unwrap();
                assert_eq!(response.status(), status, "{method} {size} {content:?}");
            }
        }
    }
}

#[tokio::test]
async fn names_and_charsets_are_read_or_refused() {
    let chain = Chain::new().post(list).build();
    let body = |head: &[u8], content: &[u8]| {
        [b"--X\r\n", head, b"\r\n\r\n", content, b"\r\n--X--\r\n"].concat()
    };
    for (head, content, expected) in [
        (&b"Content-Disposition: form-data; name=\"a;b\"; filename=\"c;d\""[..], &b"1"[..], Ok("a;b Some(\"c;d\") 1")),
        (b"CONTENT-DISPOSITION: Form-Data; NAME=a; filename*=UTF-8''%C3%A9", b"1", Ok("a Some(\"\u{e9}\") 1")),
        (b"content-disposition: form-data; filename*=UTF-8''x; name=a", b"1", Ok("a Some(\"x\") 1")),
        (b"content-disposition: form-data; name=\"%22%0D%0A\"", b"1", Ok("\"\r\n None 1")),
        (b"content-disposition: form-data; name=\"caf\xe9\"", b"1", Err(400)),
        (b"content-disposition: form-data; name=a", b"\xe9", Err(400)),
        (b"content-disposition: form-data; name=a\r\ncontent-type: text/plain; charset=iso-8859-1", b"x", Err(415)),
        (b"content-disposition: form-data; name=a\r\ncontent-type: text/plain; charset=\"UTF-8\"", b"x", Ok("a None x")),
        (b"content-disposition: form-data; name=_charset_", b"UTF-8", Ok("_charset_ None UTF-8")),
        (b"content-disposition: form-data; name=_charset_", b"iso-8859-1", Err(415)),
        (b"content-disposition: form-data; name=_charset_", &[b'x'; 5000], Err(415)),
    ] {
        let (status, text) = send(&chain, KIND, body(head, content)).await;
        let shown = String::from_utf8_lossy(head);
        match expected {
            Ok(expected) => assert_eq!((status, &*text), (200, expected), "{shown}"),
            Err(expected) => assert_eq!(status, expected, "{shown} {text}"),
        }
    }
}

#[tokio::test]
async fn boundaries_may_be_quoted() {
    let chain = Chain::new().post(list).build();
    for (parameter, boundary) in [
        ("boundary=\"a b:c=d?\"", "a b:c=d?"),
        ("BOUNDARY=\"X\"; charset=utf-8", "X"),
        ("x=\"; boundary=Y\"; boundary=X", "X"),
        ("boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", "----WebKitFormBoundary7MA4YWxkTrZu0gW"),
    ] {
        let form = FORM.replace("--X", &format!("--{boundary}"));
        let kind = format!("multipart/form-data; {parameter}");
        assert_eq!(send(&chain, &kind, form).await.0, 200, "{parameter}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let chain = Chain::new().provide(MaxBody::unlimited()).post(list).build();
    let endless = |start: &'static str| {
        let start = stream::iter([Bytes::from_static(start.as_bytes())]);
        let pieces = start.chain(stream::repeat(Bytes::from_static(&[b'x'; 16])));
        Body::from_stream(pieces.map(Ok::<_, std::io::Error>))
    };
    for start in ["x", "--X\r\nname: ", "--X\r\n\r\none\r\n--X\r\nname: ", "--X "] {
        let (status, text) = send(&chain, KIND, endless(start)).await;
        assert_eq!(status, if start == "--X " { 400 } else { 413 }, "{start:?} {text}");
        assert_eq!(status == 413, text.contains("\"limit\":16384"), "{text}");
    }
}

#[tokio::test]
async fn content_is_no_head_whether_it_is_read_or_not() {
    async fn last(mut form: Multipart) -> Result<String, Error> {
        let mut last = String::new();
        while let Some(mut part) = form.next_part().await? {
            part.chunk().await?;
            last = part.name().unwrap_or_default().to_owned();
        }
        Ok(last)
    }
    let chain = Chain::new().post(last).build();
    let part = |name: &str| {
        let content = "x".repeat(100_000);
        format!("--X\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
    };
    let form = format!("{}{}{}--X--\r\n", part("a"), part("b"), part("c"));
    let whole = Bytes::from(form);
    for size in [whole.len(), 1000, 101] {
        let pieces: Vec<_> = whole.chunks(size).map(|piece| whole.slice_ref(piece)).collect();
        let pieces = stream::iter(pieces).map(Ok::<_, std::io::Error>);
        assert_eq!(send(&chain, KIND, Body::from_stream(pieces)).await, (200, "c".to_owned()));
    }
}
