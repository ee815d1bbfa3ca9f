//! The long form: steps that take long, after the short form.

use super::Step;
use super::machine::{Machine, log_script};
use super::short::{SERVES, under_load, under_load_while_killed};
use crate::process::Outcome;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("everything is up", up),
    ("a successor that hangs is ended, and the watchdog is fed meanwhile", hanging),
    ("the edge serves in 2000 and in 2040, and names the certificates that are not valid then", clocks),
    ("a process that is stopped is found by the watchdog", stopped),
    ("a process that is killed is started again", killed),
    ("a full disk under the log stops nothing, and is reported", full_disk),
    ("a journal that hangs holds nothing up", hanging_journal),
    ("a folder of certificates that is missing is made, and served from", missing_folder),
    (
        "a folder that is mounted or replaced later is served from without a restart; the replaced one is not written to before",
        late_folder,
    ),
    ("a store that fails keeps no other site from being served", failing_store),
    ("a check by root names what the account of the unit cannot read", root_check),
    (
        "a takeover with long requests open leaves the service up, and ends the old process after its grace",
        long_takeover,
    ),
    ("an application waits for the fourth try of pg-ensure", fourth_try),
    ("an application comes back by Upholds=, which older versions of systemd need", upheld),
    ("the edge starts when its credential comes, however late", late_credential),
    ("pg-ensure installs rules under its unit", rules),
    ("PostgreSQL that comes late is waited for", late_postgresql),
    ("three boots, and one after the power was lost", boots),
];

/// Provides the secret, and checks that all units become active and the site is served.
fn up(machine: &mut Machine) -> Outcome {
    machine.run("install -m 0400 /dev/null /etc/secrets/app-db; echo secret > /etc/secrets/app-db")?;
    machine.active(60, &["pg-ensure", "myapp", "edge-proxyd"])?;
    machine.until(20, SERVES)
}

/// Checks that a successor that never becomes ready is terminated, while the old process serves and feeds the watchdog.
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

/// Returns the script that sets the clock of the processes of a unit to January 2 of a year, by a drop-in with
/// libfaketime. The monotonic clock is unchanged.
pub(super) fn clock(unit: &str, year: u32) -> String {
    format!(
        "mkdir -p /run/systemd/system/{unit}.service.d; printf '[Service]\\nEnvironment=LD_PRELOAD=/srv/libfaketimeMT.so.1 \
         \"FAKETIME=@{year}-01-02 00:00:00\" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1\\n' \
         > /run/systemd/system/{unit}.service.d/clock.conf; systemctl daemon-reload"
    )
}

/// Script that creates a certificate of another program, valid for 90 days from now.
const OF_TODAY: &str = "mkdir -p /var/lib/acme/b.test; cd /var/lib/acme/b.test; \
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=b.test \
        -addext subjectAltName=DNS:b.test -keyout key.pem -out fullchain.pem 2> /dev/null; \
    chown -R edge-proxy:acme .; chmod 640 key.pem";

/// Checks that the edge serves with its clock in 2000 and in 2040, and reports the certificates that are not valid
/// then.
fn clocks(machine: &mut Machine) -> Outcome {
    machine.run(OF_TODAY)?;
    for (year, words) in [(2000, "b.test is not valid yet"), (2040, "b.test has expired")] {
        machine.run(&clock("edge-proxyd", year))?;
        machine.run("systemctl restart edge-proxyd")?;
        machine.until(20, SERVES)?;
        // Otherwise the check would prove nothing.
        machine.until(
            5,
            &format!("tail -n 1 /var/log/edge-proxyd/access.log | grep '\"time\":\"{year}-01-02T'"),
        )?;
        machine.until(5, &format!("{} | grep 'the certificate for {words}'", log_script("edge-proxyd")))?;
        // Roles and databases do not depend on the clock.
        machine.run(&clock("pg-ensure", year))?;
        machine.run("systemctl restart pg-ensure myapp && systemctl is-active pg-ensure myapp")?;
    }
    machine.run("rm -r /run/systemd/system/edge-proxyd.service.d /run/systemd/system/pg-ensure.service.d /var/lib/acme/b.test; systemctl daemon-reload; systemctl restart edge-proxyd pg-ensure myapp")?;
    machine.until(20, SERVES)
}

/// Checks that the watchdog restarts a stopped process within 60 seconds.
fn stopped(machine: &mut Machine) -> Outcome {
    machine.run("kill -STOP $(systemctl show --value -p MainPID edge-proxyd)")?;
    machine.until(60, SERVES)
}

