//! The service on a real port.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{Extensions, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::transport::{SendError, Transport, Unfinished};
use crate::{Body, Request, Response};

/// A server on a port, and its client. The server stops when this is dropped.
pub(super) struct Tcp {
    addr: SocketAddr,
    protocol: Protocol,
    side: Arc<Mutex<SideChannel>>,
    _server: AbortOnDrop,
}

/// The protocol of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What client and server exchange within the process, by the address of the client.
#[derive(Default)]
struct SideChannel {
    extensions: HashMap<SocketAddr, Extensions>,
    /// Connections whose client sends less than its Content-Length, and then waits for the response.
    half_closing: HashSet<SocketAddr>,
    failures: HashMap<SocketAddr, SendError>,
}

fn lock(side: &Mutex<SideChannel>) -> MutexGuard<'_, SideChannel> {
    side.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tcp {
    pub(super) async fn start(inner: Arc<dyn Transport>, protocol: Protocol) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let side = Arc::<Mutex<SideChannel>>::default();
        let shared = side.clone();
        let accept = async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                if let Ok((stream, peer)) = listener.accept().await {
                    let (inner, side) = (inner.clone(), shared.clone());
                    connections.spawn(serve(stream, peer, protocol, inner, side));
                }
                while connections.try_join_next().is_some() {}
            }
        };
        Ok(Self { addr, protocol, side, _server: AbortOnDrop(tokio::spawn(accept)) })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    protocol: Protocol,
    inner: Arc<dyn Transport>,
    side: Arc<Mutex<SideChannel>>,
) {
    let half_closing = lock(&side).half_closing.remove(&peer);
    let service = hyper::service::service_fn(move |mut req: http::Request<Incoming>| {
        match lock(&side).extensions.remove(&peer) {
            Some(extensions) => req.extensions_mut().extend(extensions),
            // A client other than the test client.
            None => {
                req.extensions_mut().insert(crate::extract::PeerAddr(peer));
            }
        }
        let answer = inner.call(req.map(Body::new));
        let side = side.clone();
        async move {
            answer.await.map_err(|error| {
                lock(&side).failures.insert(peer, error);
                io::Error::other("the service failed")
            })
        }
    });
    let io = TokioIo::new(stream);
    // The client sees how the connection ends.
    match protocol {
        Protocol::Http1 => {
            drop(http1(half_closing).serve_connection(io, service).with_upgrades().await)
        }
        Protocol::Http2 => {
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(server.auto_date_header(false).serve_connection(io, service).await);
        }
    }
}

fn http1(half_closing: bool) -> hyper::server::conn::http1::Builder {
    let mut server = hyper::server::conn::http1::Builder::new();
    server.half_close(half_closing).auto_date_header(false);
    server
}

impl Transport for Tcp {
    fn call(&self, mut req: Request) -> BoxFuture<'static, Result<Response, SendError>> {
        let (addr, protocol, side) = (self.addr, self.protocol, self.side.clone());
        Box::pin(async move {
            // Bound before it connects: the server finds the extensions by this address.
            let socket = TcpSocket::new_v4().map_err(connection)?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(connection)?;
            let local = socket.local_addr().map_err(connection)?;
            let end = Arc::<AtomicBool>::default();
            let unfinished = req.extensions_mut().remove::<Unfinished>();
            // On HTTP/2 the stream is reset when the body fails.
            if let Some(unfinished) = unfinished.filter(|_| protocol == Protocol::Http1) {
                let end = end.clone();
                lock(&side).half_closing.insert(local);
                req = req.map(|_| Body::new(Hanging { data: Some(unfinished.0), end }));
            }
            lock(&side).extensions.insert(local, std::mem::take(req.extensions_mut()));
            let stream = socket.connect(addr).await.map_err(connection)?;
            let result = match protocol {
                Protocol::Http1 => {
                    send_http1(HalfClosing { stream, end, closed: false }, req).await
                }
                Protocol::Http2 => send_http2(stream, req).await,
            };
            let mut side = lock(&side);
            side.extensions.remove(&local);
            result
                .map_err(|error| side.failures.remove(&local).unwrap_or_else(|| connection(error)))
        })
    }
}

async fn send_http1<I>(io: I, req: Request) -> hyper::Result<Response>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, conn) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    let conn = AbortOnDrop(tokio::spawn(async move {
        let _ = conn.with_upgrades().await;
    }));
    let mut response = sender.send_request(req).await?;
    // It belongs to the connection, not to the response.
    response.headers_mut().remove(TRANSFER_ENCODING);
    Ok(response.map(|body| Body::new(ConnectedBody { body, _conn: conn })))
}

async fn send_http2(stream: TcpStream, mut req: Request) -> hyper::Result<Response> {
    let io = TokioIo::new(stream);
    let (mut sender, conn) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let conn = AbortOnDrop(tokio::spawn(async move {
        let _ = conn.await;
    }));
    // RFC 9113, 8.3.1: the host is part of the URI; 8.2.2: there are no connection-specific fields.
    let host = req.headers_mut().remove(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut uri = std::mem::take(req.uri_mut()).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = authority.or_else(|| Some(Authority::from_static("localhost")));
    *req.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    req.headers_mut().remove(TRANSFER_ENCODING);
    let response = sender.send_request(req).await?;
    Ok(response.map(|body| Body::new(ConnectedBody { body, _conn: conn })))
}

/// Sends a request over a connection within the process, which an upgrade needs.
pub(super) async fn send_by_pipe(
    inner: Arc<dyn Transport>,
    mut req: Request,
) -> Result<Response, SendError> {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let extensions = std::mem::take(req.extensions_mut());
    let failure = Arc::<Mutex<Option<SendError>>>::default();
    let failed = failure.clone();
    let service = hyper::service::service_fn(move |mut req: http::Request<Incoming>| {
        req.extensions_mut().extend(extensions.clone());
        let (answer, failed) = (inner.call(req.map(Body::new)), failed.clone());
        async move {
            answer.await.map_err(|error| {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                io::Error::other("the service failed")
            })
        }
    });
    let server = http1(false).serve_connection(TokioIo::new(theirs), service).with_upgrades();
    tokio::spawn(server);
    send_http1(ours, req).await.map_err(|error| {
        let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.unwrap_or_else(|| connection(error))
    })
}

fn connection(error: impl Into<axum_core::BoxError>) -> SendError {
    SendError::Connection(error.into())
}

/// A task that is aborted when this is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of a response. Its connection is closed when it is dropped.
struct ConnectedBody {
    body: Incoming,
    _conn: AbortOnDrop,
}

impl HttpBody for ConnectedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that is shorter than its Content-Length. After the data it stays pending, and the sending side is closed.
struct Hanging {
    data: Option<Bytes>,
    end: Arc<AtomicBool>,
}

impl HttpBody for Hanging {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.data.take() {
            Some(data) if !data.is_empty() => Poll::Ready(Some(Ok(Frame::data(data)))),
            _ => {
                self.end.store(true, Ordering::Release);
                Poll::Pending
            }
        }
    }
}

/// A connection whose sending side is closed after the data of a [`Hanging`] body.
struct HalfClosing {
    stream: TcpStream,
    end: Arc<AtomicBool>,
    closed: bool,
}

impl AsyncRead for HalfClosing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for HalfClosing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.end.load(Ordering::Acquire) && !self.closed {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
