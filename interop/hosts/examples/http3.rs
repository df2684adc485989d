//! HTTP/3 beside HTTP/1.1 and HTTP/2, by `h3` and `quinn`. Experimental, by the description of `h3`.
//!
//! Run with
//!
//! ```sh
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
//!     -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! cargo run --manifest-path interop/hosts/Cargo.toml --example http3
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! bytes = "1"
//! futures-util = "0.3"
//! h3 = "0.0.8"
//! h3-quinn = "0.0.10"
//! http = "1"
//! http-body-util = "0.1"
//! quinn = { version = "0.11", default-features = false, features = ["runtime-tokio", "rustls-aws-lc-rs"] }
//! rustls = { version = "0.23", default-features = false, features = ["aws_lc_rs", "std"] }
//! ```
//!
//! ```sh
//! curl --cacert cert.pem -i https://localhost:3443/hello
//! # HTTP/2 200
//! # alt-svc: h3=":3443"; ma=86400
//! #
//! # hello, by HTTP/2.0
//! curl --cacert cert.pem --http3-only https://localhost:3443/hello    # a curl with HTTP/3
//! # hello, by HTTP/3.0
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::stream;
use h3::error::{Code, StreamError};
use h3::server::RequestResolver;
use http::HeaderValue;
use http::header::ALT_SVC;
use http_body_util::BodyExt;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower_chain::extract::PeerAddr;
use tower_chain::serve::{Listener, Tls};
use tower_chain::{
    Body, Chain, ChainService, Endpoint, Middleware, Next, Request, Response, Server,
};

/// Advertises HTTP/3 to clients of the other versions (RFC 7838).
struct Advertise(HeaderValue);

impl Middleware for Advertise {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let other = next.version() != http::Version::HTTP_3;
        let mut response = next.run().await;
        if other {
            response.headers_mut().insert(ALT_SVC, self.0.clone());
        }
        response
    }
}

/// The chain. `port` is the one of HTTP/3.
pub fn api(port: u16) -> Result<ChainService, Box<dyn Error>> {
    let advertise = Advertise(HeaderValue::try_from(format!("h3=\":{port}\"; ma=86400"))?);
    let hello = async |req: Request| format!("hello, by {:?}\n", req.version());
    let echo = async |body: Bytes| body;
    Ok(Chain::new()
        .always(advertise)
        .at("/hello", |c| c.get(hello))
        .at("/echo", |c| c.post(echo))
        .build())
}

/// Opens the UDP socket of a server.
pub fn endpoint(
    addr: SocketAddr,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<quinn::Endpoint, Box<dyn Error>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let quic = QuicServerConfig::try_from(tls)?;
    Ok(quinn::Endpoint::server(quinn::ServerConfig::with_crypto(Arc::new(quic)), addr)?)
}

/// Serves a chain over HTTP/3 until the endpoint is closed.
pub async fn serve(endpoint: quinn::Endpoint, api: ChainService) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(connection(incoming, api.clone()));
    }
}

async fn connection(
    incoming: quinn::Incoming,
    api: ChainService,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let connection = incoming.await?;
    let client = PeerAddr(connection.remote_address());
    let connection = h3_quinn::Connection::new(connection);
    // Without a limit, `h3` reads a head of any length.
    let mut connection = h3::server::builder()
        .max_field_section_size(16 * 1024)
        .build::<_, Bytes>(connection)
        .await?;
    while let Some(request) = connection.accept().await? {
        tokio::spawn(answer(request, client, api.clone()));
    }
    Ok(())
}

async fn answer(
    request: RequestResolver<h3_quinn::Connection, Bytes>,
    client: PeerAddr,
    api: ChainService,
) -> Result<(), StreamError> {
    let (head, stream) = request.resolve_request().await?;
    let (mut answers, asks) = stream.split();
    let body = stream::try_unfold(asks, async |mut asks| {
        let data = asks.recv_data().await?;
        Ok::<_, StreamError>(data.map(|mut data| (data.copy_to_bytes(data.remaining()), asks)))
    });
    let mut request = head.map(|()| Body::from_stream(body));
    request.extensions_mut().insert(client);

    let (head, mut body) = api.handle(request).await.into_parts();
    answers.send_response(http::Response::from_parts(head, ())).await?;
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => answers.send_data(data).await?,
            Ok(Err(frame)) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return answers.send_trailers(trailers).await;
                }
            }
            // The client then knows that the response is not complete.
            Err(_) => return Ok(answers.stop_stream(Code::H3_INTERNAL_ERROR)),
        }
    }
    answers.finish().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::var("HTTPS_PORT").map_or(Ok(3443), |port| port.parse())?;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let certificates = CertificateDer::pem_file_iter("cert.pem")?.collect::<Result<_, _>>()?;
    let endpoint = endpoint(addr, certificates, PrivateKeyDer::from_pem_file("key.pem")?)?;
    let https = Listener::bind(addr).await?.tls(Tls::from_pem_files("cert.pem", "key.pem")?);
    let api = api(port)?;
    let http3 = tokio::spawn(serve(endpoint.clone(), api.clone()));
    // Ends at Ctrl-C and SIGTERM, after the requests in flight.
    Server::new(https).serve(api).await?;
    endpoint.close(0u32.into(), b"");
    endpoint.wait_idle().await;
    Ok(http3.await?)
}
