//! The jobs on poem. Middleware are types, as in its documentation of `Middleware`. The type is boxed after four of them, because the
//! compiler takes many minutes for sixteen without a box. The limit is `governor`, in a middleware.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use contract::{Args, Created, HELLO, Job, Member, NewUser, Refusal, SECRET};
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use jsonwebtoken::{DecodingKey, Validation, decode};
use poem::endpoint::BoxEndpoint;
use poem::error::ParseJsonError;
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::middleware::SizeLimit;
use poem::web::headers::authorization::{Authorization, Bearer};
use poem::web::{Json, TypedHeader};
use poem::{
    Endpoint, EndpointExt, Error, FromRequest, IntoResponse, Middleware, Request, RequestBody,
    Response, Result, Route, Server, get, handler, post,
};
use serde::de::DeserializeOwned;
use validator::Validate;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let args = Args::read();
    let listener = tokio::net::TcpListener::from_std(contract::listen(args.port)?)?;
    let app = app(&args).catch_all_error(refuse);
    Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?).run(app).await
}

fn app(args: &Args) -> BoxEndpoint<'static> {
    fn four(endpoint: BoxEndpoint<'static>) -> BoxEndpoint<'static> {
        endpoint.with(Pass).with(Pass).with(Pass).with(Pass).boxed()
    }
    let router = Route::new().at("/hello", get(hello));
    match args.job {
        Job::Bare => router.boxed(),
        Job::Pass4 => router.with(Pass).with(Pass).with(Pass).with(Pass).boxed(),
        Job::Pass16 => four(four(four(router.with(Pass).with(Pass).with(Pass).with(Pass).boxed()))),
        Job::Jwt => Route::new().at("/me", get(me)).boxed(),
        Job::Post => {
            let limit = Limit(Arc::new(RateLimiter::keyed(args.quota())));
            let users = post(create).with(SizeLimit::new(1 << 20)).with(limit);
            Route::new().at("/api/users", users).boxed()
        }
    }
}

#[handler]
async fn hello() -> &'static str {
    HELLO
}

#[handler]
async fn me(Claims(member): Claims) -> Json<Member> {
    Json(member)
}

#[handler]
async fn create(Claims(member): Claims, ValidJson(user): ValidJson<NewUser>) -> Response {
    Json(Created::new(user, &member.sub)).with_status(StatusCode::CREATED).into_response()
}

struct Pass;

impl<E: Endpoint> Middleware<E> for Pass {
    type Output = PassEndpoint<E>;

    fn transform(&self, inner: E) -> PassEndpoint<E> {
        PassEndpoint(inner)
    }
}

struct PassEndpoint<E>(E);

impl<E: Endpoint> Endpoint for PassEndpoint<E> {
    type Output = E::Output;

    async fn call(&self, req: Request) -> Result<E::Output> {
        self.0.call(req).await
    }
}

struct Limit(Arc<DefaultKeyedRateLimiter<IpAddr>>);

impl<E: Endpoint> Middleware<E> for Limit {
    type Output = LimitEndpoint<E>;

    fn transform(&self, inner: E) -> LimitEndpoint<E> {
        LimitEndpoint { limiter: self.0.clone(), inner }
    }
}

struct LimitEndpoint<E> {
    limiter: Arc<DefaultKeyedRateLimiter<IpAddr>>,
    inner: E,
}

impl<E: Endpoint> Endpoint for LimitEndpoint<E> {
    type Output = E::Output;

    async fn call(&self, req: Request) -> Result<E::Output> {
        let peer = req.remote_addr().as_socket_addr();
        let peer = peer.ok_or(Error::from_status(StatusCode::INTERNAL_SERVER_ERROR))?.ip();
        if self.limiter.check_key(&peer).is_err() {
            return Err(Error::from_status(StatusCode::TOO_MANY_REQUESTS));
        }
        self.inner.call(req).await
    }
}

static KEY: LazyLock<DecodingKey> = LazyLock::new(|| DecodingKey::from_secret(SECRET).unwrap());

struct Claims(Member);

impl<'a> FromRequest<'a> for Claims {
    async fn from_request(req: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let unauthorized = || Error::from_status(StatusCode::UNAUTHORIZED);
        let TypedHeader(Authorization(bearer)) =
            TypedHeader::<Authorization<Bearer>>::from_request(req, body)
                .await
                .map_err(|_| unauthorized())?;
        let decoded = decode::<Member>(bearer.token(), &KEY, &Validation::default());
        decoded.map(|token| Self(token.claims)).map_err(|_| unauthorized())
    }
}

struct ValidJson<T>(T);

impl<'a, T: DeserializeOwned + Validate> FromRequest<'a> for ValidJson<T> {
    async fn from_request(req: &'a Request, body: &mut RequestBody) -> Result<Self> {
        let Json(value) = Json::<T>::from_request(req, body).await?;
        value.validate().map_err(|_| Error::from_status(StatusCode::UNPROCESSABLE_ENTITY))?;
        Ok(Self(value))
    }
}

async fn refuse(error: Error) -> Response {
    let status = match error.downcast_ref::<ParseJsonError>() {
        Some(ParseJsonError::Parse(error)) if error.is_data() => StatusCode::UNPROCESSABLE_ENTITY,
        _ => error.status(),
    };
    let error = status.canonical_reason().unwrap_or_default();
    Json(Refusal { error }).with_status(status).into_response()
}
