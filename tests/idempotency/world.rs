//! Servers that share a store, each of which can be cut off at any point of a request.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum_core::BoxError;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Notify;
use tower_chain::middleware::idempotency::{
    Idempotency, IdempotencyStore, KeyOutcome, KeyReservation, KeyState, KeyUpdate, PerPrincipal,
};
use tower_chain::serve::Detach;
use tower_chain::{Body, Chain, ChainService, Error, Provided, Request, Response};

/// The points at which a request can be cut off: each `.await` of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    /// Half of the body of the request has arrived.
    RequestBody,
    BeforeReserve,
    AfterReserve,
    HandlerStart,
    AfterEffect,
    BeforeRenew,
    AfterRenew,
    /// Half of the body of the response was sent.
    ResponseBody,
    BeforeFinish,
    AfterFinish,
}

pub(crate) const POINTS: [Point; 10] = [
    Point::RequestBody,
    Point::BeforeReserve,
    Point::AfterReserve,
    Point::HandlerStart,
    Point::AfterEffect,
    Point::BeforeRenew,
    Point::AfterRenew,
    Point::ResponseBody,
    Point::BeforeFinish,
    Point::AfterFinish,
];

/// What happens to a request at a point.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<FaultState>);

#[derive(Default)]
struct FaultState {
    armed: Mutex<Option<Point>>,
    reached: Notify,
    resumed: Notify,
    is_dead: Mutex<bool>,
}

impl Faults {
    /// The next request that comes to this point waits there until it is resumed.
    pub(crate) fn arm(&self, point: Point) {
        *self.0.armed.lock().unwrap() = Some(point);
    }

    pub(crate) fn disarm(&self) {
        *self.0.armed.lock().unwrap() = None;
    }

    /// Lets all requests continue that wait at a point.
    pub(crate) fn resume(&self) {
        self.0.resumed.notify_waiters();
    }

    /// Waits until a request has come to the point.
    pub(crate) async fn reached(&self) {
        self.0.reached.notified().await;
    }

    /// From now on, nothing that this server does has an effect.
    pub(crate) fn kill(&self) {
        *self.0.is_dead.lock().unwrap() = true;
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.0.is_dead.lock().unwrap()
    }

    pub(crate) async fn point(&self, point: Point) {
        if *self.0.is_dead.lock().unwrap() {
            return pending().await;
        }
        let is_armed = {
            let mut armed = self.0.armed.lock().unwrap();
            let is_armed = *armed == Some(point);
            if is_armed {
                *armed = None;
            }
            is_armed
        };
        if is_armed {
            self.0.reached.notify_one();
            self.0.resumed.notified().await;
            if self.is_dead() {
                pending().await
            }
        }
    }
}

/// A server's connection to a store.
struct Connection<S> {
    store: Arc<S>,
    faults: Faults,
}

impl<S: IdempotencyStore> IdempotencyStore for Connection<S> {
    type Error = BoxError;

    async fn reserve(&self, reservation: &KeyReservation) -> Result<KeyState, BoxError> {
        self.faults.point(Point::BeforeReserve).await;
        let state = self.store.reserve(reservation).await.map_err(Into::into);
        self.faults.point(Point::AfterReserve).await;
        state
    }

    async fn renew(&self, reservation: &KeyReservation) -> Result<KeyUpdate, BoxError> {
        self.faults.point(Point::BeforeRenew).await;
        let update = self.store.renew(reservation).await.map_err(Into::into);
        self.faults.point(Point::AfterRenew).await;
        update
    }

    async fn finish(
        &self,
        reservation: &KeyReservation,
        outcome: KeyOutcome,
    ) -> Result<KeyUpdate, BoxError> {
        self.faults.point(Point::BeforeFinish).await;
        let update = self.store.finish(reservation, outcome).await.map_err(Into::into);
        self.faults.point(Point::AfterFinish).await;
        update
    }
}

/// The effects that all servers have had: the user, the path and the body of each request.
#[derive(Clone, Default)]
pub(crate) struct Effects(Arc<Mutex<Vec<[String; 3]>>>);

impl Effects {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn of(&self, user: &str, path: &str) -> usize {
        let effects = self.0.lock().unwrap();
        effects.iter().filter(|effect| effect[0] == user && effect[1] == path).count()
    }

    fn add(&self, user: &str, path: &str, body: &str) -> usize {
        let mut effects = self.0.lock().unwrap();
        effects.push([user, path, body].map(str::to_owned));
        effects.len()
    }
}

#[derive(Clone)]
pub(crate) struct User(pub(crate) String);

pub(crate) async fn user(headers: HeaderMap) -> Result<User, Error> {
    let name = headers.get("x-user").and_then(|name| name.to_str().ok());
    let name = name.ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))?;
    Ok(User(name.to_owned()))
}

