//! The long form: what takes its time, after the short form.

use super::Step;
use super::machine::Machine;
use super::short::{SERVES, under_load};
use crate::process::Outcome;

pub(super) const STEPS: &[Step] = &[
    ("everything is up", up),
    ("a successor that hangs is ended, and the watchdog is fed meanwhile", hanging),
    ("a process that is stopped is found by the watchdog", stopped),
    ("a process that is killed is started again", killed),
    ("a full disk under the log stops nothing, and is reported", full_disk),
    ("a folder of certificates that comes late is served from", late_folder),
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

fn late_folder(machine: &mut Machine) -> Outcome {
    machine.run("systemctl stop edge-proxyd; mv /var/lib/acme /var/lib/elsewhere; sed -i '/^\\[acme/,/^names/d' /etc/edge-proxyd/edge.toml")?;
    machine.run(
        "systemctl start edge-proxyd; curl -sS --fail --max-time 10 -H 'Host: a.test' http://127.0.0.1/",
    )?;
    machine.run("mv /var/lib/elsewhere /var/lib/acme")?;
    machine.until(10, SERVES)?;
    machine.run("cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl reload edge-proxyd").map(drop)
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
