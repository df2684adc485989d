//! The jobs on salvo, with its own `JwtAuth` and `RateLimiter`. Middleware are hoops.

use contract::{Args, Created, HELLO, Job, Member, NewUser, Refusal, SECRET};
use salvo::catcher::Catcher;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::ParseError;
use salvo::jwt_auth::{ConstDecoder, HeaderFinder};
use salvo::prelude::*;
use salvo::rate_limiter::{BasicQuota, FixedGuard, MokaStore, RateLimiter, RemoteIpIssuer};
use validator::Validate;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let args = Args::read();
    let listener = tokio::net::TcpListener::from_std(contract::listen(args.port)?)?;
    let service = Service::new(router(&args)).catcher(Catcher::default().hoop(refuse));
    Server::new(TcpAcceptor::try_from(listener)?).serve(service).await;
    Ok(())
}

fn router(args: &Args) -> Router {
    let passes = match args.job {
        Job::Pass4 => 4,
        Job::Pass16 => 16,
        _ => 0,
    };
    match args.job {
        Job::Bare | Job::Pass4 | Job::Pass16 => {
            let router = Router::with_path("hello");
            (0..passes).fold(router, |router, _| router.hoop(pass)).get(hello)
        }
        Job::Jwt => Router::with_path("me").hoop(authenticate()).get(me),
        Job::Post => {
            let quota = BasicQuota::per_minute(args.limit.get() as usize);
            let store = MokaStore::<_, FixedGuard>::default();
            let limit = RateLimiter::new(FixedGuard::default(), store, RemoteIpIssuer, quota);
            Router::with_path("api/users").hoop(limit).hoop(authenticate()).post(create)
        }
    }
}

#[handler]
async fn hello() -> &'static str {
    HELLO
}

#[handler]
async fn pass(req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
    ctrl.call_next(req, depot, res).await;
}

#[handler]
async fn me(depot: &mut Depot) -> Result<Json<Member>, StatusError> {
    Ok(Json(member(depot)?.clone()))
}

#[handler]
async fn create(
    req: &mut Request,
    depot: &mut Depot,
    res: &mut Response,
) -> Result<Json<Created>, StatusError> {
    let member = member(depot)?;
    let user = req.parse_json::<NewUser>().await.map_err(|error| match error {
        ParseError::InvalidContentType => StatusError::unsupported_media_type(),
        ParseError::PayloadTooLarge => StatusError::payload_too_large(),
        ParseError::SerdeJson(error) if error.is_data() => StatusError::unprocessable_entity(),
        _ => StatusError::bad_request(),
    })?;
    user.validate().map_err(|_| StatusError::unprocessable_entity())?;
    res.status_code(StatusCode::CREATED);
    Ok(Json(Created::new(user, &member.sub)))
}

/// `JwtAuth` itself answers a missing token with 401, but an invalid one with 403. The handler therefore decides, as in the example of `JwtAuth`.
fn authenticate() -> JwtAuth<Member, ConstDecoder> {
    JwtAuth::new(ConstDecoder::from_secret(SECRET))
        .finders(vec![Box::new(HeaderFinder::new())])
        .force_passed(true)
}

fn member(depot: &Depot) -> Result<&Member, StatusError> {
    let token = match depot.jwt_auth_state() {
        JwtAuthState::Authorized => depot.jwt_auth_data::<Member>(),
        _ => None,
    };
    token.map(|token| &token.claims).ok_or_else(StatusError::unauthorized)
}

#[handler]
async fn refuse(res: &mut Response, ctrl: &mut FlowCtrl) {
    let status = res.status_code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    res.render(Json(Refusal { error: status.canonical_reason().unwrap_or_default() }));
    ctrl.skip_rest();
}
