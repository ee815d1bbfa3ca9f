//! Units for other machines than those of the other steps: of a standby, and of an image at its first boot.

use super::Step;
use super::machine::Machine;
use super::short::SERVES;
use crate::process::Outcome;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("pg-ensure-standby waits for the promotion of its server, and applies the manifest then", standby),
    ("a first boot enables no two units that conflict", first_boot),
];

/// Script that creates a second cluster, a standby of the machine's own, and a manifest for it.
const STANDBY: &str = r#"
pg_createcluster --port 5433 17 standby > /dev/null
rm -r /var/lib/postgresql/17/standby
runuser -u postgres -- pg_basebackup --host /run/postgresql --pgdata /var/lib/postgresql/17/standby --write-recovery-conf
systemctl start postgresql@17-standby
printf '[[ensure]]\nname = "promoted"\n' > /etc/pg-ensure/standby.toml
mkdir -p /run/systemd/system/pg-ensure-standby.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/bin/pg-ensure apply /etc/pg-ensure/standby.toml \
--connect "host=/run/postgresql port=5433 user=postgres" --follow 1\n' > /run/systemd/system/pg-ensure-standby.service.d/boot.conf
systemctl daemon-reload
"#;
/// Command that succeeds if the second cluster has the role.
const ROLE: &str = "runuser -u postgres -- psql -p 5433 -Atc \"select rolname from pg_roles where rolname = 'promoted'\" | grep promoted";

/// Checks that pg-ensure-standby waits for the promotion of its server, then applies the manifest and exits.
fn standby(machine: &mut Machine) -> Outcome {
    machine.run(STANDBY)?;
    machine.until(20, "runuser -u postgres -- psql -p 5433 -Atc 'select pg_is_in_recovery()' | grep t")?;
    machine.run("systemctl start pg-ensure-standby; sleep 4; systemctl is-active pg-ensure-standby")?;
    machine.run(&format!("! {ROLE}"))?;
    machine.run("pg_ctlcluster 17 standby promote")?;
    machine.until(30, ROLE)?;
    machine.until(
        10,
        "systemctl show -p ActiveState -p Result pg-ensure-standby | sort | tr '\\n' ' ' | grep '^ActiveState=inactive Result=success'",
    )?;
    // The other server has no such role, and on a primary the unit ends at once.
    machine.run("! runuser -u postgres -- psql -Atc '\\du promoted' | grep promoted")?;
    machine.run("systemctl start pg-ensure-standby")?;
    machine.until(10, "systemctl show --value -p ActiveState pg-ensure-standby | grep -x inactive")?;
    machine
        .run("pg_dropcluster --stop 17 standby; rm -r /run/systemd/system/pg-ensure-standby.service.d /etc/pg-ensure/standby.toml; systemctl daemon-reload")
        .map(drop)
}

/// Units with a preset, and the state that it gives them.
const PRESETS: &[(&str, &str)] = &[
    ("edge-proxyd.service", "enabled"),
    ("edge-proxyd.socket", "disabled"),
    ("acme-dns01.service", "enabled"),
    ("acme-dns01-once.timer", "disabled"),
    ("pg-ensure.service", "enabled"),
    ("pg-ensure-standby.service", "disabled"),
];

/// Checks the first boot of an image that is copied to several machines: systemd generates a machine ID and presets all
/// units.
fn first_boot(machine: &mut Machine) -> Outcome {
    let units: Vec<&str> = PRESETS.iter().map(|(unit, _)| *unit).collect();
    machine.run(&format!(
        "systemctl disable {} 2> /dev/null; echo uninitialized > /etc/machine-id",
        units.join(" ")
    ))?;
    machine.reboot()?;
    machine.run("test $(cat /etc/machine-id) != uninitialized")?;
    for (unit, wanted) in PRESETS {
        let state = machine.output(&format!("systemctl is-enabled {unit}"))?.1;
        if state != *wanted {
            return Err(format!("{unit} is {state}"));
        }
    }
    machine.active(60, &["edge-proxyd", "pg-ensure", "myapp"])?;
    machine.until(20, SERVES)?;
    // Its configuration has no certificate yet; here it only matters that nothing disables it.
    machine.run("systemctl disable --now acme-dns01.service; systemctl enable myapp.service myapp2.service > /dev/null 2>&1; \
         chown -R edge-proxy:acme /var/lib/acme; systemctl restart edge-proxyd")?;
    machine.until(20, SERVES)
}
