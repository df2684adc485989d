//! Tokens of the shape that each issuer documents, and its other tokens.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::grants::Grants;
use crate::middleware::jwt::{AccessToken, Claims, Fetch, JwtRefusal, Key, Keys, TestIssuer};
use crate::{Body, Response};

const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
const OTHER_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const API: &str = "11111111-2222-3333-4444-555555555555";
const ARN: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/web/50dc6c495c0c9188";

/// A preset, a token that it accepts, and what is changed in tokens that it refuses.
struct Case {
    jwt: Result<Jwt<AccessToken>, JwtError>,
    /// Where its keys are.
    keys: &'static str,
    /// Members of the header beside `alg` and `kid`.
    header: Value,
    claims: Value,
    /// Scopes, roles and permissions that the token grants.
    grants: [&'static [&'static str]; 3],
    /// Changes of the claims, and why the token is then refused. `null` removes a claim.
    refused: Vec<(Value, JwtRefusal)>,
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("after the epoch").as_secs()
}

/// The claims with `iat` and `exp`.
fn claims(mut claims: Value) -> Value {
    claims["iat"] = (now() - 10).into();
    claims["exp"] = (now() + 3600).into();
    claims
}

fn changed(value: &Value, change: &Value) -> Value {
    let mut value = value.clone();
    let members = value.as_object_mut().expect("an object");
    members.extend(change.as_object().expect("an object").clone());
    members.retain(|_, value| !value.is_null());
    value
}

