//! Traffic secrets of TLS 1.3, and the keys that are derived from them (RFC 8446 §7.2, §7.3).

use aws_lc_rs::{aead, hkdf};
use rustls::ConnectionTrafficSecrets;
use std::fmt;
use zeroize::Zeroizing;

/// An AEAD of TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// AES-128-GCM, with SHA-256.
    Aes128Gcm,
    /// AES-256-GCM, with SHA-384.
    Aes256Gcm,
    /// ChaCha20-Poly1305, with SHA-256.
    ChaCha20Poly1305,
}

impl Cipher {
    /// Returns the highest number of records that one key may encrypt: 2^24 with AES-GCM, for which RFC 8446 §5.5
    /// permits 2^24.5 of full size; unlimited with ChaCha20-Poly1305.
    pub(crate) const fn max_records(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 24,
            Self::ChaCha20Poly1305 => u64::MAX,
        }
    }

    /// Returns the length of a key in bytes.
    const fn key_length(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Returns the HKDF with the hash of the cipher suite.
    fn hash(self) -> hkdf::Algorithm {
        match self {
            Self::Aes256Gcm => hkdf::HKDF_SHA384,
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
        }
    }

    /// Returns the corresponding AEAD algorithm of aws-lc.
    pub(crate) fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// The output length of HKDF in bytes.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// A traffic secret, `application_traffic_secret_N` of one side (RFC 8446 §7.1). Its memory is cleared when it is
/// dropped.
#[derive(Clone)]
pub(crate) struct Secret {
    /// The secret, followed by zeros if it is shorter.
    bytes: Zeroizing<[u8; 48]>,
    /// The length of the secret in bytes.
    length: usize,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Stores a secret. `None` if it is longer than 48 bytes.
    pub(crate) fn new(secret: &[u8]) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 48]);
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(Self { bytes, length: secret.len() })
    }

    /// Fills `out` by HKDF-Expand-Label with this label and an empty context (RFC 8446 §7.1). `None` if the secret
    /// does not have the hash length of the cipher suite, or the length of `out` or of the label is out of range; the
    /// content of `out` is then undefined.
    fn hkdf_expand_label(&self, cipher: Cipher, label: &[u8], out: &mut [u8]) -> Option<()> {
        let hash = cipher.hash();
        if self.length != hash.hmac_algorithm().digest_algorithm().output_len() {
            return None;
        }
        let secret = hkdf::Prk::new_less_safe(hash, &self.bytes[..self.length]);
        let length = u16::try_from(out.len()).ok()?.to_be_bytes();
        let name_length = [u8::try_from(6 + label.len()).ok()?];
        let info = [&length[..], &name_length, b"tls13 ", label, &[0]];
        secret.expand(&info, Length(out.len())).ok()?.fill(out).ok()
    }

    /// Returns the secret after a KeyUpdate (RFC 8446 §7.2). `None` if the secret does not have the hash length of the
    /// cipher suite.
    pub(crate) fn updated(&self, cipher: Cipher) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 48]);
        self.hkdf_expand_label(cipher, b"traffic upd", &mut bytes[..self.length])?;
        Some(Self { bytes, length: self.length })
    }

    /// Derives the key and the initialization vector of records (RFC 8446 §7.3). `None` if the secret does not have
    /// the hash length of the cipher suite.
    pub(crate) fn keys(&self, cipher: Cipher) -> Option<TrafficKeys> {
        let mut keys = TrafficKeys { cipher, key: Zeroizing::new([0; 32]), iv: Zeroizing::new([0; 12]) };
        self.hkdf_expand_label(cipher, b"key", &mut keys.key[..cipher.key_length()])?;
        self.hkdf_expand_label(cipher, b"iv", &mut keys.iv[..])?;
        Some(keys)
    }
}

/// The key and the initialization vector that encrypt records of one direction. Their memory is cleared when they are
/// dropped.
pub(crate) struct TrafficKeys {
    /// The AEAD algorithm.
    cipher: Cipher,
    /// The key, followed by zeros if the AEAD has a shorter one.
    key: Zeroizing<[u8; 32]>,
    /// The initialization vector, with which the sequence number of a record is combined.
    iv: Zeroizing<[u8; 12]>,
}

impl TrafficKeys {
    /// Returns the AEAD algorithm.
    pub(crate) const fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Returns the key, in the length of the AEAD.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..self.cipher.key_length()]
    }

    /// Returns the initialization vector, with which the sequence number of a record is combined.
    pub(crate) fn iv(&self) -> &[u8; 12] {
        &self.iv
    }

    /// Converts the keys that rustls extracted. `None` for an AEAD that is not in [`Cipher`], or a key or
    /// initialization vector of another length.
    pub(crate) fn from_rustls(secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        let (cipher, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Cipher::ChaCha20Poly1305, key, iv),
            _ => return None,
        };
        let mut keys = Self { cipher, key: Zeroizing::new([0; 32]), iv: Zeroizing::new([0; 12]) };
        let (key, iv) = (key.as_ref(), iv.as_ref());
        if key.len() != cipher.key_length() || iv.len() != keys.iv.len() {
            return None;
        }
        keys.key[..key.len()].copy_from_slice(key);
        keys.iv.copy_from_slice(iv);
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    /// RFC 8448 §3: the server's application traffic secret, and the key and initialization vector of it.
    #[test]
    fn keys_of_the_rfc() {
        let secret = bytes(
            "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43",
        );
        let keys = Secret::new(&secret).unwrap().keys(Cipher::Aes128Gcm).unwrap();
        assert_eq!(keys.key(), bytes("9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56"));
        assert_eq!(keys.iv()[..], bytes("cf 78 2b 88 dd 83 54 9a ad f1 e9 84"));
        assert!(Secret::new(&secret).unwrap().keys(Cipher::Aes256Gcm).is_none(), "another hash");
    }
}
