//! Tokens beside other keys, other credentials and other sources.

use super::*;
use crate::middleware::authenticate::{ApiKey, ApiKeys};
use crate::middleware::jwt::proof::dpop::test_client::DpopClient;
use crate::{Authenticate, Principal};

const API_KEY: &str = "Vy3pRT1rW9ZsU0bq6xQ2Lw";

/// A chain that accepts a token or an API key.
fn either(jwt: Jwt<Member>) -> ChainService {
    let keys = ApiKeys::new();
    keys.add(ApiKey::new("billing", API_KEY).unwrap()).unwrap();
    let principal = |member: Claims<Member>| Principal::new(&*member.sub).role("person");
    let authenticate = Authenticate::jwt(jwt, principal).or(Authenticate::api_keys(&keys));
    Chain::new()
        .use_(authenticate)
        .get(async |principal: Principal| principal.name().to_owned())
        .build()
}

async fn send(service: &ChainService, headers: &[(&str, String)]) -> (u16, String, String) {
    send_by("GET", service, headers).await
}

async fn send_by(
    method: &str,
    service: &ChainService,
    headers: &[(&str, String)],
) -> (u16, String, String) {
    let mut req = http::Request::builder().method(method).uri("/me");
    for (name, value) in headers {
        req = req.header(*name, value);
    }
    let response = service.handle(req.body(Body::empty()).unwrap()).await;
    let status = response.status().as_u16();
    let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
    let challenges: Vec<_> = challenges.map(|value| value.to_str().unwrap().to_owned()).collect();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, challenges.join(" | "), String::from_utf8_lossy(&body).into_owned())
}

/// Behind a step for a part of the paths, and behind those that let requests without credentials pass.
#[tokio::test]
async fn a_handler_takes_what_some_requests_have_as_an_option() {
    let who = async |claims: Option<Claims<Member>>| match claims {
        Some(member) => member.sub.clone(),
        None => String::from("stranger"),
    };
    let principal = |member: Claims<Member>| Principal::new(&*member.sub);
    let name = async |principal: Option<Principal>| match principal {
        Some(principal) => principal.name().to_owned(),
        None => String::from("stranger"),
    };
    let authenticate = || Authenticate::jwt(jwt(), principal);
    for (service, with, without) in [
        (Chain::new().use_at("/me", jwt()).at("/{*page}", |c| c.get(who)).build(), "ann", 401),
        (Chain::new().use_at("/x", jwt()).at("/{*page}", |c| c.get(who)).build(), "stranger", 200),
        (Chain::new().use_(jwt().optional()).get(who).build(), "ann", 200),
        (
            Chain::new().use_at("/me", authenticate()).at("/{*p}", |c| c.get(name)).build(),
            "ann",
            401,
        ),
        (Chain::new().use_(authenticate().optional()).get(name).build(), "ann", 200),
    ] {
        let token = ("authorization", format!("Bearer {}", good()));
        let (status, _, body) = send(&service, &[token]).await;
        assert_eq!((status, &*body), (200, with));
        let (status, _, body) = send(&service, &[]).await;
        assert_eq!(status, without, "{body}");
        assert_eq!(body == "stranger", without == 200, "{body}");
    }
}

#[tokio::test]
async fn a_token_or_an_api_key_is_one_principal_with_both_challenges() {
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let key = |key: &str| ("x-api-key", key.to_owned());
    let expired = sign(HEADER, &json!({"sub": "ann", "exp": NOW - 100}).to_string());
    const BOTH: &str = r#"Bearer realm="api" | ApiKey realm="api", header="x-api-key""#;
    let table: [(&[(&str, String)], u16, &str, &str); 8] = [
        (&[bearer(&good())], 200, "", "ann"),
        (&[key(API_KEY)], 200, "", "billing"),
        (&[], 401, BOTH, "Credentials are missing"),
        (
            &[bearer(&expired)],
            401,
            r#"Bearer realm="api", error="invalid_token", error_description="The access token expired" | ApiKey realm="api", header="x-api-key""#,
            "The access token expired",
        ),
        (&[key("Vy3pRT1rW9ZsU0bq6xQ2Lx")], 401, BOTH, "The credentials are not valid"),
        // Neither counts as the other.
        (&[key(&good())], 401, BOTH, ""),
        (&[bearer(API_KEY)], 401, "", "The access token is malformed"),
        (&[bearer(&good()), key(API_KEY)], 400, "", "in more than one place"),
    ];
    let service = either(jwt());
    for (headers, status, challenges, text) in table {
        let (have, header, body) = send(&service, headers).await;
        assert_eq!(have, status, "{headers:?} {body}");
        assert!(challenges.is_empty() || header == challenges, "{headers:?} {header}");
        assert!(body.contains(text), "{headers:?} {body}");
    }
}

