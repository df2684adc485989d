//! The jobs by hand: hyper, a `match` for a router, and the usual crates called directly.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use contract::{Args, Created, HELLO, Job, Member, NewUser, Refusal, SECRET};
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{DecodingKey, Validation};
use tokio::net::TcpListener;
use validator::Validate;

type Answer = Response<Full<Bytes>>;

fn main() -> std::io::Result<()> {
    contract::runtime()?.block_on(run())
}

async fn run() -> std::io::Result<()> {
    let args = Args::read();
    macro_rules! nest {
        ($inner:expr, 4) => {
            Pass(Pass(Pass(Pass($inner))))
        };
        ($inner:expr, 16) => {
            nest!(nest!(nest!(nest!($inner, 4), 4), 4), 4)
        };
    }
    match args.job {
        Job::Bare => serve(args.port, |_| service_fn(hello)).await,
        Job::Pass4 => serve(args.port, |_| nest!(service_fn(hello), 4)).await,
        Job::Pass16 => serve(args.port, |_| nest!(service_fn(hello), 16)).await,
        Job::Jwt => {
            let tokens = Arc::new(Tokens::new());
            let service = |_| {
                let tokens = tokens.clone();
                service_fn(move |req| std::future::ready(Ok::<_, Infallible>(me(&tokens, &req))))
            };
            serve(args.port, service).await
        }
        Job::Post => {
            let limiter = RateLimiter::keyed(args.quota());
            let users = Arc::new(Users { limiter, tokens: Tokens::new() });
            let service = |peer: SocketAddr| {
                let users = users.clone();
                service_fn(move |req| {
                    let users = users.clone();
                    async move { Ok::<_, Infallible>(users.create(req, peer.ip()).await) }
                })
            };
            serve(args.port, service).await
        }
    }
}

async fn serve<S>(port: u16, service: impl Fn(SocketAddr) -> S) -> std::io::Result<()>
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service(peer);
        // A client that disconnects early is not an error of the server.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn hello(req: Request<Incoming>) -> Result<Answer, Infallible> {
    Ok(match (req.method(), req.uri().path()) {
        (&Method::GET, "/hello") => {
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            answer(StatusCode::OK, text, HELLO.into())
        }
        _ => refusal(StatusCode::NOT_FOUND),
    })
}

struct Tokens {
    key: DecodingKey,
    validation: Validation,
}

impl Tokens {
    fn new() -> Self {
        Self { key: DecodingKey::from_secret(SECRET).unwrap(), validation: Validation::default() }
    }

    fn member(&self, req: &Request<Incoming>) -> Option<Member> {
        let field = req.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let token = field.strip_prefix("Bearer ")?;
        Some(jsonwebtoken::decode(token, &self.key, &self.validation).ok()?.claims)
    }
}

fn me(tokens: &Tokens, req: &Request<Incoming>) -> Answer {
    if req.uri().path() != "/me" || req.method() != Method::GET {
        return refusal(StatusCode::NOT_FOUND);
    }
    match tokens.member(req) {
        Some(member) => json(StatusCode::OK, &member),
        None => refusal(StatusCode::UNAUTHORIZED),
    }
}

struct Users {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    tokens: Tokens,
}

impl Users {
    async fn create(&self, req: Request<Incoming>, peer: IpAddr) -> Answer {
        if req.uri().path() != "/api/users" || req.method() != Method::POST {
            return refusal(StatusCode::NOT_FOUND);
        }
        if self.limiter.check_key(&peer).is_err() {
            return refusal(StatusCode::TOO_MANY_REQUESTS);
        }
        let Some(member) = self.tokens.member(&req) else {
            return refusal(StatusCode::UNAUTHORIZED);
        };
        if req.headers().get(CONTENT_TYPE).is_none_or(|media| media != "application/json") {
            return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = match Limited::new(req.into_body(), 1 << 20).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return refusal(StatusCode::PAYLOAD_TOO_LARGE);
            }
            Err(_) => return refusal(StatusCode::BAD_REQUEST),
        };
        let user: NewUser = match serde_json::from_slice(&body) {
            Ok(user) => user,
            Err(error) if error.is_data() => return refusal(StatusCode::UNPROCESSABLE_ENTITY),
            Err(_) => return refusal(StatusCode::BAD_REQUEST),
        };
        if user.validate().is_err() {
            return refusal(StatusCode::UNPROCESSABLE_ENTITY);
        }
        json(StatusCode::CREATED, &Created::new(user, &member.sub))
    }
}

fn json(status: StatusCode, value: &impl contract::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => answer(status, HeaderValue::from_static("application/json"), body.into()),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn refusal(status: StatusCode) -> Answer {
    let error = status.canonical_reason().unwrap_or_default();
    let body = serde_json::to_vec(&Refusal { error }).unwrap_or_default();
    answer(status, HeaderValue::from_static("application/json"), body.into())
}

fn answer(status: StatusCode, media: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, media);
    answer
}

/// Middleware that passes every request on, and has access to the response.
struct Pass<S>(S);

impl<S: Service<R>, R> Service<R> for Pass<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = PassFuture<S::Future>;

    fn call(&self, req: R) -> Self::Future {
        PassFuture { inner: self.0.call(req) }
    }
}

pin_project_lite::pin_project! {
    struct PassFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for PassFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Poll::Ready(ready!(self.project().inner.poll(cx)))
    }
}
