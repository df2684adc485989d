//! The guide: each page explains one task. The tests compile all of its code, and run most of it.
//!
//! To try the examples, use this manifest:
//!
//! ```toml
//! [dependencies]
//! tower-chain = { version = "0.1", features = ["full", "overhead", "test-util"] }
//! axum = "0.8"
//! futures-util = "0.3"
//! http = "1"
//! hyper-util = { version = "0.1", features = ["client-legacy", "http1", "tokio"] }
//! schemars = "1.2"
//! serde = { version = "1", features = ["derive"] }
//! serde_json = "1"
//! tokio = { version = "1", features = ["full"] }
//! tower = { version = "0.5", features = ["util"] }
//! tower-http = { version = "0.7", features = ["cors", "fs", "trace"] }
//! tracing-subscriber = "0.3"
//! validator = { version = "0.21", features = ["derive"] }
//! ```
//!
//! Statements such as `let api = ..` go into the body of `main`:
//!
//! ```
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // here
//!     Ok(())
//! }
//! ```
//!
//! | page | contents |
//! | --- | --- |
//! | [`first_chain`] | a first program: handlers, input, middleware |
//! | [`from_next_connect`], [`from_express`], [`from_koa_and_hono`] | how the concepts of these JavaScript frameworks map to this crate |
//! | [`with_axum`] | chains and middleware in an axum application, and the move from `from_fn` |
//! | [`moving`] | what changed in three public applications, of axum, next-connect and Express, that were moved to this crate |
//! | [`validation`] | every error of an input at once, beside its field |
//! | [`errors`] | error responses, error types, and where causes are logged |
//! | [`state`] | passing values to handlers: a database, a user |
//! | [`tokens`] | accepting the tokens of an issuer: presets for Auth0, Okta, Entra ID, Keycloak and others, and what their tokens grant |
//! | [`testing`] | tests of a chain, a handler or a middleware |
//! | [`openapi`] | a document of the API, written by its types and by the steps in front of the handlers |
//! | [`deploying`] | client addresses behind a proxy, TLS, limits, graceful shutdown |
//! | [`observing`] | spans, metrics and access logs |
//! | [`security`] | a checklist before a release |
//! | [`audit`](mod@audit) | the mistakes in the order of steps that a test can find, and the rules |
//! | [`writing_middleware`] | middleware for others to use |
//! | [`recipes`] | a single-page application, rewriting, maintenance mode, a reverse proxy, several hosts, sessions, OAuth login |
//! | [`performance`] | the cost of a step, and how to measure it |
//! | [`mistakes`] | the compiler's messages for frequent mistakes, and their solutions |
//!
//! The most used names are at the root of the crate. The others are in their module: extractors in [`extract`](crate::extract), responses in
//! [`respond`](crate::respond), settings and errors of a built-in step in its module in [`middleware`](crate::middleware), such as
//! `tower_chain::middleware::rate_limit::Quota`, and those of the server in [`serve`](mod@crate::serve).

#[doc = include_str!("audit.md")]
pub mod audit {}

#[doc = include_str!("deploying.md")]
pub mod deploying {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("first_chain.md")]
pub mod first_chain {}

#[doc = include_str!("from_express.md")]
pub mod from_express {}

#[doc = include_str!("from_koa_and_hono.md")]
pub mod from_koa_and_hono {}

#[doc = include_str!("from_next_connect.md")]
pub mod from_next_connect {}

#[doc = include_str!("mistakes.md")]
pub mod mistakes {}

#[doc = include_str!("moving.md")]
pub mod moving {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[doc = include_str!("openapi.md")]
pub mod openapi {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("recipes.md")]
pub mod recipes {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("state.md")]
pub mod state {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("tokens.md")]
pub mod tokens {}
#[doc = include_str!("validation.md")]
pub mod validation {}

#[doc = include_str!("with_axum.md")]
pub mod with_axum {}

#[doc = include_str!("writing_middleware.md")]
pub mod writing_middleware {}
