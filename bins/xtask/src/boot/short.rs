//! The short form: the steps that `cargo xtask test` runs.

use super::Step;
use super::machine::{Machine, log_script};
use crate::process::Outcome;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("[acme] keeps its files under the unit, and the site is served", acme),
    (
        "every option of the other programs is known, and what it needs of its unit is shown",
        super::options::complete,
    ),
    ("a listener waits for its interface, and survives that it is made anew", interface),
    ("a peer is trusted by the interface that it comes by, whichever listener it comes to", tailnet_trust),
    ("a listener waits for its address", address),
    (
        "an application starts when its database's secret comes, also one that only the boot starts",
        late_secret,
    ),
    ("a secret on a file system that does not answer holds up no start and no reload", hanging_secret),
    ("it starts again when PostgreSQL was stopped and started", postgresql_again),
    ("a reload of pg-ensure has the credentials of the unit", reload_pg_ensure),
    (
        "a restart refuses nobody, keeps the sockets of TCP and UDP, and takes seconds with a long request open",
        restart,
    ),
    ("a takeover refuses nobody, and the service goes on", takeover),
    ("a reload that is refused fails, and one that needs a new process gets it", reload),
    ("an update of the package is in force at once", update),
    ("the log is rotated, and written on", rotation),
    ("the journal has priorities", priorities),
    ("no two units that conflict are enabled by the presets", presets),
    ("the socket unit hands over exactly the listeners' addresses, of IPv6 and UDP too", socket_unit),
    ("PostgreSQL waits for an upgrade that is enabled", upgrade_first),
    ("packages that are purged leave a machine that boots", purge),
];

/// Runs a script while connections to 127.0.0.1 are made one after another for `seconds`. Returns the counts.
///
/// # Errors
/// Returns the output if the script fails, or a connection is refused or cut off.
pub(super) fn under_load(machine: &Machine, seconds: u32, script: &str) -> Result<String, String> {
    under_load_at(machine, "127.0.0.1", seconds, script)
}

/// Runs a script while connections to an address are made for `seconds`. Returns the counts.
///
/// # Errors
/// Returns the output if the script fails, or a connection is refused or cut off.
fn under_load_at(machine: &Machine, address: &str, seconds: u32, script: &str) -> Result<String, String> {
    counted(machine, address, seconds, script, &[0])
}

/// Runs a script that kills the process once, while connections are made. The one request in flight may be cut off.
///
/// # Errors
/// Returns the output if the script fails, a connection is refused, or more than one is cut off.
pub(super) fn under_load_while_killed(
    machine: &Machine,
    seconds: u32,
    script: &str,
) -> Result<String, String> {
    counted(machine, "127.0.0.1", seconds, script, &[0, 1])
}

/// Runs a script while connections to `address` are made one after another for `seconds`. `cut` are the permitted
/// numbers of connections that are cut off. Returns the output, with the counts.
///
/// # Errors
/// Returns a description with the output if the script fails, a connection is refused, another number of connections is
/// cut off, or none is served.
fn counted(
    machine: &Machine,
    address: &str,
    seconds: u32,
    script: &str,
    cut: &[u32],
) -> Result<String, String> {
    let load = format!(
        "python3 /srv/load.py {seconds} {address} > /run/load & load=$!\nsleep 0.5\n{script}\nwait $load\ncat /run/load"
    );
    let text = machine.run(&load)?;
    // Errors of the script come after it.
    let said = text.lines().rfind(|line| line.starts_with("served=")).unwrap_or_default();
    let few = cut.iter().any(|cut| said.contains(&format!(" refused=0 cut={cut} ")));
    if !few || said.starts_with("served=0 ") || said.is_empty() {
        return Err(format!("{script}: {text}"));
    }
    Ok(text)
}

/// Command that succeeds if the site responds, with and without TLS.
pub(super) const SERVES: &str = "curl -sS --max-time 10 --fail -H 'Host: a.test' http://127.0.0.1/ && \
    curl -sSk --max-time 10 --fail --resolve a.test:443:127.0.0.1 https://a.test/";

/// Checks that `[acme]` creates its files with the correct owners and modes, and that the site is served without a
/// network and without a denied operation.
fn acme(machine: &mut Machine) -> Outcome {
    // Nothing waits for the network to be online, which it is not.
    machine.run("! systemctl is-active network-online.target")?;
    machine.until(20, SERVES)?;
    let owner = machine.run("stat -c '%U:%G %a' /var/lib/acme/a.test/key.pem /var/lib/acme")?;
    if owner != "edge-proxy:acme 640\nedge-proxy:acme 755" {
        return Err(format!("the owners are {owner}"));
    }
    // The secret exists; the certificate authority cannot be reached, which stops nothing.
    machine.run("systemctl is-active edge-proxyd && ! journalctl -b -u edge-proxyd | grep 'Operation not permitted'").map(drop)
}

