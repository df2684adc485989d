//! A shop whose contract is a document: OpenAPI from the types of the handlers and from the steps in front of them.
//!
//! Run with
//!
//! ```sh
//! cargo run --example openapi --all-features
//! ```
//!
//! and open <http://localhost:3000/docs>. `--print-openapi` prints the document and ends, for a file that is checked in or for a generator of
//! clients.
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! futures-util = "0.3"
//! garde = { version = "0.23", features = ["derive"] }
//! getrandom = { version = "0.4", features = ["std"] }
//! jsonwebtoken = { version = "12", default-features = false, features = ["aws_lc_rs"] }
//! schemars = "1.2"
//! serde = { version = "1", features = ["derive"] }
//! tracing-subscriber = "0.3"
//! validator = { version = "0.21", features = ["derive"] }
//! ```
//!
//! ```sh
//! curl localhost:3000/articles
//! # {"articles":[{"id":1,"name":"A novel"..
//! curl -i localhost:3000/account/me
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer ..
//! curl -i localhost:3000/openapi.json
//! # HTTP/1.1 200 OK
//! # content-type: application/json
//! ```
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `PORT` | the port on 127.0.0.1 | 3000 |
//! | `JWT_SECRET` | a secret of at least 32 bytes | random |
//! | `PARTNER_KEY` | a secret of at least 16 bytes | random |
//! | `WEBHOOK_SECRET` | the secret of the payment service, of at least 24 bytes in base64 | random |

mod shop;

