//! A complete JSON API: a page with a form, posts in a database, dynamic routes, tokens, roles, limits, validation.
//!
//! Run with
//!
//! ```sh
//! cargo run --example api --all-features
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! getrandom = { version = "0.4", features = ["std"] }
//! http = "1"
//! jsonwebtoken = { version = "12", default-features = false, features = ["aws_lc_rs"] }
//! reqwest = "0.13"
//! rusqlite = { version = "0.41", features = ["bundled"] }
//! schemars = "1.2"
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tracing = "0.1"
//! tracing-subscriber = "0.3"
//! validator = { version = "0.21", features = ["derive"] }
//! ```
//!
//! `--print-openapi` prints the OpenAPI document of the API and ends.
//!
//! The program prints a curl line for each route, ready to paste, with a token if the route needs one.
//!
//! ```sh
//! curl localhost:3000/api/hello
//! # {"name":"John Doe"}
//! curl localhost:3000/api/post -d title=Hello -d post='By form'
//! # {"message":"Post created successfully"}
//! curl localhost:3000/api/post
//! # [{"id":..,"title":"Hello","post":"By form"}..]
//! curl -i localhost:3000/api/protected
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer ..
//! ```
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `PORT` | the port on 127.0.0.1 | 3000 |
//! | `DATABASE` | the SQLite file | `tower-chain-api.db` in the temporary folder |
//! | `JWT_SECRET` | a secret of at least 32 bytes | random |
//! | `API_TOKEN` | a secret of at least 16 bytes | random |
//! | `TRIVIA_URL` | the server for trivia, requested as `TRIVIA_URL/{number}` | a route of this server |

mod database;

use std::env;
use std::error::Error as StdError;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use database::{Database, Post};
use http::header::{CONTENT_SECURITY_POLICY, HeaderName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_chain::extract::{Json, JsonOrForm, Path, Query};
use tower_chain::grants::Grants;
use tower_chain::openapi::Info;
use tower_chain::respond::Html;
use tower_chain::{
    Authenticate, Chain, ChainService, Claims, Error, Jwt, Next, Principal, Provided, RateLimit,
    Require, Response, Server, StatusCode, Valid,
};
use validator::Validate;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn StdError>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let server = Server::bind(("127.0.0.1", port)).await?;
    let config = Config::from_env(server.local_addr()?)?;
    let service = api(&config)?;
    if env::args().any(|argument| argument == "--print-openapi") {
        println!("{}", service.openapi(&Info::new("Posts", "1.0.0")).to_json());
        return Ok(());
    }
    println!("Listening on http://{}\n\n{service}", config.addr);
    print_curl_lines(&config)?;
    server.serve(service).await?;
    Ok(())
}

struct Config {
    addr: SocketAddr,
    database: std::path::PathBuf,
    jwt_secret: String,
    api_token: String,
    trivia_url: String,
}

impl Config {
    fn from_env(addr: SocketAddr) -> Result<Self, Box<dyn StdError>> {
        let secret = |name: &str| env::var(name).or_else(|_| random_secret());
        Ok(Self {
            addr,
            database: env::var_os("DATABASE")
                .map_or_else(|| env::temp_dir().join("tower-chain-api.db"), Into::into),
            jwt_secret: secret("JWT_SECRET")?,
            api_token: secret("API_TOKEN")?,
            trivia_url: env::var("TRIVIA_URL").unwrap_or_else(|_| format!("http://{addr}/trivia")),
        })
    }
}

fn random_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The claims of this API's tokens.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Member {
    sub: String,
    roles: Vec<String>,
    exp: u64,
}

