//! Declarations from outside.

use std::fmt;
use std::marker::PhantomData;

use crate::declare::Declaration;
use crate::route::listing::short_name;
use crate::step::next::{Declare, IntoMiddleware};

/// Middleware with a declaration from outside. Made by [`declared`].
pub struct Declared<M, F> {
    middleware: M,
    declare: F,
}

impl<M, F> fmt::Debug for Declared<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Declared").field(&short_name::<M>()).finish()
    }
}

/// Adds a declaration to middleware that has none of its own, or an incomplete one: a tower layer, a function, the middleware of
/// another crate.
///
/// The function is called when a chain is built, after the middleware's own declaration. The middleware itself does not change. The
/// module [`declare`](crate::declare) has an example.
pub fn declared<M, F>(middleware: M, declare: F) -> Declared<M, F>
where
    F: FnOnce(&mut Declaration) + Send + 'static,
{
    Declared { middleware, declare }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct AsDeclared<K>(PhantomData<K>);

// The messages of the compiler must not propose to declare a value that is not middleware.
#[diagnostic::do_not_recommend]
impl<M, F, K> IntoMiddleware<AsDeclared<K>> for Declared<M, F>
where
    M: IntoMiddleware<K>,
    F: FnOnce(&mut Declaration) + Send + 'static,
{
    type Args = M::Args;
    type Step<R> = M::Step<R>;
    type Provides = M::Provides;

    fn into_step<R>(self) -> (M::Step<R>, Option<Declare>) {
        let Self { middleware, declare } = self;
        let (step, inner) = middleware.into_step();
        let both = move |to: &mut Declaration| {
            if let Some(inner) = inner {
                inner(to);
            }
            declare(to);
        };
        (step, Some(Box::new(both)))
    }
}
