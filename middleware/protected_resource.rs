//! Metadata by which OAuth clients find the authorization server of this API.
//!
//! # What it does
//!
//! [`ProtectedResource`] is the document of RFC 9728: which authorization servers issue tokens for this API, and which tokens it accepts. A refused client
//! finds it by the parameter `resource_metadata` of the challenge. The Model Context Protocol requires it of servers.
//!
//! # Example
//!
//! ```
//! use tower_chain::middleware::protected_resource::ProtectedResource;
//! use tower_chain::Chain;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let resource = ProtectedResource::new("https://api.example.com")?
//!     .authorization_server("https://login.example.com")?;
//!
//! let chain = Chain::new()
//!     .at(resource.path(), |c| c.get(resource.handler()))
//!     .at("/hello", |c| c.get(async || "hello"));
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Example, tuned
//!
//! ```
//! use tower_chain::middleware::protected_resource::ProtectedResource;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let resource = ProtectedResource::new("https://api.example.com/mcp")?
//!     .authorization_server("https://login.example.com")?
//!     .scopes(["tools:read", "tools:call"])?
//!     .bearer_methods(["header"])?
//!     .name("The tools of Example")
//!     .dpop_algorithms(["ES256"])?
//!     .member("org.example.region", "\"eu\"")?;
//!
//! assert_eq!(resource.path(), "/.well-known/oauth-protected-resource/mcp");
//! // The `resource_metadata` of the authentication.
//! assert_eq!(resource.url(), "https://api.example.com/.well-known/oauth-protected-resource/mcp");
//! # Ok(())
//! # }
//! ```
//!
//! # What the client sees
//!
//! | request | status | headers | body |
//! | --- | --- | --- | --- |
//! | GET of the path | 200 | `Content-Type: application/json`, `Cache-Control: public, max-age=3600` | the document |
//!
//! # What it provides
//!
//! A handler, and the URL for challenges. It is not a step.
//!
//! # Where to put it
//!
//! In the outermost chain, at [`path`](ProtectedResource::path), and not after the authentication, because clients without a token must be able to read
//! it. After a CORS layer, if browsers read it.
//!
//! # Sources
//!
//! [RFC 9728](https://www.rfc-editor.org/rfc/rfc9728), 2 (members), 3.1 (path), 5.1 (challenge).

use std::fmt;
use std::future::{Ready, ready};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Uri};
use serde_json::{Map, Value};

use crate::{Body, Response};

/// The metadata of an API that OAuth protects ([RFC 9728](https://www.rfc-editor.org/rfc/rfc9728)).
///
/// The [module](self) documents where to put it.
#[derive(Clone, Debug)]
pub struct ProtectedResource {
    path: String,
    url: String,
    members: Map<String, Value>,
}

impl ProtectedResource {
    /// Creates the metadata of the API at a URL: the one that clients use, without a query and a fragment.
    ///
    /// # Errors
    ///
    /// If it is not an `https` URL (or `http` on the own machine).
    pub fn new(resource: impl Into<String>) -> Result<Self, ProtectedResourceError> {
        let resource = resource.into();
        let Some((origin, path)) = split(&resource) else {
            return Err(ProtectedResourceError::Url { url: resource });
        };
        // RFC 9728, 3.1: between host and path, and no slash behind a lone host.
        let path = format!("{WELL_KNOWN}{}", if path == "/" { "" } else { path });
        let url = format!("{origin}{path}");
        let mut members = Map::new();
        members.insert("resource".to_owned(), Value::from(resource));
        Ok(Self { path, url, members })
    }

    /// Adds an authorization server that issues tokens for this API, by its issuer identifier.
    ///
    /// # Errors
    ///
    /// If it is not an `https` URL (or `http` on the own machine).
    pub fn authorization_server(
        mut self,
        issuer: impl Into<String>,
    ) -> Result<Self, ProtectedResourceError> {
        let issuer = checked(issuer.into())?;
        let list =
            self.members.entry("authorization_servers").or_insert_with(|| Value::Array(vec![]));
        if let Value::Array(list) = list {
            list.push(Value::from(issuer));
        }
        Ok(self)
    }

