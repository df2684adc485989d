//! The whole job on axum: `from_fn` for the limit, extractors for the token and the body, as in its examples.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, State};
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{Router, post};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::StatusCode;
use http::header::AUTHORIZATION;
use jsonwebtoken::{DecodingKey, Validation};
use validator::Validate;

use super::{Created, Member, NewUser, PEER, Peer, SECRET, request};
use crate::cases::{Request, Response, Subject};

type Limiter = Arc<DefaultKeyedRateLimiter<IpAddr>>;

pub(super) fn on_axum(_: usize) -> Subject {
    let rate = NonZeroU32::new(1_000_000).unwrap();
    let limiter: Limiter = Arc::new(RateLimiter::keyed(Quota::per_second(rate)));
    let router = Router::new()
        .route("/api/users", post(create))
        .layer(from_fn_with_state(limiter, limit))
        .with_state(());
    Subject::new(router, request(Peer(PEER)))
}

async fn limit(State(limiter): State<Limiter>, req: Request, next: Next) -> Response {
    let Some(peer) = req.extensions().get::<Peer>() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if limiter.check_key(&peer.0.ip()).is_err() {
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    next.run(req).await
}

async fn create(
    Token(member): Token,
    Validated(user): Validated,
) -> Result<(StatusCode, Json<Created>), StatusCode> {
    let id = user.email.len() as u32;
    Ok((StatusCode::CREATED, Json(Created { id, name: user.name, by: member.sub })))
}

static KEY: LazyLock<DecodingKey> = LazyLock::new(|| DecodingKey::from_secret(SECRET).unwrap());

struct Token(Member);

impl<S: Sync> FromRequestParts<S> for Token {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let field = parts.headers.get(AUTHORIZATION).and_then(|field| field.to_str().ok());
        let token = field.and_then(|field| field.strip_prefix("Bearer "));
        let token = token.ok_or(StatusCode::UNAUTHORIZED)?;
        let decoded = jsonwebtoken::decode(token, &KEY, &Validation::default());
        decoded.map(|token| Self(token.claims)).map_err(|_| StatusCode::UNAUTHORIZED)
    }
}

struct Validated(NewUser);

impl<S: Send + Sync> FromRequest<S> for Validated {
    type Rejection = Response;

    async fn from_request(req: Request, state: &S) -> Result<Self, Response> {
        let user = Json::<NewUser>::from_request(req, state).await;
        let Json(user) = user.map_err(IntoResponse::into_response)?;
        user.validate().map_err(|_| StatusCode::UNPROCESSABLE_ENTITY.into_response())?;
        Ok(Self(user))
    }
}
