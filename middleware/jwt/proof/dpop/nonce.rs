//! Nonces that proofs must contain, so that no proof can be created in advance (RFC 9449, 8 and 9).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use crate::middleware::jwt::crypto::hmac_sha256;

/// The nonces of a secret: one for each period of time. Servers with the same secret have the same nonces.
pub(super) struct Nonces {
    secret: Box<[u8]>,
    /// In seconds.
    span: u64,
}

/// How fresh the nonce of a proof is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Of this period.
    Current,
    /// Of the previous period: accepted, but there is a newer one.
    Previous,
    /// Of another period, or of another secret.
    Unknown,
}

impl Nonces {
    /// The span is not zero.
    pub(super) fn new(secret: &[u8], span: u64) -> Self {
        Self { secret: Box::from(secret), span }
    }

    pub(super) fn set_span(&mut self, span: u64) {
        self.span = span;
    }

    /// The nonce for this time.
    pub(super) fn current(&self, now: u64) -> HeaderValue {
        // base64url is always a valid header value, so the default is never used.
        HeaderValue::try_from(self.of(now / self.span)).unwrap_or(HeaderValue::from_static(""))
    }

    pub(super) fn freshness(&self, nonce: &str, now: u64) -> Freshness {
        let span = now / self.span;
        if nonce == self.of(span) {
            Freshness::Current
        } else if span.checked_sub(1).is_some_and(|before| nonce == self.of(before)) {
            Freshness::Previous
        } else {
            Freshness::Unknown
        }
    }

    /// The nonce of a period. Without the secret it can't be predicted from earlier nonces.
    fn of(&self, span: u64) -> String {
        let mut message = *b"DPoP-Nonce\0\0\0\0\0\0\0\0";
        message[10..].copy_from_slice(&span.to_be_bytes());
        let digest = hmac_sha256(&self.secret, &message);
        URL_SAFE_NO_PAD.encode(&digest[..18])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_lives_for_its_span_and_the_next() {
        let nonces = Nonces::new(&[7; 32], 300);
        let text = |now| nonces.current(now).to_str().unwrap().to_owned();
        let first = text(3000);
        assert_eq!((first.len(), text(3299)), (24, first.clone()));
        for (now, expected) in [
            (0, Freshness::Unknown),
            (2999, Freshness::Unknown),
            (3000, Freshness::Current),
            (3299, Freshness::Current),
            (3300, Freshness::Previous),
            (3599, Freshness::Previous),
            (3600, Freshness::Unknown),
            (u64::MAX, Freshness::Unknown),
        ] {
            assert_eq!(nonces.freshness(&first, now), expected, "{now}");
        }
        for other in ["", "x", &first[1..], &first.to_lowercase(), &format!("{first}=")] {
            assert_eq!(nonces.freshness(other, 3000), Freshness::Unknown, "{other}");
        }
    }

    #[test]
    fn servers_with_one_secret_accept_each_others() {
        let (one, same, other) =
            (Nonces::new(&[7; 32], 300), Nonces::new(&[7; 32], 300), Nonces::new(&[8; 32], 300));
        assert_eq!(one.current(3000), same.current(3000));
        assert_ne!(one.current(3000), other.current(3000));
    }
}
