//! The jobs on this crate, with its own server, or with hyper (`hyper` in the name of the variant) like the jobs by hand. The
//! middleware that passes every request on is a type, or an `async fn` (`fn` in the name of the variant).

use std::error::Error as StdError;
use std::time::Duration;

use contract::{Args, Created, HELLO, Job, Member, NewUser, Refusal, SECRET};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower_chain::extract::PeerAddr;
use tower_chain::{
    Chain, ChainService, Claims, Endpoint, Error, Json, Jwt, Middleware, Next, RateLimit,
    Response, Server, StatusCode, Valid,
};

fn main() -> Result<(), Box<dyn StdError>> {
    contract::runtime()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn StdError>> {
    let args = Args::read();
    let api = api(&args)?;
    if args.variant.contains("hyper") {
        // Only the limit needs the client's address; the job by hand doesn't store it elsewhere either.
        serve_by_hyper(args.port, api, matches!(args.job, Job::Post)).await
    } else {
        let mut server = Server::bind(("127.0.0.1", args.port)).await?;
        // Ten thousand connections take a while to open on a busy machine.
        if let Ok(seconds) = std::env::var("PATIENCE") {
            server = server.header_read_timeout(Duration::from_secs(seconds.parse()?));
        }
        Ok(server.serve(api).await?)
    }
}

fn api(args: &Args) -> Result<ChainService, Box<dyn StdError>> {
    let chain = Chain::new().on_error(refusal);
    macro_rules! times {
        ($chain:expr, $m:expr, 4) => {
            $chain.use_($m).use_($m).use_($m).use_($m)
        };
        ($chain:expr, $m:expr, 16) => {
            times!(times!(times!(times!($chain, $m, 4), $m, 4), $m, 4), $m, 4)
        };
    }
    macro_rules! hello {
        ($chain:expr) => {
            $chain.at("/hello", |c| c.get(hello)).build()
        };
    }
    Ok(match (args.job, args.variant.contains("fn")) {
        (Job::Bare, _) => hello!(chain),
        (Job::Pass4, false) => hello!(times!(chain, Pass, 4)),
        (Job::Pass16, false) => hello!(times!(chain, Pass, 16)),
        (Job::Pass4, true) => hello!(times!(chain, pass, 4)),
        (Job::Pass16, true) => hello!(times!(chain, pass, 16)),
        (Job::Jwt, _) => chain.use_(Jwt::<Member>::hs256(SECRET)?).at("/me", |c| c.get(me)).build(),
        (Job::Post, _) => {
            let limit = RateLimit::per_client(args.limit.get()).every(Duration::from_secs(60));
            // No other server here sends header fields with its limits.
            let limit = limit.headers([]);
            let chain = chain.use_(limit).use_(Jwt::<Member>::hs256(SECRET)?);
            chain.at("/api/users", |c| c.post(create)).build()
        }
    })
}

async fn hello() -> &'static str {
    HELLO
}

async fn me(claims: Claims<Member>) -> Json<Member> {
    Json(Member::clone(&claims))
}

async fn create(
    claims: Claims<Member>,
    Valid(Json(user)): Valid<Json<NewUser>>,
) -> (StatusCode, Json<Created>) {
    (StatusCode::CREATED, Json(Created::new(user, &claims.sub)))
}

async fn refusal(error: Error) -> (StatusCode, Json<Refusal>) {
    let status = error.status();
    (status, Json(Refusal { error: status.canonical_reason().unwrap_or_default() }))
}

#[derive(Clone)]
struct Pass;

impl Middleware for Pass {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        next.run().await
    }
}

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

async fn serve_by_hyper(
    port: u16,
    api: ChainService,
    tells_peer: bool,
) -> Result<(), Box<dyn StdError>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let api = api.clone();
        let service = service_fn(move |mut req: hyper::Request<hyper::body::Incoming>| {
            if tells_peer {
                req.extensions_mut().insert(PeerAddr(peer));
            }
            Service::call(&api, req)
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
