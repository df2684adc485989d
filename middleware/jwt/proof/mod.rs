//! Proof of possession: what a token is bound to (RFC 7800), and what a sender must show for it.

pub(crate) mod dpop;
pub(crate) mod mtls;

use self::dpop::Dpop;
use self::mtls::Mtls;
use super::refusal::JwtRefusal;
use super::token::confirmation::Confirmation;
use crate::middleware::credentials::RequestHead;

/// The proofs of possession that a step accepts.
#[derive(Default)]
pub(crate) struct Proofs {
    pub(crate) dpop: Option<Dpop>,
    pub(crate) mtls: Option<Mtls>,
}

impl Proofs {
    /// Whether all that a token is bound to can be proven.
    pub(crate) fn cover(&self, bound: &Confirmation) -> bool {
        let key = self.dpop.is_some() || bound.key.is_none();
        let certificate = self.mtls.is_some() || bound.certificate.is_none();
        key && certificate && !bound.other
    }

    /// Whether tokens without a DPoP proof are refused.
    pub(crate) fn require_dpop(&self) -> bool {
        self.dpop.as_ref().is_some_and(Dpop::is_required)
    }

    /// Whether tokens that are not bound are refused.
    pub(crate) fn require_binding(&self) -> bool {
        self.require_dpop() || self.mtls.as_ref().is_some_and(Mtls::is_required)
    }

    /// Checks what the sender of a valid token shows without a DPoP proof. `with_proof` is whether the token came by the scheme `DPoP`; the proof
    /// must then be [checked](Dpop::prove) by what this returns.
    pub(crate) fn confirm(
        &self,
        head: &RequestHead<'_>,
        with_proof: bool,
        bound: Option<&Confirmation>,
    ) -> Result<Option<&Dpop>, JwtRefusal> {
        if let Some(mtls) = &self.mtls {
            mtls.confirm(head, bound.and_then(|bound| bound.certificate.as_deref()))?;
        }
        let has_key = bound.is_some_and(|bound| bound.key.is_some());
        match &self.dpop {
            Some(dpop) if with_proof => Ok(Some(dpop)),
            // RFC 9449, 7.2: a bound token is not a bearer token.
            _ if has_key || self.require_dpop() => Err(JwtRefusal::SenderConstrained),
            _ => Ok(None),
        }
    }
}