#[tokio::test]
async fn a_token_beside_an_api_key_keeps_its_proofs_and_its_statuses() {
    let client = DpopClient::new();
    let claims = json!({"sub": "ann", "exp": NOW + 60, "cnf": {"jkt": client.thumbprint()}});
    let token = sign(HEADER, &claims.to_string());
    let service = either(jwt().dpop(Dpop::new("https://api.example.com").unwrap()));
    let sent = |scheme: &str, jti: Option<&str>| {
        let mut headers = vec![("authorization", format!("{scheme} {token}"))];
        headers.extend(jti.map(|jti| ("dpop", client.proof_at(jti, &token, NOW))));
        headers
    };
    for (scheme, jti, status, text) in [
        ("DPoP", Some("1"), 200, "ann"),
        ("DPoP", Some("1"), 401, "used before"),
        ("DPoP", None, 401, "DPoP proof"),
        ("Bearer", Some("2"), 401, "requires a proof"),
        ("Bearer", None, 401, "requires a proof"),
    ] {
        let (have, challenges, body) = send(&service, &sent(scheme, jti)).await;
        assert_eq!(have, status, "{scheme} {jti:?} {body}");
        assert!(body.contains(text), "{scheme} {jti:?} {body}");
        assert!(
            status == 200 || challenges.contains("DPoP realm") && challenges.contains("ApiKey")
        );
    }
    let down = |_| async { Err::<bool, _>(std::io::Error::other("the store is down")) };
    let service = either(jwt().revoked(down));
    let bearer = ("authorization", format!("Bearer {}", good()));
    assert_eq!(send(&service, &[bearer]).await.0, 503);
    let key = ("x-api-key", API_KEY.to_owned());
    assert_eq!(send(&service, &[key]).await.0, 200);
}

/// A service with several ways to check one token.
fn any_of(all: Vec<Authenticate<String>>) -> ChainService {
    let all = all.into_iter().reduce(Authenticate::or).unwrap();
    Chain::new().use_(all).get(async |name: crate::Provided<String>| name.0.clone()).build()
}

