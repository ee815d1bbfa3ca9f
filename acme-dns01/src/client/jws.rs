//! Account keys and JSON Web Signatures (RFC 7515), as RFC 8555 §6.2 uses them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::{Value, json};
use std::fmt;

/// Error of reading or generating an account key, or of signing with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not a private key in PEM, with the reason.
    #[error("not a valid account key: expected a private key in PEM: {0}")]
    Pem(String),
    /// The key's algorithm or size is not supported.
    #[error(
        "the account key has an unsupported type: expected ECDSA P-256 or P-384, or RSA of 2048 bits or more"
    )]
    Kind,
    /// The key could not be generated, or the signature failed.
    #[error("the cryptography failed")]
    Crypto,
}

/// An account key: ECDSA over P-256 or P-384, or RSA of 2048 bits or more. Read from PEM of PKCS #8, SEC1 or PKCS #1.
pub struct AccountKey {
    pair: SigningKey,
    pem: SecretString,
}

/// The key pair of an account, with the JWS algorithm and the curve name of an ECDSA key.
enum SigningKey {
    Ecdsa { pair: EcdsaKeyPair, algorithm: &'static str, curve: &'static str },
    Rsa(rsa::KeyPair),
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").field("thumbprint", &self.thumbprint()).finish_non_exhaustive()
    }
}

