//! Parts of the man page that `--help` does not contain.

use cli_support::generate::Manual;
use cli_support::reference::page;

/// Parts of the manual page beside the options.
pub(crate) const MANUAL: Manual = Manual {
    examples: &[
        ("pg-ensure plan databases.toml", "Shows the statements that apply would run, and why."),
        ("pg-ensure apply databases.toml", "Runs them under one lock, then verifies."),
        ("pg-ensure check databases.toml --offline", "Checks the manifest and its secrets without a server."),
        (
            "pg-ensure plan databases.toml --destroy role=old",
            "Includes the removal of a role that is declared absent.",
        ),
    ],
    files: &[
        ("/etc/pg-ensure/pg-ensure.toml", "The manifest, where none is named, see pg-ensure.toml(5)."),
        ("/etc/pg-ensure/manifest.toml", "The manifest, where the file above does not exist."),
        (
            "~/.pgpass, ~/.pg_service.conf, ~/.postgresql/",
            "Passwords, services and certificates, as libpq reads them.",
        ),
    ],
    signals: &[("SIGTERM, SIGINT", "Ends; the open transaction is rolled back by the server.")],
    references: &[("pg-ensure.toml", || page("pg-ensure.toml", "pg-ensure", include_str!("../MANIFEST.md")))],
};