/// Script that creates the interface of a tailnet, whose other end is in the network namespace `node`.
const INTERFACE: &str = "ip link add tailscale0 type veth peer name far netns node && \
    ip addr add 100.64.0.5/10 dev tailscale0 && ip link set tailscale0 up && \
    ip -n node addr add 100.64.0.9/10 dev far && ip -n node link set far up";
/// Command that succeeds if the listener is bound to the interface. Packets to an own address arrive by the loopback
/// interface, so that only the socket shows it.
const BOUND: &str = "ss -Hltn 'sport = :8081' | grep '100.64.0.5%tailscale0:8081'";

/// Checks that a listener binds once its interface exists, and again after the interface is recreated.
fn interface(machine: &mut Machine) -> Outcome {
    machine.run("! ss -Hltn 'sport = :8081' | grep . && ip netns add node")?;
    machine.run(INTERFACE)?;
    machine.until(10, BOUND)?;
    machine.run("ip link del tailscale0")?;
    machine.until(10, "! ss -Hltn 'sport = :8081' | grep .")?;
    machine.run(INTERFACE)?;
    machine.until(10, BOUND)
}

/// Checks the trust by the interface of the tailnet: the client address that another machine reports is used, and one
/// from a sender who has such an address on another interface is not.
fn tailnet_trust(machine: &mut Machine) -> Outcome {
    let log = "/var/log/edge-proxyd/access.log";
    let ask = "curl -sS --fail --max-time 5 -H 'Host: a.test' -H 'X-Forwarded-For: 203.0.113.7'";
    machine.run(&format!("ip netns exec node {ask} http://100.64.0.5/by-tailnet"))?;
    machine.until(5, &format!("grep /by-tailnet {log} | grep '\"client\":\"203.0.113.7\"'"))?;
    machine.run("ip addr add 100.64.0.66/32 dev lo")?;
    machine.run(&format!("{ask} --interface 100.64.0.66 http://127.0.0.1/by-loopback"))?;
    machine.until(5, &format!("grep /by-loopback {log} | grep '\"client\":\"100.64.0.66\"'"))?;
    // The explanation agrees.
    let explain = "edge-proxyd explain --config /etc/edge-proxyd/edge.toml --plain --host a.test --header 'X-Forwarded-For: 203.0.113.7'";
    machine.run(&format!("{explain} --from 100.64.0.9 --interface tailscale0 | grep 203.0.113.7"))?;
    machine.run(&format!("! {explain} --from 100.64.0.66 --interface lo | grep 'client.*203.0.113.7'"))?;
    machine.run("ip addr del 100.64.0.66/32 dev lo").map(drop)
}

/// Checks that a listener binds within 10 s once its address exists, and that the edge serves before that.
fn address(machine: &mut Machine) -> Outcome {
    let bound = "ss -Hltn 'sport = :8082' | grep '100.64.0.7:8082'";
    machine.run(&format!("! {bound} && {SERVES}"))?;
    machine.run("ip addr add 100.64.0.7/32 dev lo")?;
    machine.until(10, bound)?;
    machine.run("curl -sS --fail --max-time 5 -H 'Host: a.test' http://100.64.0.7:8082/").map(drop)
}

/// Checks that applications start once the secret of their database exists.
fn late_secret(machine: &mut Machine) -> Outcome {
    machine.active(30, &["postgresql@17-main"])?;
    machine.run(
        "! systemctl is-active myapp && ! systemctl is-active myapp2 && ! systemctl is-active pg-ensure",
    )?;
    machine.run("install -m 0400 /dev/null /etc/secrets/app-db; echo secret > /etc/secrets/app-db")?;
    // By `RestartMode=direct`: without it the start of the second application was cancelled at the first failure.
    machine.active(40, &["pg-ensure", "myapp", "myapp2"])
}

