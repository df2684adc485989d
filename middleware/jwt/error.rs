//! Configuration errors.

use std::fmt;

use super::TokenSourceError;
use super::algorithm::{Algorithm, MAX_RSA_BITS};

/// A configuration that is not safe, or cannot work. Its text states what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JwtError {
    /// The list of algorithms is empty.
    NoAlgorithm,
    /// The list of keys is empty.
    NoKey,
    /// The URL for DPoP proofs is not an absolute `http` or `https` URL, or has a user, a query or a fragment.
    DpopBase,
    /// The list of algorithms for DPoP proofs is empty, or contains an HMAC.
    DpopAlgorithms,
    /// The secret for nonces is shorter than 32 bytes, or all zeros.
    NonceSecret,
    /// The name of the header for certificates is not a header name.
    CertificateHeader,
    /// A source, or the list of them, is wrong.
    Source(TokenSourceError),
    /// Two keys have the same algorithm, and the same `kid` or none: a token can't select one of them.
    AmbiguousKey,
    /// The secret has fewer bytes than the hash of the algorithm.
    ShortSecret {
        /// The algorithm.
        algorithm: Algorithm,
        /// How many bytes the secret has.
        bytes: usize,
    },
    /// The secret is all zeros.
    ZeroSecret,
    /// The secret is the content of a key file: PEM, DER, SSH or a JWK.
    SecretIsKeyFile,
    /// The key is private, and a public key is required.
    PrivateKey,
    /// The text or the bytes are not a key in a supported form.
    InvalidKey,
    /// The PEM is a certificate, and a public key is required.
    Certificate,
    /// The text is a JWK, and PEM is required.
    JwkInsteadOfPem,
    /// The text is the path of a file, and the content of the file is required.
    Path,
    /// The PEM contains more than one key.
    SeveralKeys,
    /// The PEM contains `\n` as two characters instead of line breaks.
    EscapedLineBreaks,
    /// The key is not of the type that the algorithm requires.
    WrongKey {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The RSA key is shorter than 2048 bits, or longer than the backend accepts.
    RsaBits {
        /// How many bits the modulus has.
        bits: usize,
    },
    /// The public exponent of the RSA key is even, or is 1.
    RsaExponent,
    /// The JSON is not a JWK or a JWK set.
    InvalidJwk,
    /// The JWK set has more keys than are read.
    TooManyKeys {
        /// How many keys the set has.
        keys: usize,
    },
    /// The JWK is not meant to verify signatures (`use`, `key_ops`, `alg`).
    JwkUse,
    /// The set does not contain a key for the accepted algorithms.
    NoUsableJwk,
    /// The list of algorithms for published keys contains an HMAC, which requires a shared secret.
    SharedSecretAlgorithm {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The leeway is longer than ten minutes.
    Leeway,
    /// A text for the challenge contains a character that is not allowed in a header.
    ChallengeText,
    /// A limit is zero.
    ZeroLimit,
    /// The list of issuers is empty, contains one twice, or contains one whose keys belong to another issuer.
    Issuers,
    /// The issuer is none of those whose keys verify the tokens.
    OtherIssuer,
    /// The URL is not one from which keys may be fetched.
    Url,
    /// The URL is that of a discovery document.
    DiscoveryUrl,
    /// The issuer or the URL contains a placeholder, such as `{tenantid}`.
    Placeholder,
    /// The text with certificate authorities is not PEM, or does not contain a certificate.
    CertificateAuthority,
    /// The issuer of Entra ID is that of every tenant. Tokens contain the id of one.
    EveryTenant,
    /// The URL of an issuer is given where that of a JWK set is required.
    IssuerUrl,
    /// The URL of a JWK set is given where an issuer is required.
    KeysUrl,
    /// A text is empty, or contains only spaces.
    Blank {
        /// Which one.
        what: &'static str,
    },
    /// A text begins or ends with white space, or contains a control character.
    Whitespace {
        /// Which one.
        what: &'static str,
    },
    /// A time is zero.
    ZeroTime {
        /// Which one.
        what: &'static str,
    },
    /// An argument of a preset is not of the form that the issuer has.
    Preset {
        /// What the argument is.
        what: &'static str,
        /// How it is written.
        example: &'static str,
    },
    /// TLS could not be set up.
    Tls,
    /// The address of Redis can't be parsed.
    RedisUrl,
}

impl From<TokenSourceError> for JwtError {
    fn from(error: TokenSourceError) -> Self {
        Self::Source(error)
    }
}

impl fmt::Display for JwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAlgorithm => f.write_str(
                "no algorithm is accepted: name at least one, such as `Algorithm::Rs256`",
            ),
            Self::NoKey => f.write_str("the list of keys is empty: give at least one"),
            Self::AmbiguousKey => f.write_str(
                "two keys for the same algorithm have the same `kid`, or none: give each its own with `Key::kid`",
            ),
            Self::ShortSecret { algorithm, bytes } => write!(
                f,
                "the secret has {bytes} bytes, {algorithm} needs at least {}: make a random one, for example with `openssl rand -base64 {}`",
                algorithm.secret_bytes(),
                algorithm.secret_bytes(),
            ),
            Self::ZeroSecret => f.write_str("the secret is all zeros: make a random one"),
            Self::SecretIsKeyFile => f.write_str(
                "the secret looks like a key file: for a public key use a constructor for it, such as `Jwt::rs256` or `Key::pem`",
            ),
            Self::PrivateKey => f.write_str(
                "this is a private key: give the public key, for example from `openssl pkey -pubout`",
            ),
            Self::InvalidKey => f.write_str(
                "this is not a public key in PEM or DER (`SubjectPublicKeyInfo`, or PKCS#1 for RSA): export it again, for example with `openssl pkey -pubout`",
            ),
            Self::Certificate => f.write_str(
                "this is a certificate: give its public key, from `openssl x509 -in FILE -noout -pubkey`",
            ),
            Self::SeveralKeys => f.write_str(
                "the PEM contains more than one key: create a `Key` from each, and pass all to `Keys::new`",
            ),
            Self::EscapedLineBreaks => f.write_str(
                "the PEM contains `\\n` as two characters: replace them with line breaks, for example with `text.replace(\"\\\\n\", \"\\n\")`",
            ),
            Self::WrongKey { algorithm } => write!(
                f,
                "the key does not fit {algorithm}, which needs {}: give another key, or name another algorithm",
                algorithm.family(),
            ),
            Self::RsaBits { bits } => write!(
                f,
                "the RSA key has {bits} bits: use one with 2048 to {} bits",
                MAX_RSA_BITS,
            ),
            Self::RsaExponent => {
                f.write_str("the public exponent of the RSA key is even or 1: make a new key")
            }
            Self::InvalidJwk => f.write_str(
                "this is not a JWK or JWK set: it must be a JSON object as in RFC 7517, each member once, values in base64url",
            ),
            Self::TooManyKeys { keys } => write!(
                f,
                "the JWK set has {keys} keys, and at most 100 are read: remove those that are no longer used",
            ),
            Self::JwkUse => f.write_str(
                "this JWK is not for verifying signatures: its `use` must be `sig`, its `key_ops` must contain `verify`, and its `alg` must name a signature algorithm",
            ),
            Self::NoUsableJwk => f.write_str(
                "no key of the set fits the accepted algorithms: compare `kty`, `crv` and `alg` of the keys with the list",
            ),
            Self::SharedSecretAlgorithm { algorithm } => write!(
                f,
                "{algorithm} requires a shared secret, and published keys are public: remove it from the list, or use `Jwt::hs256` with the secret",
            ),
            Self::Leeway => f.write_str(
                "the leeway is longer than ten minutes: set the clocks instead, and keep it near one minute",
            ),
            Self::DpopBase => f.write_str(
                "the URL for DPoP must be the one that clients use for the API, such as `https://api.example.com`: absolute, without user, query and fragment",
            ),
            Self::DpopAlgorithms => f.write_str(
                "name at least one algorithm for DPoP, and no HMAC: use ES256, for one",
            ),
            Self::NonceSecret => f.write_str(
                "the secret for nonces has fewer than 32 bytes, or is all zeros: make a random one, for example with `openssl rand -base64 32`",
            ),
            Self::CertificateHeader => f.write_str(
                "this is not a header name: use the header that the proxy sets, such as `Client-Cert`",
            ),
            Self::Source(error) => error.fmt(f),
            Self::ChallengeText => f.write_str(
                "a realm, a scope or a URL for the challenge may contain printable ASCII characters only, without line breaks, and a URL must be absolute",
            ),
            Self::ZeroLimit => f.write_str("the limit is zero: give at least one"),
            Self::Issuers => f.write_str("name at least one issuer, each of them once, and with keys of its own"),
            Self::OtherIssuer => f.write_str(
                "the keys are those of another issuer, so no token would be accepted: give the issuer of `Jwks::issuer` or of `KeySource::issuers`, byte for byte (also the trailing slash), or leave the rule out",
            ),
            Self::RedisUrl => f.write_str(
                "the address of Redis can't be parsed: write it as `redis://:password@host:6379/0`",
            ),
            Self::DiscoveryUrl => f.write_str(
                "this is the URL of a discovery document: give the issuer in it to `Jwks::issuer`, which finds the document itself",
            ),
            Self::Placeholder => f.write_str(
                "the URL contains a placeholder in braces: replace it, for example `{tenantid}` with the id of the tenant",
            ),
            Self::CertificateAuthority => f.write_str(
                "this is not a certificate authority in PEM: give a text with `BEGIN CERTIFICATE`, such as the file `ca.crt` of a cluster",
            ),
            Self::EveryTenant => f.write_str(
                "tokens never name `common`, `organizations` or `consumers` as their tenant: use `Jwt::entra_v2` with the ids of the tenants",
            ),
            Self::IssuerUrl => f.write_str(
                "this is the URL of an issuer, not of a JWK set: give it to `Jwks::issuer`, or add the path of the keys",
            ),
            Self::KeysUrl => f.write_str(
                "this is the URL of a JWK set, not an issuer: give it to `Jwks::url`, and name the issuer with `Jwt::issuer`",
            ),
            Self::JwkInsteadOfPem => {
                f.write_str("this is a JWK, not PEM: use `Key::jwk`, or `Keys::jwks` for a set")
            }
            Self::Path => f.write_str(
                "this is the path of a file, not a key: give the content of the file, from `std::fs::read`",
            ),
            Self::Whitespace { what } => write!(
                f,
                "{what} begins or ends with white space, or contains a line break: remove it, because texts are compared byte for byte"
            ),
            Self::ZeroTime { what } => write!(f, "{what} is zero: nothing would be accepted, so give a longer time"),
            Self::Blank { what } => write!(f, "{what} is empty: no token can match it, so give its text"),
            Self::Preset { what, example } => write!(f, "this is not {what}: write it as `{example}`"),
            Self::Tls => f.write_str("TLS could not be set up: give a `Fetch` of your own"),
            Self::Url => f.write_str(
                "keys are fetched by https, or by http from a loopback address: give an absolute URL without user, password, query or fragment, or allow http to a host of your own network with `Jwks::insecure_url`, `insecure_issuer` or `insecure_internal_url`",
            ),
        }
    }
}

impl std::error::Error for JwtError {}
