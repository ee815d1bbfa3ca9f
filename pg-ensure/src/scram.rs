//! SCRAM-SHA-256 verifiers, computed by the client so that a password is not sent to the server.
//!
//! RFC 5802, RFC 7677, and PostgreSQL's `src/common/scram-common.c` and `src/common/saslprep.c`.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// Default of PostgreSQL's parameter `scram_iterations`.
pub const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// Maximum length of a verifier in bytes (`MAX_ENCRYPTED_PASSWORD_LEN` of PostgreSQL 18), for every version.
pub const MAX_VERIFIER: usize = 512;

/// A SCRAM-SHA-256 verifier (RFC 5803), which the server stores instead of a password. It is secret: `Debug` prints the
/// iteration count only.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

/// Error of parsing a verifier. The server would treat most such texts as passwords in clear text, and store their
/// hashes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifierError {
    /// The text does not begin with `SCRAM-SHA-256$`.
    #[error("it does not begin with SCRAM-SHA-256$")]
    Scheme,
    /// The iteration count is not a number from 1 to 2147483647 in decimal digits.
    #[error("its iteration count is not a number from 1 to 2147483647")]
    Iterations,
    /// The salt is missing, empty, or not canonical base64.
    #[error("its salt is not base64 of at least one byte")]
    Salt,
    /// `StoredKey` or `ServerKey` is missing, not canonical base64, or not 32 bytes long.
    #[error("a key is not base64 of 32 bytes")]
    Key,
    /// The text is longer than [`MAX_VERIFIER`] bytes.
    #[error("it is longer than 512 bytes")]
    TooLong,
}

/// Error of a password that PostgreSQL cannot use.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordError {
    /// The password is empty. The server would remove the password instead.
    #[error("the password is empty")]
    Empty,
    /// The password contains a NUL byte, at which every client would truncate it.
    #[error("the password holds a NUL byte")]
    Nul,
    /// The password is empty after SASLprep (RFC 4013). Not returned by this version, which like the server uses such a
    /// password unchanged.
    #[error("nothing is left of the password once it is normalised")]
    EmptyOncePrepared,
}

impl Verifier {
    /// Derives the verifier of a password with this salt, after SASLprep (RFC 4013) as the server does it: a password
    /// that SASLprep prohibits is used unchanged. PostgreSQL itself uses a salt of 16 random bytes.
    ///
    /// # Errors
    /// Returns a [`PasswordError`] if the password is empty or contains a NUL byte.
    pub fn derive(
        password: &SecretString,
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Result<Self, PasswordError> {
        let prepared = prepare(password.expose_secret())?;
        let salted = salted_password(prepared.as_bytes(), salt, iterations);
        let client_key = Zeroizing::new(hmac(&*salted, b"Client Key"));
        Ok(Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(*client_key).into(),
            server_key: hmac(&*salted, b"Server Key"),
        })
    }

