//! Parts of the man page that `--help` does not contain.

use cli_support::generate::Manual;
use cli_support::reference::page;

/// Parts of the manual page beside the options.
pub(crate) const MANUAL: Manual = Manual {
    examples: &[
        ("acme-dns01 check", "Checks credentials, DNS, CAA and files without an order."),
        ("acme-dns01 once", "Does what is due now, and ends: for a timer."),
        ("acme-dns01 list", "Shows the certificates, the days left and the time of renewal."),
        (
            "acme-dns01 claim",
            "Takes over the folder of certificates from root or another client, for the account acme.",
        ),
        ("acme-dns01 adopt /etc/letsencrypt", "Takes over the certificates and accounts of certbot."),
    ],
    files: &[
        ("/etc/acme-dns01/acme-dns01.toml", "The configuration, see acme-dns01.toml(5)."),
        ("/etc/acme-dns01.toml", "The configuration, where the file above does not exist."),
        (
            "/var/lib/acme/NAME/",
            "The folder of a certificate: key.pem, cert.pem, chain.pem, fullchain.pem, full.pem.",
        ),
        ("/var/lib/acme/.acme-dns01/", "Accounts, journals of orders, and locks."),
    ],
    signals: &[
        ("SIGHUP", "run: reads the configuration again; a faulty one is named and the old one stays in use."),
        ("SIGTERM, SIGINT", "run: ends after the next journal line; an order goes on at the next start."),
    ],
    references: &[("acme-dns01.toml", || {
        page("acme-dns01.toml", "acme-dns01", include_str!("../CONFIG.md"))
    })],
};