/// Checks that edge-proxyd starts and reloads, and serves, with a secret of `[acme]` on a file system that does not
/// answer, and that acme-dns01 reports such a secret. The log names the secret once, with what is held back.
fn hanging_secret(machine: &mut Machine) -> Outcome {
    machine.run("mkdir -p /srv/hang")?;
    let hanging = machine.mount_hanging("/srv/hang")?;
    machine.run(
        "printf '[acme.alert]\\nwebhook = \"file:/srv/hang/hook\"\\n' >> /etc/edge-proxyd/edge.toml; \
         SECONDS=0; systemctl restart edge-proxyd; test $SECONDS -le 25",
    )?;
    machine.until(10, SERVES)?;
    let log = log_script("edge-proxyd");
    let words =
        "alert.webhook: /srv/hang/hook: cannot be read: its file system does not answer.*alerts are not sent";
    machine.until(5, &format!("test $({log} | grep -c '{words}') = 1"))?;
    machine.run("SECONDS=0; systemctl reload edge-proxyd; test $SECONDS -le 10")?;
    // Another name: the kernel waits without end for a lookup of the same one by another process. It does not let a
    // process end either whose request the file system has: the status is known when the file system is gone.
    machine.run(
        "printf '[alert]\\nwebhook = \"file:/srv/hang/other\"\\n' > /run/hang.toml; \
         setsid sh -c 'acme-dns01 --config /run/hang.toml check --dry > /run/hang.out 2>&1; echo $? > /run/hang.code' \
         < /dev/null > /dev/null 2>&1 &",
    )?;
    machine.until(20, "grep 'alert.webhook.*does not answer' /run/hang.out")?;
    drop(hanging);
    machine.until(10, "test \"$(cat /run/hang.code)\" = 2")?;
    machine.run("umount --lazy /srv/hang; cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd")?;
    machine.until(20, SERVES)
}

/// Checks that an application stops and starts with PostgreSQL.
fn postgresql_again(machine: &mut Machine) -> Outcome {
    machine.run("systemctl stop postgresql && ! systemctl is-active myapp")?;
    machine.run("systemctl start postgresql")?;
    machine.active(30, &["pg-ensure", "myapp"])
}

/// Checks that a reload of pg-ensure applies a changed manifest with the unit's credentials, does not restart the
/// application, and that a plan with the same credentials in a shell finds no changes.
fn reload_pg_ensure(machine: &mut Machine) -> Outcome {
    let since = "systemctl show --value -p ActiveEnterTimestampMonotonic myapp";
    let before = machine.run(since)?;
    machine.run("printf '[[ensure]]\\nname = \"more\"\\n' >> /etc/pg-ensure/pg-ensure.toml && systemctl reload pg-ensure")?;
    machine.run("setpriv --reuid postgres --clear-groups psql -Atc '\\du more' | grep more")?;
    if machine.run(since)? != before {
        return Err("the application was restarted".to_owned());
    }
    // In a shell, a plan with the same credentials has no changes.
    let plan = "/usr/libexec/pg-ensure/with-credentials pg-ensure.service pg-ensure plan /etc/pg-ensure/pg-ensure.toml \
                --connect 'host=/run/postgresql user=postgres'";
    machine.run(plan).map(drop)
}

/// Command that prints the inodes of the sockets of port 443, which differ for other sockets.
const SOCKETS: &str = "ss -Hltuen 'sport = :443' | sed -n 's/.*\\(ino:[0-9]*\\).*/\\1/p' | sort";

/// Checks that a restart refuses no client, keeps the sockets, and takes at most 8 seconds with a long request open.
fn restart(machine: &mut Machine) -> Outcome {
    http3(machine)?;
    let sockets = machine.run(SOCKETS)?;
    let long = "curl -sS -H 'Host: a.test' http://127.0.0.1/slow/60 > /dev/null 2>&1 & sleep 0.5";
    under_load(
        machine,
        9,
        &format!("{long}\nSECONDS=0; systemctl restart edge-proxyd; test $SECONDS -le 8"),
    )?;
    machine.run(SERVES)?;
    http3(machine)?;
    let after = machine.run(SOCKETS)?;
    if sockets.lines().count() < 4 || after != sockets {
        return Err(format!("the sockets of port 443 were {sockets}, and are {after}"));
    }
    Ok(())
}

/// Command that prints the main process ID of the edge.
const MAIN: &str = "systemctl show --value -p MainPID edge-proxyd";

/// Checks that a takeover refuses no client and changes the process of the service, and that the successor is started
/// again if it is killed.
fn takeover(machine: &mut Machine) -> Outcome {
    let before = machine.run(MAIN)?;
    under_load(machine, 5, "systemctl kill -s USR2 --kill-whom=main edge-proxyd; sleep 3")?;
    let after = machine.run(MAIN)?;
    let state = machine.run("systemctl show --value -p ActiveState -p SubState edge-proxyd")?;
    if before == after || state != "active\nrunning" {
        return Err(format!("{before} was followed by {after}, and the service is {state}"));
    }
    // A successor is supervised as well.
    machine.run(&format!("kill -KILL {after}"))?;
    machine.until(15, &format!("test $({MAIN}) != {after} && {SERVES}"))
}

