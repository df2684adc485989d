//! Tests of fixed bugs.

use super::support::{Trace, answer, ask, header, now, request, status, text};
use http::HeaderValue;
use tower::util::MapRequestLayer;
use tower_chain::extract::{FromRequestParts, MatchedPath, Path};
use tower_chain::{
    Body, Chain, ChainService, Error, MiddlewareExt, Next, Request, Response, StatusCode, from_fn,
};

async fn ok() -> &'static str {
    "ok"
}

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

async fn deny() -> Result<(), StatusCode> {
    Err(StatusCode::UNAUTHORIZED)
}

#[test]
fn a_chain_layer_inside_a_chain_does_not_confuse_the_two() {
    let inner =
        || Chain::new().use_(MapRequestLayer::new(|req: Request| req)).at("/own", |c| c.get(ok));
    let service = Chain::new()
        .use_(MapRequestLayer::new(|req: Request| req))
        .use_(inner().into_layer())
        .at("/open", |c| c.get(async || "open"))
        .at("/u/{id}", |c| c.get(async |Path(id): Path<u32>| id.to_string()))
        .guard(deny)
        .at("/secret", |c| c.get(async || "secret"))
        .build();
    for (path, expected) in
        [("/open", "200 open"), ("/u/7", "200 7"), ("/secret", "401"), ("/zzz", "404")]
    {
        assert!(answer(&service, "GET", path).starts_with(expected), "{path}");
    }
}

#[tokio::test]
async fn one_chain_layer_may_be_applied_twice_on_one_way() {
    use tower::{Layer, ServiceExt};
    let t = Trace::default();
    let layer =
        Chain::new().use_(t.tag("m")).use_(MapRequestLayer::new(|req: Request| req)).into_layer();
    let service =
        tower::service_fn(
            async |_: Request| Ok::<_, std::convert::Infallible>(Response::default()),
        );
    let twice = layer.layer(layer.layer(service));
    assert_eq!(twice.oneshot(request("GET", "/")).await.unwrap().status(), 200);
    assert_eq!(t.take(), ">m >m <m <m");
}

#[test]
fn a_layer_of_a_built_in_leaves_the_parameters_of_the_path() {
    let service = Chain::new()
        .use_(from_fn(pass).into_layer())
        .at("/u/{id}", |c| {
            c.get(async |path: MatchedPath, Path(id): Path<u32>| format!("{} {id}", path.as_str()))
        })
        .build();
    assert_eq!(answer(&service, "GET", "/u/7"), "200 /u/{id} 7");
}

#[test]
fn scopes_of_unmatched_requests_do_not_hide_each_other() {
    let t = Trace::default();
    let api = Chain::new()
        .always(t.tag("api"))
        .on_no_match(async || (StatusCode::NOT_FOUND, "api"))
        .at("/{id}/posts", |c| c.provide(1_u8).get(ok))
        .at("/{id}/q", |c| c.catch_panics().always(t.tag("q")).get(ok));
    let service = Chain::new().mount("/api", api).build();
    for (path, trace) in [
        ("/api", ">api <api"),
        ("/api/x", ">api <api"),
        ("/api/1/posts/zzz", ">api <api"),
        ("/api/1/q/zzz", ">api >q <q <api"),
    ] {
        assert_eq!(answer(&service, "GET", path), "404 api", "{path}");
        assert_eq!(t.take(), trace, "{path}");
    }
}

#[test]
fn every_mount_on_a_path_sees_what_is_refused_there() {
    let t = Trace::default();
    let one = Chain::new().always(t.tag("one")).at("/x", |c| c.get(ok));
    let two = Chain::new().always(t.tag("two")).at("/x", |c| c.post(ok));
    let service = Chain::new().mount("/m", one).mount("/m", two).build();
    for (method, path, expected) in
        [("PUT", "/m/x", 405), ("OPTIONS", "/m/x", 204), ("GET", "/m/zzz", 404)]
    {
        assert_eq!(status(&service, method, path), expected, "{method} {path}");
        assert_eq!(t.take(), ">one >two <two <one", "{method} {path}");
    }
}

#[test]
fn a_405_ends_with_its_path_and_takes_no_hook_that_comes_later() {
    let t = Trace::default();
    let service = Chain::new()
        .at("/before", |c| c.get(ok))
        .on_method_not_allowed(async || (StatusCode::METHOD_NOT_ALLOWED, "hook"))
        .always(t.tag("later"))
        .at("/after", |c| c.get(ok))
        .build();
    assert!(answer(&service, "POST", "/before").starts_with("405 {"));
    assert_eq!(t.take(), "");
    assert_eq!(answer(&service, "POST", "/after"), "405 hook");
    assert_eq!(t.take(), ">later <later");
}

