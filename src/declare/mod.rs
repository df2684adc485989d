//! What the steps of a chain declare of themselves: the responses, the credentials, the limits.
//!
//! A middleware fills in a [`Declaration`] in [`Middleware::declare`](crate::Middleware::declare), which is called when a chain is
//! built, never for a request. The built-in middleware does so. [`declared`](fn@crate::step::declared) adds a declaration to a tower layer, or to the middleware of
//! another crate. [`ChainService::routes`](crate::ChainService::routes) returns each handler with the steps in front of it, and their
//! declarations.
//!
//! # Example
//!
//! ```
//! use http::StatusCode;
//! use tower_chain::declare::Answer;
//! use tower_chain::step::declared;
//! use tower_chain::{Chain, Next, Response};
//!
//! async fn in_maintenance(next: Next<'_>) -> Response {
//!     next.run().await
//! }
//!
//! let step = declared(in_maintenance, |to| {
//!     to.answers(Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "In maintenance").header("retry-after"));
//! });
//! let api = Chain::new().use_(step).get(async || "hello").build();
//! let handler = &api.routes()[0].handlers()[0];
//! let declaration = handler.middleware()[0].declaration();
//! assert_eq!(declaration.answered()[0].status(), StatusCode::SERVICE_UNAVAILABLE);
//! ```

mod declaration;
mod describe;
pub(crate) mod documents;
mod field;
mod notes;
#[cfg(feature = "openapi")]
pub(crate) mod operation;
pub(crate) mod settings;
mod step;

pub use self::declaration::{
    Answer, Credential, Declaration, Kind, Resource, Scheme, SecretId, Subject,
};
pub(crate) use self::documents::Describe;
pub use self::documents::{Documents, Undocumented};
pub use self::field::Field;
pub use self::step::DeclaredStep;
