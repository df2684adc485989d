//! The socket of a connection. Bytes that were read too early can be put back, a write fails if the peer stops reading, and what the peer still
//! sends is read before the socket is closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
#[cfg(unix)]
use futures_util::FutureExt;
#[cfg(unix)]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Sleep, sleep};

use super::activity::Activity;
use super::clients::ClientSlot;
use super::frames::Frames;
use super::pace::Pace;
use super::phase::Phase;

/// An accepted socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// Within the process, for tests with a paused clock.
    #[cfg(test)]
    Pipe(tokio::io::DuplexStream),
}

/// A socket as a connection uses it. The connection is counted until this is dropped.
pub(super) struct Io {
    socket: Socket,
    /// Bytes that were read ahead.
    ahead: Bytes,
    activity: Arc<Activity>,
    /// How fast the peer reads, and the number of the request that it reads the response to. `None` until a write had to wait.
    pace: Option<Box<(Pace, u32)>>,
    closing: Closing,
    /// The server waits until all receivers are dropped.
    _alive: watch::Receiver<Phase>,
    _permit: OwnedSemaphorePermit,
    slot: Option<ClientSlot>,
}

enum Closing {
    No,
    Lingering(Pin<Box<Sleep>>),
    Done,
}

impl Io {
    pub(super) fn new(
        socket: Socket,
        activity: Arc<Activity>,
        alive: watch::Receiver<Phase>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            socket,
            ahead: Bytes::new(),
            activity,
            pace: None,
            closing: Closing::No,
            _alive: alive,
            _permit: permit,
            slot: None,
        }
    }

    /// Keeps the slot of the client until this is dropped.
    pub(super) fn keep(&mut self, slot: ClientSlot) {
        self.slot = Some(slot);
    }

    /// Puts back bytes that were read too early.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        if self.ahead.is_empty() {
            self.ahead = bytes;
        } else {
            self.ahead = [bytes, std::mem::take(&mut self.ahead)].concat().into();
        }
    }

    fn written(
        &mut self,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = &result {
            let bytes = *written.as_ref().unwrap_or(&0);
            if let Some(pace) = &mut self.pace {
                pace.0.progress(bytes);
            }
            self.activity.sent(bytes);
            return result;
        }
        let activity = &self.activity;
        let (pace, request) = &mut **self.pace.get_or_insert_with(|| {
            Box::new((Pace::new(activity.server.limits.response_pace()), activity.requests()))
        });
        if *request != activity.requests() {
            *request = activity.requests();
            pace.begin_body();
        }
        ready!(pace.poll_late(Duration::ZERO, cx));
        let late = "the client reads the response too slowly, or not at all";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    }

    /// RFC 9112, 9.6: closing a socket while the peer still sends makes the system reset the connection, and the peer may lose the response. The
    /// server therefore closes the sending side, and reads and drops data until the peer closes as well or a time limit is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Closing::Lingering(until) = &mut self.closing else { return Poll::Ready(()) };
        let mut scratch = [0; 4096];
        // After 1 MiB other tasks of the thread get their turn.
        for _ in 0..256 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return until.as_mut().poll(cx),
            }
        }
        cx.waker().wake_by_ref();
        until.as_mut().poll(cx)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..length]);
            self.ahead.advance(length);
            // hyper doubles a buffer that a read has filled in part. Most requests arrive as a whole, and need no second read.
            if !self.ahead.is_empty() || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            return match Pin::new(&mut self.socket).poll_read(cx, buf) {
                Poll::Pending => Poll::Ready(Ok(())),
                read => read,
            };
        }
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.written(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.written(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes whenever it is polled.
        if self.activity.is_socket_check_due()
            && let Some(error) = self.socket.failure()?
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Closing::No = self.closing {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.closing = match self.activity.peer_may_send() {
                true => Closing::Lingering(Box::pin(sleep(LINGER))),
                false => Closing::Done,
            };
        }
        ready!(self.poll_linger(cx));
        self.closing = Closing::Done;
        Poll::Ready(Ok(()))
    }
}

/// A connection after TLS, as hyper reads it.
pub(super) struct Clear<I> {
    pub(super) io: I,
    pub(super) activity: Arc<Activity>,
    /// The frames that are received and sent, on HTTP/2.
    pub(super) frames: Option<Box<[Frames; 2]>>,
}

impl<I> Clear<I> {
    fn written<'a>(&mut self, mut bytes: usize, buffers: impl Iterator<Item = &'a [u8]>) {
        let Some(frames) = &mut self.frames else { return };
        for buffer in buffers {
            let part = bytes.min(buffer.len());
            bytes -= part;
            if frames[1].read(&buffer[..part]).messages {
                self.activity.sent_messages();
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Clear<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        match (&buf.filled()[before..], &mut this.frames) {
            ([], _) => {}
            (bytes, None) => this.activity.received(bytes),
            (bytes, Some(frames)) => this.activity.received_frames(frames[0].read(bytes)),
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Clear<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.written(written, std::iter::once(buf));
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.written(written, bufs.iter().map(|buf| &**buf));
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Socket {
    /// Why nothing can be sent any more, if that is known: the peer has reset the connection. A Unix socket, which has no resets, knows whether the
    /// peer has closed all of it, and not its sending side alone.
    fn failure(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(socket) => socket.take_error(),
            #[cfg(unix)]
            Self::Unix(socket) => {
                let ready = socket.ready(Interest::WRITABLE).now_or_never().transpose()?;
                let is_closed = ready.is_some_and(|ready| ready.is_write_closed());
                Ok(is_closed.then(|| io::ErrorKind::BrokenPipe.into()))
            }
            #[cfg(test)]
            Self::Pipe(_) => Ok(None),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            #[cfg(test)]
            Self::Pipe(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
            #[cfg(test)]
            Self::Pipe(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            #[cfg(test)]
            Self::Pipe(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
            #[cfg(test)]
            Self::Pipe(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            #[cfg(test)]
            Self::Pipe(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// How long a peer may continue to send after the server has closed its side.
const LINGER: Duration = Duration::from_secs(5);
