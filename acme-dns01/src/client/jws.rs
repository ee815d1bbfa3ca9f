//! Account keys and the signatures of requests: RFC 7515 as RFC 8555 uses it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::{Value, json};
use std::fmt;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is no PKCS #8 PEM.
    #[error("the account key is no PKCS #8 key in PEM: {0}")]
    Pem(String),
    /// It is of another kind.
    #[error("the account key is neither ECDSA P-256 nor P-384")]
    Kind,
    /// The system's randomness or the signature failed.
    #[error("the cryptography failed")]
    Crypto,
}

/// The key of an account: ECDSA over P-256 or P-384.
pub struct AccountKey {
    pair: EcdsaKeyPair,
    algorithm: &'static str,
    curve: &'static str,
    pem: SecretString,
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").field("thumbprint", &self.thumbprint()).finish_non_exhaustive()
    }
}

impl AccountKey {
    /// A new key over P-256.
    ///
    /// # Errors
    /// [`KeyError::Crypto`].
    pub fn generate() -> Result<Self, KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| KeyError::Crypto)?;
        Self::from_pem(&pem("PRIVATE KEY", document.as_ref()))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|why| KeyError::Pem(why.to_string()))?;
        let der = der.secret_pkcs8_der();
        let pem = SecretString::from(text.to_owned());
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            return Ok(Self { pair, algorithm: "ES256", curve: "P-256", pem });
        }
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der).map_err(|_| KeyError::Kind)?;
        Ok(Self { pair, algorithm: "ES384", curve: "P-384", pem })
    }

    /// The key in PEM.
    #[must_use]
    pub const fn pem(&self) -> &SecretString {
        &self.pem
    }

    /// The public key (RFC 7517), with its members in the order of RFC 7638.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
        json!({"crv": self.curve, "kty": "EC", "x": encode(x), "y": encode(y)})
    }

    /// The thumbprint of the public key (RFC 7638).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let canonical = format!(r#"{{"crv":{},"kty":"EC","x":{},"y":{}}}"#, jwk["crv"], jwk["x"], jwk["y"]);
        encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    }

    /// The value of the TXT record for a challenge's token (RFC 8555 §8.4).
    #[must_use]
    pub fn txt_value(&self, token: &str) -> String {
        let authorization = format!("{token}.{}", self.thumbprint());
        encode(digest::digest(&digest::SHA256, authorization.as_bytes()).as_ref())
    }

    /// Signs a request. `account` is its URL, or `None` to send the public key itself.
    ///
    /// # Errors
    /// [`KeyError::Crypto`].
    pub(super) fn sign(
        &self,
        url: &str,
        account: Option<&str>,
        nonce: Option<&str>,
        payload: &str,
    ) -> Result<Value, KeyError> {
        let mut protected = json!({"alg": self.algorithm, "url": url});
        if let Some(nonce) = nonce {
            protected["nonce"] = nonce.into();
        }
        match account {
            Some(account) => protected["kid"] = account.into(),
            None => protected["jwk"] = self.jwk(),
        }
        let (protected, payload) = (encode(protected.to_string().as_bytes()), encode(payload.as_bytes()));
        let signed = format!("{protected}.{payload}");
        let signature =
            self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| KeyError::Crypto)?;
        Ok(json!({"protected": protected, "payload": payload, "signature": encode(signature.as_ref())}))
    }
}

/// Binds a new account to one that the CA knows otherwise (RFC 8555 §7.3.4).
pub(super) fn external(key_id: &str, secret: &SecretSlice<u8>, url: &str, jwk: &Value) -> Value {
    let protected = encode(json!({"alg": "HS256", "kid": key_id, "url": url}).to_string().as_bytes());
    let payload = encode(jwk.to_string().as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret());
    let signature = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
    json!({"protected": protected, "payload": payload, "signature": encode(signature.as_ref())})
}

/// base64url without padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// PEM of anything.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
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
