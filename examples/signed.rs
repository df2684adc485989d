//! Signed webhooks: each delivery is verified, and handled once.
//!
//! Run with
//!
//! ```sh
//! WEBHOOK_SECRET=whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD cargo run --example signed --features json,serve,signed
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
//! BODY='{"type":"contact.created"}' TIME=$(date +%s)
//! KEY=$(printf %s C2FVsBQIhrscChlQIMV+b5sSYspob7oD | base64 -d | od -An -tx1 | tr -d ' \n')
//! SIGNATURE=$(printf %s "msg_1.$TIME.$BODY" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | base64)
//! curl -H 'content-type: application/json' -H 'webhook-id: msg_1' -H "webhook-timestamp: $TIME" -H "webhook-signature: v1,$SIGNATURE" -d "$BODY" localhost:3000/webhooks
//! # contact.created, delivered as msg_1
//! curl -i -H 'content-type: application/json' -H 'webhook-id: msg_2' -H "webhook-timestamp: $TIME" -H "webhook-signature: v1,$SIGNATURE" -d "$BODY" localhost:3000/webhooks
//! # HTTP/1.1 401 Unauthorized
//! ```

use std::error::Error;

use serde::Deserialize;
use tower_chain::middleware::signed::{Delivery, Signed, SignedError};
use tower_chain::{Chain, ChainService, Json};

#[derive(Deserialize)]
struct Event {
    r#type: String,
}

async fn receive(delivery: Delivery, Json(event): Json<Event>) -> String {
    format!("{}, delivered as {}\n", event.r#type, delivery.id().unwrap_or("-"))
}

fn api(secret: &str) -> Result<ChainService, SignedError> {
    let signed = Signed::standard(secret)?;
    Ok(Chain::new().at("/webhooks", |c| c.use_(signed).post(receive)).build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let secret = std::env::var("WEBHOOK_SECRET").map_err(|_| "WEBHOOK_SECRET is not set")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let api = api(&secret).map_err(|error| format!("WEBHOOK_SECRET: {error}"))?;
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api).await?)
}

#[tokio::test]
async fn only_signed_deliveries_arrive() -> Result<(), Box<dyn Error>> {
    use std::time::SystemTime;
    use tower_chain::Request;
    use tower_chain::middleware::signed::WebhookSigner;

    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let api = api(secret)?;
    let body = r#"{"type":"contact.created"}"#;
    let fields =
        WebhookSigner::standard(secret)?.sign("msg_1", SystemTime::now(), body.as_bytes())?;
    let request = |body: &'static str| {
        http::Request::post("/webhooks")
            .header("content-type", "application/json")
            .body(body.into())
            .map(|mut req: Request| {
                req.headers_mut().extend(fields.clone());
                req
            })
    };
    assert_eq!(api.handle(request(r#"{"type":"changed"}"#)?).await.status(), 401);
    assert_eq!(api.handle(request(r#"{"type":"contact.created"}"#)?).await.status(), 200);
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() -> Result<(), Box<dyn Error>> {
    api("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?.audit().assert_none();
    Ok(())
}
