//! Extractors of an axum application in a chain, and chains in and around axum's router.

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, OriginalUri, State};
use axum::routing::get;
use http::request::Parts;
use tower::ServiceExt;
use tower_chain::chain::WithState;
use tower_chain::{
    Body, Chain, ChainService, Error, Next, Provided, Request, Response, Sealed, StatusCode,
};

use super::support::{answer, now, request, text};

#[derive(Clone)]
struct AppState {
    token: &'static str,
    pool: Pool,
}

#[derive(Clone)]
struct Pool(&'static str);

impl FromRef<AppState> for Pool {
    fn from_ref(state: &AppState) -> Self {
        state.pool.clone()
    }
}

const STATE: AppState = AppState { token: "secret", pool: Pool("db") };

/// The usual extractor of an axum application.
struct RequireAuth(String);

impl<S> FromRequestParts<S> for RequireAuth
where
    S: Send + Sync,
    AppState: FromRef<S>,
{
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let state = AppState::from_ref(state);
        match parts.headers.get("authorization") {
            Some(token) if token == state.token => Ok(Self("Ann".to_owned())),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }
}

/// An extractor of one state alone.
struct OfAppState(&'static str);

impl FromRequestParts<AppState> for OfAppState {
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, state: &AppState) -> Result<Self, StatusCode> {
        Ok(Self(state.pool.0))
    }
}

async fn last(RequireAuth(name): RequireAuth) -> String {
    name
}

async fn first(RequireAuth(name): RequireAuth, pool: State<Pool>, body: String) -> String {
    format!("{name} {} {body}", pool.0.0)
}

async fn beside(state: State<AppState>, n: Provided<u8>, own: OfAppState) -> String {
    format!("{} {} {}", state.token, n.0, own.0)
}

async fn through(state: State<AppState>, mut next: Next<'_>) -> Response {
    next.headers_mut().insert("authorization", state.token.parse().unwrap());
    next.run().await
}

async fn check(RequireAuth(name): RequireAuth) -> Result<&'static str, Error> {
    (name == "Ann").then_some("checked").ok_or_else(|| Error::new(StatusCode::FORBIDDEN, ""))
}

async fn nothing(State(pool): State<Pool>) -> &'static str {
    pool.0
}

async fn render(error: Error, State(pool): State<Pool>) -> String {
    format!("{} {}", error.status().as_u16(), pool.0)
}

fn users() -> Sealed<WithState<AppState, (u8,)>> {
    Chain::expecting::<WithState<AppState, (u8,)>>().post(first).get(beside).seal()
}

fn with_token(method: &str, path: &str) -> Request {
    let mut req = request(method, path);
    req.headers_mut().insert("authorization", "secret".parse().unwrap());
    req
}