use std::env;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{Stream, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shop::{Article, Category, NewArticle, NewReview, Order, Review, Shop};
use tower_chain::declare::Answer;
use tower_chain::extract::cookies::Cookie;
use tower_chain::extract::{
    Binary, BracketSyntax, ByField, JsonOrForm, Multipart, Submitted, Text,
};
use tower_chain::grants::Grants;
use tower_chain::middleware::access_log::AccessLog;
use tower_chain::middleware::deprecated::Deprecated;
use tower_chain::middleware::garde::Garde;
use tower_chain::middleware::idempotency::Idempotency;
use tower_chain::middleware::server_timing::ServerTiming;
use tower_chain::middleware::shed::Shed;
use tower_chain::middleware::signed::Signed;
use tower_chain::middleware::telemetry::Telemetry;
use tower_chain::openapi::{Docs, File, Info, Parts, described, documented, undescribed};
use tower_chain::respond::{Created, Event, Html, NdJson, NoContent, Redirect, Sse, WithStatus};
use tower_chain::{
    Authenticate, BodyLimit, Chain, ChainService, Claims, Cookies, ETag, Error, Fields, Form, Json,
    Jwt, MiddlewareExt, Path, ProblemDetails, Provided, Query, RateLimit, Request, Require,
    Response, SecurityHeaders, Server, StatusCode, Valid,
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
    let config = Config::from_env()?;
    let docs = Docs::new(info());
    let api = api(&config, &docs)?;
    docs.publish(&api);
    if env::args().any(|argument| argument == "--print-openapi") {
        println!("{}", api.openapi(&info()).to_json());
        return Ok(());
    }
    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let server = Server::bind(("127.0.0.1", port)).await?;
    println!("Listening on http://{}/docs", server.local_addr()?);
    println!("A token of a customer who is an administrator:\n{}", sign(&config.jwt_secret)?);
    server.serve(api).await?;
    Ok(())
}

fn info() -> Info {
    Info::new("Shop", "1.0.0")
        .description(
            "Articles, reviews and orders.\n\nCustomers send a token, partners send a key.",
        )
        .license("MIT", Some("https://opensource.org/license/mit"))
}

struct Config {
    jwt_secret: String,
    partner_key: String,
    webhook_secret: String,
}

impl Config {
    fn from_env() -> Result<Self, getrandom::Error> {
        let secret = |name: &str| env::var(name).or_else(|_| random_secret());
        Ok(Self {
            jwt_secret: secret("JWT_SECRET")?,
            partner_key: secret("PARTNER_KEY")?,
            webhook_secret: secret("WEBHOOK_SECRET")?,
        })
    }
}

fn random_secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The claims of a token.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Customer {
    sub: String,
    roles: Vec<String>,
    exp: u64,
}

impl Grants for Customer {
    fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

fn api(config: &Config, docs: &Docs) -> Result<ChainService, Box<dyn StdError>> {
    let jwt = || Jwt::<Customer>::hs256(&config.jwt_secret);
    let quota = || RateLimit::per_client(1_000_000).every(Duration::from_secs(60));

    // A header is enough on your own machine. On a public server, require a credential.
    let for_developers = |req: &Request| req.headers().contains_key("x-debug");

    let articles = Chain::expecting::<(Shop,)>()
        .documented()
        .tagged("articles")
        .use_(ETag::new())
        .get(list_articles)
        .at("/{id}", |c| {
            c.get(one_article)
                .at("/reviews", |c| {
                    c.get(list_reviews).allow("open-write", "anyone may review").post(add_review)
                })
                .at("/picture.svg", |c| c.get(picture))
        });

    let account = Chain::expecting::<(Shop,)>()
        .documented()
        .tagged("account")
        .use_(jwt()?)
        .at("/me", |c| c.get(me).put(change_profile))
        .at("/cart", |c| {
            c.get(cart).at("/{article}", |c| c.put(put_in_cart).delete(remove_from_cart))
        })
        .at("/orders", |c| {
            // An order that is sent again is not placed twice.
            c.use_(Idempotency::per(|customer: &Claims<Customer>| customer.sub.clone()))
                .post(described(place_order, place_order::docs))
                .get(list_orders)
                .at("/{id}", |c| c.get(one_order).patch(change_order))
        });

    let admin = Chain::expecting::<(Shop,)>()
        .documented()
        .tagged("administration")
        .use_(jwt()?)
        .use_(Require::<Claims<Customer>>::role("admin")?)
        .at("/articles", |c| {
            c.post(create_article).at("/{id}", |c| c.put(replace_article).delete(delete_article))
        });

    let partner = Chain::expecting::<(Shop,)>()
        .documented()
        .tagged("partners")
        .use_(Authenticate::token(&config.partner_key)?)
        .at("/stock", |c| c.get(stock).post(deliver));

    let payment = Signed::standard(&config.webhook_secret)?;
    let old = Deprecated::since("2026-06-30")?.sunset("2027-06-30")?.successor("/articles")?;
    let upload = described(upload, |to| {
        to.takes::<Parts<Upload>>();
    });
    let anything = described(undescribed(anything), |to| {
        to.answers(Answer::new(StatusCode::OK, "Always empty"));
    });

    Ok(Chain::new()
        .always(Telemetry::new().request_ids())
        .always(AccessLog::combined())
        .always(ServerTiming::new("total")?.when(for_developers))
        .always(SecurityHeaders::new())
        .always(ProblemDetails::new())
        .catch_panics()
        .provide(Shop::new())
        .use_(BodyLimit::bytes(256 * 1024))
        .documented()
        .at("/openapi.json", |c| c.get(docs.json()))
        .at("/docs", |c| c.get(docs.page()))
        .group(|c| {
            c.use_(quota())
                .use_(Shed::new())
                .at("/health", |c| c.get(health))
                .at("/products", |c| c.use_(old).get(list_articles))
                .at("/payments", |c| c.tagged("partners").use_(payment).post(paid))
                .mount("/articles", articles)
                .mount("/account", account)
                .mount("/admin", admin)
                .mount("/partner", partner)
                .group(|c| {
                    c.tagged("catalogue")
                        .allow("open-write", "nothing is stored")
                        .at("/categories", |c| c.get(categories))
                        .at("/categories/{category}", |c| c.get(articles_of))
                        .at("/compare/{a}/{b}", |c| c.get(compare))
                        .at("/search", |c| c.get(search).post(save_search))
                        .at("/filter", |c| c.provide(BracketSyntax::new()).post(filter))
                        .at("/news", |c| c.get(news))
                        .at("/export", |c| c.get(export))
                })
                .group(|c| {
                    c.tagged("pages")
                        .allow("open-write", "visitors have no account, and little is stored")
                        .at("/currency", |c| c.get(currency).put(set_currency))
                        .at("/welcome", |c| c.get(welcome))
                        .at("/go/{id}", |c| c.get(go))
                        .at("/pages/{*path}", |c| c.get(page))
                        .at("/contact", |c| c.post(contact))
                        .at("/feedback", |c| c.post(feedback))
                        .at("/uploads", |c| c.post(upload))
                        .at("/checksum", |c| c.post(checksum))
                        .at("/anything", |c| c.get(anything))
                })
        })
        .build())
}

async fn health() -> &'static str {
    "fine"
}

#[derive(Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
struct Listing {
    /// How many articles to skip.
    #[serde(default)]
    offset: u32,
    /// How many articles to return.
    #[validate(range(min = 1, max = 100))]
    limit: Option<u8>,
    category: Option<Category>,
}

#[derive(JsonSchema, Serialize)]
struct Page {
    articles: Vec<Article>,
    /// How many articles there are.
    total: usize,
}

async fn list_articles(
    Provided(shop): Provided<Shop>,
    Valid(Query(listing)): Valid<Query<Listing>>,
) -> Json<Page> {
    Json(page_of(&shop, &listing))
}

fn page_of(shop: &Shop, listing: &Listing) -> Page {
    let found = shop.articles(|article| listing.category.is_none_or(|own| own == article.category));
    let total = found.len();
    let limit = listing.limit.unwrap_or(20).into();
    let articles = found.into_iter().skip(listing.offset as usize).take(limit).collect();
    Page { articles, total }
}

async fn one_article(
    Provided(shop): Provided<Shop>,
    Path(id): Path<u64>,
) -> Result<Json<Article>, Error> {
    shop.article(id).map(Json)
}

async fn list_reviews(
    Provided(shop): Provided<Shop>,
    Path(id): Path<u64>,
) -> Result<Json<Vec<Review>>, Error> {
    shop.reviews(id).map(Json)
}

async fn add_review(
    Provided(shop): Provided<Shop>,
    Path(id): Path<u64>,
    Valid(Json(review)): Valid<Json<NewReview>>,
) -> Result<Created<Json<Review>>, Error> {
    shop.add_review(id, review).map(|review| Created(Json(review)))
}

async fn picture(
    Provided(shop): Provided<Shop>,
    Path(id): Path<u64>,
) -> Result<Html<String>, Error> {
    let article = shop.article(id)?;
    Ok(Html(format!("<p>A picture of article {}</p>", article.id)))
}

#[derive(JsonSchema, Serialize)]
struct Profile {
    name: String,
}

async fn me(claims: Claims<Customer>) -> Json<Profile> {
    Json(Profile { name: claims.sub.clone() })
}

#[derive(Deserialize, JsonSchema, garde::Validate)]
struct NewProfile {
    #[garde(length(chars, min = 1, max = 80))]
    name: String,
}

async fn change_profile(
    _: Claims<Customer>,
    Garde(Json(profile)): Garde<Json<NewProfile>>,
) -> Json<Profile> {
    Json(Profile { name: profile.name })
}

#[derive(JsonSchema, Serialize)]
struct Item {
    article: u64,
    count: u8,
}

async fn cart(Provided(shop): Provided<Shop>, claims: Claims<Customer>) -> Json<Vec<Item>> {
    let items = shop.cart(&claims.sub).into_iter();
    Json(items.map(|(article, count)| Item { article, count }).collect())
}

#[derive(Deserialize, JsonSchema, Validate)]
struct Count {
    #[validate(range(min = 1, max = 99))]
    count: u8,
}

async fn put_in_cart(
    Provided(shop): Provided<Shop>,
    claims: Claims<Customer>,
    Path(article): Path<u64>,
    Valid(Json(Count { count })): Valid<Json<Count>>,
) -> Result<Json<Item>, Error> {
    shop.put(&claims.sub, article, count)?;
    Ok(Json(Item { article, count }))
}

async fn remove_from_cart(
    Provided(shop): Provided<Shop>,
    claims: Claims<Customer>,
    Path(article): Path<u64>,
) -> Result<NoContent, Error> {
    shop.remove(&claims.sub, article).map(|()| NoContent)
}

#[derive(Deserialize, Fields, JsonSchema, Validate)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    #[validate(length(min = 1, max = 5), nested)]
    lines: Vec<Line>,
    #[validate(length(max = 200))]
    gift_message: Option<String>,
}

