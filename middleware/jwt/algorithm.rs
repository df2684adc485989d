//! The names of the signature algorithms.

use std::fmt;

use jsonwebtoken as backend;

/// A signature algorithm of [RFC 7518, 3](https://www.rfc-editor.org/rfc/rfc7518#section-3) and
/// [RFC 8037](https://www.rfc-editor.org/rfc/rfc8037).
///
/// There is no `none` here, on purpose: a policy can't name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256. The secret has at least 32 bytes.
    Hs256,
    /// HMAC with SHA-384. The secret has at least 48 bytes.
    Hs384,
    /// HMAC with SHA-512. The secret has at least 64 bytes.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519, called `EdDSA` by RFC 8037 and `Ed25519` by RFC 9864. Tokens may use either name.
    Ed25519,
}

impl Algorithm {
    /// All of them.
    pub(crate) const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Ed25519,
    ];

    /// The algorithm that the `alg` member of a header or of a JWK names. Case matters.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        if name == "EdDSA" {
            return Some(Self::Ed25519);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The name in an `alg` member. Ed25519 has two; this is the one of RFC 9864.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ed25519 => "Ed25519",
        }
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Hmac,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                Family::Rsa
            }
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::Ed25519 => Family::Ed25519,
        }
    }

    /// The least number of bytes of an HMAC secret: that of the hash (RFC 7518, 3.2).
    pub(crate) fn secret_bytes(self) -> usize {
        match self {
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            _ => 32,
        }
    }

    pub(crate) fn to_backend(self) -> backend::Algorithm {
        match self {
            Self::Hs256 => backend::Algorithm::HS256,
            Self::Hs384 => backend::Algorithm::HS384,
            Self::Hs512 => backend::Algorithm::HS512,
            Self::Rs256 => backend::Algorithm::RS256,
            Self::Rs384 => backend::Algorithm::RS384,
            Self::Rs512 => backend::Algorithm::RS512,
            Self::Ps256 => backend::Algorithm::PS256,
            Self::Ps384 => backend::Algorithm::PS384,
            Self::Ps512 => backend::Algorithm::PS512,
            Self::Es256 => backend::Algorithm::ES256,
            Self::Es384 => backend::Algorithm::ES384,
            Self::Ed25519 => backend::Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a key must be to fit an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Hmac,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac => "a secret",
            Self::Rsa => "an RSA key",
            Self::P256 => "a key on the curve P-256",
            Self::P384 => "a key on the curve P-384",
            Self::Ed25519 => "an Ed25519 key",
        })
    }
}

/// The pure Rust backend accepts keys of at most 4096 bits.
pub(crate) const MAX_RSA_BITS: usize = if cfg!(feature = "jwt") { 8192 } else { 4096 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_case_matters() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            let lower = algorithm.name().to_lowercase();
            assert_eq!(Algorithm::from_name(&lower), None, "{lower}");
        }
        assert_eq!(Algorithm::from_name("EdDSA"), Some(Algorithm::Ed25519));
        for name in
            ["", "none", "nOnE", "None", "NONE", "HS256 ", "ES512", "ES256K", "Ed448", "dir"]
        {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }
}
