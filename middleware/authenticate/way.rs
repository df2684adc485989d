//! Who judges credentials.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::cache::{Cache, Key};
use super::turns::{Client, Turns};
use super::{ApiKeys, Login, Principal, Source};
use crate::Error;
use crate::middleware::credentials::Credentials;

/// Sources, and who judges what stands there.
pub(super) struct Way<T> {
    pub(super) sources: Vec<Source>,
    /// Where those sources are among all.
    pub(super) places: Vec<usize>,
    pub(super) verifier: Verifier<T>,
    pub(super) cache: Option<Cache<T>>,
    /// For how much longer what the verifier found is good at most, whatever the cache says.
    pub(super) lifetime: fn(&T) -> Duration,
}

pub(super) enum Verifier<T> {
    Keys(ApiKeys, fn(Principal) -> T),
    Function(Arc<Verify<T>>),
    Blocking(Arc<VerifyBlocking<T>>, Turns),
}

/// Returns `None` for credentials of another kind.
pub(super) type Verify<T> = dyn Fn(&Credentials<'static>, Option<Client>) -> BoxFuture<'static, Result<Option<T>, Error>>
    + Send
    + Sync;
pub(super) type VerifyBlocking<T> = dyn Fn(&Login) -> Result<Option<T>, Error> + Send + Sync;

impl<T: Clone + Send + Sync + 'static> Way<T> {
    pub(super) async fn ask(
        &self,
        credentials: &Credentials<'static>,
        client: Option<Client>,
    ) -> Result<Option<T>, Error> {
        let cached = match &self.cache {
            Some(cache) if !cache.ttl().is_zero() => {
                Some((cache, cache.key(credentials.as_bytes())))
            }
            _ => None,
        };
        if let Some(known) = self.known(cached) {
            return Ok(Some(known));
        }
        // Kept until what was found is remembered: who has the turn next may have asked the same.
        let _turn;
        let found = match &self.verifier {
            Verifier::Keys(..) => return Ok(None),
            Verifier::Function(verify) => verify(credentials, client).await?,
            Verifier::Blocking(verify, turns) => {
                let Credentials::Login(login, colon) = credentials else { return Ok(None) };
                let turn = turns.take(client).await?;
                if let Some(known) = self.known(cached) {
                    return Ok(Some(known));
                }
                let runtime = tokio::runtime::Handle::try_current()?;
                let (verify, login) = (verify.clone(), Login::new(login.clone(), *colon));
                // The check goes on if the client leaves, so its turn moves along with it.
                let check = runtime.spawn_blocking(move || (verify(&login), turn));
                let (found, turn) = check.await?;
                _turn = turn;
                found?
            }
        };
        if let (Some((cache, key)), Some(principal)) = (cached, &found) {
            let ttl = cache.ttl().min((self.lifetime)(principal));
            cache.insert_for(key, principal.clone(), ttl, Instant::now());
        }
        Ok(found)
    }

    fn known(&self, cached: Option<(&Cache<T>, Key)>) -> Option<T> {
        let (cache, key) = cached?;
        let known = cache.get(&key, Instant::now())?;
        // The clock of the wall may have gone on without the other one, as when a machine slept.
        (!(self.lifetime)(&known).is_zero()).then_some(known)
    }
}
