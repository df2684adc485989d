//! The cost of a step, by kind and number. Every step passes all requests on.

use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum_core::response::IntoResponse;
use futures_util::future::{Ready, ok};
use tower::{Layer, Service};
use tower_chain::{Chain, Endpoint, Error, Middleware, Next, Request, Response, StatusCode};

use super::{Case, Subject, get};

struct Native;

impl Middleware for Native {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        next.run().await
    }
}

/// Like [`Native`], but does not access the response.
struct Direct;

impl Middleware for Direct {
    type Provides = ();

    fn call<N: Endpoint>(&self, next: Next<'_, N>) -> impl Future<Output = Response> + Send {
        next.run()
    }
}

async fn function(next: Next<'_>) -> Response {
    next.run().await
}

async fn guard() -> Result<(), Error> {
    Ok(())
}

async fn bare() -> StatusCode {
    StatusCode::OK
}

/// A handwritten tower layer: a service, and a future that accesses the response.
#[derive(Clone)]
struct Pass;

impl<S> Layer<S> for Pass {
    type Service = PassService<S>;

    fn layer(&self, inner: S) -> PassService<S> {
        PassService(inner)
    }
}

#[derive(Clone)]
struct PassService<S>(S);

impl<S: Service<Request>> Service<Request> for PassService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = PassFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, req: Request) -> PassFuture<S::Future> {
        PassFuture { inner: self.0.call(req) }
    }
}

pin_project_lite::pin_project! {
    struct PassFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for PassFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Poll::Ready(ready!(self.project().inner.poll(cx)))
    }
}

#[derive(Clone)]
struct Bare;

impl Service<Request> for Bare {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ok(StatusCode::OK.into_response())
    }
}

/// The moves that an `async fn` can't avoid: the request is moved out of its slot, into the future of the function, out of that, and back.
fn moves(size: usize) -> Subject {
    #[inline(never)]
    fn out(place: &mut Request, room: &mut Option<Request>) {
        *room = Some(mem::take(place));
    }

    #[inline(never)]
    fn back(place: &mut Request, room: &mut Option<Request>) {
        if let Some(req) = room.take() {
            mem::forget(mem::replace(place, req));
        }
    }

    let service = tower::service_fn(move |mut req: Request| {
        let mut room = None;
        for _ in 0..2 * size {
            out(&mut req, &mut room);
            back(&mut req, &mut room);
        }
        ok::<_, Infallible>(StatusCode::OK.into_response())
    });
    Subject::new(service, get("/"))
}

macro_rules! times {
    ($chain:expr, $m:tt, 0) => {
        $chain
    };
    ($chain:expr, ($verb:ident $m:expr), 1) => {
        $chain.$verb($m)
    };
    ($chain:expr, $m:tt, 2) => {
        times!(times!($chain, $m, 1), $m, 1)
    };
    ($chain:expr, $m:tt, 4) => {
        times!(times!($chain, $m, 2), $m, 2)
    };
    ($chain:expr, $m:tt, 8) => {{
        let chain = times!($chain, $m, 4);
        times!(chain, $m, 4)
    }};
    ($chain:expr, $m:tt, 16) => {{
        let chain = times!($chain, $m, 8);
        times!(chain, $m, 8)
    }};
    ($chain:expr, $m:tt, 32) => {{
        let chain = times!($chain, $m, 16);
        times!(chain, $m, 16)
    }};
    ($chain:expr, $m:tt, 100) => {{
        let chain = times!($chain, $m, 32);
        let chain = times!(chain, $m, 32);
        let chain = times!(chain, $m, 32);
        times!(chain, $m, 4)
    }};
}

macro_rules! kind {
    ($name:ident $step:tt) => {
        fn $name(steps: usize) -> Subject {
            macro_rules! subject {
                ($n:tt) => {
                    Subject::new(times!(Chain::new(), $step, $n).get(bare).into_service(), get("/"))
                };
            }
            match steps {
                1 => subject!(1),
                2 => subject!(2),
                4 => subject!(4),
                8 => subject!(8),
                16 => subject!(16),
                32 => subject!(32),
                _ => subject!(100),
            }
        }
    };
}

kind!(guards (guard guard));
kind!(natives (use_ Native));
kind!(directs (use_ Direct));
kind!(functions (use_ function));
kind!(layers (use_ Pass));

fn no_steps(_: usize) -> Subject {
    Subject::new(Chain::new().get(bare).into_service(), get("/"))
}

fn no_steps_boxed(_: usize) -> Subject {
    Subject::new(Chain::new().get(bare).build(), get("/"))
}

fn bare_handler(_: usize) -> Subject {
    Subject::new(Bare, get("/"))
}

fn nested_by_hand(steps: usize) -> Subject {
    macro_rules! nest {
        ($inner:expr, 1) => {
            Pass.layer($inner)
        };
        ($inner:expr, 2) => {
            nest!(nest!($inner, 1), 1)
        };
        ($inner:expr, 4) => {
            nest!(nest!($inner, 2), 2)
        };
        ($inner:expr, 8) => {
            nest!(nest!($inner, 4), 4)
        };
        ($inner:expr, 16) => {
            nest!(nest!($inner, 8), 8)
        };
        ($inner:expr, 32) => {
            nest!(nest!($inner, 16), 16)
        };
    }
    match steps {
        1 => Subject::new(nest!(Bare, 1), get("/")),
        2 => Subject::new(nest!(Bare, 2), get("/")),
        4 => Subject::new(nest!(Bare, 4), get("/")),
        8 => Subject::new(nest!(Bare, 8), get("/")),
        16 => Subject::new(nest!(Bare, 16), get("/")),
        _ => Subject::new(nest!(Bare, 32), get("/")),
    }
}

pub(super) fn cases() -> Vec<Case> {
    let group = "steps";
    let case = |name: &str, build, size| Case { group, name: name.to_owned(), build, size };
    let mut cases = vec![
        case("bare handler", bare_handler, 0),
        case("chain of 0", no_steps, 0),
        case("chain of 0, built", no_steps_boxed, 0),
    ];
    let kinds: [(&str, fn(usize) -> Subject); 7] = [
        ("tower layer by hand", nested_by_hand),
        ("guard", guards),
        ("native", natives),
        ("native, direct", directs),
        ("async fn", functions),
        ("tower layer", layers),
        ("four moves of a request", moves),
    ];
    for (kind, build) in kinds {
        for size in [1, 2, 4, 8, 16, 32, 100] {
            // The compiler fails on a hundred layers nested by hand.
            if size <= 32 || kind != "tower layer by hand" {
                cases.push(case(&format!("{kind} x {size}"), build, size));
            }
        }
    }
    cases
}
