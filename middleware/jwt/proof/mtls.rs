//! Tokens that are bound to the certificate of the client (RFC 8705).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Extensions, HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use crate::extract::ClientCertificate;
use crate::middleware::credentials::RequestHead;
use crate::middleware::jwt::crypto::sha256;
use crate::middleware::jwt::error::JwtError;
use crate::middleware::jwt::refusal::JwtRefusal;

/// Tokens that are bound to the certificate of the client ([RFC 8705, 3](https://www.rfc-editor.org/rfc/rfc8705#section-3)), for
/// [`Jwt::mtls`](crate::middleware::jwt::Jwt::mtls).
///
/// A token whose claim `cnf` names a certificate (`x5t#S256`) is then accepted only on connections with that certificate. TLS has checked that the
/// client holds the private key. The issuer of the certificate does not matter.
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::{CertificateThumbprint, Mtls};
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// # let pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/middleware/jwt/tests/p256.pem"));
/// // TLS ends at the server of this crate:
/// let jwt = Jwt::<()>::es256(pem)?.mtls(Mtls::connection());
///
/// // TLS ends at another server, which inserts the certificate of the connection into the extensions of each request:
/// #[derive(Clone)]
/// struct Peer(Vec<u8>);
///
/// let mtls = Mtls::new(|_, extensions| extensions.get::<Peer>().map(|peer| CertificateThumbprint::of_der(&peer.0)));
/// # let _ = (jwt, mtls);
/// # Ok(())
/// # }
/// ```
pub struct Mtls {
    certificate: Box<Find>,
    required: bool,
}

type Find = dyn Fn(&HeaderMap, &Extensions) -> Option<CertificateThumbprint> + Send + Sync;

impl Mtls {
    /// Takes the certificate from a function of the headers and the extensions of a request.
    ///
    /// Trust a header only if the proxy sets or removes it on each request, and if clients can't reach this server directly.
    pub fn new(
        certificate: impl Fn(&HeaderMap, &Extensions) -> Option<CertificateThumbprint>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { certificate: Box::new(certificate), required: false }
    }

    /// Takes the certificate of the connection from the extensions of the request ([`ClientCertificate`]). The server of this crate inserts it there;
    /// other hosts may do so.
    pub fn connection() -> Self {
        Self::new(|_, extensions| {
            let certificate = extensions.get::<ClientCertificate>()?;
            Some(CertificateThumbprint::of_der(certificate.der()))
        })
    }

    /// Takes the certificate from a header of the proxy where TLS ends. The proxy must set or remove it on each request, and clients must not be able
    /// to reach this server directly.
    ///
    /// The value is the certificate in the form of [RFC 9440](https://www.rfc-editor.org/rfc/rfc9440) (`Client-Cert`), as percent-encoded PEM as nginx
    /// sends it (`$ssl_client_escaped_cert`), or its SHA-256 in hexadecimal.
    ///
    /// # Errors
    ///
    /// If it is not a header name.
    pub fn header(name: &str) -> Result<Self, JwtError> {
        let header =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| JwtError::CertificateHeader)?;
        Ok(Self::new(move |headers, _| {
            let mut values = headers.get_all(&header).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => CertificateThumbprint::of_header(value.as_bytes()),
                _ => None,
            }
        }))
    }

    /// Sets whether every token must be bound to a certificate. Defaults to `false`: tokens that are not bound are accepted as bearer tokens.
    #[must_use]
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// Checks that the connection has the certificate to which the token is bound.
    pub(crate) fn confirm(
        &self,
        request: &RequestHead<'_>,
        bound_to: Option<&str>,
    ) -> Result<(), JwtRefusal> {
        let Some(bound_to) = bound_to else {
            return if self.required { Err(JwtRefusal::Certificate) } else { Ok(()) };
        };
        let shown = (self.certificate)(request.headers(), request.extensions());
        match shown {
            Some(CertificateThumbprint(digest)) if URL_SAFE_NO_PAD.encode(digest) == bound_to => {
                Ok(())
            }
            _ => Err(JwtRefusal::Certificate),
        }
    }
}

impl fmt::Debug for Mtls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mtls").field("required", &self.required).finish_non_exhaustive()
    }
}

/// The SHA-256 digest of a certificate in DER, by which a token names it (`x5t#S256`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateThumbprint([u8; 32]);

impl CertificateThumbprint {
    /// The thumbprint of a certificate in DER.
    pub fn of_der(der: &[u8]) -> Self {
        Self(sha256(&[der]))
    }

    /// The thumbprint of a certificate in PEM. `None` if it is not PEM.
    pub fn of_pem(pem: &[u8]) -> Option<Self> {
        let body = pem.trim_ascii().strip_prefix(b"-----BEGIN CERTIFICATE-----")?;
        let body = body.strip_suffix(b"-----END CERTIFICATE-----")?;
        let body: Vec<u8> =
            body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(body).ok().filter(|der| !der.is_empty())?;
        Some(Self::of_der(&der))
    }

