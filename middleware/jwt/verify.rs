//! From the text of a token to its claims.

use serde::de::{DeserializeOwned, IgnoredAny};

use super::Jwt;
use super::keys::Keys;
use super::keys::key::Key;
use super::keys::source::{self, KeyQuery, LoggedError, Origin};
use super::refusal::JwtRefusal;
use super::revocation::Revocation;
use super::token::claims::{ClaimName, Claims, RegisteredClaims};
use super::token::json::{self, Read};
use super::token::jws::{CompactJws, JoseHeader};
use crate::middleware::credentials::RequestHead;

impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Verifies a token that is not in the head of a request, such as one in the first message of a WebSocket.
    ///
    /// Without a request the sender can't prove anything. A bound token is therefore refused, and if proofs or certificates are required
    /// ([`Dpop::required`](super::Dpop::required), [`Mtls::required`](super::Mtls::required)), every other token as well.
    ///
    /// # Errors
    ///
    /// If the token is refused, or could not be verified. In a handler, `?` makes it a 401, 429 or 503.
    pub async fn verify(&self, token: impl AsRef<[u8]>) -> Result<Claims<C>, JwtRefusal> {
        let claims = self.verify_token(None, token.as_ref()).await?;
        // RFC 9449, 7.2 and RFC 8705, 3: a bound token is not a bearer token.
        let bound = Claims::registered(&claims).confirmation().is_some();
        if bound || self.proofs.require_binding() {
            return Err(JwtRefusal::SenderConstrained);
        }
        Ok(claims)
    }

    /// Verifies a token, whatever its source. Proofs of possession are checked elsewhere.
    pub(super) async fn verify_token(
        &self,
        request: Option<RequestHead<'_>>,
        token: &[u8],
    ) -> Result<Claims<C>, JwtRefusal> {
        // First, so that garbage costs nothing.
        let compact = CompactJws::split(token, self.longest)?.padded(self.policy.padded);
        let (source, issuer) = match &self.keys {
            Origin::Issuers(issuers) => {
                let named = source::peek(token).ok_or(JwtRefusal::Malformed)?.issuer;
                let (name, source) = named
                    .and_then(|named| issuers.iter().find(|(name, _)| **name == *named))
                    .ok_or(JwtRefusal::Issuer)?;
                (source, Some(&**name))
            }
            source => (source, None),
        };
        let claims = match source {
            Origin::Fixed(keys) => self.verify_with(keys, issuer, token, &compact),
            Origin::Chosen(choose) => {
                self.check_before_fetch(&compact)?;
                let keys = choose(&KeyQuery { request, token }).await;
                let keys = keys.map_err(|error| {
                    if !error.is::<LoggedError>() {
                        tracing::warn!(error, "the keys could not be resolved");
                    }
                    JwtRefusal::KeysUnavailable
                })?;
                self.verify_with(&keys.ok_or(JwtRefusal::Key)?, issuer, token, &compact)
            }
            #[cfg(feature = "jwks")]
            Origin::Remote(remote) => {
                let issuer = issuer.or(remote.issuer());
                if let Some(local) = remote.local() {
                    match self.verify_with(local, issuer, token, &compact) {
                        // No local key has signed it.
                        Err(JwtRefusal::Key | JwtRefusal::Algorithm | JwtRefusal::Signature) => {}
                        verified => return self.not_revoked(verified?).await,
                    }
                }
                let keys = remote.keys().await?;
                match self.verify_with(&keys, issuer, token, &compact) {
                    // An issuer that lost its keys, such as one that was restarted, may have a new key under a known `kid`.
                    Err(
                        refusal @ (JwtRefusal::Key | JwtRefusal::Algorithm | JwtRefusal::Signature),
                    ) => {
                        let named = refusal != JwtRefusal::Signature;
                        if !self.may_be_new(remote, issuer, token, named) {
                            return Err(refusal);
                        }
                        match remote.newer_than(&keys).await {
                            Some(newer) => self.verify_with(&newer, issuer, token, &compact),
                            None => Err(refusal),
                        }
                    }
                    verified => verified,
                }
            }
            Origin::Issuers(_) => Err(JwtRefusal::Issuer),
        }?;
        self.not_revoked(claims).await
    }

    /// Refuses a token of a load balancer that no key can make valid. A client that made up its `kid` would otherwise cause a fetch, and use up the fetches for
    /// tokens of others.
    fn check_before_fetch(&self, compact: &CompactJws<'_>) -> Result<(), JwtRefusal> {
        if self.policy.load_balancer.is_none() {
            return Ok(());
        }
        let header = compact.decode(compact.header)?;
        self.policy.typ(JoseHeader::read(&header)?.typ.as_deref())?;
        let payload = compact.decode(compact.payload)?;
        let mut read = Read::default();
        // The type of the application reads verified claims only.
        json::claims::<IgnoredAny>(&payload, &self.policy.exact, &mut read)?;
        self.policy.check(compact, &mut read, self.policy.now())
    }

    /// Refuses a valid token that is revoked.
    async fn not_revoked(&self, claims: Claims<C>) -> Result<Claims<C>, JwtRefusal> {
        for revocation in &self.revocations {
            let revoked = match revocation {
                Revocation::Denylist(list) => list.is_revoked(Claims::registered(&claims)),
                Revocation::Hook(ask) => ask(claims.clone()).await.map_err(|error| {
                    tracing::warn!(error, "could not check whether a token is revoked");
                    JwtRefusal::RevocationUnavailable
                })?,
            };
            if revoked {
                return Err(JwtRefusal::Revoked);
            }
        }
        Ok(claims)
    }

    /// Whether the issuer may have published the key of a token since the last fetch. A token that would be refused anyway causes no fetch. `named` is
    /// whether the token must name its key.
    #[cfg(feature = "jwks")]
    fn may_be_new(
        &self,
        remote: &super::keys::jwks::JwksClient,
        issuer: Option<&str>,
        token: &[u8],
        named: bool,
    ) -> bool {
        let Some(peeked) = source::peek(token) else { return false };
        let trusted = |name: &str| peeked.issuer.as_deref() == Some(name);
        (peeked.kid.is_some() || !named)
            && remote.accepts(peeked.algorithm)
            && issuer.is_none_or(trusted)
            && (self.policy.issuers.is_empty()
                || self.policy.issuers.iter().any(|name| trusted(name)))
    }

    /// Fetches the keys of each issuer now, instead of with the first request. Does nothing for keys that are not fetched.
    ///
    /// # Errors
    ///
    /// If the keys of an issuer could not be fetched. The next request tries again.
    #[cfg(feature = "jwks")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub async fn warm_up(&self) -> Result<(), JwtRefusal> {
        let sources = match &self.keys {
            Origin::Issuers(issuers) => issuers.iter().map(|(_, source)| source).collect(),
            source => vec![source],
        };
        for source in sources {
            if let Origin::Remote(remote) = source {
                remote.keys().await?;
            }
        }
        Ok(())
    }

    /// A cached token is verified already. What may have changed since is checked again: the times, and whether its key is still trusted.
    fn verify_with(
        &self,
        keys: &Keys,
        issuer: Option<&str>,
        token: &[u8],
        compact: &CompactJws<'_>,
    ) -> Result<Claims<C>, JwtRefusal> {
        let now = self.policy.now();
        let Some(cache) = &self.cache else {
            return self.verify_anew(keys, issuer, compact, now).map(|(claims, _)| claims);
        };
        let (digest, epoch) = (cache.digest(token), cache.epoch());
        if let Some(known) = cache.find(&digest, now)
            && keys.contains(&known.key)
        {
            self.policy.times(&Claims::registered(&known.claims).times, now)?;
            return Ok(known.claims);
        }
        let (claims, key) = self.verify_anew(keys, issuer, compact, now)?;
        cache.insert(digest, &claims, key.id(), epoch, now);
        Ok(claims)
    }

    fn verify_anew<'k>(
        &self,
        keys: &'k Keys,
        issuer: Option<&str>,
        compact: &CompactJws<'_>,
        now: u64,
    ) -> Result<(Claims<C>, &'k Key), JwtRefusal> {
        let key = keys.check(compact, |typ| self.policy.typ(typ))?;

        // Decoded on the stack if it fits, into the smaller buffer if possible: to fill a buffer with zeros costs time.
        let (mut short, mut long, longer);
        let payload = match compact.payload.len() {
            0..=256 => {
                short = [0; 192];
                compact.decode_into(compact.payload, &mut short)?
            }
            257..=1024 => {
                long = [0; 768];
                compact.decode_into(compact.payload, &mut long)?
            }
            _ => {
                longer = compact.decode(compact.payload)?;
                &longer
            }
        };
        let mut read = Read::default();
        let claims = json::claims::<C>(payload, &self.policy.exact, &mut read)?;
        self.policy.check(compact, &mut read, now)?;
        self.policy.key(key.issuer(), &read)?;
        // RFC 9449, 7.1 and RFC 8705, 3: a bound token is not a bearer token.
        if read.confirmation.as_ref().is_some_and(|bound| !self.proofs.cover(bound)) {
            return Err(JwtRefusal::SenderConstrained);
        }
        if issuer.is_some_and(|name| read.texts.get(ClaimName::Issuer) != Some(name)) {
            return Err(JwtRefusal::Issuer);
        }
        let token = RegisteredClaims::new(&read.texts, read.times, read.confirmation);
        if !self.checks.iter().all(|check| check(&claims, &token)) {
            return Err(JwtRefusal::Custom);
        }
        Ok((Claims::verified(claims, token), key))
    }
}
