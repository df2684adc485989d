//! Whole requests and whole tokens.

#[cfg(all(feature = "authenticate", feature = "jwt"))]
mod combined;
#[cfg(feature = "jwt")]
mod explain;
#[cfg(feature = "jwt")]
mod keys;
#[cfg(all(feature = "authenticate", feature = "jwks"))]
mod mistakes;
mod peers;
mod spy;
mod state;
mod strict;
#[cfg(all(feature = "authenticate", feature = "jwt"))]
mod unreached;
mod vectors;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};

use super::token::json;
use super::*;
use crate::{Body, Chain, ChainService, Error, MiddlewareExt, Request};

pub(crate) const SECRET: &str = "the secret that only the tests have";
const NOW: u64 = 1_800_000_000;

#[derive(Debug, Clone, Deserialize)]
struct Member {
    sub: String,
    #[serde(default)]
    roles: Vec<String>,
}

fn sign(header: &str, claims: &str) -> String {
    sign_with(SECRET, header, claims)
}

/// A token, whatever the two parts are. The signature is made by another crate than the one that checks it.
pub(crate) fn sign_with(secret: &str, header: &str, claims: &str) -> String {
    use hmac::Mac;
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn good() -> String {
    sign(HEADER, &json!({"sub": "ann", "exp": NOW + 60, "roles": ["admin"]}).to_string())
}

fn jwt() -> Jwt<Member> {
    at(Jwt::hs256(SECRET).unwrap(), NOW)
}

fn any() -> Jwt<Value> {
    at(Jwt::hs256(SECRET).unwrap(), NOW)
}

fn at<C: DeserializeOwned + Send + Sync + 'static>(jwt: Jwt<C>, now: u64) -> Jwt<C> {
    jwt.clock(move || SystemTime::UNIX_EPOCH + Duration::from_secs(now))
}

/// A chain that counts how often its handler runs.
fn spied<C>(jwt: Jwt<C>) -> (ChainService, Arc<AtomicUsize>)
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let calls = Arc::new(AtomicUsize::new(0));
    let spy = calls.clone();
    let service = Chain::new()
        .use_(jwt)
        .get(move |_: Claims<C>| {
            spy.fetch_add(1, Ordering::Relaxed);
            async { "in" }
        })
        .build();
    (service, calls)
}

fn request(authorization: &[&str]) -> Request {
    let mut request = http::Request::new(Body::empty());
    for value in authorization {
        request.headers_mut().append(AUTHORIZATION, value.parse().unwrap());
    }
    request
}

async fn answer(service: &ChainService, authorization: &[&str]) -> (u16, String, String) {
    let response = service.handle(request(authorization)).await;
    let status = response.status().as_u16();
    let challenge = response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .map(|value| value.to_str().unwrap().to_owned())
        .collect::<Vec<_>>()
        .join("|");
    if status != 200 {
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, challenge, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_good_token_provides_its_claims() {
    async fn me(claims: Claims<Member>) -> String {
        let subject = Claims::registered(&claims).subject().unwrap_or("no one").to_owned();
        let member = claims.into_inner();
        format!("{} {subject} {}", member.sub, member.roles.join(","))
    }
    let service = Chain::new().use_(jwt()).get(me).build();
    let (status, challenge, body) = answer(&service, &[&format!("Bearer {}", good())]).await;
    assert_eq!((status, &*challenge, &*body), (200, "", "ann ann admin"));
}

#[tokio::test]
async fn challenges_are_those_of_rfc_6750() {
    const MISSING: &str = r#"Bearer realm="api""#;
    let good = good();
    let table: &[(&[&str], u16, &str)] = &[
        (&[], 401, MISSING),
        (&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="], 401, MISSING),
        (&["Digest"], 401, MISSING),
        (&[&format!("bearer {good}")], 200, ""),
        (&[&format!("BEARER   {good}")], 200, ""),
        (&[""], 400, MALFORMED),
        (&["Bearer"], 400, NO_TOKEN),
        (&["Bearer "], 400, MALFORMED),
        (&["Bearer ="], 400, NO_TOKEN),
        (&["Bearer a b"], 400, NO_TOKEN),
        (&["Bearer a,b"], 400, NO_TOKEN),
        (&["Bearer \"a\""], 400, NO_TOKEN),
        (&["Bearer \u{e9}"], 400, NO_TOKEN),
        (&["Bearer\ta"], 400, MALFORMED),
        (&["Bearer: a"], 400, MALFORMED),
        (&[&format!("Bearer {good}"), &format!("Bearer {good}")], 400, REPEATED),
        (&[&format!("Bearer {good}"), "Basic YTpi"], 400, REPEATED),
        (&[&format!("Bearer {}", "a".repeat(8193))], 400, TOO_LONG),
        (
            &["Bearer a"],
            401,
            r#"Bearer realm="api", error="invalid_token", error_description="The access token is malformed""#,
        ),
        (
            &[&format!("Bearer {good}=")],
            401,
            r#"Bearer realm="api", error="invalid_token", error_description="The access token is malformed""#,
        ),
        (
            &[&format!("Bearer {}", &good[..good.len() - 3])],
            401,
            r#"Bearer realm="api", error="invalid_token", error_description="The signature of the access token is invalid""#,
        ),
    ];
    const MALFORMED: &str = r#"Bearer realm="api", error="invalid_request", error_description="The header `Authorization` is malformed""#;
    const NO_TOKEN: &str = r#"Bearer realm="api", error="invalid_request", error_description="The credentials are not a token""#;
    const REPEATED: &str = r#"Bearer realm="api", error="invalid_request", error_description="A header with credentials is repeated""#;
    const TOO_LONG: &str = r#"Bearer realm="api", error="invalid_request", error_description="The credentials are too long""#;
    for (authorization, status, challenge) in table {
        let (service, calls) = spied(jwt());
        let (have, header, _) = answer(&service, authorization).await;
        assert_eq!((have, &*header), (*status, *challenge), "{authorization:?}");
        assert_eq!(calls.load(Ordering::Relaxed), usize::from(*status == 200));
    }
}

#[tokio::test]
async fn an_axum_handler_takes_an_extension() {
    use axum::{Extension, Router, routing};
    use tower::ServiceExt;
    let app = Router::new()
        .route("/", routing::get(async |claims: Extension<Claims<Member>>| claims.sub.clone()))
        .layer(jwt().into_layer());
    let response = app.clone().oneshot(request(&[&format!("Bearer {}", good())])).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "ann");
    assert_eq!(app.oneshot(request(&[])).await.unwrap().status(), 401);
}
