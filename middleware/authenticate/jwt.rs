//! JSON Web Tokens beside other credentials.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::HeaderValue;
use serde::de::DeserializeOwned;

use super::authenticator::{
    CheckedToken, CredentialVerifier, Possession, SentToken, TokenVerifier, Unconfirmed,
};
use super::{Authenticate, AuthenticateRefusal, TokenSource};
use crate::middleware::jwt::{Claims, Dpop, Jwt, RefusedProof};

impl<T: Clone + Send + Sync + 'static> Authenticate<T> {
    /// Accepts the tokens that a [`Jwt`] accepts, from its sources and with its proofs. The function returns the principal for the claims.
    ///
    /// Use it to accept a token *or* other credentials on one route, with one principal and a challenge for each: see [`or`](Self::or). With
    /// several steps one after the other, a request would need all credentials. The challenges have the scopes and the metadata of the `Jwt`; the realm, the
    /// trusted origins and the limit of forms are those of the `Authenticate`.
    ///
    /// # Example
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_chain::middleware::authenticate::{ApiKey, ApiKeys};
    /// use tower_chain::{Authenticate, Chain, Claims, Jwt, Principal};
    ///
    /// #[derive(Deserialize)]
    /// struct User {
    ///     sub: String,
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let secret = "a secret that has thirty-two bytes";
    /// let keys = ApiKeys::new();
    /// keys.add(ApiKey::new("billing", "Vy3pRT1rW9ZsU0bq6xQ2Lw")?)?;
    /// let people = Jwt::<User>::hs256(secret)?;
    ///
    /// let authenticate = Authenticate::jwt(people, |user: Claims<User>| Principal::new(&*user.sub))
    ///     .or(Authenticate::api_keys(&keys));
    /// let chain = Chain::new()
    ///     .use_(authenticate)
    ///     .get(async |principal: Principal| format!("hello, {}", principal.name()));
    /// # let _ = chain.build();
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
    pub fn jwt<C, F>(jwt: Jwt<C>, principal: F) -> Self
    where
        C: DeserializeOwned + Send + Sync + 'static,
        F: Fn(Claims<C>) -> T + Send + Sync + 'static,
    {
        let (sources, longest) = jwt.sources_and_length();
        let sources = sources.to_vec();
        let verifier = Arc::new(JwtVerifier { jwt, principal });
        let possession: Arc<dyn Possession<T>> = verifier.clone();
        let mut this = Self::of(TokenSource::bearer(), CredentialVerifier::Token(verifier.clone()));
        this.places.longest = longest;
        this.places.terms.complete(verifier.jwt.challenge_terms());
        for way in &mut this.ways {
            way.sources.clone_from(&sources);
            way.possession = Some(possession.clone());
        }
        this.placed()
    }
}

struct JwtVerifier<C, F> {
    jwt: Jwt<C>,
    principal: F,
}

impl<C, F, T> TokenVerifier<T> for JwtVerifier<C, F>
where
    C: DeserializeOwned + Send + Sync + 'static,
    F: Fn(Claims<C>) -> T + Send + Sync,
{
    fn verify<'a>(&'a self, sent: SentToken<'a>) -> BoxFuture<'a, CheckedToken<T>> {
        Box::pin(async move {
            let checked = self.jwt.check_token(sent.head, sent.token, sent.with_proof).await;
            let (claims, nonce) = checked.map_err(|RefusedProof { refusal, explanation }| {
                let (status, code) = refusal.status_and_code();
                let (reason, detail) = (refusal.code(), refusal.description());
                let refusal = AuthenticateRefusal::Credentials;
                Unconfirmed { status, code, detail, refusal, reason, explanation }
            })?;
            Ok(((self.principal)(claims), nonce))
        })
    }
}

/// The proof is checked together with the token.
impl<C, F, T> Possession<T> for JwtVerifier<C, F>
where
    C: DeserializeOwned + Send + Sync + 'static,
    F: Fn(Claims<C>) -> T + Send + Sync,
{
    fn source(&self) -> Option<TokenSource> {
        self.jwt.proofs().dpop.is_some().then(TokenSource::dpop)
    }

    fn algorithms(&self) -> Option<String> {
        self.jwt.proofs().dpop.as_ref().map(Dpop::names)
    }

    fn is_required(&self) -> bool {
        self.jwt.proofs().require_dpop()
    }

    fn nonce(&self) -> Option<HeaderValue> {
        self.jwt.nonce()
    }

    fn confirm<'a>(
        &'a self,
        _: &'a T,
        _: SentToken<'a>,
    ) -> BoxFuture<'a, Result<Option<HeaderValue>, Unconfirmed>> {
        Box::pin(async { Ok(None) })
    }
}
