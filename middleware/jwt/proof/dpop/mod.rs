//! Proof that the sender of a token holds the key to which it is bound (RFC 9449).

mod nonce;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod replay;
#[cfg(all(test, feature = "jwt"))]
pub(crate) mod test_client;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::nonce::{Freshness, Nonces};
pub use self::replay::ReplayStore;
use self::replay::{LEEWAY, Replay, UsedProof};
use crate::middleware::credentials::{DPOP, Explanation, RequestHead};
use crate::middleware::jwt::algorithm::{Algorithm, Family};
use crate::middleware::jwt::crypto::sha256;
use crate::middleware::jwt::error::JwtError;
use crate::middleware::jwt::impossible;
use crate::middleware::jwt::keys::Keys;
use crate::middleware::jwt::keys::key::Key;
use crate::middleware::jwt::refusal::JwtRefusal;
use crate::middleware::jwt::token::json;
use crate::middleware::jwt::token::jws::{self, CompactJws, JoseHeader, Longest, same_type};

/// Proofs of possession ([RFC 9449](https://www.rfc-editor.org/rfc/rfc9449)), for [`Jwt::dpop`](crate::middleware::jwt::Jwt::dpop).
///
/// A token whose claim `cnf` names the thumbprint of a key (`jkt`) is then accepted as `Authorization: DPoP <token>`, together with a header `DPoP` that
/// contains a fresh proof, signed with that key, for this method, this URL and this token. A proof is accepted once. As a bearer token, such a token
/// is still refused.
///
/// Used proofs are remembered until they are too old to be accepted: in the memory of this process, or also in a [store](Dpop::replay_store) that
/// several servers share. With [`nonces`](Dpop::nonces), a client can't create proofs in advance.
///
/// # Example
///
/// ```
/// use tower_chain::Jwt;
/// use tower_chain::middleware::jwt::Dpop;
///
/// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
/// # let pem = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/middleware/jwt/tests/p256.pem"));
/// // The URL that clients use for the API, in front of all proxies.
/// let jwt = Jwt::<()>::es256(pem)?.dpop(Dpop::new("https://api.example.com")?.required(true));
/// # let _ = jwt;
/// # Ok(())
/// # }
/// ```
pub struct Dpop {
    /// Normalized, without a slash at its end.
    base: String,
    algorithms: Vec<Algorithm>,
    max_age: Duration,
    max_bytes: usize,
    required: bool,
    replay: Replay,
    nonces: Option<Nonces>,
    /// In seconds.
    nonce_span: u64,
}

impl Dpop {
    /// Accepts proofs for the API at a URL: the origin that clients use, and the path at which a proxy mounts the API, if there is one.
    ///
    /// The `Host` of a request is never used, because the client chooses it. The path of a request is that of its
    /// [`ClientUri`](crate::extract::ClientUri), which includes the path at which another router has nested the chain. Inside of axum's `nest`, enable the
    /// feature `axum`.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL, or has a query or a fragment.
    pub fn new(base: impl AsRef<str>) -> Result<Self, JwtError> {
        let base = base.as_ref();
        let plain = !base.contains(['?', '#']);
        let normal = normalized(base).filter(|_| plain).ok_or(JwtError::DpopBase)?;
        Ok(Self {
            base: normal.trim_end_matches('/').to_owned(),
            algorithms: vec![Algorithm::Es256, Algorithm::Ed25519],
            max_age: Duration::from_secs(60),
            max_bytes: PROOF_BYTES,
            required: false,
            replay: Replay::new(REPLAY_CAPACITY),
            nonces: None,
            nonce_span: 300,
        })
    }

    /// Sets the algorithms that proofs may use. Defaults to ES256 and Ed25519.
    ///
    /// # Errors
    ///
    /// If the list is empty, or contains an HMAC: with the key to check it, anyone could create proofs as well.
    pub fn algorithms(
        mut self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        self.algorithms = algorithms.into_iter().collect();
        let symmetric = |algorithm: &Algorithm| matches!(algorithm.family(), Family::Hmac);
        if self.algorithms.is_empty() || self.algorithms.iter().any(symmetric) {
            return Err(JwtError::DpopAlgorithms);
        }
        Ok(self)
    }

