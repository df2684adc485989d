//! hyper by itself, hyper-util's `auto`, and our own server.

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tower_chain::Server;

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
    let api = api();
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
    stop.send(()).unwrap();
    host.await.unwrap();
}

/// The service without a box, through hyper-util's bridge.
#[tokio::test]
async fn hyper_runs_a_static_chain() {
    let (listener, addr) = free_port().await;
    let api = tower_chain::Chain::new().at("/hello", |c| c.get(async || "hello")).into_service();
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
    use tower_chain::Listener;

    let path = std::env::temp_dir().join(format!("tower-chain-hosts-{}.sock", std::process::id()));
    let server = Server::new(Listener::bind_unix(&path).unwrap());
    tokio::spawn(server.serve_until(std::future::pending(), api()));
    let client = reqwest::Client::builder().unix_socket(path.as_path()).build().unwrap();
    asks_everything(&client, "http://localhost").await;
    std::fs::remove_file(path).unwrap();
}
