//! The whole job: a limit per client, a token, a JSON body that is validated, a handler; and the same by hand with the usual crates.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum_core::response::IntoResponse;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use http_body_util::BodyExt;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tower_chain::{
    Body, Chain, Claims, Json, Jwt, PeerAddr, RateLimit, Request, Response, StatusCode, Valid,
};
use validator::Validate;

use super::axum::on_axum;
use super::{Case, Subject};

#[derive(Deserialize, Validate)]
pub(super) struct NewUser {
    #[validate(length(min = 1))]
    pub(super) name: String,
    #[validate(email)]
    pub(super) email: String,
}

#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Member {
    pub(super) sub: String,
    roles: Vec<String>,
    exp: u64,
}

#[derive(Serialize)]
pub(super) struct Created {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) by: String,
}

pub(super) const SECRET: &[u8] = b"an example secret of 256 bits !!";

async fn create(
    claims: Claims<Member>,
    Valid(Json(user)): Valid<Json<NewUser>>,
) -> (StatusCode, Json<Created>) {
    let created = Created { id: user.email.len() as u32, name: user.name, by: claims.sub.clone() };
    (StatusCode::CREATED, Json(created))
}

fn in_a_chain(_: usize) -> Subject {
    let limit = RateLimit::per_client(1_000_000).every(Duration::from_secs(1));
    chain(limit)
}

fn in_a_chain_without_fields(_: usize) -> Subject {
    let limit = RateLimit::per_client(1_000_000).every(Duration::from_secs(1)).headers([]);
    chain(limit)
}

fn chain(limit: RateLimit) -> Subject {
    let jwt = Jwt::<Member>::hs256(SECRET).unwrap();
    let service = Chain::new().use_(limit).use_(jwt).at("/api/users", |c| c.post(create)).build();
    Subject::new(service, request())
}

struct ByHand {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    key: DecodingKey,
    validation: Validation,
}

impl ByHand {
    async fn answer(&self, req: Request) -> Response {
        if req.uri().path() != "/api/users" {
            return StatusCode::NOT_FOUND.into_response();
        }
        if *req.method() != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let Some(peer) = req.extensions().get::<PeerAddr>() else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        if self.limiter.check_key(&peer.0.ip()).is_err() {
            return StatusCode::TOO_MANY_REQUESTS.into_response();
        }
        let token = req.headers().get(AUTHORIZATION).and_then(|field| field.to_str().ok());
        let Some(token) = token.and_then(|field| field.strip_prefix("Bearer ")) else {
            return StatusCode::UNAUTHORIZED.into_response();
        };
        let token = jsonwebtoken::decode::<Member>(token, &self.key, &self.validation);
        let Ok(token) = token else { return StatusCode::UNAUTHORIZED.into_response() };
        if req.headers().get(CONTENT_TYPE).is_none_or(|media| media != "application/json") {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
        }
        let Ok(body) = req.into_body().collect().await else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let Ok(user) = serde_json::from_slice::<NewUser>(&body.to_bytes()) else {
            return StatusCode::UNPROCESSABLE_ENTITY.into_response();
        };
        if user.validate().is_err() {
            return StatusCode::UNPROCESSABLE_ENTITY.into_response();
        }
        let by = token.claims.sub;
        let created = Created { id: user.email.len() as u32, name: user.name, by };
        let Ok(body) = serde_json::to_vec(&created) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::CREATED;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

fn by_hand(_: usize) -> Subject {
    let rate = NonZeroU32::new(1_000_000).unwrap();
    let job = Arc::new(ByHand {
        limiter: RateLimiter::keyed(Quota::per_second(rate)),
        key: DecodingKey::from_secret(SECRET),
        validation: Validation::default(),
    });
    let service = tower::service_fn(move |req: Request| {
        let job = job.clone();
        async move { Ok::<_, Infallible>(job.answer(req).await) }
    });
    Subject::new(service, request())
}

pub(super) fn request() -> impl Fn() -> Request + 'static {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let roles = vec!["admin".to_owned(), "author".to_owned()];
    let member = Member { sub: "user-4711".to_owned(), roles, exp: now + 86_400 };
    let key = EncodingKey::from_secret(SECRET);
    let token = jsonwebtoken::encode(&Header::default(), &member, &key).unwrap();
    let token: HeaderValue = format!("Bearer {token}").parse().unwrap();
    let peer = PeerAddr(SocketAddr::from(([192, 0, 2, 7], 40_000)));
    move || {
        let body = r#"{"name":"Ada Lovelace","email":"ada@example.org"}"#;
        let mut req = Request::new(Body::from(body));
        *req.method_mut() = Method::POST;
        *req.uri_mut() = http::Uri::from_static("/api/users");
        req.headers_mut().insert(AUTHORIZATION, token.clone());
        let json = HeaderValue::from_static("application/json");
        req.headers_mut().insert(CONTENT_TYPE, json);
        req.extensions_mut().insert(peer);
        req
    }
}

pub(super) fn cases() -> Vec<Case> {
    let case =
        |name: &str, build| Case { group: "whole job", name: name.to_owned(), build, size: 0 };
    vec![
        case("by hand", by_hand),
        case("axum", on_axum),
        case("chain", in_a_chain),
        case("chain, without RateLimit fields", in_a_chain_without_fields),
    ]
}
