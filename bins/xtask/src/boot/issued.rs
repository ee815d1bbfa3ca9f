//! Certificates under the units: by each DNS provider, with everything that follows a new certificate.

use super::Step;
use super::full::clock;
use super::machine::{Machine, log_script};
use super::short::SERVES;
use crate::process::Outcome;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("certificates by [acme] of edge-proxyd, from each provider", by_edge),
    ("certificates by acme-dns01, from each provider", by_daemon),
    ("certificates are shared by PostgreSQL, and served while it is away", by_database),
    ("what is due is done by the timer, in the place of the daemon", by_timer),
    ("a reload of the daemon that is refused fails, and says why", refused),
    ("the folder keeps its groups, whoever made it, over starts and boots", foreign_group),
    ("the daemon goes on in 2000 and in 2040, and says which certificates are not valid then", clocks),
];

/// Script that creates and starts the service to be reloaded, under the name `nginx`, whose reload creates the file
/// `/run/reloaded`.
const RELOADED: &str = "printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\nExecReload=/bin/touch /run/reloaded\\n' \
                        > /run/systemd/system/nginx.service && systemctl daemon-reload && systemctl start nginx";

/// The certificates of the configuration.
const NAMES: [&str; 6] = ["cloudflare", "knot", "delegated", "program", "hosted", "powerdns"];

/// Returns the script that writes the secrets of the providers TSIG, acme-dns, deSEC and PowerDNS into a folder,
/// readable by `owner` only.
fn secrets(folder: &str, owner: &str) -> String {
    format!(
        "mkdir -p {folder}; printf 'c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISE=\\n' > {folder}/tsig; \
         printf 'htB9mR9DYgcu9bX_afHF62erXaH2TS7bg9KW3F7Z\\n' > {folder}/acme-dns; \
         printf 'desec-token\\n' > {folder}/desec; printf 'a key of the API\\n' > {folder}/powerdns; cd {folder}; \
         chown {owner} tsig acme-dns desec powerdns; chmod 400 tsig acme-dns desec powerdns"
    )
}

/// Connects the machine to the test internet, and checks that edge-proxyd obtains and serves a certificate from each
/// DNS provider by its section `[acme]`, sets owner and mode of the keys, runs its programs and reloads services,
/// without a denied operation. The secret of one provider comes later, and holds back its certificate only.
fn by_edge(machine: &mut Machine) -> Outcome {
    machine.connect()?;
    machine.run(RELOADED)?;
    machine.run(&secrets("/etc/edge-proxyd", "edge-proxy"))?;
    machine.run(
        "sed '/^\\[acme\\]/,/^names/d' /srv/edge.toml > /etc/edge-proxyd/edge.toml; \
         printf '[[site]]\\nhosts = [\"*.example.org\"]\\nupstream = \"http://127.0.0.1:3000\"\\n[acme]\\n' >> /etc/edge-proxyd/edge.toml; \
         cat /srv/acme.toml >> /etc/edge-proxyd/edge.toml; mv /etc/edge-proxyd/tsig /srv/tsig; systemctl restart edge-proxyd",
    )?;
    let served = |machine: &Machine, name: &str| {
        let curl = format!(
            "curl -sS --max-time 10 --fail --cacert /srv/issuing.pem --resolve {name}.example.org:443:127.0.0.1 https://{name}.example.org/"
        );
        machine.until(60, &curl)
    };
    NAMES.iter().filter(|name| **name != "knot").try_for_each(|name| served(machine, name))?;
    machine
        .run("edge-proxyd status | grep 'knot.example.org is not renewed: the provider knot is not ready'")?;
    machine.run("mv /srv/tsig /etc/edge-proxyd/tsig")?;
    served(machine, "knot")?;
    let key = machine.run("stat -c '%U:%G %a' /var/lib/acme/program.example.org/key.pem")?;
    if key != "edge-proxy:acme 640" {
        return Err(format!("the key is {key}"));
    }
    machine.run("grep present /var/lib/acme/exec-provider.log && test -e /var/lib/acme/post-run")?;
    machine.until(20, "test -e /run/reloaded")?;
    nothing_is_denied(machine, "edge-proxyd")
}

/// Checks that the confinement of a unit kept it from nothing.
fn nothing_is_denied(machine: &Machine, unit: &str) -> Outcome {
    let denied = "Operation not permitted|Permission denied|Read-only";
    machine.run(&format!("! {} | grep -E '{denied}'", log_script(unit))).map(drop)
}