#[derive(Deserialize, Fields, JsonSchema, Serialize, Validate)]
struct Line {
    article: u64,
    #[validate(range(min = 1, max = 99))]
    count: u8,
}

/// Place an order
///
/// With an `Idempotency-Key`, a repetition gets the response of the first order.
#[documented]
async fn place_order(
    Provided(shop): Provided<Shop>,
    claims: Claims<Customer>,
    Valid(order): Valid<ByField<Json<NewOrder>>>,
) -> Result<Created<Json<Order>>, Error> {
    let lines = order.lines.iter().map(|line| (line.article, line.count));
    let order = shop.order(&claims.sub, lines, order.gift_message.clone())?;
    Ok(Created(Json(order)))
}

async fn list_orders(Provided(shop): Provided<Shop>, claims: Claims<Customer>) -> Json<Vec<Order>> {
    Json(shop.orders(&claims.sub))
}

async fn one_order(
    Provided(shop): Provided<Shop>,
    claims: Claims<Customer>,
    Path(id): Path<u64>,
) -> Result<Json<Order>, Error> {
    shop.find_order(&claims.sub, id).map(Json)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "action")]
enum Change {
    Cancel,
    Note { text: String },
}

async fn change_order(
    Provided(shop): Provided<Shop>,
    claims: Claims<Customer>,
    Path(id): Path<u64>,
    Json(change): Json<Change>,
) -> Result<WithStatus<202, Json<Order>>, Error> {
    let order = match change {
        Change::Cancel => shop.change_order(&claims.sub, id, None)?,
        Change::Note { text } => shop.change_order(&claims.sub, id, Some(text))?,
    };
    Ok(WithStatus(Json(order)))
}

