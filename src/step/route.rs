//! The route of a request, which a step can read after it has passed the request on.

use crate::step::tail::Cx;

/// The route of a request, as far as it is known. It can be read before and after a step passes the request on. Returned by
/// [`Next::current_route`](crate::Next::current_route).
///
/// It changes if all handlers of a pattern pass the request on, and a broader pattern matches as well: then the chain runs once more, with the
/// handlers of the broader pattern.
#[derive(Clone, Copy)]
pub struct CurrentRoute<'a>(pub(crate) &'a Cx<'a>);

impl<'a> CurrentRoute<'a> {
    /// The pattern whose handlers answer the request, or have answered it, such as `/users/{id}`. `None` if no pattern matches.
    ///
    /// A response with status 405 has the pattern of its path, and so have the refusals of the steps in front of a handler. A response with status 404
    /// for an unknown path has none.
    pub fn pattern(&self) -> Option<&'a str> {
        match self.0.original.and_then(|original| original.last_route()) {
            Some(route) => route.map(|route| self.0.built.routes.pattern(route)),
            None => self.0.matched_path(),
        }
    }
}

impl std::fmt::Debug for CurrentRoute<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CurrentRoute").field(&self.pattern()).finish()
    }
}