    /// A thumbprint in hexadecimal, as some proxies send it. `None` if it does not have 64 digits.
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        let mut digest = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let digit = char::from(*digit).to_digit(16)?;
                *byte = *byte << 4 | u8::try_from(digit).ok()?;
            }
        }
        Some(Self(digest))
    }

    /// Reads a header in one of the forms that proxies send.
    fn of_header(value: &[u8]) -> Option<Self> {
        // RFC 8941, 3.3.5: a byte sequence.
        if let Some(encoded) = value.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":")) {
            let der = STANDARD.decode(encoded).ok().filter(|der| !der.is_empty())?;
            return Some(Self::of_der(&der));
        }
        if let Some(known) = Self::from_hex(value) {
            return Some(known);
        }
        Self::of_pem(&percent_decode(value).collect::<Vec<u8>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9440, 2.1: the certificate of a client, as a byte sequence.
    const DER: &[u8] = b"a certificate that no one ever signed";

    fn request(values: &[&str]) -> http::Request<()> {
        let mut req = http::Request::new(());
        for value in values {
            req.headers_mut().append("client-cert", value.parse().unwrap());
        }
        req
    }

    #[test]
    fn every_form_of_a_header_names_the_same_certificate() {
        let base64 = STANDARD.encode(DER);
        let hex: String = sha256(&[DER]).iter().map(|byte| format!("{byte:02x}")).collect();
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let escaped = pem.replace('\n', "%0A").replace('+', "%2B").replace(' ', "%20");
        let folded = pem.trim_end().replace('\n', " ");
        let bound = URL_SAFE_NO_PAD.encode(sha256(&[DER]));
        let table: Vec<(Vec<String>, bool)> = vec![
            (vec![format!(":{base64}:")], true),
            (vec![hex.clone()], true),
            (vec![hex.to_uppercase()], true),
            (vec![escaped.clone()], true),
            (vec![folded], true),
            (vec![], false),
            (vec![String::new()], false),
            (vec![base64.clone()], false),
            (vec![format!(":{base64}")], false),
            (vec![format!(":{}:", &base64[1..])], false),
            (vec!["::".to_owned()], false),
            (vec![hex[1..].to_owned()], false),
            (vec![format!("{}g", &hex[1..])], false),
            (vec![escaped.replace("CERTIFICATE", "PUBLIC%20KEY")], false),
            (vec![format!(":{base64}:"), format!(":{base64}:")], false),
            (vec![format!(":{}:", STANDARD.encode(b"another"))], false),
        ];
        let mtls = Mtls::header("Client-Cert").unwrap();
        for (values, accepted) in table {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let req = request(&values);
            let confirmed = mtls.confirm(&RequestHead::of(&req), Some(&bound));
            assert_eq!(confirmed.is_ok(), accepted, "{values:?}");
        }
    }

    #[test]
    fn what_is_bound_must_be_shown_and_what_is_required_must_be_bound() {
        let bound = URL_SAFE_NO_PAD.encode(sha256(&[DER]));
        let shown = |req: &http::Request<()>, required, bound_to| {
            let mtls = Mtls::new(|_, extensions| {
                extensions.get::<Vec<u8>>().map(|der| CertificateThumbprint::of_der(der))
            });
            mtls.required(required).confirm(&RequestHead::of(req), bound_to)
        };
        let mut with = request(&[]);
        with.extensions_mut().insert(DER.to_vec());
        let without = request(&[]);
        let mut connected = request(&[]);
        connected.extensions_mut().insert(ClientCertificate::from_der(DER));
        let of_connection = |req: &http::Request<()>, bound_to| {
            Mtls::connection().confirm(&RequestHead::of(req), Some(bound_to))
        };
        let no = Err(JwtRefusal::Certificate);
        let table = [
            (shown(&with, false, Some(&*bound)), Ok(())),
            (shown(&with, true, Some(&*bound)), Ok(())),
            (shown(&without, false, Some(&*bound)), no),
            (shown(&with, false, Some(&bound[1..])), no),
            (shown(&with, false, Some("")), no),
            (shown(&with, false, Some(&bound.to_lowercase())), no),
            (shown(&with, false, Some(&format!("{bound}="))), no),
            (shown(&with, false, None), Ok(())),
            (shown(&with, true, None), no),
            (shown(&without, true, None), no),
            (of_connection(&connected, &*bound), Ok(())),
            (of_connection(&connected, &bound[1..]), no),
            (of_connection(&with, &*bound), no),
        ];
        for (number, (confirmed, expected)) in table.into_iter().enumerate() {
            assert_eq!(confirmed, expected, "{number}");
        }
        assert_eq!(Mtls::header("a b").map(drop).unwrap_err(), JwtError::CertificateHeader);
    }
}
