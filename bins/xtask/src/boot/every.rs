//! Every key of edge-proxyd's configuration, under its unit: the example with all of them is used unchanged.

use super::Step;
use super::machine::{Machine, log_script};
use super::short::SERVES;
use crate::process::Outcome;

/// Steps of this boot: titles of the report, and functions.
pub(super) const STEPS: &[Step] = &[
    ("the example with every key is served under the unit", every_key),
    ("the same without the keys that run programs, so that files are restricted too", restricted),
    ("a session of this edge is resumed at another one, by PostgreSQL", shared),
    ("a site stays under maintenance over a restart of the unit", maintenance),
];

/// Script that creates the files, credentials and folders that the example names, besides a service and a database on
/// this machine.
const NAMED: &str = r"
cd /etc/edge-proxyd
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=api.internal \
    -addext subjectAltName=DNS:api.internal -keyout client.key -out client.pem 2> /dev/null
for roots in acme-roots.pem otlp-ca.pem database-roots.pem ca.pem; do cp client.pem $roots; done
mkdir -p home
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=home.example.org \
    -addext subjectAltName=DNS:home.example.org -keyout home/privkey.pem -out home/fullchain.pem 2> /dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=household \
    -keyout /srv/household-ca.key -out household-ca.pem 2> /dev/null
: > /srv/index
echo 01 > /srv/number
cat > /srv/ca.conf <<END
[ca]
default_ca = own
[own]
database = /srv/index
crlnumber = /srv/number
default_md = sha256
default_crl_days = 90
crl_extensions = extensions
[extensions]
authorityKeyIdentifier = keyid
END
openssl ca -gencrl -config /srv/ca.conf -cert household-ca.pem -keyfile /srv/household-ca.key -out revoked.pem 2> /dev/null
head -c 32 /dev/urandom | base64 > shared-secret
echo 'host=/run/postgresql user=edge-proxy dbname=edge' > database
chown edge-proxy:acme client.key shared-secret database home/privkey.pem
chmod 400 client.key shared-secret database home/privkey.pem
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

/// Command that requests the first site of the example, which needs no upstream.
const ROBOTS: &str = "curl -sSk --max-time 10 --resolve git.example.org:443:127.0.0.1 https://git.example.org/robots.txt | grep 'User-agent'";

/// Checks that the example with every key is served under the unit, including a site with certificates of its own files
/// and one that requests client certificates, and that a reload succeeds.
fn every_key(machine: &mut Machine) -> Outcome {
    machine.run(NAMED)?;
    machine.run(
        "zcat -f /usr/share/doc/edge-proxyd/examples/edge.toml* > /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd",
    )?;
    serves_all(machine)?;
    // A site with certificates of its own files, and one that requests client certificates.
    machine.run(
        "curl -sS --max-time 10 -o /dev/null --cacert /etc/edge-proxyd/home/fullchain.pem --resolve home.example.org:443:127.0.0.1 \
             https://home.example.org/",
    )?;
    machine.run("openssl s_client -connect 127.0.0.1:443 -servername home.example.org < /dev/null 2> /dev/null | grep 'CN *= *household'")?;
    // A reload reads the unchanged configuration again.
    machine.run("edge-proxyd reload && systemctl reload edge-proxyd").map(drop)
}

/// Checks that the edge serves without a restart or a denied operation, writes the log of the site and the common one,
/// and provides metrics.
fn serves_all(machine: &Machine) -> Outcome {
    machine.until(20, ROBOTS)?;
    machine.run("sleep 3; systemctl is-active edge-proxyd; test $(systemctl show --value -p NRestarts edge-proxyd) = 0")?;
    let log = log_script("edge-proxyd");
    machine.run(&format!("! {log} | grep -E 'Operation not permitted|Permission denied|Read-only'"))?;
    // The log of the site, and not the common one.
    machine.until(5, "grep robots.txt /var/log/edge-proxyd/git.log")?;
    machine.run(
        "test -e /var/log/edge-proxyd/access.log && curl -sS --fail http://127.0.0.1:9180/metrics | grep edge_ > /dev/null",
    )
    .map(drop)
}

/// Checks the edge with and without the keys that run programs: with them, files and ports are unrestricted, since the
/// programs would inherit the restrictions; without them, Landlock is on, and [`serves_all`] and a reload succeed.
fn restricted(machine: &mut Machine) -> Outcome {
    machine.run(&format!("{} | grep 'sandbox: files and ports unrestricted'", log_script("edge-proxyd")))?;
    machine.run(
        "sed -i '/^post_run = /d; /^command = /d; /^reload_services = /d' /etc/edge-proxyd/edge.toml; rm /var/log/edge-proxyd/git.log; \
         systemctl restart edge-proxyd",
    )?;
    serves_all(machine)?;
    machine.run(&format!("{} | grep 'sandbox: Landlock'", log_script("edge-proxyd")))?;
    machine.run("edge-proxyd reload && systemctl reload edge-proxyd").map(drop)
}

/// Script that starts another edge as a process with the same certificates, database and secret, as on another machine.
const OTHER: &str = r#"
cat > /etc/edge-proxyd/other.toml <<END
[[listen]]
address = "127.0.0.1:8444"
tls = true
[certificates]
folder = "/var/lib/acme"
[shared]
database = "file:/etc/edge-proxyd/database"
secret = "file:/etc/edge-proxyd/shared-secret"
[[site]]
hosts = ["git.example.org"]
respond = { status = 200, content_type = "text/plain", body = "the other edge" }
END
systemd-run --quiet --unit=other-edge -p User=edge-proxy -p Group=acme edge-proxyd run --config /etc/edge-proxyd/other.toml
"#;
/// Script that saves a session of the first edge and resumes it at the other one.
const RESUMED: &str = r"
ask() {
    (printf 'GET /robots.txt HTTP/1.1\r\nHost: git.example.org\r\nConnection: close\r\n\r\n'; sleep 1) |
        openssl s_client -connect 127.0.0.1:$1 -servername git.example.org $2 /run/session 2> /dev/null
}
ask 443 -sess_out > /dev/null
ask 8444 -sess_in | grep '^Reused, TLSv1.3'
";

/// Checks that a second edge with the same database resumes a TLS session of this one, and that this one serves while
/// PostgreSQL is stopped. Restores the former configuration afterwards.
fn shared(machine: &mut Machine) -> Outcome {
    machine.until(20, &format!("{} | grep 'connected to the database'", log_script("edge-proxyd")))?;
    machine.until(
        20,
        "test $(runuser -u postgres -- psql -Atc 'select count(*) from edge_proxy_ticket_key' edge) -ge 1",
    )?;
    machine.run(OTHER)?;
    machine.until(30, RESUMED)?;
    machine.run("systemctl stop other-edge; rm /etc/edge-proxyd/other.toml")?;
    // The edge also serves while PostgreSQL is stopped.
    machine.run(&format!("systemctl stop postgresql; {ROBOTS}; systemctl start postgresql"))?;
    machine.active(30, &["postgresql@17-main", "pg-ensure"])?;
    machine.run(
        "rm /run/systemd/system/edge-proxyd.service.d/every.conf; systemctl daemon-reload; rm -rf /var/lib/acme/git*; \
         cp /srv/edge.toml /etc/edge-proxyd/edge.toml; systemctl restart edge-proxyd",
    )?;
    machine.until(20, SERVES)
}

/// Checks that a site under maintenance responds with 503 before and after a restart of the unit, and with 200 once
/// maintenance ends.
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