fn cases() -> Vec<(&'static str, Case)> {
    use JwtRefusal as R;

    let plain = json!({"typ": null});
    let typed = json!({"typ": "JWT"});
    let none: [&[&str]; 3] = [&[], &[], &[]];
    let entra = |version: &str, issuer: &str, application: &str, audience: &str| {
        claims(json!({
            "aud": audience, "iss": issuer, "aio": "E2ZgYAgA", "sub": "Tf-qYw5k", "tid": TENANT, "oid": "690222be",
            "scp": "Files.Read User.Read", "roles": ["Task.Write"], "uti": "xyz", "ver": version, application: "6731de76",
        }))
    };
    let v1 = entra("1.0", &format!("https://sts.windows.net/{TENANT}/"), "appid", "api://tasks");
    let v2_issuer = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
    let v2 = entra("2.0", &v2_issuer(TENANT), "azp", API);
    let entra_refused = |application: &str, other_version: &str| {
        vec![
            (json!({"tid": OTHER_TENANT}), R::Custom),
            (json!({"tid": null}), R::Custom),
            (json!({"tid": "{tenantid}"}), R::Custom),
            (json!({"iss": v2_issuer(OTHER_TENANT)}), R::Issuer),
            (json!({"iss": v2_issuer("{tenantid}")}), R::Issuer),
            (json!({"iss": v2_issuer("common")}), R::Issuer),
            (json!({"iss": null}), R::Issuer),
            (json!({"ver": other_version}), R::Custom),
            (json!({"aud": "00000003-0000-0000-c000-000000000000"}), R::Audience),
            (json!({application: null}), R::MissingClaim),
            (json!({"scp": null, "roles": null}), R::MissingClaim),
            (json!({"nonce": "12345"}), R::Type),
        ]
    };
    vec![
        (
            "auth0",
            Case {
                jwt: Jwt::auth0("example.eu.auth0.com", "https://api.example.org"),
                keys: "https://example.eu.auth0.com/",
                header: typed.clone(),
                claims: claims(json!({
                    "iss": "https://example.eu.auth0.com/", "sub": "auth0|64b5",
                    "aud": ["https://api.example.org", "https://example.eu.auth0.com/userinfo"],
                    "azp": "my_client_id", "scope": "openid profile read:admin", "permissions": ["create:bar", "create:foo"],
                })),
                grants: [&["read:admin"], &[], &["create:foo"]],
                refused: vec![
                    (json!({"aud": "https://example.eu.auth0.com/userinfo"}), R::Audience),
                    (json!({"iss": "https://example.eu.auth0.com"}), R::Issuer),
                    (json!({"iss": "https://other.eu.auth0.com/"}), R::Issuer),
                    // An ID token, also if the API and the application have the same identifier.
                    (json!({"aud": "my_client_id"}), R::Audience),
                    (json!({"nonce": "n-0S6"}), R::Type),
                ],
            },
        ),
        (
            "okta",
            Case {
                jwt: Jwt::okta("https://example.okta.com/oauth2/default", "api://default"),
                keys: "https://example.okta.com/oauth2/default",
                header: plain.clone(),
                claims: claims(json!({
                    "ver": 1, "jti": "AT.0mP4JKAZX1", "iss": "https://example.okta.com/oauth2/default", "aud": "api://default",
                    "cid": "0oa1", "uid": "00u1", "scp": ["openid", "email"], "auth_time": 1_311_280_969, "sub": "ann@example.org",
                    "groups": ["Everyone"],
                })),
                grants: [&["openid", "email"], &["Everyone"], &[]],
                refused: vec![
                    (json!({"iss": "https://example.okta.com"}), R::Issuer),
                    (json!({"aud": "0oa1"}), R::Audience),
                    // An ID token has no `cid`.
                    (json!({"cid": null}), R::MissingClaim),
                    (json!({"nonce": "n"}), R::Type),
                ],
            },
        ),
        (
            "entra v1",
            Case {
                jwt: Jwt::entra_v1([TENANT], "api://tasks"),
                keys: "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/discovery/keys",
                header: typed.clone(),
                claims: v1,
                grants: [&["Files.Read", "User.Read"], &["Task.Write"], &[]],
                refused: entra_refused("appid", "2.0"),
            },
        ),
        (
            "entra v2",
            Case {
                jwt: Jwt::entra_v2([TENANT], API),
                keys: "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/discovery/v2.0/keys",
                header: typed.clone(),
                claims: v2.clone(),
                grants: [&["Files.Read"], &["Task.Write"], &[]],
                refused: entra_refused("azp", "1.0"),
            },
        ),
        (
            "entra v2, every tenant",
            Case {
                jwt: Jwt::entra_v2_any_tenant(API),
                keys: "https://login.microsoftonline.com/common/discovery/v2.0/keys",
                header: typed.clone(),
                claims: changed(&v2, &json!({"scp": null})),
                grants: [&[], &["Task.Write"], &[]],
                refused: vec![
                    (json!({"tid": OTHER_TENANT}), R::Issuer),
                    (json!({"iss": v2_issuer(OTHER_TENANT)}), R::Issuer),
                    (json!({"iss": v2_issuer("common"), "tid": "common"}), R::Custom),
                    (json!({"iss": v2_issuer("{tenantid}"), "tid": "{tenantid}"}), R::Custom),
                    (json!({"iss": v2_issuer(""), "tid": ""}), R::Custom),
                ],
            },
        ),
        (
            "keycloak",
            Case {
                jwt: Jwt::keycloak("https://sso.example.org/realms/main", "orders"),
                keys: "https://sso.example.org/realms/main",
                header: typed.clone(),
                claims: claims(json!({
                    "jti": "0c3f", "iss": "https://sso.example.org/realms/main", "aud": ["orders", "account"], "sub": "f:1:ann", "typ": "Bearer",
                    "azp": "web", "sid": "1", "acr": "1", "allowed-origins": ["https://app.example.org"],
                    "realm_access": {"roles": ["offline_access", "staff"]},
                    "resource_access": {"orders": {"roles": ["admin"]}, "account": {"roles": ["manage-account"]}},
                    "scope": "openid email", "email_verified": true, "preferred_username": "ann",
                })),
                grants: [
                    &["openid", "email"],
                    &["staff", "orders:admin", "account:manage-account"],
                    &[],
                ],
                refused: vec![
                    (json!({"typ": "ID"}), R::Custom),
                    (json!({"typ": "Refresh"}), R::Custom),
                    (json!({"typ": "Offline"}), R::Custom),
                    (json!({"typ": "Logout"}), R::Custom),
                    (json!({"typ": null}), R::Custom),
                    (json!({"aud": "account"}), R::Audience),
                    (json!({"iss": "https://sso.example.org/realms/master"}), R::Issuer),
                ],
            },
        ),
        (
            "cognito",
            Case {
                jwt: Jwt::cognito("us-west-2_example", ["xxxx", "yyyy"]),
                keys: "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example",
                header: plain.clone(),
                claims: claims(json!({
                    "sub": "aaaaaaaa-bbbb", "cognito:groups": ["testgroup"], "iss": "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example",
                    "version": 2, "client_id": "yyyy", "origin_jti": "a", "event_id": "b", "token_use": "access",
                    "scope": "phone openid aws.cognito.signin.user.admin", "auth_time": 1_676_313_851, "jti": "c", "username": "ann",
                })),
                grants: [&["phone"], &["testgroup"], &[]],
                refused: vec![
                    (json!({"token_use": "id"}), R::Custom),
                    (json!({"token_use": null}), R::Custom),
                    (json!({"client_id": "zzzz"}), R::Custom),
                    (json!({"client_id": null}), R::Custom),
                    (json!({"token_use": "id", "aud": "yyyy"}), R::Audience),
                    (
                        json!({"iss": "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_other"}),
                        R::Issuer,
                    ),
                ],
            },
        ),
        (
            "google",
            Case {
                jwt: Jwt::google("1234987819200.apps.googleusercontent.com"),
                keys: "https://www.googleapis.com/oauth2/v3/certs",
                header: typed.clone(),
                claims: claims(json!({
                    "iss": "https://accounts.google.com", "azp": "1234987819200.apps.googleusercontent.com",
                    "aud": "1234987819200.apps.googleusercontent.com", "sub": "10769150350006150715113082367", "at_hash": "HK6E",
                    "hd": "example.com", "email": "jsmith@example.com", "email_verified": true, "nonce": "0394852",
                })),
                grants: none,
                refused: vec![
                    (json!({"aud": "5678.apps.googleusercontent.com"}), R::Audience),
                    (json!({"iss": "https://accounts.google.com.evil.example"}), R::Issuer),
                    (json!({"sub": null}), R::MissingClaim),
                ],
            },
        ),
        (
            "firebase",
            Case {
                jwt: Jwt::firebase("example-1"),
                keys: "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com",
                header: typed.clone(),
                claims: claims(json!({
                    "iss": "https://securetoken.google.com/example-1", "aud": "example-1", "auth_time": now() - 60, "user_id": "u1", "sub": "u1",
                    "firebase": {"identities": {}, "sign_in_provider": "password"},
                })),
                grants: none,
                refused: vec![
                    (json!({"sub": ""}), R::Custom),
                    (json!({"auth_time": null}), R::Custom),
                    (json!({"auth_time": now() + 30}), R::Custom),
                    (json!({"aud": "example-2"}), R::Audience),
                    (json!({"iss": "https://session.firebase.google.com/example-1"}), R::Issuer),
                ],
            },
        ),
        (
            "supabase",
            Case {
                jwt: Jwt::supabase("https://abcdefghijkl.supabase.co"),
                keys: "https://abcdefghijkl.supabase.co/auth/v1/.well-known/jwks.json",
                header: typed.clone(),
                claims: claims(json!({
                    "iss": "https://abcdefghijkl.supabase.co/auth/v1", "sub": "d0f1", "aud": "authenticated", "email": "ann@example.org", "phone": "",
                    "app_metadata": {"provider": "email"}, "user_metadata": {"roles": ["admin"]}, "role": "authenticated", "aal": "aal1",
                    "amr": [{"method": "password", "timestamp": 1_700_000_000}], "session_id": "6f1e", "is_anonymous": false,
                })),
                grants: none,
                refused: vec![
                    (json!({"role": "service_role"}), R::Custom),
                    (json!({"role": "anon"}), R::Custom),
                    (json!({"role": null}), R::Custom),
                    (json!({"aud": "anon"}), R::Audience),
                    (json!({"iss": "https://other.supabase.co/auth/v1"}), R::Issuer),
                    (json!({"session_id": null}), R::MissingClaim),
                ],
            },
        ),
        (
            "github actions",
            Case {
                jwt: Jwt::github_actions("https://api.example.org", ["octo-org/octo-repo"]),
                keys: "https://token.actions.githubusercontent.com",
                header: json!({"typ": "JWT", "x5t": "example-thumbprint"}),
                claims: claims(json!({
                    "jti": "example-id", "sub": "repo:octo-org/octo-repo:environment:prod", "environment": "prod", "aud": "https://api.example.org",
                    "ref": "refs/heads/main", "sha": "example-sha", "repository": "octo-org/octo-repo", "repository_owner": "octo-org",
                    "actor_id": "12", "repository_id": "74", "run_id": "1", "workflow": "example", "event_name": "workflow_dispatch",
                    "iss": "https://token.actions.githubusercontent.com", "nbf": now() - 300,
                })),
                grants: none,
                refused: vec![
                    (json!({"repository": "octo-org/other"}), R::Custom),
                    (json!({"repository": "evil/octo-repo"}), R::Custom),
                    (json!({"repository": null}), R::Custom),
                    (json!({"aud": "https://github.com/octo-org"}), R::Audience),
                    (json!({"iss": "https://token.actions.githubusercontent.com/evil"}), R::Issuer),
                ],
            },
        ),
        (
            "kubernetes",
            Case {
                jwt: Jwt::kubernetes(
                    "https://kubernetes.default.svc.cluster.local",
                    "vault",
                    ["my-ns:my-account"],
                ),
                keys: "https://kubernetes.default.svc.cluster.local",
                header: plain,
                claims: claims(json!({
                    "aud": ["vault"], "iss": "https://kubernetes.default.svc.cluster.local", "nbf": now() - 10, "jti": "ea28",
                    "kubernetes.io": {"namespace": "my-ns", "node": {"name": "n"}, "serviceaccount": {"name": "my-account", "uid": "14ee"}},
                    "sub": "system:serviceaccount:my-ns:my-account",
                })),
                grants: none,
                refused: vec![
                    (json!({"sub": "system:serviceaccount:my-ns:default"}), R::Subject),
                    (json!({"sub": "system:serviceaccount:other:my-account"}), R::Subject),
                    (json!({"sub": null}), R::Subject),
                    (json!({"aud": ["https://kubernetes.default.svc.cluster.local"]}), R::Audience),
                    // An old token, from a secret.
                    (json!({"exp": null, "aud": null}), R::MissingClaim),
                ],
            },
        ),
        (
            "cloudflare access",
            Case {
                jwt: Jwt::cloudflare_access("example", "32eafc7626e737271d6af4c9a9d6"),
                keys: "https://example.cloudflareaccess.com/cdn-cgi/access/certs",
                header: typed,
                claims: claims(json!({
                    "aud": ["32eafc7626e737271d6af4c9a9d6"], "email": "ann@example.com", "nbf": now() - 10, "type": "app", "identity_nonce": "6ei69kawdKzMIAPF",
                    "iss": "https://example.cloudflareaccess.com", "sub": "7335d417", "country": "US",
                })),
                grants: none,
                refused: vec![
                    (json!({"type": "org"}), R::Custom),
                    (json!({"type": null}), R::Custom),
                    (json!({"aud": ["another application"]}), R::Audience),
                    (json!({"iss": "https://other.cloudflareaccess.com"}), R::Issuer),
                ],
            },
        ),
    ]
}

