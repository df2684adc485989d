use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::*;
use crate::grants::Grants;
use crate::test_log::Log;
use crate::{Body, Chain, ChainService};

const ENDPOINT: &str = "https://server.example.com/introspect";
const AUDIENCE: &str = "https://api.example.com";
/// What each of these tokens has.
const MEMBERS: &str = r#""active":true,"token_type":"Bearer","aud":"https://api.example.com""#;

/// A response about an access token for this API, with further members.
fn active(members: &str) -> String {
    format!("{{{MEMBERS}{members}}}")
}

/// A server that says one thing, and counts how often it is asked.
#[derive(Clone)]
struct Server {
    status: u16,
    says: String,
    asked: Arc<AtomicUsize>,
    /// A question waits for one of these.
    answers: Arc<Semaphore>,
    seen: Arc<Mutex<Vec<http::Request<Bytes>>>>,
}

impl Server {
    fn new(says: impl Into<String>) -> Self {
        Self {
            status: 200,
            says: says.into(),
            asked: Arc::default(),
            answers: Arc::new(Semaphore::new(1_000_000)),
            seen: Arc::default(),
        }
    }

    fn introspection(&self) -> Introspection {
        let server = self.clone();
        let fetch = move |req: http::Request<Bytes>| {
            let server = server.clone();
            async move {
                server.asked.fetch_add(1, Ordering::Relaxed);
                server.seen.lock().unwrap().push(req);
                server.answers.acquire().await.map(|answer| answer.forget())?;
                let mut answer = http::Response::new(Bytes::from(server.says));
                *answer.status_mut() = StatusCode::from_u16(server.status).unwrap();
                Ok::<_, tokio::sync::AcquireError>(answer)
            }
        };
        Introspection::new(ENDPOINT, AUDIENCE, fetch).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A chain, and how often its handler ran.
struct Spied(ChainService, Arc<AtomicUsize>);

impl Spied {
    fn new(introspection: Introspection) -> Self {
        let served = Arc::new(AtomicUsize::new(0));
        let spy = served.clone();
        let service = Chain::new()
            .use_(Authenticate::introspection(introspection))
            .get(move |token: Introspected| {
                spy.fetch_add(1, Ordering::Relaxed);
                async move { token.subject().unwrap_or("-").to_owned() }
            })
            .build();
        Self(service, served)
    }

    async fn get(&self, token: &str) -> (u16, String) {
        let before = self.1.load(Ordering::Relaxed);
        let response = self.0.handle(request(token)).await;
        let status = response.status().as_u16();
        if status != 200 {
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(self.1.load(Ordering::Relaxed), before, "the handler ran on a refusal");
        }
        if status == 503 {
            assert_eq!(response.headers()["retry-after"], "5");
            assert!(!response.headers().contains_key("www-authenticate"));
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.into()).unwrap())
    }
}

fn request(token: &str) -> crate::Request {
    let req = http::Request::get("/").header("authorization", format!("Bearer {token}"));
    req.body(Body::empty()).unwrap()
}

/// Polls once.
async fn is_pending<F: Future + Unpin>(mut future: F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(Pin::new(&mut future).poll(cx).is_pending()))
        .await
}

fn now() -> u64 {
    seconds(SystemTime::now())
}

/// RFC 7662, 2.2.
const EXAMPLE: &str = r#"{
      "active": true,
      "client_id": "l238j323ds-23ij4",
      "username": "jdoe",
      "scope": "read write dolphin",
      "sub": "Z5O3upPC88QrAjx00dis",
      "aud": "https://protected.example.net/resource",
      "iss": "https://server.example.com/",
      "exp": 1419356238,
      "iat": 1419350238,
      "extension_field": "twenty-seven"
     }"#;

#[test]
fn the_example_of_rfc_7662_is_read() {
    let claims: UniqueMembers = serde_json::from_str(EXAMPLE).unwrap();
    let introspection = Server::new("").introspection();
    let token = introspection
        .issuer("https://server.example.com/")
        .unwrap()
        .audience("https://protected.example.net/resource")
        .unwrap()
        .any_token_type()
        .judge(claims.0)
        .unwrap();
    assert_eq!(token.subject(), Some("Z5O3upPC88QrAjx00dis"));
    assert_eq!(token.client_id(), Some("l238j323ds-23ij4"));
    assert_eq!(token.username(), Some("jdoe"));
    assert_eq!(token.scopes().collect::<Vec<_>>(), ["read", "write", "dolphin"]);
    assert_eq!(token.claim("extension_field"), Some(&Value::from("twenty-seven")));
    assert_eq!(token.expires_at(), Some(UNIX_EPOCH + Duration::from_secs(1_419_356_238)));
    assert!(token.has_scope("dolphin") && !token.has_scope("read write") && !token.has_scope(""));
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    assert!(token.clone().alive_at(at(1_419_356_237)).is_ok());
    assert!(token.clone().alive_at(at(1_419_356_238)).is_err());
    assert_eq!(token.left(at(1_419_356_200)), Duration::from_secs(38));
    assert_eq!(token.left(at(1_500_000_000)), Duration::ZERO);
}