#[tokio::test]
async fn an_outage_is_not_a_refusal_of_the_token() {
    #[derive(Clone, Copy, Debug)]
    enum Way {
        Accepts,
        Refuses,
        Down,
        TooMany,
        Fails(u16),
        Unknown,
    }
    use Way::{Accepts, Down, Fails, Refuses, TooMany, Unknown};

    let client = DpopClient::new();
    let cnf = json!({"jkt": client.thumbprint()});
    let claims = json!({"sub": "ann", "exp": NOW + 60, "cnf": cnf});
    let token = sign(HEADER, &claims.to_string());
    let dpop = || Dpop::new("https://api.example.com").unwrap();
    let way = |way: Way| {
        let name = |member: Claims<Member>| member.sub.clone();
        let jwt = jwt().dpop(dpop());
        match way {
            Accepts => Authenticate::jwt(jwt, name),
            Refuses => Authenticate::jwt(jwt.subject("bob").unwrap(), name),
            Down => {
                let down = |_| async { Err::<bool, _>(std::io::Error::other("down")) };
                Authenticate::jwt(jwt.revoked(down), name)
            }
            // A key may have one proof, and `proof` is the second.
            TooMany => Authenticate::jwt(
                at(Jwt::hs256(SECRET).unwrap(), NOW).dpop(dpop().replay_capacity(2).unwrap()),
                name,
            ),
            Fails(status) => {
                let status = http::StatusCode::from_u16(status).unwrap();
                let fails =
                    move |_| async move { Err::<Option<String>, _>(Error::new(status, "no")) };
                Authenticate::with(fails)
                    .sources([TokenSource::dpop(), TokenSource::bearer()])
                    .unwrap()
            }
            Unknown => {
                let unknown = |_| async { Ok::<Option<String>, Error>(None) };
                Authenticate::with(unknown)
                    .sources([TokenSource::dpop(), TokenSource::bearer()])
                    .unwrap()
            }
        }
    };
    let table: &[(&[Way], u16)] = &[
        (&[Refuses, Refuses], 401),
        (&[Down, Refuses], 503),
        (&[Refuses, Down], 503),
        (&[Refuses, Down, Refuses], 503),
        (&[Down, Accepts], 200),
        (&[Down, Unknown], 503),
        (&[Unknown, Down], 503),
        (&[Unknown, Refuses], 401),
        (&[Fails(503), Accepts], 200),
        (&[Fails(500), Refuses, Accepts], 200),
        (&[Fails(503), Refuses], 503),
        (&[Fails(500), Refuses], 500),
        (&[Refuses, Fails(500)], 500),
        (&[Fails(500), Down], 503),
        (&[Down, Fails(500)], 503),
        (&[Fails(500), Unknown], 500),
        (&[Fails(429), Refuses], 429),
        (&[Fails(429), Down], 503),
        (&[Down, Fails(429)], 503),
        (&[TooMany, Refuses], 429),
        (&[TooMany, Down], 503),
        // A verdict of a function is final.
        (&[Fails(403), Accepts], 403),
        (&[Down, Fails(403)], 403),
    ];
    for (ways, status) in table {
        let service = any_of(ways.iter().map(|one| way(*one)).collect());
        let sent = |jti: &str| {
            let proof = client.proof_at(jti, &token, NOW);
            [("authorization", format!("DPoP {token}")), ("dpop", proof)]
        };
        if ways.iter().any(|way| matches!(way, TooMany)) {
            send(&service, &sent("1")).await;
        }
        let (have, challenges, body) = send(&service, &sent("2")).await;
        assert_eq!(have, *status, "{ways:?} {body}");
        assert_eq!(challenges.contains("invalid_token"), have == 401, "{ways:?} {challenges}");
    }
}

