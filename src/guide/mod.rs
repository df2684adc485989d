//! Pages that teach the crate by a task. Their code is compiled, and most of it run, by the tests.
//!
//! To try what they show, with this manifest:
//!
//! ```toml
//! [dependencies]
//! tower-chain = { version = "0.1", features = ["full", "overhead", "test-util"] }
//! axum = "0.8"
//! http = "1"
//! serde = { version = "1", features = ["derive"] }
//! tokio = { version = "1", features = ["full"] }
//! tower-http = { version = "0.7", features = ["cors", "fs", "trace"] }
//! validator = { version = "0.21", features = ["derive"] }
//! ```
//!
//! What is no item of its own, such as `let api = ..`, belongs into a
//!
//! ```
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // here
//!     Ok(())
//! }
//! ```
//!
//! | page | for whom |
//! | --- | --- |
//! | [`first_chain`] | who begins |
//! | [`from_next_connect`], [`from_express`], [`from_koa_and_hono`] | who comes from JavaScript: what was there, what is here |
//! | [`with_axum`] | who has an axum application, and `from_fn` in it |
//! | [`errors`] | who wants to say what went wrong |
//! | [`state`] | who hands something to handlers: a database, a user |
//! | [`testing`] | who tests a chain, a handler, a middleware |
//! | [`deploying`] | who runs it behind a proxy, or in the open |
//! | [`security`] | who is about to go live |
//! | [`writing_middleware`] | who writes a middleware for others |
//! | [`performance`] | who wants to know what a step costs |
//! | [`mistakes`] | who stands before a message of the compiler |

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

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("state.md")]
pub mod state {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("with_axum.md")]
pub mod with_axum {}

#[doc = include_str!("writing_middleware.md")]
pub mod writing_middleware {}