    /// Sets how old a proof may be. Defaults to 60 seconds. Its `iat` may be up to 30 seconds in the future.
    ///
    /// # Errors
    ///
    /// If it is shorter than a second, in which `iat` is counted.
    pub fn max_age(mut self, max_age: Duration) -> Result<Self, JwtError> {
        impossible::seconds(max_age, "the age of a proof")?;
        self.max_age = max_age;
        Ok(self)
    }

    /// Sets how many bytes a proof may have. Defaults to 4096, which is enough for an RSA key of 4096 bits. At most 64 KiB.
    ///
    /// # Errors
    ///
    /// If it is zero.
    pub fn max_bytes(mut self, bytes: usize) -> Result<Self, JwtError> {
        if bytes == 0 {
            return Err(JwtError::ZeroLimit);
        }
        self.max_bytes = bytes.min(MAX_PROOF_BYTES);
        Ok(self)
    }

    /// Sets whether every token must be bound and proven. Defaults to `false`: tokens that are not bound are accepted as bearer tokens.
    #[must_use]
    pub fn required(mut self, required: bool) -> Self {
        self.required = required;
        self
    }

    /// Sets how many used proofs this server remembers at the same time. Defaults to 1 000 000.
    ///
    /// A proof is remembered as long as it is accepted: for [`max_age`](Self::max_age) and an eighth of it. Clients that send 600 proofs a second
    /// thus need 600 x 67.5 s = 40 500 entries, and the default is enough for 14 000 proofs a second. An entry takes at most 39 bytes if each key has
    /// signed many proofs, and 87 bytes if each proof has a key of its own, so the default takes at most 87 MB. Memory is allocated as it is
    /// needed. Measure the bytes with `cargo test --all-features --lib bytes_per_proof -- --nocapture`.
    ///
    /// One client cannot use up the entries for the others: a key may have a sixteenth of the entries that are free. A single busy key gets a
    /// seventeenth of the capacity, and with `n` busy keys each one gets `1 / (n + 16)`. With the default, one key may send 870 proofs a second. A
    /// key that has more gets a 429. If all entries are used, which takes 191 keys with the default, clients get a 503, because to forget a
    /// proof would let it be used again.
    ///
    /// With a [shared store](Self::replay_store) the same number bounds what this server adds to it. The store keeps a proof for one minute more than
    /// `max_age`, because the clocks of the servers may differ by up to 30 seconds.
    ///
    /// # Errors
    ///
    /// If it is zero: every proof would be refused.
    pub fn replay_capacity(mut self, replay_capacity: usize) -> Result<Self, JwtError> {
        if replay_capacity == 0 {
            return Err(JwtError::ZeroLimit);
        }
        self.replay.set_capacity(replay_capacity);
        Ok(self)
    }

    /// Without a free entry.
    #[cfg(test)]
    pub(crate) fn full(mut self) -> Self {
        self.replay.set_capacity(0);
        self
    }

    /// Sets a store of used proofs that several servers share. Defaults to the memory of this process alone.
    #[must_use]
    pub fn replay_store(mut self, store: impl ReplayStore) -> Self {
        self.replay.set_store(store);
        self
    }

    /// Requires nonces ([RFC 9449, 9](https://www.rfc-editor.org/rfc/rfc9449#section-9)): a proof must contain the nonce that an earlier response has sent in
    /// the header `DPoP-Nonce`. Defaults to none.
    ///
    /// A proof without a nonce is a 401 with `use_dpop_nonce` and the nonce, and the client tries again. A nonce is accepted for five to ten minutes.
    /// The response to a proof with the previous nonce sends the current one. Nonces are derived from this secret and the time: none is stored, and servers
    /// with the same secret accept each other's nonces. Behind CORS, expose `DPoP-Nonce` and `WWW-Authenticate`.
    ///
    /// # Errors
    ///
    /// If the secret is shorter than 32 bytes, or all zeros.
    pub fn nonces(mut self, secret: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        let secret = secret.as_ref();
        if secret.len() < 32 || secret.iter().all(|byte| *byte == 0) {
            return Err(JwtError::NonceSecret);
        }
        self.nonces = Some(Nonces::new(secret, self.nonce_span));
        Ok(self)
    }