#[tokio::test]
async fn tokens_of_the_documented_shape_are_accepted_and_others_are_not() {
    let _log = crate::test_log::Log::start();
    let (rsa, ec) = (TestIssuer::rs256(), TestIssuer::es256());
    for (name, case) in cases() {
        let jwt = case.jwt.unwrap_or_else(|error| panic!("{name}: {error}"));
        let shown = format!("{jwt:?}");
        assert!(shown.contains(&format!("{:?}", case.keys)), "{name}: {shown}");
        let jwt = jwt.keys(rsa.keys());
        // `exp` can't be missing in a token of the test issuer unless it is `null`.
        let token = |claims: &Value| {
            let mut claims = claims.clone();
            let expires = claims.get("exp").is_some();
            if !expires {
                claims["exp"] = Value::Null;
            }
            rsa.token_with(&case.header, claims)
        };
        let accepted = jwt.verify(token(&case.claims)).await;
        let accepted = accepted.unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        let [scopes, roles, permissions] = case.grants;
        assert!(scopes.iter().all(|scope| accepted.has_scope(scope)), "{name}");
        assert!(roles.iter().all(|role| accepted.has_role(role)), "{name}");
        assert!(permissions.iter().all(|own| accepted.has_permission(own)), "{name}");
        assert!(!accepted.has_role("admin") && !accepted.has_role("manage-account"), "{name}");
        let mut refused = case.refused;
        refused.push((json!({"exp": now() - 3600}), JwtRefusal::Expired));
        refused.push((json!({"iat": now() + 3600}), JwtRefusal::IssuedInFuture));
        refused.push((json!({"iat": null}), JwtRefusal::MissingClaim));
        for (change, expected) in refused {
            let verdict = jwt.verify(token(&changed(&case.claims, &change))).await.map(drop);
            let expected = match change.get("exp") {
                Some(Value::Null) => JwtRefusal::Claim("exp"),
                _ => expected,
            };
            assert_eq!(verdict, Err(expected), "{name}: {change}");
            // The log names the claim that was changed, and what it must be.
            let token = token(&changed(&case.claims, &change));
            let explanation = jwt.explain(expected, token.as_bytes());
            let part = explanation.part.unwrap_or_default();
            let expects = explanation.expected.unwrap_or_default();
            assert!(!expects.is_empty(), "{name}: {change}: {part}");
            if expected != JwtRefusal::Custom {
                let mut changes = change.as_object().expect("an object").keys();
                // An issuer contains the tenant.
                let named = |claim: &str| part.contains(if claim == "tid" { "iss" } else { claim });
                assert!(changes.any(|claim| named(claim)), "{name}: {change}: {part}");
            }
        }
        // The header can't choose an algorithm.
        let stranger = ec.token_with(&case.header, case.claims);
        assert_eq!(jwt.verify(stranger).await.map(drop), Err(JwtRefusal::Algorithm), "{name}");
    }
}