/// A server whose requests can be cut off.
#[derive(Clone)]
pub(crate) struct TestServer {
    pub(crate) api: ChainService,
    pub(crate) faults: Faults,
}

impl TestServer {
    pub(crate) fn new<S: IdempotencyStore>(
        store: Arc<S>,
        effects: &Effects,
        set: impl FnOnce(Idempotency<PerPrincipal<User>>) -> Idempotency<PerPrincipal<User>>,
        detaches: bool,
    ) -> Self {
        let faults = Faults::default();
        let connection = Connection { store, faults: faults.clone() };
        let step = Idempotency::per(|user: &User| user.0.clone()).store(connection);
        let chain = Chain::new()
            .provide(effects.clone())
            .provide(faults.clone())
            .catch_panics()
            .guard(user);
        let pay =
            async |user: Provided<User>,
                   effects: Provided<Effects>,
                   faults: Provided<Faults>,
                   req: Request| pay(user.0, effects.0, faults.0, req).await;
        let step = set(step);
        let api = match detaches {
            true => chain.use_(Detach::new()).use_(step).all(pay).build(),
            false => chain.use_(step).all(pay).build(),
        };
        Self { api, faults }
    }

    /// A request whose body can stop halfway.
    pub(crate) fn request(&self, user: &str, path: &str, key: &str, body: &str) -> Request {
        let faults = self.faults.clone();
        let (first, second) = body.split_at(body.len() / 2);
        let (first, second) = (Bytes::from(first.to_owned()), Bytes::from(second.to_owned()));
        let body = stream::unfold(0, move |at| {
            let (faults, part) = (faults.clone(), [first.clone(), second.clone()]);
            async move {
                if at == 1 {
                    faults.point(Point::RequestBody).await;
                }
                let part = part.get(at)?.clone();
                Some((Ok::<_, Infallible>(part), at + 1))
            }
        });
        let req = http::Request::post(path).header("x-user", user).header("idempotency-key", key);
        req.body(Body::from_stream(body)).unwrap()
    }

    /// Sends a request in the process, and reads the response to its end; `None` if it was cut off.
    pub(crate) async fn send(
        &self,
        user: &str,
        path: &str,
        key: &str,
        body: &str,
    ) -> Option<Received> {
        received(self.api.handle(self.request(user, path, key, body)).await).await
    }
}

/// The status, the body, and what kind of answer it is: `replayed`, the type of a problem, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: Bytes,
}

pub(crate) async fn received(response: Response) -> Option<Received> {
    let (parts, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.ok()?.to_bytes();
    let kind = match parts.headers.get("idempotency-replayed") {
        Some(_) => "replayed".to_owned(),
        None => {
            let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let kind = problem.as_ref().and_then(|problem| problem["type"].as_str());
            let kind = kind.and_then(|kind| kind.split_once('#')).map_or("", |(_, kind)| kind);
            kind.to_owned()
        }
    };
    Some(Received { status: parts.status.as_u16(), kind, body })
}

/// Its response names the user, the path and the body: the response of another request is noticed. The first word of the body selects the
/// response.
async fn pay(
    user: User,
    effects: Effects,
    faults: Faults,
    req: Request,
) -> Result<Response, Error> {
    let path = req.uri().path().to_owned();
    let body = http_body_util::BodyExt::collect(req.into_body()).await?.to_bytes();
    let body = String::from_utf8(body.to_vec())?;
    faults.point(Point::HandlerStart).await;
    if body.starts_with("busy") {
        return Err(Error::new(StatusCode::TOO_MANY_REQUESTS, "Later"));
    }
    let number = effects.add(&user.0, &path, &body);
    faults.point(Point::AfterEffect).await;
    if body.starts_with("slow") {
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let text = format!("{} {path} {body} effect {number}", user.0);
    if body.starts_with("stream") {
        let (first, second) =
            (text[..text.len() / 2].to_owned(), text[text.len() / 2..].to_owned());
        let parts = stream::unfold(0, move |at| {
            let (faults, part) = (faults.clone(), [first.clone(), second.clone()]);
            async move {
                if at == 1 {
                    faults.point(Point::ResponseBody).await;
                }
                let part = part.get(at)?.clone();
                Some((Ok::<_, Infallible>(part), at + 1))
            }
        });
        return Ok(Response::new(Body::from_stream(parts)));
    }
    if body.starts_with("panic") {
        panic!("a bug");
    }
    let status = match body.split(' ').next() {
        Some("fail") => StatusCode::INTERNAL_SERVER_ERROR,
        Some("refuse") => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CREATED,
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let name = HeaderName::from_static("x-effect");
    response.headers_mut().insert(name, HeaderValue::from(number));
    Ok(response)
}

/// The kinds of answers that a repetition may get while the first request has not finished.
pub(crate) fn is_pending(received: &Received) -> bool {
    received.status == 409 && received.kind == "in-flight"
}