    /// Sets how long a nonce is current, in whole seconds. Defaults to five minutes. It is accepted for one more such period.
    ///
    /// # Errors
    ///
    /// If it is shorter than a second.
    pub fn nonce_span(mut self, span: Duration) -> Result<Self, JwtError> {
        self.nonce_span = impossible::seconds(span, "the time of a nonce")?;
        if let Some(nonces) = &mut self.nonces {
            nonces.set_span(self.nonce_span);
        }
        Ok(self)
    }

    /// The nonce for a refusal.
    pub(crate) fn nonce(&self, now: u64) -> Option<HeaderValue> {
        self.nonces.as_ref().map(|nonces| nonces.current(now))
    }

    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    /// The names of the algorithms, for the challenge.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.name()).collect();
        names.join(" ")
    }

    /// Checks the proof of a request whose token is valid, and bound to the key with this thumbprint (RFC 9449, 4.3). Returns the nonce for the
    /// response, if there is a newer one.
    pub(crate) async fn prove(
        &self,
        request: &RequestHead<'_>,
        token: &[u8],
        bound_to: Option<&str>,
        now: u64,
    ) -> Result<Option<HeaderValue>, RefusedProof> {
        let mut proofs = request.headers().get_all(DPOP).iter();
        let (Some(proof), None) = (proofs.next(), proofs.next()) else {
            return Err(fault("dpop", "exactly one header"));
        };
        let proof = self.read(proof.as_bytes())?;
        let claims = &proof.claims;
        let method = request.method().as_str();
        if claims.htm != method {
            return Err(fault("htm", method));
        }
        let url = format!("{}{}", self.base, normalized_path(request.client_uri().path()));
        let named = normalized(&claims.htu);
        if named.as_ref() != Some(&url) {
            let explanation = fault("htu", &*url).explanation.slash(named.as_deref(), [&*url]);
            return Err(RefusedProof { refusal: JwtRefusal::Proof, explanation });
        }
        if claims.ath != URL_SAFE_NO_PAD.encode(sha256(&[token])) {
            return Err(fault("ath", "the digest of the access token"));
        }
        let span = self.max_age.as_secs();
        let (oldest, latest) = (now.saturating_sub(span), now.saturating_add(LEEWAY));
        if !(oldest..=latest).contains(&claims.iat) {
            return Err(fault("iat", format!("from {oldest} to {latest}")));
        }
        if claims.jti.is_empty() || claims.jti.len() > JTI_BYTES {
            return Err(fault("jti", format!("1 to {JTI_BYTES} bytes")));
        }
        // RFC 9449, 6.1 and 7.1.
        if bound_to != Some(&*URL_SAFE_NO_PAD.encode(proof.thumbprint)) {
            let explanation = Explanation::part("jkt").expected(match bound_to {
                Some(_) => "the thumbprint of the key that signed the proof",
                None => "a token that is bound to a key",
            });
            return Err(RefusedProof { refusal: JwtRefusal::Binding, explanation });
        }
        let mut newer = None;
        if let Some(nonces) = &self.nonces {
            match nonces.freshness(claims.nonce.as_deref().unwrap_or_default(), now) {
                Freshness::Current => {}
                Freshness::Previous => newer = Some(nonces.current(now)),
                Freshness::Unknown => {
                    let explanation = Explanation::part("nonce").expected(match claims.nonce {
                        Some(_) => "one that is not older than two periods",
                        None => "present",
                    });
                    return Err(RefusedProof { refusal: JwtRefusal::Nonce, explanation });
                }
            }
        }
        // Last, so that only valid proofs take memory.
        let used = UsedProof { thumbprint: &proof.thumbprint, jti: &claims.jti, iat: claims.iat };
        self.replay.spend(&used, span, now).await.map_err(|refusal| {
            let explanation = match refusal {
                JwtRefusal::Replay => Explanation::part("jti").expected("not used before"),
                JwtRefusal::Proof => Explanation::part("iat").expected("not that old"),
                JwtRefusal::TooManyProofs | JwtRefusal::ReplayUnavailable => {
                    Explanation::part("replay_capacity")
                }
                _ => Explanation::default(),
            };
            RefusedProof { refusal, explanation }
        })?;
        Ok(newer)
    }

    /// Reads a proof, and checks its signature.
    fn read(&self, compact: &[u8]) -> Result<Proof, RefusedProof> {
        let malformed =
            || fault("dpop", format!("a compact JWS of at most {} bytes", self.max_bytes));
        let parts =
            CompactJws::split(compact, Longest::of(self.max_bytes)).map_err(|_| malformed())?;
        let header = jws::decode(parts.header).map_err(|_| malformed())?;
        let head = JoseHeader::read(&header).map_err(|_| malformed())?;
        if !head.typ.as_deref().is_some_and(|typ| same_type(typ, "dpop+jwt")) {
            return Err(fault("typ", "dpop+jwt"));
        }
        if !self.algorithms.contains(&head.algorithm) {
            return Err(fault("alg", self.names()));
        }
        let wrong_key = || fault("jwk", "a public key for the algorithm of the proof");
        let KeyHeader { jwk } = json::object(&header).ok_or_else(wrong_key)?;
        if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
            return Err(wrong_key());
        }
        let thumbprint = thumbprint(&jwk).ok_or_else(wrong_key)?;
        // The header of a proof has no `kid`, so the key must not have one either.
        let public: Map<_, _> = jwk.into_iter().filter(|(name, _)| name != "kid").collect();
        let key = Key::jwk(head.algorithm, Value::Object(public).to_string());
        let keys = Keys::from(key.map_err(|_| wrong_key())?);
        let payload = keys.verify(compact);
        let payload = payload.map_err(|_| fault("signature", "that of the key `jwk`"))?;
        let claims = json::object(&payload)
            .ok_or_else(|| fault("claims", "`jti`, `htm`, `htu`, `iat` and `ath`, each once"))?;
        Ok(Proof { thumbprint, claims })
    }
}

