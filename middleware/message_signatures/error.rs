//! Configuration errors.

use std::fmt;

/// What is wrong with the configuration of a [`MessageSignatures`](super::MessageSignatures) or of a [`MessageSigner`](super::MessageSigner), or why
/// a message can't be signed. The text states what to change, and contains no key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageSignaturesError {
    /// An origin is not an absolute `http` or `https` URL, or has a query or user information.
    Origin,
    /// A key is not one of its algorithm.
    Key {
        /// The name of the algorithm.
        algorithm: &'static str,
    },
    /// A secret has less than 32 bytes.
    ShortSecret,
    /// The identifier of a key is empty, longer than 256 bytes, or not printable ASCII.
    KeyId,
    /// Two keys have one identifier.
    DuplicateKeyId(String),
    /// A component identifier can't be parsed, or is not defined for a request.
    Component(String),
    /// A label is not a key of a structured field.
    Label,
    /// A tag is not printable ASCII.
    Tag,
    /// A time is zero, or longer than a day.
    Time,
    /// A capacity or a limit is zero.
    Zero,
    /// The name of a field is not a header name.
    Field,
    /// The message that is signed lacks a component, such as a header field.
    Unsignable(&'static str),
}

impl fmt::Display for MessageSignaturesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin => f.write_str(
                "an origin must be an absolute `http` or `https` URL without query and user: use the one that clients use",
            ),
            Self::Key { algorithm } => write!(
                f,
                "the key is not one for {algorithm}: use PEM or DER (SPKI for a public key, PKCS#8 for a private one)"
            ),
            Self::ShortSecret => {
                f.write_str("the secret can be guessed: use at least 32 random bytes")
            }
            Self::KeyId => f.write_str(
                "the identifier of a key must be 1 to 256 printable ASCII characters",
            ),
            Self::DuplicateKeyId(id) => {
                write!(f, "a key {id:?} exists already: choose another identifier")
            }
            Self::Component(text) => write!(
                f,
                "{text:?} is not a component of a request: write a field name, a derived component such as `@method`, or an identifier with its parameters such as `\"example\";sf`"
            ),
            Self::Label => f.write_str(
                "a label must begin with a lowercase letter or `*`, and contain only these, digits, `_`, `-` and `.`",
            ),
            Self::Tag => f.write_str("a tag must be printable ASCII"),
            Self::Time => f.write_str("a time must be longer than zero, and at most a day"),
            Self::Zero => f.write_str("a capacity or a limit of zero refuses every request"),
            Self::Field => f.write_str("the name of a field must be a header name"),
            Self::Unsignable(part) => write!(f, "the message can't be signed: {part}"),
        }
    }
}

impl std::error::Error for MessageSignaturesError {}
