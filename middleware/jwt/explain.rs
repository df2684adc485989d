//! Which rule a token breaks, for the log.

use std::any::type_name;

use serde::de::{DeserializeOwned, IgnoredAny};
use tracing::Level;

use super::Jwt;
use super::keys::source::{self, Origin};
use super::refusal::JwtRefusal;
use super::token::claims::ClaimName;
use super::token::json::{self, Read};
use super::token::jws::CompactJws;
use crate::middleware::credentials::{Explanation, TRAILING_SLASH, one_of};

impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Logs a refusal as one event.
    pub(super) fn log(&self, refusal: JwtRefusal, explanation: &Explanation) {
        let Explanation { part, expected, hint } = explanation;
        let (part, expected) = (part.as_deref(), expected.as_deref());
        tracing::debug!(
            target: TARGET,
            reason = refusal.code(),
            part,
            expected,
            hint = *hint,
            "access token refused"
        );
    }

    /// Explains why a token is refused. It is read again here, so that accepted tokens pay nothing for it.
    pub(super) fn explain(&self, refusal: JwtRefusal, token: &[u8]) -> Explanation {
        if !tracing::enabled!(target: TARGET, Level::DEBUG) {
            return Explanation::default();
        }
        let payload = self.payload(token).unwrap_or_default();
        let mut read = Read::default();
        let _ = json::claims::<IgnoredAny>(&payload, &[], &mut read);
        let (policy, now) = (&self.policy, self.policy.now());
        let part = Explanation::part::<&'static str>;
        let after = |seconds: u64| format!("at least {seconds}");
        let before = |seconds: u64| format!("at most {seconds}");
        match refusal {
            JwtRefusal::Missing | JwtRefusal::Request => part("credentials"),
            JwtRefusal::CrossSite => part("sec-fetch-site"),
            JwtRefusal::TooLong => {
                part("length").expected(format!("at most {} bytes", self.longest.token))
            }
            JwtRefusal::Malformed => part("token").expected("a compact JWS of a JSON object"),
            JwtRefusal::Header => {
                part("header").expected("no `crit`, `b64`, `zip` and nested token")
            }
            // A claim that shows that it is not an access token.
            JwtRefusal::Type if policy.forbidden.iter().any(|name| read.has(name)) => {
                let found = policy.forbidden.iter().find(|name| read.has(name));
                part(found.unwrap_or(&"typ")).expected("absent, as in an access token")
            }
            JwtRefusal::Type if policy.types.is_empty() => {
                part("typ").expected("JWT, at+jwt or none")
            }
            JwtRefusal::Type => part("typ").expected(one_of(&policy.types)),
            JwtRefusal::Algorithm => part("alg").expected(self.algorithms(token)),
            JwtRefusal::Key if !policy.tenant_issuers.is_empty() => part("kid").expected(
                "the `kid` of exactly one key, which the issuer publishes for this tenant",
            ),
            JwtRefusal::Key => part("kid").expected("the `kid` of exactly one key of the issuer"),
            JwtRefusal::Signature => part("signature").expected("that of the key with this `kid`"),
            JwtRefusal::Claim(name) => part(name).expected(match name {
                "exp" | "nbf" | "iat" => "seconds since 1970, as a number",
                "aud" => "a string or a list of strings",
                "cnf" => "an object",
                _ => "a string",
            }),
            JwtRefusal::MissingClaim => {
                let expires = policy.needs_expiry.then_some("exp");
                let issued = policy.max_age.and(Some("iat"));
                let required = policy.required.iter().map(|name| &**name);
                let mut all = expires.into_iter().chain(issued).chain(required);
                let missing = all.find(|name| !read.has(name)).map(|name| name.to_owned());
                let one_of_them = (!policy.any_of.is_empty()).then(|| policy.any_of.join(" or "));
                let missing = missing.or(one_of_them);
                Explanation { part: missing.map(Into::into), ..part("").expected("present") }
            }
            JwtRefusal::Claims => part("claims").expected(type_name::<C>()),
            JwtRefusal::Expired => part("exp").expected(after(now.saturating_sub(policy.leeway))),
            JwtRefusal::NotYetValid => part("nbf").expected(before(now + policy.leeway)),
            JwtRefusal::IssuedInFuture => part("iat").expected(before(now + policy.leeway)),
            JwtRefusal::TooOld => {
                let oldest = policy.max_age.unwrap_or_default() + policy.leeway;
                part("iat").expected(after(now.saturating_sub(oldest)))
            }
            JwtRefusal::Issuer => {
                let issuers = self.issuers();
                if let Some(load_balancer) = &policy.load_balancer {
                    let name = if issuers.is_empty() { "signer" } else { "signer or iss" };
                    let signer = std::iter::once(&*load_balancer.signer);
                    return part(name).expected(one_of(signer.chain(issuers)));
                }
                let explanation = part("iss").expected(one_of(&issuers));
                explanation.slash(read.texts.get(ClaimName::Issuer), issuers)
            }
            JwtRefusal::Audience if policy.load_balancer.is_some() => {
                let client = policy.load_balancer.as_ref().map(|of| &*of.client);
                part("client").expected(one_of(client))
            }
            JwtRefusal::Audience if policy.audiences.is_empty() => {
                part("aud").expected("none, because no audience is configured; see `Jwt::audience`")
            }
            JwtRefusal::Audience => {
                let audiences = policy.audiences.iter().map(|name| &**name);
                let differs = |name: &str| match name.strip_suffix('/') {
                    Some(bare) => read.audience.contains(bare),
                    None => read.audience.contains(&format!("{name}/")),
                };
                let slash = policy.audiences.iter().find(|name| differs(name));
                let hint = slash.map(|_| TRAILING_SLASH);
                Explanation { hint, ..part("aud").expected(one_of(audiences)) }
            }
            JwtRefusal::Subject => part("sub").expected(one_of(&policy.subjects)),
            JwtRefusal::SenderConstrained => part("cnf").expected(match &self.proofs.dpop {
                Some(_) => "a token that is bound, and sent by the scheme DPoP with a proof",
                None => {
                    "a bearer token, because no proof is configured; see `Jwt::dpop`, `Jwt::mtls`"
                }
            }),
            JwtRefusal::Certificate => {
                part("x5t#S256").expected("the thumbprint of the certificate of the connection")
            }
            JwtRefusal::Custom => {
                let accepts = |exact: &json::Exact| {
                    let mut read = Read::default();
                    let exact = std::slice::from_ref(exact);
                    let _ = json::claims::<IgnoredAny>(&payload, exact, &mut read);
                    read.exact > 0
                };
                match policy.exact.iter().find(|exact| !accepts(exact)) {
                    Some(exact) => {
                        let found = json::text_of(&payload, &exact.name);
                        Explanation::part(exact.name.to_string())
                            .expected(exact.values.accepted())
                            .slash(found.as_deref(), exact.values.texts())
                    }
                    None => part("claims").expected("accepted by each `Jwt::check`"),
                }
            }
            JwtRefusal::Revoked => part("jti, sub").expected("not on a list of revoked tokens"),
            JwtRefusal::KeysUnavailable
            | JwtRefusal::RevocationUnavailable
            | JwtRefusal::ReplayUnavailable
            | JwtRefusal::TooManyProofs
            | JwtRefusal::Proof
            | JwtRefusal::Replay
            | JwtRefusal::Binding
            | JwtRefusal::Nonce => Explanation::default(),
        }
    }

    fn payload(&self, token: &[u8]) -> Option<Vec<u8>> {
        let compact = CompactJws::split(token, self.longest).ok()?.padded(self.policy.padded);
        compact.decode(compact.payload).ok()
    }

    /// The issuers whose tokens are accepted.
    fn issuers(&self) -> Vec<&str> {
        let tenants = self.policy.tenant_issuers.iter().copied();
        let configured = self.policy.issuers.iter().map(|name| &**name).chain(tenants);
        match &self.keys {
            Origin::Issuers(issuers) => issuers.iter().map(|(name, _)| &**name).collect(),
            #[cfg(feature = "jwks")]
            Origin::Remote(remote) => configured.chain(remote.issuer()).collect(),
            _ => configured.collect(),
        }
    }

    fn algorithms(&self, token: &[u8]) -> String {
        let named = || source::peek(token)?.issuer;
        let origin = match &self.keys {
            Origin::Issuers(issuers) => {
                let named = named();
                issuers.iter().find(|(name, _)| named.as_deref() == Some(name)).map(|(_, own)| own)
            }
            own => Some(own),
        };
        match origin {
            Some(Origin::Fixed(keys)) => one_of(keys.algorithms()),
            #[cfg(feature = "jwks")]
            Some(Origin::Remote(remote)) => one_of(remote.algorithms()),
            _ => "that of a key of the issuer".to_owned(),
        }
    }
}

/// As the manual page documents it.
const TARGET: &str = "tower_chain::middleware::jwt";
