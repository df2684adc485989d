//! What is remembered, and what is kept secret.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::middleware::jwt::token::claims::{ClaimName, Texts, Times};
use crate::test_log::Log;

/// A clock that the test moves.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn at(now: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now)))
    }

    fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }

    fn on<C: DeserializeOwned + Send + Sync + 'static>(&self, jwt: Jwt<C>) -> Jwt<C> {
        let hands = self.0.clone();
        jwt.clock(move || {
            SystemTime::UNIX_EPOCH + Duration::from_secs(hands.load(Ordering::Relaxed))
        })
    }
}

/// How often the claims were really read: a check runs only then.
fn counted(jwt: Jwt<Value>) -> (Jwt<Value>, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let count = reads.clone();
    let jwt = jwt.check(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        true
    });
    (jwt, reads)
}

#[tokio::test]
async fn a_cached_token_is_verified_once_and_ends_with_its_exp() {
    let hands = Hands::at(NOW);
    let cache = TokenCache::new(100).unwrap();
    let (jwt, reads) = counted(hands.on(Jwt::hs256(SECRET).unwrap()).cache(cache.clone()));
    let token = sign(HEADER, &json!({"exp": NOW + 60}).to_string());
    for _ in 0..5 {
        jwt.verify(&token).await.unwrap();
    }
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    // At `exp` the cache is out of it; the leeway is for the full check to grant.
    hands.set(NOW + 60);
    jwt.verify(&token).await.unwrap();
    assert_eq!(reads.load(Ordering::Relaxed), 2);
    hands.set(NOW + 120);
    assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::Expired);
    // A clock that goes back does not bring back what is not valid yet.
    let later = sign(HEADER, &json!({"exp": NOW + 9000, "nbf": NOW + 120}).to_string());
    jwt.verify(&later).await.unwrap();
    hands.set(NOW);
    assert_eq!(jwt.verify(&later).await.unwrap_err(), JwtRefusal::NotYetValid);
    // A flush forgets all.
    hands.set(NOW + 130);
    let before = reads.load(Ordering::Relaxed);
    jwt.verify(&later).await.unwrap();
    assert_eq!(reads.load(Ordering::Relaxed), before);
    cache.flush();
    jwt.verify(&later).await.unwrap();
    assert_eq!(reads.load(Ordering::Relaxed), before + 1);
}

#[tokio::test]
async fn a_cached_token_ends_with_the_ttl_also_without_exp() {
    let hands = Hands::at(NOW);
    let cache = TokenCache::new(1).unwrap().ttl(Duration::from_secs(10)).unwrap();
    let jwt = hands.on(Jwt::hs256(SECRET).unwrap()).expiry_optional().cache(cache);
    let (jwt, reads) = counted(jwt);
    for (now, expected) in [(NOW, 1), (NOW + 9, 1), (NOW + 10, 2)] {
        hands.set(now);
        jwt.verify(sign(HEADER, "{}")).await.unwrap();
        assert_eq!(reads.load(Ordering::Relaxed), expected, "{now}");
    }
}

#[tokio::test]
async fn a_token_of_one_tenant_is_no_token_of_another_though_it_is_cached() {
    let keys = |secret| Keys::from(Key::secret(Algorithm::Hs256, secret).unwrap());
    let tenants = [keys(SECRET), keys("another secret that only tests have")];
    let source = KeySource::per_request(
        |query| usize::from(query.headers().contains_key("x-second")),
        move |tenant| {
            let keys = tenants.get(tenant).cloned();
            async move { Ok::<_, std::io::Error>(keys) }
        },
    );
    let jwt = at(Jwt::<Value>::new(source), NOW).cache(TokenCache::new(100).unwrap());
    let (service, _) = spied(jwt);
    let authorization = format!("Bearer {}", good());
    for (second, status) in [(false, 200), (true, 401), (false, 200), (true, 401)] {
        let mut request = request(&[&authorization]);
        if second {
            request.headers_mut().insert("x-second", HeaderValue::from_static("1"));
        }
        assert_eq!(service.handle(request).await.status(), status);
    }
}

