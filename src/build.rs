//! What is wrong with a chain that can't be built.

use std::fmt;

use std::panic::Location;

/// Where a step is registered, in the source code of the program.
pub(crate) type Place = &'static Location<'static>;

/// Why a chain can't be built. The text says where, and what to change.
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
    /// A path is not a pattern.
    #[non_exhaustive]
    Pattern {
        /// The path as it was written.
        pattern: String,
        /// Where it is registered.
        place: Place,
        /// What is wrong with it, and what to write instead.
        reason: String,
    },
    /// Two paths match the same requests, and neither comes first.
    #[non_exhaustive]
    Conflict {
        /// The later pattern.
        pattern: String,
        /// Where it is registered.
        place: Place,
        /// The earlier pattern.
        other: String,
        /// Where that is registered.
        other_place: Place,
    },
    /// A handler that no request reaches, because an earlier one answers all that it would.
    #[non_exhaustive]
    Unreachable {
        /// Method and path of the handler.
        route: String,
        /// Where it is registered.
        place: Place,
        /// The handler that stands before it.
        other: String,
        /// Where that is registered.
        other_place: Place,
    },
}

impl BuildError {
    pub(crate) fn pattern(pattern: &str, place: Place, reason: String) -> Self {
        Self::Pattern { pattern: pattern.to_owned(), place, reason }
    }

    pub(crate) fn conflict(later: (&str, Place), earlier: (&str, Place)) -> Self {
        Self::Conflict {
            pattern: later.0.to_owned(),
            place: later.1,
            other: earlier.0.to_owned(),
            other_place: earlier.1,
        }
    }

    pub(crate) fn unreachable(
        (method, pattern, place): (&str, &str, Place),
        (other, other_place): (&str, Place),
    ) -> Self {
        Self::Unreachable {
            route: format!("{method} {pattern}"),
            place,
            other: other.to_owned(),
            other_place,
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern { pattern, place, reason } => {
                write!(f, "the path `{pattern}`, registered at {place}: {reason}")
            }
            Self::Conflict { pattern, place, other, other_place } => write!(
                f,
                "the path `{pattern}`, registered at {place}, matches the same requests as `{other}`, registered at \
                 {other_place}: give their parameters the same names, or make one of the paths different"
            ),
            Self::Unreachable { route, place, other, other_place } => write!(
                f,
                "no request reaches the handler for `{route}`, registered at {place}: `{other}`, registered at \
                 {other_place}, answers before it; remove one of the two, put this one first, or let the other take \
                 `Next<'_>` and pass the request on"
            ),
        }
    }
}

impl std::error::Error for BuildError {}
