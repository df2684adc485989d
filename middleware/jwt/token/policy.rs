//! Which claims are accepted.

use std::time::{Duration, SystemTime};

use super::claims::{ClaimName, Times};
use super::json::{Audience, Exact, Read};
use super::jws::same_type;
use crate::middleware::jwt::refusal::JwtRefusal;

/// The rules for every token.
pub(crate) struct ClaimsPolicy {
    pub(crate) issuers: Vec<Box<str>>,
    pub(crate) audiences: Vec<Box<str>>,
    pub(crate) any_audience: bool,
    pub(crate) subjects: Vec<Box<str>>,
    pub(crate) types: Vec<Box<str>>,
    pub(crate) required: Vec<Box<str>>,
    pub(crate) exact: Vec<Exact>,
    pub(crate) leeway: u64,
    pub(crate) max_age: Option<u64>,
    pub(crate) needs_expiry: bool,
    pub(crate) access_token: bool,
    pub(crate) clock: Option<TokenClock>,
}

pub(crate) type TokenClock = Box<dyn Fn() -> SystemTime + Send + Sync>;

impl Default for ClaimsPolicy {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            any_audience: false,
            subjects: Vec::new(),
            types: Vec::new(),
            required: Vec::new(),
            exact: Vec::new(),
            leeway: 60,
            max_age: None,
            needs_expiry: true,
            access_token: false,
            clock: None,
        }
    }
}

impl ClaimsPolicy {
    pub(crate) fn now(&self) -> u64 {
        let now = self.clock.as_ref().map_or_else(SystemTime::now, |clock| clock());
        now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }

    /// Checks the `typ` of the header (RFC 8725, 3.11).
    pub(crate) fn typ(&self, typ: Option<&str>) -> Result<(), JwtRefusal> {
        let accepted = match typ {
            None => self.types.is_empty(),
            Some(typ) if self.types.is_empty() => {
                PLAIN_TYPES.iter().any(|plain| same_type(plain, typ))
            }
            Some(typ) => self.types.iter().any(|accepted| same_type(accepted, typ)),
        };
        if accepted { Ok(()) } else { Err(JwtRefusal::Type) }
    }

    /// Checks the rules that do not depend on the time.
    pub(crate) fn claims(&self, read: &Read<'_>) -> Result<(), JwtRefusal> {
        let text = |name| read.texts.get(name);
        if !self.issuers.is_empty() && !one_of(text(ClaimName::Issuer), &self.issuers) {
            return Err(JwtRefusal::Issuer);
        }
        // RFC 7519, 4.1.3: a recipient that is not in the audience must refuse the token.
        let accepted = match &read.audience {
            Audience::Absent => self.audiences.is_empty(),
            _ if self.any_audience => true,
            audience => self.audiences.iter().any(|name| audience.contains(name)),
        };
        if !accepted {
            return Err(JwtRefusal::Audience);
        }
        if !self.subjects.is_empty() && !one_of(text(ClaimName::Subject), &self.subjects) {
            return Err(JwtRefusal::Subject);
        }
        if self.required.iter().any(|name| !read.has(name)) {
            return Err(JwtRefusal::MissingClaim);
        }
        if read.exact < self.exact.len() {
            return Err(JwtRefusal::Custom);
        }
        // RFC 9068, 2.2.3.
        if self.access_token && read.odd_scope {
            return Err(JwtRefusal::Claim("scope"));
        }
        // RFC 8725, 3.12: an ID token is not an access token.
        if self.access_token && ID_TOKEN_CLAIMS.iter().any(|name| read.has(name)) {
            return Err(JwtRefusal::Type);
        }
        Ok(())
    }

    /// Checks the rules that depend on the time. They are checked again for a cached token.
    pub(crate) fn times(&self, token: &Times, now: u64) -> Result<(), JwtRefusal> {
        let latest = now.saturating_add(self.leeway);
        match token.expires {
            Some(expires) if now >= expires.saturating_add(self.leeway) => {
                return Err(JwtRefusal::Expired);
            }
            None if self.needs_expiry => return Err(JwtRefusal::MissingClaim),
            _ => {}
        }
        if token.not_before.is_some_and(|not_before| latest < not_before) {
            return Err(JwtRefusal::NotYetValid);
        }
        if token.issued.is_some_and(|issued| latest < issued) {
            return Err(JwtRefusal::IssuedInFuture);
        }
        if let Some(max_age) = self.max_age {
            let issued = token.issued.ok_or(JwtRefusal::MissingClaim)?;
            if now > issued.saturating_add(max_age).saturating_add(self.leeway) {
                return Err(JwtRefusal::TooOld);
            }
        }
        Ok(())
    }
}

fn one_of(value: Option<&str>, accepted: &[Box<str>]) -> bool {
    value.is_some_and(|value| accepted.iter().any(|one| **one == *value))
}

/// The types that are accepted by default: a plain JWT, and an access token (RFC 9068). DPoP proofs, logout tokens and so on have other types.
const PLAIN_TYPES: [&str; 2] = ["JWT", "at+jwt"];
const ID_TOKEN_CLAIMS: [&str; 3] = ["nonce", "at_hash", "c_hash"];
