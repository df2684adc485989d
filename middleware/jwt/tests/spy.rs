//! Whatever is wrong with a request, wherever its token stands and however tokens are verified: no handler runs.

use super::*;

/// Where a token may stand.
fn sources() -> [(&'static str, TokenSource); 7] {
    [
        ("bearer", TokenSource::bearer()),
        ("scheme", TokenSource::scheme("Token").unwrap()),
        ("header", TokenSource::header("x-token").unwrap()),
        ("cookie", TokenSource::cookie("__Host-token").unwrap()),
        ("query", TokenSource::query("access_token").unwrap()),
        ("form", TokenSource::form("access_token").unwrap()),
        ("subprotocol", TokenSource::subprotocol("bearer.").unwrap()),
    ]
}

/// A request with a token at each of these places.
fn with(tokens: &[(&str, &str)]) -> Request {
    let mut req = http::Request::post("/me")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin");
    let mut body = String::new();
    for (place, token) in tokens {
        req = match *place {
            "bearer" => req.header("authorization", format!("Bearer {token}")),
            "scheme" => req.header("authorization", format!("Token {token}")),
            "header" => req.header("x-token", *token),
            "cookie" => req.header("cookie", format!("a=b; __Host-token={token}")),
            "query" => req.uri(format!("/me?a=b&access_token={token}")),
            "subprotocol" => req.header("sec-websocket-protocol", format!("chat, bearer.{token}")),
            _ => {
                body = format!("a=b&access_token={token}");
                req
            }
        };
    }
    req.body(Body::from(body)).unwrap()
}

/// Counts how often its handler runs, with a token required or not.
struct Spied {
    service: ChainService,
    served: Arc<AtomicUsize>,
}

impl Spied {
    fn new(jwt: Jwt<Value>, optional: bool) -> Self {
        let served = Arc::new(AtomicUsize::new(0));
        let spy = served.clone();
        let handler = move |req: Request| {
            spy.fetch_add(1, Ordering::Relaxed);
            async move {
                let protocols = req.headers().get("sec-websocket-protocol");
                let protocols = protocols.map_or("", |value| value.to_str().unwrap()).to_owned();
                let uri = req.uri().to_string();
                let body = req.into_body().collect().await.unwrap().to_bytes();
                format!("{uri} {} {protocols}", String::from_utf8_lossy(&body))
            }
        };
        let chain = Chain::new();
        let service = match optional {
            true => chain.use_(jwt.optional()).all(handler).build(),
            false => chain.use_(jwt).all(handler).build(),
        };
        Self { service, served }
    }

    /// The status, when the handler ran for a 200 alone.
    async fn status(&self, req: Request) -> u16 {
        let before = self.served.load(Ordering::Relaxed);
        let response = self.service.handle(req).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let served = self.served.load(Ordering::Relaxed) - before;
        assert_eq!(served, usize::from(status == 200), "{status}");
        if status != 200 {
            assert_eq!(headers["cache-control"], "no-store");
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_eq!(headers.contains_key("www-authenticate"), [400, 401].contains(&status));
        }
        status
    }
}

/// A way to verify tokens, and one to sign those that it accepts.
type Mode = (&'static str, fn() -> Jwt<Value>, fn(&str, &str) -> String);

const ISSUER: &str = "https://issuer.example";

fn modes() -> Vec<Mode> {
    fn key() -> Key {
        Key::secret(Algorithm::Hs256, SECRET).unwrap()
    }
    fn tenants(fails: bool) -> Jwt<Value> {
        Jwt::new(KeySource::per_request(
            |query| query.headers().contains_key("x-nobody"),
            move |_| async move {
                match fails {
                    true => Err(std::io::Error::other("down")),
                    false => Ok(Some(Keys::from(key()))),
                }
            },
        ))
    }
    let modes: Vec<Mode> = vec![
        ("fixed keys", || Jwt::new(key()).issuer(ISSUER).unwrap(), sign),
        (
            "cached",
            || Jwt::new(key()).issuer(ISSUER).unwrap().cache(TokenCache::new(8).unwrap()),
            sign,
        ),
        ("issuers", || Jwt::new(KeySource::issuers([(ISSUER, key())]).unwrap()), sign),
        ("per request", || tenants(false).issuer(ISSUER).unwrap(), sign),
        (
            "denylist",
            || Jwt::new(key()).issuer(ISSUER).unwrap().denylist(Denylist::new(1).unwrap()),
            sign,
        ),
        (
            "hook",
            || {
                let jwt = Jwt::new(key()).issuer(ISSUER).unwrap();
                jwt.revoked(async |_| Ok::<_, std::io::Error>(false))
            },
            sign,
        ),
        (
            "certificates",
            || Jwt::new(key()).issuer(ISSUER).unwrap().mtls(Mtls::header("client-cert").unwrap()),
            sign,
        ),
        (
            "proofs",
            || {
                Jwt::new(key())
                    .issuer(ISSUER)
                    .unwrap()
                    .dpop(Dpop::new("https://api.example.com").unwrap())
            },
            sign,
        ),
    ];
    #[cfg(feature = "jwks")]
    let modes = {
        let mut modes = modes;
        modes.push(("JWKS", published::jwt, published::sign));
        modes.push((
            "JWKS, cached",
            || published::jwt().cache(TokenCache::new(8).unwrap()),
            published::sign,
        ));
        modes
    };
    modes
}

/// An issuer that publishes its key.
#[cfg(feature = "jwks")]
mod published {
    use std::sync::LazyLock;

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    static PAIR: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

    struct Published;

    impl Fetch for Published {
        type Error = std::io::Error;

        async fn fetch(&self, req: http::Request<()>) -> Result<crate::Response, std::io::Error> {
            let x = URL_SAFE_NO_PAD.encode(PAIR.public_key());
            let body = match req.uri().path() {
                "/keys" => json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}),
                _ => json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys")}),
            };
            Ok(crate::Response::new(Body::from(body.to_string())))
        }
    }

    pub(super) fn jwt() -> Jwt<Value> {
        Jwt::new(Jwks::issuer(ISSUER, [Algorithm::Ed25519]).unwrap().fetch(Published))
    }

    pub(super) fn sign(header: &str, claims: &str) -> String {
        let header = header.replace("HS256", "EdDSA");
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = PAIR.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[tokio::test]
async fn no_handler_runs_on_a_refusal_in_any_mode_and_from_any_place() {
    let claims = format!(r#"{{"iss":"{ISSUER}","sub":"ann","exp":1800000060"#);
    let good = format!("{claims}}}");
    for (mode, jwt, sign) in modes() {
        let cut = |token: String| token[..token.len() - 2].to_owned();
        let more = |members: &str| sign(HEADER, &format!("{claims},{members}}}"));
        let bad: Vec<(&str, String, u16)> = vec![
            ("nothing", String::new(), 400),
            ("too long", "a".repeat(8193), 400),
            ("no token", "garbage".to_owned(), 401),
            ("three parts of nothing", "a.b.c".to_owned(), 401),
            ("four parts", format!("{}.a", sign(HEADER, &good)), 401),
            ("a cut signature", cut(sign(HEADER, &good)), 401),
            (
                "a signature of another",
                sign_with("another secret that only tests have", HEADER, &good),
                401,
            ),
            ("no signature", sign(r#"{"alg":"none"}"#, &good), 401),
            ("another algorithm", sign(r#"{"alg":"RS256"}"#, &good), 401),
            ("an extension", sign(r#"{"alg":"HS256","crit":["x"],"x":1}"#, &good), 401),
            ("another type", sign(r#"{"alg":"HS256","typ":"dpop+jwt"}"#, &good), 401),
            ("expired", sign(HEADER, &format!(r#"{{"iss":"{ISSUER}","exp":1}}"#)), 401),
            ("for ever", sign(HEADER, &format!(r#"{{"iss":"{ISSUER}"}}"#)), 401),
            ("to come", more(r#""nbf":1800000999"#), 401),
            ("issued in the future", more(r#""iat":1800000999"#), 401),
            (
                "another issuer",
                sign(HEADER, r#"{"iss":"https://evil.example","exp":1800000060}"#),
                401,
            ),
            ("no issuer", sign(HEADER, r#"{"exp":1800000060}"#), 401),
            ("another audience", more(r#""aud":"https://other.example""#), 401),
            ("a claim twice", more(r#""sub":"bob""#), 401),
            ("bound to a key", more(r#""cnf":{"jkt":"a"}"#), 401),
            ("bound to a certificate", more(r#""cnf":{"x5t#S256":"a"}"#), 401),
            ("bound to something else", more(r#""cnf":{"kid":"a"}"#), 401),
            ("a list", sign(HEADER, "[1800000060]"), 401),
        ];
        for optional in [false, true] {
            let all = sources().map(|(_, source)| source);
            let jwt = at(jwt(), NOW).sources(all).unwrap().form_limit(9_000).unwrap();
            let service = Spied::new(jwt, optional);
            let without = service.status(with(&[])).await;
            assert_eq!(without, if optional { 200 } else { 401 }, "{mode}");
            for (place, _) in sources() {
                // A good one first, so that a cache has something to confuse it with.
                let passed = service.status(with(&[(place, &sign(HEADER, &good))])).await;
                assert_eq!(passed, 200, "{mode}, {place}");
                for (what, token, status) in &bad {
                    let refused = service.status(with(&[(place, token)])).await;
                    assert_eq!(refused, *status, "{mode}, {place}, {what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_token_in_two_places_is_refused_whichever_two() {
    let all = sources().map(|(_, source)| source);
    let service = Spied::new(any().sources(all).unwrap(), false);
    let good = good();
    for (one, _) in sources() {
        for (other, _) in sources() {
            if one == other {
                continue;
            }
            for second in [&*good, "wrong"] {
                let status = service.status(with(&[(one, &good), (other, second)])).await;
                // The same token in a cookie and elsewhere counts once.
                let once = second == good && (one == "cookie") != (other == "cookie");
                assert_eq!(status, if once { 200 } else { 400 }, "{one} and {other}");
            }
        }
    }
}

#[tokio::test]
async fn what_can_not_be_found_out_lets_nothing_through() {
    let keys = || Key::secret(Algorithm::Hs256, SECRET).unwrap();
    let broken = KeySource::per_request(|_| (), |()| async { Err(std::io::Error::other("down")) });
    let nobody = KeySource::per_request(|_| (), |()| async { Ok::<_, std::io::Error>(None) });
    let hook = |answer: bool| {
        Jwt::new(keys()).revoked(move |_| async move { Ok::<_, std::io::Error>(answer) })
    };
    let table: Vec<(Jwt<Value>, u16)> = vec![
        (Jwt::new(broken), 503),
        (Jwt::new(nobody), 401),
        (Jwt::new(keys()).revoked(async |_| Err::<bool, _>(std::io::Error::other("down"))), 503),
        (hook(true), 401),
        (hook(false), 200),
        (Jwt::new(keys()).check(|_, _| false), 401),
        (Jwt::new(keys()).mtls(Mtls::new(|_, _| None).required(true)), 401),
    ];
    for (number, (jwt, status)) in table.into_iter().enumerate() {
        let service = Spied::new(at(jwt, NOW), number % 2 == 0);
        assert_eq!(service.status(with(&[("bearer", &good())])).await, status, "{number}");
    }
}

#[tokio::test]
async fn a_cookie_is_good_for_the_own_origin_alone() {
    let sources = [TokenSource::bearer(), TokenSource::cookie("__Host-token").unwrap()];
    let jwt = any().sources(sources).unwrap().trusted_origin("https://app.example.com").unwrap();
    let service = Spied::new(jwt, false);
    let good = good();
    for (method, origin, site, status) in [
        ("GET", "", "cross-site", 200),
        ("POST", "", "same-origin", 200),
        ("POST", "", "cross-site", 403),
        ("POST", "", "same-site", 403),
        ("POST", "", "", 403),
        ("POST", "https://app.example.com", "cross-site", 200),
        ("POST", "https://evil.example", "", 403),
        ("POST", "https://api.example.com", "", 200),
        ("DELETE", "null", "", 403),
    ] {
        for place in ["cookie", "bearer"] {
            let mut req = with(&[(place, &good)]);
            *req.method_mut() = method.parse().unwrap();
            let headers = req.headers_mut();
            headers.insert("host", HeaderValue::from_static("api.example.com"));
            headers.remove("sec-fetch-site");
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            // Without a cookie there is nothing to guard.
            let expected = if place == "cookie" { status } else { 200 };
            assert_eq!(service.status(req).await, expected, "{method} {origin} {site} {place}");
        }
    }
}

#[tokio::test]
async fn what_is_passed_on_shows_no_token() {
    let all = sources().map(|(_, source)| source);
    let service = Spied::new(any().sources(all).unwrap(), false).service;
    let good = good();
    for (place, seen, by_query) in [
        ("bearer", "/me  ", false),
        ("query", "/me?a=b  ", true),
        ("subprotocol", "/me  chat", false),
    ] {
        let response = service.handle(with(&[(place, &good)])).await;
        assert_eq!(response.headers().contains_key("referrer-policy"), by_query, "{place}");
        assert_eq!(response.headers().contains_key("cache-control"), by_query, "{place}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, seen, "{place}");
    }
    // Of a form nothing can be taken out without writing it anew.
    let response = service.handle(with(&[("form", &good)])).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("/me a=b&access_token={good} "));
}

#[tokio::test]
async fn each_place_has_its_challenge() {
    let all = sources().map(|(_, source)| source);
    let jwt = any().sources(all).unwrap().resource_metadata("https://a.example/m").unwrap();
    let (service, _) = spied(jwt);
    let bearer = r#"Bearer realm="api", resource_metadata="https://a.example/m""#;
    let others = r#"Token realm="api"|ApiKey realm="api", header="x-token"|Cookie realm="api", cookie-name="__Host-token""#;
    let (status, challenges, _) = answer(&service, &[]).await;
    assert_eq!((status, challenges), (401, format!("{bearer}|{others}")));
    let malformed = r#"error="invalid_token", error_description="The access token is malformed""#;
    let (status, challenges, _) = answer(&service, &["Bearer x"]).await;
    assert_eq!((status, challenges), (401, format!("{bearer}, {malformed}|{others}")));
    // Those that are not of OAuth have no word for it.
    let (status, challenges, _) = answer(&service, &["Token x"]).await;
    assert_eq!((status, challenges), (401, format!("{bearer}|{others}")));
}

#[test]
fn wrong_places_are_refused_where_they_are_named() {
    let twice = [TokenSource::bearer(), TokenSource::bearer()];
    for list in [vec![], twice.to_vec()] {
        let error = any().sources(list).map(drop).unwrap_err();
        assert_eq!(error, JwtError::Source(TokenSourceError::List));
        assert!(error.to_string().contains("at least one source"));
    }
    let origin = any().trusted_origin("app.example.com").map(drop).unwrap_err();
    assert!(origin.to_string().contains("https://app.example.com"), "{origin}");
    assert!(TokenSource::scheme("dpop").unwrap_err().to_string().contains("Jwt::dpop"));
}
