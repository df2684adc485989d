//! Requests of other projects, which are fetched separately. Each test is ignored, and takes the folder or program of its project:
//!
//! ```sh
//! LLHTTP=~/llhttp HTTP_GARDEN=~/http-garden SMUGGLER=~/smuggler H2SPEC=~/go/bin/h2spec \
//!   cargo test --all-features --test serve conformance -- --ignored
//! ```
//!
//! | variable | what | from |
//! | --- | --- | --- |
//! | `LLHTTP` | a checkout | <https://github.com/nodejs/llhttp> |
//! | `HTTP_GARDEN` | a checkout | <https://github.com/narfindustries/http-garden> |
//! | `SMUGGLER` | a checkout; needs `python3` | <https://github.com/defparam/smuggler> |
//! | `H2SPEC` | the program: a release, or `go build ./cmd/h2spec` in a checkout | <https://github.com/summerwind/h2spec> |

use std::path::PathBuf;
use std::process::Command;

use super::*;

/// What the server made of some bytes.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The statuses of its responses.
    statuses: Vec<u16>,
    /// The requests that reached the handler: the method, the target and the body, or `None` if the body was broken off.
    seen: Vec<(String, String, Option<Bytes>)>,
}

impl Outcome {
    /// How many messages the server has taken for valid ones. A refusal ends the connection.
    fn accepted(&self) -> usize {
        self.statuses.iter().filter(|status| !REFUSALS.contains(status)).count()
    }

    fn refused(&self) -> bool {
        self.statuses.iter().any(|status| REFUSALS.contains(status))
    }
}

/// A server that records what it is sent.
struct Judge {
    server: Running,
    seen: Arc<Mutex<Vec<(String, String, Option<Bytes>)>>>,
}

impl Judge {
    async fn start() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = seen.clone();
        let handler = move |req: Request| {
            let (parts, body) = req.into_parts();
            let sees = sees.clone();
            async move {
                let body = body.collect().await.ok().map(|body| body.to_bytes());
                let status = if body.is_some() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
                sees.lock().unwrap().push((parts.method.to_string(), parts.uri.to_string(), body));
                status
            }
        };
        // CONNECT has no handler by `all`.
        let chain = Chain::new().on(http::Method::CONNECT, handler.clone()).all(handler);
        Self { server: Running::start(chain.build()).await, seen }
    }

    async fn outcome(&self, raw: &[u8]) -> Outcome {
        let mut client = self.server.connect().await;
        // The server may have refused it already.
        let _ = client.0.write_all(raw).await;
        let _ = client.0.shutdown().await;
        let mut read = Vec::new();
        let mut buf = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = within(client.0.read(&mut buf)).await {
            read.extend_from_slice(&buf[..length]);
        }
        let read = String::from_utf8_lossy(&read);
        let statuses =
            read.split("HTTP/1.").skip(1).map(|response| response[2..5].parse().unwrap()).collect();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        Outcome { statuses, seen }
    }
}

/// The folder or program that a variable names.
fn given(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_else(|| panic!("set {variable}")).into()
}

/// Fails if a case deviates without a reason in the table, or if one with a reason agrees.
fn compare(cases: usize, deviations: &[(String, String)], reasons: &[(&str, &str)]) {
    let known = |name: &str| reasons.iter().any(|(known, _)| *known == name);
    let unexplained: Vec<_> = deviations.iter().filter(|(name, _)| !known(name)).collect();
    assert!(unexplained.is_empty(), "{} of {cases}: {unexplained:#?}", unexplained.len());
    let agrees = |name: &str| deviations.iter().all(|(deviates, _)| deviates != name);
    let agree: Vec<_> = reasons.iter().filter(|(name, _)| agrees(name)).collect();
    assert!(agree.is_empty(), "these agree now: {agree:?}");
    println!("{cases} cases, {} deviate for a reason", deviations.len());
}

/// A case of llhttp: its file and title, what is sent, and what llhttp makes of it.
struct Case {
    name: String,
    sent: Vec<u8>,
    complete: usize,
}

