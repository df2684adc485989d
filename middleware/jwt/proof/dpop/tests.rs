use super::*;

/// RFC 9449, 7.1: the proof, the token and the thumbprint of 6.1.
const PROOF: &str = concat!(
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik",
    "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR",
    "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE",
    "QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj",
    "oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z",
    "WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF",
    "c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E",
    "OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
);
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const IAT: u64 = 1_562_262_618;

fn request(method: &str, path: &str, proofs: &[&str]) -> http::Request<()> {
    let mut req = http::Request::builder().method(method).uri(path);
    for proof in proofs {
        req = req.header("dpop", *proof);
    }
    req.body(()).unwrap()
}

fn example() -> Dpop {
    Dpop::new("https://resource.example.org").unwrap()
}

/// Without a store there is nothing to wait for.
fn proven(
    dpop: &Dpop,
    req: &http::Request<()>,
    token: &str,
    key: Option<&str>,
    now: u64,
) -> Result<Option<HeaderValue>, JwtRefusal> {
    let head = RequestHead::of(req);
    let proving = dpop.prove(&head, token.as_bytes(), key, now);
    let proven = futures_util::FutureExt::now_or_never(proving).expect("nothing waits");
    proven.map_err(|refused| refused.refusal)
}

#[test]
fn the_example_of_rfc_9449_is_proven() {
    let prove = |req: http::Request<()>, token: &str, key: Option<&str>, now: u64| {
        proven(&example(), &req, token, key, now).map(drop)
    };
    let req = |method: &str, path: &str| request(method, path, &[PROOF]);
    let good = || req("GET", "/protectedresource");
    let key = Some(THUMBPRINT);
    let (no, other) = (Err(JwtRefusal::Proof), Err(JwtRefusal::Binding));
    let table = [
        (prove(good(), TOKEN, key, IAT), Ok(())),
        (prove(req("GET", "/protectedresource?a=b"), TOKEN, key, IAT), Ok(())),
        (prove(req("GET", "/%70rotected%72esource"), TOKEN, key, IAT), Ok(())),
        (prove(good(), TOKEN, key, IAT + 60), Ok(())),
        (prove(good(), TOKEN, key, IAT + 61), no),
        (prove(good(), TOKEN, key, IAT - 30), Ok(())),
        (prove(good(), TOKEN, key, IAT - 31), no),
        (prove(req("POST", "/protectedresource"), TOKEN, key, IAT), no),
        (prove(req("get", "/protectedresource"), TOKEN, key, IAT), no),
        (prove(req("HEAD", "/protectedresource"), TOKEN, key, IAT), no),
        (prove(req("GET", "/protectedresource/"), TOKEN, key, IAT), no),
        (prove(req("GET", "/ProtectedResource"), TOKEN, key, IAT), no),
        (prove(req("GET", "/"), TOKEN, key, IAT), no),
        (prove(good(), &TOKEN[1..], key, IAT), no),
        (prove(good(), TOKEN, None, IAT), other),
        (prove(good(), TOKEN, Some(""), IAT), other),
        (prove(good(), TOKEN, Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"), IAT), other),
        (prove(request("GET", "/protectedresource", &[]), TOKEN, key, IAT), no),
        (prove(request("GET", "/protectedresource", &[""]), TOKEN, key, IAT), no),
        (prove(request("GET", "/protectedresource", &[PROOF, PROOF]), TOKEN, key, IAT), no),
        (prove(request("GET", "/protectedresource", &[&PROOF[1..]]), TOKEN, key, IAT), no),
    ];
    for (number, (proven, expected)) in table.into_iter().enumerate() {
        assert_eq!(proven, expected, "{number}");
    }
}

#[test]
fn the_proof_is_for_one_api_alone() {
    for (base, expected) in [
        ("https://resource.example.org", Ok(())),
        ("https://resource.example.org/", Ok(())),
        ("HTTPS://Resource.Example.ORG:443", Ok(())),
        ("http://resource.example.org", Err(JwtRefusal::Proof)),
        ("https://resource.example.org:8443", Err(JwtRefusal::Proof)),
        ("https://resource.example.org/api", Err(JwtRefusal::Proof)),
        ("https://other.example.org", Err(JwtRefusal::Proof)),
    ] {
        // The host of the request counts for nothing.
        let mut req = request("GET", "/protectedresource", &[PROOF]);
        req.headers_mut().insert("host", "resource.example.org".parse().unwrap());
        let dpop = Dpop::new(base).unwrap();
        let proven = proven(&dpop, &req, TOKEN, Some(THUMBPRINT), IAT);
        assert_eq!(proven.map(drop), expected, "{base}");
    }
}

#[test]
fn a_proof_is_good_once() {
    let dpop = example();
    let req = request("GET", "/protectedresource", &[PROOF]);
    let prove = |key, now| proven(&dpop, &req, TOKEN, key, now).map(drop);
    // What was refused is not used up.
    assert_eq!(prove(None, IAT), Err(JwtRefusal::Binding));
    assert_eq!(prove(Some(THUMBPRINT), IAT - 30), Ok(()));
    for now in [IAT - 30, IAT, IAT + 60] {
        assert_eq!(prove(Some(THUMBPRINT), now), Err(JwtRefusal::Replay));
    }
    let full = example().full();
    let refused = proven(&full, &req, TOKEN, Some(THUMBPRINT), IAT);
    assert_eq!(refused, Err(JwtRefusal::ReplayUnavailable));
}

/// RFC 9449, 4.1 and 6.1.
#[test]
fn the_first_proof_of_rfc_9449_is_of_the_same_key_and_says_nothing_of_a_token() {
    let proof = concat!(
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklD",
        "UkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2",
        "R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dH",
        "BzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8",
        "igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg",
    );
    let jwk = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
    let keys = Keys::from(Key::jwk(Algorithm::Es256, jwk).unwrap());
    let payload = keys.verify(proof).unwrap();
    assert!(payload.starts_with(br#"{"jti":"-BwC3ESc6acc2lTc","htm":"POST""#));
    // It is for the token endpoint: without `ath` it opens no API.
    assert!(example().read(proof.as_bytes()).is_err());
}

/// RFC 7638, 3.1, and RFC 8037, A.3.
#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let table = [
        (
            r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
            Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        ),
        (
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        ),
        (r#"{"kty":"oct","k":"AAAA"}"#, None),
        (r#"{"kty":"OKP","crv":"Ed25519"}"#, None),
        (r#"{"kty":"OKP","crv":"Ed25519","x":1}"#, None),
        (r#"{"kty":"OKP","crv":"Ed25519","x":"a\"b"}"#, None),
        ("{}", None),
    ];
    for (jwk, expected) in table {
        let jwk: Map<String, Value> = serde_json::from_str(jwk).unwrap();
        let thumbprint = thumbprint(&jwk).map(|digest| URL_SAFE_NO_PAD.encode(digest));
        assert_eq!(thumbprint.as_deref(), expected);
    }
}

#[test]
fn urls_are_compared_in_one_form() {
    let table = [
        ("https://a.example", Some("https://a.example/")),
        ("https://a.example/", Some("https://a.example/")),
        ("HTTPS://A.Example:443/B", Some("https://a.example/B")),
        ("http://a.example:80/b?c#d", Some("http://a.example/b")),
        ("http://a.example:443/", Some("http://a.example:443/")),
        ("https://a.example/%7Eb%2fc%2D", Some("https://a.example/~b%2Fc-")),
        ("https://a.example/%zz%", Some("https://a.example/%zz%")),
        ("https://u@a.example/", None),
        ("ftp://a.example/", None),
        ("/b", None),
        ("", None),
        ("https://", None),
    ];
    for (url, expected) in table {
        assert_eq!(normalized(url).as_deref(), expected, "{url}");
    }
}

#[test]
fn wrong_configuration_is_refused() {
    for base in ["", "/", "api.example.com", "https://a?b", "https://a#b", "https://u@a", "ftp://a"]
    {
        let error = Dpop::new(base).map(drop).unwrap_err();
        assert_eq!(error, JwtError::DpopBase);
        assert!(error.to_string().contains("https://api.example.com"));
    }
    for algorithms in [vec![], vec![Algorithm::Es256, Algorithm::Hs256]] {
        let error = example().algorithms(algorithms).map(drop).unwrap_err();
        assert_eq!(error, JwtError::DpopAlgorithms);
        assert!(error.to_string().contains("no HMAC"));
    }
}

/// Whole requests, with a key of the test's own.
#[cfg(feature = "jwt")]
mod requests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;
    use crate::middleware::jwt::proof::dpop::test_client::DpopClient;
    use crate::middleware::jwt::{Claims, Jwt, MaybeClaims, TokenCache, TokenSource};
    use crate::{Body, Chain, ChainService};

    const SECRET: &str = "the secret that only the tests have";
    const NOW: u64 = 1_800_000_000;

    /// A client, and what the tests make with it.
    struct Client(DpopClient);

    impl std::ops::Deref for Client {
        type Target = DpopClient;

        fn deref(&self) -> &DpopClient {
            &self.0
        }
    }

    impl Client {
        fn new() -> Self {
            Self(DpopClient::new())
        }

        fn token(&self) -> String {
            token(&json!({"exp": NOW + 600, "cnf": {"jkt": self.thumbprint()}}))
        }

        fn claims(jti: &str, token: &str) -> Value {
            DpopClient::claims(jti, token, NOW)
        }

        fn proof(&self, jti: &str, token: &str) -> String {
            self.proof_at(jti, token, NOW)
        }
    }

    /// An access token of the issuer.
    fn token(claims: &Value) -> String {
        use hmac::Mac;
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        let message = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(&claims.to_string()));
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    struct Spied(ChainService, Arc<AtomicUsize>);

    impl Spied {
        fn new(jwt: Jwt<Value>) -> Self {
            let served = Arc::new(AtomicUsize::new(0));
            let spy = served.clone();
            let handler = move |_: Claims<Value>| {
                spy.fetch_add(1, Ordering::Relaxed);
                async {}
            };
            Self(Chain::new().use_(jwt).get(handler).build(), served)
        }

        /// Status and challenges; the handler must run for a 200 alone.
        async fn get(&self, authorization: &str, proof: &str) -> (u16, String) {
            let (status, headers) = self.send(authorization, proof).await;
            let challenges = headers.get_all("www-authenticate").iter();
            let challenges: Vec<_> = challenges.map(|value| value.to_str().unwrap()).collect();
            (status, challenges.join(" | "))
        }

        async fn send(&self, authorization: &str, proof: &str) -> (u16, http::HeaderMap) {
            let before = self.1.load(Ordering::Relaxed);
            let mut req = http::Request::get("/me");
            if !authorization.is_empty() {
                req = req.header("authorization", authorization);
            }
            if !proof.is_empty() {
                req = req.header("dpop", proof);
            }
            let response = self.0.handle(req.body(Body::empty()).unwrap()).await;
            let status = response.status().as_u16();
            let served = self.1.load(Ordering::Relaxed) - before;
            assert_eq!(served, usize::from(status == 200));
            (status, response.headers().clone())
        }
    }

    fn jwt(dpop: Dpop) -> Jwt<Value> {
        let now = || SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        Jwt::<Value>::hs256(SECRET).unwrap().clock(now).dpop(dpop)
    }

    fn dpop() -> Dpop {
        Dpop::new("https://api.example.com").unwrap()
    }

    #[tokio::test]
    async fn challenges_are_those_of_rfc_9449() {
        let client = Client::new();
        let bound = client.token();
        let plain = token(&json!({"exp": NOW + 600}));
        let proof = |jti| client.proof(jti, &bound);
        let bearer = r#"Bearer realm="api""#;
        let asked = r#"DPoP realm="api", algs="ES256 Ed25519""#;
        let error =
            |code: &str, text: &str| format!(r#"error="{code}", error_description="{text}""#);
        let bad_proof = error("invalid_dpop_proof", "The DPoP proof is not valid");
        let bad_scheme = error("invalid_token", "The access token requires a proof of possession");
        let unbound =
            error("invalid_token", "The access token is not bound to the key of the DPoP proof");
        let used = error("invalid_dpop_proof", "The DPoP proof was used before");
        let first = proof("1");
        let table = [
            (String::new(), String::new(), 401, format!("{bearer} | {asked}")),
            (format!("DPoP {bound}"), first.clone(), 200, String::new()),
            (format!("DPoP {bound}"), first, 401, format!("{bearer} | {asked}, {used}")),
            (format!("dpop {bound}"), proof("2"), 200, String::new()),
            (format!("Bearer {plain}"), String::new(), 200, String::new()),
            (format!("Bearer {plain}"), proof("3"), 200, String::new()),
            (
                format!("Bearer {bound}"),
                proof("4"),
                401,
                format!("{bearer}, {bad_scheme} | {asked}"),
            ),
            (
                format!("DPoP {bound}"),
                String::new(),
                401,
                format!("{bearer} | {asked}, {bad_proof}"),
            ),
            (
                format!("DPoP {plain}"),
                client.proof("5", &plain),
                401,
                format!("{bearer} | {asked}, {unbound}"),
            ),
            (
                format!("DPoP {bound}"),
                Client::new().proof("6", &bound),
                401,
                format!("{bearer} | {asked}, {unbound}"),
            ),
        ];
        let service = Spied::new(jwt(dpop()));
        for (number, (authorization, proof, status, challenges)) in table.into_iter().enumerate() {
            let answer = service.get(&authorization, &proof).await;
            assert_eq!(answer, (status, challenges), "{number}");
        }
    }

    #[tokio::test]
    async fn where_it_is_required_no_bearer_token_passes() {
        let client = Client::new();
        let bound = client.token();
        let plain = token(&json!({"exp": NOW + 600}));
        let service = Spied::new(jwt(dpop().required(true)).realm("a").unwrap());
        let asked = r#"DPoP realm="a", algs="ES256 Ed25519""#.to_owned();
        let needed = r#"error="invalid_token", error_description="The access token requires a proof of possession""#;
        let refused = format!("{asked}, {needed}");
        assert_eq!(service.get("", "").await, (401, asked.clone()));
        assert_eq!(service.get("Basic YTpi", "").await, (401, asked));
        for token in [&*plain, &bound, "wrong"] {
            let proof = client.proof("0", token);
            for proof in ["", &proof] {
                let answer = service.get(&format!("Bearer {token}"), proof).await;
                assert_eq!(answer, (401, refused.clone()));
            }
        }
        let proof = client.proof("1", &bound);
        assert_eq!(service.get(&format!("DPoP {bound}"), &proof).await.0, 200);
    }

    #[tokio::test]
    async fn a_proof_is_passed_on_as_sensitive_with_a_token_and_without() {
        let client = Client::new();
        let bound = client.token();
        let shown = async |headers: http::HeaderMap| format!("{:?}", headers["dpop"]);
        let strict = Chain::new().use_(jwt(dpop())).get(shown).build();
        let optional = Chain::new().use_(jwt(dpop()).optional()).get(shown).build();
        for (service, with_token) in [(&strict, true), (&optional, true), (&optional, false)] {
            let mut req = http::Request::get("/me").header("dpop", client.proof("1", &bound));
            if with_token {
                req = req.header("authorization", format!("DPoP {bound}"));
            }
            let response = service.handle(req.body(Body::empty()).unwrap()).await;
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "Sensitive", "{with_token}");
        }
    }

    /// Who brings a token is not anonymous, however wrong it is.
    #[tokio::test]
    async fn where_it_is_required_and_optional_only_who_brings_nothing_is_anonymous() {
        let client = Client::new();
        let bound = client.token();
        let cookie = TokenSource::cookie("__Host-token").unwrap();
        let jwt = jwt(dpop().required(true)).sources([TokenSource::bearer(), cookie]).unwrap();
        let service = Chain::new()
            .use_(jwt.optional())
            .get(async |claims: MaybeClaims<Value>| claims.is_some().to_string())
            .build();
        let plain = token(&json!({"exp": NOW + 600}));
        for (header, value, status, seen) in [
            ("accept", "*/*".to_owned(), 200, "false"),
            ("authorization", "Basic YTpi".to_owned(), 200, "false"),
            ("authorization", format!("DPoP {bound}"), 200, "true"),
            ("authorization", "Bearer wrong".to_owned(), 401, ""),
            ("authorization", format!("Bearer {plain}"), 401, ""),
            ("authorization", format!("Bearer {bound}"), 401, ""),
            ("authorization", "Bearer".to_owned(), 400, ""),
            ("cookie", format!("__Host-token={plain}"), 401, ""),
        ] {
            let req = http::Request::get("/me").header("dpop", client.proof(&value, &bound));
            let req = req.header(header, &value).body(Body::empty()).unwrap();
            let response = service.handle(req).await;
            assert_eq!(response.status(), status, "{header}: {value}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(status != 200 || body == seen, "{header}: {value}");
        }
    }

    /// Where there is no request, nothing can be proven.
    #[tokio::test]
    async fn a_token_without_a_request_is_refused_where_proofs_are_required() {
        use crate::middleware::jwt::Mtls;
        let client = Client::new();
        let (bound, plain) = (client.token(), token(&json!({"exp": NOW + 600})));
        let clock = || SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let mtls = |required| Mtls::new(|_, _| None).required(required);
        let bare = || Jwt::<Value>::hs256(SECRET).unwrap().clock(clock);
        for (jwt, passes) in [
            (jwt(dpop()), true),
            (jwt(dpop().required(true)), false),
            (bare().mtls(mtls(false)), true),
            (bare().mtls(mtls(true)), false),
        ] {
            let expected = if passes { Ok(()) } else { Err(JwtRefusal::SenderConstrained) };
            assert_eq!(jwt.verify(&plain).await.map(drop), expected);
            let refused = jwt.verify(&bound).await.map(drop);
            assert_eq!(refused, Err(JwtRefusal::SenderConstrained));
            assert_eq!(jwt.verify("wrong").await.map(drop), Err(JwtRefusal::Malformed));
        }
    }

    /// RFC 9449, 8 and 9.
    #[tokio::test]
    async fn a_proof_must_hold_the_nonce_that_is_asked_for() {
        let client = Client::new();
        let bound = client.token();
        let authorization = format!("DPoP {bound}");
        let with = |jti: &str, nonce: Value| {
            let mut claims = Client::claims(jti, &bound);
            claims["nonce"] = nonce;
            client.sign(&client.header(), &claims)
        };
        let span = Duration::from_secs(1000);
        let service = |now: u64| {
            let dpop = dpop().nonce_span(span).unwrap().nonces([7; 32]).unwrap();
            let clock = move || SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            Spied::new(jwt(dpop).clock(clock))
        };
        let now = service(NOW);
        let named = |headers: &http::HeaderMap| {
            headers.get("dpop-nonce").map(|value| value.to_str().unwrap().to_owned())
        };
        let wanted = concat!(
            r#"Bearer realm="api" | DPoP realm="api", algs="ES256 Ed25519", error="use_dpop_nonce", "#,
            r#"error_description="The DPoP proof must hold the nonce of this response""#
        );
        assert_eq!(now.get(&authorization, &client.proof("1", &bound)).await, (401, wanted.into()));
        let (_, headers) = now.send(&authorization, &client.proof("1", &bound)).await;
        let nonce = named(&headers).unwrap();
        assert_eq!(headers["cache-control"], "no-store");
        // Who has no token yet is told as well, and saves a request.
        let (status, headers) = now.send("", "").await;
        assert_eq!((status, named(&headers)), (401, Some(nonce.clone())));
        for wrong in [json!(""), json!("x"), json!(nonce.to_lowercase()), json!(null)] {
            assert_eq!(now.get(&authorization, &with("1", wrong)).await, (401, wanted.into()));
        }
        assert!(
            now.get(&authorization, &with("1", json!(7))).await.1.contains("invalid_dpop_proof")
        );
        // What lacked a nonce used no `jti` up.
        let (status, headers) = now.send(&authorization, &with("1", json!(nonce))).await;
        assert_eq!((status, named(&headers)), (200, None));
        assert!(now.get(&authorization, &with("1", json!(nonce))).await.1.contains("used before"));
        // Another server with the same secret takes it too, one span later; then it names the new one.
        let old = service(NOW - 1000).send("", "").await.1;
        let (status, headers) = now.send(&authorization, &with("2", json!(named(&old)))).await;
        assert_eq!((status, named(&headers)), (200, Some(nonce)));
        assert_eq!(headers["cache-control"], "no-store");
        let older = service(NOW - 2000).send("", "").await.1;
        assert_eq!(now.get(&authorization, &with("3", json!(named(&older)))).await.0, 401);
        for secret in [&[7; 31][..], &[0; 32], &[]] {
            assert_eq!(dpop().nonces(secret).map(drop), Err(JwtError::NonceSecret));
        }
    }

    /// A token may be bound to a key and to a certificate at once.
    #[tokio::test]
    async fn what_a_token_is_bound_to_is_all_proven() {
        use crate::middleware::jwt::{CertificateThumbprint, Mtls};
        let client = Client::new();
        let (der, other) = (b"the certificate of the client", b"another certificate");
        let x5t = URL_SAFE_NO_PAD.encode(sha256(&[der]));
        let jkt = client.thumbprint();
        let shown = |der: &'static [u8]| {
            Mtls::new(move |_, _| (!der.is_empty()).then(|| CertificateThumbprint::of_der(der)))
        };
        let service = |der| Spied::new(jwt(dpop()).mtls(shown(der)));
        let required = Spied::new(jwt(dpop()).mtls(shown(der).required(true)));
        let (good, bad, none) = (service(der), service(other), service(b""));
        let both = token(&json!({"exp": NOW + 600, "cnf": {"jkt": jkt, "x5t#S256": x5t}}));
        let certificate = token(&json!({"exp": NOW + 600, "cnf": {"x5t#S256": x5t}}));
        let key = token(&json!({"exp": NOW + 600, "cnf": {"jkt": jkt}}));
        let plain = token(&json!({"exp": NOW + 600}));
        let unknown = token(&json!({"exp": NOW + 600, "cnf": {"x5t#S256": x5t, "kid": "1"}}));
        let table = [
            (&good, "DPoP", &both, true, 200),
            (&good, "DPoP", &both, false, 401),
            (&good, "Bearer", &both, true, 401),
            (&bad, "DPoP", &both, true, 401),
            (&none, "DPoP", &both, true, 401),
            (&good, "Bearer", &certificate, false, 200),
            (&bad, "Bearer", &certificate, false, 401),
            (&none, "Bearer", &certificate, false, 401),
            (&good, "DPoP", &certificate, true, 401),
            (&none, "DPoP", &key, true, 200),
            (&good, "Bearer", &key, true, 401),
            (&none, "Bearer", &plain, false, 200),
            (&good, "Bearer", &unknown, false, 401),
            (&required, "Bearer", &plain, false, 401),
            (&required, "DPoP", &key, true, 401),
            (&required, "Bearer", &certificate, false, 200),
            (&required, "DPoP", &both, true, 200),
        ];
        for (number, (service, scheme, token, proves, status)) in table.into_iter().enumerate() {
            let proof =
                if proves { client.proof(&number.to_string(), token) } else { String::new() };
            let (have, challenges) = service.get(&format!("{scheme} {token}"), &proof).await;
            assert_eq!(have, status, "{number}: {challenges}");
        }
        let (_, challenges) = bad.get(&format!("Bearer {certificate}"), "").await;
        assert!(challenges.starts_with(
            r#"Bearer realm="api", error="invalid_token", error_description="The access token is not bound to the certificate of the client" |"#
        ));
        // One that came without a request shows no certificate.
        let alone = jwt(dpop()).mtls(shown(der)).verify(certificate).await;
        assert_eq!(alone.map(drop), Err(JwtRefusal::SenderConstrained));
    }

    #[tokio::test]
    async fn a_remembered_token_is_proven_each_time() {
        let client = Client::new();
        let bound = client.token();
        let service = Spied::new(jwt(dpop()).cache(TokenCache::new(10).unwrap()));
        let dpop = format!("DPoP {bound}");
        assert_eq!(service.get(&dpop, &client.proof("1", &bound)).await.0, 200);
        assert_eq!(service.get(&dpop, &client.proof("2", &bound)).await.0, 200);
        assert_eq!(service.get(&dpop, &client.proof("2", &bound)).await.0, 401);
        assert_eq!(service.get(&dpop, "").await.0, 401);
        assert_eq!(service.get(&dpop, &Client::new().proof("3", &bound)).await.0, 401);
        assert_eq!(service.get(&format!("Bearer {bound}"), "").await.0, 401);
    }

    #[tokio::test]
    async fn other_confirmations_are_refused_with_and_without_proofs() {
        let client = Client::new();
        let jkt = client.thumbprint();
        for cnf in [
            json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
            json!({"jkt": jkt, "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
            json!({"jkt": 1}),
            json!({}),
            json!(jkt),
            json!(null),
        ] {
            let token = token(&json!({"exp": NOW + 600, "cnf": cnf}));
            let service = Spied::new(jwt(dpop()));
            let proof = client.proof("1", &token);
            assert_eq!(service.get(&format!("DPoP {token}"), &proof).await.0, 401, "{cnf}");
            assert_eq!(service.get(&format!("Bearer {token}"), "").await.0, 401, "{cnf}");
        }
        // Nor does a bound token that came without a request pass.
        let alone = jwt(dpop()).verify(client.token()).await;
        assert_eq!(alone.map(drop), Err(JwtRefusal::SenderConstrained));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_proof_is_refused() {
        let client = Client::new();
        let bound = client.token();
        let with = |part: &Value, name: &str, value: Value| {
            let mut part = part.clone();
            part[name] = value;
            part
        };
        let without = |part: &Value, name: &str| {
            let mut part = part.clone();
            part.as_object_mut().unwrap().remove(name);
            part
        };
        let (header, claims) = (client.header(), Client::claims("1", &bound));
        let jwk = client.jwk();
        let private = with(&jwk, "d", json!("AAAA"));
        let mut proofs = Vec::new();
        for header in [
            with(&header, "typ", json!("JWT")),
            with(&header, "typ", json!(1)),
            without(&header, "typ"),
            with(&header, "alg", json!("none")),
            with(&header, "alg", json!("HS256")),
            with(&header, "alg", json!("ES384")),
            with(&header, "alg", json!("RS256")),
            without(&header, "alg"),
            without(&header, "jwk"),
            with(&header, "jwk", json!("key")),
            with(&header, "jwk", json!(["crv", "kty", "x", "y"].map(|name| jwk[name].clone()))),
            with(&header, "jwk", private),
            with(&header, "jwk", json!({"kty": "oct", "k": "AAAA"})),
            with(&header, "jwk", with(&jwk, "crv", json!("P-384"))),
            with(&header, "jwk", with(&jwk, "y", json!("AAAA"))),
            with(&header, "jwk", with(&jwk, "use", json!("enc"))),
            with(&header, "jwk", Client::new().jwk()),
            with(&header, "crit", json!(["typ"])),
            with(&header, "b64", json!(false)),
        ] {
            proofs.push((client.sign(&header, &claims), header));
        }
        for claims in [
            without(&claims, "jti"),
            with(&claims, "jti", json!("")),
            with(&claims, "jti", json!(1)),
            with(&claims, "jti", json!("x".repeat(257))),
            without(&claims, "htm"),
            with(&claims, "htm", json!("POST")),
            without(&claims, "htu"),
            with(&claims, "htu", json!("https://evil.example/me")),
            with(&claims, "htu", json!("/me")),
            without(&claims, "iat"),
            with(&claims, "iat", json!("1800000000")),
            with(&claims, "iat", json!(-1)),
            with(&claims, "iat", json!(u64::MAX)),
            with(&claims, "iat", json!(NOW - 61)),
            with(&claims, "iat", json!(NOW + 31)),
            without(&claims, "ath"),
            with(&claims, "ath", json!("")),
            json!([]),
            json!(["jti", "htm", "htu", "iat", "ath", "nonce"].map(|name| claims[name].clone())),
            json!([claims]),
            with(&claims, "deep", (0..40).fold(json!(1), |deep, _| json!([deep]))),
        ] {
            proofs.push((client.sign(&header, &claims), claims));
        }
        let good = client.sign(&header, &claims);
        proofs.push((good[..good.len() - 2].to_owned(), json!("cut off")));
        proofs.push((format!("{good}.x"), json!("four parts")));
        proofs.push((format!("{good}{}", "A".repeat(PROOF_BYTES)), json!("too long")));
        let service = Spied::new(jwt(dpop()));
        let authorization = format!("DPoP {bound}");
        for (proof, what) in proofs {
            let (status, challenge) = service.get(&authorization, &proof).await;
            assert_eq!(status, 401, "{what}");
            assert!(
                challenge.contains(r#"algs="ES256 Ed25519", error="invalid_dpop_proof""#),
                "{what}: {challenge}"
            );
        }
        // Nothing of that was used up.
        let (status, challenge) = service.get(&authorization, &good).await;
        assert_eq!(status, 200, "{challenge}");
        // What is allowed: a key with a name, query and fragment in the URL, more members.
        let named = with(&header, "jwk", with(&jwk, "kid", json!("mine")));
        let more =
            with(&Client::claims("2", &bound), "htu", json!("https://API.example.com:443/me?x#y"));
        let more = with(&more, "nonce", json!("n"));
        assert_eq!(service.get(&authorization, &client.sign(&named, &more)).await.0, 200);
    }

    #[tokio::test]
    async fn without_a_free_entry_it_is_a_503() {
        let client = Client::new();
        let bound = client.token();
        let service = Spied::new(jwt(dpop().replay_capacity(1).unwrap()));
        let dpop = format!("DPoP {bound}");
        assert_eq!(service.get(&dpop, &client.proof("1", &bound)).await.0, 200);
        assert_eq!(service.get(&dpop, &client.proof("2", &bound)).await, (503, String::new()));
    }

    #[tokio::test]
    async fn a_client_that_sends_too_many_proofs_is_a_429_and_others_are_served() {
        let (busy, calm) = (Client::new(), Client::new());
        let service = Spied::new(jwt(dpop().replay_capacity(100).unwrap()));
        let send = async |client: &Client, jti: u32| {
            let bound = client.token();
            let proof = client.proof(&jti.to_string(), &bound);
            service.send(&format!("DPoP {bound}"), &proof).await
        };
        for jti in 0..50 {
            let (status, headers) = send(&busy, jti).await;
            assert_eq!(status, if jti < 6 { 200 } else { 429 }, "{jti}");
            if status == 429 {
                assert_eq!(
                    (&headers["retry-after"], &headers["cache-control"]),
                    (&"5".parse().unwrap(), &"no-store".parse().unwrap())
                );
                assert!(!headers.contains_key("www-authenticate"));
            }
        }
        for jti in 0..2 {
            assert_eq!(send(&calm, jti).await.0, 200);
        }
    }
}

/// Whatever removes a prefix from the path, or changes it, before the step sees it.
#[cfg(all(feature = "axum", feature = "jwt"))]
mod hosts {
    use axum::Router;
    use axum::routing::get;
    use serde_json::json;
    use tower::{ServiceBuilder, ServiceExt};

    use super::super::test_client::DpopClient;
    use super::*;
    use crate::extract::ClientUri;
    use crate::{Body, Chain, ChainService, Jwt, MiddlewareExt, Request, Response};

    const SECRET: &str = "the secret that only the tests have";

    /// A host of a chain, for one request.
    type Host = fn(ChainService, Request) -> futures_util::future::BoxFuture<'static, Response>;

    fn of_axum(router: Router, req: Request) -> futures_util::future::BoxFuture<'static, Response> {
        Box::pin(async move { router.oneshot(req).await.unwrap().map(Body::new) })
    }

    fn of_chain(
        chain: ChainService,
        req: Request,
    ) -> futures_util::future::BoxFuture<'static, Response> {
        Box::pin(chain.handle(req))
    }

    fn jwt() -> Jwt<()> {
        Jwt::hs256(SECRET).unwrap().dpop(Dpop::new("https://api.example.com").unwrap())
    }

    #[tokio::test]
    async fn a_proof_is_for_the_uri_that_the_client_sent() {
        // The host, the path that the client requests, and the path that the chain sees.
        let table: [(&str, Host, &str, &str); 12] = [
            ("alone", |chain, req| of_chain(chain, req), "/me", "/me"),
            (
                "axum, nest_service",
                |chain, req| of_axum(Router::new().nest_service("/api", chain), req),
                "/api/me",
                "/me",
            ),
            (
                "axum, nested twice",
                |chain, req| {
                    let inner = Router::new().nest_service("/v1", chain);
                    of_axum(Router::new().nest("/api", inner), req)
                },
                "/api/v1/me",
                "/me",
            ),
            (
                "axum, nest with a parameter",
                |chain, req| of_axum(Router::new().nest_service("/t/{tenant}", chain), req),
                "/t/acme/me",
                "/me",
            ),
            (
                "axum, route_service",
                |chain, req| of_axum(Router::new().route_service("/me", chain), req),
                "/me",
                "/me",
            ),
            (
                "axum, route_service in nest",
                |chain, req| {
                    let inner = Router::new().route_service("/me", chain);
                    of_axum(Router::new().nest("/api", inner), req)
                },
                "/api/me",
                "/me",
            ),
            (
                "axum, a layer in nest",
                |_, req| {
                    let inner =
                        Router::new().route("/me", get(async || "")).layer(jwt().into_layer());
                    of_axum(Router::new().nest("/api", inner), req)
                },
                "/api/me",
                "/me",
            ),
            (
                "a service of a chain",
                |chain, req| of_chain(Chain::new().service("/api", chain).build(), req),
                "/api/me",
                "/me",
            ),
            (
                "a service in a scope of a service",
                |chain, req| {
                    let inner = Chain::new().at("/v1", |c| c.service("/x", chain)).build();
                    of_chain(Chain::new().service("/api", inner).build(), req)
                },
                "/api/v1/x/me",
                "/me",
            ),
            (
                "axum in a chain",
                |chain, req| {
                    let inner = Router::new().nest_service("/v1", chain);
                    of_chain(Chain::new().service("/api", inner).build(), req)
                },
                "/api/v1/me",
                "/me",
            ),
            (
                "a chain in axum in a chain in axum",
                |chain, req| {
                    let inner = Chain::new().service("/b", Router::new().nest_service("/c", chain));
                    of_axum(Router::new().nest_service("/a", inner.build()), req)
                },
                "/a/b/c/me",
                "/me",
            ),
            (
                "a layer that removes a prefix",
                |chain, req| {
                    let strip = |mut req: Request| {
                        let client = ClientUri::of(req.uri(), req.extensions()).clone();
                        req.extensions_mut().insert(ClientUri(client));
                        *req.uri_mut() = "/me".parse().unwrap();
                        req
                    };
                    let chain = ServiceBuilder::new().map_request(strip).service(chain);
                    Box::pin(async move { chain.oneshot(req).await.unwrap() })
                },
                "/api/me",
                "/me",
            ),
        ];
        let client = DpopClient::new();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = now.as_secs();
        let token = crate::middleware::jwt::tests::sign_with(
            SECRET,
            r#"{"alg":"HS256"}"#,
            &json!({"exp": now + 60, "cnf": {"jkt": client.thumbprint()}}).to_string(),
        );
        for (host, run, path, seen) in table {
            for (htu, accepted) in [
                (path.to_owned(), true),
                (seen.to_owned(), path == seen),
                (format!("/api{path}"), false),
                (format!("{path}/"), false),
            ] {
                let mut claims = DpopClient::claims(&format!("{host} {htu}"), &token, now);
                claims["htu"] = json!(format!("https://api.example.com{htu}"));
                let req = http::Request::get(format!("{path}?a=b"))
                    .header("authorization", format!("DPoP {token}"))
                    .header("dpop", client.sign(&client.header(), &claims))
                    .body(Body::empty())
                    .unwrap();
                let chain = Chain::new()
                    .use_(jwt())
                    .at("/me", |c| c.get(async || ""))
                    .get(async || "")
                    .build();
                let response = run(chain, req).await;
                let expected = if accepted { 200 } else { 401 };
                assert_eq!(response.status(), expected, "{host}: {htu}");
            }
        }
    }

    /// Prefixes are those of the chain, and the URI of the request is as before.
    #[tokio::test]
    async fn paths_are_matched_against_the_uri_of_the_request() {
        let chain = Chain::new()
            .use_at("/admin", async |_: crate::Next<'_>| Response::new(Body::from("covered")))
            .at("/admin", |c| c.get(async || "not covered"))
            .at("/me", |c| {
                c.get(async |uri: http::Uri, ClientUri(client): ClientUri| {
                    format!("{uri} {client}")
                })
            })
            .build();
        let router = Router::new().nest_service("/admin", chain);
        for (path, body) in
            [("/admin/me?a=b", "/me?a=b /admin/me?a=b"), ("/admin/admin", "covered")]
        {
            let req = http::Request::get(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(req).await.unwrap();
            let bytes = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(bytes, body, "{path}");
        }
    }

    /// `OriginalUri` is what later steps would log.
    #[tokio::test]
    async fn a_token_in_the_query_is_removed_from_every_uri() {
        use axum::extract::OriginalUri;

        use crate::middleware::jwt::TokenSource;

        let token = crate::middleware::jwt::tests::sign_with(
            SECRET,
            r#"{"alg":"HS256"}"#,
            r#"{"exp":4000000000}"#,
        );
        let chain = Chain::new()
            .use_(
                Jwt::<()>::hs256(SECRET)
                    .unwrap()
                    .sources([TokenSource::query("access_token").unwrap()])
                    .unwrap(),
            )
            .at("/me", |c| {
                c.get(async |uri: http::Uri, OriginalUri(axum): OriginalUri, ours: ClientUri| {
                    format!("{uri} {axum} {}", ours.0)
                })
            })
            .build();
        let inner = Chain::new().service("/v1", chain).build();
        let req = http::Request::get(format!("/api/v1/me?a=b&access_token={token}"));
        let router = Router::new().nest_service("/api", inner);
        let response = router.oneshot(req.body(Body::empty()).unwrap()).await.unwrap();
        let bytes = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        assert_eq!(bytes, "/me?a=b /api/v1/me?a=b /api/v1/me?a=b");
    }

    /// A service inside of a chain reads the whole URI, as inside of axum's router.
    #[tokio::test]
    async fn a_service_at_a_path_sees_the_original_uri_of_axum() {
        use axum::extract::OriginalUri;

        let original =
            async |uri: http::Uri, OriginalUri(original): OriginalUri| format!("{uri} {original}");
        let router = Router::new().route("/x", get(original));
        let chain = Chain::new().at("/a", |c| c.service("/b", router)).build();
        let req = http::Request::get("/a/b/x?q").body(Body::empty()).unwrap();
        let bytes = axum::body::to_bytes(chain.handle(req).await.into_body(), 100).await.unwrap();
        assert_eq!(bytes, "/x?q /a/b/x?q");
    }
}
