//! Upgraded connections, such as WebSockets, which keep the slot of their request until they close.
//!
//! A request for an upgrade contains hyper's [`OnUpgrade`], the future of its connection. Neither of them can own a value of ours, and only hyper makes an
//! `OnUpgrade`. So the request gets the `OnUpgrade` of a connection in memory, over an [`OwningIo`]: hyper reads a request from it, receives the response 101
//! as soon as the client's connection is upgraded, and passes the `OwningIo` on. It reads and writes the client's connection, and owns the reservation. This works with
//! each server on hyper, and with HTTP/1.1 and HTTP/2 alike.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use http::{Method, StatusCode};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use tokio::runtime::Handle;

use super::reservation::RequestReservation;
use crate::{Body, Request, Response};

/// The upgrade of a request, which can own the reservation of the request.
pub(crate) struct OwningUpgrade {
    shared: Arc<Shared>,
    is_connect: bool,
}

/// What the limiter and the upgraded connection share.
#[derive(Default)]
struct Shared {
    reservation: Mutex<Option<Box<RequestReservation>>>,
    /// The client's connection, once it is upgraded.
    connection: Mutex<Option<Upgraded>>,
    /// What the request gets instead of its own `OnUpgrade`.
    replacement: Mutex<Option<OnUpgrade>>,
}

impl OwningUpgrade {
    /// Replaces the upgrade of a request. `None` if the request does not ask for one, or if there is no runtime.
    pub(crate) fn replace(req: &mut Request) -> Option<Self> {
        req.extensions().get::<OnUpgrade>()?;
        let runtime = Handle::try_current().ok()?;
        let original = req.extensions_mut().remove::<OnUpgrade>()?;
        let shared = Arc::<Shared>::default();
        let io = OwningIo { shared: shared.clone(), state: IoState::Request(REQUEST) };
        let service = {
            let (original, shared) = (original.clone(), Arc::downgrade(&shared));
            service_fn(move |mut req: http::Request<Incoming>| {
                let (original, shared) = (original.clone(), shared.clone());
                if let Some(shared) = shared.upgrade() {
                    *lock(&shared.replacement) = req.extensions_mut().remove();
                }
                async move {
                    let connection = original.await?;
                    if let Some(shared) = shared.upgrade() {
                        *lock(&shared.connection) = Some(connection);
                    }
                    let mut response = http::Response::new(Body::empty());
                    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                    Ok::<_, hyper::Error>(response)
                }
            })
        };
        let connection = http1::Builder::new().serve_connection(io, service).with_upgrades();
        let mut connection = Box::pin(connection);
        // The first poll reads the request and calls the service. The task polls it again, with a waker.
        let ended = connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        let replacement = lock(&shared.replacement).take();
        let is_replaced = replacement.is_some();
        req.extensions_mut().insert(replacement.unwrap_or(original));
        if !ended {
            // It fails if the client's connection is not upgraded; the owner of the `OnUpgrade` then receives an error.
            runtime.spawn(async move { drop(connection.await) });
        }
        is_replaced.then(|| Self { shared, is_connect: req.method() == Method::CONNECT })
    }

    /// Transfers a reservation to the upgraded connection, if the response starts one. Otherwise returns the reservation.
    pub(crate) fn keep(
        self,
        reservation: Box<RequestReservation>,
        response: &Response,
    ) -> Option<Box<RequestReservation>> {
        let status = response.status();
        let upgrades = match self.is_connect {
            true => status.is_success(),
            false => status == StatusCode::SWITCHING_PROTOCOLS,
        };
        if !upgrades {
            return Some(reservation);
        }
        // If the connection has been dropped, this is the last owner.
        *lock(&self.shared.reservation) = Some(reservation);
        None
    }
}

/// The stream of the connection in memory: first the exchange of hyper with us, then the client's connection.
struct OwningIo {
    shared: Arc<Shared>,
    state: IoState,
}

enum IoState {
    /// What is left of the request that hyper reads.
    Request(&'static [u8]),
    /// The client's connection.
    Upgraded(Upgraded),
}

impl Read for OwningIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.state {
            IoState::Upgraded(io) => Pin::new(io).poll_read(cx, buf),
            // The service wakes the task when there is more to do.
            IoState::Request([]) => Poll::Pending,
            IoState::Request(rest) => {
                let (now, later) = rest.split_at(rest.len().min(buf.remaining()));
                buf.put_slice(now);
                *rest = later;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Write for OwningIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let IoState::Upgraded(io) = &mut self.state {
            return Pin::new(io).poll_write(cx, buf);
        }
        // The end of the response 101, which no client receives: from here on, the stream is the client's connection.
        if buf.ends_with(b"\r\n\r\n") {
            let connection = lock(&self.shared.connection).take();
            let Some(connection) = connection else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            self.state = IoState::Upgraded(connection);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            IoState::Upgraded(io) => Pin::new(io).poll_flush(cx),
            IoState::Request(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            IoState::Upgraded(io) => Pin::new(io).poll_shutdown(cx),
            IoState::Request(_) => Poll::Ready(Ok(())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(&self.state, IoState::Upgraded(io) if io.is_write_vectored())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.state {
            IoState::Upgraded(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            IoState::Request(_) => {
                let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
                self.poll_write(cx, first)
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The request that hyper reads. Its target and its protocol are not used.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: a\r\n\r\n";
