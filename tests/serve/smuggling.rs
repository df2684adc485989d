//! Requests that two servers could read differently: they are refused or end the connection, and a request hidden in them is never served.

use super::*;

/// The response to each of these, and the requests in it that were served.
async fn answers(raw: &str) -> (Vec<String>, Vec<String>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let handler = move |req: Request| {
        sees.lock().unwrap().push(req.uri().path().to_owned());
        async move {
            match req.into_body().collect().await {
                Ok(body) => body.to_bytes().into_response(),
                Err(_) => StatusCode::BAD_REQUEST.into_response(),
            }
        }
    };
    let server = Running::start(Chain::new().all(handler).build()).await;
    let mut client = server.connect().await;
    client.send(raw).await;
    client.0.shutdown().await.unwrap();
    let read = client.rest().await.unwrap();
    let statuses = read.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect();
    drop(client);
    server.stop().await;
    let seen = seen.lock().unwrap().clone();
    (statuses, seen)
}

#[tokio::test]
async fn ambiguous_requests_are_not_served() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";
    let chunks = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    for (case, fields, body) in [
        ("two lengths", "Content-Length: 0\r\nContent-Length: 36\r\n", hidden),
        ("a list of lengths", "Content-Length: 0, 36\r\n", hidden),
        ("a sign", "Content-Length: +0\r\n", hidden),
        ("less than nothing", "Content-Length: -1\r\n", hidden),
        ("another base", "Content-Length: 0x24\r\n", hidden),
        ("no number", "Content-Length:\r\n", hidden),
        ("more than a number", "Content-Length: 18446744073709551616\r\n", hidden),
        ("a blank before the colon", "Content-Length : 0\r\n", hidden),
        ("a blank before the colon", "Transfer-Encoding : chunked\r\n", &chunks),
        ("another coding", "Transfer-Encoding: xchunked\r\n", hidden),
        ("chunked is not the last", "Transfer-Encoding: chunked, identity\r\n", hidden),
        (
            "chunked is not the last",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            hidden,
        ),
        ("a control character", "Transfer-Encoding: \x0bchunked\r\n", hidden),
        ("a folded line", "Transfer-Encoding:\r\n chunked\r\n", &chunks),
        ("a bare return", "X: a\rTransfer-Encoding: chunked\r\n", &chunks),
        ("a NUL", "X: \0\r\n", hidden),
        ("a name that is none", "X(: a\r\n", hidden),
        ("no name", ": a\r\n", hidden),
        ("no colon", "X\r\n", hidden),
    ] {
        let raw = format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n{body}");
        let (statuses, seen) = answers(&raw).await;
        assert_eq!((&*statuses.join(" "), &*seen), ("400", &[][..]), "{case}: {fields:?}");
    }
}

#[tokio::test]
async fn invalid_chunks_end_the_connection() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: test\r\n\r\n";
    for (case, body) in [
        ("no size", "\r\n\r\n"),
        ("a sign", "+1\r\nx\r\n0\r\n\r\n"),
        ("a prefix", "0x1\r\nx\r\n0\r\n\r\n"),
        ("more than a number", "10000000000000001\r\nx\r\n0\r\n\r\n"),
        ("shorter than it is", "1\r\nxx\r\n0\r\n\r\n"),
        ("longer than it is", "3\r\nx\r\n0\r\n\r\n"),
        ("a bare return in an extension", "1;a\rb\r\nx\r\n0\r\n\r\n"),
        ("a line feed alone", "1\nx\n0\n\n"),
        ("an extension without end", &*format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(100_000))),
        ("trailers without end", &*format!("0\r\n{}\r\n", "a: b\r\n".repeat(100_000))),
    ] {
        let raw = format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{body}{hidden}"
        );
        let (statuses, seen) = answers(&raw).await;
        assert_eq!((&*statuses.join(" "), &*seen.join(" ")), ("400", "/"), "{case}");
    }
}

#[tokio::test]
async fn chunked_overrules_a_length_and_ends_the_connection() {
    // RFC 9112, 6.1 and 6.3: a server may serve it this way, and then closes.
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        let raw = format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n0\r\n\r\n{GET}");
        let (statuses, seen) = answers(&raw).await;
        assert_eq!((&*statuses.join(" "), &*seen.join(" ")), ("200", "/"), "{fields:?}");
    }
}

#[tokio::test]
async fn a_head_has_at_most_a_hundred_fields() {
    for (fields, status) in [(99, "200"), (100, "431"), (1000, "431")] {
        let fields = "a: b\r\n".repeat(fields);
        let (statuses, _) = answers(&format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n")).await;
        assert_eq!(statuses, [status]);
    }
}
