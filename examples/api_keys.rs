//! API keys with scopes, made and withdrawn while the API runs.
//!
//! Run with
//!
//! ```sh
//! ADMIN_KEY=Vy3pRT1rW9ZsU0bq6xQ2Lw cargo run --example api_keys --features authenticate,require,serve
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

use std::error::Error as StdError;

use tower_chain::middleware::authenticate::{ApiKey, ApiKeys};
use tower_chain::{Authenticate, Chain, ChainService, Error, Principal, Provided, Require};
use tower_chain::{Path, StatusCode};

async fn invoices(principal: Principal) -> String {
    format!("the invoices, for {}\n", principal.name())
}

async fn add(
    keys: Provided<ApiKeys>,
    Path(name): Path<String>,
    secret: String,
) -> Result<&'static str, Error> {
    let refused = |error: tower_chain::middleware::authenticate::AuthenticateError| {
        Error::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
    };
    keys.add(ApiKey::new(name, secret).map_err(refused)?.scope("invoices:read"))
        .map_err(refused)?;
    Ok("added\n")
}

async fn withdraw(
    keys: Provided<ApiKeys>,
    Path(name): Path<String>,
) -> Result<&'static str, Error> {
    match keys.withdraw(&name) {
        true => Ok("withdrawn\n"),
        false => Err(Error::new(StatusCode::NOT_FOUND, "There is no such key")),
    }
}

fn api(admin: &str) -> Result<ChainService, Box<dyn StdError>> {
    let keys = ApiKeys::new();
    keys.add(ApiKey::new("admin", admin)?.role("admin"))?;
    let read = Require::<Principal>::scope("invoices:read")?;
    Ok(Chain::new()
        .provide(keys.clone())
        .use_(Authenticate::api_keys(&keys))
        .at("/invoices", |c| c.use_(read).get(invoices))
        .at("/keys/{name}", |c| {
            c.use_(Require::<Principal>::role("admin")).post(add).delete(withdraw)
        })
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let admin = std::env::var("ADMIN_KEY").map_err(|_| "ADMIN_KEY is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let api = api(&admin).map_err(|error| format!("ADMIN_KEY: {error}"))?;
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api).await?)
}

#[tokio::test]
async fn a_key_lives_from_its_making_to_its_withdrawal() -> Result<(), Box<dyn StdError>> {
    let (admin, billing) = ("Vy3pRT1rW9ZsU0bq6xQ2Lw", "8wTnQ5cKx0fJm2EoYb7RzA");
    let api = api(admin)?;
    for (key, method, path, status) in [
        (billing, "GET", "/invoices", 401),
        (admin, "POST", "/keys/billing", 200),
        (admin, "POST", "/keys/billing", 422),
        (billing, "GET", "/invoices", 200),
        (admin, "GET", "/invoices", 403),
        (billing, "DELETE", "/keys/billing", 403),
        (admin, "DELETE", "/keys/billing", 200),
        (billing, "GET", "/invoices", 401),
    ] {
        let req = http::Request::builder().method(method).uri(path).header("x-api-key", key);
        let req = req.body(tower_chain::Body::from(billing))?;
        assert_eq!(api.handle(req).await.status(), status, "{method} {path}");
    }
    Ok(())
}