/// The strict cases of one file of `test/request`. Those for lenient modes, pauses and skipped bodies are of llhttp's interface.
fn llhttp_cases(file: &str, text: &str) -> Vec<Case> {
    let (mut cases, mut title, mut strict) = (Vec::new(), String::new(), false);
    let mut input: Option<String> = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("##") {
            title = heading.trim_start_matches('#').trim().to_owned();
        } else if line.starts_with("<!-- meta=") {
            let meta: String = line.split_whitespace().collect();
            let plain = !meta.contains("pause") && !meta.contains("skipBody");
            strict = meta.contains(r#""type":"request""#) && plain;
        } else if line == "```http" || line == "```log" {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if line == "```http" {
                input = Some(block.join("\n"));
            } else if let Some(input) = input.take().filter(|_| strict) {
                let count = |text: &str| block.iter().filter(|line| line.contains(text)).count();
                let sent = unescaped(&input);
                let name = format!("{file}: {title}");
                cases.push(Case { name, sent, complete: count("message complete") });
            }
        }
    }
    cases
}

/// Ends lines with CRLF, and replaces escapes, as llhttp's `md-test.ts`.
fn unescaped(input: &str) -> Vec<u8> {
    let input = input.replace("\\\n", "").replace('\n', "\r\n");
    let (mut sent, mut rest) = (Vec::new(), &*input);
    while let Some(at) = rest.find(['\\', '$']) {
        sent.extend_from_slice(&rest.as_bytes()[..at]);
        let escaped = &rest[at..];
        let hex = |digits: &str| u8::from_str_radix(digits, 16).unwrap();
        let (bytes, length) = match escaped.as_bytes() {
            [b'\\', b'r', ..] => (vec![b'\r'], 2),
            [b'\\', b'n', ..] => (vec![b'\n'], 2),
            [b'\\', b't', ..] => (vec![b'\t'], 2),
            [b'\\', b'f', ..] => (vec![0x0c], 2),
            [b'\\', b'x', ..] => (vec![hex(&escaped[2..4])], 4),
            [b'\\', b'0'..=b'7', ..] => {
                let digits = escaped[1..].bytes().take(3).take_while(u8::is_ascii_digit).count();
                (vec![u8::from_str_radix(&escaped[1..=digits], 8).unwrap()], digits + 1)
            }
            [first, ..] => (vec![*first], 1),
            [] => break,
        };
        sent.extend(bytes);
        rest = &escaped[length..];
    }
    sent.extend_from_slice(rest.as_bytes());
    sent
}

/// Adds a `Host` to each request of HTTP/1.1 if none has one: llhttp doesn't require it.
fn with_host(sent: &[u8]) -> Vec<u8> {
    const VERSION: &[u8] = b" HTTP/1.1\r\n";
    if sent.windows(6).any(|part| part.eq_ignore_ascii_case(b"\nhost:")) {
        return sent.to_vec();
    }
    let (mut all, mut rest) = (Vec::new(), sent);
    while let Some(at) = rest.windows(VERSION.len()).position(|part| part == VERSION) {
        let (line, next) = rest.split_at(at + VERSION.len());
        all.extend([line, b"Host: test\r\n"].concat());
        rest = next;
    }
    [&all, rest].concat()
}

#[tokio::test]
#[ignore = "needs a checkout of llhttp in LLHTTP"]
async fn llhttp_judges_requests() {
    let folder = given("LLHTTP").join("test/request");
    let judge = Judge::start().await;
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let (mut cases, mut deviations) = (0, Vec::new());
    for path in files {
        let file = path.file_stem().unwrap().to_str().unwrap();
        for case in llhttp_cases(file, &std::fs::read_to_string(&path).unwrap()) {
            let outcome = judge.outcome(&with_host(&case.sent)).await;
            cases += 1;
            // After a message that fails for llhttp, or ends too early, the server must not accept another one.
            if outcome.accepted() != case.complete {
                let expected = format!("{} complete", case.complete);
                let sent = String::from_utf8_lossy(&case.sent).into_owned();
                deviations.push((case.name, format!("{expected}, {outcome:?}: {sent:?}")));
            }
        }
    }
    assert!(cases > 90, "{cases}");
    compare(cases, &deviations, LLHTTP);
}

