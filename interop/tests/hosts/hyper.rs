//! hyper alone, hyper-util's `auto`, and this crate's server.

use std::sync::Arc;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tower_chain::{Chain, Provided, Server};

use super::{api, asks_everything, asks_over_both, free_port, http1 as client1, http2 as client2};

#[tokio::test]
async fn hyper_http1_runs_a_chain_as_its_service() {
    let (listener, addr) = free_port().await;
    let api = api();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), api.clone()));
        }
    });
    asks_everything(&client1(), &format!("http://{addr}")).await;
}

#[tokio::test]
async fn hyper_http2_runs_a_chain_as_its_service() {
    let (listener, addr) = free_port().await;
    let api = api();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(socket), api.clone()));
        }
    });
    asks_everything(&client2(), &format!("http://{addr}")).await;
}

#[tokio::test]
async fn hyper_util_auto_runs_a_chain_and_shuts_down_gracefully() {
    let (listener, addr) = free_port().await;
    let gate = Gate { entered: Arc::new(Semaphore::new(0)), leave: Arc::new(Semaphore::new(0)) };
    let api =
        Chain::new().provide(gate.clone()).at("/slow", |c| c.get(slow)).service("/", api()).build();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let host = tokio::spawn(async move {
        let server = auto::Builder::new(TokioExecutor::new());
        let graceful = GracefulShutdown::new();
        loop {
            let (socket, _) = tokio::select! {
                accepted = listener.accept() => accepted.unwrap(),
                _ = &mut stopped => break,
            };
            let connection =
                server.serve_connection_with_upgrades(TokioIo::new(socket), api.clone());
            tokio::spawn(graceful.watch(connection.into_owned()));
        }
        graceful.shutdown().await;
    });
    asks_over_both(&format!("http://{addr}")).await;
    // A request in flight when the shutdown starts is answered.
    let slow = |client: reqwest::Client| {
        let url = format!("http://{addr}/slow");
        tokio::spawn(async move { client.get(url).send().await.unwrap().text().await.unwrap() })
    };
    let in_flight = [slow(client1()), slow(client2())];
    for _ in &in_flight {
        gate.entered.acquire().await.unwrap().forget();
    }
    stop.send(()).unwrap();
    gate.leave.add_permits(2);
    for answer in in_flight {
        assert_eq!(answer.await.unwrap(), "late");
    }
    host.await.unwrap();
}

/// A handler that answers when the test sends a signal.
#[derive(Clone)]
struct Gate {
    entered: Arc<Semaphore>,
    leave: Arc<Semaphore>,
}

async fn slow(Provided(gate): Provided<Gate>) -> &'static str {
    gate.entered.add_permits(1);
    gate.leave.acquire().await.unwrap().forget();
    "late"
}

/// The service without a box, through hyper-util's adapter.
#[tokio::test]
async fn hyper_runs_a_static_chain() {
    let (listener, addr) = free_port().await;
    let api = Chain::new().at("/hello", |c| c.get(async || "hello")).into_service();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(api.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    let response = client1().get(format!("http://{addr}/hello")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn our_server_runs_a_chain() {
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", server.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let host = tokio::spawn(server.serve_until(async { drop(stopped.await) }, api()));
    asks_over_both(&base).await;
    drop(stop);
    host.await.unwrap().unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_chain_answers_on_a_unix_socket() {
    use tower_chain::serve::Listener;

    let path = std::env::temp_dir().join(format!("tower-chain-hosts-{}.sock", std::process::id()));
    let server = Server::new(Listener::bind_unix(&path).unwrap());
    tokio::spawn(server.serve_until(std::future::pending(), api()));
    let client = reqwest::Client::builder().unix_socket(path.as_path()).build().unwrap();
    asks_everything(&client, "http://localhost").await;
    std::fs::remove_file(path).unwrap();
}

/// A proxy connects to the server with TLS, and the client connects through it.
#[tokio::test]
async fn a_chain_answers_over_tls() {
    use rcgen::generate_simple_self_signed;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};
    use tower_chain::serve::{Listener, Tls};

    let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = Tls::from_pem(own.cert.pem(), own.signing_key.serialize_pem()).unwrap();
    let server = Server::new(Listener::bind("127.0.0.1:0").await.unwrap().tls(tls));
    let server_addr = server.local_addr().unwrap();
    tokio::spawn(server.serve_until(std::future::pending(), api()));

    for (protocol, client) in [("http/1.1", client1()), ("h2", client2())] {
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let (bridge, addr) = free_port().await;
        tokio::spawn(async move {
            loop {
                let (mut plain, _) = bridge.accept().await.unwrap();
                let connector = connector.clone();
                tokio::spawn(async move {
                    let socket = tokio::net::TcpStream::connect(server_addr).await.unwrap();
                    let name = ServerName::try_from("localhost").unwrap();
                    let mut tls = connector.connect(name, socket).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut plain, &mut tls).await;
                });
            }
        });
        asks_everything(&client, &format!("http://{addr}")).await;
    }
}