    /// Sets the scopes that clients may request (`scopes_supported`). Defaults to absent.
    ///
    /// # Errors
    ///
    /// If the list is empty, which RFC 9728, 3.2 forbids, or if a scope is empty, or contains a space, a quote, a backslash or a character other than visible
    /// ASCII.
    pub fn scopes<S: Into<String>>(
        self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, ProtectedResourceError> {
        self.list("scopes_supported", scopes)
    }

    /// Sets how a token may be sent: `header`, `body`, `query` (`bearer_methods_supported`). Defaults to absent.
    ///
    /// # Errors
    ///
    /// The errors of [`scopes`](Self::scopes).
    pub fn bearer_methods<S: Into<String>>(
        self,
        methods: impl IntoIterator<Item = S>,
    ) -> Result<Self, ProtectedResourceError> {
        self.list("bearer_methods_supported", methods)
    }

    /// Sets the algorithms by which the API signs its responses (`resource_signing_alg_values_supported`). Defaults to absent.
    ///
    /// # Errors
    ///
    /// The errors of [`scopes`](Self::scopes).
    pub fn signing_algorithms<S: Into<String>>(
        self,
        algorithms: impl IntoIterator<Item = S>,
    ) -> Result<Self, ProtectedResourceError> {
        self.list("resource_signing_alg_values_supported", algorithms)
    }

    /// Sets the algorithms of DPoP proofs (`dpop_signing_alg_values_supported`, RFC 9449). Defaults to absent.
    ///
    /// # Errors
    ///
    /// The errors of [`scopes`](Self::scopes).
    pub fn dpop_algorithms<S: Into<String>>(
        self,
        algorithms: impl IntoIterator<Item = S>,
    ) -> Result<Self, ProtectedResourceError> {
        self.list("dpop_signing_alg_values_supported", algorithms)
    }

    /// Sets whether every token must be bound to a key of the client (`dpop_bound_access_tokens_required`). Defaults to absent, which means no.
    #[must_use]
    pub fn dpop_required(mut self, required: bool) -> Self {
        self.members.insert("dpop_bound_access_tokens_required".to_owned(), Value::from(required));
        self
    }

    /// Sets the URL of the public keys of the API (`jwks_uri`). Defaults to absent.
    ///
    /// # Errors
    ///
    /// If it is not an `https` URL (or `http` on the own machine).
    pub fn jwks_uri(self, url: impl Into<String>) -> Result<Self, ProtectedResourceError> {
        self.link("jwks_uri", url.into())
    }

    /// Sets the name of the API for people (`resource_name`). Defaults to absent.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.members.insert("resource_name".to_owned(), Value::from(name.into()));
        self
    }

    /// Sets the URL of the documentation for developers (`resource_documentation`). Defaults to absent.
    ///
    /// # Errors
    ///
    /// If it is not an `https` URL (or `http` on the own machine).
    pub fn documentation(self, url: impl Into<String>) -> Result<Self, ProtectedResourceError> {
        self.link("resource_documentation", url.into())
    }

    /// Sets another member, as JSON text.
    ///
    /// # Errors
    ///
    /// If it is not JSON, or if the member is `resource` or `authorization_servers`, which are set otherwise.
    pub fn member(
        mut self,
        name: impl Into<String>,
        json: &str,
    ) -> Result<Self, ProtectedResourceError> {
        let name = name.into();
        match serde_json::from_str(json) {
            Ok(value) if !["resource", "authorization_servers"].contains(&&*name) => {
                self.members.insert(name, value);
                Ok(self)
            }
            _ => Err(ProtectedResourceError::Member { name }),
        }
    }

