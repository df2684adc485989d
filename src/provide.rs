//! What steps provide to the steps after them, as the compiler sees it.

use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::ops::Deref;

use http::Extensions;

/// A value that an earlier step provided: state from [`Chain::provide`](crate::Chain::provide), the result of a
/// [`guard`](crate::Chain::guard), or what a [`Middleware`](crate::Middleware) provides.
///
/// It is no extractor: a handler that takes it compiles only behind a step that provides it.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Provided};
///
/// #[derive(Clone)]
/// struct Greeting(&'static str);
///
/// let chain = Chain::new()
///     .provide(Greeting("hello"))
///     .get(async |Provided(Greeting(text)): Provided<Greeting>| text);
/// # let _ = chain.build();
/// ```
///
/// Without the step, the compiler names what is missing, at the handler:
///
/// ```compile_fail,E0277
/// # use tower_chain::{Chain, Provided};
/// # #[derive(Clone)] struct Greeting(&'static str);
/// let chain = Chain::new().get(async |Provided(Greeting(text)): Provided<Greeting>| text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provided<T>(pub T);

impl<T> Deref for Provided<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// An argument that is there because an earlier step provides it.
///
/// Implement it for a type of your own that a middleware of yours provides, and handlers take it by its own name instead
/// of as [`Provided<T>`]. It must not be an extractor as well.
///
/// # Example
///
/// ```
/// use tower_chain::chain::FromChain;
/// use tower_chain::Chain;
///
/// #[derive(Clone)]
/// struct Tenant(String);
///
/// impl FromChain for Tenant {
///     type Value = Self;
///
///     fn from_value(value: Self) -> Self {
///         value
///     }
/// }
///
/// let chain = Chain::new().provide(Tenant("acme".to_owned())).get(async |tenant: Tenant| tenant.0);
/// # let _ = chain.build();
/// ```
pub trait FromChain: Sized + Send {
    /// What the middleware provides.
    type Value: Clone + Send + Sync + 'static;

    /// Makes the argument from it.
    fn from_value(value: Self::Value) -> Self;
}

impl<T: Clone + Send + Sync + 'static> FromChain for Provided<T> {
    type Value = T;

    fn from_value(value: T) -> Self {
        Self(value)
    }
}

/// What a [`Middleware`](crate::Middleware) may provide: `()`, `(T,)` or `(T, U)`.
///
/// Along one way through a chain, each type should be provided once. If two steps before a handler provide the same type, the compiler can't tell
/// which one is meant, and says `type annotations needed` at the handler: give the second value a type of its own.
///
/// # Example
///
/// ```
/// use tower_chain::{Chain, Endpoint, Middleware, Next, Provided, Response};
///
/// struct Numbers;
///
/// impl Middleware for Numbers {
///     type Provides = (u32, f32);
///
///     async fn call<N: Endpoint>(&self, next: Next<'_, N, (u32, f32)>) -> Response {
///         next.run_with((1, 0.5)).await
///     }
/// }
///
/// async fn show(n: Provided<u32>, x: Provided<f32>) -> String {
///     format!("{} {}", n.0, x.0)
/// }
///
/// let chain = Chain::new().use_(Numbers).get(show);
/// # let _ = chain.build();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a middleware provides",
    label = "neither `()` nor a tuple",
    note = "write `()` for nothing, `(T,)` for one value, `(T, U)` for two, each `Clone + Send + Sync + 'static`"
)]
pub trait Provides: Send + 'static {
    #[doc(hidden)]
    type Onto<P>;
    #[doc(hidden)]
    fn put(self, extensions: &mut Extensions);
}

impl Provides for () {
    type Onto<P> = P;

    fn put(self, _: &mut Extensions) {}
}

impl<T: Clone + Send + Sync + 'static> Provides for (T,) {
    type Onto<P> = Cons<T, P>;

    fn put(self, extensions: &mut Extensions) {
        put(extensions, self.0);
    }
}

impl<T, U> Provides for (T, U)
where
    T: Clone + Send + Sync + 'static,
    U: Clone + Send + Sync + 'static,
{
    type Onto<P> = Cons<U, Cons<T, P>>;

    fn put(self, extensions: &mut Extensions) {
        put(extensions, self.0);
        put(extensions, self.1);
    }
}

