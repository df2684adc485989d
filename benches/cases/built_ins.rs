//! Each built-in, and its bare work, written by hand.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum_core::response::IntoResponse;
use cookie::{Cookie, CookieJar};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::HeaderValue;
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE, ETAG, HeaderName, IF_NONE_MATCH, X_FRAME_OPTIONS,
};
use http_body_util::{BodyExt, Limited};
use jsonwebtoken::{DecodingKey, Validation};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::idempotency::Idempotency;
use tower_chain::middleware::telemetry::Telemetry;
use tower_chain::{
    Authenticate, Body, BodyLimit, Chain, Cookies, ETag, Json, Jwt, RateLimit, Request, Response,
    SecurityHeaders, StatusCode, Valid,
};
use validator::Validate;

use super::job::request as post;
use super::usual::{Member, NewUser, PEER, SECRET};
use super::{Case, Subject};

/// A service without a chain, which holds a value.
fn by_hand<T, F, Fut>(kept: T, request: impl Fn() -> Request + 'static, answer: F) -> Subject
where
    T: Send + Sync + 'static,
    F: Fn(Arc<T>, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response> + 'static,
{
    let kept = Arc::new(kept);
    let service = tower::service_fn(move |req: Request| {
        let answer = answer(kept.clone(), req);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    Subject::new(service, request)
}

async fn bare() -> StatusCode {
    StatusCode::OK
}

fn get(name: HeaderName, value: &'static str) -> impl Fn() -> Request + 'static {
    move || {
        let mut req = Request::new(Body::empty());
        req.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
        let peer = PeerAddr(PEER);
        req.extensions_mut().insert(peer);
        req
    }
}

fn no_step(_: usize) -> Subject {
    Subject::new(Chain::new().post(bare).into_service(), post())
}

fn no_step_by_hand(_: usize) -> Subject {
    by_hand((), post(), async |_, _| StatusCode::OK.into_response())
}

const TOKEN: &str = "Vy3pRT1rW9ZsU0bq6xQ2Lw";
const BEARER: &str = "Bearer Vy3pRT1rW9ZsU0bq6xQ2Lw";

fn authenticate(_: usize) -> Subject {
    let step = Authenticate::token(TOKEN).unwrap();
    Subject::new(Chain::new().use_(step).get(bare).into_service(), get(AUTHORIZATION, BEARER))
}

fn digest_by_hand(_: usize) -> Subject {
    by_hand(Sha256::digest(TOKEN), get(AUTHORIZATION, BEARER), async |known, req| {
        let field = req.headers().get(AUTHORIZATION).and_then(|field| field.to_str().ok());
        let Some(token) = field.and_then(|field| field.strip_prefix("Bearer ")) else {
            return StatusCode::UNAUTHORIZED.into_response();
        };
        let equal: bool = Sha256::digest(token).ct_eq(&known).into();
        let status = if equal { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        status.into_response()
    })
}

fn jwt(_: usize) -> Subject {
    let step = Jwt::<Member>::hs256(SECRET).unwrap();
    Subject::new(Chain::new().use_(step).post(bare).into_service(), post())
}

fn decode_by_hand(_: usize) -> Subject {
    let kept = (DecodingKey::from_secret(SECRET).unwrap(), Validation::default());
    by_hand(kept, post(), async |kept, req| {
        let field = req.headers().get(AUTHORIZATION).and_then(|field| field.to_str().ok());
        let token = field.and_then(|field| field.strip_prefix("Bearer ")).unwrap_or_default();
        match jsonwebtoken::decode::<Member>(token, &kept.0, &kept.1) {
            Ok(_) => StatusCode::OK.into_response(),
            Err(_) => StatusCode::UNAUTHORIZED.into_response(),
        }
    })
}

fn limit() -> RateLimit {
    RateLimit::per_client(1_000_000).every(Duration::from_secs(1))
}

fn rate_limit(_: usize) -> Subject {
    Subject::new(Chain::new().use_(limit()).post(bare).into_service(), post())
}

fn rate_limit_without_fields(_: usize) -> Subject {
    Subject::new(Chain::new().use_(limit().headers([])).post(bare).into_service(), post())
}

fn governor_by_hand(_: usize) -> Subject {
    let quota = Quota::per_second(NonZeroU32::new(1_000_000).unwrap());
    let limiter: DefaultKeyedRateLimiter<IpAddr> = RateLimiter::keyed(quota);
    by_hand(limiter, post(), async |limiter, req| {
        let Some(peer) = req.extensions().get::<PeerAddr>() else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        match limiter.check_key(&peer.0.ip()) {
            Ok(()) => StatusCode::OK.into_response(),
            Err(_) => StatusCode::TOO_MANY_REQUESTS.into_response(),
        }
    })
}

fn json(_: usize) -> Subject {
    let handler = async |Json(user): Json<NewUser>| Json((user.name, user.email));
    Subject::new(Chain::new().post(handler).into_service(), post())
}

fn valid(_: usize) -> Subject {
    let handler = async |Valid(Json(user)): Valid<Json<NewUser>>| Json((user.name, user.email));
    Subject::new(Chain::new().post(handler).into_service(), post())
}

async fn serde_by_hand(req: Request, valid: impl Fn(&NewUser) -> bool) -> Response {
    if req.headers().get(CONTENT_TYPE).is_none_or(|media| media != "application/json") {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let Ok(body) = req.into_body().collect().await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let user = serde_json::from_slice::<NewUser>(&body.to_bytes());
    let Some(user) = user.ok().filter(valid) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let mut response =
        Response::new(Body::from(serde_json::to_vec(&(user.name, user.email)).unwrap_or_default()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn json_by_hand(_: usize) -> Subject {
    by_hand((), post(), async |_, req| serde_by_hand(req, |_| true).await)
}

fn valid_by_hand(_: usize) -> Subject {
    by_hand((), post(), async |_, req| serde_by_hand(req, |user| user.validate().is_ok()).await)
}

fn security_headers(_: usize) -> Subject {
    let chain = Chain::new().use_(SecurityHeaders::new()).get(bare);
    Subject::new(chain.into_service(), get(X_FRAME_OPTIONS, "x"))
}

fn inserts_by_hand(_: usize) -> Subject {
    const FIELDS: [(&str, &str); 12] = [
        (
            "content-security-policy",
            "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self'",
        ),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("origin-agent-cluster", "?1"),
        ("referrer-policy", "no-referrer"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ("x-content-type-options", "nosniff"),
        ("x-dns-prefetch-control", "off"),
        ("x-download-options", "noopen"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-permitted-cross-domain-policies", "none"),
        ("x-xss-protection", "0"),
    ];
    let fields = FIELDS
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    by_hand(fields, get(X_FRAME_OPTIONS, "x"), async |fields, _| {
        let mut response = StatusCode::OK.into_response();
        for (name, value) in fields.iter() {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    })
}

const PAGE: &str = match std::str::from_utf8(&[b'x'; 1024]) {
    Ok(page) => page,
    Err(_) => "",
};

fn etag(_: usize) -> Subject {
    let chain = Chain::new().use_(ETag::new()).get(async || PAGE);
    Subject::new(chain.into_service(), get(IF_NONE_MATCH, "W/\"0123456789abcdef\""))
}

fn hash_by_hand(_: usize) -> Subject {
    by_hand((), get(IF_NONE_MATCH, "W/\"0123456789abcdef\""), async |_, req| {
        const HEX: &[u8] = b"0123456789abcdef";
        let mut tag = b"W/\"".to_vec();
        for byte in &Sha256::digest(PAGE)[..16] {
            tag.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        tag.push(b'"');
        if req.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let mut response = PAGE.into_response();
        response.headers_mut().extend(HeaderValue::try_from(tag).map(|tag| (ETAG, tag)));
        response
    })
}

fn body_limit(_: usize) -> Subject {
    let handler = async |body: String| body;
    let chain = Chain::new().use_(BodyLimit::bytes(16 * 1024)).post(handler);
    Subject::new(chain.into_service(), post())
}

fn limited_by_hand(_: usize) -> Subject {
    by_hand((), post(), async |_, req| {
        match Limited::new(req.into_body(), 16 * 1024).collect().await {
            Ok(body) => match String::from_utf8(body.to_bytes().into()) {
                Ok(text) => text.into_response(),
                Err(_) => StatusCode::BAD_REQUEST.into_response(),
            },
            Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        }
    })
}

const COOKIES: &str = "theme=dark; session=4711; visits=12";

fn cookies(_: usize) -> Subject {
    let handler = async |cookies: Cookies| cookies.value("session").unwrap_or("").to_owned();
    Subject::new(Chain::new().get(handler).into_service(), get(COOKIE, COOKIES))
}

fn jar_by_hand(_: usize) -> Subject {
    by_hand((), get(COOKIE, COOKIES), async |_, req| {
        let mut jar = CookieJar::new();
        let field = req.headers().get(COOKIE).and_then(|field| field.to_str().ok());
        for cookie in Cookie::split_parse(field.unwrap_or_default().to_owned()).flatten() {
            jar.add_original(cookie);
        }
        jar.get("session").map_or("", |cookie| cookie.value()).to_owned().into_response()
    })
}

fn telemetry(_: usize) -> Subject {
    Subject::new(Chain::new().always(Telemetry::new()).post(bare).into_service(), post())
}

fn idempotency(_: usize) -> Subject {
    Subject::new(Chain::new().use_(Idempotency::for_anyone()).post(bare).into_service(), post())
}

pub(super) fn cases() -> Vec<Case> {
    let pairs: [(&str, &str, [fn(usize) -> Subject; 2]); 12] = [
        (
            "Authenticate, a token",
            "SHA-256, compared in constant time",
            [authenticate, digest_by_hand],
        ),
        ("Jwt, HS256", "jsonwebtoken", [jwt, decode_by_hand]),
        ("RateLimit", "governor", [rate_limit, governor_by_hand]),
        ("RateLimit, without fields", "governor", [rate_limit_without_fields, governor_by_hand]),
        ("Json", "serde_json", [json, json_by_hand]),
        ("Valid<Json>", "serde_json and validator", [valid, valid_by_hand]),
        ("SecurityHeaders", "12 inserts", [security_headers, inserts_by_hand]),
        ("ETag, 1 KiB", "SHA-256, compared", [etag, hash_by_hand]),
        ("BodyLimit", "http_body_util::Limited", [body_limit, limited_by_hand]),
        ("Cookies", "cookie::CookieJar", [cookies, jar_by_hand]),
        ("Idempotency, no key", "no step", [idempotency, no_step]),
        // Without a subscriber and a recorder.
        ("Telemetry, nothing recorded", "no step", [telemetry, no_step]),
    ];
    let case = |name: String, build| Case { group: "built-ins", name, build, size: 0 };
    // The part that all of them have in common.
    let mut cases = vec![
        case("no step".to_owned(), no_step),
        case("no step, by hand".to_owned(), no_step_by_hand),
    ];
    for (name, work, [built_in, by_hand]) in pairs {
        cases.push(case(name.to_owned(), built_in));
        cases.push(case(format!("{name}, by hand: {work}"), by_hand));
    }
    cases
}
