//! Quotas by tier, costs by request, and a look at one's own standing.
//!
//! Run with
//!
//! ```sh
//! cargo run --example rate_limit_tiers --features rate-limit,serve
//! ```
//!
//! Writing costs 10.
//!
//! ```sh
//! curl localhost:3000/ -H 'x-user: ada'
//! # 59 of 60 left
//! curl localhost:3000/ -H 'x-user: ada' -d report
//! # 49 of 60 left
//! curl localhost:3000/ -H 'x-user: pro-grace'
//! # 599 of 600 left
//! ```

use http::{HeaderMap, Method};
use tower_chain::{
    Chain, ChainService, Decision, Error, LimitKey, Policy, Provided, Quota, RateLimit, StatusCode,
};

#[derive(Clone)]
struct User {
    name: String,
    pro: bool,
}

/// Stands for an authentication.
async fn user(headers: HeaderMap) -> Result<User, Error> {
    let name = headers.get("x-user").and_then(|name| name.to_str().ok());
    let name = name.ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))?;
    Ok(User { name: name.to_owned(), pro: name.starts_with("pro-") })
}

async fn standing(decision: Provided<Decision>) -> String {
    let left = decision.standings().iter().map(|s| format!("{} of {}", s.remaining(), s.limit()));
    format!("{} left\n", left.collect::<Vec<_>>().join(", "))
}

fn api() -> ChainService {
    let tier = Policy::new("tier", Quota::per_minute(60))
        .quota_by(|req| {
            let user = req.extensions().get::<User>()?;
            user.pro.then(|| Quota::per_minute(600))
        })
        .cost_by(|req| if req.method() == Method::POST { 10 } else { 1 });
    Chain::new()
        .use_(RateLimit::per_second(50)) // whoever it is
        .guard(user)
        .use_(
            RateLimit::new(tier).key(LimitKey::provided(|u: &User| u.name.clone())).with_decision(),
        )
        .get(standing)
        .post(standing)
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[tokio::test]
async fn each_tier_has_its_quota() -> Result<(), Box<dyn std::error::Error>> {
    let api = api();
    for (method, user, left) in [
        (Method::GET, "ada", "59 of 60 left\n"),
        (Method::POST, "ada", "49 of 60 left\n"),
        (Method::GET, "pro-grace", "599 of 600 left\n"),
    ] {
        let req = http::Request::builder().method(method).header("x-user", user);
        let response = api.handle(req.body(tower_chain::Body::empty())?).await;
        let body = http_body_util::BodyExt::collect(response.into_body()).await?.to_bytes();
        assert_eq!(body, left);
    }
    Ok(())
}