#[tokio::test]
#[ignore = "needs a checkout of http-garden in HTTP_GARDEN"]
async fn http_garden_finds_no_second_reading() {
    let text = std::fs::read_to_string(given("HTTP_GARDEN").join("TROPHIES.md")).unwrap();
    let judge = Judge::start().await;
    let (mut cases, mut deviations) = (0, Vec::new());
    for payload in text.lines().filter_map(|line| line.trim().strip_prefix("- Payload: `")) {
        let payload = payload.split('`').next().unwrap();
        let outcome = judge.outcome(&unescaped(payload)).await;
        cases += 1;
        // Servers disagree on each of these payloads, so they are refused at once. Responses of HTTP/2 have no status in this form.
        let is_http2 = payload.starts_with("PRI * HTTP/2.0");
        let refused = outcome.refused() || is_http2 && outcome.seen.is_empty();
        if !refused || outcome.accepted() > 0 {
            deviations.push((payload.to_owned(), format!("{outcome:?}")));
        }
    }
    assert!(cases > 30, "{cases}");
    compare(cases, &deviations, HTTP_GARDEN);
}

/// Prints each payload of smuggler as hexadecimal digits, as the tool sends it.
const PAYLOADS: &str = r#"
import copy, os, sys
folder = sys.argv[1]
sys.path.insert(0, folder)
sys.dont_write_bytecode = True
from lib.Payload import Payload, Chunked, EndChunk
for config in sorted(os.listdir(os.path.join(folder, "configs"))):
    mutations = {}
    if not config.endswith(".py"):
        continue
    exec(open(os.path.join(folder, "configs", config)).read())
    for name, mutation in mutations.items():
        for kind, length, body in (("TECL", 6, EndChunk + "X"), ("CLTE", 4, Chunked("Z") + EndChunk)):
            p = copy.deepcopy(mutation)
            p.host, p.method, p.endpoint, p.cl, p.body = "test", "POST", "/", length, body
            print(config, name, kind, str(p).encode("latin-1").hex(), body.encode().hex(), length)
"#;

#[tokio::test]
#[ignore = "needs a checkout of smuggler in SMUGGLER"]
async fn smuggler_finds_no_second_reading() {
    let folder = given("SMUGGLER");
    let output = Command::new("python3").args(["-c", PAYLOADS]).arg(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    let judge = Judge::start().await;
    let (mut cases, mut deviations) = (0, Vec::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [config, name, kind, sent, body, length] = fields[..] else { panic!("{line}") };
        let (sent, body) = (bytes(sent), bytes(body));
        let outcome = judge.outcome(&sent).await;
        cases += 1;
        let by_length = &body[..length.parse().unwrap()];
        let by_chunks: &[u8] = if kind == "TECL" { b"" } else { b"Z" };
        let expected = if is_chunked(&sent) { by_chunks } else { by_length };
        let one_reading = match &outcome.seen[..] {
            [] => outcome.refused(),
            [(_, _, Some(seen))] => seen == expected,
            _ => false,
        };
        if !one_reading {
            let sent = String::from_utf8_lossy(&sent).into_owned();
            deviations.push((format!("{config} {name} {kind}"), format!("{outcome:?}: {sent:?}")));
        }
    }
    assert!(cases > 1000, "{cases}");
    compare(cases, &deviations, SMUGGLER);
}

/// Whether a head has the field `Transfer-Encoding: chunked` and no other coding (RFC 9112, 5 and 6.1). A line ends with CRLF or a line feed
/// alone (RFC 9112, 2.2).
fn is_chunked(sent: &[u8]) -> bool {
    let head = sent.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let lines = sent[..head].split(|byte| *byte == b'\n');
    let mut codings = lines.filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(b"transfer-encoding").then_some(&line[colon + 1..])
    });
    let blanks = |byte: &u8| matches!(byte, b' ' | b'\t');
    let (Some(coding), None) = (codings.next(), codings.next()) else { return false };
    let start = coding.iter().position(|byte| !blanks(byte)).unwrap_or(coding.len());
    let end = coding.iter().rposition(|byte| !blanks(byte)).map_or(start, |last| last + 1);
    coding[start..end].eq_ignore_ascii_case(b"chunked")
}

