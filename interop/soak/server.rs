//! The programs of the soak test, which `interop/soak/run` starts: `soak server` with a route for each kind of work, and `soak issuer`, which signs its tokens.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::time::Duration;

use futures_util::stream;
use serde_json::{Value, json};
use tower_chain::extract::{Json, read_body};
use tower_chain::middleware::idempotency::{Idempotency, RedisIdempotency};
use tower_chain::middleware::jwt::{Algorithm, TestIssuer};
use tower_chain::middleware::rate_limit::{RedisStore, SharedLimits, WhileUnreachable};
use tower_chain::respond::{Event, Sse};
use tower_chain::serve::{Listener, Tls};
use tower_chain::{
    Authenticate, Body, Chain, ChainService, Claims, IntoResponse, Jwt, Principal, Provided,
    RateLimit, Request, Server, Valid,
};

#[derive(serde::Deserialize, validator::Validate)]
struct NewUser {
    #[validate(email)]
    email: String,
}

async fn create(Valid(Json(user)): Valid<Json<NewUser>>) -> String {
    user.email
}

async fn me(claims: Claims<Value>) -> String {
    claims["sub"].to_string()
}

async fn upload(mut req: Request) -> Result<String, tower_chain::Error> {
    Ok(read_body(&mut req).await?.len().to_string())
}

async fn large() -> Body {
    let chunks = (0..64).map(|_| Ok::<_, Infallible>(bytes::Bytes::from_static(&[b'a'; 16384])));
    Body::from_stream(stream::iter(chunks))
}

async fn events() -> impl IntoResponse {
    Sse::new(stream::unfold(0, async |n| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        (n < 20).then(|| (Ok::<_, Infallible>(Event::new().id(n).data("tick")), n + 1))
    }))
}

async fn pay(body: String) -> String {
    tokio::time::sleep(Duration::from_millis(5)).await;
    body
}

fn api(redis: &str, issuer: &str) -> Result<ChainService, Box<dyn Error>> {
    let limits = SharedLimits::new(RedisStore::new(redis)?)
        .prefix("soak")
        .while_unreachable(WhileUnreachable::Local { servers: 1 });
    let once = Idempotency::per(|principal: &Principal| principal.name().to_owned()).required();
    let payments = Chain::new()
        .use_(Authenticate::token("a-token-for-the-soak-test")?)
        .use_(once.store(RedisIdempotency::new(redis)?.prefix("soak")))
        .post(pay);
    let members = Chain::new().use_(Jwt::<Value>::oidc(issuer, "api", [Algorithm::Es256])?).get(me);
    let limited = RateLimit::per_second(1_000_000).shared("soak", limits);
    Ok(Chain::new()
        .at("/hello", |c| c.get(async || "hello"))
        .at("/limited", |c| c.use_(limited).get(async || "in"))
        .at("/users", |c| c.post(create))
        .at("/upload", |c| c.post(upload))
        .at("/large", |c| c.get(large))
        .at("/events", |c| c.get(events))
        .mount("/payments", payments)
        .mount("/me", members)
        .build())
}

/// `/token` signs with the newest key. With `/rotate`, the next key is the newest.
fn issuer(url: &str) -> ChainService {
    let metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
    let token = async |issuer: Provided<TestIssuer>, url: Provided<String>| {
        issuer.token(json!({ "iss": url.0, "aud": "api", "sub": "ann" }))
    };
    Chain::new()
        .provide(TestIssuer::es256())
        .provide(url.to_owned())
        .at("/.well-known/openid-configuration", |c| {
            c.get(move || std::future::ready(Json(metadata.clone())))
        })
        .at("/keys", |c| c.get(async |issuer: Provided<TestIssuer>| Json(issuer.jwks())))
        .at("/token", |c| c.get(token))
        .at("/rotate", |c| c.post(async |issuer: Provided<TestIssuer>| issuer.rotate()))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let address = format!("127.0.0.1:{}", env::var("PORT")?);
    let issuer_url = env::var("ISSUER")?;
    if env::args().nth(1).as_deref() == Some("issuer") {
        return Ok(tower_chain::serve(address, issuer(&issuer_url)).await?);
    }
    let tls = Tls::from_pem_files(env::var("CERTIFICATE")?, env::var("KEY")?)?
        .check_every(Duration::from_secs(1));
    let https = Listener::bind(format!("127.0.0.1:{}", env::var("HTTPS_PORT")?)).await?.tls(tls);
    let server = Server::bind(address).await?.listen(https).max_connections_per_client(100_000);
    Ok(server.serve(api(&env::var("REDIS")?, &issuer_url)?).await?)
}
