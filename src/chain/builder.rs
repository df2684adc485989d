//! The type `Chain`. Its methods are in `chain/mod.rs` and `chain/build.rs`.

use std::fmt;
use std::marker::PhantomData;

use crate::chain::list::{InnerSteps, Push, Steps};
use crate::declare::Undocumented;
use crate::provide::{Expected, Nil};
use crate::route::registrar::Settings;

/// An ordered list of steps: middleware, handlers and paths.
///
/// ```text
/// Chain::new().use_(a).use_(b).get(h)     a request runs through a, b, h
///                                         its response through   h, b, a
/// ```
///
/// Steps run in the order in which they are written. A step covers the steps after it and nothing before it. A chain is a value:
/// each method takes it and returns a longer one. No other code can change it, and [`build`](Chain::build) freezes it.
///
/// # Matching comes first
///
/// Path and method are matched before any step runs. If no path matches, the chain answers 404 (see
/// [`on_no_match`](Chain::on_no_match)). If a path matches but not the method, it answers 405 with a complete `Allow`
/// (see [`on_method_not_allowed`](Chain::on_method_not_allowed)). In both cases, steps added with [`always`](Chain::always) run, but
/// steps added with [`use_`](Chain::use_) and [`guard`](Chain::guard) don't. So an unknown path after an authentication step answers
/// 404, not 401.
///
/// # Paths
///
/// | pattern | matches |
/// | --- | --- |
/// | `/users` | `/users` and `/users/` (see [`strict_slash`](Chain::strict_slash)) |
/// | `/users/{id}` | one segment that is not empty |
/// | `/files/{name}.png` | a part of a segment; such patterns are tried one by one, so use only a few |
/// | `/files/{*rest}` | the rest of the path, at least one character |
/// | `/a.b+c(d)`, `/a b`, `/日本` | these characters, percent-encoded by the client or not |
/// | `/{{x}}` | literal braces |
///
/// Static segments take precedence over parameters, and both over catch-alls, in whichever order they are written. Paths are
/// case-sensitive. A handler without a path answers any path in the outermost chain, and exactly the path of the chain inside
/// [`at`](Chain::at) or [`mount`](Chain::mount).
///
/// The GET handler also answers HEAD, unless the path has a handler for HEAD. The chain answers OPTIONS with 204 and `Allow`, unless a
/// handler, or a CORS layer added with [`always`](Chain::always), answers it.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Next, Response};
///
/// async fn log(next: Next<'_>) -> Response {
///     let path = next.uri().path().to_owned();
///     let response = next.run().await;
///     println!("{path} {}", response.status());
///     response
/// }
///
/// let service = Chain::new()
///     .always(log)
///     .at("/hello", |c| c.get(async || "hello").post(async |name: String| format!("hello, {name}")))
///     .build();
/// # let _ = service;
/// ```
#[must_use = "a chain does nothing until it is built"]
pub struct Chain<S = Steps, P = Nil, A = Nil, E = (), D = Undocumented> {
    pub(crate) steps: S,
    pub(crate) settings: Settings,
    kind: PhantomData<fn() -> (P, A, E, D)>,
}

impl<S, P, A, E, D> fmt::Debug for Chain<S, P, A, E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// The empty chain, which answers 404.
    pub fn new() -> Self {
        Self::of(Steps::new(), Settings::default())
    }

    /// A chain that needs values of the chain in which it is mounted. `T` is a tuple of their types.
    ///
    /// [Mounting](Chain::mount) it does not compile if steps before it don't provide them.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Provided};
    ///
    /// #[derive(Clone)]
    /// struct Database;
    ///
    /// let users = Chain::expecting::<(Database,)>().get(async |_: Provided<Database>| "users");
    /// let api = Chain::new().provide(Database).mount("/users", users).build();
    /// # let _ = api;
    /// ```
    pub fn expecting<T: Expected>() -> Chain<Steps, T::List, Nil, T> {
        Chain::of(Steps::new(), Settings::default())
    }

    /// A chain in which every type counts as provided.
    #[cfg(feature = "test-util")]
    pub(crate) fn of_anything()
    -> Chain<Steps, crate::provide::Anything, crate::provide::Anything, ()> {
        Chain::of(Steps::new(), Settings::default())
    }
}

impl<P, A, D> Chain<InnerSteps, P, A, (), D> {
    /// The empty chain inside another one.
    pub(super) fn inside() -> Self {
        Self::of(Steps::new(), Settings::default())
    }
}

impl<S, P, A, E, D> Chain<S, P, A, E, D> {
    pub(crate) fn of(steps: S, settings: Settings) -> Self {
        Self { steps, settings, kind: PhantomData }
    }

    pub(crate) fn push<X, P2, A2>(self, step: X) -> Chain<S::Out, P2, A2, E, D>
    where
        S: Push<X>,
    {
        Chain::of(self.steps.push(step), self.settings)
    }
}