    fn list<S: Into<String>>(
        mut self,
        name: &'static str,
        values: impl IntoIterator<Item = S>,
    ) -> Result<Self, ProtectedResourceError> {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        // RFC 6749, 3.3: visible ASCII but for quotes and backslashes. The names of methods and algorithms are of fewer characters.
        let allowed = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
        let is_fit = |value: &String| !value.is_empty() && value.bytes().all(allowed);
        if values.is_empty() || !values.iter().all(is_fit) {
            return Err(ProtectedResourceError::List { name });
        }
        self.members.insert(name.to_owned(), Value::from(values));
        Ok(self)
    }

    fn link(mut self, name: &str, url: String) -> Result<Self, ProtectedResourceError> {
        self.members.insert(name.to_owned(), Value::from(checked(url)?));
        Ok(self)
    }

    /// The path of the document: `/.well-known/oauth-protected-resource`, and the path of the API after it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The URL of the document, for the member `resource_metadata` of challenges.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The document.
    pub fn json(&self) -> String {
        Value::Object(self.members.clone()).to_string()
    }

    /// A handler that responds with the document.
    pub fn handler(&self) -> impl Fn() -> Ready<Response> + Clone + Send + Sync + 'static + use<> {
        let json = self.json();
        move || {
            let mut response = Response::new(Body::from(json.clone()));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
            ready(response)
        }
    }
}

/// The origin and the path of a URL that is allowed in metadata.
fn split(url: &str) -> Option<(&str, &str)> {
    let uri: Uri = url.parse().ok()?;
    let (authority, host) = (uri.authority()?.as_str(), uri.host()?);
    let own = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let secure = uri.scheme_str() == Some("https") || uri.scheme_str() == Some("http") && own;
    let plain = !authority.contains('@') && !url.contains(['?', '#', '{', '}', '"', '\\']);
    if !secure || !plain {
        return None;
    }
    // What was written counts: clients compare URLs byte for byte.
    let end = url.find("://")? + 3 + authority.len();
    let (origin, path) = url.split_at_checked(end)?;
    Some((origin, path))
}

fn checked(url: String) -> Result<String, ProtectedResourceError> {
    match split(&url) {
        Some(_) => Ok(url),
        None => Err(ProtectedResourceError::Url { url }),
    }
}

/// What is wrong with a [`ProtectedResource`]. The text states what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtectedResourceError {
    /// The URL is not allowed in the document.
    Url {
        /// The given text.
        url: String,
    },
    /// A list is empty, or contains an empty text or one with a character that is not allowed.
    List {
        /// The name of its member.
        name: &'static str,
    },
    /// The member can't be set.
    Member {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for ProtectedResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List { name } => write!(
                f,
                "`{name}` is empty, or contains an empty text: give one text or more, each of visible ASCII without spaces, quotes and backslashes"
            ),
            Self::Url { url } => write!(
                f,
                "{url:?} can't be in the metadata: use an absolute `https` URL without user, query and fragment (`http` on localhost)"
            ),
            Self::Member { name } => write!(
                f,
                "the member {name:?} can't be set: give it as JSON text, and use the setters for the resource and its authorization servers"
            ),
        }
    }
}

