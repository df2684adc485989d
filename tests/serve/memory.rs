//! The memory that clients can make the server use, measured in a separate process.

use super::*;

/// How ten clients try to use up the memory of a server.
struct Attack {
    name: &'static str,
    /// What each connection sends.
    sent: Vec<u8>,
    /// What it sends once the server waits, and how many bytes it then reads.
    then: (Vec<u8>, usize),
    /// How many MiB the server may hold for all ten.
    limit: usize,
}

#[tokio::test]
async fn ten_clients_that_do_not_read_cost_a_bounded_amount_of_memory() {
    let attacks = [
        Attack {
            name: "HTTP/2, streams",
            sent: http2(u32::MAX, 200, "/fresh", &[]),
            then: (Vec::new(), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, whole bodies",
            sent: http2(u32::MAX, 200, "/whole", &[]),
            then: (Vec::new(), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, window of zero",
            sent: http2(0, 200, "/whole", &[]),
            then: (Vec::new(), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, a window for one stream",
            sent: http2(0, 200, "/fresh", &[]),
            then: (windows(1, 64 * 1024), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, windows for a few of the streams that wait",
            sent: http2(0, 200, "/late", &[]),
            then: (windows(16, 64 * 1024), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, a window for one whole body",
            sent: http2(0, 200, "/whole", &[]),
            then: (windows(1, 400 * 1024), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, windows for a few whole bodies",
            sent: http2(0, 200, "/whole", &[]),
            then: (windows(16, 400 * 1024), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, streams that are read for a while",
            sent: http2(u32::MAX, 200, "/fresh", &[]),
            then: (Vec::new(), 1024 * 1024),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, whole bodies that are read for a while",
            sent: http2(u32::MAX, 200, "/whole", &[]),
            then: (Vec::new(), 1024 * 1024),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, idle streams",
            sent: http2(0, 200, "/never", &[]),
            then: (Vec::new(), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, large heads",
            sent: http2(0, 200, "/never", &frames::field("x", &"x".repeat(12_000))),
            then: (Vec::new(), 0),
            limit: 40,
        },
        Attack {
            name: "HTTP/2, many fields",
            sent: http2(0, 200, "/never", &frames::field("a", "").repeat(450)),
            then: (Vec::new(), 0),
            limit: 32,
        },
        Attack {
            name: "HTTP/2, cookies",
            sent: http2(0, 200, "/never", &frames::field("cookie", "a").repeat(400)),
            then: (Vec::new(), 0),
            limit: 40,
        },
        Attack {
            name: "HTTP/2, unread bodies",
            sent: http2_bodies(),
            then: (Vec::new(), 0),
            limit: 24,
        },
        Attack {
            name: "HTTP/1.1, unread bodies",
            sent: http1_body(),
            then: (Vec::new(), 0),
            limit: 4,
        },
        Attack {
            name: "HTTP/1.1, a stream",
            sent: http1("/fresh", 200),
            then: (Vec::new(), 0),
            limit: 4,
        },
        Attack {
            name: "HTTP/1.1, a pipeline",
            sent: http1("/whole", 200),
            then: (Vec::new(), 0),
            limit: 8,
        },
    ];
    let mut failed = Vec::new();
    for Attack { name, sent, then, limit } in attacks {
        let (program, addr) = program("true").await;
        let pid = program.id().unwrap();
        let before = settled(pid).await;
        let mut clients = Vec::new();
        let go_on = Arc::new(Semaphore::new(0));
        for _ in 0..10 {
            let mut client = Raw(TcpStream::connect(addr).await.unwrap());
            let (sent, (more, mut unread), go_on) = (sent.clone(), then.clone(), go_on.clone());
            clients.push(tokio::spawn(async move {
                let (start, rest) = sent.split_at(if sent.starts_with(b"PRI") { 52 } else { 0 });
                client.send(start).await;
                if !start.is_empty() {
                    // The window that the server grants the connection.
                    client.read_until(&mut Vec::new(), &[0, 0, 4, 8, 0, 0, 0, 0, 0], 4).await;
                }
                // The server need not read all of it.
                let _ = client.0.write_all(rest).await;
                go_on.acquire().await.unwrap().forget();
                client.send(more).await;
                while unread > 0 {
                    let mut buf = vec![0; unread.min(16 * 1024)];
                    unread -= within(client.0.read(&mut buf)).await.unwrap();
                }
                std::future::pending::<()>().await;
                drop(client);
            }));
        }
        let mut held = settled(pid).await.saturating_sub(before);
        if then != (Vec::new(), 0) {
            go_on.add_permits(clients.len());
            held = held.max(settled(pid).await.saturating_sub(before));
        }
        println!("{name}: {} KiB", held / 1024);
        if held > limit * 1024 * 1024 {
            failed.push((name, held));
        }
        assert_eq!(clients.iter().filter(|client| client.is_finished()).count(), 0);
        // Other clients are still served.
        let mut other = Raw(TcpStream::connect(addr).await.unwrap());
        other.send(GET).await;
        assert_eq!(body_of(&other.response().await), "hello", "{name}");
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn a_connection_takes_a_bounded_amount_of_memory() {
    const CONNECTIONS: usize = 400;
    // What the server takes for each, in bytes.
    for (name, is_asked, limit) in [("idle", false, 4 * 1024), ("after a request", true, 14 * 1024)]
    {
        let (program, addr) = program("true").await;
        let pid = program.id().unwrap();
        let connect = async || {
            let mut client = Raw(TcpStream::connect(addr).await.unwrap());
            if is_asked {
                client.send(GET).await;
                assert_eq!(body_of(&client.response().await), "hello");
            }
            client
        };
        // The first connections cause one-time allocations.
        for _ in 0..50 {
            drop(connect().await);
        }
        let before = settled(pid).await;
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(connect().await);
        }
        let held = settled(pid).await.saturating_sub(before) / CONNECTIONS;
        println!("{name}: {held} bytes");
        assert!(held <= limit, "{name}: {held} bytes");
    }
}

/// Requests on an HTTP/2 connection with this window for each of its streams, and with these encoded fields.
pub(super) fn http2(window: u32, streams: u32, path: &str, fields: &[u8]) -> Vec<u8> {
    let mut sent = frames::preface(window.min((1 << 31) - 1));
    for stream in 0..streams {
        frames::frame(&mut sent, 1, 0x5, stream * 2 + 1, &[&head("GET", path), fields].concat());
    }
    sent
}

pub(super) fn head(method: &str, path: &str) -> Vec<u8> {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")]
        .map(|(name, value)| frames::field(name, value))
        .concat()
}

/// A larger window for each of the first streams (RFC 9113, 6.9).
fn windows(streams: u32, bytes: u32) -> Vec<u8> {
    let mut sent = Vec::new();
    for stream in 0..streams {
        frames::frame(&mut sent, 8, 0, stream * 2 + 1, &bytes.to_be_bytes());
    }
    sent
}

/// Bodies for handlers that don't read them, as large as the window of the connection allows.
fn http2_bodies() -> Vec<u8> {
    let mut sent = http2(0, 0, "", &[]);
    for stream in (1..32).step_by(2) {
        frames::frame(&mut sent, 1, 0x4, stream, &head("POST", "/never"));
        for _ in 0..4 {
            frames::frame(&mut sent, 0, 0, stream, &[0; 16_000]);
        }
    }
    sent
}

fn http1_body() -> Vec<u8> {
    [post("/never", "Content-Length: 1000000\r\n").as_bytes(), &[0; 1_000_000]].concat()
}

fn http1(path: &str, requests: usize) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").repeat(requests).into()
}

/// The resident memory of a process that is not a part of a file, once it doesn't change any more. The code of the program is not counted:
/// a part of it is in memory only when it first runs.
async fn settled(pid: u32) -> usize {
    let (mut last, mut same) = (0, 0);
    while same < 10 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = resident(pid);
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
