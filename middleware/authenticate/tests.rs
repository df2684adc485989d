use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use sha2::Digest;

use super::*;
use crate::grants::Anonymous;
use crate::middleware::tables::rows;
use crate::test_log::Log;
use crate::{Body, Chain, ChainService, MiddlewareExt, Provided, Request, Response};

const SECRET: &str = "Vy3pRT1rW9ZsU0bq6xQ2Lw";
const OTHER: &str = "8wTnQ5cKx0fJm2EoYb7RzA";
const BEARER: &str = r#"Bearer realm="api""#;
const INVALID: &str = r#"Bearer realm="api", error="invalid_token", error_description="The credentials are not valid""#;

/// A chain with a counter of the requests that came through.
struct Spied {
    service: ChainService,
    served: Arc<AtomicUsize>,
}

impl Spied {
    fn new(authenticate: Authenticate) -> Self {
        let served = Arc::new(AtomicUsize::new(0));
        let spy = served.clone();
        let service = Chain::new()
            .use_(authenticate)
            .all(move |principal: Principal, req: Request| {
                spy.fetch_add(1, Ordering::Relaxed);
                async move {
                    let uri = req.uri().to_string();
                    let body = req.into_body().collect().await.unwrap().to_bytes();
                    let body = String::from_utf8(body.into()).unwrap();
                    format!("{} {uri} {body}", principal.name()).trim_end().to_owned()
                }
            })
            .build();
        Self { service, served }
    }

    async fn send(&self, req: Request) -> Answer {
        let before = self.served.load(Ordering::Relaxed);
        let response = self.service.handle(req).await;
        let served = self.served.load(Ordering::Relaxed) - before;
        let answer = Answer::of(response).await;
        assert_eq!(served, usize::from(answer.status == 200), "{answer:?}");
        if matches!(answer.status, 400 | 401 | 403) {
            assert_eq!(answer.header("cache-control"), ["no-store"]);
            assert_eq!(answer.header("content-type"), ["application/problem+json"]);
        }
        answer
    }

    /// Sends a GET with headers, and gives back status and challenges.
    async fn get(&self, headers: &[(&str, &str)]) -> (u16, Vec<String>) {
        let answer = self.send(request("GET /", headers, "")).await;
        (answer.status, answer.header("www-authenticate"))
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: String,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.into()).unwrap();
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    fn header(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }
}

fn request(line: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut req = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        // Bytes beyond ASCII may stand in a header.
        req = req.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    req.body(Body::from(body.to_owned())).unwrap()
}

fn malformed(detail: &str) -> String {
    format!(r#"{BEARER}, error="invalid_request", error_description="{detail}""#)
}

#[tokio::test]
async fn a_blank_before_a_bare_token_is_malformed() {
    let service =
        Spied::new(Authenticate::token(SECRET).unwrap().sources([TokenSource::bare()]).unwrap());
    assert_eq!(service.get(&[("authorization", SECRET)]).await.0, 200);
    for value in [format!(" {SECRET}"), format!(" Bearer {SECRET}"), format!(" {SECRET} x")] {
        assert_eq!(service.get(&[("authorization", &value)]).await.0, 400, "{value:?}");
    }
}

#[tokio::test]
async fn the_authorization_header_is_parsed_exactly() {
    let strict = Spied::new(Authenticate::token(SECRET).unwrap());
    let bare = Spied::new(Authenticate::token(SECRET).unwrap().bare());
    let bad = malformed("The header `Authorization` is malformed");
    let no_token = malformed("The credentials are not a token");
    let missing = BEARER.to_owned();
    let invalid = INVALID.to_owned();
    // The value, and the challenge that answers it: strict, and with `bare`. None is a 200.
    let table: [(String, Option<&String>, Option<&String>); 33] = [
        (format!("Bearer {SECRET}"), None, None),
        (format!("bearer {SECRET}"), None, None),
        (format!("BEARER {SECRET}"), None, None),
        (format!("bEaReR    {SECRET}"), None, None),
        (SECRET.to_owned(), Some(&missing), None),
        (format!("Bearer {SECRET}x"), Some(&invalid), Some(&invalid)),
        (format!("Bearer x{SECRET}"), Some(&invalid), Some(&invalid)),
        (format!("Bearer {}", &SECRET[1..]), Some(&invalid), Some(&invalid)),
        (format!("Bearer {}", SECRET.to_lowercase()), Some(&invalid), Some(&invalid)),
        (format!("Bearer {SECRET}="), Some(&invalid), Some(&invalid)),
        ("Bearer a".to_owned(), Some(&invalid), Some(&invalid)),
        ("Bearer a-._~+/==".to_owned(), Some(&invalid), Some(&invalid)),
        ("Bearer".to_owned(), Some(&no_token), Some(&no_token)),
        ("Bearer ".to_owned(), Some(&bad), Some(&bad)),
        (format!("Bearer {SECRET} "), Some(&no_token), Some(&no_token)),
        (format!("Bearer {SECRET} x"), Some(&no_token), Some(&no_token)),
        (format!("Bearer {SECRET},x"), Some(&no_token), Some(&no_token)),
        (format!("Bearer \"{SECRET}\""), Some(&no_token), Some(&no_token)),
        ("Bearer =".to_owned(), Some(&no_token), Some(&no_token)),
        ("Bearer a=b".to_owned(), Some(&no_token), Some(&no_token)),
        (format!("Bearer\t{SECRET}"), Some(&bad), Some(&bad)),
        (format!(" Bearer {SECRET}"), Some(&bad), Some(&bad)),
        (String::new(), Some(&bad), Some(&bad)),
        (" ".to_owned(), Some(&bad), Some(&bad)),
        ("Bearer é".to_owned(), Some(&no_token), Some(&no_token)),
        (format!("Bearer{SECRET}"), Some(&missing), Some(&invalid)),
        (format!("Bearer:{SECRET}"), Some(&missing), Some(&invalid)),
        (format!("Bearer: {SECRET}"), Some(&bad), Some(&bad)),
        ("é".to_owned(), Some(&bad), Some(&bad)),
        (format!("Basic {SECRET}"), Some(&missing), Some(&missing)),
        (format!("Token {SECRET}"), Some(&missing), Some(&missing)),
        ("Digest username=\"a\", realm=\"b\"".to_owned(), Some(&missing), Some(&missing)),
        ("wrong".to_owned(), Some(&missing), Some(&invalid)),
    ];
    for (value, by_strict, by_bare) in &table {
        for (service, expected) in [(&strict, by_strict), (&bare, by_bare)] {
            let (status, challenges) = service.get(&[("authorization", value)]).await;
            let wanted = match expected {
                None => 200,
                Some(challenge) if challenge.contains("invalid_request") => 400,
                Some(_) => 401,
            };
            assert_eq!(status, wanted, "{value:?}");
            assert_eq!(challenges.first(), *expected, "{value:?}");
        }
    }
}

#[tokio::test]
async fn without_credentials_the_challenge_names_the_realm_alone() {
    let service = Spied::new(Authenticate::token(SECRET).unwrap().bare());
    let answer = service.send(request("GET /", &[], "")).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, vec![BEARER.to_owned()]));
    assert_eq!(
        answer.body,
        r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"Credentials are missing"}"#
    );
}

#[tokio::test]
async fn a_second_authorization_header_is_refused() {
    let service = Spied::new(Authenticate::token(SECRET).unwrap());
    let good = format!("Bearer {SECRET}");
    let detail = malformed("A header with credentials is repeated");
    for other in [&*good, "Bearer wrong", "Basic QTpC", ""] {
        for pair in [[&*good, other], [other, &*good]] {
            let headers = pair.map(|value| ("authorization", value));
            assert_eq!(service.get(&headers).await, (400, vec![detail.clone()]), "{pair:?}");
        }
    }
}

#[tokio::test]
async fn an_oversized_token_is_refused_unread() {
    let keys = ApiKeys::new();
    let longest = "k".repeat(8 * 1024);
    keys.add(ApiKey::new("long", &longest).unwrap()).unwrap();
    let service = Spied::new(Authenticate::api_keys(&keys));
    assert_eq!(service.get(&[("x-api-key", &longest)]).await.0, 200);
    assert_eq!(service.get(&[("x-api-key", &format!("{longest}k"))]).await.0, 400);
}

