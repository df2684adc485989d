//! Requests and their expected responses.

use std::process::Command;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::program::{API_TOKEN, Program};

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

async fn send(request: RequestBuilder) -> (u16, Response) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response)
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let (status, response) = send(request).await;
    (status, response.json().await.unwrap())
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// Asserts a problem document, the format of all error responses.
async fn problem(request: RequestBuilder, status: u16) -> Value {
    let (found, response) = send(request).await;
    let content_type = header(&response, "content-type");
    let text = response.text().await.unwrap();
    assert_eq!((found, content_type.as_str()), (status, "application/problem+json"), "{text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string() && problem["type"].is_string(), "{text}");
    problem
}

/// Returns the fields that a problem document names, sorted.
fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap().iter();
    let mut pointers: Vec<&str> = errors.map(|error| error["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    pointers
}

#[tokio::test]
async fn hello_answers_get_and_refuses_the_rest_with_allow() {
    let program = Program::start();
    let url = format!("{}/api/hello", program.base);
    let hello = json!({ "name": "John Doe" });
    assert_eq!(json_of(client().get(&url)).await, (200, hello));
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let (status, response) = send(client().request(method, &url)).await;
        assert_eq!((status, header(&response, "allow").as_str()), (405, "GET, HEAD, OPTIONS"));
    }
    let (status, response) = send(client().head(&url)).await;
    assert_eq!((status, header(&response, "content-length").as_str()), (200, "19"));
    let (status, response) = send(client().request(Method::OPTIONS, &url)).await;
    assert_eq!((status, header(&response, "allow").as_str()), (204, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn posts_are_saved_from_json_and_from_forms_and_listed_newest_first() {
    let program = Program::start();
    let url = format!("{}/api/post", program.base);
    let created = (200, json!({ "message": "Post created successfully" }));
    assert_eq!(json_of(client().get(&url)).await, (200, json!([])));
    let first = json!({ "title": "First", "post": "By JSON: <b>'; DROP TABLE posts; --</b>" });
    assert_eq!(json_of(client().post(&url).json(&first)).await, created);
    let form = client()
        .post(&url)
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body("title=Second+one&post=By%20form%20%C3%BC");
    assert_eq!(json_of(form).await, created);
    let (status, list) = json_of(client().get(&url)).await;
    assert_eq!(status, 200);
    assert_eq!(list[0]["title"], "Second one");
    assert_eq!(list[0]["post"], "By form ü");
    assert_eq!(list[1]["post"], first["post"]);
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn bad_posts_are_refused_one_shape_each_and_nothing_is_saved() {
    let program = Program::start();
    let url = format!("{}/api/post", program.base);
    let typed = |content_type: &'static str, body: Vec<u8>| {
        client().post(&url).header("content-type", content_type).body(body)
    };
    let secret = "hunter2-and-more";
    for body in ["{", "", "nope", "{\"title\":\"a\",", "{\"title\":\"a\",\"post\":\"b\"} trailing"]
    {
        problem(typed("application/json", body.into()), 400).await;
    }
    problem(typed("text/xml", b"<a/>".to_vec()), 415).await;
    problem(client().post(&url).body("title=a"), 415).await;
    let wrong_type = problem(
        typed("application/json", format!("{{\"title\":[\"{secret}\"],\"post\":\"b\"}}").into()),
        422,
    )
    .await;
    assert_eq!(wrong_type["errors"][0]["pointer"], "/title");
    assert!(!wrong_type.to_string().contains(secret));
    let invalid = problem(client().post(&url).json(&json!({ "title": "", "post": "" })), 422).await;
    assert_eq!(pointers(&invalid), ["/post", "/title"]);
    let long = format!("{{\"title\":\"a\",\"post\":\"{}\"}}", "x".repeat(1024 * 1024));
    problem(typed("application/json", long.clone().into()), 413).await;
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(long)]);
    let chunked = client().post(&url).header("content-type", "application/json");
    problem(chunked.body(reqwest::Body::wrap_stream(chunks)), 413).await;
    assert_eq!(json_of(client().get(&url)).await, (200, json!([])));
}

#[tokio::test]
async fn one_connection_lives_through_refusals() {
    let program = Program::start();
    let client = Client::builder().no_proxy().pool_max_idle_per_host(1).build().unwrap();
    let mut ports = Vec::new();
    for (path, body) in
        [("/api/post", "{"), ("/api/post", "[]"), ("/api/nowhere", "x"), ("/api/hello", "")]
    {
        let request = client
            .post(format!("{}{path}", program.base))
            .header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        assert!(response.status().is_client_error());
        ports.push(response.remote_addr());
        response.bytes().await.unwrap();
    }
    assert_eq!(
        client.get(format!("{}/api/hello", program.base)).send().await.unwrap().status(),
        200
    );
    assert_eq!(ports.len(), 4);
}

#[tokio::test]
async fn trivia_asks_upstream_refuses_words_and_says_when_upstream_fails() {
    let program = Program::start();
    let (status, response) = send(client().get(format!("{}/api/trivia/42", program.base))).await;
    assert_eq!(
        (status, header(&response, "content-type").as_str()),
        (200, "text/plain; charset=utf-8")
    );
    assert!(response.text().await.unwrap().starts_with("42 is the answer"));
    let failing = Program::start_with(&[("TRIVIA_URL", &format!("{}/api/hello", program.base))]);
    for word in ["abc", "4x", "1.5", "%34%zz", "99999999999999999999"] {
        problem(client().get(format!("{}/api/trivia/{word}", failing.base)), 400).await;
    }
    let bad = problem(client().get(format!("{}/api/trivia/42", failing.base)), 502).await;
    assert!(!bad.to_string().contains("127.0.0.1"), "{bad}");
    let nobody = Program::start_with(&[("TRIVIA_URL", "http://127.0.0.1:9")]);
    problem(client().get(format!("{}/api/trivia/42", nobody.base)), 502).await;
}

#[tokio::test]
async fn the_protected_route_takes_the_token_bare_or_as_bearer() {
    let program = Program::start();
    let url = format!("{}/api/protected", program.base);
    let answer = (200, json!({ "message": "You are authenticated!" }));
    for value in
        [API_TOKEN.to_owned(), format!("Bearer {API_TOKEN}"), format!("bearer {API_TOKEN}")]
    {
        assert_eq!(json_of(client().get(&url).header("authorization", value)).await, answer);
    }
    for value in [
        "Bearer wrong",
        "wrong",
        &API_TOKEN[1..],
        &format!("Basic {API_TOKEN}"),
        &format!("Bearer {API_TOKEN}x"),
    ] {
        let (status, response) = send(client().get(&url).header("authorization", value)).await;
        assert_eq!(status, 401, "{value:?}");
        assert!(header(&response, "www-authenticate").starts_with("Bearer"), "{value}");
        assert_eq!(header(&response, "content-type"), "application/problem+json");
    }
    problem(client().get(&url), 401).await;
    // A field without credentials is malformed (RFC 6750, 3.1).
    for value in ["", "Bearer"] {
        let (status, response) = send(client().get(&url).header("authorization", value)).await;
        assert_eq!(status, 400, "{value:?}");
        assert!(header(&response, "www-authenticate").contains("invalid_request"));
    }
}

#[tokio::test]
async fn a_user_is_found_by_its_id() {
    let program = Program::start();
    let url = |query: &str| client().get(format!("{}/api/user{query}", program.base));
    assert_eq!(json_of(url("?id=1")).await, (200, json!({ "id": "1", "name": "John Doe" })));
    assert_eq!(problem(url("?id=999"), 404).await["detail"], "User not found");
    for query in ["", "?id=", "?id=abc", "?id=1&id=2", "?id=1%20OR%201=1"] {
        let (status, _) = send(url(query)).await;
        assert!(status == 400 || status == 422, "{query}: {status}");
    }
}

#[tokio::test]
async fn tokens_open_me_and_roles_open_admin() {
    let program = Program::start();
    let (member, admin) = (program.token_for("/api/me"), program.token_for("/api/admin"));
    let get = |path: &str, token: &str| {
        client()
            .get(format!("{}{path}", program.base))
            .header("authorization", format!("Bearer {token}"))
    };
    let (status, me) = json_of(get("/api/me", &member)).await;
    assert_eq!(
        (status, &me["message"], &me["user"]["sub"]),
        (200, &json!("Authorized"), &json!("ada"))
    );
    assert_eq!(send(get("/api/admin", &admin)).await.0, 200);
    problem(get("/api/admin", &member), 403).await;

    let (status, response) = send(client().get(format!("{}/api/me", program.base))).await;
    let challenge = header(&response, "www-authenticate");
    assert_eq!(status, 401);
    assert!(challenge.starts_with("Bearer") && !challenge.contains("error"), "{challenge}");
    let (head, signature) = member.rsplit_once('.').unwrap();
    let swapped: String = signature.chars().rev().collect();
    let forged = format!("{head}.{swapped}");
    let none = format!("eyJhbGciOiJub25lIn0.{}.", head.split('.').nth(1).unwrap());
    for bad in [forged.as_str(), none.as_str(), "abc", "a.b.c", head] {
        let (status, response) = send(get("/api/me", bad)).await;
        let challenge = header(&response, "www-authenticate");
        assert_eq!(status, 401, "{bad}");
        assert!(
            challenge.starts_with("Bearer") && challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn users_are_limited_then_authenticated_then_validated() {
    let program = Program::start();
    let token = program.token_for("/api/users");
    let post = |body: Value| {
        let request = client().post(format!("{}/api/users", program.base)).json(&body);
        request.header("authorization", format!("Bearer {token}"))
    };
    let good = json!({ "name": "Ada", "email": "ada@example.org" });
    assert_eq!(json_of(post(good.clone())).await, (200, json!({ "message": "Data is valid" })));
    let bad = problem(post(json!({ "name": "", "email": "not-an-address" })), 422).await;
    assert_eq!(pointers(&bad), ["/email", "/name"]);
    assert!(!bad.to_string().contains("not-an-address"));
    let client = client();
    let url = format!("{}/api/users", program.base);
    problem(client.post(&url).json(&good), 401).await;
    let mut limited = None;
    for _ in 0..100 {
        let (status, response) = send(client.post(&url).json(&good)).await;
        if status == 429 {
            limited = Some(response);
            break;
        }
        assert_eq!(status, 401);
    }
    let retry: u64 = header(&limited.expect("100 in 15 minutes"), "retry-after").parse().unwrap();
    assert!((1..=9).contains(&retry), "{retry}");
}

#[tokio::test]
async fn the_sixth_request_in_a_minute_is_refused() {
    let program = Program::start();
    let url = format!("{}/api/limited", program.base);
    for _ in 0..5 {
        assert_eq!(send(client().get(&url)).await.0, 200);
    }
    let (status, response) = send(client().get(&url)).await;
    let retry: u64 = header(&response, "retry-after").parse().unwrap();
    assert_eq!(status, 429);
    assert!((1..=12).contains(&retry), "{retry}");
    assert_eq!(header(&response, "content-type"), "application/problem+json");
}

#[tokio::test]
async fn unknown_paths_and_bad_encodings_are_refused() {
    let program = Program::start();
    for path in ["/nowhere", "/api", "/api/me/x", "/API/HELLO"] {
        problem(client().get(format!("{}{path}", program.base)), 404).await;
    }
    // A client library would normalize these paths, so they are sent as raw bytes.
    for (target, status) in
        [("/api/trivia/%zz", 400), ("/%ff", 400), ("/api/hello%", 400), ("//api/hello", 404)]
    {
        assert_eq!(raw(&program.base, target).await, status, "{target}");
    }
}

async fn raw(base: &str, target: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream =
        tokio::net::TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn it_prints_the_address_the_tree_and_a_curl_line_for_every_route() {
    let program = Program::start();
    assert!(program.base.starts_with("http://127.0.0.1:"));
    assert!(program.printed.iter().any(|line| line.contains("/api/trivia/{number}")));
    let routes = [
        "/ ",
        "/api/hello",
        "/api/post",
        "/api/trivia/",
        "/trivia/",
        "/api/protected",
        "/api/user?",
        "/api/me",
        "/api/admin",
        "/api/users",
        "/api/limited",
    ];
    let lines: Vec<String> = program.curl_lines().map(|line| format!("{line} ")).collect();
    for route in routes {
        assert!(lines.iter().any(|line| line.contains(route)), "{route}");
    }
}

#[test]
#[cfg_attr(not(curl), ignore = "install curl to run this test")]
fn every_curl_line_that_it_prints_works() {
    let program = Program::start();
    for line in program.curl_lines() {
        let line = line.replacen("curl -i", "curl -i -s --noproxy '*'", 1);
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{line}\n{answer}");
    }
}

#[test]
fn it_ends_on_a_signal_and_secrets_are_made_where_none_are_set() {
    let (mut one, other) = (Program::start(), Program::start());
    assert_ne!(one.token_for("/api/me"), other.token_for("/api/me"));
    let signal = Command::new("kill").args(["-TERM", &one.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert!(one.wait().success());
}

#[test]
fn a_secret_that_is_too_short_is_named_at_the_start() {
    for name in ["API_TOKEN", "JWT_SECRET"] {
        let (status, told) = super::program::refused_start(name, "short");
        assert!(!status.success());
        assert!(told.starts_with(&format!("{name}: ")) && told.contains("bytes"), "{told}");
        assert!(!told.contains("short\""), "{told}");
    }
}
