//! Packages over time: each removed alone, machines with accounts of the same names, and an earlier version.

use super::Step;
use super::machine::{Machine, log_script};
use super::short::{SERVES, under_load};
use crate::process::Outcome;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("each package is purged alone, and the machine boots", alone),
    ("an earlier version starts with the state of this one, and this one with that of an earlier", previous),
    ("state of a later version is named, and keeps nothing else from being served", later_state),
    ("accounts of these names that were there before are used as they are", accounts),
];

/// Packages with units.
const PACKAGES: [&str; 4] = ["edge-proxyd", "acme-dns01", "pg-ensure", "upgrade-pg-cluster"];

/// Purges each package alone, and checks that no process and no link of it is left, and that the machine boots with
/// PostgreSQL and the units of the other packages. Then installs it again.
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
        // An administrator installs it again: the configuration was purged with it.
        machine.run(match package {
            "edge-proxyd" => {
                "cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl enable --now edge-proxyd"
            }
            "pg-ensure" => {
                "cp /srv/manifest.toml /etc/pg-ensure/pg-ensure.toml; systemctl enable --now pg-ensure"
            }
            _ => "true",
        })?;
    }
    machine.until(20, SERVES)
}

/// The step with packages of an earlier version in /srv/previous.
pub(super) const PREVIOUS: &[Step] = &[(
    "an earlier version starts with the state of this one, and this one with that of an earlier",
    previous,
)];

/// Command that prints the state of the units: a site under maintenance, the store of `[acme]`, the record of
/// passwords.
const STATE: &str = "cat /var/lib/edge-proxyd/maintenance.json && ls /var/lib/pg-ensure && ls -d /var/lib/acme/.acme-dns01/certificates/* && \
    sha256sum /var/lib/acme/a.test/key.pem";
/// Command that succeeds if the site is under maintenance.
const UNDER_MAINTENANCE: &str =
    "curl -sS -o /dev/null -w '%{http_code}' --max-time 10 -H 'Host: m.test' http://127.0.0.1/ | grep 503";

/// Installs the packages of an earlier version under load, and then those of this one. Checks after each that the
/// programs run in that version, also after a boot, and that sites, maintenance and state are unchanged.
fn previous(machine: &mut Machine) -> Outcome {
    machine.run("install -m 0400 /dev/null /etc/secrets/app-db; echo secret > /etc/secrets/app-db")?;
    machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
    machine.run(
        "printf '[[site]]\\nhosts = [\"m.test\"]\\nplain = \"serve\"\\nupstream = \"http://127.0.0.1:3000\"\\n' >> /etc/edge-proxyd/edge.toml; \
         systemctl reload edge-proxyd; edge-proxyd maintenance on m.test",
    )?;
    machine.until(20, &format!("{SERVES} && {UNDER_MAINTENANCE}"))?;
    let state = machine.run(STATE)?;
    // Where an earlier version had its configuration elsewhere, what the administrator wrote there comes along.
    let moved =
        "test ! -e /etc/acme-dns01.toml && grep -x '# of the administrator' /etc/acme-dns01/acme-dns01.toml";
    let mut elsewhere = false;
    // To the earlier version and back; the configuration is the administrator's.
    for folder in ["/srv/previous", "/srv/packages"] {
        let install = format!("dpkg --force-confold --force-downgrade --install {folder}/*.deb < /dev/null");
        under_load(machine, 25, &install)?;
        machine.run(&format!(
            "for package in {folder}/*.deb; do name=$(dpkg-deb --field $package Package); \
             test \"$(dpkg-query --showformat='${{Version}}' --show $name)\" = \"$(dpkg-deb --field $package Version)\"; done"
        ))?;
        if elsewhere {
            machine.run(moved)?;
        }
        let written = "test -e /etc/acme-dns01.toml && echo '# of the administrator' >> /etc/acme-dns01.toml";
        elsewhere = machine.output(written)?.0 == 0;
        machine.run("systemctl restart edge-proxyd pg-ensure")?;
        machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
        machine.until(20, &format!("{SERVES} && {UNDER_MAINTENANCE}"))?;
        let own = "cmp <(dpkg-deb --fsys-tarfile FOLDER/edge-proxyd_*.deb | tar -xO ./usr/bin/edge-proxyd) /proc/$(systemctl show --value -p MainPID edge-proxyd)/exe";
        machine.run(&own.replace("FOLDER", folder))?;
        machine.reboot()?;
        machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
        machine.until(20, &format!("{SERVES} && {UNDER_MAINTENANCE}"))?;
        let left = machine.run(STATE)?;
        if left != state {
            return Err(format!("{folder}: the state was {state}, and is {left}"));
        }
    }
    machine.run("edge-proxyd maintenance off m.test; cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl reload edge-proxyd").map(drop)
}

/// Checks that the programs start with state that a later version wrote: a journal line, a field and a record that are
/// unknown. The log names the journal, and another certificate is renewed.
fn later_state(machine: &mut Machine) -> Outcome {
    machine.run(
        "sed -i 's/names = \\[\"a.test\"\\]/&\\n[[acme.certificate]]\\nnames = [\"b.test\"]/' /etc/edge-proxyd/edge.toml; \
         systemctl restart edge-proxyd",
    )?;
    machine.until(30, "test -e /var/lib/acme/b.test/key.pem")?;
    machine.run(
        "systemctl stop edge-proxyd; journal=/var/lib/acme/.acme-dns01/certificates/a.test/journal; install -d -o edge-proxy -g acme -m 700 $(dirname $journal); \
         printf '{\"of_tomorrow\":{\"at\":1}}\\n' >> $journal; chown edge-proxy:acme $journal; rm -r /var/lib/acme/b.test; \
         printf '{\"sites\":[],\"of_tomorrow\":1}' > /var/lib/edge-proxyd/maintenance.json; \
         sed -i '1i SCRAM-OF-TOMORROW x' /var/lib/pg-ensure/*.passwords 2> /dev/null || true; \
         systemctl start edge-proxyd; systemctl restart pg-ensure",
    )?;
    machine.until(20, SERVES)?;
    machine.until(
        20,
        &format!(
            "{} | grep -E 'a.test.*journal.*of_tomorrow.*install that version'",
            log_script("edge-proxyd")
        ),
    )?;
    // The other certificate is renewed.
    machine.until(20, "test -e /var/lib/acme/b.test/key.pem")?;
    machine.active(20, &["pg-ensure", "edge-proxyd"])?;
    machine.run("cp /srv/edge.toml /etc/edge-proxyd/edge.toml; rm -r /var/lib/acme/b.test; systemctl restart edge-proxyd").map(drop)
}

/// Script that creates accounts of users: `acme` is a login, and there are groups of the same names.
const OWN: &str = "groupadd --gid 1500 acme; useradd --uid 1500 --gid acme --create-home --shell /bin/bash acme; \
                   groupadd --gid 1501 edge-proxy; echo keep > /home/acme/file; chown acme:acme /home/acme/file";

/// Checks that existing accounts with the names of the packages are used unchanged.
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
