//! The keys that verify tokens, and the choice of the key for a token.

pub(crate) mod jwk;
#[cfg(feature = "jwks")]
pub(crate) mod jwks;
pub(crate) mod key;
pub(crate) mod source;

use std::fmt;
use std::sync::{Arc, OnceLock};

use self::key::{Key, KeyId};
use super::error::JwtError;
use super::refusal::JwtRefusal;
use super::token::jws::{self, CompactJws, JoseHeader, Longest};
use crate::declare::SecretId;

/// Keys that verify tokens. A clone is a handle to the same keys.
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::{Algorithm, Key, Keys};
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// # let (old, new) = ("the old secret of thirty-two bytes", "the new secret of thirty-two bytes");
/// let keys = Keys::new([
///     Key::secret(Algorithm::Hs256, old)?.kid("2025"),
///     Key::secret(Algorithm::Hs256, new)?.kid("2026"),
/// ])?;
/// let jwt = Jwt::<serde_json::Value>::new(keys);
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Keys(Arc<KeySet>);

struct KeySet {
    keys: Box<[Key]>,
    /// The headers of tokens with a valid signature, and their keys. An issuer writes few different headers, so most tokens need no parsing of the
    /// header. This is sound because the result depends on the bytes of the header alone, and the keys never change.
    known: [OnceLock<Known>; KNOWN_HEADERS],
}

struct Known {
    encoded: Box<[u8]>,
    key: Key,
    typ: Option<Box<str>>,
}

impl Keys {
    /// The shared secrets among the keys.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = SecretId> {
        self.0.keys.iter().filter_map(Key::shared_secret)
    }

    /// Creates a set of keys. A token selects one by its algorithm and `kid`.
    ///
    /// # Errors
    ///
    /// If the list is empty, or if two keys have the same algorithm and the same `kid` or none.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Result<Self, JwtError> {
        let keys: Vec<Key> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(JwtError::NoKey);
        }
        for (index, key) in keys.iter().enumerate() {
            let same =
                |other: &Key| other.0.algorithm == key.0.algorithm && other.0.kid == key.0.kid;
            if keys.iter().skip(index + 1).any(same) {
                return Err(JwtError::AmbiguousKey);
            }
        }
        Ok(Self::published(keys))
    }

    /// Creates a set of keys that an issuer has published. Keys with the same algorithm and `kid` are kept, and match no token.
    pub(crate) fn published(keys: impl Into<Box<[Key]>>) -> Self {
        Self(Arc::new(KeySet { keys: keys.into(), known: Default::default() }))
    }

    /// Verifies a JWS in compact form ([RFC 7515, 5.2](https://www.rfc-editor.org/rfc/rfc7515#section-5.2)) and returns its payload.
    ///
    /// Only the signature and the header are checked. The payload may be anything; its claims are not checked.
    ///
    /// # Errors
    ///
    /// If the text is not a compact JWS of at most 64 KiB, its header requires an extension, no key fits, or the signature is wrong.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::jwt::{Algorithm, Key, Keys, JwtRefusal};
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// let keys = Keys::from(Key::secret(Algorithm::Hs256, "a secret that has thirty-two bytes")?);
    /// assert_eq!(keys.verify("eyJhbGciOiJub25lIn0.e30."), Err(JwtRefusal::Malformed));
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify(&self, compact: impl AsRef<[u8]>) -> Result<Vec<u8>, JwtRefusal> {
        let compact = CompactJws::split(compact.as_ref(), Longest::of(JWS_BYTES))?;
        let header = jws::decode(compact.header)?;
        let head = JoseHeader::read(&header)?;
        let payload = jws::decode(compact.payload)?;
        check(self.find(&head)?, &compact)?;
        Ok(payload)
    }

    /// Checks the header and the signature, and returns the key. `is_accepted` checks the `typ`.
    pub(crate) fn check(
        &self,
        compact: &CompactJws<'_>,
        is_accepted: impl FnOnce(Option<&str>) -> Result<(), JwtRefusal>,
    ) -> Result<&Key, JwtRefusal> {
        let known = self.0.known.iter().map_while(OnceLock::get);
        if let Some(known) = known.into_iter().find(|known| *known.encoded == *compact.header) {
            is_accepted(known.typ.as_deref())?;
            check(&known.key, compact)?;
            return Ok(&known.key);
        }
        // Decoded on the stack, unless the settings allow longer headers.
        let (mut buffer, longer);
        let decoded = if compact.header.len() <= HEADER_BYTES / 3 * 4 {
            buffer = [0; HEADER_BYTES];
            compact.decode_into(compact.header, &mut buffer)?
        } else {
            longer = compact.decode(compact.header)?;
            &longer
        };
        let head = JoseHeader::read(decoded)?;
        is_accepted(head.typ.as_deref())?;
        let key = self.find(&head)?;
        check(key, compact)?;
        // Only headers of validly signed tokens are kept; otherwise any client could fill the slots.
        if let Some(free) = self.0.known.iter().find(|known| known.get().is_none()) {
            let typ = head.typ.as_deref().map(Box::from);
            let _ = free.set(Known { encoded: Box::from(compact.header), key: key.clone(), typ });
        }
        Ok(key)
    }

    /// Finds the only key for this header.
    pub(crate) fn find(&self, head: &JoseHeader<'_>) -> Result<&Key, JwtRefusal> {
        let fits = |key: &&Key| key.0.algorithm == head.algorithm;
        let Some(kid) = head.kid.as_deref() else {
            return only(self.0.keys.iter().filter(fits)).map_err(|none| match none {
                NotOne::None => JwtRefusal::Algorithm,
                NotOne::Several => JwtRefusal::Key,
            });
        };
        let mut named =
            self.0.keys.iter().filter(|key| key.0.kid.as_deref() == Some(kid)).peekable();
        if named.peek().is_some() {
            return only(named.filter(fits)).map_err(|none| match none {
                NotOne::None => JwtRefusal::Algorithm,
                NotOne::Several => JwtRefusal::Key,
            });
        }
        // No key has this `kid`. Keys without a `kid` are tried for every token.
        only(self.0.keys.iter().filter(|key| key.0.kid.is_none()).filter(fits)).map_err(|none| {
            let accepted = self.0.keys.iter().any(|key| fits(&key));
            match none {
                NotOne::None if !accepted => JwtRefusal::Algorithm,
                _ => JwtRefusal::Key,
            }
        })
    }

    /// The names of the algorithms, each once.
    pub(crate) fn algorithms(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.keys.iter().map(|key| key.0.algorithm.name()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(crate) fn contains(&self, id: &KeyId) -> bool {
        self.0.keys.iter().any(|key| key.id() == id)
    }

    /// Whether both are handles to the same keys.
    #[cfg(feature = "jwks")]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether both hold equal keys under equal names, in the same order.
    #[cfg(feature = "jwks")]
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let (own, others) = (&self.0.keys, &other.0.keys);
        own.len() == others.len() && own.iter().zip(others).all(|(key, other)| key.same_as(other))
    }
}