async fn create_article(
    Provided(shop): Provided<Shop>,
    Valid(Json(article)): Valid<Json<NewArticle>>,
) -> Created<Json<Article>> {
    Created(Json(shop.add(article)))
}

async fn replace_article(
    Provided(shop): Provided<Shop>,
    Path(id): Path<u64>,
    Valid(Json(article)): Valid<Json<NewArticle>>,
) -> Result<Json<Article>, Error> {
    shop.replace(id, article).map(Json)
}

async fn delete_article(
    Provided(shop): Provided<Shop>,
    Path(id): Path<u64>,
) -> Result<NoContent, Error> {
    shop.delete(id).map(|()| NoContent)
}

/// What the payment service sends when a customer has paid.
#[derive(Deserialize, JsonSchema)]
struct Payment {
    order: u64,
}

async fn paid(
    Provided(shop): Provided<Shop>,
    Json(Payment { order }): Json<Payment>,
) -> Result<NoContent, Error> {
    shop.pay(order).map(|()| NoContent)
}

async fn stock(Provided(shop): Provided<Shop>) -> Json<Vec<Article>> {
    Json(shop.articles(|article| article.stock == 0))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delivery {
    article: u64,
    count: u32,
}

async fn deliver(
    Provided(shop): Provided<Shop>,
    Json(deliveries): Json<Vec<Delivery>>,
) -> Result<NoContent, Error> {
    for Delivery { article, count } in deliveries {
        shop.deliver(article, count)?;
    }
    Ok(NoContent)
}

async fn categories() -> Json<Vec<Category>> {
    Json(Category::ALL.to_vec())
}

async fn articles_of(
    Provided(shop): Provided<Shop>,
    Path(category): Path<Category>,
) -> Json<Vec<Article>> {
    Json(shop.articles(|article| article.category == category))
}

async fn compare(
    Provided(shop): Provided<Shop>,
    Path((a, b)): Path<(u64, u64)>,
) -> Result<Json<[Article; 2]>, Error> {
    Ok(Json([shop.article(a)?, shop.article(b)?]))
}

#[derive(Deserialize, JsonSchema)]
struct Search {
    q: String,
    #[serde(default)]
    tag: Vec<String>,
    #[serde(default)]
    sold_out: bool,
}

async fn search(
    Provided(shop): Provided<Shop>,
    Query(search): Query<Search>,
) -> Json<Vec<Article>> {
    Json(shop.articles(|article| {
        let is_named = article.name.contains(&search.q);
        let is_tagged = search.tag.iter().all(|tag| article.name.contains(&**tag));
        is_named && is_tagged && (search.sold_out || article.stock > 0)
    }))
}

#[derive(Deserialize, JsonSchema)]
struct SavedSearch {
    q: String,
    notify: bool,
}

async fn save_search(JsonOrForm(search): JsonOrForm<SavedSearch>) -> Created<String> {
    Created(format!("{} {}", search.q, search.notify))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    price: Range,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    from: u32,
    to: u32,
}

async fn filter(Provided(shop): Provided<Shop>, Form(filter): Form<Filter>) -> Json<Vec<Article>> {
    Json(shop.articles(|article| (filter.price.from..=filter.price.to).contains(&article.price)))
}

async fn news() -> Sse<impl Stream<Item = Result<Event, std::io::Error>> + Send> {
    Sse::new(stream::iter((1..=3).map(|n| Ok(Event::new().id(n).data("An article is new")))))
}

async fn export(
    Provided(shop): Provided<Shop>,
) -> NdJson<impl Stream<Item = Result<Article, std::io::Error>> + Send> {
    NdJson::new(stream::iter(shop.articles(|_| true).into_iter().map(Ok)))
}

async fn welcome() -> Html<&'static str> {
    Html("<!doctype html><title>Shop</title><h1>Welcome</h1>")
}

