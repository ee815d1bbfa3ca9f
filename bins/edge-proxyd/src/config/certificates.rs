//! The reader of `[site.client_certificates]`.

use super::document::Table;
use super::keys::{Key, Kind, words};
use edge_proxy::config::{CertificateField, CertificateMode, ClientCertificates};

/// The keys of `client_certificates` of a site.
pub(super) static KEYS: &[Key] = &[
    Key::required("ca", Kind::Path),
    Key::new("mode", Kind::Word(&const { words(&MODES) })),
    Key::new("crl", Kind::Path),
    Key::new("headers", Kind::Named(&Kind::Word(&const { words(&FIELDS) }))),
];

/// The words of `mode`.
const MODES: [(&str, CertificateMode); 2] =
    [("required", CertificateMode::Required), ("optional", CertificateMode::Optional)];

/// The words of `headers` for the parts of a client certificate that a request field can carry.
const FIELDS: [(&str, CertificateField); 9] = [
    ("certificate", CertificateField::Certificate),
    ("chain", CertificateField::Chain),
    ("fingerprint", CertificateField::Fingerprint),
    ("fingerprint-sha1", CertificateField::FingerprintSha1),
    ("issuer", CertificateField::Issuer),
    ("pem", CertificateField::Pem),
    ("serial", CertificateField::Serial),
    ("subject", CertificateField::Subject),
    ("verified", CertificateField::Verified),
];

/// Reads the table `client_certificates` of a site. `None` if there is none. Missing keys have their defaults, so that
/// certificates are required. If `ca` is missing or not valid, that is reported, and the path is empty.
pub(super) fn read(table: &Table<'_, '_>) -> Option<ClientCertificates> {
    let table = table.table("client_certificates")?;
    let ca = table.get("ca");
    if ca.is_none() {
        table.report_error(
            "ca",
            "missing: write the PEM file of the authorities, such as \"/etc/edge-proxy/clients.pem\"",
        );
    }
    let mut asked = ClientCertificates::required(ca.and_then(|value| value.path()).unwrap_or_default());
    asked.mode = table.get("mode").and_then(|value| value.one_of(&MODES)).unwrap_or_default();
    asked.crl = table.get("crl").and_then(|value| value.path());
    if let Some(headers) = table.table("headers") {
        let read = |(name, value): (&str, super::document::Value<'_, '_>)| {
            value.one_of(&FIELDS).map(|field| (name.to_owned(), field))
        };
        asked.fields = headers.all().filter_map(read).collect();
    }
    table.finish();
    Some(asked)
}
