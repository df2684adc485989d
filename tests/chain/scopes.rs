//! No path bypasses the guard before a service, however the service parses the path.

use std::convert::Infallible;

use super::support::{now, request, status, text};
use percent_encoding::percent_decode;
use proptest::prelude::*;
use tower::util::MapRequestLayer;
use tower::{Layer, Service, ServiceExt};
use tower_chain::{
    Body, Chain, ChainService, Endpoint, Error, Middleware, Next, NextWith, Provided, Request,
    Response, StatusCode,
};
use tower_http::services::ServeDir;

async fn deny(_: Next<'_>) -> StatusCode {
    StatusCode::FORBIDDEN
}

/// A service that answers with the path that it received.
fn echo() -> impl Service<Request, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    tower::service_fn(async |req: Request| Ok(Response::new(req.uri().path().to_owned().into())))
}

/// A service in a scope, with a part of it denied.
fn guarded(scope: &str, prefix: &str) -> ChainService {
    Chain::new().at(scope, |c| c.use_at(prefix, deny).service("/", echo())).build()
}

#[test]
fn use_at_covers_each_path_that_a_service_could_take_for_one_under_the_prefix() {
    let service = guarded("/t/{t}", "/admin");
    for (path, expected) in [
        ("/t/1/admin", 403),
        ("/t/1/admin/", 403),
        ("/t/1/admin/s.txt", 403),
        // The service does not receive the segments of the scope.
        ("/t/.//admin/s.txt", 403),
        ("/t/%2e%2e//admin/s.txt", 403),
        ("/t/a%2Fb//admin/s.txt", 403),
        ("/t/admin/x", 200),
        // The whole path is under the prefix, to a handler that decodes it.
        ("/t/a%2Fadmin/x", 403),
        ("/t/./1/admin", 403),
        // Empty segments and dot segments.
        ("/t/1//admin", 403),
        ("/t/1/./admin", 403),
        ("/t/1/%2E/admin", 403),
        ("/t/1/x/../admin", 403),
        ("/t/1/x/%2e./admin", 403),
        ("/t/1/../admin", 403),
        ("/t/1/a/b/../../admin", 403),
        ("/t/1/admin/../x", 403),
        // Encodings.
        ("/t/1/%61dmin", 403),
        ("/t/1/%61dmi%6E", 403),
        ("/t/1/%2561dmin", 403),
        ("/t/1/%252561dmin", 403),
        ("/t/1/admin%2fs", 403),
        ("/t/1/admin%252Fs", 403),
        ("/t/1/%2Fadmin", 403),
        ("/t/1/x%2f..%2fadmin", 403),
        ("/t/1/x%252f%252e%252e%252fadmin", 403),
        // Backslashes.
        (r"/t/1/\admin", 403),
        (r"/t/1/admin\s", 403),
        ("/t/1/admin%5Cs", 403),
        ("/t/1/%255cadmin", 403),
        (r"/t/1/x\..\admin", 403),
        // Where a name may end: parameters of a segment, NUL, an encoded query or fragment, removed control characters.
        ("/t/1/admin;x=1/s", 403),
        ("/t/1/admin%3bx=1/s", 403),
        ("/t/1/;x/admin", 403),
        ("/t/1/x/..;/admin", 403),
        ("/t/1/admin%00", 403),
        ("/t/1/admin%00.png", 403),
        ("/t/1/admin%3Fx", 403),
        ("/t/1/admin%23x", 403),
        ("/t/1/adm%09in", 403),
        ("/t/1/adm%0Ain", 403),
        // No parser takes any part of it to be under the prefix.
        ("/t/1", 200),
        ("/t/1/", 200),
        ("/t/1/x", 200),
        ("/t/1/administrator", 200),
        ("/t/1/%61dministrator", 200),
        ("/t/1/admin%20x", 200),
        ("/t/1/Admin", 200),
        ("/t/1/x/admin", 200),
        ("/t/1/x%20y/admin", 200),
        ("/t/1/x%2Fy/admin", 200),
        ("/t/1/x//admin", 200),
        ("/t/1/x;admin", 200),
        ("/t/1/v1..v2/admin", 200),
        ("/t/1/.../admin", 200),
        ("/t/1/.hidden/admin", 200),
        ("/t/1/x/../y/z", 200),
    ] {
        assert_eq!(status(&service, "GET", path), expected, "{path}");
    }
}