/// The keys for every tenant are published together. Some are those of personal accounts alone.
#[tokio::test]
async fn a_key_that_is_published_for_one_tenant_signs_for_no_other() {
    let issuer = TestIssuer::rs256();
    let token = |tenant: &str| {
        let iss = format!("https://login.microsoftonline.com/{tenant}/v2.0");
        issuer.token(claims(json!({"aud": API, "iss": iss, "sub": "s", "tid": tenant, "scp": "a", "ver": "2.0", "azp": "x"})))
    };
    let v2 = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let personal = format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0");
    for (published_for, work, private) in [
        (json!(null), true, true),
        (json!(7), true, true),
        (json!(v2), true, true),
        (json!(personal), false, true),
        (json!(format!("https://login.microsoftonline.com/{TENANT}/v2.0")), true, false),
        (json!("https://sts.windows.net/{tenantid}/"), false, false),
        (json!("https://evil.example/{tenantid}/v2.0"), false, false),
        (json!(""), false, false),
    ] {
        let mut set = issuer.jwks();
        set["keys"][0]["issuer"] = published_for.clone();
        let keys = Keys::jwks(set.to_string(), [Rs256]).expect("keys");
        let jwt = Jwt::<()>::entra_v2_any_tenant(API).expect("a preset").keys(keys);
        for (tenant, accepted) in [(TENANT, work), (OTHER_TENANT, private)] {
            let verdict = jwt.verify(token(tenant)).await.map(drop);
            let expected = if accepted { Ok(()) } else { Err(JwtRefusal::Key) };
            assert_eq!(verdict, expected, "{published_for} {tenant}");
        }
    }
    // Several tenants, from a list.
    let jwt = Jwt::<()>::entra_v2([TENANT, &OTHER_TENANT.to_ascii_uppercase()], API);
    let jwt = jwt.expect("a preset").keys(issuer.keys());
    let third = "11111111-0000-cccc-1111-dddd2222eeee";
    for (tenant, accepted) in [(TENANT, true), (OTHER_TENANT, true), (third, false)] {
        assert_eq!(jwt.verify(token(tenant)).await.is_ok(), accepted, "{tenant}");
    }
}

