//! The type of a chain.

use std::fmt;
use std::marker::PhantomData;

use crate::chain::list::{Push, Steps};
use crate::provide::{Expected, Nil};
use crate::route::registrar::Settings;

/// An ordered list of steps: middleware, handlers and paths.
///
/// ```text
/// Chain::new().use_(a).use_(b).get(h)     a request runs through a, b, h
///                                         its response through   h, b, a
/// ```
///
/// First written runs first. A step covers the steps after it and nothing before it. A chain is a value: each call takes it
/// and gives back a longer one, so that nothing written elsewhere can change it, and [`build`](Chain::build) freezes it.
///
/// # Matching comes first
///
/// Path and method are matched before anything runs. Where no path matches, the answer is 404 (see
/// [`on_no_match`](Chain::on_no_match)); where a path matches but not the method, it is 405 with a complete `Allow`
/// (see [`on_method_not_allowed`](Chain::on_method_not_allowed)). Steps added with [`use_`](Chain::use_) and [`guard`](Chain::guard) do
/// not run then, those added with [`always`](Chain::always) do. So an unknown path behind an authentication answers 404, not 401.
///
/// # Paths
///
/// | pattern | matches |
/// | --- | --- |
/// | `/users` | `/users` and `/users/` (see [`strict_slash`](Chain::strict_slash)) |
/// | `/users/{id}` | one segment that is not empty |
/// | `/files/{name}.png` | a part of a segment; such patterns are tried one by one, so have few of them |
/// | `/files/{*rest}` | all that follows, at least one character |
/// | `/a.b+c(d)`, `/a b`, `/日本` | these characters, percent-encoded by the client or not |
/// | `/{{x}}` | literal braces |
///
/// Static segments come before parameters, and both before catch-alls, whatever the order of writing. Paths are case-sensitive. A handler without a path
/// answers any path in the outermost chain, and exactly the path of the chain inside [`at`](Chain::at) or [`mount`](Chain::mount).
///
/// HEAD is answered by the GET handler if there is none for HEAD. OPTIONS is answered with 204 and `Allow` unless a handler, or a CORS layer added
/// with [`always`](Chain::always), answers.
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
pub struct Chain<S = Steps, P = Nil, A = Nil, E = ()> {
    pub(super) steps: S,
    pub(super) settings: Settings,
    kind: PhantomData<fn() -> (P, A, E)>,
}

impl<S, P, A, E> fmt::Debug for Chain<S, P, A, E> {
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
    /// The empty chain. It answers 404.
    pub fn new() -> Self {
        Self::of(Steps::new(), Settings::default())
    }

    /// A chain that needs something of the chain in which it is mounted: a tuple of what steps there provide.
    ///
    /// [Mounting](Chain::mount) it where that is missing does not compile.
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

    /// A chain whose steps may take anything as provided.
    #[cfg(feature = "test-util")]
    pub(crate) fn of_anything()
    -> Chain<Steps, crate::provide::Anything, crate::provide::Anything, ()> {
        Chain::of(Steps::new(), Settings::default())
    }
}

impl<S, P, A, E> Chain<S, P, A, E> {
    pub(super) fn of(steps: S, settings: Settings) -> Self {
        Self { steps, settings, kind: PhantomData }
    }

    pub(super) fn push<X, P2, A2>(self, step: X) -> Chain<S::Out, P2, A2, E>
    where
        S: Push<X>,
    {
        Chain::of(self.steps.push(step), self.settings)
    }
}