#[tokio::test]
#[ignore = "needs the program h2spec in H2SPEC"]
async fn h2spec_finds_no_deviation() {
    let program = given("H2SPEC");
    let chain = Chain::new().all(
        async |body: Bytes| {
            if body.is_empty() { Bytes::from_static(b"hello") } else { body }
        },
    );
    // Other listeners take an invalid preface for HTTP/1.
    let listener = Listener::bind("127.0.0.1:0").await.unwrap().http2_only();
    let server = Running::of(Server::new(listener), chain.build());
    let port = server.addr.port().to_string();
    let output = tokio::task::spawn_blocking(move || {
        Command::new(program).args(["-h", "127.0.0.1", "-p", &port, "--timeout", "5"]).output()
    });
    let output = output.await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    // "146 tests, 146 passed, 0 skipped, 0 failed"
    let summary = text.lines().find(|line| line.contains(" tests, ")).unwrap();
    assert!(summary.contains(", 0 skipped, 0 failed"), "{summary}");
    assert!(output.status.success());
}

/// Statuses that end a connection without an answer of the application.
const REFUSALS: [u16; 5] = [400, 414, 431, 501, 505];

/// Cases of llhttp on which the server decides otherwise, and why.
const LLHTTP: &[(&str, &str)] = &[
    ("invalid: HTTP protocol and ANNOUNCE method", METHOD),
    ("invalid: Invalid method", METHOD),
    ("invalid: Missing CR between headers", LINE_FEED),
    ("method: ANNOUNCE request with RTSP", "not HTTP"),
    ("method: OPTIONS request with RTSP", "not HTTP"),
    ("method: PRI request HTTP2", METHOD),
    ("method: SOURCE request with ICE", "not HTTP"),
    ("sample: No HTTP version", "HTTP/0.9 is obsolete"),
    ("transfer-encoding: No extension after semicolon", "hyper skips chunk extensions"),
    ("transfer-encoding: POST with `chunked` as last transfer-encoding", CODING),
    ("transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)", CODING),
    ("transfer-encoding: Space after chunk header", "hyper skips blanks after a chunk's size"),
    ("uri: Disallow UTF-8 in URI path in strict mode", "the crate `http` accepts UTF-8 in a path"),
    ("uri: Quotes in URI", "a quote is not valid in a URI (RFC 3986, 2)"),
    ("uri: `host:port` and basic auth", "a user is not permitted (RFC 9110, 4.2.4)"),
];

/// Payloads of http-garden that are not refused, and why they have one reading only.
const HTTP_GARDEN: &[(&str, &str)] = &[
    (r"GET / HTTP/1.1\nHost: whatever\nConnection: close\n\n", LINE_FEED),
    (r"GET / HTTP/1.1\r\nHost: a\r\nUseless:\n\nGET / HTTP/1.1\r\n\r\n", LINE_FEED),
    (
        r"GET / HTTP/1.1\r\nHost: whatever\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\x00",
        "a valid request; what follows it is refused",
    ),
    (
        r"GET /login HTTP/1.1\r\nHost: a\r\nUser: \x85admin\xa0\r\n\r\n",
        "valid bytes of a value (RFC 9110, 5.5), which the application receives as they are",
    ),
    (
        r"POST / HTTP/1.1\r\nContent-Length: 0\r\nConnection:keep-alive\r\nHost: a\r\nid: 0\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nid: 1\r\nContent-Length: 34\r\n\r\n",
        "a valid request; the second one has no body, and is refused",
    ),
    (
        r"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "read as chunked, and the connection ends (RFC 9112, 6.1 and 6.3)",
    ),
    (
        r"POST / HTTP/1.1\r\nHost: whatever\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nZ\r\n0\r\n\r\n",
        "a valid request",
    ),
];

/// Payloads of smuggler that are read in another way than by the RFC, and why.
const SMUGGLER: &[(&str, &str)] = &[];

const METHOD: &str = "a method is any token (RFC 9110, 9.1)";
const LINE_FEED: &str = "a line feed alone ends a line (RFC 9112, 2.2)";
const CODING: &str = "the server knows no coding but `chunked` (RFC 9112, 6.1: 501)";
