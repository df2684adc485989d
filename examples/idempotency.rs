//! A payment that a client may repeat: it is made once, and a repetition gets the first response.
//!
//! Run with
//!
//! ```sh
//! API_TOKEN=Vy3pRT1rW9ZsU0bq6xQ2Lw cargo run --example idempotency --features authenticate,idempotency,redis,serve
//! ```
//!
//! With `REDIS_URL=redis://127.0.0.1/`, several servers (`PORT=3001`) share the keys.
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! auth='Authorization: Bearer Vy3pRT1rW9ZsU0bq6xQ2Lw'
//! curl -H "$auth" -H 'Idempotency-Key: "order-7"' -d '5 EUR' localhost:3000/payments
//! # payment 1: 5 EUR
//! curl -H "$auth" -H 'Idempotency-Key: "order-7"' -d '5 EUR' localhost:3000/payments
//! # payment 1: 5 EUR
//! curl -so /dev/null -w '%{http_code}\n' -H "$auth" -H 'Idempotency-Key: "order-7"' -d '6 EUR' localhost:3000/payments
//! # 422
//! ```

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower_chain::middleware::idempotency::{Idempotency, RedisIdempotency};
use tower_chain::serve::Detach;
use tower_chain::{Authenticate, Chain, ChainService, Principal, Provided};

async fn pay(count: Provided<Arc<AtomicUsize>>, body: String) -> String {
    let number = count.fetch_add(1, Ordering::Relaxed) + 1;
    // The bank takes a while.
    tokio::time::sleep(Duration::from_millis(300)).await;
    format!("payment {number}: {body}\n")
}

fn api(token: &str, redis: Option<&str>) -> Result<ChainService, Box<dyn Error>> {
    let once = Idempotency::per(|principal: &Principal| principal.name().to_owned()).required();
    let once = match redis {
        Some(url) => once.store(RedisIdempotency::new(url)?.prefix("payments")),
        None => once,
    };
    let token = Authenticate::token(token).map_err(|error| format!("API_TOKEN: {error}"))?;
    Ok(Chain::new()
        .provide(Arc::new(AtomicUsize::new(0)))
        .use_(token)
        // A payment is completed, and its response stored, even if the client disconnects.
        .use_(Detach::new())
        .use_(once)
        .at("/payments", |c| c.post(pay))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let token = std::env::var("API_TOKEN").map_err(|_| "API_TOKEN is not set")?;
    let redis = std::env::var("REDIS_URL").ok();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(&token, redis.as_deref())?).await?)
}

#[tokio::test]
async fn a_repetition_gets_the_first_response() -> Result<(), Box<dyn Error>> {
    let api = api("Vy3pRT1rW9ZsU0bq6xQ2Lw", None)?;
    for (body, status, replayed) in
        [("5 EUR", 200, false), ("5 EUR", 200, true), ("6 EUR", 422, false)]
    {
        let req = http::Request::post("/payments")
            .header("authorization", "Bearer Vy3pRT1rW9ZsU0bq6xQ2Lw")
            .header("idempotency-key", "\"order-7\"");
        let answer = api.handle(req.body(tower_chain::Body::from(body))?).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().contains_key("idempotency-replayed"), replayed);
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api("Vy3pRT1rW9ZsU0bq6xQ2Lw", None)?.audit().assert_none();
    Ok(())
}
