//! Signature verification: with aws-lc-rs if the feature `jwt` is enabled, otherwise in pure Rust. The process-wide default of `jsonwebtoken` is
//! never used, because it panics if both of its backends are compiled in.

#[cfg(feature = "jwt")]
pub(crate) mod aws_lc;
#[cfg(all(feature = "jwt-rust-crypto", any(test, not(feature = "jwt"))))]
pub(crate) mod rust_crypto;

#[cfg(feature = "jwt")]
pub(crate) use aws_lc::{Verifier, hmac_sha256, rsa_components, sha256};
#[cfg(not(feature = "jwt"))]
pub(crate) use rust_crypto::{Verifier, hmac_sha256, rsa_components, sha256};

/// The SHA-256 of several parts, each behind its length. Without the lengths, `ab` and `c` would have the digest of `a` and `bc`.
#[cfg(feature = "redis")]
pub(crate) fn sha256_of_each(parts: &[&[u8]]) -> [u8; 32] {
    let lengths: Vec<[u8; 8]> =
        parts.iter().map(|part| (part.len() as u64).to_le_bytes()).collect();
    let parts: Vec<&[u8]> =
        lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], part]).collect();
    sha256(&parts)
}

#[cfg(test)]
mod tests {
    /// RFC 4231, 4.2, 4.3 and 4.7.
    #[test]
    fn the_examples_of_rfc_4231_are_met() {
        let table: [(&[u8], &[u8], &str); 3] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (secret, message, expected) in table {
            let digest: String = super::hmac_sha256(secret, message)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(digest, expected);
        }
    }
}
