//! Quotas by tier, costs by request, and the state of the client in a handler.
//!
//! Run with
//!
//! ```sh
//! cargo run --example rate_limit_tiers --features rate-limit,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! A write costs 10.
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
use tower_chain::middleware::rate_limit::{Decision, LimitKey, Policy, Quota};
use tower_chain::{Chain, ChainService, Error, Provided, RateLimit, StatusCode};

#[derive(Clone)]
struct User(String);

/// A placeholder for an authentication.
async fn user(headers: HeaderMap) -> Result<User, Error> {
    let name = headers.get("x-user").and_then(|name| name.to_str().ok());
    name.map(|name| User(name.to_owned()))
        .ok_or(Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
}

async fn standing(decision: Provided<Decision>) -> String {
    let left =
        decision.standings().iter().map(|s| format!("{} of {} left\n", s.remaining(), s.limit()));
    left.collect()
}

fn api() -> ChainService {
    let is_pro = |user: &&User| user.0.starts_with("pro-");
    let tier = Policy::new("tier", Quota::per_minute(60))
        .quota_by(move |req| req.extensions().get().filter(is_pro).map(|_| Quota::per_minute(600)))
        .cost_by(|req| if req.method() == Method::POST { 10 } else { 1 });
    let per_user = RateLimit::new(tier).key(LimitKey::provided(|user: &User| user.0.clone()));
    Chain::new()
        .use_(RateLimit::per_second(50)) // whatever the user
        .guard(user)
        .use_(per_user.with_decision())
        .get(standing)
        .post(standing)
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
