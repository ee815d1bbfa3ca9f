//! Conversion of RSA private keys from JWK (RFC 7517), the format of certbot, to PEM of PKCS #1.

use crate::client::pem;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Converts an RSA private key from a JWK to PEM (PKCS #1). Returns `None` if the text is not JSON, not an RSA key, or
/// a private member is missing or not valid base64url.
pub(super) fn to_pem(text: &str) -> Option<String> {
    let object: Value = serde_json::from_str(text).ok()?;
    if object["kty"] != "RSA" {
        return None;
    }
    let mut body = integer(&[0]);
    for member in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        let bytes = URL_SAFE_NO_PAD.decode(object[member].as_str()?.trim_end_matches('=')).ok()?;
        body.extend(integer(&bytes));
    }
    Some(pem("RSA PRIVATE KEY", &encode_der(0x30, &body)))
}

/// Encodes unsigned big-endian bytes as a DER INTEGER: leading zeros are removed, and one is added if the sign bit
/// would be set.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = bytes.get(first..).unwrap_or_default();
    let mut content = Vec::with_capacity(bytes.len() + 1);
    if bytes.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(bytes);
    encode_der(0x02, &content)
}

/// Encodes a DER value: tag, length in the short or long form, content.
fn encode_der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if let Ok(short) = u8::try_from(length)
        && short < 0x80
    {
        out.push(short);
    } else {
        let bytes = length.to_be_bytes();
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
        let bytes = bytes.get(first..).unwrap_or_default();
        out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0));
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_der() {
        assert_eq!(integer(&[0]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[1, 0, 1]), [2, 3, 1, 0, 1]);
        assert_eq!(&encode_der(0x30, &[7; 300])[..4], [0x30, 0x82, 1, 44]);
        assert_eq!(to_pem("{}"), None);
        assert_eq!(to_pem(r#"{"kty":"RSA","n":"AQ"}"#), None);
    }
}
