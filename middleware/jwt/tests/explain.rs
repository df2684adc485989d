//! What the operator reads about a refusal, and what the client does not.

use super::*;
use crate::middleware::jwt::proof::dpop::test_client::DpopClient;
use crate::test_log::Log;

/// Nothing of a token is logged: every text of a token or a proof in this table contains it.
const CANARY: &str = "canary";
const ISSUER: &str = "https://login.example/";
const API: &str = "https://api.example.com";

/// A request, the settings, and the fields of the event.
struct Case {
    jwt: Jwt<Value>,
    headers: Vec<(&'static str, String)>,
    reason: &'static str,
    part: &'static str,
    expected: &'static str,
    hint: &'static str,
}

fn bearer(token: &str) -> Vec<(&'static str, String)> {
    vec![("authorization", format!("Bearer {token}"))]
}

/// A case of a token with these claims beside a `sub`.
fn claims(jwt: Jwt<Value>, claims: Value, fields: [&'static str; 4]) -> Case {
    let mut all = json!({"exp": NOW + 60, "sub": CANARY});
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    case(jwt, bearer(&sign(HEADER, &all.to_string())), fields)
}

fn header(jwt: Jwt<Value>, header: &str, fields: [&'static str; 4]) -> Case {
    case(jwt, bearer(&sign(header, &json!({"exp": NOW + 60, "sub": CANARY}).to_string())), fields)
}

fn case(
    jwt: Jwt<Value>,
    headers: Vec<(&'static str, String)>,
    [reason, part, expected, hint]: [&'static str; 4],
) -> Case {
    Case { jwt, headers, reason, part, expected, hint }
}

/// The cases of proofs.
fn proofs() -> Vec<Case> {
    let (client, other) = (DpopClient::new(), DpopClient::new());
    let bound = |client: &DpopClient| {
        let cnf = json!({"jkt": client.thumbprint()});
        sign(HEADER, &json!({"exp": NOW + 60, "sub": CANARY, "cnf": cnf}).to_string())
    };
    let token = bound(&client);
    let dpop = || Dpop::new(API).unwrap();
    let with = |dpop: Dpop, proof: Option<String>, fields| {
        let mut headers = vec![("authorization", format!("DPoP {token}"))];
        headers.extend(proof.map(|proof| ("dpop", proof)));
        case(any().dpop(dpop), headers, fields)
    };
    let proof = |name: &str, value: Value| {
        let mut claims = DpopClient::claims(CANARY, &token, NOW);
        claims[name] = value;
        Some(client.sign(&client.header(), &claims))
    };
    let head = |name: &str, value: Value| {
        let mut header = client.header();
        header[name] = value;
        Some(client.sign(&header, &DpopClient::claims(CANARY, &token, NOW)))
    };
    let signature = proof("iat", json!(NOW)).map(|proof| {
        let (message, _) = proof.rsplit_once('.').unwrap();
        let (_, other) = token.rsplit_once('.').unwrap();
        format!("{message}.{other}{other}")
    });
    let nonces = || dpop().nonces([7; 32]).unwrap();
    let full = || dpop().full();
    let url = "https://api.example.com/me";
    vec![
        with(dpop(), None, ["dpop_proof", "dpop", "exactly one header", ""]),
        with(dpop(), Some(CANARY.into()), ["dpop_proof", "dpop", "a compact JWS", ""]),
        with(dpop(), head("typ", json!("canary+jwt")), ["dpop_proof", "typ", "dpop+jwt", ""]),
        with(
            dpop().algorithms([Algorithm::Ed25519]).unwrap(),
            proof("iat", json!(NOW)),
            ["dpop_proof", "alg", "Ed25519", ""],
        ),
        with(
            dpop(),
            head("jwk", json!({"kty": CANARY})),
            ["dpop_proof", "jwk", "a public key", ""],
        ),
        with(dpop(), signature, ["dpop_proof", "signature", "that of the key `jwk`", ""]),
        with(dpop(), proof("jti", json!(7)), ["dpop_proof", "claims", "`jti`, `htm`", ""]),
        with(dpop(), proof("htm", json!("CANARY")), ["dpop_proof", "htm", "GET", ""]),
        with(
            dpop(),
            proof("htu", json!("https://canary.example/me")),
            ["dpop_proof", "htu", url, ""],
        ),
        with(dpop(), proof("htu", json!("canary")), ["dpop_proof", "htu", url, ""]),
        with(
            dpop(),
            proof("htu", json!("https://api.example.com/me/")),
            ["dpop_proof", "htu", url, "differs in the trailing slash"],
        ),
        with(dpop(), proof("ath", json!(CANARY)), ["dpop_proof", "ath", "the digest of the", ""]),
        with(
            dpop(),
            proof("iat", json!(NOW - 61)),
            ["dpop_proof", "iat", "from 1799999940 to 1800000030", ""],
        ),
        with(dpop(), proof("jti", json!("")), ["dpop_proof", "jti", "1 to 256 bytes", ""]),
        with(nonces(), proof("iat", json!(NOW)), ["dpop_nonce", "nonce", "present", ""]),
        with(nonces(), proof("nonce", json!(CANARY)), ["dpop_nonce", "nonce", "not older", ""]),
        with(
            dpop(),
            Some(other.sign(&other.header(), &DpopClient::claims(CANARY, &token, NOW))),
            ["dpop_binding", "jkt", "the thumbprint of the key", ""],
        ),
        with(full(), proof("iat", json!(NOW)), ["replay_unavailable", "replay_capacity", "", ""]),
        case(
            any().dpop(dpop()),
            bearer(&token),
            ["sender_constrained", "cnf", "sent by the scheme DPoP", ""],
        ),
        case(any(), bearer(&token), ["sender_constrained", "cnf", "no proof is configured", ""]),
    ]
}

fn tokens() -> Vec<Case> {
    let slash = "differs in the trailing slash";
    let issuer = || any().issuer(ISSUER).unwrap().issuer("https://b.example").unwrap();
    let audience = || any().audience("https://api.example").unwrap().audience("api").unwrap();
    let cookie = || any().sources([TokenSource::cookie("__Host-session").unwrap()]).unwrap();
    let clients = || any().claim("azp", "the-spa").unwrap().claim("azp", "the-app").unwrap();
    let denied = Denylist::new(1).unwrap();
    denied.revoke_id(None, CANARY, SystemTime::now() + Duration::from_secs(60)).unwrap();
    let broken = |_| async { Err::<bool, _>(std::io::Error::other("the store is down")) };
    let other_key = sign_with("another secret of thirty-two bytes", HEADER, "{}");
    let keys = KeySource::per_request(
        |_| (),
        |()| async { Err::<Option<Keys>, _>(std::io::Error::other("the store is down")) },
    );
    let named = Key::secret(Algorithm::Hs256, SECRET).unwrap().kid("one");
    let cross_site = vec![
        ("cookie", format!("__Host-session={CANARY}")),
        ("sec-fetch-site", "cross-site".into()),
    ];
    let with_certificate = any().mtls(Mtls::connection());
    vec![
        case(any(), vec![], ["missing", "credentials", "present", ""]),
        case(any(), bearer("canary canary"), ["invalid_request", "credentials", "", "not a token"]),
        case(cookie(), cross_site, ["cross_site", "origin", "trusted_origin", ""]),
        case(any(), bearer(CANARY), ["malformed", "token", "a compact JWS", ""]),
        case(
            any(),
            bearer(&format!("{}.canary.canary", "a".repeat(1100))),
            ["too_long", "length", "at most 8192 bytes", ""],
        ),
        header(any(), r#"{"alg":"HS256","crit":["canary"]}"#, ["header", "header", "`crit`", ""]),
        header(
            any(),
            r#"{"alg":"HS256","typ":"canary"}"#,
            ["type", "typ", "JWT, at+jwt or none", ""],
        ),
        header(
            any().typ("a+jwt").unwrap().typ("b+jwt").unwrap(),
            HEADER,
            ["type", "typ", "a+jwt, b+jwt", ""],
        ),
        header(any(), r#"{"alg":"RS256","kid":"canary"}"#, ["algorithm", "alg", "HS256", ""]),
        header(
            at(Jwt::new(named), NOW),
            r#"{"alg":"HS256","kid":"canary"}"#,
            ["key", "kid", "exactly one key", ""],
        ),
        case(any(), bearer(&other_key), ["signature", "signature", "the key with this `kid`", ""]),
        claims(any(), json!({"exp": CANARY}), ["invalid_claim", "exp", "seconds since 1970", ""]),
        claims(any(), json!({"aud": 7}), ["invalid_claim", "aud", "a list of strings", ""]),
        claims(
            any().require("canary2").unwrap(),
            json!({}),
            ["missing_claim", "canary2", "present", ""],
        ),
        case(
            any(),
            bearer(&sign(HEADER, r#"{"sub":"canary"}"#)),
            ["missing_claim", "exp", "present", ""],
        ),
        claims(any(), json!({"exp": NOW - 61}), ["expired", "exp", "at least 1799999940", ""]),
        claims(any(), json!({"nbf": NOW + 61}), ["not_yet_valid", "nbf", "at most 1800000060", ""]),
        claims(
            any(),
            json!({"iat": NOW + 61}),
            ["issued_in_future", "iat", "at most 1800000060", ""],
        ),
        claims(
            any().max_age(Duration::from_secs(100)).unwrap(),
            json!({"iat": NOW - 161}),
            ["too_old", "iat", "at least 1799999840", ""],
        ),
        claims(
            issuer(),
            json!({"iss": "https://canary.example"}),
            ["issuer", "iss", "https://login.example/, https://b.example", ""],
        ),
        claims(issuer(), json!({}), ["issuer", "iss", ISSUER, ""]),
        claims(issuer(), json!({"iss": "https://login.example"}), ["issuer", "iss", ISSUER, slash]),
        claims(issuer(), json!({"iss": "https://b.example/"}), ["issuer", "iss", ISSUER, slash]),
        claims(
            audience(),
            json!({"aud": CANARY}),
            ["audience", "aud", "https://api.example, api", ""],
        ),
        claims(
            audience(),
            json!({"aud": ["canary", "https://api.example/"]}),
            ["audience", "aud", "https://api.example, api", slash],
        ),
        claims(any(), json!({"aud": CANARY}), ["audience", "aud", "`Jwt::audience`", ""]),
        claims(
            any().subject("ann").unwrap().subject("bob").unwrap(),
            json!({}),
            ["subject", "sub", "ann, bob", ""],
        ),
        claims(
            any().claim("azp", "spa").unwrap().claim("tenant", "tenant-x").unwrap(),
            json!({"azp": "spa", "tenant": CANARY}),
            ["custom", "tenant", "tenant-x", ""],
        ),
        // The first claim that is not accepted, which may be missing, of another type, in another case or longer.
        claims(clients(), json!({}), ["custom", "azp", "the-spa, the-app", ""]),
        claims(clients(), json!({"azp": null}), ["custom", "azp", "the-spa, the-app", ""]),
        claims(clients(), json!({"azp": ["the-spa"]}), ["custom", "azp", "the-spa, the-app", ""]),
        claims(clients(), json!({"azp": 1}), ["custom", "azp", "the-spa, the-app", ""]),
        claims(clients(), json!({"azp": "THE-SPA"}), ["custom", "azp", "the-spa, the-app", ""]),
        claims(
            clients().claim("client", "https://c.example").unwrap(),
            json!({"azp": "the-app", "client": "https://c.example/"}),
            ["custom", "client", "https://c.example", slash],
        ),
        claims(
            clients().claim("client", "https://c.example").unwrap(),
            json!({"azp": "the-app", "client": "https://canary.example/"}),
            ["custom", "client", "https://c.example", ""],
        ),
        claims(any().check(|_, _| false), json!({}), ["custom", "claims", "`Jwt::check`", ""]),
        claims(
            any().denylist(denied),
            json!({"jti": CANARY}),
            ["revoked", "jti, sub", "not on a list", ""],
        ),
        claims(any().revoked(broken), json!({}), ["revocation_unavailable", "", "", ""]),
        claims(at(Jwt::new(keys), NOW), json!({}), ["keys_unavailable", "", "", ""]),
        claims(
            with_certificate,
            json!({"cnf": {"x5t#S256": CANARY}}),
            ["certificate", "x5t#S256", "the thumbprint of the certificate", ""],
        ),
    ]
}

#[tokio::test]
async fn each_refusal_is_one_event_that_the_client_does_not_see() {
    let mut reasons = std::collections::BTreeSet::new();
    for Case { jwt, headers, reason, part, expected, hint } in tokens().into_iter().chain(proofs())
    {
        let log = Log::start();
        let service = Chain::new().use_(jwt).all(async |_: Claims<Value>| "in").build();
        let method = if reason == "cross_site" { "POST" } else { "GET" };
        let mut req = http::Request::builder().method(method).uri("/me");
        for (name, value) in &headers {
            req = req.header(*name, value);
        }
        let response = service.handle(req.body(Body::empty()).unwrap()).await;
        let mut seen = format!("{:?}", response.headers());
        let source = Error::of(&response).and_then(Error::source).unwrap();
        assert_eq!(source.downcast_ref::<JwtRefusal>().unwrap().code(), reason);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        seen += &String::from_utf8_lossy(&body);
        let text = log.text();
        let at = format!("{reason} {part}: {text}");
        let events: Vec<_> =
            text.lines().filter(|line| line.contains("access token refused")).collect();
        assert_eq!(events.len(), 1, "{at}");
        assert!(events[0].contains("DEBUG tower_chain::middleware::jwt: "), "{at}");
        assert!(events[0].contains(&format!("reason=\"{reason}\"")), "{at}");
        for (name, value) in [("part", part), ("expected", expected), ("hint", hint)] {
            let field = events[0].split_once(&format!(" {name}=\"")).map(|(_, rest)| rest);
            assert_eq!(field.is_some(), !value.is_empty(), "{name} {at}");
            assert!(
                field.is_none_or(|rest| rest.split('"').next().unwrap().contains(value)),
                "{name} {at}"
            );
            // The client reads none of it, but for a word such as `signature`. A malformed request is explained to the client as well.
            let shared = name == "part" || reason == "invalid_request" || value.len() < 8;
            assert!(shared || !seen.contains(value), "{value} {seen}");
        }
        assert!(!text.replace("canary2", "").contains(CANARY), "{at}");
        assert!(!text.contains(ENCODED_CANARY), "{at}");
        reasons.insert(reason);
    }
    // `claims`, `dpop_replay` and `too_many_proofs` need another type or several requests: see below.
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), REASONS);
}

#[tokio::test]
async fn a_type_that_does_not_fit_and_a_second_use_are_explained() {
    let log = Log::start();
    let (service, _) = spied(at(Jwt::<Vec<u8>>::hs256(SECRET).unwrap(), NOW));
    assert_eq!(answer(&service, &[&format!("Bearer {}", good())]).await.0, 401);
    let client = DpopClient::new();
    let cnf = json!({"jkt": client.thumbprint()});
    let token = sign(HEADER, &json!({"exp": NOW + 60, "cnf": cnf}).to_string());
    let dpop = Dpop::new(API).unwrap().replay_capacity(2).unwrap();
    let service = Chain::new().use_(any().dpop(dpop)).get(async |_: Claims<Value>| "in").build();
    for (jti, status) in [("1", 200), ("1", 401), ("2", 429)] {
        let req = http::Request::get("/me")
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", client.proof_at(jti, &token, NOW));
        let response = service.handle(req.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), status, "{jti}");
    }
    let text = log.text();
    for event in [
        r#"reason="claims" part="claims" expected="alloc::vec::Vec<u8>""#,
        r#"reason="dpop_replay" part="jti" expected="not used before""#,
        r#"reason="too_many_proofs" part="replay_capacity""#,
    ] {
        assert!(text.contains(event), "{event}: {text}");
    }
}

const ENCODED_CANARY: &str = "Y2FuYXJ5";
const REASONS: [&str; 29] = [
    "algorithm",
    "audience",
    "certificate",
    "cross_site",
    "custom",
    "dpop_binding",
    "dpop_nonce",
    "dpop_proof",
    "expired",
    "header",
    "invalid_claim",
    "invalid_request",
    "issued_in_future",
    "issuer",
    "key",
    "keys_unavailable",
    "malformed",
    "missing",
    "missing_claim",
    "not_yet_valid",
    "replay_unavailable",
    "revocation_unavailable",
    "revoked",
    "sender_constrained",
    "signature",
    "subject",
    "too_long",
    "too_old",
    "type",
];
