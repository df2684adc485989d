//! The types that the steps of a chain provide to the steps after them. The compiler checks them.
//!
//! At compile time, a chain has a list of the provided types: [`Cons`] and [`Nil`]. At run time, the values are in the extensions of
//! the request.

use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::ops::Deref;

use http::Extensions;

use crate::step::versions::SharedTypes;

/// A value that an earlier step provided: state from [`Chain::provide`](crate::Chain::provide), the result of a
/// [`guard`](crate::Chain::guard), or what a [`Middleware`](crate::Middleware) provides.
///
/// It is not an extractor: a handler that takes it compiles only after a step that provides it.
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
///
/// A step that runs for some requests alone, such as one of [`use_at`](crate::Chain::use_at), provides its value for these. A function that all requests
/// reach takes `Option<Provided<T>>`, or the `Option` of another provided type such as `Option<Claims<C>>`. The compiler does not check that such a
/// step exists: without one, it is always `None`.
///
/// ```
/// use tower_chain::{Chain, NextWith, Provided, Response};
///
/// #[derive(Clone)]
/// struct User(&'static str);
///
/// async fn sign_in(next: NextWith<'_, (User,)>) -> Response {
///     next.run_with(User("ann")).await // From a session, say.
/// }
///
/// async fn greet(user: Option<Provided<User>>) -> String {
///     format!("hello, {}", user.map_or("stranger", |user| user.0.0))
/// }
///
/// let chain = Chain::new().use_at("/admin", sign_in).at("/{*path}", |c| c.get(greet));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provided<T>(pub T);

impl<T> Deref for Provided<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// An argument that an earlier step provides.
///
/// Implement it for your own type that your middleware provides. Handlers then take the type itself instead of [`Provided<T>`]. The type
/// must not be an extractor as well.
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
    /// The type that the middleware provides.
    type Value: Clone + Send + Sync + 'static;

    /// Makes the argument from the provided value.
    fn from_value(value: Self::Value) -> Self;

    /// Finds the value in the extensions of a request, for a function that takes `Option<Self>`. Defaults to the provided value, or else to a provided
    /// `Option` of it, as steps provide that let requests without the value pass.
    fn find(extensions: &Extensions) -> Option<Self> {
        let own = find::<Self::Value>(extensions).cloned();
        let optional = || extensions.get::<Option<Self::Value>>()?.clone();
        own.or_else(optional).map(Self::from_value)
    }
}

impl<T: Clone + Send + Sync + 'static> FromChain for Provided<T> {
    type Value = T;

    fn from_value(value: T) -> Self {
        Self(value)
    }
}

/// The values that a [`Middleware`](crate::Middleware) may provide: `()`, `(T,)` or `(T, U)`.
///
/// Provide each type only once before a handler. If two steps before a handler provide the same type, the choice between them is
/// ambiguous, and the compiler reports `type annotations needed` at the handler. Give the second value its own type.
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
    fn each_type(f: &mut dyn FnMut(TypeId));
    /// Puts the values into the extensions. `scope` is the end of the scope of the step that provides them.
    #[doc(hidden)]
    fn put(self, extensions: &mut Extensions, shared: &SharedTypes, scope: u32);
}

impl Provides for () {
    type Onto<P> = P;

    fn each_type(_: &mut dyn FnMut(TypeId)) {}

    fn put(self, _: &mut Extensions, _: &SharedTypes, _: u32) {}
}

impl<T: Clone + Send + Sync + 'static> Provides for (T,) {
    type Onto<P> = Cons<T, P>;

    fn each_type(f: &mut dyn FnMut(TypeId)) {
        f(TypeId::of::<T>());
    }

    fn put(self, extensions: &mut Extensions, shared: &SharedTypes, scope: u32) {
        put(extensions, shared, scope, self.0);
    }
}

impl<T, U> Provides for (T, U)
where
    T: Clone + Send + Sync + 'static,
    U: Clone + Send + Sync + 'static,
{
    type Onto<P> = Cons<U, Cons<T, P>>;

    fn each_type(f: &mut dyn FnMut(TypeId)) {
        f(TypeId::of::<T>());
        f(TypeId::of::<U>());
    }

    fn put(self, extensions: &mut Extensions, shared: &SharedTypes, scope: u32) {
        put(extensions, shared, scope, self.0);
        put(extensions, shared, scope, self.1);
    }
}

/// The argument of [`Next::run_with`](crate::Next::run_with) in a middleware that provides `T`: the tuple `T`, or the value itself if `T`
/// has one element.
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

fn put<T: State>(extensions: &mut Extensions, shared: &SharedTypes, scope: u32, value: T) {
    // Most guards only check a request, and provide `()`. `find` returns it without a lookup.
    if TypeId::of::<T>() == TypeId::of::<()>() {
        return;
    }
    #[cfg(feature = "test-util")]
    let value = replaced(extensions).unwrap_or(value);
    shared.keep(scope, &value, extensions);
    extensions.insert(value);
}

/// A value that a test provides instead of the value of a step. It is in the extensions, so no client can send it.
#[cfg(feature = "test-util")]
#[derive(Clone)]
pub(crate) struct Replaced<T>(pub(crate) T);

/// The value that a test provides instead of the value of a step.
#[cfg(feature = "test-util")]
pub(crate) fn replaced<T: State>(extensions: &Extensions) -> Option<T> {
    extensions.get::<Replaced<T>>().map(|replaced| replaced.0.clone())
}

/// The list that contains every type. A test of a handler leaves out the steps before it, and provides their values itself.
#[cfg(feature = "test-util")]
#[doc(hidden)]
#[derive(Debug)]
pub struct Anything;

#[cfg(feature = "test-util")]
impl<T> ProvidesOnce<T, Here> for Anything {}

