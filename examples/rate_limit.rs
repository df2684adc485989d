//! Limits per client: many requests for reading, few for logging in, no limit for health checks.
//!
//! Next.js API routes: the limit of 100 requests per client in 15 minutes.
//!
//! Run with
//!
//! ```sh
//! cargo run --example rate_limit --features rate-limit,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i localhost:3000/hello
//! # HTTP/1.1 200 OK
//! # ratelimit: "100-in-15min";r=99;t=9
//! #
//! # hello
//! for i in 1 2 3 4 5 6; do curl -so /dev/null -w '%{http_code} ' -d wrong localhost:3000/login; done
//! # 401 401 401 401 401 429
//! ```

use tower_chain::middleware::rate_limit::Quota;
use tower_chain::{Chain, ChainService, Error, RateLimit, StatusCode};

async fn login(password: String) -> Result<&'static str, Error> {
    match password.as_str() {
        "open sesame" => Ok("welcome\n"),
        _ => Err(Error::new(StatusCode::UNAUTHORIZED, "Wrong password")),
    }
}

fn api() -> ChainService {
    // Behind a proxy, configure it: `.trusted_proxies(TrustedProxies::cidrs(..)?)`.
    let all = RateLimit::per_client(100)
        .every(std::time::Duration::from_secs(15 * 60))
        .skip(|req| req.uri().path() == "/healthz");
    let logins = RateLimit::new(Quota::per_minute(5)).count_failures();
    Chain::new()
        .always(all)
        .at("/healthz", |c| c.get(async || "ok\n"))
        .at("/hello", |c| c.get(async || "hello\n"))
        .at("/login", |c| {
            c.use_(logins).allow("open-write", "the handler checks the password").post(login)
        })
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[tokio::test]
async fn only_wrong_passwords_count() -> Result<(), Box<dyn std::error::Error>> {
    let api = api();
    let mut statuses = Vec::new();
    for password in ["open sesame", "1", "2", "open sesame", "3", "4", "5", "open sesame"] {
        let req = http::Request::post("/login").body(tower_chain::Body::from(password))?;
        statuses.push(api.handle(req).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 401, 401, 200, 401, 401, 401, 429]);
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
