//! Secrets from the environment or, as in containers, from files. If one is missing or too short, the program names it and does not start.
//!
//! Next.js API routes: the secrets in `.env`.
//!
//! Run with
//!
//! ```sh
//! openssl rand -hex 32 > api_token
//! API_TOKEN_FILE=api_token cargo run --example secrets --features authenticate,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! tracing-subscriber = "0.3"
//! ```
//!
//! or set `API_TOKEN=..` directly.
//!
//! ```sh
//! curl -i localhost:3000/api/secret
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer realm="api"
//! curl -H "Authorization: Bearer $(cat api_token)" localhost:3000/api/secret
//! # You are authenticated!
//! ```

use std::error::Error;
use std::process::ExitCode;
use std::{env, fs};

use tower_chain::{Authenticate, Chain, ChainService, Principal};

/// Reads the variable of this name, or else the file that the variable `NAME_FILE` names.
fn secret(name: &str) -> Result<String, String> {
    match (env::var(name), env::var(format!("{name}_FILE"))) {
        (Ok(secret), _) => Ok(secret),
        (_, Ok(file)) => match fs::read_to_string(&file) {
            Ok(secret) => Ok(secret.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(format!("{name}_FILE: {file}: {error}")),
        },
        _ => Err(format!("set {name}, or {name}_FILE to a file with it")),
    }
}

fn api(token: String) -> Result<ChainService, Box<dyn Error>> {
    // A secret of less than 16 bytes is an error, which doesn't contain the secret.
    let authenticate = Authenticate::token(token).map_err(|error| format!("API_TOKEN: {error}"))?;
    let open = async |_: Principal| "You are authenticated!\n";
    Ok(Chain::new().use_(authenticate).at("/api/secret", |c| c.get(open)).build())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let port = env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api(secret("API_TOKEN")?)?).await?)
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api("Vy3pRT1rW9ZsU0bq6xQ2Lw".to_owned())?.audit().assert_none();
    Ok(())
}