#[test]
fn a_service_never_receives_a_path_that_leaves_its_scope() {
    let service = Chain::new().service("/t/{t}", echo()).service("/files", echo()).build();
    for (path, expected) in [
        ("/files/..", 400),
        ("/files/../admin/x", 400),
        ("/files/%2e%2e/admin/x", 400),
        ("/files/.%2E/admin/x", 400),
        ("/files/%252e%252e/admin/x", 400),
        ("/files/%25252e%25252e/admin/x", 400),
        ("/files/..%2fadmin", 400),
        ("/files/..%252Fadmin", 400),
        (r"/files/..\admin", 400),
        ("/files/..%5cadmin", 400),
        (r"/files/x\..\..\admin", 400),
        ("/files/..;/admin", 400),
        ("/files/..%3bx=1/admin", 400),
        ("/files/..%00/admin", 400),
        ("/files/.%09./admin", 400),
        ("/files/x/../../admin", 400),
        ("/files/./../admin", 400),
        ("/files//../admin", 400),
        ("/files/x//../../admin", 400),
        ("/files/x%2fy/../../admin", 400),
        ("/files/%2e%2e%2f%2e%2e%2fadmin", 400),
        // Without its dot segment, another segment is the parameter.
        ("/t/../x", 400),
        ("/t/./x", 400),
        ("/t/%2e%2e/x", 400),
        ("/t/%252e/x", 400),
        ("/t/a%2f..%2fb/x", 400),
        ("/t/;a/x", 400),
        ("/files", 200),
        ("/files/", 200),
        ("/files/x/../y", 200),
        ("/files/x/..", 200),
        ("/files/x/./y", 200),
        ("/files//x", 200),
        ("/files/a..b/...", 200),
        ("/files/.hidden/%2ehidden", 200),
        ("/files/%2e%2ehidden", 200),
        ("/files/a%2Fb%5Cc;d", 200),
        ("/t/a%2Fb/x", 200),
        ("/t/.a/x", 200),
    ] {
        assert_eq!(status(&service, "GET", path), expected, "{path}");
    }
    let root = Chain::new().service("/", echo()).build();
    assert_eq!(status(&root, "GET", "/x/../y"), 200);
    assert_eq!(status(&root, "GET", "/x/../../y"), 400);
}

#[test]
fn a_service_receives_the_path_as_the_client_wrote_it() {
    let service = guarded("/t/{t}", "/admin");
    for (path, expected) in [
        ("/t/1", "/"),
        ("/t/1/a%2Fb//c/./%20", "/a%2Fb//c/./%20"),
        ("http://localhost/t/1/x?/../y", "/x"),
    ] {
        assert_eq!(text(now(service.handle(request("GET", path)))), expected, "{path}");
    }
}

#[test]
fn a_guard_covers_services_and_handlers_further_inside() {
    let inner = Chain::new().service("/", echo());
    let service = Chain::new()
        .use_at("/m/admin", deny)
        .mount("/m", inner)
        .at("/x", |c| {
            c.use_at("/in/{y}/admin", deny)
                .at("/in/{y}", |c| c.service("/", echo()))
                .service("/", echo())
        })
        .at("/files", |c| c.use_at("/admin", deny).at("/{*path}", |c| c.get(async || "a handler")))
        .build();
    for (path, expected) in [
        ("/m/admin", 403),
        ("/m//admin", 403),
        ("/m/%2e%2e/m/admin", 403),
        ("/m/../admin", 403),
        ("/m/x/admin", 200),
        ("/x/in/1/admin", 403),
        ("/x/in/1//admin", 403),
        ("/x/in/a%2Fb/admin", 403),
        ("/x/in/a%2Fb//admin", 403),
        ("/x/in/a%2Fb/admin%2fq", 403),
        ("/x/in/a%2Fb/admin%252Fq", 403),
        ("/x/in/%2F/admin%2fq", 403),
        ("/x/in/./admin%2fq", 403),
        (r"/x/in/a\b//admin", 403),
        ("/x/y/../in/1/admin", 403),
        ("/x//in/1/admin", 403),
        ("/x/in/1/x", 200),
        ("/x/in/a%2Fb/x", 200),
        ("/x/in//admin", 200),
        ("/files/admin", 403),
        ("/files/x/../admin", 403),
        ("/files/../files/admin", 403),
        ("/files/..%2Fadmin", 403),
        ("/files/../x", 200),
        ("/files/x/admin", 200),
    ] {
        assert_eq!(status(&service, "GET", path), expected, "{path}");
    }
}

