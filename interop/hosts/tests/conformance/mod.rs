//! `@modelcontextprotocol/conformance` (npm) finds the same with and without the chain.

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rmcp::transport::streamable_http_server::StreamableHttpService;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_chain::middleware::jwt::{AccessToken, TestIssuer};
use tower_chain::middleware::protected_resource::ProtectedResource;
use tower_chain::{Chain, Jwt, Next, RateLimit, Server};

use self::server::{Everything, TOOLS};
use crate::mcp;

const PACKAGE: &str = "@modelcontextprotocol/conformance@0.1.16";

fn service() -> StreamableHttpService<Everything, LocalSessionManager> {
    StreamableHttpService::new(|| Ok(Everything), Arc::default(), Default::default())
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    (listener, origin)
}

/// The service of `rmcp` on hyper. Returns its URL.
async fn without_chain() -> String {
    let (listener, origin) = listener().await;
    // One for all connections, because it knows the sessions.
    let service = service();
    tokio::spawn(async move {
        loop {
            let (io, _) = listener.accept().await.unwrap();
            let builder = auto::Builder::new(TokioExecutor::new());
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let _ = builder.serve_connection(TokioIo::new(io), service).await;
            });
        }
    });
    format!("{origin}/mcp")
}

/// The service behind access tokens, a limit and scopes. A step in front adds the token, because the program sends none.
async fn with_chain() -> String {
    let (listener, origin) = listener().await;
    let resource = format!("{origin}/mcp");
    let metadata =
        ProtectedResource::new(resource.as_str()).unwrap().authorization_server(&*origin).unwrap();
    let issuer = TestIssuer::es256();
    let jwt = Jwt::<AccessToken>::new(issuer.keys()).rfc9068(&*origin, &*resource).unwrap();
    let scopes = TOOLS.map(|tool| (tool, "notes:read"));
    let tools = mcp::ToolScopes::new(metadata.url(), &scopes).unwrap();
    let limit = RateLimit::per_minute(10_000);
    let api = mcp::protected(&metadata, jwt, limit, tools, service()).unwrap();

    let claims = json!({ "iss": origin, "aud": resource, "sub": "ada", "client_id": "cli", "iat": 0, "jti": "1", "scope": "notes:read" });
    let token = issuer.token_with(json!({ "typ": "at+jwt" }), claims);
    let token = http::HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let add_token = tower_chain::from_closure(move |mut next: Next<'_>| {
        let token = token.clone();
        Box::pin(async move {
            next.headers_mut().insert(AUTHORIZATION, token);
            next.run().await
        })
    });
    let app = Chain::new().use_(add_token).service("/", api).build();
    tokio::spawn(async move { Server::new(listener).serve(app).await.unwrap() });
    resource
}

/// The folder of the npm packages: the program, and Node 22, which it needs.
fn packages() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("package.json"), "{\"private\":true}").unwrap();
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    let node = format!("node@npm:node-linux-{arch}@22");
    let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE, &node];
    let installed = Command::new("npm").args(install).current_dir(&folder).output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    folder
}

/// The status of each check, by scenario and name.
fn checks(packages: &Path, url: &str) -> BTreeMap<(String, String), String> {
    let results =
        packages.join(format!("results-{}", url.rsplit_once(':').unwrap().1.replace('/', "-")));
    let _ = fs::remove_dir_all(&results);
    let program = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let output = Command::new("timeout")
        .args(["300", "node_modules/node/bin/node", program, "server", "--suite", "all"])
        .args(["--url", url, "--output-dir"])
        .arg(&results)
        .current_dir(packages)
        .output()
        .unwrap();
    let mut checks = BTreeMap::new();
    for scenario in fs::read_dir(&results).into_iter().flatten() {
        let folder = scenario.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap();
        // `server-ping-2026-01-31T..`
        let scenario = name.split("-20").next().unwrap().to_owned();
        let text = fs::read_to_string(folder.join("checks.json")).unwrap();
        for check in serde_json::from_str::<Vec<Value>>(&text).unwrap() {
            let part = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
            let why = format!("{} {}", part("status"), part("errorMessage"));
            checks.insert((scenario.clone(), part("id")), why.trim_end().to_owned());
        }
    }
    assert!(!checks.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    checks
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs npm, which installs the program and Node 22: run with -- --ignored"]
async fn the_conformance_tests_find_the_same_with_and_without_the_chain() {
    let (bare, chained) = (without_chain().await, with_chain().await);
    let (bare, chained) = tokio::task::spawn_blocking(move || {
        let packages = packages();
        (checks(&packages, &bare), checks(&packages, &chained))
    })
    .await
    .unwrap();
    let passed = bare.values().filter(|status| *status == "SUCCESS").count();
    for ((scenario, check), status) in &bare {
        println!("{scenario}: {check}: {status}");
    }
    println!("{} checks, {passed} passed without the chain", bare.len());
    assert_eq!(bare, chained);
    assert!(passed > 30, "{passed}");
}
