//! An MCP server in a chain: metadata for OAuth clients, access tokens, a limit for each client, a scope for each tool.
//!
//! `rmcp` serves the Model Context Protocol. The chain decides who may call which tool. Run with
//!
//! ```sh
//! cargo run --manifest-path interop/hosts/Cargo.toml --example mcp
//! # a token that may read: ey..
//! # a token that may also write: ey..
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! rmcp = { version = "3.11", features = ["transport-streamable-http-server"] }
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! ```
//!
//! ```sh
//! curl -i -X POST localhost:3000/mcp
//! # HTTP/1.1 401 Unauthorized
//! # www-authenticate: Bearer realm="api", scope="notes:read", resource_metadata="http://localhost:3000/.well-known/oauth-protected-resource/mcp"
//! curl localhost:3000/.well-known/oauth-protected-resource/mcp
//! # {"authorization_servers":["http://localhost:3000"],"resource":"http://localhost:3000/mcp","scopes_supported":["notes:read","notes:write"]}
//! curl -i localhost:3000/mcp -H "Authorization: Bearer $READ" -H 'Content-Type: application/json' \
//!     -H 'Accept: application/json, text/event-stream' \
//!     -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_note","arguments":{"text":"milk"}}}'
//! # HTTP/1.1 403 Forbidden
//! # www-authenticate: Bearer realm="api", error="insufficient_scope", scope="notes:write", resource_metadata=".."
//! ```

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::handler::server::wrapper::Parameters;
use rmcp::schemars::{self, JsonSchema};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_chain::chain::Dependent;
use tower_chain::extract::read_body;
use tower_chain::middleware::jwt::{AccessToken, TestIssuer};
use tower_chain::middleware::protected_resource::ProtectedResource;
use tower_chain::{
    Body, Chain, ChainService, Claims, Endpoint, Error, IntoResponse, Jwt, Middleware, Next,
    RateLimit, Request, Require, Response, StatusCode,
};

/// Which scope a call of a tool needs. A tool that is not in the table is refused.
pub struct ToolScopes {
    tools: HashMap<&'static str, Scope>,
}

type Caller = Claims<AccessToken>;
type Scope = <Require<Caller> as Dependent>::Middleware;

impl ToolScopes {
    /// `metadata` is the URL of the metadata of this resource, for the challenge of a 403.
    pub fn new(metadata: &str, tools: &[(&'static str, &str)]) -> Result<Self, Box<dyn StdError>> {
        let scope = |(tool, scope): &(&'static str, &str)| {
            let require = Require::scope(*scope)?.resource_metadata(metadata)?;
            Ok((*tool, require.into_middleware()))
        };
        Ok(Self { tools: tools.iter().map(scope).collect::<Result<_, Box<dyn StdError>>>()? })
    }

    /// Reads the message of a request, and returns the scope that it needs. Only calls of tools need one.
    async fn scope(&self, req: &mut Request) -> Result<Option<&Scope>, Error> {
        let refused = |detail| Err(Error::new(StatusCode::BAD_REQUEST, detail));
        // GET opens a stream of the server's messages, and DELETE ends a session.
        if req.method() != http::Method::POST {
            return Ok(None);
        }
        // Up to the limit of `BodyLimit`, or 1 MiB.
        let Ok(message) = serde_json::from_slice::<Value>(&read_body(req).await?) else {
            return refused("The body is not JSON");
        };
        if !message.is_object() {
            return refused("The body is not one JSON-RPC message");
        }
        // The server receives the message that is checked here. Of a member that occurs twice, it could read the other one.
        req.headers_mut().remove(http::header::CONTENT_LENGTH);
        *req.body_mut() = Body::from(message.to_string());
        if message["method"] != "tools/call" {
            return Ok(None);
        }
        match message["params"]["name"].as_str().and_then(|tool| self.tools.get(tool)) {
            Some(scope) => Ok(Some(scope)),
            None => Err(Error::new(StatusCode::FORBIDDEN, "No scope permits this tool")),
        }
    }
}

impl Middleware for ToolScopes {
    type Provides = ();

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        match self.scope(&mut next).await {
            Ok(Some(scope)) => scope.call(next).await,
            Ok(None) => next.run().await,
            Err(error) => error.into_response(),
        }
    }
}

/// An MCP server behind its metadata, access tokens, a limit for each user of each client, and scopes.
pub fn protected<S: ServerHandler + Send + 'static>(
    metadata: &ProtectedResource,
    jwt: Jwt<AccessToken>,
    limit: RateLimit,
    tools: ToolScopes,
    server: StreamableHttpService<S, LocalSessionManager>,
) -> Result<ChainService, Box<dyn StdError>> {
    // For a client without a token: which scope to request, and where.
    let jwt = jwt.challenge_scopes(["notes:read"])?.resource_metadata(metadata.url())?;
    let limit =
        limit.keyed_by::<Caller, _>(|caller| format!("{}\n{}", caller.client_id, caller.subject));
    Ok(Chain::new()
        .at(metadata.path(), |c| c.get(metadata.handler()))
        .at("/mcp", |c| c.use_(jwt).use_(limit).use_(tools).service("/", server))
        .build())
}

#[derive(Deserialize, JsonSchema)]
struct Note {
    text: String,
}

/// An MCP server with two tools.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

#[tool_router]
impl Notes {
    #[tool(description = "Returns all notes, one per line")]
    fn list_notes(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    #[tool(description = "Adds a note")]
    fn add_note(&self, Parameters(Note { text }): Parameters<Note>) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        "added".to_owned()
    }
}

#[tool_handler]
impl ServerHandler for Notes {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    let origin = format!("http://localhost:{port}");
    let resource = format!("{origin}/mcp");
    let metadata = ProtectedResource::new(resource.as_str())?
        .authorization_server(origin.as_str())?
        .scopes(["notes:read", "notes:write"])?;

    // Its keys are public: yours are those of your authorization server, with `Jwt::oidc`.
    let issuer = TestIssuer::es256();
    for (name, scope) in [("read", "notes:read"), ("also write", "notes:read notes:write")] {
        let claims = json!({ "iss": origin, "aud": resource, "sub": "ada", "client_id": "cli", "iat": 0, "jti": name, "scope": scope });
        println!(
            "a token that may {name}: {}",
            issuer.token_with(json!({ "typ": "at+jwt" }), claims)
        );
    }
    let jwt = Jwt::<AccessToken>::new(issuer.keys()).rfc9068(origin.as_str(), resource.as_str())?;
    let scopes = [("list_notes", "notes:read"), ("add_note", "notes:write")];
    let tools = ToolScopes::new(metadata.url(), &scopes)?;

    let notes = Notes::default();
    // Without sessions: `rmcp` does not bind a session to the client that opened it.
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false);
    let server = StreamableHttpService::new(move || Ok(notes.clone()), Arc::default(), config);
    let app = protected(&metadata, jwt, RateLimit::per_minute(60), tools, server)?;
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), app).await?)
}