#[test]
fn a_guard_in_a_layer_covers_what_the_service_behind_could_read() {
    let mut service =
        Chain::new().use_at("/admin", deny).use_at("/files/admin", deny).into_layer().layer(echo());
    for (path, expected) in [
        ("/admin", 403),
        ("//admin", 403),
        ("/../admin", 403),
        ("/%2e%2e/admin", 403),
        ("/files/../admin", 403),
        // A router behind the chain may nest a service at `/files`.
        ("/files/%2e%2e/admin", 403),
        ("/files//admin", 403),
        // The chain itself rejects an invalid encoding.
        ("/%zz/../admin", 403),
        ("/%ff/%2e%2e/admin", 403),
        ("/%zz/admin", 200),
        // The layer leaves paths above the root to the service.
        ("/../x", 200),
        ("*", 200),
    ] {
        let response = now(service.call(request("GET", path))).unwrap();
        assert_eq!(response.status(), expected, "{path}");
    }
}

#[test]
fn a_guard_covers_the_path_that_a_middleware_before_it_has_written() {
    let rewrite = |target: &'static str| {
        MapRequestLayer::new(move |mut req: Request| {
            *req.uri_mut() = http::Uri::from_static(target);
            req
        })
    };
    let service =
        Chain::new().use_(rewrite("//admin/x")).use_at("/admin", deny).service("/", echo()).build();
    assert_eq!(status(&service, "GET", "/x"), 403);
    assert_eq!(status(&service, "GET", "/admin"), 403);
    let service = Chain::new().use_(rewrite("/files/../x")).service("/files", echo()).build();
    assert_eq!(status(&service, "GET", "/files/x"), 400);
}

#[test]
fn a_prefix_is_compared_by_its_decoded_segments() {
    for (prefix, path, expected) in [
        ("/a%20b", "/a%20b/x", 403),
        ("/a%2Fb", "/a%2fb/x", 403),
        ("/a%2Fb", "//a%2Fb/x", 403),
        ("/100%25", "/100%25/x", 403),
        ("/100%25", "//100%2525/x", 403),
        ("/{{x}}", "/%7Bx%7D", 403),
        ("/ü", "/%C3%BC", 403),
        ("/a;b", "/a;b", 403),
        ("/a;b", "/a", 200),
        ("/", "/anything", 403),
        ("/{x}", "/", 200),
        ("/{x}", "//", 200),
        ("/{x}", "//a", 403),
    ] {
        assert_eq!(status(&guarded("/s", prefix), "GET", &format!("/s{path}")), expected, "{path}");
    }
    let long = "/a".repeat(64);
    let build = |prefix: &str| Chain::new().use_at(prefix, deny).get(deny_all).try_build();
    assert!(build(&long[2..]).is_ok());
    let error = build(&long).unwrap_err().to_string();
    assert!(error.contains("at most 63 segments"), "{error}");
}

async fn deny_all() {}

/// The path as a file server reads it: decoded once, without empty and dot segments; an error if it leaves the root.
fn file_server(path: &str) -> Option<Vec<String>> {
    let decoded = percent_decode(path.as_bytes()).decode_utf8().ok()?.into_owned();
    let segments: Vec<String> =
        decoded.split('/').filter(|s| !matches!(*s, "" | ".")).map(str::to_owned).collect();
    (!segments.iter().any(|segment| segment == "..")).then_some(segments)
}