/// Checks that a rejected reload fails and is reported in the status of the unit, that a reload starts no new process
/// if it needs none, and that one that adds a listener refuses no client.
fn reload(machine: &mut Machine) -> Outcome {
    let before = machine.run(MAIN)?;
    machine.run("echo 'nonsense = 1' >> /etc/edge-proxyd/edge.toml && ! systemctl reload edge-proxyd")?;
    machine.run("systemctl show --value -p StatusText edge-proxyd | grep 'the last reload was refused'")?;
    machine
        .run("edge-proxyd status --config /srv/edge.toml && cp /srv/edge.toml /etc/edge-proxyd/edge.toml")?;
    machine.run("systemctl reload edge-proxyd")?;
    if machine.run(MAIN)? != before {
        return Err("a reload that needs no new process started one".to_owned());
    }
    let port = "printf '[[listen]]\\naddress = \"0.0.0.0:8080\"\\n' >> /etc/edge-proxyd/edge.toml";
    under_load(machine, 4, &format!("{port}; systemctl reload edge-proxyd"))?;
    machine.run("curl -sS --fail --max-time 10 -H 'Host: a.test' http://127.0.0.1:8080/")?;
    machine.run("cp /srv/edge.toml /etc/edge-proxyd/edge.toml && systemctl reload edge-proxyd")?;
    machine.until(5, "! ss -Hltn 'sport = :8080' | grep .")
}

/// Checks that an updated package runs at once, refuses no client, and keeps the owner of `/var/lib/acme`.
fn update(machine: &mut Machine) -> Outcome {
    machine.run("systemctl enable --now acme-dns01 || true")?;
    let owner = machine.run("stat -c %U /var/lib/acme")?;
    under_load(machine, 8, "dpkg --install /srv/packages/edge-proxyd_*.deb")?;
    machine
        .run(&format!("! readlink /proc/$({MAIN})/exe | grep deleted && systemctl is-active edge-proxyd"))?;
    if machine.run("stat -c %U /var/lib/acme")? != owner {
        return Err("the update changed the owner of /var/lib/acme".to_owned());
    }
    Ok(())
}

/// Checks that the access log is rotated, and continued with the same owner.
fn rotation(machine: &mut Machine) -> Outcome {
    machine
        .run("logrotate --force /etc/logrotate.d/edge-proxyd && test -s /var/log/edge-proxyd/access.log.1")?;
    machine.until(10, &format!("{SERVES} && grep a.test /var/log/edge-proxyd/access.log"))?;
    let owner = machine.run("stat -c '%U:%G' /var/log/edge-proxyd/access.log")?;
    if owner == "edge-proxy:acme" { Ok(()) } else { Err(format!("the log belongs to {owner}")) }
}

/// Checks that errors of edge-proxyd, acme-dns01 and pg-ensure have the priority `err` in the journal, and `listening
/// on` a lower one than a warning.
fn priorities(machine: &mut Machine) -> Outcome {
    machine.run("journalctl -b -u edge-proxyd -p err -o cat | grep 'nonsense'")?;
    // The other programs too.
    for (unit, command) in [
        ("wrong-acme", "acme-dns01 --config /run/wrong.toml list"),
        ("wrong-ensure", "pg-ensure check --offline /run/wrong.toml"),
    ] {
        machine.run(&format!(
            "echo nonsense = 1 > /run/wrong.toml; if systemd-run --wait --quiet --unit={unit} {command}; then exit 1; fi"
        ))?;
        machine.until(
            5,
            &format!("journalctl -b -u {unit} -p err -o cat | grep '^/run/wrong.toml.*nonsense'"),
        )?;
    }
    machine.run("journalctl -b -u edge-proxyd -p info -o cat | grep 'listening on'")?;
    machine.run("! journalctl -b -u edge-proxyd -p warning -o cat | grep 'listening on 0'").map(drop)
}

/// Checks that the presets disable `edge-proxyd.socket`, `acme-dns01-once.timer` and `pg-ensure-standby.service`, which
/// conflict with others, and enable `acme-dns01.service`.
fn presets(machine: &mut Machine) -> Outcome {
    let disabled = "for unit in edge-proxyd.socket acme-dns01-once.timer pg-ensure-standby.service; do \
                    systemctl preset $unit 2>/dev/null; if systemctl is-enabled $unit; then exit 1; fi; done";
    machine.run(disabled)?;
    machine.run("systemctl preset acme-dns01.service && systemctl is-enabled acme-dns01.service").map(drop)
}