#[tokio::test]
async fn the_size_of_credentials_is_a_setting() {
    let keys = ApiKeys::new();
    let longest = "k".repeat(9 * 1024);
    keys.add(ApiKey::new("long", &longest).unwrap()).unwrap();
    let service = Spied::new(Authenticate::api_keys(&keys).max_bytes(longest.len()).unwrap());
    assert_eq!(service.get(&[("x-api-key", &longest)]).await.0, 200);
    assert_eq!(service.get(&[("x-api-key", &format!("{longest}k"))]).await.0, 400);
}

#[tokio::test]
async fn the_challenge_names_the_scopes_of_oauth() {
    let scopes = ["orders:read", "orders:write"];
    let with = |authenticate: Authenticate| authenticate.challenge_scopes(scopes).unwrap();
    let bearer = || Authenticate::token(SECRET).unwrap();
    let known = r#"Bearer realm="api", scope="orders:read orders:write""#;
    let invalid = format!(
        r#"{known}, error="invalid_token", error_description="The credentials are not valid""#
    );
    let service = Spied::new(with(bearer()));
    assert_eq!(service.get(&[]).await, (401, vec![known.to_owned()]));
    let other = format!("Bearer {OTHER}");
    assert_eq!(service.get(&[("authorization", &other)]).await, (401, vec![invalid]));
    let service = Spied::new(with(Authenticate::api_keys(&ApiKeys::new())));
    let challenge = r#"ApiKey realm="api", header="x-api-key""#;
    assert_eq!(service.get(&[]).await, (401, vec![challenge.to_owned()]));
    for wrong in ["", "a b", "a\"", "a\\", "\u{e9}", "a\r\nb"] {
        assert!(bearer().challenge_scopes([wrong]).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn each_token_has_its_name() {
    let tokens = [("ci", SECRET), ("ops", OTHER)];
    let service = Spied::new(Authenticate::tokens(tokens).unwrap());
    for (name, secret) in tokens {
        let value = format!("Bearer {secret}");
        let answer = service.send(request("GET /", &[("authorization", &value)], "")).await;
        assert_eq!(answer.body, format!("{name} /"));
    }
}

/// The time of each addition and withdrawal must not depend on how many keys there are: linear, this test would take days.
#[test]
fn a_million_keys_are_added_and_withdrawn() {
    const KEYS: u64 = 1_000_000;
    let digest = |n: u64| {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        digest
    };
    let keys = ApiKeys::new();
    keys.add_all((0..KEYS).map(|n| ApiKey::from_digest(n.to_string(), digest(n)))).unwrap();
    keys.add(ApiKey::new("a", SECRET).unwrap()).unwrap();
    assert!(keys.find(SECRET.as_bytes(), || UNIX_EPOCH).is_some());
    assert_eq!(format!("{keys:?}"), "ApiKeys(1000001)");
    for n in (0..KEYS).step_by(100) {
        assert!(keys.withdraw(&n.to_string()));
    }
    assert!(!keys.withdraw("0") && keys.withdraw("1"));
    assert_eq!(keys.names().len(), 990_000);
}

#[test]
fn of_many_keys_those_before_a_duplicate_are_added() {
    let key = |name: &str, byte| ApiKey::from_digest(name, [byte; 32]);
    let duplicate_name = AuthenticateError::DuplicateName { name: "a".to_owned() };
    let (name, other) = ("b".to_owned(), "a".to_owned());
    let duplicate_secret = AuthenticateError::DuplicateSecret { name, other };
    for (second, error) in [(key("a", 2), duplicate_name), (key("b", 1), duplicate_secret)] {
        let keys = ApiKeys::new();
        assert_eq!(keys.add_all([key("a", 1), second, key("c", 3)]), Err(error));
        assert_eq!(keys.names(), ["a"]);
        assert_eq!(keys.add_all([]), Ok(()));
    }
}

#[tokio::test]
async fn a_store_of_keys_is_asked_for_the_digest() {
    struct Store;

    impl ApiKeyStore for Store {
        type Error = std::io::Error;

        async fn find(&self, digest: [u8; 32]) -> Result<Option<ApiKey>, std::io::Error> {
            let is = |secret: &str| digest[..] == sha2::Sha256::digest(secret)[..];
            let key = |name, digest| Ok(Some(ApiKey::from_digest(name, digest).role("service")));
            match () {
                () if is(SECRET) => key("billing", digest),
                // A comparison without regard to case found another key.
                () if is("another-key") => key("other", [7; 32]),
                () if is("expired") => {
                    Ok(Some(ApiKey::from_digest("old", digest).expires(UNIX_EPOCH)))
                }
                () if is("down") => Err(std::io::Error::other("canary")),
                () => Ok(None),
            }
        }
    }

    let service = Spied::new(Authenticate::api_key_store(Store));
    let send = async |key: &str| service.send(request("GET /", &[("x-api-key", key)], "")).await;
    let found = send(SECRET).await;
    assert_eq!((found.status, &*found.body), (200, "billing /"));
    for key in ["another-key", "expired", OTHER] {
        assert_eq!(send(key).await.status, 401, "{key}");
    }
    let down = send("down").await;
    assert_eq!((down.status, down.header("retry-after")), (503, vec!["5".to_owned()]));
    assert!(!down.body.contains("canary"));
}

#[tokio::test]
async fn keys_come_and_go_while_requests_are_served() {
    let keys = ApiKeys::new();
    let service = Spied::new(Authenticate::api_keys(&keys));
    let challenge = vec![r#"ApiKey realm="api", header="x-api-key""#.to_owned()];
    let key = [("x-api-key", SECRET)];
    assert_eq!(service.get(&key).await, (401, challenge.clone()));
    keys.clone().add(ApiKey::new("a", SECRET).unwrap()).unwrap();
    assert_eq!(service.get(&key).await, (200, vec![]));
    keys.add(ApiKey::new("b", OTHER).unwrap()).unwrap();
    assert_eq!(keys.names(), ["a", "b"]);
    assert!(keys.withdraw("a"));
    assert!(!keys.withdraw("a"));
    assert_eq!(service.get(&key).await, (401, challenge));
    assert_eq!(service.get(&[("x-api-key", OTHER)]).await.0, 200);
    // The name and the secret are free again.
    keys.add(ApiKey::new("a", SECRET).unwrap()).unwrap();
    assert_eq!(service.get(&key).await.0, 200);
}

#[test]
fn a_key_expires_at_its_time() {
    let keys = ApiKeys::new();
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    keys.add(ApiKey::new("a", SECRET).unwrap().expires(at(100))).unwrap();
    assert!(keys.find(SECRET.as_bytes(), || at(99)).is_some());
    assert!(keys.find(SECRET.as_bytes(), || at(100)).is_none());
    assert!(keys.find(SECRET.as_bytes(), || at(101)).is_none());
}

#[test]
fn a_key_known_by_its_digest_is_found() {
    let keys = ApiKeys::new();
    // printf abc | sha256sum (FIPS 180-2, B.1)
    let digest = [
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22,
        0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00,
        0x15, 0xad,
    ];
    keys.add(ApiKey::from_digest("abc", digest)).unwrap();
    let name = |secret| keys.find(secret, || UNIX_EPOCH).map(|found| found.name().to_owned());
    assert_eq!(name(b"abc").as_deref(), Some("abc"));
    assert_eq!(name(b"abd"), None);
    // The same first half is not enough.
    let mut near = digest;
    near[31] ^= 1;
    keys.withdraw("abc");
    keys.add(ApiKey::from_digest("near", near)).unwrap();
    assert_eq!(name(b"abc"), None);
}

#[tokio::test]
async fn every_source_is_read_exactly() {
    let everywhere = |source: TokenSource| {
        Spied::new(Authenticate::token(SECRET).unwrap().sources([source]).unwrap())
    };
    let encoded = SECRET.replace('V', "%56");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let form_charset = ("content-type", "Application/X-WWW-Form-Urlencoded; charset=utf-8");
    let cookie = |value: &str| request("GET /", &[("cookie", value)], "");
    let query = |query: &str| request(&format!("GET /?{query}"), &[], "");
    let post = |body: &str| request("POST /", &[form], body);
    type Case = (Request, u16, &'static str);
    let table: Vec<(TokenSource, Vec<Case>)> = vec![
        (
            TokenSource::header("X-Token").unwrap(),
            vec![
                (request("GET /", &[("x-token", SECRET)], ""), 200, "a header"),
                (request("GET /", &[("x-token", OTHER)], ""), 401, "a wrong header"),
                (request("GET /", &[("x-token", "")], ""), 400, "an empty header"),
                (request("GET /", &[("x-token", "a b")], ""), 400, "a blank in a header"),
                (request("GET /", &[("x-token", "é")], ""), 400, "no ASCII in a header"),
                (request("GET /", &[("x-token", SECRET), ("x-token", SECRET)], ""), 400, "two"),
                (request("GET /", &[("authorization", SECRET)], ""), 401, "another header"),
            ],
        ),
        (
            TokenSource::scheme("Token").unwrap(),
            vec![
                (
                    request("GET /", &[("authorization", &format!("token {SECRET}"))], ""),
                    200,
                    "a scheme",
                ),
                (
                    request("GET /", &[("authorization", &format!("Bearer {SECRET}"))], ""),
                    401,
                    "another",
                ),
                (request("GET /", &[("authorization", "Token a b")], ""), 400, "two tokens"),
            ],
        ),
        (
            TokenSource::cookie("__Host-token").unwrap(),
            vec![
                (cookie(&format!("__Host-token={SECRET}")), 200, "a cookie"),
                (cookie(&format!("a=b; __Host-token={SECRET}; c=d")), 200, "one of several"),
                (cookie(&format!("a=b;__Host-token={SECRET};c")), 200, "without blanks"),
                (cookie(&format!("__Host-token=\"{SECRET}\"")), 200, "a quoted value"),
                (cookie(&format!("__Host-token=\"{SECRET}")), 400, "half a quote"),
                (cookie("__Host-token=\""), 400, "a lone quote"),
                (cookie("__Host-token="), 400, "an empty cookie"),
                (cookie("__Host-token=a b"), 400, "a blank in a cookie"),
                (cookie("__Host-token=é"), 400, "no ASCII in a cookie"),
                (cookie(&format!("__Host-token={SECRET}; __Host-token={SECRET}")), 400, "two"),
                (cookie(&format!("__host-token={SECRET}")), 401, "another case"),
                (cookie(&format!("x__Host-token={SECRET}")), 401, "a longer name"),
                (cookie(&format!("__Host-token2={SECRET}")), 401, "a longer name, too"),
                (cookie("__Host-token"), 401, "no value"),
                (cookie(&format!("token={SECRET}")), 401, "another cookie"),
                (
                    request(
                        "GET /",
                        &[("cookie", "a=b"), ("cookie", &format!("__Host-token={SECRET}"))],
                        "",
                    ),
                    200,
                    "a second field",
                ),
                (
                    request(
                        "GET /",
                        &[
                            ("cookie", "__Host-token=a"),
                            ("cookie", &format!("__Host-token={SECRET}")),
                        ],
                        "",
                    ),
                    400,
                    "two in two fields",
                ),
            ],
        ),
        (
            TokenSource::query("access_token").unwrap(),
            vec![
                (query(&format!("access_token={SECRET}")), 200, "a parameter"),
                (query(&format!("a=b&access_token={SECRET}&c")), 200, "one of several"),
                (query(&format!("access_token={encoded}")), 200, "an encoded value"),
                (query(&format!("access%5Ftoken={SECRET}")), 200, "an encoded name"),
                (query("access_token="), 400, "an empty parameter"),
                (query("access_token"), 400, "no value"),
                (query("access_token=a+b"), 400, "a plus"),
                (query("access_token=a%20b"), 400, "a blank"),
                (query("access_token=%FF"), 400, "no UTF-8"),
                (query("access_token=%C3%A9"), 400, "no ASCII"),
                (query("access_token=a%0Ab"), 400, "a line break"),
                (query(&format!("access_token={SECRET}&access_token={SECRET}")), 400, "two"),
                (query(&format!("access_token={SECRET}&access%5ftoken=a")), 400, "two in disguise"),
                (query("access_token=wrong"), 401, "a wrong parameter"),
                (query(&format!("Access_Token={SECRET}")), 401, "another case"),
                (post(&format!("access_token={SECRET}")), 401, "in the body"),
                (request("GET /", &[], ""), 401, "nothing"),
            ],
        ),
        (
            TokenSource::form("access_token").unwrap(),
            vec![
                (post(&format!("access_token={SECRET}")), 200, "a field"),
                (post(&format!("a=b&access_token={encoded}&c=%FF")), 200, "one of several"),
                (
                    request("PUT /", &[form_charset], &format!("access_token={SECRET}")),
                    200,
                    "a charset",
                ),
                (post("access_token="), 400, "an empty field"),
                (post(&format!("access_token={SECRET}&access_token=a")), 400, "two"),
                (post("access_token=wrong"), 401, "a wrong field"),
                (post("a=b"), 401, "another field"),
                (post(""), 401, "an empty form"),
                (request("POST /", &[], &format!("access_token={SECRET}")), 401, "no type"),
                (
                    request(
                        "POST /",
                        &[("content-type", "text/plain")],
                        &format!("access_token={SECRET}"),
                    ),
                    401,
                    "another type",
                ),
                (query(&format!("access_token={SECRET}")), 401, "in the query"),
            ],
        ),
    ];
    let protocol = |values: &[&str]| {
        let headers: Vec<_> =
            values.iter().map(|value| ("sec-websocket-protocol", *value)).collect();
        request("GET /", &headers, "")
    };
    let table = table.into_iter().chain([(
        TokenSource::subprotocol("bearer.").unwrap(),
        vec![
            (protocol(&[&format!("bearer.{SECRET}")]), 200, "a subprotocol"),
            (protocol(&[&format!("chat, bearer.{SECRET},v2")]), 200, "one of several"),
            (protocol(&["chat", &format!("bearer.{SECRET}")]), 200, "in a second field"),
            (protocol(&["bearer."]), 400, "an empty one"),
            (protocol(&["bearer.é"]), 400, "no ASCII"),
            (protocol(&["bearer.a b"]), 400, "a blank"),
            (protocol(&[&format!("bearer.{SECRET}, bearer.{SECRET}")]), 400, "two"),
            (protocol(&["bearer.a", "bearer.b"]), 400, "two in two fields"),
            (protocol(&["bearer.wrong"]), 401, "a wrong one"),
            (protocol(&[&format!("Bearer.{SECRET}")]), 401, "another case"),
            (protocol(&[&format!("xbearer.{SECRET}")]), 401, "a longer prefix"),
            (protocol(&["chat"]), 401, "others alone"),
            (protocol(&[]), 401, "none"),
        ],
    )]);
    for (source, cases) in table {
        let service = everywhere(source);
        for (req, status, what) in cases {
            let answer = service.send(req).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            if status != 200 {
                assert!(!answer.header("www-authenticate").is_empty(), "{what}");
                assert!(!answer.body.contains(SECRET), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn credentials_in_two_places_are_refused_whichever_two() {
    let sources = [
        TokenSource::bearer(),
        TokenSource::header("x-api-key").unwrap(),
        TokenSource::cookie("__Host-token").unwrap(),
        TokenSource::query("access_token").unwrap(),
        TokenSource::form("access_token").unwrap(),
    ];
    let service = Spied::new(Authenticate::token(SECRET).unwrap().sources(sources).unwrap());
    let put =
        |place: usize, secret: &str, parts: &mut (Vec<(&'static str, String)>, String, String)| {
            match place {
                0 => parts.0.push(("authorization", format!("Bearer {secret}"))),
                1 => parts.0.push(("x-api-key", secret.to_owned())),
                2 => parts.0.push(("cookie", format!("__Host-token={secret}"))),
                3 => parts.1 = format!("?access_token={secret}"),
                _ => parts.2 = format!("access_token={secret}"),
            }
        };
    for one in 0..5 {
        for other in 0..5 {
            for secret in [SECRET, "wrong"] {
                let mut parts = (
                    vec![
                        ("content-type", "application/x-www-form-urlencoded".to_owned()),
                        ("sec-fetch-site", "same-origin".to_owned()),
                    ],
                    String::new(),
                    String::new(),
                );
                put(one, SECRET, &mut parts);
                if other != one {
                    put(other, secret, &mut parts);
                }
                let (headers, query, body) = &parts;
                let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
                let answer = service.send(request(&format!("POST /{query}"), &headers, body)).await;
                // The same credentials in a cookie and elsewhere count once.
                let once = one == other || secret == SECRET && (one == 2) != (other == 2);
                assert_eq!(answer.status, if once { 200 } else { 400 }, "{one} and {other}");
                if !once {
                    assert!(answer.body.contains("Credentials are sent in more than one place"));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_token_in_the_query_is_taken_out_of_it() {
    let source = TokenSource::query("access_token").unwrap();
    let service = Spied::new(Authenticate::token(SECRET).unwrap().sources([source]).unwrap());
    let table = [
        (format!("/?access_token={SECRET}"), "token /"),
        (format!("/?a=b&access_token={SECRET}"), "token /?a=b"),
        (format!("/?access%5Ftoken={SECRET}&a=%20b&c"), "token /?a=%20b&c"),
        (format!("http://example.com/?access_token={SECRET}&x"), "token http://example.com/?x"),
    ];
    for (uri, seen) in table {
        let answer = service.send(request(&format!("GET {uri}"), &[], "")).await;
        assert_eq!(answer.body, seen);
        assert_eq!(answer.header("cache-control"), ["no-store"]);
        assert_eq!(answer.header("referrer-policy"), ["no-referrer"]);
    }
}

#[tokio::test]
async fn a_subprotocol_with_a_token_is_chosen_by_no_one() {
    let source = TokenSource::subprotocol("bearer.").unwrap();
    let authenticate = Authenticate::token(SECRET).unwrap().sources([source]).unwrap();
    let service = Chain::new()
        .use_(authenticate)
        .get(async |headers: http::HeaderMap| {
            let values = headers.get_all("sec-websocket-protocol").iter();
            values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|")
        })
        .build();
    let mine = format!("bearer.{SECRET}");
    for (fields, left) in [
        (vec![mine.clone()], ""),
        (vec![format!("chat,{mine},  v2")], "chat, v2"),
        (vec!["chat".to_owned(), mine.clone(), "v2".to_owned()], "chat, v2"),
    ] {
        let headers: Vec<_> =
            fields.iter().map(|value| ("sec-websocket-protocol", value.as_str())).collect();
        let answer = Answer::of(service.handle(request("GET /", &headers, "")).await).await;
        assert_eq!((answer.status, &*answer.body), (200, left));
    }
}

#[tokio::test]
async fn a_refusal_carries_its_reason() {
    let sources = [TokenSource::bearer(), TokenSource::cookie("__Host-token").unwrap()];
    let authenticate = Authenticate::token(SECRET).unwrap().sources(sources).unwrap();
    let service = Chain::new().use_(authenticate).all(async || {}).build();
    let cookie = format!("__Host-token={SECRET}");
    let table: [(&[(&str, &str)], AuthenticateRefusal, &str); 4] = [
        (&[], AuthenticateRefusal::Missing, "missing"),
        (&[("authorization", "Bearer")], AuthenticateRefusal::Request, "invalid_request"),
        (&[("authorization", "Bearer wrong")], AuthenticateRefusal::Credentials, "invalid_token"),
        (&[("cookie", &cookie)], AuthenticateRefusal::CrossSite, "cross_site"),
    ];
    for (headers, expected, code) in table {
        let response = service.handle(request("POST /", headers, "")).await;
        let refusal = Error::of(&response).and_then(Error::source);
        let refusal =
            refusal.and_then(|source| source.downcast_ref::<AuthenticateRefusal>()).unwrap();
        assert_eq!((*refusal, refusal.code()), (expected, code));
        assert!(!refusal.to_string().contains(SECRET));
    }
}

#[tokio::test]
async fn a_form_is_passed_on_as_it_was() {
    let source = TokenSource::form("access_token").unwrap();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let authenticate = Authenticate::token(SECRET).unwrap().sources([source]).unwrap();
    let service = Spied::new(authenticate.form_limit(100).unwrap());
    let body = format!("a=%20&access_token={SECRET}");
    let answer = service.send(request("POST /", &[form], &body)).await;
    assert_eq!(answer.body, format!("token / {body}"));
    let long = format!("{body}&x={}", "x".repeat(100));
    let answer = service.send(request("POST /", &[form], &long)).await;
    assert_eq!((answer.status, answer.header("cache-control")), (413, vec!["no-store".to_owned()]));
}

#[tokio::test]
async fn a_cookie_is_good_for_the_own_origin_alone() {
    let source = TokenSource::cookie("__Host-token").unwrap();
    let authenticate = Authenticate::token(SECRET)
        .unwrap()
        .sources([TokenSource::bearer(), source])
        .unwrap()
        .trusted_origin("https://app.example.com")
        .unwrap();
    let service = Spied::new(authenticate);
    let cookie = format!("__Host-token={SECRET}");
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);
    let table: [Case<'_>; 31] = [
        ("GET", &[], 200),
        ("HEAD", &[], 200),
        ("QUERY", &[], 200),
        ("GET", &[("sec-fetch-site", "cross-site")], 200),
        ("GET", &[("upgrade", "websocket")], 403),
        ("GET", &[("upgrade", "websocket"), ("origin", "https://evil.example")], 403),
        ("GET", &[("upgrade", "websocket"), ("origin", "https://api.example.com")], 200),
        ("POST", &[], 403),
        ("PUT", &[], 403),
        ("PATCH", &[], 403),
        ("DELETE", &[], 403),
        ("BREW", &[], 403),
        ("post", &[], 403),
        ("POST", &[("sec-fetch-site", "same-origin")], 200),
        ("POST", &[("sec-fetch-site", "none")], 200),
        ("POST", &[("sec-fetch-site", "same-site")], 403),
        ("POST", &[("sec-fetch-site", "cross-site")], 403),
        ("POST", &[("sec-fetch-site", "")], 403),
        ("POST", &[("sec-fetch-site", "Same-Origin")], 403),
        ("POST", &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")], 403),
        ("POST", &[("sec-fetch-site", "cross-site"), ("origin", "https://api.example.com")], 403),
        ("POST", &[("sec-fetch-site", "same-site"), ("origin", "https://app.example.com")], 200),
        ("POST", &[("origin", "https://app.example.com")], 200),
        ("POST", &[("origin", "http://app.example.com")], 403),
        ("POST", &[("origin", "https://api.example.com")], 200),
        ("POST", &[("origin", "https://API.example.com")], 200),
        ("POST", &[("origin", "https://api.example.com:8443")], 403),
        ("POST", &[("origin", "https://api.example.com.evil.example")], 403),
        ("POST", &[("origin", "https://evil.example")], 403),
        ("POST", &[("origin", "null")], 403),
        ("POST", &[("origin", "")], 403),
    ];
    for (method, headers, status) in table {
        let mut all = vec![("host", "api.example.com"), ("cookie", cookie.as_str())];
        all.extend_from_slice(headers);
        let answer = service.send(request(&format!("{method} /"), &all, "")).await;
        assert_eq!(answer.status, status, "{method} {headers:?}");
        if status == 403 {
            assert!(answer.header("www-authenticate").is_empty());
        }
        // HTTP/2 has the host in the URI.
        all.remove(0);
        let line = format!("{method} https://api.example.com/");
        assert_eq!(service.send(request(&line, &all, "")).await.status, status, "{line}");
    }
    // No cookie, no guard.
    let bearer = format!("Bearer {SECRET}");
    let headers = [("authorization", bearer.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(service.send(request("POST /", &headers, "")).await.status, 200);
}

#[tokio::test]
async fn several_schemes_are_challenged_in_the_order_of_writing() {
    let keys = ApiKeys::new();
    let sources = [
        TokenSource::query("access_token").unwrap(),
        TokenSource::scheme("Token").unwrap(),
        TokenSource::cookie("__Host-token").unwrap(),
        TokenSource::bearer(),
        TokenSource::form("access_token").unwrap(),
    ];
    let service = Spied::new(
        Authenticate::api_keys(&keys)
            .or(Authenticate::token(SECRET).unwrap().sources(sources).unwrap())
            .or(Authenticate::users([("ada", OTHER)]).unwrap())
            .realm(r#"The "inner" \ circle"#)
            .unwrap(),
    );
    let realm = r#"realm="The \"inner\" \\ circle""#;
    let error = r#"error="invalid_token", error_description="The credentials are not valid""#;
    let challenges = |bearer: String| {
        vec![
            format!(r#"ApiKey {realm}, header="x-api-key""#),
            bearer,
            format!("Token {realm}"),
            format!(r#"Cookie {realm}, cookie-name="__Host-token""#),
            format!(r#"Basic {realm}, charset="UTF-8""#),
        ]
    };
    let plain = challenges(format!("Bearer {realm}"));
    let bearer = challenges(format!("Bearer {realm}, {error}"));
    assert_eq!(service.get(&[]).await, (401, plain.clone()));
    assert_eq!(service.get(&[("x-api-key", "wrong")]).await, (401, plain.clone()));
    assert_eq!(service.get(&[("authorization", "Basic YTpi")]).await, (401, plain.clone()));
    assert_eq!(service.get(&[("authorization", "Token wrong")]).await, (401, plain));
    assert_eq!(service.get(&[("authorization", "Bearer wrong")]).await, (401, bearer));
}

#[tokio::test]
async fn the_bearer_challenge_names_the_metadata() {
    let url = "https://api.example.com/.well-known/oauth-protected-resource";
    let authenticate = Authenticate::api_keys(&ApiKeys::new())
        .or(Authenticate::token(SECRET).unwrap())
        .resource_metadata(url)
        .unwrap();
    let service = Spied::new(authenticate);
    let key = r#"ApiKey realm="api", header="x-api-key""#.to_owned();
    let bearer = format!(r#"Bearer realm="api", resource_metadata="{url}""#);
    assert_eq!(service.get(&[]).await, (401, vec![key.clone(), bearer.clone()]));
    let invalid = format!(
        r#"{bearer}, error="invalid_token", error_description="The credentials are not valid""#
    );
    assert_eq!(service.get(&[("authorization", "Bearer x")]).await, (401, vec![key, invalid]));
    let broken = Authenticate::token(SECRET).unwrap().resource_metadata("https://a\r\n");
    assert!(broken.unwrap_err().to_string().contains("take out line breaks"));
}

#[tokio::test]
async fn basic_is_parsed_exactly() {
    let users = [
        ("ada", "correct horse battery"),
        ("Ünï", "pass:word:with:colons"),
        ("", "0123456789abcdef"),
    ];
    let service = Spied::new(Authenticate::users(users).unwrap().realm("test").unwrap());
    let challenge = vec![r#"Basic realm="test", charset="UTF-8""#.to_owned()];
    let basic = |login: &[u8]| {
        format!(
            "Basic {}",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, login)
        )
    };
    let table: [(String, u16); 25] = [
        (basic(b"ada:correct horse battery"), 200),
        (basic(b"ada:correct horse battery").replace("Basic", "bASIC"), 200),
        (basic("Ünï:pass:word:with:colons".as_bytes()), 200),
        (basic(b":0123456789abcdef"), 200),
        (basic(b"ada:"), 401),
        (basic(b":"), 401),
        (basic(b"ada:wrong"), 401),
        (basic(b"bob:correct horse battery"), 401),
        (basic(b"Ada:correct horse battery"), 401),
        (basic(b"ada:correct horse batter"), 401),
        (basic(b"ada:correct horse battery "), 401),
        (basic(b"ada"), 400),
        (basic(b""), 400),
        (basic(b"a\nda:x"), 400),
        (basic(b"ada:x\0"), 400),
        (basic(b"ada:\x7f"), 400),
        (basic("ada:\u{85}".as_bytes()), 400),
        (basic(b"\xdcn\xef:x"), 400),
        ("Basic".to_owned(), 400),
        ("Basic YWRhOg".to_owned(), 400),
        ("Basic YWRhOg=".to_owned(), 400),
        ("Basic YWRhOh==".to_owned(), 400),
        ("Basic YWRhOg== x".to_owned(), 400),
        ("Basic ada:x".to_owned(), 400),
        (format!("Bearer {SECRET}"), 401),
    ];
    for (value, status) in table {
        let (got, challenges) = service.get(&[("authorization", &value)]).await;
        assert_eq!(got, status, "{value:?}");
        assert_eq!(challenges, if status == 200 { vec![] } else { challenge.clone() }, "{value:?}");
    }
}

/// RFC 7617, 2 and 2.1.
/// Without its scheme it would be a token, and the digest of a user with a password is one of the keys.
#[tokio::test]
async fn users_and_passwords_have_no_form_without_a_scheme() {
    let check = |_: Login| async { Ok(Some(Principal::new("ann"))) };
    for (what, authenticate) in [
        ("users", Authenticate::users([("ann", SECRET)]).unwrap()),
        ("function", Authenticate::basic(check)),
        ("blocking", Authenticate::basic_blocking(|_: &Login| Ok(Some(Principal::new("ann"))))),
        (
            "both",
            Authenticate::token(OTHER).unwrap().or(Authenticate::users([("ann", SECRET)]).unwrap()),
        ),
    ] {
        let service = Spied::new(authenticate.bare());
        for value in [format!("ann:{SECRET}"), STANDARD.encode(format!("ann:{SECRET}"))] {
            let (status, challenges) = service.get(&[("authorization", &value)]).await;
            assert_eq!(status, 401, "{what}: {value}");
            assert!(challenges.contains(&r#"Basic realm="api", charset="UTF-8""#.to_owned()));
            let basic = format!("Basic {}", STANDARD.encode(format!("ann:{SECRET}")));
            assert_eq!(service.get(&[("authorization", &basic)]).await.0, 200, "{what}");
        }
    }
}

#[tokio::test]
async fn the_examples_of_rfc_7617_are_read() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let service = Spied::new(Authenticate::basic(move |login: Login| {
        log.lock().unwrap().push((login.user().to_owned(), login.password().to_owned()));
        async move { Ok(Some(Principal::new(login.user()))) }
    }));
    for value in ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic dGVzdDoxMjPCow=="] {
        assert_eq!(service.get(&[("authorization", value)]).await.0, 200);
    }
    let pair = |user: &str, password: &str| (user.to_owned(), password.to_owned());
    assert_eq!(*seen.lock().unwrap(), [pair("Aladdin", "open sesame"), pair("test", "123£")]);
}

#[tokio::test]
async fn an_unknown_user_is_answered_as_a_wrong_password_is() {
    let service = Spied::new(Authenticate::users([("ada", SECRET)]).unwrap());
    let mut answers = Vec::new();
    // ada:x and bob:x
    for value in ["Basic YWRhOng=", "Basic Ym9iOng="] {
        let answer = service.send(request("GET /", &[("authorization", value)], "")).await;
        answers.push((answer.status, answer.headers, answer.body));
    }
    assert_eq!(answers[0], answers[1]);
}

/// Counts how often it is asked, on which threads.
fn slow_check(
    asked: &Arc<AtomicUsize>,
) -> impl Fn(&Login) -> Result<Option<Principal>, Error> + Send + Sync + 'static {
    let asked = asked.clone();
    let reactor = std::thread::current().id();
    move |login| {
        assert_ne!(std::thread::current().id(), reactor);
        asked.fetch_add(1, Ordering::Relaxed);
        let good = login.user() == "Aladdin" && login.password() == "open sesame";
        Ok(good.then(|| Principal::new(login.user())))
    }
}

const ALADDIN: (&str, &str) = ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
const ALADDIN_WRONG: (&str, &str) = ("authorization", "Basic QWxhZGRpbjp4");

#[tokio::test]
async fn a_slow_check_runs_off_the_reactor_and_its_success_is_remembered() {
    let asked = Arc::new(AtomicUsize::new(0));
    let service = Spied::new(Authenticate::basic_blocking(slow_check(&asked)));
    for _ in 0..3 {
        assert_eq!(service.get(&[ALADDIN]).await.0, 200);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    for _ in 0..3 {
        assert_eq!(service.get(&[ALADDIN_WRONG]).await.0, 401);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4, "refusals are asked each time");
}

#[tokio::test]
async fn a_check_is_asked_each_time_without_a_cache() {
    let asked = Arc::new(AtomicUsize::new(0));
    let check = Authenticate::basic_blocking(slow_check(&asked)).cache_ttl(Duration::ZERO);
    let service = Spied::new(check);
    for _ in 0..3 {
        assert_eq!(service.get(&[ALADDIN]).await.0, 200);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn requests_at_once_with_one_password_are_few_checks() {
    let asked = Arc::new(AtomicUsize::new(0));
    let service = Spied::new(Authenticate::basic_blocking(slow_check(&asked)));
    let requests = (0..200).map(|_| service.service.handle(request("GET /", &[ALADDIN], "")));
    for response in futures_util::future::join_all(requests).await {
        assert_eq!(response.status(), 200);
    }
    let cores = available_parallelism().unwrap().get();
    assert!(asked.load(Ordering::Relaxed) <= cores, "{asked:?} checks on {cores} cores");
}

#[tokio::test]
async fn a_flood_of_passwords_of_one_client_does_not_delay_the_others() {
    use crate::extract::PeerAddr;
    let checked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = checked.clone();
    let service = Spied::new(Authenticate::basic_blocking(move |login| {
        log.lock().unwrap().push(login.user().to_owned());
        std::thread::yield_now();
        Ok(None)
    }));
    let send = |peer: &str, user: &str| {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:x")));
        let mut req = request("GET /", &[("authorization", &value)], "");
        req.extensions_mut().insert(PeerAddr(peer.parse().unwrap()));
        service.service.handle(req)
    };
    let flood = (0..200).map(|_| send("192.0.2.1:1", "mallory"));
    let all = flood.chain([send("192.0.2.2:1", "ann")]);
    for response in futures_util::future::join_all(all).await {
        assert_eq!(response.status(), 401);
    }
    let checked = checked.lock().unwrap();
    let position = checked.iter().position(|user| user == "ann").unwrap();
    let cores = available_parallelism().unwrap().get();
    assert!(position <= cores, "after {position} checks of another client");
    assert_eq!(checked.len(), 201);
}

/// Or whoever sends passwords and leaves has more checks run at once than there are cores.
#[tokio::test]
async fn a_check_keeps_its_turn_when_its_client_leaves() {
    use futures_util::FutureExt;
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (end, ends) = std::sync::mpsc::channel();
    let ends = std::sync::Mutex::new(ends);
    let authenticate = Authenticate::basic_blocking(move |login| {
        begun.send(()).unwrap();
        ends.lock().unwrap().recv().unwrap();
        Ok(Some(Principal::new(login.user())))
    });
    let CredentialVerifier::Blocking(_, turns) = &authenticate.ways[0].verifier else {
        panic!("no turns")
    };
    let turns = turns.all();
    let cores = turns.available_permits();
    let service = Spied::new(authenticate).service;
    let ask = || Box::pin(service.handle(request("GET /", &[ALADDIN], "")));
    for _ in 0..cores {
        let mut leaves = ask();
        assert!((&mut leaves).now_or_never().is_none());
        begins.recv().await.unwrap();
    }
    assert_eq!(turns.available_permits(), 0, "those who left have their turns");
    let mut waits = ask();
    assert!((&mut waits).now_or_never().is_none());
    assert!(begins.try_recv().is_err());
    // When one of those checks ends, the next one begins.
    end.send(()).unwrap();
    let (response, ()) = tokio::join!(waits, async {
        begins.recv().await.unwrap();
        (0..cores).for_each(|_| end.send(()).unwrap());
    });
    assert_eq!(response.status(), 200);
    let all = u32::try_from(cores).unwrap();
    drop(turns.acquire_many(all).await.unwrap());
}

#[tokio::test]
async fn a_failing_check_is_an_answer_of_its_own_and_never_a_way_in() {
    let unavailable =
        |_: &Login| Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "The users are not at hand"));
    let service = Spied::new(Authenticate::basic_blocking(unavailable));
    let answer = service.send(request("GET /", &[ALADDIN], "")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (503, vec!["no-store".to_owned()]));
    let panics = |_: &Login| -> Result<Option<Principal>, Error> { panic!("broken check") };
    let service = Spied::new(Authenticate::basic_blocking(panics));
    assert_eq!(service.get(&[ALADDIN]).await.0, 500);
    assert_eq!(service.get(&[ALADDIN]).await.0, 500, "its turn is given back");
}

#[test]
fn a_slow_check_without_a_runtime_is_an_error_and_no_panic() {
    let check = |_: &Login| Ok(Some(Principal::new("a")));
    let service = Spied::new(Authenticate::basic_blocking(check));
    let response = futures_util::FutureExt::now_or_never(service.service.handle(request(
        "GET /",
        &[ALADDIN],
        "",
    )));
    assert_eq!(response.unwrap().status(), 500);
}

#[tokio::test]
async fn a_function_gives_a_principal_of_its_own_type() {
    #[derive(Clone)]
    struct User(usize);
    async fn user(token: Token) -> Result<Option<User>, Error> {
        match token.as_str() {
            "good" => Ok(Some(User(7))),
            "broken" => Err(std::io::Error::other("hunter2"))?,
            _ => Ok(None),
        }
    }
    let served = Arc::new(AtomicUsize::new(0));
    let spy = served.clone();
    let service = Chain::new()
        .use_(Authenticate::with(user))
        .get(move |user: Provided<User>| {
            spy.fetch_add(1, Ordering::Relaxed);
            async move { user.0.0.to_string() }
        })
        .build();
    for (token, status, body) in [
        ("good", 200, "7"),
        (
            "bad",
            401,
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The credentials are not valid"}"#,
        ),
        ("broken", 500, r#"{"type":"about:blank","title":"Internal Server Error","status":500}"#),
    ] {
        let value = format!("Bearer {token}");
        let response = service.handle(request("GET /", &[("authorization", &value)], "")).await;
        let answer = Answer::of(response).await;
        assert_eq!((answer.status, &*answer.body), (status, body));
        if status == 401 {
            assert_eq!(answer.header("www-authenticate"), [INVALID]);
        }
    }
    assert_eq!(served.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn of_several_at_one_place_the_first_who_knows_decides() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let function = Authenticate::with(move |token: Token| {
        counter.fetch_add(1, Ordering::Relaxed);
        let known = token.as_str() == "known";
        async move { Ok(known.then(|| Principal::new("function"))) }
    });
    let service = Spied::new(Authenticate::token(SECRET).unwrap().or(function));
    for (token, status, count) in [(SECRET, 200, 0), ("known", 200, 1), ("unknown", 401, 2)] {
        let value = format!("Bearer {token}");
        let (got, challenges) = service.get(&[("authorization", &value)]).await;
        assert_eq!((got, asked.load(Ordering::Relaxed)), (status, count));
        assert_eq!(challenges, if status == 200 { vec![] } else { vec![INVALID.to_owned()] });
    }
}

#[tokio::test]
async fn a_caller_may_do_without_only_without_credentials() {
    let served = Arc::new(AtomicUsize::new(0));
    let spy = served.clone();
    let sources = [TokenSource::bearer(), TokenSource::query("access_token").unwrap()];
    let authenticate = Authenticate::token(SECRET).unwrap().sources(sources).unwrap().optional();
    let service = Chain::new()
        .use_(authenticate)
        .get(move |Provided(principal): Provided<Option<Principal>>, req: Request| {
            spy.fetch_add(1, Ordering::Relaxed);
            let nobody = req.extensions().get::<Anonymous<Option<Principal>>>();
            assert_eq!(nobody.is_some(), principal.is_none());
            async move {
                let uri = req.uri();
                format!("{} {uri}", principal.map_or("-".to_owned(), |p| p.name().to_owned()))
            }
        })
        .build();
    let good = format!("Bearer {SECRET}");
    let query = format!("GET /?access_token={SECRET}");
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16, &'a str);
    let table: [Case<'_>; 7] = [
        ("GET /", &[], 200, "- /"),
        ("GET /", &[("authorization", "Basic YTpi")], 200, "- /"),
        ("GET /", &[("authorization", &good)], 200, "token /"),
        (&query, &[], 200, "token /"),
        ("GET /", &[("authorization", "Bearer wrong")], 401, ""),
        ("GET /", &[("authorization", "Bearer")], 400, ""),
        (&query, &[("authorization", &good)], 400, ""),
    ];
    for (line, headers, status, body) in table {
        let answer = Answer::of(service.handle(request(line, headers, "")).await).await;
        assert_eq!(answer.status, status, "{line} {headers:?}");
        if status == 200 {
            assert_eq!(answer.body, body);
        }
    }
    assert_eq!(served.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn what_passes_is_marked_sensitive() {
    let sources = [
        TokenSource::bearer(),
        TokenSource::header("x-key").unwrap(),
        TokenSource::cookie("__Host-t").unwrap(),
    ];
    let service = Chain::new()
        .use_(Authenticate::token(SECRET).unwrap().sources(sources).unwrap().optional())
        .get(async |req: Request| format!("{:?}", req.headers()))
        .build();
    let bearer = format!("Bearer {SECRET}");
    let cookies = [("cookie", "a=canary"), ("cookie", "b=canary"), ("authorization", &*bearer)];
    let answer = Answer::of(service.handle(request("GET /", &cookies, "")).await).await;
    assert_eq!(answer.body.matches("Sensitive").count(), 3, "{}", answer.body);
    assert!(!answer.body.contains("canary") && !answer.body.contains(SECRET));
}

#[tokio::test]
async fn as_a_layer_it_needs_no_chain() {
    use tower::{Layer, ServiceExt};
    let inner = tower::service_fn(async |req: Request| {
        let name = req.extensions().get::<Principal>().map(|p| p.name().to_owned());
        Ok::<_, std::convert::Infallible>(Response::new(Body::from(name.unwrap_or_default())))
    });
    let service = Authenticate::token(SECRET).unwrap().into_layer().layer(inner);
    let bearer = format!("Bearer {SECRET}");
    let req = request("GET /any/path", &[("authorization", &bearer)], "");
    let answer = Answer::of(service.clone().oneshot(req).await.unwrap()).await;
    assert_eq!((answer.status, &*answer.body), (200, "token"));
    let answer = Answer::of(service.oneshot(request("GET /", &[], "")).await.unwrap()).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, vec![BEARER.to_owned()]));
}

#[tokio::test]
async fn an_unmatched_path_asks_for_nothing() {
    let service = Chain::new()
        .use_(Authenticate::token(SECRET).unwrap())
        .at("/a", |c| c.get(async || "a"))
        .build();
    for (line, status) in [("GET /a", 401), ("GET /b", 404), ("POST /a", 405)] {
        assert_eq!(service.handle(request(line, &[], "")).await.status(), status, "{line}");
    }
}

#[test]
fn wrong_configuration_is_refused_and_says_what_to_change() {
    let short = |name: &str| AuthenticateError::ShortSecret { name: name.to_owned() };
    let unsendable = |name: &str| AuthenticateError::UnsendableSecret { name: name.to_owned() };
    let token = || Authenticate::token(SECRET).unwrap();
    let error = |result: Result<Authenticate, AuthenticateError>| result.map(drop).unwrap_err();
    let source = |result: Result<TokenSource, TokenSourceError>| {
        AuthenticateError::Source(result.map(drop).unwrap_err())
    };
    let unnamed =
        || Some(AuthenticateError::Source(TokenSourceError::Name { name: String::new() }));
    let list = || Some(AuthenticateError::Source(TokenSourceError::List));
    let table: Vec<(AuthenticateError, Option<AuthenticateError>, &str)> = vec![
        (error(Authenticate::token("")), Some(short("token")), "at least 16 random bytes"),
        (error(Authenticate::token("fifteen-bytes-x")), Some(short("token")), "openssl rand"),
        (error(Authenticate::short_token("")), Some(short("token")), "16 random bytes"),
        (
            error(Authenticate::token("sixteen bytes ..")),
            Some(unsendable("token")),
            "visible ASCII",
        ),
        (error(Authenticate::token("sixteen-bytes-\r\n")), Some(unsendable("token")), "base64"),
        (error(Authenticate::token("sixteen-bytes-\u{e9}")), Some(unsendable("token")), "ASCII"),
        (
            error(Authenticate::tokens([("a", SECRET), ("a", OTHER)])),
            Some(AuthenticateError::DuplicateName { name: "a".into() }),
            "choose another name",
        ),
        (
            error(Authenticate::tokens([("a", SECRET), ("b", SECRET)])),
            Some(AuthenticateError::DuplicateSecret { name: "b".into(), other: "a".into() }),
            "give each its own",
        ),
        (error(Authenticate::users([("a", "short")])), Some(short("a")), "16 random bytes"),
        (error(Authenticate::users([("a:b", SECRET)])), Some(unsendable("a:b")), "no colon"),
        (
            error(Authenticate::users([("a", "sixteen-bytes-\n\n")])),
            Some(unsendable("a")),
            "control",
        ),
        (error(token().realm("a\r\nb")), None, "take out line breaks"),
        (error(token().realm("a\nb")), None, "take out line breaks"),
        (error(token().realm("é")), None, "printable ASCII"),
        (error(token().sources([])), list(), "at least one source"),
        (
            error(token().sources([
                TokenSource::bare(),
                TokenSource::bearer(),
                TokenSource::bare(),
            ])),
            list(),
            "each one once",
        ),
        (
            error(token().sources([TokenSource::bearer(), TokenSource::scheme("bearer").unwrap()])),
            list(),
            "each one once",
        ),
        (
            error(Authenticate::users([("a", SECRET)]).unwrap().sources([TokenSource::bearer()])),
            list(),
            "Basic and DPoP",
        ),
        (source(TokenSource::scheme("basic")), None, "Authenticate::basic"),
        (source(TokenSource::scheme("To ken")), None, "letters, digits and hyphens"),
        (source(TokenSource::header("authorization")), None, "X-API-Key"),
        (source(TokenSource::header("Cookie")), None, "X-API-Key"),
        (source(TokenSource::header("a b")), None, "X-API-Key"),
        (source(TokenSource::cookie("session")), None, "__Host-session"),
        (source(TokenSource::cookie("__Host-")), None, "__Host-session"),
        (source(TokenSource::cookie("__host-session")), None, "__Host-session"),
        (source(TokenSource::cookie("__Host-a=b")), None, "__Host-session"),
        (source(TokenSource::unprefixed_cookie("")), None, "__Host-session"),
        (source(TokenSource::query("")), unnamed(), "access_token"),
        (source(TokenSource::subprotocol("")), unnamed(), "bearer."),
        (source(TokenSource::subprotocol("a b")), None, "bearer."),
        (source(TokenSource::scheme("DPoP")), None, "Jwt::dpop"),
        (source(TokenSource::header("sec-websocket-protocol")), None, "subprotocols"),
        (source(TokenSource::form("")), unnamed(), "access_token"),
    ];
    for (error, expected, says) in table {
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.to_string().contains(SECRET));
        if let Some(expected) = expected {
            assert_eq!(error, expected);
        }
    }
    for origin in [
        "",
        "app.example.com",
        "https://",
        "https://a/",
        "https://a/b",
        "https://A.example",
        "https://*.a",
        "ftp://a",
        "null",
        "https://u@a",
        "https://a b",
    ] {
        let error = error(token().trusted_origin(origin));
        let expected = TokenSourceError::TrustedOrigin { origin: origin.to_owned() };
        assert_eq!(error, AuthenticateError::Source(expected));
        assert!(error.to_string().contains("https://app.example.com"));
    }
}

#[test]
fn a_token_may_be_short_on_purpose() {
    assert!(Authenticate::short_token("letmein").is_ok());
    assert!(ApiKey::short("dev", "letmein").is_ok());
}

/// Secrets are planted in everything, and searched for in all that may be seen.
#[tokio::test]
async fn no_secret_is_ever_shown() {
    const CANARY: &str = "canary-5b1f0e7d9a2c";
    const PASSWORD: &str = "canary-password-77";
    let log = Log::start();

    let key = ApiKey::new("key", CANARY).unwrap();
    let keys = ApiKeys::new();
    keys.add(key.clone()).unwrap();
    let sources = [
        TokenSource::header("x-key").unwrap(),
        TokenSource::cookie("__Host-t").unwrap(),
        TokenSource::query("t").unwrap(),
        TokenSource::form("t").unwrap(),
    ];
    let authenticate = || {
        let function = Authenticate::with(async |token: Token| {
            tracing::info!(?token, "asked");
            match token.as_str().ends_with("x") {
                true => Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "No store")),
                false => Ok(None),
            }
        });
        let basic = Authenticate::basic(async |login: Login| {
            tracing::info!(?login, "asked");
            Ok(None)
        });
        Authenticate::api_keys(&keys)
            .sources(sources.clone())
            .unwrap()
            .or(function)
            .or(basic)
            .or(Authenticate::users([("ada", PASSWORD)]).unwrap())
    };
    let mut seen = String::new();
    let duplicate = keys.add(ApiKey::new("other", CANARY).unwrap()).unwrap_err();
    let unsendable = ApiKey::new("spaced", format!("{CANARY} {CANARY}")).unwrap_err();
    seen += &format!("{key:?} {keys:?} {keys:#?} {:?} {:#?}", authenticate(), authenticate());
    seen += &format!(
        "{:?} {duplicate:?} {duplicate} {unsendable:?} {unsendable}",
        authenticate().optional()
    );
    seen += &format!(
        "{:?} {:?}",
        Token::new(CANARY.into()),
        Login::new(format!("{PASSWORD}:{CANARY}"), 18)
    );

    let service = Spied::new(authenticate());
    seen += &format!("{:?}", service.service);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let wrong = format!("{CANARY}-wrong");
    let login = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("{PASSWORD}:{CANARY}"),
    );
    let requests = [
        request("GET /", &[("x-key", CANARY)], ""),
        request("GET /", &[("x-key", &wrong)], ""),
        request("GET /", &[("x-key", &format!("{CANARY} x"))], ""),
        request("GET /", &[("cookie", &format!("__Host-t={CANARY}"))], ""),
        request("POST /", &[("cookie", &format!("__Host-t={CANARY}"))], ""),
        request("GET /", &[("cookie", &format!("__Host-t={wrong}; __Host-t={CANARY}"))], ""),
        request(&format!("GET /?t={CANARY}"), &[], ""),
        request(&format!("GET /?t={wrong}"), &[], ""),
        request("POST /", &[form], &format!("t={wrong}")),
        request("GET /", &[("authorization", &format!("Bearer {CANARY}"))], ""),
        request("GET /", &[("authorization", &format!("Bearer {CANARY}x"))], ""),
        request("GET /", &[("authorization", &format!("Bearer {CANARY} {CANARY}"))], ""),
        request("GET /", &[("authorization", &format!("Basic {login}"))], ""),
        request("GET /", &[("authorization", &format!("Basic {CANARY}"))], ""),
        request("GET /", &[("authorization", &format!("Basic {login}")), ("x-key", CANARY)], ""),
    ];
    let mut statuses = Vec::new();
    for req in requests {
        let answer = service.send(req).await;
        statuses.push(answer.status);
        seen += &format!("{:?} {}", answer.headers, answer.body);
    }
    assert_eq!(
        statuses,
        [200, 401, 400, 200, 403, 400, 200, 401, 401, 401, 503, 400, 401, 400, 400]
    );
    let logged = log.text();
    assert!(
        logged.contains("invalid_token")
            && logged.contains("Token(..)")
            && logged.contains("Login(..)"),
        "{logged}"
    );
    for text in [seen, logged] {
        for secret in ["canary", &login] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// Beyond what it costs to provide a principal at all.
#[test]
fn a_known_token_is_recognized_without_an_allocation() {
    use futures_util::FutureExt;
    let keys = ApiKeys::new();
    (0..1000).for_each(|n| {
        keys.add(ApiKey::new(format!("key-{n}"), format!("{SECRET}-{n}")).unwrap()).unwrap();
    });
    let handler = async |_: Principal| {};
    let given = Chain::new().provide(Principal::new("a")).get(handler).build();
    let bearer = Authenticate::api_keys(&keys).sources([TokenSource::bearer()]).unwrap();
    let bearer = Chain::new().use_(bearer.bare()).get(handler).build();
    let header = Chain::new().use_(Authenticate::api_keys(&keys)).get(handler).build();
    let count = |service: &ChainService, headers: &[(&str, &str)]| {
        let mut counts = Vec::new();
        for _ in 0..3 {
            let req = request("GET /", headers, "");
            let info = allocation_counter::measure(|| {
                let response = service.handle(req).now_or_never().expect("an answer at once");
                assert_eq!(response.status(), 200);
            });
            counts.push(info.count_total);
        }
        counts.into_iter().min()
    };
    let token = format!("Bearer {SECRET}-7");
    let key = format!("{SECRET}-7");
    let baseline = count(&given, &[("authorization", &token)]);
    assert_eq!(count(&bearer, &[("authorization", &token)]), baseline);
    assert_eq!(count(&header, &[("x-api-key", &key)]), baseline);
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Authenticate>();
    crosses::<Optional<Principal>>();
    crosses::<ApiKeys>();
    crosses::<ApiKey>();
    crosses::<Principal>();
    crosses::<TokenSource>();
    crosses::<Token>();
    crosses::<Login>();
    crosses::<AuthenticateError>();
}

/// What becomes of credentials, as the tables have it: the status and what the client is told.
async fn becomes(service: &Spied, req: Request, expected: &str, what: &str) {
    let answer = service.send(req).await;
    let (status, detail) = match expected {
        "in" => {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
            return;
        }
        "missing" => (401, "Credentials are missing"),
        "invalid" => (401, "The credentials are not valid"),
        "malformed" => (400, "The credentials are malformed"),
        "no token" => (400, "The credentials are not a token"),
        "repeated" => (400, "repeated"),
        "malformed field" => (400, "The header `Authorization` is malformed"),
        "malformed cookie" => (400, "A cookie with credentials is malformed"),
        "malformed parameter" => (400, "A parameter with credentials is malformed"),
        other => panic!("{other}"),
    };
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert!(answer.body.contains(detail), "{what}: {answer:?}");
    let code = if status == 400 { "invalid_request" } else { "invalid_token" };
    let challenge = answer.header("www-authenticate").join("|");
    let is_told = challenge.starts_with("Bearer") && expected != "missing";
    assert_eq!(challenge.contains(code), is_told, "{what}: {answer:?}");
}

#[tokio::test]
async fn every_authorization_becomes_what_the_table_says() {
    let service = Spied::new(Authenticate::token(SECRET).unwrap());
    for [value, expected] in rows(include_str!("tables/authorization.tsv")) {
        let req = request("GET /", &[("authorization", &value)], "");
        let expected = if expected == "malformed" { "malformed field" } else { &expected };
        becomes(&service, req, expected, &value).await;
    }
}

#[tokio::test]
async fn every_cookie_becomes_what_the_table_says() {
    let source = TokenSource::cookie("__Host-t").unwrap();
    let service = Spied::new(Authenticate::token(SECRET).unwrap().sources([source]).unwrap());
    for [value, expected] in rows(include_str!("tables/cookies.tsv")) {
        let req = request("GET /", &[("cookie", &value)], "");
        becomes(&service, req, &expected, &value).await;
    }
}

#[tokio::test]
async fn every_parameter_becomes_what_the_table_says_in_a_query_and_in_a_form() {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let of = |source: TokenSource| {
        Spied::new(Authenticate::token(SECRET).unwrap().sources([source]).unwrap())
    };
    let by_query = of(TokenSource::query("access_token").unwrap());
    let by_form = of(TokenSource::form("access_token").unwrap());
    for [text, expected] in rows(include_str!("tables/parameters.tsv")) {
        becomes(&by_query, request(&format!("GET /?{text}"), &[], ""), &expected, &text).await;
        becomes(&by_form, request("POST /", &[form], &text), &expected, &text).await;
    }
}

#[tokio::test]
async fn every_request_with_a_cookie_is_answered_as_the_table_says() {
    let source = TokenSource::cookie("__Host-token").unwrap();
    let authenticate = Authenticate::token(SECRET).unwrap().sources([source]).unwrap();
    let service = Spied::new(authenticate.trusted_origin("https://app.example.com").unwrap());
    let cookie = format!("__Host-token={SECRET}");
    for [method, upgrade, site, origin, status] in rows(include_str!("tables/cross_site.tsv")) {
        let mut headers = vec![("host", "api.example.com"), ("cookie", cookie.as_str())];
        let named = [("upgrade", &upgrade), ("sec-fetch-site", &site), ("origin", &origin)];
        let there = named.iter().filter(|(_, value)| *value != "-");
        headers.extend(there.map(|(name, value)| (*name, value.as_str())));
        let answer = service.send(request(&format!("{method} /"), &headers, "")).await;
        let what = format!("{method} {upgrade} {site} {origin}");
        assert_eq!(answer.status.to_string(), status, "{what}");
    }
}
