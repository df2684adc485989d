//! Helpers for the modules of this test program.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http_body_util::BodyExt;
use tower_chain::{Body, ChainService, Endpoint, Middleware, Next, Request, Response};

/// Records the tagged steps of a chain, in the order in which they ran.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// Returns the entries since the last call, joined by spaces.
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(" ")
    }

    /// A middleware that records `>name` before the later steps and `<name` after them.
    pub(crate) fn tag(&self, name: &'static str) -> Tag {
        Tag { name, trace: self.clone() }
    }

    /// A handler that records its name and answers with it.
    pub(crate) fn handler(
        &self,
        name: &'static str,
    ) -> impl Fn() -> std::future::Ready<&'static str> + Clone + Send + Sync + 'static + use<> {
        let trace = self.clone();
        move || {
            trace.note(name);
            std::future::ready(name)
        }
    }
}

pub(crate) struct Tag {
    name: &'static str,
    trace: Trace,
}

impl Middleware for Tag {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        self.trace.note(format!(">{}", self.name));
        let response = next.run().await;
        self.trace.note(format!("<{}", self.name));
        response
    }

    fn name(&self) -> String {
        self.name.to_owned()
    }
}

pub(crate) fn request(method: &str, path: &str) -> Request {
    http::Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
}

/// Runs a future that is ready at once.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

pub(crate) fn ask(service: &ChainService, method: &str, path: &str) -> Response {
    now(service.handle(request(method, path)))
}

/// Returns status and body of the response, such as `200 hello`.
pub(crate) fn answer(service: &ChainService, method: &str, path: &str) -> String {
    let response = ask(service, method, path);
    let status = response.status().as_u16();
    let text = text(response);
    match text.is_empty() {
        true => status.to_string(),
        false => format!("{status} {text}"),
    }
}

pub(crate) fn text(response: Response) -> String {
    let bytes = now(response.into_body().collect()).unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn status(service: &ChainService, method: &str, path: &str) -> u16 {
    ask(service, method, path).status().as_u16()
}

pub(crate) fn header(response: &Response, name: &str) -> String {
    let values: Vec<_> =
        response.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect();
    values.join(" | ")
}

/// A future that is ready at its second poll.
pub(crate) async fn yield_once() {
    struct Once(bool);
    impl Future for Once {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
    Once(false).await;
}