impl From<Key> for Keys {
    fn from(key: Key) -> Self {
        Self::published([key])
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.0.keys).finish()
    }
}

/// Checks the signature.
fn check(key: &Key, compact: &CompactJws<'_>) -> Result<(), JwtRefusal> {
    let (mut short, mut long);
    let buffer: &mut [u8] = match compact.signature.len() {
        // Long enough for all but RSA. To fill a larger buffer with zeros costs time.
        0..=128 => {
            short = [0; 96];
            &mut short
        }
        129..=SIGNATURE_BYTES => {
            long = [0; SIGNATURE_BYTES];
            &mut long
        }
        _ => return Err(JwtRefusal::Signature),
    };
    let signature = compact.decode_into(compact.signature, buffer)?;
    if key.verify(compact.message, signature) { Ok(()) } else { Err(JwtRefusal::Signature) }
}

enum NotOne {
    None,
    Several,
}

fn only<'k>(mut keys: impl Iterator<Item = &'k Key>) -> Result<&'k Key, NotOne> {
    let first = keys.next().ok_or(NotOne::None)?;
    if keys.next().is_some() { Err(NotOne::Several) } else { Ok(first) }
}

/// How many bytes a JWS of [`Keys::verify`] may have.
const JWS_BYTES: usize = 64 * 1024;
/// How many bytes an encoded signature may have: that of RSA with 8192 bits has 1366.
const SIGNATURE_BYTES: usize = 1368;
/// How many bytes of a header are decoded on the stack: those of 1024 characters.
const HEADER_BYTES: usize = 768;
/// How many headers are kept.
const KNOWN_HEADERS: usize = 4;
