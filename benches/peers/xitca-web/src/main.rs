//! The jobs on xitca-web, with its own `RateLimit`. Middleware are functions, added by `enclosed_fn`; after four of them their type is erased, as
//! its `App` does with routes, because the compiler fails on sixteen.

use std::sync::LazyLock;

use contract::{Args, Created, HELLO, Job, Member, NewUser, Refusal, SECRET};
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::de::DeserializeOwned;
use validator::Validate;
use xitca_web::body::BodyStream;
use xitca_web::error::{BodyOverFlow, Error};
use xitca_web::handler::json::Json;
use xitca_web::handler::{FromRequest, Responder, handler_service};
use xitca_web::http::header::{AUTHORIZATION, CONTENT_TYPE};
use xitca_web::http::{StatusCode, WebResponse};
use xitca_web::middleware::rate_limit::RateLimit;
use xitca_web::route::{get, post};
use xitca_web::service::Service;
use xitca_web::service::object::ServiceObject;
use xitca_web::service::ready::ReadyService;
use xitca_web::{App, WebContext};

fn main() -> std::io::Result<()> {
    let args = Args::read();
    let listener = contract::listen(args.port)?;
    macro_rules! serve {
        ($app:expr) => {
            $app.enclosed_fn(refuse).serve().worker_threads(1).listen(listener)?.run().wait()
        };
    }
    macro_rules! times {
        ($app:expr, 4) => {
            $app.enclosed_fn(pass).enclosed_fn(pass).enclosed_fn(pass).enclosed_fn(pass)
        };
        ($app:expr, 16) => {
            times!(
                times!(times!(times!($app, 4).enclosed(Erase), 4).enclosed(Erase), 4)
                    .enclosed(Erase),
                4
            )
        };
    }
    match args.job {
        Job::Bare => serve!(App::new().at("/hello", get(handler_service(hello)))),
        Job::Pass4 => serve!(times!(App::new().at("/hello", get(handler_service(hello))), 4)),
        Job::Pass16 => serve!(times!(App::new().at("/hello", get(handler_service(hello))), 16)),
        Job::Jwt => serve!(App::new().at("/me", get(handler_service(me)))),
        Job::Post => {
            let app = App::new().at("/api/users", post(handler_service(create)));
            serve!(app.enclosed(RateLimit::per_minute(args.limit.get())))
        }
    }
}

async fn hello() -> &'static str {
    HELLO
}

async fn pass<S, C, B>(next: &S, ctx: WebContext<'_, C, B>) -> Result<WebResponse, Error>
where
    S: for<'r> Service<WebContext<'r, C, B>, Response = WebResponse, Error = Error>,
{
    next.call(ctx).await
}

struct Erase;

type Object = Box<dyn for<'r> ServiceObject<WebContext<'r>, Response = WebResponse, Error = Error>>;

struct Erased(Object);

impl<S, E> Service<Result<S, E>> for Erase
where
    S: for<'r> Service<WebContext<'r>, Response = WebResponse, Error = Error> + 'static,
{
    type Response = Erased;
    type Error = E;

    async fn call(&self, service: Result<S, E>) -> Result<Erased, E> {
        service.map(|service| Erased(Box::new(service)))
    }
}

impl<'r> Service<WebContext<'r>> for Erased {
    type Response = WebResponse;
    type Error = Error;

    async fn call(&self, ctx: WebContext<'r>) -> Result<WebResponse, Error> {
        Service::call(&self.0, ctx).await
    }
}

impl ReadyService for Erased {
    type Ready = ();

    async fn ready(&self) {}
}

async fn me(Claims(member): Claims) -> Json<Member> {
    Json(member)
}

async fn create(
    Claims(member): Claims,
    ValidJson(user): ValidJson<NewUser>,
) -> (Json<Created>, StatusCode) {
    (Json(Created::new(user, &member.sub)), StatusCode::CREATED)
}

static KEY: LazyLock<DecodingKey> = LazyLock::new(|| DecodingKey::from_secret(SECRET).unwrap());

struct Claims(Member);

impl<'a, 'r, C, B> FromRequest<'a, WebContext<'r, C, B>> for Claims {
    type Type<'b> = Claims;
    type Error = Error;

    async fn from_request(ctx: &'a WebContext<'r, C, B>) -> Result<Self, Error> {
        let field = ctx.req().headers().get(AUTHORIZATION).and_then(|field| field.to_str().ok());
        let token = field.and_then(|field| field.strip_prefix("Bearer "));
        let decoded = token.and_then(|token| decode(token, &KEY, &Validation::default()).ok());
        decoded.map(|token| Self(token.claims)).ok_or(StatusCode::UNAUTHORIZED.into())
    }
}

struct ValidJson<T>(T);

impl<'a, 'r, C, B, T> FromRequest<'a, WebContext<'r, C, B>> for ValidJson<T>
where
    B: BodyStream + Default,
    T: DeserializeOwned + Validate,
{
    type Type<'b> = ValidJson<T>;
    type Error = Error;

    async fn from_request(ctx: &'a WebContext<'r, C, B>) -> Result<Self, Error> {
        let media = ctx.req().headers().get(CONTENT_TYPE);
        if media.is_none_or(|media| media != "application/json") {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into());
        }
        let Json(value) = Json::<T>::from_request(ctx).await?;
        value.validate().map_err(|_| Error::from(StatusCode::UNPROCESSABLE_ENTITY))?;
        Ok(Self(value))
    }
}

/// Renders every error.
async fn refuse<S>(next: &S, mut ctx: WebContext<'_>) -> Result<WebResponse, Error>
where
    S: for<'r> Service<WebContext<'r>, Response = WebResponse, Error = Error>,
{
    let error = match next.call(ctx.reborrow()).await {
        Ok(response) => return Ok(response),
        Err(error) => error,
    };
    let status = Service::call(&error, ctx.reborrow()).await.map(|response| response.status());
    let mut status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = error.upcast();
    if error.is::<BodyOverFlow>() {
        status = StatusCode::PAYLOAD_TOO_LARGE;
    } else if error.downcast_ref::<serde_json::Error>().is_some_and(serde_json::Error::is_data) {
        status = StatusCode::UNPROCESSABLE_ENTITY;
    }
    let error = status.canonical_reason().unwrap_or_default();
    (Json(Refusal { error }), status).respond(ctx).await
}
