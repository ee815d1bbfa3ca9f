//! Every key of edge-proxyd's configuration, under its unit: the example with all of them is started as it is.

use super::Step;
use super::full::log_script;
use super::machine::Machine;
use super::short::SERVES;
use crate::process::Outcome;

pub(super) const STEPS: &[Step] = &[
    ("the example with every key is served under the unit", every_key),
    ("edges share their tickets by PostgreSQL under the unit", shared),
    ("a site stays under maintenance over a restart of the unit", maintenance),
];

/// The files, credentials and folders that the example names, beside a service and a database on this machine.
const NAMED: &str = r"
cd /etc/edge-proxyd
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=api.internal \
    -addext subjectAltName=DNS:api.internal -keyout client.key -out client.pem 2> /dev/null
for roots in acme-roots.pem otlp-ca.pem database-roots.pem ca.pem; do cp client.pem $roots; done
head -c 32 /dev/urandom | base64 > shared-secret
echo 'host=/run/postgresql user=edge-proxy dbname=edge' > database
chown edge-proxy:acme client.key shared-secret database
chmod 400 client.key shared-secret database
runuser -u postgres -- createuser edge-proxy 2> /dev/null || true
runuser -u postgres -- createdb --owner=edge-proxy edge 2> /dev/null || true
mkdir -p /srv/pages /usr/local/bin /run/systemd/system/edge-proxyd.service.d
printf '#!/bin/sh\n' > /usr/local/bin/page-somebody
chmod +x /usr/local/bin/page-somebody
{
    echo '[Service]'
    for name in cloudflare-zones eab tsig webhook otlp; do
        printf 'c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISE=' > /etc/secrets/$name
        echo LoadCredential=$name:/etc/secrets/$name
    done
} > /run/systemd/system/edge-proxyd.service.d/every.conf
systemctl daemon-reload
";

fn every_key(machine: &mut Machine) -> Outcome {
    machine.run(NAMED)?;
    machine.run(
        "zcat -f /usr/share/doc/edge-proxyd/examples/edge.toml* > /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd",
    )?;
    let ask =
        "curl -sSk --max-time 10 --resolve git.example.org:443:127.0.0.1 https://git.example.org/robots.txt";
    machine.until(20, &format!("{ask} | grep 'User-agent'"))?;
    machine.run("sleep 3; systemctl is-active edge-proxyd; test $(systemctl show --value -p NRestarts edge-proxyd) = 0")?;
    let log = log_script("edge-proxyd");
    machine.run(&format!("! {log} | grep -E 'Operation not permitted|Permission denied|Read-only'"))?;
    machine.run("grep robots.txt /var/log/edge-proxyd/access.log && curl -sS --fail http://127.0.0.1:9180/metrics | grep -q edge_")?;
    // A reload of the same reads all of it again.
    machine.run("edge-proxyd reload && systemctl reload edge-proxyd")?;
    Ok(())
}

/// Checks ticket keys that are shared over PostgreSQL, and that the edge serves while PostgreSQL is away.
fn shared(machine: &mut Machine) -> Outcome {
    machine.until(20, &format!("{} | grep 'connected to the database'", log_script("edge-proxyd")))?;
    machine.until(
        20,
        "test $(runuser -u postgres -- psql -Atc 'select count(*) from edge_proxy_ticket_key' edge) -ge 1",
    )?;
    // While PostgreSQL is away the edge serves.
    let ask = "curl -sSk --max-time 10 --resolve git.example.org:443:127.0.0.1 https://git.example.org/robots.txt | grep 'User-agent'";
    machine.run(&format!("systemctl stop postgresql; {ask}; systemctl start postgresql"))?;
    machine.active(30, &["postgresql@17-main", "pg-ensure"])?;
    machine.run(
        "rm /run/systemd/system/edge-proxyd.service.d/every.conf; systemctl daemon-reload; rm -rf /var/lib/acme/git; \
         cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd",
    )?;
    machine.until(20, SERVES)
}

fn maintenance(machine: &mut Machine) -> Outcome {
    let code = |code: u32| {
        format!(
            "curl -sS -o /dev/null -w '%{{http_code}}' --max-time 10 -H 'Host: a.test' http://127.0.0.1/ | grep {code}"
        )
    };
    machine.run(&format!("edge-proxyd maintenance on a.test && {}", code(503)))?;
    machine.run("systemctl restart edge-proxyd")?;
    machine.until(20, &code(503))?;
    machine.run(&format!("edge-proxyd maintenance off a.test && {}", code(200))).map(drop)
}
