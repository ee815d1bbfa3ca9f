//! A major upgrade of PostgreSQL by the unit of upgrade-pg-cluster.

use super::Step;
use super::machine::{Machine, quiet};
use crate::process::{Outcome, tools_folder};
use std::process::Command;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("PostgreSQL is upgraded by the unit, with its sandbox", upgrade),
    ("what is left of the upgrade is done by the second unit, beside the new server", finish),
];

/// Data folder of a cluster apart from Debian's own, whose minor version may be newer than that of the 18 here.
const OLD: &str = "/var/lib/postgresql/apart/17/main";
/// Data folder of the new cluster.
const NEW: &str = "/var/lib/postgresql/apart/18/main";

/// Returns a script that starts a cluster's server, runs commands, and stops the server again.
fn serving(version: u32, data: &str, commands: &str) -> String {
    let bin = format!("/opt/postgresql-{version}/bin");
    format!(
        "{bin}/pg_ctl -D {data} -w -l /run/cluster/log -o '-k /run/cluster -h \"\"' start > /dev/null\n\
         {commands}\n{bin}/pg_ctl -D {data} -w stop > /dev/null\n"
    )
}

/// Runs a script as the owner of the clusters.
///
/// # Errors
/// Returns a description with the output if the script fails.
fn as_owner(machine: &Machine, script: &str) -> Result<String, String> {
    machine.run(&format!("cat > /run/cluster/script <<'END'\nset -eu\n{script}\nEND\nrunuser -u postgres -- sh /run/cluster/script < /dev/null"))
}

/// Checks that the unit upgrades a cluster of PostgreSQL 17 to 18 inside its sandbox.
fn upgrade(machine: &mut Machine) -> Outcome {
    for version in ["postgresql-17", "postgresql-18"] {
        let place = machine.root().join("opt").join(version);
        quiet(Command::new("cp").arg("-a").arg(tools_folder().join(version)).arg(place))?;
    }
    machine.run("chown -R root: /opt/postgresql-*; install -d -o postgres /run/cluster /srv/backup")?;
    let rows = serving(
        17,
        OLD,
        "psql -h /run/cluster -qc 'create table kept as select generate_series(1, 1000) as n'",
    );
    as_owner(
        machine,
        &format!("mkdir -p {OLD}\n/opt/postgresql-17/bin/initdb -D {OLD} > /dev/null\n{rows}"),
    )?;
    // A backup in a folder of its own needs a drop-in, as do clusters apart; everything else is as packaged.
    machine.run(
        "mkdir -p /run/systemd/system/upgrade-pg-cluster@17-18.service.d; \
         printf '[Service]\\nReadWritePaths=/srv/backup\\nExecStart=\\nExecStart=@/usr/bin/upgrade-pg-cluster upgrade-pg-cluster-17-18 run \
         --until commit --base /var/lib/postgresql/apart --old-bin /opt/postgresql-17/bin --new-bin /opt/postgresql-18/bin \
         --backup-dump /srv/backup/all.sql --jobs 2 --amcheck full\\n' \
             > /run/systemd/system/upgrade-pg-cluster@17-18.service.d/boot.conf; systemctl daemon-reload",
    )?;
    machine
        .run("systemctl start upgrade-pg-cluster@17-18 && systemctl is-active upgrade-pg-cluster@17-18")?;
    machine.run(&format!("test $(cat {NEW}/PG_VERSION) = 18 && test -s /srv/backup/all.sql"))?;
    let count =
        as_owner(machine, &serving(18, NEW, "psql -h /run/cluster -Atc 'select count(*) from kept'"))?;
    if count == "1000" { Ok(()) } else { Err(format!("the new cluster has {count:?} rows")) }
}

/// Checks that the second unit completes the remaining steps beside the new server.
fn finish(machine: &mut Machine) -> Outcome {
    machine.run(
        "mkdir -p /run/systemd/system/upgrade-pg-cluster-finish@17-18.service.d; \
         printf '[Service]\\nExecStart=\\nExecStart=@/usr/bin/upgrade-pg-cluster upgrade-pg-cluster-17-18 run --no-start \
         --base /var/lib/postgresql/apart --old-bin /opt/postgresql-17/bin --new-bin /opt/postgresql-18/bin\\n' \
             > /run/systemd/system/upgrade-pg-cluster-finish@17-18.service.d/boot.conf; systemctl daemon-reload",
    )?;
    let journal = "/var/lib/postgresql/apart/upgrade-17-18-main/journal.json";
    machine.run(&format!("test -e {journal} && ! grep '\"step\": \"extensions\"' {journal}"))?;
    as_owner(
        machine,
        &format!(
            "/opt/postgresql-18/bin/pg_ctl -D {NEW} -w -l /run/cluster/log -o '-k /run/cluster -h \"\"' start > /dev/null"
        ),
    )?;
    machine.run("systemctl start upgrade-pg-cluster-finish@17-18")?;
    machine.run(&format!("grep '\"step\": \"extensions\"' {journal}"))?;
    as_owner(machine, &format!("/opt/postgresql-18/bin/pg_ctl -D {NEW} -w stop > /dev/null")).map(drop)
}
