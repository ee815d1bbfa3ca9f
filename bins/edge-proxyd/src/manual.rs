//! The sections of the man page that are not generated from the command line: examples, files, signals and references.

use cli_support::generate::Manual;
use cli_support::reference::page;

/// The examples, files, signals and references of the man page.
pub(crate) const MANUAL: Manual = Manual {
    examples: &[
        (
            "edge-proxyd try --to 127.0.0.1:3000",
            "Serves a local service over https on this machine, without a file.",
        ),
        ("edge-proxyd check --config /etc/edge-proxyd/edge.toml", "Reports every error of a configuration."),
        (
            "edge-proxyd explain --config edge.toml --from 203.0.113.7 --host git.example.org",
            "Shows how a request would be handled, and why.",
        ),
        ("edge-proxyd reload", "Has the running process reload, and fails if it refuses."),
        (
            "edge-proxyd maintenance on git.example.org",
            "Has a site answer 503 until it is switched off again; reloads and restarts leave it so.",
        ),
        ("edge-proxyd import /etc/nginx/nginx.conf > edge.toml", "Converts a configuration of nginx."),
        (
            "edge-proxyd status --config /etc/edge-proxyd/edge.toml",
            "Shows sites, certificates, upstreams and counters.",
        ),
    ],
    files: &[
        ("/etc/edge-proxyd/edge.toml", "The configuration, see edge.toml(5)."),
        ("/var/lib/acme/NAME/", "The folder of a certificate: fullchain.pem and key.pem."),
        (
            "/run/edge-proxyd/control.sock",
            "The socket that reload and maintenance use, for the account of the service and for root.",
        ),
        ("/var/lib/edge-proxyd/maintenance.json", "The sites that are under maintenance."),
        ("/run/edge-proxyd/", "The folder of sockets, such as that of the status page."),
    ],
    signals: &[
        ("SIGHUP", "run: reads the configuration again; a faulty one is named and the old one stays in use."),
        ("SIGUSR1", "run: opens the access log again, after it was moved away."),
        (
            "SIGUSR2",
            "run: starts the program anew and hands the listening sockets over to it, as reload --takeover does.",
        ),
        (
            "SIGTERM, SIGINT",
            "run: finishes the requests in flight, for --stop-grace seconds at most, and ends.",
        ),
    ],
    references: &[("edge.toml", || page("edge.toml", "edge-proxyd", include_str!("../CONFIG.md")))],
};
