//! Types for request and response: path, query and body are parsed before the handler runs, and the compiler checks the response.
//!
//! Next.js API routes: `NextApiRequest` and `NextApiResponse<Data>`, with a type for the body as well.
//!
//! Run with
//!
//! ```sh
//! cargo run --example typed --features json,query,serve
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! serde = { version = "1", features = ["derive"] }
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i 'localhost:3000/api/shops/7/orders?gift=true' --json '{"item":"tea","count":2}'
//! # HTTP/1.1 201 Created
//! # content-type: application/json
//! #
//! # {"shop":7,"item":"tea","count":2,"gift":true}
//! curl localhost:3000/api/shops/7/orders --json '{"item":"tea","count":"2"}'
//! # {..,"status":422,..,"errors":[{..,"pointer":"/count",..}]}
//! curl localhost:3000/api/shops/7/orders --json '{"item":"tea","count":1000}'
//! # {"type":"about:blank","title":"Conflict","status":409,"detail":"There are 100 left"}
//! curl localhost:3000/api/shops/here/orders --json '{"item":"tea","count":2}'
//! # {..,"status":400,..}
//! ```

use serde::{Deserialize, Serialize};
use tower_chain::serve::ServeError;
use tower_chain::{Chain, ChainService, Error, Json, Path, Query, StatusCode};

#[derive(Deserialize)]
struct NewOrder {
    item: String,
    count: u32,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    gift: bool,
}

#[derive(Serialize)]
struct Order {
    shop: u32,
    item: String,
    count: u32,
    gift: bool,
}

async fn order(
    Path(shop): Path<u32>,
    Query(options): Query<Options>,
    Json(new): Json<NewOrder>,
) -> Result<(StatusCode, Json<Order>), Error> {
    if new.count > 100 {
        return Err(Error::new(StatusCode::CONFLICT, "There are 100 left"));
    }
    let order = Order { shop, item: new.item, count: new.count, gift: options.gift };
    Ok((StatusCode::CREATED, Json(order)))
}

fn api() -> ChainService {
    Chain::new()
        .allow("open-write", "guests may order")
        .at("/api/shops/{shop}/orders", |c| c.post(order))
        .build()
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    tower_chain::serve(format!("127.0.0.1:{port}"), api()).await
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
