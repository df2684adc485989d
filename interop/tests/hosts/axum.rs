//! axum: chains in its router, and its router in a chain.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Extension, Path, Query};
use axum::routing::{get, get_service};
use axum::{Json, Router};
use tower::make::Shared;
use tower_chain::{Body, Chain, Request};

use super::{Caller, Page, api, asks_everything, caller, free_port, http1, stamp};

async fn serve(router: Router) -> String {
    let (listener, addr) = free_port().await;
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{addr}")
}

async fn text(url: String) -> String {
    http1().get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn axum_serve_runs_a_chain() {
    let (listener, addr) = free_port().await;
    tokio::spawn(async move { axum::serve(listener, Shared::new(api())).await });
    asks_everything(&http1(), &format!("http://{addr}")).await;
}

#[tokio::test]
async fn a_chain_is_nested_in_a_router() {
    let router = Router::new().nest_service("/api", api()).route("/", get(async || "axum"));
    let base = serve(router).await;
    asks_everything(&http1(), &format!("{base}/api")).await;
    assert_eq!(text(base).await, "axum");
}

#[tokio::test]
async fn a_chain_is_the_fallback_of_a_router() {
    let router = Router::new().route("/", get(async || "axum")).fallback_service(api());
    let base = serve(router).await;
    asks_everything(&http1(), &base).await;
    assert_eq!(text(base).await, "axum");
}

#[tokio::test]
async fn a_chain_is_a_route_of_a_router() {
    let one = Chain::new().always(stamp).get(async || "ours").build();
    let router = Router::new()
        .route_service("/route/{id}", one.clone())
        .route("/method", get_service(one))
        .route_service("/{*path}", api());
    let base = serve(router).await;
    asks_everything(&http1(), &base).await;
    assert_eq!(text(format!("{base}/route/7")).await, "ours");
    assert_eq!(text(format!("{base}/method")).await, "ours");
}

#[tokio::test]
async fn a_chain_is_a_layer_of_a_router() {
    async fn me(Extension(Caller(name)): Extension<Caller>, Path(id): Path<u32>) -> String {
        format!("{name} {id}")
    }
    let layer = Chain::new().always(stamp).guard(caller).into_layer();
    let router = Router::new()
        .route("/me/{id}", get(me))
        .route_layer(layer.clone())
        .route("/open", get(async || "open"))
        .merge(Router::new().route("/whole", get(async || "whole")).layer(layer));
    let base = serve(router).await;
    assert_eq!(text(format!("{base}/open")).await, "open");
    for path in ["/me/7", "/whole"] {
        let refused = http1().get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()["x-chain"], "passed");
    }
    let request = http1().get(format!("{base}/me/7")).header("authorization", "Ann");
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "Ann 7");
}

#[tokio::test]
async fn a_router_is_a_step_of_a_chain() {
    let router: Router = Router::new()
        .route("/users/{id}", get(async |Path(id): Path<u32>| format!("user {id}")))
        .route("/pages", get(async |Query(page): Query<Page>| format!("page {}", page.number)));
    let chain = Chain::new()
        .always(stamp)
        .at("/ours", |c| c.get(async || "ours"))
        .service("/theirs", router.clone())
        .service("/", router)
        .build();
    let base = serve(Router::new().fallback_service(chain)).await;
    assert_eq!(text(format!("{base}/ours")).await, "ours");
    assert_eq!(text(format!("{base}/theirs/users/7")).await, "user 7");
    assert_eq!(text(format!("{base}/theirs/pages?number=3")).await, "page 3");
    let response = http1().get(format!("{base}/users/7")).send().await.unwrap();
    assert_eq!(response.headers()["x-chain"], "passed");
    assert_eq!(response.text().await.unwrap(), "user 7");
}

/// Handlers of a chain can read the extensions that axum's own server inserts.
#[tokio::test]
async fn extractors_of_axum_work_in_a_chain() {
    async fn peer(ConnectInfo(addr): ConnectInfo<SocketAddr>) -> Json<SocketAddr> {
        Json(addr)
    }
    async fn body(body: axum::body::Bytes) -> String {
        format!("{} bytes", body.len())
    }
    let chain = Chain::new().at("/peer", |c| c.get(peer)).at("/body", |c| c.post(body)).build();
    let (listener, addr) = free_port().await;
    let router = Router::new().fallback_service(chain);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let peer: SocketAddr =
        text(format!("http://{addr}/peer")).await.trim_matches('"').parse().unwrap();
    assert!(peer.ip().is_loopback());
    let request = http1().post(format!("http://{addr}/body")).body("12345");
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "5 bytes");
}

