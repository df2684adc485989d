//! Session tickets with keys from a secret: they are valid after a restart, and on all servers that have the secret.
//!
//! A ticket is `salt || AES-256-GCM(session)`. The key of each ticket is HKDF-SHA-256 of the secret, the period in which the ticket was made,
//! and its random salt, so a key encrypts one ticket and the nonce can be zero.
//!
//! Sources: RFC 5077, 4; RFC 5869; RFC 8446, 4.6.1.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::rand;
use tokio_rustls::rustls::server::ProducesTickets;

/// Makes and reads tickets.
pub(super) struct Tickets(Prk);

impl Tickets {
    /// `None` if the secret is too short.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= SHORTEST).then(|| Self(Salt::new(HKDF_SHA256, LABEL).extract(secret)))
    }

    fn key(&self, period: u64, salt: &[u8]) -> Option<LessSafeKey> {
        let info = [&period.to_be_bytes(), salt];
        let key = self.0.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }

    fn encrypt_at(&self, period: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).ok()?;
        let mut sealed = plain.to_vec();
        self.key(period, &salt)?
            .seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)
            .ok()?;
        Some([&salt[..], &sealed].concat())
    }

    fn decrypt_at(&self, period: u64, ticket: &[u8]) -> Option<Vec<u8>> {
        let (salt, sealed) = ticket.split_at_checked(SALT)?;
        // A ticket of the period before is still valid.
        [period, period.saturating_sub(1)].into_iter().find_map(|period| {
            let mut opened = sealed.to_vec();
            let key = self.key(period, salt)?;
            let length = key.open_in_place(nonce(), Aad::empty(), &mut opened).ok()?.len();
            opened.truncate(length);
            Some(opened)
        })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(period(), plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(period(), ticket)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

fn period() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() / PERIOD)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// How long a ticket is valid at least, in seconds.
const PERIOD: u64 = 12 * 60 * 60;
const SALT: usize = 16;
/// The length of a secret, in bytes.
const SHORTEST: usize = 32;
const LABEL: &[u8] = b"tower-chain session tickets";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_valid_in_its_period_and_the_next() {
        let tickets = Tickets::new(&[7; 32]).unwrap();
        let ticket = tickets.encrypt_at(100, b"session").unwrap();
        assert!(!ticket.windows(7).any(|window| window == b"session"));
        assert_ne!(ticket, tickets.encrypt_at(100, b"session").unwrap());
        // Also on a server that has started since.
        let other = Tickets::new(&[7; 32]).unwrap();
        for (period, valid) in [(99, false), (100, true), (101, true), (102, false)] {
            let opened = other.decrypt_at(period, &ticket);
            assert_eq!(opened.as_deref(), valid.then_some(&b"session"[..]), "{period}");
        }
        assert!(Tickets::new(&[8; 32]).unwrap().decrypt_at(100, &ticket).is_none());
        for length in 0..ticket.len() {
            assert!(tickets.decrypt_at(100, &ticket[..length]).is_none(), "{length}");
            let mut changed = ticket.clone();
            changed[length] ^= 1;
            assert!(tickets.decrypt_at(100, &changed).is_none(), "{length}");
        }
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(Tickets::new(&[7; 31]).is_none());
    }
}
