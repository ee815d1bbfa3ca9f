//! Names of the files and folders of a file store.

/// The name of the private folder: journals, accounts, locks and the ledger.
pub(super) const PRIVATE: &str = ".acme-dns01";

/// The names of the files that the store manages in a certificate's folder.
pub(super) const FILES: [&str; 5] = ["fullchain.pem", "key.pem", "chain.pem", "full.pem", "cert.pem"];
