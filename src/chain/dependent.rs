//! Middleware that compiles only after the steps that provide the values that it needs.

use crate::chain::ext::MiddlewareExt;
use crate::function::arguments::Passing;
use crate::step::next::{Declare, IntoMiddleware, Middleware};
use crate::tower::as_layer::ChainLayer;

/// Middleware that needs values of earlier steps, and compiles only after them.
///
/// A type that implements [`Middleware`] may be anywhere in a chain. A type that implements this trait instead lists the values that it
/// needs, as a function does by its arguments, and [`Chain::use_`](crate::Chain::use_) checks them. A type must not implement both.
///
/// # Example
///
/// ```
/// use tower_chain::chain::Dependent;
/// use tower_chain::{Chain, Endpoint, Middleware, Next, Provided, Response};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// /// Adds the name of the user to the response.
/// struct ServedFor;
///
/// impl Dependent for ServedFor {
///     type Needs = (Provided<User>,);
///     type Middleware = Served;
///
///     fn into_middleware(self) -> Served {
///         Served
///     }
/// }
///
/// struct Served;
///
/// impl Middleware for Served {
///     type Provides = ();
///
///     async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
///         let user = next.extensions().get::<User>().and_then(|user| user.0.parse().ok());
///         let mut response = next.run().await;
///         if let Some(user) = user {
///             response.headers_mut().insert("x-served-for", user);
///         }
///         response
///     }
/// }
///
/// let chain = Chain::new().provide(User("ada".to_owned())).use_(ServedFor).get(async || "hello");
/// # let _ = chain.build();
/// ```
///
/// Without the step before it, the compiler names what is missing:
///
/// ```compile_fail,E0277
/// # use tower_chain::chain::Dependent;
/// # use tower_chain::{Chain, Endpoint, Middleware, Next, Provided, Response};
/// # #[derive(Clone)] struct User(String);
/// # struct ServedFor;
/// # impl Dependent for ServedFor {
/// #     type Needs = (Provided<User>,);
/// #     type Middleware = Served;
/// #     fn into_middleware(self) -> Served { Served }
/// # }
/// # struct Served;
/// # impl Middleware for Served {
/// #     type Provides = ();
/// #     async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response { next.run().await }
/// # }
/// let chain = Chain::new().use_(ServedFor).get(async || "hello");
/// ```
pub trait Dependent {
    /// The values that earlier steps must provide: a tuple of up to eight arguments such as `(Provided<T>,)`.
    type Needs;
    /// The middleware that runs. It finds the values in the extensions of the request.
    type Middleware: Middleware;

    /// Makes the middleware, after the compiler has checked that the values are provided.
    fn into_middleware(self) -> Self::Middleware;

    /// Makes it a [`tower::Layer`], for use without a chain. The values that it needs must be in the extensions of the request, which is
    /// not checked.
    fn into_layer(self) -> ChainLayer
    where
        Self: Sized,
    {
        self.into_middleware().into_layer()
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct AsDependent;

impl<D: Dependent> IntoMiddleware<AsDependent> for D {
    type Args = Passing<D::Needs>;
    type Step<R> = D::Middleware;
    type Provides = <D::Middleware as Middleware>::Provides;

    fn into_step<R>(self) -> (D::Middleware, Option<Declare>) {
        (self.into_middleware(), None)
    }
}