    /// Parses `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. White space around it is an error.
    ///
    /// # Errors
    /// Returns a [`VerifierError`] if the text is not a valid verifier.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        if text.len() > MAX_VERIFIER {
            return Err(VerifierError::TooLong);
        }
        let rest = text.strip_prefix("SCRAM-SHA-256$").ok_or(VerifierError::Scheme)?;
        let (head, keys) = rest.split_once('$').ok_or(VerifierError::Key)?;
        let (iterations, salt) = head.split_once(':').ok_or(VerifierError::Salt)?;
        if iterations.is_empty() || !iterations.bytes().all(|b| b.is_ascii_digit()) {
            return Err(VerifierError::Iterations);
        }
        let iterations: i32 = iterations.parse().map_err(|_| VerifierError::Iterations)?;
        let iterations = u32::try_from(iterations).ok().and_then(NonZeroU32::new);
        let iterations = iterations.ok_or(VerifierError::Iterations)?;
        let salt = base64::decode(salt).filter(|salt| !salt.is_empty()).ok_or(VerifierError::Salt)?;
        let (stored, server) = keys.split_once(':').ok_or(VerifierError::Key)?;
        let key = |text: &str| -> Result<[u8; 32], VerifierError> {
            base64::decode(text).and_then(|key| key.try_into().ok()).ok_or(VerifierError::Key)
        };
        Ok(Self { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }

    /// Returns the verifier as text, as in `ALTER ROLE … PASSWORD` and in `pg_authid.rolpassword`. It is secret.
    #[must_use]
    pub fn to_secret(&self) -> SecretString {
        let (salt, stored, server) =
            (base64::encode(&self.salt), base64::encode(&self.stored_key), base64::encode(&self.server_key));
        format!("SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations).into()
    }

    /// Returns `true` if this is the verifier of a password. The keys are compared in constant time. `false` for a
    /// password that cannot be used.
    #[must_use]
    pub fn matches(&self, password: &SecretString) -> bool {
        let Ok(derived) = Self::derive(password, &self.salt, self.iterations) else { return false };
        let same = self.stored_key.ct_eq(&derived.stored_key) & self.server_key.ct_eq(&derived.server_key);
        same.into()
    }

    /// Returns the iteration count.
    #[must_use]
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Returns the decoded salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// Normalizes a password by SASLprep (RFC 4013) as PostgreSQL does: a password that SASLprep prohibits, or of which
/// nothing would be left, is unchanged.
///
/// # Errors
/// Returns a [`PasswordError`] if the password is empty or contains a NUL byte.
pub(crate) fn prepare(password: &str) -> Result<Zeroizing<String>, PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    if password.contains('\0') {
        return Err(PasswordError::Nul);
    }
    let prepared = match stringprep::saslprep(password) {
        Ok(Cow::Borrowed(same)) => same.to_owned(),
        Ok(Cow::Owned(other)) => other,
        Err(_) => password.to_owned(),
    };
    // The server treats a password of which nothing is left like a prohibited one, and leaves it unchanged.
    Ok(Zeroizing::new(if prepared.is_empty() { password.to_owned() } else { prepared }))
}

/// Returns the HMAC-SHA-256 of data.
fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key will do");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Derives the salted password: PBKDF2 with HMAC-SHA-256 and one block, `Hi()` in RFC 5802.
///
/// After the first iteration every message is 32 bytes long, so that an iteration is two compressions, each from a
/// state that already includes the padded key.
fn salted_password(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Zeroizing<[u8; 32]> {
    let mut first = Hmac::<Sha256>::new_from_slice(password).expect("any length of key will do");
    first.update(salt);
    first.update(&1u32.to_be_bytes());
    let mut message = Zeroizing::new(words(&first.finalize().into_bytes().into()));
    let mut key = Zeroizing::new([0u8; 64]);
    if password.len() > 64 {
        key[..32].copy_from_slice(&Sha256::digest(password));
    } else {
        key[..password.len()].copy_from_slice(password);
    }
    let padded = |pad: u8| {
        let mut state = INITIAL;
        let mut block = Zeroizing::new(*key);
        block.iter_mut().for_each(|byte| *byte ^= pad);
        compress256(&mut state, std::slice::from_ref(&*block));
        Zeroizing::new(state)
    };
    let (inner, outer) = (padded(0x36), padded(0x5c));
    // 32 bytes, the end marker, and the length in bits of a padded key and a message.
    let mut block = Zeroizing::new([0u8; 64]);
    block[32] = 0x80;
    block[56..].copy_from_slice(&(8 * (64 + 32u64)).to_be_bytes());
    let mut result = message.clone();
    for _ in 1..iterations.get() {
        for start in [&inner, &outer] {
            block[..32].copy_from_slice(&bytes(&message));
            *message = **start;
            compress256(&mut message, std::slice::from_ref(&*block));
        }
        result.iter_mut().zip(message.iter()).for_each(|(sum, word)| *sum ^= word);
    }
    Zeroizing::new(bytes(&result))
}

/// The initial hash value of SHA-256 (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Converts bytes to words, each of four bytes in big-endian order.
fn words(bytes: &[u8; 32]) -> [u32; 8] {
    std::array::from_fn(|at| u32::from_be_bytes(std::array::from_fn(|byte| bytes[at * 4 + byte])))
}

/// Converts words to bytes in big-endian order.
fn bytes(words: &[u32; 8]) -> [u8; 32] {
    std::array::from_fn(|at| words[at / 4].to_be_bytes()[at % 4])
}

/// Base64 with padding (RFC 4648). Decoding accepts only what encoding produces.
mod base64 {
    /// Digits of base64 (RFC 4648 §4).
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// Encodes bytes in base64 with padding.
    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let word =
                chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for index in 0..4 {
                if index <= chunk.len() {
                    out.push(char::from(ALPHABET[(word >> (18 - 6 * index)) as usize & 63]));
                } else {
                    out.push('=');
                }
            }
        }
        out
    }

    /// Decodes base64 with padding. `None` if the text is empty, not valid or not canonical.
    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || !bytes.len().is_multiple_of(4) {
            return None;
        }
        let padding = bytes.iter().rev().take_while(|b| **b == b'=').count();
        if padding > 2 {
            return None;
        }
        let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
        for (position, chunk) in bytes.chunks(4).enumerate() {
            let last = (position + 1) * 4 == bytes.len();
            let real = if last { 4 - padding } else { 4 };
            let mut word = 0u32;
            for byte in &chunk[..real] {
                let value = ALPHABET.iter().position(|known| known == byte)?;
                word = word << 6 | u32::try_from(value).ok()?;
            }
            word <<= 6 * (4 - real);
            out.extend_from_slice(&word.to_be_bytes()[1..real]);
        }
        // Only canonical encodings are accepted, without stray bits.
        (encode(&out) == text).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    /// RFC 7677, section 3: user "user", password "pencil".
    #[test]
    fn the_vector_of_rfc_7677() {
        let salt = base64::decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let verifier = Verifier::derive(&secret("pencil"), &salt, DEFAULT_ITERATIONS).expect("a password");
        let text = verifier.to_secret();
        assert_eq!(
            text.expose_secret(),
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        assert_eq!(Verifier::parse(text.expose_secret()), Ok(verifier.clone()));
        assert!(verifier.matches(&secret("pencil")));
        assert!(!verifier.matches(&secret("Pencil")));
    }

    /// The fast way against the plain one, for keys of every length around a block.
    #[test]
    fn rounds_are_hmac() {
        for length in [1, 31, 32, 63, 64, 65, 200, 1000] {
            let (password, salt) = ("p".repeat(length), b"0123456789abcdef");
            let mut block = hmac(password.as_bytes(), &[&salt[..], &1u32.to_be_bytes()].concat());
            let mut sum = block;
            for _ in 1..50 {
                block = hmac(password.as_bytes(), &block);
                sum.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
            }
            let fast = salted_password(password.as_bytes(), salt, NonZeroU32::new(50).expect("a number"));
            assert_eq!(*fast, sum, "{length}");
        }
    }

    #[test]
    fn saslprep_as_the_server_does_it() {
        for (one, other) in [("I\u{ad}X", "IX"), ("\u{2168}", "IX"), ("\u{aa}", "a"), ("a\u{a0}b", "a b")] {
            assert_eq!(*prepare(one).expect("a password"), *prepare(other).expect("a password"));
        }
        assert_eq!(*prepare("\u{7}").expect("prohibited, so raw"), "\u{7}");
        assert_eq!(prepare(""), Err(PasswordError::Empty));
        assert_eq!(prepare("a\0b"), Err(PasswordError::Nul));
    }

    #[test]
    fn nothing_of_a_verifier_is_shown() {
        let verifier =
            Verifier::derive(&secret("pencil"), b"0123456789abcdef", DEFAULT_ITERATIONS).expect("one");
        assert_eq!(format!("{verifier:?}"), "Verifier { iterations: 4096, .. }");
    }

    #[test]
    fn what_the_server_would_take_for_a_plaintext_is_refused() {
        let salt = b"0123456789abcdef";
        let verifier = Verifier::derive(&secret("pencil"), salt, DEFAULT_ITERATIONS).expect("one");
        let good = verifier.to_secret().expose_secret().to_owned();
        for bad in [
            good.to_lowercase(),
            format!("{good}\n"),
            format!(" {good}"),
            good.replace("4096", "0"),
            good.replace("4096", "-1"),
            good.replace("4096", "+1"),
            good.replace("4096", "2147483648"),
            good.replace('$', ":"),
            good[..good.len() - 1].to_owned(),
            "md5d577273ff885c3f84dadb8578bb41399".to_owned(),
            String::new(),
        ] {
            assert!(Verifier::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
