//! HTTPS with HTTP/2, and a redirect from HTTP. The certificate is reloaded when its files change.
//!
//! Next.js API routes: HTTPS.
//!
//! Run with
//!
//! ```sh
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
//!     -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! cargo run --example tls --features tls
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl --cacert cert.pem https://localhost:3443/hello
//! # hello, by HTTP/2.0
//! curl -i http://localhost:3000/hello
//! # HTTP/1.1 308 Permanent Redirect
//! # location: https://localhost:3443/hello
//! ```

use std::error::Error;

use tower_chain::serve::{Listener, Tls};
use tower_chain::{Body, Chain, ChainService, Request, Server, StatusCode};

fn api() -> ChainService {
    let hello = async |req: Request| format!("hello, by {:?}\n", req.version());
    Chain::new().at("/hello", |c| c.get(hello)).build()
}

fn redirect(port: &str) -> ChainService {
    let origin = format!("https://localhost:{port}");
    let redirect = move |req: Request| {
        let path = req.uri().path_and_query().map_or("/", |path| path.as_str());
        let response = http::Response::builder()
            .status(StatusCode::PERMANENT_REDIRECT)
            .header("location", format!("{origin}{path}"))
            .body(Body::empty());
        std::future::ready(response.map_err(tower_chain::Error::from))
    };
    Chain::new().allow("open-write", "it only redirects").all(redirect).build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let tls = Tls::from_pem_files("cert.pem", "key.pem")?;
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let https_port = std::env::var("HTTPS_PORT").unwrap_or_else(|_| "3443".to_owned());
    let https = Listener::bind(format!("127.0.0.1:{https_port}")).await?.tls(tls);
    let http = Server::bind(format!("127.0.0.1:{port}")).await?;
    tokio::try_join!(Server::new(https).serve(api()), http.serve(redirect(&https_port)))?;
    Ok(())
}

#[cfg(test)]
#[tokio::test]
async fn http_is_sent_to_https() -> Result<(), Box<dyn Error>> {
    let request = http::Request::get("/hello?a=b").body(Body::empty())?;
    let response = redirect("3443").handle(request).await;
    assert_eq!(response.headers()["location"], "https://localhost:3443/hello?a=b");
    Ok(())
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
    redirect("3443").audit().assert_none();
}