#[test]
fn extractors_over_a_state_work_in_each_kind_of_step() {
    let service = Chain::new()
        .provide(1_u8)
        .with_state(STATE)
        .on_no_match(nothing)
        .at("/last", |c| c.get(last))
        .at("/first", |c| c.post(first))
        .at("/beside", |c| c.get(beside))
        .at("/provided", |c| c.get(async |state: Provided<AppState>| state.token))
        .at("/through", |c| c.use_(through).get(last))
        .at("/guard", |c| c.guard(check).get(async |s: Provided<&'static str>| s.0))
        .at("/group", |c| c.group(|c| c.get(last)))
        .at("/error", |c| {
            c.on_error(render).get(async || Err::<(), _>(Error::new(StatusCode::CONFLICT, "")))
        })
        .mount("/users", users())
        .build();
    for (method, path, expected) in [
        ("GET", "/last", "200 Ann"),
        ("POST", "/first", "200 Ann db "),
        ("GET", "/beside", "200 secret 1 db"),
        ("GET", "/provided", "200 secret"),
        ("GET", "/through", "200 Ann"),
        ("GET", "/guard", "200 checked"),
        ("GET", "/group", "200 Ann"),
        ("GET", "/error", "200 409 db"),
        ("POST", "/users", "200 Ann db "),
        ("GET", "/users", "200 secret 1 db"),
        ("GET", "/nowhere", "200 db"),
    ] {
        let response = now(service.handle(with_token(method, path)));
        let status = response.status().as_u16();
        assert_eq!(format!("{status} {}", text(response)), expected, "{method} {path}");
    }
    for path in ["/last", "/guard", "/group"] {
        assert_eq!(answer(&service, "GET", path), "401", "{path}");
    }
}

#[test]
fn the_state_that_is_written_last_counts_and_a_mounted_chain_has_its_own() {
    async fn pool(pool: State<Pool>) -> &'static str {
        pool.0.0
    }
    let own = Chain::new().with_state(Pool("own")).get(pool);
    let without = Chain::new().get(async |uri: http::Uri| uri.path().to_owned());
    let service = Chain::new()
        .with_state(STATE)
        .mount("/own", own)
        .mount("/without", without)
        .at("/outer", |c| c.get(pool))
        .with_state(Pool("later"))
        .at("/later", |c| c.get(pool))
        .build();
    for (path, expected) in
        [("/own", "own"), ("/without", "/without"), ("/outer", "db"), ("/later", "later")]
    {
        assert_eq!(answer(&service, "GET", path), format!("200 {expected}"));
    }
}

#[test]
fn a_state_that_a_step_removed_is_a_500() {
    async fn removes(mut next: Next<'_>) -> Response {
        next.extensions_mut().clear();
        next.run().await
    }
    let service = Chain::new().with_state(STATE).use_(removes).get(last).put(nothing).build();
    for method in ["GET", "PUT"] {
        assert_eq!(now(service.handle(with_token(method, "/"))).status(), 500);
    }
}

#[cfg(feature = "axum")]
mod feature {
    use std::collections::BTreeMap;

    use tower_chain::{MatchedPath, Path};

    use super::*;

    fn ask(router: &Router, path: &str) -> String {
        let response = now(router.clone().oneshot(request("GET", path))).unwrap();
        let status = response.status().as_u16();
        format!("{status} {}", text(response.map(Body::new)))
    }

    #[test]
    fn a_chain_as_a_layer_sees_the_match_of_the_router() {
        #[derive(Clone)]
        struct Seen(String);

        async fn see(
            path: Option<MatchedPath>,
            params: Option<Path<BTreeMap<String, String>>>,
        ) -> Result<Seen, Error> {
            let params = params.map(|params| params.0);
            Ok(Seen(format!("{:?} {params:?}", path.as_deref())))
        }
        async fn stamp(next: Next<'_>) -> Response {
            let path = next.matched_path();
            let mut response = next.run().await;
            let value = path.unwrap_or("none").parse().unwrap();
            response.headers_mut().insert("x-path", value);
            response
        }
        async fn show(axum::Extension(Seen(seen)): axum::Extension<Seen>) -> String {
            seen
        }
        let layer = || Chain::new().use_(stamp).guard(see).into_layer();
        let router = Router::new()
            .route("/users/{id}", get(show))
            .route("/users/{id}/posts/{post}", get(show))
            .route("/files/{*rest}", get(show))
            .route("/plain", get(show))
            .nest("/nest/{of}", Router::new().route("/{id}", get(show)))
            .fallback(show)
            .layer(layer());
        for (path, pattern, params) in [
            ("/users/7", "/users/{id}", "{\"id\": \"7\"}"),
            (
                "/users/a%2Fb/posts/50%25",
                "/users/{id}/posts/{post}",
                "{\"id\": \"a/b\", \"post\": \"50%\"}",
            ),
            ("/users/%C3%A9", "/users/{id}", "{\"id\": \"é\"}"),
            ("/files/a/b", "/files/{*rest}", "{\"rest\": \"a/b\"}"),
            ("/nest/1/2", "/nest/{of}/{id}", "{\"id\": \"2\", \"of\": \"1\"}"),
        ] {
            assert_eq!(ask(&router, path), format!("200 Some({pattern:?}) Some({params})"));
            let response = now(router.clone().oneshot(request("GET", path))).unwrap();
            assert_eq!(response.headers()["x-path"], pattern);
        }
        assert_eq!(ask(&router, "/plain"), "200 Some(\"/plain\") None");
        assert_eq!(ask(&router, "/nowhere"), "200 None None");
    }

    #[test]
    fn a_part_of_a_chain_in_front_matches_its_own_paths() {
        async fn of_chain(path: MatchedPath, Path(id): Path<u32>) -> String {
            format!("{} {id}", &*path)
        }
        let layer = Chain::new().at("/own/{id}", |c| c.get(of_chain)).into_layer();
        let router = Router::new().route("/{a}/{b}", get(async || "router")).layer(layer);
        assert_eq!(ask(&router, "/own/7"), "200 /own/{id} 7");
        assert_eq!(ask(&router, "/x/7"), "200 router");
    }

    #[test]
    fn a_parameter_of_a_client_that_is_not_utf_8_never_passes_a_guard_that_reads_it() {
        async fn reads(_: Path<String>) -> Result<(), Error> {
            Ok(())
        }
        let router = Router::new()
            .route("/{id}", get(async || "reached"))
            .layer(Chain::new().guard(reads).into_layer());
        let found = ask(&router, "/%ff");
        assert!(!found.contains("reached"), "{found}");
    }

    #[test]
    fn the_original_uri_in_a_service_is_that_of_the_client() {
        async fn show(OriginalUri(original): OriginalUri, uri: http::Uri) -> String {
            format!("{original} {uri}")
        }
        let inner: Router = Router::new()
            .route("/x", get(show))
            .nest("/deep", Router::new().route("/x", get(show)));
        let chain: ChainService = Chain::new()
            .service("/a", inner.clone())
            .at("/b", |c| c.service("/c", inner.clone()))
            .service("/", inner)
            .build();
        for (path, rest) in
            [("/a/x?q=1", "/x?q=1"), ("/a/deep/x", "/x"), ("/b/c/x", "/x"), ("/x", "/x")]
        {
            assert_eq!(answer(&chain, "GET", path), format!("200 {path} {rest}"));
        }
        let nested = Router::new().nest_service("/outer", chain);
        assert_eq!(ask(&nested, "/outer/a/x"), "200 /outer/a/x /x");
    }
}