/// Why a proof is refused.
#[derive(Debug)]
pub(crate) struct RefusedProof {
    pub(crate) refusal: JwtRefusal,
    pub(crate) explanation: Explanation,
}

fn fault(part: &'static str, expected: impl Into<String>) -> RefusedProof {
    let explanation = Explanation::part(part).expected(expected);
    RefusedProof { refusal: JwtRefusal::Proof, explanation }
}

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop")
            .field("base", &self.base)
            .field("algorithms", &self.algorithms)
            .field("max_age", &self.max_age)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

struct Proof {
    thumbprint: [u8; 32],
    claims: ProofClaims,
}

/// RFC 9449, 4.2. A duplicate member is an error.
#[derive(Deserialize)]
struct ProofClaims {
    jti: String,
    htm: String,
    htu: String,
    iat: u64,
    ath: String,
    nonce: Option<String>,
}

#[derive(Deserialize)]
struct KeyHeader {
    jwk: Map<String, Value>,
}

/// RFC 7638, 3: the digest of the required members, in the order of their names.
fn thumbprint(jwk: &Map<String, Value>) -> Option<[u8; 32]> {
    let names: &[&str] = match jwk.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let mut json = String::from("{");
    for name in names {
        let value = jwk.get(*name)?.as_str()?;
        // These members are base64url or names, which need no escape.
        if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return None;
        }
        if json.len() > 1 {
            json.push(',');
        }
        for part in ["\"", name, "\":\"", value, "\""] {
            json.push_str(part);
        }
    }
    json.push('}');
    Some(sha256(&[json.as_bytes()]))
}

/// Normalizes a URL without its query and fragment (RFC 3986, 6.2.2 and 6.2.3): scheme and host in lower case, no default port, escapes in one form.
fn normalized(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let default = match &*scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host().to_ascii_lowercase();
    let path = normalized_path(uri.path());
    Some(match authority.port_u16().filter(|port| *port != default) {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    })
}

/// Decodes escapes of unreserved characters, and writes all others in upper case.
fn normalized_path(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut normal = String::with_capacity(path.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let digits = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match digits {
            Some((high, low)) => {
                let byte = high << 4 | low;
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    normal.push(char::from(byte));
                } else {
                    normal.push_str(&format!("%{byte:02X}"));
                }
                rest = tail.get(2..).unwrap_or_default();
            }
            None => normal.push(char::from(first)),
        }
    }
    normal
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The private members of a JWK (RFC 7518, 6), which a client must not send.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// How many used proofs are remembered by default. See [`Dpop::replay_capacity`].
const REPLAY_CAPACITY: usize = 1_000_000;
/// How many bytes a proof may have.
const PROOF_BYTES: usize = 4 * 1024;
const MAX_PROOF_BYTES: usize = 64 * 1024;
/// How many bytes a `jti` may have.
const JTI_BYTES: usize = 256;