/// Resolves dot segments. `None` if they lead above the root.
fn resolve(path: &str) -> Option<Vec<String>> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            name => segments.push(name.to_owned()),
        }
    }
    Some(segments)
}

fn decode(path: &str) -> String {
    percent_decode(path.as_bytes()).decode_utf8_lossy().into_owned()
}

/// The same path as a URL type, in an upstream that collapses slashes or not. `None` if it leaves the upstream's folder.
fn url_type(path: &str) -> Option<[Vec<String>; 2]> {
    let mut url = reqwest::Url::parse("http://upstream/").unwrap();
    url.set_path(&format!("/base/of/upstream{path}"));
    let decoded = decode(url.path().strip_prefix("/base/of/upstream/")?);
    let kept = decoded.split('/').map(str::to_owned).collect();
    Some([decoded.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect(), kept])
}

/// The path as each parser reads it. `Err`: one of them leaves the scope.
fn readings(path: &str) -> Result<Vec<Vec<String>>, String> {
    let left = || path.to_owned();
    let mut readings: Vec<Vec<String>> = file_server(path).into_iter().collect();
    readings.extend(url_type(path).ok_or_else(left)?);
    readings.push(resolve(path).ok_or_else(left)?);
    for decoded in [decode(path), decode(&decode(path))] {
        readings.push(resolve(&decoded).ok_or_else(left)?);
        readings.push(resolve(&decoded.replace('\\', "/")).ok_or_else(left)?);
    }
    readings.push(resolve(&decode(&path.replace('\\', "/"))).ok_or_else(left)?);
    Ok(readings)
}

fn begins_with(reading: &[String], prefix: &str) -> bool {
    let wanted: Vec<&str> = prefix.split('/').filter(|segment| !segment.is_empty()).collect();
    reading.len() >= wanted.len()
        && wanted.iter().zip(reading).all(|(wanted, found)| match wanted.starts_with('{') {
            true => !found.is_empty(),
            false => wanted == found,
        })
}

/// A piece of a path, some of its characters encoded, once or twice.
fn piece() -> impl Strategy<Value = String> {
    let names = vec!["admin", "in", "x", "a.b", "..", "..", ".", "", "/", "\\", "..;a", "admin;a"];
    let encoded = prop::collection::vec(0..8_u8, 8);
    (prop::sample::select(names), encoded).prop_map(|(name, encoded)| {
        let encode = |(character, how): (char, u8)| match how {
            0 => format!("%{:02x}", character as u32),
            1 => format!("%{:02X}", character as u32),
            2 => format!("%25{:02x}", character as u32),
            // A separator in the piece is a slash that a client hides.
            _ if character == '/' => "%2f".to_owned(),
            _ => character.to_string(),
        };
        name.chars().zip(encoded).map(encode).collect()
    })
}

const SCOPES: [&str; 5] = ["/", "/s", "/t/{t}", "/t/{t}/u", "/v-{v}"];
const INSIDE: [&str; 3] = ["/", "/in", "/{y}/in"];
const PREFIXES: [&str; 4] = ["/admin", "/x/admin", "/{a}/admin", "/in/admin"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_reader_gets_past_a_guard_or_out_of_its_scope(
        scope in prop::sample::select(&SCOPES[..]),
        inside in prop::sample::select(&INSIDE[..]),
        prefix in prop::sample::select(&PREFIXES[..]),
        params in prop::collection::vec(piece(), 2),
        pieces in prop::collection::vec(piece(), 0..6),
    ) {
        // The guard's prefix starts with the path of the service in its scope.
        let inner = inside.strip_suffix('/').unwrap_or(inside);
        let service = Chain::new()
            .at(scope, |c| c.use_at(&format!("{inner}{prefix}"), deny).at(inside, |c| c.service("/", echo())))
            .build();
        let outer = scope.strip_suffix('/').unwrap_or(scope).replace("{t}", &params[0]).replace("{v}", &params[0]);
        let path = format!("{outer}{}/{}", inner.replace("{y}", &params[1]), pieces.join("/"));
        let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
        let response = now(service.handle(http::Request::get(uri).body(Body::empty()).unwrap()));
        if response.status() != 200 {
            return Ok(());
        }
        let received = text(response);
        let readings = readings(&received);
        prop_assert!(readings.is_ok(), "{path} leaves its scope as {readings:?}");
        for reading in readings.unwrap() {
            prop_assert!(!begins_with(&reading, prefix), "{path} is read as {reading:?} in spite of {inner}{prefix}");
        }
    }

    #[test]
    fn a_plain_path_is_covered_exactly_if_it_begins_with_the_prefix(
        prefix in prop::sample::select(&PREFIXES[..]),
        names in prop::collection::vec("(admin|in|x|[a-z.]{1,2}z|a%20b|a%2Fb)", 0..5),
    ) {
        let path = format!("/s/{}", names.join("/"));
        let expected = if begins_with(&names, prefix) { 403 } else { 200 };
        // Only some parsers treat an encoded slash as a separator.
        prop_assume!(!(path.contains("%2F") && names.contains(&"admin".to_owned())));
        prop_assert_eq!(status(&guarded("/s", prefix), "GET", &path), expected, "{}", path);
    }
}

