//! The types that `Chain::mount` accepts.

use std::fmt;
use std::marker::PhantomData;

use crate::chain::builder::Chain;
use crate::chain::list::BoxSteps;
use crate::declare::documents::{Documents, Mounts, Undocumented};
use crate::provide::{Expected, Superset};
use crate::route::registrar::Settings;
use crate::step::end::End;
use crate::step::fold::Fold;

/// The argument of [`Chain::mount`]: a [`Chain`], or a [`Sealed`] one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be mounted",
    label = "neither a `Chain` nor a `Sealed` one",
    note = "steps in a closure are added with `.at(path, |c| ..)`",
    note = "mount a chain before it is built; a chain that is built, and any other service, is added with `.service(path, service)`"
)]
pub trait Mountable<P, I, D> {
    #[doc(hidden)]
    fn into_steps(self) -> (BoxSteps, Settings);
}

impl<P, I, D, S: Fold<End>, P2, A, E: Expected, D2> Mountable<P, I, D> for Chain<S, P2, A, E, D2>
where
    P: Superset<E::List, I>,
    D: Documents<Mounts<D2>>,
{
    fn into_steps(self) -> (BoxSteps, Settings) {
        (Box::new(self.steps), self.settings)
    }
}

impl<P, I, D, E: Expected, D2> Mountable<P, I, D> for Sealed<E, D2>
where
    P: Superset<E::List, I>,
    D: Documents<Mounts<D2>>,
{
    fn into_steps(self) -> (BoxSteps, Settings) {
        (self.steps, self.settings)
    }
}

/// A chain whose type can be named, to be [mounted](Chain::mount). `E` is the tuple of types that it [expects](Chain::expecting). Made by
/// [`Chain::seal`], which has an example.
#[must_use = "a chain does nothing until it is mounted"]
pub struct Sealed<E = (), D = Undocumented> {
    steps: BoxSteps,
    settings: Settings,
    kind: PhantomData<fn() -> (E, D)>,
}

impl<E, D> fmt::Debug for Sealed<E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<S, P, A, E, D> Chain<S, P, A, E, D> {
    /// Makes it a chain whose type can be named. A function can then return it.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::{Chain, Provided, Sealed};
    ///
    /// #[derive(Clone)]
    /// struct Database;
    ///
    /// fn users() -> Sealed<(Database,)> {
    ///     Chain::expecting::<(Database,)>().get(async |_: Provided<Database>| "users").seal()
    /// }
    ///
    /// let api = Chain::new().provide(Database).mount("/users", users()).build();
    /// # let _ = api;
    /// ```
    pub fn seal(self) -> Sealed<E, D>
    where
        S: Fold<End>,
    {
        Sealed { steps: Box::new(self.steps), settings: self.settings, kind: PhantomData }
    }
}