/// Checks that the daemon acme-dns01 issues a certificate from each DNS provider, with the configured groups of the
/// keys, runs its programs, reloads services, provides metrics and accepts a reload, without a denied operation. The
/// secret of one provider comes later, and holds back its certificate only.
fn by_daemon(machine: &mut Machine) -> Outcome {
    machine
        .run("systemctl stop edge-proxyd; rm -rf /var/lib/acme/* /var/lib/acme/.acme-dns01 /run/reloaded")?;
    machine.run(&secrets("/etc/acme-dns01", "acme"))?;
    // The same configuration, with the group of another program and a port for metrics.
    machine.run(
        "sed -e 's/acme\\.provider/provider/; s/\\[\\[acme\\.certificate/[[certificate/; s#/etc/edge-proxyd/#/etc/acme-dns01/#' \
             -e '/^names = ..knot/a group = \"www-data\"' -e '/^check = /d' /srv/acme.toml > /etc/acme-dns01/acme-dns01.toml; \
         mkdir -p /run/systemd/system/acme-dns01.service.d; \
         mv /etc/acme-dns01/tsig /srv/tsig; \
         printf '[Service]\\nLoadCredential=cloudflare:/etc/edge-proxyd/cloudflare-token\\nSupplementaryGroups=www-data\\nExecStart=\\n\
         ExecStart=/usr/bin/acme-dns01 --config /etc/acme-dns01/acme-dns01.toml run --metrics 127.0.0.1:9181\\n' \
             > /run/systemd/system/acme-dns01.service.d/boot.conf; \
         systemctl daemon-reload; systemctl restart acme-dns01",
    )?;
    let valid = |machine: &Machine, name: &str| {
        machine.until(60, &format!("openssl verify -CAfile /srv/issuing.pem -untrusted /var/lib/acme/{name}.example.org/fullchain.pem /var/lib/acme/{name}.example.org/fullchain.pem"))
    };
    NAMES.iter().filter(|name| **name != "knot").try_for_each(|name| valid(machine, name))?;
    machine.run("curl -sS --fail http://127.0.0.1:9181/metrics | grep -F 'acme_dns01_held_back{certificate=\"knot.example.org\"} 1'")?;
    machine.run("mv /srv/tsig /etc/acme-dns01/tsig")?;
    valid(machine, "knot")?;
    let keys = machine.run("stat -c '%U:%G %a' /var/lib/acme/knot.example.org/key.pem /var/lib/acme/cloudflare.example.org/key.pem")?;
    if keys != "acme:www-data 640\nacme:acme 640" {
        return Err(format!("the keys are {keys}"));
    }
    machine.until(20, "test -e /run/reloaded && test -e /var/lib/acme/post-run")?;
    machine.until(10, "curl -sS --fail http://127.0.0.1:9181/metrics | grep acme")?;
    nothing_is_denied(machine, "acme-dns01")?;
    machine.run("systemctl reload acme-dns01 && systemctl is-active acme-dns01").map(drop)
}

/// Checks the store of certificates in a database that the account owns: every certificate is issued once, another host
/// copies them into files without an order, and the daemon starts with these files while the server is stopped.
fn by_database(machine: &mut Machine) -> Outcome {
    machine.run(
        "cp -a /etc/acme-dns01/acme-dns01.toml /srv/whole.toml; systemctl stop acme-dns01; rm -rf /var/lib/acme/* /var/lib/acme/.acme-dns01; \
         systemctl start postgresql; runuser -u postgres -- createuser acme; runuser -u postgres -- createdb --owner=acme certificates; \
         install -m 400 -o acme /dev/null /etc/acme-dns01/database; \
         echo 'host=/run/postgresql user=acme dbname=certificates' > /etc/acme-dns01/database; \
         sed -i '1i database = \"file:/etc/acme-dns01/database\"' /etc/acme-dns01/acme-dns01.toml; systemctl start acme-dns01",
    )?;
    let valid = |name: &str| {
        format!(
            "openssl verify -CAfile /srv/issuing.pem -untrusted /var/lib/acme/{name}.example.org/fullchain.pem /var/lib/acme/{name}.example.org/fullchain.pem"
        )
    };
    for name in NAMES {
        machine.until(60, &valid(name))?;
    }
    let rows =
        "runuser -u postgres -- psql -Atc 'select count(distinct id) from acme_dns01_journal' certificates";
    let count = machine.run(rows)?;
    if count != NAMES.len().to_string() {
        return Err(format!("the database has the journals of {count} certificates"));
    }
    // Another host has them from there, and orders none.
    machine.run("systemctl stop acme-dns01; rm -rf /var/lib/acme/*; systemctl start acme-dns01")?;
    for name in NAMES {
        machine.until(30, &valid(name))?;
    }
    machine.run(&format!("! {} | grep ': ordered: '", log_script("acme-dns01")))?;
    // Without the server, the daemon starts, and the files of this host stay.
    machine.run(
        "systemctl stop postgresql; systemctl restart acme-dns01; sleep 3; systemctl is-active acme-dns01",
    )?;
    for name in NAMES {
        machine.run(&valid(name))?;
    }
    machine.run("systemctl start postgresql")?;
    machine.active(30, &["postgresql@17-main", "pg-ensure"])?;
    machine.until(60, "systemctl reload acme-dns01")?;
    machine.run(
        "systemctl stop acme-dns01; mv /srv/whole.toml /etc/acme-dns01/acme-dns01.toml; rm /etc/acme-dns01/database; \
         rm -rf /var/lib/acme/* /var/lib/acme/.acme-dns01; systemctl start acme-dns01; runuser -u postgres -- dropdb --force certificates; \
         runuser -u postgres -- dropuser acme",
    )?;
    NAMES.iter().try_for_each(|name| machine.until(60, &valid(name)))
}