/// Checks that a process killed under load is started again within 10 s, with no connection refused and at most one cut
/// off.
fn killed(machine: &mut Machine) -> Outcome {
    under_load_while_killed(machine, 8, "systemctl kill -s KILL edge-proxyd; sleep 4")?;
    machine.until(10, SERVES)
}

/// Checks that a full disk under the access log loses lines only: it is reported and counted, and requests are served.
fn full_disk(machine: &mut Machine) -> Outcome {
    machine.run("systemctl stop edge-proxyd; mount -t tmpfs -o size=16k,mode=0777 none /var/log/edge-proxyd; systemctl start edge-proxyd")?;
    under_load(machine, 8, "sleep 1")?;
    machine.until(10, "journalctl -b -u edge-proxyd -p err -o cat | grep 'cannot write the access log'")?;
    machine.run(
        "curl -sS --fail --unix-socket /run/edge-proxyd/status.sock http://localhost/metrics | grep -E '^edge_log_lines_lost_total [1-9]'",
    )?;
    machine
        .run("systemctl stop edge-proxyd; umount /var/log/edge-proxyd; systemctl start edge-proxyd")
        .map(drop)
}

/// Checks that the edge serves while the journal is stopped for 4 s, and that the journal continues to receive its log
/// afterwards.
fn hanging_journal(machine: &mut Machine) -> Outcome {
    let stop = "systemctl kill -s STOP systemd-journald; sleep 4; systemctl kill -s CONT systemd-journald";
    under_load(machine, 7, stop)?;
    machine.until(
        10,
        "systemctl reload edge-proxyd && journalctl -b -u edge-proxyd -o cat -n 20 | grep reloaded",
    )
}

/// Command that checks that the certificate in the folder is served.
const IS_SERVED: &str = "fingerprint='openssl x509 -noout -fingerprint'; \
    served=$(openssl s_client -connect 127.0.0.1:443 -servername a.test < /dev/null 2> /dev/null | $fingerprint); \
    test \"$served\" = \"$($fingerprint -in /var/lib/acme/a.test/fullchain.pem)\"";

/// Checks that a missing certificate folder is created with the correct owners and served from.
fn missing_folder(machine: &mut Machine) -> Outcome {
    machine.run(
        "systemctl stop edge-proxyd; mv /var/lib/acme /var/lib/elsewhere; systemctl start edge-proxyd",
    )?;
    machine.until(20, &format!("{SERVES} && {IS_SERVED}"))?;
    let owner = machine.run("stat -c '%U:%G %a' /var/lib/acme/a.test/key.pem /var/lib/acme")?;
    if owner == "edge-proxy:acme 640\nedge-proxy:acme 755" {
        Ok(())
    } else {
        Err(format!("the owners are {owner}"))
    }
}

/// Checks that a certificate folder that is mounted or replaced later is served from without a restart. A mounted
/// folder is also written to; for a replaced one, the log says that writing needs a restart, after which it works. A
/// configured folder may also be missing at the start.
fn late_folder(machine: &mut Machine) -> Outcome {
    let restarts = "systemctl show --value -p NRestarts -p InvocationID edge-proxyd";
    let before = machine.run(restarts)?;
    // A file system that is mounted over the folder: a successor writes the certificates of [acme] to it from then
    // on.
    machine.run("test -e /var/lib/elsewhere || cp -a /var/lib/acme /var/lib/elsewhere; rm -r /var/lib/elsewhere/a.test")?;
    under_load(machine, 12, "mount --bind /var/lib/elsewhere /var/lib/acme; sleep 9")?;
    machine.until(20, &format!("test -e /var/lib/elsewhere/a.test/key.pem && {IS_SERVED}"))?;
    // Another folder in its place.
    machine.run(
        "umount --lazy /var/lib/acme; mv /var/lib/acme /var/lib/gone; mv /var/lib/elsewhere /var/lib/acme",
    )?;
    machine.until(20, &format!("{SERVES} && {IS_SERVED}"))?;
    if machine.run(restarts)? != before {
        return Err("the service was restarted".to_owned());
    }
    // The new folder is read, but not written: systemd opened the former one for the unit at its start. The program
    // says what to do.
    machine.until(
        60,
        &format!("{} | grep -E '/var/lib/acme.*Read-only.*needs a restart'", log_script("edge-proxyd")),
    )?;
    machine.run("rm -r /var/lib/acme/a.test; systemctl restart edge-proxyd")?;
    machine.until(20, &format!("test -e /var/lib/acme/a.test/key.pem && {SERVES} && {IS_SERVED}"))?;
    // A folder of the administrator's that does not exist at the start.
    machine.run(
        "sed -i '/^\\[acme/,/^names/d; s#^folder = .*#folder = \"/srv/late/acme\"#' /etc/edge-proxyd/edge.toml; \
         systemctl restart edge-proxyd; curl -sS --fail --max-time 10 -H 'Host: a.test' http://127.0.0.1/",
    )?;
    machine.run("mkdir /srv/late; cp -a /var/lib/acme /srv/late/acme")?;
    machine.until(10, SERVES)?;
    machine.run("cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd; rm -rf /var/lib/gone /srv/late")?;
    machine.until(10, SERVES)
}