#[tokio::test]
async fn only_what_was_accepted_is_cached_and_never_too_much() {
    let jwt = at(Jwt::<Value>::hs256(SECRET).unwrap(), NOW).cache(TokenCache::new(128).unwrap());
    for n in 0..2000 {
        let token = sign(HEADER, &json!({"exp": NOW + 60, "n": n}).to_string());
        jwt.verify(&token).await.unwrap();
        jwt.verify(&token[..token.len() - 3]).await.unwrap_err();
        assert!(jwt.cache.as_ref().is_some_and(|store| store.len() <= 128));
    }
    assert_eq!(TokenCache::new(0).unwrap_err(), JwtError::ZeroLimit);
}

#[tokio::test]
async fn a_revocation_counts_for_a_cached_token() {
    let denied = Denylist::new(10).unwrap();
    let jwt = at(Jwt::<Value>::hs256(SECRET).unwrap(), NOW)
        .cache(TokenCache::new(100).unwrap())
        .denylist(denied.clone());
    let token = sign(HEADER, &json!({"exp": NOW + 60, "jti": "7"}).to_string());
    let claims = jwt.verify(&token).await.unwrap();
    denied.revoke(Claims::registered(&claims)).unwrap();
    assert_eq!(jwt.verify(&token).await.unwrap_err(), JwtRefusal::Revoked);
}

#[test]
fn a_denylist_knows_ids_and_subjects() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let token = |id: Option<&str>, issuer: &str, subject: &str, issued| {
        let mut texts = Texts::default();
        id.into_iter().for_each(|id| texts.set(ClaimName::Id, id.to_owned().into()));
        texts.set(ClaimName::Issuer, issuer.to_owned().into());
        texts.set(ClaimName::Subject, subject.to_owned().into());
        RegisteredClaims::new(&texts, Times { issued, ..Times::default() }, None)
    };
    let far = SystemTime::now() + Duration::from_secs(3600);
    let denied = Denylist::new(3).unwrap();
    denied.revoke_id(None, "7", far).unwrap();
    denied.revoke_subject(Some("joe"), "ann", at(100), far).unwrap();
    denied.revoke_subject(None, "bob", at(100), far).unwrap();
    for (token, revoked) in [
        (token(Some("7"), "x", "y", Some(900)), true),
        (token(Some("8"), "x", "y", Some(900)), false),
        (token(None, "joe", "ann", Some(99)), true),
        (token(None, "joe", "ann", Some(100)), false),
        (token(None, "joe", "ann", None), true),
        (token(None, "jane", "ann", Some(99)), false),
        (token(None, "jane", "bob", Some(99)), true),
        (RegisteredClaims::default(), false),
    ] {
        assert_eq!(denied.is_revoked(&token), revoked, "{token:?}");
    }
    // A full list says so, and drops nothing that still counts.
    assert_eq!(denied.revoke_id(None, "9", far), Err(RevokeError::Full));
    assert_eq!(denied.revoke(&RegisteredClaims::default()), Err(RevokeError::NoId));
    assert!(denied.is_revoked(&token(Some("7"), "x", "y", None)));
    // What is on it already needs no room.
    denied.revoke_id(None, "7", far).unwrap();
    denied.revoke_subject(None, "bob", at(101), far).unwrap();
    assert!(denied.is_revoked(&token(None, "jane", "bob", Some(100))));
    assert_eq!(denied.revoke_subject(None, "joe", at(100), far), Err(RevokeError::Full));
    let past = Denylist::new(1).unwrap();
    past.revoke_id(None, "1", at(1)).unwrap();
    past.revoke_id(None, "2", far).unwrap();
    assert!(!past.is_revoked(&token(Some("1"), "x", "y", None)));
}

