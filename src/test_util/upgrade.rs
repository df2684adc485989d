//! A connection that was upgraded to another protocol.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The client's side of a connection that was upgraded to another protocol, as a stream of bytes. Made by
/// [`TestRequest::upgrade`](super::TestRequest::upgrade).
///
/// # Example
///
/// ```
/// use hyper_util::rt::TokioIo;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tower_chain::{Chain, Request, StatusCode, TestClient};
///
/// async fn echo(mut req: Request) -> (StatusCode, [(&'static str, &'static str); 2]) {
///     tokio::spawn(async move {
///         let io = TokioIo::new(hyper::upgrade::on(&mut req).await?);
///         let (mut read, mut write) = tokio::io::split(io);
///         tokio::io::copy(&mut read, &mut write).await?;
///         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
///     });
///     (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")])
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let client = TestClient::new(Chain::new().get(echo).build());
///
/// let mut connection = client.get("/").upgrade("echo").await;
/// connection.write_all(b"hello").await?;
/// let mut back = [0; 5];
/// connection.read_exact(&mut back).await?;
/// assert_eq!(&back, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct TestUpgrade {
    headers: HeaderMap,
    io: TokioIo<Upgraded>,
}

impl TestUpgrade {
    pub(super) fn new(headers: HeaderMap, io: Upgraded) -> Self {
        Self { headers, io: TokioIo::new(io) }
    }

    /// The headers of the response 101.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

impl AsyncRead for TestUpgrade {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for TestUpgrade {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for TestUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestUpgrade").field("headers", &self.headers).finish_non_exhaustive()
    }
}
