//! Why a token is refused.

use std::fmt;

use http::StatusCode;

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
    /// There is no token.
    Missing,
    /// The place of the token is malformed or there twice, or tokens stand in more than one place.
    Request,
    /// Another site made the browser send its cookie.
    CrossSite,
    /// The token has too many bytes, or its header has.
    TooLong,
    /// The token is not a JWS in compact form with a JSON object in it, or a member is there twice.
    Malformed,
    /// The header asks for something that is not supported: `crit`, `b64`, `zip`, a nested token.
    Header,
    /// The header has a `typ` that is not accepted.
    Type,
    /// The algorithm is none that is accepted.
    Algorithm,
    /// No key fits, or more than one does.
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
    /// `nbf` is to come.
    NotYetValid,
    /// `iat` is to come.
    IssuedInFuture,
    /// `iat` is too long ago.
    TooOld,
    /// `iss` is none that is trusted.
    Issuer,
    /// `aud` does not name this application.
    Audience,
    /// `sub` is none that is accepted.
    Subject,
    /// The token is bound to a key (`cnf`), or must be, and nothing has shown that the sender holds it.
    SenderConstrained,
    /// The proof of possession is missing, malformed, too old, or for another request.
    Proof,
    /// The proof of possession was used before.
    Replay,
    /// The proof of possession is of another key than the token is bound to, or the token is bound to none.
    Binding,
    /// The proof of possession lacks the nonce that is asked for.
    Nonce,
    /// The request came without the certificate to which the token is bound, or the token is bound to none and must be.
    Certificate,
    /// A check of the application refused the token, or a claim is another than it must be.
    Custom,
    /// The token was revoked.
    Revoked,
    /// The keys could not be had.
    KeysUnavailable,
    /// Whether the token is revoked could not be found out.
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

    /// The status, and the error code of the challenge. There is no challenge where the same token may be accepted later.
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

    /// The text for the client. It holds nothing that the client sent.
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

impl std::error::Error for JwtRefusal {}
