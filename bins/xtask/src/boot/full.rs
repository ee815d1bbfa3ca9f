//! The long form: what takes its time, after the short form.

use super::Step;
use super::machine::Machine;
use super::short::{SERVES, under_load};
use crate::process::Outcome;

pub(super) const STEPS: &[Step] = &[
    ("everything is up", up),
    ("a successor that hangs is ended, and the watchdog is fed meanwhile", hanging),
    ("the edge serves in 2000 and in 2040", clocks),
    ("a process that is stopped is found by the watchdog", stopped),
    ("a process that is killed is started again", killed),
    ("a full disk under the log stops nothing, and is reported", full_disk),
    ("a journal that hangs holds nothing up", hanging_journal),
    ("a folder of certificates that comes late is served from", late_folder),
    ("an application waits for the fourth try of pg-ensure", fourth_try),
    ("pg-ensure installs rules under its unit", rules),
    ("PostgreSQL that comes late is waited for", late_postgresql),
    ("three boots, and one after the power was lost", boots),
];

fn up(machine: &mut Machine) -> Outcome {
    machine.run("install -m 0400 /dev/null /etc/secrets/app-db; echo secret > /etc/secrets/app-db")?;
    machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
    machine.until(20, SERVES)
}

fn hanging(machine: &mut Machine) -> Outcome {
    machine.run("cp /usr/bin/edge-proxyd /srv/edge-proxyd")?;
    let hang = "printf '#!/bin/sh\\nexec sleep 1000\\n' > /usr/bin/fresh; chmod +x /usr/bin/fresh; mv /usr/bin/fresh /usr/bin/edge-proxyd";
    let before = machine.run("systemctl show --value -p MainPID edge-proxyd")?;
    under_load(
        machine,
        45,
        &format!("{hang}\nsystemctl kill -s USR2 --kill-whom=main edge-proxyd; sleep 40"),
    )?;
    machine.run("mv /srv/edge-proxyd /usr/bin/edge-proxyd; ! pgrep -x sleep")?;
    let after = machine.run("systemctl show --value -p MainPID edge-proxyd")?;
    if before == after { Ok(()) } else { Err(format!("{before} was followed by {after}")) }
}

/// Returns the script that sets the clock of a unit alone.
pub(super) fn clock(unit: &str, year: u32) -> String {
    format!(
        "mkdir -p /run/systemd/system/{unit}.service.d; printf '[Service]\\nEnvironment=LD_PRELOAD=/srv/libfaketimeMT.so.1 \
         \"FAKETIME=@{year}-01-02 00:00:00\" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1\\n' \
         > /run/systemd/system/{unit}.service.d/clock.conf; systemctl daemon-reload"
    )
}

fn clocks(machine: &mut Machine) -> Outcome {
    for year in [2000, 2040] {
        machine.run(&clock("edge-proxyd", year))?;
        machine.run("systemctl restart edge-proxyd")?;
        machine.until(20, SERVES)?;
        // Else nothing would be shown.
        machine.until(
            5,
            &format!("tail -n 1 /var/log/edge-proxyd/access.log | grep '\"time\":\"{year}-01-02T'"),
        )?;
    }
    machine.run("rm -r /run/systemd/system/edge-proxyd.service.d; systemctl daemon-reload; systemctl restart edge-proxyd")?;
    machine.until(20, SERVES)
}

fn stopped(machine: &mut Machine) -> Outcome {
    machine.run("kill -STOP $(systemctl show --value -p MainPID edge-proxyd)")?;
    machine.until(60, SERVES)
}

fn killed(machine: &mut Machine) -> Outcome {
    under_load(machine, 8, "systemctl kill -s KILL edge-proxyd; sleep 4")?;
    machine.until(10, SERVES)
}

