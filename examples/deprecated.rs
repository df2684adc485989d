//! Two versions of an API: the old one announces its end.
//!
//! Run with
//!
//! ```sh
//! cargo run --example deprecated --features deprecated,serve
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
//! curl -i localhost:3000/v1/users
//! # HTTP/1.1 200 OK
//! # deprecation: @1782777600
//! # sunset: Wed, 30 Jun 2027 00:00:00 GMT
//! # link: </v2/users>; rel="successor-version"
//! #
//! # Ada, Grace
//! curl -i localhost:3000/v2/users
//! # HTTP/1.1 200 OK
//! #
//! # ["Ada","Grace"]
//! ```

use std::error::Error;

use tower_chain::middleware::deprecated::{Deprecated, DeprecatedError};
use tower_chain::{Chain, ChainService};

fn api() -> Result<ChainService, DeprecatedError> {
    let deprecated =
        Deprecated::since("2026-06-30")?.sunset("2027-06-30")?.successor("/v2/users")?;
    let v1 = Chain::new().always(deprecated).at("/users", |c| c.get(async || "Ada, Grace\n"));
    let v2 = Chain::new().at("/users", |c| c.get(async || "[\"Ada\",\"Grace\"]\n"));
    Ok(Chain::new().mount("/v1", v1).mount("/v2", v2).build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()?).await?)
}

#[tokio::test]
async fn only_the_old_version_is_deprecated() -> Result<(), Box<dyn Error>> {
    use tower_chain::Body;

    for (path, expected) in [("/v1/users", true), ("/v1/unknown", true), ("/v2/users", false)] {
        let res = api()?.handle(http::Request::get(path).body(Body::empty())?).await;
        assert_eq!(res.headers().contains_key("deprecation"), expected, "{path}");
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api()?.audit().assert_none();
    Ok(())
}
