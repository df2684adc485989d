//! The cost of each step of a chain: time, allocations and share of the whole, as a table and as an image.
//!
//! Run with
//!
//! ```sh
//! cargo run --release --example overhead --features authenticate,json,overhead,rate-limit,security-headers,validate -- overhead.svg
//! # POST /users answers 200, median of 10000 requests
//! #
//! # step ..  time   share  allocations
//! # / ..
//! # ├─ always log .. µs ..
//! # ├─ always SecurityHeaders ..
//! # └─ /users
//! # ├─ use RateLimit ..
//! # ├─ use Authenticate ..
//! # └─ POST create ..
//! # total .. 100.0 % ..
//! # ..
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! serde = { version = "1", features = ["derive"] }
//! stats_alloc = "0.1"
//! validator = { version = "0.21", features = ["derive"] }
//! ```

use std::alloc::System;
use std::error::Error;
use std::time::Duration;

use serde::Deserialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower_chain::extract::PeerAddr;
use tower_chain::overhead::Overhead;
use tower_chain::{
    Authenticate, Chain, ChainService, Json, Next, Principal, RateLimit, Response, SecurityHeaders,
    Valid,
};

// Counts allocations. Without it, the table has only times.
#[cfg_attr(not(test), global_allocator)]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Deserialize, validator::Validate)]
struct NewUser {
    #[validate(email)]
    email: String,
}

async fn log(next: Next<'_>) -> Response {
    next.run().await
}

async fn create(by: Principal, Valid(Json(user)): Valid<Json<NewUser>>) -> String {
    format!("{} invited {}", by.name(), user.email)
}

fn api() -> Result<ChainService, Box<dyn Error>> {
    let users = Chain::new()
        .use_(RateLimit::per_client(1_000_000).every(Duration::from_secs(1)))
        .use_(Authenticate::tokens([("ada", "an-example-secret-of-256-bits")])?)
        .post(create);
    Ok(Chain::new().always(log).always(SecurityHeaders::new()).mount("/users", users).build())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let request = http::Request::post("/users")
        .header("authorization", "Bearer an-example-secret-of-256-bits")
        .header("content-type", "application/json")
        .extension(PeerAddr(([192, 0, 2, 7], 40_000).into()))
        .body(r#"{"email":"bob@example.org"}"#.to_owned())?;
    let overhead = Overhead::of(&api()?).request(move || request.clone()).runs(10_000);
    let report = overhead.allocations(|| ALLOCATOR.stats().allocations as u64).run().await;
    println!("{report}");
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(file, report.to_svg())?;
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api()?.audit().assert_none();
    Ok(())
}
