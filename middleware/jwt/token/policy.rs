//! Which claims are accepted.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::claims::{ClaimName, Times};
use super::json::{Audience, Exact, LAST_SECOND, Read, object};
use super::jws::{CompactJws, same_type};
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
    /// Claims that a token must not have.
    pub(crate) forbidden: &'static [&'static str],
    /// Claims of which a token must have at least one. Empty if there is no such rule.
    pub(crate) any_of: &'static [&'static str],
    /// The claim `iss` of each tenant, with [`TENANT`] where its id is. Empty unless the issuer has tenants.
    pub(crate) tenant_issuers: &'static [&'static str],
    /// Whether the parts of a token are padded, against RFC 7515, 2.
    pub(crate) padded: bool,
    /// What the header of the token must contain, for tokens of AWS load balancers.
    pub(crate) load_balancer: Option<LoadBalancer>,
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
            forbidden: &[],
            any_of: &[],
            tenant_issuers: &[],
            padded: false,
            load_balancer: None,
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

    /// Checks all rules that need no key. The time of a token of a load balancer is in its header, which is therefore read as well.
    pub(crate) fn check(
        &self,
        compact: &CompactJws<'_>,
        read: &mut Read<'_>,
        now: u64,
    ) -> Result<(), JwtRefusal> {
        if let Some(load_balancer) = &self.load_balancer {
            let header = compact.decode(compact.header)?;
            let expires = load_balancer.check(&header, &self.issuers)?;
            read.times.expires = Some(read.times.expires.map_or(expires, |own| own.min(expires)));
        }
        self.times(&read.times, now)?;
        self.claims(read)
    }

    /// Checks the rules that do not depend on the time.
    fn claims(&self, read: &Read<'_>) -> Result<(), JwtRefusal> {
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
        if self.forbidden.iter().any(|name| read.has(name)) {
            return Err(JwtRefusal::Type);
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(|name| read.has(name)) {
            return Err(JwtRefusal::MissingClaim);
        }
        if !self.tenant_issuers.is_empty() {
            let issuer = text(ClaimName::Issuer);
            let of_tenant = |template: &&str| read.tenant_issuer(template).as_deref() == issuer;
            if read.tenant.is_none() || !self.tenant_issuers.iter().any(of_tenant) {
                return Err(JwtRefusal::Issuer);
            }
        }
        Ok(())
    }

    /// Checks that a key which the issuer publishes for some tenants alone is used for these. `issuer` is the member of this name of the JWK.
    pub(crate) fn key(&self, issuer: Option<&str>, read: &Read<'_>) -> Result<(), JwtRefusal> {
        let Some(issuer) = issuer.filter(|_| !self.tenant_issuers.is_empty()) else {
            return Ok(());
        };
        // Keys name the issuer of one version of the tokens, and sign both.
        let named = read.tenant_issuer(issuer);
        let of_tenant = |template: &&str| read.tenant_issuer(template) == named;
        if named.is_some() && self.tenant_issuers.iter().chain(ENTRA_V2).any(of_tenant) {
            Ok(())
        } else {
            Err(JwtRefusal::Key)
        }
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

impl Read<'_> {
    /// The issuer of the tenant that the token names.
    fn tenant_issuer(&self, template: &str) -> Option<String> {
        Some(template.replace(TENANT, self.tenant.as_deref()?))
    }
}

/// What an AWS load balancer writes into the header of its tokens.
pub(crate) struct LoadBalancer {
    /// The ARN of the load balancer.
    pub(crate) signer: Box<str>,
    /// The id of this application at its issuer.
    pub(crate) client: Box<str>,
}

impl LoadBalancer {
    /// Checks a decoded header, and returns the time at which the token expires. `issuers` are the accepted ones, or empty if each is.
    fn check(&self, header: &[u8], issuers: &[Box<str>]) -> Result<u64, JwtRefusal> {
        #[derive(Deserialize)]
        struct Header {
            signer: String,
            client: String,
            iss: Option<String>,
            exp: u64,
        }

        let header: Header = object(header).ok_or(JwtRefusal::Header)?;
        match () {
            () if !issuers.is_empty() && !one_of(header.iss.as_deref(), issuers) => {
                Err(JwtRefusal::Issuer)
            }
            () if *header.signer != *self.signer => Err(JwtRefusal::Issuer),
            () if *header.client != *self.client => Err(JwtRefusal::Audience),
            () if header.exp > LAST_SECOND => Err(JwtRefusal::Claim("exp")),
            () => Ok(header.exp),
        }
    }
}

fn one_of(value: Option<&str>, accepted: &[Box<str>]) -> bool {
    value.is_some_and(|value| accepted.iter().any(|one| **one == *value))
}

/// The types that are accepted by default: a plain JWT, and an access token (RFC 9068). DPoP proofs, logout tokens and so on have other types.
const PLAIN_TYPES: [&str; 2] = ["JWT", "at+jwt"];
/// Claims of ID tokens (OpenID Connect Core 1.0, 2 and 3.3.2.11).
pub(crate) const ID_TOKEN_CLAIMS: &[&str] = &["nonce", "at_hash", "c_hash"];
/// Where the id of the tenant is in an issuer, as Entra ID writes it.
const TENANT: &str = "{tenantid}";
/// The issuer of Entra ID for tokens of version 2.
pub(crate) const ENTRA_V2: &[&str] = &["https://login.microsoftonline.com/{tenantid}/v2.0"];
