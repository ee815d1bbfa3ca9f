//! The negotiated version and cipher suite of a TLS connection by their standard names.

use rustls::{CipherSuite, CommonState, ProtocolVersion};

/// The TLS version and cipher suite negotiated with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsParameters {
    /// The version in the notation of OpenSSL: `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The IANA name of the cipher suite, such as `TLS_AES_128_GCM_SHA256`. `None` over QUIC, where it is not known,
    /// and for suites without a known name.
    pub cipher: Option<&'static str>,
}

impl TlsParameters {
    /// The parameters of every QUIC connection (RFC 9001 §4.2).
    pub(crate) const QUIC: Self = Self { version: "TLSv1.3", cipher: None };

    /// Returns the parameters of a connection. `None` until they are negotiated, or for another version than TLS 1.2 or
    /// 1.3.
    pub(crate) fn of(tls: &CommonState) -> Option<Self> {
        let version = match tls.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => return None,
        };
        Some(Self { version, cipher: tls.negotiated_cipher_suite().and_then(|suite| name(suite.suite())) })
    }
}

/// Returns the IANA name of a cipher suite, without the prefix `TLS13` that rustls uses. `None` if rustls has no name
/// for it.
fn name(suite: CipherSuite) -> Option<&'static str> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_their_registered_names() {
        for suite in rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES {
            let name = name(suite.suite()).expect("every suite has a name");
            assert!(name.starts_with("TLS_") && name.contains("_SHA"), "{name}");
        }
        assert_eq!(
            name(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
            Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
        );
    }
}
