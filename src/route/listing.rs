//! The routes and the tree of steps, as [`ChainService::routes`](crate::ChainService::routes) and `Display` show them.

#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

use std::fmt;

use http::Method;

/// A path of a built chain, and what stands behind it.
///
/// [`ChainService::routes`](crate::ChainService::routes) lists them.
///
/// # Example
///
/// Every route that changes something stands behind a check:
///
/// ```
/// use tower_chain::{Chain, Error, StatusCode};
///
/// async fn signed_in(headers: http::HeaderMap) -> Result<(), Error> {
///     let known = headers.contains_key("x-user");
///     known.then_some(()).ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
/// }
///
/// async fn list() {}
/// async fn create() {}
///
/// let api = Chain::new().at("/users", |c| c.get(list).guard(signed_in).post(create)).build();
/// for route in api.routes() {
///     for handler in route.handlers() {
///         let reads = handler.method() == Some(&http::Method::GET);
///         let is_open = !handler.middleware().iter().any(|name| name == "signed_in");
///         assert!(reads || !is_open, "{} of {:?} is open", handler.name(), route.pattern());
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub(super) pattern: Option<String>,
    pub(super) handlers: Vec<RouteHandler>,
}

impl Route {
    /// The whole pattern, such as `/users/{id}`. `None`: any path.
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref()
    }

    /// What is registered for the path, in the order in which it is written.
    pub fn handlers(&self) -> &[RouteHandler] {
        &self.handlers
    }
}

/// A handler of a built chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteHandler {
    pub(super) method: Option<Method>,
    pub(super) name: String,
    pub(super) middleware: Vec<String>,
}

impl RouteHandler {
    /// The method that it answers. `None`: every method.
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// The name of its function.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names of the middleware in front of it, in the order in which it runs.
    pub fn middleware(&self) -> &[String] {
        &self.middleware
    }
}

/// A line of the tree of steps.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) depth: usize,
    pub(crate) text: String,
    /// The number of the step, if it is one that runs.
    #[cfg_attr(not(feature = "step-times"), allow(dead_code, reason = "nobody else asks"))]
    pub(crate) step: Option<u32>,
}

/// Draws what stands before a node of a tree. It is told the depths of this node and of those after it.
pub(crate) fn write_branch(
    f: &mut impl fmt::Write,
    mut depths: impl Iterator<Item = usize> + Clone,
) -> fmt::Result {
    let own = depths.next().unwrap_or(0);
    for depth in 1..=own {
        let continues = depths.clone().take_while(|next| *next >= depth).any(|next| next == depth);
        f.write_str(match (depth == own, continues) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        })?;
    }
    Ok(())
}

/// The last part of the name of a type or function, with the same for its parameters.
pub(crate) fn short_name<T: ?Sized>() -> String {
    let full = std::any::type_name::<T>();
    let mut name = String::new();
    let mut word = String::new();
    for c in full.chars() {
        match c {
            ':' if word.ends_with(':') => word.clear(),
            c if c.is_alphanumeric() || matches!(c, '_' | ':' | '{' | '}' | '#') => word.push(c),
            c => {
                name.push_str(&word);
                word.clear();
                name.push(c);
            }
        }
    }
    name.push_str(&word);
    name.replace("{{closure}}", "closure")
}
