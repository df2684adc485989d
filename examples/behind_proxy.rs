//! The address of the client behind a proxy, and a rate limit for each address.
//!
//! There is no safe default: clients can send the same headers as a proxy. Only the operator knows which header the proxy writes, and which
//! addresses are proxies. No header is read until this is configured, and this program does not start without it. Here curl acts as the
//! proxy, because its address is a trusted one. Run with
//!
//! ```sh
//! TRUSTED_PROXIES=127.0.0.1,::1,10.0.0.0/8 cargo run --example behind_proxy --features rate-limit,serve
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
//! curl localhost:3000
//! # you are 127.0.0.1
//! curl -H 'x-forwarded-for: 192.0.2.7' localhost:3000
//! # you are 192.0.2.7
//! ```
//!
//! The proxy appends the address of its client. The client may have forged any address to the left of it.
//!
//! ```sh
//! curl -H 'x-forwarded-for: 198.51.100.1, 192.0.2.7, 10.0.0.5' localhost:3000
//! # you are 192.0.2.7
//! curl -H 'x-real-ip: 198.51.100.1' -H 'forwarded: for=198.51.100.1' localhost:3000
//! # you are 127.0.0.1
//! curl -i -H 'x-forwarded-for: 192.0.2.7' localhost:3000
//! # HTTP/1.1 429 Too Many Requests
//! ```

use std::error::Error;
use std::time::Duration;

#[cfg(test)]
use tower_chain::extract::PeerAddr;
use tower_chain::extract::{ForwardedHeader, TrustedProxies};
#[cfg(test)]
use tower_chain::{Body, StatusCode};
use tower_chain::{Chain, ChainService, ClientAddr, RateLimit};

async fn who(ClientAddr(addr): ClientAddr) -> String {
    format!("you are {addr}\n")
}

fn api(trusted: &str) -> Result<ChainService, Box<dyn Error>> {
    let proxies = TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, trusted.split(','))
        .map_err(|error| format!("TRUSTED_PROXIES: {error}"))?;
    Ok(Chain::new()
        // For `ClientAddr` and every limiter after it.
        .provide(proxies)
        .use_(RateLimit::per_client(2).every(Duration::from_secs(60)))
        .get(who)
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let trusted = std::env::var("TRUSTED_PROXIES").map_err(|_| "TRUSTED_PROXIES is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(&trusted)?).await?)
}

#[tokio::test]
async fn who_comes_around_the_proxy_can_claim_nothing() -> Result<(), Box<dyn Error>> {
    let api = api("10.0.0.0/8")?;
    for (peer, status) in [([10, 0, 0, 2], 200), ([203, 0, 113, 9], 429)] {
        let mut last = StatusCode::OK;
        for claim in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
            let request = http::Request::get("/").extension(PeerAddr((peer, 40_000).into()));
            let request = request.header("x-forwarded-for", claim).body(Body::empty())?;
            last = api.handle(request).await.status();
        }
        assert_eq!(last, status);
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api("10.0.0.0/8")?.audit().assert_none();
    Ok(())
}