impl AccountKey {
    /// Generates an ECDSA key over P-256.
    ///
    /// # Errors
    /// Returns [`KeyError::Crypto`] if the generation fails.
    pub fn generate() -> Result<Self, KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError::Crypto)?;
        Self::from_pem(&pem("PRIVATE KEY", document.as_ref()))
    }

    /// Parses a private key in PEM (PKCS #8, SEC1 or PKCS #1).
    ///
    /// # Errors
    /// Returns [`KeyError::Pem`] if the text is not a private key in PEM, [`KeyError::Kind`] if its type or size is not
    /// supported.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der =
            PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|why| KeyError::Pem(why.to_string()))?;
        let pem = SecretString::from(text.to_owned());
        let curves = [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, "ES256", "P-256"),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, "ES384", "P-384"),
        ];
        for (signing, algorithm, curve) in curves {
            let found = match &der {
                PrivateKeyDer::Pkcs8(der) => EcdsaKeyPair::from_pkcs8(signing, der.secret_pkcs8_der()),
                PrivateKeyDer::Sec1(der) => {
                    EcdsaKeyPair::from_private_key_der(signing, der.secret_sec1_der())
                }
                _ => break,
            };
            if let Ok(pair) = found {
                return Ok(Self { pair: SigningKey::Ecdsa { pair, algorithm, curve }, pem });
            }
        }
        let found = match &der {
            PrivateKeyDer::Pkcs8(der) => rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => rsa::KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(KeyError::Kind),
        };
        Ok(Self { pair: SigningKey::Rsa(found.map_err(|_| KeyError::Kind)?), pem })
    }

    /// Returns `true` if the key is ECDSA over P-256, as [`generate`](Self::generate) makes it.
    #[must_use]
    pub const fn is_es256(&self) -> bool {
        matches!(&self.pair, SigningKey::Ecdsa { algorithm, .. } if matches!(algorithm.as_bytes(), b"ES256"))
    }

    /// Returns the key in PKCS #8 DER if it is ECDSA over P-256. `None` for other keys.
    pub(super) fn es256_pkcs8(&self) -> Option<PrivatePkcs8KeyDer<'static>> {
        match &self.pair {
            SigningKey::Ecdsa { pair, algorithm: "ES256", .. } => {
                Some(PrivatePkcs8KeyDer::from(pair.to_pkcs8v1().ok()?.as_ref().to_vec()))
            }
            _ => None,
        }
    }

    /// Returns the private key in PEM, as it was read or generated.
    #[must_use]
    pub const fn pem(&self) -> &SecretString {
        &self.pem
    }

    /// Returns the public key as a JWK (RFC 7517), with the members required by RFC 7638, in lexicographic order.
    #[must_use]
    pub fn jwk(&self) -> Value {
        match &self.pair {
            SigningKey::Ecdsa { pair, curve, .. } => {
                let point = pair.public_key().as_ref();
                let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
                json!({"crv": curve, "kty": "EC", "x": encode(x), "y": encode(y)})
            }
            SigningKey::Rsa(pair) => {
                let public = pair.public_key();
                let bytes =
                    |big: &[u8]| encode(big.iter().position(|byte| *byte != 0).map_or(big, |at| &big[at..]));
                let exponent = bytes(public.exponent().big_endian_without_leading_zero());
                json!({"e": exponent, "kty": "RSA", "n": bytes(public.modulus().big_endian_without_leading_zero())})
            }
        }
    }

    /// Returns the JWK thumbprint (RFC 7638): SHA-256, in base64url without padding.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        // RFC 7638 §3.3 requires the members in lexicographic order.
        let canonical = self.jwk().to_string();
        encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    }

    /// Returns the value of the TXT record for a challenge's token (RFC 8555 §8.4): the SHA-256 digest of the key
    /// authorization, in base64url without padding.
    #[must_use]
    pub fn txt_value(&self, token: &str) -> String {
        let authorization = format!("{token}.{}", self.thumbprint());
        encode(digest::digest(&digest::SHA256, authorization.as_bytes()).as_ref())
    }

    /// Signs a request to `url` as a flattened JWS (RFC 8555 §6.2). `account` is the account URL (`kid`), or `None` to
    /// include the public key (`jwk`). `nonce` is `None` for the inner JWS of a key change. An empty `payload` is that
    /// of POST-as-GET.
    ///
    /// # Errors
    /// Returns [`KeyError::Crypto`] if the signature fails.
    pub(super) fn sign(
        &self,
        url: &str,
        account: Option<&str>,
        nonce: Option<&str>,
        payload: &str,
    ) -> Result<Value, KeyError> {
        let algorithm = match &self.pair {
            SigningKey::Ecdsa { algorithm, .. } => algorithm,
            SigningKey::Rsa(_) => "RS256",
        };
        let mut protected = json!({"alg": algorithm, "url": url});
        if let Some(nonce) = nonce {
            protected["nonce"] = nonce.into();
        }
        match account {
            Some(account) => protected["kid"] = account.into(),
            None => protected["jwk"] = self.jwk(),
        }
        let (protected, payload) = (encode(protected.to_string().as_bytes()), encode(payload.as_bytes()));
        let signed = format!("{protected}.{payload}");
        let random = SystemRandom::new();
        let signature = match &self.pair {
            SigningKey::Ecdsa { pair, .. } => {
                let signature = pair.sign(&random, signed.as_bytes()).map_err(|_| KeyError::Crypto)?;
                signature.as_ref().to_vec()
            }
            SigningKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
                    .map_err(|_| KeyError::Crypto)?;
                signature
            }
        };
        Ok(json!({"protected": protected, "payload": payload, "signature": encode(&signature)}))
    }
}

/// Returns the external account binding of a newAccount request (RFC 8555 §7.3.4): a JWS over the account's public key
/// `jwk`, signed by HMAC-SHA256 with the CA's MAC key. `url` is that of the newAccount resource.
pub(super) fn external(key_id: &str, secret: &SecretSlice<u8>, url: &str, jwk: &Value) -> Value {
    let protected = encode(json!({"alg": "HS256", "kid": key_id, "url": url}).to_string().as_bytes());
    let payload = encode(jwk.to_string().as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret());
    let signature = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
    json!({"protected": protected, "payload": payload, "signature": encode(signature.as_ref())})
}

/// Encodes bytes as base64url without padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Encodes DER as PEM with this label, in lines of 64 characters, with a line feed at the end.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = (0..body.len()).step_by(64).map(|at| &body[at..body.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pem_and_says_nothing_in_debug() {
        let key = AccountKey::generate().expect("a key");
        let again = AccountKey::from_pem(key.pem().expose_secret()).expect("the same key");
        assert_eq!(key.thumbprint(), again.thumbprint());
        assert!(!format!("{key:?}").contains("PRIVATE"));
        assert_eq!(key.txt_value("token").len(), 43);
    }
}
