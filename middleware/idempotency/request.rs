//! Reading a request, and its digests.

use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use sha2::{Digest, Sha256};

use crate::extract::{ClientUri, MaxBody, read_body};
use crate::{Body, Endpoint, Error, Next, Request};

/// The body of a request that was read to its end.
pub(super) struct ReadBody {
    pub(super) bytes: Bytes,
    pub(super) trailers: Option<HeaderMap>,
    fingerprint: Sha256,
}

impl ReadBody {
    /// Reads the body of a request, up to this limit or its own.
    pub(super) async fn of<N: Endpoint>(next: &mut Next<'_, N>, max: u64) -> Result<Self, Error> {
        let end: Arc<Mutex<End>> = Arc::default();
        let inner = std::mem::take(next.body_mut());
        let mut req = Request::new(Body::new(Watched { inner, end: end.clone() }));
        if let Some(length) = next.headers().get(CONTENT_LENGTH) {
            req.headers_mut().insert(CONTENT_LENGTH, length.clone());
        }
        let own = MaxBody::of(next.extensions()).limit().unwrap_or(u64::MAX);
        req.extensions_mut().insert(MaxBody::bytes(own.min(max)));
        let bytes = read_body(&mut req).await?;
        let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
        let End { trailers, digest } = std::mem::take(&mut *end);
        Ok(Self { bytes, trailers, fingerprint: digest })
    }

    /// The digest of the body, and of what changes its meaning: the query, the type and the encoding.
    pub(super) fn fingerprint(&self, uri: &Uri, headers: &HeaderMap) -> [u8; 32] {
        let mut digest = Sha256::new();
        part(&mut digest, uri.query().unwrap_or_default().as_bytes());
        for name in [CONTENT_TYPE, CONTENT_ENCODING] {
            let values = headers.get_all(name);
            digest.update((values.iter().count() as u64).to_le_bytes());
            values.iter().for_each(|value| part(&mut digest, value.as_bytes()));
        }
        part(&mut digest, &self.fingerprint.clone().finalize());
        digest.finalize().into()
    }
}

/// The URI that the client sent.
pub(super) fn client_uri<'n, N: Endpoint>(next: &'n Next<'_, N>) -> &'n Uri {
    ClientUri::of(next.uri(), next.extensions())
}

/// A digest of several parts, which does not depend on how they could be joined.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|bytes| part(&mut digest, bytes));
    digest.finalize().into()
}

/// The first half of a digest.
pub(super) fn half(digest: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// A number that no other request has, of any server. It does not have to be secret.
pub(super) fn owner() -> [u8; 16] {
    static SERVER: LazyLock<[u64; 2]> = LazyLock::new(|| {
        // The keys of the standard library's hash are random, from the operating system.
        [RandomState::new().hash_one(1_u8), RandomState::new().hash_one(2_u8)]
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let [a, b] = *SERVER;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    half(digest(&[&a.to_le_bytes(), &b.to_le_bytes(), &count.to_le_bytes()]))
}

fn part(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

/// What a body was when it ended.
#[derive(Default)]
struct End {
    digest: Sha256,
    trailers: Option<HeaderMap>,
}

/// A body whose digest and trailers are recorded while it is read.
struct Watched {
    inner: Body,
    end: Arc<Mutex<End>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(data) = frame.data_ref() {
                end.digest.update(data);
            } else if let Some(trailers) = frame.trailers_ref() {
                end.trailers = Some(trailers.clone());
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
