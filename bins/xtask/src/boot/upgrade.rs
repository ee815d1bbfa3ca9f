//! A major upgrade of PostgreSQL by the unit of upgrade-pg-cluster.

use super::Step;
use super::machine::{Machine, quiet};
use crate::process::{Outcome, tools_folder};
use std::process::Command;

pub(super) const STEPS: &[Step] =
    &[("PostgreSQL is upgraded by the unit, before the new server starts", upgrade)];

/// The cluster that the upgrade makes.
const NEW: &str = "/var/lib/postgresql/18/main";

fn upgrade(machine: &mut Machine) -> Outcome {
    let (from, to) = (tools_folder().join("postgresql-18"), machine.root().join("opt/postgresql-18"));
    quiet(Command::new("cp").arg("-a").arg(&from).arg(&to))?;
    machine.run("chown -R root: /opt/postgresql-18; install -d -o postgres /run/cluster")?;
    // The new version's programs here are built without TLS.
    machine.run("sed -i 's/^ssl = on/ssl = off/' /etc/postgresql/17/main/postgresql.conf")?;
    // A backup in a folder of its own needs a drop-in; everything else is as shipped.
    machine.run(
        "install -d -o postgres -m 0700 /srv/backup; mkdir -p /run/systemd/system/upgrade-pg-cluster@17-18.service.d; \
         printf '[Service]\\nReadWritePaths=/srv/backup\\nExecStart=\\nExecStart=@/usr/bin/upgrade-pg-cluster upgrade-pg-cluster-17-18 run \
         --until commit --new-bin /opt/postgresql-18/bin --backup-dump /srv/backup/all.sql --jobs 2 --amcheck full\\n' \
             > /run/systemd/system/upgrade-pg-cluster@17-18.service.d/boot.conf; systemctl daemon-reload",
    )?;
    machine
        .run("systemctl stop postgresql@17-main postgresql && systemctl start upgrade-pg-cluster@17-18")?;
    machine.run(&format!("test $(cat {NEW}/PG_VERSION) = 18 && systemctl is-active upgrade-pg-cluster@17-18 && test -s /srv/backup/all.sql"))?;
    // The new cluster has what the old one had.
    machine.run(&format!(
        "runuser -u postgres -- sh -c \"/opt/postgresql-18/bin/pg_ctl -D {NEW} -w -o '-k /run/cluster' start && \
         psql -h /run/cluster -Atc \\\"select datname from pg_database where datname = 'app'\\\" | grep app; \
         /opt/postgresql-18/bin/pg_ctl -D {NEW} -w stop\" < /dev/null > /srv/upgraded.log 2>&1 || {{ cat /srv/upgraded.log; exit 1; }}; \
         grep -w app /srv/upgraded.log"
    ))
    .map(drop)
}
