//! Validation: all errors at once, with the client's names, and a check against another service.
//!
//! Next.js API routes: the validation. The response lists all errors, and the handler gets only valid data.
//!
//! Run with
//!
//! ```sh
//! cargo run --example validate --features json,serve,validate
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! serde = { version = "1", features = ["derive"] }
//! tracing-subscriber = "0.3"
//! validator = { version = "0.21", features = ["derive"] }
//! ```
//!
//! ```sh
//! curl -i localhost:3000/users --json '{"name":"Ann","e-mail":"ann@example.org"}'
//! # HTTP/1.1 201 Created
//! #
//! # Ann <ann@example.org>
//! curl localhost:3000/users --json '{"name":""}'
//! # {..,"status":422,..,"errors":[{..,"pointer":"/name","code":"length",..},{..,"pointer":"/e-mail","code":"missing",..}]}
//! curl localhost:3000/users --json '{"name":"root","e-mail":"r@example.org"}'
//! # {..,"status":422,..,"errors":[{..,"pointer":"/name","code":"taken",..}]}
//! ```

use std::error::Error;

use serde::Deserialize;
use tower_chain::extract::{ByField, FieldError, Location};
use tower_chain::{Chain, ChainService, Fields, Json, StatusCode, Valid, ValidateInput};

#[derive(Clone, Deserialize, Fields, validator::Validate)]
struct NewUser {
    #[validate(length(min = 1, max = 40))]
    name: String,
    #[serde(rename = "e-mail")]
    #[validate(email)]
    email: String,
}

/// A check against the user database.
async fn not_taken(user: NewUser) -> Result<Vec<FieldError>, tower_chain::Error> {
    let taken = user.name == "root";
    let error = || FieldError::new(Location::Body, "taken", "This name is taken").at("name");
    Ok(taken.then(error).into_iter().collect())
}

async fn create(Valid(user): Valid<NewUser>) -> (StatusCode, String) {
    (StatusCode::CREATED, format!("{} <{}>\n", user.name, user.email))
}

fn api() -> ChainService {
    let valid = ValidateInput::<ByField<Json<NewUser>>>::new().check(not_taken);
    Chain::new()
        .at("/users", |c| c.allow("open-write", "anyone may sign up").use_(valid).post(create))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[tokio::test]
async fn bad_users_are_refused() -> Result<(), Box<dyn Error>> {
    for (body, status) in [
        (r#"{"name":"Ann","e-mail":"ann@example.org"}"#, 201),
        (r#"{"name":""}"#, 422),
        (r#"{"name":"root","e-mail":"r@example.org"}"#, 422),
    ] {
        let req = http::Request::post("/users").header("content-type", "application/json");
        assert_eq!(api().handle(req.body(tower_chain::Body::from(body))?).await.status(), status);
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
