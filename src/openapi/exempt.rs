//! What is written about one operation, and what is exempt from descriptions.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use tower::Service;

use crate::chain::list::BoxSteps;
use crate::chain::list::Push;
use crate::chain::{Chain, Mountable, Pushed};
use crate::declare::{Declaration, Undocumented};
use crate::function::guard::Guard;
use crate::function::handler::IntoHandler;
use crate::route::registrar::Settings;
use crate::step::added::Remark;
use crate::step::next::{Middleware, Next};
use crate::step::reach::Endpoint;
use crate::{Request, Response};

/// A handler with notes. Made by [`described`].
#[derive(Clone, Copy)]
pub struct Described<H, F> {
    handler: H,
    notes: F,
}

impl<H, F> fmt::Debug for Described<H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Described")
    }
}

/// Describes an operation in words, and adds what the types of its handler do not contain: a title, a text, tags, an id, further responses.
///
/// The function is called when the chain is built.
///
/// # Example
///
/// ```
/// use tower_chain::openapi::{Info, described};
/// use tower_chain::{Chain, Path};
///
/// async fn user(Path(id): Path<u64>) -> String {
///     format!("user {id}")
/// }
///
/// let user = described(user, |to| {
///     to.summary("One user").description("The name of a *user*.").tag("users").id("getUser");
/// });
/// let api = Chain::new().documented().at("/users/{id}", |c| c.get(user)).build();
/// let document = api.openapi(&Info::new("Users", "1.0"));
/// assert_eq!(document.value()["paths"]["/users/{id}"]["get"]["summary"], "One user");
/// ```
pub fn described<H, F>(handler: H, notes: F) -> Described<H, F>
where
    F: Fn(&mut Declaration) + Send + Sync + 'static,
{
    Described { handler, notes }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct AsDescribed<K>(PhantomData<K>);

#[diagnostic::do_not_recommend]
impl<H, F, K> IntoHandler<AsDescribed<K>> for Described<H, F>
where
    H: IntoHandler<K>,
    F: Fn(&mut Declaration) + Send + Sync + 'static,
{
    type Args = H::Args;
    type Step<R> = Noted<H::Step<R>, F>;
    type Contract<R> = H::Contract<R>;
    const PASSES: bool = H::PASSES;

    fn into_step<R>(self) -> Self::Step<R> {
        Noted { step: self.handler.into_step(), notes: self.notes }
    }
}

/// A handler with notes, as a step.
#[doc(hidden)]
#[derive(Debug)]
pub struct Noted<M, F> {
    step: M,
    notes: F,
}

impl<M, F> Middleware for Noted<M, F>
where
    M: Middleware,
    F: Fn(&mut Declaration) + Send + Sync + 'static,
{
    type Provides = M::Provides;

    #[inline(always)]
    fn call<N: Endpoint>(
        &self,
        next: Next<'_, N, M::Provides>,
    ) -> impl Future<Output = Response> + Send {
        self.step.call(next)
    }

    fn declare(&self, to: &mut Declaration) {
        self.step.declare(to);
        (self.notes)(to);
    }

    fn name(&self) -> String {
        self.step.name()
    }
}

/// What is exempt from descriptions. Made by [`undescribed`].
#[derive(Clone, Copy, Debug)]
pub struct Undescribed<T>(T);

/// Exempts a handler, a guard, a service or a mounted chain from the descriptions that a [documented](Chain::documented) chain requires.
///
/// A document then lists the path and the method of a handler, what the steps in front of it answer, and any other response as `default`.
/// [`described`] adds what you know: `described(undescribed(handler), |to| ..)`; with responses of its own there is no `default`. A service
/// is not listed.
///
/// # Example
///
/// ```
/// use tower_chain::openapi::undescribed;
/// use tower_chain::{Chain, Response};
///
/// async fn anything() -> Response {
///     Response::default()
/// }
///
/// let files = tower_http::services::ServeDir::new("public");
/// let chain = Chain::new()
///     .documented()
///     .at("/anything", |c| c.get(undescribed(anything)))
///     .service("/files", undescribed(files));
/// # let _ = chain.build();
/// ```
pub fn undescribed<T>(exempt: T) -> Undescribed<T> {
    Undescribed(exempt)
}

/// The contract of a handler that is exempt.
#[doc(hidden)]
#[derive(Debug)]
pub struct Exempt<C>(PhantomData<C>);

/// The error of a guard that is exempt.
#[doc(hidden)]
#[derive(Debug)]
pub struct Unknown;

#[doc(hidden)]
#[derive(Debug)]
pub struct AsUndescribed<K>(PhantomData<K>);

#[diagnostic::do_not_recommend]
impl<H: IntoHandler<K>, K> IntoHandler<AsUndescribed<K>> for Undescribed<H> {
    type Args = H::Args;
    type Step<R> = H::Step<R>;
    type Contract<R> = Exempt<H::Contract<R>>;
    const PASSES: bool = H::PASSES;

    fn into_step<R>(self) -> H::Step<R> {
        self.0.into_step()
    }
}

#[diagnostic::do_not_recommend]
impl<F: Guard<A>, A> Guard<A> for Undescribed<F> {
    type Value = F::Value;
    type Refusal = Unknown;
    type Own = Self;

    fn own(self) -> Self {
        self
    }

    fn check(&self, args: A) -> impl Future<Output = Result<F::Value, Response>> + Send {
        self.0.check(args)
    }
}

#[diagnostic::do_not_recommend]
impl<M, P, I, D> Mountable<P, I, D> for Undescribed<M>
where
    M: Mountable<P, I, Undocumented>,
{
    fn into_steps(self) -> (BoxSteps, Settings) {
        self.0.into_steps()
    }
}

impl<T: Service<Request>> Service<Request> for Undescribed<T> {
    type Response = T::Response;
    type Error = T::Error;
    type Future = T::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, req: Request) -> T::Future {
        self.0.call(req)
    }
}

impl<S, P, A, E, D> Chain<S, P, A, E, D> {
    /// Adds a tag to the operations of the handlers after it in this chain and inside them. A document groups operations by tags.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Chain;
    ///
    /// let chain = Chain::new()
    ///     .documented()
    ///     .at("/users", |c| c.tagged("users").get(async || "all users"));
    /// # let _ = chain.build();
    /// ```
    pub fn tagged(self, tag: &'static str) -> Chain<Pushed<S, Remark>, P, A, E, D>
    where
        S: Push<Remark>,
    {
        self.push(Remark::Tag(tag))
    }
}
