//! A parser for the part of X.509 that channel binding needs: the hash algorithm of a certificate's signature.

/// Hash algorithm of a channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndPointHash {
    /// SHA-256, which also replaces MD5 and SHA-1 (RFC 5929 §4.1).
    Sha256,
    /// The SHA-384 hash.
    Sha384,
    /// The SHA-512 hash.
    Sha512,
}

/// Returns the hash algorithm of the channel binding `tls-server-end-point` for a certificate in DER (RFC 5929 §4.1).
/// `None` if its signature algorithm has no single hash, such as Ed25519, or the certificate is malformed.
pub(crate) fn end_point_hash(certificate: &[u8]) -> Option<EndPointHash> {
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, … }, signature }
    let (0x30, body, _) = element(certificate)? else { return None };
    let (_, _, rest) = element(body)?;
    let (0x30, algorithm, _) = element(rest)? else { return None };
    let (0x06, oid, _) = element(algorithm)? else { return None };
    match oid {
        // 1.2.840.113549.1.1.n: RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last] => match last {
            0x04 | 0x05 | 0x0b => Some(EndPointHash::Sha256),
            0x0c => Some(EndPointHash::Sha384),
            0x0d => Some(EndPointHash::Sha512),
            _ => None,
        },
        // 1.2.840.10045.4.1: ECDSA with SHA-1; 1.2.840.10045.4.3.n: with SHA-256, SHA-384, SHA-512.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01] => Some(EndPointHash::Sha256),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last] => match last {
            0x02 => Some(EndPointHash::Sha256),
            0x03 => Some(EndPointHash::Sha384),
            0x04 => Some(EndPointHash::Sha512),
            _ => None,
        },
        _ => None,
    }
}

/// Splits off the first DER element: its tag, its content, and the bytes after it. `None` if it is malformed or
/// incomplete.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_name_their_hash() {
        for (algorithm, hash) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(EndPointHash::Sha256)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(EndPointHash::Sha384)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
            let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            let made = params.self_signed(&key).expect("a certificate");
            assert_eq!(end_point_hash(made.der()), hash);
        }
        for bytes in [&[][..], &[0x30], &[0x30, 0x84, 255, 255, 255, 255], &[0x30, 0x80, 0, 0]] {
            assert_eq!(end_point_hash(bytes), None);
        }
    }
}
