//! How a [`Next`](crate::Next) reaches the request and the rest of the chain: directly ([`Direct`]), or through a pointer if the type of
//! the rest is erased ([`Erased`], [`Indirect`], [`RestSlot`]).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::step::tail::{Cx, Late, LateProjection, Tail};
use crate::{Request, Response};

/// The rest of the chain. [`Next`](crate::Next) calls it directly in a [`Middleware`](crate::Middleware), and through a pointer in a function.
///
/// The chain implements it. Outside of this crate it is only a bound: `async fn call<N: Endpoint>(&self, next: Next<'_, N>)`.
pub trait Endpoint: Sized + Send + Sync + 'static {
    #[doc(hidden)]
    type Reach<'a>: Reach<'a>;
}

/// A request, with a reference to the rest of the chain.
#[doc(hidden)]
pub trait Reach<'a>: Send {
    fn request(&self) -> &Request;
    fn request_mut(&mut self) -> &mut Request;
    fn cx(&self) -> &'a Cx<'a>;
    fn run(self) -> impl Future<Output = Response> + Send + 'a;
}

impl<N: Tail> Endpoint for N {
    type Reach<'a> = Direct<'a, N>;
}

/// A direct reference to the rest of the chain, whose type is known.
#[doc(hidden)]
pub struct Direct<'a, N> {
    pub(super) req: &'a mut Request,
    pub(super) tail: &'a N,
    pub(super) cx: &'a Cx<'a>,
}

impl<'a, N: Tail> Reach<'a> for Direct<'a, N> {
    #[inline(always)]
    fn request(&self) -> &Request {
        self.req
    }

    #[inline(always)]
    fn request_mut(&mut self) -> &mut Request {
        self.req
    }

    #[inline(always)]
    fn cx(&self) -> &'a Cx<'a> {
        self.cx
    }

    #[inline(always)]
    fn run(self) -> impl Future<Output = Response> + Send + 'a {
        self.tail.call(self.req, self.cx)
    }
}

/// The rest of the chain behind a pointer. Functions take this type, which is the same whatever follows them.
#[derive(Debug)]
pub struct Erased(());

impl Endpoint for Erased {
    type Reach<'a> = Indirect<'a>;
}

/// A reference to the rest of the chain through a [`Slot`].
#[doc(hidden)]
pub struct Indirect<'a> {
    pub(super) slot: Pin<&'a mut (dyn Slot + Send + 'a)>,
    pub(super) cx: &'a Cx<'a>,
}

impl<'a> Reach<'a> for Indirect<'a> {
    fn request(&self) -> &Request {
        self.slot.request()
    }

    fn request_mut(&mut self) -> &mut Request {
        self.slot.as_mut().request_mut()
    }

    fn cx(&self) -> &'a Cx<'a> {
        self.cx
    }

    fn run(self) -> impl Future<Output = Response> + Send + 'a {
        Running(self.slot)
    }
}

/// Storage for the rest of the chain inside the future of the step that runs it. It replaces a box per step.
///
/// A function takes `Next<'_>`, which must not contain the type of the rest. So the caller (`FromFn::call`, for example) pins
/// a [`RestSlot`] in its own future, where the type of the rest is known, and the `Next` has a pointer to it as `dyn Slot`. The
/// slot is pinned while it is empty, because it is as large as the futures of all steps of the rest, and a move would copy them. Then
/// it has the request, and the closure that calls the rest; then the future of the rest; in the end it is empty again.
pub(crate) trait Slot {
    fn request(&self) -> &Request;
    fn request_mut(self: Pin<&mut Self>) -> &mut Request;
    /// Polls the rest. The first poll starts it.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response>;
    /// Drops the content.
    fn clear(self: Pin<&mut Self>);
}

/// See [`Slot`]. `P` has the request, `R` calls the rest, `F` is the future of the rest.
pub(crate) type RestSlot<P, R, F> = Late<(P, R), F>;

impl<'a, P, R, F> Slot for RestSlot<P, R, F>
where
    P: Reach<'a>,
    R: FnOnce(P) -> F,
    F: Future<Output = Response>,
{
    fn request(&self) -> &Request {
        match self {
            Self::Waiting { start: Some((reach, _)) } => reach.request(),
            // `run` consumes the only `Next` that leads here, and only its future polls the slot.
            _ => unreachable!("the request was passed on"),
        }
    }

    fn request_mut(self: Pin<&mut Self>) -> &mut Request {
        match self.project() {
            LateProjection::Waiting { start: Some((reach, _)) } => reach.request_mut(),
            _ => unreachable!("the request was passed on"),
        }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.poll_with(|(reach, run)| run(reach), cx)
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.set(Self::default());
    }
}

/// The future of the rest, which is in a slot. Dropping it drops the rest at once, also if the slot lives longer.
struct Running<'a>(Pin<&'a mut (dyn Slot + Send + 'a)>);

impl Future for Running<'_> {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        self.0.as_mut().poll(cx)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.as_mut().clear();
    }
}
