//! Options and keys of the programs that have units, each with the resource that it needs under the unit; and the step
//! that checks that each resource is covered by a step.

use super::machine::Machine;
use crate::process::{Outcome, root};
use std::collections::BTreeSet;

/// Resource that an option needs under the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// Nothing beyond what every start needs.
    Nothing,
    /// Connections to other machines, and name resolution.
    Network,
    /// A Unix-domain socket of PostgreSQL.
    Socket,
    /// A TCP port to listen on.
    Port,
    /// A file in /etc that is read.
    File,
    /// A secret, as a credential of the unit.
    Secret,
    /// Files in the state folder of the unit that are written, with their group.
    State,
    /// A program that is run.
    Program,
    /// The system manager, over D-Bus and polkit.
    Manager,
    /// The folder of PostgreSQL's rules, which is written.
    Rules,
    /// A folder or a group that a drop-in must add, as the unit's documentation says.
    DropIn,
}

/// Beginning of the name of the step that covers each resource.
const PROOFS: &[(Need, &str)] = &[
    (Need::Network, "certificates"),
    (Need::Port, "certificates"),
    (Need::File, "certificates"),
    (Need::Secret, "certificates"),
    (Need::State, "certificates"),
    (Need::Program, "certificates"),
    (Need::Manager, "certificates"),
    (Need::DropIn, "PostgreSQL is upgraded by the unit"),
    (Need::Socket, "an application starts when its database's secret comes"),
    (Need::Rules, "pg-ensure installs rules under its unit"),
];

/// Keys of acme-dns01, also below `[acme]` of edge-proxyd, by the resource that they need.
const ACME: &[(Need, &[&str])] = &[
    (
        Need::Nothing,
        &[
            "agree_terms",
            "alert",
            "algorithm",
            "ari_floor",
            "authority",
            "certificate",
            "check_timeout",
            "dns",
            "email",
            "extra_domain_names",
            "from",
            "full_domain",
            "key_id",
            "key_name",
            "key_type",
            "limits",
            "mode",
            "name",
            "names",
            "parallel",
            "port",
            "preferred_chain",
            "profile",
            "propagation_timeout",
            "provider",
            "reuse_key",
            "security",
            "service",
            "settle",
            "subdomain",
            "to",
            "user",
            "username",
            "valid_min_days",
            "zone",
            "zones",
            "authority_port",
        ],
    ),
    (
        Need::Network,
        &["base", "check", "database", "directory", "eab", "mail", "resolvers", "server", "webhook"],
    ),
    (Need::File, &["database_roots", "roots"]),
    (Need::Secret, &["credentials", "key", "password", "token", "zone_token"]),
    (Need::State, &["folder"]),
    (Need::Program, &["command", "post_run", "program"]),
    (Need::Manager, &["reload_services"]),
    (Need::DropIn, &["group"]),
];

/// A program, its subcommand under the unit, and its options by the resource that they need.
type UnitCommand = (&'static str, &'static str, &'static [(Need, &'static [&'static str])]);

/// Programs with units, and their options.
const COMMANDS: &[UnitCommand] = &[
    (
        "acme-dns01",
        "run",
        &[
            (Need::Nothing, &["--help", "--json", "--quiet", "--verbose"]),
            (Need::File, &["--config"]),
            (Need::Port, &["--metrics"]),
        ],
    ),
    (
        "pg-ensure",
        "apply",
        &[
            (
                Need::Nothing,
                &[
                    "--destroy",
                    "--dry-run",
                    "--follow",
                    "--help",
                    "--json",
                    "--quiet",
                    "--sslmode",
                    "--timeout",
                    "--verbose",
                ],
            ),
            (Need::Socket, &["--canary", "--connect"]),
            (Need::File, &["--config", "--plan", "--sslrootcert"]),
            (Need::Secret, &["--password"]),
            (Need::State, &["--state"]),
            (Need::Rules, &["--hba"]),
        ],
    ),
    (
        "upgrade-pg-cluster",
        "run",
        &[
            (
                Need::Nothing,
                &[
                    "--accept",
                    "--amcheck",
                    "--backup-exists",
                    "--cluster",
                    "--dry-run",
                    "--from",
                    "--help",
                    "--jobs",
                    "--json",
                    "--mode",
                    "--new-bin",
                    "--new-service",
                    "--no-start",
                    "--old-bin",
                    "--quiet",
                    "--reindex-online",
                    "--stop",
                    "--superuser",
                    "--to",
                    "--until",
                    "--verbose",
                ],
            ),
            (Need::File, &["--old-config"]),
            // Below /var/lib/postgresql they need nothing.
            (Need::DropIn, &["--backup", "--backup-dump", "--base", "--new-data", "--old-data", "--waldir"]),
            // The account `postgres` may not manage units: with the unit, the old server is stopped beforehand.
            (Need::Nothing, &["--service"]),
        ],
    ),
];

/// Compares the tables above with the programs, and the resources with the steps.
///
/// # Errors
/// Returns every difference.
pub(super) fn complete(machine: &mut Machine) -> Outcome {
    let mut faults = Vec::new();
    let document = root().join("bins/acme-dns01/CONFIG.md");
    let text = std::fs::read_to_string(&document).map_err(|why| format!("{}: {why}", document.display()))?;
    let keys = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key));
    compare("acme-dns01.toml", &keys.collect(), ACME, &mut faults);
    for (program, command, table) in COMMANDS {
        let help = machine.run(&format!("{program} {command} --help"))?;
        let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let lines: BTreeSet<&str> = words.filter(|word| word.starts_with("--") && word.len() > 2).collect();
        compare(program, &lines, table, &mut faults);
    }
    let needs = ACME.iter().chain(COMMANDS.iter().flat_map(|(_, _, table)| *table)).map(|(need, _)| *need);
    for need in needs.collect::<BTreeSet<_>>() {
        let proof = PROOFS.iter().find(|(of, _)| *of == need);
        let is_step = |name: &str| super::steps().any(|(step, _)| step.starts_with(name));
        if need != Need::Nothing && !proof.is_some_and(|(_, name)| is_step(name)) {
            faults.push(format!("{need:?} is shown by no step"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// Appends a fault for each name that only one of the program and the table has.
fn compare(what: &str, found: &BTreeSet<&str>, table: &[(Need, &[&str])], faults: &mut Vec<String>) {
    let known: BTreeSet<&str> = table.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    faults.extend(
        found.difference(&known).map(|name| format!("{what}: {name}: its need of the unit is not known")),
    );
    faults.extend(known.difference(found).map(|name| format!("{what}: {name} does not exist")));
}
