//! HTTPS with HTTP/2, beside HTTP that sends everyone there; the certificate is read again when its files change.
//!
//! Run with
//!
//! ```sh
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
//!     -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! cargo run --example tls --features tls
//! ```
//!
//! ```sh
//! curl --cacert cert.pem https://localhost:3443/hello    # hello, by HTTP/2.0
//! curl -i http://localhost:3000/hello                    # 308, Location: https://localhost:3443/hello
//! ```

use std::error::Error;

use tower_chain::{Body, Chain, ChainService, Listener, Request, Server, Tls};

fn api() -> ChainService {
    let hello = async |req: Request| format!("hello, by {:?}\n", req.version());
    Chain::new().at("/hello", |c| c.get(hello)).build()
}

fn redirect() -> ChainService {
    Chain::new()
        .all(async |req: Request| {
            let path = req.uri().path_and_query().map_or("/", |path| path.as_str());
            http::Response::builder()
                .status(308)
                .header("location", format!("https://localhost:3443{path}"))
                .body(Body::empty())
                .map_err(tower_chain::Error::from)
        })
        .build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let tls = Tls::from_pem_files("cert.pem", "key.pem")?;
    let https = Server::new(Listener::bind("127.0.0.1:3443").await?.tls(tls));
    let http = Server::bind("127.0.0.1:3000").await?;
    println!("https://localhost:3443\n{}", api());
    tokio::try_join!(https.serve(api()), http.serve(redirect()))?;
    Ok(())
}

#[cfg(test)]
#[tokio::test]
async fn http_is_sent_to_https() -> Result<(), Box<dyn Error>> {
    let request = http::Request::get("/hello?a=b").body(Body::empty())?;
    let response = redirect().handle(request).await;
    assert_eq!(response.headers()["location"], "https://localhost:3443/hello?a=b");
    Ok(())
}