/// Checks that the unit of the timer, which stops the daemon, issues all certificates and reloads services within 150
/// s, and that the daemon can be started again.
fn by_timer(machine: &mut Machine) -> Outcome {
    machine
        .run("systemctl stop acme-dns01; rm -rf /var/lib/acme/* /var/lib/acme/.acme-dns01 /run/reloaded")?;
    machine.run(
        "cd /run/systemd/system; mkdir -p acme-dns01-once.service.d acme-dns01-once.timer.d; \
         printf '[Service]\\nLoadCredential=cloudflare:/etc/edge-proxyd/cloudflare-token\\nSupplementaryGroups=www-data\\n' \
             > acme-dns01-once.service.d/boot.conf; \
         printf '[Timer]\\nRandomizedDelaySec=0\\n' > acme-dns01-once.timer.d/boot.conf; \
         systemctl daemon-reload; systemctl start acme-dns01; systemctl start acme-dns01-once.timer",
    )?;
    // The timer elapses at most a minute after the boot; the timer and the daemon exclude each other.
    let result = "systemctl show --value -p Result -p ExecMainStatus acme-dns01-once | tr '\\n' ' '";
    machine.until(
        150,
        &format!("test $(systemctl show --value -p ExecMainExitTimestampMonotonic acme-dns01-once) -gt 0 && {result} | grep -E '^(success 0|0 success)'"),
    )?;
    machine.run("! systemctl is-active acme-dns01")?;
    for name in NAMES {
        machine.run(&format!("openssl verify -CAfile /srv/issuing.pem -untrusted /var/lib/acme/{name}.example.org/fullchain.pem /var/lib/acme/{name}.example.org/fullchain.pem"))?;
    }
    machine.run("test -e /run/reloaded && systemctl show --value -p NextElapseUSecRealtime acme-dns01-once.timer | grep :")?;
    machine.run(
        "systemctl stop acme-dns01-once.timer; cd /run/systemd/system; rm -r acme-dns01-once.service.d acme-dns01-once.timer.d; \
         systemctl daemon-reload; systemctl start acme-dns01 && systemctl is-active acme-dns01",
    )
    .map(drop)
}

/// Checks that a reload of the daemon with an unknown key or an unknown credential fails, states the reason in its log,
/// and leaves the process running.
fn refused(machine: &mut Machine) -> Outcome {
    let main = "systemctl show --value -p MainPID acme-dns01";
    let before = machine.run(main)?;
    let reload = "if systemctl reload acme-dns01; then exit 1; fi; mv /srv/acme-dns01.toml /etc/acme-dns01/acme-dns01.toml";
    machine.run("systemctl reload acme-dns01 && systemctl is-active acme-dns01")?;
    // An unknown key, and a credential that the unit does not have, which only the daemon can know.
    machine.run(&format!(
        "cp -a /etc/acme-dns01/acme-dns01.toml /srv/acme-dns01.toml; echo nonsense = 1 >> /etc/acme-dns01/acme-dns01.toml; {reload}"
    ))?;
    machine.until(5, &format!("{} | grep nonsense", log_script("acme-dns01")))?;
    machine.run(&format!(
        "cp -a /etc/acme-dns01/acme-dns01.toml /srv/acme-dns01.toml; sed -i 's/credential:cloudflare/credential:another/' /etc/acme-dns01/acme-dns01.toml; {reload}"
    ))?;
    machine.until(5, &format!("{} | grep 'another'", log_script("acme-dns01")))?;
    machine.run("systemctl reload acme-dns01 && systemctl is-active acme-dns01")?;
    if machine.run(main)? == before { Ok(()) } else { Err("the daemon was restarted".to_owned()) }
}