/// A load balancer: how it signs, and a bucket with its public key.
struct Balancer {
    pair: EcdsaKeyPair,
    fetches: std::sync::Arc<AtomicUsize>,
    status: std::sync::Arc<std::sync::Mutex<StatusCode>>,
    /// How long the bucket takes for a key that it does not have.
    delay: Duration,
}

const KID: &str = "12345678-1234-1234-1234-123456789012";

impl Balancer {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self {
            pair,
            fetches: Default::default(),
            status: Default::default(),
            delay: Duration::ZERO,
        }
    }

    fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = self.pair.public_key().as_der().expect("DER");
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref())
        )
    }

    fn header(&self) -> Value {
        json!({
            "alg": "ES256", "kid": KID, "signer": ARN, "iss": "https://login.example.org", "client": "web", "exp": now() + 120, "typ": "JWT",
        })
    }

    fn token(&self, header: &Value, claims: &Value, engine: &impl Engine) -> String {
        let message =
            format!("{}.{}", engine.encode(header.to_string()), engine.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signed");
        format!("{message}.{}", engine.encode(signature))
    }

    fn jwt(&self) -> Jwt<Value> {
        let bucket = Bucket {
            pem: self.pem(),
            fetches: self.fetches.clone(),
            status: self.status.clone(),
            delay: self.delay,
        };
        let keys = LoadBalancerKeys::new("eu-central-1").expect("a region").fetch(bucket);
        Jwt::aws_load_balancer(ARN, "web").expect("a preset").keys(keys)
    }
}

struct Bucket {
    pem: String,
    fetches: std::sync::Arc<AtomicUsize>,
    status: std::sync::Arc<std::sync::Mutex<StatusCode>>,
    delay: Duration,
}

impl Fetch for Bucket {
    type Error = std::io::Error;

    async fn fetch(&self, request: Request<()>) -> Result<Response, std::io::Error> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        assert!(request.headers().contains_key("user-agent"));
        let mut response = Response::new(Body::from(self.pem.clone()));
        *response.status_mut() = *self.status.lock().expect("not poisoned");
        let url = request.uri().to_string();
        if url != format!("https://public-keys.auth.elb.eu-central-1.amazonaws.com/{KID}") {
            assert!(
                url.starts_with("https://public-keys.auth.elb.eu-central-1.amazonaws.com/"),
                "{url}"
            );
            *response.status_mut() = StatusCode::FORBIDDEN;
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
        }
        Ok(response)
    }
}

