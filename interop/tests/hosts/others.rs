//! poem and salvo with their adapters for tower, and warp inside a chain.

use tower::ServiceExt;
use tower_chain::tower::SyncBody;
use tower_chain::{Chain, Request, Server};

use super::{api, asks_everything, free_port, http1, stamp};

#[tokio::test]
async fn poem_runs_a_chain_by_its_bridge() {
    use poem::endpoint::TowerCompatExt;
    use poem::listener::{Acceptor, Listener, TcpListener};

    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
    let addr = *acceptor.local_addr()[0].as_socket_addr().unwrap();
    let app = poem::Route::new().nest("/api", api().with_sync_bodies().compat());
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(app));
    asks_everything(&http1(), &format!("http://{addr}/api")).await;
}

/// poem removes the prefix of `nest`, and keeps the whole URI where the adapter drops it.
#[tokio::test]
async fn poem_passes_on_the_uri_of_the_client() {
    use poem::EndpointExt;
    use poem::endpoint::TowerCompatExt;
    use poem::listener::{Acceptor, Listener, TcpListener};
    use tower_chain::extract::ClientUri;

    let chain = Chain::new()
        .at("/me", |c| {
            c.get(async |uri: http::Uri, ClientUri(client): ClientUri| format!("{uri} {client}"))
        })
        .build();
    let nested = chain.with_sync_bodies().compat().before(|mut req: poem::Request| async move {
        let uri = req.original_uri().clone();
        req.extensions_mut().insert(ClientUri(uri));
        Ok(req)
    });
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
    let addr = *acceptor.local_addr()[0].as_socket_addr().unwrap();
    let app = poem::Route::new().nest("/api", nested);
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(app));
    let response = http1().get(format!("http://{addr}/api/me?a=b")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "/me?a=b /api/me?a=b");
}

#[tokio::test]
async fn salvo_runs_a_chain_by_its_bridge() {
    use salvo::Listener;
    use salvo::conn::{Acceptor, TcpListener};
    use salvo::http::ReqBody;
    use salvo::prelude::TowerServiceCompat;

    let acceptor = TcpListener::new("127.0.0.1:0").bind().await;
    let addr = acceptor.holdings()[0].local_addr.clone().into_std().unwrap();
    let chain = api().with_sync_bodies();
    // The chain accepts any body type, so the adapter's type has to be named.
    let chain = TowerServiceCompat::<ReqBody, _, _, _>::compat(chain);
    let router = salvo::Router::with_path("{**path}").goal(chain);
    tokio::spawn(salvo::Server::new(acceptor).serve(router));
    asks_everything(&http1(), &format!("http://{addr}")).await;
}

#[tokio::test]
async fn warp_is_a_step_of_a_chain() {
    use warp::Filter;

    let hello = warp::path!("hello" / String).map(|name: String| format!("hello, {name}"));
    let echo = warp::post()
        .and(warp::body::json())
        .map(|body: serde_json::Value| warp::reply::json(&body));
    // The body of a request isn't `Sync`, which warp requires.
    let warp = warp::service(hello.or(echo)).map_request(|req: Request| req.map(SyncBody::new));
    let chain = Chain::new().always(stamp).service("/warp", warp).build();
    let (listener, addr) = free_port().await;
    tokio::spawn(Server::new(listener).serve_until(std::future::pending(), chain));
    let response = http1().get(format!("http://{addr}/warp/hello/Ann")).send().await.unwrap();
    assert_eq!(response.headers()["x-chain"], "passed");
    assert_eq!(response.text().await.unwrap(), "hello, Ann");
    let body = serde_json::json!({ "text": "back" });
    let response = http1().post(format!("http://{addr}/warp")).json(&body).send().await.unwrap();
    assert_eq!(response.json::<serde_json::Value>().await.unwrap(), body);
}
