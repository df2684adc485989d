//! The jobs on axum, as in its examples `jwt` and `validator`, with `tower_governor` for the limit. Middleware are `from_fn`, each
//! added by `.layer`, or all in one `ServiceBuilder` (variant `builder`).

use std::net::SocketAddr;
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, RequestPartsExt, Router};
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Bearer;
use contract::{Args, Created, HELLO, Job, Member, NewUser, Refusal, SECRET};
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::{GovernorError, GovernorLayer};
use validator::Validate;

fn main() -> std::io::Result<()> {
    contract::runtime()?.block_on(run())
}

async fn run() -> std::io::Result<()> {
    let args = Args::read();
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let app = app(&args).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await
}

fn app(args: &Args) -> Router {
    let hello = Router::new().route("/hello", get(hello)).fallback(not_found);
    macro_rules! times {
        ($builder:expr, 4) => {
            $builder
                .layer(from_fn(pass))
                .layer(from_fn(pass))
                .layer(from_fn(pass))
                .layer(from_fn(pass))
        };
        ($builder:expr, 16) => {
            times!(times!(times!(times!($builder, 4), 4), 4), 4)
        };
    }
    match (args.job, args.variant.as_str()) {
        (Job::Bare, _) => hello,
        (Job::Pass4, "builder") => hello.layer(times!(ServiceBuilder::new(), 4)),
        (Job::Pass16, "builder") => hello.layer(times!(ServiceBuilder::new(), 16)),
        (Job::Pass4, _) => times!(hello, 4),
        (Job::Pass16, _) => times!(hello, 16),
        (Job::Jwt, _) => Router::new().route("/me", get(me)).fallback(not_found),
        (Job::Post, _) => {
            let config = GovernorConfigBuilder::default()
                .period(args.period())
                .burst_size(args.limit.get())
                .finish()
                .expect("a limit");
            let limit = GovernorLayer::new(config).error_handler(too_many);
            Router::new().route("/api/users", post(create)).layer(limit).fallback(not_found)
        }
    }
}

async fn hello() -> &'static str {
    HELLO
}

async fn pass(req: Request, next: Next) -> Response {
    next.run(req).await
}

async fn me(Claims(member): Claims) -> Json<Member> {
    Json(member)
}

async fn create(
    Claims(member): Claims,
    ValidatedJson(user): ValidatedJson<NewUser>,
) -> (StatusCode, Json<Created>) {
    (StatusCode::CREATED, Json(Created::new(user, &member.sub)))
}

static KEY: LazyLock<DecodingKey> = LazyLock::new(|| DecodingKey::from_secret(SECRET).unwrap());

struct Claims(Member);

impl<S: Send + Sync> FromRequestParts<S> for Claims {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        let unauthorized = Refused(StatusCode::UNAUTHORIZED);
        let TypedHeader(Authorization(bearer)) = parts
            .extract::<TypedHeader<Authorization<Bearer>>>()
            .await
            .map_err(|_| unauthorized)?;
        let token = decode::<Member>(bearer.token(), &KEY, &Validation::default())
            .map_err(|_| unauthorized)?;
        Ok(Self(token.claims))
    }
}

struct ValidatedJson<T>(T);

impl<T: DeserializeOwned + Validate, S: Send + Sync> FromRequest<S> for ValidatedJson<T> {
    type Rejection = Refused;

    async fn from_request(req: Request, state: &S) -> Result<Self, Refused> {
        let Json(value) = Json::<T>::from_request(req, state).await?;
        value.validate().map_err(|_| Refused(StatusCode::UNPROCESSABLE_ENTITY))?;
        Ok(Self(value))
    }
}

#[derive(Clone, Copy)]
struct Refused(StatusCode);

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let error = self.0.canonical_reason().unwrap_or_default();
        (self.0, Json(Refusal { error })).into_response()
    }
}

async fn not_found() -> Refused {
    Refused(StatusCode::NOT_FOUND)
}

fn too_many(_: GovernorError) -> Response<Body> {
    Refused(StatusCode::TOO_MANY_REQUESTS).into_response()
}