#[tokio::test]
async fn tokens_of_a_load_balancer_are_padded_and_have_their_time_in_the_header() {
    use JwtRefusal as R;

    let balancer = Balancer::new();
    let jwt = balancer.jwt();
    let user = json!({"sub": "1234567890", "name": "name", "email": "alias@example.com"});
    let token = balancer.token(&balancer.header(), &user, &URL_SAFE);
    assert!(token.contains('='), "{token}");
    let claims = jwt.verify(&token).await.expect("accepted");
    assert_eq!(claims["email"], "alias@example.com");
    let expires = Claims::registered(&claims).expires_at().expect("a time");
    assert!(expires > SystemTime::now());
    // The newest tokens repeat the time and the issuer in the payload.
    let repeated = changed(&user, &json!({"exp": now() + 120, "iss": "https://login.example.org"}));
    assert!(jwt.verify(balancer.token(&balancer.header(), &repeated, &URL_SAFE)).await.is_ok());
    assert!(jwt.verify(balancer.token(&balancer.header(), &user, &URL_SAFE_NO_PAD)).await.is_ok());
    for (header, claims, expected) in [
        (
            json!({"signer": "arn:aws:elasticloadbalancing:eu-central-1:999:loadbalancer/app/evil/1"}),
            json!({}),
            R::Issuer,
        ),
        (json!({"signer": null}), json!({}), R::Header),
        (json!({"client": "other"}), json!({}), R::Audience),
        (json!({"client": null}), json!({}), R::Header),
        (json!({"exp": now() - 120}), json!({}), R::Expired),
        (json!({"exp": now() - 120}), json!({"exp": now() + 120}), R::Expired),
        (json!({}), json!({"exp": now() - 120}), R::Expired),
        (json!({"exp": null}), json!({"exp": now() + 120}), R::Header),
        (json!({"exp": "soon"}), json!({}), R::Header),
        (json!({"alg": "HS256"}), json!({}), R::Algorithm),
        (json!({"kid": "../12345678-1234-1234-1234-123456789012"}), json!({}), R::Key),
        (json!({"kid": "x"}), json!({}), R::Key),
        (json!({"kid": null}), json!({}), R::Key),
        (json!({"kid": "ffffffff-1234-1234-1234-123456789012"}), json!({}), R::Key),
        (json!({}), json!({"sub": null}), R::MissingClaim),
    ] {
        let (header, claims) = (changed(&balancer.header(), &header), changed(&user, &claims));
        let verdict = jwt.verify(balancer.token(&header, &claims, &URL_SAFE)).await;
        assert_eq!(verdict.map(drop), Err(expected), "{header} {claims}");
    }
    let forged = Balancer::new().token(&balancer.header(), &user, &URL_SAFE);
    assert_eq!(jwt.verify(forged).await.map(drop), Err(R::Signature));
    // Padding is accepted for load balancers alone.
    let keys = Key::pem(Algorithm::Es256, balancer.pem()).expect("a key");
    let other = Jwt::<Value>::new(keys).expiry_optional();
    assert_eq!(other.verify(token).await.map(drop), Err(R::Malformed));
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_load_balancer_is_fetched_once_and_made_up_names_are_bounded() {
    let balancer = Balancer::new();
    let jwt = balancer.jwt();
    let user = json!({"sub": "1"});
    let good = balancer.token(&balancer.header(), &user, &URL_SAFE);
    let fetches = || balancer.fetches.load(Ordering::Relaxed);
    for _ in 0..5 {
        assert!(jwt.verify(&good).await.is_ok());
    }
    assert_eq!(fetches(), 1);
    let mut unavailable = 0;
    for n in 0..100 {
        let kid = format!("{n:08}-1234-1234-1234-123456789012");
        let token =
            balancer.token(&changed(&balancer.header(), &json!({"kid": kid})), &user, &URL_SAFE);
        let verdict = jwt.verify(token).await.map(drop);
        unavailable += usize::from(verdict == Err(JwtRefusal::KeysUnavailable));
        assert!(matches!(verdict, Err(JwtRefusal::Key | JwtRefusal::KeysUnavailable)));
    }
    assert_eq!((fetches(), unavailable), (8, 93));
    // A known key needs no fetch. After an hour it is fetched again, and used if that fails.
    assert!(jwt.verify(&good).await.is_ok());
    tokio::time::advance(std::time::Duration::from_secs(2 * 60 * 60)).await;
    *balancer.status.lock().expect("not poisoned") = StatusCode::BAD_GATEWAY;
    let before = fetches();
    assert!(jwt.verify(&good).await.is_ok());
    assert_eq!(fetches(), before + 1);
    tokio::time::advance(std::time::Duration::from_secs(48 * 60 * 60)).await;
    let verdict = jwt.verify(&good).await.map(drop);
    assert_eq!(verdict, Err(JwtRefusal::KeysUnavailable));
}

/// A token of the load balancer under a made-up name of a key.
fn made_up(balancer: &Balancer, n: usize, header: &Value, claims: &Value) -> String {
    let kid = json!({"kid": format!("{n:08}-1234-1234-1234-123456789012")});
    let header = changed(&changed(&balancer.header(), header), &kid);
    balancer.token(&header, claims, &URL_SAFE)
}

#[tokio::test(start_paused = true)]
async fn a_token_that_no_key_can_make_valid_causes_no_fetch() {
    let balancer = Balancer::new();
    let issuer = "https://login.example.org";
    let jwt = balancer.jwt().issuer(issuer).expect("an issuer");
    let user = json!({"sub": "1", "iss": issuer});
    let arn = "arn:aws:elasticloadbalancing:eu-central-1:999:loadbalancer/app/evil/1";
    let table = [
        (json!({"signer": arn}), json!({}), JwtRefusal::Issuer),
        (json!({"signer": null}), json!({}), JwtRefusal::Header),
        (json!({"client": "other"}), json!({}), JwtRefusal::Audience),
        (json!({"client": null}), json!({}), JwtRefusal::Header),
        (json!({"iss": "https://evil.example"}), json!({}), JwtRefusal::Issuer),
        (json!({"iss": null}), json!({}), JwtRefusal::Issuer),
        (json!({"exp": now() - 61}), json!({}), JwtRefusal::Expired),
        (json!({"exp": null}), json!({}), JwtRefusal::Header),
        (json!({"exp": "soon"}), json!({}), JwtRefusal::Header),
        (json!({"alg": "HS256"}), json!({}), JwtRefusal::Algorithm),
        (json!({"alg": "ES384"}), json!({}), JwtRefusal::Algorithm),
        (json!({"typ": "dpop+jwt"}), json!({}), JwtRefusal::Type),
        (json!({"crit": ["exp"]}), json!({}), JwtRefusal::Header),
        (json!({}), json!({"exp": now() - 61}), JwtRefusal::Expired),
        (json!({}), json!({"nbf": now() + 600}), JwtRefusal::NotYetValid),
        (json!({}), json!({"sub": null}), JwtRefusal::MissingClaim),
        (json!({}), json!({"iss": "https://evil.example"}), JwtRefusal::Issuer),
    ];
    for (header, claims, expected) in &table {
        // Twice as many as there are fetches in a window.
        for n in 0..16 {
            let token = made_up(&balancer, n, header, &changed(&user, claims));
            let verdict = jwt.verify(token).await.map(drop);
            assert_eq!(verdict, Err(*expected), "{header} {claims}");
        }
        assert_eq!(balancer.fetches.load(Ordering::Relaxed), 0, "{header} {claims}");
    }
    let good = balancer.token(&balancer.header(), &user, &URL_SAFE);
    assert_eq!(jwt.verify(good).await.map(drop), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_known_key_does_not_wait_behind_made_up_ones() {
    let balancer = Balancer { delay: Duration::from_secs(4), ..Balancer::new() };
    let jwt = std::sync::Arc::new(balancer.jwt());
    let user = json!({"sub": "1"});
    let good = balancer.token(&balancer.header(), &user, &URL_SAFE);
    let fetches = || balancer.fetches.load(Ordering::Relaxed);
    assert_eq!(jwt.verify(&good).await.map(drop), Ok(()));
    for (hours, first) in [(2, 0), (48, 100)] {
        tokio::time::advance(Duration::from_secs(hours * 60 * 60)).await;
        let log = crate::test_log::Log::start();
        let (before, start) = (fetches(), tokio::time::Instant::now());
        let flood: Vec<_> = (first..first + 100)
            .map(|n| {
                let (jwt, token) = (jwt.clone(), made_up(&balancer, n, &json!({}), &user));
                tokio::spawn(async move { jwt.verify(token).await.map(drop) })
            })
            .collect();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(fetches(), before + 8, "{hours}");
        assert_eq!(jwt.verify(&good).await.map(drop), Ok(()), "{hours}");
        assert_eq!(start.elapsed(), Duration::ZERO, "{hours}");
        // It was fetched again, beside the window.
        assert_eq!(fetches(), before + 9, "{hours}");
        for refused in flood {
            let refused = refused.await.expect("no panic");
            assert!(matches!(refused, Err(JwtRefusal::Key | JwtRefusal::KeysUnavailable)));
        }
        let warnings = log.text().lines().filter(|line| line.contains("WARN")).count();
        assert_eq!(warnings, 1, "{hours}: {}", log.text());
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_404_withdraws_a_known_key() {
    for (status, within_a_day) in [
        (StatusCode::FORBIDDEN, Ok(())),
        (StatusCode::BAD_GATEWAY, Ok(())),
        (StatusCode::TOO_MANY_REQUESTS, Ok(())),
        (StatusCode::NOT_FOUND, Err(JwtRefusal::Key)),
    ] {
        let balancer = Balancer::new();
        let jwt = balancer.jwt();
        let good = balancer.token(&balancer.header(), &json!({"sub": "1"}), &URL_SAFE);
        assert_eq!(jwt.verify(&good).await.map(drop), Ok(()), "{status}");
        *balancer.status.lock().expect("not poisoned") = status;
        for hours in [2, 20] {
            tokio::time::advance(Duration::from_secs(hours * 60 * 60)).await;
            // Also for the requests after the one that fetched it again.
            for _ in 0..2 {
                let verdict = jwt.verify(&good).await.map(drop);
                assert_eq!(verdict, within_a_day, "{status} {hours}");
            }
        }
        tokio::time::advance(Duration::from_secs(3 * 60 * 60)).await;
        assert!(jwt.verify(&good).await.is_err(), "{status}");
    }
}

#[tokio::test]
async fn requests_that_need_the_same_key_share_one_fetch() {
    let balancer = Balancer::new();
    let jwt = balancer.jwt();
    let good = balancer.token(&balancer.header(), &json!({"sub": "1"}), &URL_SAFE);
    // A client that disconnects.
    assert!(jwt.verify(&good).now_or_never().is_none());
    let verdicts = futures_util::future::join_all((0..100).map(|_| jwt.verify(&good))).await;
    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!(balancer.fetches.load(Ordering::Relaxed), 1);
}

#[test]
fn a_preset_rejects_arguments_that_no_token_can_match() {
    type Built = Result<Jwt<()>, JwtError>;
    let none: [&str; 0] = [];
    let table: Vec<(Built, &str)> = vec![
        (Jwt::auth0("https://example.eu.auth0.com/", "api"), "`example.eu.auth0.com`"),
        (Jwt::auth0("example.eu.auth0.com/", "api"), "`example.eu.auth0.com`"),
        (Jwt::auth0("", "api"), "`example.eu.auth0.com`"),
        (Jwt::auth0("example.eu.auth0.com", ""), "the audience is empty"),
        (Jwt::auth0("example.eu.auth0.com", " "), "the audience is empty"),
        (Jwt::okta("https://example.okta.com", "api"), "custom Okta authorization server"),
        (Jwt::okta("https://example.okta.com/oauth2/default/", "api"), "/oauth2/default`"),
        (
            Jwt::okta(
                "https://example.okta.com/oauth2/default/.well-known/openid-configuration",
                "api",
            ),
            "/oauth2/default`",
        ),
        (Jwt::entra_v2(none, API), "a list of ids of Entra ID tenants"),
        (Jwt::entra_v2(["common"], API), "`9188040d-6c67-4c5b-b112-36a304b66dad`"),
        (Jwt::entra_v2(["organizations"], API), "`9188040d-6c67-4c5b-b112-36a304b66dad`"),
        (Jwt::entra_v2(["{tenantid}"], API), "`9188040d-6c67-4c5b-b112-36a304b66dad`"),
        (Jwt::entra_v1(["contoso.onmicrosoft.com"], API), "`9188040d-6c67-4c5b-b112-36a304b66dad`"),
        (Jwt::entra_v2_any_tenant(""), "the audience is empty"),
        (Jwt::keycloak("https://sso.example.org", "api"), "/realms/main`"),
        (Jwt::keycloak("https://sso.example.org/realms/main/", "api"), "/realms/main`"),
        (Jwt::keycloak("http://sso.example.org/realms/main", "api"), "https"),
        (Jwt::cognito("eu-central-1", ["a"]), "`eu-central-1_AbCdEf123`"),
        (Jwt::cognito("AbCdEf123", ["a"]), "`eu-central-1_AbCdEf123`"),
        (Jwt::cognito("eu-central-1_a/b", ["a"]), "`eu-central-1_AbCdEf123`"),
        (Jwt::cognito("eu-central-1_AbCdEf123", none), "a list of Cognito app clients"),
        (Jwt::cognito("eu-central-1_AbCdEf123", [""]), "a list of Cognito app clients"),
        (Jwt::google(""), "the audience is empty"),
        (Jwt::firebase("https://example.firebaseapp.com"), "`example-project-1`"),
        (Jwt::firebase(""), "`example-project-1`"),
        (Jwt::supabase("abcdefghijkl"), "`https://abcdefghijkl.supabase.co`"),
        (
            Jwt::supabase("https://abcdefghijkl.supabase.co/auth/v1"),
            "`https://abcdefghijkl.supabase.co`",
        ),
        (Jwt::github_actions("api", none), "`octo-org/octo-repo`"),
        (Jwt::github_actions("api", ["octo-org"]), "`octo-org/octo-repo`"),
        (Jwt::github_actions("api", ["octo-org/*"]), "`octo-org/octo-repo`"),
        (Jwt::github_actions("", ["octo-org/octo-repo"]), "the audience is empty"),
        (Jwt::kubernetes("https://k8s.example", "api", none), "`namespace:name`"),
        (Jwt::kubernetes("https://k8s.example", "api", ["name"]), "`namespace:name`"),
        (
            Jwt::kubernetes("https://k8s.example", "api", ["system:serviceaccount:a:b"]),
            "`namespace:name`",
        ),
        (Jwt::cloudflare_access("example.cloudflareaccess.com", "a"), "`example`"),
        (Jwt::cloudflare_access("example", ""), "the audience is empty"),
        (Jwt::aws_load_balancer("my-load-balancer", "web"), "the ARN"),
        (Jwt::aws_load_balancer(&ARN.replace("/app/", "/net/"), "web"), "the ARN"),
        (Jwt::aws_load_balancer(ARN, ""), "the client id is empty"),
    ];
    for (index, (built, remedy)) in table.into_iter().enumerate() {
        let error = built.expect_err(&format!("case {index}")).to_string();
        assert!(error.contains(remedy), "{index}: {error}");
    }
    for region in ["", "eu", "eu-central-1.evil.example", "eu--1", "../x-y-z"] {
        assert!(LoadBalancerKeys::new(region).is_err(), "{region}");
    }
    let shown = format!("{:?}", LoadBalancerKeys::new("us-gov-west-1"));
    assert!(
        shown.contains(
            "https://s3-us-gov-west-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-west-1/"
        ),
        "{shown}"
    );
}

/// Cloudflare and load balancers send their tokens in headers of their own.
#[tokio::test]
async fn tokens_are_read_from_the_header_of_the_issuer() {
    let balancer = Balancer::new();
    let token = balancer.token(&balancer.header(), &json!({"sub": "1"}), &URL_SAFE);
    let chain = crate::Chain::new().use_(balancer.jwt()).get(async || "in").build();
    for (header, value, status) in [
        ("x-amzn-oidc-data", token.clone(), 200),
        ("authorization", format!("Bearer {token}"), 401),
        ("x-amzn-oidc-accesstoken", token, 401),
    ] {
        let request =
            Request::builder().header(header, value).body(Body::empty()).expect("a request");
        assert_eq!(chain.handle(request).await.status(), status, "{header}");
    }
}