#[tokio::test]
async fn what_the_server_says_decides() {
    let (past, future) = (now() - 1, now() + 1000);
    let active = |members: &str| active(&format!(r#","sub":"ada"{members}"#));
    let table: Vec<(String, u16)> = vec![
        (active(""), 200),
        (active(&format!(r#","exp":{future}"#)), 200),
        (active(&format!(r#","exp":{future}.5"#)), 200),
        (active(&format!(r#","exp":{past}.5"#)), 401),
        (active(&format!(r#","exp":{past}"#)), 401),
        (active(r#","exp":0"#), 401),
        (active(r#","exp":-1"#), 401),
        (active(r#","exp":"9999999999""#), 401),
        (active(r#","exp":1e300"#), 401),
        (active(r#","exp":253402300799"#), 200),
        (active(r#","exp":253402300800"#), 401),
        (active(r#","exp":18446744073709551615"#), 401),
        (active(r#","exp":null"#), 401),
        (active(&format!(r#","nbf":{past}"#)), 200),
        (active(&format!(r#","nbf":{future}"#)), 401),
        (active(&format!(r#","nbf":{past}.5,"exp":1e11"#)), 200),
        (active(r#","exp":-0.5"#), 401),
        (active(r#","nbf":true"#), 401),
        (active(r#","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#), 401),
        (active(r#","cnf":null"#), 401),
        (r#"{"active":false}"#.to_owned(), 401),
        (format!(r#"{{"active":false,"sub":"ada","exp":{future}}}"#), 401),
        (r#"{"active":"true"}"#.to_owned(), 503),
        (r#"{"active":1}"#.to_owned(), 503),
        (r#"{"active":null}"#.to_owned(), 503),
        (r#"{"Active":true}"#.to_owned(), 503),
        (r#"{"active":false,"active":true}"#.to_owned(), 503),
        (r#"{"active":true,"active":true}"#.to_owned(), 503),
        ("{}".to_owned(), 503),
        ("[true]".to_owned(), 503),
        ("true".to_owned(), 503),
        (String::new(), 503),
        (format!("{} x", active("")), 503),
        ("<html>".to_owned(), 503),
        ("[".repeat(10_000), 503),
        (active(&format!(r#","x":"{}""#, "x".repeat(LONGEST))), 503),
    ];
    for (says, status) in table {
        let service = Spied::new(Server::new(&*says).introspection());
        let short: String = says.chars().take(80).collect();
        assert_eq!(service.get("token").await.0, status, "{short}");
    }
    for status in [201, 204, 302, 400, 401, 403, 404, 500] {
        let server = Server { status, ..Server::new(active("")) };
        assert_eq!(Spied::new(server.introspection()).get("token").await.0, 503, "{status}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_exact() {
    let wanted = |says: &str| {
        let members = if says.is_empty() { String::new() } else { format!(",{says}") };
        let server = Server::new(format!(r#"{{"active":true,"token_type":"Bearer"{members}}}"#));
        server.introspection().issuer("https://a.example").unwrap().audience("us").unwrap()
    };
    let table = [
        (r#""iss":"https://a.example","aud":"us""#, 200),
        (r#""iss":"https://a.example","aud":["them","us"]"#, 200),
        (r#""iss":"https://a.example/","aud":"us""#, 401),
        (r#""iss":["https://a.example"],"aud":"us""#, 401),
        (r#""iss":null,"aud":"us""#, 401),
        (r#""aud":"us""#, 401),
        (r#""iss":"https://a.example""#, 401),
        (r#""iss":"https://a.example","aud":"Us""#, 401),
        (r#""iss":"https://a.example","aud":[]"#, 401),
        (r#""iss":"https://a.example","aud":["them"]"#, 401),
        (r#""iss":"https://a.example","aud":[1,"us"]"#, 401),
        (r#""iss":"https://a.example","aud":{"us":1}"#, 401),
        ("", 401),
    ];
    for (says, status) in table {
        assert_eq!(Spied::new(wanted(says)).get("token").await.0, status, "{says}");
    }
}

/// Responses about tokens of each kind, as servers send them: node's oidc-provider, Keycloak, Ory Hydra, Spring, Cognito.
#[tokio::test]
async fn only_access_tokens_are_accepted() {
    let table = [
        (r#""token_type":"Bearer""#, 200),
        (r#""token_type":"bearer""#, 200),
        (r#""token_type":"Bearer","typ":"Bearer""#, 200),
        (r#""typ":"Bearer""#, 200),
        (r#""typ":"at+jwt""#, 200),
        (r#""token_type":"Bearer","typ":"JWT""#, 200),
        (r#""token_type":"Bearer","token_use":"access_token""#, 200),
        (r#""token_use":"access""#, 200),
        // Only access tokens have a `token_type`: this is a refresh token of oidc-provider and of Spring.
        (r#""scope":"offline_access""#, 401),
        (r#""typ":"JWT""#, 401),
        (r#""typ":"Refresh""#, 401),
        (r#""token_type":"Bearer","typ":"Refresh""#, 401),
        (r#""token_type":"Bearer","typ":"Offline""#, 401),
        (r#""token_type":"Bearer","typ":"ID""#, 401),
        (r#""token_type":"Bearer","token_use":"refresh_token""#, 401),
        (r#""token_use":"id""#, 401),
        (r#""token_type":"refresh_token""#, 401),
        (r#""token_type":"N_A""#, 401),
        (r#""token_type":"mac""#, 401),
        (r#""token_type":"""#, 401),
        (r#""token_type":null"#, 401),
        (r#""token_type":["Bearer"]"#, 401),
        (r#""token_type":"Bearer","typ":null"#, 401),
        (r#""token_type":"Bearer","at_hash":"x""#, 401),
    ];
    for (members, status) in table {
        let says = format!(r#"{{"active":true,"aud":"{AUDIENCE}",{members}}}"#);
        let server = Server::new(says);
        assert_eq!(Spied::new(server.introspection()).get("t").await.0, status, "{members}");
        let any = server.introspection().any_token_type();
        assert_eq!(Spied::new(any).get("t").await.0, 200, "{members}");
    }
}

#[tokio::test]
async fn a_token_without_our_audience_is_refused_unless_any_is_accepted() {
    for (aud, status) in [
        (r#","aud":"https://api.example.com""#, 200),
        (r#","aud":["https://other.example.com","https://api.example.com"]"#, 200),
        (r#","aud":"https://more.example.com""#, 200),
        ("", 401),
        (r#","aud":"https://other.example.com""#, 401),
        (r#","aud":"https://api.example.com/""#, 401),
        (r#","aud":[]"#, 401),
        (r#","aud":null"#, 401),
    ] {
        let server = Server::new(format!(r#"{{"active":true,"token_type":"Bearer"{aud}}}"#));
        let introspection = || server.introspection().audience("https://more.example.com").unwrap();
        assert_eq!(Spied::new(introspection()).get("t").await.0, status, "{aud}");
        assert_eq!(Spied::new(introspection().any_audience()).get("t").await.0, 200, "{aud}");
    }
}

#[tokio::test]
async fn each_check_sees_the_whole_response() {
    let server = Server::new(active(r#","realm":"customers","level":3"#));
    let with = |realm: &'static str, level: u64| {
        let introspection = server.introspection();
        let introspection = introspection
            .check(move |token| token.claim("realm").is_some_and(|value| value == realm))
            .check(move |token| token.claim("level").and_then(Value::as_u64) >= Some(level));
        Spied::new(introspection)
    };
    assert_eq!(with("customers", 3).get("t").await.0, 200);
    assert_eq!(with("customers", 4).get("t").await.0, 401);
    assert_eq!(with("staff", 3).get("t").await.0, 401);
}

/// RFC 7009, 2.2.1: oidc-provider answers so to a JWT. Other errors are about our own request.
#[tokio::test]
async fn a_kind_of_token_that_the_server_does_not_introspect_is_a_401() {
    for (body, expected) in [
        (r#"{"error":"unsupported_token_type"}"#, 401),
        (r#"{"error":"unsupported_token_type","error_description":"a JWT"}"#, 401),
        (r#"{"error":"invalid_token"}"#, 401),
        (r#"{"error":"invalid_client"}"#, 503),
        (r#"{"error":"invalid_request"}"#, 503),
        (r#"{"error":"unsupported_token_type","error":"invalid_client"}"#, 503),
        (r#"{"error":["unsupported_token_type"]}"#, 503),
        (r#"["unsupported_token_type"]"#, 503),
        ("unsupported_token_type", 503),
        ("", 503),
    ] {
        for (status, expected) in [(400, expected), (401, 503), (403, 503), (500, 503)] {
            let server = Server { status, ..Server::new(body) };
            let service = Spied::new(server.introspection());
            assert_eq!(service.get("t").await.0, expected, "{status} {body}");
        }
    }
}

#[tokio::test]
async fn the_question_is_that_of_rfc_7662() {
    let server = Server::new(active(""));
    let introspection = server.introspection().client("s6:BhdRkqt3", "pass word&é").unwrap();
    Spied::new(introspection).get("2YotnFZFEjr1zCsicMWpAA+/=").await;
    let seen = server.seen.lock().unwrap();
    let [req] = &seen[..] else { panic!("{} requests", seen.len()) };
    assert_eq!((req.method().as_str(), &*req.uri().to_string()), ("POST", ENDPOINT));
    assert_eq!(req.headers()["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(req.headers()["accept"], "application/json");
    assert_eq!(req.headers()["user-agent"], concat!("tower-chain/", env!("CARGO_PKG_VERSION")));
    assert_eq!(req.body(), "token=2YotnFZFEjr1zCsicMWpAA%2B%2F%3D&token_type_hint=access_token");
    let authorization = &req.headers()["authorization"];
    let decoded = STANDARD.decode(authorization.to_str().unwrap().strip_prefix("Basic ").unwrap());
    assert_eq!(decoded.unwrap(), b"s6%3ABhdRkqt3:pass%20word%26%C3%A9");
    assert!(authorization.is_sensitive());
}

#[tokio::test]
async fn the_api_may_ask_by_a_token_of_its_own() {
    let server = Server::new(active(""));
    let introspection = server.introspection().bearer("23410913-abewfq.123483").unwrap();
    Spied::new(introspection).get("token").await;
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen[0].headers()["authorization"], "Bearer 23410913-abewfq.123483");
}

#[tokio::test]
async fn answers_are_remembered_and_failures_are_not() {
    for (says, status, asked) in
        [(&*active(""), 200, 1), (r#"{"active":false}"#, 401, 1), ("?", 503, 5)]
    {
        let server = Server::new(says);
        let service = Spied::new(server.introspection());
        for _ in 0..5 {
            assert_eq!(service.get("token").await.0, status);
        }
        assert_eq!(server.asked(), asked, "{says}");
        service.get("another").await;
        assert_eq!(server.asked(), asked + 1, "{says}");
        let server = Server::new(says);
        let service = Spied::new(server.introspection().cache_ttl(Duration::ZERO));
        for _ in 0..5 {
            assert_eq!(service.get("token").await.0, status);
        }
        assert_eq!(server.asked(), 5, "{says}, without a memory");
    }
}

#[tokio::test]
async fn a_good_answer_is_remembered_no_longer_than_the_token_lives() {
    let server = Server::new(active(&format!(r#","exp":{}"#, now() + 30)));
    let introspection = Arc::new(server.introspection().cache_ttl(Duration::from_secs(60)));
    let token = Token::new("token".to_owned());
    assert!(introspection.clone().ask(token, None).await.unwrap().is_ok());
    let key = introspection.good.key(b"token");
    let later = |seconds| Instant::now() + Duration::from_secs(seconds);
    assert!(introspection.good.get(&key, later(28)).is_some());
    assert!(introspection.good.get(&key, later(31)).is_none());
    let bad = introspection.bad.key(b"bad");
    introspection.bad.insert(bad, TokenRefusal::Inactive, Instant::now());
    assert!(introspection.bad.get(&bad, later(4)).is_some());
    assert!(introspection.bad.get(&bad, later(6)).is_none());
}

/// The step has a memory of its own, which may be told to keep what it found for longer than the token lives.
#[tokio::test]
async fn the_memory_of_the_step_is_no_longer_than_the_life_of_the_token() {
    let day = Duration::from_secs(24 * 3600);
    for (exp, asked) in [(Some(30), 1), (Some(-30), 3), (None, 1)] {
        let exp = exp.map_or(String::new(), |left| format!(r#","exp":{}"#, now() as i64 + left));
        let server = Server::new(active(&exp));
        let found = server.introspection().cache_ttl(Duration::ZERO);
        let authenticate = Authenticate::introspection(found).cache_ttl(day);
        let chain = Chain::new().use_(authenticate).get(async || "").build();
        for _ in 0..3 {
            let response = chain.handle(request("token")).await;
            assert_eq!(response.status(), if asked == 1 { 200 } else { 401 });
        }
        assert_eq!(server.asked(), asked, "{exp}");
    }
    let server = Server::new(active(&format!(r#","exp":{}"#, now() + 30)));
    let authenticate = Authenticate::introspection(server.introspection()).cache_ttl(day);
    let way = &authenticate.ways[0];
    let cache = way.cache.as_ref().unwrap();
    let token = crate::middleware::credentials::Credentials::Token("token".into());
    let found = way.ask(&token, None).await.unwrap().unwrap();
    let key = cache.key(b"token");
    let later = |seconds| Instant::now() + Duration::from_secs(seconds);
    assert!(cache.get(&key, later(28)).is_some());
    assert!(cache.get(&key, later(31)).is_none());
    // Nor does a clock help that stood still meanwhile.
    let expired = Introspected(Arc::new(ActiveToken {
        claims: found.0.claims.clone(),
        expires: Some(now() - 1),
        not_before: None,
    }));
    cache.insert(key, expired, Instant::now());
    assert_eq!(way.ask(&token, None).await.unwrap().unwrap().0.expires, found.0.expires);
}

#[tokio::test]
async fn a_flood_of_bad_tokens_does_not_push_out_the_good_ones() {
    let server = Server::new(active(""));
    let introspection = Arc::new(server.introspection().cache_capacity(4));
    let good = introspection.good.key(b"good");
    let now = Instant::now();
    let claims: UniqueMembers = serde_json::from_str(&active("")).unwrap();
    let token = introspection.judge(claims.0).unwrap();
    introspection.good.insert(good, token, now);
    for n in 0..1000_u32 {
        let key = introspection.good.key(&n.to_be_bytes());
        introspection.bad.insert(key, TokenRefusal::Inactive, now);
    }
    assert!(introspection.good.get(&good, now).is_some());
}

#[tokio::test]
async fn a_thousand_requests_at_once_with_one_token_are_one_question() {
    let server = Server { answers: Arc::new(Semaphore::new(0)), ..Server::new(active("")) };
    let introspection = Arc::new(server.introspection());
    let ask = || introspection.clone().ask(Token::new("token".to_owned()), None);
    let all = futures_util::future::join_all((0..1000).map(|_| ask()));
    let release = async {
        tokio::task::yield_now().await;
        server.answers.add_permits(1_000_000);
    };
    let (answers, ()) = tokio::join!(all, release);
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(Result::is_ok)));
    assert_eq!(server.asked(), 1);
    assert!(introspection.asking.lock().unwrap().is_empty(), "nothing is left of it");
}

#[tokio::test]
async fn a_flood_of_tokens_of_one_client_does_not_delay_the_others() {
    use crate::extract::PeerAddr;
    // The server answers nothing until the end.
    let server = Server { answers: Arc::new(Semaphore::new(0)), ..Server::new(active("")) };
    let service = Spied::new(server.introspection()).0;
    let send = |peer: &str, token: &str| {
        let mut req = request(token);
        req.extensions_mut().insert(PeerAddr(peer.parse().unwrap()));
        Box::pin(service.handle(req))
    };
    let mut flood: Vec<_> = (0..1000).map(|n| send("192.0.2.1:1", &format!("{n}"))).collect();
    for request in &mut flood {
        assert!(is_pending(request).await);
    }
    tokio::task::yield_now().await;
    assert_eq!(server.asked(), REQUESTS.client);
    let mut other = send("192.0.2.2:1", "token");
    assert!(is_pending(&mut other).await);
    tokio::task::yield_now().await;
    assert_eq!(server.asked(), REQUESTS.client + 1);
    // Each of the flood has its turn in the end.
    server.answers.add_permits(1001);
    assert_eq!(other.await.status(), 200);
    for response in futures_util::future::join_all(flood).await {
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_end_the_request_for_the_others() {
    let server = Server { answers: Arc::new(Semaphore::new(0)), ..Server::new(active("")) };
    let introspection = Arc::new(server.introspection());
    let ask = || Box::pin(introspection.clone().ask(Token::new("token".to_owned()), None));
    let (mut first, mut second) = (ask(), ask());
    assert!(is_pending(&mut first).await);
    assert!(is_pending(&mut second).await);
    drop(first);
    server.answers.add_permits(1);
    assert!(second.await.unwrap().is_ok());
    assert_eq!(server.asked(), 1);
    // All of them disconnect: the request goes on, and the next one joins it.
    let introspection =
        Arc::new(Server { answers: Arc::new(Semaphore::new(0)), ..server.clone() }.introspection());
    let ask = || Box::pin(introspection.clone().ask(Token::new("token".to_owned()), None));
    let mut only = ask();
    assert!(is_pending(&mut only).await);
    tokio::task::yield_now().await;
    drop(only);
    let mut next = ask();
    assert!(is_pending(&mut next).await);
    tokio::task::yield_now().await;
    assert_eq!(server.asked(), 2);
}

/// The authorization server goes on with a request whose client has left, so its turn must last as long.
#[tokio::test]
async fn a_client_that_disconnects_keeps_its_turns() {
    use crate::extract::PeerAddr;
    let server = Server { answers: Arc::new(Semaphore::new(0)), ..Server::new(active("")) };
    let service = Spied::new(server.introspection()).0;
    for n in 0..200 {
        let mut req = request(&n.to_string());
        req.extensions_mut().insert(PeerAddr("192.0.2.1:1".parse().unwrap()));
        let mut leaves = Box::pin(service.handle(req));
        assert!(is_pending(&mut leaves).await);
        tokio::task::yield_now().await;
    }
    assert_eq!(server.asked(), REQUESTS.client);
    server.answers.add_permits(REQUESTS.client);
    tokio::task::yield_now().await;
    assert_eq!(service.handle(request("0")).await.status(), 200, "its result is cached");
}

#[tokio::test]
async fn a_function_that_panics_is_a_503_and_leaves_nothing_behind() {
    let fetch = |req: http::Request<Bytes>| async move {
        assert!(!req.body().starts_with(b"token=bad&"), "broken function");
        Ok::<_, std::io::Error>(http::Response::new(Bytes::from(active(""))))
    };
    let introspection = Introspection::new(ENDPOINT, AUDIENCE, fetch).unwrap();
    let service = Spied::new(introspection);
    for _ in 0..100 {
        assert_eq!(service.get("bad").await.0, 503);
    }
    assert_eq!(service.get("good").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gets_no_turn_is_refused() {
    use crate::extract::PeerAddr;
    let server = Server { answers: Arc::new(Semaphore::new(0)), ..Server::new(active("")) };
    let introspection = server.introspection().timeout(Duration::from_secs(60)).unwrap();
    let service = Spied::new(introspection).0;
    let send = |token: &str| {
        let mut req = request(token);
        req.extensions_mut().insert(PeerAddr("192.0.2.1:1".parse().unwrap()));
        Box::pin(service.handle(req))
    };
    let waiting = REQUESTS.client + crate::turns::WAITING_OF_CLIENT;
    let mut all: Vec<_> = (0..waiting).map(|n| send(&n.to_string())).collect();
    for request in &mut all {
        assert!(is_pending(request).await);
    }
    let reason = |response: &crate::Response| {
        assert_eq!(response.headers()["retry-after"], "5");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let source = Error::of(response).and_then(Error::source).unwrap();
        source
            .downcast_ref::<crate::middleware::authenticate::AuthenticateRefusal>()
            .unwrap()
            .code()
    };
    let response = send("another").await;
    assert_eq!((response.status().as_u16(), reason(&response)), (429, "too_many"));
    let response = all.pop().unwrap().await;
    assert_eq!((response.status().as_u16(), reason(&response)), (503, "overloaded"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_a_503_in_time() {
    let server = Server { answers: Arc::new(Semaphore::new(0)), ..Server::new("") };
    let service = Spied::new(server.introspection().timeout(Duration::from_secs(3)).unwrap());
    let start = tokio::time::Instant::now();
    assert_eq!(service.get("token").await.0, 503);
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[test]
fn without_a_runtime_it_works_too() {
    let service = Spied::new(Server::new(active(r#","sub":"ada""#)).introspection());
    let answer = futures_util::FutureExt::now_or_never(service.get("token"));
    assert_eq!(answer, Some((200, "ada".to_owned())));
}

#[tokio::test]
async fn a_refused_token_is_challenged_as_any() {
    let service = Spied::new(Server::new(r#"{"active":false}"#).introspection());
    let response = service.0.handle(request("token")).await;
    assert_eq!(
        response.headers()["www-authenticate"],
        r#"Bearer realm="api", error="invalid_token", error_description="The credentials are not valid""#
    );
    // Without a token nobody is asked.
    let response = service.0.handle(http::Request::new(Body::empty())).await;
    assert_eq!(response.headers()["www-authenticate"], r#"Bearer realm="api""#);
}

/// The members of Keycloak, Okta, Entra ID, Cognito, Spring, Ory and Zitadel, in each shape.
#[tokio::test]
async fn rights_are_those_of_the_members_that_servers_send() {
    type Right = fn(&Introspected, &str) -> bool;
    let scope: Right = |token, name| token.has_scope(name);
    let role: Right = |token, name| token.has_role(name);
    let permission: Right = |token, name| token.has_permission(name);
    let table: &[(&str, Right, &[&str], &[&str])] = &[
        (r#""scope":"a b""#, scope, &["a", "b"], &["", " ", "a b", "A"]),
        (r#""scope":["a","b c",1]"#, scope, &["a"], &["b", "c", "b c", "1"]),
        (r#""scp":"a b""#, scope, &["a", "b"], &["c"]),
        (r#""scp":["a"],"scope":"b""#, scope, &["a", "b"], &["a b"]),
        (r#""scope":null,"scp":{"a":1}"#, scope, &[], &["a", "", "null"]),
        (r#""scope":"""#, scope, &[], &["", " "]),
        (r#""roles":["admin",1]"#, role, &["admin"], &["1", "user"]),
        (r#""roles":"admin staff""#, role, &["admin staff"], &["admin", "staff"]),
        (r#""roles":null,"groups":["ops"]"#, role, &["ops"], &["null", ""]),
        (r#""roles":[{"value":"a"},{"display":"b"}]"#, role, &["a"], &["b"]),
        (r#""roles":{"admin":true}"#, role, &[], &["admin", "true"]),
        (r#""cognito:groups":["ops"]"#, role, &["ops"], &["cognito:ops"]),
        (r#""realm_access":{"roles":["staff"]}"#, role, &["staff"], &["roles"]),
        (r#""realm_access":["staff"]"#, role, &[], &["staff"]),
        (
            r#""resource_access":{"orders":{"roles":["admin"]},"account":{"roles":"x"}}"#,
            role,
            &["orders:admin", "account:x"],
            &["admin", "account:admin", "orders", ":admin", "orders:"],
        ),
        (r#""resource_access":{"":{"roles":["admin"]}}"#, role, &[":admin"], &["admin"]),
        (r#""permissions":["edit"]"#, permission, &["edit"], &["e"]),
        (r#""permissions":"edit""#, permission, &["edit"], &["e"]),
        (r#""entitlements":[{"value":"edit"}]"#, permission, &["edit"], &["value"]),
        (r#""roles":["edit"],"scope":"edit""#, permission, &[], &["edit"]),
    ];
    for (members, has, granted, refused) in table {
        let says = active(&format!(",{members}"));
        let introspection = Arc::new(Server::new(says).introspection());
        let token = introspection.ask(Token::new("t".into()), None).await.unwrap().unwrap();
        for name in *granted {
            assert!(has(&token, name), "{members}: {name}");
        }
        for name in *refused {
            assert!(!has(&token, name), "{members}: {name}");
        }
    }
}

#[tokio::test]
async fn how_and_when_the_user_signed_in_is_in_the_response() {
    for (members, acr, signed_in) in [
        (r#","acr":"urn:mfa","auth_time":1700000000"#, Some("urn:mfa"), Some(1_700_000_000)),
        (r#","acr":2,"auth_time":1700000000.9"#, None, Some(1_700_000_000)),
        (r#","auth_time":"1700000000""#, None, None),
        (r#","auth_time":1e300"#, None, None),
        (r#","auth_time":-1"#, None, None),
        ("", None, None),
    ] {
        let introspection = Arc::new(Server::new(active(members)).introspection());
        let token = introspection.ask(Token::new("t".into()), None).await.unwrap().unwrap();
        let since = token.authenticated_at().map(seconds);
        assert_eq!((token.acr(), since), (acr, signed_in), "{members}");
    }
}

#[test]
fn wrong_configuration_is_refused() {
    let fetch =
        async |_: http::Request<Bytes>| Ok::<_, std::io::Error>(http::Response::new(Bytes::new()));
    for (url, shown) in [
        ("", ""),
        ("/introspect", "/introspect"),
        ("http://a.example", "http://a.example"),
        ("ftp://a.example", "ftp://a.example"),
        ("https://user:canary@a.example/i", "https://a.example/i"),
        ("https://user:can@ry@a.example/i?canary#canary", "https://a.example/i"),
        ("user:canary@a.example", "a.example"),
        ("http://a.example/?key=canary", "http://a.example/"),
    ] {
        let error = Introspection::new(url, AUDIENCE, fetch).map(drop).unwrap_err();
        assert_eq!(error, IntrospectionError::Endpoint { url: shown.to_owned() });
        assert!(!error.to_string().contains("canary"));
        assert!(error.to_string().contains("absolute `https` URL"));
    }
    for url in ["http://localhost:8080/i", "http://127.0.0.1/", "http://[::1]:1/", ENDPOINT] {
        assert!(Introspection::new(url, AUDIENCE, fetch).is_ok(), "{url}");
    }
    for (url, accepted) in [
        ("http://login.auth.svc/i", true),
        ("https://login.auth.svc/i", true),
        ("ftp://login.auth.svc/i", false),
        ("http://user:secret@login.auth.svc/i", false),
        ("/i", false),
    ] {
        assert_eq!(Introspection::insecure(url, AUDIENCE, fetch).is_ok(), accepted, "{url}");
    }
    for token in ["", "a b", "a\r\nb"] {
        let introspection = Introspection::new(ENDPOINT, AUDIENCE, fetch).unwrap();
        assert_eq!(introspection.bearer(token).map(drop), Err(IntrospectionError::Bearer));
    }
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let says = active(r#","sub":"canary-subject""#);
    let introspection = Server::new(says).introspection().client("id", "canary-secret").unwrap();
    let fetch =
        async |_: http::Request<Bytes>| Ok::<_, std::io::Error>(http::Response::new(Bytes::new()));
    let other = Introspection::new(format!("{ENDPOINT}?key=canary"), AUDIENCE, fetch).unwrap();
    let shown = format!("{introspection:?} {introspection:#?} {other:?}");
    let token = Arc::new(introspection).ask(Token::new("canary-token".into()), None).await.unwrap();
    let shown = format!("{shown} {token:?} {token:#?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("\"sub\""));
}

/// Each cause, its part, what was expected and the hint. The log never has a value of the token or of the response.
#[tokio::test]
async fn each_refusal_is_explained_in_the_log_alone() {
    type Tune = fn(Introspection) -> Introspection;
    const MANY: &str = "https://us.example, https://more.example";
    let plain: Tune = |introspection| introspection.any_audience();
    let audience: Tune = |introspection| {
        let us = introspection.any_audience().audience("https://us.example").unwrap();
        us.audience("https://more.example").unwrap()
    };
    let issuer: Tune =
        |introspection| introspection.any_audience().issuer("https://login.example").unwrap();
    let check: Tune = |introspection| introspection.any_audience().check(|_| false);
    let slash = "differs in the trailing slash";
    let kind = "Bearer, DPoP";
    let active = r#""active":true,"token_type":"Bearer""#;
    let table: Vec<(Tune, u16, String, [&str; 3])> = vec![
        (plain, 200, r#"{"active":false,"sub":"canary"}"#.into(), ["active", "true", ""]),
        (
            plain,
            400,
            r#"{"error":"unsupported_token_type","error_description":"canary"}"#.into(),
            [
                "token",
                "that the authorization server introspects",
                "answered unsupported_token_type",
            ],
        ),
        (
            plain,
            400,
            r#"{"error":"invalid_token"}"#.into(),
            ["token", "that the authorization server introspects", "answered invalid_token"],
        ),
        (plain, 200, format!(r#"{{{active},"exp":"canary"}}"#), ["exp", "seconds since 1970", ""]),
        (plain, 200, format!(r#"{{{active},"nbf":[1]}}"#), ["nbf", "seconds since 1970", ""]),
        (plain, 200, format!(r#"{{{active},"exp":1}}"#), ["exp", "later than now", ""]),
        (
            plain,
            200,
            format!(r#"{{{active},"nbf":253402300799}}"#),
            ["nbf", "not later than now", ""],
        ),
        (issuer, 200, format!("{{{active}}}"), ["iss", "https://login.example", ""]),
        (
            issuer,
            200,
            format!(r#"{{{active},"iss":"https://canary.example"}}"#),
            ["iss", "https://login.example", ""],
        ),
        (
            issuer,
            200,
            format!(r#"{{{active},"iss":"https://login.example/"}}"#),
            ["iss", "https://login.example", slash],
        ),
        (audience, 200, format!("{{{active}}}"), ["aud", MANY, ""]),
        (audience, 200, format!(r#"{{{active},"aud":"canary"}}"#), ["aud", MANY, ""]),
        (audience, 200, format!(r#"{{{active},"aud":["canary",1]}}"#), ["aud", MANY, ""]),
        (
            audience,
            200,
            format!(r#"{{{active},"aud":["canary","https://more.example/"]}}"#),
            ["aud", MANY, slash],
        ),
        (plain, 200, r#"{"active":true,"sub":"canary"}"#.into(), ["token_type", kind, ""]),
        (plain, 200, r#"{"active":true,"token_type":"canary"}"#.into(), ["token_type", kind, ""]),
        (
            plain,
            200,
            r#"{"active":true,"token_use":"refresh_token"}"#.into(),
            ["token_use", "access_token, access", ""],
        ),
        (
            plain,
            200,
            format!(r#"{{{active},"typ":"Refresh"}}"#),
            ["typ", "Bearer, DPoP, at+jwt", ""],
        ),
        (
            plain,
            200,
            format!(r#"{{{active},"at_hash":"canary"}}"#),
            ["at_hash", "absent, as for an access token", ""],
        ),
        (
            plain,
            200,
            format!(r#"{{{active},"c_hash":"canary"}}"#),
            ["c_hash", "absent, as for an access token", ""],
        ),
        (
            plain,
            200,
            format!(r#"{{{active},"cnf":{{"jkt":"canary"}}}}"#),
            ["cnf", "a token that is not bound", ""],
        ),
        (check, 200, format!("{{{active}}}"), ["response", "`Introspection::check`", ""]),
    ];
    for (tune, status, says, fields) in table {
        let server = Server { status, ..Server::new(&*says) };
        let service = Spied::new(tune(server.introspection()));
        // The second refusal comes from the cache, and is explained as well.
        for _ in 0..2 {
            let log = Log::start();
            let response = service.0.handle(request("canary-token")).await;
            assert_eq!(response.status(), 401, "{says}");
            let mut seen = format!("{:?}", response.headers());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            seen += &String::from_utf8_lossy(&body);
            let text = log.text();
            let events: Vec<_> =
                text.lines().filter(|line| line.contains("credentials refused")).collect();
            assert_eq!(events.len(), 1, "{says} {text}");
            assert!(events[0].contains("DEBUG tower_chain::middleware::authenticate: "), "{text}");
            for (name, value) in ["part", "expected", "hint"].into_iter().zip(fields) {
                let field = events[0].split_once(&format!(" {name}=\"")).map(|(_, rest)| rest);
                let field = field.map(|rest| rest.split('"').next().unwrap());
                assert_eq!(field.is_some(), !value.is_empty(), "{name}: {says} {text}");
                assert!(field.is_none_or(|field| field.contains(value)), "{name}: {says} {text}");
                assert!(value.len() < 8 || !seen.contains(value), "{value} {seen}");
            }
            assert!(!text.contains("canary"), "{text}");
        }
    }
}

/// Why there is no usable response, with the status and the error of the server.
#[tokio::test(start_paused = true)]
async fn each_failure_of_the_server_is_explained_in_the_log_alone() {
    let long = format!(r#"{{"active":true,"x":"{}"}}"#, "a".repeat(LONGEST));
    for (status, says, reason, fields) in [
        (
            401,
            r#"{"error":"invalid_client","error_description":"canary"}"#,
            "a status other than 200",
            " status=401 issuer_error=\"invalid_client\"",
        ),
        (
            400,
            r#"{"error":"invalid_request"}"#,
            "a status other than 200",
            " status=400 issuer_error=\"invalid_request\"",
        ),
        (401, r#"{"error":"invalid_token"}"#, "a status other than 200", " status=401"),
        (403, "canary", "a status other than 200", " status=403"),
        (502, "<html>canary</html>", "a status other than 200", " status=502"),
        (200, "canary", "a response that is not a JSON object", ""),
        (200, r#"{"active":true,"active":true}"#, "a response that is not a JSON object", ""),
        (200, r#"{"sub":"canary"}"#, "a response without `active`", ""),
        (200, r#"{"active":"canary"}"#, "a response without `active`", ""),
        (200, &*long, "a response that is too long", ""),
    ] {
        let service = Spied::new(Server { status, ..Server::new(says) }.introspection());
        let log = Log::start();
        let (answer, body) = service.get("canary-token").await;
        let text = log.text();
        assert_eq!(answer, 503, "{says}");
        let events: Vec<_> =
            text.lines().filter(|line| line.contains("introspection failed")).collect();
        assert_eq!(events.len(), 1, "{text}");
        assert!(events[0].contains("WARN") && events[0].contains(reason), "{text}");
        assert!(events[0].contains(fields), "{fields} {text}");
        assert!(!text.contains("canary") && !body.contains(reason), "{text} {body}");
    }
    let server = Server { answers: Arc::new(Semaphore::new(0)), ..Server::new("") };
    let log = Log::start();
    assert_eq!(Spied::new(server.introspection()).get("token").await.0, 503);
    assert!(log.text().contains("reason=\"timeout\""), "{}", log.text());
}