/// What [`Next::run_with`](crate::Next::run_with) takes where a middleware provides `T`: the tuple `T`, or the value itself if it is one.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this middleware provides `{T}`, not `{Self}`",
    label = "passes on `{Self}`",
    note = "`next.run_with(value)` takes the value itself where `(T,)` is provided, and a tuple of both for `(T, U)`; `next.run()` provides nothing",
    note = "a type names what it provides in `type Provides` and `Next<'_, N, (T,)>`, a function in `NextWith<'_, (T,)>`"
)]
pub trait Values<T> {
    fn into_provided(self) -> T;
}

impl<T> Values<T> for T {
    fn into_provided(self) -> T {
        self
    }
}

impl<T> Values<(T,)> for T {
    fn into_provided(self) -> (T,) {
        (self,)
    }
}

fn put<T: Clone + Send + Sync + 'static>(extensions: &mut Extensions, value: T) {
    // Most guards only check, and provide a `()` that nobody has to look for.
    if TypeId::of::<T>() == TypeId::of::<()>() {
        return;
    }
    #[cfg(feature = "test-util")]
    let value = match extensions.get::<Replaced<T>>() {
        Some(replaced) => replaced.0.clone(),
        None => value,
    };
    extensions.insert(value);
}

/// What a test wants to be provided in place of what a step provides. No client can send it.
#[cfg(feature = "test-util")]
#[derive(Clone)]
pub(crate) struct Replaced<T>(pub(crate) T);

/// Everything is provided: the steps around a handler under test are left out, and the test says what they would have provided.
#[cfg(feature = "test-util")]
#[doc(hidden)]
#[derive(Debug)]
pub struct Anything;

#[cfg(feature = "test-util")]
impl<T> Has<T, Here> for Anything {}

/// What a step provided, as it lies in the extensions of a request.
pub(crate) fn find<T: Clone + Send + Sync + 'static>(extensions: &Extensions) -> Option<&T> {
    (&() as &dyn Any).downcast_ref().or_else(|| extensions.get())
}

/// Nothing is provided.
#[doc(hidden)]
#[derive(Debug)]
pub struct Nil;

/// `T` is provided, and what `P` lists.
#[doc(hidden)]
#[derive(Debug)]
pub struct Cons<T, P>(PhantomData<(T, P)>);

/// The list holds `T`; `I` says where.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "no step before this one provides `{T}`",
    label = "needs `{T}`",
    note = "put a step that provides it before this one, with `.use_(..)`, `.guard(..)` or `.provide(..)`"
)]
pub trait Has<T, I> {}

#[doc(hidden)]
#[derive(Debug)]
pub struct Here;

#[doc(hidden)]
#[derive(Debug)]
pub struct There<I>(PhantomData<I>);

impl<T, P> Has<T, Here> for Cons<T, P> {}
impl<T, U, P, I> Has<T, There<I>> for Cons<U, P> where P: Has<T, I> {}

/// The list holds all that `Q` lists; `I` says where.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the mounted chain expects more than the chain around it provides",
    label = "mounted here",
    note = "put a step that provides what is missing before the `.mount(..)`, with `.use_(..)`, `.guard(..)` or `.provide(..)`"
)]
pub trait Superset<Q, I> {}

impl<P> Superset<Nil, ()> for P {}
impl<P, T, Q, I, J> Superset<Cons<T, Q>, (I, J)> for P where P: Has<T, I> + Superset<Q, J> {}

/// A chain that needs nothing of a chain around it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this chain expects `{Self}` of the chain around it: it can be mounted, not built",
    label = "can't be built",
    note = "put it into a chain that provides what it expects, with `.mount(path, chain)`, and build that one"
)]
pub trait NothingExpected {}

impl NothingExpected for () {}

/// What [`Chain::expecting`](crate::Chain::expecting) may name: a tuple of up to eight types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a chain expects",
    label = "not a tuple",
    note = "write `(T,)` for one type, `(T, U)` for two, up to eight"
)]
pub trait Expected {
    #[doc(hidden)]
    type List: 'static;
}

macro_rules! expected {
    () => { impl Expected for () { type List = Nil; } };
    ($head:ident $($tail:ident)*) => {
        expected!($($tail)*);
        impl<$head: 'static, $($tail: 'static),*> Expected for ($head, $($tail,)*) {
            type List = Cons<$head, <($($tail,)*) as Expected>::List>;
        }
    };
}

expected!(A B C D E F G H);
