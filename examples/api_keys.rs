//! API keys with scopes, which are added and removed while the API runs.
//!
//! Run with
//!
//! ```sh
//! ADMIN_KEY=Vy3pRT1rW9ZsU0bq6xQ2Lw cargo run --example api_keys --features authenticate,require,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! ADMIN='X-API-Key: Vy3pRT1rW9ZsU0bq6xQ2Lw' BILLING='X-API-Key: 8wTnQ5cKx0fJm2EoYb7RzA'
//! curl -H "$BILLING" localhost:3000/invoices
//! # {..,"status":401..}
//! curl -H "$ADMIN" -d 8wTnQ5cKx0fJm2EoYb7RzA localhost:3000/keys/billing
//! # added
//! curl -H "$BILLING" localhost:3000/invoices
//! # the invoices, for billing
//! curl -H "$BILLING" -X DELETE localhost:3000/keys/billing
//! # {..,"status":403..}
//! curl -H "$ADMIN" -X DELETE localhost:3000/keys/billing
//! # withdrawn
//! ```

use tower_chain::middleware::authenticate::{ApiKey, ApiKeys};
use tower_chain::{
    Authenticate, Chain, ChainService, Error, Path, Principal, Provided, Require, StatusCode,
};

async fn invoices(principal: Principal) -> String {
    format!("the invoices, for {}\n", principal.name())
}

type Answer = Result<&'static str, Error>;

async fn add(keys: Provided<ApiKeys>, Path(name): Path<String>, secret: String) -> Answer {
    let key = ApiKey::new(name, secret).map(|key| key.scope("invoices:read"));
    let added = key.and_then(|key| keys.add(key)).map(|()| "added\n");
    // The text of the error does not contain the secret.
    added.map_err(|error| Error::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

async fn withdraw(keys: Provided<ApiKeys>, Path(name): Path<String>) -> Answer {
    let absent = || Error::new(StatusCode::NOT_FOUND, "There is no such key");
    keys.withdraw(&name).then_some("withdrawn\n").ok_or_else(absent)
}

fn api(admin: String) -> Result<ChainService, Box<dyn std::error::Error>> {
    let admin = ApiKey::new("admin", admin).map_err(|error| format!("ADMIN_KEY: {error}"))?;
    let keys = ApiKeys::new();
    keys.add(admin.role("admin"))?;
    let read = Require::<Principal>::scope("invoices:read")?;
    let manage = Require::<Principal>::role("admin")?;
    Ok(Chain::new()
        .provide(keys.clone())
        .use_(Authenticate::api_keys(&keys))
        .at("/invoices", |c| c.use_(read).get(invoices))
        .at("/keys/{name}", |c| c.use_(manage).post(add).delete(withdraw))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let admin = std::env::var("ADMIN_KEY").map_err(|_| "ADMIN_KEY is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(admin)?).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn std::error::Error>> {
    api("Vy3pRT1rW9ZsU0bq6xQ2Lw".to_owned())?.audit().assert_none();
    Ok(())
}
