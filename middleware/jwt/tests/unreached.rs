//! Random paths, methods and tokens over chains of every shape: a request without valid credentials reaches no handler.

use http::Method;
use tower::ServiceExt;

use super::*;
use crate::middleware::authenticate::{ApiKey, ApiKeys};
use crate::middleware::jwt::proof::dpop::test_client::DpopClient;
use crate::{Authenticate, Principal};

const API: &str = "https://api.example.com";
const API_KEY: &str = "Vy3pRT1rW9ZsU0bq6xQ2Lw";

/// A generator of numbers that is the same on each run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The chains, each with a handler that counts at every path below `/a`, all of them covered.
fn shapes(calls: &Arc<AtomicUsize>) -> Vec<(&'static str, ChainService)> {
    let handler = || {
        let calls = calls.clone();
        move || {
            calls.fetch_add(1, Ordering::Relaxed);
            std::future::ready("in")
        }
    };
    let dpop = || any().dpop(Dpop::new(API).unwrap().required(true));
    let either = || {
        let keys = ApiKeys::new();
        keys.add(ApiKey::new("billing", API_KEY).unwrap()).unwrap();
        Authenticate::jwt(any(), |_: Claims<Value>| Principal::new("someone"))
            .or(Authenticate::api_keys(&keys))
    };
    let everywhere = || {
        [
            TokenSource::bearer(),
            TokenSource::cookie("__Host-t").unwrap(),
            TokenSource::query("t").unwrap(),
        ]
    };
    let inner = || Chain::new().at("/x", |c| c.all(handler())).all(handler()).build();
    let router = axum::Router::new().fallback(handler());
    vec![
        (
            "at the root",
            Chain::new().use_(any()).at("/a/{*rest}", |c| c.all(handler())).all(handler()).build(),
        ),
        (
            "in a scope",
            Chain::new()
                .at("/a", |c| {
                    c.use_(dpop())
                        .at("/x", |c| c.get(handler()).post(handler()))
                        .at("/{id}", |c| c.get(handler()))
                        .all(handler())
                })
                .build(),
        ),
        (
            "in front of a mount",
            Chain::new()
                .use_(either())
                .mount("/a", Chain::new().at("/x", |c| c.all(handler())).get(handler()))
                .build(),
        ),
        ("in front of a service", Chain::new().use_(any()).service("/a", inner()).build()),
        ("in front of a router", Chain::new().use_(dpop()).service("/", router).build()),
        (
            "behind a router",
            Chain::new()
                .service(
                    "/",
                    axum::Router::new().nest_service("/a", {
                        Chain::new()
                            .use_(either())
                            .at("/x", |c| c.all(handler()))
                            .all(handler())
                            .build()
                    }),
                )
                .build(),
        ),
        (
            "several sources",
            Chain::new()
                .use_(any().sources(everywhere()).unwrap())
                .at("/a/x", |c| c.all(handler()))
                .all(handler())
                .build(),
        ),
        (
            "two steps",
            Chain::new().use_(any()).use_(either()).at("/a/{*rest}", |c| c.all(handler())).build(),
        ),
        (
            "a layer",
            Chain::new()
                .service("/", axum::Router::new().fallback(handler()).layer(any().into_layer()))
                .build(),
        ),
    ]
}

