//! Whose key it is.

use std::fmt;
use std::sync::Arc;

use http::Extensions;

use crate::{Error, declare};

/// Whose keys they are: those of a principal, or of anyone.
#[doc(hidden)]
pub trait Subject: Send + Sync + 'static {
    /// The name of the principal; `None` if there is none.
    fn name(&self, extensions: &Extensions) -> Result<Option<Vec<u8>>, Error>;
    /// The subject by which responses are distinguished, for the declaration of the step.
    const DECLARED: declare::Subject;
}

/// The keys of the principal that an earlier step provides as `T`.
pub struct PerPrincipal<T>(pub(super) NameOf<T>);

pub(super) type NameOf<T> = Arc<dyn Fn(&T) -> Vec<u8> + Send + Sync>;

/// Keys that are not bound to a principal.
#[derive(Clone, Copy, Debug)]
pub struct Anyone;

impl<T> fmt::Debug for PerPrincipal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerPrincipal")
    }
}

impl<T: Send + Sync + 'static> Subject for PerPrincipal<T> {
    const DECLARED: declare::Subject = declare::Subject::Verified;

    fn name(&self, extensions: &Extensions) -> Result<Option<Vec<u8>>, Error> {
        let failed =
            |detail: &'static str| Error::new(http::StatusCode::INTERNAL_SERVER_ERROR, detail);
        let principal = extensions.get::<T>().ok_or_else(|| {
            failed("Idempotency: no earlier step has put the principal into the extensions")
        })?;
        let name = self.0(principal);
        if name.is_empty() {
            // All principals without a name would share their keys, and their responses.
            return Err(failed("Idempotency: the name of the principal is empty"));
        }
        Ok(Some(name))
    }
}

impl Subject for Anyone {
    const DECLARED: declare::Subject = declare::Subject::Everyone;

    fn name(&self, _: &Extensions) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }
}
