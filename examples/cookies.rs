//! A login that is remembered in an encrypted cookie.
//!
//! Run with
//!
//! ```sh
//! COOKIE_SECRET=$(head -c 64 /dev/urandom | base64 -w0) cargo run --example cookies --features cookies,form,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! serde = { version = "1", features = ["derive"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i -c jar -d name=Ann localhost:3000/login
//! # HTTP/1.1 303 See Other
//! # set-cookie: session=..; HttpOnly; SameSite=Lax; Secure; Path=/
//! # location: /
//! curl -b jar localhost:3000/
//! # Hello, Ann
//! curl -i localhost:3000/
//! # HTTP/1.1 303 See Other
//! # location: /login
//! ```

use std::error::Error;

use serde::Deserialize;
use tower_chain::extract::cookies::{Cookie, Key, KeyError};
use tower_chain::{Chain, ChainService, Cookies, Form, IntoResponse, Provided, Redirect, Response};

#[derive(Deserialize)]
struct Login {
    name: String,
}

async fn login(
    Provided(key): Provided<Key>,
    cookies: Cookies,
    Form(login): Form<Login>,
) -> impl IntoResponse {
    let session = Cookie::new("session", login.name);
    (cookies.set_encrypted(&key, session), Redirect::to("/").see_other())
}

async fn hello(Provided(key): Provided<Key>, cookies: Cookies) -> Response {
    match cookies.decrypted(&key, "session") {
        Some(name) => format!("Hello, {name}\n").into_response(),
        None => Redirect::to("/login").see_other().into_response(),
    }
}

fn site(secret: &[u8]) -> Result<ChainService, KeyError> {
    let key = Key::try_from(secret)?;
    Ok(Chain::new()
        .provide(key)
        .allow("open-write", "visitors sign in and out; a cookie is `SameSite=Lax`")
        .at("/", |c| c.get(hello))
        .at("/login", |c| c.get(async || "POST your name\n").post(login))
        .at("/logout", |c| c.post(async |cookies: Cookies| cookies.remove("session")))
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let secret = std::env::var("COOKIE_SECRET").map_err(|_| "COOKIE_SECRET is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let site = site(secret.as_bytes()).map_err(|error| format!("COOKIE_SECRET: {error}"))?;
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), site).await?)
}

#[tokio::test]
async fn the_cookie_brings_the_name_back() -> Result<(), Box<dyn Error>> {
    let site = site(&[7; 64])?;
    let kind = "application/x-www-form-urlencoded";
    let req = http::Request::post("/login").header("content-type", kind);
    let res = site.handle(req.body(tower_chain::Body::from("name=Ann"))?).await;
    let cookie = res.headers()["set-cookie"].to_str()?.split(';').next().unwrap_or_default();
    for (cookie, status) in [(cookie, 200), ("session=Ann", 303)] {
        let req = http::Request::get("/").header("cookie", cookie);
        assert_eq!(site.handle(req.body(tower_chain::Body::empty())?).await.status(), status);
    }
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    site(&[7; 64])?.audit().assert_none();
    Ok(())
}
