//! The packages over time: each removed alone, machines with accounts of these names, and an earlier version.

use super::Step;
use super::machine::Machine;
use super::short::SERVES;
use crate::process::Outcome;

pub(super) const STEPS: &[Step] = &[
    ("each package is purged alone, and the machine boots", alone),
    ("accounts of these names that were there before are used as they are", accounts),
];

/// The packages with units.
const PACKAGES: [&str; 4] = ["edge-proxyd", "acme-dns01", "pg-ensure", "upgrade-pg-cluster"];

fn alone(machine: &mut Machine) -> Outcome {
    for package in PACKAGES {
        machine.run("systemctl enable upgrade-pg-cluster@16-17 upgrade-pg-cluster-finish@16-17 > /dev/null 2>&1 || true")?;
        if package != "upgrade-pg-cluster" {
            machine.run(
                "systemctl disable upgrade-pg-cluster@16-17 upgrade-pg-cluster-finish@16-17 > /dev/null 2>&1",
            )?;
        }
        machine.run(&format!("dpkg --purge {package}"))?;
        machine.run(&format!("! pgrep -f '^/usr/bin/{package} '"))?;
        machine.run(&format!("! find /etc/systemd/system -xtype l -name '*.service' | grep '{package}'"))?;
        machine.reboot()?;
        machine.active(60, &["postgresql@17-main", "postgresql"])?;
        for other in ["edge-proxyd", "pg-ensure"].into_iter().filter(|other| *other != package) {
            machine.active(60, &[other])?;
        }
        machine.run(&format!("dpkg --install /srv/packages/{package}_*.deb"))?;
        // As an administrator who installs it again: the configuration was purged with it.
        machine.run(match package {
            "edge-proxyd" => {
                "cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl enable --now edge-proxyd"
            }
            "pg-ensure" => {
                "cp /srv/manifest.toml /etc/pg-ensure/manifest.toml; systemctl enable --now pg-ensure"
            }
            _ => "true",
        })?;
    }
    machine.until(20, SERVES)
}

/// The steps with packages of an earlier version, which lie in /srv/previous.
pub(super) const PREVIOUS: &[Step] = &[(
    "an earlier version starts with the state of this one, and this one with that of an earlier",
    previous,
)];

fn previous(machine: &mut Machine) -> Outcome {
    machine.run("install -m 0400 /dev/null /etc/secrets/app-db; echo secret > /etc/secrets/app-db")?;
    machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
    machine.until(20, SERVES)?;
    // There and back again; the configuration is the administrator's.
    for folder in ["/srv/previous", "/srv/packages"] {
        machine
            .run(&format!("dpkg --force-confold --force-downgrade --install {folder}/*.deb < /dev/null"))?;
        machine.run("systemctl restart edge-proxyd pg-ensure")?;
        machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
        machine.until(20, SERVES)?;
        let own = "cmp <(dpkg-deb --fsys-tarfile FOLDER/edge-proxyd_*.deb | tar -xO ./usr/bin/edge-proxyd) /proc/$(systemctl show --value -p MainPID edge-proxyd)/exe";
        machine.run(&own.replace("FOLDER", folder))?;
        machine.reboot()?;
        machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
        machine.until(20, SERVES)?;
    }
    Ok(())
}

/// The accounts of a machine's people: `acme` is somebody's login, and there are groups of the same names.
const OWN: &str = "groupadd --gid 1500 acme; useradd --uid 1500 --gid acme --create-home --shell /bin/bash acme; \
                   groupadd --gid 1501 edge-proxy; echo keep > /home/acme/file; chown acme:acme /home/acme/file";

fn accounts(machine: &mut Machine) -> Outcome {
    machine.run("dpkg --purge edge-proxyd acme-dns01; userdel edge-proxy; userdel acme; groupdel acme || true; rm -rf /var/lib/acme")?;
    machine.run(OWN)?;
    machine.run("dpkg --install /srv/packages/edge-proxyd_*.deb /srv/packages/acme-dns01_*.deb")?;
    machine.run("cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl enable --now edge-proxyd")?;
    machine.until(20, SERVES)?;
    let found = machine.run("id -u acme; id -g acme; getent passwd acme | cut -d: -f6,7; stat -c '%U:%G' /home/acme/file; id -gn edge-proxy")?;
    if found != "1500\n1500\n/home/acme:/bin/bash\nacme:acme\nacme" {
        return Err(format!("the accounts are now {found}"));
    }
    machine.run("systemctl start acme-dns01 && sleep 1 && systemctl is-active acme-dns01 && systemctl stop acme-dns01")?;
    machine.run("dpkg --purge edge-proxyd acme-dns01 && id acme && test -e /home/acme/file").map(drop)
}