impl Grants for Member {
    fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

/// The upstream of the trivia route.
#[derive(Clone)]
struct Trivia {
    client: reqwest::Client,
    url: String,
}

fn api(config: &Config) -> Result<ChainService, Box<dyn StdError>> {
    let trivia = Trivia {
        client: reqwest::Client::builder().timeout(Duration::from_secs(3)).no_proxy().build()?,
        url: config.trivia_url.clone(),
    };
    let jwt =
        || Jwt::<Member>::hs256(&config.jwt_secret).map_err(|error| format!("JWT_SECRET: {error}"));

    let users = Chain::new()
        .documented()
        .use_(RateLimit::per_client(100).every(Duration::from_secs(15 * 60)))
        .use_(jwt()?)
        .post(create_user);

    Ok(Chain::new()
        .always(log)
        .provide(Database::open(&config.database)?)
        .provide(trivia)
        .documented()
        .at("/", |c| c.get(page))
        .at("/api/hello", |c| c.get(hello))
        .at("/api/post", |c| c.get(posts).allow("open-write", "anyone may post").post(create_post))
        .at("/api/trivia/{number}", |c| c.get(ask_trivia))
        .at("/trivia/{number}", |c| c.get(own_trivia))
        .at("/api/user", |c| c.get(user))
        .mount("/api/users", users)
        .at("/api/limited", |c| {
            c.use_(RateLimit::per_client(5).every(Duration::from_secs(60))).get(limited)
        })
        .mount(
            "/api/protected",
            Chain::new()
                .documented()
                .use_(
                    Authenticate::token(&config.api_token)
                        .map_err(|error| format!("API_TOKEN: {error}"))?
                        .bare(),
                )
                .get(protected),
        )
        .mount("/api/me", Chain::new().documented().use_(jwt()?).get(me))
        .mount(
            "/api/admin",
            Chain::new()
                .documented()
                .use_(jwt()?)
                .use_(Require::<Claims<Member>>::role("admin")?)
                .get(admin),
        )
        .build())
}

async fn log(next: Next<'_>) -> Response {
    let method = next.method().clone();
    // The pattern, not the path, because the client chooses the path.
    let route = next.matched_path().unwrap_or("no route").to_owned();
    let response = next.run().await;
    tracing::info!("{method} {route} {}", response.status().as_u16());
    response
}

async fn page() -> ([(HeaderName, &'static str); 1], Html<&'static str>) {
    let policy = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                  base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    ([(CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page.html")))
}

async fn hello() -> Json<Value> {
    Json(json!({ "name": "John Doe" }))
}

async fn posts(Provided(database): Provided<Database>) -> Result<Json<Vec<Post>>, Error> {
    Ok(Json(database.posts().await?))
}

#[derive(Deserialize, JsonSchema, Validate)]
struct NewPost {
    #[validate(length(min = 1, max = 200))]
    title: String,
    #[validate(length(min = 1, max = 10_000))]
    post: String,
}

async fn create_post(
    Provided(database): Provided<Database>,
    Valid(JsonOrForm(post)): Valid<JsonOrForm<NewPost>>,
) -> Result<Json<Value>, Error> {
    database.add_post(post.title, post.post).await?;
    Ok(Json(json!({ "message": "Post created successfully" })))
}

async fn ask_trivia(
    Provided(trivia): Provided<Trivia>,
    Path(number): Path<i64>,
) -> Result<String, Error> {
    let unavailable = |cause: reqwest::Error| {
        Error::new(StatusCode::BAD_GATEWAY, "The trivia service failed")
            .with_source(cause.without_url())
    };
    let response = trivia.client.get(format!("{}/{number}", trivia.url)).send().await;
    let response = response.and_then(reqwest::Response::error_for_status).map_err(unavailable)?;
    response.text().await.map_err(unavailable)
}

async fn own_trivia(Path(number): Path<i64>) -> String {
    match number {
        42 => "42 is the answer to the ultimate question of life, the universe, and everything."
            .into(),
        number if number % 2 == 0 => format!("{number} is even."),
        number => format!("{number} is odd."),
    }
}

async fn protected(_: Principal) -> Json<Value> {
    Json(json!({ "message": "You are authenticated!" }))
}

#[derive(Deserialize, JsonSchema)]
struct UserId {
    id: i64,
}

async fn user(
    Provided(database): Provided<Database>,
    Query(UserId { id }): Query<UserId>,
) -> Result<Json<Value>, Error> {
    let name = database.user(id).await?;
    let name = name.ok_or_else(|| Error::new(StatusCode::NOT_FOUND, "User not found"))?;
    Ok(Json(json!({ "id": id.to_string(), "name": name })))
}

async fn me(claims: Claims<Member>) -> Json<Value> {
    Json(json!({ "message": "Authorized", "user": *claims }))
}

async fn admin(claims: Claims<Member>) -> Json<Value> {
    Json(json!({ "message": "Welcome, admin", "user": claims.sub }))
}

#[derive(Deserialize, JsonSchema, Validate)]
struct NewUser {
    #[validate(length(min = 1))]
    name: String,
    #[validate(email)]
    email: String,
}

async fn create_user(_: Claims<Member>, Valid(_): Valid<Json<NewUser>>) -> Json<Value> {
    Json(json!({ "message": "Data is valid" }))
}

async fn limited() -> Json<Value> {
    Json(json!({ "message": "You are within the limit" }))
}

fn print_curl_lines(config: &Config) -> Result<(), Box<dyn StdError>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let token = |roles: &[&str]| {
        let roles = roles.iter().map(ToString::to_string).collect();
        let member = Member { sub: "ada".to_owned(), roles, exp: now + 24 * 60 * 60 };
        sign(&config.jwt_secret, &member)
    };
    let (base, key) = (format!("http://{}", config.addr), &config.api_token);
    let (member, admin) = (token(&["member"])?, token(&["admin"])?);
    println!("\nTry, in another terminal:\n");
    println!("curl -i {base}/");
    println!("curl -i {base}/api/hello");
    println!("curl -i {base}/api/post --json '{{\"title\":\"Hello\",\"post\":\"By JSON\"}}'");
    println!("curl -i {base}/api/post -d title=Hello -d post='By form'");
    println!("curl -i {base}/api/post");
    println!("curl -i {base}/api/trivia/42");
    println!("curl -i {base}/trivia/42");
    println!("curl -i {base}/api/protected -H 'Authorization: {key}'");
    println!("curl -i {base}/api/protected -H 'Authorization: Bearer {key}'");
    println!("curl -i '{base}/api/user?id=1'");
    println!("curl -i {base}/api/me -H 'Authorization: Bearer {member}'");
    println!("curl -i {base}/api/admin -H 'Authorization: Bearer {admin}'");
    println!(
        "curl -i {base}/api/users -H 'Authorization: Bearer {member}' --json '{{\"name\":\"Ada\",\"email\":\"ada@example.org\"}}'"
    );
    println!("curl -i {base}/api/limited");
    println!();
    Ok(())
}

/// Signs a token, as the login of an application does.
fn sign(secret: &str, member: &Member) -> Result<String, jsonwebtoken::errors::Error> {
    use jsonwebtoken::{EncodingKey, Header, crypto};
    // With both backends compiled in, one must be chosen before the first use.
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    jsonwebtoken::encode(&Header::default(), member, &EncodingKey::from_secret(secret.as_bytes())?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn StdError>> {
    let config = Config::from_env(([127, 0, 0, 1], 3000).into())?;
    api(&Config { database: ":memory:".into(), ..config })?.audit().assert_none();
    Ok(())
}