#[test]
fn on_error_drops_what_describes_the_old_body_and_adds_up_cookies() {
    async fn render(_: Error) -> ([(&'static str, &'static str); 1], &'static str) {
        ([("set-cookie", "b=2")], "a plain text that is long enough to be compressed by a layer")
    }
    async fn fails() -> Result<(), Error> {
        Err(Error::new(StatusCode::CONFLICT, "A detail that is long enough to be compressed by it"))
    }
    async fn cookie(next: Next<'_>) -> Response {
        let mut response = next.run().await;
        let headers = response.headers_mut();
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("etag", HeaderValue::from_static("\"old\""));
        response
    }
    let service = Chain::new()
        .on_error(render)
        .use_(cookie)
        .use_(tower_http::compression::CompressionLayer::new())
        .get(fails)
        .build();
    let mut req = request("GET", "/");
    req.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
    let response = now(service.handle(req));
    assert_eq!(header(&response, "content-encoding"), "");
    assert_eq!(header(&response, "etag"), "");
    assert_eq!(header(&response, "set-cookie"), "b=2 | a=1");
    assert!(text(response).starts_with("a plain text"));
}

#[test]
fn use_at_covers_what_a_file_server_takes_for_the_prefix() {
    let files =
        tower::service_fn(
            async |_: Request| Ok::<_, std::convert::Infallible>(Response::default()),
        );
    async fn refuse(_: Next<'_>) -> StatusCode {
        StatusCode::FORBIDDEN
    }
    let service = Chain::new().use_at("/admin", refuse).service("/", files).build();
    for path in [
        "/admin/secret",
        "//admin/secret",
        "/./admin/secret",
        "/%2e/admin/secret",
        "/admin%2Fsecret",
        "/.%2Fadmin/secret",
        "/x/../admin/secret",
        "/%61dmin",
        "/%2561dmin",
    ] {
        assert_eq!(status(&service, "GET", path), 403, "{path}");
    }
    for path in ["/", "/administrator", "/x/admin", "/%2561dministrator"] {
        assert_eq!(status(&service, "GET", path), 200, "{path}");
    }
}

#[test]
fn use_at_decides_on_the_path_that_was_matched() {
    async fn rewrites(mut next: Next<'_>) -> Response {
        *next.uri_mut() = http::Uri::from_static("/elsewhere");
        next.run().await
    }
    async fn refuse(_: Next<'_>) -> StatusCode {
        StatusCode::FORBIDDEN
    }
    let service = Chain::new()
        .use_(rewrites)
        .use_(MapRequestLayer::new(|req: Request| req))
        .use_at("/admin", refuse)
        .at("/admin", |c| c.get(ok))
        .build();
    assert_eq!(status(&service, "GET", "/admin"), 403);
}

#[test]
fn a_panic_of_the_call_itself_is_caught() {
    let panics = from_fn(pass).when(|_| panic!("in a predicate"));
    let service = Chain::new().catch_panics().use_(panics).get(ok).build();
    assert_eq!(status(&service, "GET", "/"), 500);
}

#[tokio::test]
async fn head_has_no_body_behind_a_layer_and_no_length_that_is_not_known() {
    use tower::{Layer, ServiceExt};
    let behind =
        tower::service_fn(
            async |_: Request| Ok::<_, std::convert::Infallible>(Response::default()),
        );
    let layered = Chain::new().at("/own", |c| c.get(ok)).into_layer().layer(behind);
    let response = layered.oneshot(request("HEAD", "/own")).await.unwrap();
    assert_eq!(header(&response, "content-length"), "2");
    assert_eq!(text(response), "");
    let service: ChainService = Chain::new().head(async || [("x-head", "1")]).build();
    let response = ask(&service, "HEAD", "/");
    assert!(!response.headers().contains_key("content-length"));
}

#[test]
fn parts_of_segments_stand_beside_whole_parameters_in_any_order() {
    let forward = Chain::new()
        .at("/{n}.png/x", |c| c.get(async || "png"))
        .at("/f-{n}", |c| c.get(async || "f"))
        .at("/v{n}/a", |c| c.get(async || "v"))
        .at("/{x}/y", |c| c.get(async || "y"))
        .at("/{x}", |c| c.get(async || "whole"));
    let backward = Chain::new()
        .at("/{x}", |c| c.get(async || "whole"))
        .at("/{x}/y", |c| c.get(async || "y"))
        .at("/v{n}/a", |c| c.get(async || "v"))
        .at("/f-{n}", |c| c.get(async || "f"))
        .at("/{n}.png/x", |c| c.get(async || "png"));
    for service in [forward.build(), backward.build()] {
        for (path, expected) in [
            ("/a.png/x", "200 png"),
            ("/a.png/y", "200 y"),
            ("/f-1", "200 f"),
            ("/f1", "200 whole"),
            ("/v1/a", "200 v"),
            ("/v1/y", "200 y"),
        ] {
            assert_eq!(answer(&service, "GET", path), expected, "{path}");
        }
    }
}