async fn go(Path(id): Path<u64>) -> Redirect {
    Redirect::to(format!("/articles/{id}")).see_other()
}

async fn page(Path(path): Path<String>) -> Result<Html<String>, Error> {
    match path.as_str() {
        "terms" | "help/payment" => Ok(Html(format!("<h1>{path}</h1>"))),
        _ => Err(Error::new(StatusCode::NOT_FOUND, "There is no such page")),
    }
}

#[derive(Deserialize, JsonSchema, Validate)]
struct Contact {
    #[validate(length(min = 1, max = 500))]
    message: String,
}

async fn contact(form: Submitted<Valid<Form<Contact>>>) -> Result<Redirect, Error> {
    form.result().map(|_| Redirect::to("/welcome").see_other()).map_err(Clone::clone)
}

async fn feedback(Text(text): Text) -> WithStatus<202, String> {
    WithStatus(format!("{} characters", text.chars().count()))
}

/// The parts of the form, for the document alone.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only described")]
struct Upload {
    title: Option<String>,
    #[schemars(length(min = 1))]
    pictures: Vec<File>,
}

async fn upload(mut form: Multipart) -> Result<Json<Vec<usize>>, Error> {
    let mut sizes = Vec::new();
    while let Some(part) = form.next_part().await? {
        match part.name() {
            Some("title") => drop(part.text().await?),
            Some("pictures") => sizes.push(part.bytes().await?.len()),
            _ => {}
        }
    }
    match sizes.is_empty() {
        true => Err(Error::new(StatusCode::UNPROCESSABLE_ENTITY, "There is no picture")),
        false => Ok(Json(sizes)),
    }
}

#[derive(Clone, Copy, Deserialize, JsonSchema, Serialize)]
enum Currency {
    Eur,
    Usd,
}

async fn currency(cookies: Cookies) -> Json<Currency> {
    Json(if cookies.value("currency") == Some("Usd") { Currency::Usd } else { Currency::Eur })
}

async fn set_currency(cookies: Cookies, Json(currency): Json<Currency>) -> (Cookies, NoContent) {
    let name = if matches!(currency, Currency::Usd) { "Usd" } else { "Eur" };
    (cookies.set(Cookie::new("currency", name)), NoContent)
}

async fn checksum(Binary(bytes): Binary) -> String {
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    format!("{sum:02x}")
}

/// Any response: nothing in its type describes it.
async fn anything() -> Response {
    Response::default()
}

/// Signs a token, as the login of an application does.
fn sign(secret: &str) -> Result<String, Box<dyn StdError>> {
    use jsonwebtoken::{EncodingKey, Header, crypto};
    // With both backends compiled in, one must be chosen before the first use.
    let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let exp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 24 * 60 * 60;
    let customer = Customer { sub: "ada".to_owned(), roles: vec!["admin".to_owned()], exp };
    let key = EncodingKey::from_secret(secret.as_bytes())?;
    Ok(jsonwebtoken::encode(&Header::default(), &customer, &key)?)
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn StdError>> {
    api(&Config::from_env()?, &Docs::new(info()))?.audit().assert_none();
    Ok(())
}
