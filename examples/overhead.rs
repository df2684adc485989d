//! What each step of a chain costs: time, allocations and share of the whole, as a table and as an image.
//!
//! Run with
//!
//! ```sh
//! cargo run --release --example overhead --features full,overhead -- overhead.svg
//! # POST /users answers 200, median of 10000 requests
//! #
//! # step ..  time   share  allocations
//! # / ..
//! # ├─ always log .. µs ..
//! # ├─ always SecurityHeaders ..
//! # └─ /users
//! # ├─ use RateLimit ..
//! # ├─ use Jwt ..
//! # └─ POST create ..
//! # the whole .. 100.0 % ..
//! # ..
//! ```

use std::alloc::System;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, crypto};
use serde::{Deserialize, Serialize};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tower_chain::overhead::OverheadReport;
use tower_chain::{
    Chain, ChainService, Claims, Json, Jwt, Next, Overhead, PeerAddr, RateLimit, Request, Response,
    SecurityHeaders, Valid,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[derive(Deserialize, Serialize)]
struct Member {
    sub: String,
    exp: u64,
}

#[derive(Deserialize, Serialize, validator::Validate)]
struct NewUser {
    #[validate(email)]
    email: String,
}

const SECRET: &[u8] = b"an example secret of 256 bits !!";

async fn log(req: Request, next: Next<'_>) -> Response {
    next.run(req).await
}

async fn create(by: Claims<Member>, Valid(Json(user)): Valid<Json<NewUser>>) -> String {
    format!("{} invited {}", by.sub, user.email)
}

fn api() -> Result<ChainService, Box<dyn Error>> {
    let users = Chain::new()
        .use_(RateLimit::per_client(1_000_000).every(Duration::from_secs(1)))
        .use_(Jwt::<Member>::hs256(SECRET)?)
        .post(create);
    Ok(Chain::new().always(log).always(SecurityHeaders::new()).mount("/users", users).build())
}

async fn measure(runs: usize) -> Result<OverheadReport, Box<dyn Error>> {
    let exp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3600;
    let member = Member { sub: "ada".to_owned(), exp };
    // With both backends compiled in, one must be chosen before the first token is signed.
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let token =
        jsonwebtoken::encode(&Header::default(), &member, &EncodingKey::from_secret(SECRET))?;
    let request = http::Request::post("/users")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .extension(PeerAddr(SocketAddr::from(([192, 0, 2, 7], 40_000))))
        .body(r#"{"email":"bob@example.org"}"#.to_owned())?;
    let overhead = Overhead::of(&api()?).request(move || request.clone()).runs(runs);
    Ok(overhead.allocations(|| ALLOCATOR.stats().allocations as u64).run().await)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let report = measure(10_000).await?;
    println!("{report}");
    if let Some(file) = std::env::args().nth(1) {
        std::fs::write(file, report.to_svg())?;
    }
    Ok(())
}

#[tokio::test]
async fn the_parts_are_the_whole() -> Result<(), Box<dyn Error>> {
    let report = measure(100).await?;
    assert_eq!(report.statuses()[0].0, 200);
    let names: Vec<&str> = report.steps().iter().map(|step| step.name()).collect();
    assert_eq!(names[1..3], ["always log", "always SecurityHeaders"]);
    assert_eq!(names[5], "POST create");
    let shares: f64 = report.steps().iter().map(|step| step.share()).sum();
    assert!((shares - 1.0).abs() < 1e-9);
    Ok(())
}
