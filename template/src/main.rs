mod api;
mod notes;

use std::env;
use std::error::Error;

use tower_chain::Jwt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Prints errors: the response of a 500 never shows its cause.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let secret = env::var("JWT_SECRET").map_err(|_| "JWT_SECRET is not set")?;
    let jwt = Jwt::hs256(secret).map_err(|error| format!("JWT_SECRET: {error}"))?;
    let address = env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let api = api::api(jwt);
    println!("http://{address}\n\n{api}");
    Ok(tower_chain::serve(address, api).await?)
}