impl std::error::Error for ProtectedResourceError {}

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::Chain;

    type Built = Result<ProtectedResource, ProtectedResourceError>;

    /// RFC 9728, 3.2.
    #[tokio::test]
    async fn the_example_of_rfc_9728_is_served() -> Result<(), Box<dyn std::error::Error>> {
        let resource = ProtectedResource::new("https://resource.example.com")?
            .authorization_server("https://as1.example.com")?
            .authorization_server("https://as2.example.net")?
            .bearer_methods(["header", "body"])?
            .scopes(["profile", "email", "phone"])?
            .documentation("https://resource.example.com/resource_documentation.html")?;
        let service = Chain::new().at(resource.path(), |c| c.get(resource.handler())).build();
        let req = http::Request::get("/.well-known/oauth-protected-resource");
        let response = service.handle(req.body(Body::empty())?).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = response.into_body().collect().await?.to_bytes();
        let expected: Value = serde_json::from_str(
            r#"{
             "resource": "https://resource.example.com",
             "authorization_servers": ["https://as1.example.com", "https://as2.example.net"],
             "bearer_methods_supported": ["header", "body"],
             "scopes_supported": ["profile", "email", "phone"],
             "resource_documentation": "https://resource.example.com/resource_documentation.html"
            }"#,
        )?;
        assert_eq!(serde_json::from_slice::<Value>(&body)?, expected);
        Ok(())
    }

    #[test]
    fn the_path_is_inserted_between_host_and_path() -> Result<(), ProtectedResourceError> {
        for (resource, path, url) in [
            ("https://a.example", "", "https://a.example"),
            ("https://a.example/", "", "https://a.example"),
            ("https://a.example/resource1", "/resource1", "https://a.example"),
            ("https://a.example:8443/a/b/", "/a/b/", "https://a.example:8443"),
            ("http://localhost:3000/mcp", "/mcp", "http://localhost:3000"),
            ("http://[::1]:3000", "", "http://[::1]:3000"),
        ] {
            let metadata = ProtectedResource::new(resource)?;
            assert_eq!(metadata.path(), format!("{WELL_KNOWN}{path}"));
            assert_eq!(metadata.url(), format!("{url}{WELL_KNOWN}{path}"));
            let written: Value = serde_json::from_str(&metadata.json()).expect("JSON");
            assert_eq!(written["resource"], resource, "as it was written");
        }
        Ok(())
    }

    #[test]
    fn wrong_configuration_is_refused() -> Result<(), ProtectedResourceError> {
        for url in [
            "",
            "/",
            "api.example.com",
            "http://api.example.com",
            "ftp://a.example",
            "https://",
            "https://a.example/?q",
            "https://a.example#f",
            "https://u:p@a.example",
            "https://a.example/{id}",
            "https://a.example/\"",
            "https://a.example/a b",
        ] {
            let good = ProtectedResource::new("https://a.example")?;
            let error = ProtectedResourceError::Url { url: url.to_owned() };
            let built: [Built; 4] = [
                ProtectedResource::new(url),
                good.clone().authorization_server(url),
                good.clone().jwks_uri(url),
                good.documentation(url),
            ];
            for built in built {
                assert_eq!(built.map(drop), Err(error.clone()), "{url}");
            }
            assert!(error.to_string().contains("absolute `https` URL"));
        }
        let good = ProtectedResource::new("https://a.example")?;
        for (name, json) in [("x", "{"), ("resource", "1"), ("authorization_servers", "[]")] {
            assert!(good.clone().member(name, json).is_err(), "{name}");
        }
        let lists: [(&str, fn(ProtectedResource, Vec<String>) -> Built); 4] = [
            ("scopes_supported", |good, list| good.scopes(list)),
            ("bearer_methods_supported", |good, list| good.bearer_methods(list)),
            ("resource_signing_alg_values_supported", |good, list| good.signing_algorithms(list)),
            ("dpop_signing_alg_values_supported", |good, list| good.dpop_algorithms(list)),
        ];
        for (name, set) in lists {
            for list in [&[][..], &[""], &["a", ""], &[" "], &["a b"], &["a\n"], &["é"], &["\""]] {
                let list: Vec<String> = list.iter().map(|text| String::from(*text)).collect();
                let built = set(good.clone(), list.clone());
                assert_eq!(built.map(drop), Err(ProtectedResourceError::List { name }), "{list:?}");
            }
            assert!(set(good.clone(), vec!["header".to_owned()]).is_ok(), "{name}");
        }
        let custom = good
            .member("x", "[1]")?
            .name("A")
            .dpop_required(true)
            .jwks_uri("https://a.example/jwks")?;
        assert_eq!(
            serde_json::from_str::<Value>(&custom.json()).expect("JSON"),
            serde_json::json!({"resource": "https://a.example", "x": [1], "resource_name": "A",
                "dpop_bound_access_tokens_required": true, "jwks_uri": "https://a.example/jwks"})
        );
        Ok(())
    }
}
