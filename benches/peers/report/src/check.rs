//! Checks that all peers return the same responses. A peer that doesn't is not measured.

use std::net::SocketAddr;

use crate::Result;
use crate::http::{Connection, head};
use crate::options::Options;
use crate::peers::{Job, Peer};
use crate::server::{NO_LIMIT, Server};

/// `{"sub":"user-4711","roles":["admin","author"],"exp":4102444800}`, by HS256 with the secret of `contract`.
pub const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyLTQ3MTEiLCJyb2xlcyI6WyJhZG1pbiIsImF1dGhvciJdLCJleHAiOjQxMDI0NDQ4MDB9.WoccZ9FbAbuuUsHI1Xz5xTZRBPsnm2FF-4wI3iTgi5I";
pub const USER: &str = r#"{"name":"Ada Lovelace","email":"ada@example.org"}"#;

/// The same with `exp` 1500000000.
const EXPIRED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyLTQ3MTEiLCJyb2xlcyI6WyJhZG1pbiIsImF1dGhvciJdLCJleHAiOjE1MDAwMDAwMDB9.jT5jvdVMIzec3UPtw998t44-uyX5U_ONfBUhXjv1eLc";
/// The valid one, with another signature.
const FORGED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1c2VyLTQ3MTEiLCJyb2xlcyI6WyJhZG1pbiIsImF1dGhvciJdLCJleHAiOjQxMDI0NDQ4MDB9.XoccZ9FbAbuuUsHI1Xz5xTZRBPsnm2FF-4wI3iTgi5I";
/// `{"alg":"none"}`, and no signature.
const UNSIGNED: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ1c2VyLTQ3MTEiLCJyb2xlcyI6WyJhZG1pbiIsImF1dGhvciJdLCJleHAiOjQxMDI0NDQ4MDB9.";

