//! The step that `on_error` adds: it renders errors.

use std::any::TypeId;
use std::marker::PhantomData;

use http::header::{HeaderName, SET_COOKIE, VARY};

use crate::function::arguments::{Passing, TakeAll};
use crate::function::handler::HandlerFn;
use crate::provide::FromChain;
use crate::route::listing::short_name;
use crate::step::Refusal;
use crate::step::errors::run_caught;
use crate::step::next::{Middleware, Next};
use crate::step::reach::Endpoint;
use crate::{Error, Request, Response};

/// Renders the errors of the steps after it, unless another hook has rendered them. `B` are the arguments of the function, `T` their
/// sources.
#[doc(hidden)]
pub struct OnError<F, B, S, M, T> {
    render: F,
    kind: PhantomData<fn() -> (B, S, M, T)>,
}

impl<F, B, S, M, T> OnError<F, B, S, M, T> {
    pub(crate) fn new(render: F) -> Self {
        Self { render, kind: PhantomData }
    }
}

impl<F, B, S, M, T> Middleware for OnError<F, B, S, M, T>
where
    F: HandlerFn<B, S, M>,
    T: TakeAll<Passing<B>>,
    B: Send + 'static,
    S: 'static,
    M: 'static,
{
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let cx = next.cx();
        let takes_error_alone = TypeId::of::<B>() == TypeId::of::<(Error,)>();
        let head = (!takes_error_alone).then(|| copied(&next, T::EXTRACTS));
        // A panic is an error as well. If it passed this step, an outer step would answer it, in another format.
        let response = run_caught(next).await;
        let Some(error) = Error::unrendered(&response) else { return response };
        let mut head = head.unwrap_or_default();
        head.extensions_mut().insert(error.clone());
        let Ok(Passing(args)) = T::take(&mut head, cx).await else {
            // An argument refused the request. The error is more important than this refusal: it stays as it is.
            return response;
        };
        let mut rendered = self.render.invoke(args).await;
        keep_fields(&response, &mut rendered);
        if let Some(refusal) = Refusal::of(&response) {
            rendered = refusal.clone().mark(rendered);
        }
        error.mark_rendered(&mut rendered);
        rendered
    }

    fn name(&self) -> String {
        short_name::<F>()
    }
}

/// The error is provided to the function of `on_error` alone, in any position of its arguments.
impl FromChain for Error {
    type Value = Self;

    fn from_value(error: Self) -> Self {
        error
    }
}

/// Copies what the arguments read of a request: its head if one of them is an extractor, and otherwise the provided values.
fn copied(req: &Request, head: bool) -> Box<Request> {
    let mut copy = Box::<Request>::default();
    if head {
        req.method().clone_into(copy.method_mut());
        req.uri().clone_into(copy.uri_mut());
        *copy.version_mut() = req.version();
        req.headers().clone_into(copy.headers_mut());
    }
    req.extensions().clone_into(copy.extensions_mut());
    copy
}

/// Copies the fields of the response that was rendered again. Fields that describe the old body are dropped with it. All other
/// fields were set on purpose, by the error or by a middleware, and are kept.
fn keep_fields(response: &Response, rendered: &mut Response) {
    for name in response.headers().keys() {
        let adds_up = *name == SET_COOKIE || *name == VARY;
        if !is_of_the_body(name) && (adds_up || !rendered.headers().contains_key(name)) {
            for value in response.headers().get_all(name) {
                rendered.headers_mut().append(name, value.clone());
            }
        }
    }
}

/// Whether a field describes one representation (RFC 9110, 8) or its framing.
fn is_of_the_body(name: &HeaderName) -> bool {
    const FIELDS: [&str; 14] = [
        "accept-ranges",
        "content-digest",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "digest",
        "etag",
        "last-modified",
        "repr-digest",
        "trailer",
        "transfer-encoding",
    ];
    FIELDS.contains(&name.as_str())
}
