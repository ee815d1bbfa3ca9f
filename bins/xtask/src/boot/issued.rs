//! Certificates under the units: by each DNS provider, with everything that follows a new certificate.

use super::Step;
use super::machine::Machine;
use crate::process::Outcome;

pub(super) const STEPS: &[Step] = &[
    ("certificates by [acme] of edge-proxyd, from each provider", by_edge),
    ("certificates by acme-dns01, from each provider", by_daemon),
    ("the daemon goes on in 2000 and in 2040, and says which certificates are not valid then", clocks),
];

/// The services that have to be reloaded, each a file that says so.
const RELOADED: &str = "printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\nExecReload=/bin/touch /run/reloaded\\n' \
                        > /run/systemd/system/nginx.service && systemctl daemon-reload && systemctl start nginx";

/// The certificates of the configuration but for the one whose provider cannot be reached.
const NAMES: [&str; 4] = ["cloudflare", "knot", "delegated", "program"];

fn secrets(folder: &str, owner: &str) -> String {
    format!(
        "mkdir -p {folder}; printf 'c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISE=\\n' > {folder}/tsig; \
         printf 'htB9mR9DYgcu9bX_afHF62erXaH2TS7bg9KW3F7Z\\n' > {folder}/acme-dns; \
         chown {owner} {folder}/tsig {folder}/acme-dns; chmod 400 {folder}/tsig {folder}/acme-dns"
    )
}

fn by_edge(machine: &mut Machine) -> Outcome {
    machine.connect()?;
    machine.run(RELOADED)?;
    machine.run(&secrets("/etc/edge-proxyd", "edge-proxy"))?;
    machine.run(
        "sed '/^\\[acme\\]/,/^names/d' /srv/edge.toml > /etc/edge-proxyd/edge.toml; \
         printf '[[site]]\\nhosts = [\"*.example.org\"]\\nupstream = \"http://127.0.0.1:3000\"\\n[acme]\\n' >> /etc/edge-proxyd/edge.toml; \
         cat /srv/acme.toml >> /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd",
    )?;
    for name in NAMES {
        let served = format!(
            "curl -sS --max-time 10 --fail --cacert /srv/issuing.pem --resolve {name}.example.org:443:127.0.0.1 https://{name}.example.org/"
        );
        machine.until(60, &served)?;
    }
    let key = machine.run("stat -c '%U:%G %a' /var/lib/acme/program.example.org/key.pem")?;
    if key != "edge-proxy:acme 640" {
        return Err(format!("the key is {key}"));
    }
    machine.run("grep present /var/lib/acme/exec-provider.log && test -e /var/lib/acme/post-run")?;
    machine.until(20, "test -e /run/reloaded")?;
    unreachable_is_said(machine, "edge-proxyd")
}

/// Checks that the one provider on the real internet fails since it is not reachable, and not by the confinement of the unit.
fn unreachable_is_said(machine: &Machine, unit: &str) -> Outcome {
    let log =
        format!("journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show --value -p InvocationID {unit}) -o cat");
    machine.until(
        60,
        &format!("{log} | grep 'hosted.example.org' | grep -iE 'desec|dns|resolve|request|connect'"),
    )?;
    machine.run(&format!("! {log} | grep -E 'Operation not permitted|Permission denied|Read-only'")).map(drop)
}

fn by_daemon(machine: &mut Machine) -> Outcome {
    machine
        .run("systemctl stop edge-proxyd; rm -rf /var/lib/acme/* /var/lib/acme/.acme-dns01 /run/reloaded")?;
    machine.run(&secrets("/etc/acme-dns01", "acme"))?;
    // The same, with a group of another program and a port for metrics.
    machine.run(
        "sed -e 's/acme\\.provider/provider/; s/\\[\\[acme\\.certificate/[[certificate/; s#/etc/edge-proxyd/#/etc/acme-dns01/#' \
             -e '/^names = ..knot/a group = \"www-data\"' -e '/^check = /d' /srv/acme.toml > /etc/acme-dns01.toml; \
         mkdir -p /run/systemd/system/acme-dns01.service.d; \
         printf '[Service]\\nLoadCredential=cloudflare:/etc/edge-proxyd/cloudflare-token\\nSupplementaryGroups=www-data\\nExecStart=\\n\
         ExecStart=/usr/bin/acme-dns01 --config /etc/acme-dns01.toml run --metrics 127.0.0.1:9181\\n' \
             > /run/systemd/system/acme-dns01.service.d/boot.conf; \
         systemctl daemon-reload; systemctl restart acme-dns01",
    )?;
    for name in NAMES {
        machine.until(60, &format!("openssl verify -CAfile /srv/issuing.pem -untrusted /var/lib/acme/{name}.example.org/fullchain.pem /var/lib/acme/{name}.example.org/fullchain.pem"))?;
    }
    let keys = machine.run("stat -c '%U:%G %a' /var/lib/acme/knot.example.org/key.pem /var/lib/acme/cloudflare.example.org/key.pem")?;
    if keys != "acme:www-data 640\nacme:acme 640" {
        return Err(format!("the keys are {keys}"));
    }
    machine.until(20, "test -e /run/reloaded && test -e /var/lib/acme/post-run")?;
    machine.until(10, "curl -sS --fail http://127.0.0.1:9181/metrics | grep acme")?;
    unreachable_is_said(machine, "acme-dns01")?;
    machine.run("systemctl reload acme-dns01 && systemctl is-active acme-dns01").map(drop)
}

fn clocks(machine: &mut Machine) -> Outcome {
    // The certificates have expired by the one clock and are of the future by the other; so are those of the CA's own server.
    for (year, words) in [(2000, "not valid yet|not valid before"), (2040, "expired")] {
        machine.run(&super::full::clock("acme-dns01", year))?;
        machine.run("systemctl restart acme-dns01")?;
        let log = super::full::log_script("acme-dns01");
        machine
            .until(30, &format!("{log} | grep -E 'acme-v02|directory|certificate' | grep -E '{words}'"))?;
        machine.run(
            "systemctl is-active acme-dns01; test $(systemctl show --value -p NRestarts acme-dns01) = 0",
        )?;
        machine.run(&format!(
            "acme-dns01 --config /etc/acme-dns01.toml list || test $? -eq 3; {log} | tail -n 3"
        ))?;
    }
    machine.run("rm /run/systemd/system/acme-dns01.service.d/clock.conf; systemctl daemon-reload; systemctl restart acme-dns01")?;
    machine.run("systemctl is-active acme-dns01; systemctl stop acme-dns01; rm -r /run/systemd/system/acme-dns01.service.d; systemctl daemon-reload")?;
    machine.run("rm -rf /var/lib/acme/* /var/lib/acme/.acme-dns01; chown edge-proxy:acme /var/lib/acme; cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl start edge-proxyd")?;
    machine.until(20, super::short::SERVES)
}
