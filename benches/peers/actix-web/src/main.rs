//! The jobs on actix-web, with actix-governor for the limit and actix-web-httpauth for the token. Middleware are `from_fn`.

use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;

use actix_governor::{Governor, GovernorConfigBuilder, KeyExtractor, SimpleKeyExtractionError};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Json, JsonConfig, ReqData};
use actix_web::{
    App, Error, HttpMessage, HttpResponse, HttpResponseBuilder, HttpServer, ResponseError,
};
use actix_web_httpauth::extractors::bearer::BearerAuth;
use actix_web_httpauth::middleware::HttpAuthentication;
use contract::{Args, Created, HELLO, Job, Member, NewUser, Refusal, SECRET};
use governor::NotUntil;
use governor::clock::QuantaInstant;
use jsonwebtoken::{DecodingKey, Validation, decode};
use validator::Validate;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let args = Args::read();
    let listener = contract::listen(args.port)?;
    macro_rules! serve {
        ($app:expr) => {
            HttpServer::new(move || $app.default_service(web::to(not_found)))
                .workers(1)
                .listen(listener)?
                .run()
                .await
        };
    }
    macro_rules! times {
        ($app:expr, 4) => {
            $app.wrap(from_fn(pass)).wrap(from_fn(pass)).wrap(from_fn(pass)).wrap(from_fn(pass))
        };
        ($app:expr, 16) => {
            times!(times!(times!(times!($app, 4), 4), 4), 4)
        };
    }
    match args.job {
        Job::Bare => serve!(App::new().route("/hello", web::get().to(hello))),
        Job::Pass4 => serve!(times!(App::new().route("/hello", web::get().to(hello)), 4)),
        Job::Pass16 => serve!(times!(App::new().route("/hello", web::get().to(hello)), 16)),
        Job::Jwt => {
            let auth = HttpAuthentication::with_fn(authenticate);
            let me = move || web::resource("/me").wrap(auth.clone()).route(web::get().to(me));
            serve!(App::new().service(me()))
        }
        Job::Post => {
            let limit = GovernorConfigBuilder::default()
                .period(args.period())
                .burst_size(args.limit.get())
                .key_extractor(Peer)
                .finish()
                .expect("a limit");
            let auth = HttpAuthentication::with_fn(authenticate);
            let users = move || {
                web::resource("/api/users")
                    .app_data(JsonConfig::default().error_handler(|error, _| refuse_body(&error)))
                    // The last one is the first to run.
                    .wrap(auth.clone())
                    .wrap(Governor::new(&limit))
                    .route(web::post().to(create))
            };
            serve!(App::new().service(users()))
        }
    }
}

async fn hello() -> &'static str {
    HELLO
}

async fn pass(
    req: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    next.call(req).await
}

async fn me(member: ReqData<Member>) -> Json<Member> {
    Json(member.into_inner())
}

async fn create(
    member: ReqData<Member>,
    Json(user): Json<NewUser>,
) -> Result<HttpResponse, Refused> {
    user.validate().map_err(|_| Refused(StatusCode::UNPROCESSABLE_ENTITY))?;
    Ok(HttpResponse::Created().json(Created::new(user, &member.sub)))
}

static KEY: LazyLock<DecodingKey> = LazyLock::new(|| DecodingKey::from_secret(SECRET).unwrap());

async fn authenticate(
    req: ServiceRequest,
    bearer: Option<BearerAuth>,
) -> Result<ServiceRequest, (Error, ServiceRequest)> {
    let decoded = bearer
        .and_then(|bearer| decode::<Member>(bearer.token(), &KEY, &Validation::default()).ok());
    match decoded {
        Some(token) => {
            req.extensions_mut().insert(token.claims);
            Ok(req)
        }
        None => Err((Refused(StatusCode::UNAUTHORIZED).into(), req)),
    }
}

#[derive(Clone)]
struct Peer;

impl KeyExtractor for Peer {
    type Key = IpAddr;
    type KeyExtractionError = SimpleKeyExtractionError<&'static str>;

    fn extract(&self, req: &ServiceRequest) -> Result<IpAddr, Self::KeyExtractionError> {
        let peer = req.peer_addr().map(|peer| peer.ip());
        peer.ok_or_else(|| SimpleKeyExtractionError::new("no peer"))
    }

    fn exceed_rate_limit_response(
        &self,
        _: &NotUntil<QuantaInstant>,
        mut response: HttpResponseBuilder,
    ) -> HttpResponse {
        response.json(Refused(StatusCode::TOO_MANY_REQUESTS).body())
    }
}

#[derive(Debug)]
struct Refused(StatusCode);

impl Refused {
    fn body(&self) -> Refusal {
        Refusal { error: self.0.canonical_reason().unwrap_or_default() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.0
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.0).json(self.body())
    }
}

fn refuse_body(error: &JsonPayloadError) -> Error {
    let status = match error {
        JsonPayloadError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        JsonPayloadError::Deserialize(error) if error.is_data() => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_REQUEST,
    };
    Refused(status).into()
}

async fn not_found() -> Result<HttpResponse, Refused> {
    Err(Refused(StatusCode::NOT_FOUND))
}
