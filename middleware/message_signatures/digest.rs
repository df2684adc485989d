//! Digest fields (RFC 9530).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};
use sha2::{Digest, Sha256, Sha512};

/// An algorithm for `Content-Digest` and `Repr-Digest` ([RFC 9530, 5](https://www.rfc-editor.org/rfc/rfc9530#section-5)). The other ones of its
/// registry are not secure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// `sha-256`
    Sha256,
    /// `sha-512`
    Sha512,
}

impl DigestAlgorithm {
    /// The name in a digest field.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    /// The value of a digest field for these bytes.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::message_signatures::DigestAlgorithm;
    ///
    /// // RFC 9530, appendix D
    /// let digest = DigestAlgorithm::Sha256.field(b"{\"hello\": \"world\"}\n");
    /// assert_eq!(digest, "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
    /// ```
    pub fn field(self, body: &[u8]) -> HeaderValue {
        let value = format!("{}=:{}:", self.name(), STANDARD.encode(self.digest(body)));
        // Base64 has no other characters than a field may have.
        HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""))
    }

    fn digest(self, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(body).to_vec(),
            Self::Sha512 => Sha512::digest(body).to_vec(),
        }
    }

    const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];
}

/// Checks each digest of a known algorithm. There must be at least one.
pub(super) fn check(
    headers: &HeaderMap,
    name: &HeaderName,
    body: &[u8],
) -> Result<(), &'static str> {
    let mut lines = Vec::new();
    for value in headers.get_all(name) {
        lines.push(value.to_str().map_err(|_| "a digest is malformed")?);
    }
    let value = lines.join(", ");
    if value.len() > FIELD_BYTES {
        return Err("a digest field is too long");
    }
    let digests: Dictionary = Parser::new(&value).parse().map_err(|_| "a digest is malformed")?;
    let mut known = 0;
    for algorithm in DigestAlgorithm::ALL {
        match digests.get(algorithm.name()) {
            None => continue,
            Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(digest), .. })) => {
                if *digest != algorithm.digest(body) {
                    return Err("a digest is not that of the body");
                }
            }
            Some(_) => return Err("a digest is malformed"),
        }
        known += 1;
    }
    if known > 0 { Ok(()) } else { Err("there is no digest of a known algorithm") }
}

/// Which digests are accepted, by preference (RFC 9530, 4).
pub(super) const WANT: HeaderValue = HeaderValue::from_static("sha-512=10, sha-256=9");

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

pub(super) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

pub(super) const WANT_CONTENT_DIGEST: HeaderName = HeaderName::from_static("want-content-digest");

const FIELD_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9530, appendices B and D, and what differs from them.
    #[test]
    fn a_digest_is_checked_as_in_the_examples_of_the_rfc() {
        let hello = b"{\"hello\": \"world\"}\n";
        let sha256 = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        let sha512 = "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:";
        let unknown = "unixsum=30637, md5=:7Qdih1MuhjZehB6Sv8UNjA==:";
        for (lines, expected) in [
            (vec![sha256], true),
            (vec![sha512], true),
            (vec![sha256, sha512], true),
            (vec![unknown, sha256], true),
            (vec!["sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:;param=1"], true),
            (vec![], false),
            (vec![""], false),
            (vec![unknown], false),
            (vec!["sha-256=:AK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"], false),
            // One of two differs.
            (vec![sha256, "sha-512=:AAAA:"], false),
            (vec!["sha-256=RK"], false),
            (vec!["sha-256=(:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:)"], false),
            (vec!["sha-256=:RK"], false),
            (vec!["SHA-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"], false),
            (vec![sha256, "\u{e9}"], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
                headers.append(CONTENT_DIGEST, value);
            }
            assert_eq!(check(&headers, &CONTENT_DIGEST, hello).is_ok(), expected, "{lines:?}");
            assert!(check(&headers, &CONTENT_DIGEST, b"{}").is_err(), "{lines:?}");
        }
        assert_eq!(DigestAlgorithm::Sha512.field(hello), sha512);
    }
}