#[tokio::test]
async fn a_file_server_never_sends_what_is_denied() {
    let folder = std::env::temp_dir().join(format!("tower-chain-scopes-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("admin")).unwrap();
    std::fs::write(folder.join("admin/s.txt"), "secret").unwrap();
    std::fs::write(folder.join("t.txt"), "open").unwrap();
    let service = Chain::new()
        .at("/t/{t}", |c| c.use_at("/admin", deny).service("/", ServeDir::new(&folder)))
        .build();
    let send = async |path: &str| {
        let response = service.clone().oneshot(request("GET", path)).await.unwrap();
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
    };
    for path in [
        "/t/.//admin/s.txt",
        "/t/%2e%2e//admin/s.txt",
        "/t/a%2Fb//admin/s.txt",
        "/t/1/.//admin//s.txt",
        "/t/1/admin%2Fs.txt",
        "/t/1/%61dmin/./s.txt",
    ] {
        let (status, body) = send(path).await;
        assert_eq!(status, 403, "{path}");
        assert!(!body.contains("secret"), "{path}");
    }
    assert_eq!(send("/t/1//t.txt").await, (200, "open".to_owned()));
    std::fs::remove_dir_all(folder).unwrap();
}

/// A handler's parameter takes a value that some readers see as empty.
#[tokio::test]
async fn a_parameter_of_a_prefix_takes_every_value_that_a_pattern_takes() {
    async fn deny(_: Next<'_>) -> StatusCode {
        StatusCode::FORBIDDEN
    }
    let service = Chain::new()
        .use_at("/users/{id}/private", deny)
        .at("/users/{id}/private", |c| c.get(async || "secret"))
        .build();
    for value in ["7", "%01", "%09", "%0A", "%7F", "%2501", "%01%02", "%00", "%20", "%5C", ";", "."]
    {
        let uri = format!("/users/{value}/private");
        let request = http::Request::get(uri).body(Body::empty()).unwrap();
        assert_eq!(service.handle(request).await.status(), 403, "{value}");
    }
}

#[derive(Clone)]
struct User(&'static str);

struct SignIn;

impl Middleware for SignIn {
    type Provides = (User,);

    async fn call<N: Endpoint>(&self, next: Next<'_, N, (User,)>) -> Response {
        next.run_with(User("ann")).await
    }
}

async fn sign_in(next: NextWith<'_, (User,)>) -> Response {
    next.run_with(User("ann")).await
}

async fn only_bob(user: Provided<User>) -> Result<(), Error> {
    (user.0.0 == "bob").then_some(()).ok_or_else(|| Error::new(StatusCode::FORBIDDEN, "For bob"))
}

async fn only_ann(user: Provided<User>) -> Result<(), Error> {
    (user.0.0 == "ann").then_some(()).ok_or_else(|| Error::new(StatusCode::FORBIDDEN, "For ann"))
}

fn user_of(extensions: &http::Extensions) -> String {
    extensions.get::<User>().map_or("nobody", |user| user.0).to_owned()
}

fn name_of(user: Option<Provided<User>>) -> String {
    user.map_or("nobody", |user| user.0.0).to_owned()
}

/// A service that answers with the user in the extensions.
fn whoami() -> impl Service<Request, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    tower::service_fn(async |req: Request| Ok(Response::new(user_of(req.extensions()).into())))
}

#[tokio::test]
async fn a_value_of_use_at_exists_under_its_prefix_alone() {
    let handler = async |extensions: http::Extensions| user_of(&extensions);
    for service in [
        Chain::new().use_at("/admin", SignIn).service("/", whoami()).build(),
        Chain::new().use_at("/admin", sign_in).service("/", whoami()).build(),
        Chain::new().use_at("/admin", SignIn).at("/{*path}", |c| c.get(handler)).build(),
        Chain::new()
            .use_at("/{any}/admin", deny)
            .use_at("/admin", sign_in)
            .service("/", whoami())
            .build(),
        Chain::new()
            .use_at("/admin", Chain::new().use_(SignIn).guard(only_ann).into_layer())
            .service("/", whoami())
            .build(),
    ] {
        for (path, expected) in [
            ("/admin", "ann"),
            ("/admin/x", "ann"),
            ("//admin/x", "ann"),
            ("/%61dmin/x", "ann"),
            ("/x", "nobody"),
            ("/administration", "nobody"),
        ] {
            let response = service.clone().oneshot(request("GET", path)).await.unwrap();
            // A pattern of a handler does not match an empty segment.
            if response.status() != 404 {
                let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
                assert_eq!(body.to_bytes(), expected, "{path}");
            } else {
                assert_eq!(path, "//admin/x");
            }
        }
    }
    // A function takes it as an option: a handler in each position, a guard, and middleware. A clone of the value is in each.
    let last = async |user: Option<Provided<User>>| name_of(user);
    let first = async |user: Option<Provided<User>>, _: http::Extensions| name_of(user);
    let behind_guard = async |user: Provided<String>| user.0;
    let guard = async |user: Option<Provided<User>>| Ok::<_, Infallible>(name_of(user));
    let middleware = async |user: Option<Provided<User>>, _: Next<'_>| name_of(user);
    let at = || Chain::new().use_at("/admin", sign_in).use_at("/{any}/admin", deny);
    let twice = || at().use_at("/x", SignIn);
    for (service, of_x) in [
        (at().at("/{*path}", |c| c.get(last)).build(), "nobody"),
        (at().at("/{*path}", |c| c.get(first)).build(), "nobody"),
        (at().guard(guard).at("/{*path}", |c| c.get(behind_guard)).build(), "nobody"),
        (at().use_(middleware).at("/{*path}", |c| c.get(async || "")).build(), "nobody"),
        (twice().at("/{*path}", |c| c.get(last)).build(), "ann"),
        (at().mount("/", Chain::new().at("/{*path}", |c| c.get(last))).build(), "nobody"),
    ] {
        for (path, expected) in
            [("/admin", "ann"), ("/admin/x", "ann"), ("/x", of_x), ("/administration", "nobody")]
        {
            let response = service.clone().oneshot(request("GET", path)).await.unwrap();
            let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
            assert_eq!(body.to_bytes(), expected, "{path}");
        }
    }
    // So does a value that all requests have, or that a step provides as an option.
    for (user, expected) in [(Some(User("bob")), "bob"), (None, "nobody")] {
        let service = Chain::new().provide(user).get(last).build();
        let response = service.oneshot(request("GET", "/")).await.unwrap();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        assert_eq!(body.to_bytes(), expected);
    }
    // A later step checks the value under the same prefix.
    let service = Chain::new()
        .use_at("/admin", Chain::new().use_(sign_in).guard(only_bob).into_layer())
        .service("/", whoami())
        .build();
    for (path, expected) in [("/admin/x", 403), ("//admin/x", 403), ("/x", 200)] {
        assert_eq!(status(&service, "GET", path), expected, "{path}");
    }
}