/// All extractors of axum that don't need axum's router.
#[tokio::test]
async fn each_extractor_of_axum_works_in_a_chain() {
    use axum::extract::{Form, Multipart, OriginalUri, RawForm, RawQuery};
    use axum_core::extract::DefaultBodyLimit;

    async fn multipart(mut form: Multipart) -> String {
        let field = form.next_field().await.unwrap().unwrap();
        format!("{}={}", field.name().unwrap_or("?").to_owned(), field.text().await.unwrap())
    }
    let chain = Chain::new()
        .always(Extension(Caller("Ann".to_owned())))
        .at("/form", |c| c.post(async |Form(page): Form<Page>| page.number.to_string()))
        .at("/multipart", |c| c.post(multipart))
        .at("/raw", |c| {
            c.get(async |RawQuery(query): RawQuery| query.unwrap_or_default())
                .post(async |RawForm(form): RawForm| form)
        })
        .at("/uri", |c| c.get(async |OriginalUri(uri): OriginalUri| uri.to_string()))
        .at("/caller", |c| c.get(async |Extension(Caller(name)): Extension<Caller>| name))
        .at("/limited", |c| c.use_(DefaultBodyLimit::max(10)).post(async |text: String| text))
        .build();
    let base = serve(Router::new().fallback_service(chain)).await;
    assert_eq!(text(format!("{base}/raw?a=1&b")).await, "a=1&b");
    assert_eq!(text(format!("{base}/uri?a=1")).await, "/uri?a=1");
    assert_eq!(text(format!("{base}/caller")).await, "Ann");
    let post = async |path: &str, kind: &str, body: &'static str| {
        let request = http1().post(format!("{base}{path}")).header("content-type", kind).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let form = "application/x-www-form-urlencoded";
    assert_eq!(post("/form", form, "number=7").await, (200, "7".to_owned()));
    assert_eq!(post("/raw", form, "number=7").await, (200, "number=7".to_owned()));
    let parts = "--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n";
    assert_eq!(
        post("/multipart", "multipart/form-data; boundary=x", parts).await,
        (200, "a=1".to_owned())
    );
    assert_eq!(post("/limited", "text/plain", "short").await, (200, "short".to_owned()));
    assert_eq!(post("/limited", "text/plain", "longer than that").await.0, 413);
}

/// Extractors and steps of this crate in an axum application.
#[tokio::test]
async fn extractors_and_steps_of_ours_work_in_a_router() {
    use axum::routing::post;
    use tower_chain::{BodyLimit, Form, MiddlewareExt, Query, RateLimit, SecurityHeaders};

    let router = Router::new()
        .route("/pages", get(async |Query(page): Query<Page>| page.number.to_string()))
        .route("/form", post(async |Form(page): Form<Page>| page.number.to_string()))
        .layer(BodyLimit::bytes(100).into_layer())
        .layer(SecurityHeaders::new().into_layer())
        .layer(RateLimit::per_minute(5).into_layer());
    let (listener, addr) = free_port().await;
    let service = router
        .layer(axum::middleware::map_request(
            async |ConnectInfo(addr): ConnectInfo<SocketAddr>, mut req: Request| {
                req.extensions_mut().insert(tower_chain::extract::PeerAddr(addr));
                req
            },
        ))
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let base = format!("http://{addr}");
    let response = http1().get(format!("{base}/pages?number=7")).send().await.unwrap();
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.text().await.unwrap(), "7");
    let refused = http1().get(format!("{base}/pages?number=x")).send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let form = async |body: String| {
        let request = http1().post(format!("{base}/form")).body(body);
        let form = "application/x-www-form-urlencoded";
        request.header("content-type", form).send().await.unwrap()
    };
    assert_eq!(form("number=7".to_owned()).await.text().await.unwrap(), "7");
    assert_eq!(form(format!("number=7&a={}", "x".repeat(200))).await.status(), 413);
    http1().get(format!("{base}/pages?number=7")).send().await.unwrap();
    let limited = http1().get(format!("{base}/pages?number=7")).send().await.unwrap();
    assert_eq!(limited.status(), 429);
}

/// Both directions in one program, without an adapter type.
#[tokio::test]
async fn bodies_and_responses_are_the_same_types() {
    let request: axum::extract::Request = Request::new(Body::empty());
    let response: axum::response::Response = api().handle(request).await;
    assert_eq!(response.status(), 404);
}