#[cfg(feature = "test-util")]
impl ProvidedList for Anything {
    type State = ();
}

/// Finds a provided value in the extensions of a request.
pub(crate) fn find<T: Clone + Send + Sync + 'static>(extensions: &Extensions) -> Option<&T> {
    // `()` is always provided. For any other `T`, the downcast fails.
    (&() as &dyn Any).downcast_ref().or_else(|| extensions.get())
}

/// The empty list of provided types.
#[doc(hidden)]
#[derive(Debug)]
pub struct Nil;

/// The list `P` with the type `T` in front of it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Cons<T, P>(PhantomData<(T, P)>);

/// The list `P`, and the state `S` for the extractors after it. [`Chain::with_state`](crate::Chain::with_state) also provides the state, so
/// `P` contains `S`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Stateful<S, P>(PhantomData<(S, P)>);

/// A value that each request gets a clone of.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be provided, because each request gets a clone of it",
    label = "not `Clone + Send + Sync + 'static`",
    note = "derive `Clone`, or provide an `Arc` of it"
)]
pub trait State: Clone + Send + Sync + 'static {}

// Without it, the message of the compiler would name `Clone` alone.
#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> State for T {}

/// A list of provided types. It determines the state of extractors: the `S` of `FromRequestParts<S>`.
#[doc(hidden)]
pub trait ProvidedList {
    /// The state. `()` if the chain has none.
    type State: State;
}

impl ProvidedList for Nil {
    type State = ();
}

impl<T, P: ProvidedList> ProvidedList for Cons<T, P> {
    type State = P::State;
}

impl<S: State, P> ProvidedList for Stateful<S, P> {
    type State = S;
}

/// The list has the state `S`. Every list has exactly one, so the compiler infers it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "an extractor of this step needs the state `{S}`, which this chain does not have",
    label = "needs the state `{S}`",
    note = "give the state to the extractors with `.with_state(state)` before this step; `.provide(state)` alone is for `Provided<S>`"
)]
pub trait HasState<S>: ProvidedList<State = S> {}

impl HasState<()> for Nil {}
impl<T, S, P: HasState<S>> HasState<S> for Cons<T, P> {}
impl<S: State, P> HasState<S> for Stateful<S, P> {}
#[cfg(feature = "test-util")]
impl HasState<()> for Anything {}

/// The list contains `T`, at the index `I`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "no step before this one provides `{T}`",
    label = "needs `{T}`",
    note = "put a step that provides it before this one, with `.use_(..)`, `.guard(..)` or `.provide(..)`"
)]
pub trait ProvidesOnce<T, I> {}

/// The index of the first element of a list.
#[doc(hidden)]
#[derive(Debug)]
pub struct Here;

/// The index after `I`.
///
/// If a type is provided twice, the compiler reports that the index is ambiguous, and there is no attribute for the text of that message. It
/// shows the names of this type and of [`ProvidesOnce`].
#[doc(hidden)]
#[derive(Debug)]
pub struct ElseWrapOneInANewtype<I>(PhantomData<I>);

impl<T, P> ProvidesOnce<T, Here> for Cons<T, P> {}
impl<T, U, P, I> ProvidesOnce<T, ElseWrapOneInANewtype<I>> for Cons<U, P> where P: ProvidesOnce<T, I>
{}
impl<T, S, P, I> ProvidesOnce<T, ElseWrapOneInANewtype<I>> for Stateful<S, P> where
    P: ProvidesOnce<T, I>
{
}

/// The list contains all types of the list `Q`, at the indexes `I`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the mounted chain expects more than the chain around it provides",
    label = "mounted here",
    note = "put a step that provides what is missing before the `.mount(..)`, with `.use_(..)`, `.guard(..)` or `.provide(..)`"
)]
pub trait Superset<Q, I> {}

impl<P> Superset<Nil, ()> for P {}
impl<P, T, Q, I, J> Superset<Cons<T, Q>, (I, J)> for P where P: ProvidesOnce<T, I> + Superset<Q, J> {}
impl<P, S, Q, I> Superset<Stateful<S, Q>, ElseWrapOneInANewtype<I>> for P where P: Superset<Q, I> {}

/// The expectations of a chain that needs no values of a chain around it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this chain expects `{Self}` of the chain around it: it can be mounted, not built",
    label = "can't be built",
    note = "put it into a chain that provides what it expects, with `.mount(path, chain)`, and build that one"
)]
pub trait NothingExpected {}

impl NothingExpected for () {}

/// The type argument of [`Chain::expecting`](crate::Chain::expecting): a tuple of up to eight types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a chain expects",
    label = "not a tuple",
    note = "write `(T,)` for one type, `(T, U)` for two, up to eight"
)]
pub trait Expected {
    #[doc(hidden)]
    type List: 'static;
}

/// The expectation of a state for extractors, and of the values `E`, which is a tuple. The chain around it must provide the state, in any way.
///
/// # Example
///
/// ```
/// use axum::extract::State;
/// use tower_chain::chain::WithState;
/// use tower_chain::{Chain, Sealed};
///
/// #[derive(Clone)]
/// struct AppState(&'static str);
///
/// async fn name(State(state): State<AppState>) -> &'static str {
///     state.0
/// }
///
/// fn users() -> Sealed<WithState<AppState>> {
///     Chain::expecting::<WithState<AppState>>().get(name).seal()
/// }
///
/// let api = Chain::new().with_state(AppState("Ann")).mount("/users", users()).build();
/// # let _ = api;
/// ```
#[derive(Debug)]
pub struct WithState<S, E = ()>(PhantomData<fn() -> (S, E)>);

impl<S: Clone + Send + Sync + 'static, E: Expected> Expected for WithState<S, E> {
    type List = Stateful<S, Cons<S, E::List>>;
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
