//! Configurations with which no token can match: each is an error that states what to change, and is on the page of mistakes.

use super::*;
use crate::grants::Grants;
use crate::middleware::authenticate::{ApiKeys, Introspection, IntrospectionError};
use crate::{Authenticate, Require};

type Built = Result<(), Box<dyn std::error::Error>>;

fn done<T, E: std::error::Error + 'static>(built: Result<T, E>) -> Built {
    built.map(drop).map_err(Into::into)
}

const RSA: &str = include_str!("rsa.pem");
const P256: &str = include_str!("p256.pem");
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";

fn introspection() -> Introspection {
    introspection_for("api").unwrap()
}

fn introspection_for(audience: &str) -> Result<Introspection, IntrospectionError> {
    let fetch = |_| async { Err::<http::Response<bytes::Bytes>, _>("no server") };
    Introspection::new("https://login.example.org/introspect", audience, fetch)
}

struct Caller;

impl Grants for Caller {}

type Rule = Require<Caller>;

/// Each configuration, and a part of the message.
fn mistakes() -> Vec<(&'static str, Built)> {
    use Algorithm::{Es256, Hs256, Rs256};

    let es256 = |pem: &str| done(Key::pem(Es256, pem));
    let jwk = |json: Value| done(Key::jwk(Es256, json.to_string()));
    let p256 = json!({"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let with = |name: &str, value: Value| {
        let mut jwk = p256.clone();
        jwk[name] = value;
        jwk
    };
    let url = |text: &str| done(Jwks::url(text, [Es256]));
    let issuer = |text: &str| done(Jwks::issuer(text, [Es256]));
    let of_one = || Jwt::<()>::new(Jwks::issuer("https://a.example", [Es256]).unwrap());
    let of_two = || {
        let names = ["https://a.example", "https://b.example"];
        let keys = names.map(|name| (name, Key::pem(Es256, P256).unwrap()));
        Jwt::<()>::new(KeySource::issuers(keys).unwrap())
    };
    let zero = Duration::ZERO;
    let no_algorithm: [Algorithm; 0] = [];
    let no_text: [(&str, &str); 0] = [];
    let pkcs8 = [&[0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13][..], &[0; 60]].concat();
    let x509 = [&[0x30, 0x82, 1, 1, 0x30, 0x81, 0x90, 0xa0, 3, 2, 1, 2][..], &[0; 60]].concat();
    vec![
        ("the issuer is empty", done(any().issuer(""))),
        ("the issuer is empty", done(any().issuer(" \n"))),
        ("the issuer begins or ends with white space", done(any().issuer("https://a.example\n"))),
        ("the issuer begins or ends with white space", done(any().issuer("a\nb"))),
        // As they are copied from a document: a no-break space, a byte order mark and a zero-width space.
        ("the issuer is empty", done(any().issuer("\u{a0}\u{feff}"))),
        (
            "the issuer begins or ends with white space",
            done(any().issuer("https://a.example\u{a0}")),
        ),
        (
            "the issuer begins or ends with white space",
            done(any().issuer("\u{feff}https://a.example")),
        ),
        ("the audience begins or ends with white space", done(any().audience("api\u{200b}"))),
        ("the audience begins or ends with white space", done(introspection_for("api\u{200b}"))),
        ("the keys are those of another issuer", done(of_one().issuer("https://a.example/"))),
        ("the keys are those of another issuer", done(of_one().issuer("https://b.example"))),
        ("the keys are those of another issuer", done(of_one().rfc9068("https://b.example", "a"))),
        ("the keys are those of another issuer", done(of_two().issuer("https://c.example"))),
        ("the audience is empty", done(any().audience(""))),
        ("the issuer is empty", done(KeySource::issuers([("", Key::pem(Es256, P256).unwrap())]))),
        ("the audience begins or ends with white space", done(any().audience(" api"))),
        ("the subject is empty", done(any().subject(""))),
        ("the type is empty", done(any().typ(""))),
        ("the name of a claim is empty", done(any().require(""))),
        ("the name of a claim is empty", done(any().claim("", "x"))),
        ("the value of a claim is empty", done(any().claim("azp", ""))),
        ("the issuer is empty", done(any().rfc9068("", "api"))),
        ("the audience is empty", done(any().rfc9068("https://a.example", ""))),
        ("the audience is empty", done(Jwt::<()>::oidc("https://a.example", "", [Es256]))),
        ("the URL is empty", issuer("")),
        ("the URL is empty", url(" ")),
        ("the secret is empty", done(Key::secret(Hs256, [b' '; 64]))),
        ("the secret is empty", done(Key::insecure_short_secret(Hs256, " "))),
        ("the age of a token is zero", done(any().max_age(zero))),
        ("the age of a token is zero", done(any().max_age(Duration::from_millis(999)))),
        ("the time in the cache is zero", done(TokenCache::new(1).unwrap().ttl(zero))),
        (
            "the timeout is zero",
            done(Jwks::issuer("https://a.example", [Es256]).unwrap().timeout(zero)),
        ),
        (
            "the time for which keys are fresh is zero",
            done(Jwks::issuer("https://a.example", [Es256]).unwrap().fresh_for(zero)),
        ),
        ("the age of a proof is zero", done(Dpop::new("https://a.example").unwrap().max_age(zero))),
        (
            "the URL contains a placeholder",
            issuer("https://login.microsoftonline.com/{tenantid}/v2.0"),
        ),
        (
            "the URL contains a placeholder",
            issuer("https://login.microsoftonline.com/<tenant>/v2.0"),
        ),
        (
            "the URL contains a placeholder",
            issuer("https://login.microsoftonline.com/%7Btenantid%7D/v2.0"),
        ),
        ("the URL contains a placeholder", done(any().issuer("https://YOUR_DOMAIN/"))),
        ("the URL contains a placeholder", done(any().issuer("https://${TENANT}.eu.auth0.com/"))),
        ("the URL contains a placeholder", url("https://login.example.com/{tenantid}/keys")),
        ("tokens never name `common`", issuer("https://login.microsoftonline.com/common/v2.0")),
        ("tokens never name `common`", done(any().issuer("https://sts.windows.net/common/"))),
        (
            "tokens never name `common`",
            issuer("https://login.microsoftonline.com/organizations/v2.0"),
        ),
        (
            "this is the URL of a discovery document",
            issuer("https://a.example/.well-known/openid-configuration"),
        ),
        (
            "this is the URL of a discovery document",
            done(any().issuer("https://a.example/.well-known/oauth-authorization-server/t")),
        ),
        (
            "this is the URL of a discovery document",
            url("https://a.example/.well-known/openid-configuration"),
        ),
        ("this is the URL of an issuer, not of a JWK set", url("https://example.eu.auth0.com/")),
        (
            "this is the URL of an issuer, not of a JWK set",
            url("https://example.okta.com/oauth2/default"),
        ),
        (
            "this is the URL of an issuer, not of a JWK set",
            url("https://sso.example.org/realms/main"),
        ),
        (
            "this is the URL of an issuer, not of a JWK set",
            url("https://login.microsoftonline.com/abc/v2.0"),
        ),
        (
            "this is the URL of a JWK set, not an issuer",
            issuer("https://a.example/.well-known/jwks.json"),
        ),
        (
            "this is the URL of a JWK set, not an issuer",
            issuer("https://a.example/realms/x/protocol/openid-connect/certs"),
        ),
        (
            "this is the URL of a JWK set, not an issuer",
            done(any().issuer("https://a.example/oauth2/v1/keys")),
        ),
        ("keys are fetched by https", url("http://a.example/keys")),
        ("keys are fetched by https", issuer("a.example")),
        (
            "this is not a list of ids of Entra ID tenants: write it as",
            done(Jwt::<()>::entra_v2(["common"], "api")),
        ),
        ("no algorithm is accepted", done(Jwks::url("https://a.example/keys", no_algorithm))),
        ("no algorithm is accepted", done(Keys::jwks("{}", no_algorithm))),
        (
            "requires a shared secret, and published keys are public",
            done(Jwks::url("https://a.example/keys", [Hs256])),
        ),
        ("the list of keys is empty", done(Keys::new([]))),
        (
            "two keys for the same algorithm have the same",
            done(Keys::new([Key::pem(Es256, P256).unwrap(), Key::pem(Es256, P256).unwrap()])),
        ),
        ("the secret has 6 bytes, HS256 needs at least", done(Key::secret(Hs256, "secret"))),
        ("the secret has 0 bytes, HS256 needs at least", done(Key::secret(Hs256, ""))),
        ("the secret is all zeros", done(Key::secret(Hs256, [0; 32]))),
        ("the secret looks like a key file", done(Key::secret(Hs256, RSA))),
        ("this is a private key", es256(PRIVATE)),
        ("this is a private key", done(Key::der(Es256, pkcs8))),
        ("this is a private key", jwk(with("d", json!("AAAA")))),
        ("this is a certificate", es256(CERTIFICATE)),
        (
            "this is a certificate",
            es256(&CERTIFICATE.replace("CERTIFICATE", "TRUSTED CERTIFICATE")),
        ),
        ("this is a certificate", done(Key::der(Rs256, x509))),
        ("openssl x509 -in FILE -noout -pubkey", es256(CERTIFICATE)),
        ("the PEM contains more than one key", es256(&format!("{P256}{P256}"))),
        ("as two characters", es256(&P256.replace('\n', r"\n"))),
        ("this is a JWK, not PEM", es256(&p256.to_string())),
        ("this is the path of a file, not a key", es256("keys/public.pem")),
        ("this is not a public key in PEM or DER", es256("")),
        ("this is not a public key in PEM or DER", es256("ssh-ed25519 AAAA ann@example.org")),
        ("the key does not fit ES256", es256(RSA)),
        ("the key does not fit RS256", done(Key::pem(Rs256, P256))),
        ("the key does not fit ES256", done(Key::secret(Es256, SECRET))),
        ("the key does not fit HS256", done(Key::pem(Hs256, RSA))),
        ("the RSA key has 1024 bits", done(Key::pem(Rs256, include_str!("rsa1024.pem")))),
        ("this JWK is not for verifying signatures", jwk(with("use", json!("enc")))),
        (
            "no key of the set fits the accepted algorithms",
            done(Keys::jwks(r#"{"keys":[]}"#, [Es256])),
        ),
        ("the JWK set has 101 keys, and at most 100 are read", {
            let keys: Vec<_> = (0..101).map(|kid| with("kid", json!(kid.to_string()))).collect();
            done(Keys::jwks(json!({ "keys": keys }).to_string(), [Es256]))
        }),
        ("this is not a JWK or JWK set", jwk(json!([]))),
        ("this is not a JWK or JWK set", done(Keys::jwks(p256.to_string(), [Es256]))),
        ("name at least one issuer, each of them once", done(KeySource::issuers::<&str, Key>([]))),
        ("name at least one source", done(any().sources([]))),
        ("the list of credentials is empty", done(Authenticate::tokens(no_text))),
        ("the list of credentials is empty", done(Authenticate::users(no_text))),
        ("the leeway is longer than ten minutes", done(any().leeway(Duration::from_secs(601)))),
        ("the limit is zero", done(any().max_bytes(0))),
        ("the limit is zero", done(TokenCache::new(0))),
        ("the limit is zero", done(any().max_header_bytes(0))),
        ("the limit is zero", done(any().form_limit(0))),
        ("the limit is zero", done(Denylist::new(0))),
        ("the limit is zero", done(Authenticate::api_keys(&ApiKeys::new()).max_bytes(0))),
        ("the limit is zero", done(Authenticate::api_keys(&ApiKeys::new()).form_limit(0))),
        ("the limit is zero", done(Dpop::new("https://a.example").unwrap().replay_capacity(0))),
        ("the limit is zero", done(Dpop::new("https://a.example").unwrap().max_bytes(0))),
        (
            "the age of a proof is zero",
            done(Dpop::new("https://a.example").unwrap().max_age(Duration::from_millis(999))),
        ),
        (
            "the time of a nonce is zero",
            done(Dpop::new("https://a.example").unwrap().nonce_span(Duration::from_millis(999))),
        ),
        ("the timeout is zero", done(introspection().timeout(zero))),
        ("the audience is empty", done(introspection_for(""))),
        ("the audience is empty", done(introspection_for(" \t"))),
        ("the audience is empty", done(introspection().audience(""))),
        ("the audience begins or ends with white space", done(introspection_for("api\n"))),
        ("the audience begins or ends with white space", done(introspection().audience(" api"))),
        ("the issuer is empty", done(introspection().issuer(""))),
        ("the issuer begins or ends with white space", done(introspection().issuer("a\n"))),
        ("the id of the client is empty", done(introspection().client("", "secret"))),
        ("the secret of the client is empty", done(introspection().client("api", " "))),
        (
            "the secret of the client begins or ends with white space",
            done(introspection().client("api", "secret\n")),
        ),
        ("the role is empty", done(Rule::role(""))),
        ("the role is empty", done(Rule::role(" \n"))),
        ("the role begins or ends with white space", done(Rule::role("admin\n"))),
        ("the role begins or ends with white space", done(Rule::role("ad\0min"))),
        ("the permission is empty", done(Rule::permission(""))),
        ("the permission begins or ends with white space", done(Rule::permission(" edit"))),
        ("the age of a sign-in is zero", done(Rule::max_age(zero))),
        ("the age of a sign-in is zero", done(Rule::max_age(Duration::from_millis(999)))),
        (r#""" can't be a scope"#, done(Rule::scope(""))),
        (r#"" " can't be a scope"#, done(Rule::scope(" "))),
        (r#""a b" can't be a scope"#, done(Rule::scopes(["a b"]))),
        (r#""" can't be a scope"#, done(Rule::any_scope(["a", ""]))),
        (r#""" can't be a value of `acr`"#, done(Rule::acr_values(["mfa", ""]))),
        ("the list of what is required is empty", done(Rule::scopes::<&str>([]))),
        ("the list of what is required is empty", done(Rule::any_scope::<&str>([]))),
        ("the list of what is required is empty", done(Rule::acr_values::<&str>([]))),
        ("the list of what is required is empty", done(Rule::all([]))),
        ("the list of what is required is empty", done(Rule::any([]))),
        (
            "the resource_metadata of a challenge must be an absolute URL",
            done(Rule::role("a").unwrap().resource_metadata("")),
        ),
        (
            "the resource_metadata of a challenge must be an absolute URL",
            done(Authenticate::api_keys(&ApiKeys::new()).resource_metadata("/metadata")),
        ),
        ("and a URL must be absolute", done(any().resource_metadata(""))),
        ("and a URL must be absolute", done(any().challenge_scopes([""]))),
    ]
}

/// The parts of the messages in the section of the page, without the code spans.
fn rows_of_the_page() -> Vec<Vec<&'static str>> {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/mistakes.md"));
    let (_, section) = page.split_once("# Settings with which no token can match").unwrap();
    let section = section.split("\n# ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| -"));
    let message = |row: &'static str| row.split(" | ").nth(1).unwrap();
    let code = |cell: &'static str| cell.trim_matches(['`', ' ']);
    let rows = rows.map(|row| code(message(row)).split("..").map(str::trim).collect());
    rows.skip(1).collect()
}

#[test]
fn each_mistake_is_an_error_and_is_on_the_page() {
    let rows = rows_of_the_page();
    let mut shown = vec![false; rows.len()];
    for (index, (part, built)) in mistakes().into_iter().enumerate() {
        let message = built.expect_err(&format!("{index}: {part}")).to_string();
        assert!(message.contains(part), "{index}: {message}");
        let says = |parts: &Vec<&str>| {
            let mut rest = &*message;
            parts.iter().all(|part| match rest.split_once(part) {
                Some((_, behind)) => {
                    rest = behind;
                    true
                }
                None => false,
            })
        };
        let row = rows.iter().position(says);
        shown[row.unwrap_or_else(|| panic!("{index} is not on the page: {message}"))] = true;
    }
    let unproven: Vec<_> = rows.iter().zip(shown).filter(|(_, shown)| !shown).collect();
    assert!(unproven.is_empty(), "{unproven:?}");
}

/// What looks like one of the mistakes and works.
#[test]
fn settings_that_can_work_are_accepted() {
    for issuer in
        ["joe", "https://a.example", "https://a.example/", "https://a.example/keys/1", "urn:a b"]
    {
        assert!(any().issuer(issuer).is_ok(), "{issuer}");
    }
    for url in
        ["https://a.example/keys", "https://a.example/jwks.json", "https://a.example/?format=jwks"]
    {
        assert!(Jwks::url(url, [Algorithm::Es256]).is_ok(), "{url}");
    }
    for issuer in ["https://a.example/oauth2/default", "https://login.microsoftonline.com/abc/v2.0"]
    {
        assert!(Jwks::issuer(issuer, [Algorithm::Es256]).is_ok(), "{issuer}");
    }
    let keys = Jwks::issuer("https://a.example", [Algorithm::Es256]).unwrap();
    assert!(Jwt::<()>::new(keys).issuer("https://a.example").is_ok());
    assert!(any().max_age(Duration::from_secs(1)).is_ok());
    for name in ["admin", "Domain Admins", "groß", "orders:admin", "/team/x"] {
        assert!(Rule::role(name).is_ok() && Rule::permission(name).is_ok(), "{name}");
    }
    assert!(Rule::max_age(Duration::from_secs(1)).is_ok());
    // Zero disables a cache.
    let uncached = introspection().cache_ttl(Duration::ZERO).cache_capacity(0);
    assert!(uncached.timeout(Duration::from_millis(1)).is_ok());
    assert!(any().leeway(Duration::ZERO).is_ok());
}

/// The URLs of the key sets of common issuers, which are refused as the URL of an issuer.
#[test]
fn the_url_of_a_key_set_is_accepted() {
    for path in [
        "/oauth2/jwks",
        "/oauth2/certs",
        "/oauth2/keys",
        "/oauth2/jwks.json",
        "/oauth2/v1/keys",
        "/oauth2/default/v1/keys",
        "/t/carbon.super/oauth2/jwks",
        "/realms/main/protocol/openid-connect/certs",
        "/.well-known/jwks.json",
        "/common/discovery/v2.0/keys",
        "/jwks",
    ] {
        let url = format!("https://auth.example.org{path}");
        assert!(Jwks::url(&url, [Algorithm::Es256]).is_ok(), "{url}");
    }
}
