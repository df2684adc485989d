//! Whether the handlers of a chain must be describable.

use std::marker::PhantomData;

#[cfg(feature = "openapi")]
use super::operation::Operation;

/// The description of a handler or a guard by its types, as an OpenAPI operation.
///
/// Without the feature `openapi` there is none.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Describe(
    #[cfg(feature = "openapi")] pub(crate) fn(&mut Operation),
    #[cfg(not(feature = "openapi"))] (),
);

/// What a chain requires of its handlers: in [`Undocumented`] chains, which all chains are by default, nothing.
///
/// `C` is the type of a handler or guard with its arguments and its result.
#[doc(hidden)]
pub trait Documents<C> {
    /// `None`: handlers are not described.
    const DESCRIBE: Option<Describe>;
}

/// The parameter of a [`Chain`](crate::Chain) whose handlers need no description.
#[derive(Debug)]
pub struct Undocumented;

impl<C> Documents<C> for Undocumented {
    const DESCRIBE: Option<Describe> = None;
}

// The contracts contain the function, not the type of its result: to name the result, the compiler would have to know the arguments, and
// its messages about arguments would get worse.

/// A handler `F` with the arguments `A`, the state `S` of extractors, and the sources `R` of the arguments.
#[doc(hidden)]
#[derive(Debug)]
pub struct Handles<F, A, S, M, R>(PhantomData<(F, A, S, M, R)>);

/// A handler `F` that may pass the request on.
#[doc(hidden)]
#[derive(Debug)]
pub struct Passes<F, A, R>(PhantomData<(F, A, R)>);

/// A guard `F`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Guards<F, A, R>(PhantomData<(F, A, R)>);

/// A tower service at a path.
#[doc(hidden)]
#[derive(Debug)]
pub struct Serves<T>(PhantomData<T>);

/// A mounted chain whose own parameter is `D`.
#[doc(hidden)]
#[derive(Debug)]
pub struct Mounts<D>(PhantomData<D>);
