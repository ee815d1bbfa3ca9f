//! Sections of the man page that `--help` does not have.

use cli_support::generate::Manual;
use cli_support::reference::page;

/// Examples, files, signals and the page of the policy.
pub(crate) const MANUAL: Manual = Manual {
    examples: &[
        ("pg-hba render --policy hba.toml", "Prints the pg_hba.conf of a policy."),
        (
            "pg-hba check /etc/postgresql/18/main/pg_hba.conf",
            "Reports lines that the server refuses, and dangers.",
        ),
        (
            "pg-hba explain pg_hba.conf --db forgejo --user forgejo --from 100.64.0.2",
            "Shows the rule that decides.",
        ),
        ("pg-hba install --policy hba.toml --dry-run", "Shows what would change on the server."),
    ],
    files: &[
        ("/etc/pg-hba/hba.toml", "The policy, where none is named, see hba.toml(5)."),
        ("pg_hba.conf", "The file of the server; install finds it by asking the server."),
    ],
    signals: &[("SIGTERM, SIGINT", "Ends; install has then replaced the file whole, or not at all.")],
    references: &[("hba.toml", || page("hba.toml", "pg-hba", include_str!("../POLICY.md")))],
};
