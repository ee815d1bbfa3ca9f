//! Parts of the man page that `--help` does not contain.

use cli_support::generate::Manual;

/// Examples, files and signals for the man page.
pub(crate) const MANUAL: Manual = Manual {
    examples: &[
        ("upgrade-pg-cluster plan --from 17 --to 18", "Shows the steps and every obstacle; touches nothing."),
        (
            "upgrade-pg-cluster run --from 17 --to 18 --service postgresql@17-main",
            "Upgrades, or resumes an interrupted upgrade.",
        ),
        ("upgrade-pg-cluster rollback --from 17 --to 18", "Returns to the old cluster."),
        ("upgrade-pg-cluster gc --older-than 30d --dry-run", "Lists old clusters that can be removed."),
    ],
    files: &[
        ("/var/lib/postgresql/VERSION/NAME", "The data folder of a cluster; --base and --cluster change it."),
        ("journal.json", "The journal of the upgrade, in a folder beside the new data."),
        ("report.html", "The report of the upgrade, beside the journal."),
    ],
    signals: &[("SIGTERM, SIGINT", "Ends; the next run resumes from the journal.")],
    references: &[],
};
