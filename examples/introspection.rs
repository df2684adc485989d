//! An API for OAuth clients. It publishes metadata that names the authorization server, and introspects tokens there.
//!
//! Here the authorization server is a part of the program; yours is a URL. Run with
//!
//! ```sh
//! API_SECRET=$(openssl rand -hex 32) \
//!     cargo run --example introspection --features form,introspection,json,protected-resource,require,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! bytes = "1"
//! getrandom = { version = "0.4", features = ["std"] }
//! http = "1"
//! reqwest = "0.13"
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl localhost:3000/.well-known/oauth-protected-resource
//! # {"authorization_servers":["http://localhost:3000"],"resource":"http://localhost:3000","scopes_supported":["notes:read"]}
//! curl -i localhost:3000/notes
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer realm="api", resource_metadata="http://localhost:3000/.well-known/oauth-protected-resource"
//! TOKEN=$(curl -X POST localhost:3000/token)
//! curl -H "Authorization: Bearer $TOKEN" localhost:3000/notes
//! # the notes of ada
//! curl -i -H "Authorization: Bearer a-guessed-token" localhost:3000/notes
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer ..error="invalid_token"..
//! REFRESH=$(curl -X POST localhost:3000/refresh-token)
//! curl -i -H "Authorization: Bearer $REFRESH" localhost:3000/notes
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer ..error="invalid_token"..
//! ```

use std::error::Error;
use std::future::ready;

use bytes::Bytes;
use serde_json::json;
use tower_chain::middleware::authenticate::{Introspected, Introspection};
use tower_chain::middleware::protected_resource::ProtectedResource;
use tower_chain::{Authenticate, Chain, ChainService, Form, Json, Require, Sealed};

async fn notes(token: Introspected) -> String {
    format!("the notes of {}\n", token.subject().unwrap_or("?"))
}

/// The protected resource at `audience`, for access tokens that the authorization server at `issuer` knows.
fn resource(
    issuer: &str,
    audience: &str,
    secret: &str,
    metadata: String,
) -> Result<Sealed, Box<dyn Error>> {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let fetch = move |question: http::Request<Bytes>| {
        let client = client.clone();
        async move {
            let answer = client.execute(question.try_into()?).await?;
            let status = answer.status();
            let mut response = http::Response::new(answer.bytes().await?);
            *response.status_mut() = status;
            Ok::<_, reqwest::Error>(response)
        }
    };
    let introspection = Introspection::new(format!("{issuer}/introspect"), audience, fetch)?
        .client("api", secret)?
        .issuer(issuer)?
        .check(|token| token.subject().is_some());
    let authenticate = Authenticate::introspection(introspection).resource_metadata(metadata)?;
    let read = Require::<Introspected>::scope("notes:read")?;
    Ok(Chain::new().use_(authenticate).use_(read).get(notes).seal())
}

#[derive(serde::Deserialize)]
struct Question {
    token: String,
}

/// Issues one access token and one refresh token, and reports both as active. A refresh token has no `token_type`.
fn authorization_server(
    issuer: &str,
    audience: &str,
    secret: &str,
) -> Result<Sealed, Box<dyn Error>> {
    let random = || getrandom::u64().map(|number| format!("{number:032x}"));
    let (access, refresh) = (random()?, random()?);
    let about_refresh = json!({ "active": true, "iss": issuer, "aud": audience, "sub": "ada", "scope": "notes:read" });
    let mut about_access = about_refresh.clone();
    about_access["token_type"] = json!("Bearer");
    let known = [(access.clone(), about_access), (refresh.clone(), about_refresh)];
    let introspect = move |Form(asked): Form<Question>| {
        let found = known.iter().find(|(token, _)| *token == asked.token);
        ready(Json(found.map_or_else(|| json!({ "active": false }), |(_, answer)| answer.clone())))
    };
    let api =
        Authenticate::users([("api", secret)]).map_err(|error| format!("API_SECRET: {error}"))?;
    Ok(Chain::new()
        .allow("open-write", "this stand-in gives a token to anyone")
        .at("/token", |c| c.post(move || ready(access.clone())))
        .at("/refresh-token", |c| c.post(move || ready(refresh.clone())))
        .at("/introspect", |c| c.use_(api).post(introspect))
        .seal())
}

fn app(origin: &str, secret: &str) -> Result<ChainService, Box<dyn Error>> {
    let metadata =
        ProtectedResource::new(origin)?.authorization_server(origin)?.scopes(["notes:read"])?;
    Ok(Chain::new()
        .at(metadata.path(), |c| c.get(metadata.handler()))
        .mount("/notes", resource(origin, origin, secret, metadata.url().to_owned())?)
        .mount("/", authorization_server(origin, origin, secret)?)
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let secret = std::env::var("API_SECRET").map_err(|_| "API_SECRET is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let origin = format!("http://localhost:{port}");
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), app(&origin, &secret)?).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    app("https://api.example.com", "Vy3pRT1rW9ZsU0bq6xQ2Lw")?.audit().assert_none();
    Ok(())
}
