//! What must be refused, and what must not.

use super::*;
use crate::middleware::tables::rows;

/// What `verify` says of a token with this header and these claims.
async fn with(jwt: &Jwt<Value>, header: &str, claims: &str) -> Result<Value, JwtRefusal> {
    jwt.verify(sign(header, claims)).await.map(Claims::into_inner)
}

#[tokio::test]
async fn headers() {
    use JwtRefusal as R;
    let table: &[(&str, Result<(), JwtRefusal>)] = &[
        (r#"{"alg":"HS256"}"#, Ok(())),
        (r#"{"alg":"HS256","typ":"jwt"}"#, Ok(())),
        (r#"{"alg":"HS256","typ":"application/JWT"}"#, Ok(())),
        (r#"{"alg":"HS256","typ":"at+jwt"}"#, Ok(())),
        (r#"{"alg":"HS256","typ":"dpop+jwt"}"#, Err(R::Type)),
        (r#"{"alg":"HS256","typ":"logout+jwt"}"#, Err(R::Type)),
        (r#"{"alg":"HS256","typ":"JWT/x"}"#, Err(R::Type)),
        (r#"{"alg":"HS256","typ":""}"#, Err(R::Type)),
        (r#"{"alg":"HS256","typ":7}"#, Err(R::Malformed)),
        (r#"{"alg":"HS256","typ":null}"#, Err(R::Malformed)),
        (r#"{"alg":"HS256","cty":"text"}"#, Ok(())),
        (r#"{"alg":"HS256","cty":"JWT"}"#, Err(R::Header)),
        (r#"{"alg":"HS256","cty":"application/jwt"}"#, Err(R::Header)),
        (r#"{"alg":"HS256","crit":["bork"],"bork":1}"#, Err(R::Header)),
        (r#"{"alg":"HS256","crit":["exp"]}"#, Err(R::Header)),
        (r#"{"alg":"HS256","crit":[]}"#, Err(R::Header)),
        (r#"{"alg":"HS256","crit":null}"#, Err(R::Header)),
        (r#"{"alg":"HS256","b64":false}"#, Err(R::Header)),
        (r#"{"alg":"HS256","b64":true}"#, Err(R::Header)),
        (r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, Err(R::Header)),
        (r#"{"alg":"HS256","zip":"DEF"}"#, Err(R::Header)),
        (r#"{"alg":"none"}"#, Err(R::Algorithm)),
        (r#"{"alg":"nOnE"}"#, Err(R::Algorithm)),
        (r#"{"alg":"hs256"}"#, Err(R::Algorithm)),
        (r#"{"alg":"HS512"}"#, Err(R::Algorithm)),
        (r#"{"alg":"RS256"}"#, Err(R::Algorithm)),
        (r#"{"alg":"HS256 "}"#, Err(R::Algorithm)),
        (r#"{"alg":["HS256"]}"#, Err(R::Malformed)),
        (r#"{"alg":null}"#, Err(R::Malformed)),
        (r#"{}"#, Err(R::Malformed)),
        (r#"{"typ":"JWT"}"#, Err(R::Malformed)),
        (r#"{"alg":"HS256","alg":"HS256"}"#, Err(R::Malformed)),
        (r#"{"alg":"none","alg":"HS256"}"#, Err(R::Malformed)),
        (r#"{"alg":"HS256","\u0061lg":"HS256"}"#, Err(R::Malformed)),
        (r#"{"alg":"HS256","x":1,"x":1}"#, Err(R::Malformed)),
        (r#"["HS256"]"#, Err(R::Malformed)),
        (r#""HS256""#, Err(R::Malformed)),
        (r#"{"alg":"HS256"}{}"#, Err(R::Malformed)),
        (r#"{"alg":"HS256"},"#, Err(R::Malformed)),
        (r#"{"alg":"HS256",}"#, Err(R::Malformed)),
        (r#"{'alg':'HS256'}"#, Err(R::Malformed)),
        ("\u{feff}{\"alg\":\"HS256\"}", Err(R::Malformed)),
        (r#"{"alg":"HS256","kid":"any"}"#, Ok(())),
        (r#"{"alg":"HS256","kid":7}"#, Err(R::Malformed)),
        (
            r#"{"alg":"HS256","jku":"https://evil.example","jwk":{"kty":"oct","k":"AA"},"x5u":"x","x5c":["x"]}"#,
            Ok(()),
        ),
        (r#" { "alg" : "HS256" } "#, Ok(())),
    ];
    for (header, expected) in table {
        let verified = with(&any(), header, r#"{"exp":1800000060}"#).await;
        assert_eq!(verified.map(drop), *expected, "{header}");
    }
}

#[tokio::test]
async fn claims() {
    use JwtRefusal as R;
    let table: &[(&str, Result<(), JwtRefusal>)] = &[
        (r#"{"exp":1800000060}"#, Ok(())),
        (r#"{"exp":1800000060.9}"#, Ok(())),
        (r#"{"exp":1.80000006e9}"#, Ok(())),
        (r#"{"exp":253402300799}"#, Ok(())),
        (r#"{"exp":253402300800}"#, Err(R::Claim("exp"))),
        (r#"{"exp":18446744073709551615}"#, Err(R::Claim("exp"))),
        (r#"{"exp":18446744073709551616}"#, Err(R::Claim("exp"))),
        (r#"{"exp":1e30}"#, Err(R::Claim("exp"))),
        (r#"{"exp":1e400}"#, Err(R::Malformed)),
        (r#"{"exp":-1}"#, Err(R::Claim("exp"))),
        (r#"{"exp":-0.5}"#, Err(R::Claim("exp"))),
        (r#"{"exp":NaN}"#, Err(R::Malformed)),
        (r#"{"exp":"1800000060"}"#, Err(R::Claim("exp"))),
        (r#"{"exp":true}"#, Err(R::Claim("exp"))),
        (r#"{"exp":null}"#, Err(R::Claim("exp"))),
        (r#"{"exp":[1800000060]}"#, Err(R::Claim("exp"))),
        (r#"{"exp":{}}"#, Err(R::Claim("exp"))),
        (r#"{"exp":{"$serde_json::private::Number":"1800000060"}}"#, Err(R::Claim("exp"))),
        (r#"{"iat":[1],"exp":1800000060"#, Err(R::Claim("iat"))),
        (r#"{"iat":[1,],"exp":1800000060}"#, Err(R::Malformed)),
        (r#"{}"#, Err(R::MissingClaim)),
        (r#"{"exp":1799999941}"#, Ok(())),
        (r#"{"exp":1799999940}"#, Err(R::Expired)),
        (r#"{"exp":0}"#, Err(R::Expired)),
        (r#"{"exp":1800000060,"nbf":1800000060}"#, Ok(())),
        (r#"{"exp":1800000160,"nbf":1800000061}"#, Err(R::NotYetValid)),
        (r#"{"exp":1800000060,"nbf":"0"}"#, Err(R::Claim("nbf"))),
        (r#"{"exp":1800000060,"iat":1800000060}"#, Ok(())),
        (r#"{"exp":1800000160,"iat":1800000061}"#, Err(R::IssuedInFuture)),
        (r#"{"exp":1800000060,"iat":null}"#, Err(R::Claim("iat"))),
        (r#"{"exp":1800000060,"iss":7}"#, Err(R::Claim("iss"))),
        (r#"{"exp":1800000060,"iss":["a"]}"#, Err(R::Claim("iss"))),
        (r#"{"exp":1800000060,"sub":7}"#, Err(R::Claim("sub"))),
        (r#"{"exp":1800000060,"jti":7}"#, Err(R::Claim("jti"))),
        (r#"{"exp":1800000060,"aud":"me"}"#, Err(R::Audience)),
        (r#"{"exp":1800000060,"aud":[]}"#, Err(R::Audience)),
        (r#"{"exp":1800000060,"aud":null}"#, Err(R::Claim("aud"))),
        (r#"{"exp":1800000060,"aud":[1,"me"]}"#, Err(R::Claim("aud"))),
        (r#"{"exp":1800000060,"cnf":{"jkt":"x"}}"#, Err(R::SenderConstrained)),
        (r#"{"exp":1800000060,"exp":1800000060}"#, Err(R::Malformed)),
        (r#"{"exp":1800000060,"\u0065xp":1800000060}"#, Err(R::Malformed)),
        (r#"{"exp":1800000060,"role":"a","role":"b"}"#, Err(R::Malformed)),
        (r#"{"exp":1800000060,"in":{"a":1,"a":2}}"#, Ok(())),
        (r#"[1800000060,0,"ann","joe","me"]"#, Err(R::Malformed)),
        (r#""exp""#, Err(R::Malformed)),
        ("", Err(R::Malformed)),
        ("null", Err(R::Malformed)),
        (r#"{"exp":1800000060} {}"#, Err(R::Malformed)),
        (r#"{"exp":1800000060"#, Err(R::Malformed)),
        (r#"{"exp":1800000060,"a":"\ud800"}"#, Err(R::Malformed)),
    ];
    for (claims, expected) in table {
        let verified = with(&any(), HEADER, claims).await;
        assert_eq!(verified.map(drop), *expected, "{claims}");
    }
}

#[tokio::test]
async fn invalid_utf8_is_refused_also_where_no_one_looks() {
    let mut claims = br#"{"exp":1800000060,"x":"?"}"#.to_vec();
    let mark = claims.iter().position(|byte| *byte == b'?').unwrap();
    claims[mark] = 0xff;
    let part = URL_SAFE_NO_PAD.encode(&claims);
    let good = sign(HEADER, "{}");
    // The signature is that of other claims, so that a look at the text alone can't be what refuses it.
    let forged = good.replace(&URL_SAFE_NO_PAD.encode("{}"), &part);
    assert_eq!(any().verify(forged).await.unwrap_err(), JwtRefusal::Signature);
    let mut read = json::Read::default();
    assert_eq!(json::claims::<()>(&claims, &[], &mut read), Err(JwtRefusal::Malformed));
}

#[tokio::test]
async fn forms() {
    use JwtRefusal as R;
    let good = good();
    let mut parts = good.split('.');
    let (h, p, s) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let spare = {
        // 32 bytes leave two spare bits in the last character.
        let mut s = s.to_owned();
        let last = s.pop().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let index = alphabet.find(last).unwrap();
        s.push(alphabet.as_bytes()[index ^ 1] as char);
        s
    };
    let table: &[(String, JwtRefusal)] = &[
        (String::new(), R::Malformed),
        (h.to_owned(), R::Malformed),
        (format!("{h}.{p}"), R::Malformed),
        (format!("{h}.{p}."), R::Malformed),
        (format!(".{p}.{s}"), R::Malformed),
        (format!("..{s}"), R::Malformed),
        (format!("{h}..{s}"), R::Signature),
        (format!("{good}."), R::Malformed),
        (format!("{good}.{s}"), R::Malformed),
        (format!("{h}=.{p}.{s}"), R::Malformed),
        (format!("{h}.{p}.{s}="), R::Malformed),
        (format!("{h}.{p}.{spare}"), R::Malformed),
        (format!(" {good}"), R::Malformed),
        (format!("{good}\n"), R::Malformed),
        (format!("{h}.{p}.{s}AAAA"), R::Signature),
        (format!("{h}.{p}.{}", "A".repeat(43)), R::Signature),
        (format!("{h}.{p}.{}", "A".repeat(2000)), R::Signature),
        (good.replace('_', "/").replace('-', "+") + "+", R::Malformed),
        ("a".repeat(8193), R::TooLong),
        (".".repeat(2_000_000), R::TooLong),
        (".".repeat(8192), R::Malformed),
        (format!("{}.{p}.{s}", "A".repeat(1025)), R::TooLong),
    ];
    for (token, expected) in table {
        let head = &token[..token.len().min(60)];
        assert_eq!(any().verify(token).await.unwrap_err(), *expected, "{head}");
    }
    assert!(any().verify(&good).await.is_ok());
}

/// A chain of certificates makes a header long, and an RSA key of 4096 bits makes a proof long.
#[tokio::test]
async fn the_size_of_the_header_is_a_setting() {
    let with_chain = |bytes: usize| {
        let header = json!({"alg": "HS256", "x5c": ["A".repeat(bytes)]}).to_string();
        sign(&header, r#"{"exp":1800000060}"#)
    };
    let encoded = |token: &str| token.find('.').unwrap();
    let chain = with_chain(5000);
    assert_eq!(any().verify(&chain).await.map(drop), Err(JwtRefusal::TooLong));
    let jwt = any().max_header_bytes(encoded(&chain)).unwrap();
    for _ in 0..2 {
        assert!(jwt.verify(&chain).await.is_ok());
    }
    assert_eq!(jwt.verify(with_chain(5003)).await.map(drop), Err(JwtRefusal::TooLong));
    let mut forged = chain.clone();
    forged.replace_range(40..41, if &chain[40..41] == "A" { "B" } else { "A" });
    assert!(jwt.verify(forged).await.is_err());
    assert_eq!(any().max_header_bytes(0).map(drop), Err(JwtError::ZeroLimit));
    assert_eq!(
        Dpop::new("https://a.example").unwrap().max_bytes(0).map(drop),
        Err(JwtError::ZeroLimit)
    );
}

#[tokio::test]
async fn the_challenge_names_the_scopes() {
    let jwt = jwt().challenge_scopes(["orders:read", "orders:write"]).unwrap();
    let (service, _) = spied(jwt);
    let known = r#"Bearer realm="api", scope="orders:read orders:write""#;
    let (status, challenge, _) = answer(&service, &[]).await;
    assert_eq!((status, &*challenge), (401, known));
    let (status, challenge, _) = answer(&service, &["Bearer a"]).await;
    assert_eq!(status, 401);
    assert!(challenge.starts_with(&format!(r#"{known}, error="invalid_token""#)), "{challenge}");
    assert!(any().challenge_scopes(["a b"]).is_err());
}

#[tokio::test]
async fn nesting_ends_at_32() {
    for (depth, accepted) in [(1, true), (31, true), (32, false), (200, false), (900, false)] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let claims = format!(r#"{{"exp":1800000060,"x":{open}{close}}}"#);
        assert_eq!(with(&any(), HEADER, &claims).await.is_ok(), accepted, "{depth}");
    }
    // Brackets in a text are no nesting, and neither are many side by side.
    let claims =
        format!(r#"{{"exp":1800000060,"x":"\"{}","y":[{}0]}}"#, "[".repeat(90), "[],".repeat(90));
    assert!(with(&any(), HEADER, &claims).await.is_ok());
}

#[tokio::test]
async fn members_end_at_256() {
    let claims = |count: usize| {
        let members: String = (0..count).map(|n| format!(r#","m{n}":0"#)).collect();
        format!(r#"{{"exp":1800000060{members}}}"#)
    };
    assert!(with(&any(), HEADER, &claims(255)).await.is_ok());
    assert_eq!(with(&any(), HEADER, &claims(256)).await, Err(JwtRefusal::Malformed));
}

#[tokio::test]
async fn policies() {
    use JwtRefusal as R;
    type Tuned = fn(Jwt<Value>) -> Jwt<Value>;
    let issuer: Tuned = |jwt| jwt.issuer("joe").unwrap().issuer("jane").unwrap();
    let audience: Tuned = |jwt| jwt.audience("me").unwrap().audience("us").unwrap();
    let subject: Tuned = |jwt| jwt.subject("ann").unwrap();
    let young: Tuned = |jwt| jwt.max_age(Duration::from_secs(100)).unwrap();
    let table: &[(Tuned, &str, Result<(), JwtRefusal>)] = &[
        (issuer, r#""iss":"joe""#, Ok(())),
        (issuer, r#""iss":"jane""#, Ok(())),
        (issuer, r#""iss":"Joe""#, Err(R::Issuer)),
        (issuer, r#""iss":"joe/""#, Err(R::Issuer)),
        (issuer, r#""iss":["joe"]"#, Err(R::Claim("iss"))),
        (issuer, r#""iss":{"joe":1}"#, Err(R::Claim("iss"))),
        (issuer, r#""x":1"#, Err(R::Issuer)),
        (audience, r#""aud":"me""#, Ok(())),
        (audience, r#""aud":["x","us"]"#, Ok(())),
        (audience, r#""aud":["x","y"]"#, Err(R::Audience)),
        (audience, r#""aud":"ME""#, Err(R::Audience)),
        (audience, r#""aud":[]"#, Err(R::Audience)),
        (audience, r#""aud":{"me":1}"#, Err(R::Claim("aud"))),
        (audience, r#""x":1"#, Err(R::Audience)),
        (|jwt| jwt.any_audience(), r#""aud":"whoever""#, Ok(())),
        (|jwt| jwt.any_audience(), r#""x":1"#, Ok(())),
        (|jwt| jwt.any_audience().audience("me").unwrap(), r#""aud":"whoever""#, Err(R::Audience)),
        (|jwt| jwt.any_audience(), r#""aud":7"#, Err(R::Claim("aud"))),
        (subject, r#""sub":"ann""#, Ok(())),
        (subject, r#""sub":"bob""#, Err(R::Subject)),
        (subject, r#""x":1"#, Err(R::Subject)),
        (young, r#""iat":1799999840"#, Ok(())),
        (young, r#""iat":1799999839"#, Err(R::TooOld)),
        (young, r#""x":1"#, Err(R::MissingClaim)),
        (|jwt| jwt.require("tenant").unwrap(), r#""tenant":null"#, Ok(())),
        (|jwt| jwt.require("tenant").unwrap(), r#""x":1"#, Err(R::MissingClaim)),
        (|jwt| jwt.check(|claims, _| claims["n"] == 1), r#""n":1"#, Ok(())),
        (|jwt| jwt.check(|claims, _| claims["n"] == 1), r#""n":2"#, Err(R::Custom)),
        (|jwt| jwt.check(|_, token| token.subject().is_some()), r#""x":1"#, Err(R::Custom)),
        (|jwt| jwt.check(|_, token| token.scopes().eq(["a", "b"])), r#""scope":"a  b""#, Ok(())),
        (|jwt| jwt.typ("at+jwt").unwrap(), r#""x":1"#, Err(R::Type)),
        (|jwt| jwt.claim("azp", "app").unwrap(), r#""azp":"app""#, Ok(())),
        (|jwt| jwt.claim("azp", "app").unwrap(), r#""azp":"App""#, Err(R::Custom)),
        (|jwt| jwt.claim("azp", "app").unwrap(), r#""azp":["app"]"#, Err(R::Custom)),
        (|jwt| jwt.claim("azp", "app").unwrap(), r#""azp":null"#, Err(R::Custom)),
        (|jwt| jwt.claim("azp", "app").unwrap(), r#""in":{"azp":"app"}"#, Err(R::Custom)),
        (|jwt| jwt.claim("azp", "app").unwrap(), r#""x":1"#, Err(R::Custom)),
        (
            |jwt| jwt.claim("azp", "app").unwrap().claim("azp", "web").unwrap(),
            r#""azp":"web""#,
            Ok(()),
        ),
        (
            |jwt| jwt.claim("azp", "app").unwrap().claim("azp", "web").unwrap(),
            r#""azp":"tv""#,
            Err(R::Custom),
        ),
        (
            |jwt| jwt.claim("azp", "app").unwrap().claim("jti", "1").unwrap(),
            r#""jti":"1","azp":"app""#,
            Ok(()),
        ),
        (
            |jwt| jwt.claim("azp", "app").unwrap().claim("jti", "1").unwrap(),
            r#""jti":"2","azp":"app""#,
            Err(R::Custom),
        ),
        (
            |jwt| jwt.claim("azp", "app").unwrap().claim("jti", "1").unwrap(),
            r#""azp":"app""#,
            Err(R::Custom),
        ),
        (|jwt| jwt.claim("exp", "1800000060").unwrap(), r#""x":1"#, Err(R::Custom)),
    ];
    for (index, (tune, claims, expected)) in table.iter().enumerate() {
        let claims = format!(r#"{{"exp":1800000060,{claims}}}"#);
        let verified = with(&tune(any()), HEADER, &claims).await;
        assert_eq!(verified.map(drop), *expected, "{index}: {claims}");
    }
    let eternal = any().expiry_optional();
    assert!(with(&eternal, HEADER, "{}").await.is_ok());
    assert_eq!(with(&eternal, HEADER, r#"{"exp":1}"#).await, Err(R::Expired));
}

#[tokio::test]
async fn the_leeway_is_to_the_second() {
    for (leeway, exp, accepted) in [
        (0, NOW, false),
        (0, NOW + 1, true),
        (5, NOW - 5, false),
        (5, NOW - 4, true),
        (600, NOW - 599, true),
    ] {
        let jwt = any().leeway(Duration::from_secs(leeway)).unwrap();
        let verified = with(&jwt, HEADER, &json!({ "exp": exp }).to_string()).await;
        assert_eq!(verified.is_ok(), accepted, "{leeway} {exp}");
    }
}

#[tokio::test]
async fn the_profile_for_access_tokens() {
    let jwt = || any().rfc9068("https://issuer", "https://api").unwrap();
    let header = r#"{"alg":"HS256","typ":"at+jwt"}"#;
    let good = json!({
        "iss": "https://issuer", "aud": "https://api", "exp": NOW + 60, "iat": NOW,
        "sub": "ann", "client_id": "app", "jti": "1",
    });
    assert!(with(&jwt(), header, &good.to_string()).await.is_ok());
    assert!(
        with(&jwt(), r#"{"alg":"HS256","typ":"application/AT+JWT"}"#, &good.to_string())
            .await
            .is_ok()
    );
    for typ in [r#"{"alg":"HS256"}"#, HEADER] {
        assert_eq!(with(&jwt(), typ, &good.to_string()).await, Err(JwtRefusal::Type));
    }
    for (name, refusal) in [
        ("iss", JwtRefusal::Issuer),
        ("aud", JwtRefusal::Audience),
        ("exp", JwtRefusal::MissingClaim),
        ("iat", JwtRefusal::MissingClaim),
        ("sub", JwtRefusal::MissingClaim),
        ("client_id", JwtRefusal::MissingClaim),
        ("jti", JwtRefusal::MissingClaim),
    ] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(with(&jwt(), header, &claims.to_string()).await, Err(refusal), "{name}");
    }
    for (scope, expected) in [
        (json!("read write"), Ok(())),
        (json!(""), Ok(())),
        (json!(["read"]), Err(JwtRefusal::Claim("scope"))),
        (json!(null), Err(JwtRefusal::Claim("scope"))),
        (json!(7), Err(JwtRefusal::Claim("scope"))),
    ] {
        let mut claims = good.clone();
        claims["scope"] = scope;
        let verified = with(&jwt(), header, &claims.to_string()).await;
        assert_eq!(verified.map(drop), expected, "{}", claims["scope"]);
    }
    let typed = at(Jwt::<AccessToken>::hs256(SECRET).unwrap(), NOW);
    let typed = typed.rfc9068("https://issuer", "https://api").unwrap();
    for (name, value, accepted) in [
        ("client_id", json!("app"), true),
        ("client_id", json!(7), false),
        ("roles", json!(["admin"]), true),
        ("roles", json!("admin"), true),
        ("groups", json!({"value": "admin"}), true),
        ("entitlements", json!([[["admin"]]]), true),
    ] {
        let mut claims = good.clone();
        claims[name] = value;
        let verified = typed.verify(sign(header, &claims.to_string())).await.map(drop);
        let expected = if accepted { Ok(()) } else { Err(JwtRefusal::Claims) };
        assert_eq!(verified, expected, "{name} {}", claims[name]);
    }
    for name in ["nonce", "at_hash", "c_hash"] {
        let mut claims = good.clone();
        claims[name] = json!("x");
        assert_eq!(
            with(&jwt(), header, &claims.to_string()).await,
            Err(JwtRefusal::Type),
            "{name}"
        );
    }
}

#[tokio::test]
async fn claims_of_any_shape_are_read() {
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Name(String);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Issuer {
        Joe,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct All {
        iss: Issuer,
        sub: Name,
        aud: Vec<String>,
        exp: f64,
        iat: Option<u32>,
        nbf: Option<i64>,
        jti: Option<String>,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }

    let claims = r#"{"iss":"joe","sub":"a\u00e9","aud":["x"],"exp":1800000060,"iat":7,"jti":"j","a":{"b":[1]}}"#;
    let jwt = at(Jwt::<All>::hs256(SECRET).unwrap(), NOW).any_audience();
    let all = jwt.verify(sign(HEADER, claims)).await.unwrap();
    assert_eq!(
        *all,
        All {
            iss: Issuer::Joe,
            sub: Name(String::from("aé")),
            aud: vec![String::from("x")],
            exp: 1_800_000_060.0,
            iat: Some(7),
            nbf: None,
            jti: Some(String::from("j")),
            rest: BTreeMap::from([(String::from("a"), json!({"b": [1]}))]),
        }
    );
    let token = Claims::registered(&all);
    assert_eq!((token.issuer(), token.subject(), token.id()), (Some("joe"), Some("aé"), Some("j")));

    let none = at(Jwt::<()>::hs256(SECRET).unwrap(), NOW).any_audience();
    assert!(none.verify(sign(HEADER, claims)).await.is_ok());
    assert_eq!(
        none.verify(sign(HEADER, r#"{"exp":1,"exp":1}"#)).await.unwrap_err(),
        JwtRefusal::Malformed
    );
    let member = jwt_of_member_without_subject().await;
    assert_eq!(member, JwtRefusal::Claims);
}

async fn jwt_of_member_without_subject() -> JwtRefusal {
    jwt().verify(sign(HEADER, r#"{"exp":1800000060}"#)).await.unwrap_err()
}

#[tokio::test]
async fn a_header_that_is_known_is_held_to_the_policy_and_the_key_all_the_same() {
    let keys = Keys::from(Key::secret(Algorithm::Hs256, SECRET).unwrap());
    let plain = at(Jwt::<Value>::new(keys.clone()), NOW);
    let access = at(Jwt::<Value>::new(keys.clone()), NOW).typ("at+jwt").unwrap();
    let claims = r#"{"exp":1800000060}"#;
    for round in 0..3 {
        assert!(with(&plain, HEADER, claims).await.is_ok(), "{round}");
        assert_eq!(with(&access, HEADER, claims).await, Err(JwtRefusal::Type), "{round}");
        let forged = sign_with("another secret that only tests have", HEADER, claims);
        assert_eq!(plain.verify(forged).await.map(drop), Err(JwtRefusal::Signature), "{round}");
        assert_eq!(plain.verify(sign(HEADER, "{}")).await.map(drop), Err(JwtRefusal::MissingClaim));
    }
    // A refused one is not remembered, and when there is no more room all goes on as before.
    for n in 0..50 {
        let header = format!(r#"{{"alg":"HS256","n":{n}}}"#);
        let forged = sign_with("another secret that only tests have", &header, claims);
        assert_eq!(plain.verify(forged).await.map(drop), Err(JwtRefusal::Signature), "{n}");
        assert!(with(&plain, &header, claims).await.is_ok(), "{n}");
        let other = format!(r#"{{"alg":"HS512","n":{n}}}"#);
        assert_eq!(with(&plain, &other, claims).await, Err(JwtRefusal::Algorithm), "{n}");
    }
}

#[tokio::test]
async fn what_was_read_of_a_token_is_at_hand() {
    let claims = r#"{"iss":"a\u00e9","sub":"","jti":"j","scope":" read  write","acr":"2","auth_time":1700000000.5,"exp":1800000060,"iat":1,"nbf":2}"#;
    let claims = any().verify(sign(HEADER, claims)).await.unwrap();
    let token = Claims::registered(&claims);
    assert_eq!((token.issuer(), token.subject(), token.id()), (Some("aé"), Some(""), Some("j")));
    assert_eq!(token.scopes().collect::<Vec<_>>(), ["read", "write"]);
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!((token.acr(), token.authenticated_at()), (Some("2"), at(1_700_000_000)));
    assert_eq!((token.expires_at(), token.issued_at()), (at(1_800_000_060), at(1)));
    assert_eq!(token.not_before(), at(2));
    // What is for the type of the application alone is not ours to refuse.
    for rest in [r#""acr":1"#, r#""auth_time":"now""#, r#""scope":["read"]"#, r#""x":1"#] {
        let claims = format!(r#"{{"exp":1800000060,{rest}}}"#);
        let claims = any().verify(sign(HEADER, &claims)).await.unwrap();
        let token = Claims::registered(&claims);
        assert_eq!((token.acr(), token.authenticated_at(), token.issuer()), (None, None, None));
        assert_eq!((token.scopes().count(), token.subject(), token.id()), (0, None, None));
    }
}

/// A chain asks the token where the claims of the application don't say.
#[tokio::test]
async fn grants_are_those_of_the_claims_or_else_of_the_token() {
    use crate::grants::Grants;
    #[derive(Deserialize)]
    struct Bare {}
    impl Grants for Bare {}
    let claims = r#"{"exp":1800000060,"acr":"2","auth_time":100,"scope":"read","roles":["a"]}"#;
    let bare = at(Jwt::<Bare>::hs256(SECRET).unwrap(), NOW);
    let bare = bare.verify(sign(HEADER, claims)).await.unwrap();
    let when = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(100));
    assert_eq!((Grants::acr(&bare), Grants::authenticated_at(&bare)), (Some("2"), when));
    assert_eq!(Grants::acr(&MaybeClaims(Some(bare.clone()))), Some("2"));
    assert_eq!(Grants::authenticated_at(&MaybeClaims(Some(bare.clone()))), when);
    assert!(!bare.has_scope("read"), "scopes are the application's to grant");
    let full = at(Jwt::<AccessToken>::hs256(SECRET).unwrap(), NOW);
    let full = full.verify(sign(HEADER, claims)).await.unwrap();
    assert!(full.has_scope("read") && full.has_role("a") && !full.has_role("b"));
    assert_eq!((Grants::acr(&full), Grants::authenticated_at(&full)), (Some("2"), when));
    assert_eq!(Grants::acr(&MaybeClaims::<Bare>(None)), None);
}

/// The refusal, as the tables have it.
fn code(verified: Result<Value, JwtRefusal>) -> &'static str {
    verified.map_or_else(JwtRefusal::code, |_| "ok")
}

#[tokio::test]
async fn every_header_is_refused_as_the_table_says() {
    for [header, expected] in rows(include_str!("tables/headers.tsv")) {
        // A policy of its own for each, so that none is known from before; then once more, known.
        let jwt = any();
        for _ in 0..2 {
            let verified = with(&jwt, &header, r#"{"exp":1800000060}"#).await;
            assert_eq!(code(verified), expected, "{header}");
        }
    }
}

#[tokio::test]
async fn every_claim_set_is_refused_as_the_table_says() {
    let jwt = any()
        .issuer("me")
        .unwrap()
        .issuer("a")
        .unwrap()
        .audience("me")
        .unwrap()
        .subject("me")
        .unwrap()
        .subject("a")
        .unwrap();
    let jwt = jwt.claim("azp", "me").unwrap();
    for [claims, expected] in rows(include_str!("tables/claims.tsv")) {
        assert_eq!(code(with(&jwt, HEADER, &claims).await), expected, "{claims}");
    }
}

#[tokio::test]
async fn every_time_is_refused_as_the_table_says() {
    for row in rows::<6>(include_str!("tables/times.tsv")) {
        let [leeway, age, exp, nbf, iat, expected] = &row;
        let seconds = |text: &String| text.parse().ok().map(Duration::from_secs);
        let mut jwt = any().leeway(seconds(leeway).unwrap()).unwrap();
        if let Some(age) = seconds(age) {
            jwt = jwt.max_age(age).unwrap();
        }
        let mut claims = serde_json::Map::new();
        for (name, offset) in [("exp", exp), ("nbf", nbf), ("iat", iat)] {
            if let Ok(offset) = offset.parse() {
                claims.insert(name.to_owned(), json!(NOW.checked_add_signed(offset)));
            }
        }
        let verified = with(&jwt, HEADER, &Value::Object(claims).to_string()).await;
        assert_eq!(code(verified), expected, "{row:?}");
    }
}