/// Checks a state as after a backup that was restored by root: the store of `[acme]` cannot be used, other certificates
/// can.
fn failing_store(machine: &mut Machine) -> Outcome {
    machine.run(OF_TODAY)?;
    machine.run(
        "printf '[[site]]\\nhosts = [\"b.test\"]\\nupstream = \"http://127.0.0.1:3000\"\\n' >> /etc/edge-proxyd/edge.toml; \
         systemctl stop edge-proxyd; rm -r /var/lib/acme/a.test; chown -R root:root /var/lib/acme/.acme-dns01; systemctl start edge-proxyd",
    )?;
    let other = "curl -sS --max-time 10 --fail --cacert /var/lib/acme/b.test/fullchain.pem --resolve b.test:443:127.0.0.1 https://b.test/";
    machine.until(20, other)?;
    machine.run("curl -sS --max-time 10 --fail -H 'Host: a.test' http://127.0.0.1/")?;
    machine.until(
        10,
        &format!(
            "{} | grep -E 'acme.*Permission denied.*everything else is served'",
            log_script("edge-proxyd")
        ),
    )?;
    machine.run(
        "test $(systemctl show --value -p NRestarts edge-proxyd) = 0 && ! test -e /var/lib/acme/a.test",
    )?;
    // Once it is corrected, the store is used without a restart.
    machine.run("chown -R edge-proxy:acme /var/lib/acme/.acme-dns01")?;
    machine.until(90, &format!("test -e /var/lib/acme/a.test/key.pem && {SERVES} && {IS_SERVED}"))?;
    machine.run("rm -r /var/lib/acme/b.test; cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd")?;
    machine.until(10, SERVES)
}

/// Checks that `edge-proxyd check` by root reports a private key that the account of the unit cannot read, although
/// root can, and reports none if all are readable.
fn root_check(machine: &mut Machine) -> Outcome {
    let key = "/var/lib/acme/a.test/key.pem";
    let check =
        "set +e; edge-proxyd check > /run/check 2>&1; code=$?; set -e; cat /run/check; test $code -eq";
    machine.run(&format!("{check} 3 && ! grep 'cannot read it' /run/check"))?;
    machine.run(&format!("chown root:root {key}; chmod 600 {key}"))?;
    machine.run(&format!(
        "{check} 3 && grep '{key}: the account of edge-proxyd.service, edge-proxy, cannot read it: it is of user 0, group 0, mode 0600' /run/check"
    ))?;
    machine.run(&format!("chown edge-proxy:acme {key}; chmod 640 {key}")).map(drop)
}

/// Checks a takeover with two requests, one shorter and one longer than the grace of 30 s. systemd once considered such
/// a service as ending, and killed it.
fn long_takeover(machine: &mut Machine) -> Outcome {
    let main = "systemctl show --value -p MainPID edge-proxyd";
    let before = machine.run(main)?;
    let ask = |seconds: u32| {
        format!(
            "curl -sS --max-time 70 -H 'Host: a.test' -o /run/slow-{seconds} http://127.0.0.1/slow/{seconds} 2> /dev/null & slow{seconds}=$!"
        )
    };
    under_load(
        machine,
        48,
        &format!(
            "{}\n{}\nsleep 0.5\nsystemctl kill -s USR2 --kill-whom=main edge-proxyd\nwait $slow25\nsleep 20",
            ask(25),
            ask(60)
        ),
    )?;
    let sizes = machine.run("stat -c %s /run/slow-25; test $(stat -c %s /run/slow-60) -lt 60 && echo cut")?;
    let state = machine.run("systemctl show --value -p ActiveState -p SubState edge-proxyd")?;
    let after = machine.run(main)?;
    if (sizes.as_str(), state.as_str()) != ("25\ncut", "active\nrunning") || before == after {
        return Err(format!(
            "the answers have {sizes:?}, {before} was followed by {after}, the service is {state}"
        ));
    }
    machine.run(&format!("! test -e /proc/{before} && {SERVES}")).map(drop)
}