#[test]
fn options_for_the_server_respects_handlers_settings_and_services_behind() {
    let own = Chain::new().options(async || "own").at("/a", |c| c.get(ok)).build();
    assert_eq!(answer(&own, "OPTIONS", "*"), "200 own");
    let off = Chain::new().no_auto_options().at("/a", |c| c.get(ok)).build();
    assert_eq!(status(&off, "OPTIONS", "*"), 404);
}

#[test]
fn a_service_keeps_its_own_slash_and_its_prefix_may_have_any_name() {
    let echo = || {
        tower::service_fn(async |req: Request| {
            Ok::<_, std::convert::Infallible>(Response::new(req.uri().to_string().into()))
        })
    };
    let strict = Chain::new().strict_slash().service("/s", echo()).build();
    assert_eq!(answer(&strict, "GET", "/s/"), "200 /");
    let named = Chain::new().service("/files/{path}", echo()).service("/v{n}", echo()).build();
    assert_eq!(answer(&named, "GET", "/files/a/b"), "200 /b");
    assert_eq!(answer(&named, "GET", "/v1/x"), "200 /x");
}

#[test]
fn a_head_or_options_handler_that_passes_on_leaves_the_automatic_answers() {
    let service = Chain::new().head(pass).options(pass).at("/a", |c| c.get(ok)).build();
    assert_eq!(status(&service, "HEAD", "/a"), 200);
    let response = ask(&service, "OPTIONS", "/a");
    assert_eq!(response.status(), 204);
    assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS");
}

#[test]
fn a_layer_and_a_service_see_the_matched_pattern_of_a_static_path() {
    async fn shows(path: Option<MatchedPath>) -> String {
        path.map(|path| path.as_str().to_owned()).unwrap_or_default()
    }
    // A layer passes a value to the handler.
    #[derive(Clone)]
    struct Found(String);
    async fn tells(req: Request) -> String {
        req.extensions().get::<Found>().map(|found| found.0.clone()).unwrap_or_default()
    }
    let looks = MapRequestLayer::new(|req: Request| {
        let (mut parts, body) = req.into_parts();
        let path = now(MatchedPath::from_request_parts(&mut parts, &()));
        parts.extensions.insert(Found(path.map(|path| path.to_string()).unwrap_or_default()));
        Request::from_parts(parts, body)
    });
    let foreign = tower::service_fn(async |req: Request| {
        let (mut parts, _) = req.into_parts();
        let path = MatchedPath::from_request_parts(&mut parts, &()).await;
        let path = path.map(|path| path.to_string()).unwrap_or_default();
        Ok::<_, std::convert::Infallible>(Response::new(path.into()))
    });
    let inner = Chain::new().get(shows).build();
    let service = Chain::new()
        .service("/foreign", foreign)
        .service("/chain", inner)
        .use_(looks)
        .at("/static", |c| c.get(tells))
        .build();
    assert_eq!(answer(&service, "GET", "/static"), "200 /static");
    assert_eq!(answer(&service, "GET", "/foreign"), "200 /foreign");
    // The inner chain has no path here, so its matched path is `None`, and not the one of the outer chain.
    assert_eq!(answer(&service, "GET", "/chain"), "200");
}

#[test]
fn the_limit_of_an_outer_layer_is_not_reported_as_that_of_an_extractor() {
    use tower_chain::extract::{MaxBody, Text};
    use tower_http::limit::RequestBodyLimitLayer;

    async fn own_limit(mut next: Next<'_>) -> Response {
        next.extensions_mut().insert(MaxBody::bytes(4));
        next.run().await
    }
    async fn length(Text(text): Text) -> String {
        text.len().to_string()
    }
    let service = Chain::new()
        .at("/outer", |c| c.use_(RequestBodyLimitLayer::new(4)).post(length))
        .at("/own", |c| c.use_(own_limit).post(length))
        .build();
    for (path, limit) in [("/outer", None), ("/own", Some("\"limit\":4"))] {
        let frames = futures_util::stream::iter(["abc", "def"].map(Ok::<_, std::io::Error>));
        let mut req = request("POST", path);
        *req.body_mut() = Body::from_stream(frames);
        let response = now(service.handle(req));
        assert_eq!(response.status(), 413, "{path}");
        let text = text(response);
        assert_eq!(text.contains("limit"), limit.is_some(), "{path} {text}");
        assert!(limit.is_none_or(|limit| text.contains(limit)), "{path} {text}");
    }
}
