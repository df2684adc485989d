//! Why a request is refused.

use std::fmt;

use http::StatusCode;

use crate::respond::ErrorStatus;

/// Why a request was refused. It is the [source](crate::Error::source) of the error, for logs, metrics and `on_error`; the client sees the
/// status, the challenge and a fixed text.
///
/// # Example
///
/// ```
/// use tower_chain::Error;
/// use tower_chain::middleware::jwt::JwtRefusal;
///
/// fn reason(error: &Error) -> Option<&'static str> {
///     Some(error.source()?.downcast_ref::<JwtRefusal>()?.code())
/// }
/// # let _ = reason;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JwtRefusal {
    /// The request has no token.
    Missing,
    /// The field with the token is malformed or present twice, or the request has tokens in two sources.
    Request,
    /// Another site made the browser send its cookie.
    CrossSite,
    /// The token or its header has too many bytes.
    TooLong,
    /// The token is not a JWS in compact form with a JSON object as its payload, or a member is present twice.
    Malformed,
    /// The header requires an unsupported feature: `crit`, `b64`, `zip`, or a nested token.
    Header,
    /// The header has a `typ` that is not accepted.
    Type,
    /// The algorithm is not accepted.
    Algorithm,
    /// No key fits the header, or more than one does.
    Key,
    /// The signature is wrong.
    Signature,
    /// A registered claim has the wrong type or is out of range.
    Claim(&'static str),
    /// A claim that is required is missing.
    MissingClaim,
    /// The claims do not fit the type of the application.
    Claims,
    /// `exp` has passed.
    Expired,
    /// `nbf` is in the future.
    NotYetValid,
    /// `iat` is in the future.
    IssuedInFuture,
    /// `iat` is too long ago.
    TooOld,
    /// `iss` is not a trusted issuer.
    Issuer,
    /// `aud` does not name this application.
    Audience,
    /// `sub` is not an accepted subject.
    Subject,
    /// The token is bound to a key (`cnf`), or must be, and the request does not prove that the sender holds the key.
    SenderConstrained,
    /// The proof of possession is missing, malformed, too old, or for another request.
    Proof,
    /// The proof of possession was used before.
    Replay,
    /// The key of the proof is not the key to which the token is bound, or the token is not bound.
    Binding,
    /// The proof of possession does not contain the required nonce.
    Nonce,
    /// The connection does not have the certificate to which the token is bound, or the token must be bound and is not.
    Certificate,
    /// A check of the application refused the token, or a claim does not have a required value.
    Custom,
    /// The token was revoked.
    Revoked,
    /// The keys could not be fetched.
    KeysUnavailable,
    /// Whether the token is revoked could not be checked.
    RevocationUnavailable,
    /// Whether the proof was used before could not be checked: the store is full, or did not answer.
    ReplayUnavailable,
    /// The key has used so many proofs lately that one more would take the capacity of other clients.
    TooManyProofs,
}

impl JwtRefusal {
    /// A short name that never changes, for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Request => "invalid_request",
            Self::CrossSite => "cross_site",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Type => "type",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claim(_) => "invalid_claim",
            Self::MissingClaim => "missing_claim",
            Self::Claims => "claims",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::TooOld => "too_old",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Subject => "subject",
            Self::SenderConstrained => "sender_constrained",
            Self::Proof => "dpop_proof",
            Self::Replay => "dpop_replay",
            Self::Binding => "dpop_binding",
            Self::Nonce => "dpop_nonce",
            Self::Certificate => "certificate",
            Self::Custom => "custom",
            Self::Revoked => "revoked",
            Self::KeysUnavailable => "keys_unavailable",
            Self::RevocationUnavailable => "revocation_unavailable",
            Self::ReplayUnavailable => "replay_unavailable",
            Self::TooManyProofs => "too_many_proofs",
        }
    }

    /// The status, and the error code of the challenge. `None` means no challenge, because the same token may be accepted later.
    pub(crate) fn status_and_code(self) -> (StatusCode, Option<&'static str>) {
        match self {
            Self::KeysUnavailable | Self::RevocationUnavailable | Self::ReplayUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, None)
            }
            Self::TooManyProofs => (StatusCode::TOO_MANY_REQUESTS, None),
            // RFC 9449, 7.1 and 9.
            Self::Proof | Self::Replay => (StatusCode::UNAUTHORIZED, Some("invalid_dpop_proof")),
            Self::Nonce => (StatusCode::UNAUTHORIZED, Some("use_dpop_nonce")),
            _ => (StatusCode::UNAUTHORIZED, Some("invalid_token")),
        }
    }

    /// The text for the client. It does not contain anything that the client sent.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Missing => "An access token is required",
            Self::Request => "The access token is sent in a malformed way",
            Self::CrossSite => "The request was made by another site",
            Self::TooLong => "The access token is too long",
            Self::Malformed => "The access token is malformed",
            Self::Header | Self::Type => "The access token is of an unsupported kind",
            Self::Algorithm => "The algorithm of the access token is not accepted",
            Self::Key => "The key of the access token is unknown",
            Self::Signature => "The signature of the access token is invalid",
            Self::Claim(_) => "A claim of the access token is invalid",
            Self::MissingClaim => "The access token lacks a required claim",
            Self::Claims | Self::Custom => "The claims of the access token are not accepted",
            Self::Expired => "The access token expired",
            Self::NotYetValid | Self::IssuedInFuture => "The access token is not valid yet",
            Self::TooOld => "The access token is too old",
            Self::Issuer => "The issuer of the access token is not accepted",
            Self::Audience => "The audience of the access token is not accepted",
            Self::Subject => "The subject of the access token is not accepted",
            Self::SenderConstrained => "The access token requires a proof of possession",
            Self::Proof => "The DPoP proof is not valid",
            Self::Replay => "The DPoP proof was used before",
            Self::Binding => "The access token is not bound to the key of the DPoP proof",
            Self::Nonce => "The DPoP proof must hold the nonce of this response",
            Self::Certificate => "The access token is not bound to the certificate of the client",
            Self::Revoked => "The access token was revoked",
            Self::KeysUnavailable | Self::RevocationUnavailable | Self::ReplayUnavailable => {
                "The access token can't be verified now"
            }
            Self::TooManyProofs => "The key has signed too many DPoP proofs lately",
        }
    }
}

impl fmt::Display for JwtRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())?;
        match self {
            Self::Claim(name) => write!(f, ": {name}"),
            _ => Ok(()),
        }
    }
}

/// By `?`, a refusal of [`Jwt::verify`](super::Jwt::verify) is the 401, 429 or 503 that the step would answer, without the parameters of its challenge.
impl std::error::Error for JwtRefusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        const NO_STORE: (&str, &str) = ("cache-control", "no-store");
        const LATER: (&str, &str) = ("retry-after", "5");
        const REFUSED: &ErrorStatus =
            &ErrorStatus::new(StatusCode::UNAUTHORIZED, "The access token is not valid")
                .headers(&[("www-authenticate", "Bearer error=\"invalid_token\""), NO_STORE]);
        const TOO_MANY: &ErrorStatus =
            &ErrorStatus::new(StatusCode::TOO_MANY_REQUESTS, "Too many DPoP proofs")
                .headers(&[LATER, NO_STORE]);
        const UNAVAILABLE: &ErrorStatus = &ErrorStatus::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The access token can't be verified",
        )
        .headers(&[LATER, NO_STORE]);
        Some(match self.status_and_code().0 {
            StatusCode::SERVICE_UNAVAILABLE => UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS => TOO_MANY,
            _ => REFUSED,
        })
    }
}