/// Checks the owners of the certificate folder on a machine on which edge-proxyd was installed first: a start of
/// acme-dns01 and a boot transfer them to `acme` except for the files of others, a certificate keeps its configured
/// group, and the daemon can write there.
fn foreign_group(machine: &mut Machine) -> Outcome {
    let rights = "stat -c '%U:%G %a %n' /var/lib/acme /var/lib/acme/knot.example.org/key.pem /var/lib/acme/foreign /var/lib/acme/foreign/key.pem";
    machine.run(
        "systemctl stop acme-dns01; systemctl enable acme-dns01; mkdir /var/lib/acme/foreign; echo key > /var/lib/acme/foreign/key.pem; \
         chown -R root:www-data /var/lib/acme/foreign; chmod 750 /var/lib/acme/foreign; chmod 640 /var/lib/acme/foreign/key.pem; \
         chown edge-proxy:acme /var/lib/acme; \
         chown -R edge-proxy /var/lib/acme/.acme-dns01 /var/lib/acme/knot.example.org; \
         chmod o+rx /var/lib/acme/knot.example.org; chmod o+r /var/lib/acme/knot.example.org/key.pem; systemctl start acme-dns01",
    )?;
    let wanted = "acme:acme 755 /var/lib/acme\nacme:www-data 640 /var/lib/acme/knot.example.org/key.pem\n\
        root:www-data 750 /var/lib/acme/foreign\nroot:www-data 640 /var/lib/acme/foreign/key.pem";
    let holds = |machine: &Machine, when: &str| {
        machine.until(20, "systemctl is-active acme-dns01")?;
        let found = machine.run(rights)?;
        if found == wanted { Ok(()) } else { Err(format!("{when}, the rights are {found}")) }
    };
    holds(machine, "after a start")?;
    // The edge obtains no certificates now, and would have a folder of its own.
    machine.run("cp -a /run/systemd/system/acme-dns01.service.d /run/systemd/system/nginx.service /etc/systemd/system/; chown edge-proxy:acme /var/lib/acme; systemctl disable edge-proxyd")?;
    machine.reboot()?;
    holds(machine, "after a boot")?;
    // The daemon writes there.
    machine
        .run("rm -r /var/lib/acme/knot.example.org; systemctl restart acme-dns01; systemctl start nginx")?;
    machine.until(60, "stat -c '%U:%G' /var/lib/acme/knot.example.org/key.pem | grep acme:www-data")?;
    machine.run(
        "rm -r /var/lib/acme/foreign; systemctl disable acme-dns01; systemctl enable edge-proxyd; \
         mkdir -p /run/systemd/system; mv /etc/systemd/system/acme-dns01.service.d /etc/systemd/system/nginx.service /run/systemd/system/; \
         systemctl daemon-reload; systemctl stop edge-proxyd; systemctl is-active acme-dns01",
    )
    .map(drop)
}

/// Command that lists the certificates outside the unit, with the unit's credential.
const LIST: &str = "systemd-run --quiet --wait --pipe -p User=acme -p Group=acme -p SupplementaryGroups=www-data \
    -p LoadCredential=cloudflare:/etc/edge-proxyd/cloudflare-token acme-dns01 --config /etc/acme-dns01/acme-dns01.toml list \
    | grep -E '^cloudflare.example.org .*valid'";

/// Checks that the daemon continues with its clock in 2000 and in 2040, and reports the certificates that are not valid
/// then.
fn clocks(machine: &mut Machine) -> Outcome {
    // By one clock the certificates have expired, by the other they are not valid yet; this includes those of the
    // CA's own server.
    for (year, words) in [(2000, "not valid yet|not valid before"), (2040, "expired")] {
        machine.run(&clock("acme-dns01", year))?;
        machine.run("systemctl restart acme-dns01")?;
        let log = log_script("acme-dns01");
        machine
            .until(30, &format!("{log} | grep -E 'acme-v02|directory|certificate' | grep -E '{words}'"))?;
        machine.run(
            "systemctl is-active acme-dns01; test $(systemctl show --value -p NRestarts acme-dns01) = 0",
        )?;
        // By the clock of this machine, and with the token of the unit, the certificates are valid.
        machine.run(LIST)?;
    }
    machine.run("rm /run/systemd/system/acme-dns01.service.d/clock.conf; systemctl daemon-reload; systemctl restart acme-dns01")?;
    machine.run("systemctl is-active acme-dns01; systemctl stop acme-dns01; rm -r /run/systemd/system/acme-dns01.service.d; systemctl daemon-reload")?;
    machine.run("rm -rf /var/lib/acme/* /var/lib/acme/.acme-dns01; chown edge-proxy:acme /var/lib/acme; cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl start edge-proxyd")?;
    machine.disconnect();
    machine.until(20, SERVES)
}
