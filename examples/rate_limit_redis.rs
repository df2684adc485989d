//! Several servers that share one quota in Redis, and continue without it.
//!
//! Run with
//!
//! ```sh
//! redis-server &
//! PORT=3000 cargo run --example rate_limit_redis --features redis,serve &
//! PORT=3001 cargo run --example rate_limit_redis --features redis,serve &
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
//! for port in 3000 3001 3000 3001 3000 3001; do curl -so /dev/null -w '%{http_code} ' localhost:$port; done
//! # 200 200 200 200 200 429
//! ```

use std::error::Error;
use std::time::Duration;

use tower_chain::middleware::rate_limit::{RedisStore, SharedLimits, WhileUnreachable};
use tower_chain::{Chain, ChainService, RateLimit};

fn api(redis: &str) -> Result<ChainService, Box<dyn Error>> {
    let limits = SharedLimits::new(RedisStore::new(redis)?)
        .prefix("example")
        .deadline(Duration::from_secs(1))
        // While Redis is unreachable, each of the two servers admits half of the quota.
        .while_unreachable(WhileUnreachable::Local { servers: 2 });
    let limit = RateLimit::per_minute(5).shared("hello", limits);
    Ok(Chain::new().use_(limit).get(async || "hello\n").build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let redis = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(&redis)?).await?)
}

#[tokio::test]
async fn without_redis_each_server_gives_out_its_share() -> Result<(), Box<dyn Error>> {
    // No server listens on port 1.
    let api = api("redis://127.0.0.1:1/")?;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let req = http::Request::get("/").body(tower_chain::Body::empty())?;
        statuses.push(api.handle(req).await.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    Ok(())
}

#[tokio::test]
async fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api("redis://127.0.0.1:1/")?.audit().assert_none();
    Ok(())
}
