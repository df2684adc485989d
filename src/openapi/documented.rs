//! Documented chains: every handler has a description.

use crate::chain::Chain;
use crate::declare::Describe;
use crate::declare::documents::{Documents, Guards, Handles, Mounts, Passes, Serves, Undocumented};
use crate::declare::operation::{Operation, Reply};
use crate::function::arguments::{Ending, Passing};
use crate::function::guard::Guard;
use crate::function::handler::HandlerFn;
use crate::function::middleware::MiddlewareFn;

use super::arguments::DescribeAll;
use super::exempt::{Exempt, Undescribed, Unknown};
use super::replies::DescribeResponse;

/// The parameter of a [`Chain`] whose handlers must have a description. Set by [`Chain::documented`].
#[derive(Debug)]
pub struct Documented;

impl<S, P, A, E> Chain<S, P, A, E, Undocumented> {
    /// Requires a description of each handler, guard and mounted chain after it. [`ChainService::openapi`](crate::ChainService::openapi) returns
    /// the document.
    ///
    /// The arguments and the result of a handler describe themselves, by their types. If one of them can't, the handler does not compile; the
    /// message names the remedy. [`undescribed`](crate::openapi::undescribed) exempts a handler, a guard, a service or a mounted chain.
    /// Nothing changes for requests.
    ///
    /// # Example
    ///
    /// ```
    /// use schemars::JsonSchema;
    /// use serde::Serialize;
    /// use tower_chain::openapi::Info;
    /// use tower_chain::{Chain, Json, Path};
    ///
    /// #[derive(JsonSchema, Serialize)]
    /// struct User {
    ///     id: u64,
    /// }
    ///
    /// async fn user(Path(id): Path<u64>) -> Json<User> {
    ///     Json(User { id })
    /// }
    ///
    /// let api = Chain::new().documented().at("/users/{id}", |c| c.get(user)).build();
    /// let document = api.openapi(&Info::new("Users", "1.0"));
    /// assert_eq!(document.value()["paths"]["/users/{id}"]["get"]["operationId"], "user");
    /// ```
    pub fn documented(self) -> Chain<S, P, A, E, Documented> {
        Chain::of(self.steps, self.settings)
    }
}

impl<F, A, S, M, R> Documents<Handles<F, A, S, M, R>> for Documented
where
    F: HandlerFn<A, S, M>,
    F::Out: DescribeResponse,
    R: DescribeAll<Ending<A, S>>,
{
    const DESCRIBE: Option<Describe> = Some(Describe(|to| {
        R::describe(to);
        result::<F::Out>(to);
    }));
}

impl<F, A, R> Documents<Passes<F, A, R>> for Documented
where
    F: for<'a> MiddlewareFn<'a, A, (), Out: DescribeResponse>,
    R: DescribeAll<Passing<A>>,
{
    const DESCRIBE: Option<Describe> = Some(Describe(|to| {
        R::describe(to);
        result::<<F as MiddlewareFn<'static, A, ()>>::Out>(to);
    }));
}

impl<F, A, R> Documents<Guards<F, A, R>> for Documented
where
    F: Guard<A>,
    F::Refusal: DescribeRefusal<R, A>,
{
    const DESCRIBE: Option<Describe> =
        Some(Describe(<F::Refusal as DescribeRefusal<R, A>>::describe));
}

impl<C> Documents<Exempt<C>> for Documented {
    const DESCRIBE: Option<Describe> = None;
}

impl<T: DescribedService> Documents<Serves<T>> for Documented {
    const DESCRIBE: Option<Describe> = None;
}

impl<D: IsDocumented> Documents<Mounts<D>> for Documented {
    const DESCRIBE: Option<Describe> = None;
}

/// Adds the responses of a result.
fn result<T: DescribeResponse>(to: &mut Operation) {
    let replies = T::describe(&mut to.schemas);
    to.replies.extend(replies);
}

/// The error of a guard whose arguments have the sources `R`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "this guard has no description, and the chain is documented",
    label = "its error is `{Self}`",
    note = "its error must be described, such as `tower_chain::Error`, or implement `tower_chain::openapi::DescribeResponse`; its arguments implement `DescribeArgument`",
    note = "`tower_chain::openapi::undescribed(guard)` exempts one guard"
)]
pub trait DescribeRefusal<R, A> {
    fn describe(to: &mut Operation);
}

impl<E, R, A> DescribeRefusal<R, A> for E
where
    E: DescribeResponse,
    R: DescribeAll<Passing<A>>,
{
    fn describe(to: &mut Operation) {
        R::describe(to);
        result::<E>(to);
    }
}

impl<R, A> DescribeRefusal<R, A> for Unknown {
    fn describe(to: &mut Operation) {
        let any = Reply::any("A check without a description refuses the request");
        to.reply(any.content("*/*", serde_json::json!({})));
    }
}

/// A service in a documented chain: one that is exempt.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the responses of a service are not known, and the chain is documented",
    label = "has no description",
    note = "exempt it: `.service(path, tower_chain::openapi::undescribed(service))`"
)]
pub trait DescribedService {}

impl<T> DescribedService for Undescribed<T> {}

/// A chain that may be mounted in a documented one.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a chain that is mounted in a documented one must be documented",
    label = "its handlers have no descriptions",
    note = "begin it with `Chain::new().documented()`, or exempt it: `.mount(path, tower_chain::openapi::undescribed(chain))`; a function returns a documented chain as `Sealed<(), tower_chain::openapi::Documented>`"
)]
pub trait IsDocumented {}

impl IsDocumented for Documented {}