#[test]
fn no_subject_fills_the_denylist_for_the_others() {
    let token = |subject: &str, id: u32| {
        let mut texts = Texts::default();
        texts.set(ClaimName::Issuer, "https://a.example".into());
        texts.set(ClaimName::Subject, subject.to_owned().into());
        texts.set(ClaimName::Id, format!("{subject} {id}").into());
        let expires = SystemTime::now() + Duration::from_secs(3600);
        let expires = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        RegisteredClaims::new(&texts, Times { expires: Some(expires), ..Times::default() }, None)
    };
    let denied = Denylist::new(100).unwrap();
    for id in 0..100 {
        let expected = if id < 6 { Ok(()) } else { Err(RevokeError::TooMany) };
        assert_eq!(denied.revoke(&token("ann", id)), expected, "{id}");
    }
    // One that is on the list already takes no entry.
    assert_eq!(denied.revoke(&token("ann", 0)), Ok(()));
    for id in 0..2 {
        assert_eq!(denied.revoke(&token("bob", id)), Ok(()));
    }
    let far = SystemTime::now() + Duration::from_secs(3600);
    assert_eq!(denied.revoke_subject(None, "ann", SystemTime::now(), far), Ok(()));
    // Subjects that fill their shares one after the other need many names.
    let fills = |subject: u32| {
        let subject = format!("subject {subject}");
        (0..).map(|id| denied.revoke(&token(&subject, id))).find_map(Result::err)
    };
    let filled = (0..).take_while(|subject| fills(*subject) == Some(RevokeError::TooMany)).count();
    assert!(filled > 30, "{filled}");
    assert_eq!(denied.revoke_id(None, "7", far), Err(RevokeError::Full));
    for (token, revoked) in
        [(token("ann", 4), true), (token("bob", 1), true), (token("bob", 2), false)]
    {
        assert_eq!(denied.is_revoked(&token), revoked, "{token:?}");
    }
}

#[test]
fn an_id_counts_for_its_issuer_alone() {
    let token = |issuer: Option<&str>, id: &str| {
        let mut texts = Texts::default();
        issuer
            .into_iter()
            .for_each(|issuer| texts.set(ClaimName::Issuer, issuer.to_owned().into()));
        texts.set(ClaimName::Subject, "ann".into());
        texts.set(ClaimName::Id, id.to_owned().into());
        RegisteredClaims::new(&texts, Times::default(), None)
    };
    let issuers = [Some("https://a.example"), Some("https://b.example"), Some(""), None];
    let far = SystemTime::now() + Duration::from_secs(3600);
    for revoked in issuers {
        let denied = Denylist::new(100).unwrap();
        denied.revoke(&token(revoked, "7")).unwrap();
        for issuer in issuers {
            assert_eq!(denied.is_revoked(&token(issuer, "7")), issuer == revoked, "{issuer:?}");
            assert!(!denied.is_revoked(&token(issuer, "8")));
        }
        let denied = Denylist::new(100).unwrap();
        denied.revoke_id(revoked, "7", far).unwrap();
        for issuer in issuers {
            let expected = revoked.is_none() || issuer == revoked;
            assert_eq!(denied.is_revoked(&token(issuer, "7")), expected, "{issuer:?}");
        }
    }
    // Each issuer has an entry of its own, and each subject a share per issuer.
    let denied = Denylist::new(100).unwrap();
    for (issuer, entries) in issuers.into_iter().zip([6, 6, 6, 5]) {
        let revoke = |id: u32| denied.revoke(&token(issuer, &id.to_string()));
        assert_eq!((0..).take_while(|id| revoke(*id).is_ok()).count(), entries, "{issuer:?}");
    }
    assert!(format!("{denied:?}").contains("length: 23"), "{denied:?}");
}

