//! Signing in with an OAuth provider, with the crates `oauth2` and `tower-sessions`: authorization code with PKCE.
//!
//! Run with
//!
//! ```sh
//! OAUTH_CLIENT_ID=my-client OAUTH_CLIENT_SECRET=my-secret cargo run -p interop --example oauth_login
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! oauth2 = { version = "5", default-features = false }
//! reqwest = "0.13"
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tower-sessions = "0.15"
//! ```
//!
//! ```sh
//! curl localhost:3000/me
//! # {"type":"about:blank","title":"Unauthorized","status":401,"detail":"Sign in at /login"}
//! curl -i localhost:3000/login
//! # HTTP/1.1 303 See Other
//! # location: https://github.com/login/oauth/authorize?response_type=code&client_id=my-client&..
//! curl 'localhost:3000/callback?code=1&state=2'
//! # {"type":"about:blank","title":"Bad Request","status":400,"detail":"This sign-in was not started here"}
//! ```
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `OAUTH_CLIENT_ID`, `OAUTH_CLIENT_SECRET` | the registration at the provider | |
//! | `OAUTH_URL` | `OAUTH_URL/authorize` and `OAUTH_URL/access_token` are its endpoints | `https://github.com/login/oauth` |
//! | `PUBLIC_URL` | the address of this program; register `PUBLIC_URL/callback` | `http://localhost:3000` |

use std::error::Error as StdError;

use oauth2::basic::BasicClient;
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, TokenResponse, TokenUrl,
};
use serde::Deserialize;
use tower_chain::{
    Chain, ChainService, Error, IntoResponse, Provided, Query, Redirect, Response, StatusCode,
};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

type OAuth = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

#[derive(Clone)]
struct Provider {
    client: OAuth,
    origin: String,
    http: reqwest::Client,
}

impl Provider {
    fn new(id: String, secret: String, url: &str, own: &str) -> Result<Self, Box<dyn StdError>> {
        let client = BasicClient::new(ClientId::new(id))
            .set_client_secret(ClientSecret::new(secret))
            .set_auth_uri(AuthUrl::new(format!("{url}/authorize"))?)
            .set_token_uri(TokenUrl::new(format!("{url}/access_token"))?)
            .set_redirect_uri(RedirectUrl::new(format!("{own}/callback"))?);
        let origin = client.auth_uri().url().origin().ascii_serialization();
        // A redirect of the token endpoint must not be followed with the code.
        let http =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client, origin, http })
    }
}

