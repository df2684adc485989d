//! The service behind a real port.

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

/// A server on a port of its own, and its client. It ends when it is dropped.
pub(super) struct Tcp {
    addr: SocketAddr,
    protocol: Protocol,
    beside: Arc<Mutex<Beside>>,
    _server: Ended,
}

/// What is spoken on the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What goes beside the connections, by the address of the client.
#[derive(Default)]
struct Beside {
    extensions: HashMap<SocketAddr, Extensions>,
    /// Connections on which the client says less than it promised, and still waits for an answer.
    half_closing: HashSet<SocketAddr>,
    failures: HashMap<SocketAddr, SendError>,
}

fn lock(beside: &Mutex<Beside>) -> MutexGuard<'_, Beside> {
    beside.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tcp {
    pub(super) async fn start(inner: Arc<dyn Transport>, protocol: Protocol) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let beside = Arc::<Mutex<Beside>>::default();
        let shared = beside.clone();
        let accept = async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                if let Ok((stream, peer)) = listener.accept().await {
                    let (inner, beside) = (inner.clone(), shared.clone());
                    connections.spawn(serve(stream, peer, protocol, inner, beside));
                }
                while connections.try_join_next().is_some() {}
            }
        };
        Ok(Self { addr, protocol, beside, _server: Ended(tokio::spawn(accept)) })
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
    beside: Arc<Mutex<Beside>>,
) {
    let half_closing = lock(&beside).half_closing.remove(&peer);
    let service = hyper::service::service_fn(move |mut req: http::Request<Incoming>| {
        match lock(&beside).extensions.remove(&peer) {
            Some(extensions) => req.extensions_mut().extend(extensions),
            // Another client than the kit's own.
            None => {
                req.extensions_mut().insert(crate::PeerAddr(peer));
            }
        }
        let answer = inner.call(req.map(Body::new));
        let beside = beside.clone();
        async move {
            answer.await.map_err(|error| {
                lock(&beside).failures.insert(peer, error);
                io::Error::other("the service failed")
            })
        }
    });
    let io = TokioIo::new(stream);
    // How a connection ends is told to its client by its end.
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
        let (addr, protocol, beside) = (self.addr, self.protocol, self.beside.clone());
        Box::pin(async move {
            // The address is known before the server sees the connection.
            let socket = TcpSocket::new_v4().map_err(connection)?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(connection)?;
            let local = socket.local_addr().map_err(connection)?;
            let end = Arc::<AtomicBool>::default();
            let unfinished = req.extensions_mut().remove::<Unfinished>();
            // A stream of HTTP/2 is reset where the body fails.
            if let Some(unfinished) = unfinished.filter(|_| protocol == Protocol::Http1) {
                let end = end.clone();
                lock(&beside).half_closing.insert(local);
                req = req.map(|_| Body::new(Hanging { data: Some(unfinished.0), end }));
            }
            lock(&beside).extensions.insert(local, std::mem::take(req.extensions_mut()));
            let stream = socket.connect(addr).await.map_err(connection)?;
            let asked = match protocol {
                Protocol::Http1 => ask(HalfClosing { stream, end, closed: false }, req).await,
                Protocol::Http2 => ask_http2(stream, req).await,
            };
            let mut beside = lock(&beside);
            beside.extensions.remove(&local);
            asked.map_err(|error| {
                beside.failures.remove(&local).unwrap_or_else(|| connection(error))
            })
        })
    }
}

async fn ask<I>(io: I, req: Request) -> hyper::Result<Response>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, conn) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    let conn = Ended(tokio::spawn(async move {
        let _ = conn.with_upgrades().await;
    }));
    let mut response = sender.send_request(req).await?;
    // It frames the body on this connection, and says nothing about the response.
    response.headers_mut().remove(TRANSFER_ENCODING);
    Ok(response.map(|body| Body::new(ConnectedBody { body, _conn: conn })))
}

async fn ask_http2(stream: TcpStream, mut req: Request) -> hyper::Result<Response> {
    let io = TokioIo::new(stream);
    let (mut sender, conn) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let conn = Ended(tokio::spawn(async move {
        let _ = conn.await;
    }));
    // RFC 9113, 8.3.1: the host is part of the URI; 8.2.2: nothing is said of the connection.
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

/// Asks over a connection within the process, for what only a connection can do.
pub(super) async fn ask_by_pipe(
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
    ask(ours, req).await.map_err(|error| {
        let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.unwrap_or_else(|| connection(error))
    })
}

fn connection(error: impl Into<axum_core::BoxError>) -> SendError {
    SendError::Connection(error.into())
}

/// A task that ends when this is dropped.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of a response. The connection ends with it.
struct ConnectedBody {
    body: Incoming,
    _conn: Ended,
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

/// A body that is shorter than its Content-Length says: no more comes, and the sending side is closed.
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

/// A connection whose sending side is closed once a [`Hanging`] body is out.
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
