//! A certified issuer, `oidc-provider`, with third-party clients, `oauth4webapi` and `openid-client`, and an API that accepts its tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tower_chain::middleware::authenticate::{Introspected, Introspection};
use tower_chain::middleware::jwt::{Algorithm, Dpop};
use tower_chain::serve::Listener;
use tower_chain::{Authenticate, Chain, ChainService, Claims, Jwt, Server};

use crate::support::ports::free_port;

const AUDIENCE: &str = "https://api.example";

/// The API at an origin.
fn api(issuer: &str, origin: &str) -> ChainService {
    use Algorithm::{Ed25519, Es256, Es384, Ps256, Rs256};

    let jwt =
        || Jwt::<Value>::oidc(issuer, AUDIENCE, [Rs256, Ps256, Es256, Es384, Ed25519]).unwrap();
    let dpop = || Dpop::new(origin).unwrap().required(true).nonces([7; 32]).unwrap();
    let introspection = || {
        let client = reqwest::Client::new();
        let fetch = move |request: http::Request<Bytes>| {
            let client = client.clone();
            async move {
                let response = client.execute(request.try_into()?).await?;
                let status = response.status();
                let mut answer = http::Response::new(response.bytes().await?);
                *answer.status_mut() = status;
                Ok::<_, reqwest::Error>(answer)
            }
        };
        let endpoint = format!("{issuer}/token/introspection");
        let introspection = Introspection::new(endpoint, AUDIENCE, fetch).unwrap();
        introspection
            .client("api", "the secret of api, which is long")
            .and_then(|introspection| introspection.issuer(issuer))
            .unwrap()
    };
    let client = async |claims: Claims<Value>| claims["client_id"].as_str().unwrap().to_owned();
    let opaque = async |token: Introspected| token.client_id().unwrap().to_owned();
    let nested = Chain::new().at("/dpop", |c| c.use_(jwt().dpop(dpop())).get(client)).build();
    Chain::new()
        .at("/jwt", |c| c.use_(jwt()).get(client))
        .at("/dpop", |c| c.use_(jwt().dpop(dpop())).get(client))
        .service("/nested", axum::Router::new().fallback_service(nested))
        .at("/opaque", |c| c.use_(Authenticate::introspection(introspection())).get(opaque))
        .at("/opaque-dpop", |c| {
            c.use_(Authenticate::introspection(introspection().dpop(dpop()))).get(opaque)
        })
        .build()
}

#[derive(Deserialize)]
struct Reported {
    name: String,
    status: Value,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(not(node), ignore = "install node 20 and npm to run this test")]
async fn tokens_of_a_certified_issuer_are_accepted_as_third_parties_send_them() {
    let folder = packages();
    let port = free_port();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let chain = api(&format!("http://localhost:{port}/op"), &origin);
    tokio::spawn(Server::new(listener).serve_until(std::future::pending(), chain));
    let run = tokio::task::spawn_blocking(move || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/issuer/node/issuer.mjs");
        // Packages are found beside the script.
        std::fs::copy(script, folder.join("issuer.mjs")).unwrap();
        Command::new("timeout")
            .args(["120", "node", "issuer.mjs", &port.to_string(), &origin])
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines = String::from_utf8(output.stdout).unwrap();
    let reported: BTreeMap<String, Value> = lines
        .lines()
        // The issuer prints warnings, too.
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|Reported { name, status }| (name, status))
        .collect();
    assert!(output.status.success(), "{reported:?} {errors}");
    let expected: BTreeMap<String, Value> =
        EXPECTED.iter().map(|(name, status)| ((*name).to_owned(), Value::from(*status))).collect();
    assert_eq!(reported, expected);
}

/// Installs the packages once, in the target folder.
fn packages() -> PathBuf {
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock().unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("issuer");
    std::fs::create_dir_all(&folder).unwrap();
    let wanted = include_str!("node/package.json");
    let done = folder.join("installed");
    if std::fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        return folder;
    }
    std::fs::write(folder.join("package.json"), wanted).unwrap();
    let installed = Command::new("timeout")
        .args(["300", "npm", "install", "--no-audit", "--no-fund", "--no-package-lock"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&installed.stderr);
    assert!(installed.status.success(), "npm can't install the packages: {errors}");
    std::fs::write(done, wanted).unwrap();
    folder
}

/// Each request, and its status. `after` is how many requests the client needed: the first one lacks the nonce, which the client then keeps.
const EXPECTED: &[(&str, u16)] = &[
    ("RS256", 200),
    ("PS256", 200),
    ("ES256", 200),
    ("ES384", 200),
    ("EdDSA", 200),
    ("another audience", 401),
    ("a changed signature", 401),
    ("opaque", 200),
    ("opaque, another audience", 401),
    ("opaque, unknown", 401),
    // The issuer answers 400: it does not introspect JWTs.
    ("a JWT, introspected", 401),
    ("opaque, as a JWT", 401),
    ("dpop after 2", 200),
    ("dpop again after 1", 200),
    ("dpop, nested after 1", 200),
    ("dpop, another key after 1", 401),
    ("dpop, as a bearer token", 401),
    ("dpop, not bound after 1", 401),
    ("dpop, opaque after 1", 200),
    ("dpop, opaque, another key after 1", 401),
    ("dpop, opaque, as a bearer token", 401),
    ("openid-client", 200),
    ("rotated, with a twin", 200),
    ("the key before", 401),
    ("restarted", 200),
];
