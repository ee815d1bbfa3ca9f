//! Session identities that every edge recognises without querying the store.

use super::session_claim::IDENTITY;
use aws_lc_rs::{hkdf, hmac};
use rustls::crypto::{GetRandomFailed, SecureRandom};
use zeroize::Zeroizing;

/// The number of random bytes at the beginning of an identity. The rest is a MAC under the secret of the edges.
const RANDOM_LEN: usize = 24;

/// The MAC key of identities, derived from the secret of the edges by HKDF (RFC 5869), so that it is the same at every
/// edge.
#[derive(Clone)]
pub(super) struct IdentityMac(hmac::Key);

impl IdentityMac {
    /// Derives the key from the secret of the edges.
    pub(super) fn new(secret: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"edge-proxy").extract(secret);
        let info = [b"session identities 1".as_slice()];
        let made = secret.expand(&info, hkdf::HKDF_SHA256).and_then(|made| made.fill(&mut *bytes));
        debug_assert!(made.is_ok(), "32 bytes are never too many");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &*bytes))
    }

    /// Returns the MAC of an identity's random part, truncated to 8 bytes.
    fn tag(&self, random: &[u8]) -> [u8; IDENTITY - RANDOM_LEN] {
        let tag = hmac::sign(&self.0, random);
        let mut mac = [0; IDENTITY - RANDOM_LEN];
        mac.copy_from_slice(&tag.as_ref()[..IDENTITY - RANDOM_LEN]);
        mac
    }

    /// Returns whether the identity was created by an edge with the same secret. A forged one is accepted with a
    /// probability of 2^-64. Takes constant time.
    pub(super) fn is_ours(&self, identity: &[u8; IDENTITY]) -> bool {
        let (random, mac) = identity.split_at(RANDOM_LEN);
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.tag(random), mac).is_ok()
    }
}

/// A source of random bytes for rustls, which takes session identities from it as 32 bytes at once. A request for
/// exactly 32 bytes therefore returns 24 random bytes and a MAC of 8 bytes, which is indistinguishable from random
/// bytes.
pub(super) struct IdentityRandom {
    /// The MAC by which edges recognize identities that one of them created.
    mac: IdentityMac,
    /// The source of the random bytes.
    random: &'static dyn SecureRandom,
}

impl std::fmt::Debug for IdentityRandom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityRandom").finish_non_exhaustive()
    }
}

impl IdentityRandom {
    /// Creates a source with the random bytes of aws-lc and this MAC.
    pub(super) fn new(mac: IdentityMac) -> Self {
        Self { mac, random: rustls::crypto::aws_lc_rs::default_provider().secure_random }
    }

    /// Returns the MAC key of identities.
    pub(super) const fn mac(&self) -> &IdentityMac {
        &self.mac
    }
}

impl SecureRandom for IdentityRandom {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        self.random.fill(buf)?;
        if buf.len() == IDENTITY {
            let mac = self.mac.tag(&buf[..RANDOM_LEN]);
            buf[RANDOM_LEN..].copy_from_slice(&mac);
        }
        Ok(())
    }
}
