//! The compact form of a JWS (RFC 7515, 3.1 and 5.2).

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use memchr::memchr_iter;

use super::json;
use crate::middleware::jwt::algorithm::Algorithm;
use crate::middleware::jwt::refusal::JwtRefusal;

/// How many bytes a token and its encoded header may have.
#[derive(Clone, Copy)]
pub(crate) struct Longest {
    pub(crate) token: usize,
    pub(crate) header: usize,
}

impl Longest {
    /// For a token whose header needs no bound of its own.
    pub(crate) fn of(token: usize) -> Self {
        Self { token, header: token }
    }
}

impl Default for Longest {
    fn default() -> Self {
        Self { token: 8 * 1024, header: 1024 }
    }
}

/// The parts of a token. They are not verified.
#[derive(Clone, Copy)]
pub(crate) struct CompactJws<'t> {
    pub(crate) header: &'t [u8],
    pub(crate) payload: &'t [u8],
    pub(crate) signature: &'t [u8],
    /// The signing input (RFC 7515, 5.2): header, dot, payload.
    pub(crate) message: &'t [u8],
    /// Whether the parts may be padded, against RFC 7515, 2.
    pub(crate) padded: bool,
}

impl<'t> CompactJws<'t> {
    /// Splits a token. Long tokens and tokens with a wrong number of dots are refused before anything is decoded.
    pub(crate) fn split(token: &'t [u8], longest: Longest) -> Result<Self, JwtRefusal> {
        if token.len() > longest.token {
            return Err(JwtRefusal::TooLong);
        }
        let mut dots = memchr_iter(b'.', token);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(JwtRefusal::Malformed);
        };
        if first > longest.header {
            return Err(JwtRefusal::TooLong);
        }
        let parts = (token.get(..first), token.get(first + 1..second), token.get(second + 1..));
        let (Some(header), Some(payload), Some(signature)) = parts else {
            return Err(JwtRefusal::Malformed);
        };
        if header.is_empty() || signature.is_empty() {
            return Err(JwtRefusal::Malformed);
        }
        let message = token.get(..second).ok_or(JwtRefusal::Malformed)?;
        Ok(Self { header, payload, signature, message, padded: false })
    }

    /// Allows padding, which AWS load balancers add.
    pub(crate) fn padded(self, padded: bool) -> Self {
        Self { padded, ..self }
    }

    /// Decodes one of the parts.
    pub(crate) fn decode(&self, part: &[u8]) -> Result<Vec<u8>, JwtRefusal> {
        self.engine().decode(part).map_err(|_| JwtRefusal::Malformed)
    }

    /// Decodes one of the parts into a buffer, if it is short.
    pub(crate) fn decode_into<'b>(
        &self,
        part: &[u8],
        buffer: &'b mut [u8],
    ) -> Result<&'b [u8], JwtRefusal> {
        let decoded = self.engine().decode_slice(part, buffer);
        let length = decoded.map_err(|_| JwtRefusal::Malformed)?;
        buffer.get(..length).ok_or(JwtRefusal::Malformed)
    }

    fn engine(&self) -> &'static GeneralPurpose {
        if self.padded { &URL_SAFE_PADDED } else { &URL_SAFE_NO_PAD }
    }
}

/// The header of a token that is about to be verified.
pub(crate) struct JoseHeader<'t> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<std::borrow::Cow<'t, str>>,
    pub(crate) typ: Option<std::borrow::Cow<'t, str>>,
}

impl<'t> JoseHeader<'t> {
    /// Reads a decoded header, and refuses unsupported features.
    pub(crate) fn read(decoded: &'t [u8]) -> Result<Self, JwtRefusal> {
        let header = json::header(decoded)?;
        // RFC 7515, 4.1.11 and RFC 7797, 6: refuse a token with an unknown extension. RFC 8725, 3.6: no compression.
        if header.extended {
            return Err(JwtRefusal::Header);
        }
        // Nested tokens are refused (RFC 7519, 5.2).
        if header.cty.is_some_and(|cty| same_type(&cty, "JWT")) {
            return Err(JwtRefusal::Header);
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES) {
            return Err(JwtRefusal::Key);
        }
        let algorithm = header.alg.ok_or(JwtRefusal::Malformed)?;
        let algorithm = Algorithm::from_name(&algorithm).ok_or(JwtRefusal::Algorithm)?;
        Ok(Self { algorithm, kid: header.kid, typ: header.typ })
    }
}

/// Whether two values of `typ` or `cty` are the same media type. Case does not matter, and `application/` may be omitted (RFC 7515, 4.1.9).
pub(crate) fn same_type(a: &str, b: &str) -> bool {
    short_type(a).eq_ignore_ascii_case(short_type(b))
}

fn short_type(name: &str) -> &str {
    match name.split_at_checked(APPLICATION.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(APPLICATION) && !rest.contains('/') => {
            rest
        }
        _ => name,
    }
}

/// Decodes base64url without padding. Characters of other alphabets, spaces and non-zero trailing bits are refused (RFC 7515, 2).
pub(crate) fn decode(encoded: &[u8]) -> Result<Vec<u8>, JwtRefusal> {
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| JwtRefusal::Malformed)
}

/// With or without padding. Characters of other alphabets, spaces and non-zero trailing bits are refused as well.
const URL_SAFE_PADDED: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const APPLICATION: &str = "application/";
/// How many bytes a `kid` may have.
const KID_BYTES: usize = 256;
