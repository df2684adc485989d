//! The whole job written by hand, without a framework.

use std::convert::Infallible;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::response::IntoResponse;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use jsonwebtoken::{DecodingKey, Validation};
use validator::Validate;

use super::{Created, Member, NewUser, PEER, Peer, SECRET, request};
use crate::cases::{Request, Response, Subject};

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
        let Some(peer) = req.extensions().get::<Peer>() else {
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

pub(super) fn by_hand(_: usize) -> Subject {
    let rate = NonZeroU32::new(1_000_000).unwrap();
    let job = Arc::new(ByHand {
        limiter: RateLimiter::keyed(Quota::per_second(rate)),
        key: DecodingKey::from_secret(SECRET).unwrap(),
        validation: Validation::default(),
    });
    let service = tower::service_fn(move |req: Request| {
        let job = job.clone();
        async move { Ok::<_, Infallible>(job.answer(req).await) }
    });
    Subject::new(service, request(Peer(PEER)))
}
