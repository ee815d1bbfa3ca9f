//! The extensions of the PROXY header to an upstream: those that this proxy knows itself, and others from the PROXY
//! header of a proxy in front.

use super::exchange::Connection;
use super::tls::TlsParameters;
use edge_http::proxy_protocol::{Extensions, TlsExtension};
use edge_policy::CertificateContext;
use edge_policy::config::{ProxyOut, Upstream};
use std::borrow::Cow;

/// Returns the extensions (TLVs) of the PROXY header to an upstream. They begin as those in the client's PROXY header.
/// For a connection whose TLS ended here, ALPN, server name and the TLS parameters are replaced by those of this
/// proxy; for TLS that is passed through, the server name only. `request_id`, if given, replaces the unique ID. Empty
/// unless the upstream receives version 2.
pub(crate) fn proxy_extensions(
    upstream: &Upstream,
    connection: &Connection,
    certificate: CertificateContext<'_>,
    request_id: Option<&str>,
) -> Extensions {
    if upstream.proxy_protocol != Some(ProxyOut::V2) {
        return Extensions::default();
    }
    let mut extensions = connection.proxy_extensions.as_deref().cloned().unwrap_or_default();
    if let Some(tls) = connection.tls {
        // TLS ends here: what was said of another connection does not describe this one.
        extensions.alpn = connection.alpn.map(|name| name.as_bytes().to_vec());
        extensions.authority = connection.sni.as_deref().map(str::to_owned);
        extensions.tls = Some(tls_extension(tls, certificate));
    } else if let Some(sni) = &connection.sni {
        // TLS that is passed through.
        extensions.authority = Some(sni.clone().into_string());
    }
    if let Some(id) = request_id {
        extensions.unique_id = Some(id.as_bytes().to_vec());
    }
    extensions
}

/// Returns the TLS extension of a connection whose TLS ended at this proxy: version and cipher suite, and for a
/// verified client certificate the facts that it was sent and verified, and its common name.
fn tls_extension(tls: TlsParameters, certificate: CertificateContext<'_>) -> TlsExtension {
    let cipher = tls.cipher.map(|name| openssl_name(name).into_owned());
    let mut extensions = TlsExtension::over_tls(tls.version, cipher);
    if let CertificateContext::Verified(certificate) = certificate {
        (extensions.certificate, extensions.verified) = (true, true);
        extensions.common_name.clone_from(&certificate.common_name);
    }
    extensions
}

/// Returns OpenSSL's name of a cipher suite from its IANA name, as receivers of PROXY headers expect. The names of TLS
/// 1.3 and names of another form are returned unchanged.
fn openssl_name(registered: &str) -> Cow<'_, str> {
    let Some((exchange, cipher)) = registered.strip_prefix("TLS_").and_then(|name| name.split_once("_WITH_"))
    else {
        return registered.into();
    };
    let cipher = cipher.replace("AES_", "AES").replace("POLY1305_SHA256", "POLY1305");
    format!("{exchange}-{cipher}").replace('_', "-").into()
}

#[cfg(test)]
mod tests {
    use super::openssl_name;

    #[test]
    fn cipher_suites_have_the_names_of_openssl() {
        for (registered, openssl) in [
            ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        ] {
            assert_eq!(openssl_name(registered), openssl);
        }
    }
}