#[tokio::test]
async fn the_same_token_in_a_header_and_a_cookie_is_one_token() {
    let sources = |first: TokenSource, second: TokenSource| {
        let jwt = jwt().sources([first, second]).unwrap();
        Chain::new().use_(jwt).all(async |_: Claims<Member>| "in").build()
    };
    let cookie = || TokenSource::cookie("__Host-session").unwrap();
    let query = || TokenSource::query("token").unwrap();
    let other = sign(HEADER, &json!({"sub": "bob", "exp": NOW + 60}).to_string());
    let good = good();
    let header = |token: &str| ("authorization", format!("Bearer {token}"));
    let own = |token: &str| ("cookie", format!("__Host-session={token}"));
    let cross = || ("sec-fetch-site", "cross-site".to_owned());
    let table: [(&str, Vec<(&str, String)>, u16); 8] = [
        ("GET", vec![header(&good), own(&good)], 200),
        ("GET", vec![header(&good), own(&other)], 400),
        ("GET", vec![header(&other), own(&good)], 400),
        // Another site can make a browser send the cookie, but not the header.
        ("POST", vec![header(&good), own(&good), cross()], 200),
        ("POST", vec![header(&good), own(&other), cross()], 400),
        ("POST", vec![own(&good), cross()], 403),
        ("GET", vec![own(&good)], 200),
        ("GET", vec![header(&good)], 200),
    ];
    for service in
        [sources(TokenSource::bearer(), cookie()), sources(cookie(), TokenSource::bearer())]
    {
        for (method, headers, status) in &table {
            let (have, ..) = send_by(method, &service, headers).await;
            assert_eq!(have, *status, "{method} {headers:?}");
        }
    }
    // RFC 6750, 2: a client must not send a token in two ways. It does not send its cookie on purpose.
    let service = sources(TokenSource::bearer(), query());
    let req = http::Request::get(format!("/me?token={good}"))
        .header("authorization", format!("Bearer {good}"));
    let response = service.handle(req.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_refusal_of_verify_has_its_own_status_in_a_handler() {
    let down = |_| async { Err::<bool, _>(std::io::Error::other("the store is down")) };
    for (jwt, token, status, field) in [
        (jwt(), good(), 200, ""),
        (jwt(), "nonsense".to_owned(), 401, "www-authenticate"),
        (jwt().subject("bob").unwrap(), good(), 401, "www-authenticate"),
        (jwt().revoked(down), good(), 503, "retry-after"),
    ] {
        let jwt = Arc::new(jwt);
        let chain = Chain::new().post(move |token: String| {
            let jwt = jwt.clone();
            async move {
                let claims = jwt.verify(token).await?;
                Ok::<_, Error>(claims.sub.clone())
            }
        });
        let req = http::Request::post("/").body(Body::from(token)).unwrap();
        let response = chain.build().handle(req).await;
        assert_eq!(response.status(), status);
        assert!(field.is_empty() || response.headers().contains_key(field));
        if status != 200 {
            let error = Error::of(&response).unwrap();
            assert!(error.source().unwrap().downcast_ref::<JwtRefusal>().is_some());
        }
    }
}

#[tokio::test]
async fn the_challenge_has_the_scopes_and_the_metadata_of_the_jwt() {
    let keys = ApiKeys::new();
    let url = "https://api.example/.well-known/oauth-protected-resource";
    let token = || {
        let jwt = jwt().challenge_scopes(["read", "write"]).unwrap();
        let jwt = jwt.resource_metadata(url).unwrap();
        Authenticate::jwt(jwt, |member: Claims<Member>| Principal::new(&*member.sub))
    };
    let key = || Authenticate::api_keys(&keys);
    let both = format!(r#"Bearer realm="api", resource_metadata="{url}", scope="read write""#);
    let plain = r#"Bearer realm="api""#.to_owned();
    let own = format!(r#"Bearer realm="api", resource_metadata="{url}", scope="own""#);
    let bare = || Authenticate::jwt(jwt(), |member: Claims<Member>| Principal::new(&*member.sub));
    for (authenticate, expected) in [
        (token(), &both),
        (token().or(key()), &both),
        (key().or(token()), &both),
        (bare(), &plain),
        (bare().or(token()), &both),
        (token().challenge_scopes(["own"]).unwrap(), &own),
        (key().challenge_scopes(["own"]).unwrap().or(token()), &own),
    ] {
        let service = Chain::new().use_(authenticate).get(async || "in").build();
        let (_, challenges, _) = send(&service, &[]).await;
        assert!(challenges.split(" | ").any(|one| one == expected), "{challenges}: {expected}");
    }
}

/// An issuer that signs some tokens with a secret that it shares with this API.
#[cfg(feature = "jwks")]
#[tokio::test]
async fn local_keys_verify_beside_those_of_the_issuer_also_while_it_is_down() {
    #[derive(Clone, Default)]
    struct Down(Arc<AtomicUsize>);

    impl Fetch for Down {
        type Error = std::io::Error;

        async fn fetch(&self, _: http::Request<()>) -> Result<crate::Response, std::io::Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(std::io::Error::other("down"))
        }
    }

    let fetch = Down::default();
    let local = Key::secret(Algorithm::Hs256, SECRET).unwrap().kid("local");
    let issuer = "https://login.example";
    let jwks = Jwks::issuer(issuer, [Algorithm::Es256]).unwrap().fetch(fetch.clone());
    let jwt = at(Jwt::<Value>::new(jwks.local_keys(local)), NOW);
    let with = |kid: &str, alg: &str, secret: &str, iss: &str| {
        let header = json!({"alg": alg, "kid": kid}).to_string();
        sign_with(secret, &header, &json!({"iss": iss, "exp": NOW + 60}).to_string())
    };
    let verified = async |token: String| jwt.verify(token).await.map(drop);
    assert_eq!(verified(with("local", "HS256", SECRET, issuer)).await, Ok(()));
    let other = with("local", "HS256", SECRET, "https://other.example");
    assert_eq!(verified(other).await, Err(JwtRefusal::Issuer));
    assert_eq!(fetch.0.load(Ordering::Relaxed), 0);
    // What no local key has signed is for the keys of the issuer.
    for (kid, alg) in [("local", "HS256"), ("new", "HS256"), ("local", "ES256")] {
        let token = with(kid, alg, "another secret of thirty-two bytes", issuer);
        assert_eq!(verified(token).await, Err(JwtRefusal::KeysUnavailable), "{kid} {alg}");
    }
    assert!(fetch.0.load(Ordering::Relaxed) > 0);
}