fn full_disk(machine: &mut Machine) -> Outcome {
    machine.run("systemctl stop edge-proxyd; mount -t tmpfs -o size=16k,mode=0777 none /var/log/edge-proxyd; systemctl start edge-proxyd")?;
    under_load(machine, 8, "sleep 1")?;
    machine.until(10, "journalctl -b -u edge-proxyd -p err -o cat | grep 'cannot write the access log'")?;
    machine
        .run("systemctl stop edge-proxyd; umount /var/log/edge-proxyd; systemctl start edge-proxyd")
        .map(drop)
}

fn hanging_journal(machine: &mut Machine) -> Outcome {
    let stop = "systemctl kill -s STOP systemd-journald; sleep 4; systemctl kill -s CONT systemd-journald";
    under_load(machine, 7, stop)?;
    machine.until(
        10,
        "systemctl reload edge-proxyd && journalctl -b -u edge-proxyd -o cat -n 20 | grep reloaded",
    )
}

fn late_folder(machine: &mut Machine) -> Outcome {
    machine.run("systemctl stop edge-proxyd; mv /var/lib/acme /var/lib/elsewhere; sed -i '/^\\[acme/,/^names/d' /etc/edge-proxyd/edge.toml")?;
    machine.run(
        "systemctl start edge-proxyd; curl -sS --fail --max-time 10 -H 'Host: a.test' http://127.0.0.1/",
    )?;
    machine.run("mv /var/lib/elsewhere /var/lib/acme")?;
    machine.until(10, SERVES)?;
    machine.run("cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl reload edge-proxyd").map(drop)
}

fn fourth_try(machine: &mut Machine) -> Outcome {
    machine
        .run("systemctl stop myapp pg-ensure; rm /etc/secrets/app-db; systemctl start --no-block myapp")?;
    machine.until(60, "test $(systemctl show --value -p NRestarts pg-ensure) -ge 3")?;
    machine.run("! systemctl is-active myapp && ! systemctl is-active pg-ensure")?;
    machine.run("install -m 0400 /dev/null /etc/secrets/app-db; echo secret > /etc/secrets/app-db")?;
    machine.active(40, &["pg-ensure", "myapp"])
}

fn rules(machine: &mut Machine) -> Outcome {
    let list = "/etc/postgresql/17/main/pg_hba.conf";
    machine.run(
        "printf 'local = \"peer\"\\n[[services]]\\ndatabase = \"app\"\\nrole = \"app\"\\n' > /etc/pg-ensure/hba.toml; \
         mkdir -p /run/systemd/system/pg-ensure.service.d; \
         systemctl cat pg-ensure | sed -n 's/^\\(ExecStart=.*\\)$/[Service]\\nExecStart=\\n\\1 --hba \\/etc\\/pg-ensure\\/hba.toml/p' \
             > /run/systemd/system/pg-ensure.service.d/rules.conf; systemctl daemon-reload; systemctl restart pg-ensure",
    )?;
    let owner = machine.run(&format!("grep -w app {list} > /dev/null && stat -c %U {list}"))?;
    if owner != "postgres" {
        return Err(format!("{list} belongs to {owner}"));
    }
    // The server has read it: nobody else may use the socket.
    machine.until(10, "psql -U nobody postgres -c '' 2>&1 | grep 'rejects connection'")?;
    machine.run("systemctl restart myapp && rm -r /run/systemd/system/pg-ensure.service.d && systemctl daemon-reload").map(drop)
}

fn late_postgresql(machine: &mut Machine) -> Outcome {
    machine.run("mkdir -p /etc/systemd/system/postgresql@.service.d; printf '[Service]\\nExecStartPre=/bin/sleep 20\\n' > /etc/systemd/system/postgresql@.service.d/late.conf")?;
    machine.reboot()?;
    machine.active(90, &["pg-ensure", "myapp"])?;
    machine.run("rm /etc/systemd/system/postgresql@.service.d/late.conf; systemctl daemon-reload").map(drop)
}

fn boots(machine: &mut Machine) -> Outcome {
    for _ in 0..3 {
        machine.reboot()?;
        machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
        machine.until(20, SERVES)?;
    }
    machine.crash()?;
    machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
    machine.until(20, SERVES)
}