/// Most issuers write whole seconds. A user who signs out everywhere and in again gets a token of the same second.
#[tokio::test]
async fn a_revocation_is_compared_as_precisely_as_the_token_is_written() {
    let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    for (revoked_at, issued, revoked) in [
        (100_000, "99", true),
        (100_000, "100", false),
        (100_001, "100", false),
        (100_999, "100", false),
        (100_999, "99", true),
        (101_000, "100", true),
        (100_000, "99.999", true),
        (100_000, "100.0", false),
        (100_500, "100.0", false),
        (100_500, "1e2", false),
        (100_500, "100.25", true),
        (100_500, "100.499", true),
        (100_500, "100.5", false),
        (100_500, "100.501", false),
        (100_500, "1.00501e2", false),
        (100_500, "1.0025e2", true),
        (100_500, "101", false),
        (101_000, "100.999999", true),
        (101_000, "101.000001", false),
    ] {
        let denied = Denylist::new(1).unwrap();
        let far = SystemTime::now() + Duration::from_secs(3600);
        denied.revoke_subject(None, "ann", at(revoked_at), far).unwrap();
        let token = sign(HEADER, &format!(r#"{{"sub":"ann","exp":{},"iat":{issued}}}"#, NOW + 60));
        for jwt in [any().denylist(denied.clone()), any().denylist(denied).cache(cache())] {
            for _ in 0..2 {
                let expected = if revoked { Err(JwtRefusal::Revoked) } else { Ok(()) };
                let verified = jwt.verify(token.clone()).await;
                assert_eq!(verified.map(drop), expected, "{revoked_at} {issued}");
            }
        }
    }
    // The fraction is also there for the application.
    let token = sign(HEADER, &format!(r#"{{"exp":{},"iat":100.25}}"#, NOW + 60));
    let claims = any().verify(token).await.unwrap();
    assert_eq!(Claims::registered(&claims).issued_at(), Some(at(100_250)));
}

fn cache() -> TokenCache {
    TokenCache::new(1).unwrap()
}

/// Where the leeway is ten minutes, a token lives so much longer than until `exp`.
#[test]
fn what_is_revoked_is_known_as_long_as_a_token_may_live_and_no_call_takes_it_back() {
    let before = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    type Revoke = fn(&Denylist, SystemTime) -> Result<(), RevokeError>;
    let ways: [Revoke; 2] = [
        |list, until| list.revoke_id(None, "7", until),
        |list, until| list.revoke_subject(None, "ann", SystemTime::now(), until),
    ];
    for revoke in ways {
        for (moments, kept) in [
            (&[before(590)][..], true),
            (&[before(700)], false),
            (&[before(590), before(700)], true),
            (&[before(700), before(590)], true),
        ] {
            let list = Denylist::new(1).unwrap();
            moments.iter().for_each(|until| revoke(&list, *until).unwrap());
            let another = list.revoke_id(None, "8", before(0));
            assert_eq!(another, if kept { Err(RevokeError::Full) } else { Ok(()) });
        }
    }
}

#[tokio::test]
async fn a_hook_refuses_and_its_failure_is_503() {
    let answers =
        [(200, Ok(false)), (401, Ok(true)), (503, Err("the database at 10.0.0.7 is down"))];
    for (status, answer) in answers {
        let jwt = jwt().revoked(move |_| async move { answer });
        let (service, calls) = spied(jwt);
        let response = service.handle(request(&[&format!("Bearer {}", good())])).await;
        assert_eq!(response.status(), status);
        assert_eq!(calls.load(Ordering::Relaxed), usize::from(status == 200));
        if status == 503 {
            assert_eq!(response.headers()["retry-after"], "5");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(!String::from_utf8_lossy(&body).contains("10.0.0.7"));
        }
    }
}

#[tokio::test]
async fn optional_lets_nothing_through_but_nothing() {
    async fn who(claims: MaybeClaims<Member>, req: Request) -> String {
        let nobody = req.extensions().get::<crate::grants::Anonymous<MaybeClaims<Member>>>();
        assert_eq!(nobody.is_some(), claims.is_none());
        claims.as_ref().map_or_else(|| String::from("stranger"), |member| member.sub.clone())
    }
    let service = Chain::new().use_(jwt().optional()).get(who).build();
    let table: &[(&[&str], u16, &str)] = &[
        (&[], 200, "stranger"),
        (&["Basic YTpi"], 200, "stranger"),
        (&[&format!("Bearer {}", good())], 200, "ann"),
        (&["Bearer x"], 401, ""),
        (&["Bearer"], 400, ""),
        (&["", ""], 400, ""),
    ];
    for (authorization, status, body) in table {
        let (have, _, text) = answer(&service, authorization).await;
        assert_eq!(have, *status, "{authorization:?}");
        assert!(*status != 200 || text == *body);
    }
}

#[tokio::test]
async fn several_issuers_keep_their_keys_apart() {
    let key = |secret| Key::secret(Algorithm::Hs256, secret).unwrap();
    const OTHER: &str = "another secret that only tests have";
    let source = KeySource::issuers([("joe", key(SECRET)), ("jane", key(OTHER))]).unwrap();
    let jwt = at(Jwt::<Value>::new(source), NOW);
    let token = |secret, iss: &str| {
        sign_with(secret, HEADER, &json!({"exp": NOW + 9, "iss": iss}).to_string())
    };
    assert!(jwt.verify(token(SECRET, "joe")).await.is_ok());
    assert!(jwt.verify(token(OTHER, "jane")).await.is_ok());
    assert_eq!(jwt.verify(token(SECRET, "jane")).await.unwrap_err(), JwtRefusal::Signature);
    assert_eq!(jwt.verify(token(OTHER, "joe")).await.unwrap_err(), JwtRefusal::Signature);
    assert_eq!(jwt.verify(token(SECRET, "jim")).await.unwrap_err(), JwtRefusal::Issuer);
    assert_eq!(
        jwt.verify(sign(HEADER, r#"{"exp":1800000009}"#)).await.unwrap_err(),
        JwtRefusal::Issuer
    );
    let none: [(&str, Key); 0] = [];
    assert_eq!(KeySource::issuers(none).unwrap_err(), JwtError::Issuers);
    let inner = KeySource::issuers([("joe", key(SECRET))]).unwrap();
    assert_eq!(KeySource::issuers([("jane", inner)]).unwrap_err(), JwtError::Issuers);
    let twice = [("joe", key(SECRET)), ("joe", key(OTHER))];
    assert_eq!(KeySource::issuers(twice).unwrap_err(), JwtError::Issuers);
}

#[tokio::test]
async fn keys_are_chosen_by_kid() {
    const OTHER: &str = "another secret that only tests have";
    let keys = Keys::new([
        Key::secret(Algorithm::Hs256, SECRET).unwrap().kid("old"),
        Key::secret(Algorithm::Hs256, OTHER).unwrap().kid("new"),
    ]);
    let jwt = at(Jwt::<Value>::new(keys.unwrap()), NOW);
    let table = [
        (SECRET, r#"{"alg":"HS256","kid":"old"}"#, Ok(())),
        (OTHER, r#"{"alg":"HS256","kid":"new"}"#, Ok(())),
        (SECRET, r#"{"alg":"HS256","kid":"new"}"#, Err(JwtRefusal::Signature)),
        (SECRET, r#"{"alg":"HS256","kid":"../old"}"#, Err(JwtRefusal::Key)),
        (SECRET, r#"{"alg":"HS256"}"#, Err(JwtRefusal::Key)),
        (SECRET, r#"{"alg":"HS384","kid":"old"}"#, Err(JwtRefusal::Algorithm)),
    ];
    for (secret, header, expected) in table {
        let token = sign_with(secret, header, r#"{"exp":1800000009}"#);
        assert_eq!(jwt.verify(token).await.map(drop), expected, "{header}");
    }
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(257));
    assert_eq!(jwt.verify(sign(&long, "{}")).await.unwrap_err(), JwtRefusal::Key);
}

#[test]
fn wrong_configuration_says_what_to_change() {
    use JwtError as E;
    let pem = include_str!("rsa.pem");
    let weak = include_str!("rsa1024.pem");
    let p256 = include_str!("p256.pem");
    let table: Vec<(Result<Jwt<()>, E>, E, &str)> = vec![
        (Jwt::hs256(""), E::ShortSecret { algorithm: Algorithm::Hs256, bytes: 0 }, "at least 32"),
        (
            Jwt::hs256("x".repeat(31)),
            E::ShortSecret { algorithm: Algorithm::Hs256, bytes: 31 },
            "openssl rand",
        ),
        (
            Jwt::hs384("x".repeat(47)),
            E::ShortSecret { algorithm: Algorithm::Hs384, bytes: 47 },
            "at least 48",
        ),
        (
            Jwt::hs512("x".repeat(63)),
            E::ShortSecret { algorithm: Algorithm::Hs512, bytes: 63 },
            "at least 64",
        ),
        (Jwt::hs256([0; 32]), E::ZeroSecret, "random"),
        (Jwt::hs256(pem), E::SecretIsKeyFile, "Jwt::rs256"),
        (Jwt::hs256(format!("\n  {pem}")), E::SecretIsKeyFile, "Key::pem"),
        (Jwt::hs256(format!("ssh-ed25519 {}", "A".repeat(68))), E::SecretIsKeyFile, "key file"),
        (
            Jwt::hs256(r#" {"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#),
            E::SecretIsKeyFile,
            "key file",
        ),
        (Jwt::rs256(weak), E::RsaBits { bits: 1024 }, "2048"),
        (Jwt::rs256(p256), E::WrongKey { algorithm: Algorithm::Rs256 }, "an RSA key"),
        (Jwt::es256(pem), E::WrongKey { algorithm: Algorithm::Es256 }, "P-256"),
        (Jwt::es384(p256), E::WrongKey { algorithm: Algorithm::Es384 }, "P-384"),
        (Jwt::ed25519(p256), E::WrongKey { algorithm: Algorithm::Ed25519 }, "Ed25519"),
        (Jwt::rs256("no key"), E::InvalidKey, "openssl pkey"),
        (
            Jwt::rs256("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
            E::InvalidKey,
            "PEM",
        ),
        (
            Jwt::rs256("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            E::PrivateKey,
            "public",
        ),
        (Jwt::hs256(SECRET).and_then(|jwt| jwt.realm("a\r\nb")), E::ChallengeText, "line breaks"),
        (Jwt::hs256(SECRET).and_then(|jwt| jwt.realm("é")), E::ChallengeText, "ASCII"),
        (
            Jwt::hs256(SECRET).and_then(|jwt| jwt.leeway(Duration::from_secs(601))),
            E::Leeway,
            "ten minutes",
        ),
        (Jwt::hs256(SECRET).and_then(|jwt| jwt.leeway(Duration::MAX)), E::Leeway, "clocks"),
        (Jwt::hs256(SECRET).and_then(|jwt| jwt.max_bytes(0)), E::ZeroLimit, "zero"),
        (Keys::new([]).map(Jwt::new), E::NoKey, "at least one"),
        (Keys::jwks(r#"{"keys":[]}"#, []).map(Jwt::new), E::NoAlgorithm, "Algorithm::Rs256"),
        (Keys::jwks(r#"{"keys":[]}"#, [Algorithm::Es256]).map(Jwt::new), E::NoUsableJwk, "kty"),
        (
            Key::jwk(
                Algorithm::Ed25519,
                format!(
                    r#"["OKP",null,null,null,null,"Ed25519",null,null,"{}"{}]"#,
                    "A".repeat(43),
                    ",null".repeat(3)
                ),
            )
            .map(Jwt::new),
            E::InvalidJwk,
            "JSON object",
        ),
        (Keys::jwks("[[]]", [Algorithm::Es256]).map(Jwt::new), E::InvalidJwk, "RFC 7517"),
        (Keys::jwks("[]", [Algorithm::Es256]).map(Jwt::new), E::InvalidJwk, "RFC 7517"),
        (
            Key::jwk(Algorithm::Hs256, r#"{"kty":"oct","use":"enc","k":"AA"}"#).map(Jwt::new),
            E::JwkUse,
            "`sig`",
        ),
        (
            Key::jwk(Algorithm::Ed25519, r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#)
                .map(Jwt::new),
            E::WrongKey { algorithm: Algorithm::Ed25519 },
            "Ed25519",
        ),
    ];
    for (index, (built, expected, says)) in table.into_iter().enumerate() {
        let error = built.map(drop).unwrap_err();
        assert_eq!(error, expected, "{index}");
        assert!(error.to_string().contains(says), "{index}: {error}");
    }
    let key = || Key::secret(Algorithm::Hs256, SECRET).unwrap();
    assert_eq!(Keys::new([key(), key()]).unwrap_err(), E::AmbiguousKey);
    assert!(Key::insecure_short_secret(Algorithm::Hs256, "short").is_ok());
}

#[tokio::test]
async fn a_realm_is_quoted() {
    let jwt = jwt().realm(r#"the "a\pi""#).unwrap().resource_metadata("https://api/x").unwrap();
    let (service, _) = spied(jwt);
    let (_, challenge, _) = answer(&service, &[]).await;
    assert_eq!(challenge, r#"Bearer realm="the \"a\\pi\"", resource_metadata="https://api/x""#);
    let (_, challenge, body) = answer(&service, &["Bearer x"]).await;
    assert_eq!(
        challenge,
        r#"Bearer realm="the \"a\\pi\"", resource_metadata="https://api/x", error="invalid_token", error_description="The access token is malformed""#
    );
    assert_eq!(
        body,
        r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The access token is malformed"}"#
    );
}

#[tokio::test]
async fn no_secret_and_no_token_is_shown_anywhere() {
    const CANARY: &str = "canary-canary-canary-canary-canary";
    let log = Log::start();

    let key = Key::secret(Algorithm::Hs256, CANARY).unwrap();
    let denied = Denylist::new(1).unwrap();
    let jwt = at(Jwt::<Value>::new(key.clone()), NOW)
        .cache(TokenCache::new(10).unwrap())
        .denylist(denied.clone());
    let token = sign_with(
        CANARY,
        &format!(r#"{{"alg":"HS256","kid":"{CANARY}"}}"#),
        &json!({"exp": NOW + 9, "sub": CANARY, "jti": CANARY}).to_string(),
    );
    let mut seen = format!("{jwt:?} {key:?} {:?}", Keys::from(key.clone()));
    seen += &format!("{:?}", KeySource::from(key));
    let claims = jwt.verify(&token).await.unwrap();
    seen += &format!("{:?}", Claims::registered(&claims));
    let shown = Arc::new(std::sync::Mutex::new(String::new()));
    let debugged = shown.clone();
    let source = KeySource::per_request(
        move |query| *debugged.lock().unwrap() = format!("{query:?}"),
        |()| async { Ok::<_, std::io::Error>(None) },
    );
    let places = [TokenSource::query("access_token").unwrap()];
    let asked = Chain::new().use_(Jwt::<()>::new(source).sources(places).unwrap()).get(async || "");
    let mut req = request(&[]);
    *req.uri_mut() = format!("/path?access_token={token}").parse().unwrap();
    assert_eq!(asked.build().handle(req).await.status(), 401);
    let shown = shown.lock().unwrap().clone();
    assert!(shown.contains("/path"), "{shown}");
    seen += &shown;
    denied.revoke(Claims::registered(&claims)).unwrap();
    seen += &format!("{denied:?}");

    // Every character of a token that is refused in one way or another.
    let service = Chain::new()
        .use_(jwt)
        .use_(async |next: crate::Next<'_>| next.run().await)
        .get(async || "")
        .build();
    let expired = sign_with(CANARY, r#"{"alg":"HS256"}"#, r#"{"exp":1,"sub":"canary-canary"}"#);
    for bad in [&*token, &expired, CANARY, "canary.canary.canary", "{canary}", ""] {
        let response = service.handle(request(&[&format!("Bearer {bad}")])).await;
        seen += &format!("{:?} {:?}", response.headers(), Error::of(&response));
        let source = Error::of(&response).and_then(Error::source).unwrap();
        seen += &format!("{source} {source:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        seen += &String::from_utf8_lossy(&body);
    }
    for secret in [&CANARY[..31], CANARY] {
        let error = Key::secret(Algorithm::Hs512, secret).unwrap_err();
        seen += &format!("{error} {error:?}");
    }
    let log = log.text();
    assert!(log.contains("access token refused"), "the log is empty");
    seen += &log;
    let parts = [
        "canary",
        &URL_SAFE_NO_PAD.encode("canary"),
        token.split('.').nth(1).unwrap(),
        token.split('.').nth(2).unwrap(),
    ];
    for part in parts {
        assert!(!seen.contains(part), "{part} in {seen}");
    }
}

#[tokio::test]
async fn later_steps_see_the_credentials_as_sensitive() {
    let service = Chain::new()
        .use_(jwt())
        .get(async |headers: http::HeaderMap| format!("{headers:?}"))
        .build();
    let (_, _, shown) = answer(&service, &[&format!("Bearer {}", good())]).await;
    assert_eq!(shown, r#"{"authorization": Sensitive}"#);
}

#[test]
fn public_types_are_send_and_sync() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Jwt<()>>();
    check::<OptionalJwt<()>>();
    check::<Claims<()>>();
    check::<MaybeClaims<()>>();
    check::<RegisteredClaims>();
    check::<Key>();
    check::<Keys>();
    check::<KeySource>();
    check::<TokenCache>();
    check::<Denylist>();
    check::<JwtRefusal>();
    check::<Dpop>();
    check::<Mtls>();
    check::<CertificateThumbprint>();
    check::<AccessToken>();
    check::<TokenSource>();
    check::<TokenSourceError>();
    check::<JwtError>();
    check::<RevokeError>();
    check::<Algorithm>();
}
