//! A route for programs with a secret token, and a page for people with HTTP Basic.
//!
//! Next.js API routes: the protected route. The token is compared in constant time, and the challenge of a 401 names the required scheme.
//!
//! Run with
//!
//! ```sh
//! API_TOKEN=Vy3pRT1rW9ZsU0bq6xQ2Lw cargo run --example authenticate --features authenticate,serve
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
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer realm="api"
//! #
//! # {"type":"about:blank","title":"Unauthorized","status":401,"detail":"Credentials are missing"}
//! curl -H 'Authorization: Bearer Vy3pRT1rW9ZsU0bq6xQ2Lw' localhost:3000/hello
//! # hello, token
//! curl -H 'Authorization: Vy3pRT1rW9ZsU0bq6xQ2Lw' localhost:3000/hello
//! # hello, token
//! curl -u 'ada:correct horse battery' localhost:3000/page
//! # a page for ada
//! ```

use std::error::Error;

use tower_chain::{Authenticate, Chain, ChainService, Principal};

async fn hello(principal: Principal) -> String {
    format!("hello, {}\n", principal.name())
}

async fn page(principal: Principal) -> String {
    format!("a page for {}\n", principal.name())
}

fn api(token: &str) -> Result<ChainService, Box<dyn Error>> {
    let machines = Authenticate::token(token)?.bare();
    let people = Authenticate::users([("ada", "correct horse battery")])?.realm("pages")?;
    Ok(Chain::new()
        .at("/hello", |c| c.use_(machines).get(hello))
        .at("/page", |c| c.use_(people).get(page))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let token = std::env::var("API_TOKEN").map_err(|_| "API_TOKEN is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let api = api(&token).map_err(|error| format!("API_TOKEN: {error}"))?;
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api).await?)
}

#[tokio::test]
async fn the_token_opens_the_api() -> Result<(), Box<dyn Error>> {
    let api = api("Vy3pRT1rW9ZsU0bq6xQ2Lw")?;
    for (header, status) in [
        ("Bearer Vy3pRT1rW9ZsU0bq6xQ2Lw", 200),
        ("Vy3pRT1rW9ZsU0bq6xQ2Lw", 200),
        ("Bearer wrong", 401),
        ("Basic YWRhOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==", 401),
    ] {
        let req = http::Request::get("/hello").header("authorization", header);
        assert_eq!(api.handle(req.body(tower_chain::Body::empty())?).await.status(), status);
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api("Vy3pRT1rW9ZsU0bq6xQ2Lw")?.audit().assert_none();
    Ok(())
}
