//! Findings about the order and the settings of the steps of a chain.
//!
//! The compiler checks the types of steps, not their order: a chain in which the rate limit comes after the authentication compiles and
//! runs. [`ChainService::audit`] reports such mistakes from the [declarations](crate::declare) of the steps, each with the place in the
//! program and the remedy. The [page of rules](crate::guide::audit) explains each of them.
//!
//! A finding that is intended is allowed at its place, with a reason: [`Chain::allow`](crate::Chain::allow). It holds for the steps after it.
//!
//! # Example
//!
//! ```
//! use tower_chain::audit::Rule;
//! use tower_chain::{Chain, RateLimit};
//! # use tower_chain::Authenticate;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let token = Authenticate::token("a-secret-of-at-least-16-bytes")?;
//! let api = Chain::new()
//!     .use_(token) // clients can try tokens without a limit
//!     .use_(RateLimit::per_minute(60))
//!     .get(async || "hello")
//!     .build();
//! assert_eq!(api.audit().list()[0].rule(), Rule::AuthenticationBeforeLimit);
//!
//! let token = Authenticate::token("a-secret-of-at-least-16-bytes")?;
//! let api = Chain::new()
//!     .use_(RateLimit::per_minute(60))
//!     .use_(token)
//!     .get(async || "hello")
//!     .build();
//! api.audit().assert_none();
//! # Ok(())
//! # }
//! ```

mod finding;
mod rule;
mod rules;

use std::fmt;

pub use self::finding::Finding;
pub use self::rule::Rule;
use self::rules::{Operation, find};
use crate::ChainService;

impl ChainService {
    /// The findings about the order and the settings of the steps. See [`audit`](crate::audit).
    ///
    /// Tower layers and functions declare nothing of themselves. The audit knows only what
    /// [`declared`](fn@crate::step::declared) states about them.
    pub fn audit(&self) -> Audit {
        let operations = self.routes().iter().flat_map(|route| {
            let operation = |handler| Operation { path: route.pattern(), handler };
            route.handlers().iter().map(operation)
        });
        Audit(find(&operations.collect::<Vec<_>>()))
    }
}

/// The findings about a chain. `Display` prints each of them with its place and its remedy.
#[derive(Clone, Debug)]
pub struct Audit(Vec<Finding>);

impl Audit {
    /// The findings, in the order of the steps.
    pub fn list(&self) -> &[Finding] {
        &self.0
    }

    /// Checks that there is no finding, for a test.
    ///
    /// # Panics
    ///
    /// Panics with the text of the findings, if there are some.
    #[track_caller]
    pub fn assert_none(&self) {
        assert!(self.0.is_empty(), "{self}");
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => return f.write_str("no finding"),
            1 => f.write_str("1 finding")?,
            count => write!(f, "{count} findings")?,
        }
        self.0.iter().try_for_each(|finding| write!(f, "\n\n{finding}"))
    }
}

#[cfg(test)]
mod tests;