const JSON: &str = "application/json";
const HELLO: (u16, &str, &str) = (200, "text/plain;charset=utf-8", "Hello, world!");
const ME: (u16, &str, &str) = (200, JSON, r#"{"sub":"user-4711","roles":["admin","author"]}"#);
const CREATED: (u16, &str, &str) =
    (201, JSON, r#"{"id":15,"name":"Ada Lovelace","by":"user-4711"}"#);
const BAD: (u16, &str, &str) = (400, JSON, r#"{"error":"Bad Request"}"#);
const UNAUTHORIZED: (u16, &str, &str) = (401, JSON, r#"{"error":"Unauthorized"}"#);
const NOT_FOUND: (u16, &str, &str) = (404, JSON, r#"{"error":"Not Found"}"#);
const TOO_LARGE: (u16, &str, &str) = (413, JSON, r#"{"error":"Payload Too Large"}"#);
const UNSUPPORTED: (u16, &str, &str) = (415, JSON, r#"{"error":"Unsupported Media Type"}"#);
const INVALID: (u16, &str, &str) = (422, JSON, r#"{"error":"Unprocessable Entity"}"#);
const TOO_MANY: (u16, &str, &str) = (429, JSON, r#"{"error":"Too Many Requests"}"#);

pub fn all(options: &Options) -> Result<()> {
    let mut wrong = Vec::new();
    for peer in &options.peers {
        for &job in options.jobs.iter().filter(|job| peer.has(**job)) {
            check(peer, job, &mut wrong)?;
        }
        eprintln!("checked {}", peer.id);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Returns the size of the response's head for the measured request, in bytes.
pub fn head_size(job: Job, addr: SocketAddr) -> Result<usize> {
    let (head, body) = request(job);
    Ok(Connection::open(addr)?.ask(&head, &body)?.head)
}

/// The measured request.
fn request(job: Job) -> Request {
    let bearer = format!("Bearer {TOKEN}");
    match job {
        Job::Bare | Job::Pass4 | Job::Pass16 => (head("GET", "/hello", &[], b""), Vec::new()),
        Job::Jwt => (head("GET", "/me", &[("Authorization", &bearer)], b""), Vec::new()),
        Job::Post => post(Some(TOKEN), JSON, USER.as_bytes()),
    }
}

fn post(token: Option<&str>, media: &str, body: &[u8]) -> Request {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut fields = vec![("Content-Type", media)];
    fields.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    (head("POST", "/api/users", &fields, body), body.to_vec())
}

/// The head of the request before the body, and the body.
type Request = (String, Vec<u8>);
/// Status, media type and body.
type Expected = (u16, &'static str, &'static str);

fn check(peer: &Peer, job: Job, wrong: &mut Vec<String>) -> Result<()> {
    let mut cases: Vec<(&str, Request, Expected)> = Vec::new();
    let good = match job {
        Job::Bare | Job::Pass4 | Job::Pass16 => HELLO,
        Job::Jwt => ME,
        Job::Post => CREATED,
    };
    // Twice on one connection, to check that it stays open.
    cases.push(("the good request", request(job), good));
    cases.push(("the good request again", request(job), good));
    let elsewhere = head("GET", "/nowhere", &[("Authorization", &format!("Bearer {TOKEN}"))], b"");
    cases.push(("another path", (elsewhere, Vec::new()), NOT_FOUND));
    let bad_tokens = [
        ("no token", None),
        ("a forged token", Some(FORGED)),
        ("an expired token", Some(EXPIRED)),
        ("an unsigned token", Some(UNSIGNED)),
        ("no JWT", Some("nonsense")),
    ];
    if job == Job::Jwt {
        for (name, token) in bad_tokens {
            let field = token.map(|token| format!("Bearer {token}"));
            let fields: Vec<_> = field.iter().map(|field| ("Authorization", &**field)).collect();
            cases.push((name, (head("GET", "/me", &fields, b""), Vec::new()), UNAUTHORIZED));
        }
    }
    if job == Job::Post {
        for (name, token) in bad_tokens {
            cases.push((name, post(token, JSON, USER.as_bytes()), UNAUTHORIZED));
        }
        let bodies = [
            ("another media type", "application/xml", USER, UNSUPPORTED),
            ("half a JSON", JSON, r#"{"name":"Ada Lovelace","#, BAD),
            ("a missing member", JSON, r#"{"name":"Ada Lovelace"}"#, INVALID),
            ("an empty name", JSON, r#"{"name":"","email":"ada@example.org"}"#, INVALID),
            ("no address", JSON, r#"{"name":"Ada Lovelace","email":"example"}"#, INVALID),
        ];
        for (name, media, body, expected) in bodies {
            cases.push((name, post(Some(TOKEN), media, body.as_bytes()), expected));
        }
        cases.push(("the good request at last", request(job), good));
        let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(3 << 20));
        cases.push(("a body of 3 MiB", post(Some(TOKEN), JSON, large.as_bytes()), TOO_LARGE));
    }
    let server = Server::start(peer, job, NO_LIMIT)?;
    let mut connection = Connection::open(server.addr)?;
    for (name, request, expected) in cases {
        compare(&mut connection, server.addr, peer, job, name, &request, expected, wrong)?;
    }
    if job == Job::Post {
        let server = Server::start(peer, job, 5)?;
        let mut connection = Connection::open(server.addr)?;
        for i in 0..6 {
            let expected = if i < 5 { good } else { TOO_MANY };
            let name = ["within the limit", "above the limit"][usize::from(i == 5)];
            let request = request(job);
            compare(&mut connection, server.addr, peer, job, name, &request, expected, wrong)?;
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "each is one thing")]
fn compare(
    connection: &mut Connection,
    addr: SocketAddr,
    peer: &Peer,
    job: Job,
    name: &str,
    (head, body): &Request,
    expected: Expected,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let place = format!("{}, {}, {name}", peer.id, job.name());
    let answer = match connection.ask(head, body) {
        Ok(answer) => answer,
        // A server may close the connection after an error response.
        Err(_) if !name.starts_with("the good request") => {
            *connection = Connection::open(addr)?;
            connection.ask(head, body).map_err(|error| format!("{place}: {error}"))?
        }
        Err(error) => return Err(format!("{place}: {error}").into()),
    };
    let body = String::from_utf8_lossy(&answer.body);
    let (status, media) = (answer.status, answer.media.as_str());
    if (status, media, &*body) != expected {
        wrong.push(format!("{place}: {:?} and not {expected:?}", (status, media, body)));
    }
    Ok(())
}
