//! The types that [`ChainService::routes`](crate::ChainService::routes) returns, and the tree of steps that `Display` prints.
//!
//! Not used to serve a request.

use std::fmt;
use std::sync::Arc;

use http::Method;

use crate::declare::DeclaredStep;

/// A path of a built chain, with its handlers and their middleware.
///
/// [`ChainService::routes`](crate::ChainService::routes) lists them.
///
/// # Example
///
/// Checks that every route that changes something has a guard:
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
///         let is_open = !handler.middleware().iter().any(|step| step.name() == "signed_in");
///         assert!(reads || !is_open, "{} of {:?} is open", handler.name(), route.pattern());
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Route {
    pub(super) pattern: Option<String>,
    pub(super) handlers: Vec<RouteHandler>,
    pub(super) answers_options: bool,
}

impl Route {
    /// The whole pattern, such as `/users/{id}`. `None`: any path.
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref()
    }

    /// The handlers that are registered for the path, in the order in which they are written.
    pub fn handlers(&self) -> &[RouteHandler] {
        &self.handlers
    }

    /// Whether the chain answers OPTIONS by itself, if no handler does. See [`Chain::no_auto_options`](crate::Chain::no_auto_options).
    pub fn answers_options(&self) -> bool {
        self.answers_options
    }
}

/// A handler of a built chain.
#[derive(Clone, Debug)]
pub struct RouteHandler {
    pub(super) method: Option<Method>,
    pub(super) passes: bool,
    pub(super) step: Arc<DeclaredStep>,
    pub(super) middleware: Vec<Arc<DeclaredStep>>,
}

impl RouteHandler {
    /// The method that the handler answers. `None`: every method.
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// The name of the handler's function.
    pub fn name(&self) -> &str {
        self.step.name()
    }

    /// Whether the handler may pass a request on to the handlers after it and to those of broader paths.
    pub fn passes(&self) -> bool {
        self.passes
    }

    #[cfg(feature = "audit")]
    pub(crate) fn shared_step(&self) -> &Arc<DeclaredStep> {
        &self.step
    }

    /// The handler as a step.
    pub fn step(&self) -> &DeclaredStep {
        &self.step
    }

    /// The middleware in front of the handler, in the order in which it runs.
    pub fn middleware(&self) -> &[Arc<DeclaredStep>] {
        &self.middleware
    }
}

/// One line of the tree of steps.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) depth: usize,
    pub(crate) text: String,
    /// The number of the step. `None` for a line that is not a step, such as a path or a hook.
    #[cfg_attr(
        not(feature = "step-times"),
        allow(dead_code, reason = "only this feature reads it")
    )]
    pub(crate) step: Option<u32>,
}

/// Draws the branch lines in front of a node of a tree. `depths` are the depths of this node and of all nodes after it.
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

/// The last path segment of the name of a type or function, also for each of its type parameters.
pub(crate) fn short_name<T: ?Sized>() -> String {
    shortened(std::any::type_name::<T>())
}

/// As [`short_name`], of the full name. Not generic, so it is compiled once.
pub(crate) fn shortened(full: &str) -> String {
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
