//! The certificate of the client.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use crate::Error;

/// The certificate with which the client authenticated itself in the TLS handshake (mutual TLS).
///
/// After verifying it, the server inserts it in the extensions of each request of the connection. A host other than the server of this crate must
/// insert it itself, and only if it has verified it. Clones share the bytes.
///
/// # Errors
///
/// As an extractor it refuses with 403 if the client sent no certificate. `Option<ClientCertificate>` accepts that.
///
/// # Example
///
/// ```
/// use tower_chain::extract::ClientCertificate;
/// use tower_chain::{Chain, StatusCode, Error};
///
/// const PARTNER: &[u8] = b"the certificate of a partner, in DER";
///
/// async fn partner(certificate: ClientCertificate) -> Result<(), Error> {
///     match certificate.der() == PARTNER {
///         true => Ok(()),
///         false => Err(Error::new(StatusCode::FORBIDDEN, "This certificate is not known")),
///     }
/// }
///
/// let chain = Chain::new().guard(partner).get(async || "in");
/// # let _ = chain.build();
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate(Arc<[Bytes]>);

impl ClientCertificate {
    /// A certificate in DER, without intermediate certificates.
    pub fn from_der(der: impl Into<Bytes>) -> Self {
        Self(Arc::new([der.into()]))
    }

    /// A chain of certificates in DER, that of the client first; `None` if there is none.
    pub fn from_chain<B: Into<Bytes>>(chain: impl IntoIterator<Item = B>) -> Option<Self> {
        let chain: Arc<[Bytes]> = chain.into_iter().map(Into::into).collect();
        (!chain.is_empty()).then_some(Self(chain))
    }

    /// The certificate of the client, in DER. Its SHA-256 digest is the value of `x5t#S256`
    /// ([RFC 8705, 3.1](https://www.rfc-editor.org/rfc/rfc8705#section-3.1)).
    pub fn der(&self) -> &[u8] {
        self.0.first().map_or(&[], |der| der)
    }

    /// The certificates that the client sent, in DER, its own first.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.0.iter().map(|der| &**der)
    }
}

impl<S: Sync> FromRequestParts<S> for ClientCertificate {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let certificate = parts.extensions.get::<Self>().cloned();
        certificate.ok_or_else(|| {
            Error::new(StatusCode::FORBIDDEN, "A certificate of the client is needed")
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for ClientCertificate {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// Leaves the names out, which may be personal data.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("chain", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, Chain, Request};

    #[tokio::test]
    async fn a_request_without_a_certificate_is_refused_unless_it_is_optional() {
        let chain = Chain::new()
            .at("/needed", |c| c.get(async |c: ClientCertificate| c.der().to_vec()))
            .at("/optional", |c| {
                c.get(async |c: Option<ClientCertificate>| c.is_some().to_string())
            })
            .build();
        for (path, with, status) in
            [("/needed", false, 403), ("/needed", true, 200), ("/optional", false, 200)]
        {
            let mut req = Request::new(Body::empty());
            *req.uri_mut() = http::Uri::from_static(path);
            if with {
                req.extensions_mut().insert(ClientCertificate::from_der(&b"der"[..]));
            }
            assert_eq!(chain.handle(req).await.status(), status, "{path} {with}");
        }
    }

    #[test]
    fn a_chain_has_at_least_one_certificate() {
        assert_eq!(ClientCertificate::from_chain::<Bytes>([]), None);
        let chain = ClientCertificate::from_chain(["leaf", "issuer"]).unwrap();
        assert_eq!(chain.der(), b"leaf");
        assert_eq!(chain.chain().collect::<Vec<_>>(), [b"leaf".as_slice(), b"issuer"]);
        assert!(!format!("{chain:?}").contains("leaf"));
    }
}