/// Credentials that no chain accepts.
fn credentials(random: &mut Random, client: &DpopClient) -> Vec<(&'static str, String)> {
    let good = good();
    let claims = [
        json!({"sub": "ann", "exp": NOW - 61}),
        json!({"sub": "ann"}),
        json!({"sub": "ann", "exp": NOW + 60, "nbf": NOW + 600}),
        json!({"sub": "ann", "exp": NOW + 60, "aud": "another"}),
        json!({"sub": "ann", "exp": NOW + 60, "cnf": {"kid": "1"}}),
        json!({"sub": 7, "exp": "never"}),
    ];
    let headers = [
        HEADER,
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
    ];
    let token = match random.below(6) {
        0 => sign(HEADER, &claims[random.below(claims.len())].to_string()),
        1 => sign(random.one(&headers[1..]), &json!({"sub": "ann", "exp": NOW + 60}).to_string()),
        2 => {
            sign_with("another secret of thirty-two bytes", random.one(&headers), r#"{"exp":4e9}"#)
        }
        3 => {
            // One changed byte of a good token.
            let mut bytes = good.into_bytes();
            let at = random.below(bytes.len());
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        }
        4 => {
            let end = random.below(good.len());
            good[..end].to_owned()
        }
        _ => random.one(&["", ".", "..", "a.b.c", "null", "Bearer"]).to_string(),
    };
    let mut sent = match random.below(8) {
        0 => vec![],
        1 => vec![("x-api-key", token.clone())],
        2 => vec![("cookie", format!("__Host-t={token}"))],
        3 => vec![("authorization", format!("Basic {token}"))],
        4 => vec![("authorization", token.clone())],
        5 => vec![("authorization", format!("DPoP {token}"))],
        6 => vec![
            ("authorization", format!("Bearer {token}")),
            ("x-api-key", API_KEY[1..].to_owned()),
        ],
        _ => vec![("authorization", format!("Bearer {token}"))],
    };
    if random.below(3) == 0 {
        sent.push(("dpop", client.proof_at("1", &token, NOW)));
    }
    sent
}

fn path(random: &mut Random) -> String {
    const PARTS: [&str; 16] = [
        "a", "x", "A", "%61", "%2561", "..", ".", "%2e%2e", "", "%2F", "\u{5c}", ";v=1", "x%00",
        "~", "%78", "@",
    ];
    let mut path = String::new();
    for _ in 0..=random.below(5) {
        path.push('/');
        path.push_str(random.one(&PARTS));
    }
    if random.below(4) == 0 {
        path.push_str("?t=a.b.c&t=");
    }
    path
}

#[tokio::test]
async fn no_request_without_valid_credentials_reaches_a_handler() {
    let calls = Arc::new(AtomicUsize::new(0));
    let shapes = shapes(&calls);
    let client = DpopClient::new();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let methods: Vec<Method> = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "QUERY",
        "get", "X",
    ]
    .iter()
    .map(|name| Method::from_bytes(name.as_bytes()).unwrap())
    .collect();
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..4_000 {
        let (name, chain) = &shapes[random.below(shapes.len())];
        let (path, method) = (path(&mut random), methods[random.below(methods.len())].clone());
        let Ok(uri) = path.parse::<http::Uri>() else { continue };
        let mut req = http::Request::builder().method(method.clone()).uri(uri);
        let sent = credentials(&mut random, &client);
        for (name, value) in &sent {
            req = req.header(*name, value);
        }
        let Ok(req) = req.body(Body::empty()) else { continue };
        let response = chain.clone().oneshot(req).await.unwrap();
        let context = format!("{name}: {method} {path} {sent:?} {}", response.status());
        assert_eq!(calls.load(Ordering::Relaxed), 0, "{context}");
        *statuses.entry(response.status().as_u16()).or_default() += 1;
    }
    // The table is not empty: most requests reach a step that refuses them.
    assert!(statuses.get(&401).is_some_and(|count| *count > 1_000), "{statuses:?}");
    // With valid credentials, each handler is reached.
    for (name, chain) in &shapes {
        let before = calls.load(Ordering::Relaxed);
        let claims = json!({"sub": "ann", "exp": NOW + 60, "cnf": {"jkt": client.thumbprint()}});
        let token = sign(HEADER, &claims.to_string());
        let mut proof = DpopClient::claims(name, &token, NOW);
        proof["htu"] = json!(format!("{API}/a/x"));
        for req in [
            http::Request::get("/a/x").header("authorization", format!("Bearer {}", good())),
            http::Request::get("/a/x")
                .header("authorization", format!("DPoP {token}"))
                .header("dpop", client.sign(&client.header(), &proof)),
        ] {
            chain.clone().oneshot(req.body(Body::empty()).unwrap()).await.unwrap();
        }
        assert!(calls.load(Ordering::Relaxed) > before, "{name}");
    }
}