async fn send(
    http: reqwest::Client,
    req: oauth2::HttpRequest,
) -> Result<oauth2::HttpResponse, reqwest::Error> {
    let response = http.execute(req.try_into()?).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut answer = http::Response::new(response.bytes().await?.to_vec());
    (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
    Ok(answer)
}

async fn login(provider: Provided<Provider>, session: Session) -> Result<Redirect, Error> {
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let url = provider.client.authorize_url(CsrfToken::new_random).set_pkce_challenge(challenge);
    let (url, state) = url.url();
    session.insert("sign-in", (state.secret(), verifier.secret())).await?;
    Ok(Redirect::to(url).allow_origin(&provider.origin).see_other())
}

#[derive(Deserialize)]
struct Callback {
    code: String,
    state: String,
}

async fn callback(
    provider: Provided<Provider>,
    session: Session,
    Query(answer): Query<Callback>,
) -> Result<Response, Error> {
    // The state binds the answer to the browser in which the sign-in began. It is valid once.
    let started = session.remove::<(String, String)>("sign-in").await?;
    let Some((_, verifier)) = started.filter(|(state, _)| *state == answer.state) else {
        return Err(Error::new(StatusCode::BAD_REQUEST, "This sign-in was not started here"));
    };
    let http = provider.http.clone();
    let token = provider
        .client
        .exchange_code(AuthorizationCode::new(answer.code))
        .set_pkce_verifier(PkceCodeVerifier::new(verifier))
        .request_async(&move |req| send(http.clone(), req))
        .await
        .map_err(|cause| {
            Error::new(StatusCode::BAD_GATEWAY, "The provider refused the code").with_source(cause)
        })?;
    session.cycle_id().await?; // an id that was known before the sign-in must not be that of the user
    session.insert("token", token.access_token().secret()).await?;
    Ok(Redirect::to("/me").see_other().into_response())
}

async fn signed_in(session: Session) -> Result<Token, Error> {
    let token = session.get("token").await?;
    token.map(Token).ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Sign in at /login"))
}

/// The token with which this program asks the provider for data of the user.
#[derive(Clone)]
struct Token(String);

async fn me(token: Provided<Token>) -> String {
    format!("you have a token of {} bytes\n", token.0.0.len())
}

fn app(provider: Provider, https: bool) -> ChainService {
    let sessions = SessionManagerLayer::new(MemoryStore::default())
        .with_secure(https)
        // The redirect from the provider is a request from another site, and must have the cookie.
        .with_same_site(tower_sessions::cookie::SameSite::Lax);
    Chain::new()
        .provide(provider)
        .use_(sessions)
        .at("/login", |c| c.get(login))
        .at("/callback", |c| c.get(callback))
        .at("/me", |c| c.guard(signed_in).get(me))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let setting = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let or = |name: &str, default: String| std::env::var(name).unwrap_or(default);
    let port = or("PORT", "3000".to_owned());
    let url = or("OAUTH_URL", "https://github.com/login/oauth".to_owned());
    let own = or("PUBLIC_URL", format!("http://localhost:{port}"));
    let (id, secret) = (setting("OAUTH_CLIENT_ID")?, setting("OAUTH_CLIENT_SECRET")?);
    let app = app(Provider::new(id, secret, &url, &own)?, own.starts_with("https:"));
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), app).await?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn StdError>> {
    let own = "http://localhost";
    let provider = Provider::new("id".to_owned(), "secret".to_owned(), own, own)?;
    app(provider, false).audit().assert_none();
    Ok(())
}

#[cfg(test)]
#[tokio::test]
async fn a_user_signs_in_and_a_forged_answer_does_not() -> Result<(), Box<dyn StdError>> {
    use tower_chain::{Json, Server, TestClient};
    // A provider that returns a token for the code `good`.
    let token =
        async |body: String| match body.contains("code=good") && body.contains("code_verifier=") {
            true => Ok(Json(serde_json::json!({ "access_token": "abc", "token_type": "bearer" }))),
            false => Err(Error::new(StatusCode::BAD_REQUEST, "invalid_grant")),
        };
    let server = Server::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", server.local_addr()?);
    let serving = tokio::spawn(
        server.serve(Chain::new().at("/access_token", move |c| c.post(token)).build()),
    );
    let provider = Provider::new("id".to_owned(), "secret".to_owned(), &url, "http://localhost")?;
    let app = app(provider, false);
    let sign_in = async |client: &TestClient| {
        let response = client.get("/login").send().await;
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        location.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned()
    };
    let ann = TestClient::new(app.clone()).cookie_jar();
    let state = sign_in(&ann).await;
    ann.get("/me").send().await.assert_problem(401);
    let path = format!("/callback?code=good&state={state}");
    TestClient::new(app.clone()).get(&path).send().await.assert_problem(400); // another browser
    ann.get(&path).send().await.assert_status(303).assert_header("location", "/me");
    ann.get("/me").send().await.assert_text("you have a token of 3 bytes\n");
    ann.get(&path).send().await.assert_problem(400); // a second time
    let bob = TestClient::new(app).cookie_jar();
    let state = sign_in(&bob).await;
    bob.get(&format!("/callback?code=bad&state={state}")).send().await.assert_problem(502);
    bob.get("/me").send().await.assert_problem(401);
    serving.abort();
    Ok(())
}
