//! The errors of a chain that can't be built.

use std::fmt;
use std::panic::Location;

/// The source location at which the program adds a step.
pub(crate) type CallSite = &'static Location<'static>;

/// Why a chain can't be built. The message names the source location and what to change.
///
/// [`Chain::try_build`](crate::Chain::try_build) returns it; [`Chain::build`](crate::Chain::build) panics with it.
///
/// # Example
///
/// ```
/// use tower_chain::{BuildError, Chain};
///
/// let error = Chain::new().at("/users/:id", |c| c.get(async || "user")).try_build().unwrap_err();
/// assert!(matches!(error, BuildError::Pattern { .. }));
/// assert!(error.to_string().contains("a parameter is written `{id}`, not `:id`"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The syntax of a path pattern is invalid.
    #[non_exhaustive]
    Pattern {
        /// The path as it was written.
        pattern: String,
        /// Where it is registered.
        location: CallSite,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// Two paths match the same requests, and neither has precedence.
    #[non_exhaustive]
    Conflict {
        /// The later pattern.
        pattern: String,
        /// Where it is registered.
        location: CallSite,
        /// The earlier pattern.
        other: String,
        /// Where the earlier pattern is registered.
        other_location: CallSite,
    },
    /// No request reaches a handler, because an earlier handler answers all requests that it matches.
    #[non_exhaustive]
    Unreachable {
        /// Method and path of the handler.
        route: String,
        /// Where it is registered.
        location: CallSite,
        /// The name of the earlier handler.
        other: String,
        /// Where the earlier handler is registered.
        other_location: CallSite,
    },
    /// Middleware runs for no request, because no handler that it covers comes after it.
    #[non_exhaustive]
    CoversNothing {
        /// The name of the middleware.
        step: String,
        /// Where it is added.
        location: CallSite,
        /// The whole prefix, if the middleware is only for the paths under a prefix.
        prefix: Option<String>,
    },
    /// A handler of a catch-all passes requests on, but does not run for a more specific path below the catch-all.
    #[non_exhaustive]
    Bypassed {
        /// The name of the handler.
        step: String,
        /// Its path.
        pattern: String,
        /// Where it is registered.
        location: CallSite,
        /// The more specific path.
        other: String,
        /// Where the more specific path is registered.
        other_location: CallSite,
    },
}

impl BuildError {
    pub(crate) fn bypassed(
        (step, pattern, location): (&str, &str, CallSite),
        (other, other_location): (&str, CallSite),
    ) -> Self {
        let (step, pattern, other) = (step.to_owned(), pattern.to_owned(), other.to_owned());
        Self::Bypassed { step, pattern, location, other, other_location }
    }

    pub(crate) fn pattern(pattern: &str, location: CallSite, reason: String) -> Self {
        Self::Pattern { pattern: pattern.to_owned(), location, reason }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern { pattern, location, reason } => {
                write!(f, "the path `{pattern}`, registered at {location}: {reason}")
            }
            Self::Conflict { pattern, location, other, other_location } => write!(
                f,
                "the path `{pattern}`, registered at {location}, matches the same requests as `{other}`, registered at \
                 {other_location}: give their parameters the same names, or make one of the paths different"
            ),
            Self::Unreachable { route, location, other, other_location } => write!(
                f,
                "no request reaches the handler for `{route}`, registered at {location}: `{other}`, registered at \
                 {other_location}, answers before it; remove one of the two, put this one first, or let the other take \
                 `Next<'_>` and pass the request on"
            ),
            Self::Bypassed { step, pattern, location, other, other_location } => {
                let prefix =
                    pattern.rsplit_once("/{*").map_or(pattern.as_str(), |(prefix, _)| prefix);
                let prefix = if prefix.is_empty() { "/" } else { prefix };
                write!(
                    f,
                    "the handler `{step}` for `{pattern}`, registered at {location}, passes requests on, but it doesn't run for \
                     `{other}`, registered at {other_location}, which is another path: to run it before every handler under \
                     `{prefix}`, write `.use_at(\"{prefix}\", {step})` before these paths"
                )
            }
            Self::CoversNothing { step, location, prefix: None } => write!(
                f,
                "`{step}`, added at {location}, covers nothing: no handler, path or service comes after it in its chain; put \
                 it before those that it is for"
            ),
            Self::CoversNothing { step, location, prefix: Some(prefix) } => write!(
                f,
                "`{step}`, added at {location}, covers nothing: no path that comes after it in its chain is under \
                 `{prefix}`; correct the prefix, or put it before the paths that it is for"
            ),
        }
    }
}

impl std::error::Error for BuildError {}