/// Checks that the socket unit passes exactly the listeners' addresses, including IPv6 and UDP: the first connection
/// starts the service, restarts refuse no client, and a socket that no listener names is an error.
fn socket_unit(machine: &mut Machine) -> Outcome {
    machine.run("systemctl stop edge-proxyd")?;
    // systemd closes the descriptors of the stopped service's store in the background.
    machine.until(
        10,
        "systemctl start edge-proxyd.socket || { systemctl reset-failed edge-proxyd.socket; false; }",
    )?;
    // The first connection starts the service, and is served; so are IPv6 and, by UDP, HTTP/3.
    machine.run("curl -sS --fail --max-time 15 -g -H 'Host: a.test' 'http://[::1]/' && systemctl is-active edge-proxyd")?;
    machine.run(SERVES)?;
    machine.run("curl -sSk --fail --max-time 10 --resolve 'a.test:443:[::1]' https://a.test/")?;
    machine.run("ss -Hlun 'sport = :443' | grep -F '[::]:443' && edge-proxyd status --config /etc/edge-proxyd/edge.toml > /dev/null")?;
    http3(machine)?;
    under_load_at(machine, "::1", 4, "systemctl restart edge-proxyd")?;
    http3(machine)?;
    // A socket that no listener names.
    machine.run(
        "sed -i 's/, \"\\[::\\]:80\"//' /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd || true",
    )?;
    machine.until(10, "journalctl -b -u edge-proxyd -o cat | grep 'which no .*names'")?;
    machine
        .run("systemctl stop edge-proxyd.socket edge-proxyd; systemctl reset-failed edge-proxyd || true")?;
    machine.run("cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl start edge-proxyd")?;
    machine.until(10, SERVES)
}

/// Checks that the edge responds over HTTP/3, by the curl of the machine.
fn http3(machine: &mut Machine) -> Outcome {
    machine.run("curl --version | grep -w HTTP3 > /dev/null")?;
    machine
        .run("curl -sSk --http3-only --fail --max-time 10 --resolve a.test:443:127.0.0.1 https://a.test/")
        .map(drop)
}

/// Checks that PostgreSQL waits for an enabled upgrade, with Debian's own units: the server of a cluster, not only the
/// umbrella unit.
fn upgrade_first(machine: &mut Machine) -> Outcome {
    machine.run(
        "mkdir -p /run/systemd/system/upgrade-pg-cluster@16-17.service.d; \
         printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c \"sleep 2; ! pgrep -x postgres\"\\n' \
             > /run/systemd/system/upgrade-pg-cluster@16-17.service.d/boot.conf; \
         systemctl stop postgresql 'postgresql@*'; systemctl enable upgrade-pg-cluster@16-17; systemctl start postgresql",
    )?;
    machine.active(20, &["upgrade-pg-cluster@16-17", "postgresql@17-main", "pg-ensure", "myapp"])?;
    machine.run(
        "upgraded=$(systemctl show --value -p ExecMainExitTimestampMonotonic upgrade-pg-cluster@16-17); \
         started=$(systemctl show --value -p InactiveExitTimestampMonotonic postgresql@17-main); \
         echo \"$upgraded $started\"; test $upgraded -gt 0 -a $started -ge $upgraded",
    )?;
    machine
        .run("systemctl disable upgrade-pg-cluster@16-17; systemctl stop upgrade-pg-cluster@16-17; rm -r /run/systemd/system/upgrade-pg-cluster@16-17.service.d; systemctl daemon-reload")
        .map(drop)
}

/// Purges all packages, and checks that no process, link or log of them is left, and that the machine boots with
/// PostgreSQL.
fn purge(machine: &mut Machine) -> Outcome {
    machine
        .run("systemctl enable upgrade-pg-cluster@16-17.service upgrade-pg-cluster-finish@16-17.service")?;
    machine.run("systemctl disable --now myapp; ip netns del node")?;
    let daemon = machine.run("systemctl show --value -p MainPID acme-dns01")?;
    machine.run("dpkg --purge edge-proxyd acme-dns01 pg-ensure upgrade-pg-cluster")?;
    machine.run(&format!("test {daemon} = 0 || ! test -e /proc/{daemon}"))?;
    machine.run("! pgrep edge-proxyd && ! test -e /var/log/edge-proxyd")?;
    machine.run("! find /etc/systemd/system -xtype l -name '*.service' | grep -E 'edge-proxyd|acme-dns01|pg-ensure|upgrade-pg'")?;
    machine.run("systemctl restart postgresql")?;
    machine.reboot()?;
    machine.active(30, &["postgresql@17-main", "postgresql"])
}