/// Checks that applications start once pg-ensure has its secret, after three failed starts.
fn fourth_try(machine: &mut Machine) -> Outcome {
    machine.run(
        "systemctl stop myapp myapp2 pg-ensure; rm /etc/secrets/app-db; systemctl start --no-block myapp2",
    )?;
    machine.until(60, "test $(systemctl show --value -p NRestarts pg-ensure) -ge 3")?;
    machine.run("! systemctl is-active myapp2 && ! systemctl is-active pg-ensure")?;
    machine.run("install -m 0400 /dev/null /etc/secrets/app-db; echo secret > /etc/secrets/app-db")?;
    machine.active(40, &["pg-ensure", "myapp", "myapp2"])
}

/// Checks the advice of the unit's comment for systemd before 254, which does not support `RestartMode=direct`:
/// `Upholds=` starts the application later.
fn upheld(machine: &mut Machine) -> Outcome {
    machine.run(
        "mkdir -p /run/systemd/system/pg-ensure.service.d; \
         printf '[Unit]\\nUpholds=myapp2.service\\n[Service]\\nRestartMode=normal\\n' > /run/systemd/system/pg-ensure.service.d/older.conf; \
         systemctl daemon-reload; systemctl stop myapp myapp2 pg-ensure; rm /etc/secrets/app-db; \
         ! systemctl start myapp2 && ! systemctl is-active myapp2",
    )?;
    machine.run("install -m 0400 /dev/null /etc/secrets/app-db; echo secret > /etc/secrets/app-db")?;
    machine.active(40, &["pg-ensure", "myapp", "myapp2"])?;
    machine.run("rm -r /run/systemd/system/pg-ensure.service.d; systemctl daemon-reload").map(drop)
}

/// Checks a credential that exists only after many starts, without growing pauses, so that there are more starts than
/// systemd's own limit of five in ten seconds would permit.
fn late_credential(machine: &mut Machine) -> Outcome {
    machine.run(
        "mkdir -p /run/systemd/system/edge-proxyd.service.d; \
         printf '[Service]\\nRestartSec=200ms\\nRestartSteps=0\\n' > /run/systemd/system/edge-proxyd.service.d/pauses.conf; \
         systemctl daemon-reload; mv /etc/edge-proxyd/cloudflare-token /srv/token; systemctl restart edge-proxyd || true",
    )?;
    machine.until(20, "test $(systemctl show --value -p NRestarts edge-proxyd) -ge 12")?;
    machine.run("! systemctl is-active edge-proxyd && mv /srv/token /etc/edge-proxyd/cloudflare-token")?;
    machine.until(20, SERVES)?;
    machine
        .run("rm -r /run/systemd/system/edge-proxyd.service.d; systemctl daemon-reload; systemctl restart edge-proxyd")?;
    machine.until(20, SERVES)
}

/// Checks that pg-ensure installs the rules of pg_hba.conf under its unit.
fn rules(machine: &mut Machine) -> Outcome {
    let list = "/etc/postgresql/17/main/pg_hba.conf";
    machine.run(&format!("cp -a {list} /srv/pg_hba.conf"))?;
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
    // The server has loaded it: no other role may use the socket.
    machine.until(10, "psql -U nobody postgres -c '' 2>&1 | grep 'rejects connection'")?;
    machine.run(
        "systemctl restart myapp && rm -r /run/systemd/system/pg-ensure.service.d && systemctl daemon-reload",
    )?;
    // Later steps use databases of their own.
    machine.run(&format!("cp -a /srv/pg_hba.conf {list}; systemctl reload postgresql"))?;
    machine.until(10, "! psql -U nobody postgres -c '' 2>&1 | grep 'rejects connection'")
}

/// Checks that the units wait for a PostgreSQL that starts 20 seconds late.
fn late_postgresql(machine: &mut Machine) -> Outcome {
    machine.run("mkdir -p /etc/systemd/system/postgresql@.service.d; printf '[Service]\\nExecStartPre=/bin/sleep 20\\n' > /etc/systemd/system/postgresql@.service.d/late.conf")?;
    machine.reboot()?;
    machine.active(90, &["pg-ensure", "myapp"])?;
    machine.run("rm /etc/systemd/system/postgresql@.service.d/late.conf; systemctl daemon-reload").map(drop)
}

/// Boots three times, and once more after a power loss, and checks each time that all units become active within 60
/// seconds, and that the site is served within another 20.
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
