//! The names of the rules, and their remedies.

/// A rule of the [audit](crate::audit). The [page of rules](crate::guide::audit) explains each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// `authentication-before-limit`
    AuthenticationBeforeLimit,
    /// `unverified-limit`
    UnverifiedLimit,
    /// `forwarded-address`
    ForwardedAddress,
    /// `shared-responses`
    SharedResponses,
    /// `open-write`
    OpenWrite,
    /// `cookie-without-origin-check`
    CookieWithoutOriginCheck,
    /// `unbounded-body`
    UnboundedBody,
    /// `refused-preflight`
    RefusedPreflight,
    /// `penalty-of-another`
    PenaltyOfAnother,
    /// `unlogged-refusal`
    UnloggedRefusal,
    /// `limiter-twice`
    LimiterTwice,
    /// `signature-of-changed-body`
    SignatureOfChangedBody,
    /// `shared-secret`
    SharedSecret,
    /// `check-of-unmatched`
    CheckOfUnmatched,
    /// `unprotected-errors`
    UnprotectedErrors,
    /// `unknown-rule`
    UnknownRule,
}

impl Rule {
    /// All rules, in the order of the page.
    pub const ALL: [Self; 16] = [
        Self::AuthenticationBeforeLimit,
        Self::UnverifiedLimit,
        Self::ForwardedAddress,
        Self::SharedResponses,
        Self::OpenWrite,
        Self::CookieWithoutOriginCheck,
        Self::UnboundedBody,
        Self::RefusedPreflight,
        Self::PenaltyOfAnother,
        Self::UnloggedRefusal,
        Self::LimiterTwice,
        Self::SignatureOfChangedBody,
        Self::SharedSecret,
        Self::CheckOfUnmatched,
        Self::UnprotectedErrors,
        Self::UnknownRule,
    ];

    /// The name, for [`Chain::allow`](crate::Chain::allow).
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthenticationBeforeLimit => "authentication-before-limit",
            Self::UnverifiedLimit => "unverified-limit",
            Self::ForwardedAddress => "forwarded-address",
            Self::SharedResponses => "shared-responses",
            Self::OpenWrite => "open-write",
            Self::CookieWithoutOriginCheck => "cookie-without-origin-check",
            Self::UnboundedBody => "unbounded-body",
            Self::RefusedPreflight => "refused-preflight",
            Self::PenaltyOfAnother => "penalty-of-another",
            Self::UnloggedRefusal => "unlogged-refusal",
            Self::LimiterTwice => "limiter-twice",
            Self::SignatureOfChangedBody => "signature-of-changed-body",
            Self::SharedSecret => "shared-secret",
            Self::CheckOfUnmatched => "check-of-unmatched",
            Self::UnprotectedErrors => "unprotected-errors",
            Self::UnknownRule => "unknown-rule",
        }
    }

    /// What to change.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::AuthenticationBeforeLimit => {
                "put a `RateLimit` per client before the authentication; a limit per account stays after it"
            }
            Self::UnverifiedLimit => {
                "add a policy per client to the limiter, or put it after the step that verifies the value"
            }
            Self::ForwardedAddress => {
                "provide `TrustedProxies` with the addresses of the proxies, and limit by `LimitKey::client()`"
            }
            Self::SharedResponses => {
                "put it after the authentication, and store responses per principal"
            }
            Self::OpenWrite => {
                "put the authentication or a guard before the route: a step covers only what is written after it"
            }
            Self::CookieWithoutOriginCheck => {
                "add a check of the origin, such as `tower_http::csrf::CsrfLayer` with `declared(.., |to| to.kind(Kind::ChecksOrigin))`"
            }
            Self::UnboundedBody => "put a `BodyLimit` before it",
            Self::RefusedPreflight => {
                "add it with `always`, before all steps that refuse requests: a preflight has no credentials"
            }
            Self::PenaltyOfAnother => "give the penalty the key of the policy",
            Self::UnloggedRefusal => "add it with `always`, before all steps that refuse requests",
            Self::LimiterTwice => {
                "use a limiter once on a path, and give each limiter of a store its own name"
            }
            Self::SignatureOfChangedBody => {
                "verify the signature first: it is over the bytes that the client sent"
            }
            Self::SharedSecret => {
                "give each step a secret of its own: one that leaks then opens only one door"
            }
            Self::CheckOfUnmatched => {
                "add it with `use_`: by `always` it also refuses preflights, and unknown paths are a 401 instead of a 404"
            }
            Self::UnprotectedErrors => {
                "add it with `always`: by `use_` the 404 and 405 of the chain have no such header fields"
            }
            Self::UnknownRule => "name a rule of the page of rules, and a reason",
        }
    }
}
