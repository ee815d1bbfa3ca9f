//! Sections of the man page that `--help` does not have.

use cli_support::generate::Manual;
use cli_support::reference::page;

/// Examples, files, signals and the page of the settings.
pub(crate) const MANUAL: Manual = Manual {
    examples: &[
        ("smtp-config render --settings mailer.toml", "Prints the sections of app.ini without a password."),
        (
            "smtp-config check /etc/forgejo/app.ini",
            "Reports settings that Forgejo misreads or does not start with.",
        ),
        (
            "smtp-config apply --app-ini /etc/forgejo/app.ini --settings mailer.toml --dry-run",
            "Shows the difference.",
        ),
        (
            "smtp-config doctor --app-ini /etc/forgejo/app.ini",
            "Examines the servers of outgoing and incoming mail.",
        ),
    ],
    files: &[
        ("/etc/smtp-config/smtp-config.toml", "Settings where none are named, see mailer.toml(5)."),
        ("/etc/forgejo/app.ini", "The configuration of Forgejo, on Debian and NixOS elsewhere."),
    ],
    signals: &[("SIGTERM, SIGINT", "Ends; apply has then replaced the file whole, or not at all.")],
    references: &[("mailer.toml", || page("mailer.toml", "smtp-config", include_str!("../SETTINGS.md")))],
};
