//! The ticket keys, which seal tickets and sessions, and the wrapping key, which seals those keys in the store.

use super::SealedKey;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, rand};
use edge_policy::TicketSchedule;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The length of a nonce in bytes.
const NONCE: usize = 12;
/// The length of an authentication tag in bytes.
const TAG: usize = 16;

/// The purpose of sealed data, which is authenticated so that data of one kind is never accepted as the other.
#[derive(Clone, Copy)]
pub(super) enum SealedKind<'a> {
    /// A session ticket.
    Ticket,
    /// A stored session. Contains the key of the session in the store.
    Session(&'a [u8; 32]),
}

impl SealedKind<'_> {
    /// Returns the associated data that binds sealed data to its purpose.
    fn aad(self) -> Vec<u8> {
        match self {
            Self::Ticket => b"edge-proxy ticket 1".to_vec(),
            Self::Session(id) => [b"edge-proxy session 1".as_slice(), id].concat(),
        }
    }
}

/// An AES-256-GCM key.
struct Key(RandomizedNonceKey);

impl Key {
    /// Creates a key of these bytes. `None` if the library fails.
    fn new(bytes: &[u8; 32]) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, bytes).ok().map(Self)
    }

    /// Encrypts `plain` with the associated data `aad`. Returns the random nonce followed by the ciphertext and the
    /// tag. `None` if the library fails.
    fn seal(&self, aad: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::with_capacity(plain.len() + TAG);
        text.extend_from_slice(plain);
        let nonce = self.0.seal_in_place_append_tag(Aad::from(aad), &mut text).ok()?;
        Some([nonce.as_ref().as_slice(), &text].concat())
    }

    /// Decrypts the output of [`Key::seal`]. `None` if it is too short or not authentic.
    fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE>()?;
        let mut text = text.to_vec();
        let plain = self.0.open_in_place(Nonce::from(nonce), Aad::from(aad), &mut text).ok()?.len();
        text.truncate(plain);
        Some(text)
    }
}

/// The ticket keys by epoch, each with its sealed form in the store.
#[derive(Default)]
pub(super) struct KeyRing {
    /// The keys by epoch: the sealed form in the store, and the key itself.
    keys: BTreeMap<u64, (Vec<u8>, Arc<Key>)>,
}

impl KeyRing {
    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether the key of this epoch is in the ring.
    pub(super) fn has(&self, epoch: u64) -> bool {
        self.keys.contains_key(&epoch)
    }

    /// Seals data for this purpose with the key of the epoch of `now`, in seconds since 1970. Returns the epoch
    /// followed by the sealed data. `None` if the key is missing or the library fails.
    pub(super) fn seal(
        &self,
        schedule: &TicketSchedule,
        now: u64,
        what: SealedKind<'_>,
        plain: &[u8],
    ) -> Option<Vec<u8>> {
        let epoch = schedule.sealing_epoch(now);
        let sealed = self.keys.get(&epoch)?.1.seal(&what.aad(), plain)?;
        Some([epoch.to_be_bytes().as_slice(), &sealed].concat())
    }

    /// Opens the output of [`KeyRing::seal`] for this purpose. `None` if it is not authentic, its key is missing, or
    /// the key is no longer valid at `now`, in seconds since 1970.
    pub(super) fn open(
        &self,
        schedule: &TicketSchedule,
        now: u64,
        what: SealedKind<'_>,
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let (epoch, sealed) = sealed.split_first_chunk::<8>()?;
        let epoch = u64::from_be_bytes(*epoch);
        // Expired keys open nothing, even if they are still stored.
        let key = &self.keys.get(&epoch).filter(|_| schedule.opens(epoch, now))?.1;
        key.open(&what.aad(), sealed)
    }

    /// Returns a ring of the keys that are valid at `now`, in seconds since 1970: those of this ring, and those in
    /// `found`, the keys in the store, which replace keys of the same epoch. Keys that are not in `found` remain,
    /// because an edge whose clock is ahead may have deleted them. The second value is true if all valid keys in
    /// `found` could be opened.
    pub(super) fn merge_stored(
        &self,
        schedule: &TicketSchedule,
        now: u64,
        wrapping: &WrappingKey,
        found: &[SealedKey],
    ) -> (Self, bool) {
        let kept = self.keys.iter().filter(|(epoch, _)| schedule.opens(**epoch, now));
        let mut keys: BTreeMap<_, _> = kept.map(|(epoch, key)| (*epoch, key.clone())).collect();
        let mut all = true;
        for found in found.iter().filter(|found| schedule.opens(found.epoch, now)) {
            if keys.get(&found.epoch).is_some_and(|(sealed, _)| *sealed == found.sealed) {
                continue;
            }
            match wrapping.open(found) {
                Some(key) => drop(keys.insert(found.epoch, (found.sealed.clone(), Arc::new(key)))),
                None => all = false,
            }
        }
        (Self { keys }, all)
    }
}

/// The key that seals ticket keys in the store: derived from the secret of the edges by HKDF (RFC 5869), and useless
/// without the content of the store.
pub(super) struct WrappingKey(Key);

impl WrappingKey {
    /// Derives the key from the secret of the edges.
    pub(super) fn new(secret: &[u8]) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"edge-proxy").extract(secret);
        let made =
            secret.expand(&[b"ticket keys 1"], hkdf::HKDF_SHA256).and_then(|made| made.fill(&mut *bytes));
        debug_assert!(made.is_ok(), "32 bytes are never too many");
        Self(Key::new(&bytes).expect("AES-256 takes 32 bytes"))
    }

    /// Returns the associated data that binds a sealed key to its epoch.
    fn aad(epoch: u64) -> Vec<u8> {
        [b"edge-proxy key 1".as_slice(), &epoch.to_be_bytes()].concat()
    }

    /// Creates a random ticket key for an epoch, sealed for the store. `None` if the library fails.
    pub(super) fn create_key(&self, schedule: &TicketSchedule, epoch: u64) -> Option<SealedKey> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).ok()?;
        let sealed = self.0.seal(&Self::aad(epoch), &*bytes)?;
        Some(SealedKey { epoch, ends: schedule.end(epoch), sealed })
    }

    /// Opens a ticket key of the store. `None` if it was sealed under another secret or for another epoch.
    fn open(&self, key: &SealedKey) -> Option<Key> {
        let bytes = Zeroizing::new(self.0.open(&Self::aad(key.epoch), &key.sealed)?);
        Key::new(bytes.as_slice().try_into().ok()?)
    }
}
